"""Who sees what, in which order, on which side: the pure part.

Methods are handed out evenly, ties at random; within a method the images shown least come first; in each session the
real photo comes first in exactly half of the pairs, and of several in every place equally often. Whoever judges several
methods judges each in equally many trials, one of each in every stretch of the test, or each in a block of its own. Where a
list says so, the images come block after block. `turing_test.sessions.lifecycle` runs this inside one write transaction.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations, zip_longest
from typing import Any, NamedTuple, TypeVar

from analysis.trials.columns import PLACES, TRUTH
from turing_test.sessions.further_images import read_further
from turing_test.sessions.tokens import keyed_digest
from turing_test.study.block_list import even_shares, practice_shares
from turing_test.study.manifest import NOT_METHODS
from turing_test.study.study_folder import Study

__all__ = [
    "Arm",
    "BlockOrder",
    "Judged",
    "PlannedTrial",
    "Shown",
    "arm_of_planned",
    "arm_of_trial",
    "arms",
    "as_columns",
    "block_orders",
    "choose_arms",
    "choose_block_order",
    "from_columns",
    "in_block_order",
    "per_arm",
    "place_trial",
    "plan_session",
    "practice_pool",
    "williams_rows",
]

Arm = tuple[str | None, ...]
"""What a trial is about: a method (and None), or with the preset preference the methods that are shown together; where people
look for the real photo among several, that (`TRUTH`) and the methods that are shown with it."""

Judged = tuple[Arm, ...]
"""What one session judges: one arm in the paper's design, several in a within-person design."""

BlockOrder = int | None
"""Which of the study's orders of blocks of images a session has (`block_orders`); None without such blocks."""

Shown = Mapping[tuple[Arm | None, str, str], int]
"""How often an image was shown, by arm (None for trials that are about no single method), kind of trial and image."""

FIRST, SECOND = "first", "second"
_Item = TypeVar("_Item")


