"""CDC: SciPy's divergence, frames in their order, videos apart."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import jensenshannon

import evalkit
from evalkit.metrics.video import color_distribution_consistency, jensen_shannon


def test_the_divergence_is_that_of_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 20)), rng.random((2, 20))
    p[0, :5], q[0, 3:9] = 0, 0
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    np.testing.assert_allclose(jensen_shannon(p, q), [jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)])


def plain_cdc(frames):
    histograms = [[np.histogram(f[..., c], 256, (0, 256), density=True)[0] for c in range(3)] for f in frames]
    gaps = [
        np.mean(
            [
                jensenshannon(histograms[k][c], histograms[k + gap][c]) ** 2
                for k in range(len(frames) - gap)
                for c in range(3)
            ]
        )
        for gap in (1, 2, 4)
    ]
    return np.mean(gaps)


@pytest.fixture
def videos(tmp_path, photos):
    """Two videos of panning crops, one of 12 frames without leading zeros; the method flickers."""
    rng = np.random.default_rng(0)
    frames = {}
    for video, n in (("pan", 12), ("short", 6)):
        for k in range(n):
            crop = np.ascontiguousarray(
                photos["coffee" if video == "pan" else "astronaut"][100:148, 8 * k : 8 * k + 48]
            )
            flicker = np.clip(crop * rng.uniform(0.6, 1.4, 3), 0, 255).astype(np.uint8)
            for side, pixels in (("truth", crop), ("mine", flicker)):
                folder = tmp_path / side / video
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"frame{k}.png")
                frames.setdefault((side, video), []).append(pixels)
    return tmp_path, frames


def test_a_run_gives_the_mean_over_videos_in_the_order_of_frames(videos):
    root, frames = videos
    scores = evalkit.score(root / "truth", {"mine": root / "mine"}, metrics=("cdc", "psnr_rgb"), n_bootstrap=100)
    for side in ("truth", "mine"):
        wanted = np.mean([plain_cdc(frames[side, video]) for video in ("pan", "short")])
        assert scores[side, "cdc"].value == pytest.approx(wanted, rel=1e-5)
    assert scores["mine", "cdc"].value > 2 * scores["truth", "cdc"].value
    assert np.isnan(scores["mine", "cdc"].ci_low)
    assert "|agg:video|gaps:1-2-4|" in scores["mine", "cdc"].signature


def test_still_pictures_do_not_flicker_and_four_frames_are_too_few():
    histogram = np.random.default_rng(0).integers(1, 9, (1, 3, 256))
    assert color_distribution_consistency(np.repeat(histogram, 6, axis=0)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(color_distribution_consistency(np.repeat(histogram, 4, axis=0)))
