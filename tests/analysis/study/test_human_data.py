"""Real people: half of the participants of two published studies, read through column mappings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.statistics.crossed import CrossedDesign, variance_components
from analysis.statistics.reliability import rank_correlation
from analysis.study.analysis import analyze_study
from analysis.study.breakdowns import component_rows, image_rows
from analysis.trials.trial_files import ColumnMapping

LAGO = """
columns = {participant = "subj_id", image = "img_id", rating = "likert", method = "ds", trial = "order", response_ms = "resp_time"}
missing = {rating = -1}
lookup = {file = "img.csv", key = "img_id"}
"""
HECD = ColumnMapping(
    columns={"participant": "ID", "file_first": "File1", "file_second": "File2", "score_first": "Score1",
             "score_second": "Score2", "survey": "SurNum"},
    truth_pattern=r"_gt\.",
    name_pattern=r"^(?P<image>\d{6})(?P<method>[A-Z]+(_\d+)?)\.",
)  # fmt: skip
NETWORKS = {
    "I_1": "Iizuka",
    "L_1": "Larsson",
    "O_1": "DeOldify",
    "P_1": "Photoshop",
    "Z_1": "Zhang 1",
    "Z_2": "Zhang 2",
}


@pytest.fixture(scope="module")
def lago(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> analysis.TrialTable:
    folder = shared_data / "human" / "lago2022"
    mapping = tmp_path_factory.mktemp("lago") / "lago.toml"
    mapping.write_text(LAGO.replace("img.csv", (folder / "img.csv").as_posix()))
    return analysis.read_trials(folder / "ans.csv", mapping=ColumnMapping.from_toml(mapping))


@pytest.fixture(scope="module")
def hecd(shared_data: Path) -> analysis.TrialTable:
    return analysis.read_trials(shared_data / "human" / "hecd" / "clean_raw_data.csv", mapping=HECD)


def test_untouched_sliders_are_unscored(lago: analysis.TrialTable) -> None:
    assert len(lago) == 10_710
    assert int((lago.unscored == "no rating").sum()) == 621
    assert lago.preset == "rating"
    assert np.nanmin(lago.value) == 1
    assert np.nanmax(lago.value) == 7


def test_ratings_of_real_faces_have_crossed_intervals(lago: analysis.TrialTable, shared_data: Path) -> None:
    rates = analysis.fool_rates(lago)
    raw = pd.read_csv(shared_data / "human" / "lago2022" / "ans.csv", sep=";")
    faces = pd.read_csv(shared_data / "human" / "lago2022" / "img.csv", sep=";")
    expected = raw[raw.likert >= 0].merge(faces, on="img_id").groupby("ds").likert.mean()
    for record in rates:
        assert record.mean is not None
        assert record.mean.estimate == pytest.approx(expected[record.method])
        assert record.mean.ci_low < record.mean.estimate < record.mean.ci_high
    # People saw StyleGAN2's faces as more real than PGGAN's: the study's own finding.
    found = analysis.comparisons(lago.where(lago["method"] != "Control"), baseline="PGGAN").to_frame()
    assert found.set_index("method_a").loc["StyleGAN2", "ci_high"] < 0


def test_the_components_of_real_ratings_agree_with_quadratic_forms(lago: analysis.TrialTable) -> None:
    """Moments once more, with dense projection matrices and traces instead of the closed expectations."""
    one = lago.of_kind("test").where(lago.of_kind("test")["method"] == "PGGAN")
    one = one.where(np.isin(one["participant"], np.unique(one["participant"])[:80]))
    design = CrossedDesign.from_labels(one["participant"], one["image"])
    z_p, z_i = np.eye(design.n_participants)[design.participant], np.eye(design.n_images)[design.image]
    n = len(one)
    forms = [np.eye(n) - z @ np.linalg.pinv(z) for z in (z_p, z_i)] + [np.eye(n) - 1 / n]
    covariances = [z_p @ z_p.T, z_i @ z_i.T, np.eye(n)]
    system = [[np.trace(form @ covariance) for covariance in covariances] for form in forms]
    expected = np.linalg.solve(system, [one.value @ form @ one.value for form in forms])
    found = variance_components(one.value, design)
    assert (found.participant, found.image, found.residual) == pytest.approx(tuple(expected))


def test_the_variance_components_stated_in_the_documentation(lago: analysis.TrialTable) -> None:
    rows = {row["method"]: row for row in component_rows(lago)}
    stated = {"FFHQ": (0.37, 0.59), "PGGAN": (0.45, 0.49), "StyleGAN": (0.46, 0.36), "StyleGAN2": (0.30, 0.37)}
    for method, (participant, image) in stated.items():
        assert rows[method]["participant"] == pytest.approx(participant, abs=0.005)
        assert rows[method]["image"] == pytest.approx(image, abs=0.005)


def test_every_number_of_the_page_on_real_people_is_what_the_functions_give(
    lago: analysis.TrialTable, hecd: analysis.TrialTable
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "real-people.md").read_text(encoding="utf-8")
    components = {row["method"]: row for row in component_rows(lago)}
    rows = []
    for record in analysis.fool_rates(lago):
        assert record.mean is not None
        if record.method != "Control":
            name = "FFHQ (photos)" if record.method == "FFHQ" else record.method
            mean, parts = record.mean, components[record.method]
            spreads = " | ".join(f"{parts[part]:.2f}" for part in ("participant", "image", "residual"))
            rows.append(f"| {name} | {mean.estimate:.2f} | {mean.ci_low:.2f} to {mean.ci_high:.2f} | {spreads} |")
    titles = {"Zhang 1": "Zhang et al. (first)", "Zhang 2": "Zhang et al. (second)", "Iizuka": "Iizuka et al.",
              "Larsson": "Larsson et al."}  # fmt: skip
    rates = analysis.fool_rates(hecd)
    for method, name in NETWORKS.items():
        mean = rates[method].mean
        assert mean is not None
        low, high = 100 * mean.ci_low, 100 * mean.ci_high
        size = f"{mean.n_participants} / {mean.n_images} / {mean.n_trials}"
        rows.append(f"| {titles.get(name, name)} | {100 * mean.estimate:.1f} % | {low:.1f} to {high:.1f} | {size} |")
    assert [row for row in rows if row not in page] == []


def test_colorizers_get_a_fool_rate_with_ties_counted_half(hecd: analysis.TrialTable, shared_data: Path) -> None:
    raw = pd.read_csv(shared_data / "human" / "hecd" / "clean_raw_data.csv")
    first_is_truth = raw.File1.str.contains("_gt")
    fake = raw.File2.where(first_is_truth, raw.File1)
    gain = (raw.Score2 - raw.Score1).where(first_is_truth, raw.Score1 - raw.Score2)
    expected = (0.5 * (1 + np.sign(gain))).groupby(fake.str.extract(r"\d{6}(.*)\.jpg")[0]).mean()
    rates = analysis.fool_rates(hecd)
    assert len(hecd) == 12_760
    for method in NETWORKS:
        record = rates[method]
        assert record.mean is not None
        assert record.mean.estimate == pytest.approx(expected[method])
        assert 0.05 < record.mean.ci_low < record.mean.estimate < record.mean.ci_high < 0.75
        assert record.paper is None  # fractions have no counts to resample


def test_our_image_rates_order_images_as_the_published_scores_do(hecd: analysis.TrialTable, shared_data: Path) -> None:
    published = pd.read_csv(shared_data / "human" / "hecd" / "mean_zscores.csv")
    score = dict(zip(published["Recolour File"], published["Mean zScore"], strict=True))
    rows = image_rows(hecd)
    names = [f"{row['image']}{row['method']}.jpg" for row in rows]
    found = rank_correlation([row["raw_rate"] for row in rows], [score.get(name, np.nan) for name in names])
    assert found.n > 600
    assert found.ci_low > 0.9


def test_a_whole_analysis_of_real_answers_runs(hecd: analysis.TrialTable) -> None:
    chosen = hecd.where(np.isin(hecd["method"], list(NETWORKS)))
    result = analyze_study(chosen)
    assert len(result.headline.rates or ()) == 6
    assert len(result.headline.differences or ()) == 15
