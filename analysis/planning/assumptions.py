"""What a plan assumes: how much people and images vary, and who sees what.

Answers (1: fooled, judged natural, or A preferred) follow a logit model with normal effects of participants and of
images. Its two spreads stay when the rate changes, so that two methods with different rates get different variances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis.statistics.crossed import CrossedDesign, VarianceComponents, variance_components
from evalkit.arrays import FloatArray
from evalkit.errors import InputError, check_choice, check_whole
from evalkit.wording import agree, counted

if TYPE_CHECKING:
    from analysis.trials.choices import as_pairs
from analysis.trials.columns import TRUTH
from analysis.trials.trial_table import TrialTable

__all__ = ["Exposure", "PlanningModel", "StudyDesign", "check_numbers", "expit", "pilot_models"]

Exposure = Literal["random", "balanced"]
_NODE, _WEIGHT = np.polynomial.hermite_e.hermegauss(41)
_WEIGHT = _WEIGHT / _WEIGHT.sum()


def check_numbers(record: Any) -> None:
    """Refuse texts and fractions in those fields of a record that hold numbers, which a formula would meet far from here."""
    for one in fields(record):
        value, kind = getattr(record, one.name), str(one.type).removesuffix(" | None")
        if value is None and str(one.type) != kind:
            continue
        if kind == "int":
            check_whole(one.name, value)
        elif kind == "float" and (isinstance(value, bool) or not isinstance(value, Real)):
            raise InputError(f"{one.name} is {value!r}; a number is needed")


@dataclass(frozen=True, kw_only=True)
class PlanningModel:
    """The rate of a method, and how much participants and images are assumed to vary.

    Attributes
    ----------
    rate : float
        Assumed rate in (0, 1): fooled, judged natural, or preferred.
    participant_sd, image_sd : float
        Standard deviations of people and images on the logit scale.
    image_correlation : float
        Correlation of the images' effects between two methods: a photo that is easy to colorize helps both.
    participant_correlation : float
        Correlation of a participant's effects on two methods, where the same people judge both.
    """

    rate: float = 0.5
    participant_sd: float = 0.6
    image_sd: float = 1.0
    image_correlation: float = 0.7
    participant_correlation: float = 0.5

    def __post_init__(self) -> None:
        check_numbers(self)
        if not 0 < self.rate < 1:
            raise InputError(f"The assumed rate is {self.rate:g}; a fraction between 0 and 1 is allowed.")
        if min(self.participant_sd, self.image_sd) < 0:
            raise InputError("Spreads of participants and images are standard deviations; 0 or more is allowed.")
        if not (0 <= self.image_correlation <= 1 and 0 <= self.participant_correlation <= 1):
            raise InputError("Correlations of images and of participants between methods must lie between 0 and 1.")

    @classmethod
    def from_components(
        cls, *, rate: float, participant: float, image: float, assumed: PlanningModel | None = None
    ) -> PlanningModel:
        """The logit model whose answers have these variance components.

        Parameters
        ----------
        rate : float
            Overall rate in (0, 1).
        participant, image : float
            Components s_P^2 and s_I^2 of the answers (0 or 1).
        assumed : PlanningModel
            Where the correlations between methods are taken from.
        """
        from scipy.optimize import least_squares

        assumed = assumed or cls()

        def gap(sd: FloatArray) -> list[float]:
            tried = replace(assumed, rate=rate, participant_sd=abs(float(sd[0])), image_sd=abs(float(sd[1])))
            return [tried.participant - participant, tried.image - image]

        solved = least_squares(gap, [0.6, 0.8], xtol=1e-8, ftol=1e-10, gtol=1e-12).x
        return replace(assumed, rate=rate, participant_sd=abs(float(solved[0])), image_sd=abs(float(solved[1])))

    @classmethod
    def from_pilot(cls, trials: TrialTable, assumed: PlanningModel | None = None) -> PlanningModel:
        """Rate and spreads of a pilot study: components averaged over its methods, weighted by trials.

        Parameters
        ----------
        trials : TrialTable
            Of any preset with answers of 0 and 1; of a preference study the shares of all pairs are pooled; of a
            search for the real photo, how often it was found.
        assumed : PlanningModel
            Where the correlations between methods are taken from.

        Raises
        ------
        InputError
            For ratings, and when no method of the pilot has two participants and two images and answers that differ.
        """
        pilot = [(values.mean(), variance_components(values, design), values.size) for values, design in _parts(trials)]
        return _pooled(pilot, assumed)

    def at_rate(self, rate: float) -> PlanningModel:
        """The same people and images with another rate."""
        return replace(self, rate=rate)

    @property
    def intercept(self) -> float:
        """Of the logit model whose marginal rate is `rate`."""
        return _intercept(self.rate, math.hypot(self.participant_sd, self.image_sd))

    @property
    def participant(self) -> float:
        """Variance component s_P^2 of the answers."""
        return max(self._covariance(self, self.participant_sd, self.image_sd, 1.0), 0.0)

    @property
    def image(self) -> float:
        """Variance component s_I^2 of the answers."""
        return max(self._covariance(self, self.image_sd, self.participant_sd, 1.0), 0.0)

    @property
    def residual(self) -> float:
        """The rest, s_E^2; the three add up to rate (1 - rate)."""
        return self.rate * (1 - self.rate) - self.participant - self.image

    def shared_participant(self, compared: PlanningModel) -> float:
        """Covariance of one participant's expected answers to this method and to `compared`."""
        return self._covariance(compared, self.participant_sd, self.image_sd, self.participant_correlation)

    def shared_image(self, compared: PlanningModel) -> float:
        """Covariance of the expected answers to one image by this method and by `compared`."""
        return self._covariance(compared, self.image_sd, self.participant_sd, self.image_correlation)

    def _covariance(self, compared: PlanningModel, sd: float, rest: float, correlation: float) -> float:
        product = _mean_product(self.intercept, compared.intercept, sd, rest, correlation)
        return product - self.rate * compared.rate


