"""The results of a probe layer by layer: rows for a file, the paper's table, and the table of a console.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, table 2: a row for each network, a
   column for each layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.colorizers.probing.classes import ProbeResult
from evalkit.colorizers.probing.mean_iou import SegmentationResult
from evalkit.resampling.intervals import Interval
from evalkit.text_formats import csv_text, escape_latex

__all__ = ["LayersTable", "percent", "signed_percent"]

Result = ProbeResult | SegmentationResult


def percent(value: float) -> str:
    """A share in per cent, one decimal."""
    return "undefined" if math.isnan(value) else f"{100 * value:.1f}"


def signed_percent(value: float) -> str:
    """A difference of shares in points, with its sign; a true minus.

    >>> signed_percent(0.0123), signed_percent(-0.0123), signed_percent(-0.0001)
    ('+1.2', '−1.2', '0.0')
    """
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


@dataclass(frozen=True, kw_only=True)
class LayersTable:
    """Results of several networks at one or more sizes.

    Attributes
    ----------
    title : str
        What was probed, on how much.
    measure : {"top1", "mean_iou"}
    class_names : tuple of str
        Classes of the pixels, for the columns of their IoU; empty for photos.
    results : tuple of sequences of ProbeResult or SegmentationResult
        One sequence of blocks for each network and size.
    baseline : str
        Name of the network that the others are compared with, at the same size.
    """

    title: str
    measure: str
    class_names: tuple[str, ...] = ()
    results: tuple[Sequence[Result], ...]
    baseline: str

    def above_baseline(self, results: Sequence[Result]) -> list[tuple[float, Interval]] | None:
        """Difference to the baseline, with its interval, of each block; None for the baseline and other layouts."""
        if results[0].network == self.baseline or results[0].size is None:
            return None
        floor = next((r for r in self.results if (r[0].network, r[0].size) == (self.baseline, results[0].size)), None)
        if floor is None:
            return None
        pairs = zip(results, floor, strict=True)
        return [(result.value - under.value, result.interval_above(under)) for result, under in pairs]  # type: ignore[arg-type]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each network, size and block, at full precision."""
        rows = []
        for results in self.results:
            differences = self.above_baseline(results) or [(math.nan, Interval.missing(""))] * len(results)
            for result, (difference, between) in zip(results, differences, strict=True):
                interval = result.interval()
                row = {
                    "network": result.network,
                    "size": result.size,
                    "block": result.block,
                    "n_features": result.n_features,
                    self.measure: result.value,
                    "std_error": result.std_error,
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "minus_random": difference,
                    "minus_random_ci_low": between.low,
                    "minus_random_ci_high": between.high,
                    "n_images": result.n_images,
                }
                if isinstance(result, SegmentationResult):
                    ious = result.ious
                    row |= {f"iou_{name}": float(iou) for name, iou in zip(self.class_names, ious, strict=True)}
                rows.append(row)
        return rows

    def to_csv(self) -> str:
        """`rows` as CSV."""
        return csv_text(self.rows())

    def to_markdown(self) -> str:
        """The paper's table: a row for each network, a column for each layer."""
        parts = []
        for header, lines in self._tables():
            rule = ["---", *["---:"] * (len(header) - 1)]
            parts.append("\n".join("| " + " | ".join(_in_markdown(cells)) + " |" for cells in (header, rule, *lines)))
        return "\n\n".join([*parts, self.note()]) + "\n"

    def to_latex(self) -> str:
        """The same for LaTeX, with the rules of booktabs."""
        parts = []
        for header, lines in self._tables():
            body = [" & ".join(escape_latex(cell) for cell in cells) + r" \\" for cells in (header, *lines)]
            parts += [
                r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}",
                r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule",
                r"\end{tabular}",
                "",
            ]  # fmt: skip
        return "\n".join(
            [
                "% \\usepackage{booktabs}",
                r"\begin{table}",
                r"\centering",
                r"\footnotesize",
                r"\setlength{\tabcolsep}{3pt}",
                *parts,
                rf"\caption{{{escape_latex(self.note())}}}",
                r"\label{tab:layers}",
                r"\end{table}",
                "",
            ]
        )

    def note(self) -> str:
        """What the numbers are."""
        what = (
            "Top-1 of linear classifiers on frozen features"
            if self.measure == "top1"
            else "Mean IoU of linear per-pixel classifiers on frozen features"
        )
        return (
            f"{what}, in per cent ± standard error; {self.title}. Intervals are 95 %, each by itself, paired over images; "
            "classes, classifiers and the draw of the random weights are taken as they are."
        )

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Header and lines of a table for each set of layers."""
        tables: dict[tuple[str, ...], list[list[str]]] = {}
        several = len({results[0].size for results in self.results if results[0].size is not None}) > 1
        for results in self.results:
            lines = tables.setdefault(tuple(result.block for result in results), [])
            name = f"{results[0].network}, {results[0].size} px" if several and results[0].size else results[0].network
            lines.append([name, *(_with_error(result) for result in results)])
            differences = self.above_baseline(results)
            if differences is not None:
                # Two lines: eight columns of differences with their intervals are wider than a page.
                lines.append([f"less {self.baseline}", *(signed_percent(difference) for difference, _ in differences)])
                lines.append(["95 % interval", *(_ends(interval) for _, interval in differences)])
        return [(["network", *layers], lines) for layers, lines in tables.items()]


def _with_error(result: Result) -> str:
    error = result.std_error
    return percent(result.value) + ("" if math.isnan(error) else f" ± {100 * error:.1f}")


def _ends(interval: Interval) -> str:
    return "" if math.isnan(interval.low) else f"{signed_percent(interval.low)} to {signed_percent(interval.high)}"


def _in_markdown(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]
