# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""Network outputs of true photos are computed once, and never change a number."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scoring_folders import N_IMAGES, files_of, photo_set  # noqa: F401 (fixture)

import evalkit
from evalkit.cli import main
from evalkit.errors import InputError
from evalkit.networks import output_cache
from evalkit.networks.options import NetworkOptions
from evalkit.networks.output_cache import (
    OutputCache,
    cached_networks,
    chosen_cache_folder,
    parse_size,
    prune,
    size_limit,
)
from tests.conftest import require

DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def torch():
    require(importlib.util.find_spec("torch") is not None, "torch is not installed (the extra `networks`)")
    import torch

    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    path.write_text("file,class_index\n" + "".join(f"i{i:02d},{i % 10}\n" for i in range(N_IMAGES)), encoding="utf-8")
    return path


@pytest.fixture
def run(photo_set, labels, tmp_path):
    """A quick run of one method under a small classifier; the folder of the cache is ``tmp_path / "cache"``."""

    def score(
        out=None, *, root=photo_set, method="vivid", classifier="tiny", cache=tmp_path / "cache", said=None, **changed
    ):
        networks = NetworkOptions(
            labels=str(labels),
            classifiers={"net": f"tests.evalkit.classifiers_for_tests:{classifier}"},
            device="cpu",
            cache=cache,
            **{key: changed.pop(key) for key in ("precision", "batch_size", "preprocessing") if key in changed},
        )
        return evalkit.score(
            root / "truth", {method: root / method}, out=out, metrics=("net_top1",), n_bootstrap=0, networks=networks,
            notify=[].append if said is None else said.append, **changed,
        )  # fmt: skip

    return score


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file() and len(path.name) == len(DIGEST))


def results(out: Path) -> dict[str, bytes]:
    """Every file of a run but for what the record says of the cache, of times and of folders."""
    files = files_of(out)
    record = json.loads(files.pop("run.json"))
    return {**files, "record": json.dumps({k: v for k, v in record.items() if k not in ("cache", "created")}).encode()}


