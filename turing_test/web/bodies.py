"""Bodies of requests: JSON, small, and exactly of the described form, or a 4xx with one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import fastjsonschema
from flask import request

from turing_test.sessions.refusal import Refused

__all__ = ["MAX_BODY", "Validator", "check_body", "make_validators", "read_body"]

MAX_BODY = 16 * 1024
"""Bytes; the largest honest request has a tenth of it."""

Validator = Callable[[Any], object]
"""Raises `fastjsonschema.JsonSchemaValueException` for a body of another form."""

_BOUNDS = {
    "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than",
}  # fmt: skip
_LONGEST_NAME = 80  # characters of a place named in a sentence: names in a body are the sender's


def make_validators(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Validator]:
    """Compile the JSON Schemas of request bodies, once per server.

    Parameters
    ----------
    schemas : mapping of str to mapping
        By operation (`turing_test.web.openapi.body_schemas`).
    """
    return {name: fastjsonschema.compile(dict(schema), use_default=False) for name, schema in schemas.items()}


def read_body(validate: Validator) -> dict[str, Any]:
    """Read and check the body of the current request.

    Parameters
    ----------
    validate : callable
        From `make_validators`, of the very schema that the OpenAPI description shows.

    Returns
    -------
    dict

    Raises
    ------
    Refused
        413 too large, 415 not JSON by its content type, 400 anything else.
    """
    # app.config["MAX_CONTENT_LENGTH"] has cut off what is too long
    return check_body(request.mimetype, request.get_data(cache=False), validate)


def check_body(mimetype: str, raw: bytes, validate: Validator) -> dict[str, Any]:
    """As `read_body`, of a body that is not too large.

    Parameters
    ----------
    mimetype : str
        What the request says that it is.
    raw : bytes
    validate : callable
    """
    if mimetype != "application/json":
        raise Refused(415, "The request must be of the type application/json.")
    try:
        # Decoded here: json.loads would take UTF-16 as well, and half a surrogate pair.
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        if b"\\u" in raw:
            json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise Refused(400, "The request is no valid JSON.") from None
    try:
        validate(body)
    except fastjsonschema.JsonSchemaValueException as error:
        raise Refused(400, _sentence(error)) from None
    checked: dict[str, Any] = body
    return checked


def _sentence(error: fastjsonschema.JsonSchemaValueException) -> str:
    """What is wrong, where, and what is allowed; the value itself is not repeated."""
    path = (error.name or "").removeprefix("data").removeprefix(".")[:_LONGEST_NAME]
    place = path or "the request"
    allowed = error.rule_definition
    match error.rule:
        case "required":
            absent = [name for name in allowed if not isinstance(error.value, dict) or name not in error.value]
            return f"{place} lacks {', '.join(absent)}."
        case "additionalProperties":
            names = (error.definition or {}).get("properties", {})
            extra = next((name for name in error.value if name not in names), "")
            return f"{place} has an entry {extra[:40]!r}, which is not known; allowed are {', '.join(names) or 'none'}."
        case "type":
            kinds = [allowed] if isinstance(allowed, str) else allowed
            return f"{place} must be of the type {' or '.join(kinds)}."
        case "enum":
            return f"{place} must be one of {', '.join(json.dumps(choice) for choice in allowed)}."
        case "pattern":
            return f"{place} has characters that are not allowed; it must match {allowed}."
        case "minLength" | "maxLength":
            way, bound = ("short", "least") if error.rule == "minLength" else ("long", "most")
            return f"{place} is too {way}; at {bound} {allowed} characters are allowed."
        case "minItems" | "maxItems" | "minProperties" | "maxProperties":
            way, bound = ("few", "least") if error.rule.startswith("min") else ("many", "most")
            return f"{place} has too {way} entries; at {bound} {allowed} are allowed."
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            return f"{place} must be {_BOUNDS[error.rule]} {allowed}."
        case "propertyNames":
            return f"{place} has a name that is not allowed; names match {json.dumps(allowed)}."
        case "const":
            return f"{place} must be {json.dumps(allowed)}."
        case _:
            return f"{place} is not of the form that is described: {error.rule} {json.dumps(allowed)}."


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
