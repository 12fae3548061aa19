"""What a reader of the numbers should know: cautions that the per-image table gives rise to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from evalkit.color.limits import KEPT_LIGHTNESS
from evalkit.errors import InputError
from evalkit.scoring.record import RunRecord
from evalkit.scoring.statistics_store import rows_of_method
from evalkit.wording import agree, counted

__all__ = ["notices", "refuse_copies"]

SMALL_SET = 30
"""Images below which a set is called small."""

NOTICED_CLIPPING = 0.01
"""Share of newly clipped pixels from which it is mentioned."""


def refuse_copies(table: pa.Table, record: RunRecord) -> None:
    """Refuse a method whose every image has the truth's own pixels: most likely the wrong folder.

    Raises
    ------
    InputError
        If there is one.
    """
    for method in record.own_methods:
        rows = rows_of_method(table, method)
        identical = _column(rows, "identical")
        if identical and all(identical) and not all(_column(rows, "gray_truth")):
            raise InputError(
                f"method {method}: every image has the truth's own pixels; is its folder the right one? (name the method "
                "'truth' if that is what it is)"
            )


def notices(table: pa.Table, record: RunRecord) -> tuple[str, ...]:
    """What a reader should know about prior, photos and methods, one sentence each.

    Parameters
    ----------
    table : pyarrow.Table
        The per-image table.
    record : RunRecord
    """
    of_truth = rows_of_method(table, record.methods[0])
    n_jpeg_truths = _column(of_truth, "truth_format").count("JPEG")
    sentences = [*(record.options.prior.warnings if record.options.prior else ()), *record.notes]
    sentences += _about_truth(of_truth)
    for method in record.methods:
        rows = rows_of_method(table, method)
        if method in record.builtins:
            sentences += _about_anchor(method, rows)
        else:
            sentences += _about_method(method, rows, n_jpeg_truths)
    return tuple(sentences)


def _about_truth(rows: pa.Table) -> list[str]:
    n = len(rows)
    few = (
        f"{counted(n, 'image')}: a small set; what follows from it about other images is little, whatever its intervals say"
        if n < SMALL_SET
        else ""
    )
    sentences = [few] if few else []
    return sentences + _about_photos(rows)


def _about_photos(rows: pa.Table) -> list[str]:
    n, n_gray = len(rows), sum(bool(value) for value in _column(rows, "gray_truth"))
    sentences = (
        [
            f"{n_gray} of {counted(n, 'true photo')} {agree(n_gray, 'is', 'are')} grayscale: ab metrics mean nothing on them"
        ]
        if n_gray
        else []
    )
    return sentences + _applied(_column(rows, "truth_notes"), "true photos")


def _about_anchor(method: str, rows: pa.Table) -> list[str]:
    n_clipped = sum(value or 0 for value in _column(rows, "gamut_clipped"))
    if not n_clipped:
        return []
    share = n_clipped / sum(_column(rows, "n_pixels"))
    return [f"method {method}: {100 * share:.1f} % of pixels were clipped to the sRGB gamut"]


def _about_method(method: str, rows: pa.Table, n_jpeg_truths: int) -> list[str]:
    n = len(rows)
    sentences = []
    changes = [value for value in _column(rows, "l_change") if value is not None]
    n_changed = sum(value > KEPT_LIGHTNESS for value in changes)
    if n_changed:
        sentences.append(
            f"L differs from the truth's by more than {KEPT_LIGHTNESS:g} on average in {n_changed} of {counted(n, 'image')} (mean "
            f"|dL| {sum(changes) / len(changes):.2f}): resized, re-encoded, or not kept"
        )
    sentences += _applied(_column(rows, "notes"), "")
    n_identical = sum(_column(rows, "identical"))
    if n_identical and method != "truth":
        sentences.append(
            f"{n_identical} of {counted(n, 'image')} {agree(n_identical, 'has', 'have')} the truth's own pixels"
        )
    newly_clipped = sum(value for value in _column(rows, "newly_clipped") if value is not None)
    share = newly_clipped / max(1, sum(_column(rows, "n_pixels")))
    if share > NOTICED_CLIPPING:
        sentences.append(f"{100 * share:.1f} % of pixels are newly at 0 or 255 (clipped colours)")
    n_jpeg = _column(rows, "format").count("JPEG")
    if n_jpeg and n_jpeg + n_jpeg_truths < 2 * n:
        sentences.append(
            f"{n_jpeg} of {counted(n, 'image')} {agree(n_jpeg, 'is', 'are')} JPEG, {n_jpeg_truths} of {counted(n, 'true photo')} {agree(n_jpeg_truths, 'is', 'are')}; JPEG changes colours"
        )
    elif n_jpeg:
        sentences.append(f"{n_jpeg} of {counted(n, 'image')} {agree(n_jpeg, 'is', 'are')} JPEG, which changes colours")
    return [f"method {method}: {sentence}" for sentence in sentences]


def _applied(notes: Sequence[str | None], whose: str) -> list[str]:
    """What decoding changed, counted: profiles converted, images turned."""
    counts = Counter(note for text in notes if text for note in text.split("; "))
    subject = f"{whose}: " if whose else ""
    return [f"{subject}in {count} of {counted(len(notes), 'image')} {note}" for note, count in sorted(counts.items())]


def _column(rows: pa.Table, name: str) -> list[Any]:
    values: list[Any] = rows[name].to_pylist()
    return values
