"""Runs and studies that may stand together as boards: methods, what was measured of them, ranks by paired tests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from analysis.leaderboard.sources import ScoreSource, Source, StudySource
from analysis.records import Row
from analysis.report.cells import ReportColumn
from analysis.report.tables import PAPER_METRICS, metric_column
from analysis.statistics.rank_ranges import rank_ranges
from evalkit.errors import InputError
from evalkit.metrics import load_metric
from evalkit.resampling.multiplicity import holm
from evalkit.scoring.estimates import Estimate
from evalkit.scoring.ranking import LEVEL, pair_tests
from evalkit.scoring.score_comparison import run_estimates
from evalkit.scoring.signature import differing_fields
from evalkit.wording import counted, unknown_name

__all__ = ["Board", "Contender", "Measure", "Pair", "Standing", "make_boards"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What methods are ranked by: a metric, or the answers of one study.

    Attributes
    ----------
    key : str
        Name of the metric, or what a study measured (`StudySource.measure`), with its label where there are several.
    column : ReportColumn
        Heading, factor and digits.
    better : {"higher", "lower", "neither"}
        Which direction is better.
    signature : str
        How it was made, of the first method that has it.
    note : str
        Why there are no ranks; empty where there are.
    """

    key: str
    column: ReportColumn
    better: str
    signature: str
    note: str = ""

    @property
    def title(self) -> str:
        """The heading with an arrow to where better is."""
        return self.column.title + {"higher": " ↑", "lower": " ↓"}.get(self.better, "")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One method by one measure; NaN where a number is missing.

    Attributes
    ----------
    value, std_error, ci_low, ci_high : float
        In the unit of the measure.
    n_images : int
        Images that carry it.
    first_rank, last_rank : int
        The ranks that it can have, 1 the best; 0 without ranks.
    notes : tuple of str
        Cautions.
    signature : str
        How it was made.
    """

    value: float
    std_error: float
    ci_low: float
    ci_high: float
    n_images: int
    first_rank: int = 0
    last_rank: int = 0
    notes: tuple[str, ...] = ()
    signature: str = ""

    @property
    def ranks(self) -> str:
        """As it is read: ``1``, or ``1–3``."""
        if not self.first_rank:
            return ""
        return str(self.first_rank) if self.first_rank == self.last_rank else f"{self.first_rank}–{self.last_rank}"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods by one measure.

    Attributes
    ----------
    measure, first, second : str
        Keys and names.
    n_images : int
        Images that both share.
    difference : float
        First minus second.
    p_value, p_holm : float
        Two-sided; adjusted for all pairs of the measure.
    """

    measure: str
    first: str
    second: str
    n_images: int
    difference: float
    p_value: float
    p_holm: float

    @property
    def told_apart(self) -> bool:
        """Whether the difference is beyond doubt."""
        return self.p_holm < LEVEL and self.difference != 0


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row: a method, or an anchor (gray, random, the photos themselves), which has no rank.

    Attributes
    ----------
    name : str
        Unique on its board.
    method : str
        As its runs call it.
    is_anchor : bool
        Whether it stands for comparison alone.
    sources : tuple of str
        Labels of the runs and studies that hold it.
    standings : mapping of str to Standing
        By measure.
    notes : tuple of str
        Cautions that concern every score of it.
    """

    name: str
    method: str
    is_anchor: bool
    sources: tuple[str, ...]
    standings: Mapping[str, Standing]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Board:
    """Methods that may be compared.

    Attributes
    ----------
    measures : tuple of Measure
        People first, then metrics.
    contenders : tuple of Contender
        Best first by the measure that orders the board, then anchors.
    pairs : tuple of Pair
        Every pair that was tested, measure by measure.
    sources : tuple of Source
        Runs and studies behind it.
    notes : tuple of str
        What a reader should know of all of it.
    """

    measures: tuple[Measure, ...]
    contenders: tuple[Contender, ...]
    pairs: tuple[Pair, ...]
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()

    def rows(self, number: int) -> Iterator[Row]:
        """Rows of ``leaderboard.csv``; `number` is that of the board."""
        for measure in self.measures:
            for contender in self.contenders:
                standing = contender.standings.get(measure.key)
                if standing is None:
                    continue
                yield {
                    "board": number,
                    "method": contender.name,
                    "anchor": contender.is_anchor,
                    "sources": "; ".join(contender.sources),
                    "measure": measure.key,
                    "better": measure.better,
                    "first_rank": standing.first_rank or None,
                    "last_rank": standing.last_rank or None,
                    "value": standing.value,
                    "std_error": standing.std_error,
                    "ci_low": standing.ci_low,
                    "ci_high": standing.ci_high,
                    "n_images": standing.n_images,
                    "signature": standing.signature,
                    "cautions": "; ".join((*contender.notes, *standing.notes)),
                }

    def pair_rows(self, number: int) -> Iterator[Row]:
        """Rows of ``leaderboard_pairs.csv``."""
        for pair in self.pairs:
            yield {"board": number, **vars(pair), "told_apart": pair.told_apart}


def make_boards(
    sources: Sequence[Source], *, metrics: Sequence[str] | None = None, by: str = "", apart: bool = False
) -> list[Board]:
    """Join runs and studies, and rank their methods.

    Runs stand on one board where they scored the same photos and agree in the signature of every metric that they share.
    A method is ranked by each measure among all that have it; all pairs of one measure are a family of Holm's.

    Parameters
    ----------
    sources : sequence of Source
        Runs and studies.
    metrics : sequence of str, optional
        These metrics alone; the signatures of others are not looked at.
    by : str
        Measure that orders the rows; by default the first: people's answers, then the paper's metrics.
    apart : bool
        Whether runs that differ get a board of their own; else they are refused.

    Raises
    ------
    InputError
        For runs that differ (the fields are named), unknown metrics, and where nothing can be ranked.
    """
    runs = [source for source in sources if isinstance(source, ScoreSource)]
    available = list(dict.fromkeys(name for run in runs for name in run.folder.metrics))
    for name in metrics or ():
        if name not in available:
            raise InputError(f"--metrics: {unknown_name('metric', name, available)}")
    chosen = [name for name in available if metrics is None or name in metrics]
    groups = _groups(runs, chosen, apart)
    drafts = [_draft(group, chosen) for group in groups]
    for study in (source for source in sources if isinstance(source, StudySource)):
        judged = {rate["method"] for rate in study.rates}
        fitting = [draft for draft in drafts if judged & {row.method for row in draft.rows}]
        if not fitting:
            fitting = [draft for draft in drafts if not draft.runs][:1] or [_Draft()]
            drafts += [draft for draft in fitting if draft not in drafts]
        fitting[0].studies.append(study)
    boards = [_board(draft, chosen, by) for draft in drafts]
    keys = list(dict.fromkeys(measure.key for board in boards for measure in board.measures))
    if by and by not in keys:
        raise InputError(f"--by: {unknown_name('measure', by, keys)}")
    return boards


def _groups(runs: Sequence[ScoreSource], metrics: Sequence[str], apart: bool) -> list[list[ScoreSource]]:
    groups: list[list[ScoreSource]] = []
    for run in runs:
        differing = ""
        for group in groups:
            differing = next(filter(None, (_difference(one, run, metrics) for one in group)), "")
            if not differing:
                group.append(run)
                break
        else:
            if groups and not apart:
                raise InputError(
                    f"{differing}. Score them alike, leave the metric out with --metrics, or list such runs on boards of "
                    "their own with --apart"
                )
            groups.append([run])
    return groups


def _difference(one: ScoreSource, two: ScoreSource, metrics: Sequence[str]) -> str:
    """Why two runs may not stand together; empty where they may."""
    beginning = f"{two.path} cannot stand beside {one.path}: "
    for name in metrics:
        signatures = [_signature(run, name) for run in (one, two)]
        if not all(signatures):
            continue
        fields = differing_fields(*signatures)
        if fields:
            text = ", ".join(f"{key} ({mine or 'absent'} against {theirs or 'absent'})" for key, (mine, theirs) in fields.items())  # fmt: skip
            return f"{beginning}the signatures of {name} differ in {text}"
    sets = [_set_of(run) for run in (one, two)]
    if sets[0] != sets[1]:
        return f"{beginning}their images differ ({sets[0]} against {sets[1]})"
    truths = [str(run.record.inputs.get("truth", ""))[:8] for run in (one, two)]
    if truths[0] != truths[1]:
        return f"{beginning}their photos have the same names but other contents (truth {truths[0]} against {truths[1]})"
    return ""


def _own_methods(run: ScoreSource) -> list[str]:
    return [name for name in run.folder.methods if not _is_anchor(run, name)]


def _is_anchor(run: ScoreSource, method: str) -> bool:
    return method == "truth" or method in run.record.builtins


def _signature(run: ScoreSource, metric: str) -> str:
    """Of the run's own methods; those of ``random`` name a seed."""
    for method in (*_own_methods(run), *run.folder.methods):
        score = run.folder.summary.get((method, metric))
        if score is not None and score.signature:
            return score.signature
    return ""


