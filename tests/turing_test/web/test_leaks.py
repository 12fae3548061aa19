"""Nothing that a participant can observe, besides the pixels, tells the real photo from the fake.

An adversary (`leak_detector`) plays whole sessions over real HTTP. With the study as it is, its guesses are at chance;
switch off any one of the counter-measures and they are not.
"""

from __future__ import annotations

import json
import random
import re
import time
import zlib
from functools import cache

import numpy as np
import pytest
from PIL import Image

import turing_test.web.app
import turing_test.web.replies
from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab
from tests.turing_test.leak_detector import (
    Adversary,
    file_hash,
    guess,
    idat_length,
    passed_on,
    pixel_hash,
    rough_look,
    trial_features,
)
from turing_test.server.local_server import local_server
from turing_test.simulation.recognition import Recognition
from turing_test.stimuli.create import create_study
from turing_test.study.study_folder import read_study

N_IMAGES = 22
SETTINGS = {
    "size": 64, "practice_trials": 2, "test_trials": 16, "vigilance_trials": 4, "reserve_trials": 4,
    "first_blank_ms": 0, "blank_ms": 0, "image_ms": 20, "gap_ms": 0, "answer_delay_ms": 0,
}  # fmt: skip
METHODS = {"soft-colorizer": 0.6, "bold-colorizer": 1.3}
CHANCE = 1e-4  # a p-value below it is no chance


@pytest.fixture(scope="module")
def images(tmp_path_factory, photos):
    """Crops of real photos as JPEG, and colorizations of them: chroma scaled, as PNG."""
    folder = tmp_path_factory.mktemp("leaks")
    for name in ("truth", *METHODS):
        (folder / name).mkdir()
    crops = [
        np.ascontiguousarray(photo[top : top + 128 : 2, left : left + 128 : 2])
        for photo in photos.values()
        for top, left in ((0, 0), (60, 100), (120, 20), (150, 200))
    ]
    for k, crop in enumerate(crops[:N_IMAGES]):
        Image.fromarray(crop).save(folder / "truth" / f"photograph-{k}.jpg", quality=95)
        for name, factor in METHODS.items():
            lab = srgb8_to_lab(crop)
            lab[..., 1:] *= factor
            Image.fromarray(lab_to_srgb8(lab)[0]).save(folder / name / f"photograph-{k}.png")
    return folder


def make_study(images, folder):
    return create_study(folder, images / "truth", {name: images / name for name in METHODS}, settings=SETTINGS).study


def observe(study, n_sessions, seed=0):
    """Sessions as an adversary saw them."""
    sessions = []
    with local_server(study) as url:
        for k in range(n_sessions):
            adversary = Adversary(url, np.random.default_rng([seed, k]))
            adversary.play()
            sessions.append(adversary)
    return sessions


def truths(study, trial):
    """Roles of the images of a trial, which the adversary has no means to know."""
    return [role_of(study, exchanges[0].path, exchanges[0].body) for exchanges in trial.images]


@cache
def recognition(folder):
    return Recognition(read_study(folder))


def stimulus_at(study, path, body):
    """What was sent at an address."""
    return recognition(study.folder).stimulus(body, path.partition("?")[0].rpartition("/")[2])


def role_of(study, path, body):
    """Role of what was sent at an address; None when that is no image."""
    return stimulus_at(study, path, body).role if body.startswith(b"\x89PNG") else None


QUESTIONS = {
    "which side is real": lambda roles: roles[0] == "truth",
    "whether it is a vigilance trial": lambda roles: "vigilance" in roles,
}


def guessed(study, sessions, question="which side is real"):
    """How well the adversary guesses, over all trials; practice ones before their answer.

    That practice has no vigilance trials is no secret, and would be learnt: there it is asked of the test alone.
    """
    known = {"practice"} if question == "whether it is a vigilance trial" else set()
    tests = [(k, trial) for k, session in enumerate(sessions) for trial in session.trials if trial.phase not in known]
    answers = np.array([QUESTIONS[question](truths(study, trial)) for _, trial in tests])
    return guess([trial_features(trial) for _, trial in tests], answers, np.array([k for k, _ in tests]))


@pytest.fixture(scope="module")
def study(images, tmp_path_factory):
    return make_study(images, tmp_path_factory.mktemp("study") / "study")


@pytest.fixture(scope="module")
def sessions(study):
    return observe(study, 16)


