"""Links, backups, deletion and the password: the functions and their commands."""

from __future__ import annotations

import stat
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.database.backup import back_up
from turing_test.database.storage import Storage
from turing_test.results.people import format_people, people
from turing_test.sessions.forgetting import forget
from turing_test.sessions.identifiers import Identifier
from turing_test.sessions.links import make_links
from turing_test.web.dashboard_password import password_digest, password_is, set_password

S, T = tables.session.c, tables.trial.c
PROLIFIC = {"PROLIFIC_PID": "worker-number-5", "STUDY_ID": "s1", "SESSION_ID": "x1"}


def command(*words):
    return CliRunner().invoke(main, ["study", *map(str, words)])


def storage_of(participant):
    return participant.app.extensions["turing_test"].storage


def everything(storage):
    return {
        table.name: sorted(map(str, storage.read(lambda c, t=table: c.execute(sa.select(t)).all())))
        for table in tables.metadata.sorted_tables
    }


def test_each_link_admits_one_participant(make_client, study):
    participant = make_client(study)
    links = make_links(storage_of(participant), 2, "https://study.example.org/")
    assert all(link.startswith("https://study.example.org/l/") for link in links)
    tokens = [link.rsplit("/", 1)[1] for link in links]
    assert participant.client.get(f"/l/{tokens[0]}").status_code == 200
    assert [participant.start(link=token).status_code for token in tokens] == [201, 201]
    assert participant.start(link="made-up").status_code == 404
    ((count,),) = storage_of(participant).read(
        lambda c: c.execute(sa.select(sa.func.count()).select_from(tables.session)).all()
    )
    assert count == 2
    assert participant.start(link=tokens[0]).status_code == 201  # goes on where it was
    assert tokens[0] not in str(everything(storage_of(participant)))


