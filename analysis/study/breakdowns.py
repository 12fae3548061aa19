"""A study seen image by image and participant by participant, its variance components, and its diagnostics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.records import Row
from analysis.statistics.crossed import variance_components
from analysis.statistics.diagnostics import (
    answer_times,
    fatigue_slope,
    shrunken_rates,
    side_bias,
    vigilance_curve,
)
from analysis.statistics.fool_rate import CrossedMean, crossed_mean, wilson
from analysis.statistics.reliability import krippendorff_alpha, split_half
from analysis.statistics.sensitivity import dprime_unbiased
from analysis.statistics.straight_lining import STRAIGHT_LINING, straight_lining
from analysis.trials.choices import chosen_methods, is_shown
from analysis.trials.trial_table import TrialTable, in_order
from evalkit.errors import InputError
from evalkit.wording import counted, some_names

__all__ = [
    "component_rows",
    "covariate_rows",
    "diagnose",
    "image_rows",
    "model_rows",
    "participant_rows",
    "straight_lining_note",
    "vigilance_shares",
]


def image_rows(trials: TrialTable, *, confidence: float = 0.95, subset: str = "all") -> list[Row]:
    """Rows of ``per_image.csv``: raw and shrunken rate of every image of every method, highest first.

    In a preference study the rate is the share of its trials that the method won, whatever it was shown with.
    """
    test = trials.of_kind("test")
    rows: list[Row] = []
    for method in test.methods:
        if test.preset == "preference":
            one = test.where(is_shown(test, method))
            value = np.where(one["response"] == "tie", 0.5, (chosen_methods(one) == method).astype(np.float64))
        else:
            one = trials.of_method(method)
            value = one.value
        images, code = one.design.images, one.design.image
        count, total = np.bincount(code), np.bincount(code, value)
        rate, low, high = total / count, np.full(images.size, np.nan), np.full(images.size, np.nan)
        if one.preset != "rating" and images.size > 1:
            shrunken = shrunken_rates(value, one["image"], confidence)
            rate, low, high = shrunken.rate, shrunken.ci_low, shrunken.ci_high
        rows += [
            {
                "method": method,
                "image": images[k],
                "n_trials": int(count[k]),
                "raw_rate": total[k] / count[k],
                "shrunken_rate": rate[k],
                "ci_low": low[k],
                "ci_high": high[k],
                "subset": subset,
            }
            for k in np.argsort(-rate, kind="stable")
        ]
    return rows


def participant_rows(trials: TrialTable, *, subset: str = "all") -> list[Row]:
    """Rows of ``per_participant.csv``: each one's rate, side preference, vigilance, times and missing answers."""
    rows: list[Row] = []
    person = trials.design.participant
    order = np.argsort(person, kind="stable")
    positions = np.split(order, np.cumsum(np.bincount(person))[:-1])
    for who, own in zip(trials.design.participants, positions, strict=True):
        one = trials.take(own)
        test = one.of_kind("test")
        n = len(test)
        row: Row = {"participant": who, "methods": " ".join(test.methods) if n else "", "n_trials": n}
        row["rate"] = float(test.value.mean()) if n else math.nan
        row["ci_low"] = row["ci_high"] = math.nan
        if n and trials.preset != "rating" and float(test.value.sum()).is_integer():
            row["ci_low"], row["ci_high"] = wilson(int(test.value.sum()), n)
        row |= _side(test) | _same_answer(one)
        for kind in ("vigilance", "catch"):
            seen = one.of_kind(kind)
            row[f"n_{kind}"] = len(seen)
            row[f"{kind}_right"] = float(np.sum(1.0 - seen.value)) if len(seen) else math.nan
        times = test["response_ms"] if "response_ms" in test else np.array([])
        row["median_response_ms"] = float(np.nanmedian(times)) if np.isfinite(times).any() else math.nan
        row["n_flagged"] = int(np.sum(test["flags"] != "")) if "flags" in test else 0
        row["n_unscored"] = int(np.sum((one["kind"] == "test") & (one.unscored != "")))
        rows.append({**row, "subset": subset})
    return rows


def _same_answer(own: TrialTable) -> Row:
    """How one-sided a participant's answers are, whatever was right: over all scored trials but practice."""
    answers = own.where((own["kind"] != "practice") & np.isfinite(own.value))
    given = answers["response"] if "response" in answers else np.array([], dtype=np.str_)
    given = given[in_order(answers)][given[in_order(answers)] != ""] if given.size else given
    if given.size == 0:
        return {"same_answer_share": math.nan, "longest_run": math.nan, "straight_lining": False}
    sided = straight_lining(given.tolist(), own.n_alternatives)
    return {
        "same_answer_share": sided.share,
        "longest_run": sided.longest_run,
        "straight_lining": sided.is_flagged and own.preset != "naturalness",
    }


