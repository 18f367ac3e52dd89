"""A body of Anthropic's Messages API as the router has calls: a chat completion's, as far as the two share words.

Messages keep their own blocks and tools their own shape; parameters that chat completions have no name for stand apart,
fields nobody here knows among them (see router/providers/anthropic/native.py). Nothing is lost.
Source: platform.claude.com/docs, "Messages"; the request types of the `anthropic` package, version 2.12.
"""

from typing import Annotated, Any, Final

import msgspec

from router.providers.anthropic.native import OWN, Own
from service.asked import Count

# Named alike in both formats, or read by the router under this name.
_SHARED: Final = frozenset(
    {"max_tokens", "temperature", "top_p", "top_k", "tools", "thinking", "output_config", "cache_control"}
)
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_TIERS: Final = {"auto": "auto", "standard_only": "default"}


class NativeMessage(msgspec.Struct):
    """The least that a message must be. Whatever else it holds goes through as it is."""

    role: str
    content: str | list[dict[str, Any]]


class Metadata(msgspec.Struct):
    """The part of `metadata` that is read here."""

    user_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class TokensBody(msgspec.Struct, kw_only=True):
    """The fields of a count_tokens body that are read here; the others count for nothing, or go through."""

    model: str
    messages: Annotated[list[NativeMessage], msgspec.Meta(min_length=1)]
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None


class MessagesBody(TokensBody, kw_only=True):
    """The fields that are read here. All others go through unread."""

    max_tokens: Count | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    metadata: Metadata | None = None


def canonical(value: dict[str, Any]) -> dict[str, Any]:
    """The call's body, from one that is a MessagesBody or a TokensBody, less its model and stream."""
    body: dict[str, Any] = {"messages": value["messages"]}
    own: dict[str, Any] = {}
    for name, given in value.items():
        if name in _SHARED:
            body[name] = given
        elif name not in _READ:
            own[name] = given
    if value.get("system"):
        body["messages"] = [{"role": "system", "content": value["system"]}, *value["messages"]]
    if value.get("stop_sequences"):
        body["stop"] = value["stop_sequences"]
    for translate, name in ((_choice, "tool_choice"), (_user, "metadata"), (_tier, "service_tier")):
        if value.get(name) is not None:
            said = translate(value[name])
            # What the other format has no words for stays in its own.
            (own if said is None else body).update({name: value[name]} if said is None else said)
    body[OWN] = Own(own)
    return body


_READ: Final = frozenset(
    {"model", "messages", "system", "stream", "stop_sequences", "tool_choice", "metadata", "service_tier"}
)


def _choice(choice: Any) -> dict[str, Any] | None:
    kind = choice.get("type") if isinstance(choice, dict) else None
    parallel = choice.get("disable_parallel_tool_use") if isinstance(choice, dict) else None
    said: dict[str, Any] = {"parallel_tool_calls": False} if parallel is True else {}
    if isinstance(kind, str) and kind in _CHOICES:
        return {"tool_choice": _CHOICES[kind], **said}
    if kind == "tool" and isinstance(choice.get("name"), str):
        return {"tool_choice": {"type": "function", "function": {"name": choice["name"]}}, **said}
    return None


def _user(metadata: Any) -> dict[str, Any] | None:
    is_known = isinstance(metadata, dict) and metadata.keys() == {"user_id"} and bool(metadata["user_id"])
    return {"user": metadata["user_id"]} if is_known else None


def _tier(tier: Any) -> dict[str, Any] | None:
    return {"service_tier": _TIERS[tier]} if isinstance(tier, str) and tier in _TIERS else None
