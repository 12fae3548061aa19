from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

Rows = list[dict[str, object]]


def simulated_rows(
    rates: Mapping[str, float], *, n_participants: int = 6, n_trials: int = 10, n_vigilance: int = 2, seed: int = 0
) -> Rows:
    """Trials of a real-vs-fake study as `evalkit study export` writes them; one method per participant."""
    rng = np.random.default_rng(seed)
    rows: Rows = []
    for m, (method, rate) in enumerate(rates.items()):
        for p in range(n_participants):
            person = f"p{m}-{p}"
            kinds = ["practice"] * 2 + ["vigilance"] * n_vigilance + ["test"] * n_trials
            for t, kind in enumerate(kinds):
                fooled = rng.random() < (0.1 if kind == "vigilance" else rate)
                position = rng.choice(["first", "second"])
                other = "second" if position == "first" else "first"
                rows.append(
                    {
                        "study": "s",
                        "platform": "link",
                        "session": f"session {person}",
                        "participant": person,
                        "method": method,
                        "image": f"{kind}{t}",
                        "trial": t + 1,
                        "kind": kind,
                        "real_position": position,
                        "response": position if fooled else other,
                        "fooled": int(fooled),
                        "response_ms": int(rng.lognormal(6.5, 0.5)),
                        "flags": "late" if rng.random() < 0.1 else "",
                        "session_state": "completed",
                    }
                )
    return rows


def run_report(*arguments: object) -> str:
    """`evalkit report` with these arguments: what it prints; its errors are raised."""
    from analysis.commands.report import report_command

    result = CliRunner().invoke(report_command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows (dicts, or a header and lists) as a CSV file."""

    def write(rows: Sequence, name: str = "trials.csv", delimiter: str = ",") -> Path:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            if isinstance(rows[0], dict):
                writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=delimiter)
                writer.writeheader()
                writer.writerows(rows)
            else:
                csv.writer(file, delimiter=delimiter).writerows(rows)
        return path

    return write


@pytest.fixture
def study_rows() -> Rows:
    return simulated_rows({"gray": 0.1, "mine": 0.4})
