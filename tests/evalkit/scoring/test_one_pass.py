"""A run does each thing once: walks each folder, makes its metrics, hashes the names, reads each shard."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scoring_folders import finished, photo_set, quick_score  # noqa: F401 (fixtures)

import evalkit
from evalkit.metrics.ab_error import AbAuc
from evalkit.networks.options import NetworkOptions
from evalkit.scoring import blocks, plan, statistics_store
from evalkit.scoring.score_comparison import compare_methods
from evalkit.scoring.scores import Scores
from tests.conftest import require
from tests.evalkit import pretrained

N_SHARDS = 3
"""70 images (`photo_set`)."""


def counted_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, key: Callable[..., str]) -> Counter[str]:
    """Count the calls of a function, by what `key` makes of their arguments."""
    genuine, calls = getattr(owner, name), Counter[str]()

    def count(*args: Any, **kwargs: Any) -> Any:
        calls[key(*args, **kwargs)] += 1
        return genuine(*args, **kwargs)

    monkeypatch.setattr(owner, name, count)
    return calls


def test_a_run_does_everything_once(
    monkeypatch: pytest.MonkeyPatch, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    genuine = os.walk
    walks = Counter[str]()

    def walk(top: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        walks[Path(top).name] += 1
        return genuine(top, *args, **kwargs)

    monkeypatch.setattr("evalkit.images.image_pairs.os.walk", walk)
    made = counted_calls(monkeypatch, AbAuc, "__init__", lambda *_: "ab_auc")
    fingerprints = counted_calls(monkeypatch, plan, "decoder_versions", lambda: "fingerprint")
    reads = counted_calls(monkeypatch, statistics_store, "pieces_of_shard", lambda path, *_, **__: path.name)
    quick_score(photo_set, None, {"vivid": photo_set / "vivid", "dull": photo_set / "dull", "gray": None})
    assert walks == {"truth": 1, "vivid": 1, "dull": 1}
    assert made == {"ab_auc": 1}
    assert fingerprints == {"fingerprint": 1}
    assert reads == {statistics_store.shard_name(k): 1 for k in range(N_SHARDS)}


def test_reading_results_reads_each_shard_once_for_all_methods(
    monkeypatch: pytest.MonkeyPatch, finished: tuple[Path, Scores]
) -> None:
    reads = counted_calls(monkeypatch, statistics_store, "pieces_of_shard", lambda path, *_, **__: path.name)
    Scores.read(finished[0])
    assert set(reads.values()) == {1}
    assert len(reads) == N_SHARDS


def test_comparing_reads_each_shard_once(monkeypatch: pytest.MonkeyPatch, finished: tuple[Path, Scores]) -> None:
    reads = counted_calls(monkeypatch, statistics_store, "pieces_of_shard", lambda path, *_, **__: path.name)
    compare_methods(finished[0], "gray", n_bootstrap=0)
    assert reads == {statistics_store.shard_name(k): 1 for k in range(N_SHARDS)}


def test_metrics_share_the_decoded_image_its_upload_and_its_pixels(
    monkeypatch: pytest.MonkeyPatch, photos: dict[str, np.ndarray], shared_data: Path, tmp_path: Path
) -> None:
    """Two LPIPS start from one upload of an image, two classifiers (of four metrics) from one smaller version of it."""
    for package in ("torch", "torchvision", "lpips"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    from evalkit.networks import devices
    from evalkit.networks.classifiers import Preprocessing

    names = ("astronaut", "chelsea", "coffee")
    for side, factor in (("truth", 1.0), ("mine", 0.5)):
        (tmp_path / side).mkdir()
        for name in names:
            pixels = np.rint(factor * photos[name][100:148, 100:148]).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / f"{name}.png")
    (tmp_path / "labels.csv").write_text("file,class_index\n" + "".join(f"{name}.png,1\n" for name in names))
    own = "tests.evalkit.classifiers_for_tests"
    networks = NetworkOptions(
        labels=str(tmp_path / "labels.csv"),
        weights={network: pretrained.lpips_trunk(network, shared_data) for network in ("alexnet", "vgg16")},
        classifiers={"one": f"{own}:tiny", "two": f"{own}:other_tiny"},
        preprocessing={"two": "warp32-half"},
        device="cpu",
        cache=None,
    )
    decoded = counted_calls(
        monkeypatch, blocks, "decode", lambda path, *_: f"{Path(path).parent.name}/{Path(path).stem}"
    )
    uploads = counted_calls(monkeypatch, devices, "uploaded", lambda array, _: f"{array.shape} {digest(array)}")
    made_smaller = counted_calls(monkeypatch, Preprocessing, "pixels", lambda _, rgb8: digest(rgb8))
    metrics = ("lpips_alex", "lpips_vgg", "one_top1", "one_top5", "two_top1", "two_top5")
    folders = tmp_path / "truth", {"mine": tmp_path / "mine"}
    scores = evalkit.score(*folders, metrics=metrics, networks=networks, n_bootstrap=0)
    assert not any(np.isnan(scores["mine", name].value) for name in metrics)
    assert decoded == {f"{side}/{name}": 1 for side in ("truth", "mine") for name in names}
    assert len(uploads) == len(made_smaller) == 2 * len(names)
    assert set(uploads.values()) == set(made_smaller.values()) == {1}


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]
