"""Real pairs for the tests of evalkit; and, being here, what lets them import the shared module `reference`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def comparison(shared_data: Path) -> Path:
    """Folder of 100 true photos (``gt``) and the published outputs of four methods, 224 x 224 JPEG."""
    return shared_data / "outputs" / "imagenet_comparison"


@pytest.fixture(scope="session")
def published_pairs(comparison: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """100 true photos with the colorizations of Zhang et al. 2016 (full method)."""
    from PIL import Image

    def read(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))

    truths = sorted((comparison / "gt").glob("*.jpg"))
    return [(read(path), read(comparison / "ours" / path.name)) for path in truths]
