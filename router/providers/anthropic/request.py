"""A chat completion's request as Anthropic's Messages API has it. Pure.

What has no place there is left out by name (`fitted`), while the call is planned; `request_of` then makes the request
from what is left. Both read the parameters by the same table, so they cannot disagree.
Source: platform.claude.com/docs: "Messages", "Extended thinking", "Adaptive thinking", "Effort", "Structured outputs".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from router.capabilities import NEUTRAL
from router.deployments import Deployment
from router.providers.anthropic.messages import check_messages, continues_a_tool_call_unthought, messages_of
from router.providers.anthropic.models import Model, model_of
from router.providers.anthropic.native import Own, native_messages, own_of, without_unsigned
from router.providers.anthropic.tools import Tools, tools_of

# How long an answer may be where neither the caller nor the config says: the API must be told.
DEFAULT_MAX_TOKENS: Final = 4096
LEAST_BUDGET: Final = 1024
MOST_BUDGET: Final = 128_000
# Percent of the answer's length that each effort may think, for models that take a budget. OpenRouter's figures.
_EFFORT_PERCENT: Final = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 80, "max": 80}
_ADAPTIVE_EFFORT: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "max": "max"}
# With thinking on, the API takes no lower one.
_LEAST_THINKING_TOP_P: Final = 0.95
_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_THINKING: Final = ("thinking", "thinking_budget", "reasoning_effort", "include_thoughts")
_TIERS: Final = {"auto": "auto", "default": "standard_only", "standard": "standard_only"}
# Left out without a word.
_NEUTRAL: Final[Mapping[str, Any]] = {**NEUTRAL, "parallel_tool_calls": True}


def fitted(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """See `router.dialects.fitted`."""
    if all(body.get(name) is None for name in _LIMITS):
        body = {**body, "max_tokens": _default_limit(body, deployment.max_output_tokens)}
    gone: tuple[str, ...] = ()
    if own_of(body) is None:
        check_messages(body.get("messages"))
    else:
        body, gone = without_unsigned(body)
    reading = _Reading(body, deployment.model)
    names = frozenset(reading.dropped)
    if not names.isdisjoint(body):
        body = {name: value for name, value in body.items() if name not in names}
    return body, (*gone, *reading.dropped)


def request_of(body: dict[str, Any], model: str, *, stream: bool) -> dict[str, Any]:
    """The request's body, from one that `fitted` gave."""
    read = messages_of if own_of(body) is None else native_messages
    system, messages = read(body["messages"])
    request = {"model": model, "messages": messages, "stream": stream, **_Reading(body, model).request}
    if system:
        request["system"] = system
    return request


def _default_limit(body: Mapping[str, Any], known: int | None) -> int:
    """What is thought counts as answer: a budget comes on top of what an answer needs."""
    if known is not None:
        return known
    native = body.get("thinking")
    budget = native.get("budget_tokens") if isinstance(native, dict) else body.get("thinking_budget")
    return DEFAULT_MAX_TOKENS + (budget if isinstance(budget, int) and _is_count(budget) else 0)