class TestAsItIs:
    @pytest.mark.parametrize("question", QUESTIONS)
    def test_the_adversary_is_at_chance(self, study, sessions, question):
        found = guessed(study, sessions, question)
        if found.p <= CHANCE:  # tokens are random: what luck has shown, other sessions do not show again
            found = guessed(study, observe(study, 32, seed=1), question)
        assert found.p > CHANCE, f"guessed with AUC {found.auc:.2f} (p = {found.p:.1e}) from {found.evidence}"

    def test_both_images_of_a_pair_come_with_the_same_headers_and_length(self, sessions):
        for session in sessions:
            for trial in session.trials:
                seen = {
                    (e.status, len(e.body), *((name, value) for name, value in e.headers if name != "Date"))
                    for exchanges in trial.images
                    for e in exchanges
                }
                assert len(seen) == 1

    def test_images_carry_no_header_that_could_tell(self, sessions):
        names = {
            name.lower() for s in sessions for t in s.trials for es in t.images for e in es for name, _ in e.headers
        }
        assert names & {"etag", "last-modified", "content-disposition", "set-cookie", "accept-ranges"} == set()
        assert names >= {"content-type", "content-length", "cache-control", "x-content-type-options"}

    def test_no_name_of_an_image_method_role_or_file_ever_comes(self, study, sessions):
        words = {*METHODS, "photograph-", "vigilance", "catch", "real_position", *study.manifest.stimuli}
        for session in sessions:
            exchanges = [*session.others]
            for trial in session.trials:
                exchanges += [*trial.before, *trial.after, *(e for es in trial.images for e in es)]
            for exchange in exchanges:
                headers = "".join(f"{name}:{value}" for name, value in exchange.headers)
                text = exchange.body.decode("latin-1") if not exchange.path.startswith("/stimuli") else ""
                for word in words:
                    assert word not in exchange.path + headers + text

    def test_an_answer_of_the_test_is_acknowledged_the_same_way_right_or_wrong(self, sessions):
        shapes = set()
        for session in sessions:
            for trial in session.trials:
                if trial.phase == "test" and trial.number < SETTINGS["practice_trials"] + SETTINGS["test_trials"] - 1:
                    body = json.loads(trial.after[-1].body)
                    assert body["feedback"] is None
                    shapes.add(
                        re.sub(r"/stimuli/[^\"]+", "image", json.dumps({**body, "trial": None, "progress": None}))
                    )
        assert len(shapes) == 1

    def test_the_end_tells_no_score(self, sessions):
        for session in sessions:
            outcome = json.loads(session.others[-1].body)["outcome"]
            assert outcome.keys() == {"outcome", "code", "redirect", "form", "give_back"}

    def test_addresses_of_one_image_differ_in_every_session(self, study, sessions):
        seen = {}
        for session in sessions:
            for trial in session.trials:
                for exchanges in trial.images:
                    sha = rough_look(exchanges[0])
                    address = exchanges[0].path.rpartition("/")[2]
                    assert address not in seen.setdefault(sha, set())
                    seen[sha].add(address)
        assert max(map(len, seen.values())) > 5


# --- each counter-measure switched off ---------------------------------------------------------------------------


@pytest.fixture
def tamper(monkeypatch):
    """Wrap the server: `change(status, headers, body, roles)` may alter what is sent for an image."""

    def apply(study, change):
        make = turing_test.web.app.create_app

        def tampered(*words, **options):
            app = make(*words, **options)
            honest = app.wsgi_app

            def wsgi(environ, start_response):
                kept = []
                body = b"".join(honest(environ, lambda status, headers, exc=None: kept.extend((status, list(headers)))))
                status, headers = kept
                if environ["PATH_INFO"].startswith("/stimuli/") or environ["PATH_INFO"].startswith("/api/s/"):
                    body = change(study, environ["PATH_INFO"], headers, body)
                    headers[:] = [(n, str(len(body)) if n == "Content-Length" else v) for n, v in headers]
                start_response(status, headers)
                return [body]

            app.wsgi_app = wsgi
            return app

        monkeypatch.setattr(turing_test.web.app, "create_app", tampered)

    return apply


def etag_of_the_content(study, path, headers, body):
    """Of the file on the server, as static file servers make it."""
    if role_of(study, path, body) is not None:
        stimulus = stimulus_at(study, path, body)
        sha = study.find(stimulus.image, stimulus.role, stimulus.method)
        headers.append(("ETag", f'"{sha[:16]}"'))
    return body


def time_of_the_file(study, path, headers, body):
    """Like a static file server: photos were copied first, each method's images later."""
    role = role_of(study, path, body)
    if role is not None:
        headers.append(("Last-Modified", f"Mon, 01 Jan 2024 {'10' if role == 'truth' else '11'}:00:00 GMT"))
    return body


def slower_for_fakes(study, path, headers, body):
    if role_of(study, path, body) not in (None, "truth"):
        time.sleep(0.015)
    return body


LEAKS = {
    "an ETag from the content": etag_of_the_content,
    "the time of the file": time_of_the_file,
    "another way through the server for fakes": slower_for_fakes,
}


