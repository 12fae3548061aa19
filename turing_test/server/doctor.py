"""Is this study fit to be run? Files, secret, database, clock, and what the server sends to the world."""

from __future__ import annotations

import http.client
import os
import shutil
import stat
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from evalkit.errors import InputError
from evalkit.wording import counted, needs_package
from turing_test.server.followed_page import fetch, unreachable
from turing_test.study.block_list import blocks_sentence
from turing_test.study.duration import duration_sentence
from turing_test.study.freeze import changes_since, damaged_stimuli, read_stamp
from turing_test.study.protocol import Protocol, options
from turing_test.study.study_folder import KEY, Study, read_study

__all__ = ["Check", "examine"]

LEAST_FREE = 500 * 2**20  # bytes: the answers of 10,000 sessions and room for the journal
CLOCK_TOLERANCE_S = 60
OLDEST_KEYS_DAYS = 2

HEADERS: Mapping[str, tuple[str, ...]] = {
    "content-security-policy": ("default-src 'none'", "script-src 'self'", "frame-ancestors"),
    "x-content-type-options": ("nosniff",),
    "referrer-policy": ("no-referrer",),
    "cache-control": ("no-store",),
}
"""Headers that every page must carry, and what they must contain."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    ok : bool or None
        None when it could not be looked at.
    finding : str
        What was found, and where it is bad, what to do.
    """

    name: str
    ok: bool | None
    finding: str


def examine(
    folder: Path,
    database: str | None = None,
    url: str | None = None,
    on_file: Callable[[int, int], None] | None = None,
    *,
    mend: bool = False,
) -> Iterator[Check]:
    """Look at everything that a study needs.

    Parameters
    ----------
    folder : Path
        The study folder.
    database : str, optional
        URL of its database; by default the SQLite file in the folder.
    url : str, optional
        Where the study is served; by default its ``public_url``.
    on_file : callable, optional
        Called with the stimuli checked so far and their total.
    mend : bool
        Count anew where the counters of the database differ from a full count. All else is only looked at.

    Yields
    ------
    Check
        Never raises for what is wrong with the study: that is a check that failed.
    """
    try:
        study = read_study(folder)
    except InputError as error:
        yield Check("study", False, str(error))
        return
    manifest = study.manifest
    yield Check(
        "study",
        True,
        f"{counted(len(manifest.images), 'photo')}, {counted(len(manifest.methods), 'method')}, {study.protocol.preset}",
    )
    yield _check_departures(study)
    if study.protocol.block_list:
        yield Check("blocks", True, blocks_sentence(study.protocol, manifest))
    yield Check("duration", True, duration_sentence(study.protocol))
    yield _check_stimuli(study, on_file)
    yield _check_consent(study)
    yield _check_stamp(study)
    yield from _check_platforms(study.protocol)
    if "prolific" in study.protocol.platforms:
        yield _check_codes(study.protocol)
        yield _check_prolific(study)
    yield _check_secret(study)
    yield _check_space(study)
    found = _check_database(study, database)
    yield found
    if found.ok:
        yield _check_counters(study, database, mend)
    url = url or study.protocol.public_url
    if not url:
        yield Check("server", None, "not looked at: give --url, or set public_url in study.toml")
        return
    yield from _check_server(url)


def _check_departures(study: Study) -> Check:
    protocol = study.protocol
    said = ", ".join(protocol.departures)
    finding = f"differs from {protocol.preset} in {said}" if said else f"as {protocol.preset} has it"
    if protocol.shows_several:
        sought = "search for the real photo" if protocol.seeks_real else "choice"
        finding += (
            f"; each trial is a {sought} among {protocol.alternatives}: chance {100 / protocol.alternatives:.3g} %"
        )
    if protocol.preset == "zhang2016" and said:
        finding += "; say so where you name the paper (the report's methods paragraph does)"
    return Check("protocol", None if said else True, finding)


def _check_stimuli(study: Study, on_file: Callable[[int, int], None] | None) -> Check:
    damaged = damaged_stimuli(study, on_file)
    if damaged:
        return Check(
            "stimuli",
            False,
            f"{len(damaged)} missing or damaged, first {damaged[0]}; create the study again or copy it whole",
        )
    return Check("stimuli", True, f"{counted(len(study.manifest.stimuli), 'file')}, each with the bytes it is named by")


def _check_consent(study: Study) -> Check:
    try:
        own = study.consent_text()
    except InputError as error:
        return Check("consent", False, str(error))
    missing = [key for key in ("contact", "ethics_contact") if not getattr(study.protocol, key)]
    if missing:
        return Check(
            "consent", False, f"{' and '.join(missing)} in study.toml: empty; participants must know whom to ask"
        )
    return Check("consent", True, "the study's own text" if own else "the text that comes with the toolkit")


