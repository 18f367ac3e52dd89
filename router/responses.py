"""Calls in the words of OpenAI's `/v1/responses`: what is kept of them beside a chat completion's shape, and what
becomes of that where a deployment speaks otherwise. Pure.

A body has a chat completion's shape, whatever it came in. A call that came in Responses' words has an `AsSent` in it,
with the fields that this shape cannot give back; its messages may hold items that are nobody's words (a thought, the
record of a search): those have a type and no role. Source: the request types of the `openai` package, version 3.52.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.errors import Inexpressible
from router.lessons import RESPONSES

# The body's field for an AsSent. No JSON decodes to one, so no caller can bring one along.
AS_SENT: Final = "as_sent"
ENDPOINT: Final = RESPONSES
MAX_ID_CHARS: Final = 2048
# What an answer says of its thoughts in fields of its own, for the next call to say again.
THOUGHT_FIELDS: Final = ("thinking_blocks", "thought_signatures")
BOUNDED_TOOLS: Final = ("function", "custom")
_OURS: Final = "farthing1."
# An item's kind, the digits of its generation, its place.
_ITEM_OF_OURS: Final = re.compile(r"(?:msg|rs|fc|ctc)_[0-9a-v]{26}_\d+")
_ID: Final = "resp_"
# What is sent as part of the messages, and stands or falls with them.
_STANDS_FOR: Final = {"input": "messages", "instructions": "messages", "tools": "tools"}
_KEPT_THERE: Final = {
    "previous_response_id": "an earlier response",
    "conversation": "a conversation that its provider keeps",
    "prompt": "a prompt that its provider keeps",
}
_NO_PLACE: Final = ("truncation", "max_tool_calls", "context_management", "moderation", "text", "prompt_cache_options")
_NEUTRAL: Final[dict[str, Any]] = {"truncation": "disabled"}
# Records of what was done at the provider; what came of it, the messages after them tell.
_RECORDS: Final = frozenset(
    {"reasoning", "web_search_call", "file_search_call", "code_interpreter_call", "mcp_list_tools", "mcp_call"}
)
# Items whose words the messages have, and under which of their names.
_MADE_MESSAGES: Final = (
    "message", "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output",
)  # fmt: skip
_IN_MESSAGES: Final = ("type", "role", "content", "call_id", "name", "arguments", "input", "output", "id", "status")
_THINKING_DIALECTS: Final = frozenset({"anthropic", "gemini"})


class AsSent(msgspec.Struct, frozen=True, kw_only=True):
    """What a call in Responses' words said that its body does not. fields: {field: as it was sent}.

    lost: the names of what the messages have no place for, where they are sent in other words. gone: of what is sent
    nowhere.
    """

    fields: dict[str, Any] = {}
    lost: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def standing(self, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Its fields, less those whose place in the body was left out since."""
        for name, value in self.fields.items():
            if _STANDS_FOR[name] in body:
                yield name, value

    def beyond_messages(self) -> Iterator[Any]:
        """The values that are sent and that the messages have no place for, of items that became messages."""
        given = self.fields.get("input")
        for item in given if isinstance(given, list) and self.lost else ():
            if item.get("type", "message") in _MADE_MESSAGES:
                yield from (value for name, value in item.items() if name not in _IN_MESSAGES)


NOTHING_MORE: Final = AsSent()


def as_sent_of(body: dict[str, Any]) -> AsSent | None:
    """What is kept beside this body. None: it did not come in Responses' words."""
    found = body.get(AS_SENT)
    return found if isinstance(found, AsSent) else None


def response_id(generation_id: str, deployment_id: str, provider_response_id: str) -> str:
    """The id of a response: of its generation and, where the provider kept it, of whom it can be gone on with.

    provider_response_id: what the provider calls it; empty: it keeps nothing.
    """
    name = _ID + generation_id.removeprefix("gen_")
    if not provider_response_id:
        return name
    kept = f"{deployment_id}\n{provider_response_id}".encode()
    return f"{name}_{base64.urlsafe_b64encode(kept).decode().rstrip('=')}"


def is_kept(name: str) -> bool:
    """Whether this response can be gone on with."""
    return origin_of(name) is not None


def origin_of(name: Any) -> tuple[str, str] | None:
    """(deployment id, what its provider calls the response), from an id of ours. None: it is not one to go on with."""
    if not isinstance(name, str) or not name.startswith(_ID) or len(name) > MAX_ID_CHARS:
        return None
    _, _, coded = name.removeprefix(_ID).partition("_")
    try:
        kept = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    deployment_id, separator, provider_response_id = kept.partition("\n")
    return (deployment_id, provider_response_id) if separator and deployment_id and provider_response_id else None


def is_item_of_ours(name: Any) -> bool:
    """Whether an item of this id was made here, of what was said in other words. Nobody keeps those."""
    return isinstance(name, str) and _ITEM_OF_OURS.fullmatch(name) is not None


def sealed_thoughts(fields: dict[str, Any]) -> str:
    """Fields of THOUGHT_FIELDS as a reasoning item carries them, in `encrypted_content`: to be sent back, not read."""
    return _OURS + base64.urlsafe_b64encode(msgspec.json.encode(fields)).decode()


