# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""Accuracy after colorization: definitions, the scoring run, and the accuracies of the shared networks."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scoring_folders import contents, photo_set  # noqa: F401 (fixtures)

import evalkit
from evalkit.errors import InputError
from evalkit.metrics import load_metric, with_companions
from evalkit.metrics.classification import answers
from evalkit.networks.options import NetworkOptions
from evalkit.scoring.kernels import COMPILING
from evalkit.scoring.merging import merge_runs
from evalkit.scoring.record import RunRecord
from evalkit.scoring.scores import Scores
from tests.conftest import require

OWN = "tests.evalkit.classifiers_for_tests"
LABELS = {f"i{k:02d}": k * 7 % 10 for k in range(70)}


@pytest.fixture(autouse=True)
def torch(monkeypatch, tmp_path):
    for package in ("torch", "torchvision"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    torch.set_num_threads(1)  # machines are shared, and two waiting threads are slower than one
    return torch


class TestAnswers:
    def test_known_answer(self):
        found = answers([[1.0, 3.0, 2.0], [0.0, 0.0, np.log(2.0)]], [2, 2])
        assert found.predicted.tolist() == [1, 2]
        assert found.rank.tolist() == [2, 1]
        np.testing.assert_allclose(found.probability, [np.e**2 / (np.e + np.e**2 + np.e**3), 0.5])

    @given(arrays(np.float64, (6, 5), elements=st.integers(-3, 3).map(float)), st.integers(0, 4))
    def test_the_rank_is_the_place_in_a_stable_sort_and_1_where_the_class_is_predicted(self, logits, label):
        found = answers(logits, np.full(6, label))
        order = np.argsort(-logits, axis=1, kind="stable")
        assert found.rank.tolist() == [int(np.flatnonzero(row == label)[0]) + 1 for row in order]
        assert ((found.predicted == label) == (found.rank == 1)).all()

    def test_a_network_that_answers_the_same_everywhere_recognises_one_class_in_n(self):
        found = answers(np.zeros((1000, 1000)), np.arange(1000))
        assert (found.rank == 1).mean() == 0.001
        assert (found.rank <= 5).mean() == 0.005

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_scores_that_are_not_finite_are_no_answer(self, bad):
        found = answers([[bad, 1.0], [0.0, 1.0]], [1, 1])
        assert found.predicted.tolist() == [-1, 1]
        assert found.rank.tolist() == [-1, 1]
        assert np.isnan(found.probability).tolist() == [True, False]

    def test_huge_scores_do_not_overflow(self):
        np.testing.assert_allclose(answers([[1e4, 0.0]], [1]).probability, 0.0)

    @pytest.mark.parametrize("label", [-1, 3])
    def test_a_class_out_of_range_is_refused(self, label):
        with pytest.raises(
            InputError, match=f"class index {label} is out of range; the classifier knows the classes 0 to 2"
        ):
            answers(np.zeros((1, 3)), [label])


class TestNames:
    @pytest.mark.parametrize("name", ["vgg16_top1", "resnet50_top5", "my_net_v2_top1_kept", "vgg16_caffe_top1"])
    def test_any_classifier_has_its_metrics(self, name):
        metric = load_metric(name)
        assert metric.name == name
        assert metric is load_metric(name)

    def test_the_share_kept_stands_beside_its_accuracy(self):
        assert with_companions(["vgg16_top1", "ab_auc"]) == ("vgg16_top1", "vgg16_top1_kept", "ab_auc")
        assert with_companions(["vgg16_top1_kept"]) == ("vgg16_top1_kept",)

    @pytest.mark.parametrize("name", ["_top1", "vgg16_top2", "top1"])
    def test_other_names_are_unknown(self, name):
        with pytest.raises(InputError, match="there is no metric"):
            load_metric(name)


@pytest.fixture(scope="module")
def labels_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    path.write_text("file,class_index\n" + "".join(f"{name}.png,{label}\n" for name, label in LABELS.items()))
    return path


@pytest.fixture
def run(photo_set, labels_file):
    def score(out=None, *, root=None, classifier="tiny", methods=("vivid", "gray"), labels=labels_file, **changed):
        folder = root or photo_set
        named = {name: folder / name if name in ("vivid", "dull") else None for name in methods}
        networks = {"labels": str(labels), "classifiers": {"tiny": f"{OWN}:{classifier}"}, "device": "cpu"}
        networks |= changed.pop("networks", {})
        options = {"metrics": ("tiny_top1", "tiny_top5"), "n_bootstrap": 200} | changed
        return evalkit.score(folder / "truth", named, out=out, networks=NetworkOptions(**networks), **options)

    return score


def independent(torch, folder: Path) -> np.ndarray:
    """Class scores by a plain loop over the files."""
    from tests.evalkit.classifiers_for_tests import Tiny

    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    rows = []
    for path in sorted(folder.glob("*.png")):
        pixels = np.asarray(Image.open(path).resize((32, 32), Image.Resampling.BILINEAR)) / 255
        x = torch.from_numpy(((pixels - mean) / deviation).transpose(2, 0, 1)[None]).float()
        with torch.inference_mode():
            rows.append(Tiny()(x)[0].numpy())
    return np.array(rows)


class TestTheRun:
    def test_accuracies_are_those_of_a_plain_loop_with_the_truth_as_a_row(self, torch, run, photo_set, tmp_path):
        scores = run(tmp_path / "out", per_image_csv=True)
        assert scores.methods == ("truth", "vivid", "gray")
        assert scores.metrics == ("tiny_top1", "tiny_top1_kept", "tiny_top5", "tiny_top5_kept")
        label = np.array(list(LABELS.values()))
        share = {}
        for method in ("truth", "vivid"):
            logits = independent(torch, photo_set / method)
            rank = 1 + (logits > logits[np.arange(70), label][:, None]).sum(axis=1)
            share[method] = (rank == 1).mean(), (rank <= 5).mean()
            assert scores[method, "tiny_top1"].value == share[method][0]
            assert scores[method, "tiny_top5"].value == share[method][1]
            rows = [row for row in scores.per_image.to_pylist() if row["method"] == method]
            assert [row["tiny_rank"] for row in rows] == rank.tolist()
            assert [row["tiny_class"] for row in rows] == logits.argmax(axis=1).tolist()
            probability = torch.softmax(torch.from_numpy(logits), dim=1).numpy()[np.arange(70), label]
            np.testing.assert_allclose([row["tiny_probability"] for row in rows], probability, atol=1e-5)
            assert [row["tiny_top1"] for row in rows] == (rank == 1).astype(float).tolist()
        assert scores["vivid", "tiny_top1_kept"].value == pytest.approx(share["vivid"][0] / share["truth"][0])
        assert scores["truth", "tiny_top5_kept"].value == 1.0
        rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines()))
        assert {row["method"] for row in rows} == {"truth", "vivid", "gray"}
        assert "tiny_probability" in (tmp_path / "out" / "per_image.csv").read_text().splitlines()[0]

    def test_the_interval_covers_the_value_and_is_that_of_a_binomial_share(self, run):
        found = run(methods=("vivid",), n_bootstrap=2000)["vivid", "tiny_top5"]
        assert found.ci_low < found.value < found.ci_high
        assert found.std_error == pytest.approx((found.value * (1 - found.value) / 70) ** 0.5, rel=0.1)

    def test_the_signature_tells_everything(self, run, labels_file, tmp_path):
        signature = run(methods=("vivid",))["vivid", "tiny_top1"].signature
        for field in (
            "net:tiny",
            f"weights:{OWN}:tiny@",
            "prep:warp32-bilinear-imagenet",
            "prec:fp32",
            "labels:",
            "n:70",
        ):
            assert field in signature
        other = tmp_path / "other.csv"
        other.write_text(labels_file.read_text().replace("i00.png,0", "i00.png,1"))
        assert run(methods=("vivid",), labels=other)["vivid", "tiny_top1"].signature != signature

    @pytest.mark.parametrize("batch_size", [1, 5, 64])
    def test_the_batch_size_changes_nothing_but_rounding(self, run, batch_size):
        usual = run(methods=("vivid",))
        other = run(methods=("vivid",), networks={"batch_size": batch_size})
        for name in ("tiny_class", "tiny_rank"):
            assert usual.per_image[name].to_pylist() == other.per_image[name].to_pylist()
        np.testing.assert_allclose(usual.per_image["tiny_probability"], other.per_image["tiny_probability"], atol=1e-4)

    def test_one_run_loads_a_classifier_of_ones_own_once(self, run, monkeypatch):
        import tests.evalkit.classifiers_for_tests as own

        loads, genuine = [], own.tiny
        monkeypatch.setattr(own, "tiny", lambda: loads.append(1) or genuine())
        run(metrics=("tiny_top1", "tiny_top5", "tiny_top1_kept", "tiny_top5_kept"))
        assert len(loads) == 1
        run()
        assert len(loads) == 2  # another run may mean another network

    def test_workers_change_nothing(self, run, tmp_path, contents):
        run(tmp_path / "one", metrics=("tiny_top1", "psnr_rgb"))
        run(tmp_path / "two", metrics=("tiny_top1", "psnr_rgb"), workers=2)
        assert contents(tmp_path / "one") == contents(tmp_path / "two")

    def test_a_resumed_run_equals_an_uninterrupted_one(self, run, tmp_path, contents, monkeypatch):
        from evalkit.scoring.blocks import BlockWorker

        run(tmp_path / "whole")
        genuine, scored = BlockWorker.measure, []

        def score(self, index):
            if len(scored) == 1:
                raise KeyboardInterrupt
            scored.append(index)
            return genuine(self, index)

        with monkeypatch.context() as patch:
            patch.setattr(BlockWorker, "measure", score)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / "out")
        run(tmp_path / "out", resume=True)
        assert contents(tmp_path / "out") == contents(tmp_path / "whole")

    def test_resuming_under_other_labels_or_weights_starts_again(self, run, tmp_path, labels_file, monkeypatch):
        from evalkit.scoring.blocks import BlockWorker

        genuine, scored = BlockWorker.measure, []

        def score(self, index):
            if len(scored) == 2:
                raise KeyboardInterrupt
            scored.append(index)
            return genuine(self, index)

        with monkeypatch.context() as patch:
            patch.setattr(BlockWorker, "measure", score)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / "out")
        other = tmp_path / "other.csv"
        other.write_text(labels_file.read_text().replace("i00.png,0", "i00.png,1"))
        found = run(tmp_path / "out", resume=True, labels=other)
        assert found.summary_csv() == run(labels=other).summary_csv()

    def test_the_summary_is_computed_again_from_the_statistics(self, run, tmp_path):
        scores = run(tmp_path / "out")
        assert Scores.read(tmp_path / "out").summary_csv() == scores.summary_csv()
        names = [f"i{k:02d}" for k in range(0, 70, 2)]
        part = scores.rescored(tmp_path / "out", images=names)
        rows = [r for r in scores.per_image.to_pylist() if r["method"] == "vivid" and r["image"] in names]
        assert part["vivid", "tiny_top1"].value == np.mean([row["tiny_top1"] for row in rows])
        assert part["vivid", "tiny_top1"].signature != scores["vivid", "tiny_top1"].signature

    def test_runs_over_other_methods_merge_into_one(self, run, tmp_path):
        run(tmp_path / "a", methods=("vivid",))
        run(tmp_path / "b", methods=("dull",))
        whole = run(tmp_path / "whole", methods=("vivid", "dull"))
        merged = merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
        assert merged.summary_csv() == whole.summary_csv()

    def test_runs_over_other_images_merge_into_one(self, run, tmp_path, photo_set):
        import shutil

        parts = [tmp_path / "first", tmp_path / "second"]
        for k, part in enumerate(parts):
            for folder in ("truth", "vivid"):
                (part / folder).mkdir(parents=True)
                for path in sorted((photo_set / folder).iterdir())[k::2]:
                    shutil.copy(path, part / folder)
            run(tmp_path / f"out{k}", root=part, methods=("vivid",))
        merged = merge_runs([tmp_path / "out0", tmp_path / "out1"], tmp_path / "merged")
        whole = run(methods=("vivid",))
        assert merged.summary_csv() == whole.summary_csv()

    def test_runs_with_other_networks_do_not_merge(self, run, tmp_path):
        run(tmp_path / "a", methods=("vivid",))
        run(tmp_path / "b", methods=("dull",), networks={"preprocessing": {"tiny": "warp40"}})
        with pytest.raises(InputError, match="another networks"):
            merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")


