"""The browser of the end-to-end tests: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import require

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def chromium(*more_arguments: str, niceness: int = 0) -> Iterator[Any]:
    """A headless Chromium (playwright.sync_api.Browser) with a profile of its own, closed at the end.

    With a niceness, other work on the machine goes before the browser's.
    """
    executable = shutil.which("chromium")
    require(executable is not None, "Chromium is not installed (package chromium), so no page was tested in a browser")
    playwright = _needed("playwright.sync_api")
    with playwright.sync_playwright() as driver, _niced(str(executable), niceness) as program:
        browser = driver.chromium.launch(executable_path=program, args=[*ARGUMENTS, *more_arguments])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _niced(executable: str, niceness: int) -> Iterator[str]:
    if not niceness:
        yield executable
        return
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "chromium"
        script.write_text(f'#!/bin/sh\nexec nice -n {niceness} {executable} "$@"\n')
        script.chmod(0o755)
        yield str(script)


def _needed(name: str) -> Any:
    """A module that only these tests need."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        require(False, f"the package {name.partition('.')[0]} is not installed, so no page was tested in a browser")
        raise
