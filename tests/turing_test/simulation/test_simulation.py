"""Simulated participants over real HTTP: what they sent is what is stored."""

import csv
import http.server
import math
import threading
from collections import Counter

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from PIL import Image

from analysis.report.preference import preference_paragraph
from analysis.study.preferences import analyze_preferences
from analysis.trials.columns import PLACES
from analysis.trials.trial_table import check_trials
from evalkit.errors import InputError
from tests.turing_test.server.test_serving import serving
from turing_test.commands import study_simulate
from turing_test.database import schema as tables
from turing_test.database.storage import Storage, default_url
from turing_test.results.export import raw_trials
from turing_test.server.local_server import local_server
from turing_test.simulation.observers import Population
from turing_test.simulation.play import Client, UnexpectedReply, simulate
from turing_test.stimuli.create import create_study

METHODS = ("mine", "other", "third")
SETTINGS = {"size": 64, "practice_trials": 2, "test_trials": 8, "vigilance_trials": 2, "reserve_trials": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Folders of fourteen small images."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name in ("truth", *METHODS):
        (folder / name).mkdir()
        for k in range(14):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / name / f"{k}.png")
    return folder


def make(images, folder, preset="zhang2016", **settings):
    methods = {name: images / name for name in METHODS}
    return create_study(folder, images / "truth", methods, preset=preset, settings={**SETTINGS, **settings}).study


def stored(study):
    """Every answer in the database, as `SentAnswer` has it, with the state of its session."""
    t, s = tables.trial.c, tables.session.c
    storage = Storage(default_url(study.folder))
    rows = storage.read(
        lambda connection: connection.execute(
            sa.select(s.id, s.state, s.platform, t.position, t.phase, t.image, t.first_sha, t.second_sha, t.response, t.response_ms)
            .join_from(tables.session, tables.trial)
            .where(t.state == "answered")
        ).all()
    )  # fmt: skip
    storage.close()
    return rows


def name_of(study, sha):
    stimulus = study.manifest.stimuli[sha]
    return stimulus.method or stimulus.role


def test_every_acknowledged_answer_is_stored_once_and_nothing_else_is(images, tmp_path):
    study = make(images, tmp_path / "study", catch_trials=1)
    population = Population(participants=25, fool_rates={"mine": 0.9}, dropouts=0.2, speeders=0.1, side_bias=0.1)
    with local_server(study, simulation_key="key") as url:
        played = simulate(study, population, url, "key", concurrency=8)
    sent = Counter(
        (a.trial, a.phase, a.image, a.first, a.second, a.response, a.response_ms) for p in played for a in p.answers
    )
    found = Counter(
        (r.position, r.phase, r.image, name_of(study, r.first_sha), name_of(study, r.second_sha), r.response, r.response_ms)
        for r in stored(study)
    )  # fmt: skip
    assert sent == found
    assert {row.platform for row in stored(study)} == {"simulated"}
    assert Counter(p.state for p in played) == {"completed": 20, "left": 5}
    assert [len(p.answers) == study.protocol.session_trials for p in played] == [p.state == "completed" for p in played]
    assert len({p.code for p in played if p.state == "completed"}) == 20


@pytest.mark.parametrize("preset", ["simultaneous", "preference", "naturalness"])
def test_every_preset_can_be_played(images, tmp_path, preset):
    special = {} if preset == "simultaneous" else {"vigilance_trials": 0}
    study = make(images, tmp_path / "study", preset, **special)
    with local_server(study, simulation_key="key") as url:
        played = simulate(study, Population(participants=3), url, "key")
    assert {p.state for p in played} == {"completed"}
    allowed = {"yes", "no"} if preset == "naturalness" else {"first", "second"}
    assert {answer.response for p in played for answer in p.answers} <= allowed


def test_the_colour_vision_screen_is_passed(images, tmp_path):
    study = make(images, tmp_path / "study", color_vision=True)
    with local_server(study, simulation_key="key") as url:
        assert [p.state for p in simulate(study, Population(participants=2), url, "key")] == ["completed"] * 2


def test_who_comes_too_late_finds_the_study_full(images, tmp_path):
    study = make(images, tmp_path / "study", sessions_per_method=2)
    with local_server(study, simulation_key="key") as url:
        played = simulate(study, Population(participants=8), url, "key", concurrency=4)
    assert Counter(p.state for p in played) == {"completed": 6, "full": 2}


