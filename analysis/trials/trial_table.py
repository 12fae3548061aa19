"""The trial table: one row per trial, checked on entry, with a count of everything that is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from analysis.statistics.crossed import CrossedDesign
from analysis.trials.columns import (
    COLUMNS,
    PLACES,
    POSITIONS,
    REAL_AMONG_SEVERAL,
    SUSPECT_FLAGS,
    TRUTH,
    Column,
    Preset,
    is_fooled,
)
from evalkit.arrays import BoolArray, FloatArray, IntArray, TextArray
from evalkit.errors import InputError
from evalkit.needs import need_pandas
from evalkit.shown import ShownAsTable
from evalkit.text_formats import with_decimal_point
from evalkit.wording import counted, did_you_mean, some_names

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LeftOut", "RawTable", "TrialTable", "check_trials", "in_order"]


_BY_NAME = {column.name: column for column in COLUMNS}


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Text cells as they stand in a file, before any meaning.

    Attributes
    ----------
    source : str
        Name of the file or study, for messages.
    columns : mapping of str to ndarray of str, shape (n,)
        Cells without surrounding blanks; a missing cell is "".
    row : ndarray of int64, shape (n,)
        Row in the file for messages; a header is row 1.
    digest : str
        SHA-256 of the file, in hexadecimal; of a study, of the file that its export would be.
    notes : tuple of str
        Sentences about what the table does not hold.
    decimal_comma : bool
        Whether numbers may have a decimal comma: in files whose cells are not separated by commas.
    """

    source: str
    columns: Mapping[str, TextArray]
    row: IntArray
    digest: str = ""
    notes: tuple[str, ...] = ()
    decimal_comma: bool = False

    def with_points(self, cells: TextArray) -> TextArray:
        """Cells of numbers with a decimal point; those that are no number with a comma stay as they are."""
        if not self.decimal_comma:
            return cells
        return np.array([with_decimal_point(cell) for cell in cells.tolist()])


@dataclass(frozen=True)
class LeftOut:
    """Trials that did not enter, and why.

    Attributes
    ----------
    reason : str
        In plain words.
    n_trials, n_participants : int
        Trials left out, and participants all of whose trials were.
    """

    reason: str
    n_trials: int
    n_participants: int


