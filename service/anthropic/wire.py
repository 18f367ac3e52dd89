"""Anthropic's wire format: `POST /v1/messages`. Fields nobody here knows pass through both ways."""

import msgspec

from router.answer import Choice
from router.call import Call
from router.reply import Finished, Reply
from service.anthropic.account import EVENT_FORMAT, message_id, own_fields, usage_object
from service.anthropic.blocks import content_of, ending
from service.anthropic.body import MessagesBody, canonical
from service.anthropic.events import MessageEvents
from service.asked import Asked
from service.headers import NO_WISHES, Wishes
from service.strict_json import convert, decode_object


class AnthropicMessagesWire:
    """Messages."""

    def read(self, raw: bytes) -> Asked:
        value = decode_object(raw)
        fields = convert(value, MessagesBody)
        user = fields.metadata.user_id if fields.metadata is not None else None
        return Asked(
            model=fields.model,
            body=canonical(value),
            stream=fields.stream or False,
            wishes=Wishes(user=user) if user else NO_WISHES,
            event_format=EVENT_FORMAT,
        )

    def answer(self, call: Call, finished: Finished) -> bytes:
        answer = finished.answer
        choice = answer.choices[0] if answer.choices else Choice()
        return msgspec.json.encode(
            {
                **own_fields(answer),
                "id": message_id(call),
                "type": "message",
                "role": "assistant",
                "model": answer.provider_model or finished.receipt.model,
                "content": content_of(choice),
                **ending(choice),
                "usage": usage_object(finished),
            }
        )

    def events(self, call: Call, reply: Reply, asked: Asked) -> MessageEvents:
        return MessageEvents(call, reply)
