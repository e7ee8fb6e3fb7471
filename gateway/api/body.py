"""A JSON body, checked against a table of fields before anything is done with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from shared.errors import InvalidInput

Field = tuple[type | tuple[type, ...], str]  # the Python type JSON becomes, and how to say it


def json_object(fields: Mapping[str, Field]) -> dict[str, Any]:
    """The request's body: an object of known fields with the right types; null counts as absent.

    Raises: InvalidInput naming the field, UnsupportedMediaType, and 413 for a body beyond MAX_BODY_BYTES.
    """
    if not request.is_json:
        raise UnsupportedMediaType(f"expected Content-Type: application/json, got {request.mimetype or 'none'}")
    data = request.get_data()
    if request.content_length is None and len(data) >= (request.max_content_length or 0):
        raise RequestEntityTooLarge  # Werkzeug cuts a chunked body off at the limit and says nothing
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"body: expected JSON: {error}", field="body", expected="JSON") from None
    if not isinstance(body, dict):
        raise InvalidInput.field("body", body, "a JSON object")
    for name, value in body.items():
        if name not in fields:
            raise InvalidInput.field("field", name, "one of " + ", ".join(fields))
        kind, expected = fields[name]
        if value is not None and not is_a(kind, value):
            raise InvalidInput.field(name, value, expected)
    return {name: value for name, value in body.items() if value is not None}


def is_a(kind: type | tuple[type, ...], value: Any) -> bool:
    """Whether a value of JSON is of this type: true and false are no numbers, whatever Python says."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
