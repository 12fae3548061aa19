"""True classes are read from each of the forms people keep them in, and the devkit's numbering is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.datasets.imagenet_synsets import CLASS_OF_SYNSET, SYNSETS
from evalkit.datasets.labels import labels_digest, labels_for, labels_of_validation_set
from evalkit.errors import InputError


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "labels"
        path.write_text(text)
        return path

    return write


def test_the_synset_ids_are_a_thousand_sorted_and_the_published_ones(shared_data):
    assert len(set(SYNSETS)) == 1000
    assert list(SYNSETS) == sorted(SYNSETS)
    published = (shared_data / "labels" / "synset_words.txt").read_text().splitlines()
    assert [line.split()[0] for line in published] == list(SYNSETS)
    assert CLASS_OF_SYNSET["n15075141"] == 999


@pytest.mark.parametrize(
    "text",
    [
        "file,class_index\nx.JPEG,7\nsub/y.png,0\n",
        "file,class_index,wnid\nx.JPEG,7,n01514668\nsub/y.png,0,n01440764\n",
        "wnid,file\nn01514668,x.JPEG\nn01440764,sub/y.png\n",
        "﻿file,class_index\r\nx.JPEG,7\r\nsub/y.png,0\r\n",
        "x.JPEG 7\nsub/y.png 0\n",
        "x.JPEG\t7\nsub/y.png\t0\n",
        "x.JPEG\tn01514668\nsub/y.png\tn01440764\n",
        "file\tclass_index\nx.JPEG\t7\nsub/y.png\t0\n",
        "file;class_index\nx.JPEG;7\nsub/y.png;0\n",
        "sep=;\nfile;class_index\nx.JPEG;7\nsub/y.png;0\n",
        "ImageId,PredictionString\nx,n01514668 85 1 499 272 n01514668 1 2 3 4 \ny,n01440764 131 0 499 254 \n",
        "sub/y.png n01440764\nx.JPEG n01514668\n\n",
        "/val/n01440764/y.JPEG 0\n/val/n01514668/x.JPEG 7\nother.JPEG 999\n",
    ],
)
def test_every_form_of_a_label_file_gives_the_same_classes(written, text):
    assert labels_for(written(text), ["sub/y", "x"]) == {"sub/y": 0, "x": 7}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_the_unicode_text_of_a_spreadsheet_is_read(tmp_path, encoding):
    path = tmp_path / "labels.txt"
    path.write_bytes("file\tclass_index\r\nx.JPEG\t7\r\nsub/y.png\t0\r\n".encode(encoding))
    assert labels_for(path, ["sub/y", "x"]) == {"sub/y": 0, "x": 7}


def test_a_name_with_a_dot_is_found_with_and_without_extension(written):
    assert labels_for(written("photo.v2.JPEG 3\nplain.v2 4\n"), ["photo.v2", "plain.v2"]) == {
        "photo.v2": 3,
        "plain.v2": 4,
    }


def test_folders_and_names_tell_the_class():
    assert labels_for("folders", ["val/n01440764/a", "n15075141/b"]) == {"val/n01440764/a": 0, "n15075141/b": 999}
    assert labels_for("names", ["n01440764_tench", "sub/n15075141_1"]) == {"n01440764_tench": 0, "sub/n15075141_1": 999}


def test_a_bare_list_of_the_whole_validation_set_goes_by_the_number_of_the_photo(shared_data):
    labels = shared_data / "labels" / "ilsvrc2012_val_labels.txt"
    names = ["ILSVRC2012_val_00000001", "ILSVRC2012_val_00050000"]
    lines = labels.read_text().split()
    assert labels_for(labels, names) == {names[0]: int(lines[0]), names[1]: int(lines[-1])}


def test_all_forms_agree_on_the_shared_validation_photos(shared_data):
    folder = shared_data / "photos" / "ilsvrc_val_227"
    names = sorted(path.stem for path in folder.glob("*.JPEG"))
    by_csv = labels_for(folder / "labels.csv", names)
    assert by_csv == labels_for(shared_data / "labels" / "ilsvrc2012_val_labels.txt", names)
    samples = shared_data / "photos" / "imagenet_sample"
    stems = sorted(path.stem for path in samples.glob("*.JPEG"))
    assert labels_for(samples / "labels.csv", stems) == labels_for("names", stems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1\nb 1000\n", r"numbers the classes 1 to 1000: .*development kit.*subtracting 1 does not mend"),
        ("file,class_index\na,3\nb,1000\n", "development kit"),
        ("\n".join(str(1 + k % 1000) for k in range(50_000)), "development kit"),
        ("1\n2\n3\n", "has 3 labels without file names"),
        ("a 1\n", r"1 of 2 images has no label there \(b\)"),
        ("a 1\nb 2\na 3\n", r"image 'a' has several labels \(1, 3\)"),
        ("a 1\nb -2\n", "row 2: the class is '-2'"),
        ("a 1\nb two\n", "row 2: the class is 'two'"),
        ("a 1\nb\n", "row 2: expected a file name and a class, got 'b'"),
        ("a 1\nb n99999999\n", "row 2: n99999999 is none of the 1000 synset ids"),
        ("file,class_index,wnid\na,0,n01440764\nb,449,n01443537\n", "row 3: class_index 449 contradicts n01443537"),
        ("file,class_index\na,\nb,1\n", "row 2: the class is ''"),
        ("file,class_index\n,3\nb,1\n", "row 2: the column file is empty"),
        ("name,label\na,1\n", "has the columns name, label"),
        ("", "holds no labels"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(written, text, message):
    with pytest.raises(InputError, match=message):
        labels_for(written(text), ["a", "b"])


@pytest.mark.parametrize(
    ("source", "names", "message"),
    [
        ("folders", ["n01440764/a", "b"], "image 'b' lies in no folder named by a synset id"),
        ("folders", ["n01440764x/a"], "lies in no folder"),
        ("names", ["tench_n01440764"], "name that does not begin with a synset id"),
        ("names", ["n00000001_x"], "image 'n00000001_x': n00000001 is none of"),
    ],
)
def test_names_without_a_synset_id_are_named(source, names, message):
    with pytest.raises(InputError, match=message):
        labels_for(source, names)


def test_a_missing_or_binary_file_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        labels_for(tmp_path / "none.csv", ["a"])
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        labels_for(tmp_path / "photo.png", ["a"])


def test_the_digest_depends_on_classes_and_names_not_on_their_order():
    assert labels_digest({"a": 0, "b": 1}) == labels_digest({"b": 1, "a": 0})
    assert len({labels_digest(labels) for labels in ({"a": 0, "b": 1}, {"a": 1, "b": 0}, {"a": 0}, {})}) == 4


def test_kaggles_rows_without_or_with_several_classes_are_refused(written):
    for row, message in (
        ("x,", "row 2: expected an ImageId"),
        ("x,n01514668 1 2 3 4 n01440764 1 2 3 4", "several classes"),
    ):
        with pytest.raises(InputError, match=message):
            labels_for(written(f"ImageId,PredictionString\n{row}\n"), ["x"])


def test_an_accented_name_is_found_however_the_list_spells_it(written):
    import unicodedata

    for form in ("NFC", "NFD"):
        path = written("")
        path.write_text(unicodedata.normalize(form, "é.jpg 5\n"), encoding="utf-8")
        assert labels_for(path, [unicodedata.normalize("NFC", "é")]) == {"é": 5}


def test_kaggles_solution_orders_the_whole_validation_set(written):
    labels = [(7 * k) % 1000 for k in range(50_000)]
    rows = [f"ILSVRC2012_val_{k + 1:08d},{SYNSETS[label]} 1 2 3 4 " for k, label in enumerate(labels)]
    path = written("\n".join(["ImageId,PredictionString", *rows[::-1]]) + "\n")
    assert labels_of_validation_set(path) == labels
    assert labels_of_validation_set(written("\n".join(map(str, labels)))) == labels
