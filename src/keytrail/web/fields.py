"""The fields of a question: in a JSON body, or as the parameters of a link."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from fastapi import Request

from keytrail.errors import RequestError
from keytrail.query.catalog import DIMENSIONS, OPERATORS
from keytrail.web.body import read_body

LARGEST_BODY: Final = 256 * 1024
"""Bytes of a question."""

CONDITION_SCHEMA: Final = {
    "oneOf": [
        {
            "type": "object",
            "required": ["dimension", "operator", "value"],
            "properties": {
                "dimension": {"type": "string", "enum": list(DIMENSIONS)},
                "operator": {"type": "string", "enum": list(OPERATORS)},
                "value": {},
            },
            "additionalProperties": False,
        },
        *(
            {
                "type": "object",
                "required": [name],
                "properties": {name: {"type": "array", "minItems": 1, "items": {"type": "object"}}},
                "additionalProperties": False,
            }
            for name in ("and", "or")
        ),
        {
            "type": "object",
            "required": ["not"],
            "properties": {"not": {"type": "object"}},
            "additionalProperties": False,
        },
    ]
}
EDGES_SCHEMA: Final = {"type": "object", "required": ["from", "to"], "properties": {key: {} for key in ("from", "to")}}
"""Schemas of a condition and of an own range."""


async def fields_in_body(request: Request) -> dict[str, Any]:
    """What the JSON body of a question says; no fields where there is none.

    Raises:
        TooLarge: It has more than `LARGEST_BODY` bytes.
        RequestError: It is not a JSON object.
    """
    fields = decoded("body", await read_body(request, LARGEST_BODY, "a question has at most") or b"{}")
    if not isinstance(fields, dict):
        raise RequestError("body: an object is expected")
    return fields


def fields_of(parameters: Iterable[tuple[str, str]], types: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The fields of a question from the parameters of a link: lists with commas, and JSON for what is no text.

    Args:
        parameters: Names and values.
        types: The JSON schema of each field that is not simply a text.

    Raises:
        RequestError: One that should be JSON is not; the message begins with its name.
    """
    fields: dict[str, Any] = {}
    for name, value in parameters:
        if name == "org" or not value:
            continue
        schema = types.get(name, {"type": "string"})
        kinds = {option.get("type") for option in schema.get("oneOf", [schema])}
        if kinds == {"array"}:
            fields.setdefault(name, []).extend(item.strip() for item in value.split(",") if item.strip())
        elif "string" in kinds and not ("object" in kinds and value.startswith("{")):
            fields[name] = value
        else:
            fields[name] = decoded(name, value.encode())
    return fields


def decoded(name: str, text: bytes) -> Any:
    """What a JSON text says.

    Raises:
        RequestError: It is not JSON; the message begins with the name.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"{name}: is not JSON: {error}") from None
