"""Named test sets: the published list of 10,000 ImageNet photos, rebuilt from the validation labels.

Two tables compare only when they were made on the same images. A set of images is known by its digest, and
the field's usual test set, ctest10k, is recognised by it and named in every signature.

Sources: G. Larsson, M. Maire, G. Shakhnarovich, "Learning Representations for Automatic Colorization", ECCV
2016, introduces it; table 1 of R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, is
measured on it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from evalkit.errors import InputError
from evalkit.wording import agree, counted

__all__ = ["ctest10k", "image_set_digest", "image_set_field", "read_validation_labels", "recognise_image_set"]

N_VALIDATION = 50_000
N_CLASSES = 1_000
N_CTEST10K = 10_000

CTEST10K_DIGEST = "3e84359dcbf05c8ab41b1e8cfeed914792422c6f4c31fb2edef2d10d988f297e"
"""sha256 of the published list, sorted, one file name per line."""

NAMED_SETS = {CTEST10K_DIGEST: "ctest10k"}
"""Name of a known set of images by its digest."""

# The published list is the last 10,000 of the validation photos in the order of `ctest10k`, once these 182
# are left out (numbers k of ILSVRC2012_val_{k:08d}; found by comparing the order with the list itself).
# fmt: off
CTEST10K_REMOVED = frozenset((
    36031, 36131, 36218, 36465, 36529, 36725, 36921, 37045, 37584, 37612, 37886, 37972, 38220,
    38402, 38593, 38828, 38842, 38914, 39381, 39511, 39587, 39660, 39778, 39887, 39952, 40149,
    40150, 40157, 40312, 40560, 40579, 40626, 40635, 40660, 40791, 40794, 40914, 40931, 41121,
    41302, 41343, 41508, 41613, 41650, 41657, 41868, 41876, 41900, 41980, 42062, 42092, 42107,
    42217, 42396, 42416, 42515, 42543, 42587, 42860, 43179, 43446, 43452, 43482, 43490, 43543,
    43569, 43659, 43675, 43676, 43690, 43715, 43724, 43741, 43790, 43814, 43824, 43827, 43829,
    43876, 43896, 43930, 44023, 44109, 44159, 44199, 44224, 44239, 44278, 44410, 44486, 44512,
    44547, 44626, 44648, 44757, 44782, 44898, 44920, 44955, 45100, 45128, 45232, 45279, 45291,
    45302, 45330, 45384, 45419, 45553, 45667, 45676, 45685, 45778, 45792, 45874, 45903, 46008,
    46052, 46153, 46339, 46357, 46361, 46366, 46381, 46391, 46414, 46466, 46472, 46511, 46589,
    46691, 46775, 46794, 46821, 46831, 46869, 46952, 47013, 47015, 47155, 47205, 47245, 47451,
    47478, 47493, 47501, 47516, 47610, 47651, 47811, 47896, 47977, 47985, 48025, 48157, 48215,
    48279, 48460, 48524, 48598, 48605, 48866, 48893, 49122, 49173, 49348, 49381, 49422, 49505,
    49526, 49537, 49548, 49567, 49614, 49636, 49751, 49769, 49828, 49899, 49907, 49939, 49943,
))
# fmt: on

_LABEL_LINE = re.compile(r"(?:\S*ILSVRC2012_val_(?P<number>\d{8})\.\w+\s+)?(?P<label>\d+)")


def ctest10k(labels: Sequence[int]) -> list[str]:
    """Rebuild the published list of 10,000 ImageNet validation photos.

    The validation photos are ordered by their rank within their class (by file name) and then by class, so
    that any stretch of the order holds the classes in equal shares; the 182 of `CTEST10K_REMOVED` are
    dropped and the last 10,000 are taken.

    Parameters
    ----------
    labels : sequence of int, length 50,000
        Class of each validation photo in the order of the file names: index (0 to 999) of its synset id
        among the sorted ids, as `read_validation_labels` gives it.

    Returns
    -------
    list of str, length 10,000
        File names ``ILSVRC2012_val_%08d.JPEG``, sorted.

    Raises
    ------
    InputError
        If the labels number the classes in another way, so that the list is not the published one.

    References
    ----------
    .. [1] G. Larsson, M. Maire, G. Shakhnarovich, "Learning Representations for Automatic Colorization", ECCV
       2016.
    """
    seen = [0] * N_CLASSES
    order = []
    for number, label in enumerate(_checked(labels), start=1):
        order.append((seen[label], label, number))
        seen[label] += 1
    kept = [number for _, _, number in sorted(order) if number not in CTEST10K_REMOVED]
    names = sorted(_file_name(number) for number in kept[-N_CTEST10K:])
    digest = image_set_digest(PurePosixPath(name).stem for name in names)
    if digest != CTEST10K_DIGEST:
        raise InputError(
            f"the labels give a list with checksum {digest[:8]}, but ctest10k has {CTEST10K_DIGEST[:8]}: "
            "they do not number the classes by their sorted synset ids (tench, n01440764, is 0)"
        )
    return names


def read_validation_labels(path: str | Path) -> Sequence[int]:
    """Read the classes of the 50,000 ImageNet validation photos.

    Parameters
    ----------
    path : str or Path
        A text file in one of two forms: 50,000 lines, the k-th the class of ``ILSVRC2012_val_{k:08d}``; or,
        in any order, lines ``ILSVRC2012_val_00000001.JPEG 65`` (the ``val.txt`` that came with Caffe).
        Classes are indices (0 to 999) of the sorted synset ids.

    Returns
    -------
    sequence of int, length 50,000
        Class of each photo in the order of the file names.

    Raises
    ------
    InputError
        If the file cannot be read, has another form, or is the development kit's
        ``ILSVRC2012_validation_ground_truth.txt``, whose ids number the classes in another way.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise InputError(f"cannot read the label file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file; labels are text, one photo per line") from error
    labels: dict[int, int] = {}
    for row, line in enumerate(lines, start=1):
        match = _LABEL_LINE.fullmatch(line.strip())
        if match is None:
            raise InputError(
                f"{path}, row {row}: expected a class from 0 to {N_CLASSES - 1}, alone or after a file name "
                f'like {_file_name(1)}, got "{line.strip()}"'
            )
        number = int(match["number"] or row)
        if number in labels:
            raise InputError(f"{path}, row {row}: {_file_name(number)} is there for the second time")
        labels[number] = int(match["label"])
    if labels.keys() != set(range(1, N_VALIDATION + 1)):
        raise InputError(
            f"{path} has {counted(len(labels), 'label')}; it must have one for each of {N_VALIDATION:,} photos"
        )
    if max(labels.values()) == N_CLASSES and min(labels.values()) == 1:
        raise InputError(
            f"{path} numbers the classes 1 to {N_CLASSES}: these are the ILSVRC ids of the development kit "
            "(ILSVRC2012_validation_ground_truth.txt), which do not follow the order of the synset ids, so "
            "subtracting 1 does not mend them; use labels 0 to 999 by sorted synset id, as in Caffe's val.txt"
        )
    return _checked([labels[number] for number in range(1, N_VALIDATION + 1)])


