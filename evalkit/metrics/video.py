"""CDC: how much the colours of a video flicker.

Y. Liu et al., "Temporally Consistent Video Colorization with Deep Feature Propagation and Self-Regularization Learning",
Computational Visual Media 2024 (TCVC), section 4.2: colour distribution consistency.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.metrics.base import ImageStatistics, SetMetric, SetScore
from evalkit.metrics.blocks import BlockMeter, BlockMetric, RunInputs
from evalkit.metrics.photo import Photo
from evalkit.networks.options import Setup

__all__ = ["Cdc", "color_distribution_consistency", "jensen_shannon"]

GAPS = (1, 2, 4)
N_BINS = 256


def jensen_shannon(p: npt.ArrayLike, q: npt.ArrayLike) -> FloatArray:
    """Jensen-Shannon divergence of distributions along the last axis, natural logarithm: 0 to log 2.

    Examples
    --------
    >>> float(jensen_shannon([1.0, 0.0], [0.0, 1.0]) / np.log(2))
    1.0
    """
    one, other = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    middle = (one + other) / 2

    def relative(a: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(a > 0, a * np.log(a / middle), 0.0).sum(axis=-1))

    return np.asarray((relative(one) + relative(other)) / 2)


def color_distribution_consistency(histograms: npt.ArrayLike) -> float:
    """CDC of the frames of one video.

    Parameters
    ----------
    histograms : array_like, shape (n_frames, 3, 256)
        Histogram of each channel of each frame, in order.

    Returns
    -------
    float
        Mean over the gaps of 1, 2 and 4 frames of the mean divergence of frames so far apart, over channels; NaN below
        five frames.
    """
    counts = np.asarray(histograms, dtype=np.float64)
    if len(counts) <= max(GAPS):
        return float("nan")
    shares = counts / counts.sum(axis=-1, keepdims=True)
    return float(np.mean([jensen_shannon(shares[:-gap], shares[gap:]).mean() for gap in GAPS]))


class _HistogramMeter(BlockMeter):
    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Mapping[str, Any]] = []

    def add(self, image: str, method: str, truth: Photo, prediction: Photo) -> None:
        """Count the values of each channel."""
        channels = prediction.rgb8.reshape(-1, 3).T
        counts = np.concatenate([np.bincount(channel, minlength=N_BINS) for channel in channels])
        self._rows.append({"color_histogram": counts.astype(np.float32)})

    def finish(self) -> Sequence[Mapping[str, Any]]:
        """Histograms of every frame."""
        rows, self._rows = self._rows, []
        return rows


class Cdc(BlockMetric, SetMetric):
    """Mean over videos (folders) of the colour distribution consistency of their frames, in the order of their names."""

    name = "cdc"
    title = "CDC"
    better = "lower"
    decimals = 5
    summary = (
        "colour distribution consistency of the frames of each folder at gaps of 1, 2 and 4 (Liu 2024); no interval"
    )

    @property
    def vectors(self) -> Mapping[str, int]:
        """Histograms of R, G and B, 256 bins each."""
        return {"color_histogram": 3 * N_BINS}

    @property
    def meter_key(self) -> str:
        """A meter of its own."""
        return self.name

    def set_up(self, run: RunInputs) -> Setup:
        """It has no options."""
        return Setup()

    def open_meter(self, run: RunInputs) -> BlockMeter:
        """Count colours."""
        return _HistogramMeter()

    @property
    def own_fields(self) -> Mapping[str, str]:
        """A function of whole videos; gaps."""
        return {"agg": "video", "gaps": "-".join(map(str, GAPS))}

    def set_score(self, statistics: ImageStatistics) -> SetScore:
        """Mean over the videos that have more than four frames."""
        videos: dict[str, list[int]] = {}
        for row, image in enumerate(statistics.images):
            videos.setdefault(PurePosixPath(image).parent.as_posix(), []).append(row)
        histograms = statistics.vectors["color_histogram"].reshape(-1, 3, N_BINS)
        values = []
        for rows in videos.values():
            ordered = sorted(rows, key=lambda row: _natural(statistics.images[row]))
            value = color_distribution_consistency(histograms[ordered])
            if not np.isnan(value):
                values.append(value)
        return SetScore(float(np.mean(values)) if values else float("nan"), None)


def _natural(name: str) -> list[tuple[int, str]]:
    """Order in which frame 10 follows frame 9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
