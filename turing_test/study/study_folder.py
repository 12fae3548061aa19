"""A study as it lies on disk, read and checked.

::

    STUDY/study.toml                     every option with a comment
    STUDY/manifest.json                  what each sealed image is
    STUDY/stimuli/ab/abcd….png           the sealed images, named by the SHA-256 of their bytes
    STUDY/secret.key                     32 random bytes as hex, readable by the owner alone
    STUDY/texts/                         the study's own texts, one file per language; only if you put one there
    STUDY/recruiting/                    address and XML for Prolific and MTurk, once public_url is set
    STUDY/built.json                     from which folders and options the stimuli were built
    STUDY/study.db                       the answers (SQLite), once served
    STUDY/NAME.csv                       which photo belongs to which block; only if blocks names it
    STUDY/extends.json                   the study that this one adds methods to, and who took part in that
    STUDY/moved.json                     where the answers are, once moved
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.text_formats import parse_json
from evalkit.wording import counted, error_reason
from turing_test.study.block_list import check_blocks, read_block_list
from turing_test.study.extension import EXTENDS, Extension
from turing_test.study.manifest import NOT_METHODS, Manifest
from turing_test.study.protocol import Protocol
from turing_test.study.study_file import read_protocol
from turing_test.study.texts import check_language, check_several, own_texts_path, read_texts

__all__ = [
    "BUILT",
    "DATABASE",
    "KEY",
    "MANIFEST",
    "MOVED",
    "RECRUITING",
    "STUDY_FILE",
    "Study",
    "check_study",
    "read_study",
]

STUDY_FILE = "study.toml"
MANIFEST = "manifest.json"
KEY = "secret.key"
BUILT = "built.json"
DATABASE = "study.db"
RECRUITING = "recruiting"
MOVED = "moved.json"
OWN_FILES = (STUDY_FILE, MANIFEST, KEY, BUILT, RECRUITING, MOVED, EXTENDS, "freeze.json", "dashboard.password")
"""What the study folder holds besides stimuli, database and the owner's texts."""


@dataclass(frozen=True)
class Study:
    """A study ready to be served.

    Attributes
    ----------
    folder : Path
    protocol : Protocol
    manifest : Manifest
    key : bytes
        32 secret bytes: worker ids are stored as HMAC under this key, and tokens are signed with it.
    extends : Extension or None
        What it knows of the study that it adds methods to.
    """

    folder: Path
    protocol: Protocol
    manifest: Manifest
    key: bytes = field(repr=False)
    extends: Extension | None = None

    @property
    def first_manifest(self) -> str:
        """Digest of the stimuli of the first study of those that extend one another; its own for a study alone."""
        return self.manifest.digest if self.extends is None else self.extends.first_manifest

    @property
    def database(self) -> Path:
        """File of the SQLite database that is used unless another database is named."""
        return self.folder / DATABASE

    @property
    def moved_to(self) -> str | None:
        """Where `evalkit study move` has carried the answers, without a password; None where they are in the folder."""
        try:
            address: str = parse_json((self.folder / MOVED).read_text(encoding="utf-8"))["to"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder / MOVED}: cannot be read ({error_reason(error)}); it says where the answers are."
            ) from None
        return address

    def stimulus_path(self, sha256: str) -> Path:
        """File of a sealed image or plate.

        Raises
        ------
        ValueError
            When that is no SHA-256 in hex: nothing else ever becomes part of a path.
        """
        return stimulus_path(self.folder, sha256)

    def find(self, image: str, role: str, method: str | None = None) -> str:
        """SHA-256 of one stimulus (`Manifest.find`)."""
        return self.manifest.find(image, role, method)

    def texts(self) -> dict[str, Any]:
        """All texts of the page in the study's language, its own before those of the toolkit."""
        return read_texts(self.protocol.language, self.folder)

    def consent_text(self) -> str | None:
        """The study's own consent text; None for the one that comes with the toolkit.

        Raises
        ------
        InputError
            When the file that ``consent_file`` names cannot be read or is empty.
        """
        if not self.protocol.consent_file:
            return None
        path = self._owners_file("consent_file", self.protocol.consent_file)
        try:
            text = path.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: cannot be read as the consent text that consent_file names ({error_reason(error)})."
            ) from None
        if not text:
            raise InputError(f"{path}: is empty; consent_file must name the text that participants agree to.")
        return text

    def prolific_keys_path(self) -> Path | None:
        """File of Prolific's public keys; None when the study has none.

        Raises
        ------
        InputError
            When ``prolific_keys`` names a file of the study itself, or one outside its folder.
        """
        name = self.protocol.prolific_keys
        return self._owners_file("prolific_keys", name) if name else None

    def block_list_path(self) -> Path | None:
        """File that says which photo belongs to which block; None when the study has no such blocks.

        Raises
        ------
        InputError
            When ``blocks`` names one outside the study folder.
        """
        name = self.protocol.block_list
        return self._owners_file("blocks", name) if name else None

    def _owners_file(self, option: str, name: str) -> Path:
        """A file that an option names: one that the owner put into the folder, and no other."""
        path = self.folder / name
        if path.name in OWN_FILES or path.name.startswith((DATABASE, ".")):
            raise InputError(f"{option} is {path.name!r}, a file of the study itself that is shown to nobody.")
        if path.resolve().parent != self.folder.resolve():  # a link that leads elsewhere
            raise InputError(f"{path}: leads out of the study folder; {option} must be a file in it.")
        return path


