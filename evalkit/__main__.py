"""``python -m evalkit``: the command, where no script directory is on the path."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # `python -m` looks into the current folder first. There a folder of results called `analysis` would hide the package
    # of that name, and three commands with it; the installed command does not look there either. Only what brought this
    # package itself stays.
    home = Path(__file__).resolve().parents[1]
    if not sys.flags.safe_path and sys.path and Path(sys.path[0]).resolve() == Path.cwd().resolve() != home:
        del sys.path[0]

    from evalkit.cli import main

    main()
