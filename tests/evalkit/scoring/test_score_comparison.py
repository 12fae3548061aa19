"""Differences of two runs: exact where they agree, with paired intervals, refused where signatures differ."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image
from scoring_folders import QUICK_METRICS, finished, photo_copy, photo_set, quick_score  # noqa: F401 (fixtures)

from evalkit.cli import main
from evalkit.errors import InputError
from evalkit.metrics import DEFAULT_METRICS, load_metric
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.resampling.multiplicity import holm
from evalkit.scoring.score_comparison import Difference, Differences, compare_methods, compare_runs, p_text
from evalkit.scoring.scores import Scores

Finished = tuple[Path, Scores]
QuickScore = Callable[..., Scores]


def test_identical_runs_differ_by_exactly_nothing(finished: Finished) -> None:
    differences = compare_runs(finished[0], finished[0], n_bootstrap=200)
    assert [(d.method, d.metric) for d in differences] == [(s.method, s.metric) for s in finished[1].summary]
    for d in differences:
        assert (d.difference, d.std_error, d.ci_low, d.ci_high) == (0.0, 0.0, 0.0, 0.0)


def test_two_runs_of_one_method_each_are_compared_though_the_names_differ(
    tmp_path: Path, photo_set: Path, quick_score: QuickScore
) -> None:
    first = quick_score(photo_set, tmp_path / "a", {"vivid": photo_set / "vivid", "gray": None})
    second = quick_score(photo_set, tmp_path / "b", {"dull": photo_set / "dull", "gray": None})
    differences = {(d.method, d.metric): d for d in compare_runs(tmp_path / "a", tmp_path / "b", n_bootstrap=500)}
    for metric in QUICK_METRICS:
        d = differences["vivid", metric]
        assert d.other_method == "dull"
        assert d.difference == second["dull", metric].value - first["vivid", metric].value
        assert d.ci_low < d.difference < d.ci_high < 0  # duller is worse, beyond doubt
        # Pairing pays: both runs see the same images.
        assert d.std_error < first["vivid", metric].std_error + second["dull", metric].std_error
        assert differences["gray", metric].difference == 0


def test_comparing_the_other_way_round_turns_the_sign(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    quick_score(photo_set, tmp_path / "a", {"mine": photo_set / "vivid"})
    quick_score(photo_set, tmp_path / "b", {"mine": photo_set / "dull"})
    one = compare_runs(tmp_path / "a", tmp_path / "b", n_bootstrap=500)
    two = compare_runs(tmp_path / "b", tmp_path / "a", n_bootstrap=500)
    for d, reverse in zip(one, two, strict=True):
        assert d.difference == -reverse.difference
        assert (d.ci_low, d.ci_high) == pytest.approx((-reverse.ci_high, -reverse.ci_low), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"size": 32}, r"size \(native against 32-warp-bicubic\)"),
        ({"options": AbErrorOptions(quadrature="thresholds")}, r"quad \(exact150 against mean0-150\)"),
        ({"options": AbErrorOptions(rebalancing=0.5)}, r"ab_auc_rebal of .* lam \(0 against 0.5\)"),
    ],
    ids=["size", "quadrature", "lambda"],
)
def test_runs_whose_signatures_differ_are_refused_and_the_fields_are_named(
    options: dict[str, object], field: str, tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    quick_score(photo_set, tmp_path / "b", **options)
    with pytest.raises(InputError, match=f"cannot be compared: .*{field}|{field}"):
        compare_runs(finished[0], tmp_path / "b")


def test_other_images_are_refused_with_set_and_number(
    tmp_path: Path, photo_copy: Path, finished: Finished, quick_score: QuickScore
) -> None:
    for folder in ("truth", "vivid", "dull"):
        (photo_copy / folder / "i00.png").unlink()
    quick_score(photo_copy, tmp_path / "b")
    with pytest.raises(InputError, match=r"set \(own@\w+ against own@\w+\), n \(70 against 69\)"):
        compare_runs(finished[0], tmp_path / "b")


def test_runs_that_share_nothing_are_refused(
    tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    quick_score(photo_set, tmp_path / "a", {"x": photo_set / "vivid"})
    with pytest.raises(InputError, match="share no method"):
        compare_runs(finished[0], tmp_path / "a")
    quick_score(photo_set, tmp_path / "b", {"gray": None}, metrics=("colorfulness",))
    with pytest.raises(InputError, match="share no metric"):
        compare_runs(finished[0], tmp_path / "b")


def test_the_command_prints_a_table_or_strict_json(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    # PSNR of the truth itself is unscored: null, and said.
    quick_score(photo_set, tmp_path / "a", {"truth": None, "mine": photo_set / "vivid"})
    quick_score(photo_set, tmp_path / "b", {"truth": None, "mine": photo_set / "dull"})
    command = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--bootstrap", "100"]

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    result = CliRunner().invoke(main, [*command, "--json"])
    rows = json.loads(result.stdout, parse_constant=refuse)
    assert {row["metric"]: row["difference"] for row in rows if row["method"] == "truth"}["psnr_rgb"] is None
    table = CliRunner().invoke(main, command)
    assert table.exit_code == 0
    assert "Second minus first" in table.stdout
    assert "unscored in one of the runs" in table.stderr
    assert CliRunner().invoke(main, [*command, "--quiet"]).output == ""


def test_a_summary_without_statistics_is_refused_with_what_to_do(tmp_path: Path, finished: Finished) -> None:
    again = finished[1].rescored(finished[0], options=AbErrorOptions(rebalancing=0.5))
    again.write(tmp_path / "rescored")
    with pytest.raises(InputError, match=r"rescored: holds a summary without statistics .* compare folders"):
        compare_runs(finished[0], tmp_path / "rescored")


def test_runs_are_named_by_their_folders(finished: Finished) -> None:
    _, scores = finished
    for compared in (lambda: compare_runs(scores, scores), lambda: compare_methods(scores, "dull")):
        with pytest.raises(InputError, match="a run is named by its folder, not by Scores"):
            compared()


def test_methods_of_one_run_are_compared_with_a_baseline_as_two_runs_would_be(
    tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    quick_score(photo_set, tmp_path / "a", {"x": photo_set / "vivid"})
    quick_score(photo_set, tmp_path / "b", {"x": photo_set / "dull"})
    apart = {d.metric: d for d in compare_runs(tmp_path / "a", tmp_path / "b", n_bootstrap=300)}
    together = {(d.other_method, d.metric): d for d in compare_methods(finished[0], "vivid", n_bootstrap=300)}
    assert {method for method, _ in together} == {"dull", "gray"}
    for metric in QUICK_METRICS:
        one, other = apart[metric], together["dull", metric]
        for field in ("first", "second", "difference", "ci_low", "ci_high", "p_value"):
            assert getattr(one, field) == getattr(other, field), field
        assert other.p_value < 1e-4  # duller is worse, beyond doubt: no swap goes as far


def test_swapped_labels_of_a_method_and_itself_go_as_far_as_observed(finished: Finished) -> None:
    assert {d.p_value for d in compare_runs(finished[0], finished[0], n_bootstrap=100)} == {1.0}


@pytest.mark.parametrize(
    ("baseline", "message"), [("nobody", "no method 'nobody'; it has vivid, dull, gray"), (None, "needs two runs")]
)
def test_a_baseline_that_is_not_there(baseline: str | None, message: str, finished: Finished) -> None:
    options = ["--baseline", baseline] if baseline else []
    result = CliRunner().invoke(main, ["compare", str(finished[0]), *options])
    assert result.exit_code == 2
    assert message in result.stderr


def vary(root: Path, photo_set: Path, names: list[str], *, better: float, worse: float, perfect: set[str]) -> Path:
    """Two methods on some photos: everywhere `a` is nearer to the truth than `b`, except that `b` is the truth on some."""
    for folder in ("truth", "a", "b"):
        (root / folder).mkdir(parents=True)
    for name in names:
        truth = np.array(Image.open(photo_set / "truth" / f"{name}.png")).astype(float)
        gray = truth.mean(axis=2, keepdims=True)
        Image.fromarray(truth.astype(np.uint8)).save(root / "truth" / f"{name}.png")
        for folder, saturation in (("a", better), ("b", 1.0 if name in perfect else worse)):
            pixels = np.clip(np.rint(gray + saturation * (truth - gray)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{name}.png")
    return root


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_bootstrap": "many"}, "n_bootstrap is 'many'; a whole number is needed"),
        ({"n_bootstrap": 5}, "5 bootstrap replicates are too few for an interval"),
        ({"seed": -1}, "seed is -1; a whole number, at least 0, is needed"),
    ],
)
def test_what_is_resampled_is_checked_before_a_run_is_read(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        compare_runs("nowhere", "nowhere", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=sentence):
        compare_methods("nowhere", "mine", **options)  # type: ignore[arg-type]


def test_an_infinite_psnr_is_left_out_on_both_sides(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    """Averaged over each method's own finite images, b would win by the images that it leaves."""
    names = [f"i{i:02d}" for i in range(12)]
    # The images on which b is perfect are those that are hardest for a.
    root = vary(tmp_path / "in", photo_set, names, better=0.8, worse=0.7, perfect={"i00", "i01"})
    quick_score(root, tmp_path / "out", {"a": root / "a", "b": root / "b"}, metrics=("psnr_rgb",))
    (d,) = compare_methods(tmp_path / "out", "a", n_bootstrap=200)
    assert d.n_images == 10
    assert d.ci_high < 0  # b is worse on every image that both have
    per_image = Scores.read(tmp_path / "out").per_image.to_pylist()
    values = {(row["image"], row["method"]): row["psnr_rgb"] for row in per_image}
    expected = np.mean([values[name, "b"] - values[name, "a"] for name in names[2:]])
    assert d.difference == pytest.approx(expected, abs=1e-12)


