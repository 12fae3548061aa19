"""Which file of a method belongs to which true photo: matched by name, never by position.

The key of an image is its path below the folder without the extension, so ``a/x.png`` of a method belongs
to ``a/x.jpg`` of the truth. Nothing is decoded here. Where the files lie (`evalkit.images.places`) makes no difference.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar, overload

from evalkit.errors import InputError
from evalkit.images._headers import FORMATS, IMAGE_SUFFIXES
from evalkit.images.places import (
    ImageFile,
    ImagePlace,
    PlaceLike,
    archives_in,
    check_is_folder_here,
    files_below,
    lie_in_one_another,
    place_of,
    read_text,
    starts_like_an_image,
)
from evalkit.wording import agree, counted, error_reason, some_names

__all__ = [
    "FolderScan",
    "NameIndex",
    "PairTable",
    "check_folders",
    "check_method_name",
    "check_same_size",
    "find_image_files",
    "find_images",
    "pair_folders",
    "pair_scans",
    "read_image_names",
    "scan_folder",
]

UNREAD_SUFFIX = re.compile(r"\.(gif|avif|hei[cf]|jp2|j2k|jxl|p[bgnp]m|exr|hdr|tga|psd|svg|np[yz])")
"""Endings of files that probably hold an image of a kind that is not read: named, never passed over in silence."""

RESERVED_NAMES = frozenset({"all", "image", "mean", "method", "metric", "summary", "total"})
"""Words that head a row or column of some table."""


F_co = TypeVar("F_co", bound=ImageFile, covariant=True)


@dataclass(frozen=True, kw_only=True)
class PairTable(Generic[F_co]):
    """The files of a run: one row per image, in the order of ``names``.

    Attributes
    ----------
    names : tuple of str, length n
        Keys of the images, sorted.
    truth : tuple of Path or PlacedImage, length n
        File of each true photo.
    methods : mapping of str to tuple of Path or PlacedImage, each of length n
        Files of each method.
    missing : tuple of mappings
        What ``allow_missing`` left out, as records with the keys ``image``, ``method`` and ``reason``:
        truth images that the method lacks, and files of the method without a truth image. Empty when the
        folders agree.
    ignored : tuple of Path or PlacedImage
        Files beside the images that look like images of a kind that is not read (say, GIF), or are images
        under an ending that says otherwise.
    """

    names: tuple[str, ...]
    truth: tuple[F_co, ...]
    methods: Mapping[str, tuple[F_co, ...]]
    missing: tuple[Mapping[str, str], ...] = ()
    ignored: tuple[F_co, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class FolderScan(Generic[F_co]):
    """What one folder or other place holds.

    Attributes
    ----------
    folder : Path or ImagePlace
    images : mapping of str to Path or PlacedImage
        File by key, sorted by key (see `find_images`).
    ignored : tuple of Path or PlacedImage
        Files that look like images of a kind that is not read.
    """

    folder: Path | ImagePlace
    images: Mapping[str, F_co]
    ignored: tuple[F_co, ...] = field(default=())


def find_images(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Find the images of a folder and its sub-folders.

    Parameters
    ----------
    folder : path-like
        Links to folders are followed. Hidden files and folders (a leading dot) and files of other endings
        than ``IMAGE_SUFFIXES`` are passed over; case does not matter in an ending. A file without an ending
        counts where it begins like an image.

    Returns
    -------
    dict of str to Path
        File by key, sorted by key. A key is the path below ``folder`` with forward slashes and without the
        extension, in Unicode normal form C (macOS and Linux may spell the same accented name in different
        bytes).

    Raises
    ------
    InputError
        When the folder is missing, is no folder, cannot be read, holds no image, or two files have the same
        key.
    """
    return dict(scan_folder(Path(folder)).images)


def find_image_files(place: PlaceLike) -> dict[str, ImageFile]:
    """As `find_images`, of any place that `evalkit.images.places.place_of` knows."""
    return dict(scan_folder(place_of(place)).images)