@pytest.mark.parametrize("leak", LEAKS)
def test_the_adversary_finds_the_truth_from(leak, study, tamper, tmp_path, images):
    own = make_study(images, tmp_path / "study")
    tamper(own, LEAKS[leak])
    found = guessed(own, observe(own, 10, seed=1))
    assert found.p < CHANCE, f"missed: AUC {found.auc:.2f}, p = {found.p:.1e}"
    assert found.auc > 0.7


def version_in_the_address(made, snapshot):
    """A cache buster, as web frameworks add it: the digest of the file."""
    trial = snapshot.current
    shas = (trial.first_sha, trial.second_sha)
    made["images"] = [f"{address}?v={sha[:8]}" for address, sha in zip(made["images"], shas, strict=True)]


def right_answer_in_the_json(made, snapshot):
    """A key that the page does not show, but that is there."""
    made["check"] = {"first": 3, "second": 7}[snapshot.current.real_position]


@pytest.mark.parametrize("leak", [version_in_the_address, right_answer_in_the_json])
def test_the_adversary_finds_the_truth_from_a(leak, study, monkeypatch, tmp_path, images):
    honest = turing_test.web.replies.view

    def view(study, token, snapshot, broken_rule=None, **options):
        made = honest(study, token, snapshot, broken_rule, **options)
        if made["trial"] is not None:
            leak(made["trial"], snapshot)
        return made

    monkeypatch.setattr("turing_test.web.replies.view", view)
    own = make_study(images, tmp_path / "study")
    found = guessed(own, observe(own, 10, seed=3))
    assert found.p < CHANCE, f"missed: AUC {found.auc:.2f}, p = {found.p:.1e}"
    assert found.auc > 0.7


def test_the_adversary_finds_the_truth_from_the_length_of_compressed_files(monkeypatch, tmp_path, images):
    monkeypatch.setattr("turing_test.stimuli.session_bytes._stored", lambda content: [zlib.compress(content, 1)])
    # The noise hides some of the difference, not all: without it ten sessions are enough to see it.
    none = 0x5555_5555_5555_5555  # one more than the least value, everywhere
    monkeypatch.setattr(
        "turing_test.stimuli.session_bytes._noise", lambda n_words, _: np.full(n_words, none, np.uint64)
    )
    study = make_study(images, tmp_path / "study")
    sessions = observe(study, 10, seed=2)
    found = guessed(study, sessions)
    assert found.p < CHANCE, f"missed: AUC {found.auc:.2f}, p = {found.p:.1e}"
    assert found.auc > 0.7
    assert right_by_length(study, sessions) > 0.55


def right_by_length(study, sessions):
    """Share of pairs with the paler method in which the longer compressed data are the real photo's; a half is chance."""
    right = []
    for session in sessions:
        for trial in session.trials:
            shown = [stimulus_at(study, exchanges[0].path, exchanges[0].body) for exchanges in trial.images]
            if "soft-colorizer" in {stimulus.method for stimulus in shown}:
                lengths = [idat_length(exchanges[0]) for exchanges in trial.images]
                real = [stimulus.role for stimulus in shown].index("truth")
                right.append(0.5 if lengths[0] == lengths[1] else lengths[real] == max(lengths))
    return np.mean(right)


# --- answers passed on from one participant to the next --------------------------------------------------------------


class TestAnswersPassedOn:
    """Five people who write down what they got, each for those after them."""

    def test_files_and_pixels_are_of_no_use_to_the_second_and_the_fifth(self, sessions):
        for fingerprint in (file_hash, pixel_hash):
            assert passed_on(sessions[:5], fingerprint) == [0] * 5

    def test_what_practice_told_is_of_no_use_even_to_who_recognises_a_picture(self, sessions):
        assert passed_on(sessions[:5], rough_look, partners=False) == [0] * 5

    def test_compressed_lengths_are_equal(self, study, sessions):
        assert right_by_length(study, sessions) == 0.5

    @pytest.mark.parametrize(
        ("off", "fingerprint"), [(("image_noise",), pixel_hash), (("image_noise", "image_proof"), file_hash)]
    )
    def test_without_bytes_of_their_own_sessions_tell_each_other(self, off, fingerprint, monkeypatch, images, tmp_path):
        for name in off:
            length = {"image_noise": 32, "image_proof": 8}[name]
            monkeypatch.setattr(f"turing_test.web.images.{name}", lambda *_, length=length: bytes(length))
        counts = passed_on(observe(make_study(images, tmp_path / "study"), 5, seed=4), fingerprint)
        assert counts[0] == 0
        assert counts[4] > 8

    def test_without_practice_images_of_their_own_they_tell_each_other_too(self, monkeypatch, images, tmp_path):
        def any_images(study):
            return random.sample(study.manifest.images, study.protocol.practice_trials)

        monkeypatch.setattr("turing_test.sessions.assignment.practice_pool", any_images)
        sessions = observe(make_study(images, tmp_path / "study"), 8, seed=5)
        assert sum(passed_on(sessions, rough_look, partners=False)) > 8
