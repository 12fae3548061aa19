"""From score tables and answers to rates, intervals, comparisons, figures and the report.

Names are imported when first used, so that `evalkit --help` does not wait for numpy.

Rooms, from the ground up. Each imports only from rooms before it in this list, and from ``evalkit``:

- ``records``: results that are tables; CSV
- ``statistics``: arrays only: the crossed design, rates, comparisons, equivalence, preference
- ``trials``: the trial table: its columns, its files, declared exclusions
- ``study``: the labelled layer: rates, differences and breakdowns of one study
- ``planning``: how many participants a study needs
- ``report``: tables, figures, galleries, the page that holds them
- ``leaderboard``: runs and studies of many hands as one table with ranks
- ``commands``: one module per command
"""

from __future__ import annotations

import lazy_loader

from evalkit.errors import InputError
from evalkit.needs import absent_packages
from evalkit.wording import needs_package

NEED_SCIPY = frozenset((
    "analyze_preferences", "compare", "comparisons", "fool_rates", "plan_study", "plot_categories", "plot_diagnostic",
    "plot_metric_scatter",
))  # fmt: skip
"""Functions that import SciPy when they compute, since it takes 0.3 s."""

# ``__init__.pyi`` says where each name lives.
_loaded, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """A public name, loaded; what it needs and is not installed is told in a sentence."""
    if name in NEED_SCIPY and absent_packages("scipy"):
        raise InputError(needs_package("scipy", f"analysis.{name}", "report"))
    return _loaded(name)
