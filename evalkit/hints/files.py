"""Hints on disk: for each photo ``json/NAME.json`` (exact), ``colour/NAME.png`` and ``mask/NAME.png`` (to look at, or paint).

``colour/`` holds the gray photo with the patches in their colour, ``mask/`` is white where a colour is given. Where
there is a JSON file it counts; where there are only the two PNG files, the colours are read from them, so scribbles
from any paint program serve as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import InputError
from evalkit.hints.hint import Hint, HintMaps, hint_maps
from evalkit.hints.protocols import HintRecipe, draw_hints
from evalkit.images.places import PlaceLike, check_is_folder_here
from evalkit.text_formats import parse_json
from evalkit.wording import error_reason

if TYPE_CHECKING:
    from evalkit.arrays import BoolArray, FloatArray


__all__ = ["NOTE", "number_folders", "read_hints", "write_hint_folder"]

NOTE = "hints.json"
"""File in a folder of hints that says how they were drawn."""


def write_hint_folder(
    source: PlaceLike,
    target: Path,
    recipes: dict[str, HintRecipe],
    *,
    on_image: Callable[[int, int], None] = lambda n_made, total: None,
) -> int:
    """Draw and write the hints of every photo of a folder.

    Parameters
    ----------
    source : path-like or str
        Folder of true photos, searched with its sub-folders, or the address of another place.
    target : Path
        Folder for the hints; made if absent. Hints that are there are written over, other files stay.
    recipes : dict of str to HintRecipe
        By sub-folder of `target`; the empty name writes into `target` itself.
    on_image : callable
        Called with the photos done so far and their total.

    Returns
    -------
    int
        Number of photos.

    Raises
    ------
    InputError
        If a folder is unusable or a photo does not decode.
    """
    from evalkit.color.colorspace import lab_planes
    from evalkit.images.image_files import decode
    from evalkit.images.image_pairs import find_image_files

    photos = find_image_files(source)
    for n_made, (name, path) in enumerate(photos.items(), start=1):
        rgb8 = decode(path).rgb8
        lab = lab_planes(rgb8).T.reshape(rgb8.shape)
        for sub_folder, recipe in recipes.items():
            _write(target / sub_folder, name, lab, draw_hints(lab[..., 1:], name, recipe))
        on_image(n_made, len(photos))
    for sub_folder, recipe in recipes.items():
        _write_json(target / sub_folder / NOTE, {**asdict(recipe), "photos": len(photos)})
    return len(photos)


def _write(folder: Path, name: str, lab: FloatArray, hints: Sequence[Hint]) -> None:
    import numpy as np

    from evalkit.color.colorspace import lab_to_srgb8
    from evalkit.images.image_files import write_png

    height, width = lab.shape[:2]
    maps = hint_maps(hints, height, width)
    colour = lab_to_srgb8(np.concatenate([lab[..., :1], maps.ab], axis=-1))[0]
    mask = np.repeat(maps.mask[..., None] * np.uint8(255), 3, axis=-1)
    record = {"height": height, "width": width, "hints": [asdict(hint) for hint in hints]}
    for kind, pixels in (("colour", colour), ("mask", mask)):
        path = folder / kind / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, pixels)
    _write_json(folder / "json" / f"{name}.json", record)


def _write_json(path: Path, record: dict[str, Any]) -> None:
    from evalkit.files import atomic_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())


def number_folders(folder: Path) -> list[int]:
    """Numbers k for which a folder has a sub-folder ``k``, ascending."""
    check_is_folder_here(folder)
    return sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdecimal())


def read_hints(folder: Path, name: str, height: int, width: int) -> HintMaps:
    """Hints of one photo.

    Parameters
    ----------
    folder : Path
        As `write_hint_folder` fills it, or with ``colour/`` and ``mask/`` painted by hand.
    name : str
        Name of the photo below its folder, without extension.
    height, width : int
        Size of the photo, which the hints must have.

    Returns
    -------
    HintMaps

    Raises
    ------
    InputError
        If the photo has no hints there, or they are damaged or of another size.
    """
    from evalkit.color.colorspace import lab_planes
    from evalkit.images.image_files import decode

    path = folder / "json" / f"{name}.json"
    if path.is_file():
        try:
            record = parse_json(path.read_text(encoding="utf-8"))
            size = (int(record["height"]), int(record["width"]))
            hints = [
                Hint(
                    row=int(hint["row"]),
                    column=int(hint["column"]),
                    side=int(hint["side"]),
                    a=float(hint["a"]),
                    b=float(hint["b"]),
                )
                for hint in record["hints"]
            ]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not a file of 'evalkit hints' ({error_reason(error)})") from None
        _check_size(path, size, (height, width))
        for hint in hints:
            inside = 0 <= hint.row < height and 0 <= hint.column < width
            if not inside or hint.side < 1 or not (abs(hint.a) <= 150 and abs(hint.b) <= 150):
                raise InputError(
                    f"{path}: the hint at row {hint.row}, column {hint.column} is unusable; allowed are places inside "
                    "the photo, a side of at least 1 and a, b from -150 to 150"
                )
        return hint_maps(hints, height, width)
    painted = [folder / kind / f"{name}.png" for kind in ("colour", "mask")]
    if not all(file.is_file() for file in painted):
        raise InputError(f"{folder}: holds no hints for '{name}' (json/{name}.json, or colour/ and mask/{name}.png)")
    colour, white = (decode(file).rgb8 for file in painted)
    for file, pixels in zip(painted, (colour, white), strict=True):
        _check_size(file, (pixels.shape[0], pixels.shape[1]), (height, width))
    mask: BoolArray = white.min(axis=-1) >= 128
    ab = lab_planes(colour)[1:].T.reshape(height, width, 2) * mask[..., None]
    return HintMaps(mask, ab)


def _check_size(path: Path, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    if size != wanted:
        raise InputError(
            f"{path}: belongs to a photo of {size[1]} x {size[0]} pixels, and this one has {wanted[1]} x {wanted[0]}"
        )
