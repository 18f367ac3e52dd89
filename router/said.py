"""What a provider's error says, read out of any vendor's shape, and what its words mean. Pure.

OpenAI and those who imitate it: `{"error": {"message", "type", "param", "code"}}`; Anthropic: `{"type": "error",
"error": {"type", "message"}}`; Gemini: `{"error": {"code": 429, "message", "status", "details": [{"reason"}]}}`, in a
list where it streams; vLLM, Mistral: `{"object": "error", "message", "type", "code"}`; xAI: `{"code", "error":
"words"}`; FastAPI: `{"detail"}`; proxies: a page, or a line of text.
"""

import re
from typing import Any, Final

import msgspec

MESSAGE_CHARS: Final = 300
CODE_CHARS: Final = 100


class Meaning(msgspec.Struct, frozen=True):
    """One thing that providers say. codes: as a code, type, status or reason; words: in the message."""

    codes: re.Pattern[str]
    words: re.Pattern[str]


class Said(msgspec.Struct, frozen=True):
    """A provider's error, as far as it could be read. body None: it was not in any vendor's shape.

    code: the most telling name that it gave the error. kind: its type, or its status in words.
    """

    message: str = ""
    code: str = ""
    kind: str = ""
    body: dict[str, Any] | None = None

    def says(self, meaning: Meaning) -> bool:
        """Whether the provider says so itself.

        Messages repeat what callers sent, and a caller who sends `insufficient balance` as a tool's name must not have
        the provider blocked for all others: only the words before the first repetition count.
        """
        own = _REPEATS.split(self.message.lower(), maxsplit=1)[0]
        return meaning.words.search(own) is not None or self._is_named(meaning)

    def mentions(self, meaning: Meaning) -> bool:
        """Whether it is spoken of anywhere. Enough where the caller's own call is all that hangs on it."""
        return meaning.words.search(self.message.lower()) is not None or self._is_named(meaning)

    def _is_named(self, meaning: Meaning) -> bool:
        return meaning.codes.search(f"{self.code} {self.kind}".lower()) is not None


OUT_OF_CREDIT: Final = Meaning(
    codes=re.compile(
        "insufficient_(quota|balance|credits|funds)|billing_(hard_limit_reached|not_active|error)|payment_required"
    ),
    words=re.compile(
        "credit balance (is )?too low|insufficient (credits|balance|funds)|credits (are|have been) depleted"
        "|used all available credits|have any credits|(spend|spending) (limit|cap)\\b|api usage limits|enable billing"
    ),
)
KEY_INVALID: Final = Meaning(
    codes=re.compile(
        "invalid_api_key|api_key_(invalid|expired|service_blocked)|account_deactivated|consumer_(suspended|invalid)"
    ),
    words=re.compile(
        "api[ -]key (is )?(not (valid|found)|invalid|expired)|(invalid|incorrect|expired) (x-)?api[ -]key"
        "|invalid subscription key|api key was reported as leaked|organization has been disabled"
    ),
)
NOT_SUPPORTED: Final = Meaning(
    codes=re.compile(
        "model_not_(found|available)|(unsupported|invalid)_model|model_decommissioned|unsupported_endpoint|unknown_url"
        "|not_found_error|deploymentnotfound"
    ),
    words=re.compile(
        "not a chat model|model .{0,100}((does )?not exist|not found)|(only|not) supported in (the )?/?v1/"
        "|not a valid model|must be verified to (use|stream)|user location is not supported"
    ),
)
# A 404 for something that the call itself names says nothing of the model.
NAMED_BY_CALLER: Final = Meaning(
    codes=re.compile("previous_response_not_found|invalid_image_url"),
    words=re.compile("no such file|(file|response|item|conversation|container|vector store) .{0,100}not (be )?found"),
)
RATE_LIMITED: Final = Meaning(
    codes=re.compile("rate_limit|capacity_exceeded"), words=re.compile("rate limit|capacity exceeded")
)
# More in one request than a whole minute allows: no waiting helps it, and nothing is wrong with the others.
TOO_LARGE_FOR_THE_LIMIT: Final = Meaning(
    codes=re.compile("(?!)"), words=re.compile(r"request too large\b.{0,160}\bper (min|minute|day)\b")
)
TOO_LONG: Final = Meaning(
    codes=re.compile("context_length_exceeded|exceed_context_size|context_window"),
    words=re.compile(
        "maximum context length|context (window|length)|(prompt|input) is too long|exceeds? (the )?(available )?context"
        "|token count .{0,60}exceeds|exceeds the maximum number of tokens|too many (input )?tokens"
    ),
)
POLICY: Final = Meaning(
    codes=re.compile("content_policy|content_filter|moderation|invalid_prompt|prohibited_content"),
    words=re.compile(
        "content[ _-](policy|filter|management policy)|content violates|usage (polic|guideline)|moderation|flagged"
    ),
)
# llama.cpp's server says 500 of these, whose call is wrong or not for its model.
UNFIT: Final = Meaning(
    codes=re.compile("(?!)"),
    words=re.compile("^(image|audio|video) input is not supported|^failed to parse (tools|messages)"),
)
TIMEOUT: Final = Meaning(codes=re.compile("timeout|deadline_exceeded"), words=re.compile("timed?[ -]?out"))

# Where a message begins to repeat the request: at a quotation mark that opens, or after these words.
_REPEATS: Final = re.compile(
    "(?<!\\w)['\"`\u2018\u201c\u00ab]|https?://|\\b(supplied|received|provided|got|value|name): "
)


def read_error(body: bytes) -> Said:
    """What the body of a refusal says."""
    try:
        decoded = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        # A page for people says nothing of use, and whole paragraphs of it.
        return Said() if text.startswith("<") else Said(message=clean(text))
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    return read_error_object(decoded) if isinstance(decoded, dict) else Said()


def read_error_object(body: dict[str, Any]) -> Said:
    """What an error says that was decoded already. body: the whole object that held it."""
    error = body.get("error", body)
    if isinstance(error, str):
        return Said(message=clean(error), code=_name(body.get("code")))
    if not isinstance(error, dict):
        return Said()
    message = error.get("message") or error.get("detail")
    code, kind, status = error.get("code"), error.get("type"), error.get("status")
    if message is None and code is None and kind is None:
        return Said()
    reason = _reason(error.get("details"))
    named = next((name for name in (code, reason, status, kind) if isinstance(name, str) and name), code)
    return Said(
        message=clean(message if isinstance(message, str) else _text(message)),
        code=_name(named),
        kind=_name(kind if kind is not None else status),
        # Proxies and frameworks speak too, in shapes of their own: those are not the vendor's word.
        body=body if error is not body or body.get("object") == "error" else None,
    )


def clean(text: str, *, limit: int = MESSAGE_CHARS) -> str:
    """Someone else's words, made safe for a log line: one line, no control or direction characters, bounded."""
    flat = _UNPRINTABLE.sub(" ", text[: limit * 4])
    return " ".join(flat.split())[:limit]


# Controls, line and paragraph separators, marks that turn the writing round, lone surrogates.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+")


def _reason(details: Any) -> str | None:
    """Google's own name for the error, in its ErrorInfo."""
    for detail in details if isinstance(details, list) else ():
        reason = detail.get("reason") if isinstance(detail, dict) else None
        if isinstance(reason, str) and reason:
            return reason
    return None


def _name(value: Any) -> str:
    return clean(_text(value), limit=CODE_CHARS)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
