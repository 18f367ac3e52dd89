"""A server that takes no connection more, or has no room left: callers are told to come again, and it recovers."""

import asyncio
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from tests.ledger.homes import PostgresHome
from tests.postgres import a_server
from tests.processes import farthing_serve, one_route, run_farthing
from tests.upstream import answer, scripted_upstream

ENVIRON = {"FARTHING_PEPPER": "a pepper that tests keep to themselves"}
COST_NANOUSD = 3 * 1000 + 2 * 2000
DISK_MB = 160
SMALL = ("max_connections = 20", "min_wal_size = '32MB'", "max_wal_size = '48MB'")


@contextmanager
def a_small_disk():
    """A folder that holds so much and no more. Skips the test where nothing may be mounted."""
    with tempfile.TemporaryDirectory(prefix="farthing-postgres-disk-") as folder:
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "tmpfs", folder]
        if subprocess.run(mounting, capture_output=True, check=False).returncode:
            pytest.skip("no disk can be made small here: mount -t tmpfs is not permitted")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


class Caller:
    """Calls one after the other until told to stop. told: status, code and whether Retry-After came, of the others."""

    def __init__(self, service, name):
        self._service = service
        self._name = name
        self.answered, self.told = [], []
        self.stops = False

    async def call(self, prompt):
        body = {"model": "chat", "prompt": prompt, "params": {"max_tokens": 20}}
        async with self._service.http.post(f"{self._service.url}/generate", json=body) as response:
            told = await response.json(content_type=None)
            if response.status == 200:
                self.answered.append(told["id"])
            else:
                self.told.append((response.status, told["code"], "retry-after" in response.headers))

    async def run(self):
        number = 0
        while not self.stops:
            await self.call(f"{self._name} {number}")
            number += 1


class Hog:
    """Takes every connection that a server has, those of the service first."""

    def __init__(self, server):
        self._server = server
        self._taken = []
        self._taking = None

    async def takes_all(self):
        self._taken.append(await asyncpg.connect(self._server.url("postgres")))
        self._taking = asyncio.create_task(self._take())

    async def _take(self):
        ended = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'farthing'"
        while True:
            await self._taken[0].fetch(ended)
            try:
                self._taken.append(await asyncpg.connect(self._server.url("postgres")))
            except asyncpg.TooManyConnectionsError:
                await asyncio.sleep(0.02)

    async def lets_go(self):
        self._taking.cancel()
        await asyncio.wait([self._taking])
        for connection in self._taken:
            connection.terminate()


class Filler:
    """Takes all the room that a disk has."""

    def __init__(self, disk, server):
        self._file = disk / "filler"
        self._server = server

    async def takes_all(self):
        block = bytes(1 << 16)
        with self._file.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(block) == len(block):
                pass

    async def lets_go(self):
        self._file.unlink()
        # One that could not even write its log may have left, and is started again by whoever looks after it.
        await asyncio.to_thread(self._server.start)


async def fares(service, trouble):
    """(answered ids, what others were told) of callers before, in and after a trouble, once all is well again."""
    callers = [Caller(service, f"{type(trouble).__name__} {number}") for number in range(4)]
    running = [asyncio.create_task(caller.run()) for caller in callers]

    async def until(holds):
        async with asyncio.timeout(60):
            while not all(map(holds, callers)):
                assert not any(task.done() for task in running), "it was answered with no answer at all"
                await asyncio.sleep(0.05)

    await until(lambda it: len(it.answered) >= 3)
    await trouble.takes_all()
    await until(lambda it: len(it.told) >= 2)
    await trouble.lets_go()
    before = {caller: len(caller.answered) for caller in callers}
    await until(lambda it: len(it.answered) >= before[it] + 3)
    for caller in callers:
        caller.stops = True
    await asyncio.gather(*running)
    return [one for caller in callers for one in caller.answered], {one for caller in callers for one in caller.told}


async def test_callers_are_told_to_come_again_while_it_takes_no_connection_or_has_no_room(tmp_path):
    with a_small_disk() as disk, a_server("-full", unsafe=False, within=disk) as server:
        for setting in SMALL:
            server.run("postgres", f"ALTER SYSTEM SET {setting}")
        await asyncio.to_thread(server.restart_at_once)
        home = PostgresHome(server, await asyncio.to_thread(server.ledger_database))
        async with scripted_upstream() as upstream:
            upstream.default = answer("all well", prompt_tokens=3, completion_tokens=2)
            config = one_route(upstream.url, limit_usd="1000", more=f'[ledger]\nurl = "{home.url}"\n')
            async with farthing_serve(tmp_path, config=config, environ=ENVIRON) as service:
                answered = []
                for trouble in (Hog(server), Filler(disk, server)):
                    ids, told = await fares(service, trouble)
                    assert told == {(503, "ledger_unavailable", True)}
                    answered += ids
                spend = await service.poll("/ledger/spend", lambda it: it["total"]["held_nanousd"] == 0)
                service.terminate()
                assert await service.ended() == 0
        await asyncio.to_thread(server.restart_at_once)
        with home.database() as db:
            kept = dict(db.execute("SELECT generation_id, outcome FROM generations").fetchall())
            (cost,) = db.execute("SELECT SUM(cost_nanousd) FROM postings").fetchone()
        status, out, err = await run_farthing(tmp_path, "verify", environ=ENVIRON)
    assert {kept.get(generation_id) for generation_id in answered} == {"ok"}, "what was answered is on record"
    assert spend["total"]["cost_nanousd"] == cost == COST_NANOUSD * len(upstream.requests)
    assert status == 0, out + err
