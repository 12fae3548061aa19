"""A whole study: all data and, beside it, what is left after the declared exclusions; and the files of both."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.records import Row, replace_results
from analysis.statistics.bootstrap import BootstrapSummary
from analysis.statistics.crossed import Estimand
from analysis.study.anytime import AnytimeResults, anytime_results
from analysis.study.breakdowns import (
    component_rows,
    covariate_rows,
    diagnose,
    image_rows,
    model_rows,
    participant_rows,
    straight_lining_note,
)
from analysis.study.columns import LEADERBOARD_TABLES, ONLY_REAL_VS_FAKE, OUTPUT_COLUMNS, REPORT_TABLES
from analysis.study.differences import Comparisons, MethodsTogether, against_truth, comparisons, methods_together
from analysis.study.preferences import PreferenceDifferences, PreferenceResults, analyze_preferences
from analysis.study.rates import FoolRates, Scheme, bootstrap_rate, fool_rates
from analysis.trials.exclusions import ExclusionRule, apply_exclusions
from analysis.trials.trial_table import LeftOut, TrialTable
from evalkit.errors import InputError
from evalkit.text_formats import csv_text, json_text

__all__ = ["AFTER", "ALL", "AnalysisOptions", "StudyAnalysis", "SubsetAnalysis", "analyze_study", "write_analysis"]

ALL, AFTER = "all", "after exclusions"


@dataclass(frozen=True, kw_only=True)
class AnalysisOptions:
    """What the analysis was asked for; written into ``run.json``.

    Attributes
    ----------
    baseline : str or None
        Compare every method with this one; None for all pairs.
    estimand : {"participants+images", "participants"}
        What intervals generalise to.
    confidence, equivalence_margin : float
        Fractions.
    bootstrap : tuple of {"zhang2016", "participants", "pigeonhole"}
        Resampling schemes for ``bootstrap.csv``.
    resamples : int
        0 for exact distributions where there are any, else seeded Monte Carlo.
    seed : int
        Seed of whatever is random.
    anytime : bool
        Also intervals that hold at all times, for studies that are looked at while they run.
    """

    baseline: str | None = None
    estimand: Estimand = "participants+images"
    confidence: float = 0.95
    equivalence_margin: float = 0.05
    bootstrap: tuple[Scheme, ...] = ()
    resamples: int = 0
    seed: int = 0
    anytime: bool = False


@dataclass(frozen=True, kw_only=True)
class SubsetAnalysis:
    """Results for all data, or for what the exclusions left.

    Attributes
    ----------
    name : str
        ``all`` or ``after exclusions``.
    trials : TrialTable
        Its trials.
    rates : FoolRates or None
        None for preference studies.
    differences : Comparisons or None
        None for preference studies.
    against_truth : Comparisons or None
        Every method against the photos, where those were judged like a method (naturalness, ratings).
    together : MethodsTogether or None
        One test of all methods, where there are three or more; preference studies have theirs in `preferences`.
    preferences : PreferenceResults or None
        Of preference studies only.
    anytime : AnytimeResults or None
        Where it was asked for.
    tables : dict of str to list of rows
        ``per_image``, ``per_participant``, ``variance_components``, ``bootstrap``.
    diagnostics : dict
        Of `analysis.study.breakdowns.diagnose`.
    notes : tuple of str
        Sentences a reader has to know.
    """

    name: str
    trials: TrialTable
    rates: FoolRates | None = None
    differences: Comparisons | None = None
    against_truth: Comparisons | None = None
    together: MethodsTogether | None = None
    preferences: PreferenceResults | None = None
    anytime: AnytimeResults | None = None
    tables: dict[str, list[Row]] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether all answers come from simulated observers."""
        return bool("platform" in self.trials and np.all(self.trials["platform"] == "simulated"))


