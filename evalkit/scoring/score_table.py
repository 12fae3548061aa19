"""The table of a run on the terminal: methods by metrics, intervals beneath, the best of each column marked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from evalkit.metrics import load_metric
from evalkit.metrics.base import Metric
from evalkit.scoring.score_comparison import Difference
from evalkit.scoring.scores import Score, Scores

__all__ = ["comparison_table", "print_scores", "score_json", "score_table"]


def _number(metric: type[Metric], value: float) -> str:
    scaled = 100 * value if metric.percent else value
    return f"{scaled:.{metric.decimals}f}"


def _best(scores: Scores, metric: type[Metric]) -> set[str]:
    """Methods that share the best value as it is shown; anchors win only where there is nothing else."""
    if metric.better == "neither":
        return set()
    own = scores.record.own_methods
    if len(own) < 2:
        return set()
    values = {method: scores[method, metric.name].value for method in own}
    values = {method: value for method, value in values.items() if not math.isnan(value)}
    if not values:
        return set()
    best = max(values.values()) if metric.better == "higher" else min(values.values())
    return {method for method, value in values.items() if _number(metric, value) == _number(metric, best)}


def _cell(metric: type[Metric], score: Score, best: bool) -> Text:
    if math.isnan(score.value):
        return Text("unscored", style="dim italic")
    text = Text.assemble((_number(metric, score.value) + (" *" if best else "  "), "bold green" if best else ""))
    if not math.isnan(score.ci_low):
        low, high = _number(metric, score.ci_low), _number(metric, score.ci_high)
        text.append(f"\n{low} – {high}  ", style="dim")
    return text


def _columns_table(scores: Scores, metrics: Sequence[type[Metric]], best: Mapping[str, set[str]]) -> Table:
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
        cells = [_cell(metric, scores[method, metric.name], method in best[metric.name]) for metric in metrics]
        table.add_row(name, *cells)
    return table


def score_table(scores: Scores, width: int = 400) -> RenderableType:
    """Table and notes of a run; what is wider than `width` characters continues in a further table beneath."""
    metrics = [load_metric(name) for name in scores.metrics]
    best = {metric.name: _best(scores, metric) for metric in metrics}
    tables: list[RenderableType] = []
    ruler = Console(width=1000)
    rest = metrics
    while rest:
        fitting = len(rest)
        while fitting > 1:
            needed = ruler.measure(_columns_table(scores, rest[:fitting], best)).maximum
            if needed <= width:
                break
            fitting -= 1
        tables.append(_columns_table(scores, rest[:fitting], best))
        rest = rest[fitting:]
    n = len(set(scores.per_image["image"].to_pylist()))
    notes = [
        f"{n} images; beneath each value its 95 % interval over images" if scores.record.n_bootstrap else f"{n} images"
    ]
    if any(metric.percent for metric in metrics):
        notes.append(" and ".join(_percent_words(metrics)) + " in per cent")
    if any(best.values()):
        notes.append("* best of the column, anchors apart")
    lines: list[RenderableType] = [*tables, Text("; ".join(notes) + ".", style="dim")]
    lines += [Text(line, style="dim") for line in _reasons(scores)]
    if scores.samples:
        lines.append(_samples_table(scores))
    lines += [Text.assemble(("Warning: ", "yellow"), warning) for warning in scores.warnings]
    return Group(*lines)


def _reasons(scores: Scores) -> list[str]:
    """Why values are missing; a reason that several values share stands once."""
    metrics_of: dict[tuple[str, str], list[str]] = {}
    for score in scores.summary:
        if score.reason:
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
    """Table of differences, second minus first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in ("method", "metric"):
        table.add_column(heading, no_wrap=True)
    for heading in ("first", "second", "difference", "95 % interval", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for d in differences:
        metric = load_metric(d.metric)
        name = d.method if d.method == d.other_method else f"{d.method} → {d.other_method}"
        sure = not math.isnan(d.ci_low) and (d.ci_low > 0 or d.ci_high < 0)
        between = "" if math.isnan(d.ci_low) else f"{_number(metric, d.ci_low)} – {_number(metric, d.ci_high)}"
        table.add_row(
            name, metric.title, _number(metric, d.first), _number(metric, d.second),
            Text(f"{_number(metric, d.difference)}", style="bold" if sure else ""), between,
            "" if math.isnan(d.p_value) else f"{d.p_value:.4f}",
        )  # fmt: skip
    note = (
        "Second minus first; bold where the interval leaves out 0. AuC in points. p by swapping the labels image by image, "
        "not adjusted for the number of rows."
    )
    return Group(table, Text(note, style="dim"))


def score_json(scores: Scores) -> dict[str, Any]:
    """What ``--json`` prints: the summary with unscored values as null, warnings."""

    def clean(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    rows = [{key: clean(value) for key, value in vars(score).items()} for score in scores.summary]
    samples = [{key: clean(value) for key, value in vars(score).items()} for score in scores.samples]
    return {"summary": rows, **({"samples": samples} if samples else {}), "warnings": list(scores.warnings)}


def print_scores(scores: Scores, *, as_json: bool, quiet: bool, folder: str | None = None) -> None:
    """Print a run as people or as programs read it."""
    if as_json:
        print(json.dumps(score_json(scores), indent=1))
    elif not quiet:
        console = Console(highlight=False)
        # Into a file or pipe: as wide as the table, never folded.
        if not console.is_terminal:
            console.width = 400
        console.print(score_table(scores, console.width))
        if folder:
            console.print(Text(f"Results in {folder}", style="dim"))
