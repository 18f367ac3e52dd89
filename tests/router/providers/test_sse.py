"""The parser of server-sent events, against httpx-sse and against itself, however the bytes are cut."""

import itertools

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from router.providers.client import ANSWER_BYTES
from router.providers.sse import EVENT_BYTES, EventParser, SseEvent, StreamTooLarge

GOLDEN = (
    b"\xef\xbb\xbfdata: first\n\n: comment\r\n"
    b"event: start\r\ndata: one\r\ndata:two\r\n\r\n"
    b"data\r\rid: 7\rretry: 10\rdata:  spaced\r\r"
    b"data: \xe2\x80\xa8 kept \xc3\xa9\n\n"
    b"event: nothing to say\n\n"
    b"data:{}\n\r\ndata: [DONE]\n\n"
)
GOLDEN_EVENTS = [
    SseEvent(b"", b"first"),
    SseEvent(b"start", b"one\ntwo"),
    SseEvent(b"", b""),
    SseEvent(b"", b" spaced"),
    SseEvent(b"", "\u2028 kept é".encode()),
    SseEvent(b"", b"{}"),
    SseEvent(b"", b"[DONE]"),
]


def parsed(*chunks: bytes) -> list[SseEvent]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_a_stream_of_every_kind_of_line_gives_its_events() -> None:
    assert parsed(GOLDEN) == GOLDEN_EVENTS


def test_every_two_cuts_give_the_same_events() -> None:
    for first in range(len(GOLDEN) + 1):
        assert parsed(GOLDEN[:first], GOLDEN[first:]) == GOLDEN_EVENTS
        for second in range(first, len(GOLDEN) + 1, 7):
            assert parsed(GOLDEN[:first], GOLDEN[first:second], GOLDEN[second:]) == GOLDEN_EVENTS


def test_byte_by_byte_gives_the_same_events() -> None:
    assert parsed(*(GOLDEN[at : at + 1] for at in range(len(GOLDEN)))) == GOLDEN_EVENTS


FRAGMENTS = st.sampled_from(
    [
        b"data",
        b"event",
        b"id",
        b":",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"x",
        b"{}",
        b"\xef\xbb\xbf",
        b"\xff",
        b"data: y",
    ]
)
STREAMS = st.lists(FRAGMENTS, max_size=40).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 80), max_size=8))
def test_any_bytes_cut_anywhere_give_the_same_events(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert parsed(*chunks) == parsed(stream)


TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
BLOCKS = st.tuples(st.lists(TEXTS, min_size=1, max_size=3), st.none() | TEXTS.filter(bool), st.booleans(), LINE_ENDS)


def written(block: tuple[list[str], str | None, bool, str]) -> str:
    data, event, is_tight, line_end = block
    lines = [": a comment"]
    if event is not None:
        lines.append(f"event: {event}")
    lines += [f"data:{'' if is_tight and not text.startswith(' ') else ' '}{text}" for text in data]
    return "".join(line + line_end for line in [*lines, ""])


@given(st.lists(BLOCKS, max_size=5))
def test_httpx_sse_reads_the_same_events(blocks: list[tuple[list[str], str | None, bool, str]]) -> None:
    stream = "".join(map(written, blocks)).encode()
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    oracle = [(event.event, event.data) for event in EventSource(response).iter_sse()]
    ours = [(event.event.decode() or "message", event.data.decode()) for event in parsed(stream)]
    assert ours == oracle


def test_a_last_event_without_its_empty_line_comes_at_the_end() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\n\ndata: b\nda") == [SseEvent(b"", b"a")]
    assert parser.feed(b"ta: c") == []
    assert parser.finish() == [SseEvent(b"", b"b\nc")]
    assert parser.finish() == []


def test_a_line_without_an_end_stops_at_its_bound() -> None:
    parser = EventParser(event_bytes=100)
    parser.feed(b"data: " + b"x" * 94)
    with pytest.raises(StreamTooLarge):
        parser.feed(b"x")


def test_an_event_may_be_as_long_as_a_whole_answer() -> None:
    assert EVENT_BYTES == ANSWER_BYTES
    written, parser = b"data: " + b"x" * 3_000_000 + b"\n\n", EventParser()
    found = [event for at in range(0, len(written), 65_536) for event in parser.feed(written[at : at + 65_536])]
    assert found == [SseEvent(b"", b"x" * 3_000_000)]


def test_an_event_of_many_lines_stops_at_its_bound() -> None:
    parser = EventParser(event_bytes=100)
    with pytest.raises(StreamTooLarge):
        parser.feed(b"data: 123456789\n" * 11)


def test_one_chunk_with_an_overlong_line_stops_at_its_bound() -> None:
    with pytest.raises(StreamTooLarge):
        EventParser(event_bytes=100).feed(b"\ndata: " + b"x" * 101 + b"\n\n")


def test_comments_without_end_stop_at_the_bound_of_the_stream() -> None:
    parser = EventParser(stream_bytes=1000)
    for _ in range(1000 // 15):
        parser.feed(b": still there\n\n")
    with pytest.raises(StreamTooLarge):
        parser.feed(b": still there\n\n")
