"""A canonical call as OpenAI's `/responses` takes it. Pure. Answers are read in openai_responses_reading.py.

What has no place there is left out and named by `fit`; what nobody here knows goes through as it is.
Source: the request types of the `openai` package, version 3.52.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.deployments import Deployment
from router.responses import AS_SENT, BOUNDED_TOOLS, ENDPOINT, AsSent, as_sent_of, is_sealed_here, origin_of

__all__ = ["ENDPOINT", "fields_of", "fit", "request_of"]

# Names of chat completions that this endpoint has no equal of.
_NO_PLACE: Final = frozenset(
    {"n", "best_of", "stop", "seed", "logit_bias", "frequency_penalty", "presence_penalty", "modalities", "audio"}
    | {"prediction", "web_search_options", "functions", "function_call", "thinking_budget", "include_thoughts"}
)
_NO_PLACE_IN_A_MESSAGE: Final = ("name", "reasoning_content", "audio", "function_call")
_TRANSLATED: Final = frozenset(
    {"messages", "tools", "tool_choice", "response_format", "verbosity", "text", "max_tokens", "max_completion_tokens"}
    | {"reasoning_effort", "reasoning", "store", "logprobs", "include", AS_SENT}
)
# Not sets: what a caller sends may be of any type.
_ROLES: Final = ("system", "developer", "user")
_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}}


def fit(body: dict[str, Any], _deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """As `router.dialects.Fit`. A null, and asking for one answer, say nothing that could be lost."""
    unsaid = [name for name in body if name in _NO_PLACE]
    lost = {name for name in unsaid if body[name] is not None and (name, body[name]) != ("n", 1)}
    as_sent = as_sent_of(body)
    # What came in this endpoint's words is sent as it came.
    messages = _objects(body.get("messages")) if as_sent is None else []
    if as_sent is not None:
        body, sealed = _without_sealed(body, as_sent)
        lost |= {*as_sent.gone, *sealed}
    for message in messages:
        lost |= {f"messages.{name}" for name in _NO_PLACE_IN_A_MESSAGE if message.get(name) is not None}
    said = {name: value for name, value in body.items() if name not in _NO_PLACE} if unsaid else body
    return said, tuple(sorted(lost))


def _without_sealed(body: dict[str, Any], as_sent: AsSent) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Without the thoughts of others that were sealed here, which OpenAI would take for its own and refuse."""
    left = [message for message in body["messages"] if not is_sealed_here(message)]
    if len(left) == len(body["messages"]):
        # Whatever is no message's words stands among the messages as it was sent.
        return body, ()
    fields = as_sent.fields
    if isinstance(items := fields.get("input"), list):
        fields = {**fields, "input": [item for item in items if not is_sealed_here(item)]}
    return {**body, "messages": left, AS_SENT: msgspec.structs.replace(as_sent, fields=fields)}, ("input.reasoning",)


