"""The doctor's full count: silent after any history, exact about every damage, and able to mend it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tests.turing_test.histories import DESIGNS, History
from tests.turing_test.studies import make_study
from turing_test.commands.study_files import doctor_command
from turing_test.database import schema as tables
from turing_test.database.study_record import register
from turing_test.server.doctor import examine
from turing_test.sessions import clock
from turing_test.sessions.place_counters import count_places
from turing_test.sessions.recount import counter_differences, mend_counters

S, T, M = tables.session.c, tables.trial.c, tables.summary.c
SEVERAL = {"preset": "preference", "alternatives": 3, "n_methods": 4, "n_images": 24, "methods_per_person": 2}


def differences(storage, study):
    return storage.read(lambda connection: counter_differences(connection, study, clock.now()))


@pytest.fixture(params=["one method each", "several at once"])
def history(request, storage, tmp_path, pass_time):
    design = {**DESIGNS, "several at once": SEVERAL}[request.param]
    study = make_study(tmp_path / "study", sessions_per_method=8, **design)
    register(storage, study)
    played = History(storage, study, 5, pass_time)
    for step in range(70):
        played.happen()
        if step % 10 == 0:
            assert differences(storage, played.study) == []
    assert differences(storage, played.study) == []
    return played


def change(storage, statement):
    return storage.write(lambda connection: connection.execute(statement).rowcount)


def first(storage, query):
    return storage.read(lambda connection: connection.execute(query.limit(1)).scalar_one())


def damages(storage):
    """Each kind of damage: what is changed, and a part of the sentence that must name it."""
    over = sa.select(S.id).where(S.method.is_not(None), S.check_at.is_(None)).order_by(S.id)
    holder = first(storage, sa.select(S.id).where(S.holds_place).order_by(S.id))
    label_of = {key: first(storage, sa.select(S.label).where(S.id == key)) for key in (first(storage, over), holder)}
    ended = first(storage, over)
    yield sa.update(tables.places_taken).values(times=tables.places_taken.c.times + 2), "places_taken says"
    yield sa.delete(tables.images_shown), "images_shown says 0 for"
    yield (
        sa.update(tables.session).where(S.id == ended).values(holds_place=~S.holds_place),
        f"session s{label_of[ended]} (",
    )
    yield (
        sa.update(tables.trial).where(T.session_id == ended).values(counted=~T.counted),
        f"of session s{label_of[ended]}",
    )
    yield (
        sa.delete(tables.summary).where(M.session_id == ended),
        f"session s{label_of[ended]} is over and has no summary",
    )
    yield (
        sa.update(tables.summary).where(M.session_id == ended).values(durations_ms=b"\0" * 8),
        f"the summary of session s{label_of[ended]} does not say",
    )


def test_every_damage_is_named_and_mended(history, storage):
    study = history.study
    count_places(storage, study)  # what is due is counted by now
    before = {table.name: rows(storage, table) for table in (tables.places_taken, tables.images_shown)}
    answers = rows(storage, tables.trial, without="counted")
    for statement, said in list(damages(storage)):
        assert change(storage, statement) > 0
        wrong = differences(storage, study)
        assert any(said in sentence for sentence in wrong), (said, wrong)
        mend_counters(storage, study)
        assert differences(storage, study) == []
    assert {table.name: rows(storage, table) for table in (tables.places_taken, tables.images_shown)} == before
    assert rows(storage, tables.trial, without="counted") == answers
    for _ in range(20):  # and the study goes on
        history.happen()
    assert differences(storage, study) == []


def rows(storage, table, without=None):
    columns = [column for column in table.columns if column.name != without]
    found = storage.read(lambda connection: connection.execute(sa.select(*columns)).all())
    return sorted((tuple(row) for row in found if "times" not in row._fields or row.times), key=str)


def test_a_session_that_would_never_be_looked_at_again_is_named(storage, tmp_path, pass_time):
    study = make_study(tmp_path / "study")
    register(storage, study)
    History(storage, study, 0, pass_time).arrive()
    assert change(storage, sa.update(tables.session).values(check_at=None)) == 1
    (sentence,) = differences(storage, study)
    assert sentence.endswith("goes on, and would never be looked at again (check_at is empty)")
    mend_counters(storage, study)
    assert differences(storage, study) == []


def test_the_command_names_the_damage_and_mends_it_when_asked(storage, database_url, tmp_path, pass_time):
    study = make_study(tmp_path / "study", contact="Ada", ethics_contact="Board")
    register(storage, study)
    played = History(storage, study, 0, pass_time)
    for _ in range(4):
        played.arrive()
    change(storage, sa.update(tables.places_taken).values(times=9))

    def doctor(*words):
        result = CliRunner().invoke(doctor_command, [str(study.folder), "--database", database_url, *words])
        return result.exit_code, next(line for line in result.output.splitlines() if " counters " in line)

    status, line = doctor()
    assert status == 2
    assert line.startswith("BAD")
    assert "places_taken says 9 for" in line
    assert line.endswith("evalkit study doctor --mend counts anew")
    status, line = doctor("--mend")
    assert line.startswith(" ok")
    assert "counted anew; differed: places_taken says 9" in line
    assert [check.ok for check in examine(study.folder, database_url) if check.name == "counters"] == [True]
