"""From folders of images to a study folder, and again after a change of the study file.

Whatever interrupts the work, a study is whole, or absent, or made whole by the same command again.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.wording import some_names
from turing_test.stimuli.build import Sources, build_stimuli
from turing_test.stimuli.extending import Base, read_base
from turing_test.stimuli.study_changes import block_changes, manifest_changes, protocol_changes, refuse_if_fixed
from turing_test.study.block_list import check_blocks, read_block_list
from turing_test.study.build_record import BuildRecord, Methods
from turing_test.study.extension import EXTENDS, Extension
from turing_test.study.manifest import Manifest
from turing_test.study.protocol import Protocol
from turing_test.study.recruiting_files import mturk_question, prolific_url
from turing_test.study.study_file import edit_protocol, format_protocol, read_protocol
from turing_test.study.study_folder import (
    BUILT,
    KEY,
    MANIFEST,
    RECRUITING,
    STUDY_FILE,
    Study,
    check_before_build,
    check_names,
    check_study,
    read_key,
)
from turing_test.study.texts import OWN_TEXTS, own_asking_digest

__all__ = ["Created", "create_study"]

LAPTOP_WINDOW = (1366, 625)
"""CSS pixels that a browser leaves to its page on a display of 1366 x 768, still the smallest common one."""


@dataclass(frozen=True, kw_only=True)
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


def create_study(
    folder: str | os.PathLike[str],
    truth: str | os.PathLike[str] | None = None,
    methods: Methods | None = None,
    *,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
    database_url: str | None = None,
    extends: str | os.PathLike[str] | None = None,
    extends_database: str | None = None,
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
        Key of `turing_test.study.protocol.PRESETS`; ``zhang2016`` for a new study.
    settings : mapping, optional
        Values that replace those of the study file, by option. The list that ``blocks`` names may lie anywhere: it is copied
        into the folder.
    allow_missing : bool, default False
        Leave out images that not all folders have, instead of refusing.
    database_url : str, optional
        Where answers may be, besides the SQLite file in the folder.
    extends : path-like, optional
        A closed study that a new one adds methods to: photos, question, texts and secret are taken over, and nobody who took
        part in it is admitted again.
    extends_database : str, optional
        Where the answers of that are, if not in its folder.
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
    earlier = BuildRecord.read(root / BUILT) if (root / MANIFEST).exists() else None
    base = None
    settings, list_given = _list_of_blocks(root, settings or {})
    if extends is not None:
        if (root / STUDY_FILE).exists():
            raise InputError(f"{root}: is a study already; --extends makes a new one, so name a new folder.")
        base = read_base(Path(extends), extends_database)
        truth = base.truth if truth is None else truth
        own_name = root.resolve().name
        protocol = base.protocol(own_name if _can_be_named(own_name) else base.study.protocol.name, settings)
        list_given = base.study.block_list_path()
    else:
        protocol = _protocol(root, preset, settings, earlier)
    block_list = _BlockList(protocol, list_given or root / protocol.block_list)
    if earlier is None:
        return _create(root, truth, methods, protocol, block_list, allow_missing, on_image, base)
    return _update(
        root,
        earlier,
        truth,
        methods,
        protocol,
        block_list,
        allow_missing=allow_missing,
        database_url=database_url,
        on_image=on_image,
    )


def _create(
    root: Path,
    truth: str | os.PathLike[str] | None,
    methods: Methods | None,
    protocol: Protocol,
    block_list: _BlockList,
    allow_missing: bool,
    on_image: Callable[[int, int], None] | None,
    base: Base | None,
) -> Created:
    if truth is None or not methods:
        raise InputError(f"{root}: a new study needs --truth DIR and at least one --method NAME=DIR.")
    _refuse_other_folder(root, protocol.consent_file, protocol.block_list)
    sources = _sources(truth, methods, allow_missing, protocol, root)
    blocks = block_list.read(sources.pairs.names)
    left_out = len(sources.pairs.missing)
    existed = root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if base is not None:
            base.prepare(root)
        if not (root / KEY).exists():
            write_atomically(root / KEY, secrets.token_hex(32).encode(), 0o600)
        key = read_key(root / KEY)
        notes: list[str] = []
        manifest = replace(build_stimuli(root, protocol, sources, key, on_image, notes.append), blocks=blocks)
        check_study(protocol, manifest, root)
        if base is not None:
            base.refuse_other_stimuli(root, manifest)
        study = Study(root, protocol, manifest, key, None if base is None else base.extension)
        _write(
            study,
            BuildRecord(
                truth=truth,
                methods=methods,
                allow_missing=allow_missing,
                left_out=left_out,
                protocol=protocol.as_dict(),
                asking_texts=own_asking_digest(root, protocol.language),
            ),
            block_list,
            is_new=True,
        )
    except BaseException:
        if not existed:
            shutil.rmtree(root, ignore_errors=True)
        else:
            _prune(root, ())
        raise
    return Created(study=study, is_new=True, changes=(), left_out=left_out, notes=(*notes, *_window_notes(protocol)))


def _update(
    root: Path,
    earlier: BuildRecord,
    truth: str | os.PathLike[str] | None,
    methods: Methods | None,
    protocol: Protocol,
    block_list: _BlockList,
    *,
    allow_missing: bool,
    database_url: str | None,
    on_image: Callable[[int, int], None] | None,
) -> Created:
    before = Manifest.read(root / MANIFEST)
    key = read_key(root / KEY)
    changed = protocol_changes(earlier.protocol, protocol)
    asking_texts = own_asking_digest(root, protocol.language)
    if earlier.asking_texts not in (None, asking_texts):
        changed.append(
            f"texts: other words of question, answers, instructions or feedback in {OWN_TEXTS}/{protocol.language}.toml"
        )
    refuse_if_fixed(root, changed, database_url)
    given = truth is not None or methods is not None
    truth = earlier.truth if truth is None else truth
    methods = earlier.methods if methods is None else methods
    manifest, left_out = before, earlier.left_out
    notes: list[str] = []
    if given or _stimulus_options(protocol.as_dict()) != _stimulus_options(earlier.protocol):
        allow_missing = allow_missing or (earlier.allow_missing and not given)
        sources = _sources(truth, methods, allow_missing, protocol, root)
        left_out = len(sources.pairs.missing)
        blocks = block_list.read(sources.pairs.names)
        changed += block_changes(before.blocks, blocks)
        refuse_if_fixed(root, changed, database_url)
        try:
            manifest = replace(build_stimuli(root, protocol, sources, key, on_image, notes.append), blocks=blocks)
            changed += manifest_changes(root, before, manifest)
            check_study(protocol, manifest, root)
            refuse_if_fixed(root, changed, database_url)
        except BaseException:
            _prune(root, _files(before))
            raise
        if not changed:  # at most encoded by another version: answers name the files that were shown
            manifest = before
    else:
        blocks = block_list.read(before.images)
        changed += block_changes(before.blocks, blocks)
        refuse_if_fixed(root, changed, database_url)
        manifest = replace(before, blocks=blocks)
    check_study(protocol, manifest, root)
    study = Study(root, protocol, manifest, key, Extension.read(root))
    _write(
        study,
        BuildRecord(
            truth=truth,
            methods=methods,
            allow_missing=allow_missing,
            left_out=left_out,
            protocol=protocol.as_dict(),
            asking_texts=asking_texts,
        ),
        block_list,
        is_new=False,
    )
    _prune(root, _files(manifest))
    notes += _window_notes(protocol) if changed else []
    return Created(study=study, is_new=False, changes=tuple(changed), left_out=left_out, notes=tuple(notes))


def _window_notes(protocol: Protocol) -> list[str]:
    """Whether a common laptop has the window that a session needs."""
    width, height = protocol.window_width, protocol.window_height
    if width <= LAPTOP_WINDOW[0] and height <= LAPTOP_WINDOW[1]:
        return []
    narrower = width > LAPTOP_WINDOW[0] and protocol.sequential and not protocol.min_width
    hint = f", or min_width = {protocol.size}, which shows both images of a pair in one place" if narrower else ""
    if protocol.shows_several:
        hint = ", or images_per_row otherwise"
    return [
        f"a session needs a window of {width} x {height} CSS pixels, and a laptop of 1366 x 768 pixels has one of "
        f"{LAPTOP_WINDOW[0]} x {LAPTOP_WINDOW[1]}: people with no larger screen cannot take part; set size lower{hint}."
    ]


# --- what is asked for -----------------------------------------------------------------------------------


def _protocol(root: Path, preset: str | None, settings: Mapping[str, Any], earlier: BuildRecord | None) -> Protocol:
    path = root / STUDY_FILE
    settings = dict(settings)
    set_preset = settings.pop("preset", preset)  # --set preset=X means what --preset X means
    if preset not in (None, set_preset):
        raise InputError(f"--preset {preset} and --set preset={set_preset} differ; name one preset.")
    preset = set_preset
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


@dataclass(frozen=True)
class _BlockList:
    """The list of blocks that a protocol names, wherever it lies now; nothing where it names none."""

    protocol: Protocol
    path: Path

    def read(self, images: Collection[str]) -> dict[str, str]:
        """Block by image; empty without blocks of images."""
        if not self.protocol.block_list:
            return {}
        blocks = read_block_list(self.path, images)
        check_blocks(self.protocol, blocks, self.path)
        return blocks

    def copy_to(self, root: Path) -> None:
        """Put it into the study folder, unless it is there."""
        name = self.protocol.block_list
        if name and self.path.resolve() != (root / name).resolve():
            write_atomically(root / name, self.path.read_bytes())


def _list_of_blocks(root: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """The settings with the bare name of the list of blocks, and where it lies: as named, or in the study folder."""
    settings, named = dict(settings), settings.get("blocks")
    if not isinstance(named, str) or not named.endswith(".csv"):
        return settings, None
    path = Path(named)
    settings["blocks"] = path.name
    in_folder = root / path.name
    return settings, in_folder if named == path.name and not path.is_file() and in_folder.is_file() else path


def _can_be_named(name: str) -> bool:
    try:
        Protocol(name=name)
    except InputError:
        return False
    return True


def _sources(
    truth: str | os.PathLike[str],
    methods: Methods,
    allow_missing: bool,
    protocol: Protocol,
    root: Path,
) -> Sources:
    from evalkit.images.image_pairs import pair_folders

    builtin = tuple(sorted(name for name, folder in methods.items() if folder is None))
    if "truth" in builtin and protocol.real_vs_fake:
        raise InputError(
            f'--method truth: with preset = "{protocol.preset}" the photo would be shown against itself; it can be a method '
            "with preference and naturalness alone."
        )
    folders = {name: folder for name, folder in sorted(methods.items()) if folder is not None}
    pairs = pair_folders(truth, folders, allow_missing=allow_missing)
    # Before any image is decoded: a mistake that is known early should not cost minutes.
    sources = Sources(pairs, builtin)
    check_before_build(protocol, len(pairs), len(sources.methods), root)
    check_names(protocol, sources.methods, root)
    return sources


def _refuse_other_folder(root: Path, *owners_files: str) -> None:
    if root.exists() and not root.is_dir():
        raise InputError(f"{root}: is a file; name a folder for the study.")
    ours = {STUDY_FILE, KEY, "stimuli", OWN_TEXTS, EXTENDS, *owners_files}
    if root.is_dir() and not (root / STUDY_FILE).exists():
        # Hidden: what an interrupted build left behind, or the system's own.
        names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
        strangers = [name for name in names if name not in ours]
        if strangers:
            raise InputError(f"{root}: holds other files ({some_names(strangers)}); name a new folder for the study.")


# --- writing ---------------------------------------------------------------------------------------------


def _write(study: Study, built: BuildRecord, block_list: _BlockList, *, is_new: bool) -> None:
    """Write the files that describe a study, in an order that an interruption at any point leaves mendable.

    Without a manifest there is no study, so a new one gets it last. A study that is there gets the record of what it was
    built from last: until then the old record makes the next run build again.
    """
    root = study.folder
    block_list.copy_to(root)
    _write_study_file(root / STUDY_FILE, study.protocol)
    _write_recruiting(root, study.protocol.public_url)
    texts = {BUILT: built.to_json(), MANIFEST: study.manifest.to_json()}
    for name in (BUILT, MANIFEST) if is_new else (MANIFEST, BUILT):
        write_atomically(root / name, texts[name], 0o600)  # which image is real is nobody else's business


def _write_study_file(path: Path, protocol: Protocol) -> None:
    """Write the study file, or change what differs in the one that is there: its owner's comments stay."""
    if not path.exists():
        write_atomically(path, format_protocol(protocol).encode())
    elif read_protocol(path) != protocol:
        try:
            edited = edit_protocol(path.read_bytes().decode("utf-8-sig"), protocol)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        write_atomically(path, edited.encode())


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
