"""The dialect, against the scripted upstream: what it sends, what it reads, and that whatever goes wrong is a Fault."""

import asyncio
import gzip
import json
import re
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.usage import Usage
from router.answer import Closing, Delta, ToolCallDelta
from router.deployments import Deployment, Provider
from router.faults import Fault, Outcome
from router.providers import reading
from router.providers.client import ANSWER_BYTES, ERROR_BODY_S
from router.providers.openai import OpenAIDialect
from router.providers.openai_reading import EventStream, usage_of
from router.providers.sse import EVENT_BYTES
from router.providers.transport import open_transport
from tests.upstream import (
    Script,
    ScriptedUpstream,
    answer,
    close_after_request,
    garbage,
    half_body,
    half_headers,
    hang_after_headers,
    raw,
    redirect,
    reset_after_request,
    scripted_upstream,
    status,
    stream,
)

KEY = "sk-test-0123456789"
WHOLE = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
BODY = {"messages": [{"role": "user", "content": "Say hi"}], "temperature": 0, "some_new_field": {"deep": [1, 2.5]}}


class Bench:
    """The dialect, the upstream it talks to, and what came of it."""

    def __init__(self, upstream: ScriptedUpstream, dialect: OpenAIDialect, deployment: Deployment) -> None:
        self.upstream = upstream
        self.dialect = dialect
        self.deployment = deployment

    async def events(self, *, stream: bool, headers: dict[str, str] | None = None) -> list[Delta | Closing]:
        attempt = self.dialect.attempt(self.deployment, BODY, stream=stream, headers=headers or {})
        async with aclosing(attempt):
            return [event async for event in attempt]

    async def fault(self, script: Script, *, stream: bool) -> Fault:
        self.upstream.plays(script)
        with pytest.raises(Fault) as caught:
            await self.events(stream=stream)
        return caught.value


@asynccontextmanager
async def bench(api_key: str | None = KEY, url: str | None = None) -> AsyncIterator[Bench]:
    async with scripted_upstream() as upstream, open_transport(limit=100) as transport:
        provider = Provider(name="p", dialect="openai", base_url=url or upstream.url, api_key=api_key)
        deployment = Deployment(provider=provider, model="gpt-test", price=None, encoding="o200k_base")
        yield Bench(upstream, OpenAIDialect(transport), deployment)


async def test_a_request_is_the_callers_body_with_our_model_and_stream() -> None:
    async with bench() as it:
        await it.events(stream=False)
        await it.events(stream=True)
        whole, streamed = it.upstream.requests
        assert whole.body == {**BODY, "model": "gpt-test", "stream": False}
        options = {"stream_options": {"include_usage": True}}
        assert streamed.body == {**BODY, "model": "gpt-test", "stream": True, **options}
        assert whole.path == "/v1/chat/completions"


async def test_a_request_has_our_headers_over_the_ones_given() -> None:
    async with bench() as it:
        await it.events(stream=False, headers={"traceparent": "00-a", "Authorization": "Bearer theirs", "x-name": "ü"})
        headers = it.upstream.requests[0].headers
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["traceparent"] == "00-a"
        assert headers["accept-encoding"] == "identity"


async def test_without_a_key_nobody_elses_is_sent() -> None:
    async with bench(api_key=None) as it:
        await it.events(stream=False, headers={"Authorization": "Bearer theirs"})
        assert "authorization" not in it.upstream.requests[0].headers


async def test_a_whole_answer_is_one_delta_and_its_closing() -> None:
    async with bench() as it:
        it.upstream.plays(answer("Hi you", prompt_tokens=9, completion_tokens=7, cached_tokens=4, reasoning_tokens=5))
        delta, closing = await it.events(stream=False)
        assert delta == Delta(text="Hi you", finish_reason="stop")
        assert closing == Closing(
            usage=Usage.of(9, 7, cached=4, reasoning=5),
            provider_model="gpt-test",
            provider_response_id="chatcmpl-test",
            created_at_s=1_700_000_000,
            format="chat.completions",
        )


