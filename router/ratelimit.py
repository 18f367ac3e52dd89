"""What providers say about when to come back, in all the ways that they say it. Pure.

Sources: RFC 9110 §10.2.3 (Retry-After); OpenAI's `x-ratelimit-*` with spans like 6m0s; Anthropic's
`anthropic-ratelimit-*-reset` with moments in RFC 3339; OpenRouter's and others' moments as Unix time; Google's
RetryInfo within the error.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

# No provider is believed to be away for longer than this.
WAIT_CAP_S: Final = 3600.0
# A number above this is a moment and no span: seconds since 1970, or milliseconds above the second bound.
_UNIX_TIME_FROM: Final = 10**9
_UNIX_TIME_MS_FROM: Final = 10**12
_OPENAI: Final = "x-ratelimit-"
_ANTHROPIC: Final = "anthropic-ratelimit-"
_SPAN: Final = re.compile(
    r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?", re.ASCII
)
_UNITS_S: Final = (86_400.0, 3600.0, 60.0, 1.0, 0.001)


def wait_after_refusal_s(headers: Mapping[str, str], body: Mapping[str, Any] | None, *, now_ms: int) -> float | None:
    """How long a provider that refused for now asks to be left alone. None: it does not say so readably.

    headers: with lower-case names, or a mapping that does not mind. body: the error as it was decoded.
    """
    asked_s = retry_after_s(headers, now_ms=now_ms)
    if asked_s is None:
        asked_s = _google_wait_s(body)
    if asked_s is None:
        limits = list(_limits(headers, now_ms))
        # What has nothing left is what refused. Where that is not said, the soonest: being early costs one more try.
        spent = [reset_s for remaining, reset_s in limits if remaining == 0]
        asked_s = max(spent) if spent else min((reset_s for _, reset_s in limits), default=None)
    return None if asked_s is None else min(max(asked_s, 0.0), WAIT_CAP_S)


def wait_after_success_s(headers: Mapping[str, str], *, now_ms: int) -> float | None:
    """How long to leave alone a provider that answered, but said that nothing is left. None: it said no such thing."""
    spent = [reset_s for remaining, reset_s in _limits(headers, now_ms) if remaining == 0]
    return min(max(spent), WAIT_CAP_S) if spent and max(spent) > 0 else None


def retry_after_s(headers: Mapping[str, str], *, now_ms: int) -> float | None:
    """What `retry-after-ms` or Retry-After asks for, from 0 to WAIT_CAP_S. None: neither is there, or readable."""
    asked_s = _number(headers.get("retry-after-ms"), per_second=1000)
    if asked_s is None:
        text = headers.get("retry-after")
        asked_s = _number(text)
        if asked_s is None and text is not None:
            asked_s = _until_date_s(text, now_ms)
    return None if asked_s is None else min(max(asked_s, 0.0), WAIT_CAP_S)


def _limits(headers: Mapping[str, str], now_ms: int) -> Iterator[tuple[int | None, float]]:
    """(what is left of a limit, seconds until it is whole again) of every limit that the headers name."""
    for name in headers:
        lower = name.lower()
        if lower.startswith((_OPENAI + "reset", _ANTHROPIC)) and "reset" in lower:
            reset_s = _reset_s(headers[name], now_ms)
            remaining = _number(headers.get(lower.replace("reset", "remaining")))
            if reset_s is not None:
                yield (None if remaining is None else int(remaining)), max(reset_s, 0.0)


def _reset_s(text: str, now_ms: int) -> float | None:
    number = _number(text)
    if number is not None:
        if number >= _UNIX_TIME_MS_FROM:
            return (number - now_ms) / 1000
        return number - now_ms / 1000 if number >= _UNIX_TIME_FROM else number
    span = _SPAN.fullmatch(text.strip())
    if span is not None and text.strip():
        return sum(float(part) * unit_s for part, unit_s in zip(span.groups(), _UNITS_S, strict=True) if part)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp() - now_ms / 1000


def _google_wait_s(body: Mapping[str, Any] | None) -> float | None:
    error = body.get("error", body) if body is not None else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return _number(delay.removesuffix("s"))
    return None


def _number(text: str | None, *, per_second: int = 1) -> float | None:
    if text is None or not re.fullmatch(r"\s*-?\d{1,15}(\.\d{1,9})?\s*", text, re.ASCII):
        return None
    return float(text) / per_second


def _until_date_s(text: str, now_ms: int) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return None
