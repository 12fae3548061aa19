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

PATIENCE_MS = 120_000
"""How long a state is waited for: tests run on busy machines, and none asserts on how fast one is."""


@contextmanager
def quiet_page(browser: Any, file: Path, **options: Any) -> Iterator[Any]:
    """A page opened from a file, in a context with these options; all that it asks of the network, or says on the console, is
    an error at the end.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    yield page
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert complaints == []
    context.close()


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