class _Reading:
    """The parameters of one body: what is sent for them, and what is left out, each in its order."""

    def __init__(self, body: Mapping[str, Any], model: str) -> None:
        self.request: dict[str, Any] = {}
        self.dropped: list[str] = []
        self._body = body
        self._model: Model = model_of(model)
        self._tools: Tools = tools_of(body, takes_strict=self._model.takes_schemas)
        self._limit = next((body[name] for name in _LIMITS if body.get(name) is not None), DEFAULT_MAX_TOKENS)
        self.request["max_tokens"] = self._limit
        self._read_thinking()
        for name, value in body.items():
            if value is None or name in _READ_APART or isinstance(value, Own) or _NEUTRAL.get(name) == value:
                continue
            take = _TAKES.get(name)
            if take is None or not take(self, value):
                self.dropped.append(name)
        self.request |= self._tools.request
        self.dropped += self._tools.dropped
        self.request |= own_of(body) or {}

    @property
    def _thinks(self) -> bool:
        thinking = self.request.get("thinking")
        return isinstance(thinking, dict) and thinking.get("type") != "disabled"

    def _read_thinking(self) -> None:
        """The first of its three names that is given decides; what comes of it bears on the other parameters."""
        body = self._body
        used: str | None = None
        thinking: dict[str, Any] | None = None
        for name in _THINKING[:3]:
            if used is None and body.get(name) is not None and (thinking := self._thinking(name)) is not None:
                used = name
        if thinking:
            self.request["thinking"] = thinking
        effort = self._effort() if thinking else None
        if effort is not None:
            self._configure("effort", effort)
        said = {used, "reasoning_effort" if effort is not None else None}
        if self._thinks and isinstance(body.get("include_thoughts"), bool) and used != "thinking":
            self.request["thinking"]["display"] = "summarized" if body["include_thoughts"] else "omitted"
            said.add("include_thoughts")
        elif body.get("include_thoughts") is False:
            said.add("include_thoughts")
        self.dropped += [name for name in body if name in _THINKING and body[name] is not None and name not in said]

    def _thinking(self, name: str) -> dict[str, Any] | None:
        """What to send for one of the ways to ask for thoughts. Empty: nothing need be said; None: it cannot be had."""
        value = self._body[name]
        if name == "thinking":
            return value if isinstance(value, dict) else None
        if value in ("none", 0):
            return {"type": "disabled"} if self._model.thinks else {}
        if self._tools.is_forced:
            # The API refuses the two together, and the call cannot do without its tool.
            return None
        if name == "reasoning_effort":
            if self._model.is_adaptive:
                return {"type": "adaptive"} if self._effort() is not None else None
            percent = _EFFORT_PERCENT.get(value) if isinstance(value, str) else None
            return None if percent is None else self._budget(self._limit * percent // 100, rounds_up=True)
        return self._budget(value, rounds_up=False)

    def _effort(self) -> str | None:
        value = self._body.get("reasoning_effort")
        if not self._model.is_adaptive or not isinstance(value, str):
            return None
        if value == "xhigh":
            return "xhigh" if self._model.takes_xhigh else "max"
        return _ADAPTIVE_EFFORT.get(value)

    def _budget(self, tokens: Any, *, rounds_up: bool) -> dict[str, Any] | None:
        if rounds_up:
            tokens = min(max(tokens, LEAST_BUDGET), MOST_BUDGET)
        fits = _is_count(tokens) and LEAST_BUDGET <= tokens < self._limit
        if not fits or not self._model.takes_budget or continues_a_tool_call_unthought(self._body.get("messages")):
            return None
        return {"type": "enabled", "budget_tokens": tokens}

    def _configure(self, name: str, value: Any) -> None:
        self.request["output_config"] = {**self.request.get("output_config", {}), name: value}

    def take_output_config(self, value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        for name, setting in value.items():
            self._configure(name, setting)
        return True

    def take_temperature(self, value: Any) -> bool:
        # 1 is the most and the default: leaving a higher one out is the nearest there is, and is told.
        if not _is_number(value) or value > 1 or self._model.samples_by_itself or (self._thinks and value != 1):
            return False
        self.request["temperature"] = value
        return True

    def take_top_p(self, value: Any) -> bool:
        is_second = self._model.takes_one_of_two and self._body.get("temperature") is not None
        if is_second or self._model.samples_by_itself:
            return False
        if self._thinks and not (_is_number(value) and value >= _LEAST_THINKING_TOP_P):
            return False
        self.request["top_p"] = value
        return True

    def take_top_k(self, value: Any) -> bool:
        if self._thinks or self._model.samples_by_itself:
            return False
        self.request["top_k"] = value
        return True

    def take_stop(self, value: Any) -> bool:
        stops = [value] if isinstance(value, str) else value
        if not isinstance(stops, list):
            return False
        # White space alone is refused there.
        taken = [isinstance(stop, str) and bool(stop.strip()) for stop in stops]
        self.dropped += [f"stop[{index}]" for index, is_taken in enumerate(taken) if not is_taken]
        if any(taken):
            self.request["stop_sequences"] = [stop for stop, is_taken in zip(stops, taken, strict=True) if is_taken]
        return True

    def take_user(self, value: Any) -> bool:
        self.request.setdefault("metadata", {"user_id": value})
        return True

    def take_metadata(self, value: Any) -> bool:
        if not isinstance(value, dict) or value.keys() != {"user_id"}:
            return False
        self.request.setdefault("metadata", value)
        return True

    def take_response_format(self, value: Any) -> bool:
        inner = value.get("json_schema") if isinstance(value, dict) else None
        schema = inner.get("schema") if isinstance(inner, dict) else None
        if not isinstance(schema, dict) or not self._model.takes_schemas:
            return False
        self._configure("format", {"type": "json_schema", "schema": schema})
        return True

    def take_service_tier(self, value: Any) -> bool:
        tier = _TIERS.get(value) if isinstance(value, str) else None
        if tier is not None:
            self.request["service_tier"] = tier
        return tier is not None

    def take_cache_control(self, value: Any) -> bool:
        self.request["cache_control"] = value
        return True


_TAKES: Final[Mapping[str, Callable[[_Reading, Any], bool]]] = {
    "temperature": _Reading.take_temperature,
    "top_p": _Reading.take_top_p,
    "top_k": _Reading.take_top_k,
    "stop": _Reading.take_stop,
    "user": _Reading.take_user,
    "safety_identifier": _Reading.take_user,
    "metadata": _Reading.take_metadata,
    "response_format": _Reading.take_response_format,
    "output_config": _Reading.take_output_config,
    "service_tier": _Reading.take_service_tier,
    "cache_control": _Reading.take_cache_control,
}
_READ_APART: Final = frozenset({"messages", "tools", "tool_choice", "parallel_tool_calls", *_LIMITS, *_THINKING})


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
