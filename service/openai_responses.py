"""OpenAI's wire format for responses: `POST /v1/responses`, whole or as a stream of its events."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from router.answer import Choice, Delta
from router.call import Call
from router.providers.openai_responses import fields_of
from router.reply import Finished, Reply
from router.responses import response_id
from service.asked import Asked, Count
from service.errors import Problem
from service.headers import NO_WISHES, Wishes
from service.openai_chat import cost_object, error_body
from service.responses_body import chat_body
from service.responses_items import ItemWriter, is_complete, items_of, whole_item_events
from service.sse import event
from service.strict_json import convert, decode_object

Fields = dict[str, Any]

_OURS: Final = ("model", "stream", "stream_options")
_REASONS: Final = {"length": "max_output_tokens"}
_NO_CHOICE: Final = Choice(text="", finish_reason="")
# What a response says of its request where that left it open.
_DEFAULTS: Final[Fields] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
_ECHOED: Final = (*_DEFAULTS, "safety_identifier", "prompt_cache_key", "prompt_cache_retention")


class ResponsesBody(msgspec.Struct, kw_only=True):
    """The fields that are read here. All others go through unread."""

    model: str | None = None
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    reasoning: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    include: list[str] | None = None
    max_output_tokens: Count | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    store: bool | None = None
    background: bool | None = None
    user: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class OpenAIResponsesWire:
    """Responses."""

    def read(self, raw: bytes) -> Asked:
        value = decode_object(raw)
        fields = convert(value, ResponsesBody)
        for name in _OURS:
            value.pop(name, None)
        return Asked(
            model=fields.model,
            body=chat_body(value),
            stream=fields.stream or False,
            wishes=Wishes(user=fields.user) if fields.user else NO_WISHES,
        )

    def answer(self, call: Call, finished: Finished) -> bytes:
        choice = _choice_of(finished)
        name = _id_of(call, finished)
        return msgspec.json.encode(_ended(call, name, finished, items_of(choice, digits(call))))

    def events(self, call: Call, reply: Reply, asked: Asked) -> "OpenAIResponsesEvents":
        return OpenAIResponsesEvents(call, reply)


class OpenAIResponsesEvents:
    """The published events, numbered. A provider's own go on as they came; other answers are told in their like.

    A stored answer comes at once, and its items are told at its end.
    """

    def __init__(self, call: Call, reply: Reply) -> None:
        self._call = call
        self._reply = reply
        self._name = ""
        self._number = 0
        self._writer = ItemWriter(digits(call))
        self._items: tuple[Fields, ...] = ()
        # Of the provider's own events: {place: its item, once whole}
        self._passed: dict[int, Fields] = {}

    def delta(self, delta: Delta) -> bytes:
        if delta.event is not None:
            return self._pass(delta.event)
        if delta.items or self._passed:
            self._items = delta.items
            return b""
        return self._begin("") + self._written(self._writer.add(delta))

    def closing(self, finished: Finished) -> bytes:
        items = list(self._items) or [item for _, item in sorted(self._passed.items())]
        if items or self._passed:
            written = self._begin(_kept_id(self._call, finished))
            for index, item in enumerate(items):
                if index not in self._passed:
                    written += self._written(whole_item_events(item, index))
        else:
            end = self._writer.end(is_whole=is_complete(_choice_of(finished).finish_reason))
            written = self._begin("") + self._written(end)
            items = self._writer.items
        response = _ended(self._call, self._name, finished, items)
        return written + self._write({"type": f"response.{response['status']}", "response": response})

    def failure(self, problem: Problem) -> bytes:
        error = error_body(problem)["error"]
        told = {name: error.get(name) for name in ("code", "message", "param")}
        begun = self._begin("")
        failed = _response(self._call, self._name, "failed", model=self._model, output=self._writer.items)
        failed["error"] = {"code": problem.code, "message": problem.detail}
        # `error` within is what SDKs raise; without it they would go on.
        return (
            begun
            + self._write({"type": "error", **told, "error": error})
            + self._write({"type": "response.failed", "response": failed})
        )

    @property
    def _model(self) -> str:
        return self._reply.deployment_id.partition(":")[2]

    def _begin(self, provider_response_id: str) -> bytes:
        """The first two events, if they are not out yet: only now is it settled who answers."""
        if self._name:
            return b""
        self._name = response_id(self._call.generation_id, self._reply.deployment_id, provider_response_id)
        begun = _response(self._call, self._name, "in_progress", model=self._model, output=[])
        return self._write({"type": "response.created", "response": begun}) + self._write(
            {"type": "response.in_progress", "response": begun}
        )

    def _pass(self, said: Fields) -> bytes:
        """An event of the provider's own, under a number of ours. It begins with its name for the response."""
        response = said.get("response")
        if isinstance(response, dict):
            provider_id = response.get("id")
            return self._begin(provider_id if isinstance(provider_id, str) and _keeps(self._call) else "")
        index, item = said.get("output_index"), said.get("item")
        if type(index) is int and isinstance(item, dict):
            self._passed[index] = item
        return self._begin("") + self._write(said)

    def _written(self, events: Iterable[Fields]) -> bytes:
        return b"".join(map(self._write, events))

    def _write(self, said: Fields) -> bytes:
        numbered = {**said, "sequence_number": self._number}
        self._number += 1
        return event(said["type"].encode(), numbered)


def digits(call: Call) -> str:
    """What the ids of this call's response and items have in common with its own."""
    return call.generation_id.removeprefix("gen_")


def usage_object(finished: Finished) -> Fields:
    """The usage of a response, with what it cost. Counts are null where nobody knows them."""
    usage, cost = finished.receipt.usage, cost_object(finished.receipt)
    if usage is None:
        return {"input_tokens": None, "output_tokens": None, "total_tokens": None, **cost}
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        **cost,
    }


def _choice_of(finished: Finished) -> Choice:
    return finished.answer.choices[0] if finished.answer.choices else _NO_CHOICE


def _keeps(call: Call) -> bool:
    """Whether a provider that speaks of responses keeps this one."""
    return call.body.get("store") is not False


def _kept_id(call: Call, finished: Finished) -> str:
    """What the provider calls the response, if it keeps it. Empty: it does not."""
    is_response = bool(_choice_of(finished).items)
    return finished.answer.provider_response_id if is_response and _keeps(call) else ""


def _id_of(call: Call, finished: Finished) -> str:
    receipt = finished.receipt
    return response_id(call.generation_id, f"{receipt.provider}:{receipt.model}", _kept_id(call, finished))


def _ended(call: Call, name: str, finished: Finished, output: list[Fields]) -> Fields:
    """The response of a whole answer."""
    answer, reason = finished.answer, _choice_of(finished).finish_reason
    is_whole = is_complete(reason)
    response = _response(
        call,
        name,
        "completed" if is_whole else "incomplete",
        model=answer.provider_model or finished.receipt.model,
        output=output,
    )
    if not is_whole:
        response["incomplete_details"] = {"reason": _REASONS.get(reason, reason)}
    return {**response, **(answer.extra or {}), "usage": usage_object(finished)}


def _response(call: Call, name: str, status: str, *, model: str, output: list[Fields]) -> Fields:
    """The response as such, with what was asked for."""
    asked = fields_of(call.body)
    return {
        **_DEFAULTS,
        **{field: asked[field] for field in _ECHOED if field in asked},
        "id": name,
        "object": "response",
        "created_at": call.received_at_ms // 1000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": output,
        "store": _keeps(call) and bool(name.partition("_")[2].partition("_")[2]),
        "usage": None,
    }
