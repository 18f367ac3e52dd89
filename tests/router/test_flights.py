"""Flights: everyone hears everything from the first event on, whenever they join and whoever leaves."""

import asyncio

import pytest

from ledger.errors import LedgerUnavailable
from router.answer import Answer, Delta
from router.errors import Overloaded
from router.flights import Flight, Landing
from router.receipt import RouterFacts, Timing

LANDING = Landing(
    answer=Answer(choices=(), usage=None),
    provider="p",
    model="m",
    cost_nanousd=0,
    answer_cost_nanousd=0,
    cost_basis="free",
    estimated_prompt_tokens=0,
    attempts=(),
    dropped_params=(),
    clamped={},
    timing=Timing(queue_ms=0, ledger_ms=0, upstream_ms=0),
    router=RouterFacts(),
)


def a_flight() -> Flight:
    return Flight("gen_1", "p:m")


async def hear_all(listener) -> str:
    heard = ""
    while not isinstance(event := await listener.next(), Landing):
        heard += event.text
    return heard


async def test_whoever_joins_late_hears_it_from_the_first_event_on():
    flight = a_flight()
    early = flight.join(deadline_s=1)
    flight.add(Delta(text="one "))
    flight.add(Delta(text="two "))
    late = flight.join(deadline_s=1)
    both = asyncio.gather(hear_all(early), hear_all(late))
    await asyncio.sleep(0)
    flight.add(Delta(text="three"))
    flight.land(LANDING)
    assert await both == ["one two three"] * 2


async def test_an_error_comes_after_everything_that_was_heard_before_it():
    flight = a_flight()
    listener = flight.join(deadline_s=1)
    flight.add(Delta(text="half"))
    flight.fail(LedgerUnavailable())
    assert (await listener.next()).text == "half"
    with pytest.raises(LedgerUnavailable):
        await listener.next()


async def test_a_listener_who_leaves_disturbs_nobody_and_the_last_one_ends_it():
    flight = a_flight()
    first, second = flight.join(deadline_s=1), flight.join(deadline_s=2)
    flight.leave(first)
    flight.leave(first)
    assert not flight.must_stop
    flight.leave(second)
    assert flight.must_stop


async def test_its_deadline_is_the_latest_of_those_who_still_listen():
    flight = a_flight()
    flight.join(deadline_s=10)
    patient = flight.join(deadline_s=20)
    assert flight.deadline_s == 20
    flight.leave(patient)
    assert flight.deadline_s == 10


async def test_the_attempt_is_told_of_every_coming_and_going():
    flight = a_flight()
    told = []
    flight.watchers.add(lambda: told.append(flight.must_stop))
    listener = flight.join(deadline_s=1)
    flight.leave(listener)
    flight.stop(Overloaded())
    assert told == [False, True, True]


async def test_a_cancelled_listener_misses_nothing_when_it_listens_again():
    flight = a_flight()
    listener = flight.join(deadline_s=1)
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    flight.add(Delta(text="still here"))
    assert (await listener.next()).text == "still here"
