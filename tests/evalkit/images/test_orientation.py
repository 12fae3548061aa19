"""True photos that EXIF turned upright, against images of methods that lie on their side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import evalkit
from evalkit.errors import InputError

Y, X = np.mgrid[0:40, 0:60]
STORED = np.stack([X * 4, Y * 6, 255 - X - Y], axis=-1).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path, orientation: int) -> Path:
    """A photo with an orientation, and a method that read its stored pixels as they are."""
    (tmp_path / "truth").mkdir()
    (tmp_path / "mine").mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(STORED).save(tmp_path / "truth" / "a.png", exif=exif)
    Image.fromarray(255 - (255 - STORED) // 2).save(tmp_path / "mine" / "a.png")
    return tmp_path


def psnr(folders: Path, **options: object) -> float:
    scores = evalkit.score(
        folders / "truth", {"mine": folders / "mine"}, metrics=("psnr_rgb",), n_bootstrap=0, **options
    )
    return scores.summary[0].value


def upright_psnr(folders: Path, orientation: int) -> float:
    """What the method would score had it turned its image by itself."""
    turned = folders / "turned"
    turned.mkdir()
    image = Image.open(folders / "mine" / "a.png")
    image.getexif()[0x0112] = orientation
    ImageOps.exif_transpose(image).save(turned / "a.png")
    return evalkit.score(folders / "truth", {"mine": turned}, metrics=("psnr_rgb",), n_bootstrap=0).summary[0].value


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("size", [None, 32])
def test_images_on_their_side_are_refused_with_the_way_out(folders: Path, orientation: int, size: int | None) -> None:
    message = rf"40 x 60 pixels in the truth, turned upright by its EXIF orientation {orientation}, .*--turn-like-truth"
    with pytest.raises(InputError, match=message):
        psnr(folders, size=size)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_truths_orientation_is_applied_on_request(folders: Path, orientation: int) -> None:
    assert psnr(folders, turn_like_truth=True) == upright_psnr(folders, orientation)


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_image_that_was_upright_before_stays_so(folders: Path, orientation: int) -> None:
    upright = upright_psnr(folders, orientation)
    scores = evalkit.score(
        folders / "truth", {"mine": folders / "turned"}, metrics=("psnr_rgb",), n_bootstrap=0, turn_like_truth=True
    )
    assert scores.summary[0].value == upright


@pytest.mark.parametrize("orientation", [1])
@pytest.mark.parametrize("resample", ["bicubic", "bilinear", "area"])
def test_the_filter_stands_in_the_signature_and_moves_the_number(
    folders: Path, orientation: int, resample: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folders / "mine" / "a.png")
    scores = evalkit.score(
        folders / "truth", {"mine": folders / "mine"}, metrics=("psnr_rgb",), n_bootstrap=0, size=16, resample=resample
    )
    assert f"|size:16-warp-{resample}|" in scores.summary[0].signature
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR, "area": Image.Resampling.BOX}
    small = [np.array(Image.fromarray(a).resize((16, 16), filters[resample])).astype(float) for a in (STORED, noise)]
    expected = 10 * np.log10(255**2 / np.mean((small[0] - small[1]) ** 2))
    assert scores.summary[0].value == pytest.approx(expected, abs=1e-9)
