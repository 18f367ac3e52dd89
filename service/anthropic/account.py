"""What an answer of Anthropic's Messages API says of itself: its id, what it took and what it cost."""

from typing import Any, Final

from router.answer import Answer
from router.call import Call, EventFormat
from router.reply import Finished
from service.openai_chat import cost_object

EVENT_FORMAT: Final[EventFormat] = "messages"


def message_id(call: Call) -> str:
    """The vendor's kind of id for this generation; the same digits, so that one leads to the other."""
    return "msg_" + call.generation_id.removeprefix("gen_")


def own_fields(answer: Answer) -> dict[str, Any]:
    """What Anthropic said beside what has a place of its own. Of what others say so, a message has no words."""
    return dict(answer.extra or {}) if answer.format == EVENT_FORMAT else {}


def usage_object(finished: Finished) -> dict[str, Any]:
    """Anthropic's usage, with what it cost: input is what caches neither read nor wrote. Null where nobody knows."""
    usage, cost = finished.receipt.usage, cost_object(finished.receipt)
    said = own_fields(finished.answer).get("usage")
    # How often a hosted tool ran, say; and its own counts, where more than these is charged.
    beside = said if isinstance(said, dict) else {}
    if usage is None:
        return {"input_tokens": None, "output_tokens": None, **beside, **cost}
    return {
        "input_tokens": usage.prompt_tokens - usage.cache_read_tokens - usage.cache_written_tokens,
        "cache_creation_input_tokens": usage.cache_written_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        **beside,
        **cost,
    }
