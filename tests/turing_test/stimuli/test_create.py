"""A study is created whole or not at all, says what a change changes, and stays as it is once it has answers."""

import re
import sqlite3
import stat
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from evalkit.commands.score import score_command
from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.images import image_files
from evalkit.scoring.record import size_field
from turing_test.commands import study_files
from turing_test.server.doctor import examine
from turing_test.server.local_server import local_server
from turing_test.simulation.observers import Population
from turing_test.simulation.play import simulate
from turing_test.stimuli.audit import audit_study
from turing_test.stimuli.create import create_study
from turing_test.stimuli.demo_study import create_demo_study
from turing_test.study.freeze import FROZEN, freeze, read_stamp
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import read_study

SETTINGS = {"size": 64, "practice_trials": 1, "test_trials": 3, "vigilance_trials": 1, "reserve_trials": 1}


@pytest.fixture
def sources(tmp_path):
    """Folders of five small images: the truth, and two methods."""
    rng = np.random.default_rng(0)
    for name in ("truth", "mine", "other"):
        (tmp_path / name).mkdir()
        for k in range(5):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name / f"{k}.png")
    return tmp_path


def create(sources, methods=("mine", "other"), **options):
    options = {"settings": SETTINGS, **options}
    return create_study(sources / "study", sources / "truth", {name: sources / name for name in methods}, **options)


