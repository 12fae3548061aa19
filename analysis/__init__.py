"""From score tables and answers to rates, intervals, comparisons, figures and the report.

Names are imported when first used, so that `evalkit --help` does not wait for numpy.

Rooms, from the ground up. Each imports only from rooms before it in this list, and from ``evalkit``:

- ``records``: results that are tables; CSV
- ``statistics``: arrays only: the crossed design, rates, comparisons, equivalence, preference
- ``trials``: the trial table: its columns, its files, declared exclusions
- ``study``: the labelled layer: rates, differences and breakdowns of one study
- ``planning``: how many participants a study needs
- ``report``: tables, figures, galleries, the page that holds them
- ``commands``: one module per command
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.planning.assumptions import PlanningModel as PlanningModel
    from analysis.planning.assumptions import StudyDesign as StudyDesign
    from analysis.planning.study_plan import PlanOptions as PlanOptions
    from analysis.planning.study_plan import plan_study as plan_study
    from analysis.statistics.bootstrap import nested_bootstrap as nested_bootstrap
    from analysis.statistics.comparison import compare as compare
    from analysis.statistics.preference import preference_scale as preference_scale
    from analysis.statistics.preference import win_matrix as win_matrix
    from analysis.study.differences import comparisons as comparisons
    from analysis.study.rates import FoolRates as FoolRates
    from analysis.study.rates import fool_rates as fool_rates
    from analysis.trials.amt_results import read_amt_results as read_amt_results
    from analysis.trials.exclusions import apply_exclusions as apply_exclusions
    from analysis.trials.exclusions import read_exclusions as read_exclusions
    from analysis.trials.trial_files import ColumnMapping as ColumnMapping
    from analysis.trials.trial_files import read_trials as read_trials
    from analysis.trials.trial_table import TrialTable as TrialTable

_HOME = {
    "ColumnMapping": "analysis.trials.trial_files",
    "FoolRates": "analysis.study.rates",
    "PlanOptions": "analysis.planning.study_plan",
    "PlanningModel": "analysis.planning.assumptions",
    "StudyDesign": "analysis.planning.assumptions",
    "TrialTable": "analysis.trials.trial_table",
    "apply_exclusions": "analysis.trials.exclusions",
    "compare": "analysis.statistics.comparison",
    "comparisons": "analysis.study.differences",
    "fool_rates": "analysis.study.rates",
    "nested_bootstrap": "analysis.statistics.bootstrap",
    "plan_study": "analysis.planning.study_plan",
    "preference_scale": "analysis.statistics.preference",
    "read_amt_results": "analysis.trials.amt_results",
    "read_exclusions": "analysis.trials.exclusions",
    "read_trials": "analysis.trials.trial_files",
    "win_matrix": "analysis.statistics.preference",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