@lru_cache(1 << 16)  # asked for with every image that is served
def stimulus_path(folder: Path, sha256: str) -> Path:
    """As `Study.stimulus_path`, for a folder."""
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"{sha256!r} is no SHA-256 in hex")
    return folder / "stimuli" / sha256[:2] / f"{sha256}.png"


def read_study(folder: str | os.PathLike[str]) -> Study:
    """Read a study that ``evalkit study create`` made.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    Study

    Raises
    ------
    InputError
        When a file is missing, unreadable or damaged, or the study file asks for stimuli that were not built.
    """
    root = Path(folder)
    if not (root / STUDY_FILE).is_file() or not (root / MANIFEST).is_file():
        raise InputError(f"{root}: is no study (no {STUDY_FILE} and {MANIFEST} there); make one: evalkit study create.")
    study = Study(
        root,
        read_protocol(root / STUDY_FILE),
        Manifest.read(root / MANIFEST),
        read_key(root / KEY),
        Extension.read(root),
    )
    check_study(study.protocol, study.manifest, root)
    block_list = study.block_list_path()
    if block_list is not None and read_block_list(block_list, study.manifest.images) != study.manifest.blocks:
        raise InputError(
            f"{block_list}: is not the list that the study was created with; run evalkit study create again."
        )
    return study


