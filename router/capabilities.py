"""Which parameters a deployment takes. What it does not take is left out by name; messages are never changed. Pure."""

from typing import Any, Final

from router.deployments import Deployment

# {capability: the parameters that ask for it}. A deployment that lists what it `supports` takes no other of these.
PARAMETERS: Final = {
    "tools": ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
    "json_schema": ("response_format",),
    "reasoning_effort": ("reasoning_effort",),
    "reasoning_summary": ("reasoning",),
    "thinking_budget": ("thinking_budget",),
    "include_thoughts": ("include_thoughts",),
    "temperature": ("temperature",),
}


def gated(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as this deployment takes it, and the names of what was left out. supports None: it takes everything."""
    supports = deployment.supports
    if supports is None:
        return body, ()
    refused = {name for capability, names in PARAMETERS.items() if capability not in supports for name in names}
    dropped = tuple(name for name in body if name in refused)
    if not dropped:
        return body, ()
    return {name: value for name, value in body.items() if name not in refused}, dropped
