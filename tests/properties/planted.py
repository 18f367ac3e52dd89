"""Mistakes that a ledger could make, planted in the real one, each without the schema's guard against it."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ledger.operations import admit, room, settle
from ledger.prices import price
from ledger.store.ledger import StoreLedger


@contextmanager
def a_statement(module, name: str, right: str, wrong: str) -> Iterator[None]:
    assert right in module.SQL[name]
    with mock.patch.object(module, "SQL", {**module.SQL, name: module.SQL[name].replace(right, wrong)}):
        yield


@contextmanager
def moves_of(wrong) -> Iterator[None]:
    move = settle._move_room

    def move_wrongly(db, hold_id, held, came_to, *, now_ms):
        move(db, hold_id, *wrong(held, came_to), now_ms=now_ms)

    with mock.patch.object(settle, "_move_room", move_wrongly):
        yield


@contextmanager
def a_settlement_counts_twice() -> Iterator[None]:
    with a_statement(settle, "close_hold", "AND state = 'held'", ""):
        yield


@contextmanager
def a_release_is_lost() -> Iterator[None]:
    with moves_of(lambda held, came_to: ({**held, "nanousd": min(came_to["nanousd"], held["nanousd"])}, came_to)):
        yield


@contextmanager
def tokens_that_were_not_used_stay_held() -> Iterator[None]:
    with moves_of(lambda held, came_to: ({**held, "tokens": min(came_to["tokens"], held["tokens"])}, came_to)):
        yield


@contextmanager
def a_call_counts_again_with_each_attempt() -> Iterator[None]:
    with moves_of(lambda held, came_to: (held, {**came_to, "calls": 1})):
        yield


@contextmanager
def a_window_begins_a_moment_late() -> Iterator[None]:
    span = room.window_span
    with mock.patch.object(room, "window_span", lambda window, at_ms: span(window, at_ms - 1)):
        yield


@contextmanager
def money_is_a_float_of_dollars() -> Iterator[None]:
    def cost(tokens, price_nanousd_per_mtok):
        return round(tokens * (price_nanousd_per_mtok / 1e9) / 1e6 * 1e9)

    with mock.patch.object(price, "cost_nanousd", cost):
        yield


@contextmanager
def room_is_looked_for_first_and_taken_later() -> Iterator[None]:
    """Check, then act: two transactions. Only calls at one time show it."""
    find_fit = admit._find_fit

    async def admit_later(self, request):
        found = await self._store.write(
            lambda db: find_fit(db, request.facts, request.bids, self._ceilings.now(db), request.now_ms)
        )

        def work(db, owner_id):
            with mock.patch.object(admit, "_find_fit", return_value=found):
                return admit.admit(db, request, owner_id=owner_id, ceilings=self._ceilings.now(db))

        return await self._write_under_lease(work)

    with mock.patch.object(StoreLedger, "admit", admit_later):
        yield


NO_SECOND_CLOSING = "DROP TRIGGER a_hold_is_closed_once; DROP INDEX a_hold_has_one_closing_posting;"
NO_LIMIT = "DROP TRIGGER a_new_hold_fits_under_its_ceiling;"
SEQUENTIAL_BUGS = {
    a_settlement_counts_twice: NO_SECOND_CLOSING,
    a_release_is_lost: "",
    tokens_that_were_not_used_stay_held: "",
    a_call_counts_again_with_each_attempt: "",
    a_window_begins_a_moment_late: "",
    money_is_a_float_of_dollars: "",
}
CONCURRENT_BUGS = {room_is_looked_for_first_and_taken_later: NO_LIMIT}
