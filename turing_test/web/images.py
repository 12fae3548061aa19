"""The sealed images, under random names that hold for one session: the same code and headers for real and fake."""

from __future__ import annotations

from functools import lru_cache

from flask import Blueprint, Response

from turing_test.sessions import lifecycle as sessions
from turing_test.sessions.refusal import Refused
from turing_test.sessions.views import allowed_images
from turing_test.study.study_folder import Study
from turing_test.web.context import context

__all__ = ["blueprint"]

blueprint = Blueprint("stimuli", __name__)
CACHED_FILES = 512


@blueprint.get("/stimuli/<token>/<image>")
def stimulus(token: str, image: str) -> Response:
    """One image of the current or the next trial.

    Both images of a pair are read whichever is asked for: photos are read far more often than each method's images, and
    otherwise the one that is not in memory would come later.
    """
    server = context()
    shas = allowed_images(server.study, token, sessions.look_up(server.storage, token)).get(image)
    if shas is None:
        raise Refused(404, "There is no such image now.")
    contents = {sha: _read(server.study, sha) for sha in sorted(set(shas))}
    return Response(contents[shas[0]], mimetype="image/png")


def _read(study: Study, sha: str) -> bytes:
    return _read_file(str(study.stimulus_path(sha)))


@lru_cache(CACHED_FILES)
def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - a text is cheaper to hash than a Path
        return file.read()
