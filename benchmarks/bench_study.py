"""A study's server under load, beside a bare Flask app that does one durable INSERT a request, or sends constant bytes.

Both stand behind granian with the same number of threads, on the same kind of database, get the same requests and take
turns inside one run. Saturated: every participant answers as soon as the last answer was acknowledged. At people's
pace: whole trials (two images, begin, shown, answer) of as many participants as if they took 4.6 s a trial. Processor time is
that of the server's processes alone, which other work on the machine changes less than the time that passes.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.turing_test.postgres import find_postgres, postgres  # noqa: E402
from turing_test.sessions.tokens import new_token  # noqa: E402

KEY = "benchmark"
SECONDS_A_TRIAL = 4.6  # blank, two images, gap, and 1.1 s to answer
LONGEST_RUN_S = 600


# --- the servers -------------------------------------------------------------------------------------------------


def serve_bare(database: str, port: int, threads: int) -> None:
    """The app to compare with: parses the answer, inserts it, commits."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops

    engine = Granian(
        "bare", port=port, interface=Interfaces.RSGI, loop=Loops.asyncio, http=HTTPModes.http1, websockets=False,
        backpressure=8192, log_enabled=False,
    )  # fmt: skip
    engine.serve(target_loader=functools.partial(bare_app, database, threads), wrap_loader=False)