@overload
def scan_folder(folder: Path) -> FolderScan[Path]: ...
@overload
def scan_folder(folder: Path | ImagePlace) -> FolderScan[ImageFile]: ...
def scan_folder(folder: Path | ImagePlace) -> FolderScan[ImageFile]:
    """Find the images of a folder and its sub-folders, or of another place, and what lies beside them.

    Raises
    ------
    InputError
        As `find_images`; also when a place elsewhere cannot be listed.
    """
    if isinstance(folder, Path):
        check_is_folder_here(folder)
    images: dict[str, ImageFile] = {}
    ignored: list[ImageFile] = []
    for path, file in files_below(folder):
        suffix = file.suffix
        if suffix.lower() not in IMAGE_SUFFIXES:
            is_image = starts_like_an_image(file)
            if UNREAD_SUFFIX.fullmatch(suffix.lower()) or (is_image and suffix):
                ignored.append(file)
            if suffix or not is_image:
                continue
        key = _key(path.removesuffix(suffix), file, folder)
        if key in images:
            names = (images[key].name, file.name)
            if names[0] == names[1]:  # of two shards or tables, or twice in one
                names = (str(images[key]), str(file))
            twice = f"{names[0]} is there twice: two images" if names[0] == names[1] else f"{names[0]} and {names[1]}"
            raise InputError(
                f"{folder}: {twice} share the name '{key}'; images are matched by name without extension, so remove one."
            )
        images[key] = file
    if not images:
        raise InputError(
            f"{folder}: holds no image that can be read ({FORMATS}){_of_another_kind(ignored)}{archives_in(folder)}."
        )
    return FolderScan(folder, {key: images[key] for key in sorted(images)}, tuple(sorted(ignored, key=str)))


def _of_another_kind(ignored: Sequence[ImageFile]) -> str:
    if not ignored:
        return ""
    return f"; {some_names(path.name for path in ignored)} {'is' if len(ignored) == 1 else 'are'} of another kind"


def _key(stem: str, file: ImageFile, folder: Path | ImagePlace) -> str:
    key = unicodedata.normalize("NFC", stem)
    # Keys become cells of tables and lines of digests.
    if re.search("[\x00-\x1f\x7f\ud800-\udfff]", key):
        raise InputError(f"{folder}: the file name {file.name!r} holds control characters or is not UTF-8; rename it.")
    # And names of files that are written; archives and tables may hold anything.
    if not isinstance(file, Path) and (key.startswith("/") or not {"", ".", ".."}.isdisjoint(key.split("/"))):
        raise InputError(f"{folder}: the name '{key}' leads out of its folder; rename it.")
    return key


def pair_folders(
    truth: str | os.PathLike[str],
    methods: Mapping[str, str | os.PathLike[str]],
    *,
    allow_missing: bool = False,
) -> PairTable[Path]:
    """Match the images of every method to the true photos by name.

    Parameters
    ----------
    truth : path-like
        Folder of true photos.
    methods : mapping of str to path-like
        Folder of colorizations per method; may be empty (built-in methods need no folder).
    allow_missing : bool, default False
        Keep only the images that the truth and all methods have, instead of refusing folders that differ.

    Returns
    -------
    PairTable

    Raises
    ------
    InputError
        A folder that `find_images` refuses, a bad method name, folders that are the same or lie in one
        another, and missing or surplus files (with ``allow_missing``: no common image).
    """
    folders = {name: Path(folder) for name, folder in methods.items()}
    check_folders(Path(truth), folders)
    scans = {name: scan_folder(folder) for name, folder in folders.items()}
    return pair_scans(scan_folder(Path(truth)), scans, allow_missing=allow_missing)


