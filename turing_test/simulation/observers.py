"""Simulated observers: how they answer. Every answer is known beforehand, so that a study can be proved.

An observer's answer depends on the seed, on the observer and on what is shown, never on time or on the order in which
the server replies: the same seed and the same trials give the same answers. `turing_test.simulation.play` sends them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from analysis.trials.columns import PLACES
from evalkit.errors import InputError
from turing_test.study.manifest import Stimulus

if TYPE_CHECKING:
    from analysis.planning.assumptions import PlanningModel

__all__ = ["KINDS", "Answer", "Observer", "Population"]

KINDS = ("attentive", "guesser", "speeder", "dropout", "straight-liner")
"""attentive: looks and answers; guesser: answers at random; speeder: answers at random, too fast to have looked;
dropout: attentive, but leaves before the end; straight-liner: gives one answer to everything, as slowly as who looks."""

DEFAULT_FOOL_RATE = 0.3
VIGILANCE_FOOL_RATE = 0.13  # participants of Zhang et al. found 87 % of the random colorizations
CATCH_FOOL_RATE = 0.02
SPECIAL_RATES = {"vigilance": VIGILANCE_FOOL_RATE, "catch": CATCH_FOOL_RATE}
MEDIAN_MS, SPREAD = 900.0, 0.45  # log-normal response times of people who look
SPEEDER_MS, SPEEDER_SPREAD = 120.0, 0.2


@dataclass(frozen=True)
class Answer:
    """What an observer answers to a trial, and after how many milliseconds."""

    response: str
    response_ms: float


@dataclass(frozen=True, kw_only=True)
class Population:
    """Who takes part in a simulated study.

    Attributes
    ----------
    participants : int
    fool_rates : mapping of str to float
        Probability, by method, that the method's colorization is taken for the real photo; 0.3 for methods not named. In
        a ``preference`` study, method A is preferred to B with the probability of a Bradley-Terry model whose worths are
        the odds of these rates, and chosen among several by Luce's choice model, of which that is the case of two; a
        real photo among several has the worth 1, so that of two it would be missed at these rates; in ``naturalness`` it is the probability of a "yes".
    guessers, speeders, dropouts, straight_liners : float
        Shares of the participants, 0..1, together at most 1; the rest is attentive.
    lapses : float
        Probability that an attentive observer did not look and guesses.
    side_bias : float
        From -1 to 1: the probability (its size) of answering "first" (above 0) or "second" (of several: the last; below 0)
        whatever is shown.
    sd_person, sd_image : float
        How much people and images differ: standard deviations of normal effects on the logit of the answer, as in
        `analysis.planning.assumptions.PlanningModel`, whose correlations between two methods hold here as well. The fool rates
        are then those for new people and new images (in a choice among several, for people and images in the middle). Vigilance and catch trials have none.
    seed : int

    Raises
    ------
    InputError
        For numbers outside these ranges; the option is named.
    """

    participants: int
    fool_rates: Mapping[str, float] = field(default_factory=dict)
    guessers: float = 0.0
    speeders: float = 0.0
    dropouts: float = 0.0
    straight_liners: float = 0.0
    lapses: float = 0.0
    side_bias: float = 0.0
    sd_person: float = 0.0
    sd_image: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.participants < 1:
            raise InputError(f"participants is {self.participants}; allowed is at least 1.")
        for name in ("guessers", "speeders", "dropouts", "straight_liners", "lapses"):
            _check_share(name.replace("_", "-"), getattr(self, name))
        for name in ("sd_person", "sd_image"):
            if not 0 <= getattr(self, name) < math.inf:
                option = name.replace("_", "-")
                raise InputError(f"{option} is {getattr(self, name):g}; allowed is a standard deviation, 0 or more.")
        for method, rate in self.fool_rates.items():
            _check_share(f"the fool rate of '{method}'", rate)
        if not -1 <= self.side_bias <= 1:
            raise InputError(f"side-bias is {self.side_bias:g}; allowed is a number from -1 to 1.")
        total = self.guessers + self.speeders + self.dropouts + self.straight_liners
        if total > 1 + 1e-9:
            raise InputError(
                f"guessers, speeders, dropouts and straight-liners together are {total:g}; allowed is at most 1."
            )

    def fool_rate(self, method: str) -> float:
        """Probability that an attentive observer takes the method for the real photo."""
        return self.fool_rates.get(method, DEFAULT_FOOL_RATE)

    def fooled_share(self, method: str) -> float:
        """Expected share of fooled answers of attentive observers, with lapses, side bias and halved sides."""
        bias = abs(self.side_bias)
        looked = (1 - self.lapses) * self.fool_rate(method) + self.lapses * 0.5
        return (1 - bias) * looked + bias * 0.5

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Kind of each observer: the shares to the nearest whole number, in an order that the seed decides."""
        kinds: list[str] = []
        for kind, share in (
            ("guesser", self.guessers), ("speeder", self.speeders), ("dropout", self.dropouts),
            ("straight-liner", self.straight_liners),
        ):  # fmt: skip
            kinds += [kind] * min(round(share * self.participants), self.participants - len(kinds))
        kinds += ["attentive"] * (self.participants - len(kinds))
        order = sorted(range(self.participants), key=lambda k: _uniform(self.seed, "kind", k))
        return tuple(kinds[k] for k in order)

    def observer(self, index: int) -> Observer:
        """One of them, from 0."""
        return Observer(index, self.kinds[index], self)


