"""The table of a run on the terminal: methods by metrics, intervals beneath, the best of each column marked."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from evalkit.metrics import load_metric
from evalkit.metrics.base import Metric
from evalkit.scoring.ranking import LEVEL
from evalkit.scoring.score_comparison import Difference, p_text
from evalkit.scoring.scores import Score, Scores
from evalkit.wording import counted

__all__ = ["comparison_table", "print_scores", "print_unscored", "score_json", "score_table"]


def _marks(scores: Scores, name: str) -> dict[str, str]:
    """Mark of each method: ``*`` for the one that is better than all, ``=`` for those that share the first rank."""
    first = scores.first_rank.get(name, ())
    return dict.fromkeys(first, "*" if len(first) == 1 else "=")


def _cell(metric: type[Metric], score: Score, mark: str) -> Text:
    if math.isnan(score.value):
        return Text("unscored", style="dim italic")
    text = Text.assemble((f"{metric.number_text(score.value)} {mark or ' '}", "bold green" if mark == "*" else ""))
    if not math.isnan(score.ci_low):
        low, high = metric.number_text(score.ci_low), metric.number_text(score.ci_high)
        text.append(f"\n{low} – {high}  ", style="dim")
    return text


def _columns_table(scores: Scores, metrics: Sequence[type[Metric]], marks: Mapping[str, Mapping[str, str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("method", no_wrap=True)
    for metric in metrics:
        arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[metric.better]
        table.add_column(metric.title + arrow, justify="right", no_wrap=True)
    for method in scores.methods:
        anchor = method in scores.record.builtins
        name = Text(method, style="italic" if anchor else "")
        if anchor:
            name.append("\nanchor", style="dim")
        cells = [_cell(metric, scores[method, metric.name], marks[metric.name].get(method, "")) for metric in metrics]
        table.add_row(name, *cells)
    return table


def score_table(scores: Scores, width: int = 400) -> RenderableType:
    """Table and notes of a run; what is wider than `width` characters continues in a further table beneath."""
    metrics = [load_metric(name) for name in scores.metrics]
    marks = {name: _marks(scores, name) for name in scores.metrics}
    tables: list[RenderableType] = []
    ruler = Console(width=1000)
    rest = metrics
    while rest:
        fitting = len(rest)
        while fitting > 1:
            needed = ruler.measure(_columns_table(scores, rest[:fitting], marks)).maximum
            if needed <= width:
                break
            fitting -= 1
        tables.append(_columns_table(scores, rest[:fitting], marks))
        rest = rest[fitting:]
    n = len(set(scores.per_image["image"].to_pylist()))
    notes = [
        f"{counted(n, 'image')}; beneath each value its 95 % interval over images"
        if any(not math.isnan(row.ci_low) for row in scores.summary)
        else f"{counted(n, 'image')}"
    ]
    if any(metric.percent for metric in metrics):
        notes.append(" and ".join(_percent_words(metrics)) + " in per cent")
    signs = {mark for of_metric in marks.values() for mark in of_metric.values()}
    if "*" in signs:
        notes.append("* better than every other method (Holm, 5 %), anchors aside")
    if "=" in signs:
        notes.append("= shares the first rank: not told apart from the best (Holm, 5 %)")
    lines: list[RenderableType] = [*tables, Text("; ".join(notes) + ".", style="dim")]
    lines += [Text(line, style="dim") for line in _reasons(scores, [score for score in scores.summary if score.reason])]
    if scores.samples:
        lines.append(_samples_table(scores))
    lines += [Text.assemble(("Warning: ", "yellow"), warning) for warning in scores.warnings]
    return Group(*lines)


def _reasons(scores: Scores, missing: Sequence[Score]) -> list[str]:
    """Why values are missing; a reason that several values share stands once."""
    metrics_of: dict[tuple[str, str], list[str]] = {}
    for score in missing:
        metrics_of.setdefault((score.reason, score.method), []).append(score.metric)
    methods_of: dict[tuple[str, str], list[str]] = {}
    for (reason, method), names in metrics_of.items():
        methods_of.setdefault((reason, ", ".join(names)), []).append(method)
    return [
        f"{metrics}: {reason}" if methods == list(scores.methods) else f"{', '.join(methods)}, {metrics}: {reason}"
        for (reason, metrics), methods in methods_of.items()
    ]


def _samples_table(scores: Scores) -> Table:
    """Best of n samples and their diversity, one row per number."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("method", no_wrap=True)
    table.add_column("all samples together", no_wrap=True)
    for heading in ("value", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in scores.samples:
        between = "" if math.isnan(score.ci_low) else f"{score.ci_low:.4g} – {score.ci_high:.4g}"
        value = "unscored" if math.isnan(score.value) else f"{score.value:.4g}"
        table.add_row(score.method, score.metric, value, between)
    return table


def _percent_words(metrics: Sequence[type[Metric]]) -> list[str]:
    shown = [metric.name for metric in metrics if metric.percent]
    kinds = {"AuC": "_auc", "accuracy": "_top"}
    return [word for word, part in kinds.items() if any(part in name for name in shown)] or ["shares"]


def comparison_table(differences: Sequence[Difference]) -> RenderableType:
    """Table of differences, second minus first, in 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("method", overflow="fold")
    table.add_column("metric", no_wrap=True)
    for heading in ("first", "second", "difference", "95 % interval", "p (Holm)"):
        table.add_column(heading, justify="right", no_wrap=True)
    n_most = max((d.n_images for d in differences), default=0)
    last = ""
    for d in differences:
        metric = load_metric(d.metric)
        name = d.method if d.method == d.other_method else f"{d.method} → {d.other_method}"
        last, name = name, "" if name == last else name
        is_sure = d.p_holm < LEVEL
        between = "" if math.isnan(d.ci_low) else f"{metric.number_text(d.ci_low)} – {metric.number_text(d.ci_high)}"
        on_fewer = f" ({d.n_images})" if d.n_images < n_most else ""
        table.add_row(
            name, metric.title + on_fewer, _shown(metric, d.first), _shown(metric, d.second),
            Text(_shown(metric, d.difference), style="bold" if is_sure else ""), between,
            p_text(d.p_holm, is_at_floor=d.is_at_floor),
        )  # fmt: skip
    n_tested = sum(not math.isnan(d.p_holm) for d in differences)
    family = f", adjusted (Holm) for {counted(n_tested, 'row')}" if n_tested > 1 else ""
    lines = [
        f"Second minus first on {counted(n_most, 'image')}{_fewer(differences, n_most)}; AuC and accuracy in points. p by "
        f"swapping labels image by image{family}; bold below {LEVEL:g}. Intervals are 95 % each, not adjusted."
    ]
    if any(d.metric == "ab_auc_rebal" for d in differences):
        lines.append(f"AuC rebal. holds for {counted(n_most, 'image')}: it changes with the size of the set.")
    warnings = [Text.assemble(("Warning: ", "yellow"), caution) for caution in _cautions(differences)]
    return Group(table, *(Text(line, style="dim") for line in lines), *warnings)


def _cautions(differences: Sequence[Difference]) -> list[str]:
    """What readers should know, each thing once; with the metrics that it is about where it is not about all."""
    metrics_of: dict[str, dict[str, None]] = {}
    for d in differences:
        for caution in d.cautions:
            metrics_of.setdefault(caution, {})[d.metric] = None
    n_metrics = len({d.metric for d in differences})
    lines = []
    for caution, names in metrics_of.items():
        names_itself = len(names) == n_metrics or any(f"{name} " in caution for name in names)
        lines.append(caution if names_itself else f"{', '.join(names)}: {caution}")
    return lines


def _shown(metric: type[Metric], value: float) -> str:
    return "unscored" if math.isnan(value) else metric.number_text(value)


def _fewer(differences: Sequence[Difference], n_most: int) -> str:
    if all(d.n_images == n_most for d in differences):
        return ""
    return ", in brackets where some are infinite or unscored on either side and left out on both"


def score_json(scores: Scores) -> dict[str, Any]:
    """What ``--json`` prints: the summary with unscored values as null, warnings."""

    def clean(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    rows = [{key: clean(value) for key, value in vars(score).items()} for score in scores.summary]
    samples = [{key: clean(value) for key, value in vars(score).items()} for score in scores.samples]
    return {"summary": rows, **({"samples": samples} if samples else {}), "warnings": list(scores.warnings)}


def print_unscored(scores: Scores) -> None:
    """Say on standard error which values that were asked for do not exist, and why; also a quiet run says so much.

    What is infinite, as PSNR is of the true photos themselves, is not missing.
    """
    missing = [score for score in scores.summary if math.isnan(score.value) and "unscored" in score.reason]
    for line in _reasons(scores, missing):
        print(line, file=sys.stderr)


def print_scores(scores: Scores, *, as_json: bool, quiet: bool, folder: str | None = None) -> None:
    """Print a run as people or as programs read it; of a quiet one only what is unscored, on standard error."""
    if as_json:
        print(json.dumps(score_json(scores), indent=1))
    elif quiet:
        print_unscored(scores)
    else:
        console = Console(highlight=False)
        # Into a file or pipe: as wide as the table, never folded.
        if not console.is_terminal:
            console.width = 400
        console.print(score_table(scores, console.width))
        if folder:
            console.print(Text(f"Results in {folder}", style="dim"))
