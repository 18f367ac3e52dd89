"""The generation paths over real HTTP."""

import asyncio
import json
import time

import httpx_sse
import msgspec
import pytest

from ledger.errors import CeilingExceeded, CeilingHeld, LedgerUnavailable, RateLimited, Tight
from router.answer import Answer, Choice, Delta, ToolCall, ToolCallDelta
from router.errors import DeadlineExceeded, UpstreamFailed, UpstreamRejected
from service import disconnect
from service.http.operations.call_examples import GENERATE, GENERATED
from tests.service.http.scripted import an_edge, finished, raw_exchange, text

TIGHT = Tight(
    scope="global",
    window="month",
    limit=1_000_000_000,
    spent=999_000_000,
    held=0,
    asked=2_000_000,
    window_ends_at_ms=1_796_083_200_000,
)


async def test_a_prompt_is_answered_with_the_object_of_the_contract():
    async with an_edge() as (edge, client):
        answer = await client.post("/generate", json={"prompt": "hello"})
        assert answer.status_code == 200
        body = answer.json()
        assert body.keys() == GENERATED.keys()
        assert body["output"] == "half a farthing"
        assert (body["cost_usd"], body["cost_nanousd"]) == ("0.000007950", 7950)
        (call,) = edge.gateway.calls
        assert body["id"] == call.generation_id == answer.headers["x-farthing-id"]
        assert call.body == {"messages": [{"role": "user", "content": "hello"}]}
        assert call.model is None


async def test_every_field_of_the_contract_reaches_the_call():
    async with an_edge() as (edge, client):
        assert (await client.post("/generate", json=GENERATE)).status_code == 200
        (call,) = edge.gateway.calls
        assert call.model == "chat"
        assert call.body["max_tokens"] == 40
        assert (call.attribution.workflow, call.attribution.user) == ("summarise", "u1")
        assert call.attribution.tags == {"feature": "search"}
        assert (call.cache.mode, call.cache.ttl_s) == ("use", 300)
        assert call.deadline_s == 60
        assert call.max_cost_nanousd == 50_000_000


async def test_headers_say_who_answered_at_what_cost_and_where_the_time_went():
    async with an_edge() as (_, client):
        headers = (await client.post("/generate", json={"prompt": "hello"})).headers
        assert headers["x-farthing-model"] == "openai:gpt-4o-mini"
        assert headers["x-farthing-cache"] == "miss"
        assert headers["x-farthing-cost-usd"] == "0.000007950"
        assert headers["x-farthing-dropped"] == "logit_bias"
        assert len(headers["x-farthing-trace-id"]) == 32
        assert headers["server-timing"].startswith("queue;dur=0.500, ledger;dur=0.250, upstream;dur=80.000, total;dur=")


async def test_a_header_that_comes_in_several_lines_is_one_list():
    lines = [
        ("x-farthing-tags", "a=1"),
        ("x-farthing-tags", "b=2,c=3,a=1"),
        ("OpenAI-Beta", "assistants=v2"),
        ("OpenAI-Beta", "responses=v1"),
    ]
    async with an_edge() as (edge, client):
        assert (await client.post("/generate", json={"prompt": "hello"}, headers=lines)).status_code == 200
        (call,) = edge.gateway.calls
        assert call.attribution.tags == {"a": "1", "b": "2", "c": "3"}
        assert call.forwarded_headers == {"OpenAI-Beta": "assistants=v2, responses=v1"}


async def test_wishes_in_headers_reach_the_call_unless_the_body_says_otherwise():
    wishes = {
        "x-farthing-user": "header user",
        "x-farthing-workflow": "header workflow",
        "x-farthing-run": "r9",
        "x-farthing-tags": "a=1, b=2",
        "x-farthing-cache": "bypass",
        "x-farthing-cache-ttl-s": "7",
        "x-farthing-deadline-ms": "1500",
        "x-farthing-max-cost-usd": "0.01",
        "OpenAI-Beta": "assistants=v2",
    }
    async with an_edge() as (edge, client):
        body = {"prompt": "hello", "user": "body user", "tags": {"b": "3"}, "cache": {"mode": "refresh"}}
        assert (await client.post("/generate", json=body, headers=wishes)).status_code == 200
        (call,) = edge.gateway.calls
        attribution = call.attribution
        assert (attribution.user, attribution.workflow, attribution.run) == ("body user", "header workflow", "r9")
        assert attribution.tags == {"a": "1", "b": "3"}
        assert (call.cache.mode, call.cache.ttl_s, call.deadline_s) == ("refresh", 7, 1.5)
        assert call.max_cost_nanousd == 10_000_000
        assert call.forwarded_headers == {"OpenAI-Beta": "assistants=v2"}


