"""A study's server on a free port of this machine, for as long as a block of code runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from turing_test.study.study_folder import Study

__all__ = ["local_server"]


@contextmanager
def local_server(
    study: Study, database_url: str | None = None, *, simulation_key: str | None = None, threads: int = 8
) -> Iterator[str]:
    """Serve a study in threads of this process: the same application as `evalkit study serve`, in a simple server.

    Parameters
    ----------
    study : Study
    database_url : str, optional
        By default SQLite in the study folder.
    simulation_key : str, optional
        Admits simulated participants who know it.
    threads : int, default 8
        How many may use the database at once.

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
        from werkzeug.serving import WSGIRequestHandler, make_server

        from turing_test.web.app import create_app
    except ImportError as error:
        raise InputError(needs_package(error.name or "flask", "the study's server", "study")) from error

    class Handler(WSGIRequestHandler):
        """Says nothing, about itself neither, and sends at once what there is."""

        disable_nagle_algorithm = True

        def version_string(self) -> str:
            return "study"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    app = create_app(study, database_url, simulation_key=simulation_key, connections=threads)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    loop = threading.Thread(target=server.serve_forever, name="study server", daemon=True)
    loop.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        loop.join()
        server.server_close()
        app.extensions["turing_test"].storage.close()
