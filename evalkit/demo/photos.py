"""Folders for a first run: 60 fixed crops of photos that everybody has, and two desaturations of them.

The crops come from photos that ship with scikit-image and scikit-learn, so nothing is downloaded. They stand
for no population: six crops of each of ten photos, some overlapping, are far from sixty independent images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from evalkit.errors import InputError
from evalkit.wording import needs_package

if TYPE_CHECKING:
    from evalkit.arrays import Rgb8

__all__ = [
    "CROP",
    "DESATURATIONS",
    "PHOTOS",
    "TUTORIAL_METHODS",
    "desaturate",
    "photo_crops",
    "write_folders",
    "write_tutorial_folders",
]

CROP = 256
"""Height and width of a crop, in pixels."""

DESATURATIONS = {"mild": 0.8, "strong": 0.4}
"""Stand-ins for colorization methods: what a and b of the truth are multiplied by."""

PHOTOS = {
    "astronaut": 0,
    "coffee": 0,
    "chelsea": 0,
    "rocket": 0,
    "hubble_deep_field": 0,
    "retina": 240,
    "immunohistochemistry": 0,
    "stereo_motorcycle": 0,
    "china": 0,
    "flower": 0,
}
"""Photo and the margin, in pixels, that crops keep from its edge (the corners of ``retina`` are black)."""

GRID = (2, 3)  # rows and columns of crops in each photo

TUTORIAL_PHOTOS = ("astronaut", "chelsea", "coffee")
TUTORIAL_SIDE = 128
"""Height and width of a crop of the tutorials, in pixels."""
TUTORIAL_TOP, TUTORIAL_LEFTS = 100, (100, 260)
"""Upper edge and left edges of the two crops of each photo."""
TUTORIAL_METHODS = {"mine": (0.5, 0.0), "other": (1.0, 40.0)}
"""What stands for two methods in the tutorials: the factor of the saturation, and the turn of all hues in degrees."""


def photo_crops() -> Iterator[tuple[str, Rgb8]]:
    """Cut the 60 crops: a grid of two by three in each of ten photos, always the same.

    Yields
    ------
    name : str
        ``photo_k``, k from 0 to 5 in reading order.
    rgb8 : ndarray of uint8, shape (256, 256, 3)

    Raises
    ------
    InputError
        If scikit-image or scikit-learn is not installed.
    """
    import numpy as np

    for photo, margin in PHOTOS.items():
        rgb8 = _photo(photo)
        height, width = rgb8.shape[:2]
        tops = np.linspace(margin, height - CROP - margin, GRID[0]).astype(int)
        lefts = np.linspace(margin, width - CROP - margin, GRID[1]).astype(int)
        for k, (top, left) in enumerate((top, left) for top in tops for left in lefts):
            yield f"{photo}_{k}", np.ascontiguousarray(rgb8[top : top + CROP, left : left + CROP])


def _photo(name: str) -> Rgb8:
    """One colour photo, uint8, shape (H, W, 3)."""
    try:
        import skimage.data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        package = {"skimage": "scikit-image", "sklearn": "scikit-learn"}.get(module, module or "scikit-image")
        raise InputError(needs_package(package, "the demo's photos", "demo")) from error
    if name in {"china", "flower"}:
        return cast("Rgb8", load_sample_image(f"{name}.jpg"))
    pixels = getattr(skimage.data, name)()
    # stereo_motorcycle comes as left, right, disparity.
    return cast("Rgb8", pixels[0] if isinstance(pixels, tuple) else pixels)


def desaturate(rgb8: Rgb8, factor: float) -> Rgb8:
    """Multiply a and b by a factor, keep L: shape (H, W, 3) to (H, W, 3)."""
    from evalkit.color.colorspace import lab_planes
    from evalkit.color.lab_join import join_lab

    lightness, a, b = lab_planes(rgb8)
    return join_lab(lightness, factor * a, factor * b)[0].reshape(rgb8.shape)


def _recolored(rgb8: Rgb8, saturation: float, degrees: float) -> Rgb8:
    """Scale a and b and turn them about the neutral axis, keep L: shape (H, W, 3) to (H, W, 3)."""
    import numpy as np

    from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab

    lab = srgb8_to_lab(rgb8)
    ab = (lab[..., 1] + 1j * lab[..., 2]) * saturation * np.exp(1j * np.deg2rad(degrees))
    return lab_to_srgb8(np.stack([lab[..., 0], ab.real, ab.imag], axis=-1))[0]


def write_tutorial_folders(out: Path) -> list[str]:
    """Write what the tutorials start from: ``truth/`` with six small photos, and a folder for each of two methods, as PNG.

    Parameters
    ----------
    out : Path
        Folder for the folders; those of an earlier call are written over.

    Returns
    -------
    list of str
        Names of the photos.

    Raises
    ------
    InputError
        If photos are not installed, or a folder holds other files.
    """
    import numpy as np

    from evalkit.images.image_files import write_png

    crops: dict[str, Rgb8] = {}
    for photo in TUTORIAL_PHOTOS:
        rows = _photo(photo)[TUTORIAL_TOP : TUTORIAL_TOP + TUTORIAL_SIDE]
        for number, left in enumerate(TUTORIAL_LEFTS, start=1):
            crops[f"{photo}-{number}"] = np.ascontiguousarray(rows[:, left : left + TUTORIAL_SIDE])
    folders = {name: out / name for name in ("truth", *TUTORIAL_METHODS)}
    for folder in folders.values():
        _refuse_foreign_files(folder, set(crops), "--photos")
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    for name, truth in crops.items():
        write_png(folders["truth"] / f"{name}.png", truth)
        for method, (saturation, degrees) in TUTORIAL_METHODS.items():
            write_png(folders[method] / f"{name}.png", _recolored(truth, saturation, degrees))
    return list(crops)


def write_folders(out: Path, on_image: Callable[[int, int], None] | None = None) -> int:
    """Write ``truth/`` and a folder for each desaturation, as PNG.

    Parameters
    ----------
    out : Path
        Folder for the folders; those of an earlier demo are written over.
    on_image : callable, optional
        Called with the crops done so far and their total.

    Returns
    -------
    int
        Number of crops.

    Raises
    ------
    InputError
        If photos are not installed, or a folder holds files that are not the demo's.
    """
    from evalkit.images.image_files import write_png

    crops = dict(photo_crops())
    folders = {name: out / name for name in ("truth", *DESATURATIONS)}
    for folder in folders.values():
        _refuse_foreign_files(folder, set(crops), "--out")
        folder.mkdir(parents=True, exist_ok=True)
    for n_done, (name, truth) in enumerate(crops.items(), start=1):
        write_png(folders["truth"] / f"{name}.png", truth)
        for method, factor in DESATURATIONS.items():
            write_png(folders[method] / f"{name}.png", desaturate(truth, factor))
        if on_image is not None:
            on_image(n_done, len(crops))
    return len(crops)


def _refuse_foreign_files(folder: Path, names: set[str], option: str) -> None:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix != ".png" or path.stem not in names:
            raise InputError(f"{path} is not the demo's: give {option} a folder that does not exist.")