def test_nobody_is_simulated_without_the_key(images, tmp_path):
    study = make(images, tmp_path / "study")
    for key in (None, "another"):
        with local_server(study, simulation_key=key) as url, pytest.raises(UnexpectedReply, match="403"):
            simulate(study, Population(participants=1), url, "key")
    assert stored(study) == []


def test_a_fool_rate_must_be_of_a_method(images, tmp_path):
    with pytest.raises(InputError, match="--fool-rate theirs: the study has no such method; it has mine, other, third"):
        simulate(make(images, tmp_path / "study"), Population(participants=1, fool_rates={"theirs": 1}), "http://x", "")


@pytest.mark.parametrize("url", ["study", "ftp://x", "http://"])
def test_an_address_must_be_one(url):
    with pytest.raises(InputError, match="is no address"):
        Client(url)


class TestAServerThatIsAwayForAWhile:
    """Answers each request with the next of `server.plan`: a status, or nothing at all."""

    @pytest.fixture
    def server(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                status = self.server.plan.pop(0)
                if status is not None:  # else the connection ends without a word
                    body = b"{}" if status == 200 else b"no JSON"
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *words):
                pass

        made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()
        made.server_close()

    def client(self, server, **options):
        return Client(f"http://127.0.0.1:{server.server_port}", **options)

    def test_is_asked_again_until_it_answers(self, server):
        server.plan = [503, None, 429, 502, 200]
        client = self.client(server)
        assert client.post("api/x", {}) == (200, {})
        client.close()

    def test_is_given_up_in_the_end(self, server):
        server.plan = [503] * 100
        client = self.client(server, patience_s=0.3)
        with pytest.raises(UnexpectedReply, match="503"):
            client.post("api/x", {})
        client.close()

    def test_is_not_asked_again_after_a_plain_no(self, server):
        server.plan = [409, 200]
        client = self.client(server)
        with pytest.raises(UnexpectedReply, match="409"):
            client.post("api/x", {})
        client.close()
        assert server.plan == [200]


class TestTheCommand:
    def run(self, *words, status=0):
        result = CliRunner().invoke(study_simulate.simulate_command, [*map(str, words)])
        assert result.exit_code == status, result.output
        return result

    def test_takes_a_spread_of_people_and_images_and_straight_liners(self, images, tmp_path):
        study = make(images, tmp_path / "study")
        out = tmp_path / "sent.csv"
        self.run(
            study.folder, "--participants", 3, "--straight-liners", 1, "--sd-person", 0.6, "--sd-image", 1, "--out", out
        )
        rows = list(csv.DictReader(out.read_text().splitlines()))
        assert {row["kind"] for row in rows} == {"straight-liner"}
        assert len({(row["participant"], row["response"]) for row in rows}) == 3
        assert len(rows) == 3 * 10

    def test_starts_a_server_plays_and_writes_what_was_sent(self, images, tmp_path):
        study = make(images, tmp_path / "study")
        out = tmp_path / "sent.csv"
        printed = self.run(
            study.folder, "--participants", 6, "--fool-rate", "mine=1", "--fool-rate", "other=0", "--out", out
        ).output
        assert "6 simulated participants: 6 completed" in printed
        assert "mine: attentive ones fooled in 12 of 12 test trials (1.000; expected 1.000)" in printed
        assert "other: attentive ones fooled in 0 of 12" in printed
        rows = list(csv.DictReader(out.read_text().splitlines()))
        assert len(rows) == 60
        assert math.isclose(
            sum(float(row["response_ms"]) for row in rows), sum(row.response_ms for row in stored(study))
        )

    def test_plays_on_a_server_that_runs(self, images, tmp_path):
        study = make(images, tmp_path / "study")
        with local_server(study, simulation_key="key") as url:
            printed = self.run(study.folder, "--participants", 2, "--url", url, "--key", "key").output
        assert "2 simulated participants: 2 completed" in printed

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--fool-rate", "mine"], "write METHOD=X"),
            (["--fool-rate", "mine=2"], "write METHOD=X"),
            (
                ["--fool-rate", "mine=0.2", "--fool-rate", "mine=0.4"],
                "mine has 0.2 already; allowed is one rate per method",
            ),
            (["--url", "http://127.0.0.1:1"], "needs the simulation key"),
            (["--url", "http://127.0.0.1:1", "--key", "k", "--database", "sqlite:///x"], "is for the server"),
        ],
    )
    def test_mistakes_are_sentences(self, images, tmp_path, words, message):
        study = make(images, tmp_path / "study")
        result = CliRunner().invoke(study_simulate.simulate_command, [str(study.folder), "--participants", "1", *words])
        assert isinstance(result.exception, InputError)
        assert message in str(result.exception)


