"""Opens everything behind the HTTP edge, in order, and closes it in the other: the one place that knows all parts."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

from router.providers.post import post_over
from router.providers.remote import remote_counts
from router.token_counts import Counts
from service.alerts.delivery import open_alerts
from service.alerts.targets import targets_of
from service.auth.keyring import open_keyring
from service.clock import now_ms
from service.config import Config
from service.config.addresses import in_url
from service.ground import Ground, open_ground
from service.live.board import LiveBoard
from service.live.elsewhere import telling_of_others
from service.parts import Limits, Parts
from service.readiness import Draining, readiness
from service.reload import Reloading
from service.routing import Routing, open_routing
from service.watch.watch import Watch, WatchRule, open_watch

# Addresses to listen at that are nobody's to ask for.
ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  Nothing is bound to it here.


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
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(open_ground(config, environ))
        ledger = ground.ledger
        routing = await stack.enter_async_context(open_routing(config, environ, ground))
        await stack.enter_async_context(_watching(config, ground, routing))
        live = LiveBoard()
        await stack.enter_async_context(telling_of_others(live, ledger))
        post = post_over(routing.transport, clock_ms=now_ms)
        couriers = await stack.enter_async_context(open_alerts(ledger, targets_of(config.alerts), post, now_ms=now_ms))
        reloading = Reloading(
            config, read or (lambda: config), ledger=ledger, catalog=ground.catalog, couriers=couriers, now_ms=now_ms
        )
        yield _parts(
            config,
            environ,
            ground,
            routing,
            live=live,
            reload=reloading.reload,
            draining=draining or Draining(),
            port=port,
        )


def _watching(config: Config, ground: Ground, routing: Routing) -> AbstractAsyncContextManager[None]:
    rule = WatchRule(
        open_long_ms=round(config.router.breaker_alert_s * 1000), low_bytes=config.ledger.disk_low_mb << 20
    )
    take_unpriced = routing.gateway.take_unpriced
    return open_watch(
        Watch(ground.ledger, rule, standings=routing.status.standings, take_unpriced=take_unpriced, now_ms=now_ms)
    )


def _parts(
    config: Config,
    environ: Mapping[str, str],
    ground: Ground,
    routing: Routing,
    *,
    live: LiveBoard,
    reload: Callable[[], Awaitable[None]],
    draining: Draining,
    port: int | None,
) -> Parts:
    # Long for its one line a part.
    ledger, gateway = ground.ledger, routing.gateway
    return Parts(
        live=live,
        gateway=gateway,
        hits=gateway.hits,
        estimates=gateway.estimator,
        counts=Counts(gateway.estimator, remote_counts(routing.transport), gates=routing.gates, health=routing.health),
        reports=ledger,
        alerts=ledger,
        router=routing.status,
        catalog=ground.catalog,
        keyring=open_keyring(config, ledger, environ),
        telemetry=ground.telemetry,
        reload=reload,
        readiness=lambda: readiness(ledger, draining, ground.catalog, ground.local_models),
        is_draining=lambda: draining.is_on,
        metrics=routing.page.render,
        recorder=ground.metrics.recorder,
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
    return f"http://{in_url(host)}:{config.server.port if port is None else port}"
