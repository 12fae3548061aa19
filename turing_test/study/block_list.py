"""Blocks of images: the list that says which image belongs to which block, and what a session takes of each."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from evalkit.errors import InputError
from evalkit.images.image_pairs import NameIndex
from evalkit.text_formats import SpreadsheetText, spreadsheet_text, unguarded
from evalkit.wording import agree, counted, error_reason, some_names
from turing_test.study.manifest import Manifest
from turing_test.study.protocol import Protocol

__all__ = ["blocks_sentence", "check_blocks", "even_shares", "practice_shares", "read_block_list"]

COLUMNS = ("image", "block")


def read_block_list(path: Path, images: Collection[str]) -> dict[str, str]:
    """Read a table that names the block of each image.

    Parameters
    ----------
    path : Path
        A table with a header and one row per image, the columns ``image`` and ``block`` in it; further ones are passed over.
        Comma, semicolon or tab between the cells, UTF-8 or UTF-16. Images are named with or without ending and folders.
    images : collection of str
        Those of the study.

    Returns
    -------
    dict of str to str
        Block by image, in order of the images' names.

    Raises
    ------
    InputError
        When the file cannot be read, a row is empty, names no image of the study, several or one that has a row already, or
        no block; when an image has no row, or all are in one block.
    """
    try:
        sheet = spreadsheet_text(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as the list that blocks names ({error_reason(error)}).") from None
    in_study = NameIndex(images)
    block_of: dict[str, str] = {}
    row_of: dict[str, int] = {}
    for number, written, block in _rows(path, sheet):
        image = _image_of_row(f"{path}, row {number}", written, block, in_study)
        if image in row_of:
            raise InputError(
                f"{path}, row {number}: {image} stands in row {row_of[image]} already; allowed is one row per image."
            )
        row_of[image], block_of[image] = number, block
    without = sorted(set(images) - set(block_of))
    if without:
        raise InputError(
            f"{path}: {counted(len(without), 'image')} of the study {agree(len(without), 'has', 'have')} no row "
            f"({some_names(without)}); each needs one that names its block."
        )
    if len(set(block_of.values())) < 2:
        raise InputError(f"{path}: all images are in one block; allowed are two blocks or more.")
    return dict(sorted(block_of.items()))


def _rows(path: Path, sheet: SpreadsheetText) -> Iterator[tuple[int, str, str]]:
    """Row of the file, image and block, as they are written."""
    reader = csv.reader(io.StringIO(sheet.text.rstrip(), newline=""), delimiter=sheet.delimiter)
    above = sheet.header_row - 1
    try:
        header = [name.strip() for name in next(reader, [])]
        if any(header.count(column) != 1 for column in COLUMNS):
            raise InputError(
                f"{path}, row {sheet.header_row}: the columns are {', '.join(header) or 'none'}; one named image and one named "
                "block are needed."
            )
        for cells in reader:
            row = dict(zip(header, (unguarded(cell).strip() for cell in cells), strict=False))
            yield above + reader.line_num, row.get("image", ""), row.get("block", "")
    except csv.Error as error:
        raise InputError(f"{path}, row {above + reader.line_num}: is no CSV ({error}).") from None


def _image_of_row(place: str, written: str, block: str, in_study: NameIndex) -> str:
    if not written:
        what = "names no image" if block else "is empty"
        raise InputError(f"{place}: {what}; allowed is one image and its block per row.")
    if not block:
        raise InputError(f"{place}: {written} has no block; allowed is any name.")
    matches = sorted(in_study.matches(written))
    if not matches:
        raise InputError(
            f"{place}: {written} is no image of the study; allowed are the names of its {counted(len(in_study), 'photo')}."
        )
    if len(matches) > 1:
        raise InputError(f"{place}: {written} may be {some_names(matches)}; write the folder in front of the name.")
    return matches[0]


def even_shares(count: int, n_shares: int) -> list[int]:
    """A number in parts that differ by one at most, the larger ones first.

    Examples
    --------
    >>> even_shares(40, 3)
    [14, 13, 13]
    """
    return [count // n_shares + (k < count % n_shares) for k in range(n_shares)]


@lru_cache(8)
def practice_shares(sizes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """How many of the practice photos come from each block: always from the one that has most left.

    Parameters
    ----------
    sizes : tuple of int
        Photos of each block.
    count : int

    Examples
    --------
    >>> practice_shares((20, 12, 12), 10)
    (9, 1, 0)
    """
    left = list(sizes)
    for _ in range(count):
        left[left.index(max(left))] -= 1
    return tuple(before - after for before, after in zip(sizes, left, strict=True))


def check_blocks(protocol: Protocol, blocks: Mapping[str, str], path: Path) -> None:
    """Refuse blocks that are too many for a session, or too small for its trials.

    Parameters
    ----------
    protocol : Protocol
    blocks : mapping of str to str
        Block by image; nothing is refused where there are none.
    path : Path
        The list, for the message.

    Raises
    ------
    InputError
        Naming the block, what it has and what a session takes of it.
    """
    if not blocks:
        return
    size_of = dict(sorted(Counter(blocks.values()).items()))
    n_plain = protocol.test_trials - protocol.vigilance_trials
    if len(size_of) > n_plain:
        raise InputError(
            f"{path}: names {counted(len(size_of), 'block')}, and test_trials - vigilance_trials is {n_plain}; allowed are at most "
            "as many blocks as that, since every session shows every block."
        )
    n_test = even_shares(protocol.shown_test_trials, len(size_of))[0]
    n_reserve = even_shares(protocol.reserve_trials, len(size_of))[0]
    sizes = tuple(size_of.values())
    in_practice = practice_shares(sizes, min(protocol.practice_trials, sum(sizes)))
    for block, size, n_practice in zip(size_of, sizes, in_practice, strict=True):
        needed = n_test + n_reserve + n_practice
        if size < needed:
            parts = {"of the test": n_test, "in reserve": n_reserve, "of practice": n_practice}
            said = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
            raise InputError(
                f"{path}: block {block} has {counted(size, 'photo')}, and a session takes up to {needed} of it ({said}); "
                f"allowed are at least {needed}, or lower test_trials, catch_trials or reserve_trials."
            )


def blocks_sentence(protocol: Protocol, manifest: Manifest) -> str:
    """What blocks of images a study has, and what a session shows of them."""
    sizes = ", ".join(f"{block} {len(own)}" for block, own in manifest.images_by_block.items())
    n_blocks = len(manifest.images_by_block)
    most, *_, least = even_shares(protocol.shown_test_trials, n_blocks)
    trials = counted(most, "trial") if most == least else f"{least} or {most} trials"
    n_orders = n_blocks * (1 + n_blocks % 2)  # rows of a Williams design
    return (
        f"{counted(n_blocks, 'block')} of images ({protocol.block_list}; photos: {sizes}), {trials} of each per session, in {n_orders} "
        "balanced orders"
    )
