from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.trials.trial_files import ColumnMapping, read_trials
from evalkit.errors import InputError
from evalkit.wording import counted

Write = Callable[..., Path]


def changed(rows: list[dict], index: int, **cells: object) -> list[dict]:
    return [{**row, **cells} if k == index else row for k, row in enumerate(rows)]


def test_reads_every_trial_of_an_exported_study(write_csv: Write, study_rows: list[dict]) -> None:
    trials = read_trials(write_csv(study_rows))
    assert len(trials) == len(study_rows) == 168
    assert trials.preset == "real-vs-fake"
    assert trials.methods == ("gray", "mine")
    assert trials.value.tolist() == [row["fooled"] for row in study_rows]
    assert trials.row[0] == 2
    assert len(trials.of_kind("test")) == 120
    frame = trials.to_frame()
    assert frame["value"].sum() == sum(row["fooled"] for row in study_rows)


def test_trials_of_scripts_are_counted_in_a_note(write_csv: Write, study_rows: list[dict]) -> None:
    honest = [{**row, "flags": "hidden" if k % 3 else ""} for k, row in enumerate(study_rows)]
    assert read_trials(write_csv(honest)).notes == ()
    marked = changed(changed(honest, 0, flags="hidden not_fetched too_fast"), 1, flags="not_fetched")
    people = len({row["participant"] for row in study_rows[:2]})
    (note,) = read_trials(write_csv(marked)).notes
    assert note.startswith(
        f"2 of 168 trials, of {counted(people, 'participant')}, were not sent as a page of the study sends them "
        "(too_fast 1, not_fetched 2)"
    )


