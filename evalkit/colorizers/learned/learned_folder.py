"""Run a trained network over a folder of photos, in batches, into PNG files of the same names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from evalkit.color.ab_classes import load_prior
from evalkit.colorizers.folder import FolderReport, check_folders, unread_photos
from evalkit.colorizers.learned.checkpoints import load_checkpoint, shipped_weights
from evalkit.colorizers.learned.colorizer import AnnealedMean, LearnedColorizer, as_ab_network, log_weights_between
from evalkit.colorizers.learned.decoding import join_with_lightness
from evalkit.colorizers.learned.network import STRIDE
from evalkit.colorizers.learned.published_networks import INPUT_SIZE, load_published
from evalkit.colorizers.learned.sampling import sampled_ab
from evalkit.colorizers.recipe_note import refuse_other_recipe, write_recipe_note
from evalkit.colorizers.variants import PUBLISHED
from evalkit.errors import InputError
from evalkit.images.image_files import decode, write_png
from evalkit.images.image_pairs import find_image_files
from evalkit.images.places import ImageFile, PlaceLike, place_of
from evalkit.images.read_ahead import PIXELS_AHEAD, ReadAhead
from evalkit.networks.devices import choose_device
from evalkit.networks.memory import out_of_memory_advice
from evalkit.wording import counted

if TYPE_CHECKING:
    from evalkit.arrays import Rgb8
    from evalkit.color.ab_classes import AbClasses

__all__ = ["Recipe", "colorize_photos"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How photos are coloured.

    Attributes
    ----------
    method : str
        A variant of the reference system, or one of the published networks.
    weights : Path, optional
        Checkpoint; the one that comes with the package where not given.
    classes : AbClasses, optional
        Ab classes that the checkpoint must speak.
    temperature : float, optional
        T of the annealed mean, or of the samples; that of the checkpoint's classes where not given.
    input_size : int, optional
        Side of the network's input, a multiple of 8; that of the checkpoint where not given.
    samples : int
        0 for one colorization a photo; else so many are drawn, into a folder for each photo.
    coherence : float
        How far neighbouring pixels of a sample agree, as a share of the photo's side.
    seed : int
        Of the samples.
    rebalancing : float, optional
        lambda that rare colours are weighted up with when a photo is decoded; as trained where not given.
    prior : Path, optional
        Class shares of the photos that were learnt from, for `rebalancing`; those of the checkpoint where not given.
    """

    method: str
    weights: Path | None = None
    classes: AbClasses | None = None
    temperature: float | None = None
    input_size: int | None = None
    samples: int = 0
    coherence: float = 0.25
    seed: int = 0
    rebalancing: float | None = None
    prior: Path | None = None

    def load(self, device: torch.device | str = "cpu") -> LearnedColorizer:
        """Read the weights.

        Raises
        ------
        InputError
            If they are unusable, or an option does not go with the method.
        """
        if self.input_size is not None and (self.input_size < 2 * STRIDE or self.input_size % STRIDE):
            raise InputError(
                f"the network's input is {self.input_size} pixels; allowed are multiples of {STRIDE} from 16"
            )
        if self.prior is not None and self.rebalancing is None:
            raise InputError("--prior gives the class shares for --lambda; name both")
        if self.method in PUBLISHED:
            if self.weights is None:
                raise InputError(f"'{self.method}' needs the file of the paper's release; name it with --weights")
            if self.classes is not None or self._reads_a_distribution:
                raise InputError(f"'{self.method}' maps to ab itself: it has no preset, temperature, lambda or samples")
            network, size = load_published(self.method, self.weights), INPUT_SIZE
        else:
            path = shipped_weights(self.method) if self.weights is None else self.weights
            checkpoint = load_checkpoint(path, variant=self.method, classes=self.classes)
            if checkpoint.is_regression and self._reads_a_distribution:
                raise InputError(
                    f"'{self.method}' predicts one colour per pixel: it has no temperature, no lambda and no samples"
                )
            log_weights = None
            if self.rebalancing is not None:
                shares = None if self.prior is None else load_prior(self.prior, checkpoint.classes).shares
                log_weights = log_weights_between(checkpoint, self.rebalancing, shares)
            network, size = as_ab_network(checkpoint, self.temperature, log_weights), checkpoint.input_size
        return LearnedColorizer(network, self.input_size or size, device)

    @property
    def _reads_a_distribution(self) -> bool:
        return bool(self.samples) or self.temperature is not None or self.rebalancing is not None

    def as_record(self) -> dict[str, Any]:
        """What decides the pictures; files by their digests."""
        path = self.weights if self.weights is not None else shipped_weights(self.method)
        return {
            "method": self.method,
            "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "temperature": self.temperature,
            "input_size": self.input_size,
            "samples": self.samples,
            **({"coherence": self.coherence, "seed": self.seed} if self.samples else {}),
            **({} if self.rebalancing is None else {"lambda": self.rebalancing}),
            **({} if self.prior is None else {"prior_sha256": hashlib.sha256(self.prior.read_bytes()).hexdigest()}),
        }


