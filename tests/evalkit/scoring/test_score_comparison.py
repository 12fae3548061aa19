"""Differences of two runs: exact where they agree, with paired intervals, refused where signatures differ."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from scoring_folders import QUICK_METRICS, finished, photo_copy, photo_set, quick_score  # noqa: F401 (fixtures)

from evalkit.cli import main
from evalkit.errors import InputError
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.scoring.score_comparison import compare_methods, compare_runs
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
        assert other.p_value == pytest.approx(1 / 301)  # duller is worse, beyond doubt: no swap goes as far


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
