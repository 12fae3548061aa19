"""Exclusions that were declared before the data came in, read from a TOML file.

Each ``[[rule]]`` has a name and one condition. No rule looks at whether answers to test trials were right: who is hard
to fool is a result, not a reason to leave somebody out. Which button somebody pressed, and how fast, may be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from analysis.statistics.straight_lining import straight_lining
from analysis.trials.trial_files import read_toml
from analysis.trials.trial_table import TrialTable, in_order
from evalkit.errors import InputError, check_kind, check_path

__all__ = ["CONDITIONS", "ExclusionRule", "apply_exclusions", "read_exclusions"]

from evalkit.arrays import BoolArray


@dataclass(frozen=True)
class ExclusionRule:
    """One declared rule.

    Attributes
    ----------
    name : str
        In plain words; appears in the counts of what was left out.
    condition : str
        A key of `CONDITIONS`.
    value : object
        What the condition compares with.
    declared : str
        The day on which the rule was declared, ISO 8601, as its file says; empty when it does not say.
    """

    name: str
    condition: str
    value: Any
    declared: str = ""


def read_exclusions(path: Path | str) -> tuple[ExclusionRule, ...]:
    """Read ``[[rule]]`` tables.

    Parameters
    ----------
    path : Path or str
        A TOML file, for example::

            declared = 2026-11-02   # before the first participant came; stands in the report

            [[rule]]
            name = "failed the obvious catch trials"
            catch_right_below = 5

            [[rule]]
            name = "answered faster than anybody can see"
            response_ms_below = 150

    Returns
    -------
    tuple of ExclusionRule
        In the order of the file.

    Raises
    ------
    InputError
        Unknown conditions, values of the wrong type, rules without a name or with several conditions.
    """
    check_path("path", path)
    path = Path(path)
    rules = []
    content = read_toml(path, ("declared", "rule"))
    declared = content.get("declared", "")
    if declared != "" and not isinstance(declared, date):
        raise InputError(f"{path.name} has declared = {declared!r}; a day without quotes is allowed, as 2026-11-02.")
    for number, table in enumerate(content.get("rule", []), start=1):
        where = f"{path.name} rule {number}"
        conditions = [key for key in table if key != "name"]
        if len(conditions) != 1 or not isinstance(table.get("name"), str):
            raise InputError(f"{where} needs a name and exactly one condition of {', '.join(CONDITIONS)}.")
        condition = conditions[0]
        if condition not in CONDITIONS:
            raise InputError(f"{where} has the condition {condition!r}; {', '.join(CONDITIONS)} are allowed.")
        value, kind = table[condition], CONDITIONS[condition].kind
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_names = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
        if not (is_number if kind == "number" else is_names):
            allowed = "a number" if kind == "number" else 'a list of texts, ["a", "b"],'
            raise InputError(f"{where} has {condition} = {value!r}; {allowed} is allowed.")
        rules.append(ExclusionRule(table["name"], condition, value, str(declared)))
    return tuple(rules)


def apply_exclusions(trials: TrialTable, rules: tuple[ExclusionRule, ...]) -> TrialTable:
    """Leave out what the study's own rules (column ``excluded``) and the given ones say, and count it.

    Parameters
    ----------
    trials : TrialTable
        All trials.
    rules : tuple of ExclusionRule
        From `read_exclusions`; applied in order, each to what the earlier ones left.

    Returns
    -------
    TrialTable
        With one entry of ``left_out`` per rule that removed something.

    Raises
    ------
    InputError
        When a rule needs a column that the table does not have.
    """
    check_kind("trials", trials, TrialTable, "a TrialTable, as analysis.read_trials gives it,")
    check_kind("rules", rules, (tuple, list), "a tuple of rules, as analysis.read_exclusions gives it,")
    if "excluded" in trials:
        excluded = np.isin(trials["excluded"], ("1", "true"))
        names = trials["exclusion_rule"] if "exclusion_rule" in trials else np.full(len(trials), "")
        for name in np.unique(names[excluded]):
            now = np.isin(trials["excluded"], ("1", "true")) & (
                trials["exclusion_rule"] == name if "exclusion_rule" in trials else True
            )
            trials = trials.where(~now, f"study file: {name or 'excluded'}")
    for rule in rules:
        condition = CONDITIONS[rule.condition]
        if condition.column not in trials:
            raise InputError(
                f"The rule {rule.name!r} needs the column {condition.column}, which {trials.source} lacks."
            )
        trials = trials.where(~condition.find(trials, rule.value), rule.name)
    return trials


@dataclass(frozen=True)
class _Condition:
    kind: str
    column: str
    find: Callable[[TrialTable, Any], BoolArray]
    meaning: str


def _in(column: str) -> Callable[[TrialTable, Any], BoolArray]:
    return lambda trials, names: np.isin(trials[column], names)


def _below(column: str) -> Callable[[TrialTable, Any], BoolArray]:
    return lambda trials, limit: np.asarray(trials[column] < limit)


def _above(column: str) -> Callable[[TrialTable, Any], BoolArray]:
    return lambda trials, limit: np.asarray(trials[column] > limit)


def _flags(trials: TrialTable, names: list[str]) -> BoolArray:
    distinct, code = np.unique(trials["flags"], return_inverse=True)
    hit = np.array([bool(set(names) & set(re.split(r"[\s,;]+", flags))) for flags in distinct.tolist()])
    return np.asarray(hit[code])


def _right_below(kind: str, share: bool) -> Callable[[TrialTable, Any], BoolArray]:
    """Participants with fewer right answers (or a lower share) than the limit in trials of a kind."""

    def find(trials: TrialTable, limit: float) -> BoolArray:
        person, people = trials.design.participant, trials.design.n_participants
        of_kind = trials["kind"] == kind
        scored = of_kind & np.isfinite(trials.value)
        right = np.bincount(person[scored], 1.0 - trials.value[scored], minlength=people)
        seen = np.bincount(person[of_kind], minlength=people)
        if share:  # nothing seen is nothing failed
            right = np.where(seen > 0, right / np.maximum(seen, 1), 1.0)
        return np.asarray((right < limit)[person])

    return find


def _same_answer_above(what: str) -> Callable[[TrialTable, Any], BoolArray]:
    """Participants who gave one answer in too large a share of their trials, or too often in a row."""

    def find(trials: TrialTable, limit: float) -> BoolArray:
        order = in_order(trials)
        order = order[((trials["kind"] != "practice") & (trials["response"] != ""))[order]]
        person, response = trials.design.participant[order], trials["response"][order]
        beyond = np.zeros(trials.design.n_participants, dtype=bool)
        for who in np.unique(person):
            sided = straight_lining(response[person == who].tolist(), trials.n_alternatives)
            beyond[who] = (sided.share if what == "share" else sided.longest_run) > limit
        return np.asarray(beyond[trials.design.participant])

    return find


def _median_below(trials: TrialTable, limit: float) -> BoolArray:
    """Participants whose median answer time, practice apart, is below the limit; none measured is none too fast."""
    person, fast = trials.design.participant, np.zeros(trials.design.n_participants, dtype=bool)
    timed = np.isfinite(trials["response_ms"]) & (trials["kind"] != "practice")
    for who in np.unique(person[timed]):
        fast[who] = np.median(trials["response_ms"][timed & (person == who)]) < limit
    return np.asarray(fast[person])


CONDITIONS: Mapping[str, _Condition] = {
    "participants": _Condition("names", "participant", _in("participant"), "these participants"),
    "images": _Condition("names", "image", _in("image"), "these images"),
    "sessions": _Condition("names", "session", _in("session"), "these sessions"),
    "session_states": _Condition("names", "session_state", _in("session_state"), "sessions in one of these states"),
    "flags": _Condition("names", "flags", _flags, "trials with any of these timing flags"),
    "response_ms_below": _Condition("number", "response_ms", _below("response_ms"), "faster answers"),
    "response_ms_above": _Condition("number", "response_ms", _above("response_ms"), "slower answers"),
    "median_response_ms_below": _Condition(
        "number", "response_ms", _median_below, "participants whose median answer time is shorter"
    ),
    "same_answer_share_above": _Condition(
        "number",
        "response",
        _same_answer_above("share"),
        "participants who gave the same answer in a larger share (0 to 1) of their trials, whatever was right",
    ),
    "same_answer_run_above": _Condition(
        "number",
        "response",
        _same_answer_above("run"),
        "participants who gave the same answer more often in a row, whatever was right",
    ),
    "catch_right_below": _Condition(
        "number", "kind", _right_below("catch", False), "participants with fewer catch trials right"
    ),
    "vigilance_share_below": _Condition(
        "number",
        "kind",
        _right_below("vigilance", True),
        "participants with a lower share of vigilance trials right",
    ),
}
"""What a rule can look at, by the key in the TOML file."""
