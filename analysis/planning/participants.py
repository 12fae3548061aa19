"""How many participants? Standard errors, detectable differences and power before anybody is paid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.statistics.comparison import compare
from analysis.statistics.crossed import MINIMUM_RESIDUAL_DF, variance_components
from analysis.statistics.fool_rate import fool_rate, t_quantile
from evalkit.arrays import FloatArray
from evalkit.errors import InputError

if TYPE_CHECKING:
    from analysis.trials.trial_table import TrialTable

__all__ = [
    "MAXIMUM_PARTICIPANTS",
    "PlanningModel",
    "PurchaseAdvice",
    "SimulatedPower",
    "StudyDesign",
    "detectable_difference",
    "difference_power",
    "equivalence_power",
    "expected_std_error",
    "participants_needed",
    "raters_or_images",
    "simulate_answers",
    "simulate_power",
]

MAXIMUM_PARTICIPANTS = 5000
"""Where the search for a number of participants gives up."""
Exposure = Literal["random", "balanced"]


@dataclass(frozen=True)
class PlanningModel:
    """How much participants and images are assumed to vary, as variances of the answer (0 or 1).

    Attributes
    ----------
    rate : float
        Assumed fool rate.
    participant, image, residual : float
        Variance components s_P^2, s_I^2 and the rest; they add up to rate (1 - rate).
    image_correlation : float
        Correlation of the images' effects between two methods: a photo that is easy to colorize helps both.
    """

    rate: float
    participant: float
    image: float
    residual: float
    image_correlation: float = 0.7

    @classmethod
    def from_logit(
        cls, rate: float = 0.5, participant_sd: float = 0.6, image_sd: float = 1.0, image_correlation: float = 0.7
    ) -> PlanningModel:
        """Components of a logit model with normal participants and images.

        Parameters
        ----------
        rate : float
            Overall fool rate in (0, 1).
        participant_sd, image_sd : float
            Standard deviations on the logit scale.
        image_correlation : float
            As in the class.
        """
        if not 0 < rate < 1:
            raise InputError(f"The assumed fool rate is {rate:g}; a fraction between 0 and 1 is allowed.")
        node, weight = _normal_nodes()
        intercept = _intercept(rate, math.hypot(participant_sd, image_sd))
        p = _expit(intercept + participant_sd * node[:, None] + image_sd * node[None, :])
        participant = float(weight @ (p @ weight) ** 2) - rate**2
        image = float(weight @ (weight @ p) ** 2) - rate**2
        return cls(rate, participant, image, rate * (1 - rate) - participant - image, image_correlation)

    @classmethod
    def from_pilot(cls, trials: TrialTable, image_correlation: float = 0.7) -> PlanningModel:
        """Components of a pilot study: the mean over its methods, weighted by trials.

        Raises
        ------
        InputError
            When no method of the pilot has two participants and two images and answers that differ.
        """
        test = trials.of_kind("test")
        found, weight = [], []
        for method in test.methods:
            one = trials.of_method(method)
            design = one.design
            if min(design.n_participants, design.n_images) > 1 and np.ptp(one.value) > 0:
                parts = variance_components(one.value, design)
                found.append((one.value.mean(), parts.participant, parts.image, parts.residual))
                weight.append(len(one))
        if not found:
            raise InputError(
                f"{trials.source} is no pilot: no method has two participants and images and varied answers."
            )
        rate, participant, image, residual = np.average(found, axis=0, weights=weight).tolist()
        return cls(rate, participant, image, residual, image_correlation)

    def logit_sds(self) -> tuple[float, float, float]:
        """Intercept and standard deviations (participants, images) of the logit model with these components."""
        from scipy.optimize import least_squares

        def gap(sd: FloatArray) -> list[float]:
            model = PlanningModel.from_logit(self.rate, *np.abs(sd).tolist())
            return [model.participant - self.participant, model.image - self.image]

        sd_p, sd_i = np.abs(least_squares(gap, [0.6, 0.8], xtol=1e-10, ftol=1e-12, gtol=1e-14).x).tolist()
        return _intercept(self.rate, math.hypot(sd_p, sd_i)), sd_p, sd_i


@dataclass(frozen=True)
class StudyDesign:
    """A study of one method (others alike).

    Attributes
    ----------
    n_participants : int
        Participants of each method.
    n_trials : int
        Test trials of each participant; 36 of 40 when 4 are vigilance trials.
    n_images : int
        Images to choose from.
    exposure : {"random", "balanced"}
        Whether images are drawn at random or shown equally often.
    """

    n_participants: int
    n_trials: int
    n_images: int
    exposure: Exposure = "random"

    def __post_init__(self) -> None:
        if self.n_participants < 2 or self.n_trials < 1 or self.n_images < 2:
            raise InputError(
                f"A study of {self.n_participants} participants, {self.n_trials} trials and "
                f"{self.n_images} images cannot be planned; at least 2, 1 and 2 are needed."
            )
        if self.n_trials > self.n_images:
            raise InputError(
                f"{self.n_trials} trials need as many images, and there are {self.n_images}; nobody sees one twice."
            )

    @property
    def image_repetition(self) -> float:
        """nu_I: 1 + (P-1) T / I for random images, max(1, P T / I) for balanced exposure."""
        if self.exposure == "balanced":
            return max(1.0, self.n_participants * self.n_trials / self.n_images)
        return 1.0 + (self.n_participants - 1) * self.n_trials / self.n_images

    @property
    def expected_images(self) -> float:
        """Number of different images that come to be shown."""
        if self.exposure == "balanced":
            return min(float(self.n_images), float(self.n_participants * self.n_trials))
        return self.n_images * -math.expm1(self.n_participants * math.log1p(-self.n_trials / (self.n_images + 1e-9)))


def expected_std_error(model: PlanningModel, design: StudyDesign) -> float:
    """Expected standard error of a fool rate for new participants and new images.

    V = (T s_P^2 + nu_I s_I^2 + s_E^2) / (P T).
    """
    return math.sqrt(_variance_and_df(model, design)[0])


def detectable_difference(
    model: PlanningModel, design: StudyDesign, *, power: float = 0.8, level: float = 0.05, paired: bool = True
) -> float:
    """Smallest difference of two methods that is found with the given power.

    Parameters
    ----------
    model : PlanningModel
        Assumed variances.
    design : StudyDesign
        Of each method.
    power, level : float
        Wanted power, and the level of the two-sided test.
    paired : bool
        Whether both methods are shown on the same images and compared image by image.

    Returns
    -------
    float
        As a fraction.
    """
    _check_share("power", power)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        reached = difference_power(model, design, middle, level=level, paired=paired) >= power
        low, high = (low, middle) if reached else (middle, high)
    return high


def difference_power(
    model: PlanningModel, design: StudyDesign, difference: float, *, level: float = 0.05, paired: bool = True
) -> float:
    """Power of the two-way test for a true difference (non-central t); arguments as in `detectable_difference`."""
    from scipy.special import nctdtr

    variance, df = _difference_variance_and_df(model, design, paired)
    critical = t_quantile(1 - level / 2, df)
    shift = abs(difference) / math.sqrt(variance)
    return float(1.0 - nctdtr(df, min(shift, 30.0), critical))


def equivalence_power(model: PlanningModel, design: StudyDesign, margin: float = 0.05, *, level: float = 0.05) -> float:
    """Chance to show equivalence with 50 % when the true rate is 50 %; it needs an SE below margin / 2.93 for 80 %."""
    from scipy.special import ndtr

    _check_share("margin", margin)
    variance, df = _variance_and_df(model, design)
    return max(0.0, 2.0 * float(ndtr(margin / math.sqrt(variance) - t_quantile(1 - level, df))) - 1.0)


def participants_needed(
    model: PlanningModel,
    design: StudyDesign,
    *,
    difference: float | None = None,
    margin: float | None = None,
    power: float = 0.8,
    level: float = 0.05,
    paired: bool = True,
) -> int | None:
    """Fewest participants per method for a difference, or for equivalence within a margin.

    Parameters
    ----------
    model : PlanningModel
        Assumed variances.
    design : StudyDesign
        Trials, images and exposure; its number of participants is not used.
    difference, margin : float
        One of the two, as a fraction.
    power, level, paired
        As in `detectable_difference`.

    Returns
    -------
    int or None
        None when not even 5000 participants suffice: then images are what is missing.

    Raises
    ------
    InputError
        When not exactly one of `difference` and `margin` is given, or when it is no fraction.
    """
    if (difference is None) == (margin is None):
        raise InputError("Give either a difference to find or a margin of equivalence.")
    _check_share("power", power)
    _check_share("difference or margin", difference if difference is not None else margin or 0.0)

    def reached(n: int) -> bool:
        tried = replace(design, n_participants=n)
        if difference is not None:
            return difference_power(model, tried, difference, level=level, paired=paired) >= power
        assert margin is not None
        return equivalence_power(model, tried, margin, level=level) >= power

    if not reached(MAXIMUM_PARTICIPANTS):
        return None
    low, high = 1, MAXIMUM_PARTICIPANTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class SimulatedPower:
    """What the test did in simulated studies.

    Attributes
    ----------
    power : float
        Share of studies in which the test was significant.
    mc_error : float
        Standard error of that share.
    coverage : float
        Share of intervals of the first method's rate that held the true rate.
    mean_std_error, true_std_error : float
        Mean reported standard error of that rate, and its standard deviation over studies.
    n_studies : int
        Studies.
    """

    power: float
    mc_error: float
    coverage: float
    mean_std_error: float
    true_std_error: float
    n_studies: int


def simulate_power(
    model: PlanningModel,
    design: StudyDesign,
    difference: float,
    *,
    n_studies: int = 400,
    level: float = 0.05,
    seed: int = 0,
) -> SimulatedPower:
    """Simulate whole studies of two methods and analyse them as real ones.

    Parameters
    ----------
    model : PlanningModel
        Assumed variances; the first method has its rate, the second one that is lower by `difference`.
    design : StudyDesign
        Of each method.
    difference : float
        True difference; 0 gives the rate of false alarms.
    n_studies : int
        Studies.
    level : float
        Of the two-sided test.
    seed : int
        Seed of the generator.

    Returns
    -------
    SimulatedPower
        To be compared with `difference_power`.

    Raises
    ------
    InputError
        When the second rate is not between 0 and 1.
    """
    if not 0 < model.rate - difference < 1:
        raise InputError(f"A rate of {model.rate:g} cannot be higher by {difference:g} than another one in (0, 1).")
    rng = np.random.default_rng(seed)
    _, sd_p, sd_i = model.logit_sds()
    sd = math.hypot(sd_p, sd_i)
    intercepts = _intercept(model.rate, sd), _intercept(model.rate - difference, sd)
    significant, covered, errors, estimates = 0, 0, [], []
    for _ in range(n_studies):
        common = rng.standard_normal(design.n_images)
        samples = []
        for number, intercept in enumerate(intercepts):
            own = rng.standard_normal(design.n_images)
            rho = model.image_correlation
            effect = sd_i * (math.sqrt(rho) * common + math.sqrt(1 - rho) * own)
            fooled, participant, image = simulate_answers(design, intercept, sd_p, effect, rng)
            samples.append((fooled, participant + number * design.n_participants, image))
        try:
            test = compare(*samples[0], *samples[1])
            rate = fool_rate(*samples[0])
        except InputError:  # hardly any answers: counts as not significant and not covered
            continue
        significant += test.p_value <= level
        covered += rate.ci_low <= model.rate <= rate.ci_high
        errors.append(rate.std_error)
        estimates.append(rate.estimate)
    share = significant / n_studies
    return SimulatedPower(
        power=share,
        mc_error=math.sqrt(share * (1 - share) / n_studies),
        coverage=covered / n_studies,
        mean_std_error=float(np.nanmean(errors)),
        true_std_error=float(np.std(estimates)),
        n_studies=n_studies,
    )


def simulate_answers(
    design: StudyDesign, intercept: float, participant_sd: float, image_effect: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """One method's answers under the logit model: fooled, participant and image, each of shape (P T,)."""
    n_p, n_t, n_i = design.n_participants, design.n_trials, design.n_images
    if design.exposure == "balanced":
        # Deal whole shuffled decks one after the other; T <= I keeps repeats within a participant to deck
        # borders, which a rotation of one fixed order avoids altogether.
        order = rng.permutation(n_i)
        image = order[(np.arange(n_p * n_t) + rng.integers(n_i)) % n_i]
    else:
        image = np.argsort(rng.random((n_p, n_i)), axis=1)[:, :n_t].ravel()
    participant = np.repeat(np.arange(n_p, dtype=np.int64), n_t)
    logit = intercept + participant_sd * rng.standard_normal(n_p)[participant] + image_effect[image]
    return (rng.random(logit.size) < _expit(logit)).astype(np.float64), participant, image.astype(np.int64)


