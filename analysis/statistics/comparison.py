"""Does one method fool people more often than another? Tests for new participants and new images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.statistics.crossed import ROUNDING, CrossedDesign, Estimand, Labels, check_inference
from analysis.statistics.fool_rate import clopper_pearson, crossed_mean, logit_t_interval, t_quantile
from evalkit.arrays import BoolArray, FloatArray, IntArray
from evalkit.errors import InputError
from evalkit.wording import counted

__all__ = ["Difference", "McNemar", "OddsRatio", "compare", "compare_designs", "mcnemar", "odds_ratio"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Difference of two fool rates (or mean ratings), A minus B.

    Attributes
    ----------
    difference : float
        Mean of A minus mean of B.
    std_error : float
        Its standard error; NaN when the answers of one method do not vary (see `note`).
    ci_low, ci_high : float
        Confidence interval on the linear scale.
    df : float
        Satterthwaite degrees of freedom; NaN where no t quantile was used.
    p_value : float
        Two-sided, against no difference; not adjusted for the number of comparisons.
    estimand : {"participants+images", "participants"}
        What the claim generalises to.
    n_shared_participants, n_shared_images : int
        Levels that saw, or were shown with, both methods.
    note : str
        Why something is missing or conservative; empty when there is nothing to say.
    """

    difference: float
    std_error: float
    ci_low: float
    ci_high: float
    df: float
    p_value: float
    estimand: Estimand
    n_shared_participants: int
    n_shared_images: int
    note: str = ""


