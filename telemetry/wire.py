"""Spans as the bytes of an OTLP ExportTraceServiceRequest.

Written by hand because it is the dearest part of tracing: OpenTelemetry's own encoder builds a protobuf object for
every attribute (80 µs a span, under the GIL). Tests hold the two equal. What repeats from span to span is encoded once:
groups of attributes, texts, and of a number all but the number itself.
Source: opentelemetry-proto, trace/v1/trace.proto, common/v1/common.proto; protobuf.dev, "Encoding".
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from telemetry import names
from telemetry.facts import MAX_CONTENT_CHARS
from telemetry.groups import Attributes
from telemetry.spans import Span, SpanEvent

ResourceValue = str | bool | int | float | Sequence[str]

# These texts differ from call to call: remembering them would only push out what repeats.
UNREPEATED: Final = frozenset(
    {
        names.ANSWER_OF,
        names.ATTRIBUTION["run"],
        names.GENERATION_ID,
        names.GENERATION_URL,
        names.RESPONSE_ID,
        names.INPUT_MESSAGES,
        names.OUTPUT_MESSAGES,
    }
)
MAX_REMEMBERED: Final = 4096
MAX_REMEMBERED_CHARS: Final = 200

_INT64: Final = range(-(2**63), 2**63)
_UINT64_MASK: Final = 2**64 - 1
_SMALL_VARINTS: Final = tuple(bytes([number]) for number in range(128))

# A tag is the field's number and its wire type: (number << 3) | type.
_KEY: Final = b"\x0a"
_VALUE: Final = b"\x12"
_STRING: Final = b"\x0a"
_BOOL: Final = (b"\x10\x00", b"\x10\x01")
_INT: Final = b"\x18"
_SMALL_INTS: Final = tuple(_INT + varint for varint in _SMALL_VARINTS)
_DOUBLE: Final = struct.Struct("<cd")
_ARRAY: Final = b"\x2a"
_SPAN_ATTRIBUTE: Final = b"\x4a"
_EVENT_ATTRIBUTE: Final = b"\x1a"
_LINK_ATTRIBUTE: Final = b"\x22"
_RESOURCE_ATTRIBUTE: Final = b"\x0a"
# The fields trace_id and span_id, 1 and 2 in spans and links alike.
_IDS: Final = struct.Struct("<2s16s2s8s")
_PARENT: Final = struct.Struct("<2s8s")
_TRACESTATE: Final = b"\x1a"
_NAME: Final = b"\x2a"
# The fields kind, start_time_unix_nano and end_time_unix_nano: 6, 7 and 8.
_KIND_AND_TIMES: Final = struct.Struct("<cBcQcQ")
_EVENT: Final = b"\x5a"
_EVENT_TIME: Final = struct.Struct("<cQ")
_EVENT_NAME: Final = b"\x12"
_LINK: Final = b"\x6a"
# Status without a code, and with code ERROR (2).
_STATUS_UNSET: Final = b"\x7a\x00"
_STATUS_ERROR: Final = b"\x7a\x02\x18\x02"
# Span.flags (16), Link.flags (6), both fixed32: "is remote" is known (0x100), and true (0x200).
_LOCAL_PARENT: Final = b"\x85\x01" + struct.pack("<I", 0x100)
_REMOTE_PARENT: Final = b"\x85\x01" + struct.pack("<I", 0x300)
_LOCAL_LINK: Final = b"\x35" + struct.pack("<I", 0x100)


class SpanEncoder:
    """Encodes the spans of one resource. Not for two threads at once."""

    def __init__(self, resource: Mapping[str, ResourceValue], *, scope_name: str, scope_version: str) -> None:
        # Texts as values.
        self._remembered: dict[str | tuple[str, ...], bytes] = {}
        # What stands before a value, by its attribute's tag and name and how many bytes it takes: below 128.
        self._leads: dict[tuple[bytes, str, int], bytes] = {}
        values: Attributes = {
            key: value if isinstance(value, str | bool | int | float) else tuple(value)
            for key, value in resource.items()
        }
        self._resource = _field(b"\x0a", self._attributes(_RESOURCE_ATTRIBUTE, values))
        scope = _text(b"\x0a", scope_name) + (_text(b"\x12", scope_version) if scope_version else b"")
        self._scope = _field(b"\x0a", scope)

    def span(self, span: Span) -> bytes:
        """One span, framed to be one of `request`'s."""
        trace_id = bytes.fromhex(span.trace_id)
        parts = [_IDS.pack(b"\x0a\x10", trace_id, b"\x12\x08", bytes.fromhex(span.span_id))]
        if span.tracestate:
            parts.append(_text(_TRACESTATE, span.tracestate))
        if span.parent_span_id:
            parts.append(_PARENT.pack(b"\x22\x08", bytes.fromhex(span.parent_span_id)))
        parts.append(_text(_NAME, span.name))
        parts.append(_KIND_AND_TIMES.pack(b"\x30", span.kind, b"\x39", span.started_at_ns, b"\x41", span.ended_at_ns))
        for group in span.groups:
            if not group.encoded:
                group.encoded = self._attributes(_SPAN_ATTRIBUTE, group.attributes)
            parts.append(group.encoded)
        parts.append(self._attributes(_SPAN_ATTRIBUTE, span.own))
        parts.extend(_field(_EVENT, self._event(event)) for event in span.events)
        if span.linked_span_id:
            parts.append(_field(_LINK, self._link(trace_id, span)))
        parts.append(_STATUS_ERROR if span.is_error else _STATUS_UNSET)
        parts.append(_REMOTE_PARENT if span.is_parent_remote else _LOCAL_PARENT)
        return _field(b"\x12", b"".join(parts))

    def request(self, spans: Sequence[bytes]) -> bytes:
        """The whole request with these spans, each as `span` made it. They are copied once: it is half a megabyte."""
        scope_length = len(self._scope) + sum(map(len, spans))
        scope = b"\x12" + _varint(scope_length) + self._scope
        length = len(self._resource) + len(scope) - len(self._scope) + scope_length
        return b"".join([b"\x0a", _varint(length), self._resource, scope, *spans])

    def _event(self, event: SpanEvent) -> bytes:
        time = _EVENT_TIME.pack(b"\x09", event.at_ns)
        return time + _text(_EVENT_NAME, event.name) + self._attributes(_EVENT_ATTRIBUTE, event.attributes)

    def _link(self, trace_id: bytes, span: Span) -> bytes:
        ids = _IDS.pack(b"\x0a\x10", trace_id, b"\x12\x08", bytes.fromhex(span.linked_span_id))
        return ids + self._attributes(_LINK_ATTRIBUTE, span.link_attributes) + _LOCAL_LINK

    def _attributes(self, tag: bytes, attributes: Attributes) -> bytes:
        """All attributes, less those whose number OTLP cannot carry."""
        parts: list[bytes] = []
        leads = self._leads
        for key, value in attributes.items():
            told = self._text(key, value) if isinstance(value, (str, tuple)) else _number(value)
            if told:
                parts += leads.get((tag, key, len(told))) or self._lead(tag, key, len(told)), told
        return b"".join(parts)

    def _lead(self, tag: bytes, key: str, length: int) -> bytes:
        """What makes a value of so many bytes an attribute of this name."""
        start = _text(_KEY, key) + _VALUE + _varint(length)
        lead = tag + _varint(len(start) + length) + start
        if length < len(_SMALL_VARINTS):
            self._leads[tag, key, length] = lead
        return lead

    def _text(self, key: str, value: str | tuple[str, ...]) -> bytes:
        """One text or more as an AnyValue."""
        if key in UNREPEATED or len(value) > MAX_REMEMBERED_CHARS:
            return _any_text(value)
        told = self._remembered.get(value)
        if told is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            told = self._remembered[value] = _any_text(value)
        return told


def _number(value: int | float | bool) -> bytes:
    """A number or a truth as an AnyValue. Empty: OTLP cannot carry it. Order matters: True is an int."""
    if isinstance(value, bool):
        return _BOOL[value]
    if isinstance(value, float):
        return _DOUBLE.pack(b"\x21", value)
    if 0 <= value < 128:
        return _SMALL_INTS[value]
    return _INT + _varint(value & _UINT64_MASK) if value in _INT64 else b""


def _any_text(value: str | tuple[str, ...]) -> bytes:
    if isinstance(value, str):
        return _text(_STRING, value[:MAX_CONTENT_CHARS])
    return _field(_ARRAY, b"".join(_field(b"\x0a", _text(_STRING, text)) for text in value))


def _text(tag: bytes, text: str) -> bytes:
    # Half of a surrogate pair has no UTF-8, and one bad string would have the collector refuse the whole batch.
    raw = text.encode("utf-8", "replace")
    return tag + _varint(len(raw)) + raw


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """A whole number, not negative, seven bits a byte, lowest first."""
    if number < 1 << 7:
        return _SMALL_VARINTS[number]
    if number < 1 << 14:
        return bytes((number & 0x7F | 0x80, number >> 7))
    if number < 1 << 21:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
