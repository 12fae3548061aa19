"""Do the intervals hold what they promise? Coverage and false alarms of the human test, by simulated studies.

    python benchmarks/interval_coverage.py [--studies 2000] [--seed 2016] [--out docs/benchmarks/coverage.md]
    python benchmarks/interval_coverage.py --part others --studies 300 [--out docs/benchmarks/coverage-of-other-studies.md]

Answers follow a logit model with normal participants and images. Every simulated study is analysed by the public
functions of `analysis`, as a real one would be; beside them what papers usually print. About two minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from analysis.planning.assumptions import PlanningModel, StudyDesign
from analysis.planning.simulation import simulate_methods
from analysis.planning.study_plan import PlanOptions, plan_study
from analysis.statistics.bootstrap import nested_bootstrap, pigeonhole_variance, probability_less
from analysis.statistics.comparison import compare, compare_designs
from analysis.statistics.crossed import CrossedDesign
from analysis.statistics.fool_rate import crossed_mean, t_quantile
from analysis.statistics.omnibus import equal_means
from analysis.statistics.preference import Preferences, pair_shares, preference_scale
from analysis.statistics.reliability import corrected_rank_correlation, rank_correlation
from analysis.statistics.sequential import group_sequential_bounds, nominal_levels
from evalkit.arrays import FloatArray
from evalkit.resampling.multiplicity import holm

S = TypeVar("S", bound=Any)
Answers = tuple[FloatArray, np.ndarray, np.ndarray]
NODE, WEIGHT = np.polynomial.hermite_e.hermegauss(61)
WEIGHT = WEIGHT / WEIGHT.sum()
IMAGE_CORRELATION = 0.7
"""Of the images' effects on two methods, in the false-alarm studies."""


@dataclass(frozen=True)
class Setting:
    """One design: participants x trials, images drawn per participant from a pool, fool rate, spreads (logit)."""

    name: str
    n_participants: int
    trials: tuple[int, ...]
    pool: int
    rate: float = 0.323
    participant_sd: float = 0.6
    image_sd: float = 1.0
    other_participants: int | None = None
    same_people: bool = False

    def intercept(self) -> float:
        """Of the logit model whose marginal rate is `rate`."""
        sd = math.hypot(self.participant_sd, self.image_sd)
        low, high = -40.0, 40.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if WEIGHT @ expit(middle + sd * NODE) < self.rate else (low, middle)
        return low


COVERAGE = (
    Setting("10 x 40, the same 40 images", 10, (40,), 40),
    Setting("40 x 40, the same 40 images", 40, (40,), 40),
    Setting("40 x 40, the same 40, spreads .5/.5", 40, (40,), 40, participant_sd=0.5, image_sd=0.5),
    Setting("40 x 40, the same 40, rate 50 %", 40, (40,), 40, rate=0.5),
    Setting("160 x 40, the same 40 images", 160, (40,), 40),
    Setting("40 x 40 of 400 images", 40, (40,), 400),
    Setting("40 x 40 of 10,000 images", 40, (40,), 10_000),
    Setting("10 x 40 of 10,000 images", 10, (40,), 10_000),
    Setting("20 x 20 of 60 images", 20, (20,), 60),
    Setting("40 x (20 to 60) of 100 images", 40, (20, 30, 40, 60), 100),
    Setting("80 x 40 of 80 images, rate 5 %", 80, (40,), 80, rate=0.05),
    Setting("10 x 10, the same 10 images", 10, (10,), 10),
    Setting("40 x 40 of 400, no spread at all", 40, (40,), 400, participant_sd=0.0, image_sd=0.0),
)

FALSE_ALARMS = (
    Setting("40 and 40 people, the same 40 images", 40, (40,), 40),
    Setting("40 and 40 people, 400 images", 40, (40,), 400),
    Setting("40 and 40 people, 10,000 images", 40, (40,), 10_000),
    Setting("40 and 8 people, the same 40 images", 40, (40,), 40, other_participants=8),
    Setting("60 and 15 people, 20 to 60 trials, 100 images", 60, (20, 30, 40, 60), 100, other_participants=15),
    Setting("12 and 12 people, 20 images", 12, (20,), 20),
    Setting("40 people see both, 400 images", 40, (40,), 400, same_people=True),
    Setting("40 and 40 people, 80 images, rate 5 %", 40, (40,), 80, rate=0.05),
)