def _check_stamp(study: Study) -> Check:
    try:
        stamp = read_stamp(study.folder)
    except InputError as error:
        return Check("freeze", False, str(error))
    if stamp is None:
        return Check("freeze", None, "not frozen; evalkit study freeze makes a stamp for the preregistration")
    changes = changes_since(study, stamp)
    if changes:
        return Check("freeze", False, f"changed since it was frozen at {stamp.frozen_at}: {', '.join(changes)}")
    return Check("freeze", True, f"frozen at {stamp.frozen_at}, unchanged")


def _check_platforms(protocol: Protocol) -> Iterator[Check]:
    """What is set for a platform whose people are not admitted."""
    for platform in ("prolific", "mturk"):
        given = [
            option.name
            for option in options()
            if option.name.startswith(f"{platform}_") and getattr(protocol, option.name) != option.default
        ]
        if given and platform not in protocol.platforms:
            yield Check(
                "platforms",
                False,
                f'{given[0]} is set, and platforms does not name "{platform}": whoever comes from there is turned away',
            )


def _check_codes(protocol: Protocol) -> Check:
    """The codes with which people go back to Prolific."""
    codes = {
        outcome: getattr(protocol, f"prolific_{outcome}")
        for outcome in (
            "completed", "failed_checks", "incomplete", "full", "expired", "declined", "screened_out", "incompatible",
        )
    }  # fmt: skip
    if not codes["completed"]:
        return Check("codes", False, "prolific_completed is empty: whoever is done has no code that Prolific knows")
    paid = [f"prolific_{name}" for name, code in codes.items() if code == codes["completed"] and name != "completed"]
    if paid:
        return Check("codes", None, f"{', '.join(paid)}: the code of prolific_completed, which Prolific pays alike")
    needless = {"failed_checks", *(() if protocol.color_vision else ("screened_out",))}
    none = [f"prolific_{name}" for name, code in codes.items() if not code and name not in needless]
    if none:
        return Check("codes", None, f"{', '.join(none)}: empty; whoever leaves so is not sent back to Prolific")
    return Check("codes", True, "one for every way in which people leave")


def _check_prolific(study: Study) -> Check:
    from turing_test.sessions.signed_arrivals import ProlificKeys

    try:
        keys = ProlificKeys.of(study)
    except InputError as error:
        return Check("prolific", False, str(error))
    if keys is None:
        return Check("prolific", None, "people are taken at their word; prolific_keys in study.toml would verify them")
    days = (time.time() - keys.path.stat().st_mtime) / 86_400
    if days > OLDEST_KEYS_DAYS:
        return Check(
            "prolific", None, f"{keys.path} is {days:.0f} days old, and Prolific changes its keys; fetch it again"
        )
    return Check("prolific", True, "addresses that Prolific has signed are checked, and others refused")


def _check_secret(study: Study) -> Check:
    path = study.folder / KEY
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        return Check("secret", False, f"{path} can be read by others (mode {mode:o}); chmod 600 {path}")
    return Check("secret", True, "readable by its owner alone")


def _check_space(study: Study) -> Check:
    free = shutil.disk_usage(study.folder).free
    finding = f"{free / 2**30:.1f} GiB free"
    if free < LEAST_FREE:
        return Check("disk", False, f"{finding}; answers are refused when it is full")
    return Check("disk", True, finding)


def _check_database(study: Study, url: str | None) -> Check:
    if url is None and not study.database.exists():
        return Check("database", None, "none yet; evalkit study serve makes it")
    try:
        import sqlalchemy as sa

        from turing_test.database import schema as tables
        from turing_test.database.storage import Storage, StorageUnavailable, default_url
    except ImportError as error:
        return Check(
            "database", None, "not looked at: " + needs_package(error.name or "sqlalchemy", "the database", "study")
        )

    def look(connection: sa.Connection) -> Check:
        sessions = tables.session
        begun = connection.execute(sa.select(tables.study.c.manifest, tables.study.c.protocol)).first()
        latest = connection.execute(sa.select(sa.func.max(sessions.c.updated_at))).scalar()
        total, simulated = (
            connection.execute(sa.select(sa.func.count()).select_from(sessions).where(condition)).scalar_one()
            for condition in (sa.true(), sessions.c.simulated)
        )
        if connection.dialect.name == "sqlite":
            verdict = connection.exec_driver_sql("PRAGMA quick_check").scalar()
            if verdict != "ok":
                return Check("database", False, f"damaged ({verdict}); restore the last backup")
        if begun is not None and begun.manifest != study.manifest.digest:
            return Check("database", False, "holds answers to other stimuli than those in the folder")
        if begun is not None and begun.protocol != study.protocol.asked_digest:
            return Check(
                "database",
                False,
                "was begun with another study.toml: what is asked differs; put back the file of that time",
            )
        if latest is not None and latest > time.time() + CLOCK_TOLERANCE_S:
            return Check("database", False, "holds times in the future: this machine's clock went back; set the clock")
        return Check(
            "database", True, f"{counted(total - simulated, 'session')} of participants, {simulated} simulated"
        )

    storage = None
    try:
        storage = Storage(default_url(study.folder) if url is None else url)
        return storage.read(look)
    except (InputError, StorageUnavailable, sa.exc.SQLAlchemyError) as error:
        return Check("database", False, str(error).splitlines()[0])
    finally:
        if storage is not None:
            storage.close()


