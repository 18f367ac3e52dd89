"""The native wire format: `POST /generate`, CONTRACT §4."""

from typing import Annotated, Any, Final

import msgspec

from ledger.money import format_usd
from router.answer import Choice, Delta, ToolCall
from router.call import CacheMode, Call
from router.reply import Finished, Reply
from service.asked import Asked, Message, Params
from service.errors import Problem, problem_body
from service.headers import MAX_SPAN, Wishes, amount, bounded_name, bounded_tags
from service.refusals import InvalidRequest
from service.sse import event
from service.strict_json import convert, decode_object, refuse_unknown

Span = Annotated[int, msgspec.Meta(ge=0, le=MAX_SPAN)]

# What `params` may not set: it has a place of its own in the body, or is ours to choose.
_NOT_PARAMS: Final = ("model", "messages", "prompt", "stream", "stream_options")


class CacheField(msgspec.Struct, forbid_unknown_fields=True):
    """The body's `cache` object."""

    mode: CacheMode | None = None
    ttl_s: Span | None = None


class GenerateBody(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a /generate body."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)] | None = None
    params: Params | None = None
    workflow: str | None = None
    user: str | None = None
    tags: dict[str, str] | None = None
    stream: bool | None = None
    cache: CacheField | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_SPAN)] | None = None
    max_cost_usd: str | None = None


class NativeWire:
    """`/generate`: typed fields in, one flat object out."""

    def read(self, raw: bytes) -> Asked:
        value = decode_object(raw)
        refuse_unknown(value, GenerateBody.__struct_fields__, "field")
        if isinstance(cache := value.get("cache"), dict):
            refuse_unknown(cache, CacheField.__struct_fields__, "field", within="cache.")
        body = convert(value, GenerateBody)
        if (body.prompt is None) == (body.messages is None):
            raise InvalidRequest("exactly one of prompt and messages must be given")
        messages = value["messages"] if body.prompt is None else [{"role": "user", "content": body.prompt}]
        return Asked(
            model=body.model,
            body={"messages": messages, **_params(body.params, value.get("params"))},
            stream=body.stream or False,
            wishes=_wishes(body),
        )

    def answer(self, call: Call, finished: Finished) -> bytes:
        return msgspec.json.encode(answer_object(finished))

    def events(self, call: Call, reply: Reply, asked: Asked) -> "NativeEvents":
        return NativeEvents()


class NativeEvents:
    """`delta` events, each whole `tool_call`, then `done` or `error`."""

    def delta(self, delta: Delta) -> bytes:
        text = delta.text or delta.refusal
        return event(b"delta", {"text": text}) if text else b""

    def closing(self, finished: Finished) -> bytes:
        done = answer_object(finished)
        del done["output"]
        calls = b"".join(event(b"tool_call", call) for call in done["tool_calls"])
        return calls + event(b"done", done)

    def failure(self, problem: Problem) -> bytes:
        return event(b"error", problem_body(problem))


def answer_object(finished: Finished) -> dict[str, Any]:
    """The object of CONTRACT §4. Counts are null where nobody knows them."""
    receipt = finished.receipt
    choice = finished.answer.choices[0] if finished.answer.choices else Choice(text="", finish_reason="")
    usage = receipt.usage
    return {
        "id": receipt.generation_id,
        "provider": receipt.provider,
        "model": receipt.model,
        "output": choice.text or choice.refusal,
        "finish_reason": choice.finish_reason,
        "tool_calls": [tool_object(tool) for tool in choice.tool_calls],
        "cache": receipt.cache,
        "cache_hit": receipt.cache == "hit",
        "latency_ms": receipt.latency_ms,
        "cost_usd": format_usd(receipt.cost_nanousd),
        "cost_nanousd": receipt.cost_nanousd,
        "saved_nanousd": receipt.saved_nanousd,
        "cost_basis": receipt.cost_basis,
        "prompt_tokens": None if usage is None else usage.prompt_tokens,
        "completion_tokens": None if usage is None else usage.completion_tokens,
        "cached_tokens": None if usage is None else usage.cache_read_tokens,
        "reasoning_tokens": None if usage is None else usage.reasoning_tokens,
        "estimated_prompt_tokens": receipt.estimated_prompt_tokens,
        "attempts": receipt.attempts,
        "telemetry": receipt.router,
        "dropped_params": receipt.dropped_params,
        **({"clamped": receipt.clamped} if receipt.clamped else {}),
        "trace_id": receipt.trace_id,
    }


def tool_object(tool: ToolCall) -> dict[str, Any]:
    """A tool call as chat completions write it. Only functions have a `function`; other types keep the same shape."""
    return {"id": tool.id, "type": tool.type, "function": {"name": tool.name, "arguments": tool.arguments}}


def _params(params: Params | None, given: dict[str, Any] | None) -> dict[str, Any]:
    if params is None or given is None:
        return {}
    for name in _NOT_PARAMS:
        if name in given:
            raise InvalidRequest("is not a parameter; it belongs beside params, if anywhere", where=f"params.{name}")
    if params.n is not None and params.n > 1:
        raise InvalidRequest("/generate gives one answer; /v1/chat/completions gives more", where="params.n")
    return given


def _wishes(body: GenerateBody) -> Wishes:
    cache = body.cache
    return Wishes(
        user=bounded_name("user", body.user or ""),
        workflow=bounded_name("workflow", body.workflow or ""),
        tags=bounded_tags("tags", body.tags or {}),
        cache_mode=cache.mode if cache is not None else None,
        cache_ttl_s=cache.ttl_s if cache is not None else None,
        deadline_ms=body.deadline_ms,
        max_cost_nanousd=None if body.max_cost_usd is None else amount("max_cost_usd", body.max_cost_usd),
    )
