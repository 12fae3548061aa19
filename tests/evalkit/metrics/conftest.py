"""What the tests of the metrics share: pairs of photos, and the way from a metric to the score of a set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from evalkit.arrays import FloatArray, Rgb8
from evalkit.metrics.base import ImageStatistics, Metric
from evalkit.metrics.photo import Photo

Pair = tuple[Rgb8, Rgb8]
ScoreOf = Callable[[Metric, Sequence[Pair]], float]


def desaturated(photo: Rgb8, saturation: float) -> Rgb8:
    """Mix a photo with its own gray: a colorization that is too dull."""
    gray = photo.mean(axis=2, keepdims=True)
    return np.rint(saturation * photo + (1 - saturation) * gray).astype(np.uint8)


def statistics_of(metric: Metric, pairs: Sequence[Pair]) -> ImageStatistics:
    """What a scoring run would store."""
    rows = [metric.measure(Photo(truth), Photo(prediction)) for truth, prediction in pairs]
    columns = {
        name: np.array([row[i] for row in rows], dtype=dtype) for i, (name, dtype) in enumerate(metric.columns.items())
    }
    n_pixels = np.array([truth.shape[0] * truth.shape[1] for truth, _ in pairs], dtype=np.int64)
    names = tuple(f"{i:04d}" for i in range(len(pairs)))
    return ImageStatistics(images=names, n_pixels=n_pixels, columns=columns)


@pytest.fixture(scope="session")
def statistics_for() -> Callable[[Metric, Sequence[Pair]], ImageStatistics]:
    return statistics_of


@pytest.fixture(scope="session")
def set_score() -> ScoreOf:
    """Score of a set of pairs, as the scoring run makes it: measure, terms, sum, score."""

    def score(metric: Metric, pairs: Sequence[Pair]) -> float:
        value: FloatArray = metric.score(metric.terms(statistics_of(metric, pairs)).sum(axis=0))
        return float(value)

    return score


@pytest.fixture(scope="session")
def photo_pairs(photos: dict[str, np.ndarray]) -> dict[str, Pair]:
    """Real photos of odd sizes, above and below 256 pixels a side, and predictions of several kinds."""
    astronaut, chelsea = photos["astronaut"][:201, 100:357], photos["chelsea"][20:, :333]
    coffee, rocket = photos["coffee"][:256, :256], photos["rocket"][:190, :260]
    return {
        "dull": (astronaut, desaturated(astronaut, 0.5)),
        "gray": (chelsea, desaturated(chelsea, 0.0)),
        "swapped channels": (coffee, np.ascontiguousarray(coffee[..., ::-1])),
        "noisy": (
            rocket,
            np.clip(rocket + np.random.default_rng(0).normal(0, 25, rocket.shape), 0, 255).astype(np.uint8),
        ),
    }
