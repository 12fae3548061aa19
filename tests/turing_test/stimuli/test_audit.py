"""The audit finds what gives a fake away, and keeps quiet about honest pairs."""

import csv
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from evalkit.color.colorspace import srgb8_to_lab
from turing_test.commands import study_files
from turing_test.stimuli.audit import BLOCKINESS_GAP, FINDINGS, audit_study, blockiness
from turing_test.stimuli.create import create_study


def jpeg(rgb8, quality):
    buffer = BytesIO()
    Image.fromarray(rgb8).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def recoloured(rgb8):
    """Hues turned by 40 degrees, L kept as far as the gamut allows."""
    lab = rgb2lab(rgb8)
    ab = (lab[..., 1] + 1j * lab[..., 2]) * 0.6 * np.exp(0.7j)
    lab[..., 1], lab[..., 2] = ab.real, ab.imag
    return (lab2rgb(lab) * 255).round().astype(np.uint8)


def gray(rgb8):
    return np.repeat(rgb8.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)


CASES = {
    "honest": (lambda real: real, recoloured, ()),
    "contrast": (lambda real: real, lambda real: (recoloured(real) * 0.9).astype(np.uint8), ("lightness",)),
    "saved-as-jpeg": (lambda real: real, lambda real: jpeg(recoloured(real), 60), ("blocks_in_method",)),
    "real-was-jpeg": (lambda real: jpeg(real, 60), recoloured, ("blocks_in_truth",)),
    "both-jpeg": (lambda real: jpeg(real, 60), lambda real: recoloured(jpeg(real, 60)), ()),
    "copy": (lambda real: real, lambda real: real, ("identical",)),
    "no-colour": (gray, lambda real: gray(real) // 2 + 40, ("gray_truth", "lightness")),
    "smaller": (lambda real: real, lambda real: recoloured(np.asarray(Image.fromarray(real).resize((200, 200)))), ("size",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory, photos):
    folder = tmp_path_factory.mktemp("audit")
    real = np.asarray(Image.fromarray(np.ascontiguousarray(photos["chelsea"][:300, :300])).resize((256, 256), 1))
    for side, k in (("truth", 0), ("mine", 1)):
        (folder / side).mkdir()
        for name, case in CASES.items():
            Image.fromarray(np.ascontiguousarray(case[k](real))).save(folder / side / f"{name}.png")
    settings = {"size": 192, "practice_trials": 1, "test_trials": 3, "vigilance_trials": 1, "reserve_trials": 0}
    return create_study(folder / "study", folder / "truth", {"mine": folder / "mine"}, settings=settings).study


@pytest.fixture(scope="module")
def unscaled(tmp_path_factory, photos):
    """The same pairs at their own size, where JPEG's blocks stay blocks."""
    folder = tmp_path_factory.mktemp("unscaled")
    real = np.asarray(Image.fromarray(np.ascontiguousarray(photos["chelsea"][:300, :300])).resize((256, 256), 1))
    for side, k in (("truth", 0), ("mine", 1)):
        (folder / side).mkdir()
        for name, case in CASES.items():
            if name != "smaller":
                Image.fromarray(np.ascontiguousarray(case[k](real))).save(folder / side / f"{name}.png")
    settings = {"practice_trials": 1, "test_trials": 3, "vigilance_trials": 1, "reserve_trials": 0}
    return create_study(folder / "study", folder / "truth", {"mine": folder / "mine"}, settings=settings).study


@pytest.fixture(scope="module")
def audited(unscaled):
    return {pair.image: pair for pair in audit_study(unscaled)}


@pytest.mark.parametrize("name", [name for name in CASES if name != "smaller"])
def test_each_confound_is_found_where_it_is_and_nowhere_else(audited, name):
    pair = audited[name]
    assert set(pair.findings) - {"lightness"} == set(CASES[name][2]) - {"lightness"}
    if not name.endswith("jpeg"):  # JPEG changes L as well
        assert pair.findings == CASES[name][2]


def test_files_of_different_size_are_found(study):
    assert [pair.image for pair in audit_study(study) if "size" in pair.findings] == ["smaller"]


def test_lightness_and_chroma_are_those_of_an_independent_conversion(unscaled, audited):
    for pair in audited.values():
        real, fake = (
            rgb2lab(np.asarray(Image.open(unscaled.stimulus_path(unscaled.find(pair.image, *role)))))
            for role in (("truth",), ("method", "mine"))
        )
        assert pair.lightness_change == pytest.approx(np.abs(real - fake)[..., 0].mean(), abs=1e-3)
        assert pair.chroma_truth == pytest.approx(np.hypot(real[..., 1], real[..., 2]).mean(), abs=1e-3)
        assert pair.chroma_method == pytest.approx(np.hypot(fake[..., 1], fake[..., 2]).mean(), abs=1e-3)


class TestBlockiness:
    @pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
    @pytest.mark.parametrize("shift", [0, 3])
    def test_grows_as_quality_falls_wherever_the_blocks_begin(self, photos, name, shift):
        photo = np.ascontiguousarray(photos[name][:264, :264])
        found = [blockiness(srgb8_to_lab(jpeg(photo, q)[shift:256, shift:256])[..., 0]) for q in (75, 50, 25)]
        plain = blockiness(srgb8_to_lab(photo[shift:256, shift:256])[..., 0])
        assert plain < BLOCKINESS_GAP < found[0] - plain < found[1] < found[2]

    def test_is_not_found_in_a_fence(self):
        fence = np.where(np.arange(256) // 8 % 2, 30.0, 60.0) + np.random.default_rng(0).normal(size=(256, 256))
        assert blockiness(fence) < BLOCKINESS_GAP
        assert blockiness(fence + fence.T) > 1

    def test_of_nothing_is_nothing(self):
        assert blockiness(np.full((64, 64), 50.0)) == 0


def test_published_colorizations_are_no_false_alarms(shared_data, tmp_path):
    folder = shared_data / "outputs" / "imagenet_comparison"
    settings = {"size": 224, "practice_trials": 0, "test_trials": 2, "vigilance_trials": 0, "reserve_trials": 0}
    methods = {name: folder / name for name in ("ours", "tinyclouds")}
    pairs = list(audit_study(create_study(tmp_path / "study", folder / "gt", methods, settings=settings).study))
    counts = Counter(finding for pair in pairs for finding in pair.findings)
    assert len(pairs) == 200
    assert counts["blocks_in_truth"] == counts["blocks_in_method"] == counts["identical"] == counts["size"] == 0
    assert counts["lightness"] < 10
    # Every photo that is called gray has nearly equal channels, and no other has.
    gray = {pair.image for pair in pairs if "gray_truth" in pair.findings}
    for path in (folder / "gt").iterdir():
        spread = np.ptp(np.asarray(Image.open(path)).astype(int), axis=2).mean()
        assert spread < 6 if path.stem in gray else spread > 4, path.stem


class TestTheCommand:
    def test_reports_and_writes_every_pair(self, unscaled, tmp_path):
        result = CliRunner().invoke(
            study_files.audit_command, [str(unscaled.folder), "--out", str(tmp_path / "audit.csv")]
        )
        assert result.exit_code == 0, result.output
        assert "identical: 1 pair; truth and method are the same" in result.output
        assert "copy (mine)" in result.output
        rows = list(csv.DictReader((tmp_path / "audit.csv").read_text().splitlines()))
        assert [row["image"] for row in rows] == list(unscaled.manifest.images)
        assert {finding for row in rows for finding in row["findings"].split()} <= set(FINDINGS)

    def test_says_so_when_nothing_is_found(self, tmp_path, photos):
        for side, change in (("truth", lambda x: x), ("mine", recoloured)):
            (tmp_path / side).mkdir()
            for k in range(3):
                crop = np.ascontiguousarray(photos["coffee"][k * 30 :, 100:][:256, :256])
                Image.fromarray(change(crop)).save(tmp_path / side / f"{k}.png")
        settings = {"practice_trials": 0, "test_trials": 2, "vigilance_trials": 0, "reserve_trials": 0}
        create_study(tmp_path / "study", tmp_path / "truth", {"mine": tmp_path / "mine"}, settings=settings)
        printed = CliRunner().invoke(study_files.audit_command, [str(tmp_path / "study")]).output
        assert "No confounds found." in printed
        assert "not compared" not in printed
        (tmp_path / "truth").rename(tmp_path / "elsewhere")
        printed = CliRunner().invoke(study_files.audit_command, [str(tmp_path / "study")]).output
        assert "Sizes of files were not compared" in printed
