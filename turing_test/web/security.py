"""Headers, limits and errors that hold for every request."""

from __future__ import annotations

import json
import logging
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from turing_test.database.storage import StorageUnavailable
from turing_test.sessions.recruiters import SUBMIT_HOSTS
from turing_test.sessions.refusal import Refused
from turing_test.web.bodies import MAX_BODY

__all__ = ["DATA_HEADERS", "json_response", "protect"]

UNAVAILABLE = "The study cannot store anything at the moment; please try again shortly. What was stored so far is safe."
PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in ("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "magnetometer", "microphone",
                    "midi", "payment", "usb")
)  # fmt: skip
_log = logging.getLogger(__name__)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
]
_NOT_KEPT = ("Cache-Control", "no-store")
DATA_HEADERS = (*_HEADERS, _NOT_KEPT)
"""What an answer that is no page has beside its type and length."""


def json_response(data: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(_encode(data), status, content_type="application/json")


def protect(app: Flask) -> None:
    """Add security headers to all answers, and make errors one plain sentence.

    A page that may stand in a frame sets ``g.frame_ancestors``.
    """
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.extend(_HEADERS)
        if "Location" in response.headers:  # without the host, which is whatever the request said
            response.headers["Location"] = urlsplit(response.headers["Location"]).path or "/"
        if request.endpoint != "static":
            response.headers.set(*_NOT_KEPT)
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
        response = _error({"error": UNAVAILABLE, "retry": True}, 503)
        response.headers["Retry-After"] = "2"
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
