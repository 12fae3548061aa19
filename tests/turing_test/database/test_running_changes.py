"""How a study is run may change while it runs, is logged and told; what is asked may not."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.database.study_record import changes_while_running
from turing_test.results.export import export
from turing_test.study.freeze import changes_since, freeze
from turing_test.study.protocol import RUNNING, Protocol, options
from turing_test.study.study_folder import read_study
from turing_test.web.app import create_app


def storage_of(participant):
    return participant.app.extensions["turing_test"].storage


def edit(study, old, new):
    path = study.folder / "study.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return read_study(study.folder)


def command(*words):
    result = CliRunner().invoke(main, ["study", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_code_may_be_corrected_and_a_question_may_not(make_client, study, database_url, tmp_path):
    participant = make_client(study)
    participant.enter(query={"PROLIFIC_PID": "p", "STUDY_ID": "s", "SESSION_ID": "x"})
    freeze(study)
    corrected = edit(study, 'prolific_completed = ""', 'prolific_completed = "C123"')
    assert changes_since(corrected, freeze(corrected)) == ()
    app = create_app(corrected, database_url)
    participant.app, participant.client = app, app.test_client()
    assert participant.play()["outcome"]["redirect"].endswith("cc=C123")
    (change,) = storage_of(participant).read(changes_while_running)
    assert (change.what, change.before, change.after) == ("prolific_completed", "", "C123")
    export(storage_of(participant), corrected, tmp_path / "out")
    assert 'prolific_completed, "" to "C123"' in (tmp_path / "out" / "data_dictionary.md").read_text()
    storage_of(participant).close()
    asked = edit(corrected, "gap_ms = ", "gap_ms = 1")
    with pytest.raises(InputError, match="differs by its study file"):
        create_app(asked, database_url)


def test_words_of_an_ending_may_change_and_those_of_the_question_may_not(make_client, study, database_url):
    participant = make_client(study)
    participant.enter()
    storage_of(participant).close()
    own = study.folder / "texts" / "en.toml"
    own.parent.mkdir()
    own.write_text('[outcome.completed]\ntitle = "Thanks!"\n')
    app = create_app(read_study(study.folder), database_url)
    (change,) = app.extensions["turing_test"].storage.read(changes_while_running)
    assert (change.what, change.before) == ("texts", "")
    app.extensions["turing_test"].storage.close()
    own.write_text(own.read_text() + '[question]\nzhang2016 = "Which image is fake?"\n')
    with pytest.raises(InputError, match="differs by its texts of question, answers, instructions or feedback"):
        create_app(read_study(study.folder), database_url)


def test_words_of_the_question_may_change_before_the_first_answer(make_client, study, database_url):
    participant = make_client(study)
    storage_of(participant).close()
    own = study.folder / "texts" / "en.toml"
    own.parent.mkdir()
    own.write_text('[question]\nzhang2016 = "Which image is fake?"\n')
    app = create_app(read_study(study.folder), database_url)
    assert "Which image is fake?" in app.test_client().get("/").text
    app.extensions["turing_test"].storage.close()


def test_every_option_either_is_asked_or_says_that_it_may_change():
    assert set(RUNNING) < {option.name for option in options()}
    changed = Protocol(contact="x", sessions_per_method=3)
    assert changed.asked_digest == Protocol().asked_digest
    assert changed.digest != Protocol().digest
    assert Protocol(image_ms=999).asked_digest != Protocol().asked_digest


def test_a_study_is_paused_opened_and_closed_while_it_is_served(make_client, study, database_url):
    running, late = make_client(study), make_client(study)
    running.enter()
    assert "paused (was open)" in command("pause", study.folder, "--database", database_url)
    refused = late.start()
    assert (refused.status_code, refused.get_json()["reason"]) == (403, "paused")
    running.show(1)
    assert running.answer(1).status_code == 200, "sessions that have begun go on"
    assert "open (was paused)" in command("open", study.folder, "--database", database_url)
    assert late.start().status_code == 201
    assert "closed (was open)" in command("close", study.folder, "--database", database_url)
    assert make_client(study).start().get_json()["state"] == "full"
    assert running.play()["state"] == "completed"
    log = storage_of(running).read(changes_while_running)
    assert [(change.before, change.after) for change in log] == [
        ("open", "paused"),
        ("paused", "open"),
        ("open", "closed"),
    ]


def test_people_come_back_to_a_paused_study(make_client, tmp_path, database_url):
    study = make_study(tmp_path / "study")
    query = {"PROLIFIC_PID": "p", "STUDY_ID": "s", "SESSION_ID": "x"}
    participant = make_client(study)
    participant.enter(query=query)
    command("pause", study.folder, "--database", database_url)
    assert participant.start(query).status_code == 201
