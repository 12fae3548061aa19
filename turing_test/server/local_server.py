"""A study's real server on a free port of this machine, for as long as a block of code runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from turing_test.study.study_folder import Study

__all__ = ["local_server"]

LOOK_AROUND_S = 0.1  # how often the server's loop looks whether it should end


@contextmanager
def local_server(
    study: Study, database_url: str | None = None, *, simulation_key: str | None = None, threads: int = 8
) -> Iterator[str]:
    """Serve a study with waitress, as ``evalkit study serve`` does, in a thread of this process.

    Parameters
    ----------
    study : Study
    database_url : str, optional
        By default SQLite in the study folder.
    simulation_key : str, optional
        Admits simulated participants who know it.
    threads : int, default 8

    Yields
    ------
    str
        Its address; only this machine can reach it.

    Raises
    ------
    InputError
        When the web server is not installed, or the database belongs to another study.
    """
    from evalkit.errors import InputError
    from evalkit.wording import needs_package

    try:
        from waitress import wasyncore  # type: ignore[import-untyped]
        from waitress.server import create_server  # type: ignore[import-untyped]

        from turing_test.web.app import create_app
    except ImportError as error:
        raise InputError(needs_package(error.name or "flask", "the study's server", "study")) from error
    app = create_app(study, database_url, simulation_key=simulation_key, connections=threads)
    # Simulated participants queue by design; a warning for each would drown the rest.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = create_server(app, host="127.0.0.1", port=0, threads=threads, ident=None, map={})
    ending = threading.Event()

    def run() -> None:
        while not ending.is_set():
            wasyncore.loop(timeout=LOOK_AROUND_S, map=server._map, use_poll=True, count=1)

    loop = threading.Thread(target=run, name="study server", daemon=True)
    loop.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        ending.set()
        loop.join()
        server.task_dispatcher.shutdown()
        wasyncore.close_all(server._map)
        app.extensions["turing_test"].storage.close()