def compare(
    values_a: npt.ArrayLike,
    participant_a: Labels,
    image_a: Labels,
    values_b: npt.ArrayLike,
    participant_b: Labels,
    image_b: Labels,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> Difference:
    """Image-paired two-way test of two methods.

    The same images are usually shown for both methods, so what an image adds to both cancels; participants
    are paired likewise where the same people judged both methods, and independent where not.

    Parameters
    ----------
    values_a, values_b : array_like, shapes (n_a,) and (n_b,)
        Answers, 1 where fooled (or any number).
    participant_a, participant_b, image_a, image_b : sequence
        Labels; the same label means the same participant or image in A and B.
    estimand : {"participants+images", "participants"}
        New people and new images (default), or new people on these images.
    confidence : float
        Nominal coverage in (0, 1).

    Returns
    -------
    Difference
        A minus B.

    Raises
    ------
    InputError
        A repeated cell within a method, values that are not finite, fewer than two participants (or
        images), or values that vary though no mean of a participant (or an image) does.

    Notes
    -----
    With r = (y - mean)/n for A and its negative for B, V = V_P + V_I - V_0, sums of squares of r summed
    within participants, images and cells, not below the larger one-way term. V_P (separately for people who
    saw A only, B only and both) and V_I are multiplied by k/(k-1), k the number of levels [1]_; df = V^2 /
    sum V_k^2/(k-1).

    A method whose answers are all 0 (or all 1) shows no spread, and yet its true rate is not known exactly. Its exact
    limits are then combined with the other method's by Newcombe's square-and-add rule [2]_, as of one independent answer
    per participant or image, whichever are fewer; the p-value is that of the interval, the level at which it would just
    reach 0.

    References
    ----------
    .. [1] Cameron, Gelbach, Miller, Robust inference with multiway clustering, JBES 2011, for V_P + V_I -
       V_0.
    .. [2] Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine
       1998, method 10 (with exact limits for the rate that does not vary).
    """
    return compare_designs(
        values_a,
        CrossedDesign.from_labels(participant_a, image_a),
        values_b,
        CrossedDesign.from_labels(participant_b, image_b),
        estimand=estimand,
        confidence=confidence,
    )


def _numbers(name: str, values: npt.ArrayLike) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds what is no number; a number per trial is needed") from None


def compare_designs(
    values_a: npt.ArrayLike,
    design_a: CrossedDesign,
    values_b: npt.ArrayLike,
    design_b: CrossedDesign,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> Difference:
    """`compare` for two methods whose trials are crossed designs already; the same result and errors."""
    check_inference(estimand, confidence)
    y_a, y_b = (_numbers(name, values) for name, values in (("values_a", values_a), ("values_b", values_b)))
    contribution = np.concatenate([_contribution(y_a, design_a, "A"), -_contribution(y_b, design_b, "B")])
    design = CrossedDesign.joined(design_a, design_b)
    in_a, in_b = _membership(design.participant, y_a.size, design.n_participants)
    image_in_a, image_in_b = _membership(design.image, y_a.size, design.n_images)
    if in_a.sum() < 2 or in_b.sum() < 2:
        raise InputError("A comparison for new participants needs at least two participants of each method.")
    if design.n_images < 2 and estimand == "participants+images":
        raise InputError("A comparison for new images needs at least two images (or estimand 'participants').")

    squares_p = np.square(np.bincount(design.participant, contribution), dtype=np.float64)
    groups = [group for group in (in_a & ~in_b, in_b & ~in_a, in_a & in_b) if group.any()]
    if any(group.sum() < 2 for group in groups):
        groups = [in_a | in_b]
    terms = [_inflated(squares_p[group]) for group in groups]
    v_p = v = sum(value for value, _ in terms)
    if estimand == "participants+images":
        v_i, df_i = _inflated(np.square(np.bincount(design.image, contribution), dtype=np.float64))
        _, cell = np.unique(design.cell, return_inverse=True)
        v = max(v_p + v_i - float(np.sum(np.bincount(cell, contribution) ** 2)), v_p, v_i)
        terms.append((v_i, df_i))

    difference = float(y_a.mean() - y_b.mean())
    shared_participants, shared_images = int((in_a & in_b).sum()), int((image_in_a & image_in_b).sum())
    constant = [bool(np.all(y == y[0])) for y in (y_a, y_b)]
    never_vary = [still and y[0] in (0.0, 1.0) for still, y in zip(constant, (y_a, y_b), strict=True)]
    if any(never_vary) and all(np.all((y >= 0) & (y <= 1)) for y in (y_a, y_b)) and never_vary == constant:
        sides = [_Side(y, own, estimand) for y, own in ((y_a, design_a), (y_b, design_b))]
        return Difference(
            difference=difference,
            estimand=estimand,
            n_shared_participants=shared_participants,
            n_shared_images=shared_images,
            **_square_and_add(sides, confidence),
        )
    if v <= ROUNDING**2 * float(np.sum(contribution**2)):
        if np.ptp(y_a) > 0 or np.ptp(y_b) > 0:
            who, what = ("participants", "; use estimand 'participants+images'.") if estimand == "participants" else (
                "participants and of images", ".")  # fmt: skip
            raise InputError(
                f"The means of {who} do not vary, so their spread gives no interval for the difference{what}"
            )
        raise InputError(
            f"All values of A are {y_a[0]:g} and all of B {y_b[0]:g}; a comparison needs values that differ."
        )
    df = v**2 / sum(value**2 / levels for value, levels in terms)
    std_error = math.sqrt(v)
    half = t_quantile(0.5 + confidence / 2, df) * std_error
    note = ""
    for name, y, still in zip("AB", (y_a, y_b), constant, strict=True):
        if still:
            note = f"every answer of {name} is {y[0]:g}: its own uncertainty is not in the standard error"
    return Difference(
        difference=difference,
        std_error=std_error,
        ci_low=difference - half,
        ci_high=difference + half,
        df=df,
        p_value=t_two_sided(difference / std_error, df),
        estimand=estimand,
        n_shared_participants=shared_participants,
        n_shared_images=shared_images,
        note=note,
    )


@dataclass(frozen=True)
class OddsRatio:
    """Odds of being fooled by A over those by B.

    Attributes
    ----------
    ratio : float
        NaN where either rate is 0 or 1.
    ci_low, ci_high : float
        Interval on the logarithmic scale.
    """

    ratio: float
    ci_low: float
    ci_high: float


def odds_ratio(
    values_a: npt.ArrayLike,
    design_a: CrossedDesign,
    values_b: npt.ArrayLike,
    design_b: CrossedDesign,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> OddsRatio:
    """Odds ratio of two rates over people and images, with the two-way interval of `compare_designs`.

    Answers are divided by m (1 - m), the slope of the logit, so that their difference varies as that of the logits does.
    It is the ratio of the marginal odds; that of a mixed logit model, for one and the same person and image, lies further
    from 1.

    Parameters and errors are those of `compare_designs`; answers in [0, 1].
    """
    y_a, y_b = np.asarray(values_a, dtype=np.float64), np.asarray(values_b, dtype=np.float64)
    means = float(y_a.mean()), float(y_b.mean())
    if not all(0 < mean < 1 for mean in means):
        return OddsRatio(math.nan, math.nan, math.nan)
    scaled = [y / (mean * (1 - mean)) for y, mean in zip((y_a, y_b), means, strict=True)]
    spread = compare_designs(scaled[0], design_a, scaled[1], design_b, estimand=estimand, confidence=confidence)
    logit = math.log(means[0] / (1 - means[0])) - math.log(means[1] / (1 - means[1]))
    half = t_quantile(0.5 + confidence / 2, spread.df) * spread.std_error
    return OddsRatio(math.exp(logit), math.exp(logit - half), math.exp(logit + half))


def t_two_sided(statistic: float, df: float) -> float:
    """Two-sided p-value of Student's t."""
    from scipy.special import stdtr

    return float(min(2.0 * stdtr(df, -abs(statistic)), 1.0))


@dataclass(frozen=True)
class McNemar:
    """Paired yes/no outcomes of two methods on the same images.

    Attributes
    ----------
    only_a, only_b : int
        Images right with A only, with B only (the discordant ones).
    p_value : float
        Two-sided.
    exact : bool
        True for the binomial test (fewer than 25 discordant images), False for the corrected chi-square.
    """

    only_a: int
    only_b: int
    p_value: float
    exact: bool


def mcnemar(only_a: int, only_b: int) -> McNemar:
    """McNemar's test, exact below 25 discordant pairs, else chi-square with continuity correction.

    Parameters
    ----------
    only_a, only_b : int
        Discordant counts.

    Returns
    -------
    McNemar
        Counts, p-value and which form was used.

    Raises
    ------
    InputError
        Negative counts.
    """
    from scipy.special import bdtr, chdtrc

    if only_a < 0 or only_b < 0:
        raise InputError(f"Discordant counts are {only_a} and {only_b}; whole numbers of 0 or more are allowed.")
    discordant = only_a + only_b
    if discordant < 25:
        p = min(2.0 * float(bdtr(min(only_a, only_b), discordant, 0.5)), 1.0) if discordant else 1.0
        return McNemar(only_a, only_b, p, exact=True)
    statistic = max(abs(only_a - only_b) - 1, 0) ** 2 / discordant
    return McNemar(only_a, only_b, float(chdtrc(1, statistic)), exact=False)


def _contribution(y: FloatArray, design: CrossedDesign, name: str) -> FloatArray:
    """R = (y - mean) / n, after the checks that each method needs on its own."""
    if y.shape != (design.n_trials,) or not np.isfinite(y).all():
        raise InputError(f"Values of {name} must be {counted(design.n_trials, 'finite number')}, one per trial.")
    try:
        design.refuse_duplicates()
    except InputError as error:
        raise InputError(f"Method {name}: {error}") from error
    return np.asarray((y - y.mean()) / y.size)


def _membership(code: IntArray, n_a: int, levels: int) -> tuple[BoolArray, ...]:
    """Which levels occur in A (the first n_a trials) and in B."""
    in_a, in_b = np.bincount(code[:n_a], minlength=levels) > 0, np.bincount(code[n_a:], minlength=levels) > 0
    return in_a, in_b


def _inflated(squares: FloatArray) -> tuple[float, float]:
    """Sum of squares times k/(k-1), and k - 1 degrees of freedom, for k independent levels."""
    k = squares.size
    return float(squares.sum()) * k / (k - 1), k - 1.0


class _Side:
    """One of two methods at least one of which never varies: its rate, and limits at any confidence."""

    def __init__(self, y: FloatArray, design: CrossedDesign, estimand: Estimand) -> None:
        self.rate = float(y.mean())
        self.varies = bool(np.ptp(y) > 0)
        self.n_effective = min(design.n_participants, design.n_images if estimand == "participants+images" else y.size)
        self._mean = crossed_mean(y, design, estimand=estimand) if self.varies else None

    def limits(self, confidence: float) -> tuple[float, float]:
        """Exact ones as of one answer per level for a constant rate, else those of the crossed mean."""
        if self._mean is None:
            return clopper_pearson(int(self.rate) * self.n_effective, self.n_effective, confidence)
        return logit_t_interval(self._mean.estimate, self._mean.std_error, self._mean.df, confidence)


def _square_and_add(sides: Sequence[_Side], confidence: float) -> dict[str, Any]:
    """Interval, p-value and note of a difference whose standard error is not known."""
    a, b = sides
    difference = a.rate - b.rate

    def limits(level: float) -> tuple[float, float]:
        (low_a, high_a), (low_b, high_b) = a.limits(level), b.limits(level)
        low = difference - math.hypot(a.rate - low_a, high_b - b.rate)
        high = difference + math.hypot(high_a - a.rate, b.rate - low_b)
        return max(low, -1.0), min(high, 1.0)

    low, high = limits(confidence)
    counts = f"{a.n_effective} and {counted(b.n_effective, 'independent answer')}"
    if not (a.varies or b.varies):
        p = _fisher(a.n_effective, b.n_effective) if a.rate != b.rate else 1.0
        note = f"no answer of either method varies: no standard error; conservative limits as of {counts}"
    else:
        p = _level_at_zero(limits)
        still = "A" if b.varies else "B"
        side = b if a.varies else a
        note = (
            f"every answer of {still} is {side.rate:g}: no standard error; square-and-add limits, those of {still} exact as of "
            f"{counted(side.n_effective, 'independent answer')}"
        )
    return {"std_error": math.nan, "ci_low": low, "ci_high": high, "df": math.nan, "p_value": p, "note": note}


def _level_at_zero(limits: Callable[[float], tuple[float, float]]) -> float:
    """1 minus the confidence at which the interval just reaches 0, by bisection; at least 1e-12."""
    low, high = 0.0, 1.0 - 1e-12  # confidence: leaves out 0, holds it
    if limits(high)[0] > 0 or limits(high)[1] < 0:
        return 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        bottom, top = limits(middle)
        low, high = (middle, high) if bottom > 0 or top < 0 else (low, middle)
    return 1.0 - (low + high) / 2


def _fisher(n_a: int, n_b: int) -> float:
    """Fisher's exact two-sided p of n_a of n_a against 0 of n_b: of groups of equal size, either may be the upper one."""
    return min(1.0, (2.0 if n_a == n_b else 1.0) / math.comb(n_a + n_b, n_a))