async def test_a_stream_is_a_delta_an_event_and_the_same_closing() -> None:
    async with bench() as it:
        it.upstream.plays(answer("Hi you"), answer("Hi you"))
        *deltas, closing = await it.events(stream=True)
        assert deltas == [Delta(text="Hi "), Delta(text="you"), Delta(finish_reason="stop")]
        assert closing == (await it.events(stream=False))[-1]


async def test_deltas_come_as_they_are_sent_and_the_connection_is_used_again() -> None:
    async with bench() as it:
        gate = asyncio.Event()
        it.upstream.plays(stream(["one", gate, "two"]))
        texts = []
        attempt = it.dialect.attempt(it.deployment, BODY, stream=True, headers={})
        async with aclosing(attempt):
            async for event in attempt:
                texts += [event.text] if isinstance(event, Delta) else []
                gate.set()
        assert texts == ["one", "two", ""]
        for _ in range(5):
            await it.events(stream=True)
        assert it.upstream.connections_made == 1


async def test_the_begin_of_a_successful_response_is_told_before_its_first_delta() -> None:
    async with bench() as it:
        told: list[str] = []
        it.upstream.plays(answer("a"), status(500))
        attempt = it.dialect.attempt(
            it.deployment, BODY, stream=True, headers={}, on_answer=lambda headers, _: told.append("headers")
        )
        async with aclosing(attempt):
            async for _ in attempt:
                told.append("event")
        assert told == ["headers", "event", "event", "event"]
        await it.fault(status(500), stream=True)
        assert told == ["headers", "event", "event", "event"]


UNKNOWN = {"annotations": [{"url": "x"}], "audio": {"id": "a"}, "function_call": {"name": "f", "arguments": "{}"}}
SYSTEM = {"system_fingerprint": "fp_1", "service_tier": "default"}


@pytest.mark.parametrize("is_stream", [False, True])
async def test_fields_nobody_here_knows_are_kept(is_stream: bool) -> None:
    async with bench() as it:
        it.upstream.plays(answer("Hi", message={**UNKNOWN, "reasoning_content": "hm", "refusal": "no"}, top=SYSTEM))
        *deltas, closing = await it.events(stream=is_stream)
        kept = next(event for event in deltas if isinstance(event, Delta) and event.extra)
        assert kept.extra == UNKNOWN
        assert (kept.reasoning, kept.refusal) == ("hm", "no")
        assert isinstance(closing, Closing)
        assert closing.extra == SYSTEM


TOOL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
MORE = {"index": 0, "function": {"arguments": "1}"}}
CUSTOM = {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "g", "input": "raw"}}


async def test_tool_calls_come_in_pieces() -> None:
    async with bench() as it:
        it.upstream.plays(stream([{"tool_calls": [{**TOOL, "index": 0}]}, {"tool_calls": [MORE, CUSTOM]}]))
        first, second, *_ = await it.events(stream=True)
        assert first == Delta(tool_calls=(ToolCallDelta(index=0, id="call_1", name="f", arguments='{"a":'),))
        assert second == Delta(
            tool_calls=(
                ToolCallDelta(index=0, arguments="1}"),
                ToolCallDelta(index=1, id="call_2", name="g", arguments="raw", type="custom"),
            )
        )
        assert first.is_output


async def test_a_stream_asked_for_and_answered_whole_is_read_all_the_same() -> None:
    async with bench() as it:
        whole = {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}, {"message": {"content": "b"}}]}
        it.upstream.plays(status(200, whole))
        first, second, closing = await it.events(stream=True)
        assert (first, second) == (Delta(text="whole", finish_reason="stop"), Delta(choice=1, text="b"))
        assert closing == Closing(usage=None, format="chat.completions")


def sse(*events: object, end: bytes = b"data: [DONE]\n\n") -> Script:
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + end
    return raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + data)


def chunk(
    text: str | None = None, finish_reason: str | None = None, choice: int = 0, **top: object
) -> dict[str, object]:
    return {"choices": [{"index": choice, "delta": {"content": text}, "finish_reason": finish_reason}], **top}


