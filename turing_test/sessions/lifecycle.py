"""A session from consent to its end; every public function is one transaction.

consented -> screened -> practice -> test -> completed; other ends: incomplete (too few answers), declined, screened out,
incompatible, expired, withdrawn, full (nobody is needed any more). Trials are in `turing_test.sessions.presentation`.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.wording import counted
from turing_test.database import schema as tables
from turing_test.database.prepared import Prepared
from turing_test.database.storage import Storage, StorageUnavailable
from turing_test.sessions import clock
from turing_test.sessions.assignment import (
    PlannedTrial,
    arms,
    as_columns,
    choose_arms,
    choose_block_order,
    from_columns,
    in_block_order,
    per_arm,
    plan_session,
)
from turing_test.sessions.further_images import write_further
from turing_test.sessions.new_sessions import TRIAL_VALUES, NewSession
from turing_test.sessions.place_counters import CHECK_IF_BACK, CHECK_NOW, arm_key, exposures, idle_limit_s, place_key
from turing_test.sessions.places import sessions_by_arms
from turing_test.sessions.recruiters import PLATFORMS, TOOK_PART, Arrival
from turing_test.sessions.refusal import Refused
from turing_test.sessions.screening import passes_screen
from turing_test.sessions.snapshot import AHEAD, Snapshot, find_session, first_snapshot
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.tokens import completion_code, digest, keyed_digest, new_label, new_token, new_tokens
from turing_test.sessions.turn import Turn
from turing_test.study.study_folder import Study

__all__ = ["SIMULATED", "decline", "look_up", "record_device", "record_vision", "start", "withdraw"]

SIMULATED = Arrival(platform="simulated", person=None, verified=False)
"""How simulated participants come; only they may answer without display times."""

_S, _L, _E = tables.session, tables.link, tables.event
_OF_PLACE = Prepared(
    sa.select(_S.c.id, _S.c.state).where(_S.c.arrival_hash == sa.bindparam("place"), _S.c.person_hash.is_(None))
)


def start(
    storage: Storage,
    study: Study,
    arrival: Arrival,
    consent_hash: str,
    link: str | None = None,
    attempt: str | None = None,
) -> tuple[str, Snapshot]:
    """Begin a session, or go on with the one that this arrival began before.

    Parameters
    ----------
    storage : Storage
    study : Study
    arrival : Arrival
    consent_hash : str
        SHA-256 of the text that was agreed to.
    link : str, optional
        Token of a one-time link.
    attempt : str, optional
        A random text of the page: the request repeated, because its answer was lost, begins no second session, and a signed
        token that was used counts as the same use.

    Returns
    -------
    token : str
        New also for a session found again; older tokens of it end.
    snapshot : Snapshot

    Raises
    ------
    Refused
        403 when the study takes no open links or is paused, 404 for an unknown link, 409 for a second session of a person
        and for a signed token that was used in another browser.

    Notes
    -----
    When the study has all the participants it needs, the session is one that ends at once, in the state ``full``: some
    platforms have a code for that, and those turned away are counted.
    """
    token = new_token()

    def work(connection: Connection) -> Snapshot:
        now = clock.now()
        turn = Turn.of(connection, storage, study, now)
        state = "open" if arrival.platform == SIMULATED.platform else turn.admission
        link_id = None if link is None else _open_link(connection, study, link, token, now)
        if isinstance(link_id, Snapshot):
            return link_id
        if arrival.platform == "link" and link is None and not study.protocol.open_link:
            raise Refused(
                403, "This study takes part by personal link only; please ask for yours.", reason="personal_link"
            )
        person = None if arrival.person is None else keyed_digest(study.key, arrival.platform, arrival.person)
        place = None if arrival.place is None else keyed_digest(study.key, arrival.platform, "place", arrival.place)
        if arrival.place is None and attempt is not None:
            place = keyed_digest(study.key, "attempt", attempt)
        turn.store_if_of(person, place)
        if person is None and place is not None:
            for session_id, state_before in _OF_PLACE.all(connection, place=place)[:1]:
                if not _forget_turned_away(connection, session_id, state_before):
                    return _enter_again(connection, study, session_id, token, now)
        use = None if arrival.proof is None else _Use.of(study, arrival.proof, attempt)
        if person is not None:
            if study.extends is not None and person in study.extends.people:
                raise _took_part(study, arrival)
            returned = _return_of_person(
                connection, study, arrival, person=person, place=place, token=token, now=now, use=use
            )
            if returned is not None:
                return returned
        if state == "moved":  # by somebody who left this server running
            raise StorageUnavailable("The database cannot be used now: its answers were moved to another one.")
        if state == "paused":
            raise Refused(403, "This study is paused at the moment; please come back later.", reason="paused")
        row = _session_row(arrival, token, now)
        row |= {"person_hash": person, "arrival_hash": place, "consent_hash": consent_hash}
        begun = None if state == "closed" else _assign(connection, study, turn, row, by_link=link_id is not None)
        if link_id is not None or use is not None:
            turn.store()  # what follows refers to it
        if begun is None:
            connection.execute(sa.insert(_S).values(**row | {"state": "full", "ended_at": now}))
            begun = find_session(connection, token)
        elif link_id is not None:
            connection.execute(sa.update(_L).where(_L.c.id == link_id).values(session_id=begun.id, used_at=now))
            turn.use_link()
        if use is not None:
            use.store(connection, begun.id, now)
        return begun

    return token, storage.write_in_turn(work)


def decline(storage: Storage, arrival: Arrival) -> tuple[str, Snapshot]:
    """Count somebody who did not consent; nothing about the person is stored, nor what their platform calls this coming."""
    token, now = new_token(), clock.now()

    def work(connection: Connection) -> Snapshot:
        row = _session_row(arrival, token, now) | {"state": "declined", "ended_at": now, "arrival": None}
        connection.execute(sa.insert(_S).values(**row))
        return find_session(connection, token)

    return token, storage.write(work)


def look_up(storage: Storage, token: str) -> Snapshot:
    """Where a session stands; changes nothing.

    Raises
    ------
    Refused
        404 when there is none.
    """
    return storage.read(lambda connection: find_session(connection, token))


def record_device(storage: Storage, study: Study, token: str, device: Mapping[str, Any]) -> Snapshot:
    """Store what the page found out about display and window, at the beginning and whenever the page is loaded again.

    A window that is too small changes nothing: the page waits for a larger one, or comes back on another device.

    Parameters
    ----------
    device : mapping
        With ``width``, ``height`` (CSS pixels) and ``refresh_hz``; the rest is stored as it is. ``give_up``: there is no larger
        window, which ends the session.

    Raises
    ------
    Refused
        404, or 409 when the session is over.
    """

    def work(connection: Connection) -> Snapshot:
        now = clock.now()
        snapshot = _active(connection, study, token)
        protocol = study.protocol
        known = {name: value for name, value in device.items() if name != "give_up"}
        values: dict[str, Any] = {"device": json.dumps(known), "refresh_hz": known["refresh_hz"], "updated_at": now}
        if device.get("give_up"):
            values |= {"state": "incompatible", "ended_at": now}
        elif known["width"] < protocol.window_width or known["height"] < protocol.window_height:
            values = {"updated_at": now}
        elif snapshot.state == "consented" and not protocol.color_vision:
            values |= {"state": "screened"}
        if snapshot.device not in (None, values.get("device", snapshot.device)):
            detail = {"kind": "device", "detail": snapshot.device, "at": now, "session_id": snapshot.id}
            connection.execute(sa.insert(tables.event).values(detail))
        return _change(connection, snapshot, values)

    return storage.write(work)


def record_vision(storage: Storage, study: Study, token: str, answers: list[str]) -> Snapshot:
    """Store the outcome of the colour vision screen (not the answers); who does not pass is screened out.

    Raises
    ------
    Refused
        400 when there is not one answer a plate, 409 when no screen is due. The same request again changes nothing.
    """
    expected = [plate.answer for plate in study.manifest.plates]
    if len(answers) != len(expected):
        raise Refused(
            400,
            f"There are {counted(len(answers), 'answer')} to {counted(len(expected), 'plate')}; one each is needed.",
        )

    def work(connection: Connection) -> Snapshot:
        now = clock.now()
        snapshot = _active(connection, study, token)
        if snapshot.state == "screened" and study.protocol.color_vision:  # the answer to the first request was lost
            return snapshot
        if snapshot.state != "consented" or snapshot.device is None or not study.protocol.color_vision:
            raise Refused(409, "No screen of colour vision is due now.", reason="other_page")
        passed = passes_screen(expected, answers)
        values = {"state": "screened"} if passed else {"state": "screened_out", "ended_at": now}
        return _change(connection, snapshot, {**values, "updated_at": now})

    return storage.write(work)


def withdraw(storage: Storage, study: Study, token: str) -> Snapshot:
    """End a session because the participant wishes so; its answers are marked in the export, its place is free.

    Raises
    ------
    Refused
        404, or 409 when the session has ended otherwise.
    """

    def work(connection: Connection) -> Snapshot:
        snapshot = find_session(connection, token, to_change=True)
        if snapshot.state == "withdrawn":
            return snapshot
        snapshot = _active(connection, study, token)
        now = clock.now()
        return _change(connection, snapshot, {"state": "withdrawn", "updated_at": now, "ended_at": now})

    return storage.write(work)


def _active(connection: Connection, study: Study, token: str) -> Snapshot:
    snapshot = find_session(connection, token, to_change=True)
    if snapshot.effective_state(study.protocol) not in ACTIVE:
        raise Refused(409, "This session is over.", reason="session_over")
    return snapshot


def _change(connection: Connection, snapshot: Snapshot, values: dict[str, Any]) -> Snapshot:
    check_at = CHECK_NOW if "ended_at" in values else CHECK_IF_BACK
    connection.execute(sa.update(_S).where(_S.c.id == snapshot.id).values(**values, check_at=check_at))
    return snapshot.changed(**{name: value for name, value in values.items() if name != "ended_at"})


def _open_link(connection: Connection, study: Study, link: str, token: str, now: float) -> int | Snapshot:
    """The key of an unused link, or the session that was begun with it."""
    row = connection.execute(sa.select(_L).where(_L.c.token_hash == digest(link)).with_for_update()).first()
    if row is None:
        raise Refused(404, "This link is not known; please check that it was copied whole.", reason="unknown_link")
    if row.used_at is None:
        return int(row.id)
    if row.session_id is None:
        raise Refused(409, "This link has been used already.", reason="used_link")
    return _enter_again(connection, study, row.session_id, token, now)


def _return_of_person(
    connection: Connection,
    study: Study,
    arrival: Arrival,
    *,
    person: str,
    place: str | None,
    token: str,
    now: float,
    use: _Use | None,
) -> Snapshot | None:
    row = connection.execute(
        sa.select(_S.c.id, _S.c.state, _S.c.arrival_hash).where(_S.c.person_hash == person)
    ).first()
    if row is None or _forget_turned_away(connection, row.id, row.state):
        return None
    if use is not None and not use.is_new(connection, row.id):
        raise Refused(
            409,
            "This address has been used already; please go on in the browser where you began, or open the study from "
            "Prolific again.",
            reason="used_address",
        )
    if place is None or row.arrival_hash != place:
        # A worker id alone is no secret; the platform's id of this very participation is needed as well.
        if place is None or not arrival.may_be_reassigned:
            raise _took_part(study, arrival)
        again = {"arrival_hash": place, "arrival": json.dumps(dict(arrival.handles))}
        connection.execute(sa.update(_S).where(_S.c.id == row.id).values(again))
    if use is not None:
        use.store(connection, row.id, now)
    return _enter_again(connection, study, row.id, token, now)


def _took_part(study: Study, arrival: Arrival) -> Refused:
    """The refusal of a second session, with the way back to the platform, which waits for this participation."""
    ending = PLATFORMS[arrival.platform].leave(TOOK_PART, "", arrival.handles, study.protocol)
    return Refused(
        409,
        "You have taken part in this study already; one session per person is possible.",
        reason="took_part",
        ending=ending.described(),
    )


@dataclass(frozen=True)
class _Use:
    """One use of a signed token: which token, and by which load of the page."""

    token: str
    page: str

    @classmethod
    def of(cls, study: Study, proof: str, attempt: str | None) -> _Use:
        page = new_token() if attempt is None else attempt  # who names no page is never the same again
        return cls(keyed_digest(study.key, "signed", proof), keyed_digest(study.key, "attempt", page))

    def is_new(self, connection: Connection, session_id: int) -> bool:
        """Whether no other page has used the token; a token names one person, hence one session."""
        uses = sa.select(_E.c.detail).where(_E.c.session_id == session_id, _E.c.kind == "signed")
        pages = (detail.split() for detail in connection.execute(uses).scalars())
        return all(page == self.page for token, page in pages if token == self.token)

    def store(self, connection: Connection, session_id: int, now: float) -> None:
        detail = f"{self.token} {self.page}"
        connection.execute(sa.insert(_E).values(session_id=session_id, at=now, kind="signed", detail=detail))


def _forget_turned_away(connection: Connection, session_id: int, state: str) -> bool:
    """Whether an earlier session says only that the study was full: then it goes, and its person may try again."""
    if state != "full":
        return False
    connection.execute(sa.delete(_S).where(_S.c.id == session_id))
    return True


def _enter_again(connection: Connection, study: Study, session_id: int, token: str, now: float) -> Snapshot:
    connection.execute(sa.update(_S).where(_S.c.id == session_id).values(token_hash=digest(token)))
    _revive(connection, study, find_session(connection, token), now)
    connection.execute(sa.insert(tables.event).values(session_id=session_id, at=now, kind="returned"))
    return find_session(connection, token)


def _revive(connection: Connection, study: Study, snapshot: Snapshot, now: float) -> None:
    """Let somebody go on who comes back after the session expired, or with a larger window, as long as there is room."""
    ended = snapshot.effective_state(study.protocol)
    if ended not in ("expired", "incompatible") or snapshot.method is None:
        return
    taken = per_arm(sessions_by_arms(connection, simulated=snapshot.simulated))
    own_arms = from_columns(study, snapshot.method, snapshot.other_method)
    if all(taken[arm] >= study.protocol.sessions_per_method for arm in own_arms):
        return
    trial = snapshot.current
    if trial is not None and (snapshot.position > 1 or trial.state != "pending"):
        state = trial.phase
    else:  # whether a screen of colour vision was passed is not stored: it is shown again
        state = "consented" if snapshot.device is None or study.protocol.color_vision else "screened"
    values = {"state": state, "updated_at": now, "ended_at": None, "check_at": CHECK_NOW}
    if ended == "incompatible":  # measured and screened as if nothing had been before
        values |= {"state": "consented", "device": None, "refresh_hz": None}
    connection.execute(sa.update(_S).where(_S.c.id == snapshot.id).values(**values))
    Turn.end(connection)


def _assign(connection: Connection, study: Study, turn: Turn, row: dict[str, Any], *, by_link: bool) -> Snapshot | None:
    """Store a session and its trials; None when the study is full."""
    simulated = row["simulated"]
    if not turn.has_room(by_link=by_link, simulated=simulated):
        return None
    seed = secrets.token_hex(16)
    rng = random.Random(seed)
    every, sessions = arms(study), turn.sessions(simulated=simulated)
    judged = choose_arms(every, sessions, study.protocol.arms_per_person(len(every)), rng)
    if study.protocol.blocks == "method":
        judged = in_block_order(judged, sessions, rng)
    block_order = choose_block_order(study, judged, turn.sessions_by_order(simulated=simulated), rng)
    trials = plan_session(study, judged, turn.images_shown(judged, simulated=simulated), rng, block_order)
    method, other_method = as_columns(judged)
    row = row | {
        "state": "consented",
        "method": method,
        "other_method": other_method,
        "block_order": block_order,
        "seed": seed,
        "n_trials": study.protocol.session_trials,
        "holds_place": True,
        "check_at": row["created_at"] + idle_limit_s(study.protocol),
    }
    rows, shown = _trial_rows(trials), exposures(study, judged, trials)
    images_shown = {(simulated, arm_key(arm), kind, image): times for (arm, kind, image), times in shown.items()}
    place = simulated, place_key(judged, block_order)
    session_id = turn.take(NewSession(values=row, trials=rows, place=place, images_shown=images_shown), judged, shown)
    first_rows = [dict(zip(TRIAL_VALUES, values, strict=True)) for values in rows[: AHEAD + 1]]
    return first_snapshot({**row, "id": session_id}, first_rows)


def _session_row(arrival: Arrival, token: str, now: float) -> dict[str, Any]:
    return {
        "token_hash": digest(token),
        "label": new_label(),
        "platform": arrival.platform,
        "arrival": json.dumps(dict(arrival.handles)),
        "verified": arrival.verified,
        "simulated": arrival.platform == SIMULATED.platform,
        "seed": "",
        "n_trials": 0,
        "position": 1,
        "completion_code": completion_code(),
        "created_at": now,
        "updated_at": now,
    }


def _trial_rows(trials: Sequence[PlannedTrial]) -> list[tuple[Any, ...]]:
    """Values of `TRIAL_VALUES`."""
    images = iter(new_tokens(2 * len(trials)))
    return [
        (
            number, trial.position, trial.phase, trial.kind, trial.image, trial.method, trial.other_method,
            trial.real_position, trial.first_sha, trial.second_sha, next(images), next(images), "pending",
            trial.phase == "test", write_further(trial.further),
        )
        for number, trial in enumerate(trials, start=1)
    ]  # fmt: skip
