"""A study seen image by image and participant by participant, its variance components, and its diagnostics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.records import Row
from analysis.statistics.crossed import CrossedDesign, variance_components
from analysis.statistics.diagnostics import answer_times, fatigue_slope, shrunken_rates, side_bias, vigilance_curve
from analysis.statistics.fool_rate import CrossedMean, crossed_mean, wilson
from analysis.statistics.reliability import krippendorff_alpha, split_half
from analysis.statistics.sensitivity import dprime_unbiased
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError

__all__ = ["component_rows", "diagnose", "image_rows", "participant_rows", "vigilance_shares"]


def image_rows(trials: TrialTable, *, confidence: float = 0.95, subset: str = "all") -> list[Row]:
    """Rows of ``per_image.csv``: raw and shrunken rate of every image of every method, most fooling first."""
    test = trials.of_kind("test")
    rows: list[Row] = []
    for method in test.methods:
        one = test.where(test["method"] == method)
        images, code = np.unique(one["image"], return_inverse=True)
        count, total = np.bincount(code), np.bincount(code, one.value)
        rate, low, high = total / count, np.full(images.size, np.nan), np.full(images.size, np.nan)
        if one.preset != "rating" and images.size > 1:
            shrunken = shrunken_rates(one.value, one["image"], confidence)
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
    people, person = np.unique(trials["participant"], return_inverse=True)
    order = np.argsort(person, kind="stable")
    for who, indices in zip(people, np.split(order, np.cumsum(np.bincount(person))[:-1]), strict=True):
        mine = np.zeros(len(trials), dtype=bool)
        mine[indices] = True
        one = trials.where(mine)
        test = one.of_kind("test")
        n = len(test)
        row: Row = {"participant": who, "methods": " ".join(test.methods) if n else "", "n_trials": n}
        row["rate"] = float(test.value.mean()) if n else math.nan
        row["ci_low"] = row["ci_high"] = math.nan
        if n and trials.preset != "rating" and float(test.value.sum()).is_integer():
            row["ci_low"], row["ci_high"] = wilson(int(test.value.sum()), n)
        row |= _side(test)
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


def _side(test: TrialTable) -> Row:
    """Share of "first" answers and the d' that a side preference does not change."""
    row: Row = {"first_share": math.nan, "dprime_unbiased": math.nan}
    if test.preset != "real-vs-fake" or "response" not in test or "real_position" not in test or len(test) == 0:
        return row
    chose_first = test["response"] == "first"
    fake_first = test["real_position"] == "second"
    known = (test["response"] != "") & (test["real_position"] != "")
    if known.any():
        row["first_share"] = float(chose_first[known].mean())
        row["dprime_unbiased"] = float(
            dprime_unbiased(
                np.sum(chose_first & fake_first & known),
                np.sum(fake_first & known),
                np.sum(chose_first & ~fake_first & known),
                np.sum(~fake_first & known),
            )
        )
    return row


def component_rows(trials: TrialTable, *, subset: str = "all") -> list[Row]:
    """Rows of ``variance_components.csv``: how much participants, images and the rest vary in every method."""
    test = trials.of_kind("test")
    rows: list[Row] = []
    for method in test.methods:
        one = test.where(test["method"] == method)
        design = CrossedDesign.from_labels(one["participant"], one["image"])
        row: Row = {"method": method, "n_participants": design.n_participants, "n_images": design.n_images}
        try:
            found = variance_components(one.value, design)
            row |= {
                "participant": found.participant,
                "image": found.image,
                "residual": found.residual,
                "participant_share": found.participant_share,
                "image_share": found.image_share,
                "pooled": found.pooled or "",
                "note": "",
            }
        except InputError as error:
            row["note"] = str(error)
        rows.append({**row, "subset": subset})
    return rows


def vigilance_shares(trials: TrialTable, of: TrialTable) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Share of vigilance trials right of the participant of each trial of `of`; NaN without any."""
    vigilance = trials.of_kind("vigilance")
    people, person = np.unique(vigilance["participant"], return_inverse=True)
    share = np.bincount(person, 1.0 - vigilance.value) / np.maximum(np.bincount(person), 1)
    by_name = dict(zip(people.tolist(), share.tolist(), strict=True))
    return np.array([by_name.get(name, math.nan) for name in of["participant"].tolist()])


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
    result: dict[str, Any] = {"n_trials": len(test), "n_participants": int(np.unique(test["participant"]).size)}
    if "response" in test and test.preset in ("real-vs-fake", "preference"):
        known = test.where(test["response"] != "")
        if len(known):
            # One label per trial: a participant may meet an image in several methods, and images do not matter here.
            labels = np.arange(len(known))
            result["side_bias"] = _try(
                lambda: _mean(side_bias(known["response"] == "first", known["participant"], labels))
            )
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
    result["methods"] = {method: _of_method(trials, test.where(test["method"] == method)) for method in test.methods}
    return result


def _of_method(trials: TrialTable, one: TrialTable) -> dict[str, Any]:
    design = CrossedDesign.from_labels(one["participant"], one["image"])
    scale: Any = "linear" if one.preset == "rating" else "logit"
    found: dict[str, Any] = {
        "reliability": {
            "krippendorff_alpha": krippendorff_alpha(one.value, one["image"]),
            "split_half": split_half(one.value, one["participant"], one["image"], n_splits=50),
        }
    }
    if np.any(trials["kind"] == "vigilance"):
        curve = vigilance_curve(one.value, one["participant"], one["image"], vigilance_shares(trials, one))
        found["vigilance_curve"] = [
            {"threshold": p.threshold, "n_participants": p.n_participants, **(_mean(p.rate) if p.rate else {})}
            for p in curve
        ]
    if "flags" in one and np.any(one["flags"] != ""):
        clean = one.where(one["flags"] == "")
        found["timing"] = {
            "n_flagged": len(one) - len(clean),
            "with_flagged": _try(lambda: _mean(crossed_mean(one.value, design, scale=scale))),
            "without_flagged": _try(
                lambda: _mean(
                    crossed_mean(
                        clean.value, CrossedDesign.from_labels(clean["participant"], clean["image"]), scale=scale
                    )
                )
            ),
        }
    return found


def _mean(found: CrossedMean) -> dict[str, float]:
    return {
        "estimate": found.estimate,
        "std_error": found.std_error,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "n_participants": found.n_participants,
    }


def _try(compute: Any) -> Any:
    """The result, or the reason why there is none."""
    try:
        return compute()
    except InputError as error:
        return {"missing": str(error)}
