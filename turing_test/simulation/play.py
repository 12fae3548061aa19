"""Simulated observers take part in a study over HTTP, as a browser would, and remember every answer they sent.

They see the addresses and the bytes that participants get, and nothing more. What an image is they find out with the study
folder and its secret, which no participant has: with the noise of that session's image, one stimulus gives these pixels.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from evalkit.errors import InputError
from turing_test.simulation.observers import Observer, Population
from turing_test.simulation.recognition import Recognition
from turing_test.study.manifest import Stimulus
from turing_test.study.study_folder import Study

__all__ = ["Client", "Participation", "SentAnswer", "UnexpectedReply", "participate", "simulate"]

PATIENCE_S = 60.0  # how long a request is tried again while the server is away
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
TIMEOUT_S = 30.0
AWAY = (429, 502, 503, 504)  # too many at once, or the server behind a proxy is not there: later it will be
DEVICE = {
    "refresh_hz": 60.0,
    "device_pixel_ratio": 1,
    "color_gamut": "srgb",
    "color_scheme": "light",
    "forced_colors": False,
    "width": 1280,
    "height": 800,
    "touch": False,
    "user_agent_family": "simulated",
}


class UnexpectedReply(RuntimeError):
    """The server refused something that a participant may do, or sent what is no part of the interface."""

    def __init__(self, what: str, status: int, body: object) -> None:
        super().__init__(f"{what}: {status} {body}")
        self.status = status
        self.body = body


@dataclass(frozen=True, kw_only=True)
class SentAnswer:
    """An answer that the server acknowledged.

    Attributes
    ----------
    participant : int
        Index of the observer.
    trial : int
        As the participant counts, from 1.
    phase : str
        ``practice`` or ``test``.
    image : str
    first, second : str
        What was shown: ``truth``, ``vigilance``, ``catch`` or the method's name; second is "" with one image.
    response : str
    response_ms : float
    further : str
        The third and further images of a choice among several, with " / " between them.
    """

    participant: int
    trial: int
    phase: str
    image: str
    first: str
    second: str
    response: str
    response_ms: float
    further: str = ""


@dataclass(kw_only=True)
class Participation:
    """One observer's way through the study.

    Attributes
    ----------
    index : int
    kind : str
        Of the observer.
    state : str
        The last that the server said; ``left`` for who dropped out, ``full`` when the study needed nobody any more.
    token : str
        Of the session; "" where there is none.
    code : str or None
        Completion code.
    answers : list of SentAnswer
        In order.
    """

    index: int
    kind: str
    state: str = ""
    token: str = field(default="", repr=False)
    code: str | None = None
    answers: list[SentAnswer] = field(default_factory=list)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The answers as records, with kind and state of the observer."""
        for answer in self.answers:
            yield {**asdict(answer), "kind": self.kind, "state": self.state, "code": self.code or ""}


