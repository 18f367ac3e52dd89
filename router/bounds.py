"""The most that a call can read and write, without counting a token. Pure, linear, cheap. Source: DESIGN §7.

A byte-level tokenizer makes no token from less than one byte, so UTF-8 bytes bound the tokens of a text; structure
(roles, separators, tool schemas as the provider rewrites them) gets a generous allowance.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from router.embeddings import inputs_of
from router.json_text import PIECE_CHARS, json_pieces
from router.parts import IMAGE_PARTS, unbounded_in
from router.providers.anthropic.native import Own, own_of
from router.responses import BOUNDED_TOOLS, AsSent

PER_CALL: Final = 64
PER_MESSAGE: Final = 16
PER_PART: Final = 16
# What providers say of their own where there are tools (Anthropic: up to 530 tokens).
PER_TOOLS: Final = 1024
PER_INPUT: Final = 16
# The dearest image that a provider publishes a formula for is below this (notes: a 12 MP photo, 14,364 tokens).
PER_IMAGE: Final = 16_384
# Providers rewrite tool schemas into text of their own; that has been seen to take up to twice the JSON's bytes.
SCHEMA_FACTOR: Final = 2
# How a body says how long its answer may be.
LIMITS: Final = ("max_completion_tokens", "max_tokens")
_OF_TEXT: Final = frozenset({"type", "text"})
_SCHEMAS: Final = ("tools", "functions", "response_format", "output_config")
# Parameters that no model reads: numbers, switches, names. Whatever else is sent may be text that somebody makes part
# of the prompt, as vLLM does with `documents`, and is counted as if it were.
_UNREAD: Final = frozenset({
    "model", "stream", "stream_options", "n", "best_of", "seed", "stop", "user", "metadata", "store", "service_tier",
    "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
    "logit_bias", "logprobs", "top_logprobs", "modalities", "audio", "verbosity", "reasoning_effort", "reasoning",
    "thinking", "thinking_budget", "include_thoughts", "parallel_tool_calls", "max_tool_calls", "include", "truncation",
    "cache_control", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "safety_settings",
})  # fmt: skip
_COUNTED: Final = _UNREAD | {"messages", *_SCHEMAS, *LIMITS}
_PRICED_TIERS: Final = (None, "auto", "default", "standard")
_UNBOUNDED: Final = (
    *("web_search_options", "prediction"),
    # What a provider keeps is of a length that nobody here knows.
    *("previous_response_id", "conversation", "prompt", "cached_content"),
    # A program that may say each word again and again. Source: docs.vllm.ai, "Chat API", extra parameters.
    "chat_template",
)
# Searches and papers that are billed on top, and models that are billed instead. Sources: openrouter.ai/docs, "Model
# fallbacks" (models) and "Plugins"; help.aliyun.com, "Model Studio: web search" (enable_search).
_CHARGED: Final = ("models", "plugins", "enable_search")
_COSTLY: Final = frozenset({*_UNBOUNDED, *_CHARGED, "search_parameters", "extra_body"})
# Anthropic's, under names with dates, that callers run themselves: nothing but their tokens is billed.
_CALLERS_TOOLS: Final = ("bash_", "text_editor_", "computer_", "memory_")
# Of a context, under names with dates: nothing new is written for it.
_CLEARING: Final = "clear_"
# What such a tool's own description comes to at most (a computer's: 1,235 tokens).
PER_VENDORS_TOOL: Final = 2048
# What of Anthropic's own can make a call dearer than its price says, unless it has a value that does not.
_OWN_PRICED: Final[Mapping[str, tuple[Any, ...]]] = {
    "mcp_servers": (None, []),
    "container": (None,),
    "compaction": (None,),
    "fallbacks": (None, []),
    "speed": (None, "standard"),
    "inference_geo": (None, "global"),
    "service_tier": (None,),
}


def input_bound_tokens(body: dict[str, Any], context_window: int | None) -> int:
    """No provider reads more tokens for this body than this."""
    messages = body.get("messages")
    bound = PER_CALL
    if isinstance(messages, list):
        bound += sum(_message_bound(message) for message in messages)
    if body.get("tools"):
        bound += PER_TOOLS + PER_VENDORS_TOOL * sum(map(_is_callers_own, _objects(body["tools"])))
    for name in _SCHEMAS:
        if value := body.get(name):
            bound += SCHEMA_FACTOR * len(msgspec.json.encode(value))
    for name in body.keys() - _COUNTED:
        bound += _field_bound(body[name])
    return bound if context_window is None else min(bound, context_window)


def embedded_bound_tokens(body: dict[str, Any], context_window: int | None) -> int:
    """No provider reads more tokens for the inputs of this embeddings call. The window is each input's own."""
    bound = PER_CALL
    for given in inputs_of(body):
        tokens = PER_INPUT + (_bytes(given) if isinstance(given, str) else len(given))
        bound += tokens if context_window is None else min(tokens, context_window)
    return bound


def output_bound_tokens(
    body: dict[str, Any], *, max_output_tokens: int | None, context_window: int | None
) -> int | None:
    """No provider writes more tokens for this body than this. None: nobody knows a limit.

    Of two limits the larger counts: both are sent, and some providers heed only the one, some only the other.
    """
    given = [_count(body[name]) for name in LIMITS if body.get(name) is not None]
    asked = None if None in given else max((it for it in given if it is not None), default=None)
    known = [limit for limit in (asked, max_output_tokens) if limit is not None]
    limit = min(known) if known else context_window
    if limit is None:
        return None
    answers = max(_count(body.get("n")) or 1, _count(body.get("best_of")) or 1)
    return limit * answers