class TestMissing:
    def test_without_weights_the_column_is_empty_with_the_reason_and_the_rest_is_scored(self, run, tmp_path):
        said = []
        scores = run(tmp_path / "out", metrics=("vgg16_top1", "psnr_rgb"), methods=("vivid",), notify=said.append)
        found = scores["vivid", "vgg16_top1"]
        assert np.isnan(found.value)
        assert found.n_images == 0
        assert found.reason.startswith(
            "unscored: the weights of vgg16 are not there: fetch them with 'evalkit weights vgg16'"
        )
        assert scores["vivid", "psnr_rgb"].value > 0
        # Where numba's cache is empty a run says first that it compiles.
        assert [sentence for sentence in said if sentence != COMPILING] == [
            "--classifier tiny is used by no metric of this run; add tiny_top1 or tiny_top5 to the metrics.",
            f"vgg16_top1, vgg16_top1_kept will stay {found.reason}",
        ]
        rows = [
            row
            for row in csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines())
            if "vgg16" in row["metric"]
        ]
        assert {row["value"] for row in rows} == {""}
        table = pq.read_table(tmp_path / "out" / "per_image.parquet")
        assert table["vgg16_class"].null_count == table["vgg16_top1"].null_count == table.num_rows
        record = json.loads((tmp_path / "out" / "run.json").read_text())
        unscored = {entry["metric"] for entry in record["unscored"] if entry["reason"] == found.reason}
        assert unscored == {"vgg16_top1", "vgg16_top1_kept"}
        assert "torch" not in record["versions"]
        assert Scores.read(tmp_path / "out").summary_csv() == scores.summary_csv()

    def test_without_torch_too(self, run, monkeypatch):
        genuine = importlib.util.find_spec
        monkeypatch.setattr("evalkit.needs.find_spec", lambda name: None if name == "torch" else genuine(name))
        scores = run(metrics=("vgg16_top1", "psnr_rgb"), methods=("vivid",))
        assert scores["vivid", "vgg16_top1"].reason == (
            "unscored: torch is not installed (the extra 'networks' brings it)"
        )

    def test_images_without_a_finite_answer_are_unscored_and_counted(self, run):
        scores = run(classifier="blind", methods=("vivid",))
        found = scores["vivid", "tiny_top1"]
        silent = [row["tiny_class"] is None for row in scores.per_image.to_pylist() if row["method"] == "vivid"]
        assert 0 < sum(silent) < 70
        assert found.n_images == 70 - sum(silent)
        assert found.reason == f"{sum(silent)} of 70 images are unscored (the classifier gave no finite scores)"

    def test_accuracy_without_labels_is_refused(self, photo_set):
        with pytest.raises(InputError, match="vgg16_top1 needs the true classes: give --labels FILE"):
            evalkit.score(photo_set / "truth", {"gray": None}, metrics=("vgg16_top1",))

    def test_a_label_beyond_the_classes_of_the_network_is_refused(self, run, tmp_path, labels_file):
        labels = tmp_path / "labels.csv"
        labels.write_text(labels_file.read_text().replace("i69.png,3", "i69.png,10"))
        with pytest.raises(InputError, match="class index 10 is out of range; the classifier knows the classes 0 to 9"):
            run(labels=labels)

    def test_labels_of_fewer_images_are_refused(self, run, tmp_path, labels_file):
        labels = tmp_path / "labels.csv"
        labels.write_text("\n".join(labels_file.read_text().splitlines()[:-1]))
        with pytest.raises(InputError, match=r"1 of 70 images has no label there \(i69\)"):
            run(labels=labels)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_that_does_not_fit_is_halved_and_the_results_say_so(run, workers, tmp_path):
    scores = run(tmp_path / "out", classifier="hungry", methods=("vivid",), workers=workers)
    notes = [w for w in scores.warnings if "out of memory" in w]
    assert notes == [
        "out of memory with a batch of 4 images; went on with 2",
        "out of memory with a batch of 8 images; went on with 4",
    ]
    assert RunRecord.from_json(tmp_path / "out" / "run.json").notes == tuple(notes)
    assert scores["vivid", "tiny_top1"].value == run(methods=("vivid",))["vivid", "tiny_top1"].value