async def test_no_caller_gets_more_time_than_the_configuration_gives():
    async with an_edge(deadline_ms=2000) as (edge, client):
        await client.post("/generate", json={"prompt": "hello", "deadline_ms": 999_999})
        assert edge.gateway.calls[0].deadline_s == 2


async def test_a_stream_is_deltas_and_exactly_one_done():
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda call: [*text("half", " a farthing"), finished(call)]
        async with httpx_sse.aconnect_sse(client, "POST", "/generate", json={"prompt": "x", "stream": True}) as source:
            events = [event async for event in source.aiter_sse()]
            headers = source.response.headers
        assert [event.event for event in events] == ["delta", "delta", "done"]
        assert [event.json()["text"] for event in events[:2]] == ["half", " a farthing"]
        assert events[2].json().keys() == GENERATED.keys() - {"output"}
        assert headers["x-farthing-cache"] == "miss"
        assert "x-farthing-cost-usd" not in headers
        assert headers["server-timing"].startswith("queue;dur=0.500, ledger;dur=0.250, upstream;dur=40.000, total;dur=")


async def test_a_streamed_tool_call_comes_whole_before_done():
    tool = ToolCall(id="call_1", name="weigh", arguments='{"coin":1}')
    answer = Answer(choices=(Choice(text=None, tool_calls=(tool,), finish_reason="tool_calls"),), usage=None)
    pieces = [
        Delta(tool_calls=(ToolCallDelta(index=0, id="call_1", name="weigh"),)),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments='{"coin":1}'),)),
    ]
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda call: [*pieces, finished(call, answer=answer)]
        body = {"prompt": "x", "stream": True}
        async with httpx_sse.aconnect_sse(client, "POST", "/generate", json=body) as source:
            events = [event async for event in source.aiter_sse()]
        assert [event.event for event in events] == ["tool_call", "done"]
        assert events[0].json()["function"] == {"name": "weigh", "arguments": '{"coin":1}'}
        assert events[1].json()["tool_calls"] == [events[0].json()]


async def test_an_error_before_the_first_output_of_a_stream_keeps_its_status():
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda _call: [Delta(extra={"role": "assistant"}), UpstreamFailed(())]
        answer = await client.post("/generate", json={"prompt": "x", "stream": True})
        assert answer.status_code == 502
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "upstream_failed"
        assert answer.headers["x-farthing-model"] == "openai:gpt-4o-mini"


async def test_an_error_midway_is_one_error_event_and_no_done():
    for path, body in (
        ("/generate", {"prompt": "x", "stream": True}),
        ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}], "stream": True}),
    ):
        async with an_edge() as (edge, client):
            edge.gateway.script = lambda _call: [Delta(text="half"), UpstreamFailed(())]
            answer = await client.post(path, json=body)
            assert answer.status_code == 200
            assert answer.text.count("upstream_failed") == (2 if path == "/generate" else 1)
            assert "done" not in answer.text.lower().replace("abandoned", "")
            assert (await edge.telemetry.next()).error_code == "upstream_failed"


async def test_a_bug_midway_is_an_error_event_that_tells_nothing(caplog):
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda _call: [Delta(text="half"), RuntimeError("the secret prompt")]
        answer = await client.post("/generate", json={"prompt": "x", "stream": True})
        assert answer.text.count("event: error") == 1
        assert "internal_error" in answer.text
        assert "secret" not in answer.text + caplog.text
        assert "RuntimeError" in caplog.text


async def test_silence_on_a_stream_is_filled_with_comments():
    async with an_edge(keep_alive_s=0.02) as (edge, client):
        go_on = asyncio.Event()
        edge.gateway.script = lambda call: [Delta(text="half"), go_on, *text(" more"), finished(call)]
        seen = b""
        async with client.stream("POST", "/generate", json={"prompt": "x", "stream": True}) as answer:
            async for part in answer.aiter_raw():
                seen += part
                if seen.count(b": keep-alive\n\n") >= 3:
                    go_on.set()
        assert seen.count(b"event: delta") == 2
        assert seen.count(b"event: done") == 1


async def test_a_streaming_caller_that_leaves_is_noticed_in_silence():
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda _call: [Delta(text="half"), asyncio.Event()]
        async with client.stream("POST", "/generate", json={"prompt": "x", "stream": True}) as answer:
            await anext(answer.aiter_raw())
        async with asyncio.timeout(5):
            await edge.gateway.replies[0].closed.wait()
            facts = await edge.telemetry.next()
        assert (facts.status, facts.error_code) == (200, "caller_gone")
        assert facts.chat is not None
        assert facts.chat.outcome == "aborted"


