"""Built-in methods: what they keep, whose colours they take, and what a folder run does."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from evalkit.cli import main
from evalkit.color.colorspace import lab_planes, lab_to_srgb8
from evalkit.color.lab_join import join_lab
from evalkit.colorizers import BUILTIN_METHODS, builtin
from evalkit.colorizers.anchors import random_donors
from evalkit.errors import InputError

Photos = dict[str, np.ndarray]
NAMES = st.lists(st.text(min_size=1), min_size=2, max_size=30, unique=True)
SEEDS = st.integers(-(2**70), 2**70)


def crop(photos: Photos, name: str, size: int = 96) -> np.ndarray:
    return np.ascontiguousarray(photos[name][40 : 40 + size, 60 : 60 + size])


# --- joining L and ab -------------------------------------------------------------------------------------


def test_joining_gives_the_reference_bytes_all_over_the_gamut_and_beyond() -> None:
    rng = np.random.default_rng(0)
    lab = np.stack([rng.uniform(-2, 104, 400_000), *rng.uniform(-130, 130, (2, 400_000))])
    rgb8, n_clipped = join_lab(*lab)
    expected, clipped = lab_to_srgb8(lab.T)
    np.testing.assert_array_equal(rgb8, expected)
    assert n_clipped == clipped.sum() > 100_000


def test_joining_gives_the_reference_bytes_near_black() -> None:
    rng = np.random.default_rng(1)
    lab = np.stack([rng.uniform(0, 12, 200_000), *rng.uniform(-25, 25, (2, 200_000))])
    rgb8, n_clipped = join_lab(*lab)
    expected, clipped = lab_to_srgb8(lab.T)
    np.testing.assert_array_equal(rgb8, expected)
    assert n_clipped == clipped.sum()


def test_planes_that_are_columns_of_one_array_are_joined_as_their_copies() -> None:
    lab = np.random.default_rng(0).uniform((20, -40, -40), (80, 40, 40), (50, 3))
    rgb8, n_clipped = join_lab(*lab.T)
    copied, n_of_copies = join_lab(*(plane.copy() for plane in lab.T))
    assert (rgb8.tolist(), n_clipped) == (copied.tolist(), n_of_copies)


def test_every_8_bit_gray_and_primary_survives_the_round_trip() -> None:
    ramp = np.arange(256, dtype=np.uint8)
    zero, full = np.zeros_like(ramp), np.full_like(ramp, 255)
    channels = [(ramp, ramp, ramp), (ramp, zero, zero), (zero, ramp, full), (full, zero, ramp)]
    rgb8 = np.concatenate([np.stack(triple, axis=-1) for triple in channels])
    back, n_clipped = join_lab(*lab_planes(rgb8))
    np.testing.assert_array_equal(back, rgb8)
    assert n_clipped == 0


# --- the methods ------------------------------------------------------------------------------------------


def test_truth_is_the_photo_itself(photos: Photos) -> None:
    truth = crop(photos, "coffee")
    method = builtin("truth", ["coffee"], 0)
    assert method.donor(0) is None
    rgb8, n_clipped = method.colorize(truth, None)
    np.testing.assert_array_equal(rgb8, truth)
    assert n_clipped == 0


def test_gray_is_scikit_images_gray_of_the_same_lightness(photos: Photos) -> None:
    truth = crop(photos, "astronaut")
    method = builtin("gray", ["astronaut"], 0)
    rgb8, n_clipped = method.colorize(truth, None)
    lab = rgb2lab(truth)
    lab[..., 1:] = 0
    np.testing.assert_array_equal(rgb8, np.rint(255 * np.clip(lab2rgb(lab), 0, 1)).astype(np.uint8))
    assert (np.ptp(rgb8, axis=-1) <= 1).all()  # the matrix's own white is a hair off D65's
    assert (method.donor(0), n_clipped) == (None, 0)


def test_random_has_the_lightness_of_the_one_and_the_ab_of_the_other(photos: Photos) -> None:
    truth, donor = crop(photos, "china"), crop(photos, "flower")
    rgb8, n_clipped = builtin("random", ["china", "flower"], 0).colorize(truth, donor)
    lab = rgb2lab(truth)
    lab[..., 1:] = rgb2lab(donor)[..., 1:]
    expected, clipped = lab_to_srgb8(lab)
    differing = (rgb8 != expected).any(axis=-1).mean()
    assert differing < 1e-3  # the fast forward conversion may round a pixel in a thousand the other way
    assert abs(int(rgb8.astype(int).sum()) - int(expected.astype(int).sum())) <= differing * rgb8.size
    assert abs(n_clipped - clipped.sum()) <= 2
    inside = ~clipped
    assert np.abs(rgb2lab(rgb8)[inside] - lab[inside]).max() < 2.5  # 8 bits move a and b by this much


def test_a_donor_of_another_size_is_resized_by_pillows_bicubic_filter(photos: Photos) -> None:
    truth, donor = crop(photos, "china"), photos["flower"]
    method = builtin("random", ["china", "flower"], 0)
    resized = np.asarray(Image.fromarray(donor).resize((96, 96), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(method.colorize(truth, donor)[0], method.colorize(truth, resized)[0])
    assert method.colorize(truth[:50], donor)[0].shape == (50, 96, 3)


def test_methods_travel_to_other_processes(photos: Photos) -> None:
    truth, donor = crop(photos, "china"), crop(photos, "flower")
    for name in BUILTIN_METHODS:
        method = builtin(name, ["a", "b", "c"], 3)
        copy = pickle.loads(pickle.dumps(method))
        assert copy == method
        assert copy.name == name
        np.testing.assert_array_equal(copy.colorize(truth, donor)[0], method.colorize(truth, donor)[0])


@given(NAMES, SEEDS)
def test_every_image_lends_its_colours_once_and_never_to_itself(names: list[str], seed: int) -> None:
    donors = random_donors(names, seed)
    assert sorted(donors) == list(range(len(names)))
    assert all(donor != i for i, donor in enumerate(donors))


@given(NAMES, SEEDS, st.randoms())
def test_donors_do_not_depend_on_the_order_of_the_names(names: list[str], seed: int, shuffler) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(names)
    shuffler.shuffle(shuffled)
    first = {name: names[d] for name, d in zip(names, random_donors(names, seed), strict=True)}
    second = {name: shuffled[d] for name, d in zip(shuffled, random_donors(shuffled, seed), strict=True)}
    assert first == second


def test_donors_are_the_same_on_every_machine_and_differ_by_seed() -> None:
    names = ["bird", "boat", "cat", "dog", "eel"]
    assert random_donors(names, 0) == (4, 2, 3, 0, 1)
    assert len({random_donors(names, seed) for seed in range(300)}) == 24  # all 4! cyclic permutations come up


@pytest.mark.parametrize("n", [0, 1])
def test_random_needs_another_image(n: int) -> None:
    with pytest.raises(InputError, match=f"needs 2 images, not {n}"):
        builtin("random", ["alone"][:n], 0)


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(InputError, match="'a' comes twice"):
        builtin("random", ["a", "b", "a"], 0)


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'gray'") as caught:
        builtin("grey", ["a", "b"], 0)
    assert "truth, gray, random" in str(caught.value)


# --- folders ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, photos: Photos) -> Path:
    """Four photos, one in a sub-folder, of two sizes and two formats."""
    source = tmp_path / "photos"
    (source / "indoor").mkdir(parents=True)
    Image.fromarray(crop(photos, "astronaut")).save(source / "astronaut.png")
    Image.fromarray(crop(photos, "china")).save(source / "china.png")
    Image.fromarray(crop(photos, "flower", 64)).save(source / "flower.bmp")
    Image.fromarray(crop(photos, "coffee")).save(source / "indoor" / "coffee.png")
    return source


def colorize(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["colorize", *map(str, arguments)], prog_name="evalkit")


def pixels(folder: Path) -> dict[str, np.ndarray]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in files}


def test_a_folder_keeps_names_and_holds_what_the_method_makes(folder: Path, tmp_path: Path) -> None:
    result = colorize("random", "--input", folder, "--output", tmp_path / "out", "--seed", 5)
    assert result.exit_code == 0, result.output
    assert "4 images by random" in result.output
    assert "% of the pixels clipped" in result.output
    names = ["astronaut", "china", "flower", "indoor/coffee"]
    made = pixels(tmp_path / "out")
    assert sorted(made) == [f"{name}.png" for name in names]
    truths = [np.asarray(Image.open(next(folder.glob(f"{name}.*")))) for name in names]
    method = builtin("random", names, 5)
    for i, name in enumerate(names):
        donor = method.donor(i)
        assert donor is not None
        np.testing.assert_array_equal(made[f"{name}.png"], method.colorize(truths[i], truths[donor])[0])


def test_the_clip_rate_is_the_share_of_clipped_pixels(folder: Path, tmp_path: Path) -> None:
    assert "0.000% of the pixels clipped" in colorize("gray", "--input", folder, "--output", tmp_path / "g").output
    from evalkit.colorizers.folder import colorize_folder

    steps: list[tuple[int, int]] = []
    report = colorize_folder("random", folder, tmp_path / "r", on_image=lambda *step: steps.append(step))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert report.n_pixels == 3 * 96 * 96 + 64 * 64
    assert report.clip_rate == report.n_clipped / report.n_pixels > 0


def test_resuming_makes_what_is_missing_and_ends_with_the_same_files(folder: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = ("random", "--input", folder, "--seed", 1, "--output")
    colorize(*arguments, whole)
    colorize(*arguments, parts)
    (parts / "china.png").unlink()
    before = (parts / "flower.png").stat().st_mtime_ns
    result = colorize(*arguments, parts, "--resume")
    assert "1 image by random, 3 were there already" in result.output
    assert (parts / "flower.png").stat().st_mtime_ns == before
    assert {path.name: path.read_bytes() for path in whole.glob("*.png")} == {
        path.name: path.read_bytes() for path in parts.glob("*.png")
    }


def test_resuming_with_another_seed_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    colorize("random", "--input", folder, "--output", out, "--seed", 0)
    result = colorize("random", "--input", folder, "--output", out, "--seed", 2, "--resume")
    assert result.exit_code == 2
    assert "cannot be resumed" in result.stderr


def test_a_folder_that_is_not_empty_is_written_to_only_on_request(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    colorize("gray", "--input", folder, "--output", out)
    gray = pixels(out)
    refused = colorize("truth", "--input", folder, "--output", out)
    assert refused.exit_code == 2
    assert refused.stderr.endswith("is not empty; say --resume or --overwrite.\n")
    assert all((gray[name] == image).all() for name, image in pixels(out).items())
    assert colorize("truth", "--input", folder, "--output", out, "--overwrite").exit_code == 0
    np.testing.assert_array_equal(pixels(out)["china.png"], np.asarray(Image.open(folder / "china.png")))


@pytest.mark.parametrize("where", [".", "inside", ".."])
def test_photos_and_colorizations_lie_in_folders_apart(folder: Path, where: str) -> None:
    result = colorize("gray", "--input", folder, "--output", folder / where, "--overwrite")
    assert result.exit_code == 2
    assert "must lie apart" in result.stderr
    assert len(pixels(folder)) == 4


def test_resume_and_overwrite_exclude_each_other(folder: Path, tmp_path: Path) -> None:
    result = colorize("gray", "--input", folder, "--output", tmp_path / "out", "--resume", "--overwrite")
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)


def test_a_corrupt_photo_is_named_and_leaves_no_half_written_file(folder: Path, tmp_path: Path) -> None:
    broken = folder / "china.png"
    broken.write_bytes(broken.read_bytes()[:900])
    result = colorize("gray", "--input", folder, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "china.png" in result.stderr
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]


# --- against published and shared numbers -----------------------------------------------------------------


def test_anchors_score_as_published_and_files_score_as_memory(shared_data: Path, tmp_path: Path) -> None:
    """The shared half of 200 ImageNet photos: mean over 151 thresholds, prior of the truth itself."""
    from evalkit.colorizers.folder import colorize_folder
    from evalkit.metrics.ab_counts import AbErrorOptions
    from evalkit.scoring.run import score

    photos = shared_data / "outputs" / "imagenet_comparison" / "gt"
    for method in ("gray", "random"):
        colorize_folder(method, photos, tmp_path / method)
    scores = score(
        photos,
        {"gray": None, "random": None, "gray_files": tmp_path / "gray", "random_files": tmp_path / "random"},
        metrics=("ab_auc", "ab_auc_rebal"),
        options=AbErrorOptions(quadrature="thresholds"),
        n_bootstrap=0,
    )
    assert 100 * scores["gray", "ab_auc"].value == pytest.approx(88.71, abs=0.1)
    assert 100 * scores["gray", "ab_auc_rebal"].value == pytest.approx(60.88, abs=0.1)
    # Published for 10,000 photos: 84.2; one seed on 100 photos strays by 0.6 (one SD).
    assert 100 * scores["random", "ab_auc"].value == pytest.approx(84.2, abs=3 * 0.6)
    for method in ("gray", "random"):
        for metric in ("ab_auc", "ab_auc_rebal"):
            assert scores[method, metric].value == scores[f"{method}_files", metric].value
