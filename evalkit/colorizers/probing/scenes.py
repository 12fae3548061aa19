"""Scenes with a label for each pixel: PASCAL VOC's layout, and those in which CamVid is passed on.

References
----------
.. [1] M. Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 111, 2015.
.. [2] G. Brostow, J. Fauqueur, R. Cipolla, "Semantic object classes in video: A high-definition ground truth database",
   Pattern Recognition Letters 30(2), 2009: CamVid, its 32 classes and their colours.
.. [3] V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
   Segmentation", TPAMI 39(12), 2017: the 11 classes that CamVid's are joined to.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalkit.colorizers.probing.mean_iou import IGNORED
from evalkit.errors import InputError
from evalkit.images._headers import image_format, read_regular_file
from evalkit.images.image_pairs import find_images
from evalkit.images.places import check_is_folder_here
from evalkit.wording import agree, counted, error_reason, some_names

if TYPE_CHECKING:
    from PIL import Image

    from evalkit.arrays import IntArray

__all__ = ["CAMVID_CLASSES", "Scene", "SceneSet", "read_scenes"]

VOC_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
VOC_VOID = 255
VOC_VOID_COLOR = (224, 224, 192)

CAMVID_COLORS: Mapping[str, tuple[int, int, int]] = {
    "Animal": (64, 128, 64), "Archway": (192, 0, 128), "Bicyclist": (0, 128, 192), "Bridge": (0, 128, 64),
    "Building": (128, 0, 0), "Car": (64, 0, 128), "CartLuggagePram": (64, 0, 192), "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128), "Fence": (64, 64, 128), "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64), "Misc_Text": (128, 128, 64), "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64), "ParkingBlock": (64, 192, 128), "Pedestrian": (64, 64, 0), "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192), "Sidewalk": (0, 0, 192), "SignSymbol": (192, 128, 128), "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192), "TrafficCone": (0, 0, 64), "TrafficLight": (0, 64, 64), "Train": (192, 64, 128),
    "Tree": (128, 128, 0), "Truck_Bus": (192, 128, 192), "Tunnel": (64, 0, 64), "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0), "Wall": (64, 192, 0),
}  # fmt: skip
"""The 32 classes, in CamVid's order, and their colours."""

CAMVID_GROUPS: Mapping[str, tuple[str, ...]] = {
    "Sky": ("Sky",),
    "Building": ("Building", "Archway", "Bridge", "Tunnel", "Wall"),
    "Pole": ("Column_Pole", "TrafficCone"),
    "Road": ("Road", "LaneMkgsDriv", "LaneMkgsNonDriv"),
    "Pavement": ("Sidewalk", "ParkingBlock", "RoadShoulder"),
    "Tree": ("Tree", "VegetationMisc"),
    "SignSymbol": ("SignSymbol", "Misc_Text", "TrafficLight"),
    "Fence": ("Fence",),
    "Car": ("Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving"),
    "Pedestrian": ("Pedestrian", "Child", "CartLuggagePram", "Animal"),
    "Bicyclist": ("Bicyclist", "MotorcycleScooter"),
}
"""The 11 classes of SegNet, in the order of its index labels, and the ones of the 32 that each joins."""

SEGNET_PAVEMENT = (60, 40, 222)
"""The colour that SegNet's own pictures give the pavement, beside CamVid's of the sidewalk."""

VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})

CAMVID_CLASSES = ("11", "12", "32")
"""What CamVid's labels may be scored as: joined to 11, these and all the rest, or as they are."""

_PHOTOS_AND_LABELS = (("images", "labels"), ("701_StillsRaw_full", "LabeledApproved_full"))
_LABEL_FOLDERS = ("annot", "_labels")
_LABEL_ENDINGS = ("", "_L", "_P")
_INDEX_MODES = frozenset({"P", "L", "I", "I;16", "1"})


@dataclass(frozen=True)
class Scene:
    """A photo, and the file with the labels of its pixels.

    Attributes
    ----------
    name : str
    photo, label_file : Path
    """

    name: str
    photo: Path
    label_file: Path


