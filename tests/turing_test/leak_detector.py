"""An adversary: plays sessions as a browser would, writes down everything observable, and learns to guess the truth.

The adversary has all that a participant of several sessions can get (practice feedback tells it some truths; here it is
told all of them, to be on the safe side) and uses whatever helps: addresses, headers, lengths, latencies, JSON. It does
not look at pixels: what can be seen in them is what the study asks for.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import re
import struct
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from scipy.stats import mannwhitneyu
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from turing_test.simulation.play import DEVICE
from turing_test.stimuli.session_bytes import decode_png

REPEATS = 3  # each image is fetched so often: the mean of several latencies tells more than one


@dataclass
class Exchange:
    """One request and what came back."""

    path: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    latency_s: float


@dataclass
class ObservedTrial:
    """Everything observable about one trial."""

    number: int
    phase: str
    before: list[Exchange] = field(default_factory=list)
    images: list[list[Exchange]] = field(default_factory=list)
    after: list[Exchange] = field(default_factory=list)
    fake: str | None = None  # "first" or "second", as practice told


class Adversary:
    """Plays one session and records it; answers at random."""

    def __init__(self, url: str, rng: np.random.Generator) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        self._rng = rng
        self.token = ""
        self.trials: list[ObservedTrial] = []
        self.others: list[Exchange] = []

    def request(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Exchange:
        content = None if body is None else json.dumps(body)
        started = time.perf_counter()
        self._connection.request(verb, path, content, {"Content-Type": "application/json"} if content else {})
        answer = self._connection.getresponse()
        read = answer.read()
        elapsed = time.perf_counter() - started
        return Exchange(path, answer.status, tuple(answer.getheaders()), read, elapsed)

    def play(self) -> None:
        page = self.request("GET", "/")
        consent = re.search(rb'data-consent-hash="([0-9a-f]{64})"', page.body)
        assert consent is not None
        body = {"query": {}, "link": None, "consent": True, "consent_hash": consent[1].decode()}
        started = self.request("POST", "/api/sessions", body)
        assert started.status == 201, started.body
        self.token = json.loads(started.body)["token"]
        last = self.request("POST", f"/api/s/{self.token}/device", DEVICE)
        self.others += [page, started]
        while (trial := json.loads(last.body)["trial"]) is not None:
            last = self._play_trial(trial, last)
        self.others.append(last)
        self._connection.close()

    def _play_trial(self, trial: dict[str, Any], last: Exchange) -> Exchange:
        seen = ObservedTrial(trial["number"], trial["phase"])
        here = f"/api/s/{self.token}/trials/{trial['number']}"
        # What the last answer said of this trial, and the same asked for again.
        seen.before += [last, self.request("GET", f"/api/s/{self.token}")]
        seen.images = [[] for _ in trial["images"]]
        order = self._rng.permutation(len(trial["images"]))
        for _, k in itertools.product(range(REPEATS), order):
            seen.images[k].append(self.request("GET", trial["images"][k]))
        seen.before.append(self.request("POST", f"{here}/begin", {"load": "page"}))
        times = {"on_ms": 0, "off_ms": 20, "frames": 1, "largest_gap_ms": 17, "hidden": False}
        seen.after.append(self.request("POST", f"{here}/shown", {"load": "page", "first": times, "second": times}))
        choice = str(self._rng.choice(["first", "second"]))
        answer = self.request("POST", f"{here}/answer", {"response": choice, "response_ms": 500, "load": "page"})
        assert answer.status == 200, answer.body
        if trial["phase"] == "test":  # of a practice answer the page says whether it was right: meant to be known
            seen.after.append(answer)
        else:
            seen.fake = json.loads(answer.body)["feedback"]["fake"]
        self.trials.append(seen)
        return answer


# --- answers passed on -------------------------------------------------------------------------------------------


def file_hash(exchange: Exchange) -> str:
    """The very file."""
    return hashlib.sha256(exchange.body).hexdigest()


def pixel_hash(exchange: Exchange) -> str:
    """The very pixels, whatever the file."""
    return hashlib.sha256(decode_png(exchange.body).tobytes()).hexdigest()


def rough_look(exchange: Exchange) -> str:
    """What the picture is like: a small, coarse copy. Noise does not change it; nothing that leaves the picture would."""
    pixels = decode_png(exchange.body).astype(float)
    side = pixels.shape[0] // 4
    blocks = pixels.reshape(4, side, 4, side, 3).mean(axis=(1, 3))
    return str(np.rint(blocks / 4).astype(int).tolist())


def idat_length(exchange: Exchange) -> int:
    """Bytes of compressed pixels in a PNG."""
    total, at = 0, 8
    while at < len(exchange.body):
        length, kind = struct.unpack(">I4s", exchange.body[at : at + 8])
        total += length * (kind == b"IDAT")
        at += 12 + length
    return total


def passed_on(sessions: list[Adversary], fingerprint: Callable[[Exchange], str], *, partners: bool = True) -> list[int]:
    """Test pairs that each participant knows before looking, from what those before them have noted.

    The real photo is what several people saw with different partners (with ``partners``), or what practice told.
    """
    seen_with: dict[str, set[str]] = defaultdict(set)
    real: set[str] = set()
    counts = []
    for session in sessions:
        pairs = [(trial, [fingerprint(image[0]) for image in trial.images]) for trial in session.trials]
        counts.append(sum(bool(real & set(prints)) for trial, prints in pairs if trial.phase == "test"))
        for trial, (one, other) in pairs:
            if trial.fake is not None:
                real.add(other if trial.fake == "first" else one)
            if partners:
                seen_with[one].add(other)
                seen_with[other].add(one)
        real |= {image for image, others in seen_with.items() if len(others) > 1}
    return counts


# --- from observations to features -------------------------------------------------------------------------------


def describe(name: str, value: Any, into: dict[str, float]) -> None:
    """Anything as numbers: structure, numbers, whole texts, and what a text looks like."""
    if isinstance(value, dict):
        into[f"{name}: keys {','.join(value)}"] = 1
        for key, inner in value.items():
            describe(f"{name}.{key}", inner, into)
    elif isinstance(value, list):
        into[f"{name}: items"] = len(value)
        for k, inner in enumerate(value):
            describe(f"{name}[{k}]", inner, into)
    elif isinstance(value, bool) or value is None:
        into[f"{name} = {value}"] = 1
    elif isinstance(value, int | float):
        into[name] = value
    else:
        text = str(value)
        into[f"{name} = {text[:200]}"] = 1
        into[f"{name}: length"] = len(text)
        into[f"{name}: digits"] = sum(c.isdigit() for c in text) / max(len(text), 1)
        into[f"{name}: capitals"] = sum(c.isupper() for c in text) / max(len(text), 1)
        for k, c in enumerate(text[-4:]):
            into[f"{name}: character {k - 4}"] = ord(c)


def image_features(exchanges: list[Exchange]) -> dict[str, float]:
    """What is observable of one image besides its pixels."""
    found: dict[str, float] = {"bytes": len(exchanges[0].body), "status": exchanges[0].status}
    describe("address", exchanges[0].path.rpartition("/")[2], found)
    latencies = np.array([exchange.latency_s for exchange in exchanges])
    found |= {"latency first": latencies[0], "latency least": latencies.min(), "latency mean": latencies.mean()}
    found["header order " + ",".join(name for name, _ in exchanges[0].headers)] = 1
    for name, value in exchanges[0].headers:
        if name != "Date":  # says when, which the adversary knows
            describe(f"header {name}", value, found)
    return found


def trial_features(trial: ObservedTrial) -> dict[str, float]:
    """What is observable of a trial: each image, their difference, and the JSON before and after the answer."""
    found: dict[str, float] = {}
    images = [image_features(exchanges) for exchanges in trial.images]
    for side, features in zip(("first", "second"), images, strict=True):
        found |= {f"{side} {name}": value for name, value in features.items()}
    for name in set(images[0]) | set(images[1]):
        found[f"first - second {name}"] = images[0].get(name, 0) - images[1].get(name, 0)
    for when, exchanges in (("before", trial.before), ("after", trial.after)):
        for k, exchange in enumerate(exchanges):
            found[f"{when} {k} latency"] = exchange.latency_s
            found[f"{when} {k} bytes"] = len(exchange.body)
            describe(f"{when} {k}", json.loads(exchange.body), found)
    return found


@dataclass(frozen=True)
class Guess:
    """How well the truth can be guessed: area under the ROC curve out of fold, its p-value, and what gave it away."""

    auc: float
    p: float
    evidence: tuple[str, ...]


def guess(trials: list[dict[str, float]], truth: np.ndarray, sessions: np.ndarray) -> Guess:
    """Learn on some sessions, guess on others; the better of two classifiers, p for at least one of them by chance."""
    where: dict[str, set[int]] = defaultdict(set)
    for features, session in zip(trials, sessions, strict=True):
        for name in features:
            where[name].add(int(session))
    # What stands in one session alone (its tokens) cannot be learnt.
    names = sorted(name for name, found in where.items() if len(found) > 1)
    table = np.array([[features.get(name, 0.0) for name in names] for features in trials])
    varies = table.std(axis=0) > 0
    table, names = table[:, varies], [name for name, kept in zip(names, varies, strict=True) if kept]
    models = {
        "forest": RandomForestClassifier(100, max_features=0.1, random_state=0),
        "linear": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, solver="liblinear")),
    }
    results = []
    for model in models.values():
        folds = GroupKFold(4)
        scores = cross_val_predict(model, table, truth, groups=sessions, cv=folds, method="predict_proba")[:, 1]
        test = mannwhitneyu(scores[truth], scores[~truth], alternative="greater")
        results.append((test.pvalue, test.statistic / (truth.sum() * (~truth).sum())))
    p, auc = min(results)
    forest = models["forest"].fit(table, truth)
    strongest = np.argsort(forest.feature_importances_)[::-1][:5]
    return Guess(float(auc), min(1.0, len(models) * float(p)), tuple(names[k] for k in strongest))
