"""Reads the answers of the Gemini API. An event has the shape of a whole answer, so one reader reads both.

What we have no field for is kept: signatures of thoughts in `Delta.extra["thought_signatures"]` (a caller sends them
back with the message), parts of other kinds in `content_parts`, an ending that chat completions have no name for in
`stop_reason`, why a prompt was blocked in `prompt_feedback`.
Source: ai.google.dev/api/generate-content (GenerateContentResponse); docs "Thought signatures".
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ledger.usage import Usage
from router.answer import Closing, Delta, ToolCallDelta
from router.deployments import Provider
from router.faults import Fault, Outcome
from router.providers.client import decode_object, without_key
from router.providers.gemini.usage import Counts
from router.providers.reading import NAME_CHARS, EventsReading
from router.providers.sse import EventParser, SseEvent

MAX_CALLS: Final = 1024

# Any other ending, also one of tomorrow, means that the answer is not what was asked for, and is not to be kept.
_ENDINGS: Final = {"STOP": "stop", "MAX_TOKENS": "length"}
_NOT_AS_ASKED: Final = "content_filter"
_UNSAID: Final = frozenset({"", "FINISH_REASON_UNSPECIFIED"})
_ERRORS: Final = {
    "RESOURCE_EXHAUSTED": Outcome.RATE_LIMITED,
    "UNAVAILABLE": Outcome.UPSTREAM_ERROR,
    "INTERNAL": Outcome.UPSTREAM_ERROR,
    "DEADLINE_EXCEEDED": Outcome.UPSTREAM_ERROR,
}
_TOP_FIELDS: Final = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId", "promptFeedback", "error"})
_CANDIDATE_FIELDS: Final = frozenset({"index", "content", "finishReason", "logprobsResult"})


class GeminiReader(EventsReading):
    """What one response has said so far. Feed it events or a whole answer; a `Reading` of an event stream.

    An answer is whole at the end of its body, if every candidate said why it ended, or the prompt was blocked.
    """

    is_done = False

    def __init__(self, provider: Provider, status: int) -> None:
        super().__init__(provider, status)
        self._parser = EventParser()
        # {candidate: how many tools it called}
        self._calls: dict[int, int] = {}
        self._ended: set[int] = set()
        self._is_blocked = False
        self._counts = Counts()

    def whole(self, data: bytes) -> Iterator[Delta]:
        """An answer in one piece, or one event of it."""
        data = without_key(data, self._provider)
        said = decode_object(data, status=self.status)
        if said.get("error"):
            raise self._refusal(data, said["error"])
        self._note(said)
        candidates = self.objects(said.get("candidates"), "candidates")
        for position, candidate in enumerate(candidates):
            yield from self._candidate(self.index(candidate, position), candidate)
        feedback = said.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason") and not self._calls:
            self._is_blocked = True
            yield Delta(finish_reason=_NOT_AS_ASKED, extra={"prompt_feedback": feedback})

    def closing(self) -> Closing:
        """The end of a whole answer. Raises Fault if it is not whole."""
        if not self._is_blocked:
            if not self._calls:
                raise self.bad("there is no candidate in the answer")
            if self._ended != self._calls.keys():
                raise Fault(Outcome.CUT, "the stream ended before the answer did", status=self.status)
        self.usage = self._counts.usage()
        return super().closing()

    def usage_so_far(self) -> Usage | None:
        """See `router.answer.SaysUsage`."""
        return self._counts.usage()

    def _deltas(self, events: list[SseEvent]) -> Iterator[Delta]:
        for event in events:
            yield from self.whole(event.data)

    def _candidate(self, index: int, candidate: dict[str, Any]) -> Iterator[Delta]:
        self._calls.setdefault(index, 0)
        content = candidate.get("content") or {}
        if not isinstance(content, dict):
            raise self.bad("content is not an object")
        for part in self.objects(content.get("parts"), "parts"):
            yield from self._part(index, part)
        if candidate.get("logprobsResult") is not None:
            yield Delta(choice=index, logprobs=self._logprobs(candidate["logprobsResult"]))
        extra = {
            name: value
            for name, value in candidate.items()
            if name not in _CANDIDATE_FIELDS and value is not None and value != []
        }
        reason = self.text(candidate, "finishReason")
        if reason in _UNSAID:
            if extra:
                yield Delta(choice=index, extra=extra)
            return
        self._ended.add(index)
        finish = _ENDINGS.get(reason, _NOT_AS_ASKED)
        if finish == _NOT_AS_ASKED:
            extra["stop_reason"] = reason
        elif finish == "stop" and self._calls[index]:
            finish = "tool_calls"
        yield Delta(choice=index, finish_reason=finish, extra=extra or None)

    def _part(self, index: int, part: dict[str, Any]) -> Iterator[Delta]:
        signature = self.text(part, "thoughtSignature")
        if "functionCall" in part:
            call = self._call(index, part["functionCall"])
            yield Delta(choice=index, tool_calls=(call,), extra=_signed(signature, call.id))
        elif "text" in part:
            name = "reasoning" if part.get("thought") is True else "text"
            text = self.text(part, "text")
            if text or signature:
                yield Delta(choice=index, **{name: text}, extra=_signed(signature))  # type: ignore[arg-type]
        elif part.keys() - {"thought", "thoughtSignature"}:
            yield Delta(choice=index, extra={"content_parts": [part]})
        elif signature:
            yield Delta(choice=index, extra=_signed(signature))

    def _call(self, index: int, call: Any) -> ToolCallDelta:
        """A tool call, which comes whole. One without an id is given one, the same however often it is read."""
        if not isinstance(call, dict):
            raise self.bad("a function call is not an object")
        number = self._calls[index]
        if number >= MAX_CALLS:
            raise self.bad("there are too many function calls")
        self._calls[index] = number + 1
        return ToolCallDelta(
            index=number,
            id=self.text(call, "id") or "_".join(("call", *filter(None, (self._id,)), str(index), str(number))),
            name=self.text(call, "name"),
            arguments=self._json(call.get("args") or {}),
        )

    def _logprobs(self, said: Any) -> dict[str, Any]:
        """As a chat completion has them: the token that was chosen at each step, and those that were likely, too."""
        if not isinstance(said, dict):
            raise self.bad("logprobsResult is not an object")
        content = []
        likely = self.objects(said.get("topCandidates"), "topCandidates")
        for step, token in enumerate(self.objects(said.get("chosenCandidates"), "chosenCandidates")):
            tops = self.objects(likely[step].get("candidates"), "candidates") if step < len(likely) else []
            content.append({**self._token(token), "top_logprobs": [self._token(top) for top in tops]})
        return {"content": content}

    def _token(self, said: dict[str, Any]) -> dict[str, Any]:
        token, logprob = self.text(said, "token"), said.get("logProbability", 0)
        if isinstance(logprob, bool) or not isinstance(logprob, int | float):
            raise self.bad("a log probability is no number")
        return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "surrogatepass"))}

    def _note(self, said: dict[str, Any]) -> None:
        self.note({"model": said.get("modelVersion"), "id": said.get("responseId")}, created=None)
        self._counts.add(said.get("usageMetadata"))
        for name in said.keys() - _TOP_FIELDS:
            if said[name] is not None:
                self.extra[name] = said[name]

    def _refusal(self, data: bytes, error: Any) -> Fault:
        """The fault that an error within an answer is: here its name tells more than the status of the response."""
        fault = self.error(data)
        name = error.get("status") if isinstance(error, dict) else None
        if isinstance(name, str) and fault.outcome == Outcome.BAD_ANSWER:
            fault.outcome = _ERRORS.get(name, fault.outcome)
            fault.code = name[:NAME_CHARS]
        return fault

    def _json(self, value: Any) -> str:
        try:
            return msgspec.json.encode(value).decode()
        except (OverflowError, RecursionError) as error:
            raise self.bad("a tool's input cannot be written down") from error


def _signed(signature: str, call_id: str = "") -> dict[str, Any] | None:
    if not signature:
        return None
    said = {"tool_call_id": call_id, "signature": signature} if call_id else {"signature": signature}
    return {"thought_signatures": [said]}
