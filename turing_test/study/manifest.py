"""What the sealed stimuli of a study are: the only place where a file's name is tied to its meaning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.text_formats import parse_json

__all__ = ["NOT_METHODS", "ROLES", "Manifest", "Plate", "Stimulus"]

ROLES = ("truth", "method", "vigilance", "catch")
"""What an image of a study may be. ``vigilance``: the truth's L with the colours of another photo; ``catch``:
hues turned and oversaturated."""

NOT_METHODS = tuple(role for role in ROLES if role != "method")
"""Roles of images that are of no method; among several images these words stand where the others have a method's name."""

VERSION = 1


@dataclass(frozen=True)
class Stimulus:
    """One sealed image.

    Attributes
    ----------
    image : str
        Name of the photo, the same for every method.
    role : str
        One of `ROLES`.
    method : str or None
        Name of the method; None unless the role is ``method``.
    """

    image: str
    role: str
    method: str | None = None


@dataclass(frozen=True)
class Plate:
    """One plate of the colour vision screen: its file (SHA-256) and the number that is to be read."""

    file: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The stimuli of a study, by the SHA-256 of their bytes.

    Attributes
    ----------
    study : str
        Name of the study.
    stimulus_bytes : int
        Length of every file, plates included.
    size : int
        Side of every image in pixels.
    images, methods : tuple of str
        Names, sorted.
    stimuli : mapping of str to Stimulus
        By SHA-256 (hex).
    plates : tuple of Plate
        Empty without a colour vision screen.
    blocks : mapping of str to str
        Block by image; empty without blocks of images.
    """

    study: str
    stimulus_bytes: int
    size: int
    images: tuple[str, ...]
    methods: tuple[str, ...]
    stimuli: Mapping[str, Stimulus]
    plates: tuple[Plate, ...] = field(default=())
    blocks: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of everything else; names a study's stimuli in every export."""
        canonical = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def find(self, image: str, role: str, method: str | None = None) -> str:
        """SHA-256 of one stimulus.

        Raises
        ------
        KeyError
            When the study has no such stimulus.
        """
        return self._by_meaning[image, role, method]

    def has_role(self, role: str) -> bool:
        """Whether there are stimuli of that role."""
        return any(stimulus.role == role for stimulus in self.stimuli.values())

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        return json.dumps({"digest": self.digest, **self._content()}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read ``manifest.json``.

        Raises
        ------
        InputError
            When the file cannot be read, has another form, or does not agree with its own digest.
        """
        try:
            content: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
            version, digest = content["version"], content["digest"]
            if version != VERSION:
                raise InputError(
                    f"{path}: is of version {version}; this release reads version {VERSION}. Create the study anew."
                )
            manifest = cls(
                study=content["study"],
                stimulus_bytes=content["stimulus_bytes"],
                size=content["size"],
                images=tuple(content["images"]),
                methods=tuple(content["methods"]),
                stimuli={sha: Stimulus(**stimulus) for sha, stimulus in content["stimuli"].items()},
                plates=tuple(Plate(**plate) for plate in content["plates"]),
                blocks=dict(content.get("blocks", {})),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{path}: cannot be read as a study's manifest ({reason}).") from None
        if manifest.digest != digest:
            raise InputError(f"{path}: was changed by hand (its digest does not fit); create the study anew.")
        return manifest

    def _content(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "study": self.study,
            "stimulus_bytes": self.stimulus_bytes,
            "size": self.size,
            "images": list(self.images),
            "methods": list(self.methods),
            "stimuli": {sha: asdict(self.stimuli[sha]) for sha in sorted(self.stimuli)},
            "plates": [asdict(plate) for plate in self.plates],
            # Absent where there are none: digests of studies from before there were blocks stay as they are.
            **({"blocks": dict(self.blocks)} if self.blocks else {}),
        }

    @cached_property
    def images_by_block(self) -> Mapping[str, tuple[str, ...]]:
        """The images of each block, both in order of their names; empty without blocks of images."""
        by_block: dict[str, list[str]] = {block: [] for block in sorted(set(self.blocks.values()))}
        for image in sorted(self.blocks):
            by_block[self.blocks[image]].append(image)
        return {block: tuple(own) for block, own in by_block.items()}

    @cached_property
    def _by_meaning(self) -> Mapping[tuple[str, str, str | None], str]:
        """By image, role and method: a session asks more than a hundred times."""
        return {(stimulus.image, stimulus.role, stimulus.method): sha for sha, stimulus in self.stimuli.items()}
