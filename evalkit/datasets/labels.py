"""True classes of the images, from the forms in which people keep them.

- a CSV file (commas, semicolons or tabs) with the columns ``file`` and ``class_index``, and optionally ``wnid`` (or ``wnid`` alone);
- Kaggle's ``LOC_val_solution.csv``: the columns ``ImageId`` and ``PredictionString``, synset ids with boxes;
- the ``val.txt`` that came with Caffe: lines ``ILSVRC2012_val_00000001.JPEG 65``, blanks or tabs between;
- 50,000 bare lines, the k-th the class of ``ILSVRC2012_val_{k:08d}``;
- the word ``folders``: each image lies in a folder named by its synset id;
- the word ``names``: each file name begins with its synset id.

A class is the place of its synset id among the sorted ids of ILSVRC 2012 (0 to 999), as networks are trained. The
development kit's ground truth numbers the classes in another way; it is recognised and refused.
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from evalkit.errors import InputError
from evalkit.text_formats import SpreadsheetText, spreadsheet_text
from evalkit.wording import agree, counted, some_names

__all__ = ["DEVKIT_NUMBERING", "check_label_source", "labels_digest", "labels_for", "labels_of_validation_set"]

DEVKIT_NUMBERING = (
    "these are the ILSVRC ids of the development kit (ILSVRC2012_validation_ground_truth.txt), which do not follow the "
    "order of the synset ids, so subtracting 1 does not mend them; use labels 0 to 999 by sorted synset id, as in "
    "Caffe's val.txt"
)

N_IMAGENET = 1000

_SYNSET = re.compile(r"n\d{8}")
_IN_NAMES = ("folders", "names")
"""Words for labels that are the synset ids in the names of images."""
_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})")


def labels_for(source: str | Path, names: Sequence[str]) -> dict[str, int]:
    """True class of every image.

    Parameters
    ----------
    source : str or Path
        A label file in one of the forms above, or the word ``folders`` or ``names`` (a file of that name is written
        ``./names``).
    names : sequence of str
        Image names as the scoring run has them: the path below the folder, without extension.

    Returns
    -------
    dict of str to int
        Class index by name, in the order of ``names``.

    Raises
    ------
    InputError
        If an image has no label or two, a synset id is unknown, a class is negative or contradicts its synset id, or
        the numbering is that of the development kit. Entries for images that are not scored are passed over.

    Examples
    --------
    >>> labels_for("names", ["n01440764_tench"])
    {'n01440764_tench': 0}
    """
    if str(source) in _IN_NAMES:
        return {name: _class_of_synset(_synset_in(name, str(source)), f"image '{name}'") for name in names}
    path = Path(source)
    return _matched(_read(path, names), names, path)


def check_label_source(source: str | Path) -> None:
    """Refuse a file of labels that does not exist, also where no metric reads it."""
    if str(source) not in _IN_NAMES and not Path(source).is_file():
        raise InputError(f"--labels {source}: no such file; allowed are a label file, folders and names.")


def labels_of_validation_set(source: Path) -> Sequence[int]:
    """Class of each of the 50,000 ImageNet validation photos, in the order of their names, from any form of label file.

    Raises
    ------
    InputError
        As `labels_for` for CSV files, as `evalkit.datasets.ctest10k.read_validation_labels` for others.
    """
    from evalkit.datasets.ctest10k import read_validation_labels

    try:
        with source.open("rb") as file:
            is_csv = b"," in file.readline(1000)
    except OSError:
        is_csv = False
    if not is_csv:
        return read_validation_labels(source)
    names = [f"ILSVRC2012_val_{number:08d}" for number in range(1, 50_001)]
    label_of = labels_for(source, names)
    return [label_of[name] for name in names]


def labels_digest(labels: Mapping[str, int]) -> str:
    """Eight digits that stand for the classes of a set of images, in the order of their names.

    Examples
    --------
    >>> labels_digest({"b": 1, "a": 0}) == labels_digest({"a": 0, "b": 1})
    True
    """
    lines = "".join(f"{name} {labels[name]}\n" for name in sorted(labels))
    return hashlib.sha256(lines.encode()).hexdigest()[:8]


def _synset_in(name: str, where: str) -> str:
    path = PurePosixPath(name)
    text = path.parent.name if where == "folders" else path.name
    match = _SYNSET.match(text)
    if match is None or (where == "folders" and match[0] != text):
        place = "lies in no folder named by" if where == "folders" else "has a name that does not begin with"
        raise InputError(f"--labels {where}: image '{name}' {place} a synset id such as n01440764.")
    return match[0]


def _class_of_synset(wnid: str, where: str) -> int:
    from evalkit.datasets.imagenet_synsets import CLASS_OF_SYNSET

    try:
        return CLASS_OF_SYNSET[wnid]
    except KeyError:
        raise InputError(f"{where}: {wnid} is none of the {N_IMAGENET} synset ids of ILSVRC 2012.") from None


def _read(path: Path, names: Sequence[str]) -> list[tuple[str, int]]:
    try:
        sheet = spreadsheet_text(path)
    except OSError as error:
        raise InputError(f"{path}: the label file cannot be read ({error.strerror}).") from error
    except InputError as error:
        raise InputError(f"{path}: not a text file; labels are text, one image per line.") from error
    lines = sheet.text.splitlines()
    rows = [(number, line) for number, line in enumerate(lines, start=sheet.header_row) if line.strip()]
    if not rows:
        raise InputError(f"{path}: holds no labels.")
    header = rows[0][1]
    delimiter = _delimiter(header, sheet)
    if delimiter:
        entries = _read_csv(path, rows, delimiter)
    elif all(line.strip().isdigit() for _, line in rows):
        return _read_bare(path, names, len(rows))
    else:
        entries = [_read_line(path, number, line) for number, line in rows]
    _refuse_devkit(path, [label for _, label in entries])
    return entries


def _delimiter(header: str, sheet: SpreadsheetText) -> str:
    """What stands between the columns of a table; "" where the lines are a name and a number, or numbers alone."""
    if sheet.header_row > 1:
        return sheet.delimiter
    if "," in header:
        return ","
    if {"file", "ImageId"} & {head.strip(' "') for head in header.split(";")[:-1]}:
        return ";"
    is_table = "\t" in header and not header.split("\t")[-1].strip().isdigit() and not _SYNSET.search(header)
    return "\t" if is_table else ""


def _read_csv(path: Path, rows: Sequence[tuple[int, str]], delimiter: str) -> list[tuple[str, int]]:
    reader = csv.DictReader((line for _, line in rows), delimiter=delimiter)
    columns = set(reader.fieldnames or ())
    if {"ImageId", "PredictionString"} <= columns:
        return [_kaggle_entry(row, f"{path}, row {number}") for number, row in enumerate(reader, start=rows[0][0] + 1)]
    if "file" not in columns or not columns & {"class_index", "wnid"}:
        raise InputError(
            f"{path}: has the columns {', '.join(reader.fieldnames or ())}; labels need file and class_index, file "
            "and wnid, or Kaggle's ImageId and PredictionString."
        )
    entries = []
    for number, row in enumerate(reader, start=rows[0][0] + 1):
        where = f"{path}, row {number}"
        wnid = (row.get("wnid") or "").strip()
        text = (row.get("class_index") or "").strip()
        of_synset = _class_of_synset(wnid, where) if wnid else None
        label = of_synset if not text and of_synset is not None else _class_index(text, where)
        if of_synset is not None and label != of_synset:
            raise InputError(
                f"{where}: class_index {label} contradicts {wnid}, which is class {of_synset} among the sorted synset ids; "
                "the file numbers the classes in another way."
            )
        if not (row["file"] or "").strip():
            raise InputError(f"{where}: the column file is empty.")
        entries.append((row["file"].strip(), label))
    return entries


def _kaggle_entry(row: Mapping[str, str | None], where: str) -> tuple[str, int]:
    """One row of Kaggle's solution: an image, and for each object in it a synset id with the four numbers of its box."""
    image = (row["ImageId"] or "").strip()
    synsets = set(_SYNSET.findall(row["PredictionString"] or ""))
    if not image or not synsets:
        raise InputError(f"{where}: expected an ImageId and a PredictionString that begins with a synset id.")
    if len(synsets) > 1:
        raise InputError(f"{where}: {image} has boxes of several classes ({', '.join(sorted(synsets))}).")
    return image, _class_of_synset(synsets.pop(), where)