def test_csv_parquet_json_and_the_folder_of_an_export_give_the_same_table(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = read_trials(write_csv(study_rows))
    pq.write_table(pa.Table.from_pylist(study_rows), tmp_path / "trials.parquet")
    (tmp_path / "trials.json").write_text(json.dumps({"trials": study_rows}))
    (tmp_path / "export").mkdir()
    write_csv(study_rows).rename(tmp_path / "export" / "trials.csv")
    for name in ("trials.parquet", "trials.json", "export"):
        found = read_trials(tmp_path / name)
        assert np.array_equal(found.value, expected.value)
        assert all(np.array_equal(found[c], expected[c], equal_nan=c == "trial") for c in ("image", "flags", "trial"))


def test_fooled_is_derived_from_the_side_chosen_as_the_fake(write_csv: Write) -> None:
    rows = [
        {"participant": "a", "method": "m", "image": i, "real_position": real, "response": response}
        for i, (real, response) in enumerate([("first", "first"), ("first", "second"), ("second", "")])
    ]
    trials = read_trials(write_csv(rows))
    assert trials.value[:2].tolist() == [1, 0]
    assert np.isnan(trials.value[2])
    assert trials.unscored.tolist() == ["", "", "no answer"]


def test_preference_and_naturalness_tables_are_recognised(write_csv: Write) -> None:
    pairs = [{"participant": "a", "image": i, "method_first": "m", "method_second": "n", "response": r}
             for i, r in enumerate(["first", "second", ""])]  # fmt: skip
    preference = read_trials(write_csv(pairs))
    assert (preference.preset, preference.methods) == ("preference", ("m", "n"))
    assert preference.value[:2].tolist() == [1, 0]
    single = [{"participant": "a", "image": i, "method": "m", "response": r} for i, r in enumerate(["yes", "no"])]
    naturalness = read_trials(write_csv(single))
    assert (naturalness.preset, naturalness.value.tolist()) == ("naturalness", [1, 0])


def test_a_foreign_table_is_read_through_a_mapping(tmp_path: Path, write_csv: Write) -> None:
    write_csv([{"img_id": "i1", "source": "GAN"}, {"img_id": "i2", "source": "photo"}], "img.csv", ";")
    path = write_csv([["subj", "img_id", "likert"], ["s1", "i1", "7"], ["s1", "i2", "-1"]], "ans.csv", ";")
    (tmp_path / "mapping.toml").write_text(
        'columns = {participant = "subj", image = "img_id", rating = "likert", method = "source"}\n'
        'missing = {rating = -1}\nconstants = {study = "lago"}\nlookup = {file = "img.csv", key = "img_id"}\n'
    )
    trials = read_trials(path, mapping=ColumnMapping.from_toml(tmp_path / "mapping.toml"))
    assert trials.preset == "rating"
    assert trials["method"].tolist() == ["GAN", "photo"]
    assert trials["study"].tolist() == ["lago", "lago"]
    assert trials.value[0] == 7
    assert trials.unscored.tolist() == ["", "no rating"]


def test_scored_pairs_fool_when_the_colorization_scores_higher(write_csv: Write) -> None:
    header = ["who", "file_first", "file_second", "score_first", "score_second"]
    rows = [
        ["a", "1_gt.jpg", "1Z_1.jpg", 4, 5],
        ["a", "2Z_1.jpg", "2_gt.jpg", 3, 3],
        ["a", "3_gt.jpg", "3Z_1.jpg", 5, 1],
    ]
    mapping = ColumnMapping(
        columns={"participant": "who"}, truth_pattern="_gt", name_pattern=r"(?P<image>\d)(?P<method>[A-Z]_\d)"
    )
    trials = read_trials(write_csv([header, *rows]), mapping=mapping)
    assert trials.value.tolist() == [1, 0.5, 0]
    assert trials["method"].tolist() == ["Z_1"] * 3
    assert trials["real_position"].tolist() == ["first", "second", "first"]
    with pytest.raises(InputError, match=r"row 2 shows 1Z_1.jpg and 1Z_1.jpg; exactly one"):
        read_trials(write_csv([header, ["a", "1Z_1.jpg", "1Z_1.jpg", 4, 5]]), mapping=mapping)


def test_the_first_of_repeated_trials_can_be_kept_and_the_rest_is_counted(
    write_csv: Write, study_rows: list[dict]
) -> None:
    rows = [*study_rows, {**study_rows[-1], "fooled": "", "response": "first", "real_position": "first"}]
    trials = read_trials(write_csv(rows), duplicates="first")
    assert len(trials) == 168
    assert (trials.left_out[0].n_trials, trials.left_out[0].n_participants) == (1, 0)
    assert trials.value[-1] == study_rows[-1]["fooled"]


def test_practice_may_repeat_but_vigilance_may_not(write_csv: Write, study_rows: list[dict]) -> None:
    assert len(read_trials(write_csv([*study_rows, study_rows[0]]))) == 169
    assert study_rows[2]["kind"] == "vigilance"
    with pytest.raises(InputError, match=r"image vigilance2 of method gray \(rows 4 and 170\)"):
        read_trials(write_csv([*study_rows, study_rows[2]]))


def test_what_is_left_out_is_counted(write_csv: Write, study_rows: list[dict]) -> None:
    trials = read_trials(write_csv(study_rows))
    fewer = trials.where(trials["participant"] != "p0-0", "left early")
    assert [(entry.reason, entry.n_trials, entry.n_participants) for entry in fewer.left_out] == [("left early", 14, 1)]
    assert len(fewer) == 154


BAD_CELLS = [
    ({"kind": "exam"}, r"trials.csv row 7 has kind 'exam'; practice, test, vigilance, catch or an empty cell"),
    ({"kind": ""}, r"row 7 has no kind"),
    ({"participant": ""}, r"row 7 has no participant; every trial needs one"),
    ({"image": " "}, r"row 7 has no image"),
    ({"fooled": "yes"}, r"row 7 has fooled 'yes'; a number, true, false or an empty cell is allowed"),
    ({"fooled": 3}, r"row 7 has fooled 3; 0, 1"),
    ({"response_ms": "1,5"}, r"row 7 has response_ms '1,5'"),
    ({"real_position": "left"}, r"row 7 has real_position 'left'; first, second or an empty cell is allowed"),
    ({"response": "yes"}, r"row 7 has response 'yes'"),
    ({"fooled": 1, "real_position": "first", "response": "second"}, "row 7 has fooled 1, but real_position"),
    ({"study": "other"}, r"mixes studies: row 2 has study 's' and row 7 has 'other'"),
    ({"platform": "simulated"}, r"mixes simulated participants \(row 7\) with people \(row 2\)"),
    ({"session": "again"}, r"2 sessions of participant p0-0 \(rows 2 and 7\)"),
    ({"image": "test6"}, r"two trials of participant p0-0 on image test6 of method gray \(rows 7 and 8\)"),
]


@pytest.mark.parametrize(("cells", "message"), BAD_CELLS)
def test_a_bad_cell_is_named_with_file_and_row(
    write_csv: Write, study_rows: list[dict], cells: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_trials(write_csv(changed(study_rows, 5, **cells)))


def test_missing_columns_are_named_with_a_guess(write_csv: Write) -> None:
    rows = [{"participant_id": "a", "image": "x", "method": "m", "fooled": 1}]
    with pytest.raises(
        InputError, match=r"no column participant \(did you mean 'participant_id'\?\); it has participant_id"
    ):
        read_trials(write_csv(rows))
    rows = [{"participant": "a", "image": "x", "method": "m"}]
    with pytest.raises(InputError, match=r"real_position, response \(or fooled, instead"):
        read_trials(write_csv(rows))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "participant,image\n", "a.csv has no rows"),
        ("a.csv", "participant,image\nx\n", "row 2 has 1 cell, but the header has 2"),
        ("a.csv", "image,image\nx,y\n", "names a column 'image' twice"),
        ("a.csv", 'image\n"x\n', "is no CSV"),
        ("a.json", "{", "a.json is no JSON"),
        ("a.json", "[]", "holds no list of trials"),
        ("a.parquet", "nothing", "is no Parquet file"),
        ("a.xlsx", "", "a.xlsx ends in '.xlsx'"),
    ],
)
def test_a_bad_file_is_a_plain_sentence(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_trials(tmp_path / name)


def test_text_in_another_encoding_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("participant,image\nJörg,x\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_trials(tmp_path / "a.csv")


def test_absent_files_and_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_trials(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"neither study.toml nor trials.csv"):
        read_trials(tmp_path)
    (tmp_path / "export").mkdir()  # what an earlier version left inside a folder is not looked for
    (tmp_path / "export" / "trials.csv").write_text("participant\n")
    with pytest.raises(InputError, match=r"neither study.toml nor trials.csv"):
        read_trials(tmp_path)
    for name in ("trials.csv", "trials.json"):
        (tmp_path / name).write_text("participant\n")
    with pytest.raises(InputError, match=r"holds trials.csv and trials.json; name one"):
        read_trials(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("column = {}", "has the key 'column'; columns, constants"),
        ("lookup = {path = 'x'}", r"\[lookup\] has the key 'path'"),
        ("columns = ", "is no TOML file"),
        ("columns = {rating = 'score'}", "no column 'score'"),
        ("lookup = {file = 'none.csv', key = 'image'}", "none.csv does not exist"),
        ("lookup = {file = 'img.csv', key = 'method'}", r"img.csv has no column 'method', the key of \[lookup\]"),
        ("lookup = {file = 'img.csv', key = 'image'}", "row 2 has image 'practice0', which img.csv does not list"),
        ("pairs = {truth = 'x', name = 'y'}", "no column file_first"),
    ],
)
def test_a_bad_mapping_is_a_plain_sentence(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], text: str, message: str
) -> None:
    path = write_csv(study_rows)
    write_csv([["image", "colour"], ["test0", "red"]], "img.csv")
    (tmp_path / "mapping.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_trials(path, mapping=ColumnMapping.from_toml(tmp_path / "mapping.toml"))


def test_labels_are_sorted_once_for_a_whole_analysis(
    write_csv: Write, study_rows: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.statistics.crossed import CrossedDesign
    from analysis.study.analysis import AnalysisOptions, analyze_study

    table = read_trials(write_csv(study_rows))
    made = []
    whole = CrossedDesign.from_labels
    monkeypatch.setattr(CrossedDesign, "from_labels", lambda *labels: made.append(len(labels[0])) or whole(*labels))
    analyze_study(table, (), AnalysisOptions(baseline=table.methods[0]))
    assert made == [len(table)]


def test_the_design_of_a_selection_is_the_one_its_labels_give(write_csv: Write, study_rows: list[dict]) -> None:
    from analysis.statistics.crossed import CrossedDesign

    table = read_trials(write_csv(study_rows))
    one = table.of_method(table.methods[0])
    anew = CrossedDesign.from_labels(one["participant"], one["image"])
    for name in ("participant", "image", "participants", "images"):
        assert getattr(one.design, name).tolist() == getattr(anew, name).tolist(), name
    other = table.of_method(table.methods[1])
    joined = CrossedDesign.joined(one.design, other.design)
    anew = CrossedDesign.from_labels([*one["participant"], *other["participant"]], [*one["image"], *other["image"]])
    for name in ("participant", "image", "participants", "images"):
        assert getattr(joined, name).tolist() == getattr(anew, name).tolist(), name


# --- tables from spreadsheets ----------------------------------------------------------------------------------------

GERMAN = "participant;image;method;rating\np1;äpfel;a;3,5\np1;birne;a;-,25\np2;äpfel;a;1e2\np2;birne;b;2\n"


@pytest.mark.parametrize(
    "content",
    [
        GERMAN.encode(),
        b"\xef\xbb\xbf" + GERMAN.encode(),
        ("sep=;\r\n" + GERMAN.replace("\n", "\r\n")).encode(),
        GERMAN.replace(";", "\t").encode("utf-16"),
        GERMAN.encode("utf-16-le"),
        ("sep=;\n" + GERMAN).encode("utf-16-be"),
        b"\xfe\xff" + ('"sep=|"\n' + GERMAN.replace(";", "|")).encode("utf-16-be"),
    ],
)  # fmt: skip
def test_decimal_commas_utf_16_and_a_line_that_names_the_separator(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(content)
    trials = read_trials(path)
    assert trials.value.tolist() == [3.5, -0.25, 100.0, 2.0]
    assert trials["image"].tolist() == ["äpfel", "birne", "äpfel", "birne"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"participant,image,method,rating\np,i,a,\"3,5\"\n", "row 2 has rating '3,5'; a number"),
        (b"sep=;\nparticipant;image;method;rating\np;i;a;1.000,5\n", "row 3 has rating '1.000,5'; a number"),
        (b"participant,image,method,rating\np,\xe4,a,1\n", "is not UTF-8 text"),
        (b"\xff\xfea", "is not UTF-16 text"),
    ],
)  # fmt: skip
def test_what_may_be_read_in_two_ways_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_trials(path)
