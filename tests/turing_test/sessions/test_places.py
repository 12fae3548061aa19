"""Places: lent out while their owners are away, kept for personal links, and told to those who come too late."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.results.monitoring import look_at
from turing_test.sessions.links import make_links

S, T = tables.session.c, tables.trial.c
MTURK = {
    "assignmentId": "A1", "hitId": "H1", "workerId": "W1", "turkSubmitTo": "https://workersandbox.mturk.com",
}  # fmt: skip
PROLIFIC = {"PROLIFIC_PID": "p1", "STUDY_ID": "s1", "SESSION_ID": "x1"}
CODES = {
    "prolific_incomplete": "FEW",
    "prolific_full": "FULL",
    "prolific_expired": "IDLE",
    "prolific_completed": "DONE",
}


def storage_of(participant):
    return participant.app.extensions["turing_test"].storage


def be_idle(participant, seconds):
    """As if nobody had sent anything for so long."""
    values = {"updated_at": S.updated_at - seconds}
    storage_of(participant).write(lambda connection: connection.execute(sa.update(tables.session).values(values)))


def states(participant):
    return storage_of(participant).read(lambda c: c.execute(sa.select(S.state).order_by(S.id)).scalars().all())


def cc(code):
    return f"https://app.prolific.com/submissions/complete?cc={code}"


def spoil(participant, n):
    """Reload the page in the middle of `n` pairs."""
    while n:
        number = participant.view()["trial"]["number"]
        participant.on_trial(number, "begin")
        participant.load = f"load-{n}"
        assert participant.on_trial(number, "begin").get_json()["replaced"]
        n -= 1


@pytest.fixture
def one_place(tmp_path):
    return make_study(tmp_path / "study", n_methods=1, sessions_per_method=1, practice_trials=0, **CODES)


def test_a_session_whose_reloads_used_up_the_reserve_and_most_trials_is_incomplete(make_client, one_place):
    participant = make_client(one_place)
    participant.enter(query=PROLIFIC)
    spoil(participant, 4)  # 2 from the reserve, 2 of 8 lost: 75 % are left, 80 % are needed
    ended = participant.play()
    assert (ended["state"], ended["outcome"]["redirect"]) == ("incomplete", cc("FEW"))
    assert make_client(one_place).enter()["state"] == "screened", "the place is free"
    assert states(participant) == ["incomplete", "screened"]


def test_a_session_that_lost_few_trials_counts(make_client, one_place):
    participant = make_client(one_place)
    participant.enter(query=PROLIFIC)
    spoil(participant, 3)
    ended = participant.play()
    assert (ended["state"], ended["outcome"]["redirect"]) == ("completed", cc("DONE"))
    late = make_client(one_place)
    late.start()
    assert late.view()["state"] == "full"


def test_a_session_without_any_answer_does_not_end_completed(make_client, one_place):
    participant = make_client(one_place)
    participant.enter()
    while (view := participant.view())["phase"] != "done":
        number = view["trial"]["number"]
        participant.on_trial(number, "begin")
        participant.load += "x"
        participant.on_trial(number, "begin")
    assert view["state"] == "incomplete"
    assert view["outcome"]["code"] is None


def test_idle_places_are_lent_and_whoever_comes_back_goes_on(make_client, one_place):
    owner = make_client(one_place)
    owner.enter()
    owner.show(1)
    owner.answer(1)
    assert make_client(one_place).start().get_json()["state"] == "full"
    be_idle(owner, 601)
    replacement = make_client(one_place)
    assert replacement.enter()["state"] == "screened"
    assert owner.play()["state"] == "completed"
    assert replacement.play()["state"] == "completed"
    assert sorted(states(owner)) == ["completed", "completed", "full"]


def test_an_expired_session_goes_on_while_there_is_room(make_client, one_place):
    owner = make_client(one_place)
    owner.enter(query=PROLIFIC)
    owner.show(1)
    owner.answer(1)
    be_idle(owner, 3601)
    ended = owner.view()
    assert (ended["state"], ended["outcome"]["redirect"]) == ("expired", cc("IDLE"))
    owner.start(PROLIFIC)
    view = owner.view()
    assert (view["state"], view["trial"]["number"]) == ("test", 2)
    be_idle(owner, 3601)
    make_client(one_place).enter()  # the place is taken
    owner.start(PROLIFIC)
    assert owner.view()["state"] == "expired"


def test_those_turned_away_have_a_code_are_counted_and_may_come_again(make_client, one_place):
    first = make_client(one_place)
    first.enter()
    late = make_client(one_place)
    view = late.start(PROLIFIC).get_json()
    assert (view["state"], view["phase"], view["outcome"]["redirect"]) == ("full", "done", cc("FULL"))
    late.start(PROLIFIC)
    assert states(first) == ["screened", "full"], "one person, once"
    progress = storage_of(first).read(lambda connection: look_at(connection, one_place))
    assert progress.ends["full"] == 1
    first.on_session("withdraw", {})
    late.start(PROLIFIC)
    assert late.view()["state"] == "consented"


def test_unused_links_keep_their_places(make_client, tmp_path):
    study = make_study(tmp_path / "study", n_methods=2, sessions_per_method=1)
    invited, stranger = make_client(study), make_client(study)
    (link,) = make_links(storage_of(invited), 1, "http://localhost")
    assert stranger.enter()["state"] == "screened"
    assert make_client(study).start().get_json()["state"] == "full"
    assert invited.enter(link=link.rpartition("/")[2])["state"] == "screened"


@pytest.mark.parametrize("query", [MTURK, PROLIFIC])
def test_platforms_are_admitted_only_when_the_study_names_them(make_client, tmp_path, query):
    study = make_study(tmp_path / "study", platforms=())
    refused = make_client(study).start(query)
    assert refused.status_code == 403
    assert "takes nobody from that platform" in refused.get_json()["error"]
    assert states(make_client(study)) == []


@pytest.mark.parametrize(("query", "name"), [(MTURK, "hitId"), (PROLIFIC, "STUDY_ID")])
def test_ids_of_other_studies_are_refused(make_client, tmp_path, query, name):
    study = make_study(tmp_path / "study", prolific_studies=("s1",), mturk_hits=("H1",))
    refused = make_client(study).start({**query, name: "other"})
    assert (refused.status_code, name in refused.get_json()["error"]) == (403, True)
    assert make_client(study).start(query).status_code == 201


def test_what_a_platform_says_is_claimed_and_a_link_is_verified(make_client, study):
    for query in (MTURK, PROLIFIC, {}):
        make_client(study).enter(query=query)
    invited = make_client(study)
    (link,) = make_links(storage_of(invited), 1, "http://localhost")
    invited.enter(link=link.rpartition("/")[2])
    verified = storage_of(invited).read(lambda c: c.execute(sa.select(S.verified).order_by(S.id)).scalars().all())
    assert [bool(value) for value in verified] == [False, False, False, True]


def test_a_worker_who_returned_the_task_and_takes_it_again_goes_on(make_client, study):
    worker = make_client(study)
    worker.enter(query=MTURK)
    worker.show(1)
    worker.answer(1)
    again = {**MTURK, "assignmentId": "A2"}
    assert worker.start(again).status_code == 201
    assert worker.view()["trial"]["number"] == 2
    assert worker.play()["outcome"]["form"]["fields"]["assignmentId"] == "A2"
    # MTurk refused the form, and the worker has a third assignment: worked, and not yet paid.
    worker.start({**MTURK, "assignmentId": "A3"})
    assert worker.view()["outcome"]["form"]["fields"]["assignmentId"] == "A3"
    assert len(states(worker)) == 1


def test_a_worker_who_cannot_go_on_is_asked_to_return_the_task(make_client, study):
    worker = make_client(study)
    worker.enter(query=MTURK)
    outcome = worker.on_session("withdraw", {}).get_json()["outcome"]
    assert (outcome["give_back"], outcome["form"]) == (True, None)
