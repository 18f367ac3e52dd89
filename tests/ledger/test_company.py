"""A batch waits for company only where the processor has no time to lose, and never for long."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.sqlite.writer import open_store
from ledger.store.company import BUSY, LOOK_S, MOST_S, MOST_WORKS, SPAN_S, Clocks, Company

IDLE, BUSY_ENOUGH = BUSY - 0.01, BUSY + 0.01


def after(works, *, busy=1.0):
    """A company whose last batch had so many works, in a process that was so busy, and the clocks of now."""
    company = Company()
    assert not company.waits(0, Clocks(0.0, 0.0))
    company.committed(works)
    return company, Clocks(2 * SPAN_S, 2 * SPAN_S * busy)


def later(now, *, by_s=LOOK_S, busy=1.0):
    return Clocks(now.at_s + by_s, now.used_s + by_s * busy)


@pytest.mark.parametrize(
    ("last", "there", "busy", "waits"),
    [
        (5, 4, BUSY_ENOUGH, True),
        (5, 1, BUSY_ENOUGH, True),
        (5, 5, BUSY_ENOUGH, False),
        (5, 6, BUSY_ENOUGH, False),
        (5, 1, IDLE, False),
        (1, 1, BUSY_ENOUGH, False),
        (1000, MOST_WORKS - 1, BUSY_ENOUGH, True),
        (1000, MOST_WORKS, BUSY_ENOUGH, False),
    ],
)
def test_it_waits_for_as_many_as_came_last_time_where_the_process_is_busy(last, there, busy, waits):
    company, now = after(last, busy=busy)
    assert company.waits(there, now) is waits


@pytest.mark.parametrize(("busy", "waits"), [(1.0, True), (0.6, True), (0.4, False), (0.0, False)])
def test_it_goes_on_waiting_while_there_is_other_work(busy, waits):
    company, now = after(3)
    assert company.waits(1, now)
    assert company.waits(1, later(now, busy=busy)) is waits


def test_it_waits_no_longer_once_they_are_there_or_too_long():
    company, now = after(3)
    assert company.waits(1, now)
    assert company.waits(2, now := later(now))
    assert not company.waits(3, later(now))
    company, began = after(3)
    assert company.waits(1, began)
    assert company.waits(1, later(began, by_s=MOST_S - LOOK_S))
    assert not company.waits(1, later(began, by_s=MOST_S))


def test_how_busy_it_is_is_told_of_a_span_and_not_of_a_moment():
    company, now = after(3, busy=0.0)
    assert not company.waits(1, now)
    company.committed(3)
    assert not company.waits(1, now := later(now, by_s=SPAN_S / 2)), "half of a span says nothing yet"
    company.committed(3)
    assert company.waits(1, later(now, by_s=SPAN_S))


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0, 2), st.floats(0, 0.1)), max_size=50))
def test_no_batch_ever_waits_longer_than_it_may_nor_for_more_than_came_together(batches):
    company, now, last = Company(), Clocks(0.0, 0.0), 1
    for works, busy, apart_s in batches:
        now = began = later(now, by_s=apart_s, busy=busy)
        while company.waits(1, now):
            assert last > 1
            now = later(now, busy=busy)
        assert now.at_s - began.at_s <= MOST_S + LOOK_S
        assert not company.waits(last, now) or last > MOST_WORKS
        company.committed(works)
        last = works


numbers = itertools.count()


def put(value):
    return lambda db: db.execute("INSERT INTO refusals VALUES (:v, 'r', 'c', 1)", {"v": value}).rowcount


@asynccontextmanager
async def busy_store(tmp_path):
    """A store that found its process busy until now, and for which time stands still from now on; and its batches."""
    told, moments = [], itertools.chain((Clocks(0.0, 0.0),), itertools.repeat(Clocks(SPAN_S, SPAN_S)))
    async with open_store(tmp_path / "l.db", "full", tell=lambda batch: told.append(batch.writes)) as store:
        store.clocks = lambda: next(moments)
        async with asyncio.timeout(30):
            while not told or told[-1] < 3:
                await asyncio.gather(*(store.write(put(next(numbers))) for _ in range(3)))
            yield store, told


async def test_a_batch_that_waits_takes_all_that_it_waited_for(tmp_path):
    async with busy_store(tmp_path) as (store, told):
        first = asyncio.ensure_future(store.write(put(next(numbers))))
        assert not (await asyncio.wait([first], timeout=0.05))[0], "it waits for two more"
        assert await asyncio.gather(first, *(store.write(put(next(numbers))) for _ in range(2))) == [1, 1, 1]
        assert told[-1] == 3


async def test_who_closes_it_ends_its_waiting(tmp_path):
    async with busy_store(tmp_path) as (store, told):
        last = asyncio.ensure_future(store.write(put(next(numbers))))
        assert not (await asyncio.wait([last], timeout=0.05))[0]
        store.close()
        assert await last == 1
        assert told[-1] == 1
