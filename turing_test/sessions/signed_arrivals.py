"""Who comes from Prolific, signed by Prolific: a JSON Web Token in the address, checked with Prolific's public keys.

The keys lie in a file of the study, so the server asks no network. A token says who comes, for which study and to which
site; a forged one, one for another study or site, and one that has expired open nothing.

References
----------
.. [1] Prolific API reference, "Retrieve JSON Web Key Set (JWKS)": what of a token is to be verified.
.. [2] RFC 7519, "JSON Web Token"; RFC 7517, "JSON Web Key".
.. [3] RFC 8725, "JSON Web Token Best Current Practices": one algorithm, chosen by the reader and never by the token.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from evalkit.errors import InputError
from evalkit.text_formats import parse_json
from evalkit.wording import error_reason
from turing_test.sessions.tokens import keyed_digest
from turing_test.study.recruiting_files import PROLIFIC_QUERY
from turing_test.study.study_folder import Study

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["PROLIFIC_TOKEN", "ProlificKeys", "SignedArrival", "opened_before", "opening_stamp"]

PROLIFIC_TOKEN = "prolific_token"
"""What Prolific calls its token in the address."""

ALGORITHM = "RS256"
LEAST_KEY_BITS = 2048
LONGEST_READING_S = 3600
"""How long after the page was opened somebody may agree, although the token has expired meanwhile."""

_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class SignedArrival:
    """What Prolific vouches for.

    Attributes
    ----------
    ids : mapping of str to str
        ``PROLIFIC_PID``, ``STUDY_ID`` and ``SESSION_ID``.
    proof : str
        SHA-256 (hex) of what was signed. Not of the whole token: its signature can be written in more than one way.
    """

    ids: Mapping[str, str] = field(repr=False)
    proof: str = field(repr=False)


class ProlificKeys:
    """Prolific's public keys, read from a file again whenever that was written anew: Prolific changes them now and then.

    Parameters
    ----------
    path : Path
        A JSON Web Key Set, or one public key as PEM.

    Raises
    ------
    InputError
        When the file cannot be read, holds no RSA key of 2,048 bits or more, or a private key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written_at = _written_at(path)
        self._keys = _read_keys(path)

    @classmethod
    def of(cls, study: Study) -> ProlificKeys | None:
        """Those that a study names; None when it names none."""
        path = study.prolific_keys_path()
        return None if path is None else cls(path)

    def verify(self, token: str, address: str, *, opened_ago_s: float = 0.0) -> SignedArrival:
        """Check a token.

        Parameters
        ----------
        token : str
        address : str
            The study's ``public_url``, to which the token must have been made out.
        opened_ago_s : float
            Seconds since the page was opened; the token must have been valid then.

        Returns
        -------
        SignedArrival

        Raises
        ------
        InputError
            Saying what is wrong; nothing of the token is repeated.
        """
        import jwt

        if not token:
            raise _refusal("Prolific's signature is missing from this address")
        try:
            header = jwt.get_unverified_header(token)
            # Whether iat lies in the future says nothing but how well two clocks agree.
            claims = jwt.decode(
                token,
                self._find(header.get("kid")),
                algorithms=[ALGORITHM],
                leeway=opened_ago_s,
                options={"require": ["exp", "aud"], "verify_aud": False, "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise _refusal("Prolific's signature of this address has expired") from None
        except jwt.PyJWTError:  # their words would mean nothing to a participant
            raise _refusal("Prolific's signature of this address is not valid") from None
        if not _is_for(claims["aud"], address):
            raise _refusal("Prolific's signature of this address is for another site")
        payload = claims.get("prolific")
        given = payload if isinstance(payload, dict) else {}
        ids = {name: given[name] for name in PROLIFIC_QUERY if isinstance(given.get(name), str)}
        if len(ids) < len(PROLIFIC_QUERY):
            raise _refusal(f"Prolific's signature of this address does not hold {', '.join(PROLIFIC_QUERY)}")
        return SignedArrival(ids=ids, proof=_proof(token))

    def _find(self, name: object) -> RSAPublicKey:
        """The key that a token names; a file with one key without a name has that one alone."""
        keys = self._current()
        key = keys.get(name) if isinstance(name, str) else None
        key = key or keys.get("")
        if key is None:
            raise _refusal("Prolific's signature of this address is by a key that the study does not know")
        return key

    def _current(self) -> Mapping[str, RSAPublicKey]:
        written_at = _written_at(self.path)
        if written_at != self._written_at:
            try:
                self._keys = _read_keys(self.path)
                self._written_at = written_at
            except InputError:
                pass  # half written, say: the former keys serve on, and the next arrival tries again
        return self._keys


def opening_stamp(secret: bytes, arrival: SignedArrival, now: float) -> str:
    """What the page keeps while the consent text is read: that this token was valid when it was opened.

    Parameters
    ----------
    secret : bytes
        The study's.
    arrival : SignedArrival
    now : float
        Seconds since 1970.
    """
    opened = str(int(now))
    return f"{opened}.{keyed_digest(secret, 'opened', opened, arrival.proof)}"


def opened_before(secret: bytes, stamp: str, token: str, now: float) -> float:
    """Seconds since the page was opened with a token; 0 when the stamp is not one of ours for this token, or is too old.

    Parameters
    ----------
    secret : bytes
    stamp : str
        From `opening_stamp`.
    token : str
    now : float
    """
    opened, _, _ = stamp.partition(".")
    if not opened.isdecimal() or not opened.isascii() or len(opened) > 12:
        return 0.0
    expected = f"{opened}.{keyed_digest(secret, 'opened', opened, _proof(token))}"
    ago = now - int(opened)
    return ago if hmac.compare_digest(stamp.encode(), expected.encode()) and 0 <= ago <= LONGEST_READING_S else 0.0


def _proof(token: str) -> str:
    return hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()


def _refusal(reason: str) -> InputError:
    return InputError(f"{reason}; please open the study from Prolific again.")


def _is_for(audience: object, address: str) -> bool:
    """Whether one of a token's audiences is the site of an address; Prolific writes a domain or a whole address."""
    audiences = audience if isinstance(audience, list) else [audience]
    return any(isinstance(one, str) and _site(one, address) == _site(address, address) for one in audiences)


def _site(text: str, address: str) -> tuple[str, str | None, int | None] | None:
    """Scheme, host and port; what a bare domain lacks is taken from the address."""
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        scheme = parts.scheme or urlsplit(address).scheme
        return scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:  # a port that is no number
        return None


def _written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read_keys(path: Path) -> dict[str, RSAPublicKey]:
    """Keys by their names; a key without one by ""."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as the keys that prolific_keys names ({error_reason(error)})."
        ) from None
    if "PRIVATE KEY" in text:
        raise InputError(f"{path}: holds a private key; prolific_keys must name Prolific's public keys alone.")
    keys = {"": _read_pem(text)} if text.startswith("-----") else _read_key_set(text, path)
    usable = {name: key for name, key in keys.items() if key is not None and key.key_size >= LEAST_KEY_BITS}
    if not usable:
        raise InputError(
            f"{path}: holds no RSA public key of {LEAST_KEY_BITS:,} bits or more; prolific_keys must name a JSON Web Key "
            "Set (https://api.prolific.com/.well-known/study/jwks.json) or one public key as PEM."
        )
    return usable


def _read_pem(text: str) -> RSAPublicKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) else None


def _read_key_set(text: str, path: Path) -> dict[str, RSAPublicKey | None]:
    try:
        listed = parse_json(text)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    if any("d" in entry or entry.get("kty") == "oct" for entry in entries):
        raise InputError(f"{path}: holds a private key; prolific_keys must name Prolific's public keys alone.")
    return {str(entry.get("kid", "")): _read_key(entry) for entry in entries if _is_for_signatures(entry)}


def _is_for_signatures(entry: Mapping[str, Any]) -> bool:
    return entry.get("kty") == "RSA" and entry.get("use", "sig") == "sig" and entry.get("alg", ALGORITHM) == ALGORITHM


def _read_key(entry: Mapping[str, Any]) -> RSAPublicKey | None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt import PyJWTError
    from jwt.algorithms import RSAAlgorithm

    try:
        key = RSAAlgorithm.from_jwk(dict(entry))
    except (PyJWTError, ValueError, TypeError):
        return None
    return key if isinstance(key, RSAPublicKey) else None
