# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""The clip rate is known where evalkit made the colours, and unscored with its reason elsewhere."""

from __future__ import annotations

import numpy as np
from scoring_folders import photo_set, quick_score  # noqa: F401 (fixtures)


def test_it_pools_the_clipped_pixels_of_built_in_methods(photo_set, quick_score):
    scores = quick_score(
        photo_set, None, {"vivid": photo_set / "vivid", "random": None, "gray": None}, metrics=("clip_rate",)
    )
    rows = [row for row in scores.per_image.to_pylist() if row["method"] == "random"]
    wanted = sum(row["gamut_clipped"] for row in rows) / sum(row["n_pixels"] for row in rows)
    found = scores["random", "clip_rate"]
    assert found.value == wanted > 0
    assert found.ci_low < wanted < found.ci_high
    assert scores["gray", "clip_rate"].value == 0
    foreign = scores["vivid", "clip_rate"]
    assert np.isnan(foreign.value)
    assert "known only for colours that evalkit made" in foreign.reason
