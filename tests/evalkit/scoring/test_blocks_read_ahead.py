# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""Images of a run are read in a thread beside the network: the same bits, and errors in their place."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from pathlib import Path

import pytest
from scoring_folders import files_of, folders  # noqa: F401 (fixture)

import evalkit
from evalkit.errors import InputError
from evalkit.images.image_files import decode
from evalkit.metrics.classification import ClassifierMeter
from evalkit.networks.options import NetworkOptions
from evalkit.scoring import blocks
from tests.conftest import require

LONG = 120.0
"""Seconds after which a test gives up waiting for what must come."""


@pytest.fixture
def run(folders):
    """A run under a small classifier, on the CPU and in this process."""
    for package in ("torch", "torchvision"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")

    def score(root: Path = folders, out: Path | None = None, **options) -> evalkit.Scores:
        networks = NetworkOptions(
            labels=str(root / "labels.csv"),
            classifiers={"tiny": "tests.evalkit.classifiers_for_tests:tiny"},
            device="cpu",
            cache=None,
        )
        methods = {"mine": root / "mine", "random": None}
        metrics = ["tiny_top1", "ab_auc"]
        return evalkit.score(
            root / "truth", methods, out=out, metrics=metrics, networks=networks, n_bootstrap=0, **options
        )

    return score


def test_the_next_block_is_read_while_the_network_has_this_one(run, monkeypatch):
    """The network waits until an image of the block after its own was decoded: alone it would wait for ever."""
    genuine, decoded, waited = ClassifierMeter.finish, [], []
    changed = threading.Condition()

    def read(path, options):
        with changed:
            decoded.append((path, threading.current_thread().name))
            changed.notify_all()
        return decode(path, options)

    def finish(self):
        waited.append(len(waited))
        if len(waited) < 3:
            with changed:
                coming = f"{32 * len(waited)}.png"
                waited[-1] = changed.wait_for(lambda: any(path.name == coming for path, _ in decoded), LONG)
        return genuine(self)

    monkeypatch.setattr(blocks, "decode", read)
    monkeypatch.setattr(ClassifierMeter, "finish", finish)
    run()
    assert waited == [True, True, 2]
    assert {thread for _, thread in decoded} == {"read ahead"}


def test_the_same_bits_with_and_without_the_thread(run, tmp_path, monkeypatch):
    class AtOnce:
        def __init__(self, items, size_of, room):
            self.items = items

        def __enter__(self):
            return self.items

        def __exit__(self, *error):
            pass

    run(out=tmp_path / "ahead")
    monkeypatch.setattr(blocks, "PIXELS_AHEAD", 1)
    run(out=tmp_path / "no room")
    monkeypatch.setattr(blocks, "ReadAhead", AtOnce)
    run(out=tmp_path / "alone")
    monkeypatch.undo()
    run(out=tmp_path / "threads", executor="threads:2")

    def numbers(name: str) -> dict[str, bytes]:
        return {path: data for path, data in files_of(tmp_path / name).items() if path != "run.json"}

    assert numbers("ahead") == numbers("no room") == numbers("alone") == numbers("threads")


def test_a_damaged_image_is_told_after_all_blocks_before_it(run, folders, tmp_path):
    broken = shutil.copytree(folders, tmp_path / "broken")
    path = broken / "mine" / "40.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(InputError, match=r"40\.png: is a truncated or corrupt PNG file"):
        run(broken, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out" / ".unfinished").glob("*.parquet")} == {"part-00000.parquet"}
    path.write_bytes(whole)
    assert run(broken, tmp_path / "out", resume=True).summary_csv() == run(broken).summary_csv()


def test_a_failure_of_the_reading_is_a_sentence(run, tmp_path, monkeypatch):
    def read(path, options):
        if path.name == "33.png":
            raise MemoryError("no room")
        return decode(path, options)

    monkeypatch.setattr(blocks, "decode", read)
    with pytest.raises(InputError, match=r"reading images failed with MemoryError \(no room\); .* --resume goes on"):
        run(out=tmp_path / "out")
    monkeypatch.undo()
    assert run(out=tmp_path / "out", resume=True).summary_csv() == run().summary_csv()