class Client:
    """HTTP over one connection that is kept open; requests are repeated while the server is away.

    Every request of the interface may be sent twice without harm, so repeating is safe.

    Parameters
    ----------
    url : str
        Of the server.
    patience_s : float
        How long to try.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"--url {url}: is no address; write for example http://127.0.0.1:8000.")
        self.base = url.rstrip("/") + "/"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._patience_s = patience_s

    def get(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (names in lower case) and body."""
        return self._request("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and the JSON answer."""
        status, _, content = self._request("POST", path, json.dumps(body).encode())
        try:
            answer = json.loads(content)
        except ValueError:
            raise UnexpectedReply(f"POST {path}", status, content[:200]) from None
        return status, answer

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _request(self, verb: str, path: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        target = urlsplit(urljoin(self.base, path))
        path = target.path + (f"?{target.query}" if target.query else "")
        deadline, pause = time.monotonic() + self._patience_s, FIRST_PAUSE_S
        while True:
            failure: Exception
            try:
                self._connection.request(verb, path, body, headers)
                answer = self._connection.getresponse()
                content = answer.read()
                if answer.status not in AWAY:
                    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content
                failure = UnexpectedReply(f"{verb} {path}", answer.status, content[:200])
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                failure = error
            if time.monotonic() + pause > deadline:
                raise failure
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)


def participate(
    observer: Observer, study: Study, url: str, key: str, recognition: Recognition | None = None
) -> Participation:
    """Play one session from the first page to the end, or to where the observer leaves.

    Parameters
    ----------
    observer : Observer
    study : Study
        Tells what the images are.
    url : str
        Where the study is served.
    key : str
        The server's simulation key.
    recognition : Recognition, optional
        Of the study; made here when it is not given, which takes a while.

    Returns
    -------
    Participation

    Raises
    ------
    UnexpectedReply
        When the server refuses something that participants may do.
    OSError
        When the server stays away.
    """
    played = Participation(index=observer.index, kind=observer.kind)
    recognition = recognition or Recognition(study)
    client = Client(url)
    try:
        view = _start(client, played, key)
        while view is not None:
            phase = view["phase"]
            session = f"api/s/{played.token}"
            if phase == "device":
                view = _expect(client, f"{session}/device", DEVICE)
            elif phase == "vision":
                view = _expect(
                    client, f"{session}/vision", {"answers": [plate.answer for plate in study.manifest.plates]}
                )
            elif view["trial"] is not None:
                trial = view["trial"]
                if trial["number"] > observer.last_trial(trial["of"]):
                    played.state = "left"
                    return played
                view = _answer(client, observer, study, played, trial, recognition)
            else:
                outcome = view["outcome"] or {}
                played.state, played.code = outcome.get("outcome", view["state"]), outcome.get("code")
                return played
        return played
    finally:
        client.close()


def _start(client: Client, played: Participation, key: str) -> dict[str, Any] | None:
    _, _, page = client.get("")
    consent = re.search(rb'data-consent-hash="([0-9a-f]{64})"', page)
    if consent is None:
        raise UnexpectedReply("GET /", 200, "the page holds no consent text")
    body: dict[str, Any] = {
        "attempt": secrets.token_urlsafe(16),
        "query": {},
        "link": None,
        "consent": True,
        "consent_hash": consent[1].decode(),
        "simulated_key": key,
    }
    status, view = client.post("api/sessions", body)
    if view.get("state") == "full":
        played.state = "full"
        return None
    if status != 201:
        raise UnexpectedReply("POST api/sessions", status, view)
    played.token = view["token"]
    return view


def _answer(
    client: Client,
    observer: Observer,
    study: Study,
    played: Participation,
    trial: Mapping[str, Any],
    recognition: Recognition,
) -> dict[str, Any]:
    number, load = trial["number"], f"simulated-{observer.index}"
    address = f"api/s/{played.token}/trials/{number}"
    shown = [_look(client, recognition, image) for image in trial["images"]]
    if trial["mode"] == "show":
        begun = _expect(client, f"{address}/begin", {"load": load})
        if begun.get("replaced"):  # another load had begun it: the substitute is looked at next
            return dict(begun["view"])
    answer = observer.answer(shown, study.protocol.preset)
    body = {"response": answer.response, "response_ms": answer.response_ms, "load": load}
    view = _expect(client, f"{address}/answer", body)
    names = [stimulus.method or stimulus.role for stimulus in shown]
    played.answers.append(
        SentAnswer(
            participant=observer.index, trial=number, phase=trial["phase"], image=shown[0].image,
            first=names[0], second=names[1] if len(names) > 1 else "", further=" / ".join(names[2:]),
            response=answer.response, response_ms=answer.response_ms,
        )
    )  # fmt: skip
    return view


def _look(client: Client, recognition: Recognition, address: str) -> Stimulus:
    status, _, content = client.get(address)
    if status != 200:
        raise UnexpectedReply(f"GET {address}", status, content[:200])
    stimulus = recognition.stimulus(content, address.rpartition("/")[2])
    if stimulus is None:
        raise UnexpectedReply(f"GET {address}", status, "an image that is not in the study folder")
    return stimulus


def _expect(client: Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    status, answer = client.post(path, body)
    if status not in (200, 201):
        raise UnexpectedReply(f"POST {path}", status, answer)
    return answer


def simulate(
    study: Study,
    population: Population,
    url: str,
    key: str,
    *,
    concurrency: int = 20,
    on_participant: Callable[[int, int], None] | None = None,
) -> list[Participation]:
    """Let a population take part.

    Parameters
    ----------
    study : Study
    population : Population
    url : str
        Where the study is served.
    key : str
        The server's simulation key.
    concurrency : int, default 20
        How many take part at the same time.
    on_participant : callable, optional
        Called with the participants done so far and their total.

    Returns
    -------
    list of Participation
        In order of their index.

    Raises
    ------
    InputError
        A fool rate for a method that the study does not have.
    UnexpectedReply, OSError
        As `participate`; the first of any observer, once all others have ended.
    """
    unknown = sorted(set(population.fool_rates) - set(study.manifest.methods))
    if unknown:
        raise InputError(
            f"--fool-rate {unknown[0]}: the study has no such method; it has {', '.join(study.manifest.methods)}."
        )
    recognition = Recognition(study)
    with ThreadPoolExecutor(max_workers=min(concurrency, population.participants)) as pool:
        running = [
            pool.submit(participate, population.observer(k), study, url, key, recognition)
            for k in range(population.participants)
        ]
        for n_played, _ in enumerate(as_completed(running), start=1):
            if on_participant is not None:
                on_participant(n_played, population.participants)
    return [future.result() for future in running]
