"""A gateway that plays what a test wrote for it, behind the real edge on a real server."""

import asyncio
import logging
import re
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import msgspec

from ledger.apikeys import ApiKey, KeptKey
from ledger.errors import Tight
from ledger.events import EventsQuery
from ledger.latest import CallSummary
from ledger.pepper import Pepper
from ledger.prices import Price, Tier
from ledger.reports import GenerationsQuery, LatencyQuery, SpendQuery, UnknownPage, page_place
from ledger.usage import Usage
from router.answer import Answer, Choice, Delta
from router.call import Call
from router.deployments import Deployment, Provider, Route
from router.errors import UnknownModel
from router.estimating import Costs, Estimate, Outlook
from router.orders import order
from router.plan import Candidate
from router.receipt import AttemptReport, CacheOutcome, Receipt, RouterFacts, Timing
from router.reply import Finished
from router.token_counts import TokenCount
from service.app import create_app
from service.assembly import open_parts
from service.auth.keyring import Keyring
from service.config import load_config
from service.http.generation import Slots
from service.parts import Limits, Parts, Readiness
from service.server import SocketServer, listen
from telemetry.facts import ChatFacts, RequestFacts

Step = Delta | Finished | Exception | asyncio.Event


def finished(call: Call, *, cache: CacheOutcome = "miss", answer: Answer | None = None) -> Finished:
    """The account of a call that went well: 21 tokens in, 8 out, 7,950 nano-dollars."""
    usage = Usage.of(21, 8)
    is_hit = cache == "hit"
    attempt = AttemptReport(
        provider="openai",
        model="gpt-4o-mini",
        outcome="ok",
        status=200,
        latency_ms=80.1,
        ttft_ms=None,
        cost_nanousd=7950,
    )
    receipt = Receipt(
        generation_id=call.generation_id,
        trace_id=call.trace.trace_id,
        provider="openai",
        model="gpt-4o-mini",
        cache=cache,
        cost_nanousd=0 if is_hit else 7950,
        saved_nanousd=7950 if is_hit else 0,
        cost_basis="free" if is_hit else "priced_usage",
        usage=usage,
        estimated_prompt_tokens=21,
        attempts=() if is_hit else (attempt,),
        dropped_params=("logit_bias",),
        latency_ms=81.5,
        timing=Timing(queue_ms=0.5, ledger_ms=0.25, upstream_ms=80.0),
        router=RouterFacts(),
    )
    choice = Choice(text="half a farthing") if call.kind == "chat" else Choice(vector=b"[0.5]")
    said = answer or Answer(choices=(choice,), usage=usage, provider_model="gpt-4o-mini-2024")
    return Finished(answer=said, receipt=receipt)


def text(*pieces: str) -> list[Step]:
    """A stream of these pieces, its finish reason last."""
    return [*(Delta(text=piece) for piece in pieces), Delta(finish_reason="stop")]


class ScriptedReply:
    """Plays its steps: deltas come, exceptions are raised, events are waited for. Finished ends it."""

    origin = None
    again = None
    has_next = False

    def __init__(self, call: Call, steps: list[Step], cache: CacheOutcome) -> None:
        self._call = call
        self._steps = steps
        self.cache: CacheOutcome = cache
        self.deployment_id = "openai:gpt-4o-mini"
        self.dropped_params = ("logit_bias",)
        self.clamped: dict[str, int] = {}
        self.timing = Timing(queue_ms=0.5, ledger_ms=0.25, upstream_ms=40.0)
        self.event_format = ""
        self.closed = asyncio.Event()
        self.played = 0

    async def finished(self) -> Finished:
        async for event in self.events():
            if isinstance(event, Finished):
                return event
        raise AssertionError("the script has no end")

    async def events(self) -> AsyncGenerator[Delta | Finished, None]:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                self.played += 1
                yield step

    def chat_facts(self) -> ChatFacts:
        now_ns = time.time_ns()
        return ChatFacts(
            generation_id=self._call.generation_id,
            span_id=self._call.trace.chat_span_id,
            route="chat",
            provider="openai",
            model="gpt-4o-mini",
            started_at_ns=now_ns,
            ended_at_ns=now_ns,
            outcome="ok" if self.played == len(self._steps) else "aborted",
            cache=self.cache,
            stream=self._call.stream,
            cost_nanousd=7950,
            cost_basis="priced_usage",
        )

    async def aclose(self) -> None:
        self.closed.set()