def _variance_and_df(model: PlanningModel, design: StudyDesign) -> tuple[float, float]:
    n = design.n_participants * design.n_trials
    a = (design.n_trials * model.participant + model.residual) / n
    b = (design.image_repetition * model.image + model.residual) / n
    e = model.residual / n
    variance = a + b - e
    images = design.expected_images
    df_e = n - design.n_participants - images + 1
    if df_e < MINIMUM_RESIDUAL_DF:  # images hardly repeat: as in `variance_components`
        return variance, design.n_participants - 1.0
    df = variance**2 / (a**2 / (design.n_participants - 1) + b**2 / (images - 1) + e**2 / df_e)
    return variance, df


def _difference_variance_and_df(model: PlanningModel, design: StudyDesign, paired: bool) -> tuple[float, float]:
    variance, df = _variance_and_df(model, design)
    n = design.n_participants * design.n_trials
    # Two methods share each image's common effect: covariance rho s_I^2 / I, whatever the exposure.
    shared = model.image_correlation * model.image / design.n_images if paired else 0.0
    difference = 2.0 * (variance - shared)
    if not paired:
        return difference, 2.0 * df
    a = (design.n_trials * model.participant + model.residual) / n
    b = 2.0 * ((design.image_repetition * model.image + model.residual) / n - shared)
    levels = design.expected_images - 1
    return difference, difference**2 / (2.0 * a**2 / (design.n_participants - 1) + b**2 / levels)


