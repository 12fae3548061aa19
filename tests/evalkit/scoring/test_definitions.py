"""The number of the definitions rises with every change that moves a number: values on fixed pictures hold it.

After a deliberate change of a definition raise `evalkit.scoring.signature.DEFINITIONS`, add its line to
``docs/reference/signatures.md`` and write the new values: ``python -m tests.evalkit.scoring.test_definitions``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image

from evalkit.metrics import BUILT_IN
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.scoring.run import score
from evalkit.scoring.signature import DEFINITIONS, parse_signature

RECORDED = Path(__file__).with_name("definitions") / f"{DEFINITIONS}.json"
SIGNATURES = Path(__file__).parents[3] / "docs" / "reference" / "signatures.md"

WITHOUT_WEIGHTS = tuple(
    name for name in BUILT_IN if not name.startswith(("vgg16", "lpips", "fid", "kid", "diversity_l"))
)
"""Metrics that need no network: those of networks change with their weights, which the signature names."""


def write_pictures(root: Path) -> None:
    """Six pictures of smooth colours with grain, drawn by formula, and two samples of other colours for each."""
    y, x = np.mgrid[0:180, 0:200] / 100
    grain = np.random.default_rng(7).integers(-6, 7, (6, 180, 200, 1))
    for k in range(6):
        waves = np.stack([np.sin(3 * x + k), np.cos(2 * y * (1 + k / 5)), np.sin(x * y + 2 * k)], axis=-1)
        truth = np.clip(128 + 100 * waves + grain[k], 0, 255)
        gray = truth.mean(axis=2, keepdims=True)
        for sample, saturation in enumerate((0.7, 0.4)):
            pixels = np.rint(gray + saturation * (truth - gray)[..., [sample, 1, 2 - sample]])
            (root / "mine").mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / "mine" / f"p{k}_{sample}.png")
        (root / "truth").mkdir(exist_ok=True)
        Image.fromarray(np.rint(truth).astype(np.uint8)).save(root / "truth" / f"p{k}.png")


def computed() -> Iterator[tuple[str, float]]:
    """Every number under every definition that a run can ask for, by name."""
    conventions = {
        "default": {},
        "thresholds": {"options": AbErrorOptions(quadrature="thresholds")},
        "lambda": {"options": AbErrorOptions(rebalancing=0.5)},
        "warp": {"size": 96, "metrics": ("ab_auc", "psnr_rgb")},
        "crop": {"size": 96, "fit": "crop", "metrics": ("ab_auc", "psnr_rgb")},
    }
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_pictures(root)
        methods = {"mine": root / "mine", "gray": None, "random": None}
        for name, options in conventions.items():
            asked = {"metrics": WITHOUT_WEIGHTS, "n_bootstrap": 0, **options}
            scores = score(root / "truth", methods, **asked)
            for row in (*scores.summary, *scores.samples):
                fields = parse_signature(row.signature)
                own = "|".join(f"{key}:{fields[key]}" for key in fields if key not in ("def", "v"))
                yield f"{name} {row.method} {own}", row.value


def test_no_number_moves_while_the_number_of_the_definitions_stays() -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    now = dict(computed())
    assert now.keys() == recorded.keys()
    then = {name: math.nan if value is None else value for name, value in recorded.items()}
    moved = {
        name: (then[name], value)
        for name, value in now.items()
        if value != pytest.approx(then[name], rel=1e-9, nan_ok=True)
    }
    assert not moved, "see the docstring of this module"


def test_every_number_of_the_definitions_is_explained_and_its_values_are_kept() -> None:
    table = SIGNATURES.read_text(encoding="utf-8").rpartition("| `def` | what changed |")[2]
    numbers = [int(line.split("|")[1]) for line in table.splitlines() if line.startswith("| ")]
    assert numbers == list(range(1, DEFINITIONS + 1))
    kept = sorted(int(path.stem) for path in RECORDED.parent.glob("*.json"))
    assert kept == numbers


if __name__ == "__main__":
    if RECORDED.exists():
        raise SystemExit(f"{RECORDED}: exists; raise DEFINITIONS first")
    values = {name: None if math.isnan(value) else value for name, value in computed()}
    RECORDED.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
