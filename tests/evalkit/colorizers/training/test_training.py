"""Training: it learns, resumes to the bit, runs on several processes alike, and says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from scipy.stats import ttest_1samp
from training_folders import rule_picture, write_rule_pictures

import evalkit
import evalkit.colorizers.training.train as training
from evalkit.cli import main
from evalkit.color.ab_classes import preset, rebalancing_weights, smoothed_shares
from evalkit.color.colorspace import srgb8_to_lab
from evalkit.colorizers.anchors import Gray
from evalkit.colorizers.learned.checkpoints import load_checkpoint
from evalkit.colorizers.learned.colorizer import LearnedColorizer, as_ab_network
from evalkit.colorizers.training.options import Compute, TrainingOptions
from evalkit.colorizers.training.speed import fastest
from evalkit.colorizers.training.state import TrainingState
from evalkit.colorizers.training.train import TrainingReport
from evalkit.colorizers.training.train import train as train_with
from evalkit.colorizers.training.validation import validate
from evalkit.errors import InputError
from evalkit.images.image_files import decode
from evalkit.images.image_pairs import find_images
from evalkit.metrics.ab_error import ab_auc
from evalkit.metrics.prior_counts import count_folder

TINY = (
    "--network",
    "tiny",
    "--crop-size",
    "32",
    "--batch-size",
    "4",
    "--threads",
    "1",
    "--amp",
    "off",
    "--channels-last",
)
FIXED = Compute(threads=1, amp="off", channels_last=True)
"""Nothing measured: two runs compute alike, to the bit."""


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in arguments], prog_name="evalkit")


def options(variant: str = "classification", **changes: object) -> TrainingOptions:
    values: dict[str, object] = {
        "classes": preset("seed2024"),
        "layout": "tiny",
        "steps": 4,
        "batch_size": 4,
        "crop_size": 32,
        "learning_rate": 3e-3,
        **changes,
    }
    return TrainingOptions(variant=variant, **values)  # type: ignore[arg-type]


def train(source: Path, out: Path, chosen: TrainingOptions, **keywords: object) -> TrainingReport:
    """A training whose arithmetic is done one way."""
    return train_with(source, out, chosen, **{"compute": FIXED, **keywords})  # type: ignore[arg-type]


def log_of(folder: Path) -> np.ndarray:
    """Step, loss and learning rate of each line of the log."""
    return np.genfromtxt(folder / "log.csv", delimiter=",", skip_header=1, usecols=(0, 1, 2), ndmin=2)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, crops: Path) -> Path:
    """Weights of a classification network that has hardly been trained."""
    folder = tmp_path_factory.mktemp("classifier") / "run"
    return train(crops, folder, options()).weights


# --- it learns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["classification", "full", "l2"])
def test_a_rule_is_learnt_and_holds_on_pictures_never_seen(variant: str, tmp_path: Path) -> None:
    folder = write_rule_pictures(tmp_path / "photos", range(24))
    chosen = options(variant, steps=150, batch_size=8, crop_size=48, learning_rate=8e-3)
    report = train(folder, tmp_path / "run", chosen, log_every=10)
    losses = log_of(tmp_path / "run")[:, 1]
    assert losses[-1] < 0.9 * losses[0]  # of a classification most is the entropy of the soft-encoding, and stays
    checkpoint = load_checkpoint(report.weights)
    colorizer = LearnedColorizer(as_ab_network(checkpoint), 64)
    error, gray = [], []
    for number in range(100, 108):
        truth = rule_picture(number)
        ((found, _),) = colorizer([truth])
        error.append(np.linalg.norm((srgb8_to_lab(found) - srgb8_to_lab(truth))[..., 1:], axis=-1).mean())
        gray.append(np.linalg.norm(srgb8_to_lab(truth)[..., 1:], axis=-1).mean())
    assert np.mean(error) < 0.65 * np.mean(gray), f"error {np.mean(error):.1f}, gray {np.mean(gray):.1f}"


def test_a_checkpoint_knows_the_class_shares_of_its_photos(classifier: Path, crops: Path, tmp_path: Path) -> None:
    counts = np.array(json.loads((classifier.parent / "prior.json").read_text())["counts"])
    shares = load_checkpoint(classifier).shares
    assert shares is not None
    np.testing.assert_allclose(shares, counts / counts.sum(), rtol=1e-12)
    given = np.linspace(1, 2, len(shares))
    np.save(tmp_path / "given.npy", given)
    report = train(crops, tmp_path / "run", options("full", steps=1), prior=tmp_path / "given.npy")
    found = load_checkpoint(report.weights).shares
    assert found is not None
    np.testing.assert_allclose(found, given / given.sum(), rtol=1e-12)


def test_half_a_minute_on_real_photos_beats_gray_on_photos_never_seen(shared_data: Path, tmp_path: Path) -> None:
    chosen = options(layout="small", steps=200, batch_size=16, crop_size=64, learning_rate=1e-3, weight_decay=0.05)
    report = train(shared_data / "photos", tmp_path / "run", chosen, panel_every=1000)
    colorizer = LearnedColorizer(as_ab_network(load_checkpoint(report.weights)), 64)
    gains = []
    for path in find_images(shared_data / "outputs" / "imagenet_comparison" / "gt").values():
        truth = decode(path).rgb8
        ((found, _),) = colorizer([truth])
        gains.append(ab_auc(truth, found) - ab_auc(truth, Gray().colorize(truth, None)[0]))
    interval = ttest_1samp(gains, 0).confidence_interval(0.95)
    assert len(gains) == 100
    assert interval.low > 0, interval


def test_before_training_the_network_says_what_the_photos_hold(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path / "run", options(steps=1, learning_rate=1e-9))
    checkpoint = load_checkpoint(tmp_path / "run" / "weights.pt")
    logits = checkpoint.network()(torch.full((1, 1, 64, 64), 50.0))
    assert int(logits.softmax(1).mean((0, 2, 3)).argmax()) in {
        checkpoint.classes.neutral,
        *np.argsort(-np.array(np.bincount(checkpoint.classes.nearest(_ab_of(crops)), minlength=256)))[:3],
    }


def _ab_of(folder: Path) -> np.ndarray:
    return np.concatenate([srgb8_to_lab(decode(p).rgb8)[::4, ::4, 1:].reshape(-1, 2) for p in folder.iterdir()])


# --- one run, however it is run ---------------------------------------------------------------------------


def test_a_killed_run_continues_to_the_very_same_weights(crops: Path, tmp_path: Path) -> None:
    common = ("--input", crops, "--variant", "full", *TINY, "--steps", "60", "--save-every", "5", "--log-every", "1")
    whole = command("train", *common, "--out", tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    killed = tmp_path / "killed"
    words = [sys.executable, "-c", "from evalkit.cli import main; main()", "train", *common, "--out", killed]
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 120
        while not (killed / "state.pt").is_file() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert (killed / "state.pt").is_file()
    assert int(torch.load(killed / "state.pt", weights_only=True)["step"]) < 60, "the run ended before it was killed"
    resumed = command("train", *common, "--out", killed, "--resume")
    assert resumed.exit_code == 0, resumed.output
    np.testing.assert_array_equal(log_of(killed), log_of(tmp_path / "whole"))
    first, second = (load_checkpoint(tmp_path / name / "weights.pt").state for name in ("whole", "killed"))
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_two_processes_have_the_loss_curve_of_one(crops: Path, tmp_path: Path) -> None:
    # One process takes its batch in two parts, as two processes share it: batch normalisation sees the same parts.
    common = ["--input", str(crops), "--variant", "full", *TINY, "--steps", "12", "--log-every", "1"]
    one = command("train", *common, "--accumulate", "2", "--out", tmp_path / "one")
    assert one.exit_code == 0, one.output
    two = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python",
         sys.executable, "-c", "from evalkit.cli import main; main()", "train", *common, "--out", str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    np.testing.assert_allclose(log_of(tmp_path / "two"), log_of(tmp_path / "one"), rtol=2e-4)
    assert np.ptp(log_of(tmp_path / "one")[:, 1]) > 0.01  # the curve is no flat line


def test_the_weights_do_not_depend_on_what_the_process_did_before(crops: Path, tmp_path: Path) -> None:
    for k in range(2):
        torch.manual_seed(k)
        np.random.seed(k)  # noqa: NPY002 - the legacy generator is what must not matter
        train(crops, tmp_path / str(k), options("l2", steps=2))
    first, second = (load_checkpoint(tmp_path / str(k) / "weights.pt").state for k in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_data_from_other_processes_train_the_same_network(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path / "here", options("l2", steps=2))
    train(crops, tmp_path / "there", options("l2", steps=2), workers=1)
    first, second = (load_checkpoint(tmp_path / name / "weights.pt").state for name in ("here", "there"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("amp", ["bf16", "off"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_precision_and_memory_layout_change_little(amp: str, channels_last: bool, crops: Path, tmp_path: Path) -> None:
    plain, changed = (Compute(threads=1, amp=a, channels_last=c) for a, c in (("off", False), (amp, channels_last)))
    train(crops, tmp_path / "plain", options(steps=3), compute=plain, log_every=1)
    train(crops, tmp_path / "other", options(steps=3), compute=changed, log_every=1)
    np.testing.assert_allclose(log_of(tmp_path / "other"), log_of(tmp_path / "plain"), rtol=0.02)


def test_what_is_left_open_is_measured_said_and_kept_when_the_run_goes_on(crops: Path, tmp_path: Path) -> None:
    said: list[tuple[Compute, int]] = []
    threads = torch.get_num_threads()

    def run(compute: Compute, **flags: bool) -> None:
        train(crops, tmp_path / "run", options(steps=2), compute=compute, log_every=1, **flags,
              on_compute=lambda chosen, measured: said.append((chosen, len(measured))))  # fmt: skip
        assert torch.get_num_threads() == threads

    run(Compute(threads=1))
    run(Compute(), resume=True)
    (first, n_first), (second, n_second) = said
    assert first == second
    assert first.amp in ("off", "bf16")
    assert first.channels_last in (True, False)
    assert (n_first >= 2, n_second) == (True, 0)
    assert load_checkpoint(tmp_path / "run" / "weights.pt").training["compute"]["amp"] == first.amp
    changed = "off" if first.amp == "bf16" else "bf16"
    with pytest.raises(InputError, match=f"was started with amp '{first.amp}', not '{changed}'"):
        run(Compute(amp=changed), resume=True)


def test_the_command_says_what_it_computes_with(crops: Path, tmp_path: Path) -> None:
    words = ("train", "--input", crops, "--network", "tiny", "--crop-size", "32", "--batch-size", "4", "--steps", "1")
    result = command(*words, "--threads", "1", "--amp", "off", "--out", tmp_path / "measured")
    assert result.exit_code == 0, result.output
    assert "computes with 1 thread, float32, channels-" in result.output
    assert "images/s measured: " in result.output
    result = command(*words, *TINY, "--out", tmp_path / "given")
    assert "computes with 1 thread, float32, channels-last\n" in result.output


def test_the_fastest_choice_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that wait for each other, contiguous maps that are faster, bf16 that is emulated."""
    threads, layout, amp = {1: 1.0, 2: 10.0, 4: 12.0}, {True: 1.0, False: 0.5}, {"off": 1.0, "bf16": 16.0}

    def seconds(_network: object, _loss: object, _device: object, compute: Compute, n_crops: int, _size: int) -> float:
        return n_crops * threads[compute.threads or 0] * layout[bool(compute.channels_last)] * amp[compute.amp or ""]

    monkeypatch.setattr("evalkit.colorizers.training.speed._seconds", seconds)
    monkeypatch.setattr("evalkit.colorizers.training.speed.available_cores", lambda: 4)
    parts = (torch.nn.Conv2d(1, 2, 1), torch.nn.Identity(), torch.device("cpu"))
    chosen, measured = fastest(*parts, Compute(), 16, 64)
    assert chosen == Compute(threads=1, amp="off", channels_last=False)
    assert [speed.compute.threads for speed in measured] == [1, 2, 4, 1]  # bf16 was tried on small crops alone
    assert measured[1].images_per_second == pytest.approx(measured[0].images_per_second / 10)
    amp["bf16"] = 0.4
    assert fastest(*parts, Compute(), 16, 64)[0].amp == "bf16"
    given = Compute(threads=2, amp="off", channels_last=True)
    assert fastest(*parts, given, 16, 64) == (given, ())


