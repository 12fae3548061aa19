"""Scripts that play a session without looking, over the interface that pages use."""

import time

import pytest
import sqlalchemy as sa

from tests.turing_test.participants import exposure, proof_of
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.results.export import trial_rows
from turing_test.sessions import presentation

PLAYED = {"blank_ms": 40, "first_blank_ms": 40, "image_ms": 100, "gap_ms": 40, "answer_delay_ms": 20}
LEAST_S = (40 + 100 + 40 + 100 + 20 - 50) / 1000


@pytest.fixture
def script(make_client, tmp_path):
    """A participant of a study with images of a tenth of a second, who is no page."""
    person = make_client(make_study(tmp_path / "study", practice_trials=0, test_trials=4, vigilance_trials=0, **PLAYED))
    person.enter()
    return person


INVENTED = {"first": exposure(100, 100), "second": exposure(240, 100)}


def invent(script, number, **changes):
    """Begin a trial and say at once that its images were shown."""
    assert script.on_trial(number, "begin").status_code == 200
    assert script.on_trial(number, "shown", **{**INVENTED, **changes}).status_code == 200


def flags(script, position=1):
    storage = script.app.extensions["turing_test"].storage
    query = sa.select(tables.trial.c.flags).where(tables.trial.c.position == position)
    return storage.read(lambda c: c.execute(query).scalar_one()).split()


