"""What needs a package that is not installed says so in one sentence, with the command that brings it."""

from __future__ import annotations

import inspect

import pytest

import analysis
import evalkit
import evalkit.needs
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError
from evalkit.scoring.score_comparison import Differences


def with_frames() -> list[type]:
    """Every public class, and those that public functions return, that can become a data frame."""
    public = [getattr(package, name) for package in (evalkit, analysis) for name in package.__all__]
    classes = {value for value in [*public, Differences, TrialTable] if inspect.isclass(value)}
    return sorted((value for value in classes if hasattr(value, "to_frame")), key=lambda value: value.__name__)


@pytest.mark.parametrize("kind", with_frames(), ids=lambda kind: kind.__name__)
def test_a_data_frame_without_pandas_is_one_sentence(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evalkit.needs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pandas is not installed; for data frames, pip install .*\[report\]"):
        kind.to_frame(object.__new__(kind))


def test_there_are_classes_that_become_data_frames() -> None:
    assert {"Scores", "TrialTable"} <= {kind.__name__ for kind in with_frames()}
