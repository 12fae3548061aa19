"""Which photos are trained on, and the numbered stream of crops."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch.utils.data import DataLoader

from evalkit.color.ab_classes import preset
from evalkit.colorizers.training.data import Crops, prefetched, survey_photos, tensors_of
from evalkit.errors import InputError
from evalkit.images.image_files import decode
from evalkit.metrics.prior_counts import count_folder


def names_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files_of(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in names_of(folder)}


def test_gray_and_unreadable_photos_are_set_apart_and_counted(tmp_path: Path, crops: Path) -> None:
    for path in crops.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with Image.open(crops / "coffee-0.png") as photo:
        photo.convert("L").save(tmp_path / "scan.png")
        photo.convert("L").convert("RGB").save(tmp_path / "scan-rgb.jpg")
    (tmp_path / "broken.png").write_bytes((crops / "coffee-1.png").read_bytes()[:900])
    seen: list[tuple[int, int]] = []
    survey = survey_photos(tmp_path, preset("seed2024"), lambda done, total: seen.append((done, total)), workers=2)
    assert list(survey.photos) == names_of(crops)
    assert survey.gray == ("scan.png", "scan-rgb.jpg")
    assert survey.unreadable == ("broken.png",)
    assert seen[-1] == (15, 15)
    assert survey.to_csv().splitlines()[0] == "photo,use"
    assert "scan.png,gray" in survey.to_csv()
    expected = count_folder(crops, preset("seed2024"))  # the class counts are those of the colour photos alone
    np.testing.assert_array_equal(survey.prior.counts, expected.counts)
    assert survey.prior.n_images == 12


def test_how_many_photos_may_be_unreadable_and_whether_cmyk_is_read_is_the_users(tmp_path: Path, crops: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(crops.iterdir())[:6]:
        (photos / path.name).write_bytes(path.read_bytes())
    with Image.open(crops / "coffee-0.png") as photo:
        for k in range(2):
            photo.convert("CMYK").save(photos / f"print-{k}.jpg", quality=95)

    def train(out: str, *words: str) -> subprocess.CompletedProcess[str]:
        options = (
            "--variant classification --network tiny --steps 2 --batch-size 2 --crop-size 16 --amp off --threads 1"
        )
        command = ["train", "--input", str(photos), "--out", str(tmp_path / out), *options.split(), "--channels-first"]
        return subprocess.run(
            [sys.executable, "-m", "evalkit", *command, *words], capture_output=True, text=True, check=False
        )

    refused = train("refused", "--max-unreadable", "1")
    assert refused.returncode == 2
    assert "2 files cannot be read, more than the 1 that may be passed over (--max-unreadable)" in refused.stderr
    assert "CMYK" in refused.stderr
    assert not (tmp_path / "refused" / "weights.pt").exists()
    passed_over = train("passed-over")
    assert passed_over.returncode == 0, passed_over.stderr
    assert "2 steps on 6 photos (skipped: 2 unreadable)" in passed_over.stdout
    converted = train("converted", "--convert-cmyk", "--max-unreadable", "0", "--validation", str(crops))
    assert converted.returncode == 0, converted.stderr
    assert "2 steps on 8 photos" in converted.stdout
    assert (tmp_path / "converted" / "photos.csv").read_text().count("trained") == 8


def test_a_folder_of_black_and_white_photos_is_refused(tmp_path: Path, crops: Path) -> None:
    for path in list(crops.iterdir())[:3]:
        with Image.open(path) as photo:
            photo.convert("L").save(tmp_path / path.name)
    (tmp_path / "one.png").write_bytes((crops / "coffee-1.png").read_bytes())
    with pytest.raises(InputError, match=r"1 colour photo, 3 gray ones .* needs a folder of colour photos"):
        survey_photos(tmp_path, preset("seed2024"))


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        survey_photos(tmp_path, preset("seed2024"))


def test_the_network_reads_l_and_is_asked_for_one_pixel_of_each_cell(photos: dict[str, np.ndarray]) -> None:
    crop = np.ascontiguousarray(photos["china"][:64, :64])
    lightness, ab = tensors_of(crop)
    lab = rgb2lab(crop)
    assert (lightness.shape, ab.shape, ab.dtype) == ((1, 64, 64), (2, 16, 16), torch.float32)
    np.testing.assert_allclose(lightness[0].numpy(), lab[..., 0], atol=1e-4)
    np.testing.assert_allclose(ab.permute(1, 2, 0).numpy(), lab[1::4, 1::4, 1:], atol=1e-4)


def test_a_crop_depends_on_its_number_and_the_seed_alone(crops: Path) -> None:
    first, second = Crops(files_of(crops), 48, seed=7), Crops(files_of(crops), 48, seed=7, cache_bytes=1)
    wanted = [30, 3, 17, 3, 0]
    for k in wanted:
        np.testing.assert_array_equal(first.crop(k), second.crop(k))
    other = Crops(files_of(crops), 48, seed=8)
    assert not np.array_equal(first.crop(3), other.crop(3))
    assert not np.array_equal(first.crop(3), first.crop(15))  # another epoch, another crop
    loaded = DataLoader(first, batch_sampler=[[3, 17], [0, 30]], num_workers=1, multiprocessing_context="spawn")
    for (lightness, _), numbers in zip(loaded, [[3, 17], [0, 30]], strict=True):
        for found, k in zip(lightness, numbers, strict=True):
            torch.testing.assert_close(found, second[k][0], rtol=0, atol=0)


def test_every_epoch_visits_every_photo_once(crops: Path) -> None:
    names = names_of(crops)
    stream = Crops(files_of(crops), 16, seed=1, cache_bytes=1)
    visited = []
    stream._load = lambda name: visited.append(name) or np.zeros((40, 40, 3), np.uint8)  # type: ignore[method-assign]
    for k in range(24):
        assert stream.crop(k).shape == (16, 16, 3)
    assert sorted(visited[:12]) == sorted(visited[12:]) == names
    assert visited[:12] != visited[12:]


def test_half_of_the_crops_are_mirrored_and_sizes_vary(tmp_path: Path) -> None:
    ramp = np.zeros((90, 120, 3), np.uint8)
    ramp[:, :, 0] = np.linspace(20, 220, 120)
    ramp[:, :, 1] = np.linspace(0, 250, 90)[:, None]
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    stream = Crops({"ramp.png": tmp_path / "ramp.png"}, 32, seed=0)
    found = [stream.crop(k).astype(int) for k in range(60)]
    slopes = np.array([crop[:, -1, 0].mean() - crop[:, 0, 0].mean() for crop in found])
    assert 15 <= (slopes < 0).sum() <= 45
    heights = np.array([crop[-1, :, 1].mean() - crop[0, :, 1].mean() for crop in found])
    shares = abs(slopes) / 200 * heights / 250
    assert shares.min() > 0.05
    assert shares.max() < 1.01
    assert shares.std() > 0.1


def test_lightness_is_exposed_otherwise_and_colours_stay(crops: Path) -> None:
    stream = Crops(files_of(crops), 32, seed=3)
    changes = []
    for k in range(12):
        (found, ab), (lightness, expected) = stream[k], tensors_of(stream.crop(k))
        torch.testing.assert_close(ab, expected, rtol=0, atol=0)
        order = lightness.ravel().argsort()
        assert (found.ravel()[order].diff() >= -1e-4).all()  # a tone curve: brighter stays brighter
        changes.append((found - lightness).abs().mean().item())
    assert np.std(changes) > 0.5
    assert max(changes) < 20


def test_whole_photos_from_the_cache_are_those_made_anew(crops: Path) -> None:
    """Mirrored or not, in whatever order, with room for all photos or for one."""
    roomy, cramped = (Crops(files_of(crops), 32, seed=3, cache_bytes=room, whole=True) for room in (2**29, 1))
    for k in [*range(30), *range(30)]:
        expected = tensors_of(roomy.crop(k))
        for stream in (roomy, cramped):
            assert all(torch.equal(one, two) for one, two in zip(stream[k], expected, strict=True))


def test_a_cached_photo_is_decoded_once(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    monkeypatch.setattr(
        "evalkit.colorizers.training.data.decode", lambda path, options: decoded.append(path) or decode(path, options)
    )
    for whole in (True, False):
        stream = Crops(files_of(crops), 32, seed=3, whole=whole)
        decoded.clear()
        for k in range(4 * len(stream.photos)):
            stream[k]
        assert len(decoded) == len(set(decoded)) == len(stream.photos)


def test_items_are_made_ahead_in_order_and_errors_come_in_their_place() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for k in range(10):
            if k == 6:
                raise InputError("no photo 6")
            made.append(k)
            yield k

    items = prefetched(numbers(), n_ahead=3)
    assert next(items) == 0
    until = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.001)
    assert made == [0, 1, 2, 3]  # three more, and no further: they would fill the memory
    assert list(itertools.islice(items, 5)) == [1, 2, 3, 4, 5]
    with pytest.raises(InputError, match="no photo 6"):
        next(items)
    assert list(prefetched(iter("abc"))) == ["a", "b", "c"]


def test_the_thread_that_makes_items_ends_with_their_use() -> None:
    before = set(threading.enumerate())
    items = prefetched(itertools.count())
    assert next(items) == 0
    # Of this test alone: threads of others may end meanwhile.
    own = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("crops")]
    assert len(own) == 1
    items.close()
    assert not own[0].is_alive()