class TestRuns:
    def test_ten_checkpoints_cost_one_pass_over_the_truth(self, run, monkeypatch):
        from evalkit.networks.devices import BatchRunner

        passed = []
        plain = BatchRunner.__call__
        monkeypatch.setattr(
            BatchRunner, "__call__", lambda self, items, *names: passed.append(len(items)) or plain(self, items, *names)
        )
        first = run(method="vivid")
        known = 2 + 8  # the images that recognise the code of a classifier of one's own, and one batch among others
        assert sum(passed) == 2 * N_IMAGES + known
        passed.clear()
        said: list[str] = []
        second = run(method="dull", said=said)
        assert sum(passed) == N_IMAGES + 2
        assert first.record.cache["stored"] == second.record.cache["read"] == N_IMAGES
        assert first.record.cache["read"] == second.record.cache["stored"] == 0
        assert said[-1].endswith(f"network outputs of true photos, {N_IMAGES} read and 0 stored.")

    def test_a_full_a_half_filled_and_no_cache_give_the_same_bits(self, run, tmp_path):
        run(tmp_path / "without", cache=None)
        run(tmp_path / "empty")
        for path in entries(tmp_path / "cache")[::2]:
            path.unlink()
        half = run(tmp_path / "half", workers=2)
        full = run(tmp_path / "full")
        assert half.record.cache["read"] == half.record.cache["stored"] == N_IMAGES // 2
        assert full.record.cache["read"] == N_IMAGES
        wanted = results(tmp_path / "without")
        assert all(results(tmp_path / name) == wanted for name in ("empty", "half", "full"))
        assert json.loads((tmp_path / "without" / "run.json").read_text())["cache"] == {}
        assert json.loads((tmp_path / "full" / "run.json").read_text())["cache"] == {
            "folder": str(tmp_path / "cache"), "read": N_IMAGES, "stored": 0, "damaged": 0,
        }  # fmt: skip

    def test_on_an_executor_too(self, run, tmp_path):
        first, second = (run(tmp_path / name, executor="threads:2") for name in ("first", "second"))
        assert (first.record.cache["stored"], second.record.cache["read"]) == (N_IMAGES, N_IMAGES)
        run(tmp_path / "without", cache=None)
        assert results(tmp_path / "first") == results(tmp_path / "second") == results(tmp_path / "without")

    def test_a_changed_photo_is_noticed_and_one_under_another_name_or_format_is_known(self, run, photo_set, tmp_path):
        run()
        copy = shutil.copytree(photo_set, tmp_path / "copy")
        time_before = (copy / "truth" / "i03.png").stat()
        pixels = np.array(Image.open(copy / "truth" / "i03.png"))
        pixels[5, 7, 1] ^= 64
        Image.fromarray(pixels).save(copy / "truth" / "i03.png")
        os.utime(copy / "truth" / "i03.png", ns=(time_before.st_atime_ns, time_before.st_mtime_ns))
        Image.open(copy / "truth" / "i04.png").save(copy / "truth" / "i04.bmp")
        (copy / "truth" / "i04.png").unlink()
        scores = run(tmp_path / "out", root=copy)
        assert (scores.record.cache["read"], scores.record.cache["stored"]) == (N_IMAGES - 1, 1)
        run(tmp_path / "without", root=copy, cache=None)
        assert results(tmp_path / "out") == results(tmp_path / "without")

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: b"",
            lambda data: data[:-1],
            lambda data: data[:40],
            lambda data: data[:-1] + bytes([data[-1] ^ 1]),
            lambda data: bytes([data[0] ^ 1]) + data[1:],
            lambda data: data + b"\0",
            lambda data: bytes(len(data)),
        ],
        ids=["empty", "cut", "cut to its head", "last bit", "first bit", "longer", "zeros of a power cut"],
    )
    def test_a_damaged_entry_is_computed_anew_and_said(self, run, tmp_path, damage):
        run(tmp_path / "wanted")
        victim = entries(tmp_path / "cache")[10]
        whole = victim.read_bytes()
        victim.write_bytes(damage(whole))
        said: list[str] = []
        scores = run(tmp_path / "out", said=said)
        assert results(tmp_path / "out") == results(tmp_path / "wanted")
        assert scores.record.cache["damaged"] == scores.record.cache["stored"] == 1
        assert said[-1].endswith("69 read and 1 stored; 1 entry was damaged and computed anew.")
        assert victim.read_bytes() == whole

    def test_an_entry_under_the_name_of_another_is_damaged(self, run, tmp_path):
        run(tmp_path / "wanted")
        one, other, *_ = entries(tmp_path / "cache")
        one.write_bytes(other.read_bytes())
        assert run(tmp_path / "out").record.cache["damaged"] == 1
        assert results(tmp_path / "out") == results(tmp_path / "wanted")

    @pytest.mark.parametrize(
        "changed",
        [
            {"precision": "bf16"},
            {"batch_size": 4},
            {"preprocessing": {"net": "warp48"}},
            {"classifier": "other_tiny"},
            {"size": 48},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_what_a_number_depends_on_is_part_of_the_key(self, run, tmp_path, changed):
        run()
        scores = run(tmp_path / "out", **changed)
        assert scores.record.cache["read"] == 0
        run(tmp_path / "without", cache=None, **changed)
        assert results(tmp_path / "out") == results(tmp_path / "without")

    def test_a_function_of_ones_own_is_known_by_the_pixels_that_it_makes(self, run, monkeypatch):
        run(classifier="tiny_with_own_pixels")
        assert run(classifier="tiny_with_own_pixels").record.cache["read"] == N_IMAGES
        from tests.evalkit import classifiers_for_tests

        def brighter():
            module, pixels = tiny_with_own_pixels()
            return module, lambda rgb8: pixels(rgb8) + np.float32(rgb8.shape == (64, 64, 3))

        tiny_with_own_pixels = classifiers_for_tests.tiny_with_own_pixels
        monkeypatch.setattr(classifiers_for_tests, "tiny_with_own_pixels", brighter)
        assert run(classifier="tiny_with_own_pixels").record.cache["read"] == 0

    def test_nothing_is_kept_of_a_network_that_looks_at_the_whole_batch(self, run, tmp_path):
        scores = run(tmp_path / "out", classifier="crowded")
        assert scores.record.cache["stored"] == 0
        assert any("depends on the other images of the batch" in note for note in scores.record.notes)
        assert entries(tmp_path / "cache") == []
        again = run(classifier="crowded")
        assert (again.record.cache["read"], again.record.cache["stored"]) == (0, 0)

    def test_nothing_more_is_kept_once_a_batch_was_halved(self, run, tmp_path):
        scores = run(classifier="hungry", batch_size=8)
        assert scores.record.cache["stored"] == 0
        assert entries(tmp_path / "cache") == []

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
    def test_a_disk_that_takes_no_more_ends_the_storing_and_not_the_run(self, run, tmp_path, monkeypatch, number):
        run(tmp_path / "wanted", cache=None)
        written = []
        plain = output_cache.write_atomically

        def write(path, data, **how):
            written.append(path)
            if len(written) > 20:
                raise OSError(number, os.strerror(number), str(path))
            plain(path, data, **how)

        monkeypatch.setattr(output_cache, "write_atomically", write)
        scores = run(tmp_path / "out")
        assert scores.record.cache["stored"] == 19  # and the note about the network
        assert any(os.strerror(number) in note and "cannot be written" in note for note in scores.record.notes)
        assert len(entries(tmp_path / "cache")) == 19
        monkeypatch.undo()
        wanted = results(tmp_path / "wanted")
        assert {k: v for k, v in results(tmp_path / "out").items() if k != "record"} == {
            k: v for k, v in wanted.items() if k != "record"
        }

    def test_a_place_that_cannot_be_a_folder_costs_nothing_but_the_cache(self, run, tmp_path):
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "networks").write_text("a file")
        scores = run(tmp_path / "out")
        assert scores.record.cache["stored"] == 0
        assert any("cannot be written" in note for note in scores.record.notes)
        (tmp_path / "cache" / "networks").unlink()
        with pytest.raises(InputError, match="is a file; the cache is a folder"):
            run(cache=tmp_path / "out" / "run.json")


PROGRAM = """
    import os, signal, sys
    from pathlib import Path
    import evalkit
    from evalkit.networks.options import NetworkOptions

    root, labels, cache, out, n = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
    replaced = []
    plain = Path.replace

    def replace(path, target):
        if path.name.endswith(".part") and path.parent.parent.parent.name == "networks":
            replaced.append(path)
            if len(replaced) == n:
                os.kill(os.getpid(), signal.SIGKILL)
        return plain(path, target)

    Path.replace = replace
    networks = NetworkOptions(labels=labels, classifiers={"net": "tests.evalkit.classifiers_for_tests:tiny"}, device="cpu", cache=cache)
    evalkit.score(root / "truth", {"vivid": root / "vivid"}, out=out, metrics=("net_top1",), n_bootstrap=0, networks=networks)
"""


@pytest.fixture
def start(photo_set, labels, tmp_path):
    """The same run in a process of its own, killed before its n-th entry has its name (0: not at all)."""

    def begin(out: Path, n: int) -> subprocess.Popen[bytes]:
        words = [photo_set, labels, tmp_path / "cache", out, n]
        path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), *map(str, words)], env={**os.environ, "PYTHONPATH": path}
        )

    return begin