def files(folder):
    """Every file below a folder and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(study, old, new):
    path = study / "study.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def store_session(study, *, simulated):
    """What the server leaves behind, as far as `create` looks at it."""
    with sqlite3.connect(study / "study.db") as database:
        database.execute("CREATE TABLE session (id INTEGER, simulated BOOLEAN)")
        database.execute("INSERT INTO session VALUES (1, ?)", (simulated,))
    database.close()


class TestANewStudy:
    def test_reads_back(self, sources):
        created = create(sources)
        study = read_study(sources / "study")
        assert study == created.study
        assert created.is_new
        assert created.notes == ()
        assert study.protocol.name == "study"
        assert study.manifest.methods == ("mine", "other")
        assert study.stimulus_path(study.find("0", "method", "mine")).is_file()

    def test_has_a_secret_that_only_its_owner_reads(self, sources):
        study = create(sources).study
        assert stat.S_IMODE((sources / "study" / "secret.key").stat().st_mode) == 0o600
        assert len(study.key) == 32
        assert study.key.hex() not in repr(study)

    def test_uses_a_study_file_that_is_there(self, sources):
        (sources / "study").mkdir()
        (sources / "study" / "study.toml").write_text("[timing]\nimage_ms = 500\n")
        assert create(sources).study.protocol.image_ms == 500

    def test_takes_its_preset_from_a_setting_as_well(self, sources):
        settings = {"preset": "naturalness", "size": 64, "test_trials": 1, "practice_trials": 0, "reserve_trials": 0}
        assert create(sources, settings=settings).study.protocol == Protocol.of_preset(**settings, name="study")
        with pytest.raises(InputError, match="--preset zhang2016 and --set preset=naturalness differ"):
            create(sources, preset="zhang2016", settings={"preset": "naturalness"})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"settings": {**SETTINGS, "test_trials": 41, "vigilance_trials": 3}}, "need 43 different photos, and there are 5"),
            ({"settings": {"imagems": 1}}, "did you mean 'image_ms'"),
            ({"settings": {**SETTINGS, "language": "xx"}}, "language is 'xx', and there are no texts of it; allowed are de, en, or any whose texts stand in"),
            ({"preset": "preference", "methods": ["mine"], "settings": {"size": 64, "test_trials": 1, "reserve_trials": 0}},
             "compares two methods, and the study has 1; add methods"),
        ],
    )  # fmt: skip
    def test_that_cannot_be_leaves_nothing_behind(self, sources, options, message):
        with pytest.raises(InputError, match=message):
            create(sources, **options)
        assert not (sources / "study").exists()

    def test_with_a_damaged_image_leaves_nothing_behind(self, sources):
        path = sources / "other" / "4.png"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match=r"4\.png"):
            create(sources)
        assert not (sources / "study").exists()

    def test_does_not_move_into_a_folder_of_something_else(self, sources):
        with pytest.raises(InputError, match=r"holds other files \(0\.png, 1\.png, 2\.png and 2 more\)"):
            create_study(sources / "mine", sources / "truth", {"other": sources / "other"}, settings=SETTINGS)

    def test_tells_of_photos_that_were_enlarged_or_cut(self, sources):
        for name in ("truth", "mine", "other"):
            Image.new("RGB", (90, 50)).save(sources / name / "3.png")
        notes = create(sources).notes
        assert len(notes) == 2
        assert notes[0].startswith("1 photo is smaller than 64 pixels and was enlarged (first 3)")
        assert notes[1] == (
            '1 photo is not square and was scaled to a square, out of proportion (fit = "warp", first 3); metrics see the '
            "same pixels with evalkit score --size 64 --fit warp."
        )
        cut = create(sources, settings={**SETTINGS, "fit": "crop"}).notes
        assert cut[1].startswith("1 photo is not square and was cut to their centre")

    def test_shows_people_what_metrics_see_by_default(self, sources):
        of_score = {option.name: option.default for option in score_command.params}
        assert Protocol().fit == of_score["fit"]
        assert Protocol().shown_as == size_field(Protocol().size, of_score["fit"], of_score["resample"])

    def test_needs_folders(self, sources):
        with pytest.raises(InputError, match="needs --truth DIR and at least one --method"):
            create_study(sources / "study")

    def test_does_not_test_the_photos_against_themselves(self, sources):
        with pytest.raises(InputError, match="the photo would be shown against itself"):
            create_study(sources / "study", sources / "truth", {"truth": None}, settings=SETTINGS)

    @pytest.mark.parametrize("preset", ["preference", "naturalness"])
    def test_has_the_photos_as_a_method_where_no_photo_stands_beside_them(self, sources, preset):
        settings = {**SETTINGS, "vigilance_trials": 0}
        methods = {"truth": None, "mine": sources / "mine"}
        study = create_study(sources / "study", sources / "truth", methods, preset=preset, settings=settings).study
        assert study.manifest.methods == ("mine", "truth")
        assert {pair.method for pair in audit_study(study)} == {"mine"}
        with local_server(study, simulation_key="key") as url:
            played = simulate(study, Population(participants=2, fool_rates={"truth": 0.9}), url, "key")
        assert {p.state for p in played} == {"completed"}


class TestAChange:
    def test_of_nothing_changes_nothing(self, sources):
        create(sources)
        before = files(sources / "study")
        assert create(sources).changes == ()
        after = files(sources / "study")
        before.pop("built.json"), after.pop("built.json")
        assert before == after

    def test_of_a_number_is_named_and_needs_no_folders(self, sources):
        create(sources)
        edit(sources / "study", "image_ms = 1000", "image_ms = 500")
        (sources / "truth").rename(sources / "moved")
        created = create_study(sources / "study")
        assert created.changes == ("image_ms: 1000 -> 500",)
        assert not created.is_new
        assert create_study(sources / "study").changes == ()

    def test_made_in_the_file_keeps_the_owners_comments(self, sources):
        create(sources)
        edit(sources / "study", "image_ms = 1000", "image_ms = 500  # as in our pilot")
        create_study(sources / "study")
        assert "# as in our pilot" in (sources / "study" / "study.toml").read_text()

    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    def test_on_the_command_line_keeps_the_owners_comments(self, sources, line_end):
        create(sources)
        file = sources / "study" / "study.toml"
        edit(sources / "study", "image_ms = 1000", "image_ms = 500  # as in our pilot")
        edit(sources / "study", "blank_ms = 900\n", "# blank_ms = 900: the preset's\n")
        own = file.read_text().replace('name = "study"', '# ours\nname = "study"')
        file.write_bytes(own.replace("\n", line_end).encode())
        created = create_study(
            sources / "study", settings={"gap_ms": 500, "blank_ms": 800, "contact": 'A "B"', "language": "de"}
        )
        assert created.study.protocol == read_study(sources / "study").protocol
        after = file.read_bytes().decode()
        changed = own.replace("\n", line_end)
        for option, value in (("gap_ms", "500"), ("contact", '"A \\"B\\""'), ("language", '"de"')):
            changed = re.sub(rf"(?m)^{option} = [^\r\n]*", lambda _, o=option, v=value: f"{o} = {v}", changed)
        # The key that was absent is added to its own section; all else stands as it stood.
        assert [line for line in after.splitlines() if line != "blank_ms = 800"] == changed.splitlines()
        assert created.changes == (
            'language: "en" -> "de"', "blank_ms: 900 -> 800", "image_ms: 1000 -> 500", "gap_ms: 600 -> 500",
            'contact: "" -> "A \\"B\\""',
        )  # fmt: skip

    def test_on_the_command_line_fits_a_file_without_sections(self, sources):
        create(sources)
        (sources / "study" / "study.toml").write_text(
            'name = "study"\n[stimuli]\nsize = 64\n'
            "[session]\npractice_trials = 1\ntest_trials = 3\nvigilance_trials = 1\nreserve_trials = 1\n"
        )
        create_study(sources / "study", settings={"image_ms": 250, "preset": "zhang2016", "language": "de"})
        protocol = read_study(sources / "study").protocol
        assert (protocol.image_ms, protocol.language, protocol.test_trials) == (250, "de", 3)

    def test_of_an_option_that_decides_stimuli_builds_them_again(self, sources):
        create(sources)
        before = files(sources / "study")
        created = create_study(sources / "study", settings={"catch_trials": 1, "reserve_trials": 0})
        assert created.changes == ("catch_trials: 0 -> 1", "reserve_trials: 1 -> 0")
        assert created.study.manifest.has_role("catch")
        assert read_study(sources / "study") == created.study
        assert {name for name in before if name.startswith("stimuli")} <= set(files(sources / "study"))

    def test_of_images_names_them(self, sources, tmp_path):
        create(sources)
        rng = np.random.default_rng(1)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(sources / "mine" / "3.png")
        for name in ("truth", "mine"):
            (sources / name / "0.png").rename(sources / name / "00.png")
        created = create(sources, methods=["mine"], settings={})
        assert "images: 1 new (00)" in created.changes
        assert "images: 1 gone (0)" in created.changes
        assert "methods: 1 gone (other)" in created.changes
        assert [change for change in created.changes if change.startswith("stimuli")] != []
        assert "mine 3" in " ".join(created.changes)
        found = {path.stem for path in (sources / "study" / "stimuli").rglob("*.png")}
        assert found == set(created.study.manifest.stimuli)

    def test_of_the_longest_file_alone_is_no_change_of_pixels(self, sources):
        for name in ("truth", "mine", "other"):
            Image.new("RGB", (64, 64), (9, 9, 9)).save(sources / name / "0.png")
        created = create(sources, settings={**SETTINGS, "vigilance_trials": 0, "test_trials": 2})
        noise = np.random.default_rng(1).integers(0, 256, (500, 500, 3), dtype=np.uint8)
        for name in ("truth", "mine", "other"):
            for path in (sources / name).iterdir():
                Image.new("RGB", (64, 64), (9, 9, 9)).save(path)
        small = create(sources, settings={})
        Image.fromarray(noise[:64, :64]).save(sources / "mine" / "0.png")
        again = create(sources, settings={})
        assert created.study.manifest.stimulus_bytes > small.study.manifest.stimulus_bytes
        assert again.study.manifest.stimulus_bytes > small.study.manifest.stimulus_bytes
        assert again.changes == ("stimuli: 1 with other pixels (mine 0)",)

    @pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"x")], ids=["lost", "overwritten"])
    def test_of_a_damaged_file_is_mended(self, sources, damage):
        study = create(sources).study
        path = study.stimulus_path(study.find("0", "truth"))
        whole = path.read_bytes()
        damage(path)
        assert create(sources).changes == ()
        assert path.read_bytes() == whole

    def test_that_fails_leaves_the_study_as_it_was(self, sources):
        create(sources)
        before = files(sources / "study")
        (sources / "mine" / "4.png").write_bytes(b"no image")
        with pytest.raises(InputError, match=r"4\.png"):
            create(sources)
        assert files(sources / "study") == before

    def test_of_the_preset_is_made_in_the_file(self, sources):
        create(sources)
        with pytest.raises(InputError, match='says preset = "zhang2016", not "preference"'):
            create(sources, preset="preference")


class TestAnInterruption:
    """The power goes at any of the writes: nothing after it happens, not even tidying up."""

    @pytest.fixture
    def cut_off(self, monkeypatch):
        class PowerCut(BaseException):
            pass

        def after(n_writes):
            left = [n_writes]

            def write(path, data, mode=0o644):
                if not left[0]:
                    raise PowerCut
                left[0] -= 1
                write_atomically(path, data, mode)

            monkeypatch.setattr("turing_test.stimuli.create.write_atomically", write)
            monkeypatch.setattr("turing_test.stimuli.create._prune", lambda *words: None)
            monkeypatch.setattr("turing_test.stimuli.create.shutil.rmtree", lambda *words, **more: None)
            return PowerCut

        return after

    @pytest.mark.parametrize("n_writes", range(4))
    def test_of_a_new_study_is_mended_by_the_same_command(self, sources, cut_off, monkeypatch, n_writes):
        with pytest.raises(cut_off(n_writes)):
            create(sources)
        with pytest.raises(InputError, match="is no study"):
            read_study(sources / "study")
        monkeypatch.undo()
        assert create(sources).study == read_study(sources / "study")
        assert not list((sources / "study").glob(".building-*"))

    @pytest.mark.parametrize("n_writes", range(3))
    def test_of_a_change_is_mended_by_the_same_command(self, sources, cut_off, monkeypatch, n_writes):
        create(sources)
        change = {"settings": {"catch_trials": 1, "reserve_trials": 0}}
        with pytest.raises(cut_off(n_writes)):
            create_study(sources / "study", **change)
        monkeypatch.undo()
        study = create_study(sources / "study", **change).study
        assert study == read_study(sources / "study")
        assert study.manifest.has_role("catch")
        assert {path.stem for path in (sources / "study" / "stimuli").rglob("*.png")} == set(study.manifest.stimuli)


class TestRecruiting:
    def test_what_platforms_ask_for_is_written_once_the_address_is_known(self, sources):
        recruiting = create(sources).study.folder / "recruiting"
        assert not recruiting.exists()
        create_study(sources / "study", settings={"public_url": "https://study.example.org"})
        assert "<ExternalURL>https://study.example.org</ExternalURL>" in (recruiting / "mturk_question.xml").read_text()
        assert "PROLIFIC_PID={{%PROLIFIC_PID%}}" in (recruiting / "prolific_url.txt").read_text()
        create_study(sources / "study", settings={"public_url": "http://localhost:8000"})
        assert [path.name for path in recruiting.iterdir()] == ["prolific_url.txt"]


def test_the_demo_needs_nothing_but_what_is_installed(tmp_path):
    study = create_demo_study(tmp_path / "demo")
    assert read_study(tmp_path / "demo") == study
    assert (len(study.manifest.images), study.manifest.methods) == (60, ("mild", "strong"))


class TestAStudyWithAnswers:
    def test_keeps_its_files_when_another_version_encodes_the_same_pixels_differently(self, sources, monkeypatch):
        create(sources)
        store_session(sources / "study", simulated=False)
        before = files(sources / "study")
        monkeypatch.setattr("turing_test.stimuli.build.encode", image_files.encode_png)
        assert create(sources).changes == ()
        after = files(sources / "study")
        before.pop("built.json"), after.pop("built.json")
        assert before == after

    @pytest.mark.parametrize(
        ("simulated", "message"),
        [(False, "has 1 session of participants"), (True, "has 1 simulated session.*study.db.*evalkit study reset")],
    )
    def test_stays_as_it_is(self, sources, simulated, message):
        create(sources)
        store_session(sources / "study", simulated=simulated)
        edit(sources / "study", "gap_ms = 600", "gap_ms = 500")
        before = files(sources / "study")
        with pytest.raises(InputError, match=message) as caught:
            create_study(sources / "study")
        assert "gap_ms: 600 -> 500" in str(caught.value)
        assert files(sources / "study") == before

    def test_keeps_the_words_of_its_question(self, sources):
        create(sources)
        own = sources / "study" / "texts" / "en.toml"
        own.parent.mkdir()
        own.write_text('[question]\nzhang2016 = "Which is fake?"\n')
        assert create_study(sources / "study").changes == (
            "texts: other words of question, answers, instructions or feedback in texts/en.toml",
        )
        store_session(sources / "study", simulated=False)
        own.write_text(own.read_text() + '[page]\ntitle = "Photos"\n')
        assert create_study(sources / "study").changes == ()
        own.write_text('[question]\nzhang2016 = "Which is real?"\n')
        with pytest.raises(InputError, match=r"has 1 session .* would change it: texts: other words of question"):
            create_study(sources / "study")

    @pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
    def test_stays_as_it_is_when_the_answers_are_elsewhere(self, sources, database_url):
        study = create(sources).study
        elsewhere = {"database_url": database_url}
        assert create_study(study.folder, settings={"gap_ms": 500}, **elsewhere).changes == ("gap_ms: 600 -> 500",)
        with local_server(read_study(study.folder), database_url, simulation_key="key") as url:
            simulate(study, Population(participants=1), url, "key")
        with pytest.raises(InputError, match=r"has 1 simulated session.*evalkit study reset"):
            create_study(study.folder, settings={"gap_ms": 400}, **elsewhere)
        with pytest.raises(InputError, match="So nothing was changed"):
            create_study(study.folder, settings={"gap_ms": 400}, database_url="postgresql://x@127.0.0.1:1/x")

    def test_keeps_its_stimuli_when_images_change(self, sources):
        create(sources)
        store_session(sources / "study", simulated=False)
        Image.new("RGB", (64, 64)).save(sources / "mine" / "0.png")
        before = files(sources / "study")
        with pytest.raises(InputError, match="1 with other pixels"):
            create(sources)
        assert files(sources / "study") == before

    def test_may_be_created_again_without_a_change(self, sources):
        create(sources)
        store_session(sources / "study", simulated=False)
        assert create(sources).changes == ()

    def test_is_not_judged_by_a_database_that_cannot_be_read(self, sources):
        create(sources)
        (sources / "study" / "study.db").write_bytes(b"garbage" * 1000)
        edit(sources / "study", "gap_ms = 600", "gap_ms = 500")
        with pytest.raises(InputError, match=r"cannot be read .*so nothing was changed"):
            create_study(sources / "study")


class TestBlocksOfImages:
    SETTINGS: ClassVar = {**SETTINGS, "reserve_trials": 0}
    ROWS = "image,block\n0.png,indoor\n1.png,indoor\n2.png,indoor\n3.png,outdoor\n4.png,outdoor\n"

    @pytest.fixture
    def scenes(self, sources):
        (sources / "lists").mkdir()
        path = sources / "lists" / "scenes.csv"
        path.write_text(self.ROWS)
        return path

    def settings(self, path):
        return {**self.SETTINGS, "blocks": str(path)}

    def test_the_list_is_copied_and_part_of_what_the_study_is(self, sources, scenes):
        study = create(sources, settings=self.settings(scenes)).study
        assert study == read_study(sources / "study")
        assert study.protocol.blocks == "scenes.csv"
        assert (sources / "study" / "scenes.csv").read_text() == self.ROWS
        assert study.manifest.blocks == dict(zip("01234", ["indoor"] * 3 + ["outdoor"] * 2, strict=True))
        scenes.unlink()
        assert create_study(sources / "study").changes == ()
        assert 'blocks = "scenes.csv"' in study.protocol.departures

    def test_a_list_beside_the_study_file_is_found_without_a_path(self, sources, monkeypatch):
        (sources / "study").mkdir()
        (sources / "study" / "scenes.csv").write_text(self.ROWS)
        monkeypatch.chdir(sources / "truth")
        assert create(sources, settings=self.settings("scenes.csv")).study.manifest.blocks["4"] == "outdoor"

    def test_a_list_in_the_working_folder_comes_before_that(self, sources, monkeypatch):
        (sources / "study").mkdir()
        (sources / "study" / "scenes.csv").write_text("old")
        (sources / "scenes.csv").write_text(self.ROWS)
        monkeypatch.chdir(sources)
        create(sources, settings=self.settings("scenes.csv"))
        assert (sources / "study" / "scenes.csv").read_text() == self.ROWS

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("4.png", "5.png", "row 6: 5.png is no image of the study"),
            ("4.png,outdoor\n", "", r"1 image of the study has no row \(4\)"),
            ("4.png", "3.png", "row 6: 3 stands in row 5 already"),
            ("4.png,outdoor", ",", "row 6: is empty"),
            (
                "2.png,indoor\n3.png,outdoor",
                "2.png,indoor\n3.png,indoor",
                "block outdoor has 1 photo, .* up to 2 of it",
            ),
            ("1.png,indoor\n2.png,indoor", "1.png,b\n2.png,c", "names 4 blocks, .* is 2; allowed are at most"),
        ],
    )
    def test_a_list_that_does_not_fit_is_refused_before_anything_is_made(self, sources, scenes, old, new, message):
        scenes.write_text(self.ROWS.replace(old, new))
        with pytest.raises(InputError, match=rf"lists/scenes\.csv.*{message}"):
            create(sources, settings=self.settings(scenes))
        assert not (sources / "study").exists()

    def test_a_list_that_is_not_there_is_named_where_it_was_looked_for(self, sources):
        with pytest.raises(InputError, match=r"nowhere/scenes\.csv: cannot be read as the list that blocks names"):
            create(sources, settings=self.settings(sources / "nowhere" / "scenes.csv"))
        assert not (sources / "study").exists()

    def test_a_change_of_the_list_is_told_and_refused_once_there_are_answers(self, sources, scenes):
        before = create(sources, settings=self.settings(scenes)).study
        copy = sources / "study" / "scenes.csv"
        changed = self.ROWS.replace("2.png,indoor", "2.png,outdoor")
        copy.write_text(changed)
        after = create_study(sources / "study")
        assert after.changes == ("blocks: 1 image in another block (2)",)
        assert after.study.manifest.digest != before.manifest.digest
        assert after.study == read_study(sources / "study")
        store_session(sources / "study", simulated=False)
        scenes.write_text(self.ROWS)
        with pytest.raises(InputError, match=r"has 1 session of participants.*1 image in another block"):
            create_study(sources / "study", settings={"blocks": str(scenes)})
        assert copy.read_text() == changed
        with pytest.raises(InputError, match=r'blocks: "scenes\.csv" -> "none"'):
            create_study(sources / "study", settings={"blocks": "none"})

    def test_blocks_come_and_go_while_nobody_has_taken_part(self, sources, scenes):
        plain = create(sources, settings=self.SETTINGS).study
        edit(sources / "study", 'blocks = "none"', 'blocks = "scenes.csv"')
        with pytest.raises(
            InputError, match=r'blocks is "scenes\.csv", but the study was created without blocks of images'
        ):
            read_study(sources / "study")
        created = create_study(sources / "study", settings={"blocks": str(scenes)})
        assert created.changes == ('blocks: "none" -> "scenes.csv"',)
        assert created.study.manifest.stimuli == plain.manifest.stimuli
        assert create_study(sources / "study", settings={"blocks": "none"}).study == read_study(sources / "study")
        assert read_study(sources / "study").manifest.digest == plain.manifest.digest

    def test_a_stamp_covers_the_list(self, sources, scenes):
        create(sources, settings=self.settings(scenes))
        freeze(read_study(sources / "study"))
        scenes.write_text(self.ROWS.replace("2.png,indoor", "2.png,outdoor"))
        with pytest.raises(InputError, match=r"is frozen.*1 image in another block \(2\)"):
            create_study(sources / "study", settings={"blocks": str(scenes)})

    def test_the_command_and_the_doctor_say_what_a_session_shows(self, sources, scenes):
        words = [str(sources / "study"), "--truth", str(sources / "truth"), "--method", f"mine={sources / 'mine'}"]
        settings = [word for key, value in self.settings(scenes).items() for word in ("--set", f"{key}={value}")]
        printed = CliRunner().invoke(study_files.create_command, [*words, *settings]).output
        said = "2 blocks of images (scenes.csv; photos: indoor 3, outdoor 2), 1 or 2 trials of each per session, in 2 balanced orders"
        assert said in printed
        assert {check.name: check.finding for check in examine(sources / "study")}["blocks"] == said


class TestPermissions:
    def test_which_image_is_real_is_the_owners_to_read(self, sources):
        create(sources)
        modes = {
            name: stat.S_IMODE((sources / "study" / name).stat().st_mode) for name in ("manifest.json", "secret.key")
        }
        assert set(modes.values()) == {0o600}


class TestFreezing:
    def test_stamps_once(self, sources):
        study = create(sources).study
        stamp = freeze(study)
        assert len(stamp.sha256) == 64
        assert freeze(study) == stamp == read_stamp(sources / "study")

    @pytest.mark.parametrize("part", ["protocol", "stimuli", "consent"])
    def test_notices_any_change(self, sources, part):
        (sources / "study").mkdir()
        (sources / "study" / "agree.txt").write_text("I agree.")
        create(sources, settings={**SETTINGS, "consent_file": "agree.txt"})
        freeze(read_study(sources / "study"))
        if part == "protocol":
            edit(sources / "study", "image_ms = 1000", "image_ms = 999")
        elif part == "consent":
            (sources / "study" / "agree.txt").write_text("I agree to anything.")
        else:
            stimulus = next((sources / "study" / "stimuli").rglob("*.png"))
            stimulus.write_bytes(stimulus.read_bytes()[:-1])
        with pytest.raises(InputError, match="damaged" if part == "stimuli" else f"changed since: {part}"):
            freeze(read_study(sources / "study"))

    def test_refuses_changes_from_then_on(self, sources):
        freeze(create(sources).study)
        with pytest.raises(InputError, match=r"is frozen.*gap_ms: 600 -> 1"):
            create_study(sources / "study", settings={"gap_ms": 1})

    def test_a_stamp_changed_by_hand_is_refused(self, sources):
        freeze(create(sources).study)
        path = sources / "study" / FROZEN
        path.write_text(path.read_text().replace('"evalkit": "', '"evalkit": "9'))
        with pytest.raises(InputError, match="changed by hand"):
            read_stamp(sources / "study")


class TestReading:
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("size = 64", "size = 128", "size is 128, but the stimuli were built for 64"),
            ('name = "study"', 'name = "two"', "name is two, but the stimuli were built for study"),
            ("catch_trials = 0", "catch_trials = 1", "catch_trials is 1, but no catch images were built"),
            ("color_vision = false", "color_vision = true", "color_vision is true, but no plates"),
            ("reserve_trials = 1", "reserve_trials = 2", "need 6 different photos, and there are 5"),
        ],
    )
    def test_refuses_a_study_file_that_the_stimuli_do_not_serve(self, sources, old, new, message):
        create(sources)
        edit(sources / "study", old, new)
        with pytest.raises(InputError, match=message):
            read_study(sources / "study")

    def test_refuses_what_is_no_study(self, tmp_path):
        with pytest.raises(InputError, match="is no study"):
            read_study(tmp_path)

    def test_refuses_a_damaged_secret(self, sources):
        create(sources)
        (sources / "study" / "secret.key").write_text("x")
        with pytest.raises(InputError, match=r"secret\.key: is not the study's secret"):
            read_study(sources / "study")

    @pytest.mark.parametrize(("text", "message"), [(None, "cannot be read as the consent"), (" \n", "is empty")])
    def test_refuses_a_consent_file_without_text(self, sources, text, message):
        study = create(sources, settings={**SETTINGS, "consent_file": "agree.txt"}).study
        if text is not None:
            (sources / "study" / "agree.txt").write_text(text)
        with pytest.raises(InputError, match=message):
            study.consent_text()


class TestTheCommand:
    def run(self, command, *words):
        result = CliRunner().invoke(command, [*map(str, words)])
        assert result.exit_code == 0, result.output
        return result.output

    def test_creates_changes_and_freezes(self, sources):
        study = sources / "study"
        settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
        methods = ["--method", f"mine={sources / 'mine'}", "--method", "gray"]
        printed = self.run(study_files.create_command, study, "--truth", sources / "truth", *methods, *settings)
        assert "5 photos, 2 methods (gray, mine); 20 stimuli of" in printed
        assert "1 practice and 3 test trials" in printed
        assert "Nothing changed." in self.run(study_files.create_command, study)
        assert "image_ms: 1000 -> 700" in self.run(study_files.create_command, study, "--set", "image_ms=700")
        assert read_stamp(study) is None
        assert self.run(study_files.freeze_command, study).startswith(read_stamp(study).sha256)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--method", "grey"], "did you mean 'gray'"),
            (["--method", "gray", "--method", "gray"], "the name 'gray' is given twice"),
            (["--method", "gray", "--set", "size"], "no '='"),
        ],
    )
    def test_tells_mistakes_in_a_sentence(self, sources, words, message):
        result = CliRunner().invoke(
            study_files.create_command, [str(sources / "study"), "--truth", str(sources / "truth"), *words]
        )
        assert isinstance(result.exception, InputError)
        assert message in str(result.exception)