@dataclass(frozen=True)
class StudyAnalysis:
    """Both sides of a study.

    Attributes
    ----------
    options : AnalysisOptions
        As asked.
    subsets : tuple of SubsetAnalysis
        All data first; a second one when something was excluded.
    rules : tuple of ExclusionRule
        Declared rules, whether or not they removed anything.
    left_out : tuple of LeftOut
        What does not enter the rates, and why.
    """

    options: AnalysisOptions
    subsets: tuple[SubsetAnalysis, ...]
    rules: tuple[ExclusionRule, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def simulated(self) -> bool:
        """Whether all answers come from simulated observers."""
        return self.headline.simulated

    @property
    def headline(self) -> SubsetAnalysis:
        """What the declared rules leave, or all data when nothing was excluded."""
        return self.subsets[-1]


def analyze_study(
    trials: TrialTable, rules: tuple[ExclusionRule, ...] = (), options: AnalysisOptions | None = None
) -> StudyAnalysis:
    """Analyse all data, then what the declared exclusions leave.

    Parameters
    ----------
    trials : TrialTable
        All trials of one study.
    rules : tuple of ExclusionRule
        Declared before the data came in.
    options : AnalysisOptions
        Claim, coverage, family, resampling.

    Returns
    -------
    StudyAnalysis
        Both results and the counts of everything left out.

    Raises
    ------
    InputError
        See `analysis.study.rates.fool_rates`; also when the exclusions leave nothing.
    """
    options = options or AnalysisOptions()
    subsets = [_analyze(trials, ALL, options)]
    kept = apply_exclusions(trials, rules)
    if len(kept) < len(trials):
        if not np.any((kept["kind"] == "test") & np.isfinite(kept.value)):
            raise InputError(f"The exclusions leave no scored test trial of {trials.source}; check the rules.")
        subsets.append(_analyze(kept, AFTER, options))
    return StudyAnalysis(options, tuple(subsets), rules, (*kept.left_out, *_not_in_rates(kept)))


def _not_in_rates(trials: TrialTable) -> tuple[LeftOut, ...]:
    """Kinds that enter no rate, and answers that are missing."""
    left_out = []
    for kind, why in (
        ("practice", "practice"),
        ("vigilance", "vigilance" if trials.preset == "preference" else "vigilance (its own row)"),
        ("catch", "catch trial (for exclusion rules only)"),
    ):
        count = int(np.sum(trials["kind"] == kind))
        if count:
            left_out.append(LeftOut(why, count, 0))
    test = trials["kind"] == "test"
    for reason in np.unique(trials.unscored[test & (trials.unscored != "")]):
        missing = test & (trials.unscored == reason)
        scored = np.unique(trials["participant"][test & ~missing])
        people = np.setdiff1d(trials["participant"][missing], scored).size
        left_out.append(LeftOut(f"unscored: {reason}", int(missing.sum()), people))
    return tuple(left_out)


def _analyze(trials: TrialTable, name: str, options: AnalysisOptions) -> SubsetAnalysis:
    tables = {"per_participant": participant_rows(trials, subset=name)}
    diagnostics = diagnose(trials)
    notes = straight_lining_note(tables["per_participant"])
    common: dict[str, Any] = {
        "estimand": options.estimand,
        "confidence": options.confidence,
        "equivalence_margin": options.equivalence_margin,
        "subset": name,
    }
    present, baseline = trials.of_kind("test").methods, options.baseline
    lost = name == AFTER and baseline is not None and baseline not in present
    if lost:
        notes += (f"The exclusions leave no trial of the baseline {baseline}: no comparisons.",)
    anytime = None
    if options.anytime:
        anytime = anytime_results(trials, baseline=None if lost else baseline, confidence=options.confidence)
    if trials.preset == "preference":
        tables["per_image"] = image_rows(trials, confidence=options.confidence, subset=name)
        preferences = analyze_preferences(trials, baseline=None if lost else baseline, **common)
        return SubsetAnalysis(
            name=name,
            trials=trials,
            anytime=anytime,
            preferences=replace(preferences, differences=PreferenceDifferences(())) if lost else preferences,
            tables=tables,
            diagnostics=diagnostics,
            notes=(*notes, *preferences.notes),
        )
    rates = fool_rates(trials, **common)
    tables["per_image"] = image_rows(trials, confidence=options.confidence, subset=name)
    tables["variance_components"] = component_rows(trials, subset=name)
    tables["covariates"] = covariate_rows(trials, confidence=options.confidence, subset=name)
    tables["model_trials"] = model_rows(trials, subset=name)
    if options.bootstrap:
        tables["bootstrap"] = _bootstrap_rows(trials, name, options)
    differences = Comparisons(()) if lost else comparisons(trials, baseline=baseline, **common)
    return SubsetAnalysis(
        name=name,
        trials=trials,
        rates=rates,
        differences=differences,
        against_truth=against_truth(trials, **common),
        together=methods_together(trials, estimand=options.estimand, subset=name),
        anytime=anytime,
        tables=tables,
        diagnostics=diagnostics,
        notes=notes,
    )


def _bootstrap_rows(trials: TrialTable, name: str, options: AnalysisOptions) -> list[Row]:
    rows: list[Row] = []
    for method in trials.of_kind("test").methods:
        one = trials.of_method(method)
        for scheme in options.bootstrap:
            row: Row = {"method": method, "scheme": scheme, "note": ""}
            try:
                summary = bootstrap_rate(
                    one, scheme, n_resamples=options.resamples, seed=options.seed, confidence=options.confidence
                )
                row |= asdict(summary)
            except InputError as error:
                row |= dict.fromkeys((entry.name for entry in fields(BootstrapSummary)), math.nan)
                row["note"] = str(error)
            rows.append({**row, "subset": name})
    return rows


def write_analysis(analysis: StudyAnalysis, out: Path, *, version: str) -> list[Path]:
    """Write every table as CSV, diagnostics as JSON, and the record of the run, ``run.json``, last.

    Parameters
    ----------
    analysis : StudyAnalysis
        What to write.
    out : Path
        Folder, made when absent; the files of an earlier analysis are replaced, all of them or none.
    version : str
        Of this package.

    Returns
    -------
    list of Path
        Files written, in the order of the documentation.

    Raises
    ------
    InputError
        When `out` holds the record of another command.
    """
    preset = analysis.headline.trials.preset
    tables: dict[str, list[Row]] = {}
    for subset in analysis.subsets:
        if subset.rates is not None and subset.differences is not None:
            name, column = _RATE_FILE[preset]
            for row in subset.rates.rows():
                renamed = {column if key == "fool_rate" else key: cell for key, cell in row.items()}
                # What has a meaning for real-vs-fake only (d', 50 %) is no column of the other presets.
                meaningless = ONLY_REAL_VS_FAKE if preset != "real-vs-fake" else frozenset()
                tables.setdefault(name, []).append({k: cell for k, cell in renamed.items() if k not in meaningless})
            tables.setdefault("comparisons", []).extend(subset.differences.rows())
        if subset.against_truth is not None:
            tables.setdefault("against_truth", []).extend(subset.against_truth.rows())
        if subset.together is not None:
            tables.setdefault("omnibus", []).append(subset.together.row())
        if subset.anytime is not None:
            for name, rows in (
                ("anytime", subset.anytime.rows()),
                ("anytime_differences", subset.anytime.difference_rows()),
            ):
                tables.setdefault(name, []).extend({**row, "subset": subset.name} for row in rows)
        if subset.preferences is not None:
            if subset.preferences.choices:
                tables.setdefault("choice_shares", []).extend(subset.preferences.choice_rows())
            tables.setdefault("win_matrix", []).extend(subset.preferences.win_rows())
            tables.setdefault("preference_scale", []).extend(subset.preferences.scale_rows())
            tables.setdefault("preference_comparisons", []).extend(subset.preferences.differences.rows())
        for name, rows in subset.tables.items():
            tables.setdefault(name, []).extend(rows)
    trials = analysis.headline.trials
    files = {f"{name}.csv": csv_text(rows, list(OUTPUT_COLUMNS[f"{name}.csv"])) for name, rows in tables.items()}
    files["diagnostics.json"] = json_text({subset.name: subset.diagnostics for subset in analysis.subsets})
    files["run.json"] = json_text(
        {
            "command": "analyze",
            "version": version,
            "source": trials.source,
            "sha256": trials.digest,
            "preset": trials.question,
            "alternatives": trials.n_alternatives if preset == "preference" else None,
            "options": asdict(analysis.options),
            "rules": [asdict(rule) for rule in analysis.rules],
            "left_out": [asdict(entry) for entry in analysis.left_out],
            "notes": [*trials.notes, *(note for subset in analysis.subsets for note in subset.notes)],
            "simulated": analysis.simulated,
            "files": list(files),
        }
    )
    tables_of_others = {*REPORT_TABLES, *LEADERBOARD_TABLES, "plan.csv"}
    return replace_results(
        out, files, record="run.json", command="analyze", may_hold=OUTPUT_COLUMNS.keys() - tables_of_others
    )


_RATE_FILE = {
    "real-vs-fake": ("fool_rates", "fool_rate"),
    "naturalness": ("natural_rates", "natural_rate"),
    "rating": ("mean_ratings", "mean_rating"),
}
