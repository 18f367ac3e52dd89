"""Connections to the server, on which plain functions run as on SQLite's.

Each has a thread with an event loop of its own, for a function may take its time with what it reads. There a function
runs as a greenlet: where it waits for the server, a coroutine of the loop waits in its stead.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

import asyncpg
import uvloop
from greenlet import getcurrent, greenlet

from ledger.postgres.address import Address
from ledger.postgres.failures import DRIVER_ERRORS, told, unreached
from ledger.postgres.words import own_words, storable, translated

Result = TypeVar("Result")

CONNECT_S: Final = 5.0
# Longer than the server's own limits: a server that says nothing at all by then is not there any more.
SILENCE_S: Final = 5.0
STATEMENTS_KEPT: Final = 512


class Found:
    """What a statement found. See `ledger.database.Rows`, which it implements."""

    def __init__(self, records: Sequence[asyncpg.Record] = (), rowcount: int = -1) -> None:
        self._rows: Iterator[asyncpg.Record] = iter(records)
        self.rowcount = rowcount
        self.description = [(name,) for name in records[0].keys()] if records else []  # noqa: SIM118  # A Record's values.

    def fetchone(self) -> tuple[Any, ...] | None:
        record = next(self._rows, None)
        return None if record is None else tuple(record)

    def fetchall(self) -> list[Any]:
        return list(map(tuple, self._rows))

    def __iter__(self) -> Iterator[Any]:
        return map(tuple, self._rows)


class Session:
    """A connection as an operation sees it: see `ledger.database.BatchDatabase`, which it implements.

    Only within `Connection.run`. Raises RuleBroken, or ServerFailed: then the transaction is lost. answers_by_s: until
    when, on the monotonic clock, the server has time for what it was asked last. changes: goes up with each statement
    that may have changed something, or spoilt the transaction.
    """

    def __init__(self, connection: asyncpg.Connection, silence_s: float) -> None:
        self._connection = connection
        self._silence_s = silence_s
        self.answers_by_s = time.monotonic() + silence_s
        self.changes = 0

    def execute(self, sql: str, parameters: Any = (), /) -> Found:
        statement = translated(sql)
        values = statement.values(parameters)
        self.changes += not statement.reads
        try:
            if statement.finds:
                records = self._ask(self._connection.fetch(statement.text, *values))
                return Found(records, len(records))
            status = self._ask(self._connection.execute(statement.text, *values))
        except DRIVER_ERRORS as error:
            self.changes += 1
            raise told(error) from error
        count = status.rpartition(" ")[2]
        return Found(rowcount=int(count) if count.isdigit() else -1)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Found:
        statement = translated(sql)
        rows = [statement.values(row) for row in parameters]
        if not rows:
            return Found()
        self.changes += 1
        try:
            self._ask(self._connection.executemany(statement.text, rows))
        except DRIVER_ERRORS as error:
            raise told(error) from error
        return Found()

    def add_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows in one stream: the server's quickest way in."""
        self.changes += 1
        records = [tuple(map(storable, row)) for row in rows]
        try:
            self._ask(self._connection.copy_records_to_table(table, columns=columns, records=records))
        except DRIVER_ERRORS as error:
            raise told(error) from error

    def find_each(self, sql: str, parameters: Iterable[Any], /) -> Found:
        """What the statement finds for each of these parameters, all of it in order, by one journey to the server."""
        statement = translated(sql)
        rows = [statement.values(row) for row in parameters]
        if not rows:
            return Found()
        self.changes += not statement.reads
        try:
            records = self._ask(self._connection.fetchmany(statement.text, rows))
        except DRIVER_ERRORS as error:
            self.changes += 1
            raise told(error) from error
        return Found(records, len(records))

    def change_each(self, sql: str, parameters: Iterable[Any], _look: str, /) -> Found:
        """The same, of a statement that says itself what it changed."""
        return self.find_each(sql, parameters)

    def run_script(self, script: str, *, within_s: float | None = None) -> None:
        """Statements without parameters, in one message. within_s: how long the server may take, if not as usual."""
        try:
            self._ask(self._connection.execute(script), within_s)
        except DRIVER_ERRORS as error:
            raise told(error) from error

    def words_of(self, statement: str) -> str:
        """A statement of `sql/sqlite` as it is written for this engine, its parameters still named."""
        return own_words().get(statement, statement)

    def abandon(self) -> None:
        """Let go of the connection without a word to the server, which may not be there to hear it."""
        self._connection.terminate()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, also one that failed."""
        return self._connection.is_in_transaction()

    def _ask(self, asked: Awaitable[Result], within_s: float | None = None) -> Result:
        """Give the thread back to its loop until the server has answered."""
        loop_side = getcurrent().parent
        assert loop_side is not None, "only within Connection.run"
        self.answers_by_s = time.monotonic() + (within_s or self._silence_s)
        answer: Result = loop_side.switch(asked)
        return answer


class Connection:
    """One connection, made when it is first needed and again once it is lost. Made by `open_connection`."""

    def __init__(self, address: Address, *, silence_s: float | None = None) -> None:
        self._address = address
        self._silence_s = SILENCE_S if silence_s is None else silence_s
        self._threads = ThreadPoolExecutor(1, "ledger connection")
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._connection: asyncpg.Connection | None = None

    async def run(self, work: Callable[[Session], Result]) -> Result:
        """Run `work` on the connection's own thread. A caller that is cancelled stops waiting; the work still ends.

        Raises NotALedger where no connection can be made for a reason that will stay, and what `work` raises.
        """
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)
        return await asyncio.shield(running)

    def run_blocking(self, work: Callable[[Session], Result]) -> Result:
        """The same, for a caller on a thread of its own."""
        return self._threads.submit(self._run, work).result()

    def close_blocking(self) -> None:
        """As `close`, for a caller on a thread of its own."""
        self._threads.submit(self._close).result()
        self._threads.shutdown()

    async def close(self) -> None:
        """Let go of the server, after what still runs."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._close)
        self._threads.shutdown()

    def _run(self, work: Callable[[Session], Result]) -> Result:
        return self._loop.run_until_complete(self._run_watched(work))

    async def _run_watched(self, work: Callable[[Session], Result]) -> Result:
        session = Session(await self._connected(), self._silence_s)
        async with self._watching(session):
            return await _as_greenlet(work, session)

    @asynccontextmanager
    async def _watching(self, session: Session) -> AsyncIterator[None]:
        """Abandon a server that falls silent. A timer for each thing that is asked would cost a fifth more."""
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            if time.monotonic() > session.answers_by_s:
                session.abandon()
            else:
                timer = self._loop.call_later(self._silence_s / 4, look)

        timer = self._loop.call_later(self._silence_s / 4, look)
        try:
            yield
        finally:
            timer.cancel()

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            try:
                async with asyncio.timeout(CONNECT_S):
                    with self._address.refusals():
                        self._connection = await self._connect()
            except DRIVER_ERRORS as error:
                raise unreached(error) from error
        return self._connection

    async def _connect(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(
            self._address.dsn,
            statement_cache_size=STATEMENTS_KEPT if self._address.keeps_statements else 0,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": "farthing"},
        )
        # Sums of bigint are numeric. None of ours has a fraction; one that had would be an error.
        await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                self._loop.run_until_complete(self._connection.close(timeout=CONNECT_S))
        self._loop.close()


@asynccontextmanager
async def open_connection(address: Address, *, silence_s: float | None = None) -> AsyncIterator[Connection]:
    """A connection that is closed at the end of the block. silence_s: after so long the server is taken for dead."""
    connection = Connection(address, silence_s=silence_s)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def open_blocking_connection(address: Address, *, silence_s: float | None = None) -> Iterator[Connection]:
    """As `open_connection`, for commands that have no coroutines: to be used by `run_blocking`."""
    connection = Connection(address, silence_s=silence_s)
    try:
        yield connection
    finally:
        connection.close_blocking()


def run_to_end(main: Coroutine[Any, Any, Result]) -> Result:
    """For callers without coroutines, on a thread of its own: some of them are called on a running loop."""
    with ThreadPoolExecutor(1, "ledger command") as thread:
        return thread.submit(asyncio.run, main).result()


async def _as_greenlet(work: Callable[[Session], Result], session: Session) -> Result:
    running = greenlet(work)
    waits_for = running.switch(session)
    while not running.dead:
        try:
            answer = await waits_for
        except BaseException as error:  # noqa: BLE001  # Whatever it is, it is the function's.
            waits_for = running.throw(error)
        else:
            waits_for = running.switch(answer)
    result: Result = waits_for
    return result
