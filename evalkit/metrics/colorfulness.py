"""Colourfulness (Hasler and Suesstrunk 2003): of the prediction alone, and how far it is from the truth's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.metrics._arrays import each_image, each_pair
from evalkit.metrics.base import ImageStatistics, MeanMetric, SumMetric, mean_score, mean_terms
from evalkit.metrics.photo import Photo

__all__ = [
    "Colorfulness",
    "ColorfulnessAbs",
    "ColorfulnessDiff",
    "ColorfulnessSetDiff",
    "colorfulness",
    "colorfulness_abs",
    "colorfulness_diff",
]


def colorfulness(rgb8: npt.ArrayLike) -> float | FloatArray:
    r"""Colourfulness of Hasler and Suesstrunk [1]_ (their M3), with signed opponent colours.

    .. math::
        rg = R - G, \quad yb = \tfrac12 (R + G) - B, \quad
        M = \sqrt{\sigma_{rg}^2 + \sigma_{yb}^2} + 0.3 \sqrt{\mu_{rg}^2 + \mu_{yb}^2}

    with mean and (population) standard deviation over the pixels of the image.

    Parameters
    ----------
    rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        From 0 (gray); the authors call 33 moderately, 59 quite, 109 extremely colourful.

    Raises
    ------
    InputError
        If it is no 8-bit sRGB image or batch.

    See Also
    --------
    colorfulness_abs : the variant on moduli, another number.

    References
    ----------
    .. [1] D. Hasler, S. Suesstrunk, "Measuring colourfulness in natural images", Human Vision and Electronic
       Imaging VIII, Proc. SPIE 5007, 2003.

    Examples
    --------
    >>> import numpy as np
    >>> red_and_green = np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)
    >>> colorfulness(red_and_green)
    293.25
    """
    return each_image(_colorfulness, rgb8)


def colorfulness_abs(rgb8: npt.ArrayLike) -> float | FloatArray:
    """Colourfulness with the moduli abs(rg) and abs(yb) in place of the signed opponent colours.

    Widespread code takes moduli before mean and standard deviation, and recent colorization papers report it
    under the name of `colorfulness`. It is another number: on photos that ship with
    scikit-image lower by 0.03 (chelsea, whose hues lie on one side of each axis) to 9.6 (rocket).

    Parameters
    ----------
    rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        From 0 (gray).

    Raises
    ------
    InputError
        If it is no 8-bit sRGB image or batch.

    Examples
    --------
    >>> import numpy as np
    >>> red_and_green = np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)
    >>> round(colorfulness_abs(red_and_green), 2)
    85.53
    """
    return each_image(_colorfulness_abs, rgb8)


def colorfulness_diff(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    """Absolute difference of the `colorfulness` of prediction and truth.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        From 0 (equally colourful).

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    Notes
    -----
    Over a set, the mean of these differences (`ColorfulnessDiff`) is at least the difference of the two set
    means (`ColorfulnessSetDiff`), in which images too dull and too vivid cancel.

    Examples
    --------
    >>> import numpy as np
    >>> red_and_green = np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)
    >>> colorfulness_diff(red_and_green, red_and_green // 5)
    234.6
    """
    return each_pair(lambda truth, prediction: abs(_excess(truth, prediction)), truth_rgb8, pred_rgb8)


def _hasler_suesstrunk(photo: Photo, *, absolute: bool) -> float:
    from evalkit.metrics._colorfulness_kernel import opponent_sums

    n = photo.n_pixels
    rg_sum, rg_squares, yb_sum, yb_squares = opponent_sums(photo.rgb8.ravel(), absolute)
    # The kernel sums 2 yb = R + G - 2B to stay in whole numbers. As exact Python integers, n^2 times the
    # variance cannot cancel below zero.
    rg_variance = (n * rg_squares - rg_sum**2) / n**2
    yb_variance = (n * yb_squares - yb_sum**2) / (2 * n) ** 2
    return math.sqrt(rg_variance + yb_variance) + 0.3 * math.hypot(rg_sum / n, yb_sum / (2 * n))


def _colorfulness(photo: Photo) -> float:
    return _hasler_suesstrunk(photo, absolute=False)


def _colorfulness_abs(photo: Photo) -> float:
    return _hasler_suesstrunk(photo, absolute=True)


def _excess(truth: Photo, prediction: Photo) -> float:
    """How much more colourful the prediction is than the truth."""
    return _colorfulness(prediction) - _colorfulness(truth)


class Colorfulness(MeanMetric):
    """Mean over images of the prediction's `colorfulness`; the truth is not looked at."""

    name = "colorfulness"
    title = "CF"
    better = "neither"
    decimals = 2
    summary = "colourfulness of the prediction (Hasler & Suesstrunk 2003, signed), mean over images"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """Colourfulness of the prediction."""
        return _colorfulness(prediction)

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images; signed opponent colours."""
        return {**super().fields, "opp": "signed"}


class ColorfulnessAbs(MeanMetric):
    """Mean over images of the prediction's `colorfulness_abs`; the truth is not looked at."""

    name = "colorfulness_abs"
    title = "CF |.|"
    better = "neither"
    decimals = 2
    summary = "colourfulness of the prediction, the variant on |rg| and |yb|, mean over images"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """Colourfulness of the prediction, from moduli."""
        return _colorfulness_abs(prediction)

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images; moduli of the opponent colours."""
        return {**super().fields, "opp": "abs"}


class ColorfulnessDiff(MeanMetric):
    """Mean over images of `colorfulness_diff`: the mean of the absolute differences."""

    name = "colorfulness_diff"
    title = "|dCF|"
    better = "lower"
    scale = "log"
    decimals = 2
    summary = "|colourfulness of the prediction - of the truth| per image, mean over images"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """Absolute difference of one pair."""
        return abs(_excess(truth, prediction))

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images; signed opponent colours."""
        return {**super().fields, "opp": "signed"}


class ColorfulnessSetDiff(SumMetric):
    """Absolute difference of two set means: colourfulness of the predictions and of the truths."""

    name = "colorfulness_set_diff"
    title = "|dCF| of means"
    better = "lower"
    decimals = 2
    summary = "|mean colourfulness of the predictions - of the truths|: dull and vivid images cancel"

    @property
    def columns(self) -> Mapping[str, type[np.generic]]:
        """Colourfulness of the prediction minus the truth's."""
        return {"colorfulness_excess": np.float64}

    def measure(self, truth: Photo, prediction: Photo) -> tuple[float, ...]:
        """Signed difference of one pair."""
        return (_excess(truth, prediction),)

    def terms(self, statistics: ImageStatistics) -> FloatArray:
        """Signed difference and count, shape (n, 2); zeros where unscored."""
        return mean_terms(statistics.columns["colorfulness_excess"])

    def score(self, sums: FloatArray) -> FloatArray:
        """Modulus of the mean difference; NaN when there is no image."""
        return np.abs(mean_score(sums))

    @property
    def fields(self) -> Mapping[str, str]:
        """Difference of set means; signed opponent colours."""
        return {"agg": "set-mean", "opp": "signed"}
