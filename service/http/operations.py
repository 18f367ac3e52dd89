"""Every operation of the service as its documentation shows it. A test asks for each one, so a drift is a failure."""

from typing import Any, Final

import msgspec

from ledger.apikeys import Role
from ledger.reports import LATENCY_DIMENSIONS, SPEND_DIMENSIONS
from service.anthropic.body import MessagesBody, TokensBody
from service.auth.issuing import KeyWish
from service.http.hints import HintBody
from service.http.report_examples import SPENT, TOOK
from service.native import GenerateBody
from service.openai_chat import ChatBody
from service.openai_embeddings import EmbeddingsBody
from service.responses.wire import ResponsesBody

GENERATE: Final[dict[str, Any]] = {
    "model": "chat",
    "prompt": "Name the smallest coin there was.",
    "params": {"max_tokens": 40, "temperature": 0},
    "workflow": "summarise",
    "user": "u1",
    "tags": {"feature": "search"},
    "stream": False,
    "cache": {"mode": "use", "ttl_s": 300},
    "deadline_ms": 60000,
    "max_cost_usd": "0.05",
}
GENERATED: Final[dict[str, Any]] = {
    "id": "gen_06cq2f1q0c8m3n4p5r6s7t8u9v",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "output": "The half farthing, in Britain.",
    "finish_reason": "stop",
    "tool_calls": [],
    "cache": "miss",
    "cache_hit": False,
    "latency_ms": 812.4,
    "cost_usd": "0.000007950",
    "cost_nanousd": 7950,
    "saved_nanousd": 0,
    "cost_basis": "priced_usage",
    "prompt_tokens": 21,
    "completion_tokens": 8,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "estimated_prompt_tokens": 21,
    "attempts": [
        {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "outcome": "ok",
            "status": 200,
            "latency_ms": 809.9,
            "ttft_ms": None,
            "cost_nanousd": 7950,
            "hedge": False,
            "error": None,
        }
    ],
    "telemetry": {
        "circuit_breaker_status": "closed",
        "circuit_breaker_open_count": 0,
        "router_pacing_delay": False,
        "reasoning_effort": None,
        "reasoning_summary_requested": False,
        "thinking_budget": None,
        "include_thoughts": None,
        "reasoning_hint_dropped": False,
        "thinking_hint_dropped": False,
    },
    "dropped_params": [],
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
}
CHAT: Final[dict[str, Any]] = {
    "model": "chat",
    "messages": [{"role": "user", "content": "Name the smallest coin there was."}],
    "max_tokens": 40,
}
COMPLETED: Final[dict[str, Any]] = {
    "id": "chatcmpl-06cq2f1q0c8m3n4p5r6s7t8u9v",
    "object": "chat.completion",
    "created": 1795240000,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The half farthing, in Britain.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 21,
        "completion_tokens": 8,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cost_usd": "0.000007950",
        "cost_nanousd": 7950,
        "cost_basis": "priced_usage",
    },
}
MESSAGE: Final[dict[str, Any]] = {
    "model": "chat",
    "max_tokens": 40,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Name the smallest coin there was."}],
}
MESSAGED: Final[dict[str, Any]] = {
    "id": "msg_06cq2f1q0c8m3n4p5r6s7t8u9v",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "The half farthing, in Britain."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 21,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"thinking_tokens": 0},
        "cost_usd": "0.000007950",
        "cost_nanousd": 7950,
        "cost_basis": "priced_usage",
    },
}
RESPOND: Final[dict[str, Any]] = {
    "model": "chat",
    "input": "Name the smallest coin there was.",
    "instructions": "Be brief.",
    "max_output_tokens": 40,
}
RESPONDED: Final[dict[str, Any]] = {
    "id": "resp_06cq2f1q0c8m3n4p5r6s7t8u9v",
    "object": "response",
    "created_at": 1795240000,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "background": False,
    "instructions": "Be brief.",
    "max_output_tokens": 40,
    "max_tool_calls": None,
    "metadata": {},
    "model": "gpt-4o-mini",
    "output": [
        {
            "id": "msg_06cq2f1q0c8m3n4p5r6s7t8u9v_0",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {
                    "type": "output_text",
                    "text": "The half farthing, in Britain.",
                    "annotations": [],
                    "logprobs": [],
                }
            ],
        }
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
    "usage": {
        "input_tokens": 21,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 29,
        "cost_usd": "0.000007950",
        "cost_nanousd": 7950,
        "cost_basis": "priced_usage",
    },
}
EMBED: Final[dict[str, Any]] = {"model": "openai:text-embedding-3-small", "input": ["a farthing", "a penny"]}
EMBEDDED: Final[dict[str, Any]] = {
    "object": "list",
    "data": [
        {"object": "embedding", "index": 0, "embedding": [0.0023064255, -0.009327292]},
        {"object": "embedding", "index": 1, "embedding": [0.0119476, 0.00087931944]},
    ],
    "model": "text-embedding-3-small",
    "usage": {
        "prompt_tokens": 6,
        "total_tokens": 6,
        "cost_usd": "0.000000120",
        "cost_nanousd": 120,
        "cost_basis": "priced_usage",
    },
}
MODEL: Final[dict[str, Any]] = {
    "id": "chat",
    "object": "model",
    "created": 1795240000,
    "owned_by": "farthing",
    "context_window": 128000,
    "max_output_tokens": 16384,
    "supports": ["json_schema", "temperature", "tools", "vision"],
    "pricing": None,
    "strategy": "ordered",
    "deployments": ["openai:gpt-4o-mini", "local:smollm2"],
}
CEILING: Final[dict[str, Any]] = {
    "scope": "user:u1",
    "window": "day",
    "limit_usd": "5.000000000",
    "limit_nanousd": 5000000000,
    "spent_usd": "1.250000000",
    "spent_nanousd": 1250000000,
    "held_usd": "0.000000000",
    "held_nanousd": 0,
    "asked_usd": "0.000041550",
    "asked_nanousd": 41550,
    "window_ends_at": "2026-11-22T00:00:00.000Z",
    "unit": "usd",
    "room_usd": "3.750000000",
    "room_nanousd": 3750000000,
    "fits": True,
}
_ESTIMATED_AMOUNTS: Final[dict[str, Any]] = {
    "held_usd": "0.000041550",
    "min_usd": "0.000003150",
    "likely_usd": "0.000027150",
    "max_usd": "0.000041550",
    "held_nanousd": 41550,
    "min_nanousd": 3150,
    "likely_nanousd": 27150,
    "max_nanousd": 41550,
}
ESTIMATED: Final[dict[str, Any]] = {
    "route": "chat",
    "admission": "lead",
    "admitted": True,
    "cache": "miss",
    "deployment": "openai:gpt-4o-mini",
    **_ESTIMATED_AMOUNTS,
    "estimated_prompt_tokens": 21,
    "binding_ceiling": CEILING,
    "clamped": {},
    "refusal": None,
    "deployments": [
        {
            "deployment": "openai:gpt-4o-mini",
            "provider": "openai",
            "model": "gpt-4o-mini",
            "skipped": None,
            "returns_in_s": None,
            **_ESTIMATED_AMOUNTS,
            "estimated_prompt_tokens": 21,
            "likely_completion_tokens": 40,
            "likely_basis": "assumed",
            "max_completion_tokens": 40,
            "price_version": "genai-prices 0.2.3 openai/gpt-4o-mini",
            "dropped_params": [],
            "binding_ceiling": CEILING,
        }
    ],
}