def request_of(deployment: Deployment, body: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    """The request. Of a call that came in other words nothing is kept there, unless its caller asked for that."""
    request = {**fields_of(body), "model": deployment.model, "stream": stream}
    origin = origin_of(body.get("previous_response_id"))
    if origin is not None:
        request["previous_response_id"] = origin[1]
    return request


def fields_of(body: dict[str, Any]) -> dict[str, Any]:
    """All that is asked in this endpoint's words, as its caller sent it, if it came in them."""
    as_sent = as_sent_of(body)
    request = {name: value for name, value in body.items() if name not in _TRANSLATED and name not in _NO_PLACE}
    request |= {
        # Left out, it is kept: who came for chat completions expects the contrary.
        "store": body.get("store") is True if as_sent is None else body.get("store"),
        "input": list(_input(body)),
        "max_output_tokens": _first(body, "max_completion_tokens", "max_tokens"),
        "reasoning": _reasoning(body),
        "text": _text(body),
        "tools": [_tool(tool) for tool in _objects(body.get("tools"))] or None,
        "tool_choice": _tool_choice(body.get("tool_choice")),
        "include": _include(body),
    }
    if as_sent is not None:
        request |= as_sent.standing(body)
    return {name: value for name, value in request.items() if value is not None}


def _input(body: dict[str, Any]) -> Iterator[Any]:
    """Input items. A custom tool's result is told from a function's by the call that it answers."""
    custom_ids: list[Any] = []
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        role = message.get("role") if isinstance(message, dict) else None
        if role == "assistant":
            calls = _objects(message.get("tool_calls"))
            custom_ids += [call.get("id") for call in calls if call.get("type") == "custom"]
            yield from _assistant_items(message, calls)
        elif role == "tool":
            kind = "custom_tool_call" if message.get("tool_call_id") in custom_ids else "function_call"
            output = _content(message.get("content"), "input_text")
            yield {"type": f"{kind}_output", "call_id": message.get("tool_call_id"), "output": output}
        elif role in _ROLES:
            yield {"role": role, "content": _content(message.get("content"), "input_text")}
        else:
            # The provider says what is wrong with it.
            yield message


def _assistant_items(message: dict[str, Any], calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    content = _content(message.get("content"), "output_text")
    if refusal := message.get("refusal"):
        said = content if isinstance(content, list) else [{"type": "output_text", "text": content}] if content else []
        content = [*said, {"type": "refusal", "refusal": refusal}]
    if content or not calls:
        yield {"role": "assistant", "content": content}
    for call in calls:
        kind = "custom" if call.get("type") == "custom" else "function"
        called = call.get(kind)
        inner = called if isinstance(called, dict) else {}
        item = {"call_id": call.get("id"), "name": inner.get("name")}
        if kind == "custom":
            yield {"type": "custom_tool_call", **item, "input": inner.get("input")}
        else:
            yield {"type": "function_call", **item, "arguments": inner.get("arguments")}


def _content(content: Any, text_type: str) -> Any:
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    return [_part(part, text_type) if isinstance(part, dict) else part for part in content]


def _part(part: dict[str, Any], text_type: str) -> dict[str, Any]:
    kind = part.get("type")
    inner = part.get(kind) if isinstance(kind, str) else None
    if kind == "text":
        return {"type": text_type, "text": part.get("text")}
    if kind == "image_url":
        image = inner if isinstance(inner, dict) else {"url": inner}
        return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail") or "auto"}
    if kind == "file" and isinstance(inner, dict):
        return {"type": "input_file", **inner}
    return part


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Tools are flat here, and strict unless they say otherwise, which chat completions' are not."""
    kind = tool.get("type", "function")
    inner = tool.get(kind) if kind in BOUNDED_TOOLS else None
    if not isinstance(inner, dict):
        return tool
    if kind == "function":
        parameters = inner.get("parameters") or _NO_PARAMETERS
        return {"type": "function", **inner, "parameters": parameters, "strict": inner.get("strict") is True}
    form = inner.get("format")
    if isinstance(form, dict) and isinstance(form.get("grammar"), dict):
        return {"type": "custom", **inner, "format": {"type": "grammar", **form["grammar"]}}
    return {"type": "custom", **inner}


def _tool_choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    kind = choice.get("type")
    inner = choice.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, dict):
        return choice
    if kind == "allowed_tools":
        return {"type": kind, **inner, "tools": [_tool_choice(tool) for tool in _objects(inner.get("tools"))]}
    return {"type": kind, **inner}


def _reasoning(body: dict[str, Any]) -> Any:
    effort, reasoning = body.get("reasoning_effort"), body.get("reasoning")
    if effort is None or not isinstance(reasoning, dict | None):
        return reasoning
    return {"effort": effort, **(reasoning or {})}


def _text(body: dict[str, Any]) -> Any:
    text, wanted, verbosity = body.get("text"), body.get("response_format"), body.get("verbosity")
    if not isinstance(text, dict | None) or (wanted is None and verbosity is None):
        return text
    said: dict[str, Any] = {} if verbosity is None else {"verbosity": verbosity}
    if wanted is not None:
        said["format"] = _format(wanted)
    return {**said, **(text or {})}


def _format(wanted: Any) -> Any:
    schema = wanted.get("json_schema") if isinstance(wanted, dict) else None
    return {"type": "json_schema", **schema} if isinstance(schema, dict) else wanted


def _include(body: dict[str, Any]) -> Any:
    include = body.get("include")
    if body.get("logprobs") is not True or not isinstance(include, list | None):
        return include
    return [*(include or []), "message.output_text.logprobs"]


def _first(body: dict[str, Any], *names: str) -> Any:
    return next((body[name] for name in names if body.get(name) is not None), None)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
