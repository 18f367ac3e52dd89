"""A response as such: its items under what was asked, with its usage and what it cost."""

from typing import Any, Final

from router.answer import Choice
from router.call import Call
from router.providers.openai_responses import fields_of
from router.reply import Finished
from router.responses import is_kept, response_id
from service.openai_chat import cost_object
from service.responses.items import is_complete

Fields = dict[str, Any]

_REASONS: Final = {"length": "max_output_tokens"}
_NO_CHOICE: Final = Choice(text="", finish_reason="")
# What a response says of its request where that left it open.
DEFAULTS: Final[Fields] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
_ECHOED: Final = (*DEFAULTS, "safety_identifier", "prompt_cache_key", "prompt_cache_retention")


def digits(call: Call) -> str:
    """What the ids of this call's response and items have in common with its own."""
    return call.generation_id.removeprefix("gen_")


def usage_object(finished: Finished) -> Fields:
    """The usage of a response, with what it cost. Counts are null where nobody knows them."""
    usage, cost = finished.receipt.usage, cost_object(finished.receipt)
    if usage is None:
        return {"input_tokens": None, "output_tokens": None, "total_tokens": None, **cost}
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_written_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        **cost,
    }


def choice_of(finished: Finished) -> Choice:
    return finished.answer.choices[0] if finished.answer.choices else _NO_CHOICE


def keeps(call: Call) -> bool:
    """Whether a provider that speaks of responses keeps this one."""
    return call.body.get("store") is not False


def kept_id(call: Call, finished: Finished) -> str:
    """What the provider calls the response, if it keeps it. Empty: it does not."""
    is_response = bool(choice_of(finished).items)
    return finished.answer.provider_response_id if is_response and keeps(call) else ""


def id_of(call: Call, finished: Finished) -> str:
    receipt = finished.receipt
    return response_id(call.generation_id, f"{receipt.provider}:{receipt.model}", kept_id(call, finished))


def ended(call: Call, name: str, finished: Finished, output: list[Fields]) -> Fields:
    """The response of a whole answer."""
    answer, reason = finished.answer, choice_of(finished).finish_reason
    is_whole = is_complete(reason)
    response = response_of(
        call,
        name,
        "completed" if is_whole else "incomplete",
        model=answer.provider_model or finished.receipt.model,
        output=output,
    )
    if not is_whole:
        response["incomplete_details"] = {"reason": _REASONS.get(reason, reason)}
    extra = answer.extra or {}
    tier = extra.get("service_tier") or response["service_tier"]
    return {**extra, **response, "service_tier": tier, "usage": usage_object(finished)}


def response_of(call: Call, name: str, status: str, *, model: str, output: list[Fields]) -> Fields:
    """The response as such, with what was asked for."""
    asked = fields_of(call.body)
    return {
        **DEFAULTS,
        **{field: asked[field] for field in _ECHOED if field in asked},
        "id": name,
        "object": "response",
        "created_at": call.received_at_ms // 1000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": output,
        "store": is_kept(name),
        "usage": None,
    }
