"""Bodies of requests: JSON, small, and exactly of the described form, or a 4xx with one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from flask import request

from turing_test.sessions.refusal import Refused

__all__ = ["MAX_BODY", "check", "read_body"]

MAX_BODY = 16 * 1024
"""Bytes; the largest honest request has a tenth of it."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "number": (int, float),
    "integer": (int,), "null": (type(None),),
}  # fmt: skip


def read_body(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Read and check the body of the current request.

    Parameters
    ----------
    schema : mapping
        JSON Schema of the body, an object; the same that the OpenAPI description shows.

    Returns
    -------
    dict

    Raises
    ------
    Refused
        413 too large, 415 not JSON by its content type, 400 anything else.
    """
    if request.mimetype != "application/json":
        raise Refused(415, "The request must be of the type application/json.")
    raw = request.get_data(cache=False)  # app.config["MAX_CONTENT_LENGTH"] has cut off what is too long
    try:
        # Decoded here: json.loads would take UTF-16 as well, and half a surrogate pair.
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        if b"\\u" in raw:
            json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise Refused(400, "The request is no valid JSON.") from None
    check(body, schema, "the request")
    found: dict[str, Any] = body
    return found


def check(value: object, schema: Mapping[str, Any], where: str) -> None:
    """Check a value against the part of JSON Schema that our descriptions use.

    Raises
    ------
    Refused
        400, naming the place and what is allowed.
    """
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(_is_of(value, kind) for kind in kinds):
            raise Refused(400, f"{where} must be of the type {' or '.join(kinds)}.")
    if "enum" in schema and value not in schema["enum"]:
        raise Refused(400, f"{where} must be one of {', '.join(json.dumps(choice) for choice in schema['enum'])}.")
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", MAX_BODY):
            raise Refused(400, f"{where} is too short or too long.")
        # All our patterns stand between ^ and $. JSON Schema's $ is the end; Python's would let a last newline pass.
        if "pattern" in schema and re.fullmatch(schema["pattern"], value) is None:
            raise Refused(400, f"{where} has characters that are not allowed.")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            raise Refused(400, f"{where} must be from {schema.get('minimum')} to {schema.get('maximum')}.")
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", MAX_BODY):
            raise Refused(400, f"{where} has too many entries.")
        for index, item in enumerate(value):
            check(item, schema["items"], f"{where}[{index}]")
    elif isinstance(value, dict):
        _check_object(value, schema, where)


def _check_object(value: dict[str, Any], schema: Mapping[str, Any], where: str) -> None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise Refused(400, f"{where} lacks {name}.")
    if len(value) > schema.get("maxProperties", len(properties)):
        extra = next((name for name in value if name not in properties), "")
        raise Refused(400, f"{where} has too many entries, or one that is not known ({extra[:40]!r}).")
    for name, inner in value.items():
        known = properties.get(name)
        if known is not None:
            check(inner, known, f"{where}.{name}" if where != "the request" else name)
            continue
        other = schema.get("additionalProperties", False)
        if other is False:
            raise Refused(400, f"{where} has an entry {name[:40]!r}, which is not known.")
        check(name, schema.get("propertyNames", {}), f"a name in {where}")
        check(inner, other, f"{where}.{name[:40]}")


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
