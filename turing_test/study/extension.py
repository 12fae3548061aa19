"""``extends.json``: that a study adds methods to an earlier one, and who took part in that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.errors import InputError
from evalkit.text_formats import parse_json
from evalkit.wording import error_reason

__all__ = ["EXTENDS", "Extension"]

EXTENDS = "extends.json"


@dataclass(frozen=True)
class Extension:
    """What a study knows of the one that it extends.

    Attributes
    ----------
    study : str
        Its name.
    first_manifest : str
        Digest of its stimuli, or, where it extends another one itself, of the first study of all.
    people : frozenset of str
        Keyed digests of its people, and of those of the studies before: they are not admitted again.
    methods : mapping of str to str
        Digest of what each of its methods shows, and of the methods of the studies before, by name.
    """

    study: str
    first_manifest: str
    people: frozenset[str]
    methods: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Extension | None:
        """Read the file of a study folder; None where there is none.

        Raises
        ------
        InputError
            When it cannot be read: then nobody could be kept from taking part twice.
        """
        path = folder / EXTENDS
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
            methods = dict(content.get("methods", {}))  # files of earlier versions have none
            people = frozenset(map(str, content["people"]))
            return cls(str(content["study"]), str(content["first_manifest"]), people, methods)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: cannot be read ({error_reason(error)}); it says who took part in the study before."
            ) from None

    def to_json(self) -> str:
        """The text of the file."""
        content = {
            "study": self.study,
            "first_manifest": self.first_manifest,
            "people": sorted(self.people),
            "methods": dict(self.methods),
        }
        return json.dumps(content, indent=1) + "\n"
