"""A method added later: the same study, its people not admitted twice, its answers analysed together."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from analysis.study.differences import comparisons
from analysis.trials.trial_files import check_together, joined
from analysis.trials.trial_table import check_trials
from evalkit.errors import InputError
from tests.turing_test.participants import DEVICE, Participant
from turing_test.database.storage import Storage
from turing_test.database.study_record import register, set_admission
from turing_test.results.export import raw_trials
from turing_test.stimuli.create import create_study
from turing_test.study.extension import EXTENDS, Extension
from turing_test.study.study_folder import KEY, read_study
from turing_test.web.app import create_app

SETTINGS = {
    "size": 64, "practice_trials": 1, "test_trials": 4, "vigilance_trials": 0, "reserve_trials": 1, "platforms": ("prolific",),
    "first_blank_ms": 0, "blank_ms": 0, "image_ms": 20, "gap_ms": 0, "answer_delay_ms": 0,
}  # fmt: skip


def from_prolific(person):
    return {"PROLIFIC_PID": person, "STUDY_ID": "s", "SESSION_ID": f"session{person}"}


@pytest.fixture
def folder(tmp_path):
    """Folders of six small images: the truth, and three methods; a study of the first two methods."""
    rng = np.random.default_rng(0)
    for name in ("truth", "mine", "other", "third"):
        (tmp_path / name).mkdir()
        for k in range(6):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name / f"{k}.png")
    methods = {name: tmp_path / name for name in ("mine", "other")}
    create_study(tmp_path / "old", tmp_path / "truth", methods, settings=SETTINGS)
    return tmp_path


@pytest.fixture
def take_part(make_database):
    """Lets people of Prolific take part in a study, each on a database of its own; gives its URL and what they saw."""
    apps = {}

    def play(study, *people):
        if study.folder not in apps:
            url = make_database()
            apps[study.folder] = url, create_app(study, url)
        url, app = apps[study.folder]
        replies = []
        for person in people:
            participant = Participant(app, study)
            reply = participant.start(from_prolific(person))
            replies.append(reply.status_code)
            if reply.status_code == 201:
                participant.on_session("device", DEVICE)
                assert participant.play()["state"] == "completed"
        return url, replies

    yield play
    for _, app in apps.values():
        app.extensions["turing_test"].storage.close()


def closed(study, url, state="closed"):
    storage = Storage(url)
    register(storage, study)
    set_admission(storage, state)
    storage.close()


def trials_of(study, url):
    storage = Storage(url)
    try:
        return raw_trials(storage, study)
    finally:
        storage.close()


def test_a_method_is_added_nobody_takes_part_twice_and_both_are_analysed_together(folder, take_part):
    old = read_study(folder / "old")
    old_url, replies = take_part(old, *(f"person{k}" for k in range(4)))
    assert replies == [201] * 4
    closed(old, old_url)
    added = {"third": folder / "third"}
    new = create_study(folder / "new", None, added, extends=folder / "old", extends_database=old_url).study
    assert new == read_study(folder / "new")
    assert (folder / "new" / KEY).read_bytes() == (folder / "old" / KEY).read_bytes()
    assert new.protocol.name == "new"
    assert new.manifest.images == old.manifest.images
    assert len(Extension.read(folder / "new").people) == 4
    new_url, replies = take_part(new, "person0", "person7", "person3", "person8")
    assert replies == [409, 201, 409, 201]
    tables = [trials_of(old, old_url), trials_of(new, new_url)]
    table = check_together(tables, check_trials)
    assert table.methods == ("mine", "other", "third")
    assert {row.result.n_shared_images for row in comparisons(table) if "third" in (row.method_a, row.method_b)} <= {
        3,
        4,
        5,
    }
    # A third study knows the people and the methods of both, and is of the same family.
    closed(new, new_url)
    beyond = {"extends": folder / "new", "extends_database": new_url}
    with pytest.raises(InputError, match=r"mine shows something else .* give it another name"):
        create_study(folder / "again", None, {"mine": folder / "other"}, **beyond)
    assert not (folder / "again").exists()
    more_of_mine = create_study(folder / "more", None, {"mine": folder / "mine"}, **beyond).study
    assert more_of_mine.extends.methods.keys() == {"mine", "other", "third"}
    again = create_study(folder / "again", None, {"gray": None}, extends=folder / "new", extends_database=new_url).study
    assert len(again.extends.people) == 6
    assert again.first_manifest == old.manifest.digest


def test_blocks_of_images_are_those_of_the_first_study(folder, take_part):
    (folder / "scenes.csv").write_text("image,block\n" + "".join(f"{k},{'ab'[k % 2]}\n" for k in range(6)))
    settings = {**SETTINGS, "reserve_trials": 0, "blocks": str(folder / "scenes.csv")}
    methods = {name: folder / name for name in ("mine", "other")}
    old = create_study(folder / "blocked", folder / "truth", methods, settings=settings).study
    (folder / "scenes.csv").unlink()
    old_url, _ = take_part(old, "person0", "person1")
    closed(old, old_url)
    added = {"third": folder / "third"}
    new = create_study(folder / "new", None, added, extends=folder / "blocked", extends_database=old_url).study
    assert new == read_study(folder / "new")
    assert new.manifest.blocks == old.manifest.blocks
    new_url, _ = take_part(new, "person2")
    table = check_together([trials_of(old, old_url), trials_of(new, new_url)], check_trials)
    test = table.of_kind("test")
    assert [new.manifest.blocks[image] for image in test["image"]] == test["block"].tolist()
    with pytest.raises(InputError, match=r"--set blocks: a study that extends .* asks what that asked"):
        create_study(
            folder / "newer",
            None,
            added,
            extends=folder / "blocked",
            extends_database=old_url,
            settings={"blocks": "none"},
        )


def test_tables_of_unrelated_studies_are_not_put_together(folder, take_part):
    create_study(folder / "alone", folder / "truth", {"third": folder / "third"}, settings=SETTINGS)
    studies = [read_study(folder / name) for name in ("old", "alone")]
    tables = [trials_of(study, take_part(study, "person0")[0]) for study in studies]
    with pytest.raises(
        InputError, match=r"mixes studies.*those that add methods to it \(evalkit study create --extends\)"
    ):
        check_trials(joined(tables))


def test_what_cannot_be_put_together_is_refused_and_leaves_nothing_behind(folder, take_part):
    old = read_study(folder / "old")
    added = {"third": folder / "third"}

    def extend(message, **changes):
        given = {"methods": added, "extends": folder / "old", "extends_database": url, **changes}
        with pytest.raises(InputError, match=message):
            create_study(folder / "new", given.pop("truth", None), given.pop("methods"), **given)
        assert not (folder / "new").exists()

    url = None
    extend("nobody has taken part yet; add the method there")
    url, _ = take_part(old, "person0")
    extend("still admits people.*evalkit study close")
    closed(old, url)
    extend("asks what that asked", settings={"test_trials": 2})
    other = np.zeros((64, 64, 3), np.uint8)
    (folder / "repainted").mkdir()
    for k in range(6):
        Image.fromarray(other).save(folder / "repainted" / f"{k}.png")
    extend("6 images show something else .*truth 0", truth=folder / "repainted")
    extend("6 images show something else .*mine 0", methods={**added, "mine": folder / "repainted"})
    (folder / "third" / "6.png").write_bytes((folder / "third" / "0.png").read_bytes())
    (folder / "repainted" / "6.png").write_bytes((folder / "third" / "0.png").read_bytes())
    extend("the photos are not those of", truth=folder / "repainted")
    with pytest.raises(InputError, match="is a study already"):
        create_study(folder / "old", None, added, extends=folder / "old", extends_database=url)


def test_a_damaged_record_admits_nobody(folder):
    (folder / "old" / EXTENDS).write_text("{")
    with pytest.raises(InputError, match="it says who took part in the study before"):
        read_study(folder / "old")