def test_equal_on_five_images_and_perfect_on_the_sixth_is_no_loss(
    tmp_path: Path, photo_set: Path, quick_score: QuickScore
) -> None:
    names = [f"i{i:02d}" for i in range(6)]
    root = vary(tmp_path / "in", photo_set, names, better=0.8, worse=0.8, perfect={"i03"})
    scores = quick_score(root, tmp_path / "out", {"a": root / "a", "b": root / "b"}, metrics=("psnr_rgb",))
    (d,) = compare_methods(tmp_path / "out", "a", n_bootstrap=200)
    assert (d.n_images, d.difference, d.p_value) == (5, 0.0, 1.0)
    assert set(scores.first_rank["psnr_rgb"]) == {"a", "b"}


def test_the_table_fits_80_columns_and_says_on_how_many_images(
    tmp_path: Path, photo_set: Path, quick_score: QuickScore
) -> None:
    names = [f"i{i:02d}" for i in range(8)]
    root = vary(tmp_path / "in", photo_set, names, better=0.8, worse=0.4, perfect={"i03"})
    methods = {"a_method_with_a_long_name": root / "a", "another_one": root / "b", "gray": None}
    quick_score(root, tmp_path / "out", methods, metrics=DEFAULT_METRICS)
    command = ["compare", str(tmp_path / "out"), "--baseline", "a_method_with_a_long_name", "--bootstrap", "200"]
    text = CliRunner(env={"COLUMNS": "80"}).invoke(main, command).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "on 8 images" in text
    assert "PSNR (7)" in text
    assert "adjusted (Holm) for 14 rows" in " ".join(text.split())
    assert "…" not in text


