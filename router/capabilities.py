"""Which parameters a deployment takes. What it does not take is left out by name; messages are never changed. Pure."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from router.deployments import Deployment
from router.parts import IMAGE_PARTS

# {capability: the parameters that ask for it}. A deployment that lists what it `supports` takes no other of these.
PARAMETERS: Final = {
    "tools": ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
    "json_schema": ("response_format",),
    "reasoning_effort": ("reasoning_effort",),
    "reasoning_summary": ("reasoning",),
    # The latter is how Claude is asked for one.
    "thinking_budget": ("thinking_budget", "thinking"),
    "include_thoughts": ("include_thoughts",),
    # Who samples by himself takes none of what shapes it.
    "temperature": (
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
    ),
}
VISION: Final = "vision"
CAPABILITIES: Final = frozenset({*PARAMETERS, VISION})
# Said so, these change nothing: whoever takes no other value takes that.
_DEFAULTS: Final[dict[str, Any]] = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
# {parameter of a chat completion: the value that asks for nothing}: a format without words for it loses nothing.
NEUTRAL: Final[Mapping[str, Any]] = {
    "n": 1,
    "best_of": 1,
    "store": False,
    "logprobs": False,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "modalities": ["text"],
    "response_format": {"type": "text"},
}
# Blocks of Anthropic's own format that are tool calls and their results. Not a set: a type may be of any type.
_TOOL_BLOCKS: Final = ("tool_use", "tool_result")
_NOTHING: Final[frozenset[str]] = frozenset()


def gated(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as this deployment takes it, and the names of what was left out. supports None: it takes everything."""
    supports = deployment.supports
    if supports is None:
        return body, ()
    refused = _refused(supports)
    dropped = tuple(name for name in body if name in refused and body[name] != _DEFAULTS.get(name, body))
    if not dropped:
        return body, ()
    return {name: value for name, value in body.items() if name not in dropped}, dropped


def needed(body: dict[str, Any]) -> frozenset[str]:
    """What the call cannot do without: its answer would be to another question."""
    wanted = _needed_by_messages(body.get("messages"))
    choice, form = body.get("tool_choice"), body.get("response_format")
    if choice == "required" or isinstance(choice, dict):
        wanted |= {"tools"}
    if isinstance(form, dict) and isinstance(schema := form.get("json_schema"), dict) and schema.get("strict") is True:
        wanted |= {"json_schema"}
    config = body.get("output_config")
    if isinstance(config, dict) and config.get("format") is not None:
        wanted |= {"json_schema"}
    return wanted


def lacks(deployment: Deployment, wanted: frozenset[str]) -> bool:
    """Whether the deployment is known not to take something of this."""
    return deployment.supports is not None and not wanted <= deployment.supports


@functools.lru_cache(maxsize=1024)
def _refused(supports: frozenset[str]) -> frozenset[str]:
    return frozenset(name for capability, names in PARAMETERS.items() if capability not in supports for name in names)


def _needed_by_messages(messages: Any) -> frozenset[str]:
    wanted = _NOTHING
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        if message.get("role") == "tool" or message.get("tool_calls"):
            wanted |= {"tools"}
        for part in _parts(message.get("content")):
            kind = part.get("type")
            if kind in IMAGE_PARTS:
                wanted |= {VISION}
            elif kind in _TOOL_BLOCKS:
                wanted |= {"tools"}
                if any(inner.get("type") in IMAGE_PARTS for inner in _parts(part.get("content"))):
                    wanted |= {VISION}
    return wanted


def _parts(content: Any) -> Iterator[dict[str, Any]]:
    return (part for part in content if isinstance(part, dict)) if isinstance(content, list) else iter(())
