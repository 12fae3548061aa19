"""The public names and where they live: read by type checkers, and by the package itself, which loads them lazily."""

from .planning.assumptions import PlanningModel as PlanningModel
from .planning.assumptions import StudyDesign as StudyDesign
from .planning.study_plan import PlanOptions as PlanOptions
from .planning.study_plan import plan_study as plan_study
from .report.own_figures import plot_categories as plot_categories
from .report.own_figures import plot_gallery as plot_gallery
from .report.own_figures import plot_metric_scatter as plot_metric_scatter
from .statistics.bootstrap import nested_bootstrap as nested_bootstrap
from .statistics.comparison import compare as compare
from .study.diagnostic_plots import plot_diagnostic as plot_diagnostic
from .study.differences import comparisons as comparisons
from .study.preferences import analyze_preferences as analyze_preferences
from .study.rates import FoolRates as FoolRates
from .study.rates import fool_rates as fool_rates
from .trials.amt_results import read_amt_results as read_amt_results
from .trials.exclusions import apply_exclusions as apply_exclusions
from .trials.exclusions import read_exclusions as read_exclusions
from .trials.trial_files import ColumnMapping as ColumnMapping
from .trials.trial_files import read_trials as read_trials
from .trials.trial_table import TrialTable as TrialTable
