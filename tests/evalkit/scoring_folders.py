"""What the tests of the scoring run share: folders of small crops of real photos, and a quick run over them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evalkit.scoring.run import score
from evalkit.scoring.scores import Scores


def killed(index: int) -> None:
    """In the place of what measures a block: the worker is killed, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


N_IMAGES = 70
"""Three blocks: two of 32 and one of 6."""

QUICK_METRICS = ("ab_auc", "ab_auc_rebal", "psnr_rgb")


def write_photo_set(root: Path, photos: Mapping[str, np.ndarray], names: list[str]) -> None:
    """Crops of 64 x 64 as ``truth``, and two desaturated versions as the methods ``vivid`` and ``dull``."""
    crops = np.random.default_rng(0)
    originals = list(photos.values())
    for folder in ("truth", "vivid", "dull"):
        (root / folder).mkdir(parents=True)
    contents = {}
    for i in range(N_IMAGES):
        photo = originals[i % len(originals)]
        y, x = crops.integers(photo.shape[0] - 64), crops.integers(photo.shape[1] - 64)
        contents[f"i{i:02d}"] = photo[y : y + 64, x : x + 64]
    for name in names:
        truth = contents[name]
        gray = truth.mean(axis=2, keepdims=True)
        for folder, saturation in (("truth", 1.0), ("vivid", 0.6), ("dull", 0.2)):
            pixels = np.rint(gray + saturation * (truth - gray)).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{name}.png")


@pytest.fixture(scope="session")
def photo_set(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, np.ndarray]) -> Path:
    """Folder with ``truth``, ``vivid`` and ``dull``; read only."""
    root = tmp_path_factory.mktemp("photo-set")
    write_photo_set(root, photos, [f"i{i:02d}" for i in range(N_IMAGES)])
    return root


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``truth`` and ``mine``, noise of 24 x 24, and ``labels.csv`` of the truth; read only."""
    folder = tmp_path_factory.mktemp("folders")
    rng = np.random.default_rng(3)
    for side in ("truth", "mine"):
        (folder / side).mkdir()
        for k in range(N_IMAGES):
            pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / side / f"{k:02d}.png")
    (folder / "labels.csv").write_text(
        "file,class_index\n" + "".join(f"{k:02d}.png,{k * 7 % 10}\n" for k in range(N_IMAGES))
    )
    return folder


QuickScore = Callable[..., Scores]


@pytest.fixture(scope="session")
def quick_score() -> QuickScore:
    """`evalkit.score` with few metrics and replicates."""

    def run(root: Path, out: Path | None, methods: Mapping[str, Any] | None = None, **options: Any) -> Scores:
        if methods is None:
            methods = {"vivid": root / "vivid", "dull": root / "dull", "gray": None}
        return score(root / "truth", methods, out=out, **{"metrics": QUICK_METRICS, "n_bootstrap": 200, **options})

    return run


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte for byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """`files_of`."""
    return files_of


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, photo_set: Path, quick_score: QuickScore) -> tuple[Path, Scores]:
    """A finished run of ``vivid``, ``dull`` and ``gray``; read only."""
    out = tmp_path_factory.mktemp("finished") / "out"
    return out, quick_score(photo_set, out)


@pytest.fixture
def photo_copy(tmp_path: Path, photo_set: Path) -> Path:
    """A copy of `photo_set` to change."""
    import shutil

    return shutil.copytree(photo_set, tmp_path / "copy")
