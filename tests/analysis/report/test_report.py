from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from analysis.report.cells import Cell, ReportColumn
from analysis.report.content import ReportInput
from analysis.report.methods_text import methods_paragraphs
from analysis.report.published_rows import PUBLISHED, published_rows
from analysis.report.tables import ReportRow, ReportTable, build_table
from analysis.statistics.sensitivity import dprime
from analysis.study.analysis import AnalysisOptions, analyze_study
from analysis.trials.trial_files import read_trials
from evalkit.errors import InputError
from evalkit.resampling.multiplicity import holm
from evalkit.scoring.score_comparison import compare_methods
from evalkit.scoring.score_folder import read_score_folder
from tests.analysis.conftest import run_report, simulated_rows
from tests.conftest import require

Write = Callable[..., Path]
IMAGES = [f"test{t}" for t in range(4, 14)]


@pytest.fixture(scope="module")
def picture_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for image in IMAGES:
        for name in ("truth", "gray", "mine"):
            (folder / name).mkdir(exist_ok=True)
            pixels = rng.integers(0, 256, size=(24, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{image}.png")
    return folder


@pytest.fixture(scope="module")
def scores(picture_folders: Path) -> Path:
    """A real scoring run on small pictures."""
    from evalkit.cli import main

    out = picture_folders / "scores"
    methods = [f"--method={name}={picture_folders / name}" for name in ("gray", "mine")]
    arguments = ["score", f"--truth={picture_folders / 'truth'}", *methods, f"--out={out}", "--metrics=ab_auc,psnr_rgb"]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--bootstrap=100", "--workers=1", "--quiet"])
    assert done.value.code in (0, None)
    return out


class Links(HTMLParser):
    """Collects everything a page would load, and its ids."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data") and value and not value.startswith("#"):
                self.loads.append(value)
            if name == "id" and value:
                self.ids.append(value)


def read_page(path: Path) -> Links:
    page = Links()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def test_one_file_holds_everything_and_loads_nothing(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path, picture_folders: Path
) -> None:
    output = run_report("--scores", scores, "--trials", write_csv(study_rows), "--out", tmp_path / "out", "--published", "zhang2016",
                 "--baseline", "gray", "--truth", picture_folders / "truth", "--method", f"gray={picture_folders / 'gray'}",
                 "--method", f"mine={picture_folders / 'mine'}")  # fmt: skip
    assert "report.html" in output
    page = read_page(tmp_path / "out" / "report.html")
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.loads)
    assert "link" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 8
    assert page.tags.count("img") > 40
    text = (tmp_path / "out" / "report.html").read_text()
    assert "published" in text
    assert "Does any metric predict what people say?" in text
    for name in ("table.csv", "table.md", "table.tex", "table.html", "metric_agreement.csv", "figures/forest.pdf"):
        assert (tmp_path / "out" / name).stat().st_size > 100


def test_figures_embed_their_fonts(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    run_report("--trials", write_csv(study_rows), "--out", tmp_path)
    pdf = (tmp_path / "figures" / "forest.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_the_same_numbers_give_the_same_files(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    trials = write_csv(study_rows)
    for name in ("one", "two"):
        run_report("--trials", trials, "--out", tmp_path / name)
    for path in sorted((tmp_path / "one").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path.name


def test_works_with_scores_only(tmp_path: Path, scores: Path) -> None:
    run_report("--scores", scores, "--out", tmp_path)
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    folder = read_score_folder(scores)
    assert float(rows["mine"]["ab_auc"]) == folder.summary["mine", "ab_auc"].value
    assert "signature" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "figures" / "curves.pdf").is_file()


def test_the_methods_paragraph_says_what_was_done(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\nname = "late pictures"\nflags = ["late"]\n')
    run_report("--trials", write_csv(study_rows), "--out", tmp_path, "--exclude", tmp_path / "rules.toml")
    text = (tmp_path / "report.html").read_text()
    for part in (
        "Participants (n = 12)",
        "late pictures",
        "new participants and new images",
        "All data, before",
        "sha256",
    ):
        assert part in text
    assert "simulated observers" not in text


def test_simulated_answers_are_marked(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    rows = [{**row, "platform": "simulated"} for row in study_rows]
    run_report("--trials", write_csv(rows), "--out", tmp_path)
    assert "come from <strong>simulated observers</strong>" in (tmp_path / "report.html").read_text()


def test_choices_among_several_are_reported_against_chance(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(0)
    header = ["participant", "image", "method_first", "method_second", "method_third", "response"]
    places = ["first", "second", "third"]
    rows = [
        [f"p{p}", f"i{t}", *rng.permutation(["x", "y", "z"]), rng.choice(places)] for p in range(9) for t in range(9)
    ]
    run_report("--trials", write_csv([header, *rows]), "--out", tmp_path)
    text = (tmp_path / "report.html").read_text()
    for part in (
        "saw three colorizations of a photo and said which looked most natural",
        "Each choice among several (chance 33.3 %) enters as wins of the chosen method over each other one",
        "Chosen by place: first",
        "chosen / trials (chance 33.3\u00a0%)",
    ):
        assert part in text
    assert r"Luce's choice axiom~\cite{luce1959individual}" in (tmp_path / "methods.tex").read_text()
    assert "luce1959individual" in (tmp_path / "references.bib").read_text()
    assert not (tmp_path / "figures" / "side_bias.pdf").exists()


def test_a_search_for_the_real_photo_is_reported_as_one(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(0)
    places = ["first", "second", "third"]
    header = ["participant", "image", *(f"method_{place}" for place in places), "real_position", "response"]
    rows = []
    for k in range(81):
        shown = rng.permutation(["x", "truth", "z"]).tolist()
        rows.append([f"p{k // 9}", f"i{k % 9}", *shown, places[shown.index("truth")], str(rng.choice(places))])
    found = sum(row[-1] == row[-2] for row in rows)
    as_shown = [[*header, "presented", "kind"], *([*row, "3 at once, for 500 ms", "test"] for row in rows)]
    check = [as_shown[-1][0], "check", "truth", "vigilance", "vigilance", "first", "first", "", "vigilance"]
    run_report("--trials", write_csv([*as_shown, check]), "--out", tmp_path)
    text = (tmp_path / "report.html").read_text()
    for part in (
        "saw each photo together with two of its colorizations (3 at once, for 500 ms) and said which was the real photo (chance 1 in 3)",
        f"The real photo was found in {100 * found / 81:.1f} %",
        "These shares are no fool rates of tests with two images, whose chance is 50 %: here it is 33.3 %.",
        "How often the row was taken for the real photo rather than the column",
        "The real photo among several",
    ):
        assert part in text
    assert "preferred" not in text
    assert "fooled" not in text
    assert "its own row" not in text
    assert "no fool rates of tests with two images" in (tmp_path / "methods.tex").read_text()


def test_preference_studies_have_a_report_too(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(0)
    header = ["participant", "image", "method_first", "method_second", "response"]
    rows = [
        [f"p{p}", f"i{t}", *rng.permutation(["x", "y"]), rng.choice(["first", "second"])]
        for p in range(9)
        for t in range(9)
    ]
    trials = write_csv([header, *rows])
    run_report("--trials", trials, "--out", tmp_path)
    text = (tmp_path / "report.html").read_text()
    for part in ("Bradley-Terry", "All methods at once", "shown first", "How often the row was preferred", "p (Holm)"):
        assert part in text
    with (tmp_path / "table.csv").open(newline="") as file:
        table = {row["method"]: row for row in csv.DictReader(file)}
    assert float(table["x"]["strength"]) == pytest.approx(-float(table["y"]["strength"]))
    for name in ("preference_scale", "side_bias"):
        assert (tmp_path / "figures" / f"{name}.pdf").stat().st_size > 1000
    assert r"\toprule" in (tmp_path / "table.tex").read_text()
    with pytest.raises(InputError, match="baseline 'nonsense' is not a method"):
        run_report("--trials", trials, "--out", tmp_path, "--baseline", "nonsense")


def test_naturalness_and_ratings_have_a_report_of_their_own(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(0)
    shown = [(f"p{p}", f"i{i}", m) for p in range(12) for i in range(9) for m in ("truth", "mine")]
    natural = [[*entry, "yes" if rng.random() < 0.85 else "no"] for entry in shown]
    run_report(
        "--trials", write_csv([["participant", "image", "method", "response"], *natural]), "--out", tmp_path / "natural"
    )
    text = (tmp_path / "natural" / "report.html").read_text()
    for part in (
        "equal to truth",
        "Against the photos themselves",
        "equal to the photos themselves when two one-sided",
    ):
        assert part in text
    for part in ("50 %", "fooled", "fool rate", "P(A &lt; B)"):
        assert part not in text
    ratings = [[*entry, int(rng.integers(1, 8))] for entry in shown]
    run_report(
        "--trials", write_csv([["participant", "image", "method", "rating"], *ratings]), "--out", tmp_path / "ratings"
    )
    text = (tmp_path / "ratings" / "report.html").read_text()
    for part in ("mean rating", "A rated above B", "by their order alone", "difference to truth"):
        assert part in text
    assert "50 %" not in text
    engine = shutil.which("pdflatex")
    require(engine is not None, "pdflatex is not installed: the LaTeX tables were not compiled")
    assert engine is not None
    for name in ("natural", "ratings"):
        document = "\\documentclass{article}\\usepackage[utf8]{inputenc}\\usepackage{booktabs}\\begin{document}"
        table = (tmp_path / name / "table.tex").read_text()
        (tmp_path / "paper.tex").write_text(document + table + "\\end{document}\n")
        done = subprocess.run(
            [engine, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], cwd=tmp_path, capture_output=True
        )
        assert done.returncode == 0, done.stdout[-500:]


def test_preference_studies_show_the_images_that_are_preferred(
    tmp_path: Path, write_csv: Write, picture_folders: Path
) -> None:
    header = ["participant", "image", "method_first", "method_second", "response"]
    rows = [
        [f"p{p}", image, "gray", "mine", "first" if (p * 3 + k) % (k + 2) == 0 else "second"]
        for p in range(8)
        for k, image in enumerate(IMAGES)
    ]
    run_report("--trials", write_csv([header, *rows]), "--out", tmp_path / "out", "--truth", picture_folders / "truth",
        "--method", f"gray={picture_folders / 'gray'}", "--method", f"mine={picture_folders / 'mine'}")  # fmt: skip
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Images of mine that are preferred most often" in text
    assert "fool people" not in text


def test_names_cannot_break_any_format(write_csv: Write, study_rows: list[dict]) -> None:
    rows = [{**row, "method": "a|b_<i>&50%" if row["method"] == "mine" else row["method"]} for row in study_rows]
    analysis = analyze_study(read_trials(write_csv(rows)), (), AnalysisOptions(baseline="gray"))
    table = build_table(None, analysis.headline)
    assert r"a$|$b\_$<$i$>$\&50\%" in table.to_latex()
    assert r"a\|b\_&lt;i&gt;&amp;50%" in table.to_markdown()
    assert "a|b_&lt;i&gt;&amp;50%" in table.to_html()
    assert "<i>" not in table.to_html()


def test_every_renderer_shows_the_same_number(write_csv: Write, study_rows: list[dict]) -> None:
    analysis = analyze_study(read_trials(write_csv(study_rows)))
    table = build_table(None, analysis.headline)
    assert analysis.headline.rates is not None
    mean = analysis.headline.rates["mine"].mean
    assert mean is not None
    shown = f"{100 * mean.estimate:.1f} ± {100 * mean.std_error:.1f}"
    assert shown in table.to_markdown()
    assert shown in table.to_html()
    assert shown.replace("±", r"$\pm$") in table.to_latex()
    record = next(row for row in table.records() if row["method"] == "mine")
    assert (record["fooled"], record["fooled_std_error"]) == (mean.estimate, mean.std_error)


def test_published_rows_are_those_of_the_paper() -> None:
    rows = {row.method: row for row in published_rows("zhang2016")}
    assert len(rows) == len(PUBLISHED["zhang2016"]) == 9
    assert (rows["Full"].fooled, rows["Full"].fooled_std_error, rows["Full"].ab_auc_rebal) == (32.3, 2.2, 67.3)
    assert rows["Gray"].fooled is None
    with pytest.raises(InputError, match="no published table 'zhang2017'; zhang2016 is allowed"):
        published_rows("zhang2017")


def test_the_latex_table_compiles(tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path) -> None:
    run_report("--scores", scores, "--trials", write_csv(study_rows), "--out", tmp_path, "--published", "zhang2016")
    engine = shutil.which("pdflatex")
    require(engine is not None, "pdflatex is not installed: the LaTeX table was not compiled")
    assert engine is not None
    text = (tmp_path / "table.tex").read_text()
    document = "\\documentclass{article}\\usepackage[utf8]{inputenc}\\usepackage{booktabs}\\begin{document}" + text
    (tmp_path / "paper.tex").write_text(document + "\\end{document}\n")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-500:]


def test_the_latex_table_is_balanced(tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path) -> None:
    run_report("--scores", scores, "--trials", write_csv(study_rows), "--out", tmp_path, "--published", "zhang2016")
    text = (tmp_path / "table.tex").read_text()
    for tabular in re.findall(r"\\begin{tabular}{(l[r]+)}(.*?)\\end{tabular}", text, flags=re.DOTALL):
        columns, body = tabular
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(columns) - 1}
        assert len(columns) <= 9


def tabulars(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """Specifications of the columns after the method, and the cells of the rows below the heading, of each table."""
    tables = []
    for specification, body in re.findall(r"\\begin{tabular}{l([^\n]*)}\n(.*?)\\end{tabular}", text, flags=re.DOTALL):
        lines = [line.removesuffix(r" \\") for line in body.splitlines() if line.endswith(r"\\")]
        columns = re.findall(r"S\[[^\]]*\]|r", specification)
        assert "".join(columns) == specification
        tables.append((columns, [re.split(r"(?<!\\) & ", f"{line} ")[1:] for line in lines[1:]]))
    return tables


def test_siunitx_columns_hold_the_numbers_of_the_plain_ones(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path
) -> None:
    trials = write_csv(study_rows)
    for kind in ("plain", "siunitx"):
        run_report(
            "--scores",
            scores,
            "--trials",
            trials,
            "--out",
            tmp_path / kind,
            "--published",
            "zhang2016",
            "--latex",
            kind,
        )
    texts = {kind: (tmp_path / kind / "table.tex").read_text() for kind in ("plain", "siunitx")}
    assert texts["siunitx"].startswith(r"% In the preamble: \usepackage{booktabs}\usepackage{siunitx}")
    assert texts["siunitx"].count(r"\sisetup{separate-uncertainty=true}") == len(tabulars(texts["siunitx"])) > 1
    n_compared = 0
    for (columns, rows), (_, plain_rows) in zip(tabulars(texts["siunitx"]), tabulars(texts["plain"]), strict=True):
        for k, column in enumerate(columns):
            for row, plain_row in zip(rows, plain_rows, strict=True):
                cell, plain = row[k].strip(), plain_row[k].strip()
                if column == "r" or not cell or cell.startswith("{"):
                    assert cell.removeprefix("{").removesuffix("}") == plain or cell == plain
                    continue
                number = re.fullmatch(r"(-?)(\d+)\.?(\d*)(?:\((\d+)\))?(?:{(\$\^{[a-z,]+}\$)})?", cell)
                assert number is not None, cell
                sign, whole, digits, error, mark = number.groups()
                room = re.match(r"S\[table-format=(-?)(\d)(?:\.(\d))?(?:\((\d)\))?", column)
                assert room is not None, column
                assert len(whole) <= int(room[2])
                assert len(digits) == int(room[3] or 0)
                assert len(error or "") <= int(room[4] or 0)
                assert not sign or room[1]
                shown = f"{'$-$' if sign else ''}{whole}" + (f".{digits}" if digits else "")
                if error is not None:
                    shown += rf" $\pm$ {int(error) / 10 ** len(digits):.{len(digits)}f}"
                assert shown + (mark or "") == plain
                n_compared += 1
    assert n_compared > 20


def test_marks_and_texts_among_numbers_are_braced_for_siunitx() -> None:
    column = ReportColumn("ab_auc", "AuC %", 100.0)
    cells = (
        Cell(value=0.673, std_error=0.012, notes=("few images",)),
        Cell(value=-0.05, std_error=0.124),
        Cell(text="unscored", notes=("no weights",)),
        Cell(),
    )
    rows = tuple(ReportRow(name, {"ab_auc": cell}) for name, cell in zip("wxyz", cells, strict=True))
    table = ReportTable(columns=(column,), rows=rows, caption="", cautions=("few images", "no weights"))
    ((columns, cells_of_rows),) = tabulars(table.to_latex("siunitx"))
    assert columns == ["S[table-format=-2.1(3),table-align-text-post=false,table-space-text-post={$^{a}$}]"]
    shown = [cell.strip() for (cell,) in cells_of_rows]
    assert shown == ["67.3(12){$^{a}$}", "-5.0(124)", "{unscored$^{b}$}", ""]
    assert r"{AuC \%}" in table.to_latex("siunitx")


def compiled(folder: Path, paper: str) -> str:
    """The log of BibTeX for a paper that LaTeX compiles."""
    for program in ("pdflatex", "bibtex"):
        require(shutil.which(program) is not None, f"{program} is not installed: the paper was not compiled")
    (folder / "paper.tex").write_text(paper, encoding="utf-8")
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    logs = []
    for words in (latex, ["bibtex", "paper"], latex, latex):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-800:]
        logs.append(done.stdout)
    assert "There were undefined" not in logs[-1], logs[-1][-800:]
    return logs[1]


def test_the_results_section_of_the_documentation_compiles(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path
) -> None:
    run_report(
        "--scores", scores, "--trials", write_csv(study_rows), "--baseline", "gray", "--out", tmp_path / "report"
    )
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "write-results.md").read_text(encoding="utf-8")
    paper = re.search(r"```latex\n(.*?)```", page, flags=re.DOTALL)
    assert paper is not None
    assert "warning" not in compiled(tmp_path, paper[1]).lower()


def test_every_kind_of_study_has_methods_that_cite_its_own_references(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path
) -> None:
    rng = np.random.default_rng(0)
    people = [(f"p{p}", image) for p in range(8) for image in IMAGES]
    shown = [(*who, method) for who in people for method in ("truth", "mine")]
    header = ["participant", "image"]
    tables = {
        "real-vs-fake": study_rows,
        "preference": [[*header, "method_first", "method_second", "response"],
                       *([*who, "gray", "mine", rng.choice(["first", "second"])] for who in people)],
        "naturalness": [[*header, "method", "response"], *([*who, rng.choice(["yes", "no"])] for who in shown)],
        "rating": [[*header, "method", "rating"], *([*who, int(rng.integers(1, 8))] for who in shown)],
        "scores": None,
    }  # fmt: skip
    own_words = {
        "real-vs-fake": "equal to 50", "preference": "Bradley-Terry scale~\\cite{bradley1952rank}",
        "naturalness": "looked natural", "rating": "on the rating scale", "scores": "(AuC~\\cite{zhang2016colorful}, PSNR",
    }  # fmt: skip
    for kind, rows in tables.items():
        given = ["--scores", scores, "--baseline", "gray"] if rows is None else ["--trials", write_csv(rows)]
        out = tmp_path / kind
        run_report(*given, "--out", out)
        text = (out / "methods.tex").read_text(encoding="utf-8")
        keys = {key for keys in re.findall(r"\\cite{([^}]*)}", text) for key in keys.split(",")}
        assert keys
        assert keys <= set(re.findall(r"^@\w+\{(\w+),", (out / "references.bib").read_text(), flags=re.MULTILINE)), kind
        assert own_words[kind] in " ".join(text.split()), kind
        assert not re.search(r"(?<!\\)[%&_#]", text.partition("\n")[2]), kind
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert "Metric scores (AuC, PSNR" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "needs scores"),
        (["--scores", "nowhere"], "holds no finished scoring run"),
        (["--method", "a=b"], "both --truth DIR and --method"),
        (["--truth", ".", "--method", "a"], "has no '='"),
        (["--truth", "nowhere", "--method", "a=b"], "nowhere: no such folder"),
    ],
)
def test_bad_options_are_a_plain_sentence(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_report("--out", tmp_path, *options)


def test_the_agreement_table_counts_its_pairs(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path
) -> None:
    run_report("--scores", scores, "--trials", write_csv(study_rows), "--out", tmp_path)
    with (tmp_path / "metric_agreement.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["over"] for row in rows} == {"images of gray", "images of mine"}
    assert {row["n"] for row in rows} == {"10"}
    assert json.loads((scores / "run.json").read_text())["methods"] == ["gray", "mine"]


def test_the_agreement_table_carries_the_cautions_of_what_it_rests_on(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path
) -> None:
    folder = tmp_path / "scores"
    shutil.copytree(scores, folder)
    record = json.loads((folder / "run.json").read_text())
    record["warnings"] = ["12 images: a small set", "method mine: made in haste", "ab_auc of gray: doubtful"]
    record["unscored"] = [{"method": "gray", "metric": "psnr_rgb", "reason": "two were left out"}]
    (folder / "run.json").write_text(json.dumps(record))
    run_report("--scores", folder, "--trials", write_csv(study_rows), "--out", tmp_path / "out")
    with (tmp_path / "out" / "metric_agreement.csv").open(newline="") as file:
        cautions = {(row["metric"], row["over"]): row["cautions"].split("; ") for row in csv.DictReader(file)}
    assert cautions == {
        ("ab_auc", "images of gray"): ["12 images: a small set", "ab_auc of gray: doubtful"],
        ("ab_auc", "images of mine"): ["12 images: a small set", "ab_auc of gray: doubtful", "mine: made in haste"],
        ("psnr_rgb", "images of gray"): ["12 images: a small set", "gray: two were left out"],
        ("psnr_rgb", "images of mine"): ["12 images: a small set", "mine: made in haste"],
    }
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    letter = re.search(r"<sup>(\w)</sup> Made in haste", page)
    assert letter is not None
    assert f"images of mine<sup>{letter[1]}</sup></th>" in page
    assert "images of gray</th>" in page


def test_metric_scores_are_compared_with_the_baseline(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    import evalkit

    rng = np.random.default_rng(4)
    for k in range(12):
        truth = rng.integers(0, 256, (32, 32, 3)).astype(np.int64)
        for name, noise in (("truth", 0), ("near", 8), ("far", 60)):
            (tmp_path / name).mkdir(exist_ok=True)
            pixels = np.clip(truth + rng.integers(-noise, noise + 1, truth.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"i{k}.png")
    # One image is the photo itself: no finite PSNR, and a caution of its method.
    (tmp_path / "near" / "i0.png").write_bytes((tmp_path / "truth" / "i0.png").read_bytes())
    methods = {"near": tmp_path / "near", "far": tmp_path / "far", "gray": None}
    evalkit.score(tmp_path / "truth", methods, metrics=("ab_auc", "psnr_rgb"), out=tmp_path / "scores")
    run_report("--scores", tmp_path / "scores", "--out", tmp_path / "out", "--baseline", "gray")
    with (tmp_path / "out" / "metric_differences.csv").open(newline="") as file:
        rows = {(row["method"], row["metric"]): row for row in csv.DictReader(file)}
    assert set(rows) == {(method, metric) for method in ("near", "far") for metric in ("ab_auc", "psnr_rgb")}
    near = rows["near", "ab_auc"]
    assert 0 < float(near["ci_low"]) < float(near["difference"]) < float(near["ci_high"])
    # Twelve images of clear differences: of the 4096 ways to swap labels few go as far as what was seen.
    assert float(near["p_value"]) < 0.005
    p_values = [float(row["p_value"]) for row in rows.values()]
    assert [float(row["p_holm"]) for row in rows.values()] == pytest.approx(holm(p_values))
    # One family in both places: the same four rows, adjusted together.
    compared = compare_methods(tmp_path / "scores", "gray", n_bootstrap=2_000)
    assert {(d.other_method, d.metric): d.p_holm for d in compared} == pytest.approx(
        {key: float(row["p_holm"]) for key, row in rows.items()}
    )
    cautions = rows["near", "psnr_rgb"]["cautions"].split("; ")
    assert cautions[0].startswith("12 images: a small set")
    assert "near: 1 of 12 images has the truth's own pixels" in cautions
    assert any(text.startswith("near: 1 of 12 images is identical to the truth (infinite") for text in cautions)
    far = rows["far", "psnr_rgb"]["cautions"].split("; ")
    assert any(text.startswith("far: L differs from the truth's by more than") for text in far)
    assert not any(text.startswith("near: ") for text in far)
    assert "near: 1 of 12 images has the truth's own pixels" in near["cautions"]
    assert not any("infinite" in text for text in near["cautions"].split("; "))
    assert "Scores against gray" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_everything_beside_a_difference_stands_in_the_report(tmp_path: Path, write_csv: Write) -> None:
    """One test of all methods, odds ratios, d' with its interval, covariates, and people who press one button."""
    rows = simulated_rows({"gray": 0.1, "mine": 0.45, "other": 0.4}, n_trials=20)
    for row in rows:
        if row["participant"] == "p1-0":
            row |= {"response": "first", "fooled": int(row["real_position"] == "first")}
    run_report("--trials", write_csv(rows), "--out", tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    found = analyze_study(read_trials(tmp_path / "trials.csv")).headline
    assert found.together is not None
    assert found.rates is not None
    f = found.together.test
    for part in (
        f"All methods at once: F(2, {f.df_denominator:.4g}) = {f.statistic:.2f}",
        "All methods at once (gray, mine, other) were tested by Wald&#39;s statistic",
        ">odds ratio<",
        "after Holm&#39;s adjustment for the number of methods",
        "Does the answer depend on anything else?",
        "real position",
        "1 participant of 18 gave nearly always the same answer",
    ):
        assert part in text, part
    record = found.differences.records[0] if found.differences else None
    assert record is not None
    assert record.odds is not None
    assert f"{record.odds.ratio:.3g} ({record.odds.ci_low:.3g} to {record.odds.ci_high:.3g})" in text
    mean = found.rates["mine"].mean
    assert mean is not None
    low, high = dprime([mean.ci_high, mean.ci_low])
    with (tmp_path / "table.csv").open(newline="") as file:
        table = {row["method"]: row for row in csv.DictReader(file)}
    assert table["mine"]["dprime"] == f"{dprime(mean.estimate):.2f} ({low:.2f} to {high:.2f})"


def test_accuracy_is_compared_by_mcnemars_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as reference

    from analysis.report.metric_differences import metric_differences
    from evalkit.scoring.score_comparison import Difference
    from evalkit.scoring.score_folder import ScoreFolder

    rng = np.random.default_rng(5)
    right = {"a": rng.integers(0, 2, 60).astype(float), "b": rng.integers(0, 2, 60).astype(float)}
    found = Difference(
        method="b",
        other_method="a",
        metric="vgg16_top1",
        n_images=60,
        first=0.5,
        second=0.6,
        difference=0.1,
        std_error=0.05,
        ci_low=0.0,
        ci_high=0.2,
        p_value=0.04,
        p_holm=0.04,
        is_at_floor=False,
    )
    monkeypatch.setattr("analysis.report.metric_differences.compare_methods", lambda *args, **options: [found])
    images = np.array([f"i{k}" for k in range(60)])
    per_image = {
        "image": np.concatenate([images, images]),
        "method": np.repeat(["a", "b"], 60),
        "vgg16_top1": np.concatenate([right["a"], right["b"]]),
    }
    scores = ScoreFolder(
        folder=tmp_path,
        methods=("a", "b"),
        metrics=("vgg16_top1",),
        summary={},
        curves={},
        curve_std_errors={},
        per_image=per_image,
        record={},
    )
    (entry,) = metric_differences(scores, "b")
    counts = [[int(((right["a"] == i) & (right["b"] == j)).sum()) for j in (1, 0)] for i in (1, 0)]
    exact = counts[0][1] + counts[1][0] < 25
    assert entry.test == "McNemar"
    assert entry.p_value == pytest.approx(reference(counts, exact=exact, correction=True).pvalue)
    assert entry.p_holm == entry.p_value


def test_every_caution_of_a_run_travels_with_its_number_into_every_form(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    """An image that is the truth itself, a grayscale truth, lightness that was changed: with number and method."""
    import evalkit

    rng = np.random.default_rng(2)
    for name in ("truth", "same", "brighter"):
        (tmp_path / name).mkdir()
    for number in range(6):
        pixels = rng.integers(60, 180, size=(24, 24, 3), dtype=np.uint8)
        if number == 5:
            pixels[:] = pixels[..., :1]
        Image.fromarray(pixels).save(tmp_path / "truth" / f"i{number}.png")
        other = pixels if number == 0 else np.roll(pixels, 1, axis=2)
        Image.fromarray(other).save(tmp_path / "same" / f"i{number}.png")
        Image.fromarray(pixels + 40).save(tmp_path / "brighter" / f"i{number}.png")
    methods = {name: tmp_path / name for name in ("same", "brighter")}
    evalkit.score(tmp_path / "truth", methods, metrics=("ab_auc", "psnr_rgb"), out=tmp_path / "scores", n_bootstrap=0)
    run_report("--scores", tmp_path / "scores", "--trials", write_csv(study_rows), "--out", tmp_path / "out",
        "--published", "zhang2016")  # fmt: skip
    cautions = {
        "L differs from the truth's by more than 1 on average in 6 of 6": "brighter",
        "images are identical to the truth (infinite, counted apart)": "same",
        "1 of 6 true photos is grayscale: ab metrics mean nothing on them": "",
        "Rebalanced AuC depends on the set": None,
    }
    for name in ("table.md", "table.tex", "table.html", "report.html"):
        text = " ".join(html.unescape((tmp_path / "out" / name).read_text(encoding="utf-8")).split())
        for caution, method in cautions.items():
            shown = caution in text
            assert shown == (method is not None), (name, caution)
    with (tmp_path / "out" / "table.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    for caution, method in cautions.items():
        for name in ("same", "brighter"):
            expected = method == "" or method == name
            assert (caution in rows[name]["cautions"]) == expected, (caution, name)
    assert rows["Full"]["cautions"] == ""
    assert (rows["same"]["psnr_rgb_n_images"], rows["brighter"]["psnr_rgb_n_images"]) == ("4", "6")
    markdown = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    letter = re.search(r"<sup>(\w)</sup> \d of 6 images are identical", markdown)
    assert letter is not None
    same = next(line for line in markdown.splitlines() if line.startswith("| same"))
    assert re.search(rf"\d<sup>{letter[1]}</sup> \|", same), "the mark stands at the number that rests on fewer images"
    tex = (tmp_path / "out" / "table.tex").read_text(encoding="utf-8")
    assert re.search(rf"\$\^\{{{letter[1]}\}}\$ \d of 6 images are identical", tex)


def test_methods_of_different_numbers_of_images_are_all_said(tmp_path: Path, scores: Path) -> None:
    from dataclasses import replace

    folder = read_score_folder(scores)
    assert "computed on 10 images" in methods_paragraphs(ReportInput(scores=folder))[0]
    fewer = {key: replace(score, n_images=7) if key[0] == "gray" else score for key, score in folder.summary.items()}
    text = methods_paragraphs(ReportInput(scores=replace(folder, summary=fewer)))[0]
    assert "gray: 7" in text
    assert "mine: 10" in text


def test_vigilance_is_given_as_found_and_unused_in_csv(write_csv: Write, study_rows: list[dict]) -> None:
    study = analyze_study(read_trials(write_csv(study_rows)))
    table = build_table(None, study.headline)
    mean = study.headline.rates["vigilance"].mean
    assert f"found {100 * (1 - mean.estimate):.1f}" in table.to_markdown()
    record = next(row for row in table.records() if row["method"] == "vigilance")
    assert record["fooled"] == mean.estimate
    assert record["interval"] == f"{100 * (1 - mean.ci_high):.1f} to {100 * (1 - mean.ci_low):.1f}"


def test_the_screen_of_analyze_gives_vigilance_as_found(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    from analysis.commands.analyze import analyze_command

    trials = write_csv(study_rows)
    arguments = [str(trials), f"--out={tmp_path / 'rates'}"]
    shown = CliRunner().invoke(analyze_command, arguments, catch_exceptions=False).output
    mean = analyze_study(read_trials(trials)).headline.rates["vigilance"].mean
    assert 0.6 < 1 - mean.estimate < 1
    line = next(line for line in shown.splitlines() if line.strip().startswith("vigilance"))
    low, high = 100 * (1 - mean.ci_high), 100 * (1 - mean.ci_low)
    limits = f"{low:.{2 if low < 10 else 1}f} to {high:.1f}"
    assert f"found {100 * (1 - mean.estimate):.1f}" in line
    assert limits in line
    assert "p >" not in line, "nobody asks whether obvious fakes fool people half of the time"


def test_p_values_that_cannot_be_smaller_are_given_as_bounds() -> None:
    from analysis.report.cells import p_text

    assert p_text(0.0312, is_bound=True) == "at most 0.031"
    assert p_text(0.0001, is_bound=True) == "< 0.001"
    assert p_text(0.0312) == "0.031"


def test_no_metric_is_called_best_unless_it_is_shown_to_agree() -> None:
    from analysis.report.agreement import MetricAgreement, best_metric
    from analysis.statistics.reliability import CorrectedCorrelation

    def entry(metric: str, low: float, middle: float, high: float, method: str = "a") -> MetricAgreement:
        pairs = CorrectedCorrelation(
            observed=middle / 2, reliability=0.25, noise_ceiling=0.5, corrected=middle, ci_low=low, ci_high=high, n=50
        )
        return MetricAgreement(metric=metric, over=f"images of {method}", correlation=pairs)

    doubtful, wrong_way = entry("psnr_rgb", -0.1, 0.5, 0.9), entry("ab_auc", -0.9, -0.8, -0.6)
    assert best_metric([doubtful, wrong_way]) == ""
    assert best_metric([doubtful, wrong_way, entry("ssim_rgb", 0.1, 0.3, 0.5)]) == "ssim_rgb"
    assert best_metric([entry("ciede2000", -0.6, -0.4, -0.2), entry("ssim_rgb", 0.1, 0.3, 0.5)]) == "ciede2000"
    assert best_metric([entry("ssim_rgb", 0.1, 0.3, 0.5), entry("ssim_rgb", -0.2, 0.3, 0.6, "b")]) == ""


@pytest.mark.parametrize(
    ("shown_as", "said"),
    [
        ("256-warp-bicubic", "people 256-warp-bicubic, metrics native. The pixels are the same only where files are 256 x 256; "
         "evalkit score --size 256 --fit warp"),
        ("native", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_report_says_when_people_and_metrics_saw_other_pixels(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], scores: Path, shown_as: str, said: str
) -> None:
    presented = "side by side for 500 ms"
    rows = [{**row, "shown_as": shown_as, "departures": "image_ms = 500", "presented": presented} for row in study_rows]
    run_report("--scores", scores, "--trials", write_csv(rows), "--out", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert ("did not see the same" in page) == bool(said)
    assert said in page
    for paragraph in (page, (tmp_path / "out" / "methods.tex").read_text()):
        assert "saw each photo and one of its colorizations side by side for 500 ms and said which had" in paragraph
    assert "The study differed from its preset in: image_ms = 500." in page


def test_the_methods_paragraph_tells_of_blocks_of_images(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    rows = [{**row, "block": ("indoor", "outdoor")[k % 2]} for k, row in enumerate(study_rows)]
    run_report("--trials", write_csv(rows), "--out", tmp_path / "foreign")
    assert "Williams" not in (tmp_path / "foreign" / "report.html").read_text()  # whatever their column says
    rows = [{**row, "departures": 'test_trials = 20; blocks = "scenes.csv"'} for row in rows]
    run_report("--trials", write_csv(rows), "--out", tmp_path / "out")
    said = "The images came in 2 blocks (indoor, outdoor), whose order was balanced over participants (rows of a Williams design)"
    assert said in (tmp_path / "out" / "report.html").read_text()
    assert said in (tmp_path / "out" / "methods.tex").read_text()


def test_metrics_beside_naturalness_are_not_said_to_fool(tmp_path: Path, write_csv: Write, scores: Path) -> None:
    rng = np.random.default_rng(2)
    rows = [
        [f"p{p}", image, method, "yes" if rng.random() < chance else "no"]
        for p in range(10)
        for image in IMAGES
        for method, chance in (("gray", 0.4), ("mine", 0.8))
    ]
    trials = write_csv([["participant", "image", "method", "response"], *rows])
    run_report("--scores", scores, "--trials", trials, "--out", tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "of single images against how often they are judged natural" in text
    assert "fool" not in re.sub(r"<(style|script)[^>]*>.*?</\1>", "", text, flags=re.DOTALL)


def test_notes_end_once_and_rows_stand_by_themselves(tmp_path: Path, write_csv: Write) -> None:
    """A stray method's reason is in the notes, not in a cell; sorted rows of covariates keep their method."""
    rows = simulated_rows({"gray": 0.1, "mine": 0.45, "other": 0.4}, n_trials=20)
    stray = {
        **next(row for row in rows if row["kind"] == "test"),
        "participant": "stray",
        "session": "x",
        "method": "odd",
    }
    run_report("--trials", write_csv([*rows, stray]), "--out", tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("A comparison for new participants needs at least two participants of each method.") == 3
    assert "gray − odd: A comparison" in text  # names keep their letters
    assert ".." not in re.sub(r"<(style|script|svg|pre)[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    covariates = text[text.index("Does the answer depend on anything else?</h2>") :]
    body = covariates[covariates.index("<tbody>") : covariates.index("</tbody>")]
    assert body.count("<tr>") == body.count("gray</th>") + body.count("mine</th>") + body.count("other</th>") > 6