class ScriptedGateway:
    """Answers every call by the script that was set last, and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replies: list[ScriptedReply] = []
        self.asked = asyncio.Event()
        self.script: Callable[[Call], list[Step]] = lambda call: [finished(call)]
        self.refusal: Exception | None = None
        self.cache: CacheOutcome = "miss"
        # Set, calls wait for it before they are admitted; whoever leaves meanwhile is among `left`.
        self.admits: asyncio.Event | None = None
        self.left: asyncio.Queue[Call] = asyncio.Queue()

    async def generate(self, call: Call) -> ScriptedReply:
        self.calls.append(call)
        if self.admits is not None:
            self.asked.set()
            try:
                await self.admits.wait()
            except asyncio.CancelledError:
                self.left.put_nowait(call)
                raise
        if self.refusal is not None:
            raise self.refusal
        reply = ScriptedReply(call, self.script(call), self.cache)
        self.replies.append(reply)
        self.asked.set()
        return reply


class ScriptedEstimates:
    """Every call would be sent at once, to the route's only deployment, under one ceiling."""

    async def estimate(self, call: Call) -> Estimate:
        provider = Provider(name="openai", dialect="openai", base_url="http://127.0.0.1:1/v1")
        target = Deployment(provider=provider, model="gpt-4o-mini", price=Price(version="v", base=Tier()), encoding="")
        tight = Tight(
            scope="user:u1",
            window="day",
            limit=5,
            spent=1,
            held=1,
            asked=2,
            window_ends_at_ms=None,
        )
        costs = Costs(least_nanousd=0, likely_nanousd=1, most_nanousd=2, prompt_tokens=21)
        candidate = Candidate(deployment=target, held_nanousd=2, body=call.body)
        outlook = Outlook(deployment=target, candidate=candidate, costs=costs, binding=tight)
        return Estimate(route="chat", verdict="lead", chosen=outlook, outlooks=(outlook,))

    async def count(self, call: Call) -> TokenCount:
        return TokenCount(21, "here")


class ScriptedReports:
    """Says back what it was asked."""

    def __init__(self) -> None:
        self.query: SpendQuery | LatencyQuery | GenerationsQuery | EventsQuery | None = None
        self.latest: list[CallSummary] = []

    async def spend(self, query: SpendQuery) -> dict[str, Any]:
        self.query = query
        return {"group_by": list(query.group_by), "total": {"cost_nanousd": 1}, "rows": []}

    async def latency(self, query: LatencyQuery) -> dict[str, Any]:
        self.query = query
        return {"group_by": list(query.group_by), "rows": []}

    async def generation(self, generation_id: str) -> dict[str, Any] | None:
        return {"id": generation_id, "trace_id": "4bf9"} if generation_id == "gen_known" else None

    async def generations(self, query: GenerationsQuery) -> dict[str, Any]:
        self.query = query
        if query.before is not None:
            page_place(query.before)
        return {"generations": [], "next": None}

    async def latest_calls(self, *, also: Sequence[str] = (), most: int = 1) -> list[CallSummary]:
        return self.latest[-most:]

    async def ceilings(self, top: int = 0) -> list[dict[str, Any]]:
        return [{"scope": "global"}]

    async def events(self, query: EventsQuery) -> dict[str, Any]:
        self.query = query
        if query.before is not None:
            raise UnknownPage(query.before)
        return {"alerts": [], "next": None}

    async def acknowledge(self, event_id: str, by: str) -> bool:
        return event_id == f"evt_of_{by}"

    def status(self) -> dict[str, Any]:
        return {"deployments": []}

    def hints(self, provider: str = "") -> dict[str, Any]:
        return {"hints": []}

    async def give_order(
        self, deployment_id: str, action: str, *, now_ms: int, endpoint: str = "", reason: str = ""
    ) -> dict[str, Any]:
        order(action, now_ms=now_ms, endpoint=endpoint, reason=reason)
        return {"deployment": deployment_id}


class KeptTelemetry:
    """Keeps the facts of every request, and wakes who waits for them."""

    exports = True

    def __init__(self) -> None:
        self.facts: list[RequestFacts] = []
        self.recorded = asyncio.Event()

    def samples(self, parent: Any, trace_id: str) -> bool:
        return parent is None or bool(parent.sampled)

    def record(self, facts: RequestFacts) -> None:
        self.facts.append(facts)
        self.recorded.set()

    async def next(self) -> RequestFacts:
        """The facts recorded last, once there are any; then forgets them."""
        await self.recorded.wait()
        self.recorded.clear()
        return self.facts.pop()


class OneRoute:
    """Route `chat` with two deployments."""

    def __init__(self) -> None:
        openai = Provider(name="openai", dialect="openai", base_url="http://127.0.0.1:1/v1")
        hub = Provider(name="hub", dialect="openai", base_url="http://127.0.0.1:2/v1")
        targets = tuple(
            Deployment(provider=provider, model=model, price=None, encoding="o200k_base", supports=frozenset({"tools"}))
            for provider, model in ((openai, "gpt-4o-mini"), (hub, "org/model:free"))
        )
        self.routes = (Route(name="chat", targets=targets),)
        self.models = targets

    def resolve(self, model: str | None) -> Route:
        for route in self.routes:
            for target in route.targets:
                if model == target.id:
                    return Route(name=model, targets=(target,))
            if model in {None, route.name}:
                return route
        raise UnknownModel(model or "", tuple(route.name for route in self.routes))


