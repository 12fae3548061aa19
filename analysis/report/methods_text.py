"""Paragraphs to paste into a paper: what was measured, how, and with which uncertainty."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.report.bibliography import cited_for
from analysis.report.content import ReportInput
from analysis.report.preference import preference_paragraph
from analysis.report.tables import metric_column
from analysis.study.analysis import AnalysisOptions, StudyAnalysis, SubsetAnalysis
from evalkit.scoring.score_folder import ScoreFolder
from evalkit.text_formats import escape_latex
from evalkit.wording import agree, counted, some_names

__all__ = ["methods_latex", "methods_paragraphs"]


_CITED = (
    ("colorization-evalkit", "evalkit"),
    ("Holm's method", "holm1979simple"),
    ("Satterthwaite degrees of freedom", "satterthwaite1946approximate"),
    ("Bradley-Terry scale", "bradley1952rank"),
    ("Luce's choice axiom", "luce1959individual"),
    ("two one-sided tests", "schuirmann1987comparison"),
)
"""Words of the paragraphs, and what they are cited by where they stand first."""


def methods_paragraphs(content: ReportInput) -> list[str]:
    """Paragraphs to paste into a paper: what was measured, how, and with which uncertainty."""
    return [re.sub("\ue000.*?\ue001", "", paragraph) for paragraph in _paragraphs(content)]


def methods_latex(content: ReportInput) -> str:
    r"""The same paragraphs for ``\input``, with citations of what ``references.bib`` holds."""
    text = "\n\n".join(escape_latex(paragraph) for paragraph in _paragraphs(content))
    for words, key in _CITED:
        text = text.replace(words, f"{words}{_citation([key])}", 1)
    cited = re.sub("\ue000(.*?)\ue001", lambda match: rf"~\cite{{{match[1]}}}", text)
    return f"% With the entries of references.bib.\n{cited}\n"


def _citation(keys: Sequence[str]) -> str:
    """A place to cite at, between two characters that no text has; nothing without keys."""
    return f"\ue000{','.join(keys)}\ue001" if keys else ""


def _paragraphs(content: ReportInput) -> list[str]:
    """The paragraphs with places to cite at."""
    paragraphs = []
    if content.scores is not None:
        paragraphs.append(_scores_paragraph(content.scores, content))
    if content.study is not None:
        paragraphs += _study_paragraphs(content.study)
    return paragraphs


def _scores_paragraph(scores: ScoreFolder, content: ReportInput) -> str:
    """Metrics, images, intervals and how scores were compared."""
    n_bootstrap = scores.record.get("bootstrap", 0)
    intervals = (
        f"; standard errors and 95 % intervals are over images (bootstrap with {counted(n_bootstrap, 'replicate')}; on fewer "
        "than 100 images the jackknife)"
        if n_bootstrap
        else ", without standard errors"
    )
    named = [
        f"{metric_column(metric).title.removesuffix(' %')}{_citation(cited_for(metric))}" for metric in scores.metrics
    ]
    text = (
        f"Metric scores ({', '.join(named)}) were computed on {_image_counts(scores)} with colorization-evalkit "
        f"{content.version}{intervals}. "
    )
    if content.differences:
        text += (
            f"Scores were compared with those of {content.baseline} on the same images, by swapping the labels of the two "
            "methods image by image; p-values are adjusted by Holm's method over all methods and metrics. "
        )
    return text + "Signatures say how each number was made."


def _image_counts(scores: ScoreFolder) -> str:
    """Images of the methods: one number where they have as many, each method's own where not."""
    counts = {method: scores.images_of(method) for method in scores.methods}
    if len(set(counts.values())) <= 1:
        return counted(next(iter(counts.values()), 0), "image")
    return "images of different number (" + ", ".join(f"{name}: {count:,}" for name, count in counts.items()) + ")"


def _declared(study: StudyAnalysis) -> str:
    days = sorted({rule.declared for rule in study.rules if rule.declared})
    return f"on {' and '.join(days)}" if days else "beforehand (on a day that their file does not name)"


