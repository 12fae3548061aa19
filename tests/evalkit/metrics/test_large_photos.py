"""Scans of many megapixels are counted part by part: the same counts, in little more than their own pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from evalkit.color import _ab_kernel
from evalkit.color.ab_classes import preset
from evalkit.metrics import ab_counts
from evalkit.metrics.ab_counts import PairCounter
from evalkit.metrics.photo import Photo


def test_a_large_photo_has_the_counts_of_a_small_one(
    monkeypatch: pytest.MonkeyPatch, photos: dict[str, np.ndarray]
) -> None:
    truth, first, second = (Photo(photos["coffee"][:97, k : k + 103]) for k in (0, 40, 80))
    kept = PairCounter(preset("zhang2016"))
    expected = [kept.count(truth, prediction) for prediction in (first, second)]
    monkeypatch.setattr(ab_counts, "KEPT_PIXELS", 100)
    for n_pixels in (_ab_kernel.MAX_PIXELS, 1000):
        monkeypatch.setattr(_ab_kernel, "MAX_PIXELS", n_pixels)
        counter = PairCounter(preset("zhang2016"))
        for prediction, counts in zip((first, second), expected, strict=True):
            found = counter.count(truth, prediction)
            for name in (
                "class_id", "class_count", "error_sum", "bin_key", "bin_count", "newly_clipped", "lightness_change"
            ):  # fmt: skip
                np.testing.assert_array_equal(getattr(found, name), getattr(counts, name))
            assert counter.largest_chroma(truth) == kept.largest_chroma(truth)


def test_counting_40_megapixels_takes_less_than_their_own_pixels() -> None:
    code = """
import resource
import numpy as np
from evalkit.color.ab_classes import preset
from evalkit.metrics.ab_counts import PairCounter
from evalkit.metrics.photo import Photo
from evalkit.metrics.prior_counts import class_counts

small = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
counter = PairCounter(preset("zhang2016"))
counter.count(Photo(small), Photo(small[::-1].copy()))
pixels = np.tile(small, (400, 1000, 1))  # 4,000 x 10,000
other = pixels[::-1].copy()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
counter.count(Photo(pixels), Photo(other))
class_counts(counter, pixels)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / pixels.nbytes)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert float(ran.stdout) < 0.5
