"""A body of OpenAI's `POST /v1/responses` in the shape of a chat completion, and what that shape cannot say. Pure.

Nothing is lost: what does not come out again as it went in (`router.providers.openai_responses.fields_of`) is kept
beside it, in an `AsSent`, for deployments that speak the same. Source: the request types of the `openai` package, 3.52.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from router.providers.openai_responses import fields_of
from router.responses import AS_SENT, NOTHING_MORE, AsSent, add_message, is_item_of_ours, origin_of
from service.refusals import InvalidRequest

Fields = dict[str, Any]

# What chat completions call otherwise. {its name there: what it is called here}
_OTHER_WORDS: Final = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning.effort",
    "logprobs": "include",
    "functions": "tools",
    "function_call": "tool_choice",
}
_LOGPROBS: Final = "message.output_text.logprobs"
# Of these the messages have no copy that could be compared: they are compared as they come out again.
_COMPARED: Final = ("input", "instructions", "tools")
_ROLES: Final = ("user", "system", "developer", "assistant")
_MESSAGE_FIELDS: Final = ("type", "role", "content")
_CALL_FIELDS: Final = ("type", "call_id", "name", "arguments", "input", "output")
# Names of what was said once, which nobody needs to understand it.
_NAMES: Final = ("id", "status")


def chat_body(value: Fields) -> Fields:
    """The call's body. value: the request's, less `model` and what is said of the stream. Raises InvalidRequest."""
    _refuse(value)
    value, gone = _without_our_thoughts(value)
    lost: list[str] = []
    messages: list[Fields] = []
    if value.get("instructions") is not None:
        messages.append({"role": "system", "content": value["instructions"]})
    for message in _messages(value.get("input"), lost):
        add_message(messages, message)
    if not messages and value.get("prompt") is None:
        raise InvalidRequest("must be given", where="input")
    body: Fields = {"messages": messages}
    for name, given in value.items():
        if given is not None and name not in {"input", "instructions"}:
            body |= _FIELDS[name](given) if name in _FIELDS else {name: given}
    said = fields_of({**body, AS_SENT: NOTHING_MORE})
    fields = {name: value[name] for name in _COMPARED if value.get(name) and not _is_same(value[name], said.get(name))}
    is_all = not (fields or gone) and all("role" in message for message in messages)
    beside = NOTHING_MORE if is_all else AsSent(fields=fields, lost=tuple(dict.fromkeys(lost)), gone=gone)
    return {**body, AS_SENT: beside}


def _refuse(value: Fields) -> None:
    for name, here in _OTHER_WORDS.items():
        if value.get(name) is not None:
            raise InvalidRequest(f"is a field of chat completions; here it is {here}", where=name)
    if value.get("background"):
        raise InvalidRequest("responses in the background are not kept here: leave it out", where="background")
    if value.get("n") not in (None, 1):
        raise InvalidRequest("a response is one; /v1/chat/completions gives more", where="n")
    earlier = value.get("previous_response_id")
    if earlier is not None and origin_of(earlier) is None:
        text = "no provider kept that response for this service: send its items again, as input"
        raise InvalidRequest(text, where="previous_response_id")


def _without_our_thoughts(value: Fields) -> tuple[Fields, tuple[str, ...]]:
    """Thoughts that were told in other words, and are only referred to, are kept by nobody; one can go on without."""
    given = value.get("input")
    items = given if isinstance(given, list) else []
    left = [item for item in items if not _refers_to_our_thought(item)]
    if len(left) == len(items):
        return value, ()
    return {**value, "input": left}, ("input.reasoning",)


def _refers_to_our_thought(item: Fields) -> bool:
    name = item.get("id")
    return item.get("type") == "item_reference" and is_item_of_ours(name) and str(name).startswith("rs_")


def _messages(given: Any, lost: list[str]) -> Iterable[Fields]:
    if given is None:
        return []
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return [_message(item, f"input[{index}]", lost) for index, item in enumerate(given)]


def _message(item: Fields, where: str, lost: list[str]) -> Fields:
    """One item as a message. What is nobody's words (a thought, a search) stays an item."""
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if kind == "item_reference" and is_item_of_ours(item.get("id")):
        text = "no provider kept that item for this service: send it whole, as clients do that are told store = false"
        raise InvalidRequest(text, where=where)
    read = _ITEMS.get(kind) if isinstance(kind, str) else None
    if read is None:
        return {**{name: value for name, value in item.items() if name != "role"}, "type": kind}
    known = _MESSAGE_FIELDS if kind == "message" else _CALL_FIELDS
    lost += [f"input.{name}" for name in item if name not in known and name not in _NAMES and item[name] is not None]
    return read(item, where, lost)