def _check_counters(study: Study, url: str | None, mend: bool) -> Check:
    """Whether the counters that make starts and the dashboard quick say what all sessions and trials say."""
    import sqlalchemy as sa

    from turing_test.database.storage import Storage, StorageUnavailable, default_url
    from turing_test.sessions import clock
    from turing_test.sessions.recount import counter_differences, mend_counters

    storage = Storage(default_url(study.folder) if url is None else url)
    try:
        wrong = storage.read(lambda connection: counter_differences(connection, study, clock.now()))
        if wrong and mend:
            mend_counters(storage, study)
            left = storage.read(lambda connection: counter_differences(connection, study, clock.now()))
            if not left:
                return Check("counters", True, f"counted anew; differed: {_first(wrong)}")
            wrong = left
    except (StorageUnavailable, sa.exc.SQLAlchemyError):
        return Check(
            "counters", None, "not looked at: of an earlier version; evalkit study serve brings the database up to date"
        )
    finally:
        storage.close()
    if wrong:
        return Check("counters", False, f"{_first(wrong)}; evalkit study doctor --mend counts anew")
    return Check("counters", True, "places, exposures and summaries are what a full count gives")


def _first(sentences: Sequence[str]) -> str:
    more = f"; and {len(sentences) - 3} more" if len(sentences) > 3 else ""
    return "; ".join(sentences[:3]) + more


def _check_server(url: str) -> Iterator[Check]:
    secure = urllib.parse.urlsplit(url).scheme == "https"
    local = urllib.parse.urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
    if secure:
        yield Check("HTTPS", True, url)
    else:
        yield Check("HTTPS", None if local else False, f"{url} is not encrypted; put Caddy or another proxy in front")
    page_url = url.rstrip("/") + "/"
    try:
        status, headers, page = fetch(page_url)
    except (http.client.HTTPException, OSError, ValueError) as error:
        yield Check("server", False, f"{url} does not answer: {getattr(error, 'reason', None) or error}")
        return
    if status != 200:
        yield Check("server", False, f"{url} does not answer: HTTP Error {status}")
        return
    yield Check("server", True, f"{url} answers")
    yield _check_page(page_url, page)
    yield _check_headers(headers, secure)
    yield _check_clock(headers)


def _check_page(page_url: str, page: bytes) -> Check:
    problems = unreachable(page_url, page)
    if not problems:
        return Check("page", True, "everything that a browser asks for is answered")
    more = f", and {len(problems) - 2} more" if len(problems) > 2 else ""
    return Check(
        "page",
        False,
        f"a browser would not get through: {'; '.join(problems[:2])}{more}. The proxy must pass on all that is below this "
        "address; under a path, the server must know it (evalkit study serve --path, public_url, or X-Forwarded-Prefix from "
        "the --proxy)",
    )


def _check_headers(headers: Mapping[str, str], secure: bool) -> Check:
    wrong = [
        f"{name} lacks {part}" for name, parts in HEADERS.items() for part in parts if part not in headers.get(name, "")
    ]
    if secure and "strict-transport-security" not in headers:
        wrong.append("strict-transport-security is missing (the proxy sets it)")
    wrong += [f"{name} is set, and must not be" for name in ("set-cookie", "x-frame-options") if name in headers]
    if wrong:
        return Check("headers", False, f"{'; '.join(wrong)}; a proxy may have changed them")
    return Check("headers", True, "as they should be")


def _check_clock(headers: Mapping[str, str]) -> Check:
    try:
        theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return Check("clock", None, "not looked at: the server sends no date")
    skew = time.time() - theirs
    finding = f"server and this machine differ by {abs(skew):.0f} s"
    return Check("clock", abs(skew) <= CLOCK_TOLERANCE_S, finding)
