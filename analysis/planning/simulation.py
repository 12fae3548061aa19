"""Whole studies, simulated under the assumed model and analysed by the functions that analyse real ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.planning.assumptions import PlanningModel, StudyDesign, expit
from analysis.planning.power import Goal, hardest_scenario
from analysis.statistics.comparison import compare
from analysis.statistics.crossed import CrossedDesign
from analysis.statistics.equivalence import equivalence
from analysis.statistics.fool_rate import fool_rate
from analysis.statistics.preference import Preferences, choice_share, pair_shares, preference_scale
from analysis.statistics.sequential import nominal_levels
from evalkit.arrays import BoolArray, FloatArray, IntArray
from evalkit.errors import InputError

__all__ = ["Answers", "SimulatedPower", "false_alarm_rate", "simulate_answers", "simulate_methods", "simulate_power"]


@dataclass(frozen=True)
class Answers:
    """One method's simulated answers.

    Attributes
    ----------
    value : ndarray of float64, shape (P T,)
        0 or 1.
    participant, image : ndarray of int64, shape (P T,)
        Who answered about what.
    arrival : ndarray of int64, shape (P T,)
        How many participants of the method came before.
    """

    value: FloatArray
    participant: IntArray
    image: IntArray
    arrival: IntArray

    def of_first(self, n_participants: int) -> Answers:
        """The answers of the participants who came first."""
        keep = self.arrival < n_participants
        return Answers(self.value[keep], self.participant[keep], self.image[keep], self.arrival[keep])


@dataclass(frozen=True, kw_only=True)
class SimulatedPower:
    """What the test did in simulated studies.

    Attributes
    ----------
    power : float
        Share of studies in which the goal was reached.
    mc_error : float
        Standard error of that share.
    coverage : float
        Share of intervals of the first method's rate that held the true rate.
    mean_std_error, true_std_error : float
        Mean reported standard error of that rate, and its standard deviation over studies.
    other_rate : float
        Rate of the other method, in the direction that needs more people; NaN where there is none.
    n_studies : int
        Studies.
    """

    power: float
    mc_error: float
    coverage: float
    mean_std_error: float
    true_std_error: float
    other_rate: float
    n_studies: int


def simulate_power(
    goal: Goal, model: PlanningModel, design: StudyDesign, *, n_studies: int = 400, seed: int = 0
) -> SimulatedPower:
    """Simulate whole studies in which the goal's claim is true, and analyse them as real ones.

    Parameters
    ----------
    goal : Goal
        What has to be shown, at which level, over how many looks.
    model : PlanningModel
        Assumed rate and spreads.
    design : StudyDesign
        Of each method.
    n_studies : int
        Studies.
    seed : int
        Seed of the generator.

    Returns
    -------
    SimulatedPower
        To be compared with `analysis.planning.power.power_of`.
    """
    return _simulate(goal, hardest_scenario(goal, model, design), design, n_studies, seed)


def false_alarm_rate(
    goal: Goal, model: PlanningModel, design: StudyDesign, *, n_studies: int = 400, seed: int = 0
) -> SimulatedPower:
    """Simulate studies in which there is nothing to find: a difference of 0, or one of just the margin.

    Arguments and result are those of `simulate_power`; ``power`` is the share of false alarms.
    """
    if goal.question == "equivalence to 50 %":
        pair = model.at_rate(0.5 - goal.size), model
    elif goal.question == "equivalence of two":
        pair = model, model.at_rate(model.rate - goal.size)
    elif goal.question == "preference":
        pair = model.at_rate(0.5), model.at_rate(0.5)
    elif goal.question == "real photo found":
        pair = model.at_rate(goal.chance), model.at_rate(goal.chance)
    else:
        pair = model, model
    return _simulate(goal, pair, design, n_studies, seed)


def _simulate(
    goal: Goal, pair: tuple[PlanningModel, PlanningModel], design: StudyDesign, n_studies: int, seed: int
) -> SimulatedPower:
    rng = np.random.default_rng(seed)
    limits = nominal_levels(goal.looks, goal.bounds, level=goal.adjusted_level)
    people = [math.ceil(design.n_participants * look / goal.looks) for look in range(1, goal.looks + 1)]
    p_value = _TESTS[goal.question]
    claimed, covered, errors, estimates = 0, 0, [], []
    for _ in range(n_studies):
        samples = simulate_methods(pair if goal.has_two_methods else pair[:1], design, rng)
        estimates.append(float(samples[0].value.mean()))
        try:
            rate = fool_rate(samples[0].value, samples[0].participant, samples[0].image)
            covered += rate.ci_low <= pair[0].rate <= rate.ci_high
            errors.append(rate.std_error)
        except InputError:  # no interval: not covered
            errors.append(math.nan)
        claimed += any(
            _no_test_is_no_claim(p_value, [sample.of_first(n) for sample in samples], goal) <= limit
            for n, limit in zip(people, limits, strict=True)
        )
    share = claimed / n_studies
    return SimulatedPower(
        power=share,
        mc_error=math.sqrt(share * (1 - share) / n_studies),
        coverage=covered / n_studies,
        mean_std_error=float(np.nanmean(errors)) if np.isfinite(errors).any() else math.nan,
        true_std_error=float(np.std(estimates)),
        other_rate=pair[1].rate if goal.question == "difference" else math.nan,
        n_studies=n_studies,
    )


def _no_test_is_no_claim(p_value: Callable[[list[Answers], Goal], float], samples: list[Answers], goal: Goal) -> float:
    try:
        return p_value(samples, goal)
    except InputError:  # hardly any answers, or none that differ
        return 1.0


def _difference_p(samples: list[Answers], goal: Goal) -> float:
    a, b = samples
    return compare(a.value, a.participant, a.image, b.value, b.participant, b.image).p_value


def _equality_p(samples: list[Answers], goal: Goal) -> float:
    a, b = samples
    comparison = compare(a.value, a.participant, a.image, b.value, b.participant, b.image)
    return equivalence(comparison.difference, comparison.std_error, comparison.df, margin=goal.size, target=0.0).p_value


def _near_half_p(samples: list[Answers], goal: Goal) -> float:
    rate = fool_rate(samples[0].value, samples[0].participant, samples[0].image)
    return equivalence(rate.estimate, rate.std_error, rate.df, margin=goal.size).p_value


def _preference_p(samples: list[Answers], goal: Goal) -> float:
    won, participant, image = samples[0].value, samples[0].participant, samples[0].image
    a_first = (participant + image) % 2 == 0  # which method came first; without an effect of it, any rule serves
    preferences = Preferences.from_labels(
        np.where(a_first, "a", "b"), np.where(a_first, "b", "a"), np.where(a_first, won, 1 - won), participant, image
    )
    try:
        return preference_scale(preferences).difference("a", "b").p_value
    except InputError:  # one of the two won every trial: the exact test of the share
        return pair_shares(preferences)[0].p_value


def _found_p(samples: list[Answers], goal: Goal) -> float:
    found, design = samples[0].value, CrossedDesign.from_labels(samples[0].participant, samples[0].image)
    return choice_share("truth", found, np.full(found.size, round(1 / goal.chance)), design).p_value


_TESTS: dict[str, Callable[[list[Answers], Goal], float]] = {
    "difference": _difference_p,
    "equivalence of two": _equality_p,
    "equivalence to 50 %": _near_half_p,
    "preference": _preference_p,
    "real photo found": _found_p,
}


def simulate_methods(
    methods: tuple[PlanningModel, ...], design: StudyDesign, rng: np.random.Generator
) -> list[Answers]:
    """Answers to one method, or to two whose effects of images (and of people, where they are the same) correlate.

    Parameters
    ----------
    methods : tuple of PlanningModel
        One or two.
    design : StudyDesign
        Of each method. Nobody sees an image of one method twice; with the same people the two methods are shown on
        different images where there are enough.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    list of Answers
        One per method; labels are shared by the two exactly where people and images are.
    """
    people, images = design.n_participants, design.n_images
    seen = _images_seen(design, len(methods), rng)
    common_image, common_person = rng.standard_normal(images), rng.standard_normal(people)
    judges_both = _judges_both(design)
    samples = []
    for number, (model, image) in enumerate(zip(methods, seen, strict=True)):
        arrival = np.repeat(np.arange(people, dtype=np.int64), design.n_trials)
        person = _mixed(common_person, np.where(judges_both, model.participant_correlation, 0.0), rng)
        picture = _mixed(common_image, model.image_correlation if design.same_images else 0.0, rng)
        logit = model.intercept + model.participant_sd * person[arrival] + model.image_sd * picture[image]
        label = np.arange(people, dtype=np.int64) + np.where(judges_both, 0, number * people)
        samples.append(
            Answers(
                value=(rng.random(logit.size) < expit(logit)).astype(np.float64),
                participant=label[arrival],
                image=image if design.same_images else image + number * images,
                arrival=arrival,
            )
        )
    return samples


def _judges_both(design: StudyDesign) -> BoolArray:
    """Which participants of a method judge the other one as well, spread over the order of arrival; shape (P,)."""
    steps = np.floor(np.arange(design.n_participants + 1) * design.shared_people + 0.5)
    return np.asarray(np.diff(steps) > 0)


def _mixed(common: FloatArray, correlation: float | FloatArray, rng: np.random.Generator) -> FloatArray:
    """Standard normal effects of one method that correlate with those of the other through what both share."""
    return np.asarray(np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal(common.size))


def _images_seen(design: StudyDesign, n_methods: int, rng: np.random.Generator) -> list[IntArray]:
    """Image of each trial, shape (P T,), per method; people who judge both see different images where there are enough."""
    if not (design.splits_images and n_methods == 2):
        return [_deal(design, design.n_trials, rng).ravel() for _ in range(n_methods)]
    shuffled = rng.permuted(_deal(design, 2 * design.n_trials, rng), axis=1)
    halves = np.split(shuffled, 2, axis=1)
    if design.shared_people < 1:  # the other method of who judges one of the two is none of ours: images dealt alone
        alone = ~_judges_both(design)
        rest = replace(design, n_participants=max(2, int(alone.sum())))
        for half in halves:
            half[alone] = _deal(rest, design.n_trials, rng)[: alone.sum()]
    return [half.ravel() for half in halves]


def simulate_answers(
    design: StudyDesign, intercept: float, participant_sd: float, image_effect: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, IntArray, IntArray]:
    """One method's answers to given images under the logit model: value, participant and image, each of shape (P T,)."""
    image = _deal(design, design.n_trials, rng).ravel()
    participant = np.repeat(np.arange(design.n_participants, dtype=np.int64), design.n_trials)
    logit = intercept + participant_sd * rng.standard_normal(design.n_participants)[participant] + image_effect[image]
    return (rng.random(logit.size) < expit(logit)).astype(np.float64), participant, image


def _deal(design: StudyDesign, n_trials: int, rng: np.random.Generator) -> IntArray:
    """Images of every participant, shape (P, n_trials)."""
    people, images = design.n_participants, design.n_images
    if design.exposure == "balanced":
        # A rotation of one shuffled deck: equally often, and no repeats within a participant.
        order, start = rng.permutation(images), rng.integers(images)
        return np.asarray(order[(np.arange(people * n_trials) + start) % images].reshape(people, n_trials))
    return np.argsort(rng.random((people, images)), axis=1)[:, :n_trials].astype(np.int64)
