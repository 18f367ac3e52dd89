"""The spans of calls, as a real OTLP receiver gets them from the whole service: each a tree of its own."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx

from service.parts import Parts
from tests.collector import Node, ScriptedCollector, tree_of
from tests.service.http.scripted import a_service
from tests.upstream import answer, scripted_upstream, status, stream

CALLERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"
WORKFLOW = {"x-farthing-workflow": "summarise"}
# What the model reads and writes costs, in nano-dollars a token.
READ, WRITTEN = 150, 600
CONFIG = """
[ledger]
url = "sqlite:{folder}/traces.db"
[telemetry]
otlp_endpoint = "{collector}"
public_url = "https://llm.example.com/"
[[providers]]
name = "a"
dialect = "openai"
base_url = "{a}"
[[providers]]
name = "b"
dialect = "openai"
base_url = "{b}"
[[routes]]
name = "chat"
targets = ["a:gpt-4o-mini", "b:gpt-4o-mini"]
[[routes]]
name = "quick"
targets = ["a:gpt-4o-mini", "b:gpt-4o-mini"]
hedge = true
hedge_after_ms = 1
[[ceilings]]
scope = "global"
window = "month"
limit_usd = "10"
[[ceilings]]
scope = "user:poor"
window = "day"
limit_usd = "0.000001"
"""


class House:
    """The service, its two providers, and the receiver of its spans."""

    def __init__(self, parts: Parts, http: httpx.AsyncClient, providers: tuple[Any, Any], collector: ScriptedCollector):
        self._parts = parts
        self._http = http
        self.a, self.b = providers
        self._collector = collector

    async def ask(self, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        """POST /generate, by default to the route `chat`."""
        return await self._http.post("/generate", json={"model": "chat", "prompt": "hello", **body}, headers=headers)

    def streaming(self, headers: dict[str, str]) -> AbstractAsyncContextManager[httpx.Response]:
        """The same, as a stream."""
        body = {"model": "chat", "prompt": "hello", "stream": True}
        return self._http.stream("POST", "/generate", json=body, headers=headers)

    async def story(self, generation_id: str) -> dict[str, Any]:
        return (await self._http.get(f"/ledger/generations/{generation_id}")).json()

    async def tree(self, trace_id: str) -> Node:
        """The spans of this trace, once they have arrived: the answer is out before they are told."""
        async with asyncio.timeout(10):
            while (tree := tree_of(self._collector.spans, trace_id)) is None:
                await self._parts.telemetry.flush()
        return tree

    def has_heard_of(self, response: httpx.Response) -> bool:
        """Whether any span of this response's trace has arrived."""
        return tree_of(self._collector.spans, response.headers["x-farthing-trace-id"]) is not None

    async def tree_of(self, response: httpx.Response) -> Node:
        return await self.tree(response.headers["x-farthing-trace-id"])


@asynccontextmanager
async def traced(tmp_path, environ=None):
    collector = ScriptedCollector()
    try:
        async with scripted_upstream() as a, scripted_upstream() as b:
            file = tmp_path / "farthing.toml"
            file.write_text(CONFIG.format(folder=tmp_path, collector=collector.url, a=a.url, b=b.url), "utf-8")
            async with a_service(file, environ or {}) as (parts, http):
                yield House(parts, http, (a, b), collector)
    finally:
        collector.close()


def attempt_at(tree: Node, provider: str) -> Node:
    """The attempt at this provider."""
    [found] = [
        node for node in tree.all if node.kind == "CLIENT" and node.attributes["gen_ai.provider.name"] == provider
    ]
    return found


async def test_a_failed_over_call_is_one_tree_under_its_callers_span_and_equal_calls_are_told_apart(tmp_path):
    async with traced(tmp_path) as house:
        gate = asyncio.Event()
        house.a.plays(status(500))
        house.b.plays(stream(["there", gate], prompt_tokens=5, completion_tokens=1))
        caller = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01", **WORKFLOW}
        # A stream's headers come with its first output, so the second call finds the first one in flight.
        async with house.streaming(caller) as led, house.streaming(WORKFLOW) as followed:
            gate.set()
            await led.aread()
            await followed.aread()
        hit = await house.ask(WORKFLOW)
        reply = json.loads(led.text.rpartition("data: ")[2])
        story = await house.story(reply["id"])
        tree, follower, stored = [await house.tree_of(it) for it in (led, followed, hit)]
    assert tree.shape == (
        "SERVER", "POST /generate", "ok",
        ("INTERNAL", "chat gpt-4o-mini", "ok",
         ("CLIENT", "chat gpt-4o-mini", "500"),
         ("CLIENT", "chat gpt-4o-mini", "ok")),
    )  # fmt: skip
    chat, failed, answered = tree.all[1:]
    assert tree.span.trace_id.hex() == CALLERS_TRACE == story["trace_id"] == reply["trace_id"]
    assert tree.span.parent_span_id.hex() == CALLERS_SPAN
    # The provider was told its own attempt's span, not the call's.
    assert house.b.requests[0].headers["traceparent"] == f"00-{CALLERS_TRACE}-{answered.id}-01"
    for node in tree.all:
        assert node.attributes["farthing.generation.id"] == reply["id"]
        assert node.attributes["farthing.generation.url"] == f"https://llm.example.com/ledger/generations/{reply['id']}"
    assert chat.attributes["farthing.cost.nanousd"] == reply["cost_nanousd"] == 5 * READ + WRITTEN
    assert (chat.attributes["gen_ai.usage.input_tokens"], chat.attributes["gen_ai.usage.output_tokens"]) == (5, 1)
    assert chat.attributes["farthing.workflow"] == "summarise"
    assert [name for name, _ in chat.events] == ["farthing.admit", "farthing.hold", "farthing.settle"]
    assert all(told["farthing.duration_ms"] > 0 for _, told in chat.events)
    holds = [attempt["held_nanousd"] for attempt in story["attempts"]]
    for node, held, charged in zip((failed, answered), holds, (0, 5 * READ + WRITTEN), strict=True):
        assert node.attributes["farthing.held.nanousd"] == held == chat.events[0][1]["farthing.held.nanousd"]
        assert node.attributes["farthing.charged.nanousd"] == charged
        assert node.attributes["farthing.ceilings"] == ["month global"]
        assert node.attributes["farthing.price.version"] == story["attempts"][0]["price_version"]
        assert node.attributes["farthing.breaker.state"] == "closed"
    [(name, classified)] = failed.events
    assert (name, classified["farthing.outcome"]) == ("farthing.classify", "upstream_error")
    assert (classified["farthing.counts_for_breaker"], classified["farthing.tries_next"]) == (True, True)

    assert follower.shape == ("SERVER", "POST /generate", "ok", ("INTERNAL", "chat gpt-4o-mini", "ok"))
    [_, joined] = follower.all
    assert (joined.attributes["farthing.cache"], joined.attributes["farthing.answer_of"]) == ("coalesced", reply["id"])
    assert joined.events[0][1]["farthing.admission"] == "follow"
    assert stored.shape == ("SERVER", "POST /generate", "ok")
    assert (stored.attributes["farthing.cache"], stored.attributes["farthing.answer_of"]) == ("hit", reply["id"])
    assert (
        stored.attributes["farthing.saved.nanousd"] == joined.attributes["farthing.saved.nanousd"] == 5 * READ + WRITTEN
    )
    assert [name for name, _ in stored.events] == ["farthing.admit"]
    for node in (joined, stored):
        assert node.attributes["farthing.cost.nanousd"] == 0
        assert not any("usage" in name for name in node.attributes)


