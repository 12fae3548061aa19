"""The published list is rebuilt to its checksum and known by its digest; no other numbering passes."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from evalkit.commands.datasets import datasets_command as command
from evalkit.datasets.ctest10k import (
    CTEST10K_DIGEST,
    CTEST10K_REMOVED,
    ctest10k,
    image_set_digest,
    image_set_field,
    read_validation_labels,
    recognise_image_set,
)
from evalkit.errors import InputError


@pytest.fixture(scope="module")
def label_file(shared_data) -> Path:
    return shared_data / "labels" / "ilsvrc2012_val_labels.txt"


@pytest.fixture(scope="module")
def labels(label_file) -> list[int]:
    return list(read_validation_labels(label_file))


def lines(rows) -> str:
    return "".join(f"{row}\n" for row in rows)


def caffe_rows(labels) -> list[str]:
    return [f"ILSVRC2012_val_{number:08d}.JPEG {label}" for number, label in enumerate(labels, start=1)]


class TestTheList:
    def test_it_has_the_published_checksum(self, labels):
        text = lines(ctest10k(labels))
        assert hashlib.sha256(text.encode()).hexdigest() == CTEST10K_DIGEST

    def test_it_is_the_list_that_others_have_copied(self, labels, shared_data):
        indices = np.load(shared_data / "labels" / "ilsvrclin12_val_inds.npy")
        assert ctest10k(labels) == sorted(f"ILSVRC2012_val_{index + 1:08d}.JPEG" for index in indices)

    def test_it_holds_no_photo_of_the_validation_list_cval1k(self, labels, shared_data):
        rows = (shared_data / "labels" / "cval1k.txt").read_text().splitlines()
        assert not set(ctest10k(labels)) & {Path(row.split()[0]).name for row in rows}

    def test_the_removed_photos_are_182(self, shared_data):
        ids = (shared_data / "labels" / "ctest10k_removed.txt").read_text().split()
        assert {int(number) for number in ids} == CTEST10K_REMOVED
        assert len(CTEST10K_REMOVED) == 182

    def test_classes_in_another_order_are_refused(self, labels):
        with pytest.raises(InputError, match="ctest10k has 3e84359d: they do not number the classes"):
            ctest10k([999 - label for label in labels])

    @pytest.mark.parametrize(
        ("labels", "sentence"),
        [
            ([0, 1, 2], "3 validation labels were given; ImageNet has 50000"),
            ([0] * 49_999 + [1000], r"ILSVRC2012_val_00050000.JPEG has the label 1000; labels are 0 to 999"),
        ],
    )
    def test_labels_that_cannot_be_are_refused(self, labels, sentence):
        with pytest.raises(InputError, match=sentence):
            ctest10k(labels)


class TestLabelFiles:
    def test_both_forms_and_any_order_read_the_same(self, labels, tmp_path):
        rows = caffe_rows(labels)
        random.Random(0).shuffle(rows)
        (tmp_path / "val.txt").write_text(lines(rows))
        assert read_validation_labels(tmp_path / "val.txt") == labels

    def test_names_may_carry_a_folder_and_lines_may_end_as_on_windows(self, labels, tmp_path):
        text = "\r\n".join(f"val/{row}" for row in caffe_rows(labels)) + "\r\n\r\n"
        (tmp_path / "val.txt").write_bytes(text.encode())
        assert read_validation_labels(tmp_path / "val.txt") == labels

    def test_the_development_kits_ids_are_refused_and_explained(self, tmp_path):
        path = tmp_path / "ILSVRC2012_validation_ground_truth.txt"
        path.write_text(lines(1 + k % 1000 for k in range(50_000)))
        with pytest.raises(InputError, match=r"ILSVRC ids of the development kit.*subtracting 1 does not mend"):
            read_validation_labels(path)

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("", "has 0 labels; it must have one for each of 50,000 photos"),
            ("65\n970\n", "has 2 labels; it must have one for each of 50,000 photos"),
            ("65\nmany\n", r'row 2: expected a class from 0 to 999.*got "many"'),
            ("65\n\n970\n", r'row 2: expected a class.*got ""'),
            ("65\n-1\n", r'row 2: expected a class.*got "-1"'),
            ("cat.jpg 65\n", r'row 1: expected a class.*got "cat.jpg 65"'),
            (lines(caffe_rows([3]) * 2), "row 2: ILSVRC2012_val_00000001.JPEG is there for the second time"),
            (lines(0 for _ in range(50_001)), "has 50,001 labels; it must have one for each of 50,000 photos"),
            (lines(1001 for _ in range(50_000)), "ILSVRC2012_val_00000001.JPEG has the label 1001"),
        ],
    )
    def test_other_content_is_refused_by_file_and_row(self, tmp_path, content, sentence):
        path = tmp_path / "labels.txt"
        path.write_text(content)
        with pytest.raises(InputError, match=sentence) as failure:
            read_validation_labels(path)
        assert "labels.txt" in str(failure.value) or "label 1001" in str(failure.value)

    def test_a_file_that_is_not_there_or_not_text_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"cannot read the label file .*none\.txt: No such file"):
            read_validation_labels(tmp_path / "none.txt")
        (tmp_path / "labels.npy").write_bytes(b"\x93NUMPY\xff\xfe")
        with pytest.raises(InputError, match=r"labels\.npy is not a text file"):
            read_validation_labels(tmp_path / "labels.npy")


class TestImageSets:
    def test_ctest10k_is_recognised_by_its_stems_in_any_order(self, labels):
        stems = [Path(name).stem for name in reversed(ctest10k(labels))]
        assert recognise_image_set(stems) == "ctest10k"
        assert image_set_field(iter(stems)) == "ctest10k@3e84359d"

    def test_one_photo_less_is_another_set(self, labels):
        stems = [Path(name).stem for name in ctest10k(labels)]
        assert recognise_image_set(stems[1:]) is None
        assert image_set_field(stems[1:]) == f"own@{image_set_digest(stems[1:])[:8]}"

    def test_the_digest_knows_names_and_nothing_else(self):
        assert image_set_digest(["b", "a"]) == image_set_digest(iter(["a", "b"]))
        assert image_set_digest(["a", "b"]) == hashlib.sha256(b"a.JPEG\nb.JPEG\n").hexdigest()
        assert image_set_digest(["a"]) != image_set_digest(["a", "b"])


class TestCommand:
    def test_it_writes_the_list_and_says_its_checksum_in_one_line(self, label_file, shared_data, tmp_path):
        out = tmp_path / "ctest10k.txt"
        result = CliRunner().invoke(command, ["ctest10k", "--labels", str(label_file), "--out", str(out)])
        assert result.output == f"{out}: 10,000 names, sha256 {CTEST10K_DIGEST}\n"
        assert out.read_bytes() == lines(sorted(out.read_text().split())).encode()
        assert hashlib.sha256(out.read_bytes()).hexdigest() == CTEST10K_DIGEST

    def test_a_refused_label_file_leaves_nothing_behind(self, tmp_path):
        (tmp_path / "labels.txt").write_text("65\n")
        arguments = ["ctest10k", "--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path / "out.txt")]
        result = CliRunner().invoke(command, arguments)
        assert isinstance(result.exception, InputError)
        assert [path.name for path in tmp_path.iterdir()] == ["labels.txt"]

    def test_a_folder_that_cannot_be_written_is_named(self, label_file, tmp_path):
        out = tmp_path / "absent" / "out.txt"
        result = CliRunner().invoke(command, ["ctest10k", "--labels", str(label_file), "--out", str(out)])
        assert isinstance(result.exception, InputError)
        assert str(result.exception) == f"--out {out}: there is no folder {out.parent}; make it first."
