"""What an operation may answer, as its documentation says it: every status, in the shape that its path has."""

from collections.abc import Sequence
from typing import Any, Final

from service.http.operations import Operation

PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:farthing:error:ceiling_exceeded"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
}
VENDOR_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "The same in OpenAI's shape, or in Anthropic's, which has `type` beside `error`.",
    "required": ["error"],
    "properties": {
        "type": {"type": "string", "const": "error"},
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "code": {"type": "string"}},
        },
    },
}
_JSON: Final = "application/json"
# Whoever asks for anything may be told these.
_ANYWHERE: Final = {403: "forbidden", 500: "internal_error"}
# Where a key may be asked for, and the ledger whether there is such a key.
_BEHIND_THE_DOOR: Final = {400: "invalid_request", 401: "unauthenticated", 503: "ledger_unavailable"}
_WITH_A_BODY: Final = {408: "body_timeout", 413: "body_too_large", 415: "unsupported_media_type"}
_VENDORS: Final = "/v1/"
_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def responses_of(operation: Operation) -> dict[str, Any]:
    """{status: what it means, and what comes with it}."""
    responses: dict[str, Any] = {"200": {"description": operation.summary, "content": _answers(operation)}}
    for status, codes in sorted(errors_of(operation).items()):
        is_plain = operation.has_plain_errors and status in operation.errors
        responses[str(status)] = {"description": codes, "content": _plain() if is_plain else _problem(operation)}
    if operation.passes_rejections:
        told = "upstream_rejected: the provider's own refusal of the call, with its status"
        responses["4XX"] = {"description": told, "content": _problem(operation)}
    return responses


def errors_of(operation: Operation) -> dict[int, str]:
    """{status: the codes that come with it}, those that are everywhere included."""
    everywhere = dict(_ANYWHERE)
    if operation.role is not None:
        everywhere |= _BEHIND_THE_DOOR
    if operation.body is not None:
        everywhere |= _WITH_A_BODY
    return everywhere | operation.errors


def schema_of(example: Any, varying: Sequence[str] = ()) -> dict[str, Any]:
    """What values are like of which this is one: the same types, or null; the same names, or more of them.

    An example that is null says nothing, and so does an empty list of what would be in it. varying: names of fields
    that may be anything.
    """
    schema: dict[str, Any] = {} if example is None else {"type": [_TYPES[type(example)], "null"]}
    if isinstance(example, dict):
        properties = {name: {} if name in varying else schema_of(value, varying) for name, value in example.items()}
        return {**schema, "properties": properties, "required": list(properties)}
    if isinstance(example, list) and example:
        return {**schema, "items": schema_of(example[0], varying)}
    return schema


def _answers(operation: Operation) -> dict[str, Any]:
    if operation.media_type != _JSON:
        content: dict[str, Any] = {operation.media_type: {"schema": {"type": operation.kind}}}
    elif operation.example is None:
        content = {_JSON: {"schema": {"type": "object"}}}
    else:
        schema = {**schema_of(operation.example, operation.varying), "type": "object"}
        content = {_JSON: {"schema": schema, "example": operation.example}}
    others = [*operation.other_media_types, *(["text/event-stream"] if operation.streams else [])]
    return content | {media_type: {"schema": {"type": "string"}} for media_type in others}


def _problem(operation: Operation) -> dict[str, Any]:
    if operation.path.startswith(_VENDORS):
        return {_JSON: {"schema": {"$ref": "#/components/schemas/VendorProblem"}}}
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _plain() -> dict[str, Any]:
    return {_JSON: {"schema": {"type": "object"}}}
