"""Simulated observers answer as they were told to, and the same way every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest, norm

from evalkit.errors import InputError
from turing_test.simulation.observers import KINDS, Population
from turing_test.study.manifest import Stimulus

N = 4000


def pairs(method="mine", n=N):
    """Pairs of truth and method, the truth first in every second one."""
    for k in range(n):
        shown = [Stimulus(f"{k}", "truth"), Stimulus(f"{k}", "method", method)]
        yield shown if k % 2 else shown[::-1]


def fooled(shown, answer):
    """Whether the real photo was taken for the fake."""
    return shown[("first", "second").index(answer.response)].role == "truth"


def share_fooled(population, shown=None):
    observer = population.observer(0)
    return np.mean([fooled(pair, observer.answer(pair, "zhang2016")) for pair in shown or pairs()])


def agrees(observed, expected, n=N):
    return binomtest(round(observed * n), n, expected).pvalue > 1e-4


class TestAnAttentiveObserver:
    @pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
    def test_is_fooled_as_often_as_told(self, rate):
        population = Population(participants=1, fool_rates={"mine": rate})
        assert agrees(share_fooled(population), rate)
        assert population.fooled_share("mine") == rate

    @pytest.mark.parametrize(("lapses", "bias"), [(0.2, 0.0), (0.0, 0.3), (0.0, -0.3), (0.5, 0.5)])
    def test_lapses_and_side_bias_move_it_as_computed(self, lapses, bias):
        population = Population(participants=1, fool_rates={"mine": 0.1}, lapses=lapses, side_bias=bias)
        assert agrees(share_fooled(population), population.fooled_share("mine"))

    @pytest.mark.parametrize(("bias", "first"), [(0.0, 0.5), (0.4, 0.7), (-0.4, 0.3), (1.0, 1.0)])
    def test_a_side_bias_is_for_the_first_or_the_second(self, bias, first):
        observer = Population(participants=1, side_bias=bias).observer(0)
        answers = [observer.answer(shown, "zhang2016").response for shown in pairs()]
        assert agrees(np.mean([answer == "first" for answer in answers]), first)

    @pytest.mark.parametrize(("role", "rate"), [("vigilance", 0.13), ("catch", 0.02)])
    def test_finds_special_fakes_as_people_do(self, role, rate):
        shown = [[Stimulus(f"{k}", "truth"), Stimulus(f"{k}", role)] for k in range(N)]
        assert agrees(share_fooled(Population(participants=1), shown), rate)

    def test_takes_either_where_a_colorization_has_the_photos_own_pixels(self):
        observer = Population(participants=1, fool_rates={"mine": 0.0}).observer(0)
        same = [[Stimulus(f"{k}", "truth")] * 2 for k in range(N)]  # as they are recognised by their pixels
        answers = [observer.answer(shown, "zhang2016").response for shown in same]
        assert set(answers) == {"first", "second"}
        assert agrees(np.mean([answer == "first" for answer in answers]), 0.5)

    def test_takes_times_of_a_log_normal(self):
        observer = Population(participants=1).observer(0)
        times = np.array([observer.answer(shown, "zhang2016").response_ms for shown in pairs()])
        assert kstest(np.log(times), norm(np.log(900), 0.45).cdf).pvalue > 1e-3

    def test_answers_the_same_again_whatever_the_order(self):
        answers = [[Population(participants=2, seed=3).observer(1).answer(p, "zhang2016") for p in pairs(n=50)]]
        answers.append([Population(participants=2, seed=3).observer(1).answer(p, "zhang2016") for p in pairs(n=50)])
        assert answers[0] == answers[1]
        other = [Population(participants=2, seed=4).observer(1).answer(p, "zhang2016") for p in pairs(n=50)]
        assert answers[0] != other

    def test_finds_the_same_fake_on_either_side(self):
        observer = Population(participants=1).observer(0)
        for shown in pairs(n=50):
            answers = [observer.answer(order, "zhang2016") for order in (shown, shown[::-1])]
            assert fooled(shown, answers[0]) == fooled(shown[::-1], answers[1])


class TestOtherQuestions:
    def test_natural_is_said_as_often_as_the_method_fools(self):
        observer = Population(participants=1, fool_rates={"mine": 0.7}).observer(0)
        answers = [observer.answer([Stimulus(str(k), "method", "mine")], "naturalness").response for k in range(N)]
        assert agrees(np.mean([answer == "yes" for answer in answers]), 0.7)

    @pytest.mark.parametrize("turned", [False, True])
    def test_preference_follows_bradley_and_terry(self, turned):
        observer = Population(participants=1, fool_rates={"a": 0.5, "b": 0.2}).observer(0)
        won = 0
        for k in range(N):
            shown = [Stimulus(str(k), "method", "a"), Stimulus(str(k), "method", "b")]
            shown = shown[::-1] if turned else shown
            answer = observer.answer(shown, "preference")
            won += shown[("first", "second").index(answer.response)].method == "a"
        assert agrees(won / N, 1 / (1 + 0.25))  # odds 1 against odds 0.25


class TestAPopulation:
    @given(
        participants=st.integers(1, 60),
        guessers=st.floats(0, 0.3),
        speeders=st.floats(0, 0.3),
        dropouts=st.floats(0, 0.4),
        seed=st.integers(0, 99),
    )
    def test_has_the_shares_it_was_given(self, participants, guessers, speeders, dropouts, seed):
        population = Population(
            participants=participants, guessers=guessers, speeders=speeders, dropouts=dropouts, seed=seed
        )
        kinds = population.kinds
        assert len(kinds) == participants
        assert set(kinds) <= set(KINDS)
        for kind, share in (("guesser", guessers), ("speeder", speeders), ("dropout", dropouts)):
            assert abs(kinds.count(kind) - share * participants) <= 1.5

    def test_mixes_them(self):
        kinds = Population(participants=100, guessers=0.5).kinds
        assert 10 < kinds[:50].count("guesser") < 40

    @pytest.mark.parametrize("kind", ["guesser", "speeder"])
    def test_who_does_not_look_is_fooled_half_of_the_time(self, kind):
        shares = {"guesser": {"guessers": 1.0}, "speeder": {"speeders": 1.0}}[kind]
        assert agrees(share_fooled(Population(participants=1, fool_rates={"mine": 0.05}, **shares)), 0.5)

    def test_speeders_are_faster_than_anybody_who_looked(self):
        observer = Population(participants=1, speeders=1.0).observer(0)
        assert max(observer.answer(shown, "zhang2016").response_ms for shown in pairs()) < 300

    def test_dropouts_leave_before_the_end_and_nobody_else_does(self):
        population = Population(participants=200, dropouts=1.0)
        last = [population.observer(k).last_trial(50) for k in range(200)]
        assert min(last) >= 0
        assert max(last) < 50
        assert len(set(last)) > 25
        assert Population(participants=1).observer(0).last_trial(50) == 50

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"participants": 0}, "participants is 0"),
            ({"guessers": 1.2}, "guessers is 1.2; allowed is a number from 0 to 1"),
            ({"guessers": 0.6, "speeders": 0.6}, "together are 1.2"),
            ({"side_bias": 2}, "side-bias is 2"),
            ({"fool_rates": {"mine": -0.1}}, "fool rate of 'mine' is -0.1"),
            ({"lapses": float("nan")}, "lapses is nan"),
        ],
    )
    def test_must_be_possible(self, options, message):
        with pytest.raises(InputError, match=message):
            Population(**{"participants": 10, **options})
