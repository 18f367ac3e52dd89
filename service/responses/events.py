"""A response as it comes: the published events, numbered."""

from collections.abc import Iterable
from typing import Final

from router.answer import Delta
from router.call import Call, EventFormat
from router.reply import Finished, Reply
from router.responses import response_id
from service.errors import Problem
from service.openai_chat import error_body
from service.responses.answer import Fields, choice_of, digits, ended, keeps, kept_id, response_of
from service.responses.items import ItemWriter, is_complete
from service.responses.told import whole_item_events
from service.sse import event

EVENT_FORMAT: Final[EventFormat] = "responses"


class OpenAIResponsesEvents:
    """The published events, numbered. A provider's own go on as they came, but for those that hold the whole response,
    and for their numbers where those do not follow ours; other answers are told in their like.

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
            return self._pass(delta.event, delta.raw)
        if delta.items or self._passed:
            self._items = delta.items
            return b""
        return self._begin("") + self._written(self._writer.add(delta))

    def closing(self, finished: Finished) -> bytes:
        items = list(self._items) or [item for _, item in sorted(self._passed.items())]
        if items or self._passed:
            written = self._begin(kept_id(self._call, finished))
            for index, item in enumerate(items):
                if index not in self._passed:
                    written += self._written(whole_item_events(item, index))
        else:
            end = self._writer.end(is_whole=is_complete(choice_of(finished).finish_reason))
            written = self._begin("") + self._written(end)
            items = self._writer.items
        response = ended(self._call, self._name, finished, items)
        return written + self._write({"type": f"response.{response['status']}", "response": response})

    def failure(self, problem: Problem) -> bytes:
        error = error_body(problem)["error"]
        told = {name: error.get(name) for name in ("code", "message", "param")}
        begun = self._begin("")
        failed = response_of(self._call, self._name, "failed", model=self._model, output=self._writer.items)
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
        begun = response_of(self._call, self._name, "in_progress", model=self._model, output=[])
        return self._write({"type": "response.created", "response": begun}) + self._write(
            {"type": "response.in_progress", "response": begun}
        )

    def _pass(self, said: Fields, raw: bytes | None) -> bytes:
        """An event of the provider's own, which begin with its name for the response. raw: its bytes, if they pass."""
        response = said.get("response")
        if isinstance(response, dict):
            provider_id = response.get("id")
            return self._begin(provider_id if isinstance(provider_id, str) and keeps(self._call) else "")
        index, item = said.get("output_index"), said.get("item")
        if type(index) is int and isinstance(item, dict):
            self._passed[index] = item
        begun = self._begin("")
        if raw is None:
            return begun + self._write(said)
        self._number = said["sequence_number"] + 1
        return begun + raw

    def _written(self, events: Iterable[Fields]) -> bytes:
        return b"".join(map(self._write, events))

    def _write(self, said: Fields) -> bytes:
        numbered = {**said, "sequence_number": self._number}
        self._number += 1
        return event(said["type"].encode(), numbered)
