"""The images of a session, under random names: the same code, headers and length for real and fake."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from turing_test.database.storage import StorageUnavailable
from turing_test.sessions import lifecycle as sessions
from turing_test.sessions.presentation import mark_looked_again, skip_damaged
from turing_test.sessions.refusal import Refused
from turing_test.sessions.tokens import TOKEN_PATTERN, image_noise, image_proof
from turing_test.sessions.views import find_image_ahead
from turing_test.stimuli.session_bytes import DamagedStimulus, session_png
from turing_test.web.admitted import Image
from turing_test.web.context import Context, context
from turing_test.web.security import DATA_HEADERS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ImagesFirst", "blueprint", "image_at_once"]

_log = logging.getLogger(__name__)

blueprint = Blueprint("stimuli", __name__)

MIMETYPE = "image/png"
_ADDRESS = re.compile(rf"/stimuli/({TOKEN_PATTERN})/({TOKEN_PATTERN})")


@blueprint.get("/stimuli/<token>/<image>")
def stimulus(token: str, image: str) -> Response:
    """One image of the current or the next trial, or a little further ahead; from where a broken line left off."""
    server = context()
    admitted = _ask(server, token, image)
    try:
        png = _png(server, admitted, image)
    except DamagedStimulus as error:
        _log.error("a stimulus is damaged, and trials that show it are skipped: %s Run evalkit study doctor.", error)
        skip_damaged(server.storage, server.study, token, image)
        raise Refused(410, "This image cannot be shown; another trial takes its place.") from None
    start = _rest_from(len(png))
    if not start:
        _count_look(server, admitted, image)
        return Response(png, mimetype=MIMETYPE)
    response = Response(png[start:], 206, mimetype=MIMETYPE)
    response.headers["Content-Range"] = f"bytes {start}-{len(png) - 1}/{len(png)}"
    return response


class ImagesFirst:
    """The application, but for whole images that a session may fetch by what it was told last: those need nothing of Flask.

    Finding the address's function and making objects of request and answer take longer than the image. All else, whatever
    goes wrong among it, is the application's, which answers with the same headers.

    Parameters
    ----------
    application : callable
    server : Context
    """

    def __init__(self, application: WSGIApplication, server: Context) -> None:
        self._application, self._server = application, server

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if environ["REQUEST_METHOD"] == "GET" and "HTTP_RANGE" not in environ:
            address = _ADDRESS.fullmatch(environ["PATH_INFO"])
            png = None if address is None else self._fetch(*address.groups())
            if png is not None:
                start_response("200 OK", _headers(png))
                return [png]
        return self._application(environ, start_response)

    def _fetch(self, token: str, image: str) -> bytes | None:
        try:
            admitted = self._server.admitted.take(token, image)
            if admitted is None:
                return None
            png = _png(self._server, admitted, image)
            _count_look(self._server, admitted, image)
        except (DamagedStimulus, StorageUnavailable):  # the application meets it again, and says so
            return None
        return png


def image_at_once(server: Context, path: str) -> tuple[list[tuple[str, str]], bytes] | None:
    """An image for which nothing has to be waited: its session may fetch it, and its pixels are in memory.

    Making one takes a tenth of a millisecond. Handing it to a thread would take as long, and threads that make images at the same
    time spend several times as long in taking turns at the interpreter, which every step of an image releases.

    Parameters
    ----------
    server : Context
    path : str
        Of a GET request for the whole.

    Returns
    -------
    tuple or None
        Headers and bytes; None when the application must be asked, which may wait for files and for the database.
    """
    address = _ADDRESS.fullmatch(path)
    if address is None:
        return None
    token, image = address.groups()

    def is_ready(admitted: Image) -> bool:
        in_memory = all(server.pixels.has(server.study.stimulus_path(sha)) for sha in admitted.shas)
        return in_memory and (admitted.simulated or server.looks.add_unless_last(image))

    admitted = server.admitted.take_at_once(token, image, is_ready)
    if admitted is None:
        return None
    try:
        png = _png(server, admitted, image)
    except DamagedStimulus:  # it left the memory at this moment, and its file is damaged: the application says so
        return None
    return _headers(png), png


def _headers(png: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", MIMETYPE), ("Content-Length", str(len(png))), *DATA_HEADERS]


def _png(server: Context, admitted: Image, image: str) -> bytes:
    """The bytes of an image.

    Both images of a pair are read whichever is asked for: photos are read far more often than each method's images, and
    otherwise the one that is not in memory would come later.
    """
    key = server.study.key
    pixels = {sha: server.pixels.read(server.study.stimulus_path(sha)) for sha in sorted(set(admitted.shas))}
    return session_png(pixels[admitted.shas[0]], image_noise(key, image), image_proof(key, image))


def _count_look(server: Context, admitted: Image, image: str) -> None:
    if not admitted.simulated and server.looks.add(image):
        mark_looked_again(server.storage, admitted.session_id, image)


def _ask(server: Context, token: str, image: str) -> Image:
    """One query for all images of the current and the next trial; those further ahead need one each."""
    asked_at = time.monotonic()
    snapshot = sessions.look_up(server.storage, token)
    server.admitted.keep(token, snapshot, asked_at=asked_at)
    asked = server.admitted.take(token, image)
    if asked is not None:
        return asked
    shas = find_image_ahead(server.storage, snapshot, image)
    if shas is None:
        raise Refused(404, "There is no such image now.", reason="other_page")
    return Image(snapshot.id, snapshot.simulated, shas)


def _rest_from(length: int) -> int:
    """From which byte on the request wants the rest; 0 for all, and for ranges of any other form."""
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return 0
    start, stop = wanted.ranges[0]
    return start if stop is None and start is not None and 0 < start < length else 0