def bare_app(database: str, threads: int) -> Any:
    import threading

    from flask import Flask, Response, request

    from turing_test.server.bridge import Bridge

    app = Flask("bare")
    own = threading.local()
    columns = "session TEXT, number INTEGER, response TEXT, response_ms DOUBLE PRECISION"
    if database.startswith("sqlite:///"):
        import sqlite3

        def connect() -> Any:
            connection = sqlite3.connect(database.removeprefix("sqlite:///"), timeout=60, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            return connection

        insert = "INSERT INTO answer VALUES (?, ?, ?, ?)"
    else:
        import psycopg

        def connect() -> Any:
            return psycopg.connect(database, autocommit=True)

        insert = "INSERT INTO answer VALUES (%s, %s, %s, %s)"

    connect().execute(f"CREATE TABLE IF NOT EXISTS answer ({columns})")

    @app.post("/api/s/<session>/trials/<int:number>/answer")  # the very requests that the study gets
    def answer(session: str, number: int) -> dict[str, bool]:
        if not hasattr(own, "connection"):
            own.connection = connect()
        body = request.get_json()
        own.connection.execute(insert, (session, number, body["response"], body["response_ms"]))
        return {"stored": True}

    constant = functools.lru_cache(bytes)  # so many zeros

    @app.get("/constant/<int:length>")
    def send(length: int) -> Response:
        return Response(constant(length), mimetype="image/png")

    return Bridge(app, threads, on_start=lambda loop: None, on_end=lambda: None)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def processor_seconds(process: int) -> float:
    """That a process and its children have used."""
    ticks, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            key, values = int(stat.parent.name), stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[key], ticks[key] = int(values[1]), int(values[11]) + int(values[12])
    family = {process}
    for _ in range(4):  # generations
        family |= {key for key, parent in parents.items() if parent in family}
    return sum(ticks.get(key, 0) for key in family) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(words: list[str], port: int) -> Iterator[tuple[int, int]]:
    """A server process; its port and its process id."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{words} does not start") from None
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def make_study(folder: Path) -> Path:
    """A study with the paper's session (10 + 40 pairs) of noise photos at full size."""
    from turing_test.stimuli.create import create_study

    rng = np.random.default_rng(0)
    images = folder / "images"
    for name in ("truth", "one", "two"):
        (images / name).mkdir(parents=True)
    for index in range(64):
        low = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((256, 256), Image.BICUBIC)
        low.save(images / "truth" / f"{index:03}.png")
        for name in ("one", "two"):
            Image.blend(low, low.convert("L").convert("RGB"), 0.5).save(images / name / f"{index:03}.png")
    methods = {name: images / name for name in ("one", "two")}
    create_study(folder / "study", images / "truth", methods, settings={"sessions_per_method": 100_000})
    return folder / "study"


# --- the participants --------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Latencies of one run, seconds, and what went wrong."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    processor_s: float = 0.0

    def row(self) -> tuple[float, float, float, float, int]:
        """Requests a second, median and 99th percentile in ms, processor time of the server in ms a request, errors."""
        ordered = sorted(self.latencies)
        return (
            len(ordered) / self.seconds,
            1000 * statistics.median(ordered),
            1000 * ordered[int(0.99 * (len(ordered) - 1))],
            1000 * self.processor_s / len(ordered),
            self.errors,
        )


class Browser:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = ""
        self.number = 1
        self.view: dict[str, Any] = {}
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Open the connection, in place of an older one."""
        if self.writer is not None:
            self.writer.close()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    async def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body of the answer."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        assert self.writer is not None
        self.writer.write(head.encode() + b"\r\n" + data)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = answer.lower().index(b"content-length:") + 15
        return int(answer[9:12]), await self.reader.readexactly(int(answer[length : answer.index(b"\r\n", length)]))

    async def post(self, path: str, body: object) -> dict[str, Any]:
        """JSON out and in; an error of any kind raises."""
        status, data = await self.request("POST", path, body)
        if status >= 400:
            raise RuntimeError(f"{status} {data!r}")
        found: dict[str, Any] = json.loads(data)
        return found


async def timed(load: Load, action: Any) -> Any:
    start = time.perf_counter()
    try:
        result = await action
    except Exception as error:
        load.errors += 1
        if load.errors == 1:
            print("first error:", error, file=sys.stderr)
        return None
    load.latencies.append(time.perf_counter() - start)
    return result


async def together(browsers: list[Browser], process: int, play: Callable[[Browser, Load], Any]) -> Load:
    """All at once, against the server that is that process."""
    load = Load()
    start, used = time.perf_counter(), processor_seconds(process)
    await asyncio.gather(*(play(browser, load) for browser in browsers))
    load.seconds, load.processor_s = time.perf_counter() - start, processor_seconds(process) - used
    return load


async def begin_session(browser: Browser, load: Load, consent_hash: str) -> None:
    body = {"query": {}, "link": None, "consent": True, "consent_hash": consent_hash, "simulated_key": KEY}

    async def patiently() -> dict[str, Any]:
        while True:
            status, data = await browser.request("POST", "/api/sessions", body)
            if status == 201:
                found: dict[str, Any] = json.loads(data)
                return found
            if status != 429:  # too many at once: the page waits and tries again
                raise RuntimeError(f"{status} {data!r}")
            await asyncio.sleep(random.uniform(0.5, 1.5))

    started = await timed(load, patiently())
    if started is None:
        raise RuntimeError("a session could not be begun; there is nothing to measure")
    browser.token = started["token"]


async def tell_device(browser: Browser, load: Load) -> None:
    device = {
        "refresh_hz": 60, "device_pixel_ratio": 1, "color_gamut": "srgb", "color_scheme": "light", "forced_colors": False,
        "width": 1280, "height": 800, "touch": False, "user_agent_family": "Firefox",
    }  # fmt: skip
    browser.view = await browser.post(f"/api/s/{browser.token}/device", device)


def answers(count: int) -> Callable[[Browser, Load], Any]:
    """Each participant answers so many times."""

    async def play(browser: Browser, load: Load) -> None:
        for _ in range(count):
            body = {"load": "load-1", "response": "first", "response_ms": 512.5}
            view = await timed(load, browser.post(f"/api/s/{browser.token}/trials/{browser.number}/answer", body))
            browser.number += 1
            browser.view = view or browser.view

    return play


async def fetch_images(browser: Browser, load: Load) -> None:
    for url in [*browser.view["trial"]["images"], *browser.view["next_images"]]:
        found = await timed(load, browser.request("GET", url))
        load.errors += found is not None and found[0] != 200


def fetch_constant(length: int) -> Callable[[Browser, Load], Any]:
    """As many bytes as often as `fetch_images`."""

    async def play(browser: Browser, load: Load) -> None:
        for _ in range(4):
            await timed(load, browser.request("GET", f"/constant/{length}"))

    return play


def at_peoples_pace(seconds: float, requests: Load) -> Callable[[Browser, Load], Any]:
    """Whole trials, one every 4.6 s, beginning at a random moment; `load` has the answers, `requests` all."""

    async def play(browser: Browser, load: Load) -> None:
        await asyncio.sleep(random.uniform(0, SECONDS_A_TRIAL))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            due = time.perf_counter() + SECONDS_A_TRIAL
            trial = f"/api/s/{browser.token}/trials/{browser.number}"
            for url in browser.view["next_images"] or ():
                await timed(requests, browser.request("GET", url))
            await timed(requests, browser.post(f"{trial}/begin", {"load": "load-1"}))
            exposure = {"on_ms": 0, "off_ms": 1000, "frames": 60, "largest_gap_ms": 17, "hidden": False}
            await timed(
                requests, browser.post(f"{trial}/shown", {"load": "load-1", "first": exposure, "second": exposure})
            )
            await answers(1)(browser, load)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    return play


async def connect(browsers: list[Browser]) -> None:
    """Open their connections, or new ones: the server closes those that are silent for two minutes."""
    for start in range(0, len(browsers), 100):
        await asyncio.gather(*(browser.connect() for browser in browsers[start : start + 100]))


# --- one database ------------------------------------------------------------------------------------------------


async def measure(study: tuple[int, int], bare_app: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    (study_port, study_process), (bare_port, bare_process) = study, bare_app
    ours = [Browser(study_port) for _ in range(options.participants)]
    await connect(ours)
    _, html = await ours[0].request("GET", "/")
    consent_hash = html.decode().split('data-consent-hash="', 1)[1][:64]
    found: dict[str, Any] = {}
    found["start"] = await together(
        ours, study_process, lambda browser, load: begin_session(browser, load, consent_hash)
    )
    await together(ours, study_process, tell_device)
    bare = [Browser(bare_port) for _ in range(options.participants)]
    for browser in bare:
        browser.token = new_token()
    await connect([*ours, *bare])
    found["rounds"], found["images"] = [], []
    for _ in range(options.rounds):
        one = await together(bare, bare_process, answers(options.answers))
        two = await together(ours, study_process, answers(options.answers))
        found["rounds"].append((one, two))
    _, image = await ours[0].request("GET", ours[0].view["trial"]["images"][0])
    await together(
        ours, study_process, fetch_images
    )  # decodes what the study has: once, in a server that runs for weeks
    for first in range(options.rounds):
        group = slice(first, None, options.rounds)
        await together(ours[group], study_process, tell_device)  # as a page does that is loaded, before it fetches
        one = await together(bare[group], bare_process, fetch_constant(len(image)))
        two = await together(ours[group], study_process, fetch_images)
        found["images"].append((one, two))
    if options.pace_seconds:
        everything = Load()
        found["pace"] = await together(ours, study_process, at_peoples_pace(options.pace_seconds, everything))
        found["pace_requests"] = everything
    return found


def run_database(name: str, url: str, study: Path, options: argparse.Namespace) -> dict[str, Any]:
    threads = str(options.threads)
    with ExitStack() as stack:
        ports = free_port(), free_port()
        serve = ["-c", "from evalkit.cli import main; main()"]
        ours = stack.enter_context(
            running(
                [*serve, "study", "serve", str(study), "--port", str(ports[0]), "--database", url, "--threads", threads,
                 "--simulation-key", KEY, "--workers", str(1 if url.startswith("sqlite") else options.workers)],
                ports[0],
            )
        )  # fmt: skip
        bare_url = url.replace("study.db", "bare.db") if url.startswith("sqlite") else url
        bare = [__file__, "--serve-bare", bare_url, "--port", str(ports[1]), "--threads", threads]
        theirs = stack.enter_context(running(bare, ports[1]))
        return asyncio.run(asyncio.wait_for(measure(ours, theirs, options), LONGEST_RUN_S))


def _cells(values: list[float]) -> str:
    rate, middle, late, processor = values
    return f"{rate:,.0f} | {middle:,.1f} | {late:,.1f} | {processor:.2f}"


def _together(found: dict[str, Any]) -> float:
    """Milliseconds of processor time per request of whole trials, answers among them."""
    n_requests = len(found["pace"].latencies) + len(found["pace_requests"].latencies)
    return float(1000 * found["pace"].processor_s / n_requests)


def report(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        f"{options.participants:,} participants, {options.rounds} rounds, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, load average {os.getloadavg()[2]:.0f} at the end, the benchmark's own 3 included.",
    ]
    titles = "median, ms | 99 %, ms | processor, ms | errors |", "---:|---:|---:|---:|---:|"
    for key, what, bare, ours in (
        ("rounds", "answers", "one INSERT, bare Flask", "study"),
        ("images", "stimuli", "constant bytes, bare Flask", "study"),
    ):
        lines += ["", f"| database | | {what}/s | {titles[0]}", f"|---|---|{titles[1]}"]
        ratios = []
        for name, found in results.items():
            rows = [[load.row() for load in pair] for pair in found[key]]
            for index, who in enumerate((bare, ours)):
                columns = list(zip(*(pair[index] for pair in rows), strict=True))
                lines.append(
                    f"| {name} | {who} | {_cells([statistics.median(c) for c in columns[:4]])} | {sum(columns[4])} |"
                )
            each = [pair[1][0] / pair[0][0] for pair in rows]
            of_processor = statistics.median(pair[0][3] / pair[1][3] for pair in rows if pair[1][3])
            ratios.append(
                f"{name} {statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f}), by processor time "
                f"{of_processor:.2f}"
            )
        lines += ["", f"{what.capitalize()}, study / bare app, median of {options.rounds} rounds: {'; '.join(ratios)}."]
    lines += ["", f"| database | | requests/s | {titles[0]}", f"|---|---|{titles[1]}"]
    for name, found in results.items():
        for key, what in (
            ("start", "consent and assignment, all at once"),
            ("pace", "answers at people's pace"),
            ("pace_requests", "everything else at people's pace"),
        ):
            if key in found:
                load = found[key]
                if key == "pace_requests":
                    load.seconds = found["pace"].seconds
                row = load.row()
                processor = (
                    f"{row[3]:.2f}"
                    if key == "start"
                    else ""
                    if key == "pace"
                    else f"{_together(found):.2f} (with the answers)"
                )
                lines.append(
                    f"| {name} | {what} | {row[0]:,.0f} | {row[1]:,.1f} | {row[2]:,.1f} | {processor} | {row[4]} |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--answers", type=int, default=6, help="by each participant in a round; rounds x this <= 45")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1, help="processes of the study's server, with PostgreSQL")
    parser.add_argument("--pace-seconds", type=float, default=20.0)
    parser.add_argument("--databases", default="SQLite,PostgreSQL")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve-bare", metavar="DATABASE", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_bare:
        serve_bare(options.serve_bare, options.port, options.threads)
        return
    results = {}
    with tempfile.TemporaryDirectory(prefix="evalkit-bench-") as text:
        folder = Path(text)
        study = make_study(folder)
        if "SQLite" in options.databases:
            results["SQLite"] = run_database("SQLite", f"sqlite:///{folder / 'study.db'}", study, options)
        binaries = find_postgres()
        if "PostgreSQL" in options.databases and binaries is not None:
            with postgres(binaries, durable=True) as url:
                results["PostgreSQL"] = run_database("PostgreSQL", url, study, options)
    table = report(results, options)
    print(table)
    if options.out:
        options.out.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
