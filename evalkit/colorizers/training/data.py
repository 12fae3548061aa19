"""Photos for training: which are fit, and crops of them that depend on nothing but the seed and their number."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from evalkit.arrays import IntArray, Rgb8
from evalkit.color.ab_classes import AbClasses
from evalkit.color.colorspace import lab_planes
from evalkit.colorizers.learned.network import L_MIDDLE, OUTPUT_STRIDE
from evalkit.errors import InputError
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions, decode
from evalkit.images.image_pairs import find_image_files
from evalkit.images.places import ImageFile, PlaceLike, name_below, place_of
from evalkit.images.surveys import MAX_UNREADABLE, Survey
from evalkit.metrics.ab_counts import PairCounter
from evalkit.metrics.photo import Photo
from evalkit.metrics.prior_counts import PriorCounts, class_counts
from evalkit.text_formats import csv_text
from evalkit.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Crops", "PhotoSurvey", "prefetched", "survey_photos", "tensors_of"]

NEARLY_GRAY_CHROMA = 4.0
"""A photo is gray when 99 of 100 pixels are nearer to neutral than this (ab units): it teaches no colour."""
MAX_GRAY = 0.5
"""Share of gray photos above which a folder is taken for one of black-and-white photos."""

AREA = (0.08, 1.0)
"""Share of the photo that a crop covers."""
EXPOSURE = 0.25
"""Largest logarithm of the gamma and of the contrast that L of a crop is changed by."""


@dataclass(frozen=True, kw_only=True)
class PhotoSurvey:
    """What a folder holds for training.

    Attributes
    ----------
    files : mapping of str to Path or PlacedImage
        The colour photos by their paths relative to the folder, sorted by name.
    gray, unreadable : tuple of str
        Paths of photos without colour, and of files that do not decode: skipped.
    prior : PriorCounts
        Pixels per ab class over the colour photos.
    """

    files: Mapping[str, ImageFile]
    gray: tuple[str, ...]
    unreadable: tuple[str, ...]
    prior: PriorCounts

    @property
    def photos(self) -> tuple[str, ...]:
        """Names of the colour photos."""
        return tuple(self.files)

    def to_csv(self) -> str:
        """List of all files and what became of them."""
        uses = (("trained", self.photos), ("gray", self.gray), ("unreadable", self.unreadable))
        return csv_text([{"photo": name, "use": use} for use, names in uses for name in names], ("photo", "use"))


def survey_photos(
    folder: PlaceLike,
    classes: AbClasses,
    progress: Callable[[int, int], None] = lambda done, total: None,
    workers: int = 1,
    max_unreadable: int = MAX_UNREADABLE,
    decoding: DecodeOptions = DEFAULT_OPTIONS,
) -> PhotoSurvey:
    """Decode every photo once: set gray and unreadable ones apart, count the ab classes of the others.

    Raises
    ------
    InputError
        If the folder has no images, fewer than half of the readable ones have colours, or more than `max_unreadable`
        cannot be read.
    """
    place = place_of(folder)
    files = list(find_image_files(place).values())
    survey = Survey(place, max_unreadable, decoding)
    own = threading.local()  # a counter reuses its work space: one for each thread

    def look(path: ImageFile) -> tuple[str, IntArray | None]:
        image = survey.decode(path)
        if image is None:
            return "unreadable", None
        photo = Photo(image.rgb8)
        if np.quantile(np.hypot(photo.lab[1], photo.lab[2]), 0.99) < NEARLY_GRAY_CHROMA:
            return "gray", None
        if not hasattr(own, "counter"):
            own.counter = PairCounter(classes)
        return "trained", class_counts(own.counter, image.rgb8)

    files_by_use: dict[str, dict[str, ImageFile]] = {"trained": {}, "gray": {}, "unreadable": {}}
    counts = np.zeros(len(classes), np.int64)
    progress(0, len(files))
    with ThreadPoolExecutor(workers) as pool:
        for done, (path, (use, part)) in enumerate(zip(files, pool.map(look, files), strict=True), start=1):
            files_by_use[use][name_below(place, path)] = path
            if part is not None:
                counts += part
            progress(done, len(files))
    n_gray, n_colour = len(files_by_use["gray"]), len(files_by_use["trained"])
    if n_colour == 0 or n_gray > MAX_GRAY * (n_gray + n_colour):
        raise InputError(
            f"{place}: {counted(n_colour, 'colour photo')}, {n_gray} gray ones and {len(files_by_use['unreadable'])} that cannot be "
            "read; training needs a folder of colour photos"
        )
    prior = PriorCounts(classes=classes.name, classes_digest=classes.digest, counts=counts, n_images=n_colour)
    return PhotoSurvey(
        files=files_by_use["trained"],
        gray=tuple(files_by_use["gray"]),
        unreadable=tuple(files_by_use["unreadable"]),
        prior=prior,
    )


def tensors_of(rgb8: Rgb8) -> tuple[Tensor, Tensor]:
    """What the network reads of a picture, and what it should answer.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (S, S, 3)
        S a multiple of 8.

    Returns
    -------
    lightness : Tensor of float32, shape (1, S, S)
        CIE Lab L.
    ab : Tensor of float32, shape (2, S / 4, S / 4)
        One pixel of each 4 x 4 cell, next to its middle: averaging would pull colours towards gray.
    """
    planes = lab_planes(rgb8).astype(np.float32).reshape(3, *rgb8.shape[:2])
    middle = slice(1, None, OUTPUT_STRIDE)
    return torch.from_numpy(planes[:1].copy()), torch.from_numpy(planes[1:, middle, middle].copy())


class Crops(Dataset["tuple[Tensor, Tensor]"]):
    """An endless, numbered stream of random crops: item k is the same in every process, order and run.

    Every epoch visits all photos once in a new order. A crop has 8 to 100 % of the photo's area and a side ratio of
    3/4 to 4/3, is resized to a square (bicubic, antialiased), and is mirrored half of the time. What the network
    reads of it, L, is changed by a random gamma and contrast as of another exposure or film; the colours to answer
    are not.

    Parameters
    ----------
    files : mapping of str to Path or PlacedImage
        The photos by name.
    size : int
        Side of the crops in pixels.
    seed : int
    cache_bytes : int
        Memory for what is used again: photos, reduced to twice the size of a crop; or, where crops are whole photos,
        what `tensors_of` makes of them, so that a photo is decoded, resized and converted to Lab once.
    whole : bool
        A crop is the whole photo, mirrored half of the time, in its own exposure.
    decoding : DecodeOptions
        How large a photo may be, and whether CMYK is converted.
    """

    def __init__(
        self,
        files: Mapping[str, ImageFile],
        size: int,
        seed: int,
        cache_bytes: int = 512 * 2**20,
        whole: bool = False,
        decoding: DecodeOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.files = files
        self.photos = tuple(files)
        self.size = size
        self.seed = seed
        self.whole = whole
        self.decoding = decoding
        self._photo_cache: _Cache[Rgb8] = _Cache(cache_bytes)
        self._whole_cache: _Cache[_WholePhoto] = _Cache(cache_bytes)
        self._epoch = -1
        self._order: IntArray = np.empty(0, np.int64)

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """Crop number k as `tensors_of`, its L as if exposed otherwise."""
        name, rng = self._photo_of(k), self._chance(k)
        if self.whole:
            _, mirrored = _chosen_part(1, 1, rng)
            photo = self._whole_cache.get(name, lambda: self._whole_photo(name))
            return photo.lightness.flip(-1) if mirrored else photo.lightness, photo.ab[int(mirrored)]
        lightness, ab = tensors_of(self._cut(name, rng))
        gamma, contrast = np.exp(rng.uniform(-EXPOSURE, EXPOSURE, 2))
        return ((lightness / 100).clamp(0, 1) ** gamma * 100 - L_MIDDLE) * contrast + L_MIDDLE, ab

    def crop(self, k: int) -> Rgb8:
        """Crop number k: uint8, shape (size, size, 3)."""
        return self._cut(self._photo_of(k), self._chance(k))

    def _photo_of(self, k: int) -> str:
        epoch, place = divmod(k, len(self.photos))
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.photos))
            self._epoch = epoch
        return self.photos[int(self._order[place])]

    def _chance(self, k: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 1, k])

    def _cut(self, name: str, rng: np.random.Generator) -> Rgb8:
        photo = self._photo_cache.get(name, lambda: self._load(name))
        height, width = photo.shape[:2]
        box, mirrored = _chosen_part(height, width, rng)
        crop = self._resized(photo, (0, 0, width, height) if self.whole else box)
        return np.ascontiguousarray(crop[:, ::-1]) if mirrored else crop

    def _resized(self, photo: Rgb8, box: tuple[float, float, float, float]) -> Rgb8:
        return np.asarray(Image.fromarray(photo).resize((self.size, self.size), Image.Resampling.BICUBIC, box))

    def _whole_photo(self, name: str) -> _WholePhoto:
        photo = self._load(name)
        square = self._resized(photo, (0, 0, photo.shape[1], photo.shape[0]))
        lightness, ab = tensors_of(square)
        # Mirrored before the cells are read: the pixel that stands for a cell is another one then.
        return _WholePhoto(lightness, (ab, tensors_of(np.ascontiguousarray(square[:, ::-1]))[1]))

    def _load(self, name: str) -> Rgb8:
        photo = decode(self.files[name], self.decoding).rgb8
        height, width = photo.shape[:2]
        if min(height, width) > 2 * self.size:
            scale = 2 * self.size / min(height, width)
            small = (max(1, round(width * scale)), max(1, round(height * scale)))
            photo = np.array(Image.fromarray(photo).resize(small, Image.Resampling.BICUBIC))
        return photo


def _chosen_part(height: int, width: int, rng: np.random.Generator) -> tuple[tuple[float, float, float, float], bool]:
    """Box of a random part of a photo (left, top, right, bottom), and whether it is mirrored."""
    area = rng.uniform(*AREA) * height * width
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    box_width, box_height = min(width, np.sqrt(area * ratio)), min(height, np.sqrt(area / ratio))
    left, top = rng.uniform(0, width - box_width), rng.uniform(0, height - box_height)
    return (left, top, left + box_width, top + box_height), bool(rng.random() < 0.5)


@dataclass(frozen=True)
class _WholePhoto:
    """A photo as the network reads it, and the colours to answer as it stands and mirrored."""

    lightness: Tensor
    ab: tuple[Tensor, Tensor]

    @property
    def nbytes(self) -> int:
        return int(self.lightness.nbytes + sum(part.nbytes for part in self.ab))


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Kept = TypeVar("Kept", bound=_Sized)


class _Cache(Generic[Kept]):
    """What was made last, as much of it as fits; the least recently used goes first."""

    def __init__(self, n_bytes: int) -> None:
        self._room = n_bytes
        self._items: OrderedDict[str, Kept] = OrderedDict()

    def get(self, name: str, make: Callable[[], Kept]) -> Kept:
        if name in self._items:
            self._items.move_to_end(name)
            return self._items[name]
        item = self._items[name] = make()
        self._room -= item.nbytes
        while self._room < 0 and len(self._items) > 1:
            self._room += self._items.popitem(last=False)[1].nbytes
        return item


Item = TypeVar("Item")


def prefetched(items: Iterable[Item], n_ahead: int = 4) -> Generator[Item]:
    """The items, in order, made in a thread of their own while those before are used.

    Parameters
    ----------
    items : iterable
        Iterated in the other thread alone; an error in it is raised where its item would have come.
    n_ahead : int
        Items that are made before they are asked for.

    Yields
    ------
    object
        Each item.
    """
    iterator, end = iter(items), object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="crops")
    try:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(n_ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield cast("Item", item)
    finally:
        pool.shutdown(cancel_futures=True)
