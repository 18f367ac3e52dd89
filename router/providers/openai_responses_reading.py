"""Reads the answers of OpenAI's `/responses`, whole or in events, as one choice of a chat completion.

Events and items of types that nobody here knows are passed over, unless the caller knows them: then events and items
are handed on beside what they mean. The last event of a stream holds the whole response: of that, only what no earlier
event said is told.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.answer import Closing, Delta, ToolCallDelta
from router.deployments import Provider
from router.faults import Fault, Outcome
from router.providers.client import decode_object, without_key
from router.providers.openai_passing import ResponseEventsToPass
from router.providers.reading import NAME_CHARS, BodyReading, EventsReading, WholeBody, usage_from
from router.providers.sse import EventParser, SseEvent

BETWEEN_THOUGHTS: Final = "\n\n"
MAX_TOOL_CALLS: Final = 1024
# {type of an item: (the type of its call, the field of its arguments)}
_TOOL_ITEMS: Final = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
_TEXT_EVENTS: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
}
_ARGUMENT_EVENTS: Final = {
    "response.function_call_arguments.delta": "function",
    "response.custom_tool_call_input.delta": "custom",
}
_LAST_EVENTS: Final = frozenset(f"response.{end}" for end in ("completed", "incomplete", "failed", "cancelled"))
_EVENT_NAME: Final = re.compile(r"response\.[a-z0-9_.]{1,100}")
# What a response says again of its request, and what is told by other means.
_RESPONSE_FIELDS: Final = frozenset(
    {"id", "object", "created_at", "status", "error", "incomplete_details", "model", "output", "usage", "service_tier"}
    | {"instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "temperature", "top_p"}
    | {"previous_response_id", "prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier", "store"}
    | {"text", "tool_choice", "tools", "top_logprobs", "truncation", "user", "background"}
)
_ENDINGS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}


class _Tool(msgspec.Struct):
    """One tool call, and what of it has been told."""

    index: int
    type: str
    is_named: bool = False
    has_arguments: bool = False


class _Response(BodyReading):
    """What one response has said so far. keeps_items: its items and events are told as they are, too."""

    FORMAT = "responses"

    def __init__(self, provider: Provider, status: int, *, keeps_items: bool = False) -> None:
        super().__init__(provider, status)
        self._keeps_items = keeps_items
        self._told: set[str] = set()
        self._tools: list[_Tool] = []
        # Under each name that an item goes by: its place, its id, the call's id. Some servers leave names out.
        self._tools_by_name: dict[str | int, _Tool] = {}
        self._thought: tuple[Any, ...] | None = None

    def end(self, response: dict[str, Any], *, ended_as: str = "completed") -> Delta:
        """The end of a response, and what of its output was not told yet. Raises Fault if it did not end well.

        ended_as: its status, where it does not say.
        """
        self.note_response(response)
        status = self.text(response, "status") or ended_as
        if response.get("error") or status == "failed":
            raise self.error_in({"error": response.get("error") or "the response failed"})
        if status not in {"completed", "incomplete"}:
            raise self.bad("the response did not come to an end")
        output = self.objects(response.get("output"), "output")
        if self._keeps_items:
            unknown = response.keys() - _RESPONSE_FIELDS
            self.extra |= {name: response[name] for name in unknown if response[name] is not None}
        untold: dict[str, Any] = {name: said for name, said in self._said(output).items() if name not in self._told}
        pieces = (self._tool_item(item) for item in output)
        return Delta(
            **untold,
            tool_calls=tuple(piece for piece in pieces if piece is not None),
            finish_reason=self._finish_reason(response, status),
            items=tuple(output) if self._keeps_items else (),
        )

    def note_response(self, response: dict[str, Any]) -> None:
        """Its names, its usage and the tier it was served in."""
        self.note(response, created=response.get("created_at"))
        if response.get("usage") is not None:
            self.usage = usage_from(response["usage"], prompt="input_tokens", completion="output_tokens")
        if isinstance(tier := response.get("service_tier"), str):
            self.extra["service_tier"] = tier[:NAME_CHARS]

    def piece(self, event: dict[str, Any], field: str) -> Delta | None:
        """A piece of text, refusal or reasoning. None: it is empty."""
        said = self.text(event, "delta")
        if not said:
            return None
        if field == "reasoning":
            item = event.get("item_id") if event.get("output_index") is None else event["output_index"]
            thought = (item, event.get("summary_index"), event.get("content_index"))
            if self._thought is not None and self._thought != thought:
                said = BETWEEN_THOUGHTS + said
            self._thought = thought
        self._told |= {"text", "logprobs"} if field == "text" else {field}
        if field == "text":
            return Delta(text=said, logprobs=_logprobs(_list(event, "logprobs")))
        return Delta(refusal=said) if field == "refusal" else Delta(reasoning=said)

    def arguments(self, event: dict[str, Any], kind: str) -> Delta | None:
        """A piece of a tool call's arguments."""
        said = self.text(event, "delta")
        tool = self._tool(kind, event.get("output_index"), event.get("item_id"))
        if not said:
            return None
        tool.has_arguments = True
        return Delta(tool_calls=(ToolCallDelta(index=tool.index, arguments=said, type=kind),))

    def item(self, event: dict[str, Any]) -> Delta | None:
        """An item that began or ended: only of tool calls does that say more than its other events."""
        item = event.get("item")
        piece = self._tool_item(item, event.get("output_index")) if isinstance(item, dict) else None
        return None if piece is None else Delta(tool_calls=(piece,))

    def annotation(self, event: dict[str, Any]) -> Delta:
        """A source that the text names."""
        self._told.add("extra")
        return Delta(extra=_annotations([event.get("annotation")]))

    def _tool_item(self, item: dict[str, Any], place: Any = None) -> ToolCallDelta | None:
        """What a tool call's item says that was not told yet."""
        kind, field = _TOOL_ITEMS.get(self.text(item, "type"), ("", ""))
        if not kind:
            return None
        call_id, arguments = self.text(item, "call_id"), self.text(item, field)
        tool = self._tool(kind, place, item.get("id"), call_id)
        name = "" if tool.is_named else self.text(item, "name")
        if tool.has_arguments:
            arguments = ""
        if not name and not arguments:
            return None
        tool.is_named, tool.has_arguments = True, tool.has_arguments or bool(arguments)
        return ToolCallDelta(index=tool.index, id=call_id if name else "", name=name, arguments=arguments, type=kind)

    def _tool(self, kind: str, *names: Any) -> _Tool:
        # By type, for True is an int too.
        keys = [name for name in names if type(name) is int or (isinstance(name, str) and name)]
        tool = next((self._tools_by_name[key] for key in reversed(keys) if key in self._tools_by_name), None)
        if tool is None:
            if len(self._tools) >= MAX_TOOL_CALLS:
                raise self.bad("there are too many tool calls")
            tool = _Tool(index=len(self._tools), type=kind)
            self._tools.append(tool)
        self._tools_by_name |= dict.fromkeys(keys, tool)
        return tool

    def _said(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        """All that the output says but its tool calls, as a Delta has it."""
        messages = (item for item in output if item.get("type") == "message")
        parts = [part for item in messages for part in self.objects(item.get("content"), "content")]
        texts = [part for part in parts if part.get("type") == "output_text"]
        return {
            "text": "".join(self.text(part, "text") for part in texts),
            "refusal": "".join(self.text(part, "refusal") for part in parts),
            "reasoning": BETWEEN_THOUGHTS.join(self._thoughts(output)),
            "logprobs": _logprobs([token for part in texts for token in _list(part, "logprobs")]),
            "extra": _annotations([source for part in texts for source in _list(part, "annotations")]),
        }

    def _thoughts(self, output: list[dict[str, Any]]) -> Iterator[str]:
        for item in output:
            if item.get("type") == "reasoning":
                for name in ("summary", "content"):
                    thoughts = (self.text(part, "text") for part in self.objects(item.get(name), name))
                    yield from filter(None, thoughts)

    def _finish_reason(self, response: dict[str, Any], status: str) -> str:
        if status == "completed":
            return "tool_calls" if self._tools else "stop"
        details = response.get("incomplete_details")
        reason = self.text(details, "reason")[:NAME_CHARS] if isinstance(details, dict) else ""
        return _ENDINGS.get(reason, reason or "incomplete")


class WholeResponse(_Response):
    """A response in one piece of JSON."""

    is_done = False

    def __init__(self, provider: Provider, status: int, *, keeps_items: bool = False) -> None:
        super().__init__(provider, status, keeps_items=keeps_items)
        self._body = WholeBody(status)

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        self._body.add(chunk)
        return iter(())

    def finish(self) -> Iterator[Delta]:
        data = without_key(self._body.joined(), self._provider)
        response = decode_object(data, status=self.status)
        if response.get("output") is None and not response.get("error"):
            # An error of a server that has no other shape for it, or no response at all.
            raise self.error(data)
        yield self.end(response)


class ResponseStream(EventsReading, _Response):
    """A response in events. Whole once its last one has come. keeps_events: see `Upstream.attempt`."""

    def __init__(
        self, provider: Provider, status: int, *, keeps_items: bool = False, keeps_events: bool = False
    ) -> None:
        super().__init__(provider, status, keeps_items=keeps_items)
        self.is_done = False
        self._parser = EventParser()
        self._passing = ResponseEventsToPass(keeps_bytes=keeps_events)

    def closing(self) -> Closing:
        if not self.is_done:
            raise Fault(Outcome.CUT, "the stream ended before the answer did", status=self.status)
        return super().closing()

    def _deltas(self, events: list[SseEvent]) -> Iterator[Delta]:
        for event in events:
            if self.is_done:
                return
            if event.event == b"error":
                raise self.error(event.data)
            if event.data and event.data != b"[DONE]":
                delta = self._take(event)
                if delta is not None:
                    yield delta

    def _take(self, event: SseEvent) -> Delta | None:
        data = without_key(event.data, self._provider)
        said = decode_object(data, status=self.status)
        named = self.text(said, "type")
        kind = named or event.event.decode("utf-8", "replace")
        delta = self._meaning(event, said, kind)
        if not self._keeps_items or self.is_done or not _EVENT_NAME.fullmatch(kind):
            return delta
        return self._passing.beside(delta or Delta(), {**said, "type": kind}, data if named else b"")

    def _meaning(self, event: SseEvent, said: dict[str, Any], kind: str) -> Delta | None:
        if kind == "error" or (not kind and said.get("error")):
            raise self.error(event.data)
        if kind in _TEXT_EVENTS:
            return self.piece(said, _TEXT_EVENTS[kind])
        if kind in _ARGUMENT_EVENTS:
            return self.arguments(said, _ARGUMENT_EVENTS[kind])
        if kind in {"response.output_item.added", "response.output_item.done"}:
            return self.item(said)
        if kind == "response.output_text.annotation.added":
            return self.annotation(said)
        response = said.get("response")
        if kind in _LAST_EVENTS:
            if not isinstance(response, dict):
                raise self.bad("the last event holds no response")
            delta = self.end(response, ended_as=kind.removeprefix("response."))
            self.is_done = True
            return delta
        if isinstance(response, dict):
            self.note_response(response)
        return None


def _logprobs(said: list[Any]) -> dict[str, Any] | None:
    return {"content": said} if said else None


def _annotations(said: list[Any]) -> dict[str, Any] | None:
    """As chat completions have them: each one's fields under the name of its type."""
    turned = [
        {"type": kind, kind: {name: annotation[name] for name in annotation if name != "type"}}
        for annotation in said
        if isinstance(annotation, dict) and isinstance(kind := annotation.get("type"), str)
    ]
    return {"annotations": turned} if turned else None


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    return value if isinstance(value, list) else []
