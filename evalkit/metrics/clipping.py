"""How much of a colorization was lost to the sRGB gamut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.metrics.base import ImageStatistics, SumMetric, share_of_sums

__all__ = ["ClipRate"]


class ClipRate(SumMetric):
    """Share of pixels whose colour lay outside the sRGB gamut and was clipped, pooled over the set.

    It is known only where evalkit made the colours itself (built-in methods): a file shows no more than that a channel
    is at 0 or 255, which `newly_clipped` in the per-image table counts.
    """

    name = "clip_rate"
    title = "clipped"
    better = "lower"
    percent = True
    scale = "logit"
    summary = "share of pixels clipped into the sRGB gamut; known for built-in methods alone"
    reads = ("gamut_clipped",)
    unscored_because = "known only for colours that evalkit made; see newly_clipped in the per-image table"

    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """Clipped pixels and pixels of the images where they are known, shape (n, 2)."""
        clipped = statistics.columns["gamut_clipped"].astype(np.float64)
        is_known = np.isfinite(clipped)
        return np.column_stack([np.where(is_known, clipped, 0), np.where(is_known, statistics.n_pixels, 0)])

    def score(self, sums: npt.NDArray[Any]) -> FloatArray:
        """Share of pixels."""
        return share_of_sums(sums)

    @property
    def fields(self) -> Mapping[str, str]:
        """Pixels pooled."""
        return {"agg": "pixel"}
