"""How well a network in training colours photos that it does not learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.colorizers.learned.checkpoints import Checkpoint
from evalkit.colorizers.learned.colorizer import LearnedColorizer, as_ab_network
from evalkit.colorizers.variants import VARIANTS
from evalkit.errors import InputError
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions, decode
from evalkit.images.image_pairs import find_image_files
from evalkit.images.places import ImageFile, PlaceLike
from evalkit.scoring.accumulator import Accumulator

if TYPE_CHECKING:
    import torch

    from evalkit.arrays import Rgb8

__all__ = ["BestValidation", "Validation", "validate", "validation_photos"]

BATCH = 16
"""Photos that are coloured together."""


@dataclass(frozen=True)
class Validation:
    """Scores of a network on the validation photos, as `evalkit score` gives them.

    Attributes
    ----------
    ab_auc, ab_auc_rebal : float
        Shares, 0..1; rebalanced by the class shares of the validation photos.
    """

    ab_auc: float
    ab_auc_rebal: float

    def score(self, variant: str) -> float:
        """What early stopping goes by: rebalanced AuC where the objective is rebalanced, else AuC."""
        return self.ab_auc_rebal if VARIANTS[variant].rebalanced else self.ab_auc


@dataclass(frozen=True)
class BestValidation:
    """The best score of a run so far.

    Attributes
    ----------
    score : float
        Minus infinity before the first validation.
    step : int
        Updates done when it was reached.
    n_since : int
        Validations since then.
    """

    score: float = -float("inf")
    step: int = 0
    n_since: int = 0

    def after(self, score: float, step: int) -> BestValidation:
        """The best score once another validation is known; of two equal ones the earlier stays."""
        if score > self.score:
            return BestValidation(score, step)
        return BestValidation(self.score, self.step, self.n_since + 1)


def validation_photos(
    folder: PlaceLike, trained: PlaceLike, decoding: DecodeOptions = DEFAULT_OPTIONS
) -> tuple[ImageFile, ...]:
    """Photos to validate on.

    Parameters
    ----------
    folder, trained : path-like or str
        Folders or other places of the photos to validate on, and of those that are trained on.
    decoding : DecodeOptions, optional

    Raises
    ------
    InputError
        If the folder holds none, one that cannot be read, or one that is trained on too.
    """
    photos = tuple(find_image_files(folder).values())
    learnt = set(map(_whereabouts, find_image_files(trained).values()))
    shared = next((file for file in photos if _whereabouts(file) in learnt), None)
    if shared is not None:
        raise InputError(f"{shared} is trained on and validated on: the two folders must not share photos")
    for _ in _batches(photos, decoding):  # hours later would be a bad time to learn that one cannot be read
        pass
    return photos


def _whereabouts(file: ImageFile) -> str:
    """Equal for one file under two paths."""
    return str(file.resolve() if isinstance(file, Path) else file)


def validate(
    checkpoint: Checkpoint,
    photos: Sequence[ImageFile],
    device: torch.device | str = "cpu",
    decoding: DecodeOptions = DEFAULT_OPTIONS,
) -> Validation:
    """Colour the photos with a network in training and score the pictures.

    Parameters
    ----------
    checkpoint : Checkpoint
    photos : sequence of Path or PlacedImage
    device : torch.device or str
    decoding : DecodeOptions
        How large a photo may be, and whether CMYK is converted.

    Returns
    -------
    Validation

    Raises
    ------
    InputError
        If a photo cannot be read.
    """
    colorizer = LearnedColorizer(as_ab_network(checkpoint), checkpoint.input_size, device)
    scores = [Accumulator("ab_auc"), Accumulator("ab_auc_rebal")]
    for truths in _batches(photos, decoding):
        for truth, (colored, _) in zip(truths, colorizer(truths), strict=True):
            for score in scores:
                score.update(truth, colored)
    return Validation(*(score.compute() for score in scores))


def _batches(photos: Sequence[ImageFile], decoding: DecodeOptions) -> Iterator[list[Rgb8]]:
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(photos), BATCH):
            yield list(pool.map(lambda path: decode(path, decoding).rgb8, photos[start : start + BATCH]))