async def test_a_waiting_caller_that_leaves_is_noticed():
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda _call: [asyncio.Event()]
        waiting = asyncio.create_task(client.post("/generate", json={"prompt": "x"}))
        async with asyncio.timeout(5):
            await edge.gateway.asked.wait()
            waiting.cancel()
            await edge.gateway.replies[0].closed.wait()
            facts = await edge.telemetry.next()
        assert (facts.status, facts.error_code) == (499, "caller_gone")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_leaves_before_it_is_admitted_is_not_admitted(stream: bool):
    async with an_edge() as (edge, client):
        edge.gateway.admits = asyncio.Event()
        waiting = asyncio.create_task(client.post("/generate", json={"prompt": "x", "stream": stream}))
        async with asyncio.timeout(5):
            await edge.gateway.asked.wait()
            waiting.cancel()
            await edge.gateway.left.get()
            facts = await edge.telemetry.next()
        assert (facts.status, facts.error_code) == (499, "caller_gone")
        assert edge.gateway.replies == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_was_watched_while_it_was_admitted_is_watched_on(stream: bool, monkeypatch):
    monkeypatch.setattr(disconnect, "WATCH_AFTER_S", 0.0)
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda _call: [asyncio.Event()]
        edge.gateway.admits = asyncio.Event()
        waiting = asyncio.create_task(client.post("/generate", json={"prompt": "x", "stream": stream}))
        async with asyncio.timeout(5):
            await edge.gateway.asked.wait()
            # By now the server has been asked whether the client left.
            edge.gateway.asked.clear()
            edge.gateway.admits.set()
            await edge.gateway.asked.wait()
            waiting.cancel()
            await edge.gateway.replies[0].closed.wait()
            facts = await edge.telemetry.next()
        assert facts.error_code == "caller_gone"


