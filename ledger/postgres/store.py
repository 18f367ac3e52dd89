"""The writer of one replica: many calls' transactions in one commit, in turn with the writers of all other replicas.

The turn is a row that each batch locks before it reads anything. So an operation decides over what nobody else changes,
as it does on SQLite, and the rules are written once; what the schema checks it checks all the same. In its turn a batch
waits for nothing but the server, and the server ends one that falls silent. What is admitted beside the turn
(`ledger.postgres.beside`) is nothing that a batch in its turn decides over.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Final, TypeVar, cast

from ledger.errors import NotALedger
from ledger.figures import Batch
from ledger.postgres.address import Address
from ledger.postgres.connection import Connection, Session, open_connection
from ledger.postgres.failures import ServerFailed
from ledger.postgres.migrate import begin_guarded, guard, known_here, migrate
from ledger.sql import Migrations
from ledger.store.works import BatchLost, Committed, Spoilt, Work, run_works
from ledger.store.writer import Commit, Writer

Result = TypeVar("Result")


def begin_turn(known: Migrations) -> str:
    """How a batch begins, of code that knows this schema: all of it in one message.

    Nothing outlives the transaction, so that a pooler may lend the connection by transactions. Who gives up waiting for
    the turn loses its place: it waits longer than the server lets a silent holder keep it. The turn's row also says
    whether this code is right on the schema, as it is by then. A statement is planned once: a plan for the month of
    this very call looks cheaper, by less than it costs to make one.
    """
    return f"""
BEGIN;
SET LOCAL synchronous_commit = on;
SET LOCAL idle_in_transaction_session_timeout = '5s';
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '10s';
{guard(known)} FOR UPDATE;
SET LOCAL lock_timeout = '1s';
SET LOCAL statement_timeout = '2s';
SET LOCAL plan_cache_mode = force_generic_plan;
SAVEPOINT work;
"""


BEGIN: Final = begin_turn(known_here())
TURN_S: Final = 12.0


class PostgresWriter(Writer):
    """Commits on a server, and opens another connection where one failed."""

    # The other replicas should not wait long for their turns.
    batch_limit = 64
    # A server that is back is found at once, however long it was away: what became of a write is asked there.
    reopen_delays_s: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.5, 1.0)

    def __init__(
        self, address: Address, *, known: Migrations | None = None, tell: Callable[[Batch], None] | None = None
    ) -> None:
        super().__init__(address.shown, tell=tell)
        self._address = address
        self.known = known_here() if known is None else known
        self._was_open = False
        self.connection: Connection

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Commit]:
        async with open_connection(self._address) as connection:
            migrating = partial(migrate, known=self.known)
            await (run(connection, migrating) if self._was_open else connection.run(migrating))
            self._was_open, self.connection = True, connection
            yield partial(_commit, connection, begin_turn(self.known))


async def _commit(connection: Connection, begin: str, works: Iterable[Work[Any]]) -> Committed:
    return await run(connection, partial(run_batch, works=works, begin=begin)), None


async def run(connection: Connection, work: Callable[[Session], Result]) -> Result:
    """What keeps a ledger from being used once it was may pass: a standby takes over, a password is put right."""
    try:
        return await connection.run(work)
    except NotALedger as error:
        raise ServerFailed(str(error)) from error


def in_turn(db: Session, *, work: Work[Result]) -> Result:
    """One work in one transaction. Raises ServerFailed, and what `work` raises: then nothing was written."""
    (result,) = run_batch(db, works=[work])
    if isinstance(result, BaseException):
        raise result
    return cast(Result, result)


def run_batch(db: Session, *, works: Iterable[Work[Any]], begin: str = BEGIN) -> list[Any]:
    """Each work's result, or what undid it. Raises BatchLost if the server undid or may have undone all of them."""
    _begin(db, begin)
    try:
        # All that have come while the turn was waited for.
        results = _run_works(db, list(works))
    except ServerFailed as error:
        _give_back(db, error)
        raise BatchLost(unknown=False) from error
    try:
        db.run_script("COMMIT")
    except ServerFailed as error:
        _give_back(db, error)
        raise BatchLost(unknown=True) from error
    return results


def _begin(db: Session, begin: str) -> None:
    """Begin a transaction, in turn or beside it. Raises ServerFailed, NotALedger; then none has begun."""
    try:
        begin_guarded(db, begin, within_s=TURN_S)
    except ServerFailed as error:
        _give_back(db, error)
        raise


def _run_works(db: Session, works: list[Work[Any]]) -> list[Any]:
    """Each work's result, or what undid it.

    A savepoint for each is a journey for each, and hardly any work fails once it has changed something: so they run
    without, and where one does, all are undone and run again with, still in this turn.
    """
    if len(works) == 1:
        return [_run_work(db, works[0])]
    try:
        return run_works(db, works, _run_bare)
    except Spoilt:
        db.run_script("ROLLBACK TO SAVEPOINT work")
        return run_works(db, works, _run_apart)


def _run_bare(db: Session, work: Work[Any]) -> object:
    """Raises Spoilt where only undoing what others did, too, would undo it."""
    before = db.changes
    try:
        return work(db)
    except Exception as error:
        if isinstance(error, ServerFailed):
            raise
        if db.changes != before:
            raise Spoilt from error
        return error


def _run_apart(db: Session, work: Work[Any]) -> object:
    """One of several: what it wrote stays, whatever becomes of the next one."""
    result = _run_work(db, work)
    db.run_script("RELEASE SAVEPOINT work; SAVEPOINT work")
    return result


def _run_work(db: Session, work: Work[Any]) -> object:
    try:
        result: object = work(db)
    except Exception as error:
        if isinstance(error, ServerFailed):
            raise
        db.run_script("ROLLBACK TO SAVEPOINT work")
        return error
    return result


def _give_back(db: Session, error: ServerFailed) -> None:
    """Have the server roll back, which it also does where it misses us."""
    if error.sqlstate is None:
        db.abandon()
        return
    with contextlib.suppress(ServerFailed):
        if db.in_transaction:
            db.run_script("ROLLBACK")
