"""A whole analysis rehearsed: observers with a known truth, a spread of people and images, and some who do not look."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from analysis.planning.assumptions import PlanningModel
from analysis.statistics.crossed import variance_components
from analysis.study.breakdowns import participant_rows
from analysis.study.rates import fool_rates
from analysis.trials.trial_files import table_of_records
from analysis.trials.trial_table import check_trials
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.sessions.assignment import arms, choose_arms, plan_session
from turing_test.simulation.observers import Population
from turing_test.study.manifest import Stimulus

RATES = {"method a": 0.3, "method b": 0.45}
SPREAD = {"sd_person": 0.6, "sd_image": 1.0}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """36 test trials on 60 photos; one method per person, or both."""
    changes = {
        "n_images": 62, "practice_trials": 2, "test_trials": 40, "vigilance_trials": 4, "reserve_trials": 2,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("studies")
    return {
        number: make_study(folder / f"study-{number}", methods_per_person=number, **changes) for number in (1, "all")
    }


def answered(study, population):
    """The checked table of what a population answers to what the study hands out."""
    rng = random.Random(population.seed)
    sessions, shown = Counter(), Counter()
    rows = []
    for index in range(population.participants):
        judged = choose_arms(arms(study), sessions, study.protocol.arms_per_person(2), rng)
        observer = population.observer(index)
        of_own_arm = {key: count for key, count in shown.items() if len(judged) > 1 or key[0] == judged[0]}
        for trial in plan_session(study, judged, of_own_arm, rng):
            if trial.phase != "test":
                continue
            shown[(trial.method, None) if trial.method else None, trial.kind, trial.image] += 1
            pair = [study.manifest.stimuli[sha] for sha in (trial.first_sha, trial.second_sha)]
            answer = observer.answer(pair, "zhang2016")
            rows.append(
                {
                    "participant": f"p{index}", "method": trial.method, "image": trial.image, "kind": trial.kind,
                    "trial": trial.position, "real_position": trial.real_position, "response": answer.response,
                    "response_ms": answer.response_ms,
                }
            )  # fmt: skip
        sessions[judged] += 1
    return check_trials(table_of_records("rehearsal", {name: [row[name] for row in rows] for name in rows[0]}))


@pytest.mark.parametrize("methods_per_person", [1, "all"])
def test_intervals_for_new_people_and_images_cover_the_rates_that_were_put_in(studies, methods_per_person):
    covered, n_intervals, widths = 0, 0, []
    for seed in range(20):
        population = Population(participants=24, fool_rates=RATES, seed=seed, **SPREAD)
        for record in fool_rates(answered(studies[methods_per_person], population)):
            if record.method in RATES:
                covered += record.mean.ci_low <= RATES[record.method] <= record.mean.ci_high
                n_intervals += 1
                widths.append(record.mean.ci_high - record.mean.ci_low)
    assert n_intervals == 40
    assert covered >= 34  # 38 expected; fewer has a chance of 1 in 290 for intervals that keep their 95 %
    assert np.mean(widths) < 0.3


def test_the_spread_of_people_and_images_is_found_again(studies):
    population = Population(participants=160, fool_rates=RATES, seed=2, **SPREAD)
    trials = answered(studies[1], population)
    for method, rate in RATES.items():
        one = trials.of_method(method)
        found = variance_components(one.value, one.design)
        truth = PlanningModel(rate=rate, participant_sd=0.6, image_sd=1.0)
        assert found.participant == pytest.approx(truth.participant, rel=0.5)
        assert found.image == pytest.approx(truth.image, rel=0.5)
    flat = answered(studies[1], Population(participants=160, fool_rates=RATES, seed=2))
    one = flat.of_method("method a")
    none = variance_components(one.value, one.design)
    assert max(none.participant, none.image) < 0.1 * truth.image


def test_straight_liners_are_those_that_the_analysis_flags(studies):
    population = Population(participants=40, fool_rates=RATES, straight_liners=0.25, seed=1, **SPREAD)
    rows = participant_rows(answered(studies[1], population))
    flagged = {row["participant"] for row in rows if row["straight_lining"]}
    assert flagged == {f"p{k}" for k, kind in enumerate(population.kinds) if kind == "straight-liner"}
    assert len(flagged) == 10
    assert {row["first_share"] for row in rows if row["participant"] in flagged} == {0.0, 1.0}


def test_a_person_and_an_image_have_one_effect_and_methods_share_most_of_it():
    population = Population(participants=60, fool_rates={"a": 0.5, "b": 0.5}, seed=3, sd_image=2.0)
    observers = [population.observer(k) for k in range(60)]
    rates = {
        method: np.array([[o._rate(Stimulus(str(i), "method", method)) for i in range(200)] for o in observers[:2]])
        for method in "ab"
    }
    assert np.array_equal(rates["a"][0], rates["a"][1])  # no spread of people was asked for
    logits = {method: np.log(rate[0] / (1 - rate[0])) for method, rate in rates.items()}
    assert np.std(logits["a"]) == pytest.approx(2.0, rel=0.15)
    assert np.corrcoef(logits["a"], logits["b"])[0, 1] == pytest.approx(0.7, abs=0.12)


def test_preferences_and_naturalness_vary_as_well_and_both_orders_agree():
    population = Population(participants=1, fool_rates={"a": 0.6, "b": 0.3}, seed=3, sd_image=1.0, straight_liners=0)
    observer = population.observer(0)
    for image in range(30):
        one, two = Stimulus(str(image), "method", "a"), Stimulus(str(image), "method", "b")
        first, second = observer.answer([one, two], "preference"), observer.answer([two, one], "preference")
        assert {first.response, second.response} == {"first", "second"}
    said = {observer.answer([Stimulus(str(k), "method", "a")], "naturalness").response for k in range(50)}
    assert said == {"yes", "no"}
    always = Population(participants=8, straight_liners=1.0, seed=1)
    for k in range(8):
        answers = {
            always.observer(k).answer([Stimulus(str(i), "method", "a")], "naturalness").response for i in range(20)
        }
        assert len(answers) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sd_person": -1.0}, "sd-person is -1; allowed is a standard deviation"),
        ({"sd_image": float("nan")}, "sd-image is nan; allowed is a standard deviation"),
        ({"straight_liners": 1.5}, "straight-liners is 1.5; allowed is a number from 0 to 1"),
        ({"straight_liners": 0.6, "guessers": 0.6}, "straight-liners together are 1.2"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Population(participants=1, **options)


def test_every_kind_can_be_combined():
    population = Population(participants=20, guessers=0.1, speeders=0.1, dropouts=0.1, straight_liners=0.1, seed=5)
    assert Counter(population.kinds) == {
        "attentive": 12, "guesser": 2, "speeder": 2, "dropout": 2, "straight-liner": 2,
    }  # fmt: skip
