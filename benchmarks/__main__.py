"""All benchmarks, one after the other: ``python -m benchmarks`` writes the tables of the documentation.

Each is a script of its own with options (``python benchmarks/bench_score.py --help``). Machines are noisy: every script
compares contestants that take turns inside one run, and its ratios are what to quote.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGES = HERE.parent / "docs" / "benchmarks"


def page_of(script: Path) -> Path:
    """Where a script's table belongs: beside a page that includes it, or it writes the page itself."""
    name = script.stem.removeprefix("bench_") + ".md"
    table = PAGES / "tables" / name
    return table if table.exists() else PAGES / name


def main() -> None:
    """Run every ``bench_*.py`` beside this file."""
    for script in sorted(HERE.glob("bench_*.py")):
        print(f"\n## {script.stem}\n", flush=True)
        subprocess.run([sys.executable, str(script), "--out", str(page_of(script))], check=True)


if __name__ == "__main__":
    main()
