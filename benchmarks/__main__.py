"""All benchmarks, one after the other: ``python -m benchmarks`` writes the tables of the documentation.

Each is a script of its own with options (``python benchmarks/bench_score.py --help``). Machines are noisy: every script
compares contestants that take turns inside one run, and its ratios are what to quote.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run every ``bench_*.py`` beside this file."""
    for script in sorted(HERE.glob("bench_*.py")):
        print(f"\n## {script.stem}\n", flush=True)
        subprocess.run([sys.executable, str(script)], check=True)


if __name__ == "__main__":
    main()
