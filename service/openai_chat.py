"""OpenAI's wire format for chat: `POST /v1/chat/completions`. Fields nobody here knows pass through both ways."""

from typing import Annotated, Any, Final

import msgspec

from ledger.money import format_usd
from ledger.usage import Usage
from router.answer import Answer, Choice, Delta, ToolCall, ToolCallDelta
from router.call import Call, EventFormat
from router.receipt import Receipt
from router.reply import Finished, Reply
from service.asked import Asked, Message, Params
from service.errors import Problem
from service.headers import NO_WISHES, Wishes
from service.numbering import Numbering
from service.sse import data
from service.strict_json import convert, decode_object

EVENT_FORMAT: Final[EventFormat] = "chat.completions"
_OURS: Final = ("model", "stream", "stream_options")
# OpenAI's SDKs choose their exception by status; `type` is for people and for older clients.
_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
# {type of a tool call: where its arguments are}
_ARGUMENTS: Final = {"custom": "input"}
_DONE: Final = b"data: [DONE]\n\n"


class StreamOptions(msgspec.Struct):
    """The part of `stream_options` that is ours to honour."""

    include_usage: bool | None = None


class ChatBody(Params, kw_only=True):
    """The fields that are read here. All others go through unread."""

    model: str
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class OpenAIChatWire:
    """Chat completions."""

    def read(self, raw: bytes) -> Asked:
        value = decode_object(raw)
        fields = convert(value, ChatBody)
        options = fields.stream_options
        for name in _OURS:
            value.pop(name, None)
        return Asked(
            model=fields.model,
            body=value,
            stream=fields.stream or False,
            wishes=Wishes(user=fields.user) if fields.user else NO_WISHES,
            include_usage=options is not None and options.include_usage is True,
            event_format=EVENT_FORMAT,
        )

    def answer(self, call: Call, finished: Finished) -> bytes:
        answer = finished.answer
        return msgspec.json.encode(
            {
                **(answer.extra or {}),
                "id": completion_id(call),
                "object": "chat.completion",
                "created": answer.created_at_s or call.received_at_ms // 1000,
                "model": answer.provider_model or finished.receipt.model,
                "choices": [_choice(choice) for choice in answer.choices],
                "usage": usage_object(finished),
            }
        )

    def events(self, call: Call, reply: Reply, asked: Asked) -> "OpenAIChatEvents":
        return OpenAIChatEvents(call, reply, include_usage=asked.include_usage)


class OpenAIChatEvents:
    """`chat.completion.chunk` objects, then `[DONE]`, or an error in place of both.

    A provider's own chunks go out as they came, with its names for answer and model; then the last one has them, too.
    """

    def __init__(self, call: Call, reply: Reply, *, include_usage: bool) -> None:
        self._reply = reply
        self._head: dict[str, Any] = {
            "id": completion_id(call),
            "object": "chat.completion.chunk",
            "created": call.received_at_ms // 1000,
        }
        self._include_usage = include_usage
        self._begun: set[int] = set()
        self._numbering = Numbering()
        self._passes = False

    def delta(self, delta: Delta) -> bytes:
        if delta.raw is not None and self._reply.event_format == EVENT_FORMAT:
            self._passes = True
            return delta.raw
        if delta.says_nothing:
            # That a block ended, or an item began: chat completions have neither.
            return b""
        said = self._said(delta)
        if not self._begun:
            # Only now is it settled who answers.
            self._head["model"] = self._reply.deployment_id.partition(":")[2]
        if delta.choice not in self._begun:
            self._begun.add(delta.choice)
            said = {"role": "assistant", "content": None if delta.tool_calls else "", **said}
        choice = {
            "index": delta.choice,
            "delta": said,
            "logprobs": delta.logprobs,
            "finish_reason": delta.finish_reason,
        }
        if delta.beside:
            choice |= _taken(said, delta.beside)
        if self._include_usage:
            return data({**self._head, "choices": (choice,), "usage": None})
        return data({**self._head, "choices": (choice,)})

    def closing(self, finished: Finished) -> bytes:
        if not self._include_usage:
            return _DONE
        extra = finished.answer.extra or {}
        head = self._providers_head(finished.answer) if self._passes else self._head
        return data({**extra, **head, "choices": (), "usage": usage_object(finished)}) + _DONE

    def failure(self, problem: Problem) -> bytes:
        return data(error_body(problem))

    def _said(self, delta: Delta) -> dict[str, Any]:
        said = self._numbering.numbered(delta) if delta.extra else {}
        if delta.text:
            said["content"] = delta.text
        if delta.reasoning:
            said["reasoning_content"] = delta.reasoning
        if delta.refusal:
            said["refusal"] = delta.refusal
        if delta.tool_calls:
            said["tool_calls"] = [_tool_piece(piece) for piece in delta.tool_calls]
        return said

    def _providers_head(self, answer: Answer) -> dict[str, Any]:
        named = {
            "id": answer.provider_response_id,
            "created": answer.created_at_s,
            "model": answer.provider_model or self._reply.deployment_id.partition(":")[2],
        }
        return {**self._head, **{name: value for name, value in named.items() if value}}


