"""Takes a changed config into force while calls go on: on SIGHUP, whole or not at all."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from ledger.ledger import Ledger
from ledger.prices import load_book
from service.alerts.delivery import Couriers
from service.alerts.targets import targets_of
from service.config import Config, ConfigInvalid
from service.config.catalog import Catalog, CurrentCatalog
from service.config.model import ProviderSection

# What was opened with these stays open: another value takes a restart.
FIXED: Final = ("server", "ledger", "cache", "router", "telemetry")

log = logging.getLogger(__name__)


class Reloading:
    """The config in force, and how to read it again. Providers, models, prices, routes, ceilings, alerts may change."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        *,
        ledger: Ledger,
        catalog: CurrentCatalog,
        couriers: Couriers,
        now_ms: Callable[[], int],
    ) -> None:
        self._config = config
        self._read = read
        self._ledger = ledger
        self._catalog = catalog
        self._couriers = couriers
        self._now_ms = now_ms

    async def reload(self) -> None:
        """Read it again and take it into force; if it is wrong, say how and change nothing. Raises LedgerError."""
        # Aside: reading a new kind of address may load what takes a second.
        config, problems = await asyncio.to_thread(self._read_whole)
        for problem in problems:
            log.error("the config was not taken: %s", problem)
        if config is None:
            return
        for section in (name for name in FIXED if getattr(config, name) != getattr(self._config, name)):
            log.warning("a change in [%s] takes effect after a restart", section)
        config = msgspec.structs.replace(config, **{name: getattr(self._config, name) for name in FIXED})
        catalog = Catalog(config, load_book(), now_ms=self._now_ms())
        await self._ledger.configure_ceilings(catalog.ceilings)
        self._catalog.replace(catalog)
        self._couriers.replace(targets_of(config.alerts))
        self._config = config
        log.info("the config was read again: %d routes, %d ceilings", len(config.routes), len(config.ceilings))

    def _read_whole(self) -> tuple[Config | None, list[str]]:
        """The config, or what is wrong with it."""
        try:
            config = self._read()
        except ConfigInvalid as error:
            return None, error.lines
        places = started_with(self._config, config)
        return (None if places else config), [f"{place} can only be changed by a restart" for place in places]


def started_with(old: Config, new: Config) -> list[str]:
    """The places of what runs, or counts, since the start and cannot be swapped: local models, concurrency limits."""
    before = {provider.name: _started(provider) for provider in old.providers}
    after = {provider.name: _started(provider) for provider in new.providers}
    return [
        f"providers.{name}"
        for name, started in after.items()
        if started != before.get(name, _NEW) and (name in before or started[0] == "local")
    ]


_NEW: Final = ("", None, None)


def _started(provider: ProviderSection) -> tuple[str, str | None, int | None]:
    model_path = provider.model_path if provider.dialect == "local" else None
    return "local" if provider.dialect == "local" else "", model_path, provider.max_concurrency
