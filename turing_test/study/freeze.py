"""The preregistration stamp: one SHA-256 over protocol, consent text, stimuli and version.

Put the stamp into the preregistration before the first participant comes; anybody who has the study folder can compute
it again afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.release import release
from evalkit.text_formats import parse_json
from evalkit.wording import agree, counted, error_reason
from turing_test.study.study_folder import Study
from turing_test.study.texts import own_texts_digest

__all__ = ["FROZEN", "Stamp", "changes_since", "damaged_stimuli", "freeze", "read_stamp", "stamp_of"]

FROZEN = "freeze.json"


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What a study was when it was frozen.

    Attributes
    ----------
    protocol : str
        `Protocol.asked_digest`: of all that ``study.toml`` says about what is asked; how the study is run may change.
    consent : str
        SHA-256 of the study's own consent text; "" where the toolkit's text is used (it is part of the version).
    stimuli : str
        Digest of the manifest, which names every file by its SHA-256.
    evalkit : str
        Version of the toolkit, whose pages show the study.
    frozen_at : str
        Time in UTC (ISO 8601); not part of the stamp.
    texts : str
        SHA-256 of the study's own texts in its language; "" where it has none.
    """

    protocol: str
    consent: str
    stimuli: str
    evalkit: str
    frozen_at: str
    texts: str = ""

    @property
    def sha256(self) -> str:
        """The stamp: SHA-256 (hex) of the canonical JSON of everything but the time."""
        content = {
            key: value for key, value in asdict(self).items() if key != "frozen_at" and (value or key != "texts")
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def freeze(study: Study, on_file: Callable[[int, int], None] | None = None) -> Stamp:
    """Stamp a study and refuse changes from now on.

    Parameters
    ----------
    study : Study
    on_file : callable, optional
        Called with the stimuli checked so far and their total.

    Returns
    -------
    Stamp
        That of the first time, when the study was frozen already and is unchanged.

    Raises
    ------
    InputError
        When stimuli are damaged, or the study is frozen and was changed since.
    """
    damaged = damaged_stimuli(study, on_file)
    if damaged:
        raise InputError(
            f"{study.folder}: {counted(len(damaged), 'stimulus', 'stimuli')} {agree(len(damaged), 'is', 'are')} missing or damaged, first {damaged[0]}."
        )
    before = read_stamp(study.folder)
    if before is not None:
        changes = changes_since(study, before)
        if changes:
            raise InputError(
                f"{study.folder}: was frozen at {before.frozen_at} and changed since: {', '.join(changes)}."
            )
        return before
    stamp = stamp_of(study)
    content = {"stamp": stamp.sha256, **asdict(stamp)}
    write_atomically(study.folder / FROZEN, (json.dumps(content, indent=1) + "\n").encode())
    return stamp


def read_stamp(folder: Path) -> Stamp | None:
    """The stamp of a study folder; None where it is not frozen.

    Raises
    ------
    InputError
        When the file cannot be read or was changed by hand.
    """
    path = folder / FROZEN
    if not path.exists():
        return None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        claimed = content.pop("stamp")
        stamp = Stamp(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read as a stamp ({error_reason(error)}).") from None
    if stamp.sha256 != claimed:
        raise InputError(f"{path}: was changed by hand; the stamp does not fit what it covers.")
    return stamp


def changes_since(study: Study, stamp: Stamp) -> tuple[str, ...]:
    """What of a study differs from its stamp: names of the parts, empty when nothing does."""
    now = asdict(stamp_of(study))
    return tuple(name for name, value in asdict(stamp).items() if name != "frozen_at" and value != now[name])


def damaged_stimuli(study: Study, on_file: Callable[[int, int], None] | None = None) -> list[str]:
    """Names (SHA-256) of stimuli and plates whose file is missing or holds other bytes."""
    damaged = []
    names = [*study.manifest.stimuli, *(plate.file for plate in study.manifest.plates)]
    for n_checked, name in enumerate(names, start=1):
        try:
            content = study.stimulus_path(name).read_bytes()
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() != name or len(content) != study.manifest.stimulus_bytes:
            damaged.append(name)
        if on_file is not None:
            on_file(n_checked, len(names))
    return damaged


def stamp_of(study: Study) -> Stamp:
    """What a study is now."""
    consent = study.consent_text()
    return Stamp(
        protocol=study.protocol.asked_digest,
        consent="" if consent is None else hashlib.sha256(consent.encode()).hexdigest(),
        stimuli=study.manifest.digest,
        evalkit=release(),
        texts=own_texts_digest(study.folder, study.protocol.language),
        frozen_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
