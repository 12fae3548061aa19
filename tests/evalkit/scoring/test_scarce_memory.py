"""An image that takes more memory than there is ends the run in a sentence that names it; `--resume` goes on."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evalkit
from evalkit.errors import InputError
from evalkit.images import image_files
from evalkit.metrics.ab_counts import PairCounter
from tests.conftest import require

HERE = Path(__file__).parent
SIDE = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image and one of 9 megapixels."""
    root = tmp_path_factory.mktemp("sizes")
    for name, level in (("truth", 90), ("mine", 120)):
        (root / name).mkdir()
        for image, side in (("a-small", 64), ("b-large", SIDE)):
            pixels = np.full((side, side, 3), level, np.uint8)
            pixels[0, 0] = 255 - level
            Image.fromarray(pixels).save(root / name / f"{image}.png", compress_level=1)
    return root


@pytest.mark.parametrize(
    ("metric", "megabytes", "cause"), [("lpips_alex", 200, "RuntimeError"), ("ciede2000", 50, "MemoryError")]
)
def test_memory_that_runs_out_is_told_with_the_image_and_what_helps(
    folder: Path, tmp_path: Path, metric: str, megabytes: int, cause: str
) -> None:
    weights = tmp_path / "alexnet.pth"
    if metric == "lpips_alex":
        for package in ("torch", "torchvision", "lpips"):
            require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
        import torch

        from evalkit.networks._torchvision_compat import import_torchvision

        torch.save(import_torchvision().models.get_model("alexnet", weights=None).state_dict(), weights)
    command = [sys.executable, HERE / "scarce_memory.py", folder, tmp_path / "out", metric, weights, megabytes]
    result = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    raised_from, told = result.stdout.splitlines()
    assert cause in raised_from
    assert told.startswith(
        "the device ran out of memory at b-large, method mine (3000 x 3000 pixels): fewer --workers, or smaller images by "
        "--size may help; what is finished is kept: the same command with --resume goes on"
    )
    assert not (tmp_path / "out" / "run.json").exists()


def no_memory(*_: object, **__: object) -> object:
    raise MemoryError("Unable to allocate 300. MiB")


def test_of_arrays_the_pair_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PairCounter, "count", no_memory)
    accumulator = evalkit.Accumulator("ab_auc")
    pairs = np.zeros((2, 8, 12, 3), np.uint8)
    with pytest.raises(
        InputError, match=r"ran out of memory at pair 0 \(12 x 8 pixels\): smaller images or another device"
    ):
        accumulator.update(pairs, pairs)


def test_a_file_that_takes_too_much_to_decode_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_to_srgb", no_memory)
    path = folder / "mine" / "a-small.png"
    with pytest.raises(InputError, match=r"a-small\.png: takes more memory to decode than there is\.$"):
        image_files.decode(path)
