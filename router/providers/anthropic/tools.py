"""Tools and the choice among them, from a chat completion to Anthropic's Messages API. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from router.providers.anthropic.native import own_of

_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}
_NO_PARAMETERS: Final = {"type": "object", "properties": {}}
_FREE_TEXT: Final = "custom"


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """request: the fields to send. dropped: what has no place there. is_forced: some tool must be called."""

    request: dict[str, Any]
    dropped: tuple[str, ...]

    @property
    def is_forced(self) -> bool:
        """Whether the model is not free to answer without a tool."""
        choice = self.request.get("tool_choice")
        return isinstance(choice, dict) and choice.get("type") in {"any", "tool"}


_NONE: Final = Tools(request={}, dropped=())


def tools_of(body: Mapping[str, Any], *, takes_strict: bool) -> Tools:
    """What to send for `tools`, `tool_choice` and `parallel_tool_calls`."""
    given = body.get("tools")
    choice, parallel = body.get("tool_choice"), body.get("parallel_tool_calls")
    if not given and choice is None and parallel is None:
        return _NONE
    dropped: list[str] = []
    tools = list(given or ()) if own_of(body) is not None else list(_tools(given, dropped, takes_strict=takes_strict))
    chosen = _choice(choice) if tools else None
    if choice is not None and chosen is None:
        dropped.append("tool_choice")
    if parallel is False:
        chosen = chosen or ({"type": "auto"} if tools else None)
        if chosen is None or chosen["type"] == "none":
            dropped.append("parallel_tool_calls")
        else:
            chosen = {**chosen, "disable_parallel_tool_use": True}
    request: dict[str, Any] = {"tools": tools} if tools else {}
    if chosen is not None:
        request["tool_choice"] = chosen
    return Tools(request=request, dropped=tuple(dropped))


def _tools(given: Any, dropped: list[str], *, takes_strict: bool) -> Iterator[dict[str, Any]]:
    for index, tool in enumerate(given if isinstance(given, list) else ()):
        place = f"tools[{index}]"
        if not isinstance(tool, dict) or isinstance(tool.get(_FREE_TEXT), dict):
            dropped.append(place)
        elif isinstance(function := tool.get("function"), dict):
            yield _function(tool, function, takes_strict=takes_strict)
            if function.get("strict") and not takes_strict:
                dropped.append(f"{place}.strict")
        elif "name" in tool:
            # One of the vendor's own, as it is.
            yield tool
        else:
            dropped.append(place)


def _function(tool: dict[str, Any], function: dict[str, Any], *, takes_strict: bool) -> dict[str, Any]:
    said = {"name": function.get("name"), "input_schema": function.get("parameters") or _NO_PARAMETERS}
    if function.get("description"):
        said["description"] = function["description"]
    if function.get("strict") and takes_strict:
        said["strict"] = True
    if tool.get("cache_control") is not None:
        said["cache_control"] = tool["cache_control"]
    return said


def _choice(choice: Any) -> dict[str, Any] | None:
    if isinstance(choice, str):
        return {"type": _CHOICES[choice]} if choice in _CHOICES else None
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return {"type": "tool", "name": function["name"]}
    return None
