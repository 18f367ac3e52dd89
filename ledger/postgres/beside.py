"""Admissions beside the turn, under ceilings that this replica keeps slices of. `ledger.operations.slices` says why.

A batch of them locks what it decides over, and only that: its own slices, and, with others who do so, its lease, its
calls' keys and the ceilings in force, none of which changes often. It waits for nobody longer than a moment; what it
cannot decide at once is decided in turn.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from ledger.apikeys import ApiKeyOver
from ledger.operations.admissions import (
    Asked,
    Leading,
    Place,
    Windows,
    amounts_of,
    answer_to,
    find_answers,
    keys_until_ms,
    known_generations,
    led_by,
    write_leads,
)
from ledger.operations.ceilings import CeilingsInForce
from ledger.operations.settle import SQL as SETTLE
from ledger.postgres.connection import Connection, Session
from ledger.postgres.failures import ServerFailed
from ledger.postgres.migrate import SCHEMA_STAYS, guard
from ledger.postgres.store import PostgresWriter, run, run_batch
from ledger.sql import Migrations, statements
from ledger.store.works import BatchLost, Committed, Work
from ledger.store.writer import Commit
from ledger.values import Lead

SQL: Final = statements("postgres", "slices")

# Somebody in turn holds what it needs. Source: PostgreSQL, appendix A.
_CROSSED: Final = frozenset({"55P03", "40P01"})


def begin_beside(known: Migrations) -> str:
    """As `ledger.postgres.store.begin_turn`, without the turn.

    Who stops in the middle is missed soon: a refusal may wait for its slices, as long as a batch in turn waits.
    """
    return f"""
BEGIN;
SET LOCAL synchronous_commit = on;
SET LOCAL idle_in_transaction_session_timeout = '500ms';
SET LOCAL statement_timeout = '2s';
SET LOCAL lock_timeout = '100ms';
{SCHEMA_STAYS};
{guard(known)};
SET LOCAL plan_cache_mode = force_generic_plan;
SAVEPOINT work;
"""


class BesideWriter(PostgresWriter):
    """A replica's second connection, whose batches take no turn. What came to nothing there has the result None."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Commit]:
        async with super().opened():
            yield partial(_commit, self.connection, begin_beside(self.known))


async def _commit(connection: Connection, begin: str, waiting: Iterable[Work[Any]]) -> Committed:
    works = list(waiting)
    try:
        return await run(connection, partial(run_batch, works=works, begin=begin)), None
    except (BatchLost, ServerFailed) as error:
        if _was_crossed(error):
            return [None] * len(works), None
        raise


def _was_crossed(error: BatchLost | ServerFailed) -> bool:
    """Whether it waited for somebody, a migration at its beginning or a batch in turn, and gave way."""
    if isinstance(error, BatchLost):
        return not error.unknown and isinstance(error.__cause__, ServerFailed) and error.__cause__.sqlstate in _CROSSED
    return error.sqlstate in _CROSSED


def admit_beside(
    db: Session, asked: list[Asked], *, ceilings: CeilingsInForce
) -> tuple[list[Lead | ApiKeyOver | None], dict[Place, int]]:
    """(what each call found, {window: what this replica's slice of it has left}). None: it is to be decided in turn."""
    owner_id, now_ms = asked[-1].owner_id, max(one.request.now_ms for one in asked)
    mine = {"owner_id": owner_id}
    db.execute(SQL["ceilings_stay"]).fetchall()
    if not db.execute(SQL["owner_stays"], {**mine, "now_ms": now_ms}).fetchall():
        return [None] * len(asked), {}
    requests = [one.request for one in asked]
    left = {(ceiling, starts_at_ms): free for ceiling, starts_at_ms, free in db.execute(SQL["slices_of_owner"], mine)}
    windows = Windows(db, requests, ceilings.now(db))
    keys = keys_until_ms(db, requests, SQL["key_stays"])
    known, answers = known_generations(db, requests), find_answers(db, requests)

    def leading_of(one: Asked) -> Leading | ApiKeyOver | None:
        request, lookup = one.request, one.request.lookup
        if request.api_key and keys.get(request.api_key, 0) <= request.now_ms:
            return ApiKeyOver(request.api_key)
        is_new = request.facts.generation_id not in known and one.owner_id == owner_id
        is_answered = lookup is not None and lookup.reads and answer_to(request, lookup, answers) is not None
        if not is_new or is_answered or not windows.applying(request):
            return None
        known.add(request.facts.generation_id)
        taken = windows.take(one)
        if taken is None or any(left.get(window.place, -1) < window.asked for window in taken.windows):
            return None
        for window in taken.windows:
            left[window.place] -= window.asked
        return taken

    found = [leading_of(one) for one in asked]
    took = _with_flights(db, [taken for taken in found if isinstance(taken, Leading)])
    db.executemany(SQL["spend_slice"], [{**amount, **mine} for amount in amounts_of(took)])
    write_leads(db, took)
    admitted = {id(taken) for taken in took}
    return [_told(taken, admitted) for taken in found], left


def _told(taken: Leading | ApiKeyOver | None, admitted: set[int]) -> Lead | ApiKeyOver | None:
    if isinstance(taken, Leading):
        return taken.lead() if id(taken) in admitted else None
    return taken


def _with_flights(db: Session, leading: list[Leading]) -> list[Leading]:
    """Those who share nothing, or lead their flight now and have no answer.

    The flight is taken first, then the answers are looked at again: between a look and the flight, the call that led it
    may have stored its own.
    """
    led = led_by(db, leading, SQL["lead_new_flight"])
    took = [taken for taken in leading if taken.flight is None or taken.generation_id in led]
    answers = find_answers(db, [taken.asked.request for taken in took])

    def is_answered(taken: Leading) -> bool:
        request = taken.asked.request
        lookup = request.lookup
        return lookup is not None and lookup.reads and answer_to(request, lookup, answers) is not None

    answered = [taken.flight for taken in took if is_answered(taken)]
    db.find_each(SETTLE["end_flight"], [flight for flight in answered if flight is not None])
    return [taken for taken in took if not is_answered(taken)]
