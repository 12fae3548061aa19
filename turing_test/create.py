"""From folders of images to a study folder, and again after a change of the study file.

Whatever interrupts the work, a study is whole, or absent, or made whole by the same command again.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from turing_test.files import write_atomically
from turing_test.freeze import FROZEN
from turing_test.manifest import Manifest
from turing_test.protocol import Protocol
from turing_test.recruiters import mturk_question, prolific_url
from turing_test.stimuli import Sources, build_stimuli
from turing_test.study_file import format_protocol, read_protocol
from turing_test.study_folder import (
    BUILT,
    DATABASE,
    KEY,
    MANIFEST,
    RECRUITING,
    STUDY_FILE,
    Study,
    check_enough_images,
    check_study,
    read_key,
    stimulus_path,
)

__all__ = ["Created", "create_study"]

N_SHOWN = 3  # names that a message lists before it only counts


@dataclass(frozen=True)
class Created:
    """What `create_study` did.

    Attributes
    ----------
    study : Study
    is_new : bool
        Whether there was no study before.
    changes : tuple of str
        What differs from the study that was there, a line each; empty for a new study.
    left_out : int
        Images that ``allow_missing`` left out.
    notes : tuple of str
        What the researcher should know of the images, a sentence each; empty when they were not built again.
    """

    study: Study
    is_new: bool
    changes: tuple[str, ...]
    left_out: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Built:
    """The record of an earlier build."""

    truth: Path
    methods: Mapping[str, Path | None]
    allow_missing: bool
    protocol: Mapping[str, Any]
    left_out: int


def create_study(
    folder: str | os.PathLike[str],
    truth: str | os.PathLike[str] | None = None,
    methods: Mapping[str, str | os.PathLike[str] | None] | None = None,
    *,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
    database_url: str | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> Created:
    """Make a study, or bring one up to date with its study file.

    Parameters
    ----------
    folder : path-like
        The study folder; made if absent. A ``study.toml`` that is there already is used.
    truth : path-like, optional
        Folder of true photos; by default that of the last time.
    methods : mapping of str to path-like or None, optional
        Folder of colorizations per method, None for the built-in ``gray`` and ``random``, and for ``truth`` with presets that
        show no real photo beside it; by default as last time.
    preset : str, optional
        Key of `turing_test.protocol.PRESETS`; ``zhang2016`` for a new study.
    settings : mapping, optional
        Values that replace those of the study file, by option.
    allow_missing : bool, default False
        Leave out images that not all folders have, instead of refusing.
    database_url : str, optional
        Where answers may be, besides the SQLite file in the folder.
    on_image : callable, optional
        Called with the images done so far and their total.

    Returns
    -------
    Created

    Raises
    ------
    InputError
        Folders or images that cannot be used, too few images for the protocol, a folder that is something else, and
        any change once answers exist or the study is frozen.
    """
    root = Path(folder)
    earlier = _earlier(root)
    protocol = _protocol(root, preset, settings or {}, earlier)
    if earlier is None:
        return _create(root, truth, methods, protocol, allow_missing, on_image)
    return _update(root, earlier, truth, methods, protocol, allow_missing, database_url, on_image)


def _create(
    root: Path,
    truth: str | os.PathLike[str] | None,
    methods: Mapping[str, str | os.PathLike[str] | None] | None,
    protocol: Protocol,
    allow_missing: bool,
    on_image: Callable[[int, int], None] | None,
) -> Created:
    if truth is None or not methods:
        raise InputError(f"{root}: a new study needs --truth DIR and at least one --method NAME=DIR.")
    _refuse_other_folder(root, protocol.consent_file)
    sources = _sources(truth, methods, allow_missing, protocol, str(root / STUDY_FILE))
    existed = root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not (root / KEY).exists():
            write_atomically(root / KEY, secrets.token_hex(32).encode(), 0o600)
        key = read_key(root / KEY)
        notes: list[str] = []
        manifest = build_stimuli(root, protocol, sources, key, on_image, notes.append)
        check_study(protocol, manifest, str(root / STUDY_FILE))
        study = Study(root, protocol, manifest, key)
        _write(study, _built(truth, methods, allow_missing, protocol, len(sources.pairs.missing)), is_new=True)
    except BaseException:
        if not existed:
            shutil.rmtree(root, ignore_errors=True)
        else:
            _prune(root, ())
        raise
    return Created(study, True, (), len(sources.pairs.missing), tuple(notes))


def _update(
    root: Path,
    earlier: _Built,
    truth: str | os.PathLike[str] | None,
    methods: Mapping[str, str | os.PathLike[str] | None] | None,
    protocol: Protocol,
    allow_missing: bool,
    database_url: str | None,
    on_image: Callable[[int, int], None] | None,
) -> Created:
    before = Manifest.read(root / MANIFEST)
    key = read_key(root / KEY)
    where = str(root / STUDY_FILE)
    changed = [
        f"{name}: {_word(earlier.protocol.get(name))} -> {_word(value)}"
        for name, value in protocol.as_dict().items()
        if value != earlier.protocol.get(name)
    ]
    _refuse_if_fixed(root, changed, database_url)
    given = truth is not None or methods is not None
    truth = earlier.truth if truth is None else truth
    methods = earlier.methods if methods is None else methods
    manifest, left_out = before, earlier.left_out
    notes: list[str] = []
    if given or _stimulus_options(protocol.as_dict()) != _stimulus_options(earlier.protocol):
        allow_missing = allow_missing or (earlier.allow_missing and not given)
        sources = _sources(truth, methods, allow_missing, protocol, where)
        left_out = len(sources.pairs.missing)
        try:
            manifest = build_stimuli(root, protocol, sources, key, on_image, notes.append)
            changed += _manifest_changes(root, before, manifest)
            check_study(protocol, manifest, where)
            _refuse_if_fixed(root, changed, database_url)
        except BaseException:
            _prune(root, _files(before))
            raise
        if not changed:  # at most encoded by another version: answers name the files that were shown
            manifest = before
    check_study(protocol, manifest, where)
    study = Study(root, protocol, manifest, key)
    _write(study, _built(truth, methods, allow_missing, protocol, left_out), is_new=False)
    _prune(root, _files(manifest))
    return Created(study, False, tuple(changed), left_out, tuple(notes))


# --- what is asked for -----------------------------------------------------------------------------------


def _protocol(root: Path, preset: str | None, settings: Mapping[str, Any], earlier: _Built | None) -> Protocol:
    path = root / STUDY_FILE
    if not path.exists():
        own_name = {"name": root.resolve().name} if _can_be_named(root.resolve().name) else {}
        return Protocol.of_preset(preset or "zhang2016", **{**own_name, **settings})
    protocol = read_protocol(path)
    if preset not in (None, protocol.preset):
        raise InputError(
            f'{path} says preset = "{protocol.preset}", not "{preset}"; change it there, or create a study elsewhere.'
        )
    return Protocol(**{**{k: getattr(protocol, k) for k in protocol.as_dict()}, **settings})


def _stimulus_options(protocol: Mapping[str, Any]) -> tuple[object, ...]:
    """What decides the stimuli; all other options can change without building them again."""
    kinds = ("vigilance_trials", "catch_trials", "color_vision")
    return (
        *(protocol.get(key) for key in ("name", "size", "fit", "seed")),
        *(bool(protocol.get(key)) for key in kinds),
    )


def _can_be_named(name: str) -> bool:
    try:
        Protocol(name=name)
    except InputError:
        return False
    return True


def _sources(
    truth: str | os.PathLike[str],
    methods: Mapping[str, str | os.PathLike[str] | None],
    allow_missing: bool,
    protocol: Protocol,
    where: str,
) -> Sources:
    from evalkit.image_pairs import pair_folders

    builtin = tuple(sorted(name for name, folder in methods.items() if folder is None))
    if "truth" in builtin and protocol.real_vs_fake:
        raise InputError(
            f'--method truth: with preset = "{protocol.preset}" the photo would be shown against itself; it can be a method '
            "with preference and naturalness alone."
        )
    folders = {name: folder for name, folder in sorted(methods.items()) if folder is not None}
    pairs = pair_folders(truth, folders, allow_missing=allow_missing)
    # Before any image is decoded: a mistake that is known early should not cost minutes.
    check_enough_images(protocol, len(pairs), where)
    return Sources(pairs, builtin)


def _refuse_other_folder(root: Path, consent_file: str) -> None:
    if root.exists() and not root.is_dir():
        raise InputError(f"{root}: is a file; name a folder for the study.")
    ours = {STUDY_FILE, KEY, "stimuli", consent_file}
    if root.is_dir() and not (root / STUDY_FILE).exists():
        # Hidden: what an interrupted build left behind, or the system's own.
        names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
        other = [name for name in names if name not in ours]
        if other:
            raise InputError(f"{root}: holds other files ({_listed(other)}); name a new folder for the study.")


# --- what was there --------------------------------------------------------------------------------------


def _earlier(root: Path) -> _Built | None:
    if not (root / MANIFEST).exists():
        return None
    path = root / BUILT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _Built(
            Path(content["truth"]),
            {name: None if folder is None else Path(folder) for name, folder in content["methods"].items()},
            content["allow_missing"],
            content["protocol"],
            content["left_out"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); it says what the study was built from.") from None


def _refuse_if_fixed(root: Path, changes: Iterable[str], database_url: str | None) -> None:
    """Refuse changes to a study that has answers or is frozen."""
    changes = list(changes)
    if not changes:
        return
    what = "; ".join(changes)
    if (root / FROZEN).exists():
        raise InputError(
            f"{root}: is frozen ({FROZEN}), so it stays as it is; this would change it: {what}. Create a new study."
        )
    places = {str(root / DATABASE): _count_in_file(root / DATABASE)}
    if database_url is not None:
        places["the database"] = _count_in_database(database_url)
    for place, (n_people, n_simulated) in places.items():
        if n_people:
            raise InputError(
                f"{root}: has {n_people} sessions of participants, so it stays as it is; this would change it: {what}. "
                "Create a new study in another folder."
            )
        if n_simulated:
            raise InputError(
                f"{root}: has {n_simulated} simulated sessions of the study as it was; this would change it: {what}. "
                f"Delete {place} first; no participant is lost."
            )


def _count_in_file(database: Path) -> tuple[int, int]:
    """How many sessions of people and of simulated observers a SQLite file holds; by the standard library alone."""
    if not database.exists():
        return 0, 0
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT simulated, count(*) FROM session GROUP BY simulated").fetchall()
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error):
            return 0, 0
        raise InputError(f"{database}: cannot be read ({error}), so nothing was changed.") from None
    counts = {bool(simulated): count for simulated, count in rows}
    return counts.get(False, 0), counts.get(True, 0)


def _count_in_database(url: str) -> tuple[int, int]:
    """The same, for a database with a URL."""
    import sqlalchemy as sa

    from turing_test import tables
    from turing_test.storage import Storage, StorageUnavailable

    def count(connection: sa.Connection) -> tuple[int, int]:
        if not sa.inspect(connection).has_table("session"):
            return 0, 0
        simulated = tables.session.c.simulated
        rows = connection.execute(sa.select(simulated, sa.func.count()).group_by(simulated)).all()
        counts = {bool(key): int(n) for key, n in rows}
        return counts.get(False, 0), counts.get(True, 0)

    storage = Storage(url, connections=1)
    try:
        return storage.read(count)
    except StorageUnavailable as error:
        raise InputError(f"{error} So nothing was changed.") from None
    finally:
        storage.close()


def _manifest_changes(root: Path, before: Manifest, after: Manifest) -> list[str]:
    changes = []
    for what, old, new in (("images", before.images, after.images), ("methods", before.methods, after.methods)):
        gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
        changes += [f"{what}: {len(come)} new ({_listed(come)})"] * bool(come)
        changes += [f"{what}: {len(gone)} gone ({_listed(gone)})"] * bool(gone)
    meanings = {stimulus: sha for sha, stimulus in before.stimuli.items()}
    other = [
        stimulus
        for sha, stimulus in after.stimuli.items()
        if stimulus in meanings and not _same_pixels(root, meanings[stimulus], sha)
    ]
    if other:
        names = sorted(f"{stimulus.method or stimulus.role} {stimulus.image}" for stimulus in other)
        changes.append(f"stimuli: {len(other)} with other pixels ({_listed(names)})")
    return changes


def _same_pixels(root: Path, old: str, new: str) -> bool:
    """Whether two stimuli show the same; bytes differ with the common length and with the version of the encoder."""
    from evalkit.image_files import decode

    if old == new:
        return True
    try:
        before = decode(stimulus_path(root, old)).rgb8
    except InputError:  # damaged or lost: it is made anew
        return False
    after = decode(stimulus_path(root, new)).rgb8
    return before.shape == after.shape and bool((before == after).all())


# --- writing ---------------------------------------------------------------------------------------------


def _built(
    truth: str | os.PathLike[str],
    methods: Mapping[str, str | os.PathLike[str] | None],
    allow_missing: bool,
    protocol: Protocol,
    left_out: int,
) -> dict[str, Any]:
    return {
        "evalkit": version("colorization-evalkit"),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "truth": str(Path(truth).resolve()),
        "methods": {
            name: None if folder is None else str(Path(folder).resolve()) for name, folder in sorted(methods.items())
        },
        "allow_missing": allow_missing,
        "left_out": left_out,
        "protocol": protocol.as_dict(),
    }


def _write(study: Study, built: Mapping[str, Any], *, is_new: bool) -> None:
    """Write the files that describe a study, in an order that an interruption at any point leaves mendable.

    Without a manifest there is no study, so a new one gets it last. A study that is there gets the record of what it was
    built from last: until then the old record makes the next run build again.
    """
    root = study.folder
    # A file that says the same stays as it is, with its owner's comments.
    if not (root / STUDY_FILE).exists() or read_protocol(root / STUDY_FILE) != study.protocol:
        write_atomically(root / STUDY_FILE, format_protocol(study.protocol).encode())
    _write_recruiting(root, study.protocol.public_url)
    texts = {
        BUILT: json.dumps(built, indent=1, ensure_ascii=False) + "\n",
        MANIFEST: study.manifest.to_json(),
    }
    for name in (BUILT, MANIFEST) if is_new else (MANIFEST, BUILT):
        write_atomically(root / name, texts[name].encode())


def _write_recruiting(root: Path, public_url: str) -> None:
    """What crowd platforms ask for, once it is known where the study is served."""
    folder = root / RECRUITING
    made = {"prolific_url.txt": prolific_url(public_url) + "\n"} if public_url else {}
    if public_url.startswith("https://"):
        made["mturk_question.xml"] = mturk_question(public_url)
    if made:
        folder.mkdir(exist_ok=True)
    for name in ("prolific_url.txt", "mturk_question.xml"):
        if name in made:
            write_atomically(folder / name, made[name].encode())
        else:
            (folder / name).unlink(missing_ok=True)


def _files(manifest: Manifest) -> set[str]:
    return {*manifest.stimuli, *(plate.file for plate in manifest.plates)}


def _prune(root: Path, keep: Iterable[str]) -> None:
    """Remove stimuli that no manifest names."""
    keep = set(keep)
    for path in sorted((root / "stimuli").glob("*/*")):
        if path.stem not in keep and re.fullmatch(r"[0-9a-f]{64}\.(png|part)", path.name):
            path.unlink(missing_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
    stimuli = root / "stimuli"
    if stimuli.is_dir() and not any(stimuli.iterdir()):
        stimuli.rmdir()


def _word(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - N_SHOWN
    return ", ".join(names[:N_SHOWN]) + (f" and {more} more" if more > 0 else "")