def unbounded_field(body: dict[str, Any], *, speaks: bool = False) -> str | None:
    """The field that makes a cost that no hold can bound. None: there is none.

    speaks: what the model says aloud has a price of its own; then it is bounded, as a part of the answer.
    Hosted tools and searches are billed by the call; files by id, whatever is fetched but pictures, what a provider
    keeps, earlier speech, and what items refer to that are neither words nor thoughts have a length nobody here knows;
    another service tier has another price; rejected predicted tokens, and summaries of the context, are billed on top
    of the answer's limit.
    """
    for tool in _objects(body.get("tools")):
        if (tool.get("type") or "function") not in BOUNDED_TOOLS and not _is_callers_own(tool):
            return "tools"
    named = None if body.keys().isdisjoint(_COSTLY) else _costly_field(body)
    named = named or _own_unbounded_field(body)
    if named is not None:
        return named
    if body.get("service_tier") not in _PRICED_TIERS:
        return "service_tier"
    modalities = body.get("modalities")
    bounded = {"text", "audio"} if speaks else {"text"}
    if isinstance(modalities, list) and any(kind not in bounded for kind in modalities):
        return "modalities"
    if body.get("audio") is not None and not speaks:
        return "audio"
    return _unbounded_message(body.get("messages"))


def _costly_field(body: dict[str, Any]) -> str | None:
    for name in _UNBOUNDED:
        if body.get(name) is not None:
            return name
    for name in _CHARGED:
        # Said so, or left empty, they ask for nothing.
        if body.get(name):
            return name
    # Left open, its mode is to search as the model likes. Source: docs.x.ai, "Live search".
    searches = body.get("search_parameters")
    if searches not in (None, False) and not (isinstance(searches, dict) and searches.get("mode") == "off"):
        return "search_parameters"
    # As Google's own OpenAI-compatible endpoint has it. Source: ai.google.dev/gemini-api/docs/openai.
    extra = body.get("extra_body")
    google = extra.get("google") if isinstance(extra, dict) else None
    return "cached_content" if isinstance(google, dict) and google.get("cached_content") else None


def _unbounded_message(messages: Any) -> str | None:
    for message in _objects(messages):
        for part in _objects(message.get("content")):
            if not _is_plain_text(part) and (named := unbounded_in(part)) is not None:
                return named
        if "role" not in message and message.get("type") != "reasoning":
            return "input"
        if message.get("audio") is not None:
            return "audio"
    return None


def _own_unbounded_field(body: dict[str, Any]) -> str | None:
    own = own_of(body)
    if own is None:
        return None
    if _may_compact(own.get("context_management")):
        return "context_management"
    return next((name for name, bounded in _OWN_PRICED.items() if own.get(name) not in bounded), None)


def _may_compact(management: Any) -> bool:
    """Whether what it does to the context is billed beside the answer, as summaries are: all but clearing something."""
    edits = management.get("edits") if isinstance(management, dict) else management
    if not isinstance(edits, list):
        return edits is not None
    return not all(isinstance(edit, dict) and str(edit.get("type")).startswith(_CLEARING) for edit in edits)


def _field_bound(value: Any) -> int:
    """Of a field of the body that nobody here knows. What is kept beside the messages is counted with them but once."""
    if isinstance(value, Own):
        return sum(map(_field_bound, value.fields.values()))
    if isinstance(value, AsSent):
        return sum(map(_field_bound, value.beyond_messages()))
    if isinstance(value, str):
        return _bytes(value)
    return 0 if value is None else SCHEMA_FACTOR * sum(map(len, json_pieces(value)))


def _message_bound(message: Any) -> int:
    if not isinstance(message, dict):
        return PER_MESSAGE
    bound = PER_MESSAGE
    for name, value in message.items():
        if isinstance(value, str):
            bound += _bytes(value)
        elif name == "content" and isinstance(value, list):
            bound += sum(_part_bound(part) for part in value)
        elif value is not None:
            bound += SCHEMA_FACTOR * len(msgspec.json.encode(value))
    return bound


def _part_bound(part: Any) -> int:
    if not isinstance(part, dict):
        return PER_PART
    if _is_plain_text(part):
        return PER_PART + _bytes(part["text"])
    if isinstance(inner := part.get("content"), list):
        # A tool's result may show images.
        around = {name: value for name, value in part.items() if name != "content"}
        return PER_PART + len(msgspec.json.encode(around)) + sum(map(_part_bound, inner))
    if part.get("type") in IMAGE_PARTS and not _is_no_image(part):
        return PER_PART + PER_IMAGE
    source = part.get("source")
    if isinstance(source, dict) and isinstance(source.get("content"), list):
        # So may a paper.
        return PER_PART + _part_bound({**part, "source": None}) + _part_bound(source)
    return PER_PART + sum(map(len, json_pieces(part)))


def _is_plain_text(part: dict[str, Any]) -> bool:
    """Whether it is a text and nothing else, as most are."""
    return len(part) <= 2 and isinstance(part.get("text"), str) and part.keys() <= _OF_TEXT


def _is_no_image(part: dict[str, Any]) -> bool:
    """Whether it says so itself: some providers take films and papers for images, too."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return isinstance(url, str) and url[:5].lower() == "data:" and url[:11].lower() != "data:image/"


def _bytes(text: str) -> int:
    """Of its UTF-8. Of a long one in pieces: each is one step in C, during which no other thread runs."""
    if text.isascii():
        return len(text)
    starts = range(0, len(text), PIECE_CHARS)
    return sum(len(text[start : start + PIECE_CHARS].encode("utf-8", "surrogatepass")) for start in starts)


def _count(value: Any) -> int | None:
    """A count as a caller gives it. What is no count bounds nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_callers_own(tool: dict[str, Any]) -> bool:
    kind = tool.get("type")
    return isinstance(kind, str) and kind.startswith(_CALLERS_TOOLS)


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
