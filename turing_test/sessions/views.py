"""What a participant may know of a session: never the side, the method, the image's name or the kind of a trial."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions import clock
from turing_test.sessions.further_images import read_further, shows_image
from turing_test.sessions.recruiters import PLATFORMS
from turing_test.sessions.snapshot import Snapshot, Upcoming
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.tokens import keyed_digest
from turing_test.study.protocol import UNLIMITED, Protocol
from turing_test.study.study_folder import Study

__all__ = ["allowed_images", "find_image_ahead", "images_ahead", "plate_tokens", "view"]

_T = tables.trial.c
FAR = 6  # trials ahead that a page on a slow line may fetch

TIMING = ("first_blank_ms", "blank_ms", "mask_ms", "gap_ms", "answer_delay_ms", "feedback_ms")


def view(
    study: Study, token: str, snapshot: Snapshot, broken_rule: str | None = None, *, root: str = ""
) -> dict[str, Any]:
    """What the page shows next.

    Parameters
    ----------
    study : Study
    token : str
        Of the session; part of the images' addresses.
    snapshot : Snapshot
    broken_rule : str, optional
        The declared rule that leaves a completed session out; some platforms have a code of its own for that.
    root : str
        The path that the study is served under, ``/study1`` say; addresses of images begin with it.

    Returns
    -------
    dict
        The schema ``View`` of `turing_test.web.openapi`.
    """
    protocol = study.protocol
    state = snapshot.effective_state(protocol)
    phase = _phase(snapshot, state)
    trial = snapshot.current if state in ACTIVE[1:] else None
    after = snapshot.upcoming[1] if trial is not None and len(snapshot.upcoming) > 1 else None
    n_images = protocol.images_per_trial
    return {
        "state": state,
        "phase": phase,
        "preset": protocol.preset,
        "timing": _timing(protocol),
        "presentation": _presentation(protocol),
        "size": protocol.size,
        "window": {"width": protocol.window_width, "height": protocol.window_height},
        "plates": [_address(root, token, plate) for plate in plate_tokens(study, token)] if phase == "vision" else None,
        "trial": None if trial is None else {
            "number": trial.position,
            "of": snapshot.n_trials,
            "phase": trial.phase,
            "mode": "answer_only" if trial.state == "shown" else "show",
            "images": image_addresses(token, trial, n_images, root=root),
        },
        "pause": None if trial is None else _pause(protocol, snapshot),
        "next_images": None if after is None else image_addresses(token, after, n_images, root=root),
        "progress": [min(snapshot.position - 1, snapshot.n_trials), snapshot.n_trials],
        "outcome": _outcome(study, snapshot, state, broken_rule) if phase == "done" else None,
    }  # fmt: skip


def image_addresses(token: str, trial: Upcoming, n_images: int, *, root: str) -> list[str]:
    """Addresses of a trial's images; tokens are random, so neither tells which is real."""
    return [_address(root, token, image) for image in trial.tokens[:n_images]]


def images_ahead(storage: Storage, token: str, snapshot: Snapshot, n_images: int, *, root: str) -> list[str]:
    """Addresses of the images of the next `FAR` trials, in order: for pages on lines too slow to fetch one pair per trial."""
    if snapshot.state not in ACTIVE[1:]:
        return []
    query = sa.select(_T.first_token, _T.second_token, _T.further).where(*_far(snapshot))
    rows = storage.read(lambda connection: connection.execute(query).all())
    images = ((row[0], row[1], *(image.token for image in read_further(row.further))) for row in rows)
    return [_address(root, token, image) for own in images for image in own[:n_images]]


def find_image_ahead(storage: Storage, snapshot: Snapshot, image: str) -> tuple[str, ...] | None:
    """As one entry of `allowed_images`, for the images of `images_ahead`; None when it is none of them."""
    if snapshot.state not in ACTIVE[1:]:
        return None
    query = sa.select(_T.first_token, _T.second_token, _T.first_sha, _T.second_sha, _T.further).where(
        *_far(snapshot), shows_image(image)
    )
    row = storage.read(lambda connection: connection.execute(query).first())
    if row is None:
        return None
    further = read_further(row.further)
    shas = (row.first_sha, row.second_sha, *(other.sha for other in further))
    own = dict(zip((row.first_token, row.second_token, *(other.token for other in further)), shas, strict=True))
    sent = tuple(sha for sha in shas if sha is not None)
    return (own[image] or sent[-1], *sent)


def _far(snapshot: Snapshot) -> tuple[sa.ColumnElement[bool], ...]:
    positions = (_T.position > snapshot.position, _T.position <= snapshot.position + FAR)
    return (_T.session_id == snapshot.id, *positions, _T.state != "replaced")


def plate_tokens(study: Study, token: str) -> list[str]:
    """Image tokens of the colour vision plates in a session."""
    return [keyed_digest(study.key, "plate", token, str(i))[:24] for i in range(len(study.manifest.plates))]


def allowed_images(study: Study, token: str, snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Which images a session may fetch now: those of the current and the next trial, and the plates when due.

    Returns
    -------
    dict of str to tuple of str
        Image token to SHA-256 digests: first its own, then those of the images that belong to it.
    """
    state = snapshot.effective_state(study.protocol)
    if state not in ACTIVE:
        return {}
    if state == "consented":
        plates = [plate.file for plate in study.manifest.plates] if study.protocol.color_vision else []
        return {image: (sha, *plates) for image, sha in zip(plate_tokens(study, token), plates, strict=False)}
    allowed: dict[str, tuple[str, ...]] = {}
    for trial in snapshot.upcoming[:2]:
        if trial.state == "shown":
            continue  # a second look is no part of the protocol
        shas = trial.shas
        for image, sha in zip(trial.tokens, shas, strict=False):
            allowed[image] = (sha, *shas)
    return allowed


@lru_cache(8)
def _timing(protocol: Protocol) -> dict[str, int | None]:
    limit = None if protocol.limit_ms == math.inf else int(protocol.limit_ms)
    return {**{name: getattr(protocol, name) for name in TIMING}, "image_ms": limit}


@lru_cache(8)
def _presentation(protocol: Protocol) -> dict[str, Any]:
    return {"sequential": protocol.sequential, "answer_ends": protocol.answer_ends, "mask": protocol.mask}


def _pause(protocol: Protocol, snapshot: Snapshot) -> dict[str, int | None] | None:
    """The break before the next trial, until that begins: the seconds that are left of it, None without a limit."""
    trial = snapshot.current
    if trial is None or trial.state != "pending" or not protocol.has_break_before(trial.position):
        return None
    left = protocol.break_allowed_s - (clock.now() - snapshot.updated_at)
    return {"seconds": None if protocol.break_s == UNLIMITED else max(0, math.ceil(left))}


def _address(root: str, token: str, image: str) -> str:
    return f"{root}/stimuli/{token}/{image}"


def _phase(snapshot: Snapshot, state: str) -> str:
    if state not in ACTIVE:
        return "done"
    if state == "consented":
        return "device" if snapshot.device is None else "vision"
    return "instructions" if state == "screened" else state


def _outcome(study: Study, snapshot: Snapshot, state: str, broken_rule: str | None) -> dict[str, Any]:
    recruiter = PLATFORMS.get(snapshot.platform, PLATFORMS["link"])
    told = "failed_checks" if state == "completed" and broken_rule is not None else state
    ending = recruiter.leave(told, snapshot.completion_code, json.loads(snapshot.arrival or "{}"), study.protocol)
    return {"outcome": state, **ending.described()}