@lru_cache(maxsize=4096)
def _intercept(rate: float, sd: float) -> float:
    """Intercept of a logit model with effects of this standard deviation in all, by bisection."""
    low, high = -40.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _WEIGHT @ expit(middle + sd * _NODE) < rate else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=4096)
def _mean_product(intercept: float, compared: float, sd: float, rest: float, correlation: float) -> float:
    """E of the product of two methods' expected answers, whose effects of one kind have `sd` and correlate."""
    own = math.hypot(rest, sd * math.sqrt(1 - correlation))
    logit = sd * math.sqrt(correlation) * _NODE[:, None] + own * _NODE[None, :]
    return float(_WEIGHT @ ((expit(intercept + logit) @ _WEIGHT) * (expit(compared + logit) @ _WEIGHT)))


def pilot_models(
    trials: TrialTable, *, n_models: int = 200, seed: int = 0, assumed: PlanningModel | None = None
) -> list[PlanningModel]:
    """Models that pilots of the same size would have given, had the real one hit the truth (parametric bootstrap).

    Parameters
    ----------
    trials : TrialTable
        The pilot.
    n_models : int
        Simulated pilots.
    seed : int
        Seed of the generator.
    assumed : PlanningModel
        Where the correlations between methods are taken from.

    Returns
    -------
    list of PlanningModel
        Fewer than `n_models` where a simulated pilot has answers that do not differ.
    """
    parts = _parts(trials)
    best = PlanningModel.from_pilot(trials, assumed)
    rng = np.random.default_rng(seed)
    models = []
    for _ in range(n_models):
        simulated = []
        for values, design in parts:
            rate = float(np.clip(values.mean(), 0.5 / values.size, 1 - 0.5 / values.size))
            person = best.participant_sd * rng.standard_normal(design.n_participants)
            picture = best.image_sd * rng.standard_normal(design.n_images)
            logit = best.at_rate(rate).intercept + person[design.participant] + picture[design.image]
            y = (rng.random(values.size) < expit(logit)).astype(np.float64)
            if np.ptp(y) > 0:
                simulated.append((y.mean(), variance_components(y, design), y.size))
        if simulated:
            models.append(_pooled(simulated, assumed))
    return models


def _parts(trials: TrialTable) -> list[tuple[FloatArray, CrossedDesign]]:
    """Answers and design of every method (preference: of every pair) of which components can be estimated."""
    if trials.preset == "rating":
        raise InputError(f"{trials.source} holds ratings; a plan needs answers that are yes or no.")
    test = trials.of_kind("test")
    if trials.seeks_real:
        label, value = np.full(len(test), TRUTH), (test["response"] == test["real_position"]).astype(np.float64)
    elif trials.preset == "preference":
        test = as_pairs(test)
        swapped = test["method_first"] > test["method_second"]
        first = np.where(swapped, test["method_second"], test["method_first"])
        second = np.where(swapped, test["method_first"], test["method_second"])
        label, value = np.char.add(np.char.add(first, " / "), second), np.where(swapped, 1 - test.value, test.value)
    else:
        label, value = test["method"], test.value
    parts = []
    for name in np.unique(label):
        chosen = label == name
        design = CrossedDesign.from_labels(test["participant"][chosen], test["image"][chosen])
        if min(design.n_participants, design.n_images) > 1 and np.ptp(value[chosen]) > 0:
            parts.append((value[chosen], design))
    if not parts:
        raise InputError(f"{trials.source} is no pilot: no method has two participants and images and varied answers.")
    return parts


