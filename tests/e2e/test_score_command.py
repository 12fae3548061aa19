"""`evalkit score` and its family as a user runs them: exit status, one sentence, nothing half-written, resuming."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from evalkit.cli import main

QUICK = ("--metrics", "ab_auc,ab_auc_rebal,psnr_rgb", "--bootstrap", "200", "--workers", "1")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, np.ndarray]) -> Path:
    """40 crops of 64 x 64 in ``truth``, desaturated ones in ``mine`` and ``other``; read only."""
    root = tmp_path_factory.mktemp("photos")
    crops = np.random.default_rng(0)
    for folder in ("truth", "mine", "other"):
        (root / folder).mkdir()
    sources = list(photos.values())
    for i in range(40):
        photo = sources[i % len(sources)]
        y, x = crops.integers(photo.shape[0] - 64), crops.integers(photo.shape[1] - 64)
        truth = photo[y : y + 64, x : x + 64]
        gray = truth.mean(axis=2, keepdims=True)
        for folder, saturation in (("truth", 1.0), ("mine", 0.6), ("other", 0.2)):
            pixels = np.rint(gray + saturation * (truth - gray)).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"i{i:02d}.png")
    return root


@pytest.fixture
def folder(tmp_path: Path, originals: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(originals, tmp_path / "photos")


def evalkit(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def score(root: Path, out: Path, *more: str | Path, methods: tuple[str, ...] = ("mine", "other")) -> Result:
    named = [part for name in methods for part in ("--method", f"{name}={root / name}")]
    return evalkit("score", "--truth", root / "truth", *named, "--out", out, *QUICK, *more)


def assert_one_sentence(result: Result, *words: str) -> None:
    """Exit status 2, a single line on standard error, no traceback, nothing on standard output."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith(("Usage:", "Try "))]
    assert [line for line in lines if line] == lines[-1:], result.stderr
    for word in words:
        assert word in result.stderr


def results_in(out: Path) -> list[str]:
    """Files that a reader would take for results: not what a run keeps there while it writes, or leaves when it is killed."""
    return [path.name for path in out.iterdir() if not path.name.startswith(".")] if out.exists() else []