def _read_bare(path: Path, names: Sequence[str], n_lines: int) -> list[tuple[str, int]]:
    from evalkit.datasets.ctest10k import read_validation_labels

    if n_lines != 50_000:
        raise InputError(
            f"{path}: has {counted(n_lines, 'label')} without file names; only the 50,000 of the whole validation set can be told "
            "apart by their place. Write 'file class' on each line."
        )
    labels = read_validation_labels(path)
    entries = []
    for name in names:
        match = _VALIDATION.search(PurePosixPath(name).name)
        if match is not None and 1 <= int(match[1]) <= len(labels):
            entries.append((name, labels[int(match[1]) - 1]))
    return entries


def _read_line(path: Path, number: int, line: str) -> tuple[str, int]:
    file, label = ("", *line.strip().rsplit(maxsplit=1))[-2:]
    if not file:
        raise InputError(f"{path}, row {number}: expected a file name and a class, got '{line.strip()}'.")
    where = f"{path}, row {number}"
    return file.strip(), _class_of_synset(label, where) if _SYNSET.fullmatch(label) else _class_index(label, where)


def _class_index(text: str, where: str) -> int:
    if not text.isdigit():
        raise InputError(f"{where}: the class is '{text}'; allowed are whole numbers from 0.")
    return int(text)


def _refuse_devkit(path: Path, labels: Sequence[int]) -> None:
    if max(labels) == N_IMAGENET and min(labels) >= 1:
        raise InputError(f"{path}: numbers the classes 1 to {N_IMAGENET}: {DEVKIT_NUMBERING}.")


def _matched(entries: Sequence[tuple[str, int]], names: Sequence[str], path: Path) -> dict[str, int]:
    """Match by the path without extension, else by the bare file name where that is unambiguous."""
    by_key: dict[str, set[int]] = {}
    by_stem: dict[str, set[int]] = {}
    for file, label in entries:
        key = PurePosixPath(unicodedata.normalize("NFC", file).replace("\\", "/").lstrip("/"))
        # Image names come without extension, and one may hold a dot: both spellings of an entry are known.
        for spelling in {key, key.with_suffix("")}:
            by_key.setdefault(spelling.as_posix(), set()).add(label)
            by_stem.setdefault(spelling.name, set()).add(label)
    label_of: dict[str, int] = {}
    missing = []
    for name in names:
        labels = by_key.get(name) or by_stem.get(PurePosixPath(name).name) or set()
        if len(labels) > 1:
            raise InputError(f"{path}: image '{name}' has several labels ({', '.join(map(str, sorted(labels)))}).")
        if not labels:
            missing.append(name)
        else:
            label_of[name] = next(iter(labels))
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of {counted(len(names), 'image')} {agree(len(missing), 'has', 'have')} no label there ({some_names(missing)}); the file has "
            f"{counted(len(entries), 'label')}, matched by file name without extension."
        )
    return label_of