KEY_WISH: Final[dict[str, Any]] = {
    "name": "batch jobs",
    "team": "research",
    "role": "caller",
    "ceilings": ["50/month", "5/day"],
    "routes": ["chat"],
    "expires": "90d",
}
KEY: Final[dict[str, Any]] = {
    "id": "06cq2f1q0c8m",
    "name": "batch jobs",
    "team": "research",
    "role": "caller",
    "routes": ["chat"],
    "ceilings": [
        {
            "scope": "key:06cq2f1q0c8m",
            "window": "month",
            "limit_usd": "50.000000000",
            "limit_nanousd": 50_000_000_000,
        }
    ],
    "state": "in force",
    "created_at": "2026-11-21T14:00:00Z",
    "expires_at": "2027-02-19T14:00:00Z",
    "revoked_at": None,
}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. example: of its answer; errors: {status: what for}, beside those that are everywhere.

    path_example: the path with something that is there. other_media_types: the answer comes in these too, if asked for.
    varying: names of fields whose type is as the request asks. passes_rejections: a provider's 4xx passes through it.
    role: the least that a caller's key has to have; None: it asks for no key. has_plain_errors: its own errors are no
    problems, but answers with another status.
    """

    method: str
    path: str
    role: Role | None
    summary: str
    example: Any = None
    body: type[msgspec.Struct] | None = None
    body_example: Any = None
    query: tuple[str, ...] = ()
    streams: bool = False
    media_type: str = "application/json"
    kind: str = "string"
    other_media_types: tuple[str, ...] = ()
    path_example: str = ""
    errors: dict[int, str] = {}
    varying: tuple[str, ...] = ()
    passes_rejections: bool = False
    has_plain_errors: bool = False


_GENERATION_ERRORS: Final = {
    400: "invalid_request",
    401: "unauthenticated",
    402: "ceiling_exceeded, unpriced_model, max_cost_exceeded, unbounded_cost",
    403: "forbidden",
    404: "unknown_model, not_cached",
    408: "body_timeout",
    409: "idempotency_in_progress, idempotency_result_not_kept",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "idempotency_mismatch",
    429: "ceiling_held, rate_limited",
    500: "internal_error",
    502: "upstream_failed",
    503: "no_deployment_available, overloaded, ledger_unavailable",
    504: "deadline_exceeded",
}
_WINDOW: Final = ("since", "until", "group_by", "format")

OPERATIONS: Final = (
    Operation(
        method="post",
        role="caller",
        path="/generate",
        summary="A prompt in, an answer and its account out",
        example=GENERATED,
        body=GenerateBody,
        body_example=GENERATE,
        streams=True,
        errors=_GENERATION_ERRORS,
        passes_rejections=True,
    ),
    Operation(
        method="post",
        role="caller",
        path="/v1/chat/completions",
        summary="The same in OpenAI's wire format; fields not listed here pass through to the provider",
        example=COMPLETED,
        body=ChatBody,
        body_example=CHAT,
        streams=True,
        errors=_GENERATION_ERRORS,
        passes_rejections=True,
    ),
    Operation(
        method="post",
        role="caller",
        path="/v1/messages",
        summary="The same in Anthropic's wire format; fields not listed here pass through to Anthropic's deployments",
        example=MESSAGED,
        body=MessagesBody,
        body_example=MESSAGE,
        streams=True,
        errors=_GENERATION_ERRORS,
        passes_rejections=True,
    ),
    Operation(
        method="post",
        role="caller",
        path="/v1/responses",
        summary="OpenAI's responses, whoever answers; sent as they came to providers that speak them",
        example=RESPONDED,
        body=ResponsesBody,
        body_example=RESPOND,
        streams=True,
        errors=_GENERATION_ERRORS,
        passes_rejections=True,
    ),
    Operation(
        method="post",
        role="caller",
        path="/v1/messages/count_tokens",
        summary="About how many tokens such a message has, as its route's first deployment counts; calls nobody",
        example={"input_tokens": 21},
        body=TokensBody,
        body_example={name: MESSAGE[name] for name in ("model", "system", "messages")},
        errors={404: "unknown_model"},
    ),
    Operation(
        method="post",
        role="caller",
        path="/v1/embeddings",
        summary="Texts in, vectors out, in OpenAI's wire format",
        example=EMBEDDED,
        body=EmbeddingsBody,
        body_example=EMBED,
        varying=("embedding",),
        errors=_GENERATION_ERRORS,
        passes_rejections=True,
    ),
    Operation(
        method="post",
        role="caller",
        path="/estimate",
        summary="What a /generate body would hold and cost, which ceiling would bind, and whether it would be let"
        " through now; calls nobody",
        example=ESTIMATED,
        body=GenerateBody,
        body_example=GENERATE,
        errors={status: _GENERATION_ERRORS[status] for status in (402, 404, 503)},
    ),
    Operation(
        method="get",
        role="caller",
        path="/v1/models",
        summary="What can be named as `model`: routes, then their deployments, with windows and prices; in Anthropic's"
        " shape for who sends `anthropic-version`",
        example={"object": "list", "data": [MODEL]},
    ),
    Operation(
        method="get",
        role="caller",
        path="/v1/models/{id}",
        path_example="/v1/models/chat",
        summary="One of them",
        example=MODEL,
        errors={404: "unknown_model"},
    ),
    Operation(
        method="get",
        role="reader",
        path="/ledger/spend",
        path_example="/ledger/spend?group_by=model",
        summary="What was spent, on what, by whom",
        example=SPENT,
        varying=("rows",),
        query=(*_WINDOW, *SPEND_DIMENSIONS),
        other_media_types=("text/csv",),
    ),
    Operation(
        method="get",
        role="reader",
        path="/ledger/latency",
        path_example="/ledger/latency?group_by=model",
        summary="How long it took, in quantiles",
        example=TOOK,
        varying=("rows",),
        query=(*_WINDOW, *LATENCY_DIMENSIONS),
        other_media_types=("text/csv",),
    ),
    Operation(
        method="get",
        role="reader",
        path="/ledger/generations",
        summary="Calls, newest first; `next` goes on as `before`; filters as of the spend report",
        query=("since", "until", "limit", "before", *SPEND_DIMENSIONS),
    ),
    Operation(
        method="get",
        role="reader",
        path="/ledger/generations/{id}",
        summary="Every attempt, hold and posting of one call, its arithmetic from tokens to dollars",
        errors={404: "not_found"},
    ),
    Operation(
        method="get", path="/ledger/ceilings", role="reader", summary="Limit, spent, held and room of every ceiling"
    ),
    Operation(method="get", path="/router/status", role="reader", summary="How every deployment is doing"),
    Operation(
        method="get",
        role="admin",
        path="/router/hints",
        summary="What was learned of deployments from their answers and errors",
        query=("provider",),
    ),
    Operation(
        method="post",
        role="admin",
        path="/router/hints",
        summary="Block or allow a deployment by hand, prefer one of its endpoints, or forget what was learned of it",
        body=HintBody,
        body_example={"deployment": "openai:gpt-4o", "action": "block", "reason": "too dear this month"},
        errors={404: "unknown_model", 503: "ledger_unavailable"},
    ),
    Operation(
        method="delete",
        role="admin",
        path="/router/hints/{id}",
        path_example="/router/hints/openai:gpt-4o",
        summary="Forget what was learned of a deployment, an operator's word too",
        errors={404: "unknown_model", 503: "ledger_unavailable"},
    ),
    Operation(
        method="post",
        role="admin",
        path="/keys",
        summary="Make a key; its secret is shown here, once, and kept nowhere",
        example={**KEY, "secret": "fk_06cq2f1q0c8m_…"},
        body=KeyWish,
        body_example=KEY_WISH,
        errors={400: "invalid_request", 404: "unknown_model", 409: "pepper_differs", 503: "ledger_unavailable"},
    ),
    Operation(method="get", path="/keys", role="admin", summary="Every key there ever was", example={"keys": [KEY]}),
    Operation(
        method="delete",
        role="admin",
        path="/keys/{id}",
        summary="Revoke a key: once this answers, no process takes it any more",
        errors={404: "not_found", 503: "ledger_unavailable"},
    ),
    Operation(
        method="get",
        role="reader",
        path="/metrics",
        summary="Metrics in Prometheus' text form",
        media_type="text/plain",
    ),
    Operation(method="get", path="/health/live", role=None, summary="The process answers", example={"status": "live"}),
    Operation(
        method="get",
        role=None,
        path="/health/ready",
        summary="New work is welcome",
        example={"status": "ready"},
        errors={503: "draining or not ready"},
        has_plain_errors=True,
    ),
    Operation(
        method="get",
        path="/schema",
        summary="This document; as a page for browsers",
        media_type="application/vnd.oai.openapi+json",
        kind="object",
        other_media_types=("text/html",),
        role=None,
    ),
)
