"""One trial from pending to answered; every public function is one transaction.

pending -> begun -> shown -> answered; a pair that was begun in another load of the page and not fully shown is replaced
from the reserve, because a second look is no part of the protocol.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from analysis.trials.columns import PLACES
from turing_test.database import schema as tables
from turing_test.database.prepared import Prepared, named
from turing_test.database.storage import Storage
from turing_test.sessions import clock
from turing_test.sessions.answer_statement import GivenAnswer, Stored, answer_at_once
from turing_test.sessions.answer_statement import answer_together as answer_together_at_once
from turing_test.sessions.assignment import Arm, PlannedTrial, arm_of_trial, place_trial
from turing_test.sessions.further_images import read_further, shows_image, write_further
from turing_test.sessions.place_counters import CHECK_IF_BACK, CHECK_NOW
from turing_test.sessions.refusal import Refused
from turing_test.sessions.right_answers import is_right
from turing_test.sessions.snapshot import Snapshot, Upcoming, find_session, find_sessions_to_change
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.timing_flags import Exposure, Showing, least_ms, timing_flags
from turing_test.sessions.tokens import image_proof
from turing_test.study.study_folder import Study

__all__ = [
    "Answered",
    "Begun",
    "DisplayTimes",
    "Feedback",
    "GivenAnswer",
    "answer",
    "answer_together",
    "begin",
    "begin_together",
    "mark_looked_again",
    "shown",
    "shown_together",
    "skip_damaged",
]

_S, _T = tables.session, tables.trial

_MEASURED = [
    f"{side}_{what}" for side in ("first", "second") for what in ("on_ms", "off_ms", "frames", "gap_ms", "clock")
]


def _update_trial(*names: str, **computed: sa.ColumnElement[Any]) -> Prepared:
    columns = {**named(*(_T.c[name] for name in names)), **computed}
    which = (_T.c.session_id == sa.bindparam("session")) & (_T.c.number == sa.bindparam("trial"))
    return Prepared(sa.update(_T).where(which).values(columns))


def _update_session(check_at: object, *names: str) -> Prepared:
    columns = named(*(_S.c[name] for name in names))
    return Prepared(sa.update(_S).where(_S.c.id == sa.bindparam("session")).values({**columns, "check_at": check_at}))


_BEGIN = _update_trial("state", "load", "begun_at", "flags")
_SHOW = _update_trial("state", "shown_at", "interval_ms", "flags", "response_ms", *_MEASURED)
# An answer that ended an image came with the display times already, and was checked with them.
_ANSWER = _update_trial(
    "state", "answered_at", "response", "flags",
    response_ms=sa.func.coalesce(_T.c.response_ms, sa.bindparam("new_response_ms", type_=_T.c.response_ms.type)),
)  # fmt: skip
_REPLACE = _update_trial("state", "replaced_by", "flags")
_GO_ON = _update_session(CHECK_IF_BACK, "position", "updated_at", "state")
_FINISH = _update_session(CHECK_NOW, "position", "updated_at", "ended_at", "state")


@dataclass(frozen=True, kw_only=True)
class DisplayTimes:
    """The measured display times of a trial.

    Attributes
    ----------
    load : str
        Differs for each time the page is loaded.
    exposures : sequence of Exposure
        One per image, in order.
    interval_ms : float or None
        Time between frames, measured now; without it the refresh rate that the page found at the beginning.
    resolution_ms : float
        How coarse the compositor's clock is.
    proofs : sequence of str
        What stood at the end of each image's file (`turing_test.sessions.tokens.image_proof`), in order.
    response_ms : float or None
        From the onset of the last image to the answer that ended it; without it no answer did.
    """

    load: str
    exposures: Sequence[Exposure]
    interval_ms: float | None = None
    resolution_ms: float = 0.0
    proofs: Sequence[str] = ()
    response_ms: float | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> DisplayTimes:
        """From the body of a request, which is of the described form."""
        return cls(
            load=body["load"],
            exposures=[Exposure(**body[place]) for place in PLACES if place in body],
            interval_ms=body.get("interval_ms"),
            resolution_ms=body.get("resolution_ms", 0.0),
            proofs=body.get("proofs", ()),
            response_ms=body.get("response_ms"),
        )


@dataclass(frozen=True)
class Begun:
    """What `begin` found: whether the pair was replaced, and the session after that."""

    snapshot: Snapshot
    replaced: bool


@dataclass(frozen=True)
class Feedback:
    """Whether a practice answer was right, and which image was what was asked for: of two the fake, of several the real photo."""

    correct: bool
    fake: str | None = None
    real: str | None = None


@dataclass(frozen=True)
class Answered:
    """The session after an answer; feedback for practice answers that can be right."""

    snapshot: Snapshot
    feedback: Feedback | None


def begin(storage: Storage, study: Study, token: str, position: int, load: str) -> Begun:
    """Say that the images of a trial are about to be shown, before they are.

    Parameters
    ----------
    storage : Storage
    study : Study
    token : str
        Of the session.
    position : int
        The trial as the participant counts, from 1.
    load : str
        Differs for each time the page is loaded.

    Returns
    -------
    Begun

    Raises
    ------
    Refused
        409 when this is not the next trial, or its images were shown already.
    """
    return storage.write(_alone(token, partial(_begin_in, study=study, position=position, load=load)))


def begin_together(storage: Storage, study: Study, begins: Sequence[tuple[str, int, str]]) -> list[Begun | None]:
    """Do what `begin` does for several sessions in one transaction.

    Parameters
    ----------
    storage : Storage
    study : Study
    begins : sequence of (str, int, str)
        Token, position and load of each; no token twice.

    Returns
    -------
    list
        For each; None when nothing was done and `begin` must say why, or wait.
    """
    # To take another pair, PostgreSQL must be asked while the step goes on.
    steps = (
        partial(_begin_in, study=study, position=position, load=load, may_replace=storage.is_sqlite)
        for _, position, load in begins
    )
    return _together(storage, [token for token, _, _ in begins], steps)


def _begin_in(
    connection: Connection, snapshot: Snapshot, *, study: Study, position: int, load: str, may_replace: bool = True
) -> Begun:
    now = clock.now()
    trial = _current(study, snapshot, position)
    if trial.state == "shown":
        raise Refused(409, "These images were shown already; only the answer is missing.", reason="other_page")
    if trial.state == "begun":
        if trial.load == load:
            return Begun(snapshot, replaced=False)
        # Practice is left out of the analysis anyway, and an image that stays until the answer may be seen for any time.
        if trial.phase == "practice" or study.protocol.limit_ms == math.inf:
            flags = _with_flag(trial.flags, "reloaded")
            return Begun(_mark_begun(connection, snapshot, trial, load, flags), replaced=False)
        if not may_replace:
            raise Refused(409, "Another pair must take the place of this one.", reason="other_page")
        return Begun(_replace(connection, study, snapshot, trial, now), replaced=True)
    return Begun(_mark_begun(connection, snapshot, trial, load, trial.flags), replaced=False)


def _mark_begun(connection: Connection, snapshot: Snapshot, trial: Upcoming, load: str, flags: str | None) -> Snapshot:
    now = clock.now()
    values = {"state": "begun", "load": load, "begun_at": now, "flags": flags}
    _BEGIN.update(connection, row=_key(snapshot, trial), values=values)
    return _with_current(_touch(connection, snapshot, now, state=trial.phase), state="begun", load=load, flags=flags)


def shown(storage: Storage, study: Study, token: str, position: int, times: DisplayTimes) -> Snapshot:
    """Store the measured display times of a trial; the same request again changes nothing.

    Parameters
    ----------
    storage, study, token, position
        As of `begin`.
    times : DisplayTimes

    Raises
    ------
    Refused
        409 when the trial was not begun in this load of the page.
    """
    return storage.write(_alone(token, partial(_show_in, study=study, position=position, times=times)))


def shown_together(
    storage: Storage, study: Study, reported: Sequence[tuple[str, int, DisplayTimes]]
) -> list[Snapshot | None]:
    """Do what `shown` does for several sessions in one transaction.

    Parameters
    ----------
    storage : Storage
    study : Study
    reported : sequence of (str, int, DisplayTimes)
        Token, position and display times of each; no token twice.

    Returns
    -------
    list
        For each; None when nothing was done and `shown` must say why, or wait.
    """
    steps = (partial(_show_in, study=study, position=position, times=times) for _, position, times in reported)
    return _together(storage, [token for token, _, _ in reported], steps)


def _show_in(
    connection: Connection, snapshot: Snapshot, *, study: Study, position: int, times: DisplayTimes
) -> Snapshot:
    now = clock.now()
    trial = _current(study, snapshot, position)
    if trial.state == "shown" and trial.load == times.load:
        return snapshot
    if trial.state != "begun" or trial.load != times.load:
        raise Refused(409, "This trial was not begun on this page.", reason="other_page")
    first_interval = 1000 / (snapshot.refresh_hz or 60.0)
    interval = times.interval_ms or first_interval
    images = trial.tokens[: study.protocol.images_per_trial]
    showing = Showing(
        exposures=times.exposures,
        interval_ms=interval,
        first_interval_ms=first_interval,
        resolution_ms=times.resolution_ms,
        took_ms=None if trial.begun_at is None else 1000 * (now - trial.begun_at),
        fetched=snapshot.simulated or _are_proven(study, images, times.proofs),
        response_ms=times.response_ms,
    )
    kept = [flag for flag in (trial.flags or "").split() if flag in ("looked_again", "reloaded")]
    flags = timing_flags(showing, study.protocol) + kept
    values: dict[str, Any] = {**dict.fromkeys(_MEASURED), "response_ms": times.response_ms}
    for side, exposure in zip(("first", "second"), times.exposures, strict=False):
        values |= {
            f"{side}_on_ms": exposure.on_ms,
            f"{side}_off_ms": exposure.off_ms,
            f"{side}_frames": exposure.frames,
            f"{side}_gap_ms": exposure.largest_gap_ms,
            f"{side}_clock": exposure.clock,
        }
    values |= {"state": "shown", "shown_at": now, "interval_ms": interval, "flags": " ".join(flags)}
    _SHOW.update(connection, row=_key(snapshot, trial), values=values)
    snapshot = _touch(connection, snapshot, now)
    return _with_current(snapshot, state="shown", flags=values["flags"])


def answer(storage: Storage, study: Study, given: GivenAnswer) -> Answered:
    """Store an answer; the same answer again is acknowledged again and changes nothing.

    Parameters
    ----------
    storage : Storage
    study : Study
    given : GivenAnswer
        Its response is one that the preset asks for; checked by the caller. Where the answer ended an image, the time that came
        with the display times counts.

    Raises
    ------
    Refused
        409 when the images were not shown (simulated sessions may answer without), when another answer is stored, or
        when this is not the next trial; 425, with a wait, before the images can have been shown.
    """
    if not storage.is_sqlite:
        # The SQL there is the fast copy of `_answer_in`: one round trip for the answers that nothing is wrong with. What
        # changes here changes there; the same tests run on both databases.
        timeout_s = study.protocol.idle_allowed_s(given.position)
        stored = answer_at_once(storage, given, now=clock.now(), timeout_s=timeout_s, least_s=_least_s(study))
        if stored is not None:
            return _answered_at_once(study, stored, given.response)
    return storage.write(_alone(given.token, partial(_answer_in, study=study, given=given)))


def answer_together(storage: Storage, study: Study, given: Sequence[GivenAnswer]) -> list[Answered | None]:
    """Do what `answer` does for several sessions in one transaction.

    Parameters
    ----------
    storage : Storage
    study : Study
    given : sequence of GivenAnswer
        No token twice.

    Returns
    -------
    list
        For each answer; None when nothing was done and `answer` must say why, or wait.
    """
    if storage.is_sqlite:
        steps = (partial(_answer_in, study=study, given=answer) for answer in given)
        return _together(storage, [answer.token for answer in given], steps)
    timeouts_s = [study.protocol.idle_allowed_s(answer.position) for answer in given]
    stored = answer_together_at_once(storage, given, now=clock.now(), timeouts_s=timeouts_s, least_s=_least_s(study))
    return [
        None if each is None else _answered_at_once(study, each, answer.response)
        for answer, each in zip(given, stored, strict=True)
    ]


def _least_s(study: Study) -> float:
    return least_ms(study.protocol, answered=True) / 1000


def _answered_at_once(study: Study, stored: Stored, response: str) -> Answered:
    snapshot, phase, real_position = stored
    return Answered(snapshot, _feedback(study, phase, real_position, response))


def _answer_in(connection: Connection, snapshot: Snapshot, *, study: Study, given: GivenAnswer) -> Answered:
    now = clock.now()
    if given.position < snapshot.position:
        return _answer_again(connection, study, snapshot, given.position, given.response)
    trial = _current(study, snapshot, given.position)
    flags = trial.flags or ""
    if trial.state != "shown":
        if not snapshot.simulated:
            raise Refused(409, "The images of this trial were not shown yet.", reason="other_page")
        flags = "untimed"
    elif (wait := _too_early(snapshot, trial, now, _least_s(study))) > 0:
        raise Refused(
            425,
            "It is too early for this answer: the images cannot have been shown yet.",
            retry_after=math.ceil(wait),
        )
    elif trial.load != given.load:
        flags = _with_flag(flags, "reloaded")
    values = {"state": "answered", "answered_at": now, "response": given.response, "response_ms": given.response_ms}
    _ANSWER.update(connection, row=_key(snapshot, trial), values={**values, "flags": flags})
    snapshot = _advance(connection, study, snapshot, now)
    return Answered(snapshot, _feedback(study, trial.phase, trial.real_position, given.response))


T = TypeVar("T")
_Step = Callable[[Connection, Snapshot], T]
"""Changes a session; finds whatever is wrong before it changes anything, and raises `Refused` then."""


def _alone(token: str, step: _Step[T]) -> Callable[[Connection], T]:
    return lambda connection: step(connection, find_session(connection, token, to_change=True))


def _together(storage: Storage, tokens: Sequence[str], steps: Iterable[_Step[T]]) -> list[T | None]:
    """Take a step of each session in one transaction; None for what `_alone` refuses, or waits for."""
    each = list(steps)

    def work(connection: Connection) -> list[T | None]:
        sessions = find_sessions_to_change(connection, tokens)
        return [_if_allowed(connection, snapshot, step) for snapshot, step in zip(sessions, each, strict=True)]

    return storage.write_many(work)


def _if_allowed(connection: Connection, snapshot: Snapshot | None, step: _Step[T]) -> T | None:
    if snapshot is None:
        return None
    try:
        return step(connection, snapshot)
    except Refused:
        return None


def mark_looked_again(storage: Storage, session_id: int, image: str) -> None:
    """Flag the trial of an image that was fetched far more often than a page does."""

    def work(connection: Connection) -> None:
        of_image = (_T.c.session_id == session_id) & shows_image(image)
        flags = sa.func.trim(sa.func.coalesce(_T.c.flags, "") + " looked_again")
        connection.execute(sa.update(_T).where(of_image, _T.c.state != "answered").values(flags=flags))

    storage.write(work)


def skip_damaged(storage: Storage, study: Study, token: str, image: str) -> None:
    """Replace the current trial from the reserve when one of its images is damaged; later ones wait for their turn."""

    def work(connection: Connection) -> None:
        snapshot = find_session(connection, token, to_change=True)
        trial = snapshot.current
        if trial is not None and image in trial.tokens and trial.state in ("pending", "begun"):
            _replace(connection, study, snapshot, trial, clock.now(), flag="damaged")

    storage.write(work)


def _with_flag(flags: str | None, flag: str) -> str:
    """The flags of a trial, and this one once."""
    return " ".join(dict.fromkeys([*(flags or "").split(), flag]))


def _too_early(snapshot: Snapshot, trial: Upcoming, now: float, least_s: float) -> float:
    """Seconds until an answer can be honest; a clock that was set back holds nobody up."""
    if snapshot.simulated or trial.begun_at is None or now < trial.begun_at:
        return 0.0
    return trial.begun_at + least_s - now


def _are_proven(study: Study, images: Sequence[str], proofs: Sequence[str]) -> bool:
    """Whether the page holds the images: each file ends with a word of its own."""
    if len(proofs) != len(images):
        return False
    return all(
        hmac.compare_digest(image_proof(study.key, image).hex(), proof)
        for image, proof in zip(images, proofs, strict=True)
    )


def _answer_again(connection: Connection, study: Study, snapshot: Snapshot, position: int, response: str) -> Answered:
    row = connection.execute(
        sa.select(_T.c.response, _T.c.phase, _T.c.real_position).where(
            _T.c.session_id == snapshot.id, _T.c.position == position, _T.c.state == "answered"
        )
    ).first()
    if row is None:
        raise Refused(409, "This trial is over; open the link of the study again to go on.", reason="other_page")
    if row.response != response:
        raise Refused(
            409, "Another answer to this trial is stored already; answers are not changed.", reason="other_page"
        )
    return Answered(snapshot, _feedback(study, row.phase, row.real_position, response))


def _feedback(study: Study, phase: str, real_position: str | None, response: str) -> Feedback | None:
    if phase != "practice" or real_position is None or not study.protocol.feedback_ms:
        return None
    among_several = study.protocol.shows_several
    correct = is_right(response, real_position, among_several=among_several)
    if among_several:
        return Feedback(correct=correct, real=real_position)
    return Feedback(correct=correct, fake="second" if real_position == "first" else "first")


def _current(study: Study, snapshot: Snapshot, position: int) -> Upcoming:
    """The trial that is next, if it is the one asked for."""
    if snapshot.effective_state(study.protocol) not in ACTIVE:
        raise Refused(409, "This session is over.", reason="session_over")
    if snapshot.state == "consented":
        raise Refused(409, "The study has not begun: what the page must know first is missing.", reason="other_page")
    trial = snapshot.current
    if trial is None or position != trial.position:
        raise Refused(
            409, f"Trial {position} is not the next one; that is trial {snapshot.position}.", reason="other_page"
        )
    return trial


def _replace(
    connection: Connection, study: Study, snapshot: Snapshot, spoiled: Upcoming, now: float, flag: str = "interrupted"
) -> Snapshot:
    """Put the next reserve image, of the same block, in the place of a spoiled trial: same kind and side, so that halves stay halves."""
    left = connection.execute(
        sa.select(_T.c.number, _T.c.image, _T.c.first_token, _T.c.second_token)
        .where(_T.c.session_id == snapshot.id, _T.c.phase == "reserve")
        .order_by(_T.c.number)
    ).all()
    was = connection.execute(
        sa.select(_T.c.method, _T.c.other_method, _T.c.image).where(
            _T.c.session_id == snapshot.id, _T.c.number == spoiled.number
        )
    ).one()
    # Practice stands before the blocks of images, and may take from any.
    block_of = study.manifest.blocks if spoiled.phase == "test" else {}
    reserve = next((row for row in left if block_of.get(row.image) == block_of.get(was.image)), None)
    replaced_by = None if reserve is None else reserve.number
    _REPLACE.update(
        connection,
        row=_key(snapshot, spoiled),
        values={"state": "replaced", "replaced_by": replaced_by, "flags": flag},
    )
    # Another image is shown than was counted.
    connection.execute(sa.update(_S).where(_S.c.id == snapshot.id).values(check_at=CHECK_NOW))
    if reserve is None:  # this trial is lost; the export says so
        return _advance(connection, study, snapshot, now)
    method, other_method = was.method, was.other_method
    arm = arm_of_trial(study, method, other_method, spoiled.further)
    # With preference no image is real: the side is where the first method of the pair was; several keep their order.
    side: str | Arm = spoiled.real_position or ("first" if arm is None or method == arm[0] else "second")
    if further := read_further(spoiled.further):
        side = (method, other_method, *(image.method for image in further))
    trial = PlannedTrial(position=spoiled.position, phase=spoiled.phase, kind=spoiled.kind, image=reserve.image)
    planned = place_trial(study, arm, trial, side)
    values = planned._asdict()
    values.pop("image")
    values["further"] = write_further(planned.further)
    connection.execute(
        sa.update(_T).where(_T.c.session_id == snapshot.id, _T.c.number == reserve.number).values(**values)
    )
    assert planned.first_sha is not None
    substitute = Upcoming(
        number=reserve.number,
        position=spoiled.position,
        phase=spoiled.phase,
        kind=spoiled.kind,
        real_position=planned.real_position,
        first_sha=planned.first_sha,
        second_sha=planned.second_sha,
        first_token=reserve.first_token,
        second_token=reserve.second_token,
        state="pending",
        load=None,
        begun_at=None,
        flags=None,
        further=values["further"],
    )
    snapshot = _touch(connection, snapshot, now)
    return snapshot.changed(upcoming=(substitute, *snapshot.upcoming[1:]))


def _advance(connection: Connection, study: Study, snapshot: Snapshot, now: float) -> Snapshot:
    """Go on to the next trial, or to the end."""
    position = snapshot.position + 1
    upcoming = tuple(trial for trial in snapshot.upcoming if trial.position >= position)
    if position > snapshot.n_trials:
        state = "completed" if _answered(connection, snapshot) >= study.protocol.answers_needed else "incomplete"
        _FINISH.update(
            connection,
            row={"session": snapshot.id},
            values={"updated_at": now, "ended_at": now, "position": position, "state": state},
        )
        return snapshot.changed(position=position, upcoming=upcoming, state=state, updated_at=now)
    phase = upcoming[0].phase
    _move(connection, snapshot, now, position, phase)
    return snapshot.changed(position=position, upcoming=upcoming, state=phase, updated_at=now)


def _answered(connection: Connection, snapshot: Snapshot) -> int:
    """Trials of the test that were answered; a pair spoiled when the reserve was empty was not."""
    count: int = connection.execute(
        sa.select(sa.func.count()).where(_T.c.session_id == snapshot.id, _T.c.phase == "test", _T.c.state == "answered")
    ).scalar_one()
    return count


def _touch(connection: Connection, snapshot: Snapshot, now: float, state: str | None = None) -> Snapshot:
    state = state or snapshot.state
    _move(connection, snapshot, now, snapshot.position, state)
    return snapshot.changed(updated_at=now, state=state)


def _move(connection: Connection, snapshot: Snapshot, now: float, position: int, state: str) -> None:
    values = {"updated_at": now, "position": position, "state": state}
    _GO_ON.update(connection, row={"session": snapshot.id}, values=values)


def _key(snapshot: Snapshot, trial: Upcoming) -> dict[str, int]:
    """Which row a statement of `_update_trial` changes."""
    return {"session": snapshot.id, "trial": trial.number}


def _with_current(snapshot: Snapshot, **changes: Any) -> Snapshot:
    return snapshot.changed(upcoming=(snapshot.upcoming[0]._replace(**changes), *snapshot.upcoming[1:]))
