"""What the report shows of a preference study: columns of the table, win matrix, comparisons, figure, paragraph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analysis.report.cells import Cell, ReportColumn, omnibus_text, p_text, with_minus
from analysis.report.figures import COLUMN_WIDTH, new_figure
from analysis.study.preferences import PreferenceDifference, PreferenceResults
from analysis.trials.columns import TRUTH
from evalkit.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "choice_cells",
    "choices_title",
    "fill_preference_cells",
    "preference_cells",
    "preference_figure",
    "preference_paragraph",
    "preference_sentences",
    "win_matrix_cells",
    "wins_title",
]


def fill_preference_cells(results: PreferenceResults, cells: dict[str, dict[str, Cell]]) -> list[ReportColumn]:
    """Fill strength, interval, share of wins and numbers into `cells` by method; return the columns."""
    scale = results.scale
    baselines = {record.method_b for record in results.differences}
    chosen = {share.name: share for share in results.choices}
    against = {record.method_a: record for record in results.differences} if len(baselines) == 1 else {}
    for method in results.methods:
        own = cells.setdefault(method, {})
        if scale is not None and method in scale.methods:
            strength = scale.strength_of(method)
            own["strength"] = Cell(value=strength.estimate, std_error=strength.std_error)
            own["strength_interval"] = Cell(text=f"{strength.ci_low:.2f} to {strength.ci_high:.2f}")
        else:
            own["strength"] = Cell(text="not finite")
        met = [share.seen_from(method) for share in results.shares if method in (share.method_a, share.method_b)]
        wins = sum(share.wins_a + 0.5 * share.ties for share in met)
        trials = sum(share.n_trials for share in met)
        own["wins"] = Cell(text=f"{wins:g} / {trials}")
        if method in chosen:
            own["wins"] = Cell(text=f"{chosen[method].n_chosen} / {chosen[method].n_trials}")
        record = against.get(method)
        if record is not None:
            own["preference_difference"] = Cell(text=_difference_text(record))
            own["p_holm"] = Cell(text=p_text(record.p_holm))
    columns = [
        ReportColumn("strength", "strength", decimals=2),
        ReportColumn("strength_interval", f"{100 * (scale.confidence if scale else 0.95):g} % interval"),
        ReportColumn("wins", _wins_heading(results)),
    ]
    if against:
        columns += [
            ReportColumn("preference_difference", f"difference to {next(iter(baselines))}"),
            ReportColumn("p_holm", "p (Holm)"),
        ]
    return columns


def _wins_heading(results: PreferenceResults) -> str:
    if not results.choices:
        return "wins / trials"
    chosen = "taken for real" if results.seeks_real else "chosen"
    return f"{chosen} / trials (chance {100 * results.choices[0].chance:.3g} %)"


def _difference_text(record: PreferenceDifference) -> str:
    found = record.difference
    if found is not None:
        return f"{found.estimate:+.2f} ({found.ci_low:+.2f} to {found.ci_high:+.2f})"
    if math.isnan(record.bound) or record.share is None:
        return "–"
    return f"{'at least' if record.share.estimate == 1.0 else 'at most'} {record.bound:+.2f}"


def win_matrix_cells(
    results: PreferenceResults, *, intervals: bool = True
) -> tuple[tuple[str, ...], list[tuple[str, list[str]]]]:
    """Headings, and for each method the share (percent) against every other, with its interval and the trials."""
    rows = []
    for method in results.methods:
        row = []
        for other in results.methods:
            met = results.share(method, other) if other != method else None
            if met is None:
                row.append("" if other == method else "–")
                continue
            share = met.seen_from(method)
            if not intervals or share.mean is None:
                row.append(f"{100 * share.estimate:.0f}")
                continue
            limits = f"{100 * share.mean.ci_low:.0f} to {100 * share.mean.ci_high:.0f}"
            row.append(f"{100 * share.estimate:.0f} ({limits}), n {share.n_trials}")
        rows.append((method, row))
    return results.methods, rows


def preference_cells(results: PreferenceResults) -> list[tuple[str, ...]]:
    """Comparisons: A, B, wins of either and ties, share of A, difference of strengths with interval, p, Holm's p."""
    cells: list[tuple[str, ...]] = []
    for record in results.differences:
        share = record.share
        mean = share.mean if share else None
        met = f"{share.wins_a} : {share.wins_b}" + (f" : {share.ties}" if share.ties else "") if share else "–"
        percent = "–"
        if share is not None:
            interval = f" ({100 * mean.ci_low:.1f} to {100 * mean.ci_high:.1f})" if mean else ""
            percent = f"{100 * share.estimate:.1f}{interval}"
        cells.append(
            (
                record.method_a,
                record.method_b,
                met,
                percent,
                with_minus(_difference_text(record)),
                p_text(record.p_value),
                p_text(record.p_holm),
            )
        )
    return cells


