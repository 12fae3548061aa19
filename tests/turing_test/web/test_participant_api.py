"""The JSON interface of participants: what it answers, what it hides, what it refuses."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.turing_test.participants import DEVICE, exposure
from tests.turing_test.studies import IMAGE_MS, make_study
from turing_test.database import schema as tables
from turing_test.sessions.refusal import Refused
from turing_test.sessions.tokens import digest
from turing_test.simulation.recognition import Recognition
from turing_test.web.bodies import make_validators, read_body
from turing_test.web.limits import AddressLimit, Limits

MTURK = {
    "assignmentId": "A1", "hitId": "H1", "workerId": "W1", "turkSubmitTo": "https://workersandbox.mturk.com",
}  # fmt: skip
PROLIFIC = {"PROLIFIC_PID": "p1", "STUDY_ID": "s1", "SESSION_ID": "x1"}


@pytest.fixture
def participant(make_client, study):
    return make_client(study)


def stored(participant, *columns):
    storage = participant.app.extensions["turing_test"].storage
    return storage.read(lambda c: c.execute(sa.select(*columns)).all())


def error_of(response, status):
    assert response.status_code == status, response.text
    sentence = response.get_json()["error"]
    assert sentence.endswith((".", "!"))
    assert "\n" not in sentence
    return sentence


# --- the way through ---------------------------------------------------------------------------------------------


def test_a_session_goes_from_consent_to_a_code(participant):
    view = participant.enter()
    assert (view["state"], view["phase"], view["outcome"]) == ("screened", "instructions", None)
    assert view["trial"] == {**view["trial"], "number": 1, "of": 10, "phase": "practice", "mode": "show"}
    assert view["timing"]["image_ms"] == IMAGE_MS
    assert view["window"] == {"width": 640, "height": 112}
    view = participant.play()
    assert view["phase"] == "done"
    assert view["progress"] == [10, 10]
    assert view["outcome"]["outcome"] == "completed"
    assert len(view["outcome"]["code"]) == 10
    assert participant.view()["outcome"] == view["outcome"]


@pytest.mark.parametrize(
    ("preset", "response"), [("simultaneous", "second"), ("preference", "first"), ("naturalness", "no")]
)
def test_other_presets_pass_as_well(make_client, tmp_path, preset, response):
    participant = make_client(make_study(tmp_path / "study", preset))
    view = participant.enter()
    assert len(view["trial"]["images"]) == (1 if preset == "naturalness" else 2)
    assert participant.play(response)["state"] == "completed"
    wrong = "first" if preset == "naturalness" else "yes"
    other = make_client(participant.study)
    other.enter()
    other.show(1)
    assert "response must be one of" in error_of(other.answer(1, wrong), 400)


def test_practice_feedback_comes_with_the_answer_only(participant):
    participant.enter()
    participant.show(1)
    assert "feedback" not in participant.view()
    answered = participant.answer(1).get_json()
    assert set(answered["feedback"]) == {"correct", "fake"}
    for number in (2, 3):
        participant.show(number)
        last = participant.answer(number).get_json()
    assert last["feedback"] is None


def test_declining_ends_without_a_person(participant):
    view = participant.start(PROLIFIC, consent=False).get_json()
    assert view["outcome"]["outcome"] == "declined"
    assert stored(participant, tables.session.c.person_hash) == [(None,)]


def test_consent_to_another_text_is_refused(participant):
    participant.consent_hash = "0" * 64
    assert "consent text has changed" in error_of(participant.start(), 409)
    assert stored(participant, tables.session.c.id) == []


def test_crowd_platforms_get_their_own_endings(make_client, tmp_path):
    study = make_study(
        tmp_path / "study", prolific_completed="DONE", prolific_declined="NO", catch_trials=2, catch_pass=1
    )
    one = make_client(study)
    one.enter(query=PROLIFIC)
    assert one.play()["outcome"]["redirect"] == "https://app.prolific.com/submissions/complete?cc=DONE"
    two = make_client(study)
    two.enter(query=MTURK)
    form = two.play()["outcome"]["form"]
    assert form["action"] == "https://workersandbox.mturk.com/mturk/externalSubmit"
    assert form["fields"]["assignmentId"] == "A1"
    three = make_client(study)
    declined = three.start({**PROLIFIC, "PROLIFIC_PID": "p2"}, consent=False).get_json()
    assert declined["outcome"]["redirect"].endswith("cc=NO")


@pytest.mark.parametrize(
    "query",
    [
        # As CloudResearch Connect sends it.
        {"assignmentId": "0f8fad5bd9cb469fa16570867728950e", "participantId": "0d2b", "projectId": "77"},
        {"assignmentId": "0f8fad5bd9cb469fa16570867728950e", "hitId": "9"},
        {"assignmentId": ""},
    ],
)
def test_an_assignment_of_another_platform_is_no_mturk(make_client, tmp_path, query):
    here = make_study(tmp_path / "study", platforms=("mturk",))
    participant = make_client(here)
    participant.enter(query=query)
    outcome = participant.play()["outcome"]
    assert outcome["code"]  # shown, for CloudResearch asks for one; no form that MTurk would refuse
    assert outcome["form"] is None
    assert stored(participant, tables.session.c.platform, tables.session.c.completion_code) == [
        ("link", outcome["code"])
    ]


def test_who_fails_a_declared_check_gets_the_code_for_that(make_client, tmp_path):
    study = make_study(
        tmp_path / "study", catch_trials=2, catch_pass=2, prolific_completed="DONE", prolific_failed_checks="FAILED"
    )
    participant = make_client(study)
    participant.enter(query=PROLIFIC)
    sides = dict(stored(participant, tables.trial.c.position, tables.trial.c.real_position))
    for number in range(1, study.protocol.session_trials + 1):
        participant.show(number)
        view = participant.answer(number, sides[number]).get_json()
    assert view["outcome"]["outcome"] == "completed"
    assert view["outcome"]["redirect"].endswith("cc=FAILED")


def test_a_submit_address_that_is_not_mturks_is_refused(participant):
    for address in ("https://evil.example", "https://www.mturk.com.evil.example", "http://www.mturk.com", ""):
        error_of(participant.start({**MTURK, "turkSubmitTo": address}), 403)
    preview = participant.start({**MTURK, "assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"})
    assert "preview" in error_of(preview, 403)
    assert stored(participant, tables.session.c.id) == []


def test_simulated_sessions_need_the_servers_key(make_client, study):
    participant = make_client(study, simulation_key="open sesame")
    error_of(participant.start(simulated_key="guess"), 403)
    participant.enter(simulated_key="open sesame")
    assert participant.answer(1).status_code == 200
    assert stored(participant, tables.session.c.platform, tables.session.c.simulated) == [("simulated", True)]


def test_without_a_key_nobody_is_simulated(participant):
    error_of(participant.start(simulated_key=""), 403)


# --- reload and repeat -------------------------------------------------------------------------------------------


def test_after_a_reload_in_a_pair_another_pair_takes_its_place(make_client, tmp_path):
    participant = make_client(make_study(tmp_path / "study", practice_trials=0))
    before = participant.enter()
    participant.on_trial(1, "begin")
    participant.load = "load-2"
    assert participant.view()["trial"]["images"] == before["trial"]["images"]
    again = participant.on_trial(1, "begin").get_json()
    assert again["replaced"]
    assert again["view"]["trial"]["number"] == 1
    assert not set(again["view"]["trial"]["images"]) & set(before["trial"]["images"])
    assert participant.play()["state"] == "completed"


def test_after_a_reload_behind_a_pair_only_the_answer_is_asked_for(participant):
    participant.enter()
    participant.show(1)
    images = participant.view()["trial"]["images"]
    participant.load = "load-2"
    assert participant.view()["trial"]["mode"] == "answer_only"
    assert participant.client.get(images[0]).status_code == 404, "a second look"
    assert participant.answer(1).status_code == 200


def test_a_repeated_answer_is_acknowledged_alike(participant):
    participant.enter()
    participant.show(1)
    assert participant.answer(1).get_json() == participant.answer(1).get_json()
    error_of(participant.answer(1, "second"), 409)


def test_consent_sent_again_begins_no_second_session(make_client, study):
    one, two = make_client(study), make_client(study)
    for query in ({}, PROLIFIC):
        assert one.start(query, attempt="page-1").status_code == 201
        lost = one.token
        assert one.start(query, attempt="page-1").status_code == 201
        assert one.client.get(f"/api/s/{lost}").status_code == 404
        assert one.view()["state"] == "consented"
    two.start(attempt="page-2")
    assert len(stored(one, tables.session.c.id)) == 3


# --- what is hidden ----------------------------------------------------------------------------------------------


def test_no_answer_ever_tells_side_method_image_or_kind(make_client, tmp_path):
    study = make_study(tmp_path / "study", catch_trials=2)
    participant = make_client(study)
    texts = []
    view = participant.enter()
    while view["phase"] != "done":
        number = view["trial"]["number"]
        participant.show(number)
        view = participant.answer(number).get_json()
        texts.append(json.dumps(view))
    for secret in ("vigilance", "catch", "truth", "real", "method", "photo", "reserve"):
        assert not [text for text in texts if secret in text], secret


def test_both_images_of_a_pair_have_the_same_headers_and_length(participant):
    view = participant.enter()
    answers = [participant.client.get(url) for url in view["trial"]["images"] + view["next_images"]]
    assert len({tuple(answer.headers.items()) for answer in answers}) == 1
    headers = dict(answers[0].headers)
    assert headers == {
        "Content-Type": "image/png",
        "Content-Length": str(len(answers[0].data)),
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    recognition = Recognition(participant.study)
    shown = [
        recognition.stimulus(a.data, url.rpartition("/")[2]).role
        for a, url in zip(answers, view["trial"]["images"], strict=False)
    ]
    assert sorted(shown) == ["method", "truth"]


def test_pairs_a_little_ahead_are_served_none_that_was_shown_and_only_to_their_session(make_client, study):
    one, two = make_client(study), make_client(study)
    view = one.enter()
    two.enter()
    tokens = dict(stored(one, tables.trial.c.first_token, tables.trial.c.position))
    served = Counter()
    for token, position in tokens.items():
        if one.client.get(f"/stimuli/{one.token}/{token}").status_code == 200:
            served[position] += 1
        if view["trial"]["images"][0].endswith(token):
            assert two.client.get(f"/stimuli/{two.token}/{token}").status_code == 404
    assert served == dict.fromkeys(range(1, 8), 1)  # of each pair the first image was asked for
    ahead = one.client.get(f"/api/s/{one.token}/ahead").get_json()["images"]
    assert ahead[:2] == view["next_images"]
    assert len(ahead) == 12
    one.show(1)
    assert one.client.get(view["trial"]["images"][0]).status_code == 404
    one.play()
    assert one.client.get(view["trial"]["images"][0]).status_code == 404


def test_plates_are_served_while_they_are_asked_for(make_client, tmp_path):
    participant = make_client(make_study(tmp_path / "study", color_vision=True))
    view = participant.enter()
    assert view["phase"] == "vision"
    assert [participant.client.get(url).status_code for url in view["plates"]] == [200] * 5
    answers = [plate.answer for plate in participant.study.manifest.plates]
    assert participant.on_session("vision", {"answers": answers}).get_json()["phase"] == "instructions"
    assert participant.client.get(view["plates"][0]).status_code == 404


# --- security ----------------------------------------------------------------------------------------------------


def test_tokens_are_long_random_and_not_in_the_database(make_client, study):
    participants = [make_client(study) for _ in range(20)]
    for participant in participants:
        participant.start()
    tokens = {participant.token for participant in participants}
    assert len(tokens) == 20
    assert min(len(token) for token in tokens) >= 22, "128 bits in base64"
    hashes = {row[0] for row in stored(participants[0], tables.session.c.token_hash)}
    assert hashes == {digest(token) for token in tokens}


def test_no_get_changes_anything(participant):
    participant.enter()
    participant.on_trial(1, "begin")
    everything = sorted(map(str, stored(participant, tables.session) + stored(participant, tables.trial)))
    rules = [rule for rule in participant.app.url_map.iter_rules() if "GET" in rule.methods]
    assert len(rules) >= 7
    for rule in rules:
        values = {"token": participant.token, "link": "x", "image": "y", "filename": "base.css", "position": 1}
        url = participant.app.url_map.bind("").build(
            rule.endpoint, {name: values.get(name, "x") for name in rule.arguments}
        )
        participant.client.get(url).close()
    assert sorted(map(str, stored(participant, tables.session) + stored(participant, tables.trial))) == everything


def test_another_sessions_token_is_needed_to_do_anything_with_it(make_client, study):
    one, two = make_client(study), make_client(study)
    one.enter()
    two.enter()
    two.token = two.token[:-1] + ("A" if two.token[-1] != "A" else "B")
    for response in (two.client.get(f"/api/s/{two.token}"), two.on_trial(1, "begin"), two.on_session("withdraw", {})):
        error_of(response, 404)
    assert stored(one, tables.session.c.state) == [("screened",), ("screened",)]


@pytest.mark.parametrize(
    ("action", "body", "sentence"),
    [
        ("begin", {}, "lacks load"),
        ("begin", {"load": ""}, "too short"),
        ("begin", {"load": 3}, "type string"),
        ("begin", {"load": "a\u0000"}, "not allowed"),
        ("begin", {"load": "a\n"}, "not allowed"),
        ("begin", {"load": "a", "more": 1}, "not known"),
        ("begin", [], "type object"),
        ("answer", {"load": "a", "response": "both", "response_ms": 1}, 'one of "first", "second"'),
        ("answer", {"load": "a", "response": "first", "response_ms": -1}, "response_ms must be at least 0"),
        ("answer", {"load": "a", "response": "first", "response_ms": True}, "type number"),
        ("shown", {"load": "a", "first": exposure()}, "lacks second"),
        ("shown", {"load": "a", "first": exposure(frames=1.5), "second": exposure()}, "type integer"),
    ],
)
def test_wrong_bodies_are_told_in_a_sentence_and_change_nothing(participant, action, body, sentence):
    participant.enter()
    response = participant.on_session(f"trials/1/{action}", body)
    assert sentence in error_of(response, 400)
    assert participant.view()["trial"]["mode"] == "show"


@pytest.mark.parametrize(
    ("schema", "value", "sentence"),
    [  # keywords that no body of today uses, and that a hand-written checker passed over in silence
        ({"type": "array", "minItems": 2}, [1], "answers has too few entries; at least 2 are allowed."),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 3, "answers is not of the form"),
        ({"const": "yes"}, "no", 'answers must be "yes".'),
        ({"$ref": "#/properties/load"}, 3, "answers must be of the type string."),
        ({"type": "number", "exclusiveMinimum": 0}, 0, "answers must be more than 0."),
    ],
)
def test_every_keyword_of_a_schema_is_checked_and_told(schema, value, sentence):
    app = Flask(__name__)
    whole = {"type": "object", "properties": {"load": {"type": "string"}, "answers": schema}}
    validate = make_validators({"vision": whole})["vision"]
    with app.test_request_context(json={"answers": value}), pytest.raises(Refused) as refused:
        read_body(validate)
    assert refused.value.status == 400
    assert sentence in refused.value.sentence


def test_bodies_that_are_no_json_are_refused(participant):
    participant.enter()
    url = f"/api/s/{participant.token}/withdraw"
    half_a_pair = b'{"simulated_key": "\xed\xa0\x80"}'
    for raw in (
        b"",
        b"{",
        b'{"a": NaN}',
        b"\xff",
        b'{"x": "\\ud800"}',
        b"[" * 15_000,
        half_a_pair,
        "{}".encode("utf-16"),
    ):
        error_of(participant.client.post(url, data=raw, content_type="application/json"), 400)
    error_of(participant.client.post(url, data=b"{}", content_type="text/plain"), 415)
    error_of(participant.client.post(url, data=b"{}"), 415)
    error_of(participant.client.post(url, data=b" " * 17_000, content_type="application/json"), 413)
    assert participant.view()["state"] == "screened"


@pytest.mark.parametrize(
    "path",
    [
        "/stimuli/{t}/..%2f..%2fsecret.key",
        "/stimuli/..%2f..%2fstudy.db/x",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/stimuli/{t}/" + "a" * 5000,
    ],
)
def test_paths_lead_nowhere_else(participant, path):
    participant.enter()
    assert participant.client.get(path.format(t=participant.token)).status_code == 404


def test_pages_run_no_foreign_and_no_inline_code(participant):
    response = participant.client.get("/")
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in response.headers
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in response.headers
    assert "<script>" not in response.text
    assert 'style="' not in response.text


def test_only_mturk_may_frame_the_page_and_only_its_own(participant):
    framed = participant.client.get("/", query_string=MTURK).headers["Content-Security-Policy"]
    assert "frame-ancestors https://www.mturk.com https://workersandbox.mturk.com https://worker.mturk.com" in framed
    assert (
        "frame-ancestors 'none'"
        in participant.client.get("/", query_string=PROLIFIC).headers["Content-Security-Policy"]
    )


def test_too_many_starts_at_once_are_slowed_down(make_client, study):
    participant = make_client(study, limits=Limits(starts=AddressLimit(3, 0.001)))
    answers = [participant.start() for _ in range(5)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429, 429]
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_errors_of_pages_are_sentences_as_well(participant):
    response = participant.client.get("/nowhere")
    assert (response.status_code, response.text) == (404, "There is nothing at this address.\n")
    assert participant.client.post("/").status_code == 405


def test_devices_are_stored_as_they_were_measured(participant):
    participant.enter()
    ((device, refresh_hz),) = stored(participant, tables.session.c.device, tables.session.c.refresh_hz)
    assert json.loads(device) == DEVICE
    assert refresh_hz == 60.0
