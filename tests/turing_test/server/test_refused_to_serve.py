"""What is damaged or was changed is not served, and what turns out damaged later is skipped and told."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.study.freeze import freeze
from turing_test.study.study_folder import read_study

T = tables.trial.c


def serve(study):
    return CliRunner().invoke(main, ["study", "serve", str(study.folder), "--port", "0"])


@pytest.mark.parametrize("how", ["swapped", "empty", "missing"])
def test_a_study_with_damaged_stimuli_is_not_served(study, how):
    real = study.stimulus_path(study.find("photo 000", "truth"))
    fake = study.stimulus_path(study.find("photo 000", "method", "method a"))
    if how == "swapped":
        one, two = real.read_bytes(), fake.read_bytes()
        real.write_bytes(two)
        fake.write_bytes(one)
    elif how == "empty":
        real.write_bytes(b"")
    else:
        real.unlink()
    refused = serve(study)
    assert refused.exit_code == 2
    assert "missing or damaged, first" in refused.output
    assert not study.database.exists()


def test_a_frozen_study_that_changed_is_not_served(study):
    freeze(study)
    path = study.folder / "study.toml"
    path.write_text(path.read_text().replace("reserve_trials = 2", "reserve_trials = 1"))
    refused = serve(study)
    assert refused.exit_code == 2
    assert "changed since (protocol)" in refused.output


def test_an_image_damaged_while_serving_is_skipped_flagged_and_told(make_client, study, caplog):
    participant = make_client(study)
    view = participant.enter()
    storage = participant.app.extensions["turing_test"].storage
    before = storage.read(lambda c: c.execute(sa.select(T.first_sha).where(T.position == 1)).scalar_one())
    study.stimulus_path(before).write_bytes(b"something else")
    with caplog.at_level(logging.ERROR):
        answers = [participant.client.get(address).status_code for address in view["trial"]["images"]]
    assert answers[0] == 410
    assert "a stimulus is damaged" in caplog.text
    after = participant.view()["trial"]
    assert after["number"] == 1
    assert not set(after["images"]) & set(view["trial"]["images"])
    assert [participant.client.get(address).status_code for address in after["images"]] == [200, 200]
    assert participant.play()["state"] == "completed"
    flags = storage.read(lambda c: c.execute(sa.select(T.flags).where(T.state == "replaced")).scalars().all())
    assert flags == ["damaged"]


@pytest.mark.parametrize("name", ["secret.key", "manifest.json", "study.db", "study.db-wal", "dashboard.password"])
def test_files_of_the_study_itself_are_no_consent_text(tmp_path, name):
    study = make_study(tmp_path / "study", consent_file=name)
    with pytest.raises(InputError, match="a file of the study itself"):
        study.consent_text()


def test_a_consent_text_does_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "elsewhere.txt").write_text("private")
    study = make_study(tmp_path / "study", consent_file="agree.txt")
    (study.folder / "agree.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(InputError, match="leads out of the study folder"):
        read_study(study.folder).consent_text()


def test_no_redirect_is_made_from_the_host_header(make_client, study):
    client = make_client(study).client
    for path in ("//", "//dashboard", "/dashboard/", "/l//x", "/dashboard//login"):
        response = client.get(path, headers={"Host": "evil.example"})
        assert response.status_code in (200, 308, 404, 405), path
        assert "evil" not in response.headers.get("Location", "")


@pytest.mark.parametrize("name", ["manifest.json", "freeze.json", "extends.json", "moved.json"])
@pytest.mark.parametrize("content", ["", '{"study"', "[" * 100_000], ids=["empty", "cut", "deep"])
def test_damaged_files_of_a_study_are_told_in_a_sentence(study, name, content):
    (study.folder / name).write_text(content)
    refused = serve(study)
    assert refused.exit_code == 2, refused.exception
    assert name in refused.output
    assert not study.database.exists()
