"""How often people take the colorization for the photo, and how sure we are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.statistics.crossed import (
    ROUNDING,
    CrossedDesign,
    Estimand,
    Labels,
    VarianceComponents,
    check_inference,
    one_way_variances,
    variance_components,
)
from evalkit.errors import InputError
from evalkit.wording import agree, counted

__all__ = [
    "CrossedMean",
    "clopper_pearson",
    "crossed_mean",
    "fool_rate",
    "logit_t_interval",
    "rating_mean",
    "t_quantile",
    "wilson",
]

Scale = Literal["logit", "linear"]


@dataclass(frozen=True, kw_only=True)
class CrossedMean:
    """A mean over participants and images with its interval; for the human test, the fool rate.

    Attributes
    ----------
    estimate : float
        Mean over trials, m. A fool rate is a fraction in [0, 1].
    participant_mean : float
        Mean of the participants' own means; equals `estimate` when all have the same number of trials.
    std_error : float
        Standard error of `estimate`; NaN for a rate of exactly 0 or 1 (see `note`).
    ci_low, ci_high : float
        Confidence interval.
    df : float
        Degrees of freedom of the t quantile; NaN where none was used.
    confidence : float
        Nominal coverage, for example 0.95.
    estimand : {"participants+images", "participants"}
        What the interval generalises to.
    n_participants, n_images, n_trials : int
        Numbers that entered.
    components : VarianceComponents or None
        How much participants and images vary; None where it cannot be estimated.
    interval : {"logit-t", "linear-t", "clopper-pearson"}
        How the interval was made.
    note : str
        Why something is missing or conservative; empty when there is nothing to say.
    """

    estimate: float
    participant_mean: float
    std_error: float
    ci_low: float
    ci_high: float
    df: float
    confidence: float
    estimand: Estimand
    n_participants: int
    n_images: int
    n_trials: int
    components: VarianceComponents | None
    interval: Literal["logit-t", "linear-t", "clopper-pearson"]
    note: str = ""


def fool_rate(
    fooled: npt.ArrayLike,
    participant: Labels,
    image: Labels,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> CrossedMean:
    """Share of trials in which the participant was fooled, with a crossed confidence interval.

    Parameters
    ----------
    fooled : array_like, shape (n,)
        1 where the colorization was taken for the photo, 0 where not; fractions (a tie as 0.5) are allowed.
    participant, image : sequence, shape (n,)
        Labels of each trial.
    estimand : {"participants+images", "participants"}
        New people and new images (default), or new people on these images.
    confidence : float
        Nominal coverage in (0, 1).

    Returns
    -------
    CrossedMean
        Estimate, standard error, interval on the logit scale, degrees of freedom and variance components.

    Raises
    ------
    InputError
        Values outside [0, 1], a participant who met an image twice, or fewer than two participants (or
        images, when the claim is about new ones).

    Notes
    -----
    The variance is that of `variance_components` for ``participants+images``, and V_P P/(P-1) with P-1
    degrees of freedom for ``participants``. A rate of exactly 0 or 1 has no standard error of this kind; its
    interval is Clopper and Pearson's with as many trials as there are participants or images, whichever is
    fewer: deliberately conservative, as if every participant (or image) gave one piece of information.

    Examples
    --------
    >>> rate = fool_rate([1, 0, 0, 1, 1, 1, 0, 0, 0], [1, 1, 1, 2, 2, 2, 3, 3, 3], list("abcabcabc"))
    >>> round(rate.estimate, 3), rate.n_participants, rate.n_images
    (0.444, 3, 3)
    """
    design = CrossedDesign.from_labels(participant, image)
    y = np.asarray(fooled, dtype=np.float64)
    if np.any((y < 0) | (y > 1)):
        bad = int(np.flatnonzero((y < 0) | (y > 1))[0])
        raise InputError(f"fooled[{bad}] is {y[bad]:g}; 0, 1 or a fraction between them is allowed.")
    return crossed_mean(y, design, scale="logit", estimand=estimand, confidence=confidence)


def rating_mean(
    ratings: npt.ArrayLike,
    participant: Labels,
    image: Labels,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> CrossedMean:
    """Mean of ratings on any numeric scale, with a crossed confidence interval on that scale.

    Parameters and errors are those of `fool_rate`, without the limits on the values.
    """
    design = CrossedDesign.from_labels(participant, image)
    return crossed_mean(ratings, design, scale="linear", estimand=estimand, confidence=confidence)


def crossed_mean(
    values: npt.ArrayLike,
    design: CrossedDesign,
    *,
    scale: Scale = "logit",
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> CrossedMean:
    """Mean of `values` with an interval that knows about participants and images; see `fool_rate`."""
    check_inference(estimand, confidence)
    design.refuse_duplicates()
    n_p, n_i = design.n_participants, design.n_images
    if n_p < 2:
        raise InputError("There is one participant; an interval for new participants needs at least two.")
    if n_i < 2 and estimand == "participants+images":
        raise InputError(
            "There is one image; an interval for new images needs at least two (or estimand 'participants')."
        )
    y = np.asarray(values, dtype=np.float64)
    one_way = one_way_variances(y, design)  # also refuses wrong shapes and numbers that are not finite
    mean = float(y.mean())
    by_participant = np.bincount(design.participant, y) / design.trials_per_participant
    constant = bool(np.all(y == y[0]))
    components = variance_components(y, design) if n_i > 1 and not constant else None

    interval: Literal["logit-t", "linear-t", "clopper-pearson"]
    note = ""
    if constant:
        if scale == "linear" or y[0] not in (0.0, 1.0):
            raise InputError(
                f"All {counted(y.size, 'value')} {agree(y.size, 'is', 'are')} {y[0]:g}; an interval needs values that differ."
            )
        n_effective = min(n_p, n_i) if estimand == "participants+images" else n_p
        low, high = clopper_pearson(int(y[0]) * n_effective, n_effective, confidence)
        std_error = df = math.nan
        interval = "clopper-pearson"
        note = (
            f"every answer is {int(y[0])}: no standard error; conservative Clopper-Pearson interval "
            f"as of {counted(n_effective, 'independent answer')}"
        )
    else:
        if estimand == "participants":
            variance, df = one_way.participant * n_p / (n_p - 1), n_p - 1.0
        else:
            assert components is not None  # two images at least, values differ
            variance, df = components.variance, components.df
            if components.pooled is not None:
                note = f"{components.pooled}s hardly repeat: their variance is counted in the residual"
        std_error = math.sqrt(variance)
        if std_error <= ROUNDING * float(np.std(y)):
            raise InputError(
                f"All {counted(n_p, 'participant')} {agree(n_p, 'has', 'have')} the same mean ({mean:g}), so their spread gives no interval; "
                "use estimand 'participants+images'."
            )
        interval = "logit-t" if scale == "logit" else "linear-t"
        if scale == "linear":
            half = t_quantile(0.5 + confidence / 2, df) * std_error
            low, high = mean - half, mean + half
        else:
            low, high = logit_t_interval(mean, std_error, df, confidence)
    return CrossedMean(
        estimate=mean,
        participant_mean=float(by_participant.mean()),
        std_error=std_error,
        ci_low=low,
        ci_high=high,
        df=df,
        confidence=confidence,
        estimand=estimand,
        n_participants=n_p,
        n_images=n_i,
        n_trials=y.size,
        components=components,
        interval=interval,
        note=note,
    )


def logit_t_interval(mean: float, std_error: float, df: float, confidence: float) -> tuple[float, float]:
    """Student's t interval of a rate in (0, 1), formed on the logit scale."""
    half = t_quantile(0.5 + confidence / 2, df) * std_error
    # Delta method: d logit(m) / dm = 1 / (m (1 - m)). The logit keeps the interval inside (0, 1) and makes it
    # longer towards 1/2, as a binomial interval is.
    centre = math.log(mean / (1.0 - mean))
    half /= mean * (1.0 - mean)
    return _expit(centre - half), _expit(centre + half)


def _expit(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(max(x, -745.0)) / (1.0 + math.exp(max(x, -745.0)))


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t (scipy is imported here, not at the top: it takes 0.3 s)."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact binomial interval (Clopper and Pearson, Biometrika 1934), from beta quantiles.

    Parameters
    ----------
    successes, trials : int
        0 <= successes <= trials, trials at least 1.
    confidence : float
        Coverage that is never undercut.

    Returns
    -------
    low, high : float
        0 and 1 included.
    """
    from scipy.special import betaincinv

    _check_counts(successes, trials)
    tail = (1.0 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1.0 - tail))
    return low, high


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for independent trials (Wilson, JASA 1927); for one participant's own rate."""
    from scipy.special import ndtri

    _check_counts(successes, trials)
    z = float(ndtri(0.5 + confidence / 2))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _check_counts(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"{successes} of {trials} is no count; 0 <= successes <= trials and trials >= 1 is needed.")