def _set_of(run: ScoreSource) -> str:
    """The images of a run as signatures say them: ``set:own@1a2b3c4d, n:8, size:native``."""
    fields = next((one.signature.split("|")[1:4] for one in run.folder.summary.values() if one.signature), [])
    return ", ".join(fields)


@dataclass(eq=False)
class _Row:
    """A method while its board is made."""

    method: str
    is_anchor: bool
    identity: tuple[str, str]
    sources: list[str] = field(default_factory=list)
    standings: dict[str, Standing] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    name: str = ""


@dataclass(eq=False)
class _Draft:
    """A board while it is made."""

    runs: list[ScoreSource] = field(default_factory=list)
    studies: list[StudySource] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)


def _draft(runs: list[ScoreSource], metrics: Sequence[str]) -> _Draft:
    """Rows of the methods of several runs; the same files under the same name are one method."""
    draft = _Draft(runs=runs)
    images: tuple[str, ...] = ()
    for run in runs:
        own = _own_methods(run)
        estimates = run_estimates(run.path, metrics, own)
        images = images or estimates.images
        if estimates.images != images:  # the digest of the names in the signature said otherwise
            raise InputError(f"{run.path} holds other images than {runs[0].path}")
        cautions = run.folder.cautions()
        for method in run.folder.methods:
            row = _row_of(draft, method, run.identity(method), is_anchor=_is_anchor(run, method))
            row.sources.append(run.label)
            row.notes.update(dict.fromkeys(cautions.get(method, ())))
            n_images = run.folder.images_of(method)
            for name in metrics:
                score = run.folder.summary.get((method, name))
                if score is None or name in row.standings:
                    continue
                row.standings[name] = Standing(
                    value=score.value,
                    std_error=score.std_error,
                    ci_low=score.ci_low,
                    ci_high=score.ci_high,
                    n_images=score.n_images,
                    notes=tuple(score.cautions(n_images)),
                    signature=score.signature,
                )
                if method in own and name in estimates.by_metric and not math.isnan(score.value):
                    row.estimates[name] = estimates.by_metric[name][method]
    return draft


