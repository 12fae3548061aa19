"""What every request of a study's server needs: the study, the database, and what is made once at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import current_app

from turing_test.database.storage import Storage
from turing_test.sessions.signed_arrivals import ProlificKeys
from turing_test.stimuli.session_bytes import PixelCache
from turing_test.study.study_folder import Study
from turing_test.web.admitted import Admitted
from turing_test.web.bodies import Validator
from turing_test.web.limits import Limits
from turing_test.web.looks import Looks

__all__ = ["Context", "context"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """Of one server.

    Attributes
    ----------
    study : Study
    storage : Storage
    page : mapping
        Variables of the participant's page (`turing_test.web.page`).
    validators : mapping of str to callable
        Checks of request bodies by operation (`turing_test.web.bodies`).
    simulation_key : str or None
        Who knows it may begin simulated sessions; None admits none.
    prolific_keys : ProlificKeys or None
        What people from Prolific are checked with; None takes their word.
    limits : Limits
        How often something may be done.
    pixels : PixelCache
        Decoded stimuli.
    looks : Looks
        How often images were fetched.
    admitted : Admitted
        Images that sessions may fetch now.
    """

    study: Study
    storage: Storage
    page: Mapping[str, Any]
    validators: Mapping[str, Validator]
    simulation_key: str | None = None
    prolific_keys: ProlificKeys | None = None
    limits: Limits = field(default_factory=Limits)
    pixels: PixelCache = field(default_factory=PixelCache)
    looks: Looks = field(default_factory=Looks)
    admitted: Admitted = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "admitted", Admitted(self.study, self.storage))


def context() -> Context:
    """The context of the server that handles the current request."""
    server: Context = current_app.extensions["turing_test"]
    return server