async def test_a_hedge_is_linked_and_its_loser_is_cancelled(tmp_path):
    async with traced(tmp_path) as house:
        house.a.plays(stream([asyncio.Event(), "never"]))
        house.b.plays(answer("quick one", prompt_tokens=7, completion_tokens=2))
        reply = await house.ask(model="quick")
        tree = await house.tree_of(reply)
    assert tree.shape == (
        "SERVER", "POST /generate", "ok",
        ("INTERNAL", "chat gpt-4o-mini", "ok",
         ("CLIENT", "chat gpt-4o-mini", "cancelled"),
         ("CLIENT", "chat gpt-4o-mini", "ok")),
    )  # fmt: skip
    lost, won = attempt_at(tree, "a"), attempt_at(tree, "b")
    assert (lost.links, won.links) == ([], [(lost.id, {"farthing.link": "hedge_of"})])
    assert [name for name, _ in won.events] == ["farthing.first_output"]
    assert [name for name, _ in lost.events] == ["farthing.classify"]
    chat = tree.children[0]
    assert "farthing.hedge" in [name for name, _ in chat.events]
    charged = [node.attributes["farthing.charged.nanousd"] for node in (lost, won)]
    assert charged[1] == 7 * READ + 2 * WRITTEN
    assert chat.attributes["farthing.cost.nanousd"] == sum(charged) == reply.json()["cost_nanousd"]
    assert chat.attributes["gen_ai.response.time_to_first_chunk"] > 0


async def test_what_is_worth_having_is_told_of_traces_that_are_not_sampled(tmp_path):
    environ = {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
    }
    async with traced(tmp_path, environ) as house:
        usual = await house.ask(prompt="as usual")
        refused = await house.ask(user="poor")
        house.a.plays(answer("much", prompt_tokens=1000, completion_tokens=9000))
        over = await house.ask(prompt="more than was held", params={"max_tokens": 10})
        house.a.plays(status(500))
        house.b.plays(status(503))
        failed = await house.ask(prompt="in vain")
        trees = [await house.tree_of(it) for it in (refused, over, failed)]
        was_told = house.has_heard_of(usual)
        (flag,) = {request.headers["traceparent"][-2:] for request in (*house.a.requests, *house.b.requests)}
    assert not was_told
    # Whoever was called was not asked to record.
    assert flag == "00"
    assert [tree.attributes["farthing.kept_for"] for tree in trees] == ["refusal", "overrun", "error"]
    refusal, overrun, error = trees
    assert refusal.shape == ("SERVER", "POST /generate", "ceiling_exceeded")
    problem = refused.json()
    ceiling = {name.rpartition(".")[2]: value for name, value in refusal.attributes.items() if ".ceiling." in name}
    assert ceiling == {
        "scope": "user:poor", "window": "day", "unit": "usd", "limit": 1000, "spent": 0, "held": 0,
        "asked": problem["asked_nanousd"],
    }  # fmt: skip
    assert (refusal.attributes["farthing.generation.id"], refused.status_code) == (
        refused.headers["x-farthing-id"],
        402,
    )
    assert "farthing.generation.url" not in refusal.attributes
    assert overrun.children[0].events[-1][0] == "posting.overrun"
    assert error.shape == (
        "SERVER", "POST /generate", "upstream_failed",
        ("INTERNAL", "chat gpt-4o-mini", "upstream_error",
         ("CLIENT", "chat gpt-4o-mini", "500"),
         ("CLIENT", "chat gpt-4o-mini", "503")),
    )  # fmt: skip
    said = overrun.children[0].attributes
    assert json.loads(said["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "more than was held"}]}
    ]
    assert json.loads(said["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "much"}], "finish_reason": "stop"}
    ]
