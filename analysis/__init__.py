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

# ``__init__.pyi`` says where each name lives.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
