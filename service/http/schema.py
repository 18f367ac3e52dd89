"""`GET /schema`: OpenAPI 3.1, and a page of our own that needs no network; Litestar's pages load scripts from a CDN."""

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.metadata import version
from typing import Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from service.anthropic.body import MessagesBody, TokensBody
from service.asked import Params
from service.auth.issuing import KeyWish
from service.headers import CACHE_MODES
from service.http.alerts import STATES
from service.http.filters import SCHEMAS
from service.http.hints import HintBody
from service.http.operations import OPERATIONS, Operation
from service.http.responses import PROBLEM, VENDOR_PROBLEM, errors_of, responses_of
from service.idempotency import MAX_KEY_CHARS
from service.native import GenerateBody
from service.openai_chat import ChatBody
from service.openai_embeddings import EmbeddingsBody
from service.responses.wire import ResponsesBody

_REF: Final = "#/components/schemas/{name}"
# What a parameter of a query must be like, where not any text will do.
_QUERIES: Final[dict[str, dict[str, Any]]] = {
    "format": {"enum": ["json", "csv"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
    "top": {"type": "integer", "minimum": 1, "maximum": 1000},
    "since": {"type": "string", "examples": ["2026-11-01", "24h"]},
    "until": {"type": "string", "examples": ["2026-11-21T09:00:00Z"]},
    "group_by": {"type": "string", "examples": ["model,day"]},
    "type": {"type": "string", "examples": ["ceiling.*", "ledger.drift,disk.low"]},
    "state": {"enum": list(STATES)},
    **SCHEMAS,
}
_REQUEST_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "x-farthing-workflow": {"type": "string"},
    "x-farthing-user": {"type": "string"},
    "x-farthing-run": {"type": "string"},
    "x-farthing-tags": {"type": "string", "examples": ["feature=search,tier=free"]},
    "x-farthing-cache": {"type": "string", "enum": list(CACHE_MODES)},
    "x-farthing-cache-ttl-s": {"type": "integer", "minimum": 0},
    "x-farthing-deadline-ms": {"type": "integer", "minimum": 1},
    "x-farthing-max-cost-usd": {"type": "string", "examples": ["0.05"]},
    "Idempotency-Key": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_KEY_CHARS,
        "pattern": "^[ -~]*$",
        "description": "The same key and request within 24 h: the first result again, and `idempotent-replayed: true`. "
        "Another request under it: 422. While the first is in progress: 409.",
    },
    "traceparent": {"type": "string"},
}
# On loopback no key is needed, unless the config says so.
_KEYS: Final[dict[str, dict[str, Any]]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of the service, `fk_…`."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
}
_WITH_A_KEY: Final[list[dict[str, list[str]]]] = [{}, {"bearer": []}, {"x-api-key": []}]
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Farthing: operations</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
pre{background:#8881;padding:.75rem;overflow:auto}code{font-family:ui-monospace,monospace}
:root{color-scheme:light dark}</style>
<h1>Farthing</h1><p>As a document: <a href="/schema?format=json">OpenAPI 3.1</a>.</p>"""


def schema_handlers() -> Sequence[HTTPRouteHandler]:
    """The document and its page, made once a process."""
    document, page = _made()

    @get("/schema")
    async def schema(request: Request[Any, Any, Any]) -> Response[bytes]:
        wants_page = "text/html" in request.headers.get("accept", "") and "format" not in request.query_params
        if wants_page:
            return Response(page, media_type="text/html", headers={"vary": "accept"})
        return Response(document, media_type="application/vnd.oai.openapi+json", headers={"vary": "accept"})

    return (schema,)


@cache
def _made() -> tuple[bytes, bytes]:
    return msgspec.json.encode(openapi_document()), schema_page().encode()


def openapi_document() -> dict[str, Any]:
    """All operations as one OpenAPI 3.1 object."""
    bodies = (
        GenerateBody,
        ChatBody,
        ResponsesBody,
        MessagesBody,
        TokensBody,
        EmbeddingsBody,
        Params,
        HintBody,
        KeyWish,
    )
    _, components = msgspec.json.schema_components(bodies, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation_object(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Farthing", "version": version("farthing"), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": PROBLEM, "VendorProblem": VENDOR_PROBLEM},
            "securitySchemes": _KEYS,
        },
    }


def schema_page() -> str:
    """The operations with their examples, for people."""
    return _PAGE + "".join(_section(operation) for operation in OPERATIONS) + "</html>"


def _operation_object(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method}{operation.path}".replace("/", "_").replace("{", "").replace("}", ""),
        "parameters": _parameters(operation),
        "responses": responses_of(operation),
        "security": [] if operation.role is None else _WITH_A_KEY,
    }
    if operation.body is not None:
        schema = {"$ref": _REF.format(name=operation.body.__name__)}
        body = {"application/json": {"schema": schema, "example": operation.body_example}}
        described["requestBody"] = {"required": True, "content": body}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "query", "schema": _QUERIES.get(name, {"type": "string"})} for name in operation.query
    ]
    if "{id}" in operation.path:
        found.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    if operation.streams:
        found += [{"name": name, "in": "header", "schema": schema} for name, schema in _REQUEST_HEADERS.items()]
    return found


def _section(operation: Operation) -> str:
    parts = [f"<h2><code>{operation.method.upper()} {escape(operation.path)}</code></h2><p>{escape(operation.summary)}"]
    for title, example in (("Request", operation.body_example), ("Answer", operation.example)):
        if example is not None:
            text = msgspec.json.format(msgspec.json.encode(example), indent=2).decode()
            parts.append(f"<h3>{title}</h3><pre>{escape(text)}</pre>")
    rows = "".join(f"<li>{status}: {escape(codes)}" for status, codes in sorted(errors_of(operation).items()))
    parts.append(f"<h3>Errors</h3><ul>{rows}</ul>")
    return "".join(parts)
