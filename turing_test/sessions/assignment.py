"""Who sees what, in which order, on which side: the pure part.

Methods are handed out evenly, ties at random; within a method the images shown least come first; in each session the
real photo comes first in exactly half of the pairs. `turing_test.sessions.lifecycle` runs this inside one write transaction.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from turing_test.sessions.tokens import keyed_digest
from turing_test.study.study_folder import Study

__all__ = ["Arm", "PlannedTrial", "arms", "choose_arm", "place_trial", "plan_session", "practice_pool"]

Arm = tuple[str, str | None]
"""What one session judges: a method, or with the preset preference a pair of methods."""

FIRST, SECOND = "first", "second"


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a session, before it is shown.

    Attributes
    ----------
    position : int or None
        What the participant counts, from 1; None for the reserve.
    phase : {"practice", "test", "reserve"}
    kind : {"practice", "test", "vigilance", "catch", "reserve"}
    image : str
    method, other_method : str or None
        The method; with preference the methods shown first and second.
    real_position : {"first", "second"} or None
        Where the truth is; None without a truth.
    first_sha, second_sha : str or None
        What is shown; None for the reserve, which gets its meaning when it is needed.
    """

    position: int | None
    phase: str
    kind: str
    image: str
    method: str | None = None
    other_method: str | None = None
    real_position: str | None = None
    first_sha: str | None = None
    second_sha: str | None = None


def arms(study: Study) -> list[Arm]:
    """All that sessions of a study may judge: its methods, or its pairs of methods."""
    if study.protocol.preset == "preference":
        return list(combinations(study.manifest.methods, 2))
    return [(method, None) for method in study.manifest.methods]


def choose_arm(candidates: Sequence[Arm], sessions: Mapping[Arm, int], rng: random.Random) -> Arm:
    """The arm with the fewest valid and running sessions; one at random among equals.

    Parameters
    ----------
    candidates : sequence of Arm
    sessions : mapping of Arm to int
        Absent arms have none.
    rng : random.Random
    """
    fewest = min(sessions.get(arm, 0) for arm in candidates)
    return rng.choice([arm for arm in candidates if sessions.get(arm, 0) == fewest])


def practice_pool(study: Study) -> list[str]:
    """The photos of practice trials, the same in all sessions: no test shows one of them to anybody.

    Practice tells which image is real; what one participant learns there must be of no use to another.
    """
    by_digest = sorted(study.manifest.images, key=lambda image: keyed_digest(study.key, "practice", image))
    return by_digest[: study.protocol.practice_trials]


def plan_session(
    study: Study, arm: Arm, shown: Mapping[tuple[str, str], int], rng: random.Random
) -> list[PlannedTrial]:
    """All trials of a session: practice, test, and the reserve.

    Parameters
    ----------
    study : Study
    arm : Arm
    shown : mapping of (kind, image) to int
        How often the arm's valid and running sessions show an image in trials of a kind; absent is 0.
    rng : random.Random

    Returns
    -------
    list of PlannedTrial
        In order of position, then the reserve. No image comes twice, and practice has images of its own. Each image of ``test`` trials is among those shown
        least, so the counts of an arm's images never differ by more than 1 while nobody drops out.
    """
    protocol = study.protocol
    n_method = protocol.test_trials - protocol.vigilance_trials
    practice_images = practice_pool(study)
    free = sorted(set(study.manifest.images) - set(practice_images))
    rng.shuffle(free)  # ties at random
    rng.shuffle(practice_images)

    def take(kind: str, count: int) -> list[str]:
        free.sort(key=lambda image: shown.get((kind, image), 0))  # stable
        taken, free[:] = free[:count], free[count:]
        rng.shuffle(free)
        rng.shuffle(taken)
        return taken

    images = {kind: take(kind, count) for kind, count in (
        ("test", n_method), ("vigilance", protocol.vigilance_trials), ("catch", protocol.catch_trials),
        ("reserve", protocol.reserve_trials),
    )}  # fmt: skip
    halves = _Halves(rng)
    plain = [("test", image, side) for image, side in zip(images["test"], halves.of(n_method), strict=True)]
    special = [
        (kind, image, side)
        for kind in ("vigilance", "catch")
        for image, side in zip(images[kind], halves.of(len(images[kind])), strict=True)
    ]
    rng.shuffle(special)
    test = _spread(special, plain, rng)
    practice_sides = _Halves(rng).of(protocol.practice_trials)
    practice = [("practice", image, side) for image, side in zip(practice_images, practice_sides, strict=True)]
    planned = []
    for position, (kind, image, side) in enumerate([*practice, *test], start=1):
        phase = "practice" if position <= protocol.practice_trials else "test"
        planned.append(place_trial(study, arm, PlannedTrial(position, phase, kind, image), side))
    return planned + [PlannedTrial(None, "reserve", "reserve", image) for image in images["reserve"]]


def place_trial(study: Study, arm: Arm, trial: PlannedTrial, side: str) -> PlannedTrial:
    """Give a trial its two images.

    Parameters
    ----------
    study : Study
    arm : Arm
    trial : PlannedTrial
        With position, phase, kind and image.
    side : {"first", "second"}
        Where the truth is; with preference where the arm's first method is.
    """
    method, other = arm
    if study.protocol.preset == "naturalness":
        return replace(trial, method=method, first_sha=study.find(trial.image, "method", method))
    if other is not None:
        ordered = (method, other) if side == FIRST else (other, method)
        shas = [study.find(trial.image, "method", name) for name in ordered]
        return replace(trial, method=ordered[0], other_method=ordered[1], first_sha=shas[0], second_sha=shas[1])
    truth = study.find(trial.image, "truth")
    role = trial.kind if trial.kind in ("vigilance", "catch") else "method"
    fake = study.find(trial.image, role, method if role == "method" else None)
    first, second = (truth, fake) if side == FIRST else (fake, truth)
    return replace(trial, method=method, real_position=side, first_sha=first, second_sha=second)


class _Halves:
    """Sides for groups of trials: half each; the odd ones of several groups make up for each other."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next_odd = rng.choice((FIRST, SECOND))

    def of(self, count: int) -> list[str]:
        sides = [FIRST, SECOND] * (count // 2)
        if count % 2:
            sides.append(self._next_odd)
            self._next_odd = SECOND if self._next_odd == FIRST else FIRST
        self._rng.shuffle(sides)
        return sides


def _spread(
    special: list[tuple[str, str, str]], plain: list[tuple[str, str, str]], rng: random.Random
) -> list[tuple[str, str, str]]:
    """Put one special trial at a random place of each of as many equal stretches."""
    total = len(special) + len(plain)
    edges = [round(k * total / max(len(special), 1)) for k in range(len(special) + 1)]
    places = {rng.randrange(low, high): trial for trial, low, high in zip(special, edges, edges[1:], strict=False)}
    rest = iter(plain)
    return [places[index] if index in places else next(rest) for index in range(total)]