def pair_scans(
    truth_scan: FolderScan[F_co], scans: Mapping[str, FolderScan[F_co]], *, allow_missing: bool = False
) -> PairTable[F_co]:
    """As `pair_folders`, from folders that were scanned before.

    Parameters
    ----------
    truth_scan : FolderScan
    scans : mapping of str to FolderScan
        By method.
    allow_missing : bool, default False
        Keep only the images that the truth and all methods have.

    Raises
    ------
    InputError
        Missing and surplus files (with ``allow_missing``: no common image).
    """
    missing: list[Mapping[str, str]] = []
    for method, scan in scans.items():
        absent = [key for key in truth_scan.images if key not in scan.images]
        surplus = [key for key in scan.images if key not in truth_scan.images]
        if len(absent) == len(truth_scan.images):
            raise InputError(_nothing_matches(method, scan, truth_scan))
        if (absent or surplus) and not allow_missing:
            raise InputError(_mismatch(method, scan, absent, surplus, len(truth_scan.images)))
        missing += [{"image": key, "method": method, "reason": "no file of the method"} for key in absent]
        missing += [{"image": key, "method": method, "reason": "no truth image"} for key in surplus]
    names = [key for key in truth_scan.images if all(key in scan.images for scan in scans.values())]
    if not names:
        raise InputError(
            "no image is common to the truth and all methods, though each method has some of the "
            f"{counted(len(truth_scan.images), 'truth image')}; score fewer methods at once."
        )
    return PairTable(
        names=tuple(names),
        truth=tuple(truth_scan.images[key] for key in names),
        methods={method: tuple(scan.images[key] for key in names) for method, scan in scans.items()},
        missing=tuple(missing),
        ignored=tuple(path for scan in (truth_scan, *scans.values()) for path in scan.ignored),
    )


def _mismatch(
    method: str, scan: FolderScan[ImageFile], absent: Sequence[str], surplus: Sequence[str], n_truth: int
) -> str:
    parts = []
    if absent:
        parts.append(
            f"{len(absent)} of {counted(n_truth, 'truth image')} {agree(len(absent), 'has', 'have')} no file there ({some_names(absent)})"
        )
    if surplus:
        parts.append(
            f"{len(surplus)} of its {counted(len(scan.images), 'image')} {agree(len(surplus), 'has', 'have')} no truth image ({some_names(surplus)})"
        )
    return (
        f"method '{method}' ({scan.folder}): {' and '.join(parts)}{_of_another_kind(scan.ignored)}; complete the folders, or "
        "score the common images alone with --allow-missing."
    )


# --- why nothing matches ---------------------------------------------------------------------------------


def _nothing_matches(method: str, scan: FolderScan[ImageFile], truth: FolderScan[ImageFile]) -> str:
    hint = _guess_of_difference(list(truth.images), list(scan.images))
    return (
        f"method '{method}' ({scan.folder}): none of its {counted(len(scan.images), 'image')} ({some_names(scan.images)}) has the "
        f"name of a truth image in {truth.folder} ({some_names(truth.images)}). {hint}"
    )


_SAME_BUT: tuple[tuple[Callable[[str], str], str], ...] = (
    (lambda key: key.rpartition("/")[2], "their sub-folders; lay both folders out alike"),
    (str.casefold, "upper and lower case; rename one side"),
    (lambda key: re.sub(r"\d+", lambda digits: str(int(digits[0])), key), "leading zeros; rename one side"),
)


def _guess_of_difference(truth: Sequence[str], method: Sequence[str]) -> str:
    """Guess how the names of a method came to differ from the truth's, as one sentence."""
    for simplify, difference in _SAME_BUT:
        if _overlap(map(simplify, truth), map(simplify, method)):
            return f"The names differ in {difference}."
    for longer, shorter, side in ((method, truth, "method"), (truth, method, "truth")):
        affix = _common_affix(longer, shorter)
        if affix:
            return f"The names of the {side} have {affix}; remove it, so that both sides agree."
    end_truth, end_method = _common_ending(truth), _common_ending(method)
    stripped_truth = [key.removesuffix(end_truth) for key in truth]
    if _overlap(stripped_truth, [key.removesuffix(end_method) for key in method]):
        return f"The names of the truth end in '{end_truth}', those of the method in '{end_method}'; make them agree."
    return "Images are matched by name without extension; rename one side."


