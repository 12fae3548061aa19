"""The researcher's page: who gets in, what it shows, what it hides."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.results.monitoring import look_at
from turing_test.web.dashboard_password import set_password

PASSWORD = "correct horse battery"


@pytest.fixture
def participant(make_client, study):
    set_password(study.folder, PASSWORD)
    return make_client(study)


def storage_of(participant):
    return participant.app.extensions["turing_test"].storage


def form_token(page):
    return re.search(r'name="form_token" value="([^"]+)"', page.text)[1]


def log_in(participant, password=PASSWORD, client=None, **more):
    client = client or participant.app.test_client()
    page = client.get("/dashboard", **more)
    data = {"password": password, "form_token": form_token(page)}
    return client, client.post("/dashboard/login", data=data, **more)


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))


# --- who gets in -------------------------------------------------------------------------------------------------


def test_without_a_password_the_dashboard_is_closed(make_client, study):
    participant = make_client(study)
    page = participant.client.get("/dashboard")
    assert "evalkit study password" in page.text
    assert "Recruitment" not in page.text
    client = participant.app.test_client()
    with client.session_transaction("/dashboard") as session:
        session["form"] = "x"
    assert client.post("/dashboard/login", data={"password": "", "form_token": "x"}).status_code == 403


def test_the_right_password_opens_it_and_a_wrong_one_does_not(participant):
    client, response = log_in(participant, "wrong")
    assert response.status_code == 403
    assert "not the password" in response.text
    assert "Recruitment" not in client.get("/dashboard").text
    client, response = log_in(participant)
    assert response.status_code == 303
    assert "Recruitment" in client.get("/dashboard").text
    copied = client.get_cookie("evalkit-dashboard", path="/dashboard").value
    other, _ = log_in(participant)
    client.post("/dashboard/logout", data={"form_token": form_token(client.get("/dashboard"))})
    assert "Recruitment" not in client.get("/dashboard").text
    thief = participant.app.test_client()
    thief.set_cookie("evalkit-dashboard", copied, path="/dashboard")
    assert "Recruitment" not in thief.get("/dashboard").text, "a copy of the cookie ends with the login"
    assert "Recruitment" in other.get("/dashboard").text, "other logins go on"


def test_the_cookie_is_http_only_same_site_and_secure_where_the_page_is(participant):
    _, response = log_in(participant)
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/dashboard" in cookie
    assert "Secure" not in cookie
    _, response = log_in(participant, base_url="https://localhost")
    assert "Secure" in response.headers["Set-Cookie"]


def test_a_new_password_ends_all_logins(participant):
    client, _ = log_in(participant)
    set_password(participant.study.folder, "another password")
    assert "Recruitment" not in client.get("/dashboard").text


def test_forms_of_other_sites_do_nothing(participant):
    client = participant.app.test_client()
    assert client.post("/dashboard/login", data={"password": PASSWORD}).status_code == 400
    client, _ = log_in(participant)
    for path in ("unlock", "logout"):
        assert client.post(f"/dashboard/{path}", data={"form_token": "guess"}).status_code == 400
    assert "Hidden while recruiting" in client.get("/dashboard").text
    assert participant.app.test_client().post("/dashboard/unlock").status_code == 403


def test_passwords_cannot_be_tried_fast_and_others_may_still_log_in(participant):
    elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    tries = [log_in(participant, "wrong", **elsewhere)[1] for _ in range(7)]
    assert [response.status_code for response in tries] == [403] * 5 + [429] * 2
    assert int(tries[-1].headers["Retry-After"]) > 0
    assert log_in(participant, PASSWORD, **elsewhere)[1].status_code == 429, "not even with the right one"
    assert log_in(participant)[1].status_code == 303


def test_a_forged_cookie_does_not_help(participant):
    client = participant.app.test_client()
    client.set_cookie("evalkit-dashboard", "eyJpbiI6InRydWUifQ.aaaa.bbbb", path="/dashboard")
    assert "Recruitment" not in client.get("/dashboard").text


def test_the_page_runs_no_inline_code_and_cannot_be_framed(participant):
    client, _ = log_in(participant)
    page = client.get("/dashboard")
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", page.text)


# --- what it shows -----------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_sessions(make_client, tmp_path):
    study = make_study(tmp_path / "study", n_methods=1, sessions_per_method=3, catch_trials=2, catch_pass=2)
    set_password(study.folder, PASSWORD)
    people = [make_client(study) for _ in range(4)]
    for person in people:
        if person is not people[3]:
            person.enter()
    sides = dict(
        storage_of(people[0]).read(
            lambda c: c.execute(
                sa.select(tables.trial.c.position, tables.trial.c.real_position).where(tables.trial.c.session_id == 1)
            ).all()
        )
    )
    for number in range(1, study.protocol.session_trials + 1):  # all right
        people[0].show(number)
        people[0].answer(number, "second" if sides[number] == "first" else "first")
    people[1].play("first")  # fails one of two catch trials
    people[2].show(1)
    people[2].answer(1)
    people[2].on_session("withdraw", {})
    people[3].start(consent=False)
    progress = storage_of(people[0]).read(lambda connection: look_at(connection, study))
    (arm,) = progress.arms
    assert (arm.valid, arm.excluded, arm.active, arm.left, arm.missing) == (1, 1, 0, 1, 2)
    assert progress.ends == {"completed": 2, "declined": 1, "withdrawn": 1}
    assert progress.left_at == (("practice", 1),)
    assert sum(progress.exposures[0].counts.values()) == 6
    catch = {check.kind: check for check in progress.checks}["catch"]
    assert (catch.right, catch.answered, catch.sessions) == (3, 4, ((1, 1), (2, 1)))
    assert (progress.timing.trials, progress.timing.flagged_share, progress.timing.median_error_ms) == (24, 0, 0)
    assert [(day.started, day.completed) for day in progress.days] == [(4, 2)]
    client, _ = log_in(people[0])
    assert "method a 1 3 0 2 1 1" in text_of(client.get("/dashboard"))


def test_the_page_is_made_again_only_when_something_has_changed(participant):
    client, _ = log_in(participant)
    tag = client.get("/dashboard").headers["ETag"]
    same = client.get("/dashboard", headers={"If-None-Match": tag})
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", tag)
    participant.enter()
    changed = client.get("/dashboard", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert "link: 1" in text_of(changed)
    assert changed.headers["ETag"] != tag
    tag = changed.headers["ETag"]
    of_others = client.get("/dashboard?simulated=1", headers={"If-None-Match": tag})
    assert of_others.status_code == 200, "the page of simulated participants is another one"
    stranger = participant.app.test_client().get("/dashboard", headers={"If-None-Match": tag})
    assert stranger.status_code == 200
    assert "Recruitment" not in stranger.text


def test_rates_that_are_older_than_the_page_are_asked_for_again(participant, monkeypatch):
    client, _ = log_in(participant)
    client.post("/dashboard/unlock", data={"form_token": form_token(client.get("/dashboard"))})
    tag = client.get("/dashboard").headers["ETag"]
    assert client.get("/dashboard", headers={"If-None-Match": tag}).status_code == 304
    participant.enter()
    late = client.get("/dashboard", headers={"If-None-Match": tag})
    assert late.status_code == 200
    assert "ETag" not in late.headers, "its rates are those of before"
    monkeypatch.setattr("turing_test.web.dashboard.RATES_KEPT_S", 0)
    fresh = client.get("/dashboard")
    assert client.get("/dashboard", headers={"If-None-Match": fresh.headers["ETag"]}).status_code == 304


def test_trials_of_scripts_are_said(make_client, tmp_path):
    study = make_study(tmp_path / "study", suspect_trials=2)
    set_password(study.folder, PASSWORD)
    script, person = make_client(study), make_client(study)
    script.enter()
    script.proofs = list
    person.enter()
    for who in (script, person):
        for number in (1, 2, 3):
            who.show(number)
            who.answer(number)
    client, _ = log_in(script)
    text = text_of(client.get("/dashboard"))
    assert "3 trials were not sent as a page of the study sends them" in text
    assert "Sessions with 2 or more are left out." in text
    assert "not_fetched 3" in text


@pytest.mark.parametrize("preset", ["zhang2016", "naturalness"])
def test_people_who_press_one_button_are_said(make_client, tmp_path, preset):
    study = make_study(tmp_path / "study", preset, n_images=20, test_trials=14)
    set_password(study.folder, PASSWORD)
    one_button, looking = make_client(study), make_client(study)
    answers = ("first", "second") if preset == "zhang2016" else ("yes", "no")
    for who in (one_button, looking):
        who.enter()
        for number in range(1, study.protocol.session_trials + 1):
            who.show(number)
            who.answer(number, answers[0] if who is one_button else answers[number % 2])
    client, _ = log_in(one_button)
    text = text_of(client.get("/dashboard"))
    said = storage_of(one_button).read(lambda c: look_at(c, study)).straight_liners
    if preset == "naturalness":  # most photos may rightly look natural
        assert said is None
        assert "nearly always the same answer" not in text
        return
    label = storage_of(one_button).read(
        lambda c: c.execute(sa.select(tables.session.c.label).order_by(tables.session.c.id)).scalars().first()
    )
    assert (said.people, said.labels) == (2, (label,))
    assert f"1 of 2 people gave nearly always the same answer, or the same many times in a row: {label}." in text
    assert "same_answer_share_above" in text


def test_large_numbers_are_written_with_commas_as_everywhere(make_client, tmp_path):
    study = make_study(tmp_path / "study", n_methods=1, sessions_per_method=2500)
    set_password(study.folder, PASSWORD)
    client, _ = log_in(make_client(study))
    assert "method a 0 2,500 0 2,500 0 0" in text_of(client.get("/dashboard"))


def test_simulated_participants_are_shown_apart(make_client, study):
    set_password(study.folder, PASSWORD)
    participant = make_client(study, simulation_key="key")
    participant.enter(simulated_key="key")
    participant.play()
    client, _ = log_in(participant)
    assert "Nobody has come yet." in client.get("/dashboard").text
    simulated = text_of(client.get("/dashboard?simulated=1"))
    assert "simulated: 1" in simulated
    assert "Hidden while recruiting" not in simulated, "nothing to hide of simulated participants"


def test_fool_rates_are_hidden_until_unlocked_and_then_as_analyzed(make_client, study):
    set_password(study.folder, PASSWORD)
    for _ in range(4):
        participant = make_client(study)
        participant.enter()
        participant.play("first")
    client, _ = log_in(participant)
    page = client.get("/dashboard")
    assert "Hidden while recruiting" in page.text
    assert "50.0 %" not in page.text
    client.post("/dashboard/unlock", data={"form_token": form_token(page)})
    page = text_of(client.get("/dashboard"))
    assert "Hidden while recruiting" not in page
    assert re.search(r"method a 50\.0 % \S+ to \S+ % 2 12", page), page
    # They pressed one button: nothing shows that they could tell any fake, and the rate says so.
    assert "no verdict on 50 %" in page
    events = storage_of(participant).read(lambda c: c.execute(sa.select(tables.event.c.kind)).scalars().all())
    assert list(events) == ["unlocked"]


@pytest.mark.parametrize("preset", ["preference", "naturalness"])
def test_other_presets_are_shown_as_well(make_client, tmp_path, preset):
    study = make_study(tmp_path / "study", preset)
    set_password(study.folder, PASSWORD)
    participant = make_client(study)
    participant.enter()
    participant.play("first" if preset == "preference" else "yes")
    client, _ = log_in(participant)
    page = client.get("/dashboard")
    assert page.status_code == 200
    assert "no vigilance and no catch trials" in page.text
    client.post("/dashboard/unlock", data={"form_token": form_token(page)})
    assert client.get("/dashboard").status_code == 200
    # Where there is no rate, none is offered, by an act that could not be undone.
    assert ("A preference study has no fool rates" in page.text) == (preset == "preference")
    assert ("Show fool rates from now on" in page.text) == (preset == "naturalness")
    assert page.text.count("<th>Pair of methods</th>") == (2 if preset == "preference" else 0)
    simulated = client.get("/dashboard?simulated=1").text
    assert "No trial has been shown yet." in simulated
    assert "of 0 trials" not in simulated


def test_a_search_among_several_tells_chance_and_offers_no_fool_rates(make_client, tmp_path):
    study = make_study(tmp_path / "study", "simultaneous", alternatives=3, n_images=20)
    set_password(study.folder, PASSWORD)
    participant = make_client(study)
    participant.enter()
    participant.play("first")
    client, _ = log_in(participant)
    page = client.get("/dashboard").text
    assert "the real photo is sought among 3 images (chance 33.3 %)" in page
    assert "A search for the real photo among 3 images has no fool rates" in page
    assert "Show fool rates from now on" not in page
    assert page.count("<th>Methods</th>") == 2
    assert "truth or method a or method b" in page