def choices_title(results: PreferenceResults) -> str:
    """What the table of `choice_cells` shows."""
    chance = results.choices[0].chance
    if results.seeks_real:
        return (
            f"How often each was taken for the real photo ({TRUTH}: the photo was found), of the trials that showed it, %; chance is "
            f"{100 * chance:.3g} %:"
        )
    return f"How often each method was chosen of the trials that showed it, %; chance is {100 * chance:.3g} %:"


def wins_title(results: PreferenceResults) -> str:
    """What the table of `win_matrix_cells` shows."""
    won = "taken for the real photo rather than" if results.seeks_real else "preferred to"
    return f"How often the row was {won} the column, %:"


def choice_cells(results: PreferenceResults) -> list[tuple[str, ...]]:
    """Each method's share of choices in percent, its standard error and interval, and p against chance."""
    cells: list[tuple[str, ...]] = []
    for share in results.choices:
        mean = share.mean
        known = mean is not None and not math.isnan(mean.std_error)
        cells.append(
            (
                share.name,
                f"{100 * share.n_chosen / share.n_trials:.1f}",
                f"{100 * mean.std_error:.1f}" if mean is not None and known else "–",
                f"{100 * mean.ci_low:.1f} to {100 * mean.ci_high:.1f}" if mean is not None else "–",
                p_text(share.p_value),
            )
        )
    return cells


def preference_sentences(results: PreferenceResults) -> list[str]:
    """The omnibus test and the effect of being shown first, in words; nothing where there is no scale."""
    scale = results.scale
    sentences = _search_sentences(results)
    if scale is None:
        return sentences
    sentences.append(omnibus_text(scale.omnibus))
    if results.places:
        shares = ", ".join(f"{share.name} {100 * share.n_chosen / share.n_trials:.0f} %" for share in results.places)
        sentences.append(f"Chosen by place: {shares} (chance {100 * results.places[0].chance:.3g} %).")
    if scale.order is not None:
        order = scale.order
        first = 1.0 / (1.0 + math.exp(-order.estimate))
        sentences.append(
            f"Effect of being shown first: {order.estimate:+.2f} ({order.ci_low:+.2f} to {order.ci_high:+.2f}), "
            f"p {p_text(order.p_value, equals=True)}; between equal methods the first wins {100 * first:.0f} %. "
            "Strengths are free of it."
        )
    ties = sum(share.ties for share in results.shares)
    if ties:
        sentences.append(f"{counted(ties, 'tie')}: each counts as half a win for either method.")
    return [with_minus(sentence) for sentence in sentences]


def _search_sentences(results: PreferenceResults) -> list[str]:
    """Of a search for the real photo: how often it was found, and what these shares are not."""
    photo = next((share for share in results.choices if share.name == TRUTH), None)
    if not results.seeks_real or photo is None:
        return []
    interval = f" ({100 * photo.mean.ci_low:.1f} to {100 * photo.mean.ci_high:.1f})" if photo.mean is not None else ""
    tested = "" if math.isnan(photo.p_value) else f" (p {p_text(photo.p_value, equals=True)})"
    return [
        f"The real photo was found in {100 * photo.n_chosen / photo.n_trials:.1f} %{interval} of "
        f"{counted(photo.n_trials, 'trial')}; chance is {100 * photo.chance:.3g} %{tested}.",
        f"These shares are no fool rates of tests with two images, whose chance is 50 %: here it is {100 * photo.chance:.3g} %.",
    ]


def preference_figure(results: PreferenceResults) -> Figure:
    """The common scale: every method's strength with its interval, strongest at the top."""
    scale = results.scale
    assert scale is not None
    shown = [method for method in results.methods if method in scale.methods]
    with new_figure(COLUMN_WIDTH, max(1.6, 0.8 + 0.24 * len(shown))) as (figure, axes):
        results.plot(axes)
    return figure


def preference_paragraph(results: PreferenceResults, claim: str, confidence: float) -> str:
    """How it was computed, to paste into a paper."""
    order = results.scale is not None and results.scale.order is not None
    with_order = " and an effect of being shown first" if order else ""
    taken_apart = ""
    if results.choices:
        taken_apart = "".join(f"{sentence} " for sentence in _search_sentences(results)[1:])
        taken_apart += (
            f"Each choice among several (chance {100 * results.choices[0].chance:.3g} %) enters as wins of the chosen method over "
            "each other one (Luce's choice axiom); wins of one trial are kept together as one observation. "
        )
    return taken_apart + (
        f"Shares of wins have standard errors and intervals for {claim}, from variance components of participants and images "
        f"(t intervals on the logit scale; exact binomial limits where one method won every trial). Strengths are a "
        f"Bradley-Terry scale with mean 0{with_order}, fitted by maximum likelihood; its joint covariance is clustered by "
        "participants and by images (two-way sandwich), with Satterthwaite degrees of freedom. Pairwise differences have "
        f"{100 * confidence:g} % intervals that are not adjusted, and p-values adjusted by Holm's method; all methods at once were tested by "
        "Wald's statistic as Hotelling's T squared."
    )
