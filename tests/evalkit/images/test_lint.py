"""Each known mistake is found by its name, in folders where it was made on purpose; clean folders are clean."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab
from evalkit.commands.lint import lint_command
from evalkit.errors import InputError
from evalkit.images.folder_lint import CHECKS, lint_folders

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower")


def save(folder, name, pixels, suffix=".png", **options):
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{name}{suffix}", **options)


@pytest.fixture
def folders(tmp_path, photos):
    """Six photos and an honest colorization: L kept, ab turned a little and halved."""
    for name in NAMES:
        crop = np.ascontiguousarray(photos[name][60:188, 100:228])
        save(tmp_path / "truth", name, crop)
        lab = srgb8_to_lab(crop)
        lab[..., 1:] *= 0.5
        save(tmp_path / "mine", name, lab_to_srgb8(lab)[0])
    return tmp_path


def codes(folders, **others):
    methods = {"mine": folders / "mine", **{name: folders / name for name in others}}
    return {(finding.method, finding.code): finding for finding in lint_folders(folders / "truth", methods)}


def image(path):
    return np.asarray(Image.open(path))


def test_honest_folders_have_no_findings(folders):
    assert codes(folders) == {}


def test_missing_files_and_a_dropped_last_batch(folders):
    (folders / "mine" / "rocket.png").unlink()
    finding = codes(folders)["mine", "missing"]
    assert finding.level == "error"
    assert finding.images == ("rocket",)
    assert "last partial batch" in finding.message
    (folders / "mine" / "china.png").unlink()
    assert "batch" not in codes(folders)["mine", "missing"].message


def test_surplus_files(folders):
    save(folders / "mine", "zebra", image(folders / "mine" / "china.png"))
    assert codes(folders)["mine", "surplus"].images == ("zebra",)


def test_files_written_in_another_order(folders):
    names = sorted(NAMES)
    pixels = [image(folders / "mine" / f"{name}.png") for name in names]
    for name, moved in zip(names, pixels[1:] + pixels[:1], strict=True):
        save(folders / "mine", name, moved)
    found = codes(folders)
    finding = found["mine", "other-picture"]
    assert set(finding.images) == set(NAMES)
    assert "astronaut shows chelsea" in finding.message


def test_a_flipped_image_is_not_its_photo(folders):
    save(folders / "mine", "coffee", image(folders / "mine" / "coffee.png")[::-1, ::-1])
    assert codes(folders)["mine", "not-the-photo"].images == ("coffee",)


def test_truth_and_gray_input_swapped(folders):
    for name in NAMES:
        photo = image(folders / "truth" / f"{name}.png")
        save(folders / "truth", name, np.repeat(np.rint(photo.mean(axis=2, keepdims=True)).astype(np.uint8), 3, axis=2))
    found = codes(folders)
    assert found["mine", "swapped"].level == "error"
    assert len(found["truth", "gray-truth"].images) == 6


def test_one_grayscale_true_photo_is_a_warning(folders):
    gray = image(folders / "truth" / "coffee.png").mean(axis=2).astype(np.uint8)
    for side in ("truth", "mine"):
        save(folders / side, "coffee", gray)
    found = codes(folders)
    assert set(found) == {("truth", "gray-truth")}
    assert found["truth", "gray-truth"].level == "warning"


def test_sizes_that_differ(folders):
    save(folders / "mine", "china", image(folders / "mine" / "china.png")[:120])
    finding = codes(folders)["mine", "sizes-differ"]
    assert finding.images == ("china",)
    assert "128 x 120 against 128 x 128" in finding.message


def test_changed_lightness_and_clipped_colours(folders):
    pixels = image(folders / "truth" / "chelsea.png").astype(int)
    save(folders / "mine", "chelsea", np.clip(pixels * 2, 0, 255).astype(np.uint8))
    found = codes(folders)
    assert found["mine", "lightness-changed"].images == ("chelsea",)
    assert found["mine", "clipped"].images == ("chelsea",)


def test_jpeg_against_png(folders):
    for name in NAMES[:2]:
        pixels = image(folders / "mine" / f"{name}.png")
        (folders / "mine" / f"{name}.png").unlink()
        save(folders / "mine", name, pixels, ".jpg", quality=98, subsampling=0)
    finding = codes(folders)["mine", "jpeg"]
    assert finding.message.startswith("2 of 6 images are JPEG; 0 of the true photos are")


def test_copies_of_the_truth_of_one_another_and_of_another_method(folders):
    shutil.copytree(folders / "mine", folders / "copy")
    assert codes(folders, copy=True)["copy", "twins"].images == tuple(sorted(NAMES))
    save(folders / "copy", "china", image(folders / "truth" / "china.png"))
    assert codes(folders, copy=True)["copy", "identical"].level == "warning"
    for name in NAMES:
        shutil.copy(folders / "truth" / f"{name}.png", folders / "copy" / f"{name}.png")
    assert codes(folders, copy=True)["copy", "identical"].level == "error"
    shutil.copy(folders / "mine" / "china.png", folders / "mine" / "flower.png")
    assert codes(folders)["mine", "repeated"].images == ("china", "flower")


def test_files_that_cannot_be_read_or_are_not_plain(folders):
    (folders / "mine" / "coffee.png").write_bytes(b"not an image")
    deep = (image(folders / "truth" / "china.png")[..., 0].astype(np.uint16)) * 257
    (folders / "truth" / "china.png").unlink()
    Image.fromarray(deep).save(folders / "truth" / "china.png")
    found = codes(folders)
    assert found["mine", "unreadable"].images == ("coffee",)
    assert "coffee.png" in found["mine", "unreadable"].message
    assert found["truth", "converted"].images == ("china",)


def test_colourless_output(folders):
    lab = srgb8_to_lab(image(folders / "truth" / "china.png"))
    lab[..., 1:] = 0
    save(folders / "mine", "china", lab_to_srgb8(lab)[0])
    assert set(codes(folders)) == {("mine", "gray-output")}


def test_tiny_and_flat_images_do_no_harm(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("truth", "mine"):
        save(tmp_path / side, "tiny", rng.integers(0, 255, (3, 2, 3), dtype=np.uint8))
        save(tmp_path / side, "flat", np.full((20, 20, 3), (200, 30, 30), np.uint8))
    assert lint_folders(tmp_path / "truth", {"mine": tmp_path / "mine"})


def test_images_on_their_side_are_told_from_images_of_another_size(folders):
    upright = image(folders / "truth" / "china.png")[:96]
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(upright)  # orientation 6: turned by a quarter clockwise when shown
    Image.fromarray(np.ascontiguousarray(stored)).save(folders / "truth" / "china.png", exif=exif)
    save(folders / "mine", "china", stored)
    found = codes(folders)["mine", "turned"]
    assert found.level == "error"
    assert "china: 96 x 128 against 128 x 96, orientation 6" in found.message
    assert "--turn-like-truth" in found.message
    assert ("mine", "sizes-differ") not in codes(folders)


def test_every_check_has_a_code_of_its_own_and_a_meaning():
    assert len({check.code for check in CHECKS}) == len(CHECKS)
    assert all(check.meaning for check in CHECKS)


def test_every_finding_of_this_file_is_one_of_the_checks(folders):
    (folders / "mine" / "coffee.png").write_bytes(b"not an image")
    save(folders / "mine", "china", image(folders / "mine" / "china.png")[:120])
    assert {code for _, code in codes(folders)} <= {check.code for check in CHECKS}


class TestTheCommand:
    def run(self, folders, *words):
        return CliRunner().invoke(
            lint_command, ["--truth", str(folders / "truth"), "--method", f"mine={folders / 'mine'}", *words]
        )

    def test_clean_folders_exit_with_0(self, folders):
        result = self.run(folders)
        assert (result.exit_code, result.stdout) == (0, "No mistakes found.\n")

    def test_errors_exit_with_2_and_warnings_only_when_strict(self, folders):
        lab = srgb8_to_lab(image(folders / "truth" / "china.png"))
        lab[..., 1:] = 0
        save(folders / "mine", "china", lab_to_srgb8(lab)[0])
        assert self.run(folders).exit_code == 0
        assert self.run(folders, "--strict", "--quiet").exit_code == 2
        (folders / "mine" / "coffee.png").unlink()
        result = self.run(folders)
        assert result.exit_code == 2
        assert result.stdout.splitlines()[0].startswith("error: mine: 1 of 6 true photos has no file there (coffee)")

    def test_json_lists_every_image(self, folders):
        (folders / "mine" / "coffee.png").unlink()
        found = json.loads(self.run(folders, "--json").output)
        assert [(row["code"], row["images"]) for row in found] == [("missing", ["coffee"])]

    def test_methods_without_a_folder_are_refused(self, folders):
        result = CliRunner().invoke(lint_command, ["--truth", str(folders / "truth"), "--method", "gray"])
        assert isinstance(result.exception, InputError)


def test_the_shared_outputs_show_what_is_known_of_them(comparison):
    found = {(f.method, f.code): f for f in lint_folders(comparison / "gt", {"ours": comparison / "ours"}, workers=2)}
    assert len(found["ours", "jpeg"].images) == 100
    assert not any(finding.level == "error" for finding in found.values())


def test_luma_in_place_of_lightness_is_still_the_same_photo(shared_data, tmp_path):
    for folder in (shared_data / "outputs" / "vgg_tests").iterdir():
        if folder.is_dir():
            for condition in ("gt", "l0"):
                (tmp_path / condition).mkdir(exist_ok=True)
                for path in (folder / condition).iterdir():
                    shutil.copy(path, tmp_path / condition / f"{folder.name}_{path.name}")
    found = {finding.code for finding in lint_folders(tmp_path / "gt", {"gray": tmp_path / "l0"}, workers=2)}
    assert found == {"gray-output", "jpeg", "lightness-changed"}
