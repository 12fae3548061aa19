"""The dashboard's password: a scrypt digest in the study folder, outside the database; there is none by default."""

from __future__ import annotations

from pathlib import Path

from werkzeug.security import check_password_hash, generate_password_hash

from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.wording import counted

__all__ = ["SHORTEST", "password_digest", "password_is", "set_password"]

FILE = "dashboard.password"
SHORTEST = 10


def set_password(folder: Path, password: str) -> None:
    """Set the password of a study's dashboard; whoever is logged in must log in again.

    Raises
    ------
    InputError
        When it is too short.
    """
    if len(password) < SHORTEST:
        raise InputError(f"the password has {counted(len(password), 'character')}; at least {SHORTEST} are needed.")
    digest = generate_password_hash(password, "scrypt")
    write_atomically(folder / FILE, f"{digest}\n".encode(), mode=0o600)


def password_digest(folder: Path) -> str | None:
    """The stored digest; None while no password is set."""
    try:
        return (folder / FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def password_is(folder: Path, password: str) -> bool:
    """Whether this is the password; takes as long for a wrong one."""
    digest = password_digest(folder)
    return digest is not None and check_password_hash(digest, password)
