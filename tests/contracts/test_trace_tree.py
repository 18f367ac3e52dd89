"""The spans of one call, as a real OTLP receiver gets them from the running service."""

import asyncio
import socket

from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from tests.processes import farthing_serve
from tests.upstream import answer, scripted_upstream, status

CALLERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"


def two_providers(first, second, collector_port):
    return f"""
[telemetry]
otlp_endpoint = "http://127.0.0.1:{collector_port}"
[[providers]]
name = "a"
dialect = "openai"
base_url = "{first.url}"
[[providers]]
name = "b"
dialect = "openai"
base_url = "{second.url}"
[[routes]]
name = "chat"
targets = ["a:gpt-4o-mini", "b:gpt-4o-mini"]
"""


def attribute(span, key):
    value = next(pair.value for pair in span.attributes if pair.key == key)
    return value.string_value or value.int_value


async def test_a_failed_over_call_is_one_tree_under_its_callers_span(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with (
        scripted_upstream() as first,
        scripted_upstream() as second,
        OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as tap,
    ):
        first.plays(status(500))
        second.plays(answer("there", prompt_tokens=5, completion_tokens=1))
        awaited = [
            asyncio.ensure_future(tap.await_trace(lambda span, name=name: wanted(span, name), timeout=20))
            for name in ("POST /generate", "chat", "a", "b")
        ]
        async with farthing_serve(tmp_path, config=two_providers(first, second, port)) as service:
            headers = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"}
            body = {"model": "chat", "prompt": "hello"}
            async with service.http.post(f"{service.url}/generate", json=body, headers=headers) as response:
                reply = await response.json()
                assert response.headers["x-farthing-trace-id"] == CALLERS_TRACE == reply["trace_id"]
            server, chat, failed, answered = await asyncio.gather(*awaited)
            story = await service.get(f"/ledger/generations/{reply['id']}")
    assert {span.trace_id.hex() for span in (server, chat, failed, answered)} == {CALLERS_TRACE}
    assert server.parent_span_id.hex() == CALLERS_SPAN
    assert chat.parent_span_id == server.span_id
    assert failed.parent_span_id == answered.parent_span_id == chat.span_id
    assert attribute(chat, "farthing.cost.nanousd") == reply["cost_nanousd"] == 5 * 150 + 600
    assert attribute(chat, "gen_ai.usage.input_tokens") == 5
    assert attribute(chat, "farthing.generation.id") == reply["id"]
    assert {event.name for event in chat.events} == {"farthing.admit", "farthing.settle"}
    assert story["trace_id"] == CALLERS_TRACE
    # The provider was told its own attempt's span, not the call's.
    assert second.requests[0].headers["traceparent"] == f"00-{CALLERS_TRACE}-{answered.span_id.hex()}-01"


def wanted(span, name):
    """SERVER and INTERNAL spans by their name, attempts by their provider."""
    if span.kind == 3:
        return name == next((p.value.string_value for p in span.attributes if p.key == "gen_ai.provider.name"), "")
    return span.name.startswith(name)
