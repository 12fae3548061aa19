"""A database that is locked or full: participants are told in a sentence, lose nothing, and go on later."""

from __future__ import annotations

import sqlite3
import threading

import pytest
import sqlalchemy as sa

from turing_test.database.storage import Storage


def check_refusal(response):
    assert response.status_code == 503
    body = response.get_json()
    assert body["retry"] is True
    assert "try again" in body["error"]
    assert "safe" in body["error"]
    assert not any(word in body["error"].lower() for word in ("sql", "psycopg", "/", "traceback"))
    assert int(response.headers["Retry-After"]) > 0


def test_a_locked_database_is_told_and_the_participant_goes_on(make_client, study, database_url):
    participant = make_client(study, busy_timeout_s=0.3)
    participant.enter()
    participant.show(1)
    holder, held, release = Storage(database_url), threading.Event(), threading.Event()

    def hold(connection):
        if not holder.is_sqlite:
            connection.execute(sa.text("LOCK TABLE session, trial IN EXCLUSIVE MODE"))
        held.set()
        release.wait(30)

    thread = threading.Thread(target=lambda: holder.write(hold))
    thread.start()
    held.wait(10)
    try:
        check_refusal(participant.answer(1))
        check_refusal(participant.on_session("withdraw", {}))
        assert participant.view()["trial"]["number"] == 1, "reading goes on"
    finally:
        release.set()
        thread.join()
        holder.close()
    assert participant.play()["state"] == "completed"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)  # PostgreSQL's errors take the same path
def test_a_full_disk_is_told_and_the_participant_goes_on(make_client, study):
    participant = make_client(study)
    storage = participant.app.extensions["turing_test"].storage
    participant.enter()
    participant.show(1)
    limit = storage.write(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
    storage.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {limit}"))
    response = make_client(study).start()
    while response.status_code == 201:  # there is some room in the last pages
        response = make_client(study).start()
    check_refusal(response)
    # The limit was that of one connection, which ended with the error: now there is room again.
    assert make_client(study).start().status_code == 201
    assert participant.play()["state"] == "completed"
    check = sqlite3.connect(storage.url.database)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)  # SQLite has no server to lose
def test_a_database_that_comes_back_is_used_again(make_client, study, request):
    import psycopg

    participant = make_client(study, busy_timeout_s=1)
    participant.enter()
    participant.show(1)
    with psycopg.connect(request.getfixturevalue("postgres_server"), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    answers = [participant.answer(1) for _ in range(6)]  # as often as the page repeats it
    for answer in answers:
        if answer.status_code != 200:
            check_refusal(answer)
    assert answers[-1].status_code == 200
    assert participant.play()["state"] == "completed"