def _study_paragraphs(study: StudyAnalysis) -> list[str]:
    headline, options = study.headline, study.options
    test = headline.trials.of_kind("test")
    people, images = test.design.n_participants, test.design.n_images
    presented = _presented(headline)
    if presented and headline.trials.n_alternatives > 2:  # begins with their number
        presented = f"({presented.strip()}) "
    preferred = (
        f"saw {_number(headline.trials.n_alternatives)} colorizations of a photo {presented}and said which looked "
        f"{'more' if headline.trials.n_alternatives == 2 else 'most'} natural"
    )
    if headline.trials.seeks_real:
        shown = test.n_alternatives
        preferred = (
            f"saw each photo together with {_number(shown - 1)} of its colorizations {presented}and said which was the "
            f"real photo (chance 1 in {shown})"
        )
    asked = {
        "real-vs-fake": f"saw each photo and one of its colorizations {_presented(headline, 'in turn ')}and said which had fake colours",
        "preference": preferred,
        "naturalness": f"saw one image at a time {_presented(headline)}and said whether its colours looked natural",
        "rating": "rated single images",
    }[headline.trials.preset]
    who = "Simulated observers" if study.simulated else "Participants"
    first = f"{who} (n = {people}) {asked}; {counted(len(test), 'answer')} on {counted(images, 'image')} {agree(len(test), 'is', 'are')} analysed."
    first += _blocks(headline) + _departures(headline)
    excluded = "; ".join(f"{entry.reason}: {counted(entry.n_trials, 'trial')}" for entry in study.left_out)
    if excluded:
        first += f" Not included: {excluded}."
    if study.rules:
        first += f" Exclusion rules declared {_declared(study)}: {'; '.join(rule.name for rule in study.rules)}."
    if headline.preferences is not None:
        both = options.estimand == "participants+images"
        claim = "new participants and new images" if both else "new participants on these images"
        return [first, preference_paragraph(headline.preferences, claim, options.confidence)]
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
    return [first, claim + _comparison_words(headline, options)]


def _number(count: int) -> str:
    words = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[count - 2]


def _presented(headline: SubsetAnalysis, otherwise: str = "") -> str:
    """How the images were shown, where the table tells, with the blank that follows."""
    words = sorted(set(headline.trials["presented"].tolist()) - {""}) if "presented" in headline.trials else []
    return f"{' or '.join(words)} " if words else otherwise


def _blocks(headline: SubsetAnalysis) -> str:
    """That images came in blocks, where the table tells; a column of this name in a foreign table may mean anything."""
    told = headline.trials["departures"].tolist() if "departures" in headline.trials else []
    if "block" not in headline.trials or not any(re.search(r'blocks = "[^"]+\.csv"', entry) for entry in set(told)):
        return ""
    blocks = sorted(set(headline.trials["block"].tolist()) - {""})
    return (
        f" The images came in {counted(len(blocks), 'block')} ({some_names(blocks)}), whose order was balanced over participants (rows of a "
        "Williams design), in random order within a block."
    )


def _departures(headline: SubsetAnalysis) -> str:
    """What was shown and asked otherwise than the preset has it; nothing where the table does not tell."""
    if "departures" not in headline.trials:
        return ""
    said = sorted({str(entry) for entry in headline.trials["departures"]})
    if said == [""]:
        return " The study followed its preset in everything that was shown and asked."
    return f" The study differed from its preset in: {' / '.join(entry or 'nothing' for entry in said)}."


def _comparison_words(headline: SubsetAnalysis, options: AnalysisOptions) -> str:
    """How methods were compared, with one another and with what counts as success."""
    compared = (
        " Methods were compared by a two-way test, paired by images where the same ones were shown for both; p-values are "
        "adjusted by Holm's method for the family of comparisons, intervals are not adjusted."
    )
    if headline.together is not None:
        compared += (
            f" All methods at once ({', '.join(headline.together.methods)}) were tested by Wald's statistic with the same "
            "two-way covariance, on the scale of F (Welch-James)."
        )
    margin = f"{100 * options.equivalence_margin:g} points"
    if headline.trials.preset == "rating":
        by_order = (
            " Beside the means, ratings were compared by their order alone: the probability that one of A is higher than "
            "one of B (Mann-Whitney, ties half), with the same two-way variance."
        )
        return compared.replace("Methods", "Mean ratings", 1) + by_order
    if headline.trials.preset == "real-vs-fake":
        return compared + (
            f" A method counts as equal to 50 % when two one-sided tests with a margin of {margin} are significant at 5 % after "
            "Holm's adjustment for the number of methods."
        )
    if headline.against_truth is None:
        return compared
    return compared + (
        f" A method counts as equal to the photos themselves when two one-sided tests of the difference of the rates, with a "
        f"margin of {margin}, are significant at 5 % after Holm's adjustment."
    )
