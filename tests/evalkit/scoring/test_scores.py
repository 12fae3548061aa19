"""The result of a run: files, lookup, rescoring from the statistics, warnings."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scoring_folders import finished, photo_copy, photo_set, quick_score  # noqa: F401 (fixtures)

import evalkit
from evalkit.color.ab_classes import Prior, preset
from evalkit.errors import InputError
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.scoring.record import RunRecord
from evalkit.scoring.scores import Scores

Finished = tuple[Path, Scores]
QuickScore = Callable[..., Scores]


def some_prior(scale: float = 1.0) -> Prior:
    """Shares of every class, none zero, the neutral class not favoured."""
    return Prior("file@00000000", scale * np.random.default_rng(1).uniform(0.5, 1.5, 313))


def test_summary_csv_has_the_columns_of_the_contract_and_auc_as_fractions(finished: Finished) -> None:
    out, scores = finished
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        "method",
        "metric",
        "value",
        "std_error",
        "ci_low",
        "ci_high",
        "n_images",
        "n_pixels",
        "signature",
        "reason",
    ]
    assert [(row[0], row[1]) for row in rows[1:]] == [(s.method, s.metric) for s in scores.summary]
    for row, score in zip(rows[1:], scores.summary, strict=True):
        assert float(row[2]) == score.value  # full precision
        if row[1].startswith("ab_auc"):
            assert 0 < float(row[4]) <= float(row[2]) <= float(row[5]) <= 1


def test_curves_csv_has_151_thresholds_a_method_and_rises_to_one(finished: Finished) -> None:
    out, scores = finished
    with (out / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["method", "threshold", "fraction", "fraction_rebalanced"]
    for method in scores.methods:
        own = [row for row in rows if row["method"] == method]
        assert [int(row["threshold"]) for row in own] == list(range(151))
        for column in ("fraction", "fraction_rebalanced"):
            values = np.array([float(row[column]) for row in own])
            assert np.all(np.diff(values) >= 0)
            assert values[-1] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("metric", ["ab_auc", "ab_auc_rebal"])
def test_auc_lies_between_the_two_sums_of_its_own_curve(metric: str, finished: Finished) -> None:
    _, scores = finished
    for method in scores.methods:
        curve = scores.curves[method]
        heights = curve.fraction if metric == "ab_auc" else curve.fraction_rebalanced
        # CMF rises: the left sum is too low, the right sum too high; AuC is the integral.
        assert heights[:-1].mean() <= scores[method, metric].value <= heights[1:].mean()


def test_per_image_table_has_a_row_per_image_and_method(finished: Finished, quick_score: QuickScore) -> None:
    out, scores = finished
    table = pq.read_table(out / "per_image.parquet")
    assert table.num_rows == 70 * 3
    assert {"image", "method", "n_pixels", "ab_auc", "ab_auc_rebal", "psnr_rgb"} <= set(table.column_names)
    vivid = [v for m, v in zip(table["method"].to_pylist(), table["ab_auc"].to_pylist(), strict=True) if m == "vivid"]
    assert np.mean(vivid) == pytest.approx(scores["vivid", "ab_auc"].value, abs=1e-12)  # all images have one size
    assert not (out / "per_image.csv").exists()


def test_per_image_csv_comes_on_request(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    scores = quick_score(photo_set, tmp_path / "out", {"vivid": photo_set / "vivid"}, per_image_csv=True)
    with (tmp_path / "out" / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == scores.per_image["image"].to_pylist()
    assert [float(row["ab_auc"]) for row in rows] == pytest.approx(scores.per_image["ab_auc"].to_pylist())


def test_run_json_records_versions_options_and_digests(finished: Finished) -> None:
    out, _ = finished
    record = json.loads((out / "run.json").read_text())
    assert record["methods"] == ["vivid", "dull", "gray"]
    assert record["options"]["prior"] == "truth"
    assert set(record["inputs"]) == {"truth", "method vivid", "method dull"}
    assert all(len(digest) == 64 for digest in record["inputs"].values())
    assert {"python", "numpy", "colorization-evalkit", "decoders"} <= set(record["versions"])


def test_lookup_by_method_and_metric(finished: Finished) -> None:
    _, scores = finished
    assert isinstance(scores, evalkit.Scores)
    assert scores["dull", "psnr_rgb"] in scores.summary
    with pytest.raises(KeyError, match=r"in these scores there is no metric 'psnr_rbg' .did you mean 'psnr_rgb'"):
        scores["dull", "psnr_rbg"]
    with pytest.raises(InputError, match=r"in these scores there is no method 'dul' .did you mean 'dull'.*\.$"):
        scores["dul", "psnr_rgb"]
    with pytest.raises(InputError, match=r"scores\['dull'\]: give a method and a metric"):
        scores["dull"]


def test_what_scores_show_of_themselves(finished: Finished) -> None:
    _, scores = finished
    text, page = repr(scores), scores._repr_html_()
    lines = text.splitlines()
    assert lines[0] == "Scores of 70 images; in brackets 95 % intervals over images"
    assert [line.split()[0] for line in lines[1:]] == ["method", *scores.methods]
    one = scores["dull", "ab_auc"]
    cell = f"{100 * one.value:.2f} ({100 * one.ci_low:.2f} – {100 * one.ci_high:.2f})"
    assert cell in text
    assert f"<td>{cell}</td>" in page
    assert page.count("<tr>") == 1 + len(scores.methods)
    curve = scores.curves["dull"]
    assert repr(curve) == f"<Curve at 151 thresholds; {100 * curve.fraction[10]:.1f} % of the pixels within 10>"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("t", "m"), r"methods is str; give a mapping of names to folders"),
        (("t", ["m"]), r"methods is list; give a mapping of names to folders"),
        (("t", {3: "m"}), r"methods names 3; a method's name is a text"),
        (("t", {"mine": 3}), r"a folder or an address is needed, not int"),
        ((np.zeros(3), {"gray": None}), r"a folder or an address is needed, not ndarray"),
        (("t", {"gray": None}, "ab_auc"), r"metrics is one text; give a list of names: \['ab_auc'\]"),
        (("t", {"gray": None}, ["psnr"]), r"there is no metric 'psnr' \(did you mean 'psnr_rgb'\?\)"),
        (("t", {"gray": None}, ["SSIM"]), r"there is no metric 'SSIM' \(did you mean 'ssim_rgb'\?\)"),
        (("t", {"gray": None}, ["auc"]), r"there is no metric 'auc' \(did you mean 'ab_auc'\?\)"),
    ],
)
def test_wrong_calls_are_told_in_a_sentence(arguments: tuple, sentence: str) -> None:
    truth, methods, *metrics = arguments
    with pytest.raises(InputError, match=sentence):
        evalkit.score(truth, methods, **({"metrics": metrics[0]} if metrics else {}))


def test_no_interval_is_spoken_of_where_there_is_none(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    """Of one image there is no interval, however many replicates were asked for."""
    from rich.console import Console

    from evalkit.scoring.score_table import score_table

    for side in ("truth", "vivid"):
        (tmp_path / side).mkdir()
        shutil.copy(photo_set / side / "i00.png", tmp_path / side)
    of_one = quick_score(tmp_path, None, {"vivid": tmp_path / "vivid"})
    of_many = quick_score(photo_set, None, {"vivid": photo_set / "vivid"})
    for scores, speaks in ((of_one, False), (of_many, True)):
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(score_table(scores))
        assert ("95 % interval" in console.export_text()) is speaks
        assert ("95 % interval" in repr(scores)) is speaks


def test_results_are_read_and_written_under_paths(finished: Finished) -> None:
    out, scores = finished
    with pytest.raises(InputError, match="out is int; a path is needed"):
        Scores.read(5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="target is NoneType; a path is needed"):
        scores.write(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"options is str; evalkit.AbErrorOptions\(...\) is needed"):
        scores.rescored(out, options="thresholds")  # type: ignore[arg-type]


def test_methods_and_numbers_are_found_in_scores(finished: Finished) -> None:
    _, scores = finished
    assert "dull" in scores
    assert ("dull", "ab_auc") in scores
    assert "dul" not in scores
    assert ("dull", "psnr") not in scores
    with pytest.raises(InputError, match="ax is str; give the axes to draw on"):
        scores.plot_curves("curves.pdf")


def test_images_may_be_listed_in_python(finished: Finished, photo_set: Path, quick_score: QuickScore) -> None:
    out, scores = finished
    kept = [f"i{i:02d}" for i in range(0, 70, 10)]
    chosen = quick_score(photo_set, None, images=kept)
    assert chosen.summary_csv() == scores.rescored(out, images=kept).summary_csv()


def test_to_frame_is_the_summary(finished: Finished) -> None:
    out, scores = finished
    import pandas as pd

    pd.testing.assert_frame_equal(
        scores.to_frame(), pd.read_csv(out / "summary.csv", dtype={"reason": str}).fillna({"reason": ""})
    )


def test_metrics_keep_the_order_asked_for(photo_set: Path, quick_score: QuickScore) -> None:
    asked = ("psnr_rgb", "colorfulness", "ab_auc")
    scores = quick_score(photo_set, None, {"gray": None}, metrics=asked)
    assert scores.metrics == asked
    assert tuple(row.metric for row in scores.summary) == asked


def test_reading_a_finished_folder_gives_the_same_scores(finished: Finished) -> None:
    out, scores = finished
    read = Scores.read(out)
    assert read.summary == scores.summary
    assert read.per_image.equals(scores.per_image)
    assert read.run_json() == scores.run_json()


@pytest.mark.parametrize(
    "options",
    [
        AbErrorOptions(prior=some_prior()),
        AbErrorOptions(rebalancing=0.5),
        AbErrorOptions(prior=some_prior(), rebalancing=0.25),
        AbErrorOptions(quadrature="thresholds"),
        AbErrorOptions(quadrature="thresholds", max_threshold=20, prior=some_prior()),
    ],
    ids=["prior", "lambda", "prior and lambda", "thresholds", "few thresholds"],
)
def test_rescoring_equals_a_fresh_run_under_these_options(
    options: AbErrorOptions, finished: Finished, photo_set: Path, quick_score: QuickScore
) -> None:
    out, scores = finished
    fresh = quick_score(photo_set, None, options=options)
    again = scores.rescored(out, options=options)
    assert again.summary_csv() == fresh.summary_csv()
    assert again.curves_csv() == fresh.curves_csv()
    assert again["vivid", "ab_auc_rebal"].signature != scores["vivid", "ab_auc_rebal"].signature


def test_rescoring_a_subset_equals_a_fresh_run_on_it(
    finished: Finished, photo_copy: Path, quick_score: QuickScore
) -> None:
    out, scores = finished
    kept = [f"i{i:02d}" for i in range(0, 70, 3)]
    for folder in ("truth", "vivid", "dull"):
        for path in (photo_copy / folder).iterdir():
            if path.stem not in kept:
                path.unlink()
    fresh = quick_score(photo_copy, None)
    again = scores.rescored(out, images=kept)
    assert again.summary_csv() == fresh.summary_csv()
    assert again.curves_csv() == fresh.curves_csv()
    # The shards are those that the statistics lie in, of all images or of these alone.
    assert {**again.run_json(), "shards": None} == {**fresh.run_json(), "shards": None}
    assert again.per_image.to_pylist() == fresh.per_image.to_pylist()


def test_rescoring_an_unknown_image_is_refused(finished: Finished) -> None:
    out, scores = finished
    with pytest.raises(InputError, match=r"image 'x9' of the subset is not in the run \(1 unknown"):
        scores.rescored(out, images=["i00", "x9"])
    with pytest.raises(InputError, match="images is empty; at least one image of the run is needed"):
        scores.rescored(out, images=[])
    with pytest.raises(InputError, match=r"images is one text; give a list of names: \['i00'\]"):
        scores.rescored(out, images="i00")


@pytest.mark.parametrize("scale", [1e-3, 1 / 3, 1e6])
def test_normalisation_of_the_prior_does_not_matter(scale: float, tmp_path: Path, finished: Finished) -> None:
    from evalkit.color.ab_classes import load_prior

    out, scores = finished
    rebalanced = []
    for k in (1.0, scale):
        np.save(tmp_path / "prior.npy", some_prior(k).shares)
        prior = replace(load_prior(tmp_path / "prior.npy", preset("zhang2016")), name="file@00000000")
        rebalanced.append(scores.rescored(out, options=AbErrorOptions(prior=prior))["vivid", "ab_auc_rebal"].value)
    assert rebalanced[1] == pytest.approx(rebalanced[0], rel=1e-12)


def test_without_bootstrap_there_are_no_intervals(photo_set: Path, quick_score: QuickScore) -> None:
    scores = quick_score(photo_set, None, {"vivid": photo_set / "vivid"}, n_bootstrap=0)
    assert all(math.isnan(row.std_error) and math.isnan(row.ci_low) for row in scores.summary)
    assert scores.summary_csv().splitlines()[1].split(",")[3:6] == ["", "", ""]


def test_one_image_has_a_value_and_no_interval(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    for folder in ("truth", "vivid"):
        (tmp_path / folder).mkdir()
        shutil.copyfile(photo_set / folder / "i00.png", tmp_path / folder / "i00.png")
    scores = quick_score(tmp_path, None, {"vivid": tmp_path / "vivid"})
    for row in scores.summary:
        assert not math.isnan(row.value)
        assert math.isnan(row.ci_low)


def test_psnr_of_identical_images_is_unscored_with_a_reason_not_infinite_or_zero(
    photo_set: Path, quick_score: QuickScore
) -> None:
    row = quick_score(photo_set, None, {"truth": None})["truth", "psnr_rgb"]
    assert math.isnan(row.value)
    assert row.n_images == 0
    assert row.reason == "70 of 70 images are identical to the truth (infinite, counted apart)"


# --- what a reader is warned of ---------------------------------------------------------------------------


def warned(scores: Scores, text: str) -> bool:
    return any(text in warning for warning in scores.warnings)


def test_a_changed_lightness_is_counted(photo_copy: Path, quick_score: QuickScore) -> None:
    for path in sorted((photo_copy / "vivid").iterdir()):
        truth = np.array(Image.open(photo_copy / "truth" / path.name))
        pixels = truth // 2 if path.stem in ("i00", "i01") else np.where(truth < 254, truth + (truth % 2), truth)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    scores = quick_score(photo_copy, None, {"vivid": photo_copy / "vivid"})
    assert warned(scores, "method vivid: L differs from the truth's by more than 1 on average in 2 of 70 images")


def test_grayscale_truth_is_counted(photo_copy: Path, quick_score: QuickScore) -> None:
    for name in ("i00", "i33", "i69"):
        Image.open(photo_copy / "truth" / f"{name}.png").convert("L").save(photo_copy / "truth" / f"{name}.png")
    scores = quick_score(photo_copy, None, {"vivid": photo_copy / "vivid"})
    assert warned(scores, "3 of 70 true photos are grayscale")


def test_jpeg_is_counted(photo_copy: Path, quick_score: QuickScore) -> None:
    for name in ("i00", "i33"):
        Image.open(photo_copy / "vivid" / f"{name}.png").save(photo_copy / "vivid" / f"{name}.jpg")
        (photo_copy / "vivid" / f"{name}.png").unlink()
    scores = quick_score(photo_copy, None, {"vivid": photo_copy / "vivid"})
    assert warned(scores, "method vivid: 2 of 70 images are JPEG, 0 of 70 true photos are")


def test_clipped_colours_are_counted(photo_copy: Path, quick_score: QuickScore) -> None:
    for path in (photo_copy / "vivid").iterdir():
        truth = np.array(Image.open(photo_copy / "truth" / path.name)).astype(int)
        Image.fromarray(np.clip(128 + 4 * (truth - 128), 0, 255).astype(np.uint8)).save(path)
    assert warned(quick_score(photo_copy, None, {"vivid": photo_copy / "vivid"}), "(clipped colours)")


def test_some_copies_of_the_truth_are_counted_and_all_are_refused(photo_copy: Path, quick_score: QuickScore) -> None:
    shutil.copyfile(photo_copy / "truth" / "i07.png", photo_copy / "vivid" / "i07.png")
    scores = quick_score(photo_copy, None, {"vivid": photo_copy / "vivid"})
    assert warned(scores, "method vivid: 1 of 70 images has the truth's own pixels")
    for path in (photo_copy / "truth").iterdir():
        Image.open(path).save(photo_copy / "vivid" / f"{path.stem}.bmp")
        (photo_copy / "vivid" / path.name).unlink()
    with pytest.raises(InputError, match="method vivid: every image has the truth's own pixels"):
        quick_score(photo_copy, None, {"vivid": photo_copy / "vivid"})
    assert quick_score(photo_copy, None, {"truth": photo_copy / "vivid"})["truth", "ab_auc"].value == 1


def test_a_prior_whose_largest_class_is_not_neutral_is_warned_of(tmp_path: Path, finished: Finished) -> None:
    from evalkit.color.ab_classes import load_prior

    shares = np.ones(313)
    shares[7] = 5
    np.save(tmp_path / "odd.npy", shares)
    out, scores = finished
    again = scores.rescored(out, options=AbErrorOptions(prior=load_prior(tmp_path / "odd.npy", preset("zhang2016"))))
    assert warned(again, "not the neutral one")
    assert not warned(scores, "neutral")


# --- run.json -----------------------------------------------------------------------------------------------


def test_run_json_round_trips(finished: Finished) -> None:
    out, scores = finished
    assert RunRecord.from_json(out / "run.json").to_json() == scores.record.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"options": 3}', "\xff"])
def test_a_foreign_run_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"run\.json: not a record of a scoring run"):
        RunRecord.from_json(path)


def test_a_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name a finished --out folder"):
        Scores.read(tmp_path)


def test_a_truncated_shard_is_refused_by_name(tmp_path: Path, finished: Finished) -> None:
    out = shutil.copytree(finished[0], tmp_path / "out")
    shard = out / "statistics" / "part-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"part-00001\.parquet: not a readable statistics shard"):
        Scores.read(out)


def test_curves_of_single_images_add_up_to_the_curve_and_their_spread_is_the_bootstraps(finished: Finished) -> None:
    from evalkit.scoring.score_folder import read_score_folder
    from evalkit.scoring.statistics_store import image_curves

    out, scores = finished
    within = image_curves(out / "statistics", ["vivid"])["vivid"]
    assert within.shape == (70, 152)
    assert set(within[:, -1]) == {64 * 64}
    np.testing.assert_allclose(within.sum(axis=0)[:-1] / within[:, -1].sum(), scores.curves["vivid"].fraction)
    draws = np.random.default_rng(0).multinomial(70, np.full(70, 1 / 70), size=4000) @ within
    resampled = (draws[:, :-1] / draws[:, -1:]).std(axis=0)
    found = read_score_folder(out).curve_std_errors["vivid"]
    np.testing.assert_allclose(found, resampled, rtol=0.06, atol=1e-4)


def test_curves_are_drawn_on_the_axes_that_are_given(finished: Finished) -> None:
    from matplotlib.figure import Figure

    _, scores = finished
    axes = Figure().subplots()
    assert scores.plot_curves(axes) is axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines) == list(scores.curves)
    np.testing.assert_array_equal(lines["dull"].get_ydata(), 100 * scores.curves["dull"].fraction)
    with pytest.raises(InputError, match="these scores have no ab-error curves"):
        replace(scores, curves={}).plot_curves(axes)
