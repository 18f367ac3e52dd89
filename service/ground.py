"""Opens what all else stands on: telemetry, metrics, the ledger, the catalog, the models that run here."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ledger.bodies import Bodies
from ledger.ceilings import DAY_MS
from ledger.ledger import Ledger, open_ledger
from ledger.prices import load_book
from ledger.valkey.address import cache_server_of
from ledger.values import CacheBounds
from router.deployments import Provider
from router.providers.local import LocalModel, open_local_model
from service.clock import now_ms
from service.config import Config
from service.config.catalog import Catalog, CurrentCatalog
from service.workers import FIGURES, WORKER
from telemetry import Telemetry, TelemetrySettings, open_telemetry
from telemetry.metrics import Metrics, Recorder, open_metrics

log = logging.getLogger(__name__)


class Ground(NamedTuple):
    """All of it, open. providers: as the config has them at the start. local_models: {provider: its model}."""

    telemetry: Telemetry
    metrics: Metrics
    ledger: Ledger
    catalog: CurrentCatalog
    providers: tuple[Provider, ...]
    local_models: dict[str, LocalModel]


@asynccontextmanager
async def open_ground(config: Config, environ: Mapping[str, str]) -> AsyncIterator[Ground]:
    """In the order in which they need each other. The config's ceilings are in force."""
    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(_open_telemetry(config, environ))
        metrics = _open_metrics(stack, environ)
        bodies = await _open_bodies(stack, config, metrics.recorder)
        ledger = await stack.enter_async_context(_open_ledger(config, metrics.recorder, bodies))
        catalog = Catalog(config, load_book(), now_ms=now_ms())
        await ledger.configure_ceilings(catalog.ceilings)
        local_models = await _open_local_models(stack, catalog.providers)
        yield Ground(telemetry, metrics, ledger, CurrentCatalog(catalog), catalog.providers, local_models)


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


async def _open_local_models(stack: AsyncExitStack, providers: tuple[Provider, ...]) -> dict[str, LocalModel]:
    return {
        provider.name: await stack.enter_async_context(open_local_model(provider.model_path))
        for provider in providers
        if provider.dialect == "local"
    }
