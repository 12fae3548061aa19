"""Run a classical baseline over a folder of photos, into PNG files of the same names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.colorizers.classical.methods import CLASSICAL
from evalkit.colorizers.classical.welsh2002 import Swatch
from evalkit.colorizers.folder import FolderReport, check_folders, unread_photos
from evalkit.errors import InputError

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray
    from evalkit.colorizers.classical.sousa2012 import ExampleModel
    from evalkit.images.places import PlaceLike

__all__ = ["ClassicalRecipe", "colorize_classically", "hint_sets", "parse_swatch"]

N_QUANTILES = 32
"""Points at which distributions are compared when the nearest example of a folder is looked for."""


@dataclass(frozen=True, kw_only=True)
class ClassicalRecipe:
    """How photos are coloured.

    Attributes
    ----------
    method : str
        A name of `evalkit.colorizers.classical.methods.CLASSICAL`.
    hints : Path, optional
        Folder that ``evalkit hints`` wrote, for the methods that need hints.
    example : Path, optional
        For the methods that need an example: one photo for all, or a folder. Of a folder each photo gets the one whose
        distributions of L and of local deviation are nearest to its own (the papers let a person choose); never the
        photo of its own name or with its own bytes.
    swatches : tuple of Swatch
        Pairs of rectangles, for ``welsh2002`` with one example.
    seed : int
        Of the samples of an example (welsh2002) and of its k-means (sousa2012).
    """

    method: str
    hints: Path | None = None
    example: Path | None = None
    swatches: tuple[Swatch, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        needs = CLASSICAL[self.method].needs
        if needs == "hints" and self.hints is None:
            raise InputError(
                f"'{self.method}' spreads colour hints: name their folder with --hints (see 'evalkit hints')"
            )
        if needs == "example" and self.example is None:
            raise InputError(f"'{self.method}' takes its colours from a photo: name it, or a folder, with --example")
        if needs == "hints" and (self.example is not None or self.swatches):
            raise InputError(f"'{self.method}' reads no example: leave out --example and --swatch")
        if needs == "example" and self.hints is not None:
            raise InputError(f"'{self.method}' reads no hints: leave out --hints")
        if self.swatches and (self.method != "welsh2002" or (self.example is not None and self.example.is_dir())):
            raise InputError("--swatch goes with welsh2002 and one example photo, not with a folder of them")

    def as_record(self) -> dict[str, Any]:
        """What decides the pictures; hints and examples by the digest of their files."""
        record: dict[str, Any] = {"method": self.method}
        for key, path in (("hints_sha256", self.hints), ("example_sha256", self.example)):
            if path is not None:
                record[key] = _digest(path)
        if CLASSICAL[self.method].needs == "example":
            record["seed"] = self.seed
            record["swatches"] = [[list(swatch.target), list(swatch.example)] for swatch in self.swatches]
        return record


def parse_swatch(text: str) -> Swatch:
    """A swatch from ``T,L,H,W=T,L,H,W``: top, left, height, width in the photo, then in the example.

    Raises
    ------
    InputError
        If it is written otherwise.
    """
    try:
        target, example = (tuple(int(number) for number in half.split(",")) for half in text.split("="))
        (a, b, c, d), (e, f, g, h) = target, example
    except ValueError:
        raise InputError(
            f"the swatch '{text}' cannot be read; allowed is TOP,LEFT,HEIGHT,WIDTH of the photo = those of the example"
        ) from None
    return Swatch(target=(a, b, c, d), example=(e, f, g, h))


def hint_sets(folder: Path) -> list[tuple[str, Path]]:
    """The folders of hints below one: itself, or its sub-folders named by the number of hints.

    Returns
    -------
    list of (str, Path)
        Sub-folder ("" for none) and folder.

    Raises
    ------
    InputError
        If there is no such folder, or it holds neither.
    """
    from evalkit.hints.files import number_folders

    numbers = number_folders(folder)
    if (folder / "json").is_dir() or (folder / "mask").is_dir():
        return [("", folder)]
    if not numbers:
        raise InputError(f"{folder}: holds no hints; make them with 'evalkit hints'")
    return [(str(number), folder / str(number)) for number in numbers]


def colorize_classically(
    recipe: ClassicalRecipe,
    source: PlaceLike,
    target: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_image: Callable[[int, int], None] = lambda n_made, total: None,
) -> FolderReport:
    """Colour every photo of a folder with a classical baseline.

    Parameters
    ----------
    recipe : ClassicalRecipe
    source : path-like or str
        Folder of photos, searched with its sub-folders; of each only L is read.
    target : Path
        Folder for the PNG files; made if absent. Each file appears whole or not at all.
    resume, overwrite : bool
        Keep the pictures that are there and make the others; or write over them.
    on_image : callable
        Called with the photos done so far and their total.

    Returns
    -------
    FolderReport

    Raises
    ------
    InputError
        If a folder, hint or example is unusable, a package is absent, or what is there was made otherwise;
        `UnreadPhotosError` if photos cannot be read, once the others are coloured.
    """
    from evalkit.color.colorspace import lab_planes
    from evalkit.color.lab_join import join_lab
    from evalkit.colorizers.recipe_note import refuse_other_recipe, write_recipe_note
    from evalkit.images.image_files import decode, write_png
    from evalkit.images.image_pairs import find_image_files
    from evalkit.images.places import place_of

    place = place_of(source)
    check_folders(place, target, allow_content=resume or overwrite)
    photos = find_image_files(place)
    colour = _colour_source(recipe)
    record = recipe.as_record()
    if resume:
        refuse_other_recipe(target, record)
    todo = [name for name in photos if not (resume and (target / f"{name}.png").exists())]
    n_kept = len(photos) - len(todo)
    n_pixels = n_clipped = 0
    failures: list[str] = []
    on_image(n_kept, len(photos))
    for n_seen, name in enumerate(todo, start=1):
        try:
            photo = decode(photos[name])
        except InputError as error:  # one damaged scan must not cost the others
            failures.append(str(error))
            continue
        height, width = photo.rgb8.shape[:2]
        lightness = lab_planes(photo.rgb8)[0]
        ab = colour(name, photo.sha256, lightness.reshape(height, width))
        rgb8, clipped = join_lab(lightness, *ab.reshape(-1, 2).T)
        path = target / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if n_seen == 1 + len(failures):
            write_recipe_note(target, record)
        write_png(path, rgb8.reshape(photo.rgb8.shape))
        n_pixels += height * width
        n_clipped += clipped
        on_image(n_kept + n_seen, len(photos))
    if failures:
        raise unread_photos(failures, len(photos), target)
    return FolderReport(len(todo), n_kept, n_pixels, n_clipped)


def _colour_source(recipe: ClassicalRecipe) -> Callable[[str, str, FloatArray], FloatArray]:
    """The function from a photo's name, digest and L to its ab."""
    if recipe.hints is not None:
        return _HintSource(recipe.method, recipe.hints)
    assert recipe.example is not None  # held by ClassicalRecipe
    return _ExampleSource(recipe, recipe.example)