def test_accuracy_no_better_than_guessing_on_the_truth_points_to_the_devkit(monkeypatch):
    metric = load_metric("vgg16_top1")()
    assert "development kit" in metric.caution("truth", 0.001, 500)
    for method, value, n in (("truth", 0.68, 500), ("gray", 0.001, 500), ("truth", 0.0, 5)):
        assert metric.caution(method, value, n) == ""


@pytest.fixture(scope="session")
def ilsvrc(shared_data, tmp_path_factory):
    """100 validation photos, their labels, and Pillow's luma of each."""
    folder = shared_data / "photos" / "ilsvrc_val_227"
    truth, luma = (tmp_path_factory.mktemp("ilsvrc") / name for name in ("truth", "luma"))
    truth.mkdir()
    luma.mkdir()
    for path in folder.glob("*.JPEG"):
        (truth / path.name).write_bytes(path.read_bytes())
        Image.open(path).convert("L").save(luma / f"{path.stem}.png")
    return truth, {"luma": luma}, folder / "labels.csv"


@pytest.fixture(scope="session")
def vgg_tests(shared_data, tmp_path_factory):
    """60 photos of 20 classes with their gray input and the colorizations of Zhang et al. 2016."""
    root = tmp_path_factory.mktemp("vgg-tests")
    for folder in (shared_data / "outputs" / "vgg_tests").iterdir():
        if folder.is_dir():
            wnid = folder.name.rpartition("_")[2]
            for condition in ("gt", "l0", "res"):
                (root / condition).mkdir(exist_ok=True)
                for path in (folder / condition).iterdir():
                    (root / condition / f"{wnid}_{folder.name}_{path.name}").write_bytes(path.read_bytes())
    return root / "gt", {"gray": root / "l0", "colorized": root / "res"}, "names"


