"""Which database holds a study's answers: the one in its folder, the one it was moved to, or none yet."""

from __future__ import annotations

from evalkit.errors import InputError
from turing_test.study.study_folder import Study

__all__ = ["refuse_moved"]


def refuse_moved(study: Study, database: str | None) -> None:
    """Refuse to begin a new file where the answers have been moved elsewhere.

    Raises
    ------
    InputError
        When no database is named, and the folder says that the answers are in another one.
    """
    if database is None and study.moved_to is not None and not study.database.exists():
        raise InputError(f"{study.folder}: its answers were moved to {study.moved_to}; name that with --database.")