def test_runs_that_are_killed_or_write_at_once_leave_nothing_wrong(run, start, tmp_path):
    killed = start(tmp_path / "killed", 40)
    assert killed.wait(300) == -signal.SIGKILL
    together = [start(tmp_path / name, 0) for name in ("one", "two")]
    assert [process.wait(300) for process in together] == [0, 0]
    run(tmp_path / "without", cache=None)
    wanted = results(tmp_path / "without")
    assert results(tmp_path / "one") == results(tmp_path / "two") == wanted
    full = run(tmp_path / "full")
    assert results(tmp_path / "full") == wanted
    assert full.record.cache["read"] == N_IMAGES
    assert full.record.cache["damaged"] == 0


class TestCache:
    def test_gives_back_what_it_was_given(self, tmp_path):
        cache = OutputCache(tmp_path, {"network": "a"}, ["m"])
        assert cache.read(DIGEST) is None
        cache.set_independent(True)
        for dtype in (np.float32, np.float64):
            output = np.array([[1.5, np.nan], [-0.0, np.inf]], dtype)
            cache.store(DIGEST, output)
            again = OutputCache(tmp_path, {"network": "a"}, ["m"]).read(DIGEST)
            assert again.dtype == dtype
            assert again.tobytes() == output.tobytes()
        assert OutputCache(tmp_path, {"network": "b"}, ["m"]).read(DIGEST) is None

    def test_the_place_is_that_of_the_option_then_of_the_variable_then_the_users_own(self, monkeypatch, tmp_path):
        monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "named"))
        assert chosen_cache_folder(tmp_path) == tmp_path
        assert chosen_cache_folder("auto") == tmp_path / "named"
        assert chosen_cache_folder(None) is None
        monkeypatch.setenv("EVALKIT_CACHE", "off")
        assert chosen_cache_folder("auto") is None
        monkeypatch.delenv("EVALKIT_CACHE")
        if sys.platform == "linux":
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
            assert chosen_cache_folder("auto") == tmp_path / "xdg" / "evalkit"

    def test_sizes_are_read_and_nonsense_is_refused(self, monkeypatch):
        assert parse_size("2") == 2
        assert parse_size("1.5 gb") == parse_size("1.5GiB") == 1_500_000_000
        for text in ("", "many", "-1GB", "1XB"):
            with pytest.raises(InputError, match="expected a number of bytes such as 500MB"):
                parse_size(text)
        monkeypatch.setenv("EVALKIT_CACHE_SIZE", "lots")
        with pytest.raises(InputError, match="EVALKIT_CACHE_SIZE: size 'lots'"):
            size_limit()