def straight_lining_note(people: Sequence[Row]) -> tuple[str, ...]:
    """One sentence about participants who gave nearly always the same answer; none where there are none."""
    flagged = [row["participant"] for row in people if row["straight_lining"]]
    if not flagged:
        return ()
    return (
        f"{counted(len(flagged), 'participant')} of {len(people)} gave nearly always the same answer, or the same many times "
        f"in a row, which somebody who looks would do with a chance below {STRAIGHT_LINING:g} ({some_names(flagged)}); "
        "the rules same_answer_share_above and same_answer_run_above leave such people out.",
    )


def _side(test: TrialTable) -> Row:
    """Share of "first" answers and the d' that a side preference does not change."""
    row: Row = {"first_share": math.nan, "dprime_unbiased": math.nan}
    if test.preset == "preference" and len(test) and test.n_alternatives == 2:
        row["first_share"] = float(test.value.mean())  # a tie is half an answer for either
    if test.preset != "real-vs-fake" or "response" not in test or "real_position" not in test or len(test) == 0:
        return row
    chose_first = test["response"] == "first"
    fake_first = test["real_position"] == "second"
    complete = (test["response"] != "") & (test["real_position"] != "")
    if complete.any():
        row["first_share"] = float(chose_first[complete].mean())
        row["dprime_unbiased"] = float(
            dprime_unbiased(
                np.sum(chose_first & fake_first & complete),
                np.sum(fake_first & complete),
                np.sum(chose_first & ~fake_first & complete),
                np.sum(~fake_first & complete),
            )
        )
    return row


def component_rows(trials: TrialTable, *, subset: str = "all") -> list[Row]:
    """Rows of ``variance_components.csv``: how much participants, images and the rest vary in every method."""
    test = trials.of_kind("test")
    rows: list[Row] = []
    for method in test.methods:
        one, design = trials.of_method(method), trials.of_method(method).design
        row: Row = {"method": method, "n_participants": design.n_participants, "n_images": design.n_images}
        try:
            components = variance_components(one.value, design)
            row |= {
                "participant": components.participant,
                "image": components.image,
                "residual": components.residual,
                "participant_share": components.participant_share,
                "image_share": components.image_share,
                "pooled": components.pooled or "",
                "note": "",
            }
        except InputError as error:
            row |= dict.fromkeys(("participant", "image", "residual", "participant_share", "image_share"), math.nan)
            row |= {"pooled": "", "note": str(error)}
        rows.append({**row, "subset": subset})
    return rows


def model_rows(trials: TrialTable, *, subset: str = "all") -> list[Row]:
    """Rows of ``model_trials.csv``: the scored test trials in the form that lme4, glmmTMB and brms read."""
    test = trials.of_kind("test")
    names = ("participant", "image", "method", "real_position", "trial", "response_ms")
    columns = {name: (test[name].tolist() if name in test else [""] * len(test)) for name in names}
    columns["value"] = test.value.tolist()
    return [{name: column[k] for name, column in columns.items()} | {"subset": subset} for k in range(len(test))]


def covariate_rows(trials: TrialTable, *, confidence: float = 0.95, subset: str = "all") -> list[Row]:
    """Rows of ``covariates.csv``: whether the rate hangs on the side, the time in the session, or the device."""
    rows: list[Row] = []
    scale: Any = "linear" if trials.preset == "rating" else "logit"
    for method in trials.of_kind("test").methods:
        one = trials.of_method(method)
        for covariate, entries in _covariates(one).items():
            levels = [level for level in np.unique(entries).tolist() if level]
            for level in levels if len(levels) > 1 else ():
                part = one.where(entries == level)
                row: Row = {"method": method, "covariate": covariate, "level": level, "note": "", "subset": subset}
                row |= {"n_participants": part.design.n_participants, "n_trials": len(part)}
                try:
                    mean = crossed_mean(part.value, part.design, scale=scale, confidence=confidence)
                    row |= {"rate": mean.estimate, "std_error": mean.std_error}
                    row |= {"ci_low": mean.ci_low, "ci_high": mean.ci_high, "note": mean.note}
                except InputError as error:
                    row |= {
                        "rate": float(part.value.mean()),
                        "std_error": math.nan,
                        "ci_low": math.nan,
                        "ci_high": math.nan,
                    }
                    row["note"] = str(error)
                rows.append(row)
    return rows