def colorize_photos(
    recipe: Recipe,
    source: PlaceLike,
    target: Path,
    *,
    device: str = "auto",
    batch_size: int = 16,
    resume: bool = False,
    overwrite: bool = False,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> FolderReport:
    """Colour every photo of a folder with a trained network.

    Parameters
    ----------
    recipe : Recipe
    source : path-like or str
        Folder of photos, searched with its sub-folders: any size, colour or gray, 8 or 16 bits.
    target : Path
        Folder for the PNG files; made if absent. ``NAME.png``, or ``NAME/0.png``, ``NAME/1.png`` ... for samples.
    device : str
        As `evalkit.networks.devices.choose_device` takes it.
    batch_size : int
        Photos that go through the network together.
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
        If a folder or the weights are unusable, memory runs out, what is there was made otherwise, or photos cannot
        be read (the others are coloured first).
    """
    place = place_of(source)
    check_folders(place, target, allow_content=resume or overwrite)
    if batch_size < 1:
        raise InputError(f"the batch size is {batch_size}; it must be at least 1")
    photos = find_image_files(place)
    names = sorted(photos)
    with out_of_memory_advice(_advice(batch_size, device)):
        colorizer = recipe.load(choose_device(device))
        record = recipe.as_record()
        if resume:
            refuse_other_recipe(target, record)
        write_recipe_note(target, record)
        todo = [
            name for name in names if not (resume and all(path.exists() for path in _outputs(recipe, target, name)))
        ]
        n_kept = len(names) - len(todo)
        on_image(n_kept, len(names))
        n_pixels = n_clipped = 0
        failures: list[str] = []
        n_done = n_kept
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            batches = (
                list(pool.map(lambda name: (name, _decoded(photos[name])), todo[start : start + batch_size]))
                for start in range(0, len(todo), batch_size)
            )
            with ReadAhead(batches, _n_pixels, PIXELS_AHEAD) as ahead:
                for batch in ahead:
                    failures += [photo for _, photo in batch if isinstance(photo, str)]
                    usable = [(name, photo) for name, photo in batch if not isinstance(photo, str)]
                    with out_of_memory_advice(_advice(batch_size, device, usable)):
                        for pixels, clipped in _colour_batch(recipe, colorizer, target, usable, pool):
                            n_pixels += pixels
                            n_clipped += clipped
                    n_done += len(batch)
                    on_image(n_done, len(names))
    if failures:
        raise unread_photos(failures, len(names), target)
    return FolderReport(len(todo), n_kept, n_pixels, n_clipped)


def _advice(batch_size: int, device: str, photos: Sequence[tuple[str, Rgb8]] = ()) -> str:
    """What helps when memory runs out at some photos."""
    largest = max(photos, key=lambda photo: photo[1].size, default=None)
    which = ""
    if largest is not None:
        height, width = largest[1].shape[:2]
        which = f", the largest of them {largest[0]} of {width} x {height} pixels"
    ways = (
        ["a smaller --batch-size"] * (batch_size > 1)
        + ["a smaller --network-size"]
        + ["--device cpu"] * (device != "cpu")
    )
    return f"at {counted(batch_size, 'photo')} a batch{which}: give {', or '.join(ways)}"


def _n_pixels(batch: Sequence[tuple[str, Rgb8 | str]]) -> int:
    return sum(photo.shape[0] * photo.shape[1] for _, photo in batch if not isinstance(photo, str))


def _decoded(path: ImageFile) -> Rgb8 | str:
    try:
        return decode(path).rgb8
    except InputError as error:
        return str(error)


def _outputs(recipe: Recipe, target: Path, name: str) -> list[Path]:
    if recipe.samples:
        return [target / name / f"{k}.png" for k in range(recipe.samples)]
    return [target / f"{name}.png"]


def _colour_batch(
    recipe: Recipe,
    colorizer: LearnedColorizer,
    target: Path,
    photos: Sequence[tuple[str, Rgb8]],
    pool: ThreadPoolExecutor,
) -> list[tuple[int, int]]:
    """Colour and write photos; pixels and clipped pixels of each picture."""
    if not photos:
        return []
    if recipe.samples:
        colours = [sample for name, photo in photos for sample in _samples(recipe, colorizer, name, photo)]
    else:
        colours = list(colorizer.predict_ab([photo for _, photo in photos]))
    jobs = [(path, photo) for name, photo in photos for path in _outputs(recipe, target, name)]

    def write(job: tuple[Path, Rgb8], ab: torch.Tensor) -> tuple[int, int]:
        path, photo = job
        rgb8, clipped = join_with_lightness(photo, ab)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, rgb8)
        return photo.shape[0] * photo.shape[1], clipped

    return list(pool.map(write, jobs, colours))


@torch.inference_mode()
def _samples(recipe: Recipe, colorizer: LearnedColorizer, name: str, photo: Rgb8) -> list[torch.Tensor]:
    decoder = colorizer.ab_network
    if not isinstance(decoder, AnnealedMean):
        raise InputError(f"'{recipe.method}' has no distribution to draw samples from")
    logits = decoder.scores(colorizer.network_input([photo]))
    photos = []
    for k in range(recipe.samples):
        # By name, not by place: a photo more in the folder, or a resumed run, changes no other photo's samples.
        key = hashlib.sha256(f"{recipe.seed}\0{name}\0{k}".encode("utf-8", "surrogateescape")).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
        photos.append(sampled_ab(logits, decoder.centers, decoder.temperature, recipe.coherence, generator))
    return photos