@pytest.fixture
def filled(tmp_path) -> Path:
    """Two networks of five entries each, read 0, 10, ... 90 days ago, the first network's last; a file of others."""
    for number, (name, metrics) in enumerate((("a", ["fid", "kid"]), ("b", ["vgg16_top1"]))):
        cache = OutputCache(tmp_path / "cache", {"network": name, "weights": "0" * 64}, metrics)
        cache.set_independent(True)
        for k in range(5):
            digest = f"{k}{number}" + "c" * 62
            cache.store(digest, np.zeros(100, np.float32))
            used = time.time() - (50 * number + 10 * k) * 86400 - 3600
            os.utime(cache.folder / digest[:2] / digest, (used, used))
    (tmp_path / "cache" / "networks" / "notes.txt").write_text("not ours")
    (tmp_path / "cache" / "photos").mkdir()
    (tmp_path / "cache" / "photos" / "one.png").write_bytes(b"not ours")
    return tmp_path / "cache"


def left(cache: Path) -> dict[str, int]:
    return {one.signature["network"]: one.n_entries for one in cached_networks(cache)}


class TestPruning:
    def test_by_age(self, filled):
        assert prune(filled, older_than_days=45)[0] == 5
        assert left(filled) == {"a": 5}

    def test_by_size_what_nobody_has_read_for_longest_goes_first(self, filled):
        one = entries(filled / "networks")[-1].stat().st_size
        assert prune(filled, max_bytes=3 * one) == (7, 7 * one)
        assert left(filled) == {"a": 3}
        assert prune(filled, max_bytes=3 * one) == (0, 0)

    def test_by_metric(self, filled):
        assert prune(filled, metric="kid")[0] == 5
        assert left(filled) == {"b": 5}

    def test_everything_and_nothing_of_others(self, filled):
        assert prune(filled)[0] == 10
        assert cached_networks(filled) == []
        assert (filled / "networks" / "notes.txt").exists()
        assert (filled / "photos" / "one.png").exists()

    def test_half_written_files_of_killed_processes_go_once_they_are_old(self, filled):
        folder = next(path for path in (filled / "networks").iterdir() if path.is_dir())
        place = next(path for path in folder.iterdir() if path.is_dir())
        (place / ".old.part").write_bytes(b"x")
        (place / ".young.part").write_bytes(b"x")
        os.utime(place / ".old.part", (0, 0))
        prune(filled, older_than_days=1000)
        assert not (place / ".old.part").exists()
        assert (place / ".young.part").exists()

    def test_what_is_read_counts_as_used(self, filled):
        cache = OutputCache(filled, {"network": "b", "weights": "0" * 64}, ["vgg16_top1"])
        assert cache.read("41" + "c" * 62) is not None
        prune(filled, older_than_days=45)
        assert left(filled) == {"a": 5, "b": 1}

    def test_after_a_run_the_cache_is_no_larger_than_its_limit(self, run, tmp_path, monkeypatch):
        run()
        one = entries(tmp_path / "cache")[0].stat().st_size
        monkeypatch.setenv("EVALKIT_CACHE_SIZE", str(20 * one))
        (tmp_path / "cache" / "networks").rename(tmp_path / "gone")
        said: list[str] = []
        run(said=said)
        assert len(entries(tmp_path / "cache")) == 20
        assert "50 entries" in said[-1]


