"""The BibTeX entries of a report: those of what it uses, each once, and readable by BibTeX itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from analysis.report.bibliography import ENTRIES, references_bib
from analysis.report.content import ReportInput
from analysis.study.analysis import analyze_study
from analysis.trials.trial_files import read_trials
from evalkit.metrics import load_metric, metric_names
from evalkit.scoring.score_folder import ScoreFolder
from tests.analysis.conftest import simulated_rows
from tests.conftest import require

METRICS = ("ab_auc", "ab_auc_rebal", "ssim_rgb", "ms_ssim_ab", "ciede2000", "colorfulness", "lpips_alex", "lpips_vgg",
           "fid", "fid_clean", "kid", "vgg16_top1", "psnr_rgb", "ab_rmse", "diversity_variance",
           "diversity_lpips_consecutive", "cdc", "pcqi", "uiqm")  # fmt: skip


def scores(*metrics: str) -> ScoreFolder:
    return ScoreFolder(
        folder=Path("nowhere"),
        methods=("mine",),
        metrics=metrics,
        summary={},
        curves={},
        curve_std_errors={},
        per_image={},
        record={},
    )


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),", text, flags=re.MULTILINE)


def test_only_what_is_used_is_cited_and_nothing_twice() -> None:
    both = keys(references_bib(ReportInput(scores=scores("lpips_alex", "lpips_vgg"), version="1.0")))
    assert both == ["evalkit", "zhang2018unreasonable"]
    assert keys(references_bib(ReportInput(scores=scores("psnr_rgb")))) == ["evalkit"]
    clean = keys(references_bib(ReportInput(scores=scores("fid_clean", "ssim_rgb"))))
    assert clean == ["evalkit", "heusel2017gans", "parmar2022aliased", "wang2004image"]


def test_bibtex_reads_every_entry_without_a_warning(tmp_path: Path, write_csv: Callable[..., Path]) -> None:
    study = analyze_study(read_trials(write_csv(simulated_rows({"mine": 0.3}))))
    content = ReportInput(scores=scores(*METRICS), version="0.2.0")
    text = references_bib(replace(content, study=study))
    assert set(keys(text)) == {"evalkit", *ENTRIES} - {"bradley1952rank", "luce1959individual"}
    for program in ("pdflatex", "bibtex"):
        require(shutil.which(program) is not None, f"{program} is not installed: the references were not read by it")
    (tmp_path / "references.bib").write_text(text, encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\begin{document}\\nocite{*}\\bibliographystyle{plain}\\bibliography{references}"
        "\\end{document}\n"
    )
    for words in (["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], ["bibtex", "paper"],
                  ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]):  # fmt: skip
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-500:]
        if words[0] == "bibtex":
            assert "warning" not in done.stdout.lower(), done.stdout


def test_every_metric_that_names_a_source_is_cited_by_it() -> None:
    n_sources = 0
    for name in metric_names():
        cited = references_bib(ReportInput(scores=scores(name)))
        for author, year in re.findall(r"\((\w+)(?: & \w+| et al\.)? (\d{4})", load_metric(name).summary):
            n_sources += 1
            assert any(key.startswith(author.lower()) and year in key for key in keys(cited)), (name, author, year)
    assert n_sources > 20
