"""Results by category: what each number is of, which images count, and what people write in such files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.report.categories import class_folders, read_categories
from analysis.study.rates import fool_rates
from analysis.trials.trial_files import read_trials
from evalkit.errors import InputError
from tests.analysis.conftest import run_report, simulated_rows


@pytest.fixture(scope="module")
def by_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on ten photos in two class folders; names of the two folders overlap, as in NCD."""
    import evalkit

    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for kind, count in (("apple", 4), ("pear", 6)):
        for number in range(count):
            truth = rng.integers(0, 200, (16, 16, 3))
            for name, noise in (("truth", 0), ("near", 10), ("far", 55)):
                (folder / name / kind).mkdir(parents=True, exist_ok=True)
                pixels = (truth + rng.integers(0, noise + 1, truth.shape)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / kind / f"{number + 4}.png")
    methods = {name: folder / name for name in ("near", "far")}
    evalkit.score(folder / "truth", methods, metrics=("ab_auc", "psnr_rgb"), out=folder / "scores", n_bootstrap=100)
    return folder


def test_a_category_has_the_scores_of_a_run_of_its_images_alone(by_class: Path, tmp_path: Path) -> None:
    import evalkit

    run_report("--scores", by_class / "scores", "--groups", "folders", "--out", tmp_path / "out")
    with (tmp_path / "out" / "categories.csv").open(newline="") as file:
        rows = {(row["category"], row["method"], row["measure"]): row for row in csv.DictReader(file)}
    assert len(rows) == 2 * 2 * 2
    for kind, count in (("apple", 4), ("pear", 6)):
        methods = {name: by_class / name / kind for name in ("near", "far")}
        alone = evalkit.score(
            by_class / "truth" / kind, methods, metrics=("ab_auc", "psnr_rgb"), out=tmp_path / kind, n_bootstrap=100
        )
        for method in methods:
            for metric in ("ab_auc", "psnr_rgb"):
                row, wanted = rows[kind, method, metric], alone[method, metric]
                assert float(row["value"]) == pytest.approx(wanted.value, rel=1e-12)
                assert float(row["ci_low"]) == pytest.approx(wanted.ci_low, rel=1e-9)
                assert row["n_images"] == str(count)
                said = [text for text in alone.warnings if text.startswith(f"method {method}: ")]
                said = [text for text in alone.warnings if not text.startswith("method ")] + said
                assert row["cautions"] == "; ".join(text.removeprefix("method ") for text in said)
                assert f"{count} images: a small set" in row["cautions"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Results by category" in page
    assert "AuC % by folder" in page
    assert (tmp_path / "out" / "figures" / "categories.pdf").stat().st_size > 1000
    listed = json.loads((tmp_path / "out" / "report.json").read_text())["files"]
    assert "categories.csv" in listed


def test_rates_of_a_category_rest_on_the_trials_about_its_images(
    tmp_path: Path, write_csv: Callable[..., Path]
) -> None:
    trials = write_csv(simulated_rows({"a": 0.2, "b": 0.5}, n_participants=8))
    images = [f"test{number}" for number in range(4, 14)]
    lines = ["file,scene,weather", *(f"{name}.jpg,{'in' if k < 5 else 'out'},x" for k, name in enumerate(images[:9]))]
    (tmp_path / "groups.csv").write_text("\n".join([*lines, "other.jpg,in,x"]), encoding="utf-8")
    run_report("--trials", trials, "--groups", tmp_path / "groups.csv", "--out", tmp_path / "out")
    with (tmp_path / "out" / "categories.csv").open(newline="") as file:
        rows = {(row["category"], row["method"]): row for row in csv.DictReader(file)}
    assert set(rows) == {(place, method) for place in ("in", "out") for method in ("a", "b")}
    table = read_trials(trials)
    for place, own in (("in", images[:5]), ("out", images[5:9])):
        wanted = fool_rates(table.where(np.isin(table["image"], own) & (table["kind"] == "test")))
        for method in ("a", "b"):
            mean = wanted[method].mean
            assert mean is not None
            row = rows[place, method]
            assert float(row["value"]) == pytest.approx(mean.estimate)
            assert float(row["ci_high"]) == pytest.approx(mean.ci_high)
            assert (row["n_trials"], row["n_images"]) == (str(8 * len(own)), str(len(own)))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Images without a category: 1" in page
    assert "fooled % by scene" in page
    assert "vigilance" not in {method for _, method in rows}


def test_any_column_may_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text(
        "\ufeffimage;scene;weather\na.png;in;dry\nsub/b;out;wet\nc;out;\n", encoding="utf-8"
    )
    images = ["a", "sub/b", "c"]
    assert read_categories(tmp_path / "groups.csv", images).images == {"in": {"a"}, "out": {"sub/b", "c"}}
    weather = read_categories(tmp_path / "groups.csv", images, "weather")
    assert (weather.images, weather.n_without, weather.name) == ({"dry": {"a"}, "wet": {"sub/b"}}, 1, "weather")
    of_a_spreadsheet = "sep=;\r\nimage;scene\r\na.png;in\r\nsub/b;out\r\n".encode("utf-16")
    (tmp_path / "groups.csv").write_bytes(of_a_spreadsheet)
    assert read_categories(tmp_path / "groups.csv", images).images == {"in": {"a"}, "out": {"sub/b"}}


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("image\na\n", "", "needs a column of image names, and one of categories"),
        ("image,scene\nx,in\n", "", "names none of the 3 images"),
        ("image,scene\na,in\na.png,out\n", "", "row 3: a is in in and in out"),
        ("image,scene\n1,in\n", "", "may be p/1, q/1"),
        ("image,scene\na,in\n", "scenes", r"did you mean 'scene'"),
    ],
)
def test_files_that_cannot_be_meant_are_a_plain_sentence(tmp_path: Path, text: str, column: str, message: str) -> None:
    (tmp_path / "groups.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_categories(tmp_path / "groups.csv", ["a", "p/1", "q/1"], column)


def test_class_folders_need_folders() -> None:
    assert class_folders(["x/1", "x/2", "y/1", "z"]).images == {"x": {"x/1", "x/2"}, "y": {"y/1"}}
    assert class_folders(["x/1", "z"]).n_without == 1
    with pytest.raises(InputError, match="no image lies in a folder"):
        class_folders(["a", "b"])


def test_families_are_a_column_and_keep_methods_of_a_kind_together(by_class: Path, tmp_path: Path) -> None:
    import evalkit

    shutil.copytree(by_class / "far", tmp_path / "again")
    methods = {"ours": by_class / "near", "levin2004": by_class / "far", "theirs": tmp_path / "again"}
    evalkit.score(by_class / "truth", methods, metrics=("ab_auc",), out=tmp_path / "scores", n_bootstrap=0)
    families = ["--family=ours=learned", "--family=theirs=learned"]
    run_report("--scores", tmp_path / "scores", *families, "--out", tmp_path / "out")
    lines = (tmp_path / "out" / "table.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.split("<")[0].strip() for cell in line.split("|")[1:3]] for line in lines if line.startswith("| ")]
    assert cells == [["method", "family"], ["ours", "learned"], ["theirs", "learned"], ["levin2004", "scribble"]]
    with pytest.raises(InputError, match=r"--family: .*'our'.*did you mean 'ours'"):
        run_report("--scores", tmp_path / "scores", "--family=our=learned", "--out", tmp_path / "out")
    with pytest.raises(InputError, match="METHOD=FAMILY is allowed"):
        run_report("--scores", tmp_path / "scores", "--family=ours", "--out", tmp_path / "out")
