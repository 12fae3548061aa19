"""One thread for torch: the tests of several workers share the machine, and results must not depend on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_folders import write_crops


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, np.ndarray]) -> Path:
    """Twelve crops of real photos, 96 x 96."""
    return write_crops(tmp_path_factory.mktemp("photos") / "crops", photos)
