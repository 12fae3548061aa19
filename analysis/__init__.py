"""From score tables and answers to rates, intervals, comparisons, figures and the report.

Names are imported when first used, so that `evalkit --help` does not wait for numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.amt_results import read_amt_results as read_amt_results
    from analysis.comparison import compare as compare
    from analysis.differences import comparisons as comparisons
    from analysis.exclusions import apply_exclusions as apply_exclusions
    from analysis.exclusions import read_exclusions as read_exclusions
    from analysis.planning import PlanningModel as PlanningModel
    from analysis.planning import StudyDesign as StudyDesign
    from analysis.planning import participants_needed as participants_needed
    from analysis.preference import preference_scale as preference_scale
    from analysis.preference import win_matrix as win_matrix
    from analysis.rates import FoolRates as FoolRates
    from analysis.rates import fool_rates as fool_rates
    from analysis.resampling import nested_bootstrap as nested_bootstrap
    from analysis.trial_files import ColumnMapping as ColumnMapping
    from analysis.trial_files import read_trials as read_trials
    from analysis.trials import TrialTable as TrialTable

_HOME = {
    "ColumnMapping": "analysis.trial_files",
    "FoolRates": "analysis.rates",
    "PlanningModel": "analysis.planning",
    "StudyDesign": "analysis.planning",
    "TrialTable": "analysis.trials",
    "apply_exclusions": "analysis.exclusions",
    "compare": "analysis.comparison",
    "comparisons": "analysis.differences",
    "fool_rates": "analysis.rates",
    "nested_bootstrap": "analysis.resampling",
    "participants_needed": "analysis.planning",
    "preference_scale": "analysis.preference",
    "read_amt_results": "analysis.amt_results",
    "read_exclusions": "analysis.exclusions",
    "read_trials": "analysis.trial_files",
    "win_matrix": "analysis.preference",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
