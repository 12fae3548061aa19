"""Headers, limits and errors that hold for every request."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from turing_test.database.storage import StorageUnavailable
from turing_test.sessions.recruiters import SUBMIT_HOSTS
from turing_test.sessions.refusal import Refused
from turing_test.web.bodies import MAX_BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["DATA_HEADERS", "encode_json", "json_response", "protect"]

RETRY_AFTER_S = 2
UNAVAILABLE = "The study cannot store anything at the moment; please try again shortly. What was stored so far is safe."
UNAVAILABLE_BODY: dict[str, object] = {"error": UNAVAILABLE, "retry": True}
PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in ("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "magnetometer", "microphone",
                    "midi", "payment", "usb")
)  # fmt: skip
_log = logging.getLogger(__name__)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)
DATA_HEADERS = (*_HEADERS, ("Cache-Control", "no-store"))
"""What every answer has beside its own headers, but for the toolkit's own files, which a browser may keep."""


def encode_json(data: object) -> bytes:
    """The content of a JSON answer."""
    return _encode(data).encode()


def json_response(data: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(encode_json(data), status, content_type="application/json")


def protect(app: Flask) -> None:
    """Add security headers to all answers, and make errors one plain sentence.

    A page that may stand in a frame sets ``g.frame_ancestors``.
    """
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY

    app.wsgi_app = _WithHeaders(app.wsgi_app, f"{app.static_url_path}/")  # type: ignore[method-assign]

    @app.after_request
    def headers(response: Response) -> Response:
        if "Location" in response.headers:  # without the host, which is whatever the request said
            response.headers["Location"] = urlsplit(response.headers["Location"]).path or "/"
        if response.headers.get("Content-Type", "").startswith("text/html"):
            _page_headers(response)
        return response

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        response = _error({"error": error.sentence, **error.more}, error.status)
        if "retry_after" in error.more:
            response.headers["Retry-After"] = str(error.more["retry_after"])
        return response

    @app.errorhandler(StorageUnavailable)
    def unavailable(error: StorageUnavailable) -> Response:
        _log.error("%s", error)
        response = _error(UNAVAILABLE_BODY, 503)
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        if isinstance(error.response, Response):
            return error.response
        sentences = {
            404: "There is nothing at this address.",
            405: "This address does not take such requests.",
            413: f"The request is too large; {MAX_BODY} bytes are allowed.",
        }
        status = error.code or 500
        response = _error({"error": sentences.get(status, f"{error.name}.")}, status)
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        _log.exception("a request failed: %s %s", request.method, request.url_rule)
        return _error({"error": "Something went wrong in the server; please try again.", "retry": True}, 500)


class _WithHeaders:
    """An application whose answers all have some headers more: Flask would look at each of them for a tenth of an answer's time."""

    def __init__(self, application: WSGIApplication, static: str) -> None:
        self._application, self._static = application, static

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        added = _HEADERS if environ["PATH_INFO"].startswith(self._static) else DATA_HEADERS

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
            return start_response(status, [*headers, *added], *more)

        return self._application(environ, start)


def _error(data: dict[str, object], status: int) -> Response:
    if request.path.startswith(("/api/", "/stimuli/")):
        return json_response(data, status)
    return Response(f"{data['error']}\n", status, mimetype="text/plain")


def _page_headers(response: Response) -> None:
    ancestors = " ".join(g.get("frame_ancestors", ())) or "'none'"
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        f"base-uri 'none'; form-action 'self' {' '.join(SUBMIT_HOSTS)}; frame-ancestors {ancestors}"
    )
    response.headers["Permissions-Policy"] = PERMISSIONS
    # Isolated from other origins, a browser tells presentation times to a tenth of a millisecond instead of four.
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