def _pooled(parts: list[tuple[float, VarianceComponents, int]], assumed: PlanningModel | None) -> PlanningModel:
    rows = [(mean, found.participant, found.image) for mean, found, _ in parts]
    rate, participant, image = np.average(rows, axis=0, weights=[size for _, _, size in parts]).tolist()
    return PlanningModel.from_components(rate=rate, participant=participant, image=image, assumed=assumed)


@dataclass(frozen=True, kw_only=True)
class StudyDesign:
    """Who sees what, for one method (others alike) or for one pair of a preference study.

    Attributes
    ----------
    n_participants : int
        Participants of each method.
    n_trials : int
        Test trials of each participant and method; 36 of 40 when 4 are vigilance trials.
    n_images : int
        Images to choose from.
    exposure : {"random", "balanced"}
        Whether images are drawn at random or shown equally often.
    same_people : bool
        Whether the same people judge both methods (within-subject).
    people_sharing : float
        With the same people: the share of a method's participants who judge the other one as well; 1 where everybody judges
        all, (N - 1) / (M - 1) where each judges N of M methods and every two share equally many people.
    same_images : bool
        Whether both methods are shown on the same images.
    """

    n_participants: int
    n_trials: int
    n_images: int
    exposure: Exposure = "random"
    same_people: bool = False
    same_images: bool = True
    people_sharing: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self)
        check_choice("exposure", self.exposure, ("random", "balanced"))
        if self.n_participants < 2 or self.n_trials < 1 or self.n_images < 2:
            raise InputError(
                f"A study of {counted(self.n_participants, 'participant')}, {counted(self.n_trials, 'trial')} and "
                f"{counted(self.n_images, 'image')} cannot be planned; at least 2, 1 and 2 are needed."
            )
        if not 0 < self.people_sharing <= 1:
            raise InputError(
                f"A share of {self.people_sharing:g} of the participants cannot judge both methods; more than 0 and at most 1 can."
            )
        if self.n_trials > self.n_images:
            raise InputError(
                f"{counted(self.n_trials, 'trial')} {agree(self.n_trials, 'needs', 'need')} as many images, and there are {self.n_images}; nobody sees one twice."
            )

    @property
    def shared_people(self) -> float:
        """Share of a method's participants who judge the other one as well; 0 between people."""
        return self.people_sharing if self.same_people else 0.0

    @property
    def image_repetition(self) -> float:
        """nu_I: 1 + (P-1) T / I for random images, max(1, P T / I) for balanced exposure.

        Where people judge two methods on different images, chance decides which image goes with which method: the
        exposure of either varies around a balanced sum, which adds 1/2 (of those who judge both).
        """
        if self.exposure == "balanced":
            return max(1.0, self.n_participants * self.n_trials / self.n_images + 0.5 * self._split_share)
        return 1.0 + (self.n_participants - 1) * self.n_trials / self.n_images

    @property
    def splits_images(self) -> bool:
        """Whether each participant sees the two methods on different images."""
        return self.same_people and self.same_images and 2 * self.n_trials <= self.n_images

    @property
    def _split_share(self) -> float:
        return self.shared_people if self.splits_images else 0.0

    @property
    def image_sharing(self) -> float:
        """Sum over images of n_iA n_iB / n^2: how far the two methods rest on the same images."""
        if not self.same_images:
            return 0.0
        if not self.splits_images:
            return 1.0 / self.n_images
        if self.exposure == "balanced":
            return max(1.0 / self.n_images - 0.5 * self._split_share / (self.n_participants * self.n_trials), 0.0)
        return (1.0 - self._split_share / self.n_participants) / self.n_images

    @property
    def expected_images(self) -> float:
        """Number of different images that come to be shown."""
        if self.exposure == "balanced":
            return min(float(self.n_images), float(self.n_participants * self.n_trials))
        return self.n_images * -math.expm1(self.n_participants * math.log1p(-self.n_trials / (self.n_images + 1e-9)))


def expit(x: FloatArray) -> FloatArray:
    """Inverse logit, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))
