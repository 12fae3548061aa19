"""Results of the public AMT_Real_vs_Fake tool (Isola, Zhang): an MTurk CSV with one row per assignment."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from analysis.trials.trial_files import check_together, read_raw_tables, without_rejected
from analysis.trials.trial_table import RawTable, TrialTable, check_trials
from evalkit.errors import InputError, check_choice, check_whole
from evalkit.wording import counted

__all__ = ["read_amt_results"]

_SIDE = {"left": "first", "right": "second"}  # the left image is shown first
_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|webp|bmp|gif|tiff?)$", re.IGNORECASE)
_PREFIXES = ("Input.gt_side", "Input.images_left", "Input.images_right", "Answer.selection")


def read_amt_results(
    paths: Path | str | Sequence[Path | str],
    *,
    practice: int = 10,
    truth_folder: str | None = None,
    vigilance_folder: str | None = None,
    duplicates: Literal["error", "first"] = "error",
    rejected: Literal["leave-out", "keep"] = "leave-out",
) -> TrialTable:
    """Read MTurk results of AMT_Real_vs_Fake, as they come: also several batches, and answers as JSON.

    Parameters
    ----------
    paths : Path or str, or a sequence of these
        CSV files with columns ``Input.gt_sideN``, ``Input.images_leftN``, ``Input.images_rightN`` and
        ``Answer.selectionN``, N counted from 0 or from 1.
    practice : int
        The first so many trials of a session are practice.
    truth_folder : str
        Folder of the real photos; by default the folder that occurs most often.
    vigilance_folder : str
        Folder of vigilance images; they become trials of kind ``vigilance``.
    duplicates : {"error", "first"}
        See `analysis.trials.trial_table.check_trials`; the tool's Python branch draws images with replacement.
    rejected : {"leave-out", "keep"}
        What becomes of assignments whose status is ``Rejected``: by default they are left out and counted.

    Returns
    -------
    TrialTable
        Participants are workers (else assignments, else rows), methods the folders of the fake images,
        images their file names without suffix. Selections other than left or right are unscored.

    Raises
    ------
    InputError
        Missing columns, sides that are neither left nor right, a pair without exactly one image of the truth
        folder.
    """
    check_whole("practice", practice)
    check_choice("duplicates", duplicates, ("error", "first"))
    check_choice("rejected", rejected, ("leave-out", "keep"))

    def check(raw: RawTable) -> TrialTable:
        one = _one_row_per_trial(raw, practice, truth_folder, vigilance_folder)
        return check_trials(one, duplicates=duplicates)

    trials = check_together(read_raw_tables(paths), check)
    return without_rejected(trials) if rejected == "leave-out" else trials


def _one_row_per_trial(
    raw: RawTable, practice: int, truth_folder: str | None, vigilance_folder: str | None
) -> RawTable:
    numbers = _trial_numbers(raw)
    if not 0 <= practice < len(numbers):
        raise InputError(
            f"{raw.source} has {counted(len(numbers), 'trial')} per row and --practice is {practice}; fewer are allowed."
        )
    worker, assignment, state = (
        _column_of_mturk(raw, name) for name in ("WorkerId", "AssignmentId", "AssignmentStatus")
    )
    session = raw.row.astype(str) if assignment is None else assignment
    person = session if worker is None else worker
    truth = truth_folder or _most_frequent_folder(raw, numbers)
    folders = {truth, vigilance_folder} - {None}

    cells: dict[str, list[str]] = {
        name: []
        for name in (
            "participant",
            "session",
            "trial",
            "kind",
            "method",
            "image",
            "real_position",
            "response",
        )
    }
    states, rows = [], []
    for trial, number in enumerate(numbers):
        side, left, right, selection = (raw.columns[f"{prefix}{number}"].tolist() for prefix in _PREFIXES)
        side, selection = ([cell.strip().lower() for cell in cells_of] for cells_of in (side, selection))
        for index, row in enumerate(raw.row):
            where = f"{raw.source} row {row} trial {number}"
            real, fake = _real_and_fake(side[index], left[index], right[index], where)
            if _folder(real) != truth:
                raise InputError(
                    f"{where}: the real image is {real}, not of the truth folder {truth!r}; name it with "
                    "--truth-folder."
                )
            folder = _folder(fake)
            kind = "practice" if trial < practice else "vigilance" if folder == vigilance_folder else "test"
            cells["participant"].append(str(person[index]))
            cells["session"].append(str(session[index]))
            cells["trial"].append(str(trial + 1))
            cells["kind"].append(kind)
            cells["method"].append(folder)
            cells["image"].append(_IMAGE_SUFFIX.sub("", fake.rpartition("/")[2]))
            cells["real_position"].append(_SIDE[side[index]])
            cells["response"].append(_SIDE.get(selection[index], ""))
            states.append("" if state is None else str(state[index]))
            rows.append(row)
    if not set(cells["method"]) - folders:
        raise InputError(f"{raw.source} has no images beside those of {', '.join(sorted(map(str, folders)))}.")
    columns = {name: np.array(column) for name, column in cells.items()}
    if state is not None:
        columns["session_state"] = np.array(states)
    return replace(raw, columns=columns, row=np.array(rows, dtype=np.int64))


def _column_of_mturk(raw: RawTable, name: str) -> np.ndarray | None:
    """A column that MTurk writes, in whatever case somebody's spreadsheet left its name; None where there is none."""
    written = next((column for column in raw.columns if column.lower() == name.lower()), None)
    return None if written is None else raw.columns[written]


def _trial_numbers(raw: RawTable) -> list[int]:
    """Numbers N for which all four columns exist; 0 .. n-1 or 1 .. n."""
    columns = {
        prefix: {int(m[1]) for name in raw.columns if (m := re.fullmatch(re.escape(prefix) + r"(\d+)", name))}
        for prefix in _PREFIXES
    }
    everywhere = sorted(set.union(*columns.values()))
    for prefix, numbers in columns.items():
        absent = [n for n in everywhere if n not in numbers]
        if absent or not everywhere:
            example = f"{prefix}{absent[0] if absent else 0}"
            raise InputError(
                f"{raw.source} has no column {example}; a results file of AMT_Real_vs_Fake has "
                "Input.gt_sideN, Input.images_leftN, Input.images_rightN and Answer.selectionN for every "
                "trial N."
            )
    if everywhere != list(range(everywhere[0], everywhere[0] + len(everywhere))) or everywhere[0] > 1:
        raise InputError(
            f"{raw.source} counts trials {everywhere[0]} to {everywhere[-1]} with gaps; 0.. or 1.. is allowed."
        )
    return everywhere


def _most_frequent_folder(raw: RawTable, numbers: list[int]) -> str:
    """The photos' folder occurs in every pair, any method's in fewer."""
    count = Counter(
        _folder(str(cell))
        for number in numbers
        for prefix in ("Input.images_left", "Input.images_right")
        for cell in raw.columns[f"{prefix}{number}"]
    )
    ranked = count.most_common(2)
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        raise InputError(
            f"{raw.source} shows images of {ranked[0][0]!r} and {ranked[1][0]!r} equally often; say which "
            "are the photos with --truth-folder."
        )
    return ranked[0][0]


def _real_and_fake(side: str, left: str, right: str, where: str) -> tuple[str, str]:
    if side not in _SIDE:
        raise InputError(f"{where} has gt_side {side!r}; left or right is allowed.")
    return (left, right) if side == "left" else (right, left)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
