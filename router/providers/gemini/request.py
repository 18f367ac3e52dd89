"""A chat completion's request as the Gemini API has it. Pure.

What has no place there is left out by name (`fitted`), while the call is planned; `request_of` then makes the request
from what is left. Both read the parameters by the same table, so they cannot disagree.
Source: ai.google.dev/api/generate-content (GenerationConfig); docs "Thinking", "Structured outputs".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from router.capabilities import NEUTRAL
from router.deployments import Deployment
from router.providers.gemini.contents import contents_of
from router.providers.gemini.models import Model, model_of
from router.providers.gemini.tools import Tools, tools_of

MAX_STOPS: Final = 5
MAX_CHOICES: Final = 8
MAX_TOP_LOGPROBS: Final = 20
_INT32: Final = 2**31
_JSON: Final = "application/json"
_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_THINKING: Final = ("thinking_budget", "reasoning_effort", "include_thoughts")
# Left out without a word.
_NEUTRAL: Final[Mapping[str, Any]] = {**NEUTRAL, "service_tier": "auto", "include_thoughts": False}


def fitted(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """See `router.dialects.fitted`."""
    reading = _Reading(body, deployment.model)
    contents_of(body.get("messages"), needs_signatures=False)
    names = frozenset(reading.dropped)
    if not names.isdisjoint(body):
        body = {name: value for name, value in body.items() if name not in names}
    return body, tuple(reading.dropped)


def request_of(body: dict[str, Any], model: str) -> dict[str, Any]:
    """The request's body, from one that `fitted` gave."""
    system, contents = contents_of(body.get("messages"), needs_signatures=model_of(model).needs_signatures)
    request: dict[str, Any] = {"contents": contents, **_Reading(body, model).request}
    if system:
        request["systemInstruction"] = {"parts": system}
    return request


class _Reading:
    """The parameters of one body: what is sent for them, and what is left out, each in its order."""

    def __init__(self, body: Mapping[str, Any], model: str) -> None:
        self.dropped: list[str] = []
        self._body = body
        self._model: Model = model_of(model)
        self._tools: Tools = tools_of(body)
        self._config: dict[str, Any] = {}
        self._safety: Any = None
        limit = next((body[name] for name in _LIMITS if body.get(name) is not None), None)
        if limit is not None:
            self._config["maxOutputTokens"] = limit
        self._read_thinking()
        for name, value in body.items():
            if value is None or name in _READ_APART or _NEUTRAL.get(name) == value:
                continue
            take = _TAKES.get(name)
            if take is None or not take(self, value):
                self.dropped.append(name)
        self.dropped += self._tools.dropped

    @property
    def request(self) -> dict[str, Any]:
        request = dict(self._tools.request)
        if self._config:
            request["generationConfig"] = self._config
        if self._safety is not None:
            request["safetySettings"] = self._safety
        return request

    def _read_thinking(self) -> None:
        """A number of tokens decides before an effort: the API refuses the two together."""
        asked: dict[str, Any] = {}
        said: set[str] = set()
        budget, effort = self._body.get("thinking_budget"), self._body.get("reasoning_effort")
        if budget is not None and self._takes_budget(budget):
            asked["thinkingBudget"] = budget
            said.add("thinking_budget")
        elif effort is not None and (thinking := self._model.thinking_for(effort)) is not None:
            asked |= thinking
            said.add("reasoning_effort")
        if isinstance(shown := self._body.get("include_thoughts"), bool) and (self._model.thinks or not shown):
            said.add("include_thoughts")
            if shown:
                asked["includeThoughts"] = True
        if not self._model.thinks:
            # What does not think at all need not be told to rest.
            said |= {name for name in _THINKING if self._body.get(name) in (0, "none")}
        if asked:
            self._config["thinkingConfig"] = asked
        self.dropped += [name for name in _THINKING if self._body.get(name) is not None and name not in said]

    def _takes_budget(self, budget: Any) -> bool:
        # -1: as much as it likes.
        return self._model.thinks and _is_whole(budget) and budget >= -1 and (budget != 0 or self._model.can_rest)

    def _configure(self, name: str, value: Any) -> bool:
        self._config[name] = value
        return True

    def take_temperature(self, value: Any) -> bool:
        return _is_number(value) and self._configure("temperature", value)

    def take_top_p(self, value: Any) -> bool:
        return _is_number(value) and self._configure("topP", value)

    def take_top_k(self, value: Any) -> bool:
        return _is_whole(value) and self._configure("topK", value)

    def take_presence_penalty(self, value: Any) -> bool:
        return _is_number(value) and self._configure("presencePenalty", value)

    def take_frequency_penalty(self, value: Any) -> bool:
        return _is_number(value) and self._configure("frequencyPenalty", value)

    def take_seed(self, value: Any) -> bool:
        return _is_whole(value) and -_INT32 <= value < _INT32 and self._configure("seed", value)

    def take_n(self, value: Any) -> bool:
        return _is_whole(value) and 0 < value <= MAX_CHOICES and self._configure("candidateCount", value)

    def take_stop(self, value: Any) -> bool:
        stops = [value] if isinstance(value, str) else value
        if not isinstance(stops, list):
            return False
        taken = [stop for stop in stops if isinstance(stop, str) and stop][:MAX_STOPS]
        self.dropped += [f"stop[{index}]" for index, stop in enumerate(stops) if stop not in taken]
        return not taken or self._configure("stopSequences", taken)

    def take_logprobs(self, value: Any) -> bool:
        return value is True and self._configure("responseLogprobs", True)

    def take_top_logprobs(self, value: Any) -> bool:
        if self._body.get("logprobs") is not True or not _is_whole(value) or not 0 <= value <= MAX_TOP_LOGPROBS:
            return False
        return not value or self._configure("logprobs", value)

    def take_response_format(self, value: Any) -> bool:
        kind = value.get("type") if isinstance(value, dict) else None
        if self._tools.request.get("tools") and not self._model.joins_tools_and_schemas:
            return False
        if kind == "json_object":
            return self._configure("responseMimeType", _JSON)
        inner = value.get("json_schema") if kind == "json_schema" else None
        schema = inner.get("schema") if isinstance(inner, dict) else None
        if not isinstance(schema, dict):
            return False
        return self._configure("responseMimeType", _JSON) and self._configure("responseJsonSchema", schema)

    def take_safety_settings(self, value: Any) -> bool:
        self._safety = value
        return True


_TAKES: Final[Mapping[str, Callable[[_Reading, Any], bool]]] = {
    "temperature": _Reading.take_temperature,
    "top_p": _Reading.take_top_p,
    "top_k": _Reading.take_top_k,
    "presence_penalty": _Reading.take_presence_penalty,
    "frequency_penalty": _Reading.take_frequency_penalty,
    "seed": _Reading.take_seed,
    "n": _Reading.take_n,
    "stop": _Reading.take_stop,
    "logprobs": _Reading.take_logprobs,
    "top_logprobs": _Reading.take_top_logprobs,
    "response_format": _Reading.take_response_format,
    "safety_settings": _Reading.take_safety_settings,
}
_READ_APART: Final = frozenset({"messages", "tools", "tool_choice", "parallel_tool_calls", *_LIMITS, *_THINKING})


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