def test_holms_adjustment_is_over_all_rows_that_were_tested(finished: Finished) -> None:
    differences = compare_methods(finished[0], "vivid", n_bootstrap=200)
    adjusted = [d.p_holm for d in differences]
    assert adjusted == pytest.approx(list(holm([d.p_value for d in differences])))
    assert max(adjusted) > max(d.p_value for d in differences)


@pytest.mark.parametrize(
    ("p_value", "is_at_floor", "shown"),
    [
        (0.0312, False, "0.031"),
        (1.0, False, "1.000"),
        (1e-5, True, "< 0.001"),
        (0.004, True, "at most 0.004"),
        (math.nan, False, ""),
    ],
)
def test_a_p_value_is_never_shown_as_zero(p_value: float, is_at_floor: bool, shown: str) -> None:
    assert p_text(p_value, is_at_floor=is_at_floor) == shown


def test_chosen_metrics_are_the_family_that_p_is_adjusted_for(finished: Finished) -> None:
    whole = {(d.other_method, d.metric): d for d in compare_methods(finished[0], "vivid", n_bootstrap=200)}
    alone = compare_methods(finished[0], "vivid", metrics=["psnr_rgb"], n_bootstrap=200)
    assert [d.metric for d in alone] == ["psnr_rgb"] * 2
    for d in alone:
        assert d.p_value == whole[d.other_method, "psnr_rgb"].p_value
        assert d.p_value <= d.p_holm <= whole[d.other_method, "psnr_rgb"].p_holm
    by_default = compare_runs(finished[0], finished[0], metrics=["default"], n_bootstrap=0)
    assert {d.metric for d in by_default} == {"ab_auc", "ab_auc_rebal", "psnr_rgb"}


