"""Mistakes that a ledger could make, planted in the real one, each without the schema's guard against it."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ledger.operations import admit, closed_holds, room, settle, settlements
from ledger.postgres import store
from ledger.prices import price
from ledger.store.ledger import StoreLedger


@contextmanager
def a_statement(module, name: str, right: str, wrong: str) -> Iterator[None]:
    assert right in module.SQL[name]
    with mock.patch.object(module, "SQL", {**module.SQL, name: module.SQL[name].replace(right, wrong)}):
        yield


@contextmanager
def moves_of(wrong) -> Iterator[None]:
    move = closed_holds._move_room

    def move_wrongly(db, hold_id, held, came_to, *, now_ms):
        move(db, hold_id, *wrong(held, came_to), now_ms=now_ms)

    with mock.patch.object(closed_holds, "_move_room", move_wrongly):
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

        return await self.lease.write(work)

    with mock.patch.object(StoreLedger, "admit", admit_later):
        yield


@contextmanager
def a_batch_gives_no_room_back() -> Iterator[None]:
    with mock.patch.object(settlements, "held_of", return_value=closed_holds.NOTHING):
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
    a_batch_gives_no_room_back: "",
}
CONCURRENT_BUGS = {room_is_looked_for_first_and_taken_later: NO_LIMIT}

# What a server could do wrong with a window when a hold is closed, in its own words: count it twice; keep half of it.
SERVERS_BUG = "NEW.spent_amount := 2 * NEW.spent_amount - OLD.spent_amount"
SERVERS_OTHER_BUG = "NEW.held_amount := (OLD.held_amount + NEW.held_amount) / 2"
PLANT = """
CREATE FUNCTION a_mistake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {mistake}; RETURN NEW; END $$;
CREATE TRIGGER a_mistake BEFORE UPDATE ON ceiling_windows FOR EACH ROW WHEN (NEW.held_amount < OLD.held_amount)
    EXECUTE FUNCTION a_mistake();
"""


@contextmanager
def in_the_server(home, mistake: str) -> Iterator[None]:
    """Have this home's server make this mistake."""
    home.server.run(home.name, PLANT.format(mistake=mistake))
    try:
        yield
    finally:
        home.server.run(home.name, "DROP TRIGGER a_mistake ON ceiling_windows; DROP FUNCTION a_mistake")


@contextmanager
def no_turns(home) -> Iterator[None]:
    """Have nobody on this home's server wait for who decides just now, and take away the guard against what follows."""
    home.is_altered = True
    home.server.run(home.name, "DROP TRIGGER a_new_hold_fits_under_its_ceiling ON ceiling_windows")
    begin = store.begin_turn

    def begin_at_once(known):
        # Now they wait for each other's rows: on a slow machine for longer than they would, which is not the bug.
        patient = begin(known).replace("lock_timeout = '1s'", "lock_timeout = 0")
        return patient.replace("statement_timeout = '2s'", "statement_timeout = 0").replace(" FOR UPDATE", "")

    with mock.patch.object(store, "begin_turn", begin_at_once):
        yield
