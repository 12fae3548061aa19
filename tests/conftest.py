"""What every test may use: the shared data where present, photos that ship with scikit-image."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# A test run never depends on luck: property tests try the same examples every time. `HYPOTHESIS_PROFILE=search` tries
# other ones on every run, and many more of them. A first example may compile kernels and machines are shared, so how
# long an example takes says nothing.
settings.register_profile("evalkit", derandomize=True, deadline=None, database=None)
settings.register_profile("search", derandomize=False, deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "evalkit"))

# No test reads or fills the cache of whoever runs it; tests of the cache name a folder of their own.
os.environ["EVALKIT_CACHE"] = "off"

REQUIRE_ALL = os.environ.get("EVALKIT_REQUIRE_ALL") == "1"


def require(available: bool, reason: str) -> None:
    """Skip in plain words, or fail where everything is required (CI)."""
    if available:
        return
    if REQUIRE_ALL:
        pytest.fail(f"EVALKIT_REQUIRE_ALL=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos, outputs of published colorizers and human data."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EVALKIT_SHARED_DATA", default))
    require(folder.is_dir(), f"the shared data folder is absent ({folder}); name it with EVALKIT_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def photos() -> dict[str, np.ndarray]:
    """Colour photos that ship with scikit-image and scikit-learn, uint8 RGB, full size, by name."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    found = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    china, flower = load_sample_images().images
    return {**found, "china": np.ascontiguousarray(china), "flower": np.ascontiguousarray(flower)}
