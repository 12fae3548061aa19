"""Hints: where each protocol puts them, their colours, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evalkit.cli import main
from evalkit.color.colorspace import srgb8_to_lab
from evalkit.errors import InputError
from evalkit.hints.files import read_hints
from evalkit.hints.hint import Hint, hint_maps
from evalkit.hints.protocols import HintRecipe, draw_hints

PLAIN = np.zeros((40, 60, 2))


def test_a_hint_has_the_mean_true_colour_of_its_patch() -> None:
    ab = np.random.default_rng(0).normal(0, 30, (40, 60, 2))
    for hint in draw_hints(ab, "x", HintRecipe(count=50, side=5)):
        patch = ab[max(hint.row - 2, 0) : hint.row + 3, max(hint.column - 2, 0) : hint.column + 3]
        assert (hint.a, hint.b) == pytest.approx(tuple(patch.mean(axis=(0, 1))))


@given(st.integers(0, 60), st.integers(1, 90), st.integers(1, 90), st.sampled_from(["random", "grid"]))
def test_there_are_as_many_as_asked_for_all_inside(count: int, height: int, width: int, protocol: str) -> None:
    hints = draw_hints(np.zeros((height, width, 2)), "x", HintRecipe(protocol=protocol, count=count))
    assert len(hints) == count
    assert all(0 <= hint.row < height and 0 <= hint.column < width for hint in hints)


def test_random_hints_depend_on_seed_and_name_and_begin_alike() -> None:
    many = draw_hints(PLAIN, "boat", HintRecipe(count=500, seed=3))
    assert draw_hints(PLAIN, "boat", HintRecipe(count=10, seed=3)) == many[:10]
    assert draw_hints(PLAIN, "boat", HintRecipe(count=10, seed=4)) != many[:10]
    assert draw_hints(PLAIN, "bird", HintRecipe(count=10, seed=3)) != many[:10]


def test_a_grid_of_twelve_on_a_photo_of_three_by_four_is_square() -> None:
    hints = draw_hints(np.zeros((30, 40, 2)), "x", HintRecipe(protocol="grid", count=12))
    assert [(h.row, h.column) for h in hints] == [(r, c) for r in (5, 15, 25) for c in (5, 15, 25, 35)]


def test_regions_come_by_size_and_are_marked_in_their_middle() -> None:
    ab = PLAIN.copy()
    ab[4:35, 20:55] = 40  # 31 x 35, inside a frame that is larger
    hints = draw_hints(ab, "x", HintRecipe(protocol="regions", count=9, side=1))
    assert [(h.a, h.row, h.column) for h in hints][1] == pytest.approx((40, 19, 35), abs=2)
    assert len(hints) == 2
    assert hints[0].a == 0


def test_zhang2017_draws_a_geometric_number_about_the_centre_in_patches_of_1_to_9() -> None:
    recipe = HintRecipe(protocol="zhang2017", count=None, side=None)
    drawn = [draw_hints(np.zeros((400, 400, 2)), str(k), recipe) for k in range(2000)]
    numbers = np.array([len(hints) for hints in drawn])
    assert numbers.mean() == pytest.approx(7, abs=4 * np.sqrt(56 / 2000))  # (1 - p) / p, variance (1 - p) / p^2
    assert (numbers == 0).mean() == pytest.approx(1 / 8, abs=0.03)
    sides = np.array([hint.side for hints in drawn for hint in hints])
    np.testing.assert_allclose(np.bincount(sides)[1:] / len(sides), 1 / 9, atol=0.012)
    rows = np.array([hint.row for hints in drawn for hint in hints])
    assert rows.mean() == pytest.approx(200, abs=4)
    assert (np.abs(rows - 200) < 100).mean() == pytest.approx(0.683, abs=0.02)  # one standard deviation, H / 4


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"protocol": "zhang2017"}, "draws number and side"),
        ({"protocol": "star"}, "allowed are random, grid"),
        ({"count": -1}, "at least 0"),
        ({"side": 0}, "at least 1"),
        ({"count": None}, "needs a number"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(recipe: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        HintRecipe(**recipe)  # type: ignore[arg-type]


# --- files ------------------------------------------------------------------------------------------------


def evalkit(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in arguments], prog_name="evalkit")


@pytest.fixture
def truth(tmp_path: Path, photos: dict[str, np.ndarray]) -> Path:
    folder = tmp_path / "truth"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(photos["coffee"][60:120, 80:150]).save(folder / "coffee.png")
    Image.fromarray(photos["china"][60:120, 80:150]).save(folder / "sub" / "china.png")
    return folder


def test_files_hold_the_hints_exactly_and_as_pictures(truth: Path, tmp_path: Path) -> None:
    result = evalkit("hints", "--input", truth, "--output", tmp_path / "h", "--count", 6)
    assert result.exit_code == 0, result.output
    assert "hints of 2 photos by random" in result.output
    lab = srgb8_to_lab(np.asarray(Image.open(truth / "sub" / "china.png")))
    hints = draw_hints(lab[..., 1:], "sub/china", HintRecipe(count=6))
    wanted = hint_maps(hints, 60, 70)
    maps = read_hints(tmp_path / "h", "sub/china", 60, 70)
    np.testing.assert_array_equal(maps.mask, wanted.mask)
    np.testing.assert_allclose(maps.ab, wanted.ab, atol=1e-6)
    (tmp_path / "h" / "json" / "sub" / "china.json").unlink()
    painted = read_hints(tmp_path / "h", "sub/china", 60, 70)  # from the PNG files alone
    np.testing.assert_array_equal(painted.mask, wanted.mask)
    assert np.abs(painted.ab - wanted.ab).max() < 12  # 8 bits, and the sRGB gamut at the photo's L
    assert np.median(np.abs(painted.ab - wanted.ab)[wanted.mask]) < 0.6


def test_the_same_command_gives_the_same_files(truth: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        evalkit("hints", "--input", truth, "--output", tmp_path / name, "--count", "0,3")
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) == 2 * (2 * 3 + 1)


def test_hints_of_several_numbers_colour_into_folders_of_those_numbers(truth: Path, tmp_path: Path) -> None:
    evalkit("hints", "--input", truth, "--output", tmp_path / "h", "--count", "0,20")
    words = ("colorize", "levin2004", "--input", truth, "--hints", tmp_path / "h", "--output", tmp_path / "out")
    result = evalkit(*words)
    assert result.exit_code == 0, result.output
    assert "4 images by levin2004" in result.output
    true = srgb8_to_lab(np.asarray(Image.open(truth / "coffee.png")))
    error = {}
    for k in (0, 20):
        made = srgb8_to_lab(np.asarray(Image.open(tmp_path / "out" / str(k) / "coffee.png")))
        error[k] = np.square(made - true)[..., 1:].mean()
    assert error[20] < error[0] / 4
    (tmp_path / "out" / "20" / "coffee.png").unlink()
    assert "1 image by levin2004, 3 were there already" in evalkit(*words, "--resume").output
    evalkit("hints", "--input", truth, "--output", tmp_path / "h", "--count", "0,20", "--seed", 9, "--overwrite")
    refused = evalkit(*words, "--resume")
    assert refused.exit_code == 2
    assert "cannot be resumed" in refused.stderr


def test_luan2007_reads_the_same_hints_and_sousa2012_the_same_examples(truth: Path, tmp_path: Path) -> None:
    evalkit("hints", "--input", truth, "--output", tmp_path / "h", "--count", 20)
    words = ("colorize", "luan2007", "--input", truth, "--hints", tmp_path / "h", "--output", tmp_path / "luan")
    assert "2 images by luan2007" in evalkit(*words).output
    true = srgb8_to_lab(np.asarray(Image.open(truth / "coffee.png")))
    made = srgb8_to_lab(np.asarray(Image.open(tmp_path / "luan" / "coffee.png")))
    assert np.square(made - true)[..., 1:].mean() < 0.5 * np.square(true)[..., 1:].mean()
    words = ("colorize", "sousa2012", "--input", truth, "--output")
    assert evalkit(*words, tmp_path / "all", "--example", truth).exit_code == 0
    assert evalkit(*words, tmp_path / "one", "--example", truth / "sub" / "china.png").exit_code == 0
    both = [(tmp_path / name / "coffee.png").read_bytes() for name in ("all", "one")]
    assert both[0] == both[1]


def test_an_example_is_the_nearest_photo_of_the_folder_and_never_the_photo_itself(truth: Path, tmp_path: Path) -> None:
    words = ("colorize", "welsh2002", "--input", truth, "--output")
    assert evalkit(*words, tmp_path / "all", "--example", truth).exit_code == 0
    assert evalkit(*words, tmp_path / "one", "--example", truth / "sub" / "china.png").exit_code == 0
    # Of two photos each lends its colours to the other.
    made, expected = ((tmp_path / name / "coffee.png").read_bytes() for name in ("all", "one"))
    assert made == expected
    (truth / "sub" / "china.png").unlink()
    alone = evalkit(*words, tmp_path / "alone", "--example", truth)
    assert alone.exit_code == 2
    assert "holds no photo but 'coffee' itself" in alone.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["levin2004"], "name their folder with --hints"),
        (["welsh2002"], "with --example"),
        (["luan2007"], "name their folder with --hints"),
        (["sousa2012"], "with --example"),
        (["sousa2012", "--example", "truth/coffee.png", "--swatch", "0,0,9,9=0,0,9,9"], "--swatch goes with welsh2002"),
        (["levin2004", "--hints", "absent"], "absent: no such folder"),
        (["levin2004", "--hints", "truth"], "holds no hints"),
        (["welsh2002", "--example", "absent.png"], "absent.png: cannot be read"),
        (["welsh2002", "--example", "truth/coffee.png", "--swatch", "1,2,3"], "the swatch '1,2,3' cannot be read"),
        (["welsh2002", "--example", "truth", "--swatch", "0,0,9,9=0,0,9,9"], "not with a folder"),
        (["gray", "--example", "truth"], "'gray' reads no hints and no example"),
        (["levin2004", "--hints", "truth", "--samples", "2"], "has no network"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    words: list[str], sentence: str, truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = evalkit("colorize", *words, "--input", "truth", "--output", "out")
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change", [{"hints": 3}, {"height": 50}, {"hints": [{"row": 99, "column": 1, "side": 1, "a": 0, "b": 0}]}]
)
def test_damaged_hints_are_named(change: dict[str, object], truth: Path, tmp_path: Path) -> None:
    evalkit("hints", "--input", truth, "--output", tmp_path / "h")
    path = tmp_path / "h" / "json" / "coffee.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"coffee\.json"):
        read_hints(tmp_path / "h", "coffee", 60, 70)


def test_later_patches_lie_over_earlier_ones() -> None:
    maps = hint_maps([Hint(row=5, column=5, side=5, a=1, b=1), Hint(row=5, column=5, side=1, a=2, b=2)], 9, 9)
    assert maps.ab[5, 5, 0] == 2
    assert maps.mask.sum() == 25
