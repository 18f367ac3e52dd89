"""A problem in the shape of Anthropic's API errors. Source: platform.claude.com/docs, "Errors"."""

from typing import Any, Final

from service.errors import Problem

# Anthropic's SDKs choose their exception by status; `type` is what their users branch on.
_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_CLIENTS: Final = "invalid_request_error"
_SERVERS: Final = "api_error"
_KNOWN: Final = frozenset({*_TYPES.values(), _CLIENTS, _SERVERS})


def error_body(problem: Problem) -> dict[str, Any]:
    """The object. A provider's own error keeps its message, and its type if that is one of these."""
    fields = dict(problem.fields)
    kind = _TYPES.get(problem.status, _SERVERS if problem.status >= 500 else _CLIENTS)
    error: dict[str, Any] = {**fields, "type": kind, "message": problem.detail, "code": problem.code}
    said = error.pop("provider_error", None)
    inner = said.get("error", said) if isinstance(said, dict) else None
    if isinstance(inner, dict):
        error["upstream_code"] = inner.get("code")
        error["message"] = inner.get("message") or problem.detail
        if inner.get("type") in _KNOWN:
            error["type"] = inner["type"]
    return {"type": "error", "error": error}