def completion_id(call: Call) -> str:
    """The vendor's kind of id for this generation; the same digits, so that one leads to the other."""
    return "chatcmpl-" + call.generation_id.removeprefix("gen_")


def usage_object(finished: Finished) -> dict[str, Any]:
    """OpenAI's usage, with what it cost. Counts are null where nobody knows them."""
    usage, cost = finished.receipt.usage, cost_object(finished.receipt)
    beside = _beside_usage(finished.answer)
    if usage is None:
        return {**beside, "prompt_tokens": None, "completion_tokens": None, "total_tokens": None, **cost}
    return {
        **beside,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {**beside.get("prompt_tokens_details", {}), **prompt_details(usage)},
        "completion_tokens_details": {**beside.get("completion_tokens_details", {}), **completion_details(usage)},
        **cost,
    }


def _beside_usage(answer: Answer) -> dict[str, Any]:
    """What a provider of this format said in its usage beside the counts that all say."""
    said = (answer.extra or {}).get("usage") if answer.format == EVENT_FORMAT else None
    return said if isinstance(said, dict) else {}


def prompt_details(usage: Usage) -> dict[str, int]:
    """Parts of what was read, as OpenAI names them; they overlap. Audio and images are named only where there are any.

    OpenAI counts cached audio among its audio too; of images, those that were cached are not known.
    """
    further = {
        "cache_write_tokens": usage.cache_written_tokens,
        "audio_tokens": usage.input_audio_tokens + usage.cached_audio_tokens,
        "image_tokens": usage.input_image_tokens,
    }
    return {"cached_tokens": usage.cache_read_tokens, **_present(further)}


def completion_details(usage: Usage) -> dict[str, int]:
    """Parts of what was written, as OpenAI names them."""
    further = {"audio_tokens": usage.output_audio_tokens, "image_tokens": usage.output_image_tokens}
    return {"reasoning_tokens": usage.reasoning_tokens, **_present(further)}


def _present(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def cost_object(receipt: Receipt) -> dict[str, Any]:
    """What a call cost, as `usage` says it."""
    return {
        "cost_usd": format_usd(receipt.cost_nanousd),
        "cost_nanousd": receipt.cost_nanousd,
        "cost_basis": receipt.cost_basis,
    }


def error_body(problem: Problem) -> dict[str, Any]:
    """A problem in OpenAI's shape. A provider's own error keeps its message, type and param; its code moves aside."""
    fields = dict(problem.fields)
    error: dict[str, Any] = {
        "message": problem.detail,
        "type": _ERROR_TYPES.get(problem.status, "server_error" if problem.status >= 500 else "invalid_request_error"),
        "param": fields.pop("param", None),
        "code": problem.code,
    }
    provider_error = fields.pop("provider_error", None)
    if isinstance(provider_error, dict):
        inner = provider_error.get("error", provider_error)
        if isinstance(inner, dict):
            error |= {name: value for name, value in inner.items() if name != "code"}
            error["upstream_code"] = inner.get("code")
    return {"error": {**fields, **error}}


def _choice(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        **(choice.extra or {}),
        "role": "assistant",
        "content": choice.text,
        "refusal": choice.refusal or None,
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [_tool(tool) for tool in choice.tool_calls]
    return {
        **_taken(message, choice.beside),
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason,
    }


def _taken(message: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """What the choice says beside the message, taken out of it."""
    return {name: message.pop(name) for name in names if name in message}


def _tool(tool: ToolCall) -> dict[str, Any]:
    called = {"name": tool.name, _ARGUMENTS.get(tool.type, "arguments"): tool.arguments}
    return {**_beside(tool), "id": tool.id, "type": tool.type, tool.type: called}


def _tool_piece(piece: ToolCallDelta) -> dict[str, Any]:
    said = {_ARGUMENTS.get(piece.type, "arguments"): piece.arguments}
    if not piece.id and not piece.name:
        return {**_beside(piece), "index": piece.index, piece.type: said}
    return {
        **_beside(piece),
        "index": piece.index,
        "id": piece.id,
        "type": piece.type,
        piece.type: {"name": piece.name, **said},
    }


def _beside(tool: ToolCall | ToolCallDelta) -> dict[str, Any]:
    """What a provider of this format said of a call beside what all say: what Google signed it with, say."""
    return tool.extra or {} if tool.format == EVENT_FORMAT else {}
