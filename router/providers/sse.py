"""Server-sent events from bytes, as fast as Python goes. Source: WHATWG HTML, "Server-sent events"."""

from typing import Final

import msgspec

# As much as a whole answer may have: a picture, a page that was fetched, instructions that are echoed are one event.
EVENT_BYTES: Final = 64 * 2**20
STREAM_BYTES: Final = 2**28
BOM: Final = b"\xef\xbb\xbf"


class SseEvent(msgspec.Struct, frozen=True):
    """One event. event is empty where the server named none; data is its lines, joined by line feeds."""

    event: bytes
    data: bytes


def framed(data: bytes, event: bytes = b"") -> bytes:
    """One event's bytes, as a server sends it. data: as an `SseEvent` has it."""
    lines = data.replace(b"\n", b"\ndata: ") if b"\n" in data else data
    return b"event: %b\ndata: %b\n\n" % (event, lines) if event else b"data: %b\n\n" % lines


class StreamTooLarge(Exception):
    """One event, or the whole stream, passed its bound. Nothing more will be parsed."""


class EventParser:
    """Bytes in, events out, however the bytes are cut.

    Lines end with LF, CRLF or CR. Comments, ids and retry times are skipped, as are events without data. An event may
    hold event_bytes, a stream stream_bytes in all, line ends and comments included.
    """

    def __init__(self, *, event_bytes: int = EVENT_BYTES, stream_bytes: int = STREAM_BYTES) -> None:
        self._event_bytes = event_bytes
        self._stream_bytes = stream_bytes
        self._seen_bytes = 0
        self._bom: bytes | None = b""
        self._ended_in_cr = False
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._event = b""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes. Raises StreamTooLarge."""
        self._seen_bytes += len(chunk)
        if self._seen_bytes > self._stream_bytes:
            raise StreamTooLarge(f"the stream is longer than {self._stream_bytes} bytes")
        if self._bom is not None:
            chunk = self._without_bom(chunk)
        if self._ended_in_cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        head, line_feed, rest = chunk.partition(b"\n")
        self._partial.append(head)
        self._partial_bytes += len(head)
        if self._data_bytes + self._partial_bytes > self._event_bytes:
            raise StreamTooLarge(f"an event is longer than {self._event_bytes} bytes")
        if not line_feed:
            return []
        *lines, last = rest.split(b"\n")
        first = b"".join(self._partial)
        self._partial, self._partial_bytes = [last], len(last)
        return self._events([first, *lines])

    def finish(self) -> list[SseEvent]:
        """What a stream that ended without its last empty line still held: some servers leave it out."""
        line, self._partial, self._partial_bytes = b"".join(self._partial), [], 0
        return self._events([line, b""])

    def _without_bom(self, chunk: bytes) -> bytes:
        assert self._bom is not None
        head = self._bom + chunk
        if len(head) < len(BOM) and BOM.startswith(head):
            self._bom = head
            return b""
        self._bom = None
        return head.removeprefix(BOM)

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        if not chunk:
            return chunk
        if self._ended_in_cr:
            # Its line ended with that CR: a LF that follows belongs to it.
            chunk = chunk.removeprefix(b"\n")
        self._ended_in_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _events(self, lines: list[bytes]) -> list[SseEvent]:
        events = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(SseEvent(self._event, b"\n".join(self._data)))
                    self._data, self._data_bytes = [], 0
                self._event = b""
            elif line.startswith(b"data: "):
                self._add(line[6:])
            else:
                self._take_field(line)
        return events

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._event = value

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._data_bytes += len(data) + 1
        if self._data_bytes > self._event_bytes:
            raise StreamTooLarge(f"an event is longer than {self._event_bytes} bytes")
