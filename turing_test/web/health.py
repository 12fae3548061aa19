"""Whether this server can do its work: for whoever watches over it."""

from __future__ import annotations

from flask import Blueprint, Response

from turing_test.database.study_record import admission
from turing_test.web.context import context
from turing_test.web.security import json_response

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> Response:
    """Asks the database; 503 when that cannot be used, as for every request."""
    context().storage.read(admission)
    return json_response({"healthy": True})