def test_a_metric_that_runs_lack_is_refused_with_those_they_have(finished: Finished) -> None:
    with pytest.raises(InputError, match=r"there is no metric 'ssim_rgb'.*ab_auc, ab_auc_rebal, psnr_rgb"):
        compare_methods(finished[0], "vivid", metrics=["ab_auc", "ssim_rgb"])
    with pytest.raises(InputError, match=r"metrics is one text; give a list of names: \['psnr_rgb'\]"):
        compare_runs(finished[0], finished[0], metrics="psnr_rgb")


def test_the_command_writes_what_it_prints(tmp_path: Path, finished: Finished) -> None:
    command = ["compare", str(finished[0]), "--baseline", "vivid", "--bootstrap", "100", "--metrics", "psnr_rgb"]
    result = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "d.csv"), "--json"])
    with (tmp_path / "d.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    printed = json.loads(result.stdout)
    assert [row["other_method"] for row in written] == ["dull", "gray"]
    assert [float(row["difference"]) for row in written] == [row["difference"] for row in printed]
    refused = CliRunner().invoke(main, [*command, "--out", str(tmp_path)])
    assert refused.exit_code == 2
    assert "is a folder; a file such as" in refused.stderr
    for names, sentence in ((",", "no metric to compare was given"), ("psnr", "did you mean 'psnr_rgb'?")):
        refused = CliRunner().invoke(main, [*command[:-1], names, "--out", str(tmp_path / "none.csv")])
        assert refused.exit_code == 2
        assert sentence in refused.stderr
        assert not (tmp_path / "none.csv").exists()


def test_a_comparison_is_a_sequence_that_shows_itself_and_becomes_a_frame(finished: Finished) -> None:
    differences = compare_methods(finished[0], "vivid", n_bootstrap=200)
    assert len(differences) == len(list(differences)) == 6
    assert isinstance(differences[0], Difference)
    assert isinstance(differences[1:3], Differences)
    assert differences[1:3][0] is differences[1]
    frame = differences.to_frame()
    assert list(frame.columns) == list(vars(differences[0]))
    assert frame["difference"].tolist() == [d.difference for d in differences]
    d = differences[0]
    assert d.metric == "ab_auc"
    shown = repr(differences)
    assert shown.startswith("Second minus first on 70 images: 6 differences")
    assert f"{100 * d.difference:.2f}" in shown
    assert f"{100 * d.ci_low:.2f} – {100 * d.ci_high:.2f}" in shown
    assert differences._repr_html_().count("<tr>") == 7


def test_an_unscored_difference_is_shown_as_such(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    quick_score(photo_set, tmp_path / "out", {"truth": None, "gray": None, "mine": photo_set / "vivid"})
    differences = compare_runs(str(tmp_path / "out"), tmp_path / "out", n_bootstrap=0)
    (psnr,) = (row for row in differences.shown_rows() if (row["first"], row["metric"]) == ("truth", "PSNR"))
    assert psnr["difference"] == "unscored"
    assert psnr["95 % interval"] == psnr["p (Holm)"] == ""


def test_a_difference_carries_what_its_two_runs_caution_against(
    tmp_path: Path, photo_copy: Path, quick_score: QuickScore
) -> None:
    shutil.copytree(photo_copy / "vivid", photo_copy / "copied")
    shutil.copyfile(photo_copy / "truth" / "i00.png", photo_copy / "copied" / "i00.png")
    quick_score(photo_copy, tmp_path / "a", {"mine": photo_copy / "vivid", "gray": None})
    quick_score(photo_copy, tmp_path / "b", {"mine": photo_copy / "copied", "gray": None})
    of_second = "second run: mine: 1 of 70 images has the truth's own pixels"
    infinite = "second run: mine: 1 of 70 images is identical to the truth"
    rows = {(d.method, d.metric): d.cautions for d in compare_runs(tmp_path / "a", tmp_path / "b", n_bootstrap=0)}
    assert of_second in rows["mine", "ab_auc"]
    # A run and its copy say the same, once; the two means of |dL| here are not the same.
    (itself, *_) = compare_runs(tmp_path / "a", shutil.copytree(tmp_path / "a", tmp_path / "a-too"), n_bootstrap=0)
    assert [text.partition(" differs")[0] for text in itself.cautions] == ["mine: L"]
    assert [text.partition(" differs")[0] for text in rows["mine", "ab_auc"]] == [
        "first run: mine: L", "second run: mine: L", of_second,
    ]  # fmt: skip
    assert any(text.startswith(infinite) for text in rows["mine", "psnr_rgb"])
    assert not any(text.startswith(infinite) for text in rows["mine", "ab_auc"])
    assert not any("mine" in text for text in rows["gray", "ab_auc"])

    out = tmp_path / "differences.csv"
    command = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--bootstrap", "100"]
    printed = " ".join(CliRunner().invoke(main, [*command, "--out", str(out)]).stdout.split())
    assert printed.count(f"Warning: {of_second}") == 1
    assert f"Warning: psnr_rgb: {infinite}" in printed
    with out.open(newline="", encoding="utf-8") as file:
        written = {(row["method"], row["metric"]): row["cautions"] for row in csv.DictReader(file)}
    assert written == {key: "; ".join(cautions) for key, cautions in rows.items()}
    as_json = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert {(row["method"], row["metric"]): tuple(row["cautions"]) for row in as_json} == rows

    # Two methods of one run: of whom a caution speaks is said by its name alone.
    quick_score(photo_copy, tmp_path / "c", {"mine": photo_copy / "vivid", "theirs": photo_copy / "copied"})
    (found,) = compare_methods(tmp_path / "c", "mine", n_bootstrap=0, metrics=["ab_auc"])
    assert "theirs: 1 of 70 images has the truth's own pixels" in found.cautions


def test_a_difference_is_found_by_method_and_metric(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    methods = {"vivid": photo_set / "vivid", "dull": photo_set / "dull", "gray": None}
    quick_score(photo_set, tmp_path / "a", methods)
    differences = compare_methods(tmp_path / "a", "vivid", n_bootstrap=200)
    for record in differences:
        assert differences[record.other_method, record.metric] is record
    metric = QUICK_METRICS[0]
    with pytest.raises(KeyError, match=r"2 differences in .* have the method 'vivid'; give the other one: dull, gray"):
        differences["vivid", metric]
    with pytest.raises(KeyError, match=r"in these differences there is no method 'dul' \(did you mean 'dull'\?\)"):
        differences["dul", metric]
    with pytest.raises(KeyError, match="in these differences there is no metric 'psn'"):
        differences["dull", "psn"]
    for wrong in ("dull", ("dull",), 1.5, None):
        with pytest.raises(InputError, match="give a method and a metric, differences"):
            differences[wrong]
    one = Differences(tuple(record for record in differences if record.other_method == "dull"))
    assert one["vivid", metric] is one["dull", metric]
    assert differences[np.int64(0)] is differences[0]


def test_differences_are_drawn_on_the_axes_of_the_caller(
    tmp_path: Path, photo_set: Path, quick_score: QuickScore
) -> None:
    figure = Figure()
    axes, other = figure.subplots(1, 2)
    quick_score(photo_set, tmp_path / "a", {"vivid": photo_set / "vivid", "dull": photo_set / "dull", "gray": None})
    differences = compare_methods(tmp_path / "a", "vivid", n_bootstrap=200)
    assert differences.plot(axes, metric="ab_auc") is axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["gray minus vivid", "dull minus vivid"]
    assert axes.get_xlabel() == "AuC, second minus first, points"
    shown = {tuple(line.get_xdata()) for line in axes.lines}
    for method in ("dull", "gray"):
        record = differences[method, "ab_auc"]
        assert (100 * record.ci_low, 100 * record.ci_high) in shown
        assert (100 * record.difference,) in shown
    assert differences.plot(other).get_xlabel().startswith(load_metric(differences[0].metric).title)
    with pytest.raises(InputError, match="in these differences there is no metric 'psnr'"):
        differences.plot(axes, metric="psnr")
    with pytest.raises(InputError, match="there are no differences to draw"):
        differences[:0].plot(axes)
    with pytest.raises(InputError, match="ax is str; give the axes to draw on"):
        differences.plot("axes")
