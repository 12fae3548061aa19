"""Tokens that participants hold, and the digests of them, of people and of places that the database holds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = [
    "TOKEN_PATTERN",
    "completion_code",
    "digest",
    "image_noise",
    "image_proof",
    "keyed_digest",
    "new_label",
    "new_token",
    "new_tokens",
]

TOKEN_PATTERN = r"[A-Za-z0-9_-]{24}"
"""What a token looks like: 18 random bytes, 144 bits."""

_CLEAR = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # nothing to mistake for another: no I, O, 0, 1


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(18)


def new_tokens(count: int) -> list[str]:
    """So many tokens, from one call of the system's random source: a session needs more than a hundred."""
    text = base64.urlsafe_b64encode(secrets.token_bytes(18 * count)).decode()
    return [text[start : start + 24] for start in range(0, len(text), 24)]


def digest(token: str) -> str:
    """SHA-256 (hex) of a token: whoever reads the database cannot enter a session."""
    return hashlib.sha256(token.encode()).hexdigest()


def keyed_digest(key: bytes, *parts: str) -> str:
    """HMAC-SHA-256 (hex) of texts: worker ids are short enough to be tried, so the key stays outside the database."""
    return hmac.digest(key, "\0".join(parts).encode(), "sha256").hex()


def image_noise(key: bytes, image: str) -> bytes:
    """32 bytes that decide the noise on one image of one session, by its token: the same whenever it is fetched."""
    return hmac.digest(key, b"noise\0" + image.encode(), "sha256")


def image_proof(key: bytes, image: str) -> bytes:
    """8 bytes at the end of that image's file; a page that says them has fetched it."""
    return hmac.digest(key, b"proof\0" + image.encode(), "sha256")[:8]


def new_label() -> str:
    """A name for a session in the export; says nothing about the person or the order of arrival."""
    return secrets.token_hex(6)


def completion_code() -> str:
    """A code that a participant can copy by hand."""
    return "".join(secrets.choice(_CLEAR) for _ in range(10))