def is_sealed_here(item: Any) -> bool:
    """Whether this is what carries thoughts that were sealed here: their provider alone can use them."""
    sealed = item.get("encrypted_content") if isinstance(item, dict) else None
    return isinstance(sealed, str) and sealed.startswith(_OURS)


def opened_thoughts(item: dict[str, Any]) -> dict[str, Any] | None:
    """What `sealed_thoughts` sealed. None: this item is of another's making."""
    if not is_sealed_here(item):
        return None
    sealed: str = item["encrypted_content"]
    try:
        fields = msgspec.json.decode(base64.urlsafe_b64decode(sealed.removeprefix(_OURS)), type=dict[str, list[Any]])
    except (ValueError, RecursionError):
        return None
    return {name: fields[name] for name in THOUGHT_FIELDS if name in fields}


def add_message(messages: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Put it at the end. What the model said and what it called at once are one message in a chat completion."""
    last = messages[-1] if messages else {}
    is_turn = last.get("role") == message.get("role") == "assistant"
    if not is_turn or (_speaks(last) and _speaks(message) and not last.get("tool_calls")):
        messages.append(message)
        return
    lists = {
        name: [*(last.get(name) or ()), *(message.get(name) or ())]
        for name in ("tool_calls", *THOUGHT_FIELDS)
        if last.get(name) or message.get(name)
    }
    if last.get("content") and message.get("content"):
        # A call's result must follow it at once, so what was said after it goes before it.
        lists["content"] = [*_parts(last["content"]), *_parts(message["content"])]
    said = {name: value for name, value in message.items() if value is not None}
    messages[-1] = {**last, **said, **lists}


def in_chat(body: dict[str, Any], dialect: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body without what only Responses has words for, and the names of what went. Others' bodies stay as they are.

    Raises Inexpressible for what the call would be another without.
    """
    as_sent = as_sent_of(body)
    if as_sent is None:
        return body, ()
    for name, what in _KEPT_THERE.items():
        if body.get(name) is not None:
            raise Inexpressible(where=name, what=what, dialect=dialect)
    said = {name: value for name, value in body.items() if name != AS_SENT and name not in _NO_PLACE}
    lost = [name for name in _NO_PLACE if body.get(name) is not None and body[name] != _NEUTRAL.get(name)]
    said["messages"] = _messages(body.get("messages"), dialect, lost)
    _fit_tools(said, lost)
    _fit_reasoning(said, dialect, lost)
    _fit_extras(said, dialect, lost)
    return said, tuple(dict.fromkeys((*as_sent.gone, *as_sent.lost, *lost)))


def _messages(given: Any, dialect: str, lost: list[str]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for message in given if isinstance(given, list) else ():
        if "role" in message:
            add_message(messages, message)
            continue
        kind = message.get("type")
        thoughts = opened_thoughts(message) if dialect in _THINKING_DIALECTS else None
        if thoughts:
            add_message(messages, {"role": "assistant", "content": None, **thoughts})
        elif kind in _RECORDS:
            lost.append(f"input.{kind}")
        else:
            raise Inexpressible(where="input", what=f"an item of the type {kind!r}", dialect=dialect)
    return messages


def _fit_tools(said: dict[str, Any], lost: list[str]) -> None:
    """Only functions and free text can be called elsewhere; without any tool nothing is to be said of them."""
    given = said.get("tools")
    if isinstance(given, list):
        places = [index for index, tool in enumerate(given) if _is_bounded(tool)]
        lost += [f"tools[{index}]" for index in range(len(given)) if index not in places]
        said["tools"] = [given[index] for index in places]
    choice = said.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") not in (*BOUNDED_TOOLS, "allowed_tools"):
        lost.append("tool_choice")
        del said["tool_choice"]
    if given and not said["tools"]:
        for name in ("tool_choice", "parallel_tool_calls"):
            if said.pop(name, None) is not None:
                lost.append(name)
    if not said.get("tools"):
        said.pop("tools", None)


def _fit_reasoning(said: dict[str, Any], dialect: str, lost: list[str]) -> None:
    reasoning = said.pop("reasoning", None)
    for name, value in reasoning.items() if isinstance(reasoning, dict) else ():
        if name == "summary" and dialect in _THINKING_DIALECTS and said.get("reasoning_effort") not in (None, "none"):
            said["include_thoughts"] = True
        elif value is not None:
            lost.append(f"reasoning.{name}")


def _fit_extras(said: dict[str, Any], dialect: str, lost: list[str]) -> None:
    include = said.pop("include", None)
    # Elsewhere thoughts are sealed by us, asked or not.
    sealed = ["reasoning.encrypted_content"] if dialect in _THINKING_DIALECTS else []
    if isinstance(include, list) and any(name not in sealed for name in include):
        lost.append("include")
    if said.get("logprobs") is not True and said.pop("top_logprobs", None) is not None:
        lost.append("top_logprobs")
    if dialect not in _THINKING_DIALECTS and said.get("store") is not True and said.pop("metadata", None):
        # OpenAI refuses it beside a completion that is not kept.
        lost.append("metadata")


def _is_bounded(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type", "function") in BOUNDED_TOOLS


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _speaks(message: dict[str, Any]) -> bool:
    return bool(message.get("content") or message.get("refusal"))