def _overlap(truth: Iterable[str], method: Iterable[str]) -> bool:
    """Whether most of the method's names are truth names."""
    truth_names, method_names = set(truth), list(method)
    return 2 * sum(name in truth_names for name in method_names) >= len(method_names)


def _common_affix(longer: Sequence[str], shorter: Sequence[str], n_sampled: int = 100) -> str:
    """Text that most names of one side carry around a name of the other side, in words; "" where there is none."""
    whole_names = set(shorter)
    affixes: Counter[tuple[str, str]] = Counter()
    sample = longer[:: max(1, len(longer) // n_sampled)]
    for key in sample:
        pieces = ((i, j) for i in range(len(key)) for j in range(len(key), i, -1))
        inner = max(((i, j) for i, j in pieces if key[i:j] in whole_names), key=lambda ij: ij[1] - ij[0], default=None)
        if inner:
            affixes[key[: inner[0]], key[inner[1] :]] += 1
    if not affixes:
        return ""
    (before, after), count = affixes.most_common(1)[0]
    if 2 * count <= len(sample):
        return ""
    return " and ".join([f"'{before}' in front"] * bool(before) + [f"'{after}' at the end"] * bool(after))


def _common_ending(names: Sequence[str]) -> str:
    return os.path.commonprefix([name[::-1] for name in names])[::-1]  # noqa: RUF071 (characters are meant)


# --- names, folders, sizes -------------------------------------------------------------------------------


def check_method_name(name: str) -> None:
    """Check that a method's name can stand in a table, a file name and a signature.

    Parameters
    ----------
    name : str
        1 to 64 ASCII letters, digits, spaces and ``. _ - +``, the first a letter, digit or ``_``
        (spreadsheets take a leading ``+`` or ``-`` for a formula, command lines a ``-`` for an option), the
        last no space or dot.

    Raises
    ------
    InputError
        When the name is not of that form or is a reserved word.
    """
    if not re.fullmatch(r"\w[\w .+-]{0,63}", name, re.ASCII) or name[-1] in " .":
        raise InputError(
            f"'{name}' cannot name a method; allowed are 1 to 64 letters (a-z, A-Z), digits, spaces and . _ - +, "
            "beginning with a letter, digit or _ and not ending in a space or dot."
        )
    if name.lower() in RESERVED_NAMES:
        raise InputError(f"'{name}' cannot name a method: it heads a row or column of the tables.")


def _check_method_names(names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        check_method_name(name)
        # Some file systems take names that differ in case alone for one.
        first = seen.setdefault(name.lower(), name)
        if first != name:
            raise InputError(f"the methods '{first}' and '{name}' differ in upper and lower case alone; rename one.")


def check_folders(truth: Path | ImagePlace, methods: Mapping[str, Path | ImagePlace]) -> None:
    """Check the names of the methods, and that no folder is another's or lies in it: sub-folders are searched too.

    Raises
    ------
    InputError
        Otherwise.
    """
    _check_method_names(methods)
    earlier_folders: dict[str, Path | ImagePlace] = {"the truth": truth}
    for method, folder in methods.items():
        owner = f"method '{method}'"
        for earlier, earlier_folder in earlier_folders.items():
            relation = lie_in_one_another(folder, earlier_folder)
            if relation == "same" and earlier == "the truth":
                raise InputError(f"{owner} has the folder of the truth ({folder}); as an anchor say --method truth.")
            if relation == "same":
                raise InputError(f"{owner} and {earlier} have the same folder ({folder}).")
            if relation == "nested":
                raise InputError(
                    f"the folders of {owner} ({folder}) and {earlier} ({earlier_folder}) lie in one another; images are "
                    "searched in sub-folders too, so the folders must lie apart."
                )
        earlier_folders[owner] = folder


class NameIndex:
    """Finds images of a run by the ways in which people write their names.

    Parameters
    ----------
    names : iterable of str
        Names of the images of the run.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._by_file_name: dict[str, set[str]] = {}
        for name in self._names:
            self._by_file_name.setdefault(name.rpartition("/")[2], set()).add(name)

    def __len__(self) -> int:
        return len(self._names)

    def matches(self, written: str) -> set[str]:
        """Images that may be meant: with or without ending or folders, in any Unicode normal form; empty for none."""
        spelled = unicodedata.normalize("NFC", written).replace("\\", "/").removeprefix("./")
        stem, dot, suffix = spelled.rpartition(".")
        # A name may itself end like a file ("a.JPEG" of a.JPEG.png): what is written comes first as it stands.
        spellings = [spelled, stem] if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else [spelled]
        for own in spellings:
            if own in self._names:
                return {own}
        files = (own.rpartition("/")[2] for own in spellings)
        return next((self._by_file_name[file] for file in files if file in self._by_file_name), set())


def list_name(images: PlaceLike | Collection[str]) -> str:
    """What sentences call a list of images: its file, or the argument."""
    return str(images) if isinstance(images, str | os.PathLike | ImagePlace) else "images"


def read_image_names(images: PlaceLike | Collection[str], names: Iterable[str]) -> frozenset[str]:
    """Read a list of images, and find each among the names of a run.

    Parameters
    ----------
    images : path-like, str or collection of str
        Text file, or the address of one, of one image per line, in UTF-8 with or without a byte-order mark: names as
        results have them, or file names with the ending of an image (``ILSVRC2012_val_00000001.JPEG``, as
        ``evalkit datasets`` writes them), with or without the folders above them, in any Unicode normal form. Empty
        lines and comments, which begin with ``#`` (unless an image is called so), do not count. A list or a set holds the
        names themselves.
    names : iterable of str
        Names of the images of the run.

    Returns
    -------
    frozenset of str
        The names of the run that the list names.

    Raises
    ------
    InputError
        When the file cannot be read or holds no names, or a line names none or several of the images.
    """
    path = list_name(images)
    lines = _listed_lines(images)
    in_run = NameIndex(names)
    lines = [line for line in lines if not line.startswith("#") or in_run.matches(line)]  # the rest are comments
    if not lines:
        raise InputError(f"{path}: holds no image names; one per line is expected.")
    kept: set[str] = set()
    unknown = []
    for line in lines:
        matches = in_run.matches(line)
        if len(matches) > 1:
            raise InputError(
                f"{path}: '{line}' may be {some_names(sorted(matches))}; write the folder in front of the name."
            )
        if not matches:
            unknown.append(line)
        kept |= matches
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} of {counted(len(lines), 'name')} {agree(len(unknown), 'is', 'are')} not among the {counted(len(in_run), 'image')} of the run "
            f"({some_names(unknown)})."
        )
    return frozenset(kept)


def _listed_lines(images: PlaceLike | Collection[str]) -> list[str]:
    if isinstance(images, str | os.PathLike | ImagePlace):
        try:
            lines: Collection[str] = read_text(images).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{images}: cannot be read as a text file of image names ({error_reason(error)})."
            ) from None
    elif isinstance(images, Collection):
        for name in images:
            if not isinstance(name, str):
                raise InputError(f"images holds {name!r}; give the names of photos, each a text")
        lines = images
    else:
        raise InputError(f"images is {type(images).__name__}; give a text file of names, or a list of them")
    return [line.strip() for line in lines if line.strip()]


def check_same_size(name: str, method: str, truth_shape: Sequence[int], prediction_shape: Sequence[int]) -> None:
    """Refuse a pair of different sizes.

    Parameters
    ----------
    name, method : str
        Which image, of which method.
    truth_shape, prediction_shape : sequence of int
        Height and width in pixels first; further axes are not looked at.

    Raises
    ------
    InputError
        When the sizes differ: images are never resized unasked.
    """
    (height, width), (other_height, other_width) = truth_shape[:2], prediction_shape[:2]
    if (height, width) != (other_height, other_width):
        raise InputError(
            f"image '{name}' is {width} x {height} pixels in the truth and {other_width} x {other_height} in "
            f"method '{method}'; images are never resized unasked: give --size N to resize all of them."
        )