def test_choices_among_several_are_played_over_http_and_rehearsed_to_the_end(images, tmp_path, database_url):
    study = make(
        images, tmp_path / "study", "preference", alternatives=3, test_trials=9, vigilance_trials=0, sessions_per_method=40,
        images_per_row=2,
    )  # fmt: skip
    population = Population(
        participants=24, fool_rates={"mine": 0.6, "other": 0.2, "third": 0.4}, guessers=0.1, seed=3, sd_person=0.3
    )
    with serving(study.folder, "--database", database_url, "--simulation-key", "key") as (_, _, port):
        played = simulate(study, population, f"http://127.0.0.1:{port}", "key", concurrency=4)
    assert {participation.state for participation in played} == {"completed"}
    answers = [answer for participation in played for answer in participation.answers if answer.phase == "test"]
    assert {len({a.first, a.second, a.further}) for a in answers} == {3}
    storage = Storage(database_url)
    table = check_trials(raw_trials(storage, study, simulated=True))
    storage.close()
    results = analyze_preferences(table)
    assert results.methods == ("mine", "third", "other")
    chosen = Counter({"first": "first", "second": "second", "third": "further"}[a.response] for a in answers)
    places = {share.name: share.n_chosen for share in results.places}
    assert places == {"first": chosen["first"], "second": chosen["second"], "third": chosen["further"]}
    sent = Counter(getattr(a, "further" if a.response == "third" else a.response) for a in answers)
    assert {share.name: share.n_chosen for share in results.choices} == dict(sent)
    assert all(share.chance == pytest.approx(1 / 3) for share in results.choices)
    text = preference_paragraph(results, "new people", 0.95)
    assert "choice among several (chance 33.3 %)" in text


def test_a_search_for_the_real_photo_among_several_is_played_over_http(images, tmp_path, database_url, capsys):
    study = make(
        images, tmp_path / "study", "simultaneous", alternatives=3, test_trials=8, vigilance_trials=2, sessions_per_method=40
    )  # fmt: skip
    # Worths 1 (the photo), 4 and 0.25: of three the photo is found in 1 of 5.25 trials beside both, in 1 of 2.25 at random.
    population = Population(participants=24, fool_rates={"mine": 0.8, "other": 0.2, "third": 0.2}, seed=3)
    with serving(study.folder, "--database", database_url, "--simulation-key", "key") as (_, _, port):
        played = simulate(study, population, f"http://127.0.0.1:{port}", "key", concurrency=4)
    assert {participation.state for participation in played} == {"completed"}
    answers = [answer for participation in played for answer in participation.answers]
    names = [(answer, (answer.first, answer.second, answer.further)) for answer in answers]
    checks = [(answer, shown) for answer, shown in names if "vigilance" in shown]
    assert len(checks) == 24 * 2
    assert {tuple(sorted(shown)) for _, shown in checks} == {("truth", "vigilance", "vigilance")}
    test = [(answer, shown) for answer, shown in names if answer.phase == "test" and "vigilance" not in shown]
    sent = Counter(shown[PLACES.index(answer.response)] for answer, shown in test)
    storage = Storage(database_url)
    table = check_trials(raw_trials(storage, study, simulated=True))
    storage.close()
    found = sum(shown[PLACES.index(answer.response)] == "truth" for answer, shown in checks)
    assert (table.of_kind("vigilance").value == 0).sum() == found > 24
    results = analyze_preferences(table)
    assert {share.name: share.n_chosen for share in results.choices} == dict(sent)
    shares = {share.name: share.n_chosen / share.n_trials for share in results.choices}
    assert shares["mine"] > shares["truth"] > max(shares["other"], shares["third"])
    study_simulate._report(study, population, played)
    printed = capsys.readouterr().out
    assert f"the real photo: found in {sent['truth']} of 144 test trials of attentive ones" in printed
    assert "mine: taken for the real photo in" in printed
    assert "chance 0.333" in printed
    assert "fooled" not in printed