def expit(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def draw_layout(setting: Setting, n_participants: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Who sees what: participant and image of every trial."""
    trials = np.resize(setting.trials, n_participants)
    if setting.pool <= 1000:
        order = np.argsort(rng.random((n_participants, setting.pool)), axis=1)
        image = np.concatenate([row[:t] for row, t in zip(order, trials, strict=True)])
    else:
        image = np.concatenate([rng.choice(setting.pool, t, replace=False) for t in trials])
    return np.repeat(np.arange(n_participants), trials), image


def draw_answers(logit: FloatArray, rng: np.random.Generator) -> FloatArray:
    return (rng.random(logit.size) < expit(logit)).astype(np.float64)


def means_of(y: FloatArray, level: np.ndarray) -> FloatArray:
    count = np.bincount(level)
    return np.asarray(np.bincount(level, y)[count > 0] / count[count > 0])


def coverage_row(setting: Setting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """Share of intervals that hold the truth, per method; ratio of reported to true standard error."""
    intercept = setting.intercept()
    held = dict.fromkeys(("crossed", "paper", "trials", "pigeonhole", "fixed"), 0)
    errors: list[float] = []
    paper_errors: list[float] = []
    estimates: list[float] = []
    z = 1.959964
    for _ in range(n_studies):
        participant, image = draw_layout(setting, setting.n_participants, rng)
        effect = setting.image_sd * rng.standard_normal(setting.pool)
        person = setting.participant_sd * rng.standard_normal(setting.n_participants)
        y = draw_answers(intercept + person[participant] + effect[image], rng)
        design = CrossedDesign.from_labels(participant, image)
        found = crossed_mean(y, design)
        held["crossed"] += found.ci_low <= setting.rate <= found.ci_high
        errors.append(found.std_error)
        estimates.append(found.estimate)

        fixed = crossed_mean(y, design, estimand="participants")
        shown = effect[design.images]
        on_these = WEIGHT @ expit(intercept + setting.participant_sd * NODE[:, None] + shown[None, :])
        truth = float(np.mean(on_these[design.image]))
        held["fixed"] += fixed.ci_low <= truth <= fixed.ci_high

        counts = np.bincount(participant)
        paper = nested_bootstrap(np.bincount(participant, y).astype(int), counts)
        low, high = paper.interval()
        held["paper"] += low <= setting.rate <= high
        paper_errors.append(paper.std_error)
        naive = math.sqrt(found.estimate * (1 - found.estimate) / y.size)
        held["trials"] += abs(found.estimate - setting.rate) <= z * naive
        held["pigeonhole"] += abs(found.estimate - setting.rate) <= z * math.sqrt(pigeonhole_variance(y, design))
    true_error = float(np.std(estimates))
    ratios = [math.sqrt(np.nanmean(np.square(e))) / true_error for e in (errors, paper_errors)]
    share = {name: f"{100 * count / n_studies:.1f}" for name, count in held.items()}
    return [
        setting.name,
        f"**{share['crossed']}**",
        f"{ratios[0]:.2f}",
        share["fixed"],
        share["paper"],
        f"{ratios[1]:.2f}",
        share["trials"],
        share["pigeonhole"],
    ]


def false_alarm_row(setting: Setting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """Share of studies that call two equally good methods different at the 5 % level."""
    from scipy import stats

    intercept = setting.intercept()
    sizes = setting.n_participants, setting.other_participants or setting.n_participants
    alarms = dict.fromkeys(("two-way", "trials", "images", "welch", "paper"), 0)
    for _ in range(n_studies):
        common = rng.standard_normal(setting.pool)
        people = setting.participant_sd * rng.standard_normal(sizes[0])
        data: list[Answers] = []
        for number, size in enumerate(sizes):
            participant, image = draw_layout(setting, size, rng)
            own = rng.standard_normal(setting.pool)
            effect = math.sqrt(IMAGE_CORRELATION) * common + math.sqrt(1 - IMAGE_CORRELATION) * own
            if number and not setting.same_people:
                people = setting.participant_sd * rng.standard_normal(size)
            y = draw_answers(intercept + people[participant] + setting.image_sd * effect[image], rng)
            labels = participant if setting.same_people else participant + 10_000 * number
            data.append((y, labels, image))
        (y_a, p_a, i_a), (y_b, p_b, i_b) = data
        alarms["two-way"] += compare(*data[0], *data[1]).p_value <= 0.05
        alarms["trials"] += trial_z(y_a, y_b) <= 0.05
        means_a, means_b = means_of(y_a, p_a), means_of(y_b, p_b)
        test = stats.ttest_rel if setting.same_people else lambda a, b: stats.ttest_ind(a, b, equal_var=False)
        alarms["welch"] += test(means_a, means_b).pvalue <= 0.05
        both = np.intersect1d(i_a, i_b)
        mean_a, mean_b = (np.bincount(i, y, setting.pool) / np.maximum(np.bincount(i, minlength=setting.pool), 1)
                          for y, i in ((y_a, i_a), (y_b, i_b)))  # fmt: skip
        alarms["images"] += stats.ttest_rel(mean_a[both], mean_b[both]).pvalue <= 0.05
        if not setting.same_people:
            papers = [nested_bootstrap(np.bincount(p, y).astype(int)[np.unique(p)], np.bincount(p)[np.unique(p)])
                      for y, p in ((y_a, p_a), (y_b, p_b))]  # fmt: skip
            less = probability_less(*papers, ties="half")
            alarms["paper"] += min(less, 1 - less) <= 0.025
    share = {name: f"{100 * count / n_studies:.1f}" for name, count in alarms.items()}
    return [
        setting.name,
        f"**{share['two-way']}**",
        share["trials"],
        share["images"],
        share["welch"],
        "" if setting.same_people else share["paper"],
    ]


def trial_z(y_a: FloatArray, y_b: FloatArray) -> float:
    """Two-proportion z test that takes trials for independent."""
    pooled = np.concatenate([y_a, y_b]).mean()
    error = math.sqrt(max(pooled * (1 - pooled), 1e-12) * (1 / y_a.size + 1 / y_b.size))
    return math.erfc(abs(y_a.mean() - y_b.mean()) / error / math.sqrt(2))


@dataclass(frozen=True)
class PreferenceSetting:
    """People x images, methods, tastes of people and images (logit), and whether a person judges one pair only."""

    name: str
    n_participants: int
    n_images: int
    n_methods: int
    participant_sd: float = 0.4
    image_sd: float = 0.6
    one_pair: bool = False


PREFERENCES = (
    PreferenceSetting("12 x 12, 2 methods", 12, 12, 2),
    PreferenceSetting("12 x 12, 4 methods", 12, 12, 4),
    PreferenceSetting("20 x 40, 3 methods", 20, 40, 3),
    PreferenceSetting("40 x 40, 5 methods", 40, 40, 5),
    PreferenceSetting("30 x 30, 3 methods, one pair per person", 30, 30, 3, one_pair=True),
    PreferenceSetting("20 x 40, 3 methods, all of one taste", 20, 40, 3, 0.0, 0.0),
)


def draw_preferences(setting: PreferenceSetting, rng: np.random.Generator) -> Preferences:
    """Equally good methods; the one shown first has a chance of 57 %."""
    people, images, methods = setting.n_participants, setting.n_images, setting.n_methods
    participant, image = np.repeat(np.arange(people), images), np.tile(np.arange(images), people)
    pairs = np.array([(a, b) for a in range(methods) for b in range(a + 1, methods)])
    chosen = participant % len(pairs) if setting.one_pair else rng.integers(len(pairs), size=participant.size)
    swap = rng.random(participant.size) < 0.5
    first, second = np.where(swap, pairs[chosen].T[::-1], pairs[chosen].T)
    taste = setting.participant_sd * rng.standard_normal((people, methods))
    picture = setting.image_sd * rng.standard_normal((images, methods))
    worth = taste[participant] + picture[image]
    rows = np.arange(participant.size)
    value = draw_answers(0.3 + worth[rows, first] - worth[rows, second], rng)
    names = np.array([f"m{k}" for k in range(methods)])
    return Preferences.from_labels(names[first], names[second], value, participant, image)


def preference_row(setting: PreferenceSetting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """Coverage of a share, false alarms of one difference, of a Holm family and of the omnibus test; error of errors."""
    covered = single = family = omnibus = 0
    errors, estimates = [], []
    for _ in range(n_studies):
        preferences = draw_preferences(setting, rng)
        mean = pair_shares(preferences)[0].mean
        scale = preference_scale(preferences)
        covered += mean is not None and mean.ci_low <= 0.5 <= mean.ci_high
        found = scale.difference(*scale.methods[:2])
        pairs = [(a, b) for k, a in enumerate(scale.methods) for b in scale.methods[k + 1 :]]
        single += found.p_value <= 0.05
        family += holm([scale.difference(a, b).p_value for a, b in pairs]).min() <= 0.05
        omnibus += scale.omnibus.p_value <= 0.05
        errors.append(found.std_error)
        estimates.append(found.estimate)
    ratio = math.sqrt(float(np.mean(np.square(errors)))) / float(np.std(estimates))
    shares = [f"{100 * count / n_studies:.1f}" for count in (covered, single, family, omnibus)]
    return [setting.name, *shares, f"{ratio:.2f}", f"{min(errors):.2f}"]


@dataclass(frozen=True)
class LookSetting:
    """Four looks at so many people a method."""

    name: str
    n_participants: int
    bounds: Literal["pocock", "obrien-fleming"]


LOOKS = (
    LookSetting("8 people, Pocock", 8, "pocock"),
    LookSetting("12 people, Pocock", 12, "pocock"),
    LookSetting("12 people, O'Brien-Fleming", 12, "obrien-fleming"),
    LookSetting("40 people, Pocock", 40, "pocock"),
)


def look_row(setting: LookSetting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """False alarms over four looks: p against nominal p limits, and |t| against the limits for |z|."""
    model = PlanningModel(rate=0.35)
    on_p, on_t = (bounds(4, setting.bounds) for bounds in (nominal_levels, group_sequential_bounds))
    design = StudyDesign(n_participants=setting.n_participants, n_trials=36, n_images=100, exposure="balanced")
    alarms = [0, 0]
    for _ in range(n_studies):
        samples = simulate_methods((model, model), design, rng)
        tests = []
        for look in range(1, 5):
            a, b = (sample.of_first(math.ceil(setting.n_participants * look / 4)) for sample in samples)
            tests.append(compare(a.value, a.participant, a.image, b.value, b.participant, b.image))
        alarms[0] += any(test.p_value <= limit for test, limit in zip(tests, on_p, strict=True))
        alarms[1] += any(abs(t.difference / t.std_error) > limit for t, limit in zip(tests, on_t, strict=True))
    return [setting.name, *(f"{100 * count / n_studies:.1f}" for count in alarms)]


@dataclass(frozen=True)
class PlanSetting:
    """A plan, by its options."""

    name: str
    options: PlanOptions


PLANS = (
    PlanSetting("5 points, rate 5 %", PlanOptions(difference=5, rate=0.05, images=400)),
    PlanSetting("10 points, rate 5 %", PlanOptions(difference=10, rate=0.05, images=400)),
    PlanSetting("5 points lower, rate 8 %", PlanOptions(difference=5, rate=0.08, images=400, direction="lower")),
    PlanSetting("10 points, rate 50 %, 100 images", PlanOptions(difference=10, images=100)),
    PlanSetting("10 points, five comparisons", PlanOptions(difference=10, images=400, comparisons=5)),
    PlanSetting("10 points, four looks", PlanOptions(difference=10, images=400, looks=4)),
    PlanSetting("10 points, four Pocock looks", PlanOptions(difference=10, images=400, looks=4, bounds="pocock")),
    PlanSetting("15 points, different images", PlanOptions(difference=15, images=100, unpaired=True)),
    PlanSetting("8 points, within-subject", PlanOptions(difference=8, images=400, within_subject=True)),
    PlanSetting("equal to 50 % within 5", PlanOptions(equivalence_margin=5, images=400)),
    PlanSetting("preference of 10 points", PlanOptions(difference=10, images=100, preset="preference")),
    PlanSetting(
        "naturalness, equal to truth within 5", PlanOptions(equivalence_margin=5, images=400, preset="naturalness")
    ),
)


def plan_row(setting: PlanSetting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """What a plan promises, and what simulated studies of its size reach."""
    plan = plan_study(replace(setting.options, simulate=n_studies, seed=int(rng.integers(2**31))))
    assert plan.chosen is not None
    assert plan.simulated is not None
    power = f"{100 * plan.chosen.power:.0f}", f"{100 * plan.simulated.power:.1f}"
    return [setting.name, str(plan.chosen.participants), *power]


@dataclass(frozen=True, kw_only=True)
class SeveralSetting:
    """Equally good methods: people of each, trials each, images, and whether everybody judges all methods."""

    name: str
    people: tuple[int, ...]
    trials: int
    images: int
    same_people: bool = False


SEVERAL = (
    SeveralSetting(name="4 x 12 people, 40 images", people=(12,) * 4, trials=20, images=40),
    SeveralSetting(name="5 x 40 people, 400 images", people=(40,) * 5, trials=36, images=400),
    SeveralSetting(name="40, 40, 20 and 8 people, the same 40 images", people=(40, 40, 20, 8), trials=40, images=40),
    SeveralSetting(name="40 people see all 5, 100 images", people=(40,) * 5, trials=20, images=100, same_people=True),
)


def several_row(setting: SeveralSetting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """False alarms of the test of all methods at once, of any pair after Holm's adjustment, and of any pair without."""
    alarms = [0, 0, 0]
    for _ in range(n_studies):
        common, person = rng.standard_normal(setting.images), rng.standard_normal(max(setting.people))
        samples = []
        for number, people in enumerate(setting.people):
            picture = math.sqrt(IMAGE_CORRELATION) * common
            picture = picture + math.sqrt(1 - IMAGE_CORRELATION) * rng.standard_normal(setting.images)
            own = rng.standard_normal(people)
            if setting.same_people:
                own = math.sqrt(0.5) * (own + person)
            image = np.argsort(rng.random((people, setting.images)), axis=1)[:, : setting.trials].ravel()
            who = np.repeat(np.arange(people), setting.trials)
            answers = draw_answers(-0.9 + 0.6 * own[who] + picture[image], rng)
            samples.append(
                (answers, CrossedDesign.from_labels(who + (0 if setting.same_people else 1000 * number), image))
            )
        pairs = [compare_designs(*a, *b).p_value for k, a in enumerate(samples) for b in samples[k + 1 :]]
        alarms[0] += equal_means(samples).p_value <= 0.05
        alarms[1] += holm(pairs).min() <= 0.05
        alarms[2] += min(pairs) <= 0.05
    return [setting.name, *(f"{100 * count / n_studies:.1f}" for count in alarms)]


def others(studies: int, seed: int) -> str:
    """The page of preference studies, looks, several methods and plans."""
    preferences = run(PREFERENCES, preference_row, studies, seed)
    looks = run(LOOKS, look_row, studies, seed + 1)
    plans = run(PLANS, plan_row, studies, seed + 2)
    several = run(SEVERAL, several_row, studies, seed + 3)
    near_5, near_80 = (100 * math.sqrt(p * (1 - p) / studies) for p in (0.05, 0.8))
    return f"""# Preference studies, several methods, looks and plans, simulated

Each row is {studies:,} simulated studies, analysed by the public functions. The Monte Carlo error of a figure near 5 or 95 % is
{near_5:.1f} points, near 80 % {near_80:.1f} points. To run it again:

    python benchmarks/interval_coverage.py --part others --studies {studies} --seed {seed} --out docs/benchmarks/coverage-of-other-studies.md

## Preference studies of equally good methods, percent

People and images have tastes of their own (SD 0.4 and 0.6 on the logit scale), and the method shown first is preferred a
little. *Share* is the coverage of the 95 % interval of the first pair's share; the next three are false alarms at 5 %: of one
difference, of any difference after Holm's adjustment, and of the test of all methods at once. The last two columns compare
the standard error of the difference with the true one, and show the least that came out.

{table(["people x images", "share", "one difference", "Holm family", "omnibus", "SE / true", "least SE"], preferences)}

## Four looks at two equal methods: false alarms, percent

Overall level 5 %. *p* compares the unadjusted p-value with the nominal limit of the look, as `evalkit plan --looks` prints it;
*t* compares |t| with the usual limit for |z|.

{table(["people per method, bounds", "p", "t"], looks)}

## Several methods with the same fool rate: false alarms at 5 %, percent

*At once* is the test of all methods (`analysis.statistics.omnibus.equal_means`); *Holm* any pair of them after adjustment,
*any pair* without it.

{table(["people, images", "at once", "Holm", "any pair"], several)}

## Plans for a power of 80 %

Participants that `evalkit plan` asks for, the power that its formula gives for them, and the power that simulated studies
reach.

{table(["plan", "participants", "promised", "simulated"], plans)}
"""


@dataclass(frozen=True)
class EdgeSetting:
    """Two methods with the same low true rate, of which one happens never to fool anybody."""

    name: str
    people: int
    rate: float


EDGES = (
    EdgeSetting("40 x 40, 0.5 %", 40, 0.005),
    EdgeSetting("40 x 40, 2 %", 40, 0.02),
    EdgeSetting("12 x 40, 2 %", 12, 0.02),
)


def edge_row(setting: EdgeSetting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """False alarms given that A never varies, and how often the interval holds the true difference, 0."""
    person, image = np.repeat(np.arange(setting.people), 40), np.tile(np.arange(40), setting.people)
    alarms = held = 0
    for _ in range(n_studies):
        y = draw_answers(np.full(person.size, math.log(setting.rate / (1 - setting.rate))), rng)
        found = compare(np.zeros(person.size), person, image, y, person + 1000, image)
        alarms += found.p_value <= 0.05
        held += found.ci_low <= 0 <= found.ci_high
    return [setting.name, f"{100 * alarms / n_studies:.1f}", f"{100 * held / n_studies:.1f}"]


@dataclass(frozen=True)
class AgreementSetting:
    """A metric that goes with the true rates of images at a correlation of normal scores."""

    name: str
    images: int
    answers: int
    correlation: float


AGREEMENTS = (
    AgreementSetting("100 images, 4 answers, none", 100, 4, 0.0),
    AgreementSetting("100 images, 4 answers, 0.58", 100, 4, 0.6),
    AgreementSetting("100 images, 10 answers, 0.58", 100, 10, 0.6),
    AgreementSetting("400 images, 4 answers, 0.58", 400, 4, 0.6),
)


def agreement_row(setting: AgreementSetting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """Mean observed and median corrected rank correlation, and the coverage of the two intervals."""
    r = setting.correlation
    truth = 6 / math.pi * math.asin(r / 2)  # Spearman's of a bivariate normal
    image = np.repeat(np.arange(setting.images), setting.answers)
    observed, corrected, held, held_naively = [], [], 0, 0
    for _ in range(n_studies):
        metric, wanted = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], setting.images).T
        y = draw_answers(wanted[image] - 0.8, rng)
        found = corrected_rank_correlation(metric, y, image, n_resamples=400)
        naive = rank_correlation(metric, np.bincount(image, y))
        observed.append(found.observed)
        corrected.append(found.corrected)
        held += found.ci_low <= truth <= found.ci_high
        held_naively += naive.ci_low <= truth <= naive.ci_high
    shares = (f"{100 * count / n_studies:.1f}" for count in (held_naively, held))
    return [setting.name, f"{np.mean(observed):z.2f}", f"{np.nanmedian(corrected):z.2f}", *shares]


def edges(studies: int, seed: int) -> str:
    """The page of methods that never vary and of metrics against few answers."""
    constant = run(EDGES, edge_row, studies, seed)
    agreement = run(AGREEMENTS, agreement_row, studies, seed + 1)
    return f"""# Methods that never vary, and metrics against few answers

Each row is {studies:,} simulated studies, analysed by the public functions. The Monte Carlo error of a figure near 5 or 95 % is
{100 * math.sqrt(0.05 * 0.95 / studies):.1f} points. To run it again:

    python benchmarks/interval_coverage.py --part edges --studies {studies} --seed {seed} --out docs/benchmarks/coverage-at-edges.md

## One of two equally bad methods never fools anybody, percent

Both have the same true rate. Counting only B's spread, nearly every such study was significant; with exact limits for A the
test is deliberately conservative.

{table(["people x images, true rate", "false alarms at 5 %", "coverage"], constant)}

## A metric against the rates of images

The noise of few answers dilutes the observed correlation; *corrected* is divided by the noise ceiling. The last two columns
are the coverage of the usual 95 % interval of the observed one, and of the interval of the corrected one.

{table(["images, answers, true correlation", "observed", "corrected", "usual", "of the corrected"], agreement)}
"""


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" + "---:|" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def run(
    settings: tuple[S, ...],
    row: Callable[[S, int, np.random.Generator], list[str]],
    n_studies: int,
    seed: int,
) -> list[list[str]]:
    rows = []
    for number, setting in enumerate(settings):
        start = time.perf_counter()
        rows.append(row(setting, n_studies, np.random.default_rng([seed, number])))
        print(f"{setting.name}: {', '.join(rows[-1][1:])} ({time.perf_counter() - start:.0f} s)", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies per design")
    parser.add_argument("--seed", type=int, default=2016)
    parser.add_argument("--out", type=Path, help="write the Markdown tables there")
    parser.add_argument(
        "--part",
        choices=["rates", "others", "edges"],
        default="rates",
        help="fool rates, all other studies, or edges: no variation, few answers",
    )
    options = parser.parse_args()
    t_quantile(0.9, 3)  # scipy is imported before anything is timed
    if options.part == "edges":
        write_page(edges(options.studies, options.seed), options.out)
        return
    if options.part == "others":
        write_page(others(options.studies, options.seed), options.out)
        return
    covered = run(COVERAGE, coverage_row, options.studies, options.seed)
    alarms = run(FALSE_ALARMS, false_alarm_row, options.studies, options.seed + 1)
    error = 100 * math.sqrt(0.05 * 0.95 / options.studies)
    text = f"""# Do the intervals hold what they promise?

Simulated studies: answers follow a logit model with normally distributed participants (SD 0.6) and images (SD 1.0) and
a fool rate of 32.3 % unless said otherwise. Each of {options.studies:,} studies per design is analysed by the public
functions, as a real one would be. The Monte Carlo error of a figure near 5 or 95 % is {error:.1f} points. To run it again:

    python benchmarks/interval_coverage.py --studies {options.studies} --seed {options.seed} --out docs/benchmarks/coverage.md

## Coverage of nominal 95 % intervals, percent

*Crossed* is the headline interval, for new participants and new images, and its standard error is compared with the true
one. *These images* is the estimand `participants`, judged against the true rate on the images shown. The others are
judged like the headline interval: *Zhang16* draws participants and then their trials; *trials* takes all trials for
independent; *pigeonhole* resamples participants and images.

{table(["participants x trials", "crossed", "SE / true", "these images", "Zhang16", "SE / true", "trials", "pigeonhole"], covered)}

## False alarms at the 5 % level, percent

Two methods with the same fool rate for new images; image effects of the two correlate by {IMAGE_CORRELATION}. *Two-way* is
`analysis.statistics.comparison.compare`; *trial z* takes trials for independent; *per image* is a paired t test over images; *Welch*
is a t test over participants (paired where the same people see both); *Zhang16* calls a difference when P(A < B) of
its bootstrap is beyond 2.5 or 97.5 %.

{table(["design", "two-way", "trial z", "per image", "Welch", "Zhang16"], alarms)}
"""
    write_page(text, options.out)


def write_page(text: str, out: Path | None) -> None:
    """Write the page where it was asked for."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        print(f"Wrote {out}.")


if __name__ == "__main__":
    main()