@dataclass(frozen=True, kw_only=True)
class SceneSet:
    """Scenes to train and to validate on, and how their labels are read.

    Attributes
    ----------
    root : Path
    layout : {"PASCAL VOC", "CamVid"}
    names : tuple of str
        Classes that are scored, in the order of their numbers.
    train, val : tuple of Scene
    class_of_index : mapping of int to int
        Class of a value of an index label; `IGNORED` for void.
    class_of_color : mapping of (int, int, int) to int
        The same for a colour.
    """

    root: Path
    layout: str
    names: tuple[str, ...]
    train: tuple[Scene, ...]
    val: tuple[Scene, ...]
    class_of_index: Mapping[int, int] = field(repr=False)
    class_of_color: Mapping[tuple[int, int, int], int] = field(repr=False)

    def labels(self, scene: Scene) -> IntArray:
        """Classes of the pixels of a scene, shape (H, W); `IGNORED` where they are not scored.

        A palette is taken for colours where every colour that it uses is one of the classes, else for indices.

        Raises
        ------
        InputError
            If the file is no lossless image, or holds a value or colour that is no class.
        """
        from PIL import Image

        path = scene.label_file
        data = read_regular_file(path)
        if image_format(data) not in ("PNG", "BMP", "TIFF"):
            raise InputError(
                f"{path}: labels of pixels are PNG, BMP or TIFF files; others change the values they store"
            )
        try:
            with Image.open(path) as image:
                is_indexed = image.mode in _INDEX_MODES and not (image.mode == "P" and self._has_class_colors(image))
                values = np.asarray(image if is_indexed else image.convert("RGB")).astype(np.int64)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{path}: is a truncated or corrupt image of labels ({error_reason(error)})") from None
        return self._of_indices(values, path) if is_indexed else self._of_colors(values, path)

    def _has_class_colors(self, image: Image.Image) -> bool:
        palette = np.asarray(image.getpalette("RGB"), np.int64).reshape(-1, 3)
        used = np.unique(np.asarray(image))
        if used.max() >= len(palette) or (palette[used] == used[:, np.newaxis]).all():
            return False  # a ramp of grays shows the indices
        return all((int(red), int(green), int(blue)) in self.class_of_color for red, green, blue in palette[used])

    def _of_indices(self, indices: IntArray, path: Path) -> IntArray:
        values, position = np.unique(indices, return_inverse=True)
        unknown = [int(value) for value in values if int(value) not in self.class_of_index]
        if unknown:
            allowed = sorted(self.class_of_index)
            raise InputError(
                f"{path}: has the {agree(len(unknown), 'label', 'labels')} {some_names(unknown)}; allowed are "
                f"{_ranges(allowed)}"
            )
        return np.array([self.class_of_index[int(value)] for value in values])[position].reshape(indices.shape)

    def _of_colors(self, rgb: IntArray, path: Path) -> IntArray:
        packed = rgb @ np.array([65536, 256, 1])
        values, position = np.unique(packed, return_inverse=True)
        colors = [(int(value) >> 16, int(value) >> 8 & 255, int(value) & 255) for value in values]
        unknown = [color for color in colors if color not in self.class_of_color]
        if unknown:
            raise InputError(
                f"{path}: has {agree(len(unknown), 'a colour that is', 'colours that are')} no class: {some_names(unknown)}"
            )
        return np.array([self.class_of_color[color] for color in colors])[position].reshape(packed.shape)


def _ranges(values: Sequence[int]) -> str:
    """Whole numbers in words: 0 to 20 and 255."""
    first = next((k for k in range(1, len(values)) if values[k] != values[k - 1] + 1), len(values))
    rest = [str(value) for value in values[first:]]
    return f"{values[0]} to {values[first - 1]}" + (f" and {', '.join(rest)}" if rest else "")