@dataclass(frozen=True)
class Observer:
    """One simulated observer.

    Attributes
    ----------
    index : int
    kind : str
        One of `KINDS`.
    population : Population
    """

    index: int
    kind: str
    population: Population

    def last_trial(self, n_trials: int) -> int:
        """After which trial, from 1, the observer leaves; the last for all but dropouts, who may leave before the first."""
        if self.kind != "dropout":
            return n_trials
        return int(self._chance("leaves") * n_trials)

    def answer(self, shown: Sequence[Stimulus], preset: str) -> Answer:
        """Answer one trial.

        Parameters
        ----------
        shown : sequence of Stimulus
            The images in order: two, the one of ``naturalness``, or several.
        preset : str

        Returns
        -------
        Answer
            ``first`` or ``second`` (real-vs-fake: the image taken for the fake; preference: for the more natural one; of
            several any of `analysis.trials.columns.PLACES`, for the most natural or the real one), or ``yes`` or ``no``.
        """
        what = "/".join(f"{s.image}|{s.role}|{s.method or ''}" for s in sorted(shown, key=str))
        response_ms = self._response_ms(what)
        if self.kind == "straight-liner":
            answers = ("yes", "no") if len(shown) == 1 else PLACES[: len(shown)]
            return Answer(answers[int(self._chance("always") * len(answers))], response_ms)
        if len(shown) == 1:
            natural = self._uncertain(what, self._rate(shown[0]))
            return Answer("yes" if natural else "no", response_ms)
        bias = self.population.side_bias
        if self._chance("side", what) < abs(bias):
            return Answer(PLACES[0 if bias > 0 else len(shown) - 1], response_ms)
        if len(shown) > 2:
            places = sorted(range(len(shown)), key=lambda k: shown[k].method or "")
            return Answer(PLACES[places[self._chosen(what, [shown[k] for k in places])]], response_ms)
        if preset == "preference":
            one, two = sorted(shown, key=lambda s: s.method or "")
            preferred = one if self._uncertain(what, self._preferred(one, two)) else two
            return Answer(_position(shown, preferred), response_ms)
        if all(
            s.role == "truth" for s in shown
        ):  # a colorization with the photo's own pixels: nobody can tell them apart
            return Answer(PLACES[self._chance("same pixels", what) < 0.5], response_ms)
        real = next(s for s in shown if s.role == "truth")
        fake = next(s for s in shown if s.role != "truth")
        chosen = real if self._uncertain(what, self._rate(fake)) else fake
        return Answer(_position(shown, chosen), response_ms)

    def _rate(self, stimulus: Stimulus) -> float:
        """Probability that this observer takes this image for a real photo."""
        if stimulus.role in SPECIAL_RATES:
            return SPECIAL_RATES[stimulus.role]
        method = stimulus.method or ""
        return self._varied(self.population.fool_rate(method), method, stimulus.image)

    def _preferred(self, one: Stimulus, two: Stimulus) -> float:
        """Bradley-Terry: the probability that the first is preferred, with the odds of the fool rates as worths."""
        worth_a, worth_b = (_odds(self.population.fool_rate(s.method or "")) for s in (one, two))
        return self._varied(worth_a / (worth_a + worth_b), f"{one.method}|{two.method}", one.image)

    def _chosen(self, what: str, shown: Sequence[Stimulus]) -> int:
        """Which one by Luce's choice model, with the odds of the fool rates as worths; who does not look takes any."""
        worths = [1.0] * len(shown)
        if self._looks(what):
            worths = [self._worth(stimulus) for stimulus in shown]
        left = self._chance("decision", what) * sum(worths)
        for k, worth in enumerate(worths):
            left -= worth
            if left < 0:
                return k
        return len(shown) - 1

    def _worth(self, stimulus: Stimulus) -> float:
        """The odds of the fool rate (1 for the real photo, against which they are), with the effects of this person and this image."""
        if stimulus.role in SPECIAL_RATES:
            return _odds(SPECIAL_RATES[stimulus.role])
        method, population = stimulus.method or stimulus.role, self.population
        person = _effect(0.0, (population.seed, "person", self.index), method)
        picture = _effect(0.0, (population.seed, "image", stimulus.image), method)
        # A difference of two methods has the standard deviations that were asked for.
        logit = (population.sd_person * person + population.sd_image * picture) / math.sqrt(2)
        worth = 1.0 if stimulus.role == "truth" else _odds(population.fool_rate(method))
        return worth * math.exp(logit)

    def _varied(self, rate: float, method: str, image: str) -> float:
        """A rate as it is for this person and this image; 0 and 1 stay what they are."""
        sds = self.population.sd_person, self.population.sd_image
        if not any(sds) or not 0 < rate < 1:
            return rate
        model = _model(rate, *sds)
        seed = self.population.seed
        person = _effect(model.participant_correlation, (seed, "person", self.index), method)
        picture = _effect(model.image_correlation, (seed, "image", image), method)
        logit = model.intercept + model.participant_sd * person + model.image_sd * picture
        return 1 / (1 + math.exp(-logit))

    def _uncertain(self, what: str, probability: float) -> bool:
        """An event of that probability for who looks, of one half for who does not."""
        return self._chance("decision", what) < (probability if self._looks(what) else 0.5)

    def _looks(self, what: str) -> bool:
        return self.kind in ("attentive", "dropout") and self._chance("lapse", what) >= self.population.lapses

    def _response_ms(self, what: str) -> float:
        median, spread = (SPEEDER_MS, SPEEDER_SPREAD) if self.kind == "speeder" else (MEDIAN_MS, SPREAD)
        chance = min(max(self._chance("time", what), 1e-9), 1 - 1e-9)
        return round(median * math.exp(spread * NormalDist().inv_cdf(chance)), 3)

    def _chance(self, *words: str) -> float:
        return _uniform(self.population.seed, self.index, *words)


@lru_cache(maxsize=256)
def _model(rate: float, sd_person: float, sd_image: float) -> PlanningModel:
    from analysis.planning.assumptions import PlanningModel

    return PlanningModel(rate=rate, participant_sd=sd_person, image_sd=sd_image)


@lru_cache(maxsize=100_000)
def _effect(correlation: float, whose: tuple[object, ...], method: str) -> float:
    """A standard normal effect of a person or an image on a method, with that correlation between any two methods."""
    common, own = (
        NormalDist().inv_cdf(max(_uniform(*whose, part), 1e-12)) for part in ("effect", f"effect on {method}")
    )
    return math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own


def _odds(rate: float) -> float:
    """Of a rate, finite for 0 and 1."""
    inside = min(max(rate, 1e-9), 1 - 1e-9)
    return inside / (1 - inside)


def _position(shown: Sequence[Stimulus], chosen: Stimulus) -> str:
    return PLACES[list(shown).index(chosen)]


def _uniform(*words: object) -> float:
    """A number in [0, 1) that the words decide: 53 bits of their SHA-256, the same on every machine."""
    digest = hashlib.sha256("\0".join(map(str, words)).encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} is {value:g}; allowed is a number from 0 to 1.")