WHOLE_STREAMS = {
    "done without a finish reason": sse(chunk("a")),
    "a finish reason without done": sse(chunk("a"), chunk(None, "stop"), end=b""),
    "every choice finished without done": sse(chunk("a", "stop"), chunk("b", "stop", choice=1), end=b""),
    "done without its empty line": sse(chunk("a"), end=b"data: [DONE]"),
    "done twice": sse(chunk("a", "stop"), end=b"data: [DONE]\n\ndata: [DONE]\n\n"),
    "comments between": sse(chunk("a"), end=b": ping\n\n: ping\n\ndata: [DONE]\n\n"),
    "an event of nothing": sse({}, chunk("a"), {"choices": []}),
}


@pytest.mark.parametrize("name", WHOLE_STREAMS)
async def test_a_stream_that_came_to_its_end_is_whole(name: str) -> None:
    async with bench() as it:
        it.upstream.plays(WHOLE_STREAMS[name])
        *deltas, closing = await it.events(stream=True)
        assert isinstance(closing, Closing)
        assert isinstance(deltas[0], Delta)
        assert deltas[0].text == "a"


class EndComesLate(httpx.AsyncByteStream):
    """A body whose end comes in a packet of its own."""

    def __init__(self) -> None:
        self.was_read_to_its_end = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n'
        self.was_read_to_its_end = True


async def test_a_stream_is_read_to_its_end_after_done_so_that_its_connection_can_be_used_again() -> None:
    body = EndComesLate()

    async def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body, request=request)

    provider = Provider(name="p", dialect="openai", base_url="http://p/v1")
    deployment = Deployment(provider=provider, model="m", price=None, encoding="")
    async with aclosing(
        OpenAIDialect(httpx.MockTransport(respond)).attempt(deployment, BODY, stream=True, headers={})
    ) as attempt:
        assert [event async for event in attempt] == [Delta(text="a"), Closing(usage=None, format="chat.completions")]
    assert body.was_read_to_its_end


async def test_a_server_that_keeps_the_body_open_after_done_does_not_hold_the_answer_up() -> None:
    async with bench() as it:
        it.upstream.plays(stream(["a", b"data: [DONE]\n\n"], then="hang"))
        *_, closing = await it.events(stream=True)
        assert isinstance(closing, Closing)
        await it.upstream.closed(it.upstream.requests[0], within_s=1.0)


NOT_WHOLE = {
    "connection cut": (stream(["a"], then="cut"), Outcome.CUT),
    "body ended": (stream(["a"], then="end"), Outcome.CUT),
    "one choice of two finished": (sse(chunk("a", "stop"), chunk("b", choice=1), end=b""), Outcome.CUT),
    "empty body": (sse(end=b""), Outcome.BAD_ANSWER),
    "nothing but done": (sse(), Outcome.BAD_ANSWER),
    "half an event": (sse(chunk("a"), end=b'data: {"choices": [{"ind'), Outcome.BAD_ANSWER),
    "an event too long": (stream([b"data: " + b"x" * (EVENT_BYTES + 1)], then="hang"), Outcome.BAD_ANSWER),
    "an error event": (stream(["a", b'event: error\ndata: {"error": {"message": "boom"}}\n\n']), Outcome.BAD_ANSWER),
    "an error without a name": (sse(chunk("a"), {"error": {"message": "boom", "code": 502}}), Outcome.BAD_ANSWER),
    "an error beside choices": (sse(chunk("a", error={"message": "boom"})), Outcome.BAD_ANSWER),
    "an error in a choice": (sse({"choices": [{"index": 0, "error": {"message": "boom"}}]}), Outcome.BAD_ANSWER),
    "an error in plain words": (stream(["a", b"event: error\ndata: boom\n\n"]), Outcome.BAD_ANSWER),
    "bare words of an error": (sse({"object": "error", "message": "boom"}), Outcome.BAD_ANSWER),
    "no credit": (sse({"error": {"message": "boom", "code": "insufficient_quota"}}), Outcome.OUT_OF_CREDIT),
}


@pytest.mark.parametrize("name", NOT_WHOLE)
async def test_a_stream_that_is_not_whole_is_a_fault(name: str) -> None:
    script, outcome = NOT_WHOLE[name]
    async with bench() as it:
        fault = await it.fault(script, stream=True)
        assert (fault.outcome, fault.status, fault.sent) == (outcome, 200, True)


def page(body: bytes = b"<html>hello</html>") -> Script:
    return garbage(body, "text/html")


