"""Opens everything behind the HTTP edge, in order, and closes it in the other: the one place that knows all parts."""

import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from ledger.bodies import Bodies
from ledger.ceilings import DAY_MS
from ledger.ledger import Ledger, open_ledger
from ledger.prices import load_book
from ledger.valkey.address import cache_server_of
from ledger.values import CacheBounds
from router.asked import SharingRules
from router.attempt import AttemptRunner
from router.books import Books
from router.deployments import Provider
from router.dispatch import Dispatcher
from router.gates import Gates
from router.gateway import LedgerGateway
from router.habits import Habits, open_habits
from router.health import Health, open_health
from router.limits import StreamLimits
from router.memory import Memory
from router.ordering import Ordering
from router.providers.local import LocalModel, open_local_model
from router.providers.local.upstream import LocalUpstream
from router.providers.post import post_over
from router.providers.remote import remote_counts, remote_dialects
from router.providers.transport import AiohttpTransport, open_transport
from router.providers.upstream import Upstream
from router.status import RouterStatus
from router.token_counts import Counts
from router.tokens import TokenCounter
from service.alerts.delivery import open_alerts
from service.alerts.targets import targets_of
from service.auth.keyring import open_keyring
from service.clock import now_ms
from service.config import Config
from service.config.catalog import Catalog, CurrentCatalog
from service.live.board import LiveBoard
from service.live.elsewhere import telling_of_others
from service.metrics import MetricsPage
from service.parts import Limits, Parts, Readiness
from service.pulse import Pulse
from service.reload import Reloading
from service.watch.watch import Watch, WatchRule, open_watch
from service.workers import FIGURES, WORKER
from telemetry import Telemetry, TelemetrySettings, open_telemetry
from telemetry.metrics import Metrics, Recorder, exporting_metrics, open_metrics

UPSTREAM_CONNECTIONS: Final = 4096
# Addresses to listen at that are nobody's to ask for.
ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  Nothing is bound to it here.

log = logging.getLogger(__name__)


class Draining:
    """Whether the process is on its way out. Set once."""

    def __init__(self) -> None:
        self.is_on = False


@asynccontextmanager
async def open_parts(
    config: Config,
    environ: Mapping[str, str],
    *,
    port: int | None = None,
    draining: Draining | None = None,
    read: Callable[[], Config] | None = None,
) -> AsyncIterator[Parts]:
    """Everything the edge needs, ready for work; on the way out every call is settled before the ledger closes.

    read: reads the config again, for a reload; None: what it was.
    """
    # Long for its one line a part, in the order in which they need each other.
    draining = draining or Draining()
    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(_open_telemetry(config, environ))
        metrics = _open_metrics(stack, environ)
        recorder = metrics.recorder
        bodies = await _open_bodies(stack, config, recorder)
        ledger = await stack.enter_async_context(_open_ledger(config, recorder, bodies))
        opened = Catalog(config, load_book(), now_ms=now_ms())
        catalog = CurrentCatalog(opened)
        await ledger.configure_ceilings(opened.ceilings)
        local_models = await _open_local_models(stack, opened.providers)
        health = await stack.enter_async_context(_open_health(ledger, catalog))
        habits = await stack.enter_async_context(_open_habits(ledger, catalog))
        gates = Gates(opened.providers)
        status = RouterStatus(catalog, health, gates)
        pulse = Pulse(recorder.tally, ledger=ledger, gates=gates, telemetry=telemetry)
        await stack.enter_async_context(pulse.kept())
        page = MetricsPage(metrics, ledger, status, pulse, now_ms=now_ms)
        # Before the gateway, so that what ends last is still told.
        await stack.enter_async_context(_exporting_metrics(metrics, page, config, environ))
        transport = await stack.enter_async_context(open_transport(limit=UPSTREAM_CONNECTIONS))
        runner = _runner(config, transport, local_models, gates=gates, health=health)
        gateway = _open_gateway(
            stack,
            config,
            catalog=catalog,
            ledger=ledger,
            runner=runner,
            health=health,
            habits=habits,
            recorder=recorder,
            captures_content=telemetry.capture_content,
        )
        rule = WatchRule(
            open_long_ms=round(config.router.breaker_alert_s * 1000), low_bytes=config.ledger.disk_low_mb << 20
        )
        watch = Watch(ledger, rule, standings=status.standings, take_unpriced=gateway.take_unpriced, now_ms=now_ms)
        await stack.enter_async_context(open_watch(watch))
        live = LiveBoard()
        await stack.enter_async_context(telling_of_others(live, ledger))
        post = post_over(transport, clock_ms=now_ms)
        couriers = await stack.enter_async_context(open_alerts(ledger, targets_of(config.alerts), post, now_ms=now_ms))
        yield Parts(
            live=live,
            gateway=gateway,
            hits=gateway.hits,
            estimates=gateway.estimator,
            counts=Counts(gateway.estimator, remote_counts(transport), gates=gates, health=health),
            reports=ledger,
            alerts=ledger,
            router=status,
            catalog=catalog,
            keyring=open_keyring(config, ledger, environ),
            telemetry=telemetry,
            reload=Reloading(
                config, read or (lambda: config), ledger=ledger, catalog=catalog, couriers=couriers, now_ms=now_ms
            ).reload,
            readiness=lambda: readiness(ledger, draining, catalog, local_models),
            is_draining=lambda: draining.is_on,
            metrics=page.render,
            recorder=recorder,
            now_ms=now_ms,
            limits=Limits(
                max_body_bytes=config.server.max_body_bytes,
                max_in_flight=config.server.max_in_flight,
                deadline_ms=config.router.deadline_ms,
            ),
            trace_url=config.telemetry.trace_url,
            host=config.server.host,
            port=config.server.port if port is None else port,
            public_url=public_url(config, port=port),
        )