@pytest.mark.parametrize(
    ("network", "prep", "luma", "published"),
    [
        ("squeezenet1_0", "warp227", [66.0, 44.0], [68.3, 20.0, 26.7]),
        ("squeezenet1_0", "short256-crop224", [66.0, 47.0], [61.7, 21.7, 26.7]),
        ("mobilenet", "warp224-half", [76.0, 66.0], None),
        ("mobilenet", "short256-crop224-half", [75.0, 57.0], ()),
    ],
)
def test_the_shared_networks_have_their_known_accuracies(
    network, prep, luma, published, ilsvrc, vgg_tests, shared_data
):
    options = NetworkOptions(
        weights={"squeezenet1_0": shared_data / "weights" / "squeezenet1_0_dc_torchvision_fp16.pth"},
        classifiers={"mobilenet": f"{OWN}:shared_mobilenet"},
        preprocessing={network: prep},
        device="cpu",
    )
    for (truth, methods, labels), wanted in ((ilsvrc, luma), (vgg_tests, published)):
        if wanted == ():
            continue
        scores = evalkit.score(
            truth,
            methods,
            metrics=(f"{network}_top1",),
            n_bootstrap=0,
            networks=NetworkOptions(**{**vars(options), "labels": str(labels)}),
        )
        found = [round(100 * scores[method, f"{network}_top1"].value, 1) for method in scores.methods]
        if wanted is not None:
            assert found == wanted
        if "colorized" in methods:
            by_method = dict(zip(scores.methods, found, strict=True))
            assert by_method["truth"] > by_method["colorized"] > by_method["gray"]
