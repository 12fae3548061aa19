"""Leaderboards: what may stand together, who shares a rank, methods of one name, runs that come later."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import evalkit
from analysis.commands.leaderboard import leaderboard_command
from analysis.leaderboard.boards import make_boards
from analysis.leaderboard.sources import read_sources
from evalkit.errors import InputError
from evalkit.text_formats import csv_text
from tests.analysis.conftest import simulated_rows

N_IMAGES = 24
NOISE = {"near": 12, "alike": 12, "far": 45}


def leaderboard(*arguments: object) -> str:
    result = CliRunner().invoke(leaderboard_command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def score(folder: Path, out: str, methods: dict[str, str | None], *, truth: str = "truth", **options: object) -> Path:
    named = {name: None if side is None else folder / side for name, side in methods.items()}
    settings = {"metrics": ("ab_auc", "psnr_rgb"), "n_bootstrap": 100, "workers": 1, **options}
    evalkit.score(folder / truth, named, out=folder / out, **settings)
    return folder / out


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, methods, the runs of two members of a group, and a study; read only."""
    folder = tmp_path_factory.mktemp("group")
    rng = np.random.default_rng(0)
    for number in range(N_IMAGES):
        truth = rng.integers(40, 200, (16, 16, 3))
        spread = rng.uniform(0.5, 1.5)
        for name, noise in {"truth": 0, **NOISE}.items():
            (folder / name).mkdir(exist_ok=True)
            pixels = np.clip(truth + spread * rng.normal(0, noise, truth.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"test{number:02d}.png")
    score(
        folder, "ours", {"near": "near", "alike": "alike", "gray": None}, metrics=("ab_auc", "psnr_rgb", "colorfulness")
    )
    score(folder, "theirs", {"far": "far", "gray": None})
    trials = simulated_rows({"near": 0.4, "alike": 0.4, "far": 0.02}, n_participants=15, n_trials=20)
    (folder / "trials.csv").write_text(csv_text(trials), encoding="utf-8")
    return folder


def rows_of(out: Path, name: str = "leaderboard.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ranks(out: Path, measure: str) -> dict[str, tuple[str, str]]:
    return {row["method"]: (row["first_rank"], row["last_rank"]) for row in rows_of(out) if row["measure"] == measure}


def test_methods_of_two_runs_and_a_study_are_ranked_and_equal_ones_share_a_rank(group: Path, tmp_path: Path) -> None:
    out = tmp_path / "board"
    printed = leaderboard(group / "ours", group / "theirs", group / "trials.csv", "--out", out)
    for measure in ("ab_auc", "psnr_rgb", "fooled"):
        found = ranks(out, measure)
        assert found.pop("gray", ("", "")) == ("", "")
        assert found == {"near": ("1", "2"), "alike": ("1", "2"), "far": ("3", "3")}, measure
    assert set(ranks(out, "colorfulness").values()) == {("", "")}  # no direction is better
    assert "far" in printed
    assert "1–2" in printed
    values = {(row["method"], row["measure"]): row["value"] for row in rows_of(out)}
    for run in ("ours", "theirs"):
        with (group / run / "summary.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                assert values[row["method"], row["metric"]] == row["value"]
    pairs = {(row["measure"], row["first"], row["second"]): row for row in rows_of(out, "leaderboard_pairs.csv")}
    compared = evalkit.compare_methods(
        score(group, str(tmp_path / "both"), {"near": "near", "far": "far"}), "near", n_bootstrap=0
    )
    for difference in compared:
        pair = pairs[difference.metric, "near", "far"]
        assert float(pair["difference"]) == pytest.approx(-difference.difference)
        assert int(pair["n_images"]) == difference.n_images
        assert pair["told_apart"] == "1"
    table = (out / "leaderboard.md").read_text(encoding="utf-8")
    assert "| fooled % ↑ | rank by fooled | AuC % ↑ | rank by AuC |" in table
    assert "Neither direction is better of CF." in table


def test_trials_and_their_analysis_give_the_same_ranks(group: Path, tmp_path: Path) -> None:
    from analysis.commands.analyze import analyze_command

    def analyzed(name: str, *options: str) -> Path:
        arguments = [str(group / "trials.csv"), "--out", str(tmp_path / name), *options]
        assert CliRunner().invoke(analyze_command, arguments).exit_code == 0
        return tmp_path / name

    leaderboard(group / "trials.csv", "--out", tmp_path / "of trials")
    leaderboard(analyzed("rates"), "--out", tmp_path / "of rates")
    boards = [rows_of(tmp_path / name) for name in ("of trials", "of rates")]
    for mine, theirs in zip(*boards, strict=True):
        assert {**mine, "sources": ""} == {**theirs, "sources": ""}
    with pytest.raises(InputError, match=r"compares methods with the baseline 'near' alone, and ranks need every pair"):
        leaderboard(analyzed("against near", "--baseline=near"), "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ("other definition", r"the signatures of ab_auc differ in quad \(exact150 against mean0-150\)"),
        ("fewer images", r"the signatures of ab_auc differ in set \(.*\), n \(24 against 23\)"),
        ("other photos", r"their photos have the same names but other contents \(truth \w{8} against \w{8}\)"),
        (
            "no shared metric",
            r"their images differ \(set:own@\w+, n:24, size:native against set:own@\w+, n:23, size:native\)",
        ),
    ],
)
def test_runs_that_differ_are_refused_by_the_field_or_stand_apart(
    other: str, named: str, group: Path, tmp_path: Path
) -> None:
    shutil.copytree(group / "truth", tmp_path / "truth")
    shutil.copytree(group / "far", tmp_path / "far")
    options: dict[str, object] = {}
    if other == "other definition":
        options["options"] = evalkit.AbErrorOptions(quadrature="thresholds")
    elif other == "other photos":
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "truth" / "test00.png")
    else:
        for side in ("truth", "far"):
            (tmp_path / side / "test00.png").unlink()
        options["metrics"] = ("ssim_rgb",) if other == "no shared metric" else ("ab_auc", "psnr_rgb")
    score(tmp_path, "run", {"far": "far"}, **options)
    with pytest.raises(InputError, match=rf"run cannot stand beside .*ours: {named}\. Score them alike"):
        leaderboard(group / "ours", tmp_path / "run", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    leaderboard(group / "ours", tmp_path / "run", "--apart", "--out", tmp_path / "out")
    boards = {row["method"]: row["board"] for row in rows_of(tmp_path / "out")}
    assert boards == {"near": "1", "alike": "1", "gray": "1", "far": "2"}


def test_a_metric_that_differs_may_be_left_out(group: Path, tmp_path: Path) -> None:
    run = score(group, str(tmp_path / "run"), {"far": "far"}, options=evalkit.AbErrorOptions(quadrature="thresholds"))
    leaderboard(group / "ours", run, "--metrics", "psnr_rgb", "--out", tmp_path / "out")
    assert {row["measure"] for row in rows_of(tmp_path / "out")} == {"psnr_rgb"}


def test_one_name_for_other_files_is_two_methods_and_for_the_same_files_one(group: Path, tmp_path: Path) -> None:
    score(group, str(tmp_path / "later"), {"near": "far"})
    score(group, str(tmp_path / "more"), {"near": "near"}, metrics=("ssim_rgb",))
    leaderboard(group / "ours", tmp_path / "later", tmp_path / "more", group / "trials.csv", "--out", tmp_path / "out")
    assert ranks(tmp_path / "out", "ab_auc").keys() == {"near (ours)", "near (later)", "alike", "gray"}
    of_both = [row for row in rows_of(tmp_path / "out") if row["method"] == "near (ours)"]
    assert {row["measure"] for row in of_both} == {"ab_auc", "psnr_rgb", "colorfulness", "ssim_rgb"}
    assert {row["sources"] for row in of_both} == {"ours; more"}
    # Which of the two people judged cannot be known: neither gets their answers.
    assert ranks(tmp_path / "out", "fooled").keys() == {"near (trials.csv)", "alike", "far"}
    assert "The study trials.csv judged near, the name of 2 methods" in (tmp_path / "out" / "leaderboard.md").read_text(
        encoding="utf-8"
    )


def test_a_run_is_added_to_a_leaderboard_that_may_have_moved(group: Path, tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        shutil.copytree(group / name, tmp_path / "lab" / name)
    leaderboard(tmp_path / "lab" / "ours", "--metrics", "psnr_rgb", "--out", tmp_path / "lab" / "board")
    shutil.move(tmp_path / "lab", tmp_path / "moved")
    board = tmp_path / "moved" / "board"
    for _ in range(2):  # adding the same run again changes nothing
        leaderboard(tmp_path / "moved" / "theirs", "--add", "--out", board)
        assert {row["method"] for row in rows_of(board)} == {"near", "alike", "far", "gray"}
        assert {row["measure"] for row in rows_of(board)} == {"psnr_rgb"}
        record = json.loads((board / "leaderboard.json").read_text(encoding="utf-8"))
        assert [source["path"] for source in record["sources"]] == ["../ours", "../theirs"]
    shutil.rmtree(tmp_path / "moved" / "ours")
    with pytest.raises(InputError, match=r"leaderboard\.json names .*ours, which is gone"):
        leaderboard(tmp_path / "moved" / "theirs", "--add", "--out", board)
    with pytest.raises(InputError, match="holds no leaderboard to add to"):
        leaderboard(group / "ours", "--add", "--out", tmp_path / "nothing")


def test_the_page_loads_nothing_and_says_everything_without_a_script(group: Path, tmp_path: Path) -> None:
    pictures = [f"--truth={group / 'truth'}", *(f"--method={name}={group / name}" for name in NOISE)]
    leaderboard(group / "ours", group / "theirs", group / "trials.csv", "--count=2", *pictures, "--out", tmp_path)
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    without_script = page[: page.index("<script>")]
    assert "http" not in without_script.replace('http-equiv="Content-Security-Policy"', "")
    assert without_script.count('src="data:image/jpeg;base64,') == 2 * (len(NOISE) + 2)
    assert '<td class="number">1–2</td>' in without_script
    assert "AuC %: row minus column, p adjusted for all pairs" in without_script


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ours", "ours"], "is named twice"),
        (["absent"], "does not exist"),
        (["truth"], "truth"),
        (["ours", "--metrics=psnr"], r"--metrics: .*psnr_rgb"),
        (["ours", "--by=fooled"], "--by: .*fooled"),
        (["ours", "--truth=truth", "--method=nearby=near"], "--method: .*near"),
        (["ours", "--truth=truth", "--method=near=near", "--rule=most"], "give a study among the runs"),
        (["ours", "--out=ours"], "is one of the runs"),
    ],
)
def test_what_cannot_be_ranked_is_said_in_a_sentence(
    arguments: list[str], sentence: str, group: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(group)
    before = sorted(path.name for path in group.iterdir())
    out = [] if any(argument.startswith("--out") for argument in arguments) else [f"--out={tmp_path / 'out'}"]
    with pytest.raises(InputError, match=sentence):
        leaderboard(*arguments, *out)
    assert sorted(path.name for path in group.iterdir()) == before
    assert not (tmp_path / "out").exists()


def test_a_summary_without_statistics_cannot_be_ranked(group: Path, tmp_path: Path) -> None:
    shutil.copytree(group / "ours", tmp_path / "ours")
    shutil.rmtree(tmp_path / "ours" / "statistics")
    with pytest.raises(InputError, match="holds a summary without statistics"):
        make_boards(read_sources([tmp_path / "ours"]))


def test_preferences_rank_by_strength(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for person in range(20):
        for number, (first, second) in enumerate([("a", "b"), ("b", "c"), ("a", "c")] * 6):
            strength = {"a": 0.0, "b": 0.0, "c": -2.0}
            chance = 1 / (1 + np.exp(strength[second] - strength[first]))
            rows.append(
                {
                    "participant": f"p{person}",
                    "image": f"i{number}",
                    "method_first": first,
                    "method_second": second,
                    "response": "first" if rng.random() < chance else "second",
                }
            )
    (tmp_path / "trials.csv").write_text(csv_text(rows), encoding="utf-8")
    (board,) = make_boards(read_sources([tmp_path / "trials.csv"]))
    found = {contender.name: contender.standings["strength"].ranks for contender in board.contenders}
    assert found == {"a": "1–2", "b": "1–2", "c": "3"}


def searches(shown: int, methods: dict[str, float], *, seed: int = 0) -> list[dict[str, str]]:
    """Trials of people who look for the real photo among as many images; methods by the odds of being taken for it."""
    places = ("first", "second", "third", "fourth")[:shown]
    rng, rows = np.random.default_rng(seed), []
    for person in range(16):
        for number in range(12):
            names = ["truth", *rng.permutation(list(methods))[: shown - 1].tolist()]
            names = [names[k] for k in rng.permutation(shown)]
            odds = np.array([methods.get(name, 1.0) for name in names])
            rows.append(
                {
                    "participant": f"p{person}",
                    "image": f"i{number}",
                    **{f"method_{place}": name for place, name in zip(places, names, strict=True)},
                    "real_position": places[names.index("truth")],
                    "response": str(rng.choice(places, p=odds / odds.sum())),
                }
            )
    return rows


def test_searches_among_several_have_columns_of_their_own_with_their_chance(group: Path, tmp_path: Path) -> None:
    from analysis.commands.analyze import analyze_command

    methods = {"near": 1.0, "alike": 1.0, "far": 0.05}
    for shown in (3, 4):
        path = tmp_path / f"of{shown}.csv"
        path.write_text(csv_text(searches(shown, methods)), encoding="utf-8")
        assert (
            CliRunner().invoke(analyze_command, [str(path), "--out", str(tmp_path / f"results{shown}")]).exit_code == 0
        )
    record = json.loads((tmp_path / "results3" / "run.json").read_text(encoding="utf-8"))
    assert (record["preset"], record["alternatives"]) == ("real photo among several", 3)

    leaderboard(tmp_path / "of3.csv", "--out", tmp_path / "of trials")
    leaderboard(tmp_path / "results3", "--out", tmp_path / "of results")
    mine, theirs = (rows_of(tmp_path / name) for name in ("of trials", "of results"))
    for one, other in zip(mine, theirs, strict=True):
        assert {**one, "sources": ""} == {**other, "sources": ""}
    assert {row["measure"] for row in mine} == {"taken_for_real"}
    assert {row["method"] for row in mine if row["anchor"] == "1"} == {"truth"}
    rows = searches(3, methods)
    chosen = [row[f"method_{row['response']}"] for row in rows]
    for row in mine:
        shown = sum(row["method"] in one.values() for one in rows)
        assert float(row["value"]) == pytest.approx(chosen.count(row["method"]) / shown)
        assert float(row["ci_low"]) < float(row["value"]) < float(row["ci_high"])
        assert (row["n_images"], row["signature"].split("|")[:2]) == ("12", ["real photo among several", "among:3"])
    assert ranks(tmp_path / "of trials", "taken_for_real") == {
        "near": ("1", "2"),
        "alike": ("1", "2"),
        "far": ("3", "3"),
        "truth": ("", ""),
    }

    together = tmp_path / "together"
    leaderboard(*(tmp_path / name for name in ("of3.csv", "results4")), group / "trials.csv", "--out", together)
    keys = {"taken_for_real (of3.csv)", "taken_for_real (results4)", "fooled (trials.csv)"}
    assert {row["measure"] for row in rows_of(together)} == keys
    assert {row["measure"] for row in rows_of(together, "leaderboard_pairs.csv")} == keys
    table = (together / "leaderboard.md").read_text(encoding="utf-8")
    assert "taken for real % (one of 3, chance 33.3) (of3.csv) ↑" in table
    assert "taken for real % (one of 4, chance 25) (results4) ↑" in table


def test_where_no_standard_error_was_made_none_is_spoken_of(group: Path, tmp_path: Path) -> None:
    run = evalkit.score(
        group / "truth", {"near": group / "near"}, metrics=("psnr_rgb",), out=tmp_path / "run", n_bootstrap=0, workers=1
    )
    assert run is not None
    leaderboard(tmp_path / "run", "--out", tmp_path / "out")
    assert "Value; ↑ higher is better" in (tmp_path / "out" / "leaderboard.md").read_text(encoding="utf-8")
    leaderboard(group / "ours", "--out", tmp_path / "other")
    assert "Value ± standard error; ↑" in (tmp_path / "other" / "leaderboard.md").read_text(encoding="utf-8")