def _normal_nodes() -> tuple[FloatArray, FloatArray]:
    node, weight = np.polynomial.hermite_e.hermegauss(61)
    return node, weight / weight.sum()


def _intercept(rate: float, sd: float) -> float:
    """Intercept of a logit model whose marginal rate is `rate`, by bisection."""
    node, weight = _normal_nodes()
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if weight @ _expit(middle + sd * node) < rate else (low, middle)
    return (low + high) / 2


def _expit(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(
            f"The {name} is {value:g}; a fraction between 0 and 1 is allowed, for example 0.05 for 5 points."
        )


@dataclass(frozen=True)
class PurchaseAdvice:
    """Whether more participants or more images shorten the interval more.

    Attributes
    ----------
    std_error : float
        Of the design as it stands.
    with_twice_the_participants, with_twice_the_images : float
        Standard errors after doubling one of the two.
    floor : float
        Standard error that no number of participants goes below with these images.
    """

    std_error: float
    with_twice_the_participants: float
    with_twice_the_images: float
    floor: float

    @property
    def sentence(self) -> str:
        """The advice in one line, in percentage points."""
        better = "raters" if self.with_twice_the_participants < self.with_twice_the_images else "images"
        return (
            f"Buy raters or images? {better.capitalize()}: the standard error of {100 * self.std_error:.1f} points "
            f"becomes {100 * self.with_twice_the_participants:.1f} with twice the participants and "
            f"{100 * self.with_twice_the_images:.1f} with twice the images; with these images no number of "
            f"participants brings it below {100 * self.floor:.1f}."
        )


def raters_or_images(model: PlanningModel, design: StudyDesign) -> PurchaseAdvice:
    """Compare the worth of doubling participants with that of doubling images."""
    return PurchaseAdvice(
        std_error=expected_std_error(model, design),
        with_twice_the_participants=expected_std_error(
            model, replace(design, n_participants=2 * design.n_participants)
        ),
        with_twice_the_images=expected_std_error(model, replace(design, n_images=2 * design.n_images)),
        floor=math.sqrt(model.image / design.n_images),
    )