@dataclass(frozen=True)
class _HintSource:
    method: str
    folder: Path

    def __call__(self, name: str, sha256: str, lightness: FloatArray) -> FloatArray:
        from evalkit.colorizers.classical import levin2004, luan2007
        from evalkit.hints.files import read_hints

        spread = {"levin2004": levin2004.propagate, "luan2007": luan2007.propagate}[self.method]
        return spread(lightness, read_hints(self.folder, name, *lightness.shape))


class _ExampleSource:
    def __init__(self, recipe: ClassicalRecipe, example: Path) -> None:
        from evalkit.images.image_pairs import find_images
        from evalkit.images.places import check_is_here

        check_is_here(example)
        self.recipe = recipe
        self.one_for_all = not example.is_dir()
        self.files = {"": example} if self.one_for_all else find_images(example)
        self.signatures: dict[str, tuple[str, FloatArray]] = {}
        self.learnt: tuple[str, ExampleModel] | None = None

    def __call__(self, name: str, sha256: str, lightness: FloatArray) -> FloatArray:
        from evalkit.colorizers.classical import sousa2012, welsh2002

        chosen = "" if self.one_for_all else self._nearest(name, sha256, lightness)
        if self.recipe.method == "sousa2012":
            # One example often serves all photos: it is learnt once.
            if self.learnt is None or self.learnt[0] != chosen:
                learnt = sousa2012.learn_example(_lab(self.files[chosen])[1], seed=self.recipe.seed)
                self.learnt = (chosen, learnt)
            return self.learnt[1].colorize(lightness)
        example = _lab(self.files[chosen])[1]
        if self.recipe.swatches:
            return welsh2002.transfer_swatches(lightness, example, self.recipe.swatches, seed=self.recipe.seed)
        return welsh2002.transfer(lightness, example, seed=self.recipe.seed)

    def _nearest(self, name: str, sha256: str, lightness: FloatArray) -> str:
        import numpy as np

        if not self.signatures:
            for key, path in self.files.items():
                digest, lab = _lab(path)
                self.signatures[key] = (digest, _signature(lab[..., 0]))
        wanted = _signature(lightness)
        distances = {
            key: float(np.abs(signature - wanted).mean())
            for key, (digest, signature) in self.signatures.items()
            if key != name and digest != sha256
        }
        if not distances:
            raise InputError(f"{self.recipe.example}: holds no photo but '{name}' itself; give at least one other")
        return min(distances, key=lambda key: (distances[key], key))


def _lab(path: Path) -> tuple[str, FloatArray]:
    """Digest and CIE Lab, shape (H, W, 3), of a file."""
    from evalkit.color.colorspace import lab_planes
    from evalkit.images.image_files import decode

    photo = decode(path)
    return photo.sha256, lab_planes(photo.rgb8).T.reshape(photo.rgb8.shape)


def _signature(lightness: FloatArray) -> FloatArray:
    """Quantiles of L and of local deviation: their mean absolute difference is the earth mover's distance."""
    import numpy as np

    from evalkit.colorizers.classical.welsh2002 import local_deviation

    at = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    return np.concatenate([np.quantile(lightness, at), np.quantile(local_deviation(lightness), at)])


def _digest(path: Path) -> str:
    """Of a file; or of all files below a folder, by name."""
    files: Sequence[Path] = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        try:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from error
        digest.update(f"{content}  {file.relative_to(path).as_posix() if path.is_dir() else ''}\n".encode())
    return digest.hexdigest()
