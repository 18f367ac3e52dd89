"""What a process says of itself once a second, for whichever worker is asked for the metrics of all."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from ledger.ledger import Ledger
from ledger.loops import running
from router.gates import Gates
from telemetry import Telemetry
from telemetry.metrics import Tally
from telemetry.metrics import instruments as its

BEAT_S: Final = 1.0
_PAGES: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = 4096

log = logging.getLogger(__name__)


class Pulse:
    """Its event loop's lag, its gates, its queue, its memory."""

    def __init__(self, tally: Tally, *, ledger: Ledger, gates: Gates, telemetry: Telemetry) -> None:
        self._tally = tally
        self._ledger = ledger
        self._gates = gates
        self._telemetry = telemetry
        self._cpu_s = 0.0
        self._spans_dropped = 0
        tally.count(its.WORKERS).set(1)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Beat while the block runs, and at once."""
        self.beat()
        async with running(self._keep(), name="metrics pulse"):
            yield

    def beat(self) -> None:
        """Note how this process stands now."""
        tally = self._tally
        tally.count(its.QUEUE_AGE).set(self._ledger.queue_age_s)
        for provider, gate in self._gates.each():
            tally.count(its.GATE_IN_USE, provider).set(gate.in_use)
            tally.count(its.GATE_WAITING, provider).set(gate.waiting)
            if gate.limit is not None:
                tally.count(its.GATE_LIMIT, provider).set(gate.limit)
        cpu_s, spans_dropped = time.process_time(), self._telemetry.dropped
        tally.count(its.CPU).add(cpu_s - self._cpu_s)
        tally.count(its.SPANS_DROPPED).add(spans_dropped - self._spans_dropped)
        self._cpu_s, self._spans_dropped = cpu_s, spans_dropped
        if _PAGES.exists():
            tally.count(its.RESIDENT).set(int(_PAGES.read_bytes().split()[1]) * _PAGE_BYTES)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        lag = self._tally.spread(its.LOOP_LAG)
        while True:
            due_s = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            lag.observe(max(0.0, loop.time() - due_s))
            try:
                self.beat()
            except OSError as error:  # As where no more files may be opened.
                log.warning("how this process stands was not noted: %s", error)
