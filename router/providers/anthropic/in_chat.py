"""A call that came in Anthropic's own format, in the words of chat completions: for other dialects. Pure.

What the other formats have no words for is left out and named, by the names that its caller knows.
Source: platform.claude.com/docs: "Messages", "Extended thinking", "Effort", "Structured outputs".
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from router.deployments import Dialect
from router.providers.anthropic.in_chat_messages import Words
from router.providers.anthropic.native import OWN, own_of

# Named otherwise, or not at all, in chat completions.
_TRANSLATED: Final = frozenset({OWN, "messages", "tools", "thinking", "output_config", "cache_control", "top_k"})
_TOOL_FIELDS: Final = ("type", "name", "description", "input_schema", "strict")
_CHOICE: Final = ("tool_choice", "parallel_tool_calls")
# {what a parameter is called in chat completions: in Anthropic's format}, where that differs.
_CALLERS_NAMES: Final = {
    "reasoning_effort": "thinking",
    "thinking_budget": "thinking",
    "include_thoughts": "thinking.display",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
}
# OpenAI refuses a longer `user`, others one of twice that; Claude Code's has 150 characters.
# Sources: maximhq/bifrost #1000, looplj/axonhub #1669.
USER_CHARS: Final = 64
# The nearest that every model with an effort knows.
_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
# Percent of an answer's length up to which a budget for thoughts is a low or a medium effort. OpenRouter's figures.
_LOW_PERCENT: Final = 20
_MEDIUM_PERCENT: Final = 50


def in_chat(body: dict[str, Any], dialect: Dialect) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as other dialects take it, and the names of what was left out. A body of another format is as it was.

    Raises Inexpressible for messages that have no words there.
    """
    own = own_of(body)
    if own is None:
        return body, ()
    words = Words(dialect)
    said = {name: value for name, value in body.items() if name not in _TRANSLATED}
    said["messages"] = list(words.messages(body["messages"]))
    form = own.get("output_format")
    words.lost |= dict.fromkeys(name for name in own if name != "output_format" and own[name] is not None)
    if body.get("cache_control") is not None:
        words.lost["cache_control"] = None
    if body.get("top_k") is not None:
        if dialect == "openai":
            words.lost["top_k"] = None
        else:
            said["top_k"] = body["top_k"]
    config = body.get("output_config")
    config = dict(config) if isinstance(config, dict) else {}
    effort = config.pop("effort", None)
    form = config.pop("format", None) or form
    words.lose(config, within="output_config")
    if dialect == "openai" and len(str(said.get("user", ""))) > USER_CHARS:
        words.lost[_CALLERS_NAMES["user"]] = None
        del said["user"]
    _say_thinking(said, body.get("thinking"), effort, dialect, words)
    _say_format(said, form, words)
    _say_tools(said, body.get("tools"), words)
    return said, tuple(words.lost)


def callers_names(body: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """What was left out of this body as its caller calls it, each once. A body of another format has these names."""
    if not names or own_of(body) is None:
        return names
    return tuple(dict.fromkeys(_callers_name(body, name) for name in names))


def _callers_name(body: Mapping[str, Any], name: str) -> str:
    if name == "reasoning_effort" and body.get("thinking") is None:
        return "output_config.effort"
    field, bracket, place = name.partition("[")
    return _CALLERS_NAMES.get(field, field) + bracket + place


def _say_thinking(said: dict[str, Any], thinking: Any, effort: Any, dialect: Dialect, words: Words) -> None:
    """An effort that was named counts before one that is read from a budget."""
    given = thinking if isinstance(thinking, dict) else {}
    kind, budget, is_gemini = given.get("type"), given.get("budget_tokens"), dialect == "gemini"
    if kind in ("enabled", "adaptive") and is_gemini:
        said["include_thoughts"] = given.get("display") != "omitted"
    elif given.get("display") is not None:
        words.lost["thinking.display"] = None
    if isinstance(effort, str) and effort in _EFFORTS:
        said["reasoning_effort"] = _EFFORTS[effort]
    elif effort is not None:
        words.lost["output_config.effort"] = None
    if kind == "enabled" and type(budget) is int and is_gemini:
        said["thinking_budget"] = budget
    elif kind == "enabled" and type(budget) is int:
        said.setdefault("reasoning_effort", _effort_of(budget, said.get("max_tokens")))
    elif kind == "disabled" and is_gemini:
        said["reasoning_effort"] = "none"
    elif thinking is not None and kind != "adaptive":
        # Few models of other vendors can be told not to think; which ones do not think anyway is not for us to say.
        words.lost["thinking"] = None


def _effort_of(budget: int, max_tokens: Any) -> str:
    percent = 100 * budget // max_tokens if type(max_tokens) is int and max_tokens > 0 else 100
    return "low" if percent <= _LOW_PERCENT else "medium" if percent <= _MEDIUM_PERCENT else "high"


def _say_format(said: dict[str, Any], form: Any, words: Words) -> None:
    schema = form.get("schema") if isinstance(form, dict) else None
    if isinstance(schema, dict):
        named = {"name": "answer", "schema": schema, "strict": _is_strict(schema)}
        said["response_format"] = {"type": "json_schema", "json_schema": named}
    elif form is not None:
        words.lost["output_config.format"] = None


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI takes it strictly: there every object's properties must all be required, and no others allowed."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if isinstance(properties, dict):
        required = schema.get("required")
        if not isinstance(required, list) or any(name not in required for name in properties):
            return False
        if schema.get("additionalProperties") is not False:
            return False
        schema = {**schema, "properties": list(properties.values())}
    return all(map(_is_strict, schema.values()))


def _say_tools(said: dict[str, Any], given: Any, words: Words) -> None:
    tools = list(_tools(given, words))
    if tools:
        said["tools"] = tools
    choice = said.get("tool_choice")
    if isinstance(choice, dict) and not any(tool["function"]["name"] == _chosen(choice) for tool in tools):
        # What must be called is not there to be called.
        words.lost["tool_choice"] = None
        del said["tool_choice"]
    if not tools:
        lost = tuple(name for name in _CHOICE if said.pop(name, None) is not None)
        words.lost |= dict.fromkeys(_CALLERS_NAMES.get(name, name) for name in lost)


def _chosen(choice: dict[str, Any]) -> Any:
    function = choice.get("function")
    return function.get("name") if isinstance(function, dict) else None


def _tools(given: Any, words: Words) -> Iterator[dict[str, Any]]:
    for index, tool in enumerate(given if isinstance(given, list) else ()):
        if tool.get("type", "custom") not in ("custom", None) or not isinstance(tool.get("name"), str):
            words.lost[f"tools[{index}]"] = None
            continue
        words.lose(tool, *_TOOL_FIELDS, within=f"tools[{index}]")
        function = {"name": tool["name"], "parameters": tool.get("input_schema")}
        function |= {name: tool[name] for name in ("description", "strict") if tool.get(name) is not None}
        yield {"type": "function", "function": function}
