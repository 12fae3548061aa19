"""A run does each thing once: walks each folder, makes its metrics, hashes the names, reads each shard."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scoring_folders import finished, photo_set, quick_score  # noqa: F401 (fixtures)

from evalkit.metrics.ab_error import AbAuc
from evalkit.scoring import plan, statistics_store
from evalkit.scoring.score_comparison import compare_methods
from evalkit.scoring.scores import Scores

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
