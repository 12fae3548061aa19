"""What this machine lacks, one line each at the end of a test run: a plugin that `make test` loads.

pytest's own summary of skips has a line for every test; hundreds of tests can wait for the same folder.
"""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print every reason for skipping once, with the number of tests it concerns."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    )
    if not reasons:
        return
    terminalreporter.section("absent here")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count} test{'s' if count > 1 else ''} skipped: {reason}")