def test_measuring_changes_neither_weights_nor_chance(crops: Path, tmp_path: Path) -> None:
    chosen: list[Compute] = []
    train(crops, tmp_path / "measured", options(steps=2), compute=Compute(threads=1, amp="off"),
          on_compute=lambda compute, _: chosen.append(compute))  # fmt: skip
    train(crops, tmp_path / "given", options(steps=2), compute=chosen[0])
    first, second = (load_checkpoint(tmp_path / name / "weights.pt").state for name in ("measured", "given"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_the_network_is_compiled_on_demand(crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    train(crops, tmp_path / "run", options(steps=1), compile_network=True)
    assert len(compiled) == 1


# --- what it writes ---------------------------------------------------------------------------------------


def test_a_run_leaves_weights_log_panels_and_what_became_of_the_photos(crops: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in crops.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    Image.new("L", (80, 80), 90).save(folder / "gray.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing")
    result = command("train", "--input", folder, *TINY, "--steps", "6", "--panel-every", "3", "--log-every", "2",
                     "--data-source", "my photos", "--out", tmp_path / "run")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "48,776 parameters, 6 steps on 12 photos (skipped: 1 gray, 1 unreadable)" in result.output
    run = tmp_path / "run"
    assert log_of(run)[:, 0].tolist() == [2, 4, 6]
    waiting = np.genfromtxt(run / "log.csv", delimiter=",", names=True)["waiting_share"]
    # A crop may be ready whenever it is asked for: nothing is waited for then.
    assert ((waiting >= 0) & (waiting < 1)).all()
    assert [path.name for path in sorted((run / "panels").iterdir())] == ["0000003.png", "0000006.png"]
    assert decode(run / "panels" / "0000006.png").rgb8.shape == (6 * 192, 3 * 192, 3)
    assert "gray.png,gray" in (run / "photos.csv").read_text()
    checkpoint = load_checkpoint(run / "weights.pt")
    assert (checkpoint.variant, checkpoint.classes.name, checkpoint.input_size) == ("full", "seed2024", 32)
    assert checkpoint.training["data_source"] == "my photos"
    assert checkpoint.training["n_photos"] == 12


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    chosen = options(steps=1000, learning_rate=1.0)
    rates = np.array([chosen.learning_rate_at(step) for step in range(1000)])
    assert rates.argmax() in (49, 50)
    assert rates.max() == 1
    assert (np.diff(rates[:50]) > 0).all()
    assert (np.diff(rates[50:]) < 0).all()
    assert rates[-1] < 1e-5


def test_fine_tuning_starts_from_the_classification_network(crops: Path, tmp_path: Path, classifier: Path) -> None:
    train(crops, tmp_path / "run", options("l2-finetuned", steps=1, learning_rate=1e-9), init=classifier)
    start, found = load_checkpoint(classifier), load_checkpoint(tmp_path / "run" / "weights.pt")
    assert found.network().n_outputs == 2
    for key, value in start.state.items():
        if "running" in key or "tracked" in key or key.startswith("blocks.7.6"):
            continue
        torch.testing.assert_close(found.state[key], value, rtol=0, atol=1e-6)


def test_fine_tuning_first_answers_with_the_mean_colour_of_the_photos(
    crops: Path, tmp_path: Path, classifier: Path
) -> None:
    """So the first steps do not undo the features of the classification network by a random last layer's errors."""
    train(crops, tmp_path / "run", options("l2-finetuned", steps=1, learning_rate=1e-9), init=classifier)
    network = as_ab_network(load_checkpoint(tmp_path / "run" / "weights.pt")).eval()
    with torch.no_grad():
        answer = network(torch.rand(2, 1, 32, 32) * 100)
    mean = np.tile(_ab_of(crops).mean(axis=0), (128, 1))
    np.testing.assert_allclose(answer.permute(0, 2, 3, 1).reshape(-1, 2), mean, atol=1)


def test_rebalanced_training_starts_from_classes_weighted_already(
    crops: Path, tmp_path: Path, classifier: Path
) -> None:
    """A network that classifies answers p; under class weights w the answer is p w, up to its sum."""
    train(crops, tmp_path / "run", options("full", steps=1, learning_rate=1e-9), init=classifier)
    lightness = torch.rand(1, 1, 32, 32) * 100
    with torch.no_grad():
        plain, weighted = (
            load_checkpoint(path).network()(lightness).double().softmax(1)
            for path in (classifier, tmp_path / "run" / "weights.pt")
        )
    classes = preset("seed2024")
    counts = count_folder(crops, classes).counts
    weights = torch.from_numpy(rebalancing_weights(smoothed_shares(counts, classes), classes.rebalancing))
    expected = plain * weights[:, None, None]
    torch.testing.assert_close(weighted, expected / expected.sum(dim=1, keepdim=True), rtol=1e-3, atol=1e-7)
    # A start that was rebalanced before is taken as it is.
    train(crops, tmp_path / "again", options("full", steps=1, learning_rate=1e-9), init=tmp_path / "run" / "weights.pt")
    with torch.no_grad():
        again = load_checkpoint(tmp_path / "again" / "weights.pt").network()(lightness).double().softmax(1)
    torch.testing.assert_close(again, weighted, rtol=1e-3, atol=1e-7)


# --- photos that are not trained on ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures to learn from, and others to validate on."""
    folder = tmp_path_factory.mktemp("rules")
    return write_rule_pictures(folder / "photos", range(16)), write_rule_pictures(folder / "others", range(100, 106))


def scores_of(run: Path) -> np.ndarray:
    """Step, AuC and rebalanced AuC of the lines of the log that have them."""
    lines = np.genfromtxt(run / "log.csv", delimiter=",", names=True)
    lines = lines[np.isfinite(lines["ab_auc"])]
    return np.stack([lines["step"], lines["ab_auc"], lines["ab_auc_rebal"]], axis=1)


def test_scores_on_other_photos_are_in_the_log_once_per_epoch(rules: tuple[Path, Path], tmp_path: Path) -> None:
    photos, others = rules
    result = command("train", "--input", photos, "--validation", others, *TINY, "--variant", "classification",
                     "--steps", "10", "--log-every", "3", "--out", tmp_path / "run")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = scores_of(tmp_path / "run")
    assert found[:, 0].tolist() == [4, 8, 10]  # 16 photos, 4 per update; and after the last
    assert log_of(tmp_path / "run")[:, 0].tolist() == [3, 4, 6, 8, 9, 10]
    best = found[found[:, 1].argmax()]
    assert f"best AuC on the validation photos: {100 * best[1]:.2f} after {best[0]:.0f} steps" in result.output
    # The numbers of 'evalkit score' on the pictures of 'evalkit colorize'.
    command("colorize", "classification", "--weights", tmp_path / "run" / "weights.pt", "--input", others,
            "--output", tmp_path / "colored", "--device", "cpu")  # fmt: skip
    scores = evalkit.score(others, {"run": tmp_path / "colored"}, out=tmp_path / "scores",
                           metrics=("ab_auc", "ab_auc_rebal"), n_bootstrap=0)  # fmt: skip
    for column, metric in ((1, "ab_auc"), (2, "ab_auc_rebal")):
        assert found[-1, column] == pytest.approx(scores["run", metric].value, abs=1e-6)


@pytest.mark.parametrize(("variant", "column"), [("classification", 1), ("full", 2)])
def test_a_run_stops_early_and_keeps_its_best_weights(
    variant: str, column: int, rules: tuple[Path, Path], tmp_path: Path
) -> None:
    """With a learning rate that spoils what was learnt, some validations bring nothing better."""
    photos, others = rules
    chosen = options(variant, steps=200, batch_size=8, learning_rate=0.1, validate_every=2, patience=3)
    report = train(photos, tmp_path / "run", chosen, validation=others)
    found = scores_of(tmp_path / "run")
    best = int(found[:, column].argmax())
    assert report.last_step == found[-1, 0] == found[best, 0] + 6 < 200
    assert report.best.step == found[best, 0]
    kept = validate(load_checkpoint(report.weights), sorted(others.iterdir()))
    assert (kept.ab_auc, kept.ab_auc_rebal)[column - 1] == pytest.approx(found[best, column], abs=1e-6)
    assert train(photos, tmp_path / "run", chosen, validation=others, resume=True).last_step == report.last_step


def test_a_validated_run_continues_as_if_never_stopped(
    rules: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, others = rules
    chosen = options(steps=12, validate_every=2, patience=50, average=0.5)
    train(photos, tmp_path / "whole", chosen, validation=others, save_every=4)
    step = training._take_step

    def stop_at_7(state: object, trained: object, number: int, *rest: object) -> None:
        if number == 7:
            raise KeyboardInterrupt
        step(state, trained, number, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(training, "_take_step", stop_at_7)
        with pytest.raises(KeyboardInterrupt):
            train(photos, tmp_path / "parts", chosen, validation=others, save_every=4)
    report = train(photos, tmp_path / "parts", chosen, validation=others, save_every=4, resume=True)
    assert report.first_step == 4
    np.testing.assert_array_equal(scores_of(tmp_path / "parts"), scores_of(tmp_path / "whole"))
    first, second = (load_checkpoint(tmp_path / name / "weights.pt").state for name in ("whole", "parts"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_the_average_of_the_weights_is_what_is_saved_and_the_steps_are_the_same(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk: list[torch.Tensor] = []
    step = training._take_step

    def watched(state: TrainingState, *rest: object) -> None:
        first = state.network.blocks[0][0].weight  # type: ignore[index,union-attr]
        if not walk:
            walk.append(first.detach().clone())
        step(state, *rest)  # type: ignore[arg-type]
        walk.append(first.detach().clone())

    with monkeypatch.context() as patch:
        patch.setattr(training, "_take_step", watched)
        train(crops, tmp_path / "last", options(steps=3), save_every=1)
    train(crops, tmp_path / "average", options(steps=3, average=0.9), save_every=1)
    np.testing.assert_array_equal(log_of(tmp_path / "average"), log_of(tmp_path / "last"))
    last, average = (load_checkpoint(tmp_path / name / "weights.pt").state for name in ("last", "average"))
    weights = [key for key in last if key.endswith("weight")]
    assert any(not torch.equal(last[key], average[key]) for key in weights)
    # The recurrence by hand: decays of 1/10, 2/11, 3/12, since a longer memory would hold the first weights alone.
    expected = walk[0]
    for number, value in enumerate(walk[1:]):
        decay = (1 + number) / (10 + number)
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(average["blocks.0.0.weight"], expected, rtol=1e-5, atol=1e-7)


def test_the_same_photos_are_not_learnt_from_and_validated_on(rules: tuple[Path, Path], tmp_path: Path) -> None:
    photos, others = rules
    inside = tmp_path / "photos" / "validation"
    shutil.copytree(others, inside)
    for path in photos.iterdir():
        shutil.copy(path, tmp_path / "photos")
    result = command("train", "--input", tmp_path / "photos", "--validation", inside, *TINY, "--steps", "2",
                     "--out", tmp_path / "run")  # fmt: skip
    assert result.exit_code == 2
    assert "is trained on and validated on: the two folders must not share photos" in result.output


def test_patience_without_photos_to_validate_on_is_refused(crops: Path, tmp_path: Path) -> None:
    result = command("train", "--input", crops, *TINY, "--steps", "2", "--patience", "2", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "name their folder with --validation" in result.output
    assert not (tmp_path / "run").exists()


def test_a_validation_photo_that_cannot_be_read_is_named_before_the_first_step(
    rules: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(rules[1], tmp_path / "others")
    (tmp_path / "others" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"broken\.png"):
        train(rules[0], tmp_path / "run", options(), validation=tmp_path / "others")
    assert not (tmp_path / "run" / "weights.pt").exists()


# --- what is wrong ----------------------------------------------------------------------------------------


def test_fine_tuning_without_a_start_is_refused(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name its weights with --init"):
        train(crops, tmp_path / "run", options("l2-finetuned"))


def test_a_start_that_does_not_fit_is_refused(crops: Path, tmp_path: Path, classifier: Path) -> None:
    with pytest.raises(InputError, match="not of the layout 'small'"):
        train(crops, tmp_path / "a", options(layout="small"), init=classifier)
    other = options("full", classes=preset("zhang2016"))
    with pytest.raises(InputError, match="speaks the ab classes seed2024, not zhang2016"):
        train(crops, tmp_path / "b", other, init=classifier)
    train(crops, tmp_path / "l2", options("l2", steps=1))
    with pytest.raises(InputError, match="holds 'l2'; 'l2-finetuned' starts from a network that classifies"):
        train(crops, tmp_path / "c", options("l2-finetuned"), init=tmp_path / "l2" / "weights.pt")


def test_a_run_goes_on_only_as_it_was_started(crops: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(crops, run, options(steps=2))
    with pytest.raises(InputError, match="not empty; continue the run there with --resume"):
        train(crops, run, options(steps=2))
    with pytest.raises(InputError, match="was started with seed 0, not 5"):
        train(crops, run, options(steps=2, seed=5), resume=True)
    with pytest.raises(InputError, match=r"was started with classes 'seed2024@\w+', not 'zhang2016@\w+'"):
        train(crops, run, options(steps=2, classes=preset("zhang2016")), resume=True)
    more = tmp_path / "more"
    more.mkdir()
    for path in list(crops.iterdir())[:5]:
        (more / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="are not those that the run"):
        train(more, run, options(steps=2), resume=True)
    report = train(crops, run, options(steps=2), resume=True)  # nothing left to do
    assert report.first_step == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "best"}, "there is no variant 'best'"),
        ({"layout": "huge"}, "there is no network 'huge'"),
        ({"crop_size": 30}, "multiple of 8"),
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": 0.0}, "learning rate is 0"),
        ({"weight_decay": -1.0}, "weight decay is -1"),
        ({"average": 1.0}, "decay of the average is 1"),
        ({"patience": 0}, "patience is 0"),
        ({"validate_every": 0}, "validate_every is 0"),
    ],
)
def test_options_without_meaning_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        options(**changes)


def test_a_batch_that_does_not_divide_is_refused(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give a multiple of 3"):
        train(crops, tmp_path / "run", options(accumulate=3))


def test_a_loss_that_is_no_number_ends_the_run_with_advice(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lower --learning-rate"):
        train(crops, tmp_path / "run", options("l2", steps=30, learning_rate=1e30), log_every=1)


@pytest.mark.parametrize(
    "words", ["CUDA out of memory. Tried to allocate", "DefaultCPUAllocator: can't allocate memory"]
)
def test_too_little_memory_ends_the_run_with_advice(
    words: str, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(training, "_take_step", fail)
    with pytest.raises(InputError, match=r"ran out of memory at 4 crops .* halve --batch-size, or say --accumulate 2"):
        train(crops, tmp_path / "run", options())


def test_other_errors_of_torch_are_not_taken_for_it(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(training, "_take_step", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        train(crops, tmp_path / "run", options())


def test_a_device_that_is_not_there_is_named(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device 'nonsense' is unknown"):
        train(crops, tmp_path / "run", options(), device="nonsense")