def test_a_backup_while_answers_come_in_is_whole_and_can_be_served(make_client, study, tmp_path):
    participant = make_client(study, simulation_key="key")
    ending = threading.Event()

    def take_part():
        while not ending.is_set():
            one = make_client(study)
            one.enter(simulated_key="key")
            one.play()

    threads = [threading.Thread(target=take_part) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        while len(everything(storage_of(participant))["session"]) < 2:
            pass
        sessions = [back_up(storage_of(participant), tmp_path / f"copy {i}.db") for i in range(3)]
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert sessions == sorted(sessions)
    for i, count in enumerate(sessions):
        copy = Storage(f"sqlite:///{tmp_path / f'copy {i}.db'}")
        found = everything(copy)
        assert len(found["session"]) == count >= 2
        assert len(found["trial"]) == count * 12
        copy.close()
    back_up(storage_of(participant), tmp_path / "last.db")
    copy = Storage(f"sqlite:///{tmp_path / 'last.db'}")
    assert everything(copy) == everything(storage_of(participant))
    copy.close()
    assert {path.name for path in tmp_path.iterdir() if "part" in path.name} == set()
    with pytest.raises(InputError, match="exists already"):
        back_up(storage_of(participant), tmp_path / "last.db")


def test_forgetting_removes_every_trace_and_only_of_that_person(make_client, study, tmp_path):
    stays, goes = make_client(study), make_client(study)
    stays.enter()
    goes.enter(query=PROLIFIC)
    goes.play()
    storage = storage_of(goes)
    before = everything(storage)
    label = storage.read(
        lambda c: c.execute(
            sa.select(tables.session.c.label).where(tables.session.c.platform == "prolific")
        ).scalar_one()
    )
    with pytest.raises(InputError, match="there is no worker 'nobody' of prolific; nothing was deleted"):
        forget(storage, study, Identifier(platform="prolific", worker="nobody"))
    assert forget(storage, study, Identifier(platform="prolific", worker="worker-number-5")) == 12
    after = everything(storage)
    assert after["session"] == [row for row in before["session"] if label not in row]
    assert len(after["trial"]) == 12
    assert goes.client.get(f"/api/s/{goes.token}").status_code == 404
    assert goes.start(query=PROLIFIC).status_code == 201
    if storage.is_sqlite:
        files = [Path(storage.url.database), Path(f"{storage.url.database}-wal")]
        assert label.encode() not in b"".join(file.read_bytes() for file in files if file.exists())


MTURK = {
    "assignmentId": "A1", "hitId": "H1", "workerId": "W1", "turkSubmitTo": "https://workersandbox.mturk.com",
}  # fmt: skip


def test_everybody_who_came_has_a_row_with_a_suggestion_and_its_rule(make_client, tmp_path):
    study = make_study(tmp_path / "study", catch_trials=2, catch_pass=2, vigilance_trials=2, sessions_per_method=3)
    finished, failed, left, declined, running = (make_client(study) for _ in range(5))
    finished.enter(query=MTURK)
    storage = storage_of(finished)
    real = dict(storage.read(lambda c: c.execute(sa.select(T.position, T.real_position)).all()))
    while finished.view()["phase"] != "done":
        number = finished.view()["trial"]["number"]
        finished.show(number)
        finished.answer(number, "second" if real[number] == "first" else "first")
    failed.enter(query=PROLIFIC)
    failed.play("first")
    left.enter()
    for number in range(1, 6):
        left.show(number)
        left.answer(number)
    storage.write(
        lambda c: c.execute(sa.update(tables.session).where(S.platform == "link").values(updated_at=S.updated_at - 9e3))
    )
    declined.start(consent=False)
    running.enter()
    everybody = storage.read(lambda connection: people(connection, study, now=time.time()))
    rows = [(p.platform, p.outcome, p.test_answered, p.vigilance_right, p.decision, p.reason) for p in everybody]
    assert rows == [
        ("mturk", "completed", 10, 2, "approve", "completed"),
        ("prolific", "failed_checks", 10, everybody[1].vigilance_right, "reject", everybody[1].reason),
        ("link", "expired", 3, everybody[2].vigilance_right, "partly", "expired with 3 of 10 test trials answered"),
        ("link", "declined", 0, 0, "", "declined, nothing answered"),
        ("link", "screened", 0, 0, "wait", "goes on"),
    ]
    assert "fewer than 2 of 2 catch trials right" in everybody[1].reason
    assert [(p.platform_id, p.platform_task) for p in everybody[:2]] == [("A1", "H1"), (PROLIFIC["SESSION_ID"], "")]
    assert "worker-number-5" not in format_people(everybody, "csv")
    assert format_people(everybody, "mturk") == "HITId,AssignmentId,Approve,Reject\nH1,A1,x,\n"
    assert format_people(everybody, "prolific") == ""
    assert len(format_people(everybody, "csv").splitlines()) == 6


def test_a_person_is_found_and_deleted_by_whatever_is_known(make_client, study, database_url, tmp_path):
    one, two, three = (make_client(study) for _ in range(3))
    storage = storage_of(one)
    links = make_links(storage, 2, "http://localhost")
    one.enter(link=links[0].rpartition("/")[2])
    code = one.play()["outcome"]["code"]
    two.enter(query=PROLIFIC)
    three.enter(query=MTURK)
    labels = storage.read(lambda c: c.execute(sa.select(S.label).order_by(S.id)).scalars().all())
    known = [
        ("--link", links[0]),
        ("--code", code.lower()),
        ("--label", f"p{labels[0]}"),
        ("--platform", "prolific", "--worker", "worker-number-5"),
        ("--platform", "mturk", "--worker", "W1"),
    ]
    for words, label in zip(known, [labels[0]] * 3 + [labels[1], labels[2]], strict=True):
        printed = command("find", study.folder, *words, "--database", database_url).output
        assert [f"p{other}" in printed for other in labels] == [other == label for other in labels]
    unused = command("find", study.folder, "--link", links[1], "--database", database_url)
    assert (unused.exit_code, links[1].rpartition("/")[2] in unused.output) == (2, False)
    both = command("find", study.folder, "--link", links[0], "--code", code, "--database", database_url)
    assert (both.exit_code, "in one way" in both.output) == (2, True)
    listed = command("people", study.folder, "--state", "completed", "--database", database_url).output
    assert [f"p{label}" in listed for label in labels] == [True, False, False]
    assert "3 people came: 2 screened, 1 completed." in listed
    wrong = command("people", study.folder, "--state", "complete", "--database", database_url)
    assert "did you mean 'completed'" in wrong.output
    unwritten = command("people", study.folder, "--form", "prolific", "--database", database_url)
    assert (unwritten.exit_code, "name the file with --out" in unwritten.output) == (2, True)
    typed = [
        command("find", study.folder, "--label", f"{first}{labels[0]} ", "--database", database_url) for first in "psx"
    ]
    assert [found.exit_code for found in typed] == [
        0,
        0,
        2,
    ]  # as in the columns participant and session; not by any letter
    written = command("people", study.folder, "--out", tmp_path / "pay.csv", "--database", database_url)
    assert "pay.csv: 3 rows" in written.output
    deleted = command("forget", study.folder, "--link", links[0], "--yes", "--database", database_url)
    assert "deleted, 12 trials" in deleted.output
    remaining = storage.read(lambda c: c.execute(sa.select(S.label).order_by(S.id)).scalars().all())
    assert remaining == labels[1:]


def test_the_commands_work_on_a_study_folder(tmp_path):
    study = make_study(tmp_path / "study")
    missing = command("export", study.folder, "--out", tmp_path / "out")
    assert missing.exit_code == 2
    assert "no participant has come" in missing.output
    made = command("links", study.folder, "--count", 3, "--url", "https://study.example.org")
    assert made.exit_code == 0, made.output
    assert len(made.output.splitlines()) == 3
    assert "public_url is empty" in command("links", study.folder, "--count", 1).output
    with_query = command("links", study.folder, "--count", 1, "--url", "https://study.example.org/?src=mail")
    assert (with_query.exit_code, "without ? and #" in with_query.output) == (2, True)
    assert "nothing to export" in command("export", study.folder, "--out", tmp_path / "out").output
    saved = command("backup", study.folder, "--out", tmp_path / "copy.db")
    assert saved.output == f"{tmp_path / 'copy.db'}: 0 sessions\n"
    restored = command(
        "export", study.folder, "--out", tmp_path / "out", "--database", f"sqlite:///{tmp_path / 'copy.db'}"
    )
    assert "nothing to export" in restored.output
    assert "name the person in one way" in command("forget", study.folder, "--yes").output
    missing = command("backup", study.folder, "--out", tmp_path / "none" / "copy.db")
    assert (missing.exit_code, "there is no folder" in missing.output) == (2, True)
    assert "nothing was deleted" in command("forget", study.folder, "--participant", "pabc", "--yes").output


def test_a_database_of_another_study_is_refused(make_client, study, tmp_path, database_url):
    participant = make_client(study)
    participant.enter()
    other = make_study(tmp_path / "other", test_trials=6)
    refused = command("export", other.folder, "--out", tmp_path / "out", "--database", database_url)
    assert refused.exit_code == 2
    assert "differs by its study file" in refused.output


def test_the_password_is_asked_for_and_only_its_digest_kept(tmp_path):
    study = make_study(tmp_path / "study")
    assert password_digest(study.folder) is None
    assert not password_is(study.folder, "")
    short = CliRunner().invoke(main, ["study", "password", str(study.folder)], input="short\n")
    assert "at least 10" in short.output
    done = CliRunner().invoke(main, ["study", "password", str(study.folder)], input="correct horse battery\n")
    assert done.exit_code == 0, done.output
    assert password_is(study.folder, "correct horse battery")
    assert not password_is(study.folder, "correct horse")
    (file,) = [path for path in study.folder.iterdir() if "password" in path.name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "horse" not in file.read_text()
    set_password(study.folder, "another password")
    assert not password_is(study.folder, "correct horse battery")