def _covariates(one: TrialTable) -> dict[str, np.ndarray[Any, Any]]:
    """Levels of each covariate that the table has, as text, "" where missing."""
    levels = {name: one[name] for name in ("real_position", "touch", "color_scheme") if name in one}
    if "trial" in one and np.isfinite(one["trial"]).all():
        levels["half"] = np.where(one["trial"] <= np.median(one["trial"]), "first", "second")
    return levels


def vigilance_shares(trials: TrialTable, of: TrialTable) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Share of vigilance trials right of the participant of each trial of `of`; NaN without any."""
    vigilance = trials.of_kind("vigilance")
    people, person = vigilance.design.participants, vigilance.design.participant
    share = np.bincount(person, 1.0 - vigilance.value) / np.bincount(person)
    by_name = dict(zip(people.tolist(), share.tolist(), strict=True))
    of_people = np.array([by_name.get(name, math.nan) for name in of.design.participants.tolist()])
    return np.asarray(of_people[of.design.participant])


def diagnose(trials: TrialTable) -> dict[str, Any]:
    """Everything that tells whether answers were given with care, as plain numbers for ``diagnostics.json``.

    Parameters
    ----------
    trials : TrialTable
        Trials of any preset; what a table does not hold is absent from the result.

    Returns
    -------
    dict
        ``side_bias``, ``fatigue``, ``answer_times``, ``vigilance_curve`` and ``timing`` and ``reliability`` by method.
    """
    test = trials.of_kind("test")
    result: dict[str, Any] = {"n_trials": len(test), "n_participants": test.design.n_participants if len(test) else 0}
    if "response" in test and test.preset in ("real-vs-fake", "preference") and test.n_alternatives == 2:
        answered = test.where(test["response"] != "")
        if len(answered):
            result["side_bias"] = _try(lambda: _mean(side_bias(answered["response"] == "first", answered.design)))
    if "trial" in test and np.isfinite(test["trial"]).all() and len(test):
        result["fatigue"] = _try(lambda: vars(fatigue_slope(test.value, test["trial"], test["participant"])))
    if "response_ms" in test and np.isfinite(test["response_ms"]).any():
        times = answer_times(test["response_ms"], test.value, test["participant"])
        result["answer_times"] = {
            "geometric_mean_ms": times.geometric_mean_ms,
            "median_ms": dict(zip(times.participants.tolist(), times.median_ms.tolist(), strict=True)),
            "n_below_150_ms": times.n_below,
            "n_above_30_s": times.n_above,
            "fooled_ratio": times.fooled_ratio,
        }
    if trials.preset == "preference":
        return result
    result["methods"] = {method: _of_method(trials, trials.of_method(method)) for method in test.methods}
    return result


def _of_method(trials: TrialTable, one: TrialTable) -> dict[str, Any]:
    design = one.design
    scale: Any = "linear" if one.preset == "rating" else "logit"
    result: dict[str, Any] = {
        "reliability": {
            "krippendorff_alpha": krippendorff_alpha(one.value, design.image),
            "split_half": split_half(one.value, design, n_splits=50),
        }
    }
    if np.any(trials["kind"] == "vigilance"):
        curve = vigilance_curve(one.value, design, vigilance_shares(trials, one))
        result["vigilance_curve"] = [
            {"threshold": p.threshold, "n_participants": p.n_participants, **(_mean(p.rate) if p.rate else {})}
            for p in curve
        ]
    if "flags" in one and np.any(one["flags"] != ""):
        clean = one.where(one["flags"] == "")
        result["timing"] = {
            "n_flagged": len(one) - len(clean),
            "with_flagged": _try(lambda: _mean(crossed_mean(one.value, design, scale=scale))),
            "without_flagged": _try(lambda: _mean(crossed_mean(clean.value, clean.design, scale=scale))),
        }
    return result


def _mean(mean: CrossedMean) -> dict[str, float]:
    return {
        "estimate": mean.estimate,
        "std_error": mean.std_error,
        "ci_low": mean.ci_low,
        "ci_high": mean.ci_high,
        "n_participants": mean.n_participants,
    }


def _try(compute: Any) -> Any:
    """The result, or the reason why there is none."""
    try:
        return compute()
    except InputError as error:
        return {"missing": str(error)}
