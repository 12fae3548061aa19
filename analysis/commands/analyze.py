"""The command ``evalkit analyze``: from the trial table to rates, intervals, comparisons and diagnostics."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.commands._fitting_table import print_fitting
from analysis.commands._trial_options import analyze_with_options, read_with_options, study_options, trial_options
from analysis.report.cells import odds_text, omnibus_text, p_text, share_text
from evalkit.commands._shared import GivenPath
from evalkit.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.study.analysis import StudyAnalysis, SubsetAnalysis
    from analysis.study.anytime import AnytimeResults
    from analysis.study.differences import Comparisons
    from analysis.study.preferences import PreferenceResults
    from analysis.trials.trial_table import TrialTable

__all__ = ["analyze_command", "print_summary"]


@click.command("analyze", short_help="Fool rates, comparisons and diagnostics of a human test.")
@click.argument("trials", type=GivenPath(path_type=Path), nargs=-1, required=True, metavar="TRIALS...")
@click.option("--out", type=GivenPath(path_type=Path), required=True, metavar="DIR", help="Folder for the results.")
@click.option("--baseline", metavar="METHOD", help="Compare every method with this one, instead of all pairs.")
@click.option(
    "--bootstrap",
    type=click.Choice(["zhang2016", "participants", "pigeonhole"]),
    multiple=True,
    help="Also write these bootstraps to bootstrap.csv; may be repeated.",
)
@click.option(
    "--resamples",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="0 for the exact distribution, else seeded Monte Carlo with so many resamples.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of whatever is random.")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Only this method; may be repeated.")
@study_options
@click.option(
    "--anytime",
    is_flag=True,
    help="Also intervals that hold however often one looks, for studies that are still running.",
)
@trial_options
def analyze_command(
    trials: tuple[Path, ...],
    out: Path,
    baseline: str | None,
    bootstrap: tuple[Any, ...],
    resamples: int,
    seed: int,
    anytime: bool,
    methods: tuple[str, ...],
    estimand: Any,
    exclude: Path | None,
    equivalence_margin: float,
    confidence: float,
    **reading: Any,
) -> None:
    """Analyse TRIALS: a CSV, Parquet or JSON file with one row per trial, or a study folder; several become one table.

    Of a study folder, the answers that its database holds now are read; nothing is written into it.

    Rates come with an interval for new people and new images. The bootstrap of Zhang et al. stands beside it.
    All data are analysed, and what the declared exclusions leave; everything left out is counted.
    """
    from analysis.commands._needs import need
    from evalkit.release import release

    need("scipy")
    from analysis.study.analysis import write_analysis

    table = read_with_options(trials, **reading)
    if methods:
        table = _only(table, methods)
    analysis = analyze_with_options(
        table,
        baseline=baseline,
        estimand=estimand,
        exclude=exclude,
        equivalence_margin=equivalence_margin,
        confidence=confidence,
        bootstrap=bootstrap,
        resamples=resamples,
        seed=seed,
        anytime=anytime,
    )
    written = write_analysis(analysis, out, version=release())
    print_summary(analysis)
    click.echo(f"Wrote {', '.join(path.name for path in written)} to {out}.")


def _only(table: TrialTable, methods: tuple[str, ...]) -> TrialTable:
    import numpy as np

    from evalkit.errors import InputError

    for method in methods:
        if method not in table.methods:
            raise InputError(f"--method {method!r} is not in {table.source}; it has {', '.join(table.methods)}.")
    keep = np.all(
        [np.isin(table[name], (*methods, "") if k > 1 else methods) for k, name in enumerate(table.method_columns)],
        axis=0,
    )
    # Vigilance and catch trials belong to participants, whatever method they carry.
    keep |= np.isin(table["kind"], ("vigilance", "catch")) & np.isin(table["participant"], table["participant"][keep])
    return table.where(keep, "methods not asked for")


def print_summary(analysis: StudyAnalysis, console: Console | None = None) -> None:
    """Print the tables of every subset, what was left out, and what one has to know; by default to the terminal."""
    from evalkit.commands._shared import table_console

    console = console or table_console(140)
    if analysis.simulated:
        console.print("\nThese answers come from [bold]simulated observers[/bold], not from people.")
    for subset in analysis.subsets:
        console.print(f"\n[bold]{subset.name.capitalize()}[/bold], intervals for new {_claim(analysis)}")
        _print_subset(console, subset, analysis)
    if analysis.left_out:
        console.print("\nNot in these rates:")
        for entry in analysis.left_out:
            people = f", all trials of {counted(entry.n_participants, 'participant')}" if entry.n_participants else ""
            console.print(f"  {counted(entry.n_trials, 'trial'):>13}  {entry.reason}{people}")
    if analysis.rules and len(analysis.subsets) == 1:
        console.print("The declared exclusions removed nothing.")
    for note in analysis.headline.trials.notes:
        console.print(note, style="dim")


def _claim(analysis: StudyAnalysis) -> str:
    both = analysis.options.estimand == "participants+images"
    return "participants and images" if both else "participants on these images"


def _print_subset(console: Console, subset: SubsetAnalysis, analysis: StudyAnalysis) -> None:
    notes = list(subset.notes)
    if subset.rates is not None:
        _print_rates(console, subset, analysis)
        notes += [f"{record.method}: {record.note}" for record in subset.rates if record.note]
    if subset.differences is not None and len(subset.differences):
        _print_differences(console, subset.differences, subset.trials.preset, analysis.options.confidence)
        notes += [f"{r.method_a} - {r.method_b}: {r.note}" for r in subset.differences if r.note]
    if subset.together is not None:
        console.print(omnibus_text(subset.together.test, subset.together.left_out))
        notes += [f"all methods at once: {subset.together.note}"] if subset.together.note else []
    if subset.against_truth is not None:
        _print_against_truth(console, subset.against_truth, analysis.options.equivalence_margin, subset.trials.preset)
    if subset.preferences is not None:
        _print_preferences(console, subset.preferences)
        notes += [f"{r.method_a} - {r.method_b}: {r.note}" for r in subset.preferences.differences if r.note]
    if subset.anytime is not None:
        _print_anytime(console, subset.anytime)
    if subset.rates is not None and len(subset.differences or ()) > 1:
        console.print("Intervals are not adjusted for the number of comparisons; p (Holm) is.")
    for note in notes:
        console.print(f"  note: {note}", markup=False)


def _print_preferences(console: Console, results: PreferenceResults) -> None:
    from analysis.report.preference import (
        choice_cells,
        choices_title,
        preference_cells,
        preference_sentences,
        win_matrix_cells,
        wins_title,
    )

    if results.choices:
        console.print(choices_title(results))
        print_fitting(
            console, ("chosen", "share", "+-", "interval", "p"), choice_cells(results), file="choice_shares.csv"
        )
    wide = len(results.methods) > 3  # the intervals are in the table of comparisons and in win_matrix.csv
    heads, rows = win_matrix_cells(results, intervals=not wide)
    console.print(wins_title(results))
    print_fitting(console, ("method", *heads), [(method, *cells) for method, cells in rows])
    if results.scale is not None:
        strengths = []
        for method in (name for name in results.methods if name in results.scale.methods):
            strength = results.scale.strength_of(method)
            interval = f"{strength.ci_low:.2f} to {strength.ci_high:.2f}"
            strengths.append((method, f"{strength.estimate:.2f}", f"{strength.std_error:.2f}", interval))
        print_fitting(
            console, ("method", "strength", "+-", f"{100 * results.scale.confidence:g} % interval"), strengths
        )
    for sentence in preference_sentences(results):
        console.print(sentence)
    if len(results.differences):
        print_fitting(
            console,
            ("A - B", "wins", "share of A, %", "strength A - B", "p", "p (Holm)"),
            [
                (f"{a} - {b}", *cells, _precise(record.p_value), _precise(record.p_holm))
                for (a, b, *cells, _, _), record in zip(preference_cells(results), results.differences, strict=True)
            ],
            droppable=("wins", "p", "share of A, %"),
            file="preference_comparisons.csv",
        )


def _print_rates(console: Console, subset: SubsetAnalysis, analysis: StudyAnalysis) -> None:
    preset = subset.trials.preset
    title = {"real-vs-fake": "fooled %", "naturalness": "natural %", "rating": "mean"}[preset]
    headings = [title, "+-", f"{100 * analysis.options.confidence:g} % interval"]
    headings += ["Zhang16"] if preset != "rating" else []
    headings += ["people", "images", "trials"]
    if preset == "real-vs-fake":
        several = sum(not math.isnan(record.equivalence_p_holm) for record in subset.rates or ()) > 1
        headings.append(f"50 +- {100 * analysis.options.equivalence_margin:g}" + ("\np (Holm)" if several else ""))
    rows = []
    factor = 1 if preset == "rating" else 100
    for record in subset.rates or ():
        mean, paper = record.mean, record.paper
        if mean is None:
            cells = ["-"] * len(headings)
            cells[headings.index("trials")] = str(record.n_trials)
            rows.append((record.method, *cells))
            continue
        found = record.is_vigilance  # how many obvious fakes were found, as the paper says it, not how many were missed
        value, low, high = (
            (1 - mean.estimate, 1 - mean.ci_high, 1 - mean.ci_low)
            if found
            else (mean.estimate, mean.ci_low, mean.ci_high)
        )
        cells = [("found " if found else "") + _number(factor * value), _number(factor * mean.std_error)]
        cells.append(f"{_number(factor * low)} to {_number(factor * high)}")
        if preset != "rating":
            cells.append(f"+- {_number(factor * paper.std_error)}" if paper else "-")
        cells += [str(mean.n_participants), str(mean.n_images), str(mean.n_trials)]
        if preset == "real-vs-fake":
            withheld = "no verdict" if record.verdict_withheld else ""
            p = record.equivalence_p_holm
            cells.append(
                withheld if record.is_vigilance or math.isnan(p) else p_text(p) if several else f"p {p_text(p)}"
            )
        rows.append((record.method, *cells))
    print_fitting(
        console,
        ("method", *headings),
        rows,
        droppable=("Zhang16", "trials", "images"),
        file={"real-vs-fake": "fool_rates.csv", "naturalness": "natural_rates.csv", "rating": "mean_ratings.csv"}[
            preset
        ],
    )


def _print_differences(console: Console, differences: Comparisons, preset: str, confidence: float) -> None:
    factor = 1 if preset == "rating" else 100
    rows = list(differences)
    with_paper = any(not math.isnan(record.probability_less) for record in rows)
    with_order = any(record.superiority is not None for record in rows)
    with_odds = any(record.odds and math.isfinite(record.odds.ratio) for record in rows)
    headings = [
        "points" if factor == 100 else "difference",
        f"{100 * confidence:g} % interval",
        "t (df)",
        "p",
        "p (Holm)",
    ]
    headings += ["odds ratio"] if with_odds else []
    headings += ["P(A < B) Zhang16"] if with_paper else []
    headings += ["A above B %", "by order\np (Holm)"] if with_order else []
    lines = []
    for record in rows:
        result = record.result
        name = f"{record.method_a} - {record.method_b}"
        if result is None:
            lines.append((name, *["-"] * len(headings)))
            continue
        t = "-" if math.isnan(result.df) else f"{result.difference / result.std_error:.2f} ({result.df:.0f})"
        digits = 1 if factor == 100 else 2
        cells = [
            f"{factor * result.difference:+.{digits}f}",
            f"{factor * result.ci_low:+.{digits}f} to {factor * result.ci_high:+.{digits}f}",
            t,
            _precise(result.p_value),
            _precise(record.p_holm),
        ]
        if with_odds:
            cells.append(odds_text(record.odds))
        if with_paper:
            cells.append(share_text(record.probability_less))
        if with_order:
            order = record.superiority
            cells += [f"{100 * order.probability:.0f}", p_text(record.superiority_p_holm)] if order else ["-", "-"]
        lines.append((name, *cells))
    print_fitting(
        console,
        ("A - B", *headings),
        lines,
        droppable=("odds ratio", "P(A < B) Zhang16", "t (df)"),
        file="comparisons.csv",
    )


def _print_against_truth(console: Console, against: Comparisons, margin: float, preset: str) -> None:
    factor = 1 if preset == "rating" else 100
    headings = ["- truth", "interval", "p (Holm)"]
    headings += [f"equal +- {100 * margin:g}: p", "p (Holm)"] if preset != "rating" else []
    lines = []
    for record in against:
        result = record.result
        if result is None:
            lines.append((record.method_a, *["-"] * len(headings)))
            continue
        digits = 1 if factor == 100 else 2
        cells = [
            f"{factor * result.difference:+.{digits}f}",
            f"{factor * result.ci_low:+.{digits}f} to {factor * result.ci_high:+.{digits}f}",
            _precise(record.p_holm),
        ]
        if preset != "rating":
            cells += [p_text(record.equivalence_p), p_text(record.equivalence_p_holm)]
        lines.append((record.method_a, *cells))
    console.print("Against the photos themselves (truth):")
    print_fitting(console, ("method", *headings), lines)


def _print_anytime(console: Console, results: AnytimeResults) -> None:
    percent = f"{100 * results.confidence:g} %"
    console.print(f"At all times ({percent} for all methods and looks together; new participants on these images):")
    rows = []
    for sequence in results.sequences:
        low, high = 100 * sequence.ci_low[-1], 100 * sequence.ci_high[-1]
        interval = f"{low:.1f} to {high:.1f}"
        rows.append((sequence.method, str(sequence.mean.size), f"{100 * sequence.mean[-1]:.1f}", interval))
    print_fitting(console, ("method", "people", "mean %", "interval"), rows)
    if results.differences:
        rows = []
        for entry in results.differences:
            interval = f"{100 * entry.ci_low:+.1f} to {100 * entry.ci_high:+.1f}"
            name, points = f"{entry.method_a} - {entry.method_b}", f"{100 * entry.difference:+.1f}"
            rows.append((name, points, interval, "yes" if entry.is_sure else "not yet"))
        print_fitting(console, ("A - B", "points", "interval", "sure"), rows)


def _precise(p: float) -> str:
    """Four digits, more near 0: the limit of an early look may be 0.00005."""
    if math.isnan(p):
        return "-"
    return "< 1e-12" if p < 1e-12 else f"{p:.1e}" if p < 1e-4 else "> 0.9999" if p > 0.99995 else f"{p:.4f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