def test_an_answer_before_the_images_can_have_been_shown_has_to_wait(script):
    invent(script, 1)
    refused = script.answer(1)
    assert refused.status_code == 425
    assert "too early" in refused.get_json()["error"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert script.view()["trial"]["number"] == 1  # nothing was stored
    time.sleep(LEAST_S)
    assert script.answer(1).status_code == 200
    assert {"too_fast", "not_fetched"} <= set(flags(script))


def test_a_script_pays_with_the_time_that_people_take(script):
    started = time.monotonic()
    for number in range(1, 5):
        invent(script, number)
        while script.answer(number).status_code == 425:
            time.sleep(0.01)
    assert script.view()["state"] == "completed"
    assert time.monotonic() - started > 4 * LEAST_S


def test_without_that_rule_it_would_be_done_at_once(script, monkeypatch):
    monkeypatch.setattr(presentation, "least_ms", lambda *_, **__: 0.0)
    invent(script, 1)
    assert script.answer(1).status_code == 200


def test_a_page_that_has_the_images_and_takes_its_time_has_no_flag(script):
    view = script.view()
    proofs = [proof_of(script.client.get(address).data) for address in view["trial"]["images"]]
    script.on_trial(1, "begin")
    time.sleep(LEAST_S)
    script.on_trial(1, "shown", **INVENTED, proofs=proofs)
    assert flags(script) == []
    assert script.answer(1).status_code == 200


@pytest.mark.parametrize("proofs", [[], ["00" * 8] * 2, ["00" * 8], "swapped", "of the next trial"])
def test_invented_proofs_of_images_are_noticed(script, proofs):
    view = script.view()
    if proofs == "swapped":
        proofs = [proof_of(script.client.get(address).data) for address in reversed(view["trial"]["images"])]
    elif proofs == "of the next trial":
        proofs = [proof_of(script.client.get(address).data) for address in view["next_images"]]
    invent(script, 1, proofs=proofs)
    assert "not_fetched" in flags(script)


def test_who_holds_a_pair_for_seconds_before_saying_that_it_was_shown_is_noticed(script):
    script.on_trial(1, "begin")
    storage = script.app.extensions["turing_test"].storage
    storage.write(lambda c: c.execute(sa.update(tables.trial).values(begun_at=tables.trial.c.begun_at - 6)))
    script.on_trial(1, "shown", **INVENTED)
    assert "slow_start" in flags(script)


def test_twenty_five_looks_at_one_image_are_noticed_and_two_are_not(script):
    first, _ = script.view()["trial"]["images"]
    for _ in range(25):
        assert script.client.get(first).status_code == 200
    invent(script, 1)
    assert "looked_again" in flags(script)
    time.sleep(LEAST_S)
    script.answer(1)
    first, _ = script.view()["trial"]["images"]
    for _ in range(2):
        script.client.get(first)
    invent(script, 2)
    assert "looked_again" not in flags(script, 2)


def test_a_line_that_breaks_off_goes_on_from_there_and_is_no_second_look(script):
    first, _ = script.view()["trial"]["images"]
    whole = script.client.get(first).data
    for start in range(1000, len(whole), len(whole) // 12):
        rest = script.client.get(first, headers={"Range": f"bytes={start}-"})
        assert (rest.status_code, rest.data) == (206, whole[start:])
        assert rest.headers["Content-Range"] == f"bytes {start}-{len(whole) - 1}/{len(whole)}"
    for other in ("bytes=0-5", "bytes=-5", "bytes=5-9", f"bytes={len(whole)}-", "lines=1-", "bytes=1-,5-", "nonsense"):
        assert script.client.get(first, headers={"Range": other}).data == whole
    invent(script, 1)
    assert "looked_again" in flags(script)  # the seven that began anew


def test_a_declared_rule_leaves_sessions_of_scripts_out(make_client, tmp_path):
    study = make_study(
        tmp_path / "study", test_trials=4, vigilance_trials=0, suspect_trials=3, prolific_completed="DONE",
        prolific_failed_checks="FAILED",
    )  # fmt: skip
    person, script = make_client(study), make_client(study)
    endings = {}
    for who, name in ((person, "p1"), (script, "p2")):
        who.enter(query={"PROLIFIC_PID": name, "STUDY_ID": "s", "SESSION_ID": name})
        if who is script:
            script.proofs = list
        endings[name] = who.play()["outcome"]["redirect"][-6:]
    assert endings == {"p1": "c=DONE", "p2": "FAILED"}
    storage = person.app.extensions["turing_test"].storage
    rows = storage.read(lambda connection: list(trial_rows(connection, study, simulated=False)))
    rules = {row["session"]: (row["excluded"], row["exclusion_rule"]) for row in rows}
    assert sorted(rules.values(), key=str) == [
        (0, None), (1, "3 or more trials that no page of the study sends")
    ]  # fmt: skip


def test_a_script_gains_nothing_where_images_stay_until_the_answer(make_client, tmp_path):
    beside = {"practice_trials": 0, "test_trials": 4, "image_ms": "until answered", "gap_ms": 0}
    study = make_study(tmp_path / "study", "preference", side_by_side=True, **{**PLAYED, **beside})
    script = make_client(study)
    script.enter()
    looked = {
        "first": exposure(100, 4000, frames=240),
        "second": exposure(100, 4000, frames=240),
        "response_ms": 3980.0,
    }
    script.on_trial(1, "begin")
    assert script.on_trial(1, "shown", **looked).status_code == 200
    assert {"too_fast", "not_fetched"} <= set(flags(script))
    assert script.answer(1, response_ms=1.0).status_code == 200
    script.on_trial(2, "begin")
    assert script.on_trial(2, "shown", first=looked["first"], second=looked["second"]).status_code == 200
    assert "implausible" in flags(script, 2)
    storage = script.app.extensions["turing_test"].storage
    rows = storage.read(lambda connection: list(trial_rows(connection, study, simulated=False)))
    assert (rows[0]["response_ms"], rows[0]["response_from"], rows[0]["answered_while_shown"]) == (3980.0, "onset", 1)
    assert (rows[0]["onset_asynchrony_ms"], rows[0]["presented"]) == (0.0, "side by side until they answered")


def test_who_says_that_an_answer_ended_an_image_that_no_answer_ends_is_refused(script):
    script.on_trial(1, "begin")
    refused = script.on_trial(1, "shown", **INVENTED, response_ms=50.0)
    assert refused.status_code == 400
    assert "response_ms" in refused.get_json()["error"]


def test_images_that_stay_may_be_seen_again_after_a_reload_once_flagged(make_client, tmp_path):
    study = make_study(
        tmp_path / "study", "naturalness", practice_trials=0, test_trials=2, image_ms="until answered", gap_ms=0
    )
    person = make_client(study)
    person.enter()
    for load in ("load-1", "load-2", "load-3"):
        person.load = load
        begun = person.on_trial(1, "begin").get_json()
        assert begun["replaced"] is False
    looked = exposure(100, 20)
    assert person.on_trial(1, "shown", first=looked, response_ms=15.0, proofs=person.proofs()).status_code == 200
    person.load = "load-4"
    assert person.view()["trial"]["mode"] == "answer_only"
    assert person.answer(1, "yes").status_code == 200
    assert flags(person).count("reloaded") == 1