def public_url(config: Config, *, port: int | None = None) -> str:
    """Where people find this service: what the config says, else its own host and port. port: None, the config's."""
    if configured := config.telemetry.public_url:
        return configured.rstrip("/")
    host = config.server.host
    if host in ANYWHERE:
        host = "localhost"
    at = f"[{host}]" if ":" in host else host
    return f"http://{at}:{config.server.port if port is None else port}"


def _open_telemetry(config: Config, environ: Mapping[str, str]) -> AbstractAsyncContextManager[Telemetry]:
    settings = TelemetrySettings(
        otlp_endpoint=config.telemetry.otlp_endpoint, capture_content=config.telemetry.capture_content
    )
    return open_telemetry(settings, environ=environ, service_version=version("farthing"))


def _open_metrics(stack: AsyncExitStack, environ: Mapping[str, str]) -> Metrics:
    """Where several workers serve, with those of the others."""
    folder = environ.get(FIGURES)
    try:
        metrics = open_metrics(Path(folder) if folder else None, environ.get(WORKER, "0"))
    except OSError as error:
        log.warning("this worker's metrics are not added to those of the others: %s", error)
        metrics = open_metrics(worker=environ.get(WORKER, "0"))
    stack.callback(metrics.close)
    return metrics


def _exporting_metrics(
    metrics: Metrics, page: MetricsPage, config: Config, environ: Mapping[str, str]
) -> AbstractAsyncContextManager[None]:
    return exporting_metrics(
        metrics,
        page.told,
        otlp_endpoint=config.telemetry.otlp_endpoint,
        environ=environ,
        version=version("farthing"),
    )


async def _open_bodies(stack: AsyncExitStack, config: Config, recorder: Recorder) -> Bodies | None:
    """The cache server. None: stored answers are in the ledger."""
    if not config.cache.url:
        return None
    # Only where one is asked for is there a package that speaks to it.
    from ledger.valkey.server import open_cache_server

    opened = open_cache_server(
        cache_server_of(config.cache.url), timeout_s=config.cache.timeout_ms / 1000, tell=recorder.cache_server
    )
    return await stack.enter_async_context(opened)


def _open_ledger(config: Config, recorder: Recorder, bodies: Bodies | None) -> AbstractAsyncContextManager[Ledger]:
    return open_ledger(
        config.ledger.url,
        clock_ms=now_ms,
        synchronous=config.ledger.synchronous,
        cache_bounds=CacheBounds(max_entries=config.cache.max_entries, max_bytes=config.cache.max_bytes),
        verify_every_s=config.ledger.verify_every_s,
        events_kept_ms=config.ledger.keep_events_days * DAY_MS,
        slice_above_per_s=config.ledger.slice_above_per_s,
        tell=lambda batch: recorder.batch(batch.writes, batch.waited_s, batch.took_s),
        bodies=bodies,
    )


def _open_gateway(
    stack: AsyncExitStack,
    config: Config,
    *,
    catalog: CurrentCatalog,
    ledger: Ledger,
    runner: AttemptRunner,
    health: Health,
    habits: Habits,
    recorder: Recorder,
    captures_content: bool,
) -> LedgerGateway:
    counter = TokenCounter()
    counter.warm({target.encoding for route in catalog.routes for target in route.targets})
    gateway = LedgerGateway(
        catalog,
        ledger,
        Dispatcher(ledger, runner, counter, health.token_estimates, books=Books(recorder), clock_ms=now_ms),
        health,
        _sharing(config),
        # Nobody gains by guessing which deployment is asked.
        ordering=Ordering(health, habits, random.Random()),  # noqa: S311
        clock_ms=now_ms,
        captures_content=captures_content,
    )
    stack.push_async_callback(gateway.aclose)
    return gateway


def readiness(
    ledger: Ledger, draining: Draining, catalog: CurrentCatalog, local_models: Mapping[str, LocalModel]
) -> Readiness:
    """Whether new work is welcome: the ledger takes writes, and some route has a deployment that can answer."""
    if draining.is_on:
        return Readiness(ready=False, draining=True, reason="the service is shutting down")
    if not ledger.is_ready:
        return Readiness(ready=False, reason="the ledger takes no writes")
    for route in catalog.routes:
        if all(_is_waiting(target.provider, local_models) for target in route.targets):
            return Readiness(ready=False, reason=f"route {route.name} waits for the local model to start")
    return Readiness(ready=True)


def _is_waiting(provider: Provider, local_models: Mapping[str, LocalModel]) -> bool:
    model = local_models.get(provider.name)
    return model is not None and not model.is_ready


def _runner(
    config: Config, transport: AiohttpTransport, local_models: Mapping[str, LocalModel], *, gates: Gates, health: Health
) -> AttemptRunner:
    remote = remote_dialects(transport)
    upstreams: dict[str, Upstream] = {**remote, "local": LocalUpstream(remote["openai"], local_models)}
    limits = StreamLimits(gap_s=config.router.stream_gap_s, max_s=config.router.stream_max_s)
    return AttemptRunner(upstreams, gates=gates, health=health, stream_limits=limits, clock_ms=now_ms)


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


def _sharing(config: Config) -> SharingRules:
    cache = config.cache
    return SharingRules(cache_enabled=cache.enabled, coalesce=cache.coalesce, ttl_s=cache.ttl_s, scope=cache.scope)


async def _open_local_models(stack: AsyncExitStack, providers: tuple[Provider, ...]) -> dict[str, LocalModel]:
    return {
        provider.name: await stack.enter_async_context(open_local_model(provider.model_path))
        for provider in providers
        if provider.dialect == "local"
    }
