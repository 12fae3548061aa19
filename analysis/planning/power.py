"""Standard errors, power and participants needed, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from analysis.planning.assumptions import PlanningModel, StudyDesign
from analysis.statistics.crossed import MINIMUM_RESIDUAL_DF
from analysis.statistics.fool_rate import t_quantile
from analysis.statistics.sequential import BoundKind, chance_of_claim, nominal_levels, sample_size_inflation
from evalkit.errors import InputError

__all__ = [
    "MAXIMUM_PARTICIPANTS",
    "Direction",
    "Goal",
    "PurchaseAdvice",
    "Question",
    "detectable_difference",
    "expected_std_error",
    "hardest_scenario",
    "needed_std_error",
    "participants_needed",
    "power_of",
    "raters_or_images",
    "scenarios",
    "tested_std_error",
]

MAXIMUM_PARTICIPANTS = 5000
"""Where the search for a number of participants gives up."""
Question = Literal["difference", "equivalence to 50 %", "equivalence of two", "preference", "real photo found"]
Direction = Literal["higher", "lower", "worse"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What the study has to show, and how surely.

    Attributes
    ----------
    question : {"difference", "equivalence to 50 %", "equivalence of two", "preference", "real photo found"}
        Two rates that differ; one rate that is 50 % within a margin; two rates that are equal within a margin; a
        share of preferences that is not 50 %; the share of searches that find the real photo, which is not chance.
    size : float
        True difference (preference: from 50 %; a search: from chance), or the margin; a fraction.
    power : float
        Wanted chance of success.
    level : float
        Of the whole family of comparisons, over all looks.
    direction : {"worse", "higher", "lower"}
        Whether the rate of the other method lies above or below the assumed one (a search: the share found, of chance); by
        default whichever needs more people.
    comparisons : int
        Size of the family: each is planned at level / comparisons, the strictest step of Holm's procedure, so that
        the power on the adjusted p is at least the planned one.
    looks : int
        Equally spaced looks at the data, the last one included.
    bounds : {"obrien-fleming", "pocock"}
        Limits of the looks.
    chance : float
        Share of who guesses, in a search for the real photo: 1 / images of a trial.
    """

    question: Question
    size: float
    power: float = 0.8
    level: float = 0.05
    direction: Direction = "worse"
    comparisons: int = 1
    looks: int = 1
    bounds: BoundKind = "obrien-fleming"
    chance: float = 0.5

    def __post_init__(self) -> None:
        for name, value in (("difference or margin", self.size), ("power", self.power), ("level", self.level)):
            if not 0 < value < 1:
                raise InputError(
                    f"The {name} is {value:g}; a fraction between 0 and 1 is allowed, for example 0.05 for 5 points."
                )
        if self.comparisons < 1:
            raise InputError(f"The family has {self.comparisons} comparisons; 1 or more is allowed.")
        if self.looks > 1 and self.is_equivalence:
            raise InputError("Looks before the end are planned for differences, not for equivalence.")

    @property
    def is_equivalence(self) -> bool:
        """Whether closeness is to be shown, not a difference."""
        return self.question.startswith("equivalence")

    @property
    def has_two_methods(self) -> bool:
        """Whether the test compares the rates of two methods."""
        return self.question in ("difference", "equivalence of two")

    @property
    def adjusted_level(self) -> float:
        """Level of each single comparison."""
        return self.level / self.comparisons


def scenarios(goal: Goal, model: PlanningModel) -> list[tuple[PlanningModel, PlanningModel]]:
    """The two methods under the goal: the assumed rate, and the other one in each direction that is asked for.

    Of one rate alone: what is tested, and what it is tested against.

    Raises
    ------
    InputError
        When the other rate would not be between 0 and 1.
    """
    if goal.question == "preference":
        _check_rate(0.5 + goal.size, goal)
        return [(model.at_rate(0.5 + goal.size), model.at_rate(0.5))]
    if goal.question == "equivalence to 50 %":
        return [(model.at_rate(0.5), model.at_rate(0.5))]
    if goal.question == "equivalence of two":
        return [(model, model)]
    wanted = {"worse": (1, -1), "higher": (1,), "lower": (-1,)}[goal.direction]
    is_search = goal.question == "real photo found"
    assumed = goal.chance if is_search else model.rate
    rates = [assumed + sign * goal.size for sign in wanted]
    possible = [rate for rate in rates if 0 < rate < 1]
    if not possible:
        _check_rate(rates[0], goal)
    if is_search:
        return [(model.at_rate(rate), model.at_rate(goal.chance)) for rate in possible]
    return [(model, model.at_rate(rate)) for rate in possible]