BAD_ANSWERS = {
    "garbage": (garbage(), Outcome.BAD_ANSWER, 200),
    "a page": (page(), Outcome.BAD_ANSWER, 200),
    "nothing": (garbage(b""), Outcome.BAD_ANSWER, 200),
    "half of it": (half_body(), Outcome.CUT, 200),
    "truncated JSON": (garbage(b'{"choices": [{"index": 0, "mess'), Outcome.BAD_ANSWER, 200),
    "deep JSON": (garbage(b'{"choices":' + b"[" * 100_000), Outcome.BAD_ANSWER, 200),
    "invalid UTF-8": (garbage(b'{"id": "\xff"}'), Outcome.BAD_ANSWER, 200),
    "a list": (garbage(b"[]"), Outcome.BAD_ANSWER, 200),
    "no choices": (garbage(b'{"id": "x"}'), Outcome.BAD_ANSWER, 200),
    "empty choices": (garbage(b'{"choices": []}'), Outcome.BAD_ANSWER, 200),
    "choices of numbers": (garbage(b'{"choices": [1]}'), Outcome.BAD_ANSWER, 200),
    "a message of text": (garbage(b'{"choices": [{"message": "hi"}]}'), Outcome.BAD_ANSWER, 200),
    "content of numbers": (garbage(b'{"choices": [{"message": {"content": 1}}]}'), Outcome.BAD_ANSWER, 200),
    "parts of numbers": (garbage(b'{"choices": [{"message": {"content": [1]}}]}'), Outcome.BAD_ANSWER, 200),
    "a thought of numbers": (
        garbage(b'{"choices": [{"message": {"content": [{"type": "thinking", "thinking": 1}]}}]}'),
        Outcome.BAD_ANSWER,
        200,
    ),
    "a negative index": (garbage(b'{"choices": [{"index": -1, "message": {}}]}'), Outcome.BAD_ANSWER, 200),
    "a call of text": (garbage(b'{"choices": [{"message": {"tool_calls": ["f"]}}]}'), Outcome.BAD_ANSWER, 200),
    "an error inside": (status(200, {"error": {"message": "boom"}}), Outcome.BAD_ANSWER, 200),
    "an error in words": (status(200, {"error": "boom"}), Outcome.BAD_ANSWER, 200),
    "no content": (raw(b"HTTP/1.1 204 No Content\r\n\r\n", then="keep"), Outcome.BAD_ANSWER, 204),
    "a redirect": (redirect("http://127.0.0.1:9/"), Outcome.BAD_ANSWER, 302),
    "no byte": (close_after_request(), Outcome.CUT, None),
    "a reset": (reset_after_request(), Outcome.CUT, None),
    "half the headers": (half_headers(), Outcome.CUT, None),
    "a 500": (status(500), Outcome.UPSTREAM_ERROR, 500),
    "a 429": (status(429), Outcome.RATE_LIMITED, 429),
    "a 400": (status(400), Outcome.REJECTED, 400),
    "a 500 that breaks off": (
        raw(b"HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n{"),
        Outcome.UPSTREAM_ERROR,
        500,
    ),
}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_a_bad_answer_is_a_fault_and_the_next_one_is_well(name: str, is_stream: bool) -> None:
    script, outcome, code = BAD_ANSWERS[name]
    async with bench() as it:
        fault = await it.fault(script, stream=is_stream)
        assert (fault.outcome, fault.status, fault.sent) == (outcome, code, True)
        assert isinstance((await it.events(stream=is_stream))[-1], Closing)


async def test_nobody_listening_is_a_fault_that_proves_that_nothing_was_sent() -> None:
    for url in (
        "http://127.0.0.1:1/v1",
        "http://nobody.invalid/v1",
        "http://",
        "http://[::1/v1",
        "ftp://x/v1",
        "nonsense",
    ):
        async with bench(url=url) as it:
            with pytest.raises(Fault) as caught:
                await it.events(stream=False)
            assert (caught.value.outcome, caught.value.sent) == (Outcome.CONNECT_FAILED, False)


