"""OpenAI's wire format for responses: `POST /v1/responses`, whole or as a stream of its events."""

from typing import Annotated, Any, Final

import msgspec

from router.call import Call
from router.reply import Finished, Reply
from service.asked import Asked, Count
from service.headers import NO_WISHES, Wishes
from service.responses.answer import choice_of, digits, ended, id_of
from service.responses.body import chat_body
from service.responses.events import EVENT_FORMAT, OpenAIResponsesEvents
from service.responses.items import items_of
from service.strict_json import convert, decode_object

_OURS: Final = ("model", "stream", "stream_options")


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
            event_format=EVENT_FORMAT,
        )

    def answer(self, call: Call, finished: Finished) -> bytes:
        choice = choice_of(finished)
        name = id_of(call, finished)
        return msgspec.json.encode(ended(call, name, finished, items_of(choice, digits(call))))

    def events(self, call: Call, reply: Reply, asked: Asked) -> OpenAIResponsesEvents:
        return OpenAIResponsesEvents(call, reply)
