"""What the JSON interface accepts and answers: JSON Schemas that requests are checked with, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.trials.columns import PLACES
from evalkit.release import release
from turing_test.sessions.recruiters import QUERY_NAMES
from turing_test.sessions.signed_arrivals import PROLIFIC_TOKEN
from turing_test.sessions.states import ACTIVE, ENDED
from turing_test.study.protocol import Protocol

__all__ = ["body_schemas", "describe"]

Schema = dict[str, Any]

# No control characters: databases refuse NUL, and logs the rest.
_TEXT = r"^[^\x00-\x1f\x7f]*$"
_LONGEST_TOKEN = 8 * 1024  # a signature of 2,048 bits and what it signs take about 1,000 characters
_MS = {"type": "number", "minimum": 0, "maximum": 1e9}


def _object(properties: Mapping[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _text(longest: int) -> Schema:
    return {"type": "string", "maxLength": longest, "pattern": _TEXT}


_LOAD: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[A-Za-z0-9_-]+$"}

_EXPOSURE = _object(
    {
        "on_ms": _MS,
        "off_ms": _MS,
        "frames": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "largest_gap_ms": _MS,
        "hidden": {"type": "boolean"},
        "clock": {"type": "string", "enum": ["presented", "frame"]},
        "cropped": {"type": "boolean"},
        "zoomed": {"type": "boolean"},
    },
    optional=("clock", "cropped", "zoomed"),
)

_DEVICE = _object(
    {
        "refresh_hz": {"type": "number", "minimum": 1, "maximum": 2000},
        "device_pixel_ratio": {"type": "number", "minimum": 0.01, "maximum": 100},
        "color_gamut": {"type": "string", "enum": ["srgb", "p3", "rec2020", "unknown"]},
        "color_scheme": {"type": "string", "enum": ["light", "dark", "unknown"]},
        "forced_colors": {"type": "boolean"},
        "forced_dark": {"type": "boolean"},
        "width": {"type": "number", "minimum": 0, "maximum": 100_000},
        "height": {"type": "number", "minimum": 0, "maximum": 100_000},
        "touch": {"type": "boolean"},
        # Letters only: the text ends up in spreadsheets, where "=..." would be a formula.
        "user_agent_family": {"type": "string", "maxLength": 32, "pattern": "^[A-Za-z ]*$"},
        "give_up": {"type": "boolean"},
    },
    optional=("forced_dark", "give_up"),
)


def body_schemas(protocol: Protocol) -> dict[str, Schema]:
    """JSON Schemas of the request bodies of a study, by operation.

    Parameters
    ----------
    protocol : Protocol
        Its preset decides how many images a trial has and which answers there are.
    """
    places = PLACES[: protocol.images_per_trial]
    # Whatever trackers add to an address is taken and not looked at: it must not keep anybody out.
    query = {
        "type": "object",
        "properties": {name: _text(_LONGEST_TOKEN if name == PROLIFIC_TOKEN else 512) for name in QUERY_NAMES},
        "maxProperties": 1000,
        "additionalProperties": {"type": "string"},
    }
    exposures = dict.fromkeys(places, _EXPOSURE)
    return {
        "start": _object(
            {
                "query": query,
                "link": {"type": ["string", "null"], "maxLength": 64, "pattern": r"^[A-Za-z0-9_-]*$"},
                "consent": {"type": "boolean"},
                "consent_hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "simulated_key": _text(128),
                "attempt": _LOAD,
                "opened": {"type": "string", "maxLength": 128, "pattern": "^[0-9a-f.]*$"},
            },
            optional=("simulated_key", "attempt", "opened"),
        ),
        "device": _DEVICE,
        "vision": _object({"answers": {"type": "array", "maxItems": 16, "items": _text(8)}}),
        "begin": _object({"load": _LOAD}),
        "shown": _object(
            {
                "load": _LOAD,
                **exposures,
                "interval_ms": {"type": "number", "minimum": 0.1, "maximum": 10_000},
                "resolution_ms": {"type": "number", "minimum": 0, "maximum": 100},
                **({"response_ms": _MS} if protocol.answer_ends else {}),
                "proofs": {
                    "type": "array",
                    "maxItems": max(2, len(places)),
                    "items": {"type": "string", "maxLength": 16, "pattern": "^[0-9a-f]*$"},
                },
            },
            optional=("interval_ms", "resolution_ms", "proofs", "response_ms"),
        ),
        "answer": _object(
            {
                "load": _LOAD,
                "response": {"type": "string", "enum": list(places) if len(places) > 1 else ["yes", "no"]},
                "response_ms": _MS,
            }
        ),
        "withdraw": _object({}),
    }


_URL = {"type": "string"}
_URLS = {"type": "array", "items": _URL}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_NUMBER = {"type": "integer", "minimum": 1}
_TRIAL = _object(
    {
        "number": _NUMBER,
        "of": _NUMBER,
        "phase": {"type": "string", "enum": ["practice", "test"]},
        "mode": {"type": "string", "enum": ["show", "answer_only"]},
        "images": _URLS,
    }
)
_ENDING_PROPERTIES: dict[str, Schema] = {
    "code": {"type": ["string", "null"]},
    "redirect": {"type": ["string", "null"]},
    "form": _or_null(
        _object({"action": _URL, "fields": {"type": "object", "additionalProperties": {"type": "string"}}})
    ),
    "give_back": {"type": "boolean"},
}
_OUTCOME = _object({"outcome": {"type": "string", "enum": list(ENDED)}, **_ENDING_PROPERTIES})
_VIEW_PROPERTIES: dict[str, Schema] = {
    "state": {"type": "string", "enum": [*ACTIVE, *ENDED]},
    "phase": {"type": "string", "enum": ["device", "vision", "instructions", "practice", "test", "done"]},
    "preset": {"type": "string"},
    "timing": {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
    "presentation": _object(
        {"sequential": {"type": "boolean"}, "answer_ends": {"type": "boolean"}, "mask": {"type": "string"}}
    ),
    "size": {"type": "integer"},
    "window": _object({"width": {"type": "integer"}, "height": {"type": "integer"}}),
    "plates": _or_null(_URLS),
    "trial": _or_null({"$ref": "#/components/schemas/Trial"}),
    "pause": _or_null(_object({"seconds": {"type": ["integer", "null"], "minimum": 0}})),
    "next_images": _or_null(_URLS),
    "progress": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
    "outcome": _or_null({"$ref": "#/components/schemas/Outcome"}),
}
_FEEDBACK = _object(
    {
        "correct": {"type": "boolean"},
        "fake": {"type": "string", "enum": ["first", "second"]},
        "real": {"type": "string", "enum": list(PLACES)},
    },
    optional=("fake", "real"),
)
_COMPONENTS: dict[str, Schema] = {
    "Trial": _TRIAL,
    "Outcome": _OUTCOME,
    "View": _object(_VIEW_PROPERTIES),
    "Started": _object({"token": {"type": "string"}, **_VIEW_PROPERTIES}),
    "Answered": _object({"feedback": _or_null(_FEEDBACK), **_VIEW_PROPERTIES}),
    "Begun": _object(
        {
            "replaced": {"type": "boolean"},
            **dict.fromkeys(PLACES, _URL),
            "view": {"$ref": "#/components/schemas/View"},
        },
        optional=(*PLACES, "view"),
    ),
    "Ahead": _object({"images": _URLS}),
    "Stored": _object({"stored": {"type": "boolean"}}),
    "Error": {
        "type": "object",
        "properties": {
            "error": {"type": "string", "minLength": 1},
            "reason": {"type": "string", "description": "Which of its texts the page says instead, in its language."},
            "retry": {"type": "boolean"},
            "ending": _object(_ENDING_PROPERTIES),
        },
        "required": ["error"],
    },
}

_ERRORS = {
    "400": "The body is not of this form.",
    "403": "Not open to this participant.",
    "404": "There is no such session.",
    "408": "The body did not arrive in time.",
    "409": "Not now: out of order, already answered, over.",
    "413": "The body is too large.",
    "425": "Too early: the images of the trial cannot have been shown yet.",
    "415": "The body is not application/json.",
    "429": "Too many requests.",
    "503": "The database cannot be used now; nothing was changed, and the same request may be repeated.",
}


def _reference(name: str) -> Schema:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


def _operation(name: str, summary: str, answer: str, body: Schema | None, status: str = "200") -> Schema:
    operation: Schema = {
        "operationId": name,
        "summary": summary,
        "responses": {
            status: {"description": "Done.", **_reference(answer)},
            **{code: {"description": text, **_reference("Error")} for code, text in _ERRORS.items()},
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def describe(protocol: Protocol, root: str = "") -> Schema:
    """The OpenAPI document of a study's JSON interface.

    Parameters
    ----------
    protocol : Protocol
    root : str
        The path that the study is served under.

    Returns
    -------
    dict
        OpenAPI 3.1.
    """
    bodies = body_schemas(protocol)
    token = {"name": "token", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    position = {
        "name": "position", "in": "path", "required": True,
        "schema": {"type": "integer", "minimum": 1, "maximum": protocol.session_trials},
    }  # fmt: skip
    session, trial = "/api/s/{token}", "/api/s/{token}/trials/{position}"

    def post(name: str, summary: str, answer: str = "View", status: str = "200") -> Schema:
        return {"post": _operation(name, summary, answer, bodies[name], status)}

    paths: Schema = {
        "/api/sessions": post("start", "Consent (or decline), and begin a session.", "Started", "201"),
        session: {"get": _operation("view", "Where a session stands; changes nothing.", "View", None)},
        f"{session}/ahead": {"get": _operation("ahead", "Images of the next trials, for slow lines.", "Ahead", None)},
        f"{session}/device": post("device", "Tell what the display is like."),
        f"{session}/vision": post("vision", "Answer the colour vision screen."),
        f"{session}/withdraw": post("withdraw", "Stop taking part."),
        f"{trial}/begin": post("begin", "The images of a trial are about to be shown.", "Begun"),
        f"{trial}/shown": post("shown", "Measured display times of the images.", "Stored"),
        f"{trial}/answer": post("answer", "The answer to a trial; the same again is acknowledged again.", "Answered"),
    }
    for path, operations in paths.items():
        parameters = [p for name, p in (("{token}", token), ("{position}", position)) if name in path]
        if parameters:
            operations["parameters"] = parameters
    return {
        "openapi": "3.1.0",
        "info": {"title": "Timed real-vs-fake test: participants", "version": release()},
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {"schemas": _COMPONENTS},
    }
