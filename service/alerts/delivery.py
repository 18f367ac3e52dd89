"""Delivers the outbox: a courier for each target, in every process, of which the ledger lets one deliver at a time."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from ledger.faces import Outbox
from router.providers.post import Post
from service.alerts.courier import Courier
from service.alerts.sending import sending_by
from service.alerts.targets import Target

# For what is under way when the service stops. What takes longer is sent again after the next start.
CLOSE_S: Final = 3.0


class _Running(NamedTuple):
    courier: Courier
    task: asyncio.Task[None]


class Couriers:
    """The couriers of the targets in force."""

    def __init__(self, hire: Callable[[Target], Courier], *, close_s: float = CLOSE_S) -> None:
        self._hire = hire
        self._close_s = close_s
        self._running: dict[str, _Running] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def replace(self, targets: Iterable[Target]) -> None:
        """Deliver to these from now on, and to no others. One that wanted nothing more is asked again."""
        wanted = {target.name: target for target in targets}
        for name, old in list(self._running.items()):
            if old.courier.target != wanted.get(name) or old.task.done():
                self._dismiss(self._running.pop(name))
        for target in wanted.values():
            if target.name not in self._running:
                self._running[target.name] = self._start(self._hire(target))

    async def aclose(self) -> None:
        """Finish what is under way, for a moment."""
        self.replace(())
        if not self._leaving:
            return
        _, late = await asyncio.wait(self._leaving, timeout=self._close_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _start(self, courier: Courier) -> _Running:
        name = f"alerts to {courier.target.name}"
        before = [task for task in self._leaving if task.get_name() == name]
        return _Running(courier, asyncio.create_task(_run(courier, before), name=name))

    def _dismiss(self, old: _Running) -> None:
        old.courier.stop()
        self._leaving.add(old.task)
        old.task.add_done_callback(self._leaving.discard)


async def _run(courier: Courier, before: Collection[asyncio.Task[None]]) -> None:
    """before: whose place this one takes, so that nothing is sent by both."""
    if before:
        await asyncio.wait(before)
    await courier.run()


@asynccontextmanager
async def open_alerts(
    outbox: Outbox, targets: Iterable[Target], post: Post, *, now_ms: Callable[[], int]
) -> AsyncIterator[Couriers]:
    """Deliver to these targets while the block runs."""
    send = sending_by(post, now_ms=now_ms)

    def hire(target: Target) -> Courier:
        # Nobody gains by guessing when a message is tried again.
        return Courier(target, outbox, send, now_ms=now_ms, now_s=time.monotonic, chance=random.random)

    couriers = Couriers(hire)
    try:
        couriers.replace(targets)
        yield couriers
    finally:
        await couriers.aclose()
