"""Class shares of a photo set: the counts of a plain nearest-centre search, merged by addition."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from evalkit.cli import main
from evalkit.color.ab_classes import load_prior, preset
from evalkit.commands.prior import prior_command
from evalkit.errors import InputError
from evalkit.images.image_files import DecodeOptions
from evalkit.metrics import prior_counts
from evalkit.metrics.prior_counts import PriorCounts, count_folder


@pytest.fixture
def folder(tmp_path: Path, photos: dict[str, np.ndarray]) -> Path:
    (tmp_path / "photos").mkdir()
    for name, photo in photos.items():
        Image.fromarray(photo[50:130, 60:160]).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("classes", ["zhang2016", "seed2024"])
def test_counts_agree_with_scikit_image_and_a_tree_search(classes: str, folder: Path) -> None:
    from scipy.spatial import cKDTree
    from skimage.color import rgb2lab

    centers = preset(classes).centers
    ab = np.concatenate([rgb2lab(np.array(Image.open(p)))[..., 1:].reshape(-1, 2) for p in folder.iterdir()])
    distance, nearest = cKDTree(centers).query(ab, k=2)
    counts = count_folder(folder, preset(classes)).counts
    assert counts.sum() == len(ab)
    # Both may choose for a pixel within 0.01 of a boundary.
    close = distance[:, 1] - distance[:, 0] < 0.02
    expected = np.bincount(nearest[:, 0], minlength=len(centers))
    unsure = np.bincount(nearest[close].ravel(), minlength=len(centers))
    assert np.all(np.abs(counts - expected) <= unsure)
    assert close.mean() < 0.01


def test_counts_of_parts_add_up_in_any_order(folder: Path, tmp_path: Path) -> None:
    classes = preset("zhang2016")
    whole = count_folder(folder, classes)
    parts = []
    for path in folder.iterdir():
        single = tmp_path / path.stem
        single.mkdir()
        path.rename(single / path.name)
        parts.append(count_folder(single, classes))
    for order in (parts, parts[::-1]):
        total = order[0]
        for part in order[1:]:
            total = total.merge(part)
        assert total.to_json() == whole.to_json()


def test_the_file_reads_back_and_serves_as_prior(folder: Path, tmp_path: Path) -> None:
    counts = count_folder(folder, preset("zhang2016"))
    path = tmp_path / "prior.json"
    path.write_text(counts.to_json())
    assert PriorCounts.read(path).to_json() == counts.to_json()
    np.testing.assert_array_equal(load_prior(path, preset("zhang2016")).shares, counts.counts / counts.counts.sum())


def test_progress_counts_photos(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    count_folder(folder, preset("zhang2016"), lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(7)]


def test_counts_of_different_classes_do_not_add_up(folder: Path) -> None:
    one, two = (count_folder(folder, preset(name)) for name in ("zhang2016", "seed2024"))
    with pytest.raises(InputError, match=r"different ab classes \(zhang2016 and seed2024\)"):
        one.merge(two)
    cut = PriorCounts(
        classes=one.classes, classes_digest=one.classes_digest, counts=one.counts[:-1], n_images=one.n_images
    )
    with pytest.raises(InputError, match="different ab classes"):
        one.merge(cut)


@pytest.mark.parametrize("counts", [7, [[1, 2]], [1, -2], [], ["x"], [1e400]])
def test_counts_that_are_no_list_of_pixels_are_refused(counts: object, tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    record = {"classes": "zhang2016", "classes_digest": "x", "n_images": 1, "counts": counts}
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"prior\.json: not a prior file"):
        PriorCounts.read(path)


def test_a_missing_file_and_a_damaged_photo_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json"):
        PriorCounts.read(tmp_path / "nowhere.json")
    (folder / "coffee.png").write_bytes((folder / "coffee.png").read_bytes()[:100])
    with pytest.raises(InputError, match=r"coffee\.png"):
        count_folder(folder, preset("zhang2016"), max_unreadable=0)


# --- files that cannot be read -------------------------------------------------------------------------------------


def test_one_unreadable_file_is_passed_over_counted_and_named(folder: Path) -> None:
    whole = count_folder(folder, preset("zhang2016"))
    Image.fromarray(np.zeros((4, 4, 4), np.uint8), "CMYK").save(folder / "inks.jpg")
    counts = count_folder(folder, preset("zhang2016"))
    assert counts.n_images == 6
    np.testing.assert_array_equal(counts.counts, whole.counts)
    (sentence,) = counts.unreadable
    assert "inks.jpg: stores CMYK inks" in sentence
    assert json.loads(counts.to_json())["unreadable"] == [sentence]
    assert counts.merge(whole).unreadable == (sentence,)
    converted = count_folder(folder, preset("zhang2016"), options=DecodeOptions(convert_cmyk=True))
    assert (converted.n_images, converted.unreadable) == (7, ())


def test_more_unreadable_files_than_the_limit_are_refused(folder: Path) -> None:
    for k in range(3):
        (folder / f"broken{k}.png").write_bytes(b"no image")
    assert count_folder(folder, preset("zhang2016"), max_unreadable=3).n_images == 6
    with pytest.raises(
        InputError, match=r"3 files cannot be read, more than the 2 that may .*broken2.png: is not an image"
    ):
        count_folder(folder, preset("zhang2016"), max_unreadable=2)


def test_a_folder_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"none of its 1 image can be read: .*a\.png: is not an image"):
        count_folder(tmp_path, preset("zhang2016"))


def test_counting_by_tiles_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = count_folder(folder, preset("zhang2016"))
    monkeypatch.setattr(prior_counts, "TILE", 777)
    np.testing.assert_array_equal(count_folder(folder, preset("zhang2016")).counts, whole.counts)


def test_the_command_names_what_it_passed_over(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    out = tmp_path / "prior.json"
    result = CliRunner().invoke(prior_command, ["--input", str(folder), "--out", str(out)])
    assert result.exit_code == 0
    assert "6 photos" in result.stdout
    assert "1 file passed over, since unreadable" in result.stderr
    assert "broken.png: is not an image" in result.stderr
    refused = CliRunner().invoke(prior_command, ["--input", str(folder), "--out", str(out), "--max-unreadable", "0"])
    assert isinstance(refused.exception, InputError)


# --- the figure ----------------------------------------------------------------------------------------------------


def test_the_figure_shows_the_share_of_each_class_at_its_place(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    genuine = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: (drawn.append(self), genuine(self, *args, **kw)))
    words = [
        "prior",
        "--input",
        str(folder),
        "--out",
        str(tmp_path / "prior.json"),
        "--figure",
        str(tmp_path / "p.png"),
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    counts = PriorCounts.read(tmp_path / "prior.json").counts
    grid, shown = drawn[0].axes[0].collections
    np.testing.assert_allclose(np.asarray(shown.get_array()), counts[counts > 0] / counts.sum())
    for squares, centers in ((grid, preset("zhang2016").centers), (shown, preset("zhang2016").centers[counts > 0])):
        corners = np.array([path.vertices[:4] for path in squares.get_paths()])
        np.testing.assert_allclose(corners.mean(axis=1), centers)
        np.testing.assert_allclose(np.ptp(corners, axis=1), 10)
    assert f"{(counts > 0).sum()} of 313 classes" in drawn[0].axes[0].get_title(loc="left")
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.width > 800


@pytest.mark.parametrize("ending", ["pdf", "svg"])
def test_the_figure_of_one_class_alone_is_drawn_and_the_same_every_time(ending: str, tmp_path: Path) -> None:
    classes = preset("zhang2016")
    counts = np.zeros(313, np.int64)
    counts[classes.neutral] = 7
    for name in ("one", "two"):
        PriorCounts(classes=classes.name, classes_digest=classes.digest, counts=counts, n_images=1).write_figure(
            tmp_path / f"{name}.{ending}"
        )
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--figure", "prior.gif"], "allowed are files that end in .pdf, .png, .svg"),
        (["--figure", "prior.png", "--classes", "seed2024"], "the counts are of the ab classes zhang2016"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_one_sentence_and_nothing_is_written(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    classes = preset("zhang2016")
    Path("counts.json").write_text(
        PriorCounts(
            classes=classes.name, classes_digest=classes.digest, counts=np.ones(313, np.int64), n_images=3
        ).to_json()
    )
    result = CliRunner().invoke(main, ["prior", "--merge", "counts.json", "--out", "new.json", *words])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.json"]


def test_counts_draw_themselves_on_axes_of_ones_own() -> None:
    from matplotlib.figure import Figure

    classes = preset("seed2024")
    counts = np.arange(len(classes), dtype=np.int64)
    prior = PriorCounts(classes=classes.name, classes_digest=classes.digest, counts=counts, n_images=3)
    left, right = Figure().subplots(1, 2)
    assert prior.plot(right) is right
    assert not left.collections
    np.testing.assert_allclose(np.asarray(right.collections[1].get_array()), counts[1:] / counts.sum())
    assert "present in 3 photos" in right.get_title(loc="left")


def test_counts_that_cannot_be_drawn_say_why() -> None:
    from matplotlib.figure import Figure

    classes = preset("zhang2016")
    prior = PriorCounts(classes=classes.name, classes_digest=classes.digest, counts=np.ones(313, np.int64), n_images=1)
    axes = Figure().add_subplot()
    with pytest.raises(InputError, match="of the ab classes zhang2016, the figure would be of seed2024"):
        prior.plot(axes, classes=preset("seed2024"))
    with pytest.raises(InputError, match="file@1a2b: give classes"):
        replace(prior, classes="file@1a2b").plot(axes)
    with pytest.raises(InputError, match="hold no pixel"):
        replace(prior, counts=np.zeros(313, np.int64)).plot(axes)
    assert not axes.collections
    replace(prior, classes="file@1a2b").plot(axes, classes=classes)
    assert axes.collections