class KeysAtHand:
    """Keys in a dict, for what an edge does with them; how they are kept is for tests with a ledger."""

    def __init__(self) -> None:
        self.kept: dict[str, KeptKey] = {}

    async def api_keys(self) -> list[ApiKey]:
        return [kept.key for kept in self.kept.values()]

    async def find_api_key(self, key_id: str) -> KeptKey | None:
        return self.kept.get(key_id)

    async def create_api_key(self, kept: KeptKey) -> None:
        self.kept[kept.key.key_id] = kept

    async def revoke_api_key(self, key_id: str) -> ApiKey | None:
        kept = self.kept.get(key_id)
        if kept is None:
            return None
        key = msgspec.structs.replace(kept.key, revoked_at_ms=kept.key.revoked_at_ms or time.time_ns() // 1_000_000)
        self.kept[key_id] = msgspec.structs.replace(kept, key=key)
        return key


def a_keyring(*, are_needed: bool = False) -> Keyring:
    """Keys of nobody's yet."""
    pepper = Pepper(b"a pepper for these tests")
    return Keyring(KeysAtHand(), lambda: pepper, are_needed=are_needed, now_ms=lambda: time.time_ns() // 1_000_000)


class Edge:
    """A served application: where it is, and what stands behind it."""

    def __init__(
        self, limits: Limits, gateway: Any = None, keyring: Keyring | None = None, *, port: int = 4000
    ) -> None:
        self.gateway = gateway or ScriptedGateway()
        self.reports = ScriptedReports()
        self.telemetry = KeptTelemetry()
        self.readiness = Readiness(ready=True)
        self.keyring = keyring or a_keyring()
        self.port = port
        self.url = f"http://127.0.0.1:{self.port}"
        estimates = ScriptedEstimates()
        self.parts = Parts(
            gateway=self.gateway,
            estimates=estimates,
            counts=estimates,
            reports=self.reports,
            alerts=self.reports,
            router=self.reports,
            catalog=OneRoute(),
            keyring=self.keyring,
            telemetry=self.telemetry,
            hits=getattr(self.gateway, "hits", None),
            limits=limits,
            readiness=lambda: self.readiness,
            is_draining=lambda: self.readiness.draining,
            now_ms=lambda: time.time_ns() // 1_000_000,
            port=self.port,
        )
        self.slots = Slots(self.parts)


@asynccontextmanager
async def an_edge(
    *, gateway: Any = None, keyring: Keyring | None = None, **limits: Any
) -> AsyncIterator[tuple[Edge, httpx.AsyncClient]]:
    """The real application on granian, and a client for it. gateway: left out, a scripted one."""
    listening = listen("127.0.0.1", 0)
    edge = Edge(Limits(**limits), gateway, keyring, port=listening.getsockname()[1])
    async with serving(create_app(edge.parts, edge.slots), listening) as client:
        yield edge, client


@asynccontextmanager
async def a_service(
    config_file: Path, environ: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[tuple[Parts, httpx.AsyncClient]]:
    """The whole service of this config, within this process, and a client for it."""
    listening = listen("127.0.0.1", 0)
    async with (
        open_parts(load_config(str(config_file), environ), environ, port=listening.getsockname()[1]) as parts,
        serving(create_app(parts), listening) as client,
    ):
        yield parts, client


@asynccontextmanager
async def serving(app: Any, listening: socket.socket) -> AsyncIterator[httpx.AsyncClient]:
    """This application on granian. The socket listens already, so that nobody else takes its port; it is closed."""
    server = SocketServer(app, listening, max_connections=1000)
    logging.getLogger("_granian").setLevel(logging.CRITICAL)
    task = asyncio.create_task(server.serve())
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        # To read the authorities for TLS, which is not spoken here, would take a third of many a test.
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False, verify=False) as client:
            yield client
    finally:
        server.stop()
        await task
        listening.close()


async def raw_exchange(port: int, request: bytes) -> bytes:
    """What a server answers to these bytes: as much as it announces, or until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(request)
        await writer.drain()
        while not _is_whole(answer) and (chunk := await reader.read(1 << 16)):
            answer += chunk
    finally:
        writer.close()
        await writer.wait_closed()
    return answer


def _is_whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    announced = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(ended) and announced is not None and len(body) >= int(announced[1])
