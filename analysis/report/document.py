"""The report: table, figures, galleries and a methods paragraph in one HTML file that needs nothing else."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.records import write_csv
from analysis.report import figures as draw
from analysis.report.agreement import MetricAgreement, image_pairs_of, metric_agreement
from analysis.report.figures import save_figure
from analysis.report.galleries import Gallery, ImageFolders, fooling_galleries, qualitative_grid
from analysis.report.metric_differences import MetricDifference, metric_differences
from analysis.report.published_rows import published_rows
from analysis.report.score_folder import ScoreFolder
from analysis.report.tables import ReportTable, build_table, metric_column, with_minus
from analysis.study.analysis import StudyAnalysis, SubsetAnalysis
from analysis.study.columns import OUTPUT_COLUMNS
from analysis.trials.trial_files import find_trial_file
from evalkit.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ReportFigure", "ReportInput", "methods_paragraphs", "report_figures", "write_report"]


@dataclass(frozen=True)
class ReportInput:
    """What a report is made of; scores, a study, or both.

    Attributes
    ----------
    scores : ScoreFolder or None
        Of `evalkit score`.
    study : StudyAnalysis or None
        Of the human test.
    trial_file : Path or None
        Where the trials come from, for the digest.
    published : str
        Name of a published table, or "".
    baseline : str
        Method that metric scores are compared with, or "".
    folders : ImageFolders or None
        Images for the galleries.
    title : str
        Heading.
    version : str
        Of this package.
    """

    scores: ScoreFolder | None = None
    study: StudyAnalysis | None = None
    trial_file: Path | None = None
    published: str = ""
    baseline: str = ""
    folders: ImageFolders | None = None
    title: str = "Colorization: scores and human judgement"
    version: str = ""


@dataclass(frozen=True)
class ReportFigure:
    """A drawn figure with its caption; `name` is the file name without suffix."""

    name: str
    caption: str
    figure: Figure


def write_report(content: ReportInput, out: Path) -> list[Path]:
    """Write ``report.html``, ``table.*``, ``metric_agreement.csv`` and ``figures/*.pdf``, ``*.svg``.

    Parameters
    ----------
    content : ReportInput
        Scores, a study, or both.
    out : Path
        Folder, made when absent; files of the same names are replaced.

    Returns
    -------
    list of Path
        Files written, the HTML file first.

    Raises
    ------
    InputError
        When there are neither scores nor a study, or the published table is not known.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    if content.scores is None and content.study is None:
        raise InputError("A report needs scores (--scores DIR), trials (--trials FILE), or both.")
    headline = content.study.headline if content.study else None
    published = published_rows(content.published) if content.published else ()
    table = build_table(content.scores, headline, published=published)
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "report.html", out / "table.csv", out / "table.md", out / "table.tex", out / "table.html"]
    table.write_csv(written[1])
    for path, text in zip(written[2:], (table.to_markdown(), table.to_latex(), table.to_html()), strict=True):
        path.write_text(text, encoding="utf-8")

    differences: list[MetricDifference] = []
    if content.scores and _has_differences(content.scores, content.baseline):
        differences = metric_differences(content.scores, content.baseline)
        written.append(out / "metric_differences.csv")
        write_csv(written[-1], [entry.row() for entry in differences], list(OUTPUT_COLUMNS[written[-1].name]))
    agreement: list[MetricAgreement] = []
    if content.scores and headline and headline.rates:
        agreement = metric_agreement(content.scores, headline.rates, headline.tables["per_image"])
        written.append(out / "metric_agreement.csv")
        write_csv(written[-1], [entry.row() for entry in agreement], list(OUTPUT_COLUMNS[written[-1].name]))
    shown = []
    (out / "figures").mkdir(exist_ok=True)
    for entry in report_figures(content, agreement):
        for suffix in (".pdf", ".svg"):
            written.append(out / "figures" / (entry.name + suffix))
            save_figure(entry.figure, written[-1])
        shown.append(
            {"caption": entry.caption, "svg": Markup(_inline(written[-1].read_text(encoding="utf-8"), entry.name))}
        )

    template = Environment(loader=PackageLoader("analysis.report"), autoescape=True, trim_blocks=True).get_template(
        "report.html"
    )
    before = content.study.subsets[0] if content.study and len(content.study.subsets) > 1 else None
    written[0].write_text(
        template.render(
            title=content.title,
            subtitle=_subtitle(content),
            simulated=_simulated(headline),
            table=Markup(table.to_html()) if table.columns else "",
            other_table=Markup(build_table(None, before).to_html()) if before and before.rates else "",
            notes=_notes(headline, table),
            left_out=content.study.left_out if content.study else (),
            comparisons=_comparison_cells(headline),
            metric_differences=_difference_matrix(differences),
            baseline=content.baseline,
            figures=shown,
            agreement=_agreement_matrix(agreement),
            galleries=_galleries(content),
            methods=methods_paragraphs(content),
            provenance=_provenance(content),
        ),
        encoding="utf-8",
    )
    return written


def report_figures(content: ReportInput, agreement: Sequence[MetricAgreement] = ()) -> list[ReportFigure]:
    """All figures for which there are data."""
    found: list[ReportFigure] = []

    def add(name: str, caption: str, make: Callable[[], Figure]) -> None:
        found.append(ReportFigure(name, caption, make()))

    scores, study = content.scores, content.study
    if scores and scores.curves:
        bands = "; bands: 95 % over images" if scores.curve_std_errors else ""
        add("curves", f"Cumulative ab-error curves: share of pixels within each error threshold{bands}.",
            lambda: draw.curve_figure(scores.curves, scores.curve_std_errors))  # fmt: skip
    if study is None or study.headline.rates is None:
        return found
    headline = study.headline
    test = headline.trials.of_kind("test")
    rating, margin = headline.trials.preset == "rating", study.options.equivalence_margin
    rates = headline.rates or ()
    add("forest", _forest_caption(study), lambda: draw.forest_figure(list(rates), margin=margin, rating=rating))
    add("variance_components", "Variance of one answer: participants, images, and the rest.",
        lambda: draw.component_figure(headline.tables["variance_components"]))  # fmt: skip
    diagnosed = headline.diagnostics.get("methods", {})
    if any("estimate" in point for entry in diagnosed.values() for point in entry.get("vigilance_curve", [])):
        add("vigilance", "Fool rate of the participants who reach each share of vigilance trials; the left end is everybody.",
            lambda: draw.vigilance_figure(diagnosed))  # fmt: skip
    if not rating and "fatigue" in headline.diagnostics and np.ptp(test["trial"]) > 0:
        add("fatigue", "Fool rate over the session, all methods together.", lambda: draw.fatigue_figure(test))
    people = headline.tables["per_participant"]
    if any(not math.isnan(row["first_share"]) for row in people):
        add("side_bias", "How often each participant answered that the first image was the fake.",
            lambda: draw.side_bias_figure(people))  # fmt: skip
    if "answer_times" in headline.diagnostics:
        add("answer_times", "Times from the question to the answer.", lambda: draw.answer_time_figure(test))
    if scores is not None:
        best = _best_metric(agreement)
        if best:
            images = headline.tables["per_image"]
            pairs = {m: image_pairs_of(scores, images, best, m) for m in scores.methods}
            pairs = {method: pair for method, pair in pairs.items() if pair[0].size > 1}
            rho = {
                m: e.correlation.rho for m in pairs for e in agreement if (e.metric, e.over) == (best, f"images of {m}")
            }
            add("metric_scatter", f"{best} of single images against how often they fool people (the metric that agrees best).",
                lambda: draw.image_scatter_figure(pairs, best, rho))  # fmt: skip
    return found


def methods_paragraphs(content: ReportInput) -> list[str]:
    """Paragraphs to paste into a paper: what was measured, how, and with which uncertainty."""
    paragraphs = []
    if content.scores is not None:
        scores = content.scores
        count = max((entry.n_images for entry in scores.summary.values()), default=0)
        paragraphs.append(
            f"Metric scores were computed on {count:,} images with colorization-evalkit {content.version}; standard errors "
            "and intervals are over images. Signatures below say how each number was made."
        )
    if content.study is not None:
        paragraphs += _study_paragraphs(content.study, content.version)
    return paragraphs


def _study_paragraphs(study: StudyAnalysis, version: str) -> list[str]:
    headline, options = study.headline, study.options
    test = headline.trials.of_kind("test")
    people, images = np.unique(test["participant"]).size, np.unique(test["image"]).size
    asked = {
        "real-vs-fake": "saw each photo and one of its colorizations in turn and said which had fake colours",
        "preference": "saw two colorizations of a photo and said which looked more natural",
        "naturalness": "saw one image at a time and said whether its colours looked natural",
        "rating": "rated single images",
    }[headline.trials.preset]
    who = "Simulated observers" if _simulated(headline) else "Participants"
    first = f"{who} (n = {people}) {asked}; {len(test):,} answers on {images} images are analysed."
    excluded = "; ".join(f"{entry.reason}: {entry.n_trials} trials" for entry in study.left_out)
    if excluded:
        first += f" Not included: {excluded}."
    if study.rules:
        first += f" Exclusion rules declared beforehand: {'; '.join(rule.name for rule in study.rules)}."
    if headline.rates is None:
        link = "Strengths are a Bradley-Terry scale with mean 0, fitted by maximum likelihood; "
        return [first, link + "standard errors are clustered (sandwich)."]
    percent = f"{100 * options.confidence:g} %"
    if options.estimand == "participants+images":
        claim = (
            f"Standard errors and {percent} intervals are for new participants and new images: variance components of "
            "participants and images, crossed, were estimated by moments, the variance of the mean has Satterthwaite "
            "degrees of freedom, and t intervals were formed on the logit scale."
        )
    else:
        claim = (
            f"Standard errors and {percent} intervals are for new participants on these images: they rest on the spread "
            "of participants, with t intervals on the logit scale."
        )
    if headline.trials.preset == "rating":
        claim = claim.replace("on the logit scale", "on the rating scale")
        return [first, claim]
    claim += (
        " Methods were compared by an image-paired two-way test with Holm's adjustment. A method counts as equal to 50 % "
        f"when two one-sided tests with a margin of {100 * options.equivalence_margin:g} points are significant at 5 %."
    )
    return [first, claim]


def _forest_caption(study: StudyAnalysis) -> str:
    both = study.options.estimand == "participants+images"
    claim = "new participants and new images" if both else "new participants on these images"
    return f"Rates with {100 * study.options.confidence:g} % intervals for {claim}."


def _best_metric(agreement: Sequence[MetricAgreement]) -> str:
    """The metric with the largest mean absolute correlation over images."""
    by_metric: dict[str, list[float]] = {}
    for entry in agreement:
        if entry.over != "methods" and not math.isnan(entry.correlation.rho):
            by_metric.setdefault(entry.metric, []).append(abs(entry.correlation.rho))
    return max(by_metric, key=lambda name: float(np.mean(by_metric[name])), default="")


def _galleries(content: ReportInput) -> list[Gallery]:
    if content.folders is None:
        return []
    grid = qualitative_grid(content.folders)
    found = [grid] if grid else []
    if content.study and content.study.headline.rates is not None and content.study.headline.trials.preset != "rating":
        found += fooling_galleries(content.study.headline.tables["per_image"], content.folders)
    return found


def _notes(headline: SubsetAnalysis | None, table: ReportTable) -> list[str]:
    if headline is None:
        return []
    notes = list(headline.notes)
    notes += [f"{record.method}: {record.note}." for record in headline.rates or () if record.note]
    return notes


def _comparison_cells(headline: SubsetAnalysis | None) -> list[tuple[str, ...]]:
    if headline is None or headline.differences is None:
        return []
    factor = 1.0 if headline.trials.preset == "rating" else 100.0
    cells: list[tuple[str, ...]] = []
    for record in headline.differences:
        found = record.result
        if found is None:
            cells.append((record.method_a, record.method_b, "–", record.note, "–", "–"))
            continue
        cells.append(
            (
                record.method_a,
                record.method_b,
                with_minus(f"{factor * found.difference:+.1f}"),
                with_minus(f"{factor * found.ci_low:+.1f} to {factor * found.ci_high:+.1f}"),
                _p(record.p_holm),
                "–" if math.isnan(record.probability_less) else f"{record.probability_less:.3f}",
            )
        )
    return cells


def _has_differences(scores: ScoreFolder, baseline: str) -> bool:
    """Whether there is something to compare, and the statistics of every image to do it with."""
    others = set(scores.methods) - {baseline, "truth"}
    return baseline in scores.methods and bool(others) and (scores.folder / "statistics").is_dir()


def _difference_matrix(differences: Sequence[MetricDifference]) -> tuple[list[str], list[list[str]]] | None:
    """One row a metric, one column a method: the difference to the baseline, its interval, Holm's p."""
    if not differences:
        return None
    methods = list(dict.fromkeys(entry.found.other_method for entry in differences))
    cells = {(entry.found.metric, entry.found.other_method): entry for entry in differences}
    rows = []
    for name in dict.fromkeys(entry.found.metric for entry in differences):
        column = metric_column(name)
        row = [column.title]
        for method in methods:
            entry = cells[name, method]
            if math.isnan(entry.found.difference):
                row.append("–")
                continue
            shown = [
                f"{column.factor * value:+.{column.decimals}f}"
                for value in (entry.found.difference, entry.found.ci_low, entry.found.ci_high)
            ]
            interval = "" if math.isnan(entry.found.ci_low) else f" ({shown[1]} to {shown[2]})"
            row.append(with_minus(f"{shown[0]}{interval}, p {_p(entry.p_holm)}"))
        rows.append(row)
    return methods, rows


def _agreement_matrix(agreement: Sequence[MetricAgreement]) -> tuple[list[str], list[list[str]]] | None:
    """One row a metric, one column a set of pairs: the correlation with its interval."""
    if not agreement:
        return None
    over = list(dict.fromkeys(entry.over for entry in agreement))
    cells = {(entry.metric, entry.over): entry.correlation for entry in agreement}
    rows = []
    for metric in dict.fromkeys(entry.metric for entry in agreement):
        row = [metric]
        for column in over:
            found = cells.get((metric, column))
            if found is None or math.isnan(found.rho):
                row.append("–")
            elif math.isnan(found.ci_low):
                row.append(with_minus(f"{found.rho:+.2f}"))
            else:
                row.append(with_minus(f"{found.rho:+.2f} ({found.ci_low:+.2f} to {found.ci_high:+.2f})"))
        rows.append(row)
    return over, rows


def _p(value: float) -> str:
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _simulated(headline: SubsetAnalysis | None) -> bool:
    return bool(headline and "platform" in headline.trials and np.all(headline.trials["platform"] == "simulated"))


def _subtitle(content: ReportInput) -> str:
    parts = []
    if content.scores:
        parts.append(f"{len(content.scores.methods)} methods scored by {len(content.scores.metrics)} metrics")
    if content.study:
        test = content.study.headline.trials.of_kind("test")
        parts.append(f"{len(test):,} answers of {np.unique(test['participant']).size} participants")
    return "; ".join(parts) + f". colorization-evalkit {content.version}"


def _provenance(content: ReportInput) -> str:
    """Versions, options, digests and signatures, as indented JSON."""
    record: dict[str, Any] = {"version": content.version}
    if content.study:
        record["analysis"] = asdict(content.study.options)
        record["exclusion_rules"] = [asdict(rule) for rule in content.study.rules]
    if content.trial_file:
        file = find_trial_file(content.trial_file)
        record["trials"] = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    if content.scores:
        record["signatures"] = sorted({entry.signature for entry in content.scores.summary.values() if entry.signature})
        for key in ("inputs", "seed", "versions"):
            if key in content.scores.record:
                record[f"scores_{key}"] = content.scores.record[key]
    return json.dumps(record, indent=2, ensure_ascii=False)


def _inline(svg: str, name: str) -> str:
    """An SVG for use inside HTML: no XML header, no fixed size, ids that are its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'(id="|href="#|url\(#)', lambda match: match[0] + name + "-", svg)