async def test_a_key_that_is_repeated_is_masked_wherever_it_could_be_told() -> None:
    async with bench() as it:
        words = {"error": {"message": f"Incorrect API key provided: {KEY}\x1b[31m", "code": KEY}}
        for script in (status(401, words), status(200, words), status(400, f"bad {KEY}")):
            fault = await it.fault(script, stream=False)
            assert KEY not in f"{fault} {fault.message} {fault.code} {fault.error_body} {fault!r}"
            assert "[key]" in fault.message
            assert "\x1b" not in fault.message


async def test_a_long_error_is_read_only_so_far_and_a_silent_one_only_so_long() -> None:
    async with bench() as it:
        fault = await it.fault(status(400, "x" * 10_000_000), stream=False)
        assert fault.message == "x" * 300
        await it.upstream.closed(it.upstream.requests[0])
        slow = raw(b'HTTP/1.1 503 No\r\ncontent-length: 99\r\n\r\n{"error', then="hang")
        async with asyncio.timeout(ERROR_BODY_S + 5):
            assert (await it.fault(slow, stream=False)).outcome == Outcome.UPSTREAM_ERROR


async def test_an_answer_without_end_stops_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ANSWER_BYTES", 1000)
    assert ANSWER_BYTES == 64 * 2**20
    async with bench() as it:
        fault = await it.fault(answer("x" * 1000), stream=False)
        assert (fault.outcome, fault.message) == (Outcome.BAD_ANSWER, "the answer is too long")


