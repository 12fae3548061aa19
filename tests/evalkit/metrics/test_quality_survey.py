"""PCQI and UIQM against plain implementations; both come with a warning."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate, sobel

import evalkit
from evalkit.metrics.quality_survey import Pcqi, Uiqm, pcqi, uiqm


def plain_pcqi(truth, prediction):
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 4.5)
    window /= window.sum()

    def smooth(plane):
        return correlate(plane, window)[5:-5, 5:-5]

    x, y = (image @ [0.299, 0.587, 0.114] for image in (truth, prediction))
    mx, my = smooth(x), smooth(y)
    vx, vy = np.maximum(smooth(x * x) - mx**2, 0), np.maximum(smooth(y * y) - my**2, 0)
    c = smooth(x * y) - mx * my
    parts = (
        4 / np.pi * np.arctan((c + 3) / (vx + 3)),
        (c + 3) / (np.sqrt(vx) * np.sqrt(vy) + 3),
        np.exp(-abs(mx - my) / 256),
    )
    return np.prod(parts, axis=0).mean()


def plain_uiqm(image):
    r, g, b = (image[..., k].astype(float).ravel() for k in range(3))
    moments = []
    for opponent in (r - g, (r + g) / 2 - b):
        n = len(opponent)
        kept = sorted(opponent)[int(np.ceil(0.1 * n)) : n - int(np.floor(0.1 * n))]
        mean = sum(kept) / len(kept)
        moments.append((mean, ((opponent - mean) ** 2).mean()))
    colour = -0.0268 * np.sqrt(moments[0][0] ** 2 + moments[1][0] ** 2) + 0.1586 * np.sqrt(
        moments[0][1] + moments[1][1]
    )
    height, width = image.shape[0] // 10, image.shape[1] // 10
    sharpness = contrast = 0.0
    edges = []
    for k in range(3):
        channel = image[..., k].astype(float)
        magnitude = np.hypot(sobel(channel, 0), sobel(channel, 1))
        edges.append(magnitude * 255 / magnitude.max() * channel)
    for i in range(height):
        for j in range(width):
            place = slice(10 * i, 10 * i + 10), slice(10 * j, 10 * j + 10)
            for edge, weight in zip(edges, (0.299, 0.587, 0.114), strict=True):
                low, high = edge[place].min(), edge[place].max()
                if low > 0:
                    sharpness += weight * 2 / (height * width) * np.log(high / low)
            low, high = int(image[place].min()), int(image[place].max())
            if high > low:
                ratio = (high - low) / (high + low)
                contrast -= ratio * np.log(ratio) / (height * width)
    return 0.0282 * colour + 0.2953 * sharpness + 3.5753 * contrast


def test_pcqi_is_that_of_a_plain_implementation(photo_pairs):
    for truth, prediction in photo_pairs.values():
        assert pcqi(truth, prediction) == pytest.approx(plain_pcqi(truth, prediction), rel=1e-9)
        assert pcqi(truth, truth) == pytest.approx(1)


def test_uiqm_is_that_of_a_plain_implementation(photo_pairs):
    for _, prediction in photo_pairs.values():
        assert uiqm(prediction) == pytest.approx(plain_uiqm(prediction), rel=1e-9)


def test_pcqi_hardly_sees_colour(photo_pairs):
    truth, dull = photo_pairs["dull"]
    assert pcqi(truth, dull) > 0.9


def test_small_and_flat_images():
    assert np.isnan(pcqi(np.zeros((10, 40, 3), np.uint8), np.zeros((10, 40, 3), np.uint8)))
    assert np.isnan(uiqm(np.zeros((9, 40, 3), np.uint8)))
    assert np.isfinite(uiqm(np.full((20, 20, 3), 7, np.uint8)))
    assert uiqm(np.zeros((20, 20, 3), np.uint8)) == 0


def test_a_run_says_once_why_they_are_weak(tmp_path, photos):
    from PIL import Image

    (tmp_path / "truth").mkdir()
    Image.fromarray(np.ascontiguousarray(photos["coffee"][:64, :64])).save(tmp_path / "truth" / "a.png")
    scores = evalkit.score(tmp_path / "truth", {"gray": None, "truth": None}, metrics=("uiqm", "pcqi"), n_bootstrap=0)
    for metric in (Uiqm, Pcqi):
        assert sum(warning.startswith(metric.name) for warning in scores.warnings) == 1
    assert scores["truth", "pcqi"].value == pytest.approx(1)