def read_scenes(root: Path, camvid_classes: str | None = None) -> SceneSet:
    """Find the scenes of a folder in PASCAL VOC's layout or in one of CamVid's.

    Parameters
    ----------
    root : Path
        The folder itself, or one that holds it alone (``VOCdevkit``).
    camvid_classes : {"11", "12", "32"}, optional
        What CamVid's labels are scored as; by default 11, or the folder's own classes where they are not CamVid's.

    Returns
    -------
    SceneSet

    Raises
    ------
    InputError
        If the layout is of neither kind, a file that it lists is missing, or a scene is in both parts.
    """
    check_is_folder_here(root)
    below = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    for folder in (root, *below):
        if (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir():
            twins = [path.name for path in below if path != folder and (path / "SegmentationClass").is_dir()]
            if folder != root and twins:
                raise InputError(f"{root}: holds several years ({folder.name}, {some_names(twins)}); name one of them")
            if camvid_classes is not None:
                raise InputError(f"{folder}: is in PASCAL VOC's layout, whose classes are its own 21")
            return _voc(folder)
        if any(_camvid_parts(folder)):
            return _camvid(folder, camvid_classes)
    raise InputError(
        f"{root}: is in neither layout: PASCAL VOC's has JPEGImages, SegmentationClass and ImageSets/Segmentation; CamVid's "
        "train and trainannot, or train and train_labels (and the same for val), or images and labels with lists"
    )


def _voc(root: Path) -> SceneSet:
    photos = find_images(root / "JPEGImages")
    label_files = find_images(root / "SegmentationClass")
    parts = []
    for part in ("train", "val"):
        path = root / "ImageSets" / "Segmentation" / f"{part}.txt"
        names = _listed(path)
        for folder, files in (("JPEGImages", photos), ("SegmentationClass", label_files)):
            absent = [name for name in names if name not in files]
            if absent:
                raise InputError(
                    f"{path}: names {counted(len(absent), 'scene')} without a file in {folder}: {some_names(absent)}"
                )
        parts.append(tuple(Scene(name, photos[name], label_files[name]) for name in names))
    colors = {_voc_color(k): k for k in range(len(VOC_NAMES))}
    return SceneSet(
        root=root,
        layout="PASCAL VOC",
        names=VOC_NAMES,
        train=parts[0],
        val=_apart(root, *parts),
        class_of_index={**{k: k for k in range(len(VOC_NAMES))}, VOC_VOID: IGNORED},
        class_of_color={**colors, VOC_VOID_COLOR: IGNORED},
    )


def _voc_color(index: int) -> tuple[int, int, int]:
    """Colour of a class in PASCAL VOC's palette: the bits of its number, dealt to red, green and blue in turn.

    >>> _voc_color(15), _voc_color(255)
    ((192, 128, 128), (224, 224, 192))
    """
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << 7 - bit // 3
    return channels[0], channels[1], channels[2]


def _camvid_parts(root: Path) -> Iterator[tuple[Path, Path]]:
    """Folders of photos and of their labels."""
    for part in ("train", "val"):
        for ending in _LABEL_FOLDERS:
            if (root / part).is_dir() and (root / f"{part}{ending}").is_dir():
                yield root / part, root / f"{part}{ending}"
    for photos, labels in _PHOTOS_AND_LABELS:
        if (root / photos).is_dir() and (root / labels).is_dir():
            yield root / photos, root / labels


def _camvid(root: Path, wanted: str | None) -> SceneSet:
    folders = list(_camvid_parts(root))
    if folders[0][0].name == "train":
        by_name = {photos.name: (photos, labels) for photos, labels in folders}
        if "val" not in by_name:
            raise InputError(f"{root}: has {folders[0][0].name} and {folders[0][1].name}, but no val with its labels")
        train, val = (tuple(_paired(*by_name[part]).values()) for part in ("train", "val"))
    else:
        scenes = _paired(*folders[0])
        train, val = _by_lists(root, scenes)
    names, of_index, of_color = _camvid_classes(root, wanted)
    return SceneSet(
        root=root, layout="CamVid", names=names, train=train, val=_apart(root, train, val), class_of_index=of_index,
        class_of_color=of_color,
    )  # fmt: skip


def _paired(photo_folder: Path, label_folder: Path) -> dict[str, Scene]:
    photos, label_files = find_images(photo_folder), find_images(label_folder)
    scenes = {}
    for name, photo in photos.items():
        label_file = next((label_files[name + end] for end in _LABEL_ENDINGS if name + end in label_files), None)
        if label_file is not None:
            scenes[name] = Scene(name, photo, label_file)
    absent = [name for name in photos if name not in scenes]
    if absent:
        raise InputError(
            f"{label_folder}: lacks labels of {counted(len(absent), 'photo')} ({some_names(absent)}); they have the photo's "
            "name, or that and _L or _P"
        )
    return scenes


def _by_lists(root: Path, scenes: Mapping[str, Scene]) -> tuple[tuple[Scene, ...], tuple[Scene, ...]]:
    """Parts by train.txt and val.txt, or by valid.txt alone: the rest is trained on."""
    val_list = next((root / name for name in ("val.txt", "valid.txt") if (root / name).is_file()), None)
    if val_list is None:
        raise InputError(f"{root}: needs val.txt or valid.txt, the names of the scenes to validate on, one per line")
    val_names = _listed(val_list)
    train_names = (
        _listed(root / "train.txt")
        if (root / "train.txt").is_file()
        else [name for name in scenes if name not in set(val_names)]
    )
    for names in (train_names, val_names):
        absent = [name for name in names if name not in scenes]
        if absent:
            raise InputError(
                f"{root}: the lists name {counted(len(absent), 'scene')} without a photo: {some_names(absent)}"
            )
    if not train_names:
        raise InputError(f"{val_list}: names every scene; none is left to train on")
    return tuple(scenes[name] for name in train_names), tuple(scenes[name] for name in val_names)


def _listed(path: Path) -> list[str]:
    """Names of scenes, one per line, with or without folder and ending."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; it names the scenes, one per line")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text") from None
    # Lists may name photo and label in one line; the photo comes first.
    words = [line.split()[0] for line in lines if line.strip()]
    names = [re.sub(r"\.(png|jpe?g|bmp|tiff?|webp)$", "", Path(word).name, flags=re.IGNORECASE) for word in words]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"{path}: names {some_names(twice)} more than once")
    if not names:
        raise InputError(f"{path}: names no scene")
    return names


def _apart(root: Path, train: Sequence[Scene], val: Sequence[Scene]) -> tuple[Scene, ...]:
    shared = sorted({scene.name for scene in train} & {scene.name for scene in val})
    if shared:
        raise InputError(f"{root}: {some_names(shared)} {agree(len(shared), 'is', 'are')} in train and in val")
    return tuple(val)


def _camvid_classes(
    root: Path, wanted: str | None
) -> tuple[tuple[str, ...], dict[int, int], dict[tuple[int, int, int], int]]:
    """Names of the scored classes, and the class of each index and colour."""
    own = _own_classes(root)
    colors = own or dict(CAMVID_COLORS)
    codes = _codes(root)
    listed = codes or (list(own) if own else None)
    foreign = [
        name for name in (*colors, *(codes or ())) if name not in CAMVID_COLORS and name.lower() not in VOID_NAMES
    ]
    if foreign and own is not None and set(foreign) <= set(CAMVID_GROUPS):
        foreign = []
    if foreign:
        if wanted is not None:
            raise InputError(
                f"{root}: has classes that are not CamVid's ({some_names(foreign)}); they are scored as they are"
            )
        wanted = "32"
    wanted = wanted or "11"
    if wanted == "32":
        every = listed or list(colors)
        names = tuple(name for name in every if name.lower() not in VOID_NAMES)
        joined = {name: names.index(name) for name in names}
    else:
        names = (*CAMVID_GROUPS, *(("Unlabelled",) if wanted == "12" else ()))
        joined = {part: k for k, parts in enumerate(CAMVID_GROUPS.values()) for part in parts}
        joined |= {name: k for k, name in enumerate(CAMVID_GROUPS)}
    void = len(CAMVID_GROUPS) if wanted == "12" else IGNORED
    of_color = {color: joined.get(name, void) for name, color in colors.items()}
    if own is None and wanted != "32":
        of_color[SEGNET_PAVEMENT] = joined["Pavement"]
    if listed is not None:
        of_index = {k: joined.get(name, void) for k, name in enumerate(listed)}
    elif wanted == "32":
        # Nothing says which of the 32 an index is.
        of_index = {}
    else:
        of_index = {**{k: k for k in range(len(CAMVID_GROUPS))}, len(CAMVID_GROUPS): void}
    return names, {**of_index, 255: IGNORED}, of_color


def _own_classes(root: Path) -> dict[str, tuple[int, int, int]] | None:
    """Classes and colours of class_dict.csv (name,r,g,b) or label_colors.txt (r g b name); None without either."""
    table, text = root / "class_dict.csv", root / "label_colors.txt"
    path = table if table.is_file() else text
    if not path.is_file():
        return None
    classes: dict[str, tuple[int, int, int]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file)) if path == table else [line.split() for line in file]
    for number, row in enumerate(rows, start=1):
        words = [word.strip() for word in row if word.strip()]
        if not words or (number == 1 and not any(word.isdigit() for word in words)):
            continue
        values = [word for word in words if word.isdigit()]
        names = [word for word in words if not word.isdigit()]
        if len(values) != 3 or len(names) != 1 or max(int(value) for value in values) > 255:
            raise InputError(f"{path}, line {number}: expected a name and three numbers from 0 to 255")
        classes[names[0]] = (int(values[0]), int(values[1]), int(values[2]))
    return classes


def _codes(root: Path) -> list[str] | None:
    """Names of the classes by index, of codes.txt; None without it."""
    path = root / "codes.txt"
    if not path.is_file():
        return None
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
