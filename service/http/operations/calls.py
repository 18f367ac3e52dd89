"""What callers ask for: generations, estimates, and the names they may call."""

from typing import Final

from service.anthropic.body import MessagesBody, TokensBody
from service.http.operations.call_examples import (
    CHAT,
    COMPLETED,
    EMBED,
    EMBEDDED,
    ESTIMATED,
    GENERATE,
    GENERATED,
    MESSAGE,
    MESSAGED,
    MODEL,
    RESPOND,
    RESPONDED,
)
from service.http.operations.operation import Operation
from service.native import GenerateBody
from service.openai_chat import ChatBody
from service.openai_embeddings import EmbeddingsBody
from service.responses.wire import ResponsesBody

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

CALLS: Final = (
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
        summary="How many tokens such a message has for its route's first deployment: as its provider counts, where"
        " that is free, else about; `x-farthing-count` says which",
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
)
