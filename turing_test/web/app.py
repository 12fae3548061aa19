"""The application factory."""

from __future__ import annotations

from flask import Flask

from turing_test.database.storage import Storage, default_url
from turing_test.database.study_record import register
from turing_test.sessions.clock import resume
from turing_test.sessions.place_counters import count_places
from turing_test.sessions.signed_arrivals import ProlificKeys
from turing_test.study.study_folder import Study
from turing_test.web import health, images, participant
from turing_test.web.bodies import make_validators
from turing_test.web.context import Context
from turing_test.web.dashboard import add_dashboard
from turing_test.web.images import ImagesFirst
from turing_test.web.limits import Limits
from turing_test.web.openapi import body_schemas
from turing_test.web.page import page_variables
from turing_test.web.security import protect

__all__ = ["create_app"]


def create_app(
    study: Study,
    database_url: str | None = None,
    *,
    simulation_key: str | None = None,
    connections: int = 16,
    busy_timeout_s: float = 5.0,
    limits: Limits | None = None,
) -> Flask:
    """A study's server as a WSGI application.

    Parameters
    ----------
    study : Study
    database_url : str, optional
        See `turing_test.database.storage.Storage`; by default SQLite in the study folder. Tables are made or upgraded.
    simulation_key : str, optional
        Admits simulated participants who know it.
    connections : int
        How many requests may use the database at once: one a thread.
    busy_timeout_s : float
        How long a request waits for a locked database.
    limits : Limits, optional
        How often one address, and all together, may begin a session, decline or try a password. The page tries again by
        itself.

    Returns
    -------
    Flask

    Raises
    ------
    InputError
        When the database belongs to another study, the texts lack something, or Prolific's keys cannot be read.
    StorageUnavailable
        When the database cannot be used.
    """
    app = Flask("turing_test.web")
    app.url_map.merge_slashes = False  # a redirect to the merged address would be made from the Host header
    prolific_keys = ProlificKeys.of(study)
    storage = Storage(database_url or default_url(study.folder), connections=connections, busy_timeout_s=busy_timeout_s)
    try:
        storage.upgrade()
        register(storage, study)
        resume(storage, study)
        count_places(storage, study)
    except BaseException:
        storage.close()
        raise
    server = Context(
        study=study,
        storage=storage,
        page=page_variables(study.protocol, study.texts(), study.consent_text()),
        validators=make_validators(body_schemas(study.protocol)),
        simulation_key=simulation_key,
        prolific_keys=prolific_keys,
        limits=limits or Limits(),
    )
    app.extensions["turing_test"] = server
    protect(app)
    app.register_blueprint(participant.blueprint)
    app.register_blueprint(images.blueprint)
    app.register_blueprint(health.blueprint)
    add_dashboard(app, study.protocol.public_url)
    app.wsgi_app = ImagesFirst(app.wsgi_app, server)  # type: ignore[method-assign]
    return app