@pytest.mark.parametrize("script", [hang_after_headers(), stream(["a"], then="hang")])
async def test_a_cancelled_attempt_closes_its_connection_and_passes_the_cancel_on(script: Script) -> None:
    async with bench() as it:
        it.upstream.plays(script)
        task = asyncio.create_task(it.events(stream=True))
        await it.upstream.until(lambda upstream: len(upstream.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await it.upstream.closed(it.upstream.requests[0], within_s=1.0)


async def test_an_attempt_that_is_left_midway_closes_its_connection() -> None:
    async with bench() as it:
        it.upstream.plays(stream(["a", "b"], then="hang"))
        attempt = it.dialect.attempt(it.deployment, BODY, stream=True, headers={})
        async with aclosing(attempt):
            assert await anext(attempt) == Delta(text="a")
        await it.upstream.closed(it.upstream.requests[0], within_s=1.0)


async def test_a_timer_around_an_attempt_sees_its_own_timeout() -> None:
    async with bench() as it:
        it.upstream.plays(hang_after_headers())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await it.events(stream=True)


async def test_models_are_listed() -> None:
    async with bench() as it:
        it.upstream.models = ["a", "b"]
        assert await it.dialect.list_models(it.deployment.provider) == ["a", "b"]
        assert it.upstream.others[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_compressed_though_nobody_asked_is_not_unpacked(stream: bool) -> None:
    bomb = gzip.compress(bytes(2**26))
    kind = "text/event-stream" if stream else "application/json"
    async with bench() as it:
        packed = status(200, bomb, headers={"content-type": kind, "content-encoding": "gzip"})
        tracemalloc.start()
        try:
            fault = await it.fault(packed, stream=stream)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (fault.outcome, fault.message, fault.status) == (Outcome.BAD_ANSWER, "the answer is compressed", 200)
        assert peak_bytes < 2**21
        refusal = await it.fault(status(429, bomb, headers={"content-encoding": "br"}), stream=stream)
        assert (refusal.outcome, refusal.status) == (Outcome.RATE_LIMITED, 429)
        assert "\0" not in refusal.message
        it.upstream.plays(status(200, WHOLE, headers={"content-encoding": "identity"}))
        assert isinstance((await it.events(stream=False))[-1], Closing)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"data": 1}', b'{"data": [{"id": 1}]}', b"<html>", b'{"data": [1]}'])
async def test_what_is_no_list_of_models_is_a_fault(body: bytes) -> None:
    async def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(body), request=request)

    provider = Provider(name="p", dialect="openai", base_url="http://p/v1/")
    with pytest.raises(Fault):
        await OpenAIDialect(httpx.MockTransport(respond)).list_models(provider)


USAGES: list[tuple[Any, Usage | None]] = [
    ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
    ({"prompt_tokens": 5, "completion_tokens": 3}, Usage(input_tokens=5, output_tokens=3)),
    (
        {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": None},
        Usage(input_tokens=5, output_tokens=3),
    ),
    ({"prompt_tokens": 5}, None),
    ({"completion_tokens": 5}, None),
    ({"prompt_tokens": -1, "completion_tokens": 3}, None),
    ({"prompt_tokens": True, "completion_tokens": 3}, None),
    ({"prompt_tokens": "5", "completion_tokens": 3}, None),
    ({"prompt_tokens": 5.0, "completion_tokens": 3}, None),
    ({"prompt_tokens": 10**9 + 1, "completion_tokens": 3}, None),
    ({"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 6}}, None),
    ({"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": "x"}}, None),
    ({"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": [1]}, None),
    ({"prompt_tokens": 5, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 4}}, None),
    (
        {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 12,
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
        Usage(input_tokens=5, output_tokens=3, reasoning_tokens=4),
    ),
    ("many", None),
    ([], None),
]


@pytest.mark.parametrize(("said", "usage"), USAGES)
def test_usage_is_believed_only_where_it_can_be_true(said: Any, usage: Usage | None) -> None:
    assert usage_of(said) == usage


@pytest.mark.parametrize("is_stream", [False, True])
async def test_usage_that_was_not_said_is_unknown_and_zeros_that_were_said_are_zeros(is_stream: bool) -> None:
    async with bench() as it:
        it.upstream.plays(answer("a", prompt_tokens=None), answer("a", prompt_tokens=0, completion_tokens=0))
        *_, unsaid = await it.events(stream=is_stream)
        *_, zeros = await it.events(stream=is_stream)
        assert isinstance(unsaid, Closing)
        assert isinstance(zeros, Closing)
        assert (unsaid.usage, zeros.usage) == (None, Usage())


async def test_of_usage_said_again_and_again_the_last_counts() -> None:
    async with bench() as it:
        says = [{"prompt_tokens": 5, "completion_tokens": count} for count in (1, 2, 3)]
        it.upstream.plays(sse(*(chunk("a", usage=said) for said in says), chunk(None, "stop", usage=None)))
        *_, closing = await it.events(stream=True)
        assert isinstance(closing, Closing)
        assert closing.usage == Usage(input_tokens=5, output_tokens=3)


def read(data: bytes, size: int) -> list[Delta | Closing]:
    reading = EventStream(Provider(name="p", dialect="openai", base_url=""), 200)
    deltas: list[Delta | Closing] = []
    for at in range(0, len(data), size):
        deltas += reading.feed(data[at : at + size])
    return [*deltas, *reading.finish(), reading.closing()]


GOLDEN = (
    "".join(f"data: {json.dumps(chunk(text))}\r\n\r\n" for text in ("Grüße ", "", "🙂 日本語", "\u2028"))
    + f"data: {json.dumps(chunk(None, 'stop'), ensure_ascii=False)}\n\ndata: [DONE]\n\n"
).encode()


def test_a_golden_stream_reads_the_same_however_it_is_cut() -> None:
    whole = read(GOLDEN, len(GOLDEN))
    assert [event.text for event in whole if isinstance(event, Delta)] == ["Grüße ", "🙂 日本語", "\u2028", ""]
    for size in (1, 2, 3, 7, 64, 1000):
        assert read(GOLDEN, size) == whole


def test_a_golden_stream_that_breaks_off_at_any_byte_is_never_whole_before_its_finish_reason() -> None:
    finish = GOLDEN.index(b'"stop"')
    for cut in range(finish):
        with pytest.raises(Fault):
            read(GOLDEN[:cut], 1000)


FIELDS = re.findall(
    "[a-z_]+",
    "id model created choices usage error index delta message content tool_calls function name arguments finish_reason "
    "refusal logprobs prompt_tokens completion_tokens prompt_tokens_details type object text thinking",
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["text", "thinking"]),
    lambda some: (
        st.lists(some, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            some,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(
    st.lists(JSON | st.fixed_dictionaries({"choices": st.lists(JSON, max_size=2)}), max_size=4), st.binary(max_size=20)
)
def test_no_stream_whatever_ends_in_anything_but_deltas_or_a_fault(events: list[Any], junk: bytes) -> None:
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + junk
    # Anything but a Fault fails the test.
    with suppress(Fault):
        read(data, 50)