def _row_of(draft: _Draft, method: str, identity: tuple[str, str], *, is_anchor: bool) -> _Row:
    for row in draft.rows:
        if row.identity == identity and row.is_anchor == is_anchor:
            return row
    draft.rows.append(_Row(method=method, is_anchor=is_anchor, identity=identity))
    return draft.rows[-1]


def _board(draft: _Draft, metrics: Sequence[str], by: str) -> Board:
    notes = []
    for study in draft.studies:
        notes += _add_study(draft, study, len(draft.studies) > 1)
    _name_rows(draft.rows)
    measures = [_study_measure(study, len(draft.studies) > 1) for study in draft.studies]
    measures += [_metric_measure(draft, name) for name in _ordered(metrics) if any(name in r.standings for r in draft.rows)]  # fmt: skip
    pairs: list[Pair] = []
    for number, measure in enumerate(measures):
        of_measure = (
            _study_pairs(draft, draft.studies[number], measure)
            if number < len(draft.studies)
            else _metric_pairs(draft, measure)
        )
        ranked = _rank(draft.rows, measure, of_measure)
        if measure.better != "neither" and not ranked and not measure.note:
            measures[number] = replace(measure, note=_why_unranked(draft.rows, measure))
        pairs += of_measure
    order = next((measure for measure in measures if measure.key == by), measures[0] if measures else None)
    rows = sorted(draft.rows, key=lambda row: _place(row, order)) if order else draft.rows
    for run in draft.runs:
        notes += [note for note in run.folder.cautions().get("", ()) if note not in notes]
    return Board(
        measures=tuple(measures),
        contenders=tuple(
            Contender(
                name=row.name,
                method=row.method,
                is_anchor=row.is_anchor,
                sources=tuple(row.sources),
                standings=row.standings,
                notes=tuple(row.notes),
            )
            for row in rows
        ),
        pairs=tuple(pairs),
        sources=(*draft.runs, *draft.studies),
        notes=tuple(notes),
    )


def _ordered(metrics: Sequence[str]) -> list[str]:
    """The paper's three first, as in the report."""
    return sorted(metrics, key=lambda name: PAPER_METRICS.index(name) if name in PAPER_METRICS else len(PAPER_METRICS))


def _name_rows(rows: Sequence[_Row]) -> None:
    """Methods of one name get that of their run behind it."""
    counts = Counter(row.method for row in rows)
    for row in rows:
        row.name = row.method if counts[row.method] == 1 else f"{row.method} ({row.sources[0]})"


def _study_key(study: StudySource, several: bool) -> str:
    return f"{study.measure} ({study.label})" if several else study.measure


def _study_measure(study: StudySource, several: bool) -> Measure:
    column = replace(study.column, title=f"{study.column.title} ({study.label})") if several else study.column
    return Measure(key=_study_key(study, several), column=column, better="higher", signature=study.signature)