def image_set_digest(names: Iterable[str]) -> str:
    """Digest of a set of images, whatever their order and their file format.

    Parameters
    ----------
    names : iterable of str
        Image names without extension (file stems).

    Returns
    -------
    str
        sha256, in hexadecimal, of the sorted names, each written with ``.JPEG`` and a newline whatever
        format the file has: the published list of ctest10k then has its published checksum.
    """
    listing = "".join(f"{name}.JPEG\n" for name in sorted(names))
    return hashlib.sha256(listing.encode()).hexdigest()


def recognise_image_set(names: Iterable[str]) -> str | None:
    """Name of the published test set that consists of exactly these images.

    Parameters
    ----------
    names : iterable of str
        Image names without extension (file stems), in any order.

    Returns
    -------
    str or None
        ``"ctest10k"``; None for any other set.
    """
    return NAMED_SETS.get(image_set_digest(names))


def image_set_field(names: Iterable[str]) -> str:
    """Value of the signature field ``set``: which images a number was measured on.

    Parameters
    ----------
    names : iterable of str
        Image names without extension (file stems), in any order.

    Returns
    -------
    str
        Name and first eight digits of the digest, for example ``"ctest10k@3e84359d"``; the name is
        ``"own"`` for a set that is not a published one.
    """
    digest = image_set_digest(names)
    return f"{NAMED_SETS.get(digest, 'own')}@{digest[:8]}"


def _checked(labels: Sequence[int]) -> Sequence[int]:
    if len(labels) != N_VALIDATION:
        raise InputError(
            f"{counted(len(labels), 'validation label')} {agree(len(labels), 'was', 'were')} given; ImageNet has {N_VALIDATION} of them"
        )
    for number, label in enumerate(labels, start=1):
        if not 0 <= label < N_CLASSES:
            raise InputError(f"{_file_name(number)} has the label {label}; labels are 0 to {N_CLASSES - 1}")
    return labels


def _file_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"
