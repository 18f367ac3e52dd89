"""Puts the router together on its ground, with the page of metrics that tells of it."""

import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Final, NamedTuple

from ledger.ledger import Ledger
from router.asked import SharingRules
from router.attempt import AttemptRunner
from router.books import Books
from router.dispatch import Dispatcher
from router.gates import Gates
from router.gateway import LedgerGateway
from router.habits import Habits, open_habits
from router.health import Health, open_health
from router.limits import StreamLimits
from router.memory import Memory
from router.ordering import Ordering
from router.providers.local import LocalModel
from router.providers.local.upstream import LocalUpstream
from router.providers.remote import remote_dialects
from router.providers.transport import AiohttpTransport, open_transport
from router.providers.upstream import Upstream
from router.status import RouterStatus
from router.tokens import TokenCounter
from service.clock import now_ms
from service.config import Config
from service.config.catalog import CurrentCatalog
from service.ground import Ground
from service.metrics import MetricsPage
from service.pulse import Pulse
from telemetry.metrics import Metrics, exporting_metrics

UPSTREAM_CONNECTIONS: Final = 4096


class Routing(NamedTuple):
    """What a call goes by, open. page: the metrics of all that."""

    gateway: LedgerGateway
    health: Health
    gates: Gates
    status: RouterStatus
    transport: AiohttpTransport
    page: MetricsPage


@asynccontextmanager
async def open_routing(config: Config, environ: Mapping[str, str], ground: Ground) -> AsyncIterator[Routing]:
    """In the order in which they need each other; on the way out every call is settled before anything closes."""
    ledger, catalog, metrics = ground.ledger, ground.catalog, ground.metrics
    async with AsyncExitStack() as stack:
        health = await stack.enter_async_context(_open_health(ledger, catalog))
        habits = await stack.enter_async_context(_open_habits(ledger, catalog))
        gates = Gates(ground.providers)
        status = RouterStatus(catalog, health, gates)
        pulse = Pulse(metrics.recorder.tally, ledger=ledger, gates=gates, telemetry=ground.telemetry)
        await stack.enter_async_context(pulse.kept())
        page = MetricsPage(metrics, ledger, status, pulse, now_ms=now_ms)
        # Before the gateway, so that what ends last is still told.
        await stack.enter_async_context(_exporting_metrics(config, environ, metrics, page))
        transport = await stack.enter_async_context(open_transport(limit=UPSTREAM_CONNECTIONS))
        runner = _runner(config, transport, ground.local_models, gates=gates, health=health)
        gateway = _gateway(config, ground, runner, health=health, habits=habits)
        stack.push_async_callback(gateway.aclose)
        yield Routing(gateway, health, gates, status, transport, page)


def _open_health(ledger: Ledger, catalog: CurrentCatalog) -> AbstractAsyncContextManager[Health]:
    return open_health(
        catalog.breaker_rule,
        Memory(ledger),
        now_s=time.monotonic,
        now_ms=now_ms,
        process=ledger.owner_id,
        routes=lambda: catalog.routes,
    )


def _open_habits(ledger: Ledger, catalog: CurrentCatalog) -> AbstractAsyncContextManager[Habits]:
    return open_habits(ledger, now_ms=now_ms, routes=lambda: catalog.routes)


def _exporting_metrics(
    config: Config, environ: Mapping[str, str], metrics: Metrics, page: MetricsPage
) -> AbstractAsyncContextManager[None]:
    return exporting_metrics(
        metrics,
        page.told,
        otlp_endpoint=config.telemetry.otlp_endpoint,
        environ=environ,
        version=version("farthing"),
    )


def _runner(
    config: Config, transport: AiohttpTransport, local_models: Mapping[str, LocalModel], *, gates: Gates, health: Health
) -> AttemptRunner:
    remote = remote_dialects(transport)
    upstreams: dict[str, Upstream] = {**remote, "local": LocalUpstream(remote["openai"], local_models)}
    limits = StreamLimits(gap_s=config.router.stream_gap_s, max_s=config.router.stream_max_s)
    return AttemptRunner(upstreams, gates=gates, health=health, stream_limits=limits, clock_ms=now_ms)


def _gateway(config: Config, ground: Ground, runner: AttemptRunner, *, health: Health, habits: Habits) -> LedgerGateway:
    counter = TokenCounter()
    counter.warm({target.encoding for route in ground.catalog.routes for target in route.targets})
    books = Books(ground.metrics.recorder)
    return LedgerGateway(
        ground.catalog,
        ground.ledger,
        Dispatcher(ground.ledger, runner, counter, health.token_estimates, books=books, clock_ms=now_ms),
        health,
        _sharing(config),
        # Nobody gains by guessing which deployment is asked.
        ordering=Ordering(health, habits, random.Random()),  # noqa: S311
        clock_ms=now_ms,
        captures_content=ground.telemetry.capture_content,
    )


def _sharing(config: Config) -> SharingRules:
    cache = config.cache
    return SharingRules(cache_enabled=cache.enabled, coalesce=cache.coalesce, ttl_s=cache.ttl_s, scope=cache.scope)
