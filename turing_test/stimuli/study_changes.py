"""What a new build changes of a study, and whether it may: answers are given to what was shown.

A study that is frozen or has answers stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.wording import counted, some_names
from turing_test.database.session_counts import sessions_in_database, sessions_in_file
from turing_test.study.freeze import FROZEN
from turing_test.study.manifest import Manifest
from turing_test.study.protocol import NEWER, RUNNING, Protocol
from turing_test.study.study_folder import DATABASE, MOVED, stimulus_path

__all__ = ["block_changes", "manifest_changes", "protocol_changes", "refuse_if_fixed", "same_pixels", "shown_pixels"]


def protocol_changes(before: Mapping[str, Any], after: Protocol) -> list[str]:
    """Options whose value differs, a line each.

    Parameters
    ----------
    before : mapping
        `Protocol.as_dict` of the last build.
    after : Protocol
    """
    # An option that the version of the last build did not have was as it is by default.
    earlier = {**{name: value for name, value in Protocol().as_dict().items() if name in NEWER}, **before}
    return [
        f"{name}: {_word(earlier.get(name))} -> {_word(value)}"
        for name, value in after.as_dict().items()
        if value != earlier.get(name)
    ]


def manifest_changes(root: Path, before: Manifest, after: Manifest) -> list[str]:
    """Images and methods that came or went, and stimuli that show something else, a line each.

    Parameters
    ----------
    root : Path
        The study folder, which holds the files of both.
    before, after : Manifest
    """
    changes = []
    for what, old, new in (("images", before.images, after.images), ("methods", before.methods, after.methods)):
        gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
        changes += [f"{what}: {len(come)} new ({some_names(come)})"] * bool(come)
        changes += [f"{what}: {len(gone)} gone ({some_names(gone)})"] * bool(gone)
    meanings = {stimulus: sha for sha, stimulus in before.stimuli.items()}
    repainted = [
        stimulus
        for sha, stimulus in after.stimuli.items()
        if stimulus in meanings and not same_pixels(stimulus_path(root, meanings[stimulus]), stimulus_path(root, sha))
    ]
    if repainted:
        names = sorted(f"{stimulus.method or stimulus.role} {stimulus.image}" for stimulus in repainted)
        changes.append(f"stimuli: {len(repainted)} with other pixels ({some_names(names)})")
    return changes


def block_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Images that are in another block than before, a line; those that came or went are told as images."""
    moved = sorted(image for image in before.keys() & after.keys() if before[image] != after[image])
    return [f"blocks: {counted(len(moved), 'image')} in another block ({some_names(moved)})"] * bool(moved)


def same_pixels(old: Path, new: Path) -> bool:
    """Whether two stimuli show the same; bytes differ with the common length and with the version of the encoder."""
    from evalkit.images.image_files import decode

    if old.name == new.name:
        return True
    try:
        before = decode(old).rgb8
    except InputError:  # damaged or lost: it is made anew
        return False
    after = decode(new).rgb8
    return before.shape == after.shape and bool((before == after).all())


def shown_pixels(root: Path, manifest: Manifest, method: str) -> str:
    """SHA-256 (hex) of what a method shows: the pixels of its images in the order of their names."""
    from evalkit.images.image_files import decode

    shown = hashlib.sha256()
    for image in manifest.images:
        shown.update(decode(stimulus_path(root, manifest.find(image, "method", method))).rgb8.tobytes())
    return shown.hexdigest()


def refuse_if_fixed(root: Path, changes: Iterable[str], database_url: str | None) -> None:
    """Refuse changes to a study that has answers or is frozen.

    Parameters
    ----------
    root : Path
        The study folder.
    changes : iterable of str
        Nothing is refused when there are none.
    database_url : str or None
        Where answers may be, besides the SQLite file in the folder.

    Raises
    ------
    InputError
        Naming what holds the study fast, and the changes. How a study is run (`turing_test.study.protocol.RUNNING`) may
        change at any time.
    """
    changes = [change for change in changes if change.partition(":")[0] not in RUNNING]
    if not changes:
        return
    what = "; ".join(changes)
    if (root / FROZEN).exists():
        raise InputError(
            f"{root}: is frozen ({FROZEN}), so it stays as it is; this would change it: {what}. Create a new study."
        )
    if (root / MOVED).exists() and database_url is None:
        raise InputError(f"{root}: its answers were moved to another database ({MOVED}); name that with --database.")
    places = {str(root / DATABASE): sessions_in_file(root / DATABASE)}
    if database_url is not None:
        places["the database"] = sessions_in_database(database_url)
    for place, (n_people, n_simulated) in places.items():
        if n_people:
            raise InputError(
                f"{root}: has {counted(n_people, 'session')} of participants, so it stays as it is; this would change it: {what}. "
                "Create a new study in another folder."
            )
        if n_simulated:
            raise InputError(
                f"{root}: has {counted(n_simulated, 'simulated session')} of the study as it was; this would change it: {what}. "
                f"Remove those of {place} first: evalkit study reset {root}. No participant is lost."
            )


def _word(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
