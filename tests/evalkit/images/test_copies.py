"""Copies of remote images: shown, pruned, and read safely by runs that go on meanwhile."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import threading
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from evalkit.cli import main
from evalkit.errors import InputError
from evalkit.images import _archives
from evalkit.images.copies import cached_copies, prune_copies
from evalkit.images.image_files import decode
from evalkit.images.image_pairs import find_image_files
from evalkit.images.places import place_of
from evalkit.networks.output_cache import OutputCache
from tests.conftest import require

N_PHOTOS = 6


@pytest.fixture(autouse=True)
def no_caches_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    require(importlib.util.find_spec("fsspec") is not None, "fsspec is not installed (the extra `remote`)")
    monkeypatch.setenv("EVALKIT_CACHE", "off")
    monkeypatch.delenv("EVALKIT_IMAGE_CACHE", raising=False)


@pytest.fixture
def bucket():
    """Photos and an archive of them behind an address, in the memory that fsspec keeps for one process."""
    import fsspec

    memory = fsspec.filesystem("memory")
    draw = np.random.default_rng(0)
    with zipfile.ZipFile(memory.open("/kept/x.zip", "wb"), "w") as archive:
        for number in range(N_PHOTOS):
            with memory.open(f"/kept/photos/{number}.png", "wb") as file:
                Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "PNG")
            archive.writestr(f"{number}.png", memory.cat(f"/kept/photos/{number}.png"))
    yield memory
    memory.rm("/kept", recursive=True)


def read(cache: Path, address: str = "memory://kept/photos") -> list[str]:
    return [decode(file).sha256 for _, file in sorted(find_image_files(place_of(address, cache)).items())]


@pytest.fixture
def filled(bucket, tmp_path) -> Path:
    """Six copies, of no use for 0, 10, ... 50 days; and a file of others."""
    read(tmp_path / "copies")
    for number, path in enumerate(copies_in(tmp_path / "copies")):
        used = time.time() - 10 * number * 86400 - 3600
        os.utime(path, (used, used))
    (tmp_path / "copies" / "notes.txt").write_text("not ours")
    return tmp_path / "copies"


def copies_in(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and len(path.name) == 64)


class TestPruning:
    def test_by_age(self, filled):
        assert prune_copies(filled, older_than_days=25)[0] == 3
        assert cached_copies(filled).n_copies == 3

    def test_by_size_what_nobody_has_read_for_longest_goes_first(self, filled):
        youngest = copies_in(filled)[0]
        n_bytes = cached_copies(filled).n_bytes
        removed = prune_copies(filled, max_bytes=youngest.stat().st_size)
        assert removed == (5, n_bytes - youngest.stat().st_size)
        assert copies_in(filled) == [youngest]

    def test_everything_and_nothing_of_others(self, filled):
        for path in filled.rglob("*"):
            os.utime(path, (0, 0))  # locks too: no process holds them
        assert prune_copies(filled)[0] == N_PHOTOS
        # Folders stay: another process may be about to write a copy into one.
        assert [path.name for path in filled.rglob("*") if path.is_file()] == ["notes.txt"]
        assert cached_copies(filled).last_used == 0
        assert cached_copies(filled / "absent").n_copies == 0

    def test_what_killed_processes_left_goes_once_it_is_old(self, filled):
        folder = copies_in(filled)[0].parent
        (folder / ".0a0a.part").write_bytes(b"half")
        (folder / ".0b0b.part").write_bytes(b"half")
        os.utime(folder / ".0a0a.part", (0, 0))
        prune_copies(filled, older_than_days=1000)
        assert not (folder / ".0a0a.part").exists()
        assert (folder / ".0b0b.part").exists()

    def test_what_is_read_counts_as_used(self, bucket, filled):
        assert len(read(filled)) == N_PHOTOS
        assert prune_copies(filled, older_than_days=1) == (0, 0)


class TestReadWhilePruned:
    @pytest.mark.parametrize("address", ["memory://kept/photos", "zip://::memory://kept/x.zip"])
    def test_runs_read_on_while_everything_is_pruned_again_and_again(self, bucket, tmp_path, address):
        wanted = read(tmp_path / "calm")
        cache, is_over = tmp_path / "copies", threading.Event()

        def prune() -> None:
            while not is_over.is_set():
                prune_copies(cache)

        pruner = threading.Thread(target=prune)
        pruner.start()
        try:
            for _ in range(5):
                assert read(cache, address) == wanted
        finally:
            is_over.set()
            pruner.join()
        assert not [path for path in cache.rglob("*") if path.name.endswith(".part")]

    def test_a_copy_that_goes_just_before_it_is_opened_is_fetched_again(self, bucket, tmp_path, monkeypatch):
        wanted = read(tmp_path / "copies")
        genuine, gone = Path.open, []

        def open_late(self, *words, **named):
            if len(self.name) == 64:
                gone.append(self)
                self.unlink(missing_ok=True)
            return genuine(self, *words, **named)

        monkeypatch.setattr(Path, "open", open_late)
        assert read(tmp_path / "copies") == wanted
        assert len(set(gone)) == N_PHOTOS

    @pytest.mark.parametrize("is_damaged", [False, True])
    def test_a_copy_of_an_archive_is_closed_with_its_reader(self, bucket, tmp_path, is_damaged):
        if is_damaged:
            bucket.pipe("/kept/x.zip", b"no archive")
        _archives._opened_zip.cache_clear()
        gc.collect()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            if is_damaged:
                with pytest.raises(InputError, match="is damaged"):
                    read(tmp_path / "copies", "memory://kept/x.zip")
            else:
                assert len(read(tmp_path / "copies", "memory://kept/x.zip")) == N_PHOTOS
            _archives._opened_zip.cache_clear()
            gc.collect()
        assert [str(one.message) for one in told if one.category is ResourceWarning] == []

    def test_an_archive_that_is_open_is_read_to_its_end(self, bucket, tmp_path):
        files = sorted(find_image_files(place_of("zip://::memory://kept/x.zip", tmp_path / "copies")).items())
        first = decode(files[0][1]).sha256
        assert prune_copies(tmp_path / "copies")[0] == 1
        bucket.rm("/kept/x.zip")
        assert [decode(file).sha256 for _, file in files] == read(tmp_path / "other")
        assert first == decode(files[0][1]).sha256


@pytest.fixture
def outputs(tmp_path) -> Path:
    cache = OutputCache(tmp_path / "outputs", {"network": "a", "weights": "0" * 64}, ["fid"])
    cache.set_independent(True)
    cache.store("ab" * 32, np.zeros(100, np.float32))
    return tmp_path / "outputs"


def command(*words: object) -> str:
    result = CliRunner().invoke(main, ["cache", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


class TestCommand:
    def test_shows_both_caches_and_where_only_one_is_named_that_one(self, filled, outputs, monkeypatch):
        said = command("--cache", outputs, "--image-cache", filled)
        assert f"{outputs}: 1 entry, " in said
        assert f"{filled}: 6 copies, " in said
        assert "last used" in said.splitlines()[-1]
        assert str(outputs) not in command("--image-cache", filled)
        assert str(filled) not in command("--cache", outputs)
        monkeypatch.setenv("EVALKIT_IMAGE_CACHE", str(filled))
        assert f"{filled}: 6 copies, " in command()
        monkeypatch.setenv("EVALKIT_CACHE", str(outputs))
        assert command().count(": ") > command("--image-cache", filled).count(": ")

    def test_shows_both_as_json(self, filled, outputs):
        shown = json.loads(command("--cache", outputs, "--image-cache", filled, "--json"))
        assert (shown["folder"], shown["images"]["folder"]) == (str(outputs), str(filled))
        assert shown["images"]["copies"] == N_PHOTOS
        assert shown["images"]["bytes"] == sum(path.stat().st_size for path in copies_in(filled))
        assert json.loads(command("--image-cache", filled, "--json"))["folder"] is None
        assert json.loads(command("--cache", outputs, "--json"))["images"] is None

    def test_prunes_both_by_one_rule(self, filled, outputs):
        said = command("prune", "--cache", outputs, "--image-cache", filled, "--older-than", 25)
        assert "0 entries removed (0 B), 1 left" in said
        assert "3 copies removed" in said
        assert cached_copies(filled).n_copies == 3
        said = command("--cache", outputs, "--image-cache", filled, "prune", "--all")
        assert "1 entry removed" in said
        assert "3 copies removed" in said

    def test_prunes_the_one_that_is_named_alone(self, filled, outputs, monkeypatch):
        monkeypatch.setenv("EVALKIT_CACHE", str(outputs))
        monkeypatch.setenv("EVALKIT_IMAGE_CACHE", str(filled))
        assert "copies removed" in command("prune", "--image-cache", filled, "--max-size", "0")
        assert "1 entry" in command("--cache", outputs)
        assert "copies" not in command("prune", "--metric", "fid")

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            ((), "EVALKIT_CACHE is off: name the folder of a cache"),
            (("prune", "--all"), "EVALKIT_CACHE is off: name the folder of a cache"),
            (("--image-cache", __file__), "is a file; the cache of images is a folder"),
            (("prune", "--image-cache", "copies", "--metric", "fid"), "give one of the two"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, words, sentence):
        result = CliRunner().invoke(main, ["cache", *words])
        assert result.exit_code == 2
        assert sentence in " ".join(result.output.split())