def _add_study(draft: _Draft, study: StudySource, several: bool) -> list[str]:
    """Put a study's rates into the rows of their methods; methods that no run holds, or that two runs hold, get a row."""
    notes = []
    rates = {rate["method"]: rate for rate in study.rates}
    in_pairs = dict.fromkeys(name for pair in study.pairs for name in (pair["method_a"], pair["method_b"]))
    for method in dict.fromkeys([*rates, *in_pairs]):
        rate = rates.get(method, {"value": math.nan, "std_error": math.nan, "ci_low": math.nan, "ci_high": math.nan, "n_images": 0})  # fmt: skip
        of_name = [row for row in draft.rows if row.method == method]
        if len(of_name) == 1:
            row = of_name[0]
        else:
            if of_name:
                notes.append(
                    f"The study {study.label} judged {method}, the name of {counted(len(of_name), 'method')}: what people said of "
                    "it has a row of its own"
                )
            row = _row_of(draft, method, (method, study.label), is_anchor=method == "truth")
        row.sources.append(study.label)
        row.standings[_study_key(study, several)] = Standing(
            **{name: rate[name] for name in ("value", "std_error", "ci_low", "ci_high", "n_images")},
            signature=study.signature,
        )
    if study.is_simulated:
        notes.append(f"The answers of {study.label} come from simulated observers, not from people")
    return notes


def _row_in_study(draft: _Draft, study: StudySource, method: str) -> _Row:
    return next(row for row in draft.rows if row.method == method and study.label in row.sources)


def _study_pairs(draft: _Draft, study: StudySource, measure: Measure) -> list[Pair]:
    """The pairs of the study, with the adjustment that its own analysis made."""
    return [
        Pair(
            measure=measure.key,
            first=_row_in_study(draft, study, pair["method_a"]).name,
            second=_row_in_study(draft, study, pair["method_b"]).name,
            n_images=pair["n_images"],
            difference=pair["difference"],
            p_value=pair["p_value"],
            p_holm=pair["p_holm"],
        )
        for pair in study.pairs
    ]


def _metric_measure(draft: _Draft, name: str) -> Measure:
    signature = next(filter(None, (_signature(run, name) for run in draft.runs)), "")
    metric: Any = load_metric(name)
    return Measure(key=name, column=metric_column(name), better=metric.better, signature=signature)


def _metric_pairs(draft: _Draft, measure: Measure) -> list[Pair]:
    if measure.better == "neither":
        return []
    tests = pair_tests({row.name: row.estimates[measure.key] for row in draft.rows if measure.key in row.estimates})
    adjusted = holm([test.p_value for test in tests])
    return [
        Pair(
            measure=measure.key,
            first=test.first,
            second=test.second,
            n_images=test.n_images,
            difference=test.difference,
            p_value=test.p_value,
            p_holm=float(p_holm),
        )
        for test, p_holm in zip(tests, adjusted, strict=True)
    ]


def _rank(rows: Iterable[_Row], measure: Measure, pairs: Sequence[Pair]) -> bool:
    """Write the ranks of a measure into the rows; whether there are any."""
    tested = {name for pair in pairs if not math.isnan(pair.p_holm) for name in (pair.first, pair.second)}
    ranked = [row for row in rows if row.name in tested and not row.is_anchor]
    if len(ranked) < 2:
        return False
    place = {row.name: k for k, row in enumerate(ranked)}
    better = np.zeros((len(ranked), len(ranked)), dtype=bool)
    for pair in pairs:
        if not pair.told_apart or not {pair.first, pair.second} <= place.keys():
            continue
        first_is_better = (pair.difference > 0) == (measure.better == "higher")
        best, worst = (pair.first, pair.second) if first_is_better else (pair.second, pair.first)
        better[place[best], place[worst]] = True
    for row, (first, last) in zip(ranked, rank_ranges(better).tolist(), strict=True):
        row.standings[measure.key] = replace(row.standings[measure.key], first_rank=first, last_rank=last)
    return True


def _why_unranked(rows: Sequence[_Row], measure: Measure) -> str:
    scored = [row for row in rows if not row.is_anchor and measure.key in row.standings]
    with_value = [row for row in scored if not math.isnan(row.standings[measure.key].value)]
    if len(with_value) < 2:
        return "fewer than two methods have it"
    return "it is one number of a whole set of images, so no test pairs it image by image"


def _place(row: _Row, measure: Measure) -> tuple[bool, bool, float]:
    """Methods before anchors, those that have the measure first, best first."""
    standing = row.standings.get(measure.key)
    value = math.nan if standing is None else standing.value
    sign = -1.0 if measure.better == "higher" else 1.0
    return row.is_anchor, math.isnan(value), 0.0 if math.isnan(value) else sign * value