@dataclass(frozen=True, kw_only=True, repr=False)
class TrialTable(ShownAsTable):
    """Checked trials of one study.

    Attributes
    ----------
    source : str
        Where they come from, for messages.
    preset : {"real-vs-fake", "preference", "naturalness", "rating"}
        What was asked.
    columns : mapping of str to ndarray, shape (n,)
        By the names of `analysis.trials.columns.COLUMNS`: text as str, numbers as float64 with NaN for missing, and other columns as
        text.
    value : ndarray of float64, shape (n,)
        The answer as a number: fooled, first preferred, judged natural (1/0), or the rating; NaN where
        unscored.
    unscored : ndarray of str, shape (n,)
        Why a value is NaN; "" elsewhere.
    row : ndarray of int64, shape (n,)
        Row in the file.
    left_out : tuple of LeftOut
        What was removed so far.
    digest, notes : str, tuple of str
        Of the `RawTable` that it was read from.
    """

    source: str
    preset: Preset
    columns: Mapping[str, npt.NDArray[Any]]
    value: FloatArray
    unscored: TextArray
    row: IntArray
    left_out: tuple[LeftOut, ...] = field(default=())
    digest: str = ""
    notes: tuple[str, ...] = ()
    _selections: dict[tuple[str, str], TrialTable] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return self.value.size

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        try:
            return self.columns[name]
        except (KeyError, TypeError):  # a list of names, too
            raise InputError(f"{self.source} has no column {name!r}; it has {some_names(self.columns, 12)}.") from None

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods of the test trials, sorted; for preference studies of either side."""
        test = self["kind"] == "test"
        return tuple(sorted({str(m) for name in self.method_columns for m in np.unique(self[name][test]) if m}))

    @property
    def method_columns(self) -> tuple[str, ...]:
        """Columns with names of methods: one, or in a preference study one for each place; empty where fewer were shown."""
        if self.preset != "preference":
            return ("method",)
        return tuple(name for place in PLACES if (name := f"method_{place}") in self)

    @property
    def n_alternatives(self) -> int:
        """Images that a trial lets people choose from, at most; 2 where the answer is yes or no."""
        further = [name for name in self.method_columns[2:] if np.any(self[name] != "")]
        return 2 + len(further)

    @property
    def seeks_real(self) -> bool:
        """Whether people looked for the real photo among several images (which is no preference, though scored alike)."""
        is_known = self.preset == "preference" and "real_position" in self and self.n_alternatives > 2
        return is_known and bool(np.any(self["real_position"] != ""))

    @property
    def question(self) -> str:
        """What was asked: the preset, or `real photo among several`."""
        return REAL_AMONG_SEVERAL if self.seeks_real else self.preset

    @property
    def question_and_chance(self) -> str:
        """What was asked, told apart by the share of who guesses: answers that differ in it are never analysed together."""
        if not self.seeks_real:
            return self.preset
        return f"real photo among {self.n_alternatives}, chance {100 / self.n_alternatives:.3g} %"

    def where(self, keep: BoolArray, reason: str = "") -> TrialTable:
        """The trials where `keep` is True; with a `reason`, the others are counted in `left_out`."""
        left_out = self.left_out
        if reason and not keep.all():
            people = np.unique(self["participant"]).size - np.unique(self["participant"][keep]).size
            left_out = (*left_out, LeftOut(reason, int((~keep).sum()), people))
        return self._at(np.flatnonzero(keep), left_out)

    def take(self, index: npt.NDArray[np.intp]) -> TrialTable:
        """The trials at these positions (not counted as left out)."""
        return self._at(index, self.left_out)

    def _at(self, index: npt.NDArray[np.intp], left_out: tuple[LeftOut, ...]) -> TrialTable:
        chosen = replace(
            self,
            left_out=left_out,
            columns={name: column[index] for name, column in self.columns.items()},
            value=self.value[index],
            unscored=self.unscored[index],
            row=self.row[index],
        )
        if "design" in vars(self) and index.size:  # what is known of the labels need not be sorted out again
            vars(chosen)["design"] = self.design.subset(index)
        return chosen

    @cached_property
    def design(self) -> CrossedDesign:
        """Who saw what in these trials, whatever their kind; made once, and handed on to every selection.

        Raises
        ------
        InputError
            When there are no trials.
        """
        return CrossedDesign.from_labels(self["participant"], self["image"])

    def of_kind(self, kind: str) -> TrialTable:
        """Scored trials of one kind (not counted as left out: use it to look, not to drop)."""
        return self._selected("kind", kind)

    def of_method(self, method: str) -> TrialTable:
        """Scored test trials of one method; not of preference studies, where two are shown."""
        return self.of_kind("test")._selected("method", method)

    def _selected(self, column: str, entry: str) -> TrialTable:
        if (column, entry) not in self._selections:
            if len(self):
                self.design  # noqa: B018 -- made here once, instead of in every selection
            self._selections[column, entry] = self.where((self[column] == entry) & np.isfinite(self.value))
        return self._selections[column, entry]

    def shown_title(self) -> str:
        """Where the trials come from, what was asked, how many there are."""
        people = counted(np.unique(self["participant"]).size, "participant")
        return f"{self.source}: {self.question}, {counted(len(self), 'trial')} of {people}"

    def shown_rows(self) -> list[dict[str, Any]]:
        """One row per kind of trial and method."""
        name = "method_first" if self.preset == "preference" else "method"
        rows = []
        for kind in np.unique(self["kind"]):
            for method in np.unique(self[name][self["kind"] == kind]):
                own = (self["kind"] == kind) & (self[name] == method)
                row = {"kind": str(kind), name: str(method), "trials": int(own.sum())}
                row["participants"] = int(np.unique(self["participant"][own]).size)
                row["images"] = int(np.unique(self["image"][own]).size) if "image" in self else None
                row["unscored"] = int(np.isnan(self.value[own]).sum())
                rows.append(row)
        return rows

    def to_frame(self) -> pd.DataFrame:
        """The table as a pandas DataFrame, with ``value`` and ``unscored``."""
        need_pandas()
        import pandas as pd

        return pd.DataFrame({**self.columns, "value": self.value, "unscored": self.unscored}, index=self.row)


def in_order(trials: TrialTable) -> npt.NDArray[np.intp]:
    """Positions of the trials in the order in which each participant did them; as they stand without a column trial."""
    if "trial" not in trials or not np.isfinite(trials["trial"]).all():
        return np.arange(len(trials))
    return np.argsort(trials["trial"], kind="stable")


def check_trials(
    raw: RawTable,
    *,
    missing: Mapping[str, Iterable[str]] | None = None,
    duplicates: Literal["error", "first"] = "error",
) -> TrialTable:
    """Give cells their meaning and refuse what cannot be analysed.

    Parameters
    ----------
    raw : RawTable
        Cells under the names of `COLUMNS`.
    missing : mapping of str to iterable of str
        Per column, entries that mean "not answered", for example ``{"rating": ["-1"]}``.
    duplicates : {"error", "first"}
        A participant who met an image of one method twice is an error, or the first meeting counts and the
        others are counted as left out.

    Returns
    -------
    TrialTable
        All trials, practice and unscored ones included.

    Raises
    ------
    InputError
        One plain sentence naming file, row and what is allowed: missing columns, unknown or contradictory
        entries, several studies, simulated participants among people, several sessions of a participant,
        duplicates.
    """
    columns: dict[str, npt.NDArray[Any]] = dict(raw.columns)
    if raw.row.size == 0:
        raise InputError(f"{raw.source} has no rows; one row per trial is needed.")
    for name, codes in (missing or {}).items():
        if name not in columns:
            raise InputError(
                f"{raw.source} has no column {name!r} to look for missing codes; it has {some_names(columns, 12)}."
            )
        columns[name] = np.where(np.isin(columns[name], list(codes)), "", columns[name])
    preset = _preset(columns)
    _check_columns(raw.source, columns, preset)
    columns.setdefault("kind", np.full(raw.row.size, "test"))
    for name, column in list(columns.items()):
        if name in _BY_NAME:
            spec = _BY_NAME[name]
            if name == "real_position" and f"method_{PLACES[2]}" not in columns:  # of two images
                spec = replace(spec, choices=POSITIONS)
            columns[name] = _parse(raw, spec, column)
    for column_ in COLUMNS:
        if preset in column_.presets or column_.name == "kind":
            absent = columns[column_.name] == ""
            if column_.name == "method":  # images of no method: whoever judges several sees them once for all
                absent &= ~np.isin(columns["kind"], ("vigilance", "catch"))
            _refuse_where(raw, absent, f"has no {column_.name}; every trial needs one")
    value, unscored = _VALUES[preset](raw, columns)
    table = TrialTable(
        source=raw.source,
        preset=preset,
        columns=columns,
        value=value,
        unscored=unscored,
        row=raw.row,
        digest=raw.digest,
        notes=(*raw.notes, *_suspect_note(columns)),
    )
    _check_one_study(table)
    _check_one_session(table)
    return _check_duplicates(table, duplicates)


def _suspect_note(columns: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...]:
    """One sentence about trials that were not sent by a page, if there are any."""
    if "flags" not in columns:
        return ()
    distinct, code, n_trials = np.unique(columns["flags"], return_inverse=True, return_counts=True)
    words = [set(re.split(r"[\s,;]+", flags)) & set(SUSPECT_FLAGS) for flags in distinct.tolist()]
    suspect = np.array([bool(own) for own in words])[code]
    if not suspect.any():
        return ()
    counts = {
        flag: sum(int(n) for own, n in zip(words, n_trials, strict=True) if flag in own) for flag in SUSPECT_FLAGS
    }
    people = len(set(columns["participant"][suspect].tolist()))
    kinds = ", ".join(f"{flag} {count}" for flag, count in counts.items() if count)
    return (
        f"{int(suspect.sum())} of {counted(suspect.size, 'trial')}, of {counted(people, 'participant')}, were not sent as a page of the study "
        f"sends them ({kinds}): scripts, most likely. They count unless a declared rule leaves them out.",
    )


def _preset(columns: Mapping[str, npt.NDArray[Any]]) -> Preset:
    if "method_first" in columns or "method_second" in columns:
        return "preference"
    if "fooled" in columns or "real_position" in columns:
        return "real-vs-fake"
    if "rating" in columns:
        return "rating"
    if "response" in columns and np.isin(["yes", "no"], columns["response"]).any():
        return "naturalness"
    return "real-vs-fake"


def _check_columns(source: str, columns: Mapping[str, npt.NDArray[Any]], preset: Preset) -> None:
    needed = [column.name for column in COLUMNS if preset in column.presets]
    absent = [name for name in needed if name not in columns]
    if preset == "real-vs-fake" and "fooled" not in columns:
        absent += [name for name in ("real_position", "response") if name not in columns]
    if preset in ("preference", "naturalness") and "response" not in columns:
        absent.append("response")
    if not absent:
        return
    hints = []
    for name in absent:
        hints.append(f"{name}{did_you_mean(name, columns, cutoff=0.5)}")
    instead = " (or fooled, instead of real_position and response)" if "real_position" in absent else ""
    raise InputError(
        f"{source} has no column {', '.join(hints)}{instead}; it has {some_names(columns, 12)}. "
        "Name the columns of another tool with --column OURS=THEIRS (in Python rename those of a data frame, or give read_trials "
        "an analysis.ColumnMapping)."
    )


def _parse(raw: RawTable, spec: Column, cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if spec.kind == "number":
        cells = raw.with_points(cells)
        if spec.name == "fooled":
            cells = _truth_values_as_numbers(cells)
        try:
            return np.where(cells == "", "nan", cells).astype(np.float64)
        except ValueError:
            bad = np.array([not _is_number(cell) for cell in cells])
            allowed = "a number, true, false" if spec.name == "fooled" else "a number"
            _refuse_where(raw, bad, f"has {spec.name} {{cell!r}}; {allowed} or an empty cell is allowed", cells)
    if spec.name == "excluded":
        cells = np.char.lower(cells)
    if spec.choices:
        allowed = ", ".join(spec.choices)
        bad = ~np.isin(cells, ("", *spec.choices))
        _refuse_where(raw, bad, f"has {spec.name} {{cell!r}}; {allowed} or an empty cell is allowed", cells)
    return cells


def _truth_values_as_numbers(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``true`` and ``false``, as Python, R and JSON write them, as 1 and 0."""
    lower = np.char.lower(cells)
    return np.where(lower == "true", "1", np.where(lower == "false", "0", cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == ""
    return True


def _real_vs_fake(raw: RawTable, columns: dict[str, npt.NDArray[Any]]) -> tuple[FloatArray, TextArray]:
    derived = np.full(raw.row.size, np.nan)
    if "response" in columns and "real_position" in columns:
        position, response = columns["real_position"], columns["response"]
        wrong = ~np.isin(response, ("", *POSITIONS))
        _refuse_where(raw, wrong, "has response {cell!r}; first, second or an empty cell is allowed", response)
        as_numbers = is_fooled(response, position).astype(np.float64)
        derived = np.where((response == "") | (position == ""), np.nan, as_numbers)
    fooled = columns.get("fooled", derived)
    outside = (fooled < 0) | (fooled > 1)
    _refuse_where(raw, outside, "has fooled {cell:g}; 0, 1, a fraction or an empty cell is allowed", fooled)
    against = np.isfinite(fooled) & np.isfinite(derived) & (fooled != derived)
    _refuse_where(raw, against, "has fooled {cell:g}, but real_position and response say otherwise", fooled)
    value = np.where(np.isfinite(fooled), fooled, derived)
    return value, np.where(np.isfinite(value), "", "no answer")


def _preference(raw: RawTable, columns: dict[str, npt.NDArray[Any]]) -> tuple[FloatArray, TextArray]:
    response = columns["response"]
    absent = np.full(raw.row.size, "")
    shown = [columns.get(f"method_{place}", absent) for place in PLACES]
    is_check = np.isin(columns["kind"], ("vigilance", "catch"))  # the wrong image stands in several places
    wrong = np.isin(response, ("yes", "no"))
    for place, methods in zip(PLACES, shown, strict=True):
        wrong |= (response == place) & (methods == "")
    wrong |= (response == "tie") & (shown[2] != "")
    for k in range(1, len(shown)):
        gap = (shown[k] != "") & (shown[k - 1] == "")
        _refuse_where(raw, gap, f"has a method_{PLACES[k]} and no method_{PLACES[k - 1]}; places are filled in order")
    allowed = "first, second, tie or an empty cell is allowed"
    if "method_third" in columns:
        allowed = "a place that has a method, tie (of two alone) or an empty cell is allowed"
    _refuse_where(raw, wrong, f"has response {{cell!r}}; {allowed}", response)
    for k, methods in enumerate(shown):
        for other in shown[:k]:
            same = (methods != "") & (methods == other) & ~is_check
            _refuse_where(raw, same, "shows method {cell!r} against itself; two methods are needed", methods)
    value = np.select([response == "", response == "tie"], [np.nan, 0.5], (response == "first").astype(np.float64))
    if "real_position" in columns:
        position, is_several = columns["real_position"], shown[2] != ""
        if np.any(is_several & (position != "")):
            for place, methods in zip(PLACES, shown, strict=True):
                no_truth = is_several & (position == place) & (methods != TRUTH)
                said = (
                    f"has real_position {{cell!r}}, where method_{place} is not {TRUTH!r}, the name of the real photo"
                )
                _refuse_where(raw, no_truth, said, position)
            said = "has no real_position, and other rows have one; a search for the real photo and a preference are analysed apart"
            _refuse_where(raw, position == "", said)
            n_shown = np.sum([methods != "" for methods in shown], axis=0)
            said = f"shows {{cell}} images, and other rows show {n_shown.max()}; searches among different numbers are analysed apart"
            _refuse_where(raw, n_shown != n_shown.max(), said, n_shown)
            # Such a trial is failed by who takes the wrong image for the real photo, as by who is fooled by it of two.
            missed = (response != position).astype(np.float64)
            value = np.where(is_check & (response != ""), missed, value)
    return value, np.where(response == "", "no answer", "")


def _naturalness(raw: RawTable, columns: dict[str, npt.NDArray[Any]]) -> tuple[FloatArray, TextArray]:
    response = columns["response"]
    wrong = np.isin(response, (*PLACES, "tie"))
    _refuse_where(raw, wrong, "has response {cell!r}; yes, no or an empty cell is allowed", response)
    value = np.where(response == "", np.nan, (response == "yes").astype(np.float64))
    return value, np.where(response == "", "no answer", "")


def _rating(raw: RawTable, columns: dict[str, npt.NDArray[Any]]) -> tuple[FloatArray, TextArray]:
    rating = columns["rating"]
    _refuse_where(raw, np.isinf(rating), "has rating {cell}; a finite number or an empty cell is allowed", rating)
    return rating, np.where(np.isfinite(rating), "", "no rating")


_VALUES = {
    "real-vs-fake": _real_vs_fake,
    "preference": _preference,
    "naturalness": _naturalness,
    "rating": _rating,
}


def _check_one_study(table: TrialTable) -> None:
    for name in ("study", "manifest"):
        if name in table and np.unique(table[name]).size > 1:
            other = int(np.flatnonzero(table[name] != table[name][0])[0])
            raise InputError(
                f"{table.source} mixes studies: row {table.row[0]} has {name} {str(table[name][0])!r} and "
                f"row {table.row[other]} has {str(table[name][other])!r}; one study is allowed, "
                "or a study with those that add methods to it (evalkit study create --extends)."
            )
    if "platform" in table:
        simulated = table["platform"] == "simulated"
        if simulated.any() and not simulated.all():
            one, other = int(np.flatnonzero(simulated)[0]), int(np.flatnonzero(~simulated)[0])
            raise InputError(
                f"{table.source} mixes simulated participants (row {table.row[one]}) with people (row "
                f"{table.row[other]}); analyse them apart."
            )


def _check_one_session(table: TrialTable) -> None:
    if "session" not in table:
        return
    people, person = np.unique(table["participant"], return_inverse=True)
    sessions, session = np.unique(table["session"], return_inverse=True)
    pairs = np.unique(person * sessions.size + session)
    count = np.bincount(pairs // sessions.size, minlength=people.size)
    if count.max() > 1:
        who = int(np.argmax(count > 1))
        rows = np.flatnonzero(person == who)
        other = rows[np.argmax(session[rows] != session[rows[0]])]
        raise InputError(
            f"{table.source} has {counted(count[who], 'session')} of participant {people[who]} (rows "
            f"{table.row[rows[0]]} and "
            f"{table.row[other]}); one session per participant is allowed. Remove the later ones from the "
            "file, or name the session column as participant if they are different people."
        )


def _check_duplicates(table: TrialTable, duplicates: Literal["error", "first"]) -> TrialTable:
    names = ["participant", "image", "kind"]
    names += table.method_columns
    key = np.zeros(len(table), dtype=np.int64)
    for name in names:
        levels, code = np.unique(table[name], return_inverse=True)
        key = np.unique(key * levels.size + code, return_inverse=True)[1]
    # Practice trials may repeat: they are never analysed. Unscored ones are no second look at an answer.
    relevant = np.flatnonzero((table["kind"] != "practice") & np.isfinite(table.value))
    _, first = np.unique(key[relevant], return_index=True)
    keep = np.ones(len(table), dtype=bool)
    keep[relevant] = False
    keep[relevant[first]] = True
    if keep.all():
        return table
    if duplicates == "first":
        return table.where(keep, "the participant had seen this image of this method before")
    later = int(np.flatnonzero(~keep)[0])
    earlier = int(relevant[np.flatnonzero(key[relevant] == key[later])[0]])
    shown = " ".join(str(table[name][later]) for name in names[3:])
    raise InputError(
        f"{table.source} has two trials of participant {table['participant'][later]} on image "
        f"{table['image'][later]} of method {shown} (rows {table.row[earlier]} and {table.row[later]}); "
        "one is allowed. Keep the first of each with --duplicates first (in Python read_trials(..., duplicates='first'), or the data "
        "frame's drop_duplicates)."
    )


def _refuse_where(raw: RawTable, bad: BoolArray, what: str, cells: npt.NDArray[Any] | None = None) -> None:
    """Raise for the first bad row: ``FILE row N WHAT.``, with the cell filled in."""
    if not np.any(bad):
        return
    index = int(np.flatnonzero(bad)[0])
    cell = None if cells is None else cells[index].item()
    more = int(np.sum(bad)) - 1
    rest = f" ({more} more {'row' if more == 1 else 'rows'} like it)" if more else ""
    raise InputError(f"{raw.source} row {raw.row[index]} {what.format(cell=cell)}{rest}.")
