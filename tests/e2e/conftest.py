"""A browser, studies on the real server, and tabs for participants."""

from __future__ import annotations

import pytest

from tests.e2e.browser import chromium
from tests.e2e.participants import WIDE, Studies, served


def pytest_collection_modifyitems(items):
    """Let a session that plays in real time begin anew, twice: a shared machine may stand still for seconds.

    No page keeps its second then, and what these tests say of it holds on a machine that runs. Whatever began
    anew stands in the closing lines of the run (R), and deserves a look.
    """
    for item in items:
        if item.path.name.startswith("test_participant_"):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """Stimuli of ten photos and two methods, for any protocol."""
    return Studies.build(tmp_path_factory.mktemp("studies"))


# Once a module, not once a run: Playwright keeps an event loop running, which other tests could not abide.
@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def serve(studies, tmp_path, request):
    """Serves a study made with the given changes."""
    servers = []

    def start(preset="zhang2016", **changes):
        server = served(studies.make(tmp_path / f"study-{len(servers)}", preset, **changes))
        servers.append(server)
        return server.__enter__()

    yield start
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def tab(browser):
    """Opens tabs, each a person of their own; a page's errors fail the test."""
    contexts, errors = [], []

    def open_tab(viewport=WIDE, **options):
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert errors == []
