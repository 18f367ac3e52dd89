"""The process that minds workers, told to stop before all of them are there."""

import asyncio
import os
import signal
import socket

import pytest

from service.workers import Workers
from tests.forked import forked

DRAIN_S = 600.0
ENDS_WITHIN_S = 60


class ToldWhileStarting(Workers):
    """Gets a signal in the middle of starting its workers: when so many are there, before the next one is."""

    def __init__(self, number, *, after):
        listening = socket.create_server(("127.0.0.1", 0))
        super().__init__(2, ("127.0.0.1", str(listening.getsockname()[1])), os.environ, listening)
        self._number = number
        self._after = after

    def _start(self, index):
        if index == self._after:
            os.kill(os.getpid(), self._number)
        super()._start(index)


def mind_workers(number, after):
    """In a process of its own: its exit status is what the workers' is."""
    raise SystemExit(ToldWhileStarting(number, after=after).run(drain_s=DRAIN_S))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_stop_while_workers_are_being_started_stops_all_of_them_at_once(tmp_path, number, after):
    environ = {**os.environ, "FARTHING_LEDGER": str(tmp_path / "farthing.db")}
    async with (
        forked(mind_workers, number, after, folder=tmp_path, environ=environ) as minding,
        asyncio.timeout(ENDS_WITHIN_S),
    ):
        assert await minding.wait() == 0, await minding.stderr.read()
