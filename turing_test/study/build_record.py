"""``built.json``: from which folders, with which options and by which version a study was made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.release import release
from evalkit.text_formats import parse_json
from evalkit.wording import error_reason

__all__ = ["BuildRecord", "Methods"]

Methods = Mapping[str, str | os.PathLike[str] | None]
"""Folder by method; None for the methods that need none."""


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """What a study was built from.

    Attributes
    ----------
    truth : path-like
    methods : mapping of str to path-like or None
    allow_missing : bool
    left_out : int
        Images that ``allow_missing`` left out.
    protocol : mapping
        `Protocol.as_dict` of that time.
    asking_texts : str or None
        Digest of the study's own texts that are part of what is asked (`turing_test.study.texts.own_asking_digest`); None of
        builds by earlier versions.
    """

    truth: str | os.PathLike[str]
    methods: Methods
    allow_missing: bool
    left_out: int
    protocol: Mapping[str, Any]
    asking_texts: str | None = None

    @classmethod
    def read(cls, path: Path) -> BuildRecord:
        """Read the file.

        Raises
        ------
        InputError
            When it cannot be read or lacks something.
        """
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
            folders = {name: None if folder is None else Path(folder) for name, folder in content["methods"].items()}
            return cls(
                truth=Path(content["truth"]),
                methods=folders,
                allow_missing=content["allow_missing"],
                left_out=content["left_out"],
                protocol=content["protocol"],
                asking_texts=content.get("asking_texts"),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: cannot be read ({error_reason(error)}); it says what the study was built from."
            ) from None

    def to_json(self) -> str:
        """The text of the file; folders become absolute, so that the command works from anywhere."""
        content = {
            "evalkit": release(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "truth": str(Path(self.truth).resolve()),
            "methods": {
                name: None if folder is None else str(Path(folder).resolve())
                for name, folder in sorted(self.methods.items())
            },
            "allow_missing": self.allow_missing,
            "left_out": self.left_out,
            "protocol": dict(self.protocol),
            "asking_texts": self.asking_texts,
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