def _check_rate(rate: float, goal: Goal) -> None:
    if not 0 < rate < 1:
        raise InputError(
            f"A difference of {100 * goal.size:g} points leads to a rate of {100 * rate:g} %; "
            "rates between 0 and 100 % are allowed."
        )


def expected_std_error(model: PlanningModel, design: StudyDesign) -> float:
    """Expected standard error of a rate for new participants and new images.

    V = (T s_P^2 + nu_I s_I^2 + s_E^2) / (P T).
    """
    return math.sqrt(_variance_and_df(model, design)[0])


def tested_std_error(goal: Goal, model: PlanningModel, design: StudyDesign) -> float:
    """Expected standard error of what the goal tests: a rate, a share, or the difference of two rates (the larger one)."""
    return math.sqrt(max(_tested(goal, pair, design)[0] for pair in scenarios(goal, model)))


def needed_std_error(goal: Goal) -> float:
    """Standard error that reaches the goal, with normal quantiles: size / (z_level + z_power); looks make it smaller.

    At a level of 5 % and a power of 80 %, equivalence needs margin / 2.93 and a difference needs difference / 2.80.
    """
    from scipy.special import ndtri

    if goal.is_equivalence:
        quantiles = ndtri(1 - goal.adjusted_level) + ndtri((1 + goal.power) / 2)
    else:
        quantiles = ndtri(1 - goal.adjusted_level / 2) + ndtri(goal.power)
    looks = 1.0
    if goal.looks > 1:
        looks = sample_size_inflation(goal.looks, goal.bounds, level=goal.adjusted_level, power=goal.power)
    return float(goal.size / quantiles / math.sqrt(looks))


def power_of(goal: Goal, model: PlanningModel, design: StudyDesign) -> float:
    """Chance that a study of this design reaches the goal; in the less favourable direction where both are asked for.

    Notes
    -----
    Differences: non-central t with the variance of either rate. Looks: each with the participants, variance and degrees
    of freedom that it has, since a first look at few people claims next to nothing on the p scale. Its limit for z is the
    one that a normal statistic exceeds as often as the non-central t exceeds its own; looks correlate by the ratio of their
    variances. Equivalence: two one-sided t tests at a true difference of 0.
    """
    return _power(goal, hardest_scenario(goal, model, design), design)


def hardest_scenario(goal: Goal, model: PlanningModel, design: StudyDesign) -> tuple[PlanningModel, PlanningModel]:
    """Of the scenarios of the goal, the one with the least power."""
    return min(scenarios(goal, model), key=lambda pair: _power(goal, pair, design))


def _power(goal: Goal, pair: tuple[PlanningModel, PlanningModel], design: StudyDesign) -> float:
    from scipy.special import ndtr

    if goal.is_equivalence:
        variance, df = _tested(goal, pair, design)
        shift = goal.size / math.sqrt(variance)
        return max(0.0, 2.0 * float(ndtr(shift - t_quantile(1 - goal.adjusted_level, df))) - 1.0)
    return _power_over_looks(goal, pair, design)


def _power_over_looks(goal: Goal, pair: tuple[PlanningModel, PlanningModel], design: StudyDesign) -> float:
    from scipy.special import nctdtr, ndtri

    levels = nominal_levels(goal.looks, goal.bounds, level=goal.adjusted_level)
    people = [math.ceil(design.n_participants * look / goal.looks) for look in range(1, goal.looks + 1)]
    # Nobody can be told from anybody else with one person; of looks at the same people the last counts.
    level_at = {n: float(level) for n, level in zip(people, levels, strict=True) if n > 1}
    shifts, powers, variances = [], [], []
    for n, level in level_at.items():
        variance, df = _tested(goal, pair, replace(design, n_participants=n))
        shift = min(goal.size / math.sqrt(variance), 30.0)
        shifts.append(shift)
        powers.append(float(1.0 - nctdtr(df, shift, t_quantile(1 - level / 2, df))))
        variances.append(variance)
    if len(powers) == 1:
        return powers[0]
    possible = np.clip(powers, 1e-12, 1.0 - 1e-12)
    limits = np.maximum(np.array(shifts) - ndtri(possible), 1e-3)
    return chance_of_claim(limits, np.array(shifts), variances[-1] / np.array(variances))