async def test_a_stream_waits_for_a_client_that_does_not_read():
    piece = "x" * 65_536
    async with an_edge() as (edge, _):
        edge.gateway.script = lambda call: [*text(*[piece] * 2000), finished(call)]
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=4096)
        body = b'{"prompt":"x","stream":true}'
        writer.write(
            b"POST /generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )
        await reader.readuntil(b"event: delta")
        last, steady = -1, 0
        async with asyncio.timeout(20):
            while steady < 20:
                await asyncio.sleep(0.02)
                played = edge.gateway.replies[0].played
                last, steady = played, steady + 1 if played == last else 0
        assert last < 1000, "131 MB were taken from the provider for a client that reads nothing"
        writer.close()
        await edge.gateway.replies[0].closed.wait()


async def test_a_ceiling_says_what_is_spent_held_and_asked_and_that_retrying_is_no_use():
    async with an_edge() as (edge, client):
        edge.gateway.refusal = CeilingExceeded(TIGHT)
        answer = await client.post("/generate", json={"prompt": "x"})
        assert answer.status_code == 402
        assert answer.headers["x-should-retry"] == "false"
        problem = answer.json()
        assert problem["type"] == "urn:farthing:error:ceiling_exceeded"
        assert (problem["scope"], problem["limit_usd"], problem["spent_usd"]) == (
            "global",
            "1.000000000",
            "0.999000000",
        )
        assert problem["window_ends_at"] == "2026-12-01T00:00:00.000Z"
        assert answer.headers["x-farthing-id"] == edge.gateway.calls[0].generation_id


MINUTE = msgspec.structs.replace(
    TIGHT, window="minute", unit="tokens", limit=1000, spent=700, held=250, asked=90, window_ends_at_ms=None
)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/generate", {"prompt": "x"}),
        ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/embeddings", {"model": "chat", "input": "x"}),
    ],
)
async def test_a_rate_says_its_unit_and_when_its_window_ends_in_every_shape(path, body):
    async with an_edge() as (edge, client):
        ends_at_ms = time.time_ns() // 1_000_000 + 30_000
        edge.gateway.refusal = RateLimited(msgspec.structs.replace(MINUTE, window_ends_at_ms=ends_at_ms))
        answer = await client.post(path, json=body)
        assert answer.status_code == 429
        assert (ends_at_ms - time.time_ns() // 1_000_000) / 1000 <= int(answer.headers["retry-after"]) <= 30
        assert "x-should-retry" not in answer.headers
        told = answer.json()
        problem = told.get("error", told)
        assert problem["code"] == "rate_limited"
        words = problem.get("detail") or problem["message"]
        assert "1,000 tokens a minute for global has 700 spent and 250 held" in words
        facts = {name: told.get(name) for name in ("scope", "window", "unit", "limit", "spent", "held", "asked")}
        if path == "/generate":
            assert list(facts.values()) == ["global", "minute", "tokens", 1000, 700, 250, 90]
            assert told["window_ends_at"].endswith("Z")


async def test_who_asks_for_more_than_a_whole_rate_is_told_so_and_not_to_come_back():
    async with an_edge() as (edge, client):
        for tight, words in (
            (msgspec.structs.replace(MINUTE, asked=1001), "never has room for this call, which asks for 1,001 tokens"),
            (msgspec.structs.replace(MINUTE, window="total", unit="calls"), "It never returns: raise the ceiling."),
        ):
            edge.gateway.refusal = RateLimited(tight)
            answer = await client.post("/generate", json={"prompt": "x"})
            assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")
            assert words in answer.json()["detail"]


async def test_refusals_that_pass_say_when_to_come_back():
    async with an_edge() as (edge, client):
        for refusal, status in ((CeilingHeld(TIGHT), 429), (LedgerUnavailable(), 503)):
            edge.gateway.refusal = refusal
            answer = await client.post("/generate", json={"prompt": "x"})
            assert (answer.status_code, answer.headers["retry-after"]) == (status, "1")


async def test_a_deadline_says_what_was_waited_for():
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda _call: [DeadlineExceeded(elapsed_s=1.5, waited_for="openai:gpt-4o-mini")]
        answer = await client.post("/generate", json={"prompt": "x"})
        assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")
        assert answer.json()["waited_for"] == "openai:gpt-4o-mini"


async def test_what_a_provider_rejects_passes_through_with_its_own_status():
    rejected = UpstreamRejected(
        422, "too long", {"message": "too long", "type": "context", "param": "messages", "code": "length"}, ()
    )
    async with an_edge() as (edge, client):
        edge.gateway.script = lambda _call: [rejected]
        native = await client.post("/generate", json={"prompt": "x"})
        assert (native.status_code, native.json()["code"]) == (422, "upstream_rejected")
        body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
        vendors = await client.post("/v1/chat/completions", json=body)
        assert vendors.status_code == 422
        error = vendors.json()["error"]
        assert (error["code"], error["upstream_code"], error["param"]) == ("upstream_rejected", "length", "messages")


async def test_calls_beyond_the_bound_are_turned_away_at_once():
    async with an_edge(max_in_flight=1) as (edge, client):
        edge.gateway.script = lambda call: [asyncio.Event(), finished(call)]
        first = asyncio.create_task(client.post("/generate", json={"prompt": "x"}))
        await edge.gateway.asked.wait()
        second = await client.post("/generate", json={"prompt": "y"})
        assert (second.status_code, second.json()["code"]) == (503, "overloaded")
        assert second.headers["retry-after"] == "1"
        first.cancel()
        async with asyncio.timeout(5):
            await edge.gateway.replies[0].closed.wait()
            await edge.telemetry.next()
        edge.gateway.script = lambda call: [finished(call)]
        assert (await client.post("/generate", json={"prompt": "y"})).status_code == 200


async def test_the_callers_trace_is_carried_on():
    async with an_edge() as (edge, client):
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        answer = await client.post("/generate", json={"prompt": "x"}, headers={"traceparent": parent})
        assert answer.headers["x-farthing-trace-id"] == "0af7651916cd43dd8448eb211c80319c"
        assert answer.json()["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        facts = await edge.telemetry.next()
        assert (facts.parent_span_id, facts.route, facts.status) == ("b7ad6b7169203331", "/generate", 200)
        assert facts.chat is not None
        assert facts.chat.span_id == edge.gateway.calls[0].trace.chat_span_id


async def test_a_body_beyond_the_limit_is_refused_declared_or_not():
    async with an_edge() as (edge, client):
        declared = await client.post(
            "/generate", content=b"x" * 40_000_000, headers={"content-type": "application/json"}
        )
        assert (declared.status_code, declared.json()["code"]) == (413, "body_too_large")

        async def parts():
            for _ in range(40):
                yield b"x" * 1_000_000

        chunked = await client.post("/generate", content=parts(), headers={"content-type": "application/json"})
        assert (chunked.status_code, chunked.json()["code"]) == (413, "body_too_large")
        assert edge.gateway.calls == []
        assert (await client.post("/generate", json={"prompt": "x"})).status_code == 200


async def test_a_body_that_never_comes_is_given_up():
    async with an_edge(body_timeout_s=0.05) as (edge, _):
        answer = await raw_exchange(
            edge.port,
            b"POST /generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b'connection: close\r\ncontent-length: 100\r\n\r\n{"prompt"',
        )
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_timeout"


async def test_an_answer_to_a_caller_who_has_left_harms_nobody(caplog):
    async with an_edge() as (edge, client):
        go_on = asyncio.Event()
        edge.gateway.cache = "hit"
        edge.gateway.script = lambda call: [go_on, finished(call, cache="hit")]
        waiting = asyncio.create_task(client.post("/generate", json={"prompt": "x"}))
        await edge.gateway.asked.wait()
        waiting.cancel()
        await asyncio.wait((waiting,))
        go_on.set()
        async with asyncio.timeout(5):
            await edge.telemetry.next()
        assert (await client.post("/generate", json={"prompt": "x"})).status_code == 200
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