class TestCommand:
    def test_shows_place_size_and_entries(self, filled):
        result = CliRunner().invoke(main, ["cache", "--cache", str(filled)])
        assert result.exit_code == 0
        assert f"{filled}: 10 entries, 5.6 kB of 10.0 GB" in result.output
        assert "a@00000000 (fid, kid): 5 entries, 2.8 kB, last used" in result.output
        shown = json.loads(CliRunner().invoke(main, ["cache", "--cache", str(filled), "--json"]).output)
        assert [(one["metrics"], one["entries"]) for one in shown["networks"]] in (
            [(["fid", "kid"], 5), (["vgg16_top1"], 5)],
            [(["vgg16_top1"], 5), (["fid", "kid"], 5)],
        )

    def test_prunes(self, filled):
        result = CliRunner().invoke(main, ["cache", "prune", "--cache", str(filled), "--older-than", "45"])
        assert result.exit_code == 0
        assert "5 entries removed (2.8 kB), 5 left (2.8 kB)" in result.output
        result = CliRunner().invoke(main, ["cache", "--cache", str(filled), "prune", "--all"])
        assert "5 entries removed (2.8 kB), 0 left (0 B)" in result.output

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["prune"], "say what goes"),
            (["prune", "--all", "--metric", "fid"], "say what goes"),
            (["prune", "--metric", "fidd"], "did you mean 'fid'"),
            (["prune", "--max-size", "much"], "expected a number of bytes"),
            (["show"], "there is no command 'show'"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, filled, words, sentence):
        result = CliRunner().invoke(main, ["cache", "--cache", str(filled), *words])
        assert result.exit_code == 2
        assert sentence in result.output
        assert left(filled) == {"a": 5, "b": 5}

    def test_score_refuses_a_cache_and_none(self, tmp_path):
        words = ["score", "--truth", "t", "--method", "gray", "--out", "o", "--cache", str(tmp_path), "--no-cache"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 2
        assert "--no-cache: give one of the two" in result.output
