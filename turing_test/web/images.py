"""The images of a session, under random names: the same code, headers and length for real and fake."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, request

from turing_test.sessions import lifecycle as sessions
from turing_test.sessions.presentation import mark_looked_again, skip_damaged
from turing_test.sessions.refusal import Refused
from turing_test.sessions.tokens import image_noise, image_proof
from turing_test.sessions.views import allowed_images, find_image_ahead
from turing_test.stimuli.session_bytes import DamagedStimulus, session_png
from turing_test.web.admitted import Image
from turing_test.web.context import Context, context

__all__ = ["blueprint"]

_log = logging.getLogger(__name__)

blueprint = Blueprint("stimuli", __name__)


@blueprint.get("/stimuli/<token>/<image>")
def stimulus(token: str, image: str) -> Response:
    """One image of the current or the next trial, or a little further ahead; from where a broken line left off.

    Both images of a pair are read whichever is asked for: photos are read far more often than each method's images, and
    otherwise the one that is not in memory would come later.
    """
    server = context()
    admitted = server.admitted.take(token, image) or _ask(server, token, image)
    key = server.study.key
    try:
        pixels = {sha: server.pixels.read(server.study.stimulus_path(sha)) for sha in sorted(set(admitted.shas))}
    except DamagedStimulus as error:
        _log.error("a stimulus is damaged, and trials that show it are skipped: %s Run evalkit study doctor.", error)
        skip_damaged(server.storage, server.study, token, image)
        raise Refused(410, "This image cannot be shown; another trial takes its place.") from None
    png = session_png(pixels[admitted.shas[0]], image_noise(key, image), image_proof(key, image))
    start = _rest_from(len(png))
    if not start and not admitted.simulated and server.looks.add(image):
        mark_looked_again(server.storage, admitted.session_id, image)
    if not start:
        return Response(png, mimetype="image/png")
    response = Response(png[start:], 206, mimetype="image/png")
    response.headers["Content-Range"] = f"bytes {start}-{len(png) - 1}/{len(png)}"
    return response


def _ask(server: Context, token: str, image: str) -> Image:
    """One query for all images of the current and the next trial; those further ahead need one each."""
    snapshot = sessions.look_up(server.storage, token)
    allowed = {
        name: Image(snapshot.id, snapshot.simulated, shas)
        for name, shas in allowed_images(server.study, token, snapshot).items()
    }
    asked = allowed.pop(image, None)
    server.admitted.add(token, allowed)
    if asked is not None:
        return asked
    shas = find_image_ahead(server.storage, snapshot, image)
    if shas is None:
        raise Refused(404, "There is no such image now.")
    return Image(snapshot.id, snapshot.simulated, shas)


def _rest_from(length: int) -> int:
    """From which byte on the request wants the rest; 0 for all, and for ranges of any other form."""
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return 0
    start, stop = wanted.ranges[0]
    return start if stop is None and start is not None and 0 < start < length else 0