def detectable_difference(goal: Goal, model: PlanningModel, design: StudyDesign) -> float:
    """Smallest difference (or margin) that is found with the wanted power; NaN where none is.

    Parameters
    ----------
    goal : Goal
        Its size is not used.
    model, design : PlanningModel, StudyDesign
        Assumed rate and spreads; participants, trials and images.

    Returns
    -------
    float
        As a fraction.
    """
    limit = 1.0
    if goal.question in ("difference", "real photo found"):
        rate = model.rate if goal.question == "difference" else goal.chance
        limit = {"worse": max(rate, 1 - rate), "higher": 1 - rate, "lower": rate}[goal.direction]
    elif goal.question in ("preference", "equivalence to 50 %"):
        limit = 0.5
    low, high = 0.0, limit * (1 - 1e-6)
    if power_of(replace(goal, size=high), model, design) < goal.power:
        return math.nan
    for _ in range(30):
        middle = (low + high) / 2
        reached = power_of(replace(goal, size=middle), model, design) >= goal.power
        low, high = (low, middle) if reached else (middle, high)
    return high


def participants_needed(goal: Goal, model: PlanningModel, design: StudyDesign) -> int | None:
    """Fewest participants per method (preference: per pair; search: per set) that reach the goal.

    Parameters
    ----------
    goal : Goal
        What has to be shown.
    model : PlanningModel
        Assumed rate and spreads.
    design : StudyDesign
        Trials, images and exposure; its number of participants is not used.

    Returns
    -------
    int or None
        None when not even 5000 participants suffice: then images are what is missing.
    """

    def reached(n: int) -> bool:
        return power_of(goal, model, replace(design, n_participants=n)) >= goal.power

    if not reached(MAXIMUM_PARTICIPANTS):
        return None
    # Each look needs two participants: nobody can be told from anybody else with one.
    low, high = max(1, 2 * goal.looks - 1), MAXIMUM_PARTICIPANTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _tested(goal: Goal, pair: tuple[PlanningModel, PlanningModel], design: StudyDesign) -> tuple[float, float]:
    """Variance and degrees of freedom of the tested rate or difference."""
    return _difference_variance_and_df(*pair, design) if goal.has_two_methods else _variance_and_df(pair[0], design)


def _variance_and_df(model: PlanningModel, design: StudyDesign) -> tuple[float, float]:
    """Of one rate, as `analysis.statistics.crossed.variance_components` finds them."""
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


def _difference_variance_and_df(one: PlanningModel, two: PlanningModel, design: StudyDesign) -> tuple[float, float]:
    """Of the difference of two rates, as `analysis.statistics.comparison.compare` finds them."""
    n, people = design.n_participants * design.n_trials, design.n_participants
    # Two methods share each image's common effect, as far as they are shown on the same images; and each participant's.
    shared_image = one.shared_image(two) * design.image_sharing
    shared_people = one.shared_participant(two) / people * design.shared_people
    by_people = [(design.n_trials * m.participant + m.image + m.residual) / n for m in (one, two)]
    by_image = sum((design.image_repetition * m.image + m.participant + m.residual) / n for m in (one, two))
    by_image -= 2.0 * shared_image
    cells = sum(m.rate * (1 - m.rate) / n for m in (one, two))
    variance = max(sum(by_people) - 2.0 * shared_people + by_image - cells, 1e-12)
    # Three groups of people: those who judge both, and those who judge either alone.
    both, alone = design.shared_people, 1.0 - design.shared_people
    groups = [(both * sum(by_people) - 2.0 * shared_people, both), *((alone * v, alone) for v in by_people)]
    people_term = sum(v**2 / max(share * people - 1, 1.0) for v, share in groups if share > 0)
    levels = design.expected_images * (1 if design.same_images else 2) - 1
    return variance, variance**2 / (people_term + by_image**2 / levels)


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
    """Compare the worth of doubling participants with that of doubling images, for the rate of one method."""
    return PurchaseAdvice(
        std_error=expected_std_error(model, design),
        with_twice_the_participants=expected_std_error(
            model, replace(design, n_participants=2 * design.n_participants)
        ),
        with_twice_the_images=expected_std_error(model, replace(design, n_images=2 * design.n_images)),
        floor=math.sqrt(model.image / design.n_images),
    )
