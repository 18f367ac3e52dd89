"""Trace context between services: ids, and the W3C headers that carry them.

Source: W3C Trace Context Level 2, §3.2 (traceparent) and §3.3 (tracestate). The one flag that is read and written is
`sampled`; ids are lower-case hex everywhere.
"""

import random
import re
from typing import Final

import msgspec

# §3.3.1.5: this much at least is passed on; what is longer loses its longest members first, then its last.
MAX_TRACESTATE_CHARS: Final = 512
MAX_TRACESTATE_MEMBERS: Final = 32
LONG_MEMBER_CHARS: Final = 128

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_TRACESTATE_MEMBER: Final = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_SAMPLED: Final = 1


class ParentContext(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's span, as its headers told it. tracestate is passed on unread; empty where none came or none held."""

    trace_id: str
    span_id: str
    sampled: bool
    tracestate: str = ""


def new_trace_id() -> str:
    """32 hex digits, random, never all zero. Python seeds a forked child anew, so workers do not repeat each other."""
    return f"{random.getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    """16 hex digits, random, never all zero."""
    return f"{random.getrandbits(64) or 1:016x}"


def parse_traceparent(header: str | None, tracestate: str | None = None) -> ParentContext | None:
    """The parent that these headers name, or None where there is none to be trusted: a new trace begins then.

    A version above ours is read by the rules of §3.2.2.4: its first four fields, whatever follows them.
    """
    match = _TRACEPARENT.fullmatch(header.strip(" \t")) if header else None
    if match is None:
        return None
    version, trace_id, span_id, flags, further = match.groups()
    if version == "ff" or (version == "00" and further is not None):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return ParentContext(
        trace_id=trace_id,
        span_id=span_id,
        sampled=bool(int(flags, 16) & _SAMPLED),
        tracestate=_kept_tracestate(tracestate) if tracestate else "",
    )


def format_traceparent(trace_id: str, span_id: str, sampled: bool) -> str:
    """The header that makes this span the parent of whatever is called with it."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def _kept_tracestate(text: str) -> str:
    """As much of it as is passed on. One malformed member spoils the list, as §3.3.1.1 allows."""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    if len(members) > MAX_TRACESTATE_MEMBERS or not all(_TRACESTATE_MEMBER.fullmatch(member) for member in members):
        return ""
    if _joined_chars(members) > MAX_TRACESTATE_CHARS:
        members = [member for member in members if len(member) <= LONG_MEMBER_CHARS]
    while _joined_chars(members) > MAX_TRACESTATE_CHARS:
        members.pop()
    return ",".join(members)


def _joined_chars(members: list[str]) -> int:
    return sum(map(len, members)) + len(members) - 1
