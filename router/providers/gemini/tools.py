"""Tools and the choice among them, from a chat completion to the Gemini API. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

_CHOICES: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """request: the fields to send. dropped: what has no place there."""

    request: dict[str, Any]
    dropped: tuple[str, ...]


_NONE: Final = Tools(request={}, dropped=())


def tools_of(body: Mapping[str, Any]) -> Tools:
    """What to send for `tools`, `tool_choice` and `parallel_tool_calls`.

    The vendor's own tools (a search, say) are left out: they are billed by the call, which no hold bounds.
    """
    given, choice, parallel = body.get("tools"), body.get("tool_choice"), body.get("parallel_tool_calls")
    if not given and choice is None and parallel is None:
        return _NONE
    dropped: list[str] = []
    declared = list(_declarations(given, dropped))
    chosen = _choice(choice) if declared else None
    if choice is not None and chosen is None:
        dropped.append("tool_choice")
    if parallel not in (None, True):
        dropped.append("parallel_tool_calls")
    request: dict[str, Any] = {"tools": [{"functionDeclarations": declared}]} if declared else {}
    if chosen is not None:
        request["toolConfig"] = {"functionCallingConfig": chosen}
    return Tools(request=request, dropped=tuple(dropped))


def _declarations(given: Any, dropped: list[str]) -> Iterator[dict[str, Any]]:
    for index, tool in enumerate(given if isinstance(given, list) else ()):
        place = f"tools[{index}]"
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            dropped.append(place)
            continue
        if function.get("strict"):
            dropped.append(f"{place}.strict")
        declared = {"name": function.get("name")}
        if function.get("description"):
            declared["description"] = function["description"]
        if function.get("parameters"):
            # Whole JSON schemas; `parameters` takes a part of OpenAPI's only.
            declared["parametersJsonSchema"] = function["parameters"]
        yield declared


def _choice(choice: Any) -> dict[str, Any] | None:
    if isinstance(choice, str):
        return {"mode": _CHOICES[choice]} if choice in _CHOICES else None
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return {"mode": "ANY", "allowedFunctionNames": [function["name"]]}
    return None