class PlannedTrial(NamedTuple):
    """One trial of a session, before it is shown.

    Attributes
    ----------
    position : int or None
        What the participant counts, from 1; None for the reserve.
    phase : {"practice", "test", "reserve"}
    kind : {"practice", "test", "vigilance", "catch", "reserve"}
    image : str
    method, other_method : str or None
        The method; with preference the methods shown first and second, and in a search for the real photo among several what
        stands there: a method, or the role of an image that is of none.
    real_position : str or None
        Where the truth is, one of `analysis.trials.columns.PLACES`; None without a truth.
    first_sha, second_sha : str or None
        What is shown; None for the reserve, which gets its meaning when it is needed.
    further : tuple of (str, str)
        Method and digest of the third and further images, where several are shown at once.
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
    further: tuple[tuple[str, str], ...] = ()

    def showing(self, **images: Any) -> PlannedTrial:
        """The trial with what it shows: methods, digests and where the truth is."""
        return PlannedTrial(position=self.position, phase=self.phase, kind=self.kind, image=self.image, **images)


def arms(study: Study) -> list[Arm]:
    """All that sessions of a study may judge: its methods, or all sets of as many of them as a trial shows."""
    sets = combinations(study.manifest.methods, study.protocol.methods_per_trial)
    if study.protocol.preset == "preference":
        return list(sets)
    if study.protocol.seeks_real:
        return [(TRUTH, *methods) for methods in sets]
    return [(method, None) for method in study.manifest.methods]


def as_columns(judged: Judged) -> tuple[str, str | None]:
    """What a session judges, as its two columns in the database hold it: a method or a pair as it is, all else as JSON."""
    if len(judged) == 1 and len(judged[0]) == 2:
        method, other_method = judged[0]
        assert method is not None
        return method, other_method
    return json.dumps(judged), None


def from_columns(study: Study, method: str, other_method: str | None) -> Judged:
    """The reverse of `as_columns`."""
    if study.protocol.arms_per_person(len(arms(study))) == 1 and not study.protocol.shows_several:
        return ((method, other_method),)
    return tuple(map(tuple, json.loads(method)))


def arm_of_trial(study: Study, method: str | None, other_method: str | None, further: str | None = None) -> Arm | None:
    """The arm of a trial's methods, in whichever order it showed them; None when it is about no single method.

    Parameters
    ----------
    study : Study
    method, other_method, further : str or None
        The columns of the trial.
    """
    if method is None or other_method is None:
        return None if method is None else (method, None)
    return _in_study_order(study, (method, other_method, *(image.method for image in read_further(further))))


def _in_study_order(study: Study, methods: Sequence[str]) -> Arm | None:
    every = (TRUTH, *study.manifest.methods) if study.protocol.seeks_real else study.manifest.methods
    if study.protocol.seeks_real and not set(methods).issubset(every):  # vigilance and catch trials
        return None
    return tuple(sorted(methods, key=every.index))


def arm_of_planned(study: Study, trial: PlannedTrial) -> Arm | None:
    """The same of a trial that is not stored yet."""
    if trial.method is None or trial.other_method is None:
        return arm_of_trial(study, trial.method, trial.other_method)
    return _in_study_order(study, (trial.method, trial.other_method, *(method for method, _ in trial.further)))


def per_arm(sessions: Mapping[Judged, int]) -> Counter[Arm]:
    """How many of the sessions judge each arm."""
    counts: Counter[Arm] = Counter()
    for judged, count in sessions.items():
        counts.update(dict.fromkeys(judged, count))
    return counts


def choose_arms(candidates: Sequence[Arm], sessions: Mapping[Judged, int], count: int, rng: random.Random) -> Judged:
    """The arms with the fewest valid and running sessions.

    Parameters
    ----------
    candidates : sequence of Arm
    sessions : mapping of Judged to int
        What is absent has none.
    count : int
        How many arms the session judges.
    rng : random.Random
        Decides among equals.

    Returns
    -------
    Judged
        In the order of the candidates (`in_block_order` has that of blocks). Among arms with equally many sessions come first those that were judged least often
        together with the ones chosen before, so that every two methods share about equally many people.
    """
    taken = per_arm(sessions)
    together: Counter[frozenset[Arm]] = Counter()
    if count > 1:
        for judged, n_sessions in sessions.items():
            together.update({frozenset(pair): n_sessions for pair in combinations(judged, 2)})
    chosen: list[Arm] = []
    for _ in range(count):
        left = [arm for arm in candidates if arm not in chosen]
        rank = {arm: (taken[arm], sum(together[frozenset((arm, other))] for other in chosen)) for arm in left}
        lowest = min(rank.values())
        chosen.append(rng.choice([arm for arm in left if rank[arm] == lowest]))
    return tuple(sorted(chosen, key=candidates.index))


def in_block_order(judged: Judged, sessions: Mapping[Judged, int], rng: random.Random) -> Judged:
    """The arms of a session in the order of their blocks: of a balanced square, the row that fewest sessions of these arms have.

    Parameters
    ----------
    judged : Judged
    sessions : mapping of Judged to int
        Those that are counted, with arms in the order of their blocks; what is absent has none.
    rng : random.Random
        Decides among equals.

    Returns
    -------
    Judged
        As `williams_rows` has them.
    """
    rows = williams_rows(sorted(judged, key=str))
    fewest = min(sessions.get(row, 0) for row in rows)
    return rng.choice([row for row in rows if sessions.get(row, 0) == fewest])


def block_orders(study: Study) -> list[tuple[str, ...]]:
    """The orders in which sessions show the blocks of images: rows of `williams_rows`; none without such blocks."""
    return _block_orders(tuple(study.manifest.images_by_block))


@lru_cache(8)
def _block_orders(blocks: tuple[str, ...]) -> list[tuple[str, ...]]:
    return williams_rows(blocks) if blocks else []


def choose_block_order(
    study: Study, judged: Judged, sessions: Mapping[tuple[Judged, BlockOrder], int], rng: random.Random
) -> BlockOrder:
    """The order that fewest sessions of the same arms have, and among those the fewest of all.

    Parameters
    ----------
    study : Study
    judged : Judged
        The session's arms.
    sessions : mapping of (Judged, BlockOrder) to int
        Those that are counted; what is absent has none.
    rng : random.Random
        Decides among equals.
    """
    orders = range(len(block_orders(study)))
    if not orders:
        return None
    of_all: Counter[BlockOrder] = Counter()
    for (_, order), n_sessions in sessions.items():
        of_all[order] += n_sessions
    rank = [(sessions.get((judged, order), 0), of_all[order]) for order in orders]
    return rng.choice([order for order in orders if rank[order] == min(rank)])


def williams_rows(items: Sequence[_Item]) -> list[tuple[_Item, ...]]:
    """Orders of the items in which each stands in every place, and directly after every other one, equally often [1]_.

    Returns
    -------
    list of tuple
        As many as there are items, for an odd number of them twice as many.

    References
    ----------
    .. [1] E. J. Williams, "Experimental designs balanced for the estimation of residual effects of treatments", Australian
       Journal of Scientific Research A 2, 1949, 149-168.

    Examples
    --------
    >>> williams_rows("abcd")
    [('a', 'b', 'd', 'c'), ('b', 'c', 'a', 'd'), ('c', 'd', 'b', 'a'), ('d', 'a', 'c', 'b')]
    """
    count = len(items)
    zigzag = [(k + 1) // 2 if k % 2 else -(k // 2) for k in range(count)]
    rows = [tuple(items[(start + step) % count] for step in zigzag) for start in range(count)]
    if count % 2:  # one square is not enough for an odd number: with each row goes its reverse
        rows += [row[::-1] for row in rows]
    return list(dict.fromkeys(rows))


def practice_pool(study: Study) -> list[str]:
    """The photos of practice trials, the same in all sessions: no test shows one of them to anybody.

    Practice tells which image is real; what one participant learns there must be of no use to another.
    """
    images, count = study.manifest.images, study.protocol.practice_trials
    by_block = study.manifest.images_by_block.values()
    if not by_block:
        return list(_practice_pool(study.key, images, count))
    shares = practice_shares(tuple(map(len, by_block)), count)
    return sorted(
        image for own, share in zip(by_block, shares, strict=True) for image in _practice_pool(study.key, own, share)
    )


@lru_cache(128)  # a study with blocks of images asks for each
def _practice_pool(key: bytes, images: tuple[str, ...], count: int) -> tuple[str, ...]:
    return tuple(sorted(images, key=lambda image: keyed_digest(key, "practice", image))[:count])


def plan_session(
    study: Study, judged: Judged, shown: Shown, rng: random.Random, block_order: BlockOrder = None
) -> list[PlannedTrial]:
    """All trials of a session: practice, test, and the reserve.

    Parameters
    ----------
    study : Study
    judged : Judged
        In the order of their blocks, where the study has blocks.
    shown : mapping of (Arm or None, kind, image) to int
        How often valid and running sessions show an image of an arm in trials of a kind; absent is 0. When people judge one
        arm each, of the sessions of that arm alone.
    rng : random.Random
    block_order : BlockOrder
        From `choose_block_order`.

    Returns
    -------
    list of PlannedTrial
        In order of position, then the reserve. No image comes twice, and practice has images of its own. Each image of
        ``test`` trials is among those shown least for its arm (and block), so the counts of an arm's images never differ by
        more than 1 while nobody drops out. How many trials a block of images has depends on its place alone.
    """
    protocol = study.protocol
    practice_images = practice_pool(study)
    free = sorted(set(study.manifest.images) - set(practice_images))
    rng.shuffle(free)  # ties at random
    rng.shuffle(practice_images)
    stretches = _stretches(study, judged, free, block_order, rng)
    times = _times_by_kind(shown)
    images = []
    for stretch in stretches:
        by_arm = _deal(stretch.free, stretch.plain, shown, times["test"], rng)
        taken = {image for own in by_arm.values() for image in own}
        stretch.free = [image for image in stretch.free if image not in taken]
        images.append(by_arm)
    special_images = {
        kind: [stretch.take(kind, times[kind], rng) for stretch in stretches]
        for kind in ("vigilance", "catch", "reserve")
    }
    halves = _Halves(rng)
    # A choice among several has an order of its own in each trial, in place of a side.
    orders = {arm: _Orders(arm, rng) for arm in judged} if protocol.shows_several else {}

    def sides(arm: Arm, count: int) -> Sequence[str | Arm]:
        return orders[arm].of(count) if orders else halves.of(count)

    plain: list[dict[Arm, list[tuple[str, str | Arm]]]] = [{} for _ in stretches]
    for k, arm in enumerate(judged):
        # There and back: the odd trials of two arms in the same stretch have different sides.
        for own, by_arm in list(zip(plain, images, strict=True))[:: -1 if k % 2 else 1]:
            own[arm] = list(zip(by_arm[arm], sides(arm, len(by_arm[arm])), strict=True))
    # An image of no method is about the method that the session judges, where that is one.
    own_arm = judged[0] if len(judged) == 1 else None
    special_orders = _Orders(judged[0], rng) if protocol.seeks_real else None

    def special_sides(kind: str, count: int) -> Sequence[str | Arm]:
        if special_orders is None:
            return halves.of(count)
        # The one image that is obviously wrong stands in all places but that of the real photo.
        return [tuple(TRUTH if name == TRUTH else kind for name in order) for order in special_orders.of(count)]

    special: list[list[_Dealt]] = [[] for _ in stretches]
    for kind in ("vigilance", "catch"):
        for own_special, names in zip(special, special_images[kind], strict=True):
            own_special += [
                _Dealt(kind, image, side, own_arm)
                for image, side in zip(names, special_sides(kind, len(names)), strict=True)
            ]
    test = []
    for own, own_special in zip(plain, special, strict=True):
        rng.shuffle(own_special)
        if protocol.blocks == "method":
            ordered = [_Dealt("test", image, side, arm) for arm in judged for image, side in own[arm]]
        else:
            ordered = _mixed(own, rng)
        test += _spread(own_special, ordered, rng)
    practice_sides: Sequence[str | Arm] = _Halves(rng).of(protocol.practice_trials)
    if orders:
        practice_sides = [orders[judged[k % len(judged)]].of(1)[0] for k in range(protocol.practice_trials)]
    practice = [
        _Dealt("practice", image, side, judged[k % len(judged)])
        for k, (image, side) in enumerate(zip(practice_images, practice_sides, strict=True))
    ]
    planned = []
    for position, dealt in enumerate([*practice, *test], start=1):
        phase = "practice" if position <= protocol.practice_trials else "test"
        planned.append(
            place_trial(
                study,
                dealt.arm,
                PlannedTrial(position=position, phase=phase, kind=dealt.kind, image=dealt.image),
                dealt.side,
            )
        )
    return planned + [
        PlannedTrial(position=None, phase="reserve", kind="reserve", image=image)
        for image in chain.from_iterable(zip_longest(*special_images["reserve"]))
        if image is not None
    ]


def place_trial(study: Study, arm: Arm | None, trial: PlannedTrial, side: str | Arm) -> PlannedTrial:
    """Give a trial its images.

    Parameters
    ----------
    study : Study
    arm : Arm or None
        None for a vigilance or catch trial of a session that judges several methods.
    trial : PlannedTrial
        With position, phase, kind and image.
    side : {"first", "second"} or Arm
        Where the truth is; with preference where the arm's first method is; of several, all that is shown, in order.
    """
    if not isinstance(side, str):
        names = [name for name in side if name is not None]
        seeks_real = study.protocol.seeks_real
        shas = [
            study.find(trial.image, name)
            if seeks_real and name in NOT_METHODS
            else study.find(trial.image, "method", name)
            for name in names
        ]
        return trial.showing(
            method=names[0],
            other_method=names[1],
            real_position=PLACES[names.index(TRUTH)] if seeks_real else None,
            first_sha=shas[0],
            second_sha=shas[1],
            further=tuple(zip(names[2:], shas[2:], strict=True)),
        )
    method, other = arm or (None, None)
    if study.protocol.preset == "naturalness":
        return trial.showing(method=method, first_sha=study.find(trial.image, "method", method))
    if method is not None and other is not None:
        ordered = (method, other) if side == FIRST else (other, method)
        shas = [study.find(trial.image, "method", name) for name in ordered]
        return trial.showing(method=ordered[0], other_method=ordered[1], first_sha=shas[0], second_sha=shas[1])
    truth = study.find(trial.image, "truth")
    role = trial.kind if trial.kind in ("vigilance", "catch") else "method"
    fake = study.find(trial.image, role, method if role == "method" else None)
    first, second = (truth, fake) if side == FIRST else (fake, truth)
    return trial.showing(method=method, real_position=side, first_sha=first, second_sha=second)


class _Dealt(NamedTuple):
    """A trial of the test before it has a place: its kind, image, side (or order of several methods) and arm."""

    kind: str
    image: str
    side: str | Arm
    arm: Arm | None


@dataclass(kw_only=True)
class _Stretch:
    """A part of the test with images of its own: a block of images, or the whole.

    Attributes
    ----------
    free : list of str
        Images that may be shown and that no trial has yet.
    plain : dict of Arm to int
        Test trials of each arm.
    counts : dict of str to int
        Vigilance, catch and reserve trials.
    """

    free: list[str]
    plain: dict[Arm, int]
    counts: dict[str, int]

    def take(self, kind: str, times: Mapping[str, int], rng: random.Random) -> list[str]:
        """Images for all trials of a kind, those shown least in such trials."""
        self.free.sort(key=lambda image: times.get(image, 0))  # stable
        count = self.counts[kind]
        taken, self.free = self.free[:count], self.free[count:]
        rng.shuffle(self.free)
        rng.shuffle(taken)
        return taken


def _stretches(
    study: Study, judged: Judged, free: list[str], block_order: BlockOrder, rng: random.Random
) -> list[_Stretch]:
    """The parts of a session's test, in order, with as even numbers of trials as can be."""
    protocol = study.protocol
    if block_order is None:
        pools = [free]
    else:
        by_block: dict[str, list[str]] = {block: [] for block in block_orders(study)[block_order]}
        for image in free:
            by_block[study.manifest.blocks[image]].append(image)
        pools = list(by_block.values())
    count = len(pools)
    per_arm, odd = divmod((protocol.test_trials - protocol.vigilance_trials) // len(judged), count)
    plain = [dict.fromkeys(judged, per_arm) for _ in pools]
    # Each arm has its odd trials where the one before it stopped; which comes first is left to chance.
    for k, arm in enumerate(rng.sample(judged, len(judged)) if odd else ()):
        for j in range(odd):
            plain[(k * odd + j) % count][arm] += 1
    special = [{"vigilance": 0, "catch": 0, "reserve": own} for own in even_shares(protocol.reserve_trials, count)]
    totals = [sum(own.values()) for own in plain]
    for kind, n_special in (("vigilance", protocol.vigilance_trials), ("catch", protocol.catch_trials)):
        for _ in range(n_special):
            shortest = min(range(count), key=lambda k: (totals[k], special[k][kind]))
            special[shortest][kind] += 1
            totals[shortest] += 1
    return [
        _Stretch(free=pool, plain=own, counts=counts) for pool, own, counts in zip(pools, plain, special, strict=True)
    ]


def _times_by_kind(shown: Shown) -> dict[str, Counter[str]]:
    """How often each image was shown, whatever the arm, by kind of trial."""
    times: dict[str, Counter[str]] = {kind: Counter() for kind in ("test", "vigilance", "catch", "reserve")}
    for (_, kind, image), n_shown in shown.items():
        times[kind][image] += n_shown
    return times


def _deal(
    free: Sequence[str], counts: Mapping[Arm, int], shown: Shown, together: Mapping[str, int], rng: random.Random
) -> dict[Arm, list[str]]:
    """So many images for every arm, none for two, each among those shown least for its arm.

    Two arms may want the same image. Then those images are preferred that all arms together have shown least: whatever is
    left at the end of a round could not be dealt without showing an image twice in a session.
    """
    times = {arm: [shown.get((arm, "test", image), 0) for image in free] for arm in counts}
    if len(counts) == 1:
        [(arm, count)] = counts.items()
        order = sorted(range(len(free)), key=times[arm].__getitem__)  # stable: ties are at random
        dealt = {arm: [free[k] for k in order[:count]]}
    else:
        cheapest = _cheapest(times, [together.get(image, 0) for image in free], list(counts.values()))
        dealt = {arm: [free[k] for k in own] for arm, own in cheapest.items()}
    for own in dealt.values():
        rng.shuffle(own)
    return dealt


def _cheapest(
    times: Mapping[Arm, Sequence[int]], together: Sequence[int], counts: Sequence[int]
) -> dict[Arm, list[int]]:
    """Positions of so many images per arm, all different, with the smallest sum of ``times``, then of ``together``."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    n_needed = sum(counts)
    own, of_all = np.array(list(times.values())), np.array(together)
    # One time more than least outweighs whatever all the images of a session differ by in their sums.
    cost = (own - own.min(axis=1, keepdims=True)) * (n_needed * (int(np.ptp(of_all)) + 1)) + (of_all - of_all.min())
    # The other arms cannot take more than these, so no arm ever needs a dearer one.
    candidates = np.unique(np.argsort(cost, axis=1, kind="stable")[:, :n_needed])
    seats, chosen = linear_sum_assignment(np.repeat(cost[:, candidates], counts, axis=0))
    arm_of_seat = np.repeat(np.arange(len(counts)), counts)[seats]
    return {arm: candidates[chosen[arm_of_seat == k]].tolist() for k, arm in enumerate(times)}


def _mixed(dealt: Mapping[Arm, list[tuple[str, str | Arm]]], rng: random.Random) -> list[_Dealt]:
    """Trials of all arms in one order: as many in a row as there are arms have one of each, as long as there are of all."""
    order = []
    for trials in zip_longest(*([_Dealt("test", *trial, arm) for trial in own] for arm, own in dealt.items())):
        row = [trial for trial in trials if trial is not None]
        rng.shuffle(row)
        order += row
    return order


class _Orders:
    """Orders of several methods for groups of trials: each method in every place equally often, and beside every other one."""

    def __init__(self, arm: Arm, rng: random.Random) -> None:
        rows = williams_rows(arm)
        self._squares = [rows[start : start + len(arm)] for start in range(0, len(rows), len(arm))]
        self._rng = rng
        self._left: list[Arm] = []

    def of(self, count: int) -> list[Arm]:
        orders = []
        for _ in range(count):
            if not self._left:
                squares = [self._rng.sample(square, len(square)) for square in self._squares]
                self._rng.shuffle(squares)
                self._left = [row for square in squares for row in square]
            orders.append(self._left.pop())
        return orders


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


def _spread(special: list[_Dealt], plain: list[_Dealt], rng: random.Random) -> list[_Dealt]:
    """Put one special trial at a random place of each of as many equal stretches."""
    total = len(special) + len(plain)
    edges = [round(k * total / max(len(special), 1)) for k in range(len(special) + 1)]
    places = {rng.randrange(low, high): trial for trial, low, high in zip(special, edges, edges[1:], strict=False)}
    rest = iter(plain)
    return [places[index] if index in places else next(rest) for index in range(total)]