def _words(item: Fields, where: str, lost: list[str]) -> Fields:
    role = item.get("role")
    if role not in _ROLES:
        raise InvalidRequest(f"{role!r} is no role; there are {', '.join(_ROLES)}", where=f"{where}.role")
    message: Fields = {"role": role, "content": _content(item.get("content"), f"{where}.content", lost)}
    if role == "assistant" and isinstance(message["content"], list):
        refusals = [part["refusal"] for part in message["content"] if part.get("type") == "refusal"]
        message["content"] = [part for part in message["content"] if part.get("type") != "refusal"] or None
        if refusals:
            message["refusal"] = "".join(map(str, refusals))
    return message


def _call(item: Fields, kind: str, arguments: str) -> Fields:
    called = {"name": item.get("name"), arguments: item.get(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": item.get("call_id"), "type": kind, kind: called}],
    }


def _result(item: Fields, where: str, lost: list[str]) -> Fields:
    content = _content(item.get("output"), f"{where}.output", lost)
    return {"role": "tool", "tool_call_id": item.get("call_id"), "content": content}


_ITEMS: Final[Mapping[str, Callable[[Fields, str, list[str]], Fields]]] = {
    "message": _words,
    "function_call": lambda item, _where, _lost: _call(item, "function", "arguments"),
    "custom_tool_call": lambda item, _where, _lost: _call(item, "custom", "input"),
    "function_call_output": _result,
    "custom_tool_call_output": _result,
}


def _content(content: Any, where: str, lost: list[str]) -> Any:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise InvalidRequest("must be a text or a list of parts", where=where)
    return [_part(part, lost) for part in content]


def _part(part: Fields, lost: list[str]) -> Fields:
    kind = part.get("type")
    if kind in ("input_text", "output_text"):
        if part.get("annotations"):
            lost.append("input.annotations")
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and part.get("image_url") is not None:
        image = {"url": part["image_url"]}
        return {"type": "image_url", "image_url": image | ({"detail": part["detail"]} if part.get("detail") else {})}
    if kind == "input_file":
        return {"type": "file", "file": _within(part)}
    return part


def _tools(given: Any) -> Fields:
    return {"tools": [_tool(tool) for tool in given]}


def _tool(tool: Fields) -> Fields:
    """Functions and custom tools are nested there. A hosted tool has no other words."""
    kind = tool.get("type")
    if kind not in ("function", "custom"):
        return tool
    inner = _within(tool)
    form = inner.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        inner["format"] = {"type": "grammar", "grammar": _within(form)}
    return {"type": kind, kind: inner}


def _tool_choice(choice: Any) -> Fields:
    return {"tool_choice": _nested(choice)}


def _nested(choice: Any) -> Any:
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in ("function", "custom", "allowed_tools"):
        return choice
    inner = _within(choice)
    if isinstance(tools := inner.get("tools"), list):
        inner["tools"] = [_nested(tool) for tool in tools]
    return {"type": kind, kind: inner}


def _reasoning(reasoning: Fields) -> Fields:
    rest = {name: value for name, value in reasoning.items() if name != "effort" and value is not None}
    effort = reasoning.get("effort")
    return ({} if effort is None else {"reasoning_effort": effort}) | ({"reasoning": rest} if rest else {})


def _text(text: Fields) -> Fields:
    said: Fields = {}
    form = text.get("format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        form = {"type": "json_schema", "json_schema": _within(form)}
    # Text is what comes unasked.
    if form is not None and form != {"type": "text"}:
        said["response_format"] = form
    if text.get("verbosity") is not None:
        said["verbosity"] = text["verbosity"]
    rest = {name: value for name, value in text.items() if name not in {"format", "verbosity"}}
    return said | ({"text": rest} if rest else {})


def _include(include: Any) -> Fields:
    rest = [name for name in include if name != _LOGPROBS]
    return ({"logprobs": True} if _LOGPROBS in include else {}) | ({"include": rest} if rest else {})


_FIELDS: Final[Mapping[str, Callable[[Any], Fields]]] = {
    "max_output_tokens": lambda limit: {"max_tokens": limit},
    "tools": _tools,
    "tool_choice": _tool_choice,
    "reasoning": _reasoning,
    "text": _text,
    "include": _include,
    "background": lambda _: {},
}


def _within(said: Fields) -> Fields:
    """What stands within its type's name in chat completions, where null is no value."""
    return {name: value for name, value in said.items() if name != "type" and value is not None}


def _is_same(given: Any, said: Any) -> bool:
    """Whether this field comes out as it went in, but for what goes without saying."""
    if isinstance(given, str):
        return bool(said == [{"role": "user", "content": given}])
    plain = [
        {name: value for name, value in item.items() if (name, value) != ("type", "message")}
        if isinstance(item, dict)
        else item
        for item in given
    ]
    return bool(plain == said)
