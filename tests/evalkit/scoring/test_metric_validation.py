# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""Rank correlation with human scores: SciPy's values, intervals over images, and what HECD shows."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from scoring_folders import finished, photo_set, quick_score  # noqa: F401 (fixtures)

import evalkit
from evalkit.errors import InputError
from evalkit.resampling.rank_correlation import spearman
from evalkit.scoring.metric_validation import read_human_scores, validate_metrics

values = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=30)


@given(values, st.randoms(use_true_random=False))
def test_the_correlation_is_that_of_scipy_ties_included(x, random):
    y = [random.randint(-2, 2) for _ in x]
    ours = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(spearmanr(x, y).statistic)


def test_single_values_and_unequal_lengths():
    assert np.isnan(spearman([1], [2]))
    with pytest.raises(InputError, match="3 values cannot be correlated with 2"):
        spearman([1, 2, 3], [1, 2])


@pytest.fixture
def human(finished):
    """People who go by PSNR, and by nothing else."""
    _, scores = finished
    rows = [row for row in scores.per_image.to_pylist() if np.isfinite(row["psnr_rgb"])]
    return {(row["image"], row["method"]): row["psnr_rgb"] ** 0.5 for row in rows}


def test_people_who_go_by_a_metric_agree_with_it_perfectly(finished, human):
    found = {row.metric: row for row in validate_metrics(finished[1], human, n_bootstrap=100)}
    best = found["psnr_rgb"]
    assert best.correlation == best.within_image == best.ci_low == best.ci_high == pytest.approx(1)
    assert (best.n_pairs, best.n_images) == (len(human), 70)
    assert 0 < found["ab_auc"].ci_low < found["ab_auc"].correlation < found["ab_auc"].ci_high < 1


def test_the_interval_is_over_images_not_rows(finished, human):
    noise = np.random.default_rng(0).normal(size=70)
    by_image = dict(zip(sorted({key[0] for key in human}), noise, strict=True))
    same_for_all_methods = {key: by_image[key[0]] for key in human}
    found = validate_metrics(finished[1], same_for_all_methods, n_bootstrap=500)[0]
    # Three methods on 70 images: as many independent judgements as images.
    assert (found.ci_high - found.ci_low) / 4 == pytest.approx(1 / np.sqrt(70), rel=0.5)
    assert np.isnan(found.within_image)


def test_tables_are_read_with_several_ratings_averaged(tmp_path):
    path = tmp_path / "human.csv"
    path.write_text("rater,image,method,score\n1,a,x,1\n2,a,x,2\n1,b,truth,5\n")
    assert read_human_scores(path) == {("a", "x"): 1.5, ("b", "truth"): 5.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,method\na,x\n", "has no column score"),
        ("image,method,score\na,x,good\n", "row 2: the score is 'good'"),
        ("image,method,score\na,x,nan\n", "row 2: the score is 'nan'"),
        ("image,method,score\n", "holds no scores"),
    ],
)
def test_bad_tables_are_told(tmp_path, text, message):
    path = tmp_path / "human.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_human_scores(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_human_scores(tmp_path / "none.csv")


def test_a_table_from_a_german_spreadsheet_is_read(tmp_path):
    path = tmp_path / "human.csv"
    path.write_bytes("sep=;\nimage;method;score\na;m;1,5\na;m;2,5\n".encode("utf-16"))
    assert read_human_scores(path) == {("a", "m"): 2.0}


def test_names_that_do_not_match_are_told(finished):
    with pytest.raises(InputError, match=r"0 rows of the run have a human score.*for example i00, vivid"):
        validate_metrics(finished[1], {("a", "x"): 1.0})


def test_the_command_prints_writes_and_leaves_out(finished, human, tmp_path):
    from evalkit.commands.validate_metrics import validate_metrics_command as command

    path = tmp_path / "human.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "method", "score"])
        writer.writerows([f"{image}.png", method, score] for (image, method), score in human.items())
    words = [str(finished[0]), "--human", str(path), "--bootstrap", "100"]
    result = CliRunner().invoke(command, [*words, "--out", str(tmp_path / "table.csv")])
    assert result.exit_code == 0, result.output
    assert "psnr_rgb" in result.output
    assert "+1.00 – +1.00" in result.output
    assert (tmp_path / "table.csv").read_text().splitlines()[0].startswith("metric,n_pairs,n_images,correlation")
    said = next(text for text in finished[1].warnings if text.startswith("method dull: ")).removeprefix("method ")
    with (tmp_path / "table.csv").open(newline="") as file:
        assert all(said in row["cautions"] for row in csv.DictReader(file))
    assert f"Warning: {said}" in result.output
    rows = json.loads(CliRunner().invoke(command, [*words, "--json", "--leave-out", "dull"]).output)
    assert not any("dull: " in row["cautions"] for row in rows)
    assert {row["n_images"] for row in rows} == {70}
    assert rows[-1]["n_pairs"] == len([key for key in human if key[1] != "dull"])


@pytest.fixture(scope="session")
def hecd(shared_data, tmp_path_factory):
    """The shared scenes as folders, with the published mean z-scores as the human table."""
    root = tmp_path_factory.mktemp("hecd")
    human = {}
    with (shared_data / "human" / "hecd" / "mean_zscores.csv").open() as file:
        for row in csv.DictReader(file):
            truth, recolouring = row["Ground Truth File"], row["Recolour File"]
            scene = truth.removesuffix("_gt.jpg")
            method = "truth" if truth == recolouring else recolouring.removeprefix(scene).removesuffix(".jpg")
            source = shared_data / "human" / "hecd" / "images" / recolouring
            if source.exists():
                (root / method).mkdir(exist_ok=True)
                (root / method / f"{scene}.jpg").write_bytes(source.read_bytes())
                human[scene, method] = float(row["Mean zScore"])
    return root, human


def test_on_hecd_the_true_photos_carry_the_correlation_of_ms_ssim(hecd):
    root, human = hecd
    methods = {path.name: path for path in sorted(root.iterdir()) if path.name != "truth"}
    scores = evalkit.score(
        root / "truth",
        {"truth": None, **methods},
        metrics=("ms_ssim_ab", "ab_rmse", "colorfulness"),
        size=256,
        n_bootstrap=0,
    )
    whole = {row.metric: row for row in validate_metrics(scores, human, n_bootstrap=200)}
    alone = {key: score for key, score in human.items() if key[1] != "truth"}
    recoloured = {row.metric: row for row in validate_metrics(scores, alone, n_bootstrap=200)}
    assert whole["ms_ssim_ab"].n_images == 8
    assert whole["ms_ssim_ab"].correlation > 0.2 > abs(recoloured["ms_ssim_ab"].correlation)
    assert whole["ab_rmse"].correlation < 0