def read_key(path: Path) -> bytes:
    """Read the secret of a study."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the study's secret cannot be read ({error_reason(error)}).") from None
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise InputError(f"{path}: is not the study's secret; 32 bytes in hex are expected.")
    return bytes.fromhex(text)


def check_study(protocol: Protocol, manifest: Manifest, folder: Path) -> None:
    """Check that the built stimuli are those that a protocol needs.

    Parameters
    ----------
    protocol : Protocol
    manifest : Manifest
    folder : Path
        The study folder.

    Raises
    ------
    InputError
        Naming the key and what was built.
    """
    where, again = folder / STUDY_FILE, "run evalkit study create again"
    for key, wanted, built in (("name", protocol.name, manifest.study), ("size", protocol.size, manifest.size)):
        if wanted != built:
            raise InputError(f"{where}: {key} is {wanted}, but the stimuli were built for {built}; {again}.")
    for key, wanted_any, role in (
        ("vigilance_trials", protocol.vigilance_trials, "vigilance"),
        ("catch_trials", protocol.catch_trials, "catch"),
    ):
        if wanted_any and not manifest.has_role(role):
            raise InputError(f"{where}: {key} is {wanted_any}, but no {role} images were built; {again}.")
    if bool(protocol.block_list) != bool(manifest.blocks):
        built_with = "with" if manifest.blocks else "without"
        raise InputError(
            f'{where}: blocks is "{protocol.blocks}", but the study was created {built_with} blocks of images; {again}.'
        )
    if protocol.color_vision and not manifest.plates:
        raise InputError(f"{where}: color_vision is true, but no plates were built; {again}.")
    check_before_build(protocol, len(manifest.images), len(manifest.methods), folder)
    check_blocks(protocol, manifest.blocks, folder / protocol.block_list)
    check_names(protocol, manifest.methods, folder)


def check_names(protocol: Protocol, methods: Sequence[str], folder: Path) -> None:
    """Refuse methods that are named as what a search for the real photo among several shows beside them."""
    taken = [method for method in methods if method in NOT_METHODS]
    if protocol.seeks_real and taken:
        raise InputError(
            f"{folder / STUDY_FILE}: a method is named {taken[0]!r}, which in a search for the real photo among "
            f"{protocol.alternatives} is the name of what is no method ({', '.join(NOT_METHODS)}); name it otherwise."
        )


def check_before_build(protocol: Protocol, n_images: int, n_methods: int, folder: Path) -> None:
    """Refuse a protocol whose texts are not there or cannot be shown, or that needs more photos than there are: nobody sees one twice.

    The part of `check_study` that is known before any image is decoded.
    """
    where = folder / STUDY_FILE
    try:
        check_language(protocol.language, folder)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    texts = read_texts(protocol.language, folder)
    if protocol.shows_several:
        check_several(texts, str(own_texts_path(folder, protocol.language)), protocol.preset)
    if protocol.preset == "preference" and n_methods < protocol.alternatives:
        compared = f"{protocol.alternatives} (alternatives)" if protocol.shows_several else "two"
        fewer = f"lower alternatives to {n_methods}, or " if n_methods > 1 else ""
        raise InputError(
            f'{where}: preset = "preference" compares {compared} methods, and the study has {n_methods}; {fewer}add methods.'
        )
    if protocol.seeks_real and n_methods < protocol.methods_per_trial:
        raise InputError(
            f"{where}: alternatives is {protocol.alternatives}, the real photo and {protocol.methods_per_trial} colorizations by "
            f"different methods, and the study has {counted(n_methods, 'method')}; allowed is at most {n_methods + 1}, or add methods."
        )
    _check_methods_per_person(protocol, n_methods, where)
    if n_images < protocol.images_needed:
        parts = {
            "practice_trials": protocol.practice_trials,
            "test_trials": protocol.test_trials,
            "catch_trials": protocol.catch_trials,
            "reserve_trials": protocol.reserve_trials,
        }
        total = " + ".join(f"{name} {count}" for name, count in parts.items() if count)
        raise InputError(
            f"{where}: {total} need {counted(protocol.images_needed, 'different photo')}, and there are {n_images}; lower these "
            "numbers or add photos."
        )


def _check_methods_per_person(protocol: Protocol, n_methods: int, where: Path) -> None:
    """Refuse designs in which somebody would judge one method more often than another."""
    n_arms = math.comb(n_methods, protocol.methods_per_trial)
    what = "pairs of methods" if protocol.preset == "preference" else "methods"
    if protocol.shows_several:
        what = f"sets of {protocol.methods_per_trial} methods"
    per_person = protocol.arms_per_person(n_arms)
    if not n_arms:  # said better by what needs two methods
        return
    if per_person > n_arms:
        raise InputError(
            f"{where}: methods_per_person is {per_person}, and the study has {n_arms} {what}; allowed is at most {n_arms}, "
            'or "all".'
        )
    n_trials = protocol.test_trials - protocol.vigilance_trials
    if n_trials % per_person:
        said = f"{protocol.methods_per_person} ({per_person} {what})"
        raise InputError(
            f"{where}: methods_per_person is {said if per_person == n_arms else per_person}, and test_trials - "
            f"vigilance_trials is {n_trials}; allowed is a multiple of {per_person}, so that each gets equally many trials, "
            f"such as test_trials = {protocol.vigilance_trials + _next_multiple(n_trials, per_person)}."
        )
    if protocol.seeks_real and n_trials % (per_person * protocol.alternatives):
        enough = protocol.vigilance_trials + _next_multiple(n_trials, per_person * protocol.alternatives)
        raise InputError(
            f"{where}: test_trials - vigilance_trials is {n_trials}, of {per_person} {what} per person; allowed is a multiple of "
            f"{per_person * protocol.alternatives}, so that the real photo stands in every place equally often with each, such as "
            f"test_trials = {enough}."
        )


def _next_multiple(number: int, of: int) -> int:
    """The next even multiple, so that the real photo can come first in half of the pairs."""
    step = math.lcm(of, 2)
    return -(-number // step) * step
