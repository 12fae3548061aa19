"""One thread for torch: the tests of several workers share the machine, and results must not depend on it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)
