"""d-prime: how well people tell the photo from the colorization, freed from their preference for a side."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.errors import InputError

__all__ = ["dprime", "dprime_unbiased"]


def dprime(fool_rate: npt.ArrayLike) -> FloatArray:
    """D' = sqrt(2) z(1 - fool rate) of two-alternative forced choice (Macmillan and Creelman, eq. 7.2).

    Parameters
    ----------
    fool_rate : array_like
        Fractions in [0, 1]; 0 gives infinity, 1 minus infinity. 0.5 gives 0: nobody can tell.

    Returns
    -------
    ndarray of float64
        Same shape.
    """
    from scipy.special import ndtri

    rate = np.asarray(fool_rate, dtype=np.float64)
    if np.any((rate < 0) | (rate > 1)):
        raise InputError("A fool rate is outside [0, 1].")
    return np.asarray(math.sqrt(2) * ndtri(1.0 - rate))


def dprime_unbiased(
    hits: npt.ArrayLike, fake_first: npt.ArrayLike, false_alarms: npt.ArrayLike, fake_second: npt.ArrayLike
) -> FloatArray:
    """D' = (z(H) - z(F)) / sqrt(2), which a preference for one side does not change, per participant.

    Parameters
    ----------
    hits, fake_first : array_like of int, shape (P,)
        Answers "the first is fake" among trials whose first image was fake, and the number of those trials.
    false_alarms, fake_second : array_like of int, shape (P,)
        Answers "the first is fake" among trials whose second image was fake, and the number of those trials.

    Returns
    -------
    ndarray of float64, shape (P,)
        Log-linear correction (Hautus 1995): 0.5 is added to each count and 1 to each number, so it is always
        finite.
    """
    from scipy.special import ndtri

    h = (np.asarray(hits, dtype=np.float64) + 0.5) / (np.asarray(fake_first, dtype=np.float64) + 1.0)
    f = (np.asarray(false_alarms, dtype=np.float64) + 0.5) / (np.asarray(fake_second, dtype=np.float64) + 1.0)
    if np.any((h <= 0) | (h >= 1) | (f <= 0) | (f >= 1)):
        raise InputError("Counts are impossible: 0 <= hits <= fake_first and 0 <= false_alarms <= fake_second.")
    return np.asarray((ndtri(h) - ndtri(f)) / math.sqrt(2))
