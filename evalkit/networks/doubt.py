"""First classes that do not depend on the precision: where shorter numbers leave one in doubt, fp32 decides.

Class scores in bf16 or fp16 are off by some amount, which depends on the network much more than on the image: it is measured once,
on images that are always the same. The first class of an image is in doubt where the second comes closer than a multiple
of that. No bound follows from it: an image whose scores are off by more, and by just enough, keeps a wrong class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.arrays import BoolArray, Rgb8

__all__ = ["FP32_BATCH", "SAFETY", "ScoreError", "first_in_doubt", "trial_images"]

SAFETY = 3.0
"""Multiples of the error measured on the trial images within which a first class is in doubt.

On 96 validation photos of ImageNet on a CPU in bf16, no score of MobileNetV2, SqueezeNet 1.1 or ResNet-18 (random weights) moved by
more than 0.42, 0.73 and 0.38 of what this tolerates. In doubt were 33, 25 and 2 photos; 1, 3 and 0 classes of bf16 were wrong,
all of them among these.
"""

FP32_BATCH = 4
"""Images that fp32 looks at together, always as many: few are in doubt, and a batch is filled up."""

N_TRIAL_IMAGES = 8


def trial_images(n_images: int = N_TRIAL_IMAGES) -> list[Rgb8]:
    """Images that are always the same: 8 x 8 tiles of random colours, 256 x 256 pixels."""
    drawn = np.random.default_rng(0).integers(0, 256, (n_images, 8, 8, 3), dtype=np.uint8)
    return [np.ascontiguousarray(tiles.repeat(32, axis=0).repeat(32, axis=1)) for tiles in drawn]


@dataclass(frozen=True)
class ScoreError:
    """How far a reduced precision moves the class scores of a network against that of the first class.

    Attributes
    ----------
    largest : float
        On the trial images; infinite where none has finite scores.
    spread : float
        Standard deviation of the scores of an image, mean of the trial images.
    """

    largest: float
    spread: float

    @classmethod
    def measured(cls, exact: npt.NDArray[np.float32], reduced: npt.NDArray[np.float32]) -> ScoreError:
        """From class scores of the same images, shape (n, n_classes) each.

        Examples
        --------
        >>> ScoreError.measured(np.array([[3.0, 1.0]], np.float32), np.array([[3.0, 1.5]], np.float32))
        ScoreError(largest=0.5, spread=1.0)
        """
        finite: BoolArray = np.all(np.isfinite(exact) & np.isfinite(reduced), axis=1)
        if not finite.any():
            return cls(float("inf"), 1.0)
        wide = exact[finite].astype(np.float64)
        moved = reduced[finite] - wide
        of_first = np.take_along_axis(moved, wide.argmax(axis=1)[:, None], axis=1)
        return cls(float(np.abs(moved - of_first).max()), float(wide.std(axis=1).mean()))


def first_in_doubt(scores: npt.NDArray[np.float32], error: ScoreError) -> BoolArray:
    """Whether the first class may be another one in fp32.

    Parameters
    ----------
    scores : ndarray of float32, shape (n, n_classes)
        Class scores in a reduced precision.
    error : ScoreError
        Of this network in this precision. Where the scores of an image spread further than those of the trial images, it
        counts for more.

    Returns
    -------
    ndarray of bool, shape (n,)
        Also where a score is not finite: numbers of fp16 end at 65,504.

    Examples
    --------
    >>> first_in_doubt(np.array([[3.0, 1.0], [3.0, 2.5]], np.float32), ScoreError(0.25, 1.0)).tolist()
    [False, True]
    """
    is_finite: BoolArray = np.all(np.isfinite(scores), axis=1)
    if scores.shape[1] < 2:
        return ~is_finite
    wide = np.where(is_finite[:, None], scores, 0.0).astype(np.float64)
    second, first = np.partition(wide, -2, axis=1)[:, -2:].T
    tolerated = SAFETY * error.largest * np.maximum(1.0, wide.std(axis=1) / error.spread if error.spread else 1.0)
    in_doubt: BoolArray = ~is_finite | ~(first - second > tolerated)
    return in_doubt