@pytest.fixture(scope="module")
def run(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished run with anchors, and what it printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    return out, score(originals, out, "--method", "gray", "--method", "truth")


# --- what a good run gives ----------------------------------------------------------------------------------


def test_score_prints_a_table_and_writes_all_results(run: tuple[Path, Result]) -> None:
    out, result = run
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {
        "summary.csv", "curves.csv", "per_image.parquet", "run.json", "statistics",
    }  # fmt: skip
    assert [path.name for path in sorted((out / "statistics").iterdir())] == [
        "part-00000.parquet", "part-00001.parquet",
    ]  # fmt: skip
    for text in ("mine", "anchor", "AuC rebal.", "95 % interval", "40 images", f"Results in {out}"):
        assert text in result.stdout
    assert "unscored" in result.stdout  # PSNR of the truth itself


def test_best_own_method_of_each_column_is_marked(run: tuple[Path, Result]) -> None:
    rows = {line.split()[0]: line for line in run[1].stdout.splitlines() if line.split()}
    assert rows["mine"].count("*") == 3
    assert rows["other"].count("*") == rows["truth"].count("*") == 0


def test_quiet_prints_nothing(originals: Path, tmp_path: Path) -> None:
    result = score(originals, tmp_path / "out", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_json_is_strict_json_with_null_for_unscored(originals: Path, tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    result = score(originals, tmp_path / "out", "--method", "truth", "--json")
    rows = json.loads(result.stdout, parse_constant=refuse)["summary"]
    values = {(row["method"], row["metric"]): row["value"] for row in rows}
    assert values["truth", "psnr_rgb"] is None
    assert values["truth", "ab_auc"] == 1
    assert 0 < values["mine", "ab_auc"] < 1
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        written = {(row["method"], row["metric"]): row["value"] for row in csv.DictReader(file)}
    assert {key: None if text == "" else float(text) for key, text in written.items()} == values


def test_metrics_are_computed_in_the_order_asked_for(originals: Path, tmp_path: Path) -> None:
    result = score(originals, tmp_path / "out", "--metrics", "psnr_rgb, ab_auc", "--json", "--per-image-csv")
    assert [row["metric"] for row in json.loads(result.stdout)["summary"]] == ["psnr_rgb", "ab_auc"] * 2
    assert (tmp_path / "out" / "per_image.csv").is_file()


def test_default_metrics_are_the_seven_without_weights(originals: Path, tmp_path: Path) -> None:
    result = evalkit(
        "score", "--truth", originals / "truth", "--method", "gray", "--out", tmp_path / "out",
        "--workers", "1", "--bootstrap", "0", "--json",
    )  # fmt: skip
    assert [row["metric"] for row in json.loads(result.stdout)["summary"]] == [
        "ab_auc", "ab_auc_rebal", "ab_rmse", "psnr_rgb", "ssim_rgb", "ciede2000", "colorfulness",
    ]  # fmt: skip


def test_rescore_with_other_options_equals_a_fresh_run(
    run: tuple[Path, Result], originals: Path, tmp_path: Path
) -> None:
    options = ("--quadrature", "thresholds", "--max-threshold", "100", "--lambda", "0.5")
    again = evalkit("rescore", run[0], "--out", tmp_path / "again", *options)
    assert again.exit_code == 0, again.output
    score(originals, tmp_path / "fresh", "--method", "gray", "--method", "truth", *options)
    for name in ("summary.csv", "curves.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_rescore_of_a_subset_by_file(run: tuple[Path, Result], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("i03\n\ni39\n i11 \n")
    result = evalkit("rescore", run[0], "--images", tmp_path / "names.txt", "--json")
    rows = json.loads(result.stdout)["summary"]
    assert {row["n_images"] for row in rows if row["value"] is not None} == {3}


@pytest.mark.parametrize("replicates", ["5", "-1"])
def test_rescore_refuses_too_few_replicates(replicates: str, run: tuple[Path, Result]) -> None:
    assert_one_sentence(evalkit("rescore", run[0], "--bootstrap", replicates), "too few")


def test_prior_counts_merge_and_serve_as_prior(originals: Path, tmp_path: Path) -> None:
    for part, keep in (("a", range(25)), ("b", range(25, 40))):
        (tmp_path / part).mkdir()
        for i in keep:
            shutil.copyfile(originals / "truth" / f"i{i:02d}.png", tmp_path / part / f"i{i:02d}.png")
        assert evalkit("prior", "--input", tmp_path / part, "--out", tmp_path / f"{part}.json", "-q").output == ""
    merge = ("--merge", tmp_path / "a.json", "--merge", tmp_path / "b.json")
    assert evalkit("prior", *merge, "--out", tmp_path / "both.json").exit_code == 0
    evalkit("prior", "--input", originals / "truth", "--out", tmp_path / "whole.json")
    assert (tmp_path / "both.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    # The truth's own shares from a file weigh as --prior truth does.
    values = []
    for prior in ("truth", str(tmp_path / "whole.json")):
        result = score(originals, tmp_path / f"out{len(values)}", "--prior", prior, "--json")
        rows = json.loads(result.stdout)["summary"]
        values.append([row["value"] for row in rows if row["metric"] == "ab_auc_rebal"])
    assert values[1] == pytest.approx(values[0], rel=1e-9)


# --- mistakes -----------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def enlarge(path: Path) -> None:
    Image.open(path).resize((80, 64)).save(path)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def copy_truth(root: Path) -> None:
    for path in (root / "truth").iterdir():
        (root / "mine" / path.name).unlink()
        Image.open(path).save(root / "mine" / f"{path.stem}.bmp")


SPOILED: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing file": (lambda root: (root / "mine" / "i07.png").unlink(), ("mine", "i07", "--allow-missing")),
    "surplus file": (
        lambda root: shutil.copyfile(root / "mine" / "i07.png", root / "mine" / "x99.png"),
        ("mine", "x99", "--allow-missing"),
    ),
    "duplicate stem": (
        lambda root: shutil.copyfile(root / "mine" / "i07.png", root / "mine" / "i07.jpg"),
        ("i07.jpg", "i07.png", "share the name"),
    ),
    "other size": (lambda root: enlarge(root / "mine" / "i07.png"), ("i07", "mine", "80 x 64", "--size")),
    "truncated file": (lambda root: truncate(root / "mine" / "i07.png"), ("mine/i07.png", "truncated or corrupt")),
    "no image": (lambda root: (root / "truth" / "i07.png").write_text("hello"), ("truth/i07.png",)),
    "empty file": (lambda root: (root / "mine" / "i07.png").write_bytes(b""), ("mine/i07.png", "empty")),
    "corrupt in the last block": (lambda root: truncate(root / "other" / "i39.png"), ("other/i39.png",)),
    "empty folder": (lambda root: empty(root / "mine"), ("mine", "holds no image")),
    "no folder": (lambda root: shutil.rmtree(root / "truth"), ("truth", "no such folder")),
    "own pixels of the truth": (copy_truth, ("method mine", "truth's own pixels", "'truth'")),
}


@pytest.mark.parametrize(
    ("mistake", "workers"), [*((mistake, "1") for mistake in SPOILED), ("truncated file", "2"), ("other size", "2")]
)
def test_bad_images_are_refused_in_one_sentence(mistake: str, workers: str, folder: Path, tmp_path: Path) -> None:
    spoil, words = SPOILED[mistake]
    spoil(folder)
    assert_one_sentence(score(folder, tmp_path / "out", "--workers", workers), *words)
    assert results_in(tmp_path / "out") == []


OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown metric": (("--metrics", "ab_acu"), ("ab_acu", "did you mean 'ab_auc'?")),
    "no metric": (("--metrics", ","), ("no metric given",)),
    "small size": (("--size", "4"), ("size 4 is outside 16..16384",)),
    "size in words": (("--size", "big"), ("--size", "big")),
    "unknown built-in": (("--method", "grey"), ("grey", "did you mean 'gray'?")),
    "method twice": (("--method", "gray", "--method", "gray"), ("'gray' is given twice",)),
    "no folder": (("--method", "x="), ("no folder after",)),
    "reserved name": (("--method", "mean=x"), ("'mean' cannot name a method",)),
    "no prior file": (("--prior", "nowhere.npy"), ("nowhere.npy: no such prior file",)),
    "unknown classes": (("--classes", "zhang2017"), ("unknown ab classes", "zhang2016")),
    "lambda": (("--lambda", "2"), ("lambda 2 is outside 0..1",)),
    "short exact range": (("--max-threshold", "100"), ("use quadrature 'thresholds'",)),
    "few replicates": (("--bootstrap", "10"), ("10 bootstrap replicates are too few",)),
    "no workers": (("--workers", "0"), ("--workers",)),
}


@pytest.mark.parametrize("mistake", OPTIONS)
def test_bad_options_are_refused_in_one_sentence(mistake: str, originals: Path, tmp_path: Path) -> None:
    options, words = OPTIONS[mistake]
    assert_one_sentence(score(originals, tmp_path / "out", *options), *words)
    assert not (tmp_path / "out").exists()


def test_the_folder_of_the_truth_is_no_method(originals: Path, tmp_path: Path) -> None:
    for same in (originals / "truth", originals / "mine" / ".." / "truth"):
        result = score(originals, tmp_path / "out", "--method", f"copy={same}")
        assert_one_sentence(result, "method 'copy'", "folder of the truth")


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (np.ones(256), ("256 class shares", "313 classes")),
        (np.zeros(313), ("not all zero",)),
        (np.full(313, np.nan), ("finite",)),
        (-np.ones(313), ("non-negative",)),
        (np.array(["a", "b"]), ("not a readable .npy file",)),
    ],
)
def test_bad_priors_are_refused(shares: np.ndarray, words: tuple[str, ...], originals: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "prior.npy", shares)
    assert_one_sentence(score(originals, tmp_path / "out", "--prior", tmp_path / "prior.npy"), "prior.npy", *words)


def test_the_known_wrong_prior_is_refused(originals: Path, tmp_path: Path, shared_data: Path) -> None:
    wrong = shared_data / "quant" / "prior_probs_WRONG_ORDER.npy"
    assert_one_sentence(score(originals, tmp_path / "out", "--prior", wrong), wrong.name, "(-90, 90)", "--prior truth")
    right = score(originals, tmp_path / "out", "--prior", shared_data / "quant" / "prior_probs.npy", "--json")
    assert any("prior:zhang2016@19d00659" in row["signature"] for row in json.loads(right.stdout)["summary"])


def test_an_out_that_cannot_be_used_is_refused(originals: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert_one_sentence(score(originals, tmp_path / "file"), "is a file; --out names a folder")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    for more in ((), ("--resume",), ("--overwrite",)):
        assert_one_sentence(score(originals, tmp_path / "full", *more), "not empty (it holds thesis.tex)")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_finished_results_are_replaced_only_when_told(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert score(originals, out, "-q").exit_code == 0
    assert_one_sentence(score(originals, out), "already holds results", "--overwrite")
    summary = (out / "summary.csv").read_bytes()
    assert score(originals, out, "-q", "--resume").exit_code == 0
    assert (out / "summary.csv").read_bytes() == summary
    assert score(originals, out, "-q", "--overwrite", methods=("other",)).exit_code == 0
    assert "mine" not in (out / "summary.csv").read_text()


def test_after_a_bad_file_is_mended_the_run_continues(folder: Path, originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    truncate(folder / "mine" / "i39.png")
    assert_one_sentence(score(folder, out), "i39.png")
    assert_one_sentence(score(folder, out), "interrupted run", "--resume", "--overwrite")
    assert results_in(out) == []
    shutil.copyfile(originals / "mine" / "i39.png", folder / "mine" / "i39.png")
    assert score(folder, out, "--resume", "-q").exit_code == 0
    score(originals, tmp_path / "whole", "-q")
    for name in ("summary.csv", "run.json", "statistics/part-00000.parquet", "statistics/part-00001.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("command", ["rescore", "compare", "merge"])
def test_a_folder_without_a_run_is_refused(command: str, run: tuple[Path, Result], tmp_path: Path) -> None:
    sources = {"rescore": [tmp_path], "compare": [run[0], tmp_path], "merge": [run[0], tmp_path]}[command]
    more = ["--out", tmp_path / "joined"] if command == "merge" else []
    assert_one_sentence(evalkit(command, *sources, *more), "run.json: no such file")


def test_bad_prior_counts_are_refused(originals: Path, tmp_path: Path) -> None:
    assert_one_sentence(evalkit("prior", "--out", tmp_path / "p.json"), "--input DIR, --merge FILE")
    for text in ("", "[]", '{"classes": "zhang2016", "classes_digest": "x", "n_images": 1, "counts": 7}'):
        (tmp_path / "bad.json").write_text(text)
        result = evalkit("prior", "--merge", tmp_path / "bad.json", "--out", tmp_path / "p.json")
        assert_one_sentence(result, "bad.json: not a prior file")
    evalkit("prior", "--input", originals / "truth", "--out", tmp_path / "a.json", "--classes", "seed2024")
    both = ("--input", originals / "truth", "--merge", tmp_path / "a.json")
    assert_one_sentence(evalkit("prior", *both, "--out", tmp_path / "p.json"), "different ab classes")
    assert not (tmp_path / "p.json").exists()
    assert_one_sentence(score(originals, tmp_path / "out", "--prior", tmp_path / "a.json"), "other ab classes")


def test_metrics_are_listed_with_what_they_need() -> None:
    rows = json.loads(evalkit("metrics", "--json").stdout)
    assert {"name", "default", "better", "definition", "needs", "signature"} == set(rows[0])
    assert sum(row["default"] for row in rows) == 7
    assert "ab_auc_rebal" in evalkit("metrics").stdout


# --- the real process: killed, and out of space --------------------------------------------------------------


def command(root: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-c", "from evalkit.cli import main; main()", "score", "--truth", str(root / "truth"),
        "--method", f"mine={root / 'mine'}", "--method", "random", "--out", str(out), *QUICK, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def many(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 images, so that a run can be stopped on the way."""
    root = tmp_path_factory.mktemp("many")
    for folder in ("truth", "mine"):
        (root / folder).mkdir()
        for path in (originals / folder).iterdir():
            for copy in range(10):
                shutil.copyfile(path, root / folder / f"{path.stem}-{copy}.png")
    return root


@pytest.fixture(scope="module")
def whole(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of an uninterrupted run over `many`."""
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(command(many, out, "--quiet"), check=True)
    return out


def kill_after_first_shard(arguments: list[str], out: Path) -> bool:
    """Start a run and kill it and its workers on the way; whether it was killed before it ended."""
    process = subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.DEVNULL)
    while not list(out.glob(".unfinished/part-*.parquet")) and process.poll() is None:
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL and not (out / "run.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX systems")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_run_resumes_to_the_same_bits(workers: str, many: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # On a busy machine the run may end before the kill arrives: then it is started once more.
    while not kill_after_first_shard(command(many, out, "--workers", workers), out):
        shutil.rmtree(out)
    assert results_in(out) == []
    subprocess.run(command(many, out, "--workers", workers, "--resume", "--quiet"), check=True)
    found, expected = (
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (out, whole)
    )
    assert found == expected
    assert len(found) == 4 + 13


@pytest.mark.skipif(os.name != "posix", reason="file size limits are of POSIX systems")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_told_in_one_sentence_and_the_run_continues(workers: str, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    # numba must not write its cache under the limit; compiled kernels are there from the tests before.
    full = subprocess.run(
        command(many, out, "--workers", workers), capture_output=True, text=True, preexec_fn=limit, check=False
    )
    assert full.returncode == 2, full.stderr
    assert full.stdout == ""
    (line,) = full.stderr.strip().splitlines()
    assert "part-" in line
    assert "file too large" in line
    assert results_in(out) == []
    assert not list(out.glob(".unfinished/.*"))
    more = ["--resume"] if out.exists() else []
    subprocess.run(command(many, out, "--quiet", *more), check=True)
    assert (out / "summary.csv").is_file()
