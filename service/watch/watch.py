"""The loop that looks: every few seconds at deployments, every minute at money and the disk, in one process of all."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

import msgspec

from ledger.apikeys import KeptKey
from ledger.ceilings import DAY_MS, HOUR_MS, MINUTE_MS
from ledger.errors import LedgerError
from ledger.events import EventRaised
from ledger.faces import Outbox, Rates
from ledger.loops import running
from router.status import Standing
from service.watch.anomaly import HISTORY_MS, anomalies, may_be_unusual, usual_nanousd
from service.watch.forecast import RECENT_MS, forecasts
from service.watch.troubles import low_disk, troubles, unpriced

DUTY: Final = "watch"
TICK_S: Final = 5.0
# Callers choose the names of models: they must not fill the ledger with events.
MOST_UNPRICED_A_DAY: Final = 100
MOST_REMEMBERED: Final = 10_000

log = logging.getLogger(__name__)


class WatchedLedger(Outbox, Rates, Protocol):
    """What is watched of the ledger, and where events go."""

    async def find_api_key(self, key_id: str) -> KeptKey | None:
        """The API key of this id. None: there never was one."""


class WatchRule(msgspec.Struct, frozen=True, kw_only=True):
    """open_long_ms: how long a breaker may be open. low_bytes: the least that should be free beside the ledger."""

    open_long_ms: int
    low_bytes: int


class Watch:
    """Looks when it is time, and tells what it finds; what was told is left to the ledger to know.

    standings, take_unpriced: of the router.
    """

    def __init__(
        self,
        ledger: WatchedLedger,
        rule: WatchRule,
        *,
        standings: Callable[[], Iterable[Standing]],
        take_unpriced: Callable[[], Iterable[str]],
        now_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._rule = rule
        self._standings = standings
        self._take_unpriced = take_unpriced
        self._now_ms = now_ms
        self._told: set[str] = set()
        self._unpriced_day_ms = 0
        self._unpriced: set[str] = set()
        self._minute_ms = 0
        self._hour_ms = 0
        self._recent: Mapping[str, int] = {}
        self._usual: dict[str, int | None] | None = None

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.look()
            except LedgerError:
                log.warning("what is to be told of could not be looked for: the ledger is not available")
            except Exception:
                log.exception("what is to be told of could not be looked for")

    async def look(self) -> None:
        """Tell what there is to tell now: each process what its callers asked for, and one of them the rest.

        Raises LedgerError; then what was not told is told at the next look.
        """
        now_ms = self._now_ms()
        self._gather_unpriced(now_ms)
        await self._tell(unpriced(self._unpriced, now_ms=now_ms))
        if not await self._ledger.take_duty(DUTY):
            return
        await self._tell(troubles(self._standings(), now_ms=now_ms, open_long_ms=self._rule.open_long_ms))
        minute_ms = now_ms - now_ms % MINUTE_MS
        if minute_ms != self._minute_ms:
            # First: a ledger so large that it cannot be read in time is asked again in a minute, and not at once.
            self._minute_ms = minute_ms
            await self._tell(low_disk(await self._ledger.free_bytes(), self._rule.low_bytes, now_ms=now_ms))
            await self._look_at_money(now_ms)

    async def _look_at_money(self, now_ms: int) -> None:
        hour_ms = now_ms - now_ms % HOUR_MS
        if hour_ms != self._hour_ms:
            # If that cannot be read, the windows' own rates have to do for this hour.
            self._hour_ms, self._usual, self._recent = hour_ms, None, {}
            self._recent = await self._spent_of_late(hour_ms)
        await self._tell(forecasts(await self._ledger.ceiling_statuses(), self._recent, now_ms=now_ms))
        # The hour before is settled for a while yet: a call belongs to the hour that it began in.
        since_ms = hour_ms - HOUR_MS
        hours = await self._ledger.spend_by_key_hour(since_ms=since_ms, until_ms=hour_ms + HOUR_MS)
        if may_be_unusual(hours):
            await self._tell(anomalies(hours, await self._usual_before(since_ms), now_ms=now_ms))

    async def _spent_of_late(self, until_ms: int) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for since_ms in _days(until_ms - RECENT_MS, until_ms):
            found.update(await self._ledger.spend_by_scope(since_ms=since_ms, until_ms=since_ms + DAY_MS))
        return found

    async def _usual_before(self, until_ms: int) -> Mapping[str, int | None]:
        """What each key's hour usually costs: read once an hour, and only if somebody spends enough to ask."""
        if self._usual is None:
            past: dict[str, list[int]] = defaultdict(list)
            for since_ms in _days(until_ms - HISTORY_MS, until_ms):
                day = await self._ledger.spend_by_key_hour(since_ms=since_ms, until_ms=since_ms + DAY_MS)
                for key, spent in day.items():
                    past[key] += spent.values()
            self._usual = {key: usual_nanousd(spent) for key, spent in past.items()}
        return self._usual

    def _gather_unpriced(self, now_ms: int) -> None:
        day_ms = now_ms - now_ms % DAY_MS
        if day_ms != self._unpriced_day_ms:
            self._unpriced_day_ms, self._unpriced = day_ms, set()
        for name in sorted(self._take_unpriced()):
            if len(self._unpriced) < MOST_UNPRICED_A_DAY:
                self._unpriced.add(name)

    async def _tell(self, found: Iterable[EventRaised]) -> None:
        for raised in found:
            if raised.dedup_key in self._told:
                continue
            await self._ledger.raise_event(await self._with_name(raised))
            if len(self._told) >= MOST_REMEMBERED:
                self._told.clear()
            self._told.add(raised.dedup_key)

    async def _with_name(self, raised: EventRaised) -> EventRaised:
        """What is of a key has its name, too: nobody knows keys by their ids."""
        kind, _, name = str(raised.facts.get("scope", "")).partition(":")
        key_id = raised.facts.get("key") or (name if kind == "key" else "")
        kept = await self._ledger.find_api_key(key_id) if key_id else None
        if kept is None:
            return raised
        return msgspec.structs.replace(raised, facts={**raised.facts, "key_name": kept.key.name})


def _days(since_ms: int, until_ms: int) -> range:
    """Where readings of a day each begin: none takes long, however much there is."""
    return range(since_ms, until_ms, DAY_MS)


@asynccontextmanager
async def open_watch(watch: Watch) -> AsyncIterator[None]:
    """Look while the block runs."""
    async with running(watch.run(), name="watch"):
        yield
