# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""Blocks on the processes of the real torchrun: the bits of one process, and a sentence when one of them dies."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from scoring_folders import files_of, folders  # noqa: F401 (fixture)

import evalkit
from evalkit.errors import InputError
from evalkit.networks.options import NetworkOptions
from evalkit.scoring import torchrun
from tests.conftest import require

SCRIPT = Path(__file__).parents[1] / "torchrun_run.py"
METRICS = ["ab_auc", "tiny_top1"]
CLASSIFIER = "tests.evalkit.classifiers_for_tests:tiny"


@pytest.fixture(scope="module", autouse=True)
def torch_is_installed() -> None:
    for package in ("torch", "torchvision"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")


def launch(*words: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, *words]
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )


def scored(folders: Path, out: Path, **options) -> evalkit.Scores:
    networks = NetworkOptions(
        labels=str(folders / "labels.csv"), classifiers={"tiny": CLASSIFIER}, device="cpu", cache=None
    )
    methods = {"mine": folders / "mine", "random": None}
    return evalkit.score(
        folders / "truth", methods, out=out, metrics=METRICS, networks=networks, n_bootstrap=0, **options
    )


def options_of(folders: Path) -> list[str]:
    return [
        "--metrics", ",".join(METRICS), "--labels", str(folders / "labels.csv"), "--classifier", f"tiny={CLASSIFIER}",
        "--device", "cpu", "--no-cache",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def by_one_process(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("one") / "out"
    scored(folders, out)
    return files_of(out)


def test_two_processes_make_the_bits_of_one_and_the_first_alone_speaks(folders, by_one_process, tmp_path):
    out, marker = tmp_path / "out", tmp_path / "marker"
    result = launch(SCRIPT, folders, out, marker, "measure", *options_of(folders))
    assert result.returncode == 0, result.stderr
    assert marker.exists()
    assert files_of(out) == by_one_process
    assert result.stdout.count("Results in") == 1


def test_a_process_that_dies_leaves_a_sentence_and_resume_completes_the_run(folders, by_one_process, tmp_path):
    out, marker = tmp_path / "out", tmp_path / "marker"
    result = launch(SCRIPT, folders, out, marker, "die", *options_of(folders))
    assert result.returncode != 0
    assert marker.exists()
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "score again with --resume" in sentence
    assert "torchrun" in sentence
    assert "evalkit/scoring" not in result.stderr, "a traceback of ours"
    assert not (out / "run.json").exists()
    scored(folders, out, executor="threads:2", resume=True)
    assert files_of(out) == by_one_process


def test_what_is_wrong_with_the_images_is_said_once(folders, tmp_path):
    """The other process waits for the first one, which refuses its folder, and is ended by torchrun."""
    words = ["-m", "evalkit", "score", "--truth", tmp_path / "absent", "--method", "gray", "--out", tmp_path / "out"]
    result = launch(*words, "--executor", "torchrun")
    assert result.returncode != 0
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "absent: no such folder" in sentence


def test_without_torchrun_it_is_refused_in_a_sentence(folders, tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"was not started by torchrun; write torchrun --nproc-per-node N --no-python"):
        scored(folders, tmp_path / "out", executor="torchrun")
    assert not (tmp_path / "out").exists()


def test_variables_of_torchrun_change_nothing_for_who_does_not_ask_for_it(
    folders, by_one_process, tmp_path, monkeypatch
):
    """A training loop under torchrun scores in one of its processes."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    scored(folders, tmp_path / "out")
    assert files_of(tmp_path / "out") == by_one_process


def test_errors_come_back_as_they_are_or_as_a_text_where_they_cannot_travel():
    class OwnError(Exception):
        pass

    def refuse(error):
        raise error

    assert torchrun._outcome(int, ("7",), {}) == (None, 7)
    error, _ = torchrun._outcome(refuse, (InputError("a.png: is empty."),), {})
    assert (type(error), str(error)) == (InputError, "a.png: is empty.")
    error, _ = torchrun._outcome(refuse, (OwnError("odd"),), {})
    assert str(pickle.loads(pickle.dumps(error))) == "OwnError: odd"
