"""Flights: everyone hears everything from the first event on, whenever they join and whoever leaves."""

import asyncio

import pytest

from ledger.errors import LedgerUnavailable
from router.answer import Answer, Choice, Delta, ToolCallDelta
from router.errors import Overloaded, SlowReader
from router.flights import AHEAD_BYTES, BEHIND_BYTES, Flight
from router.landing import Landing
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


async def test_a_whole_answer_is_heard_as_events_by_all_who_listen_for_events():
    flight = a_flight()
    before = flight.join(deadline_s=1)
    hearing = asyncio.create_task(before.next())
    await asyncio.sleep(0)
    flight.add_whole(Answer(choices=(Choice(text="all of it"),), usage=None))
    assert flight.has_output
    assert (await hearing).text == "all of it"
    after = flight.join(deadline_s=1)
    flight.land(LANDING)
    assert (await hear_all(before), await hear_all(after)) == ("", "all of it")


async def test_a_whole_answer_that_came_before_anybody_listened_for_events_is_heard_all_the_same():
    flight = a_flight()
    flight.add_whole(Answer(choices=(Choice(text="all of it"),), usage=None))
    first, second = flight.join(deadline_s=1), flight.join(deadline_s=1)
    flight.land(LANDING)
    assert (await hear_all(first), await hear_all(second)) == ("all of it",) * 2


async def test_nobody_who_waits_for_the_end_is_woken_before_it():
    flight = a_flight()
    waiting = flight.join(deadline_s=1).landing()
    waits_for = waiting.send(None)
    assert waits_for is not None
    flight.add_whole(Answer(choices=(Choice(text="all of it"),), usage=None))
    flight.add(Delta(text="and more"))
    assert not waits_for.done()
    flight.land(LANDING)
    assert waits_for.done()
    with pytest.raises(StopIteration):
        waiting.send(None)


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


A_MEGABYTE = "x" * 2**20


async def test_whoever_is_too_far_behind_hears_no_more_while_the_others_go_on():
    flight = a_flight()
    slow, quick = flight.join(deadline_s=1), flight.join(deadline_s=2)
    flight.add(Delta(text="one"))
    for listener in (slow, quick):
        assert (await listener.next()).text == "one"
    for _ in range(3):
        flight.add(Delta(text=A_MEGABYTE))
        await quick.next()
    with pytest.raises(SlowReader) as caught:
        await slow.next()
    assert BEHIND_BYTES < caught.value.behind_bytes < 3 * BEHIND_BYTES
    flight.land(LANDING)
    assert await quick.next() is LANDING
    assert flight.deadline_s == 2


async def test_what_was_there_before_somebody_joined_does_not_count_against_him():
    flight = a_flight()
    first = flight.join(deadline_s=1)
    flight.add(*[Delta(text=A_MEGABYTE)] * 4)
    late = flight.join(deadline_s=1)
    await late.next()
    for _ in range(4):
        await first.next()
    flight.add(Delta(text="more"))
    assert [len((await late.next()).text) for _ in range(4)] == [2**20] * 3 + [4]


async def test_what_comes_at_once_makes_nobody_slow():
    flight = a_flight()
    listener = flight.join(deadline_s=1)
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    flight.add(*[Delta(text=A_MEGABYTE)] * 4)
    flight.land(LANDING)
    await waiting
    assert len(await hear_all(listener)) == 3 * 2**20


async def test_the_last_reader_that_is_dropped_ends_it():
    flight = a_flight()
    listener = flight.join(deadline_s=1)
    flight.add(Delta(text="one"))
    await listener.next()
    for _ in range(3):
        flight.add(Delta(text=A_MEGABYTE))
    assert flight.must_stop


async def test_who_waits_for_the_whole_answer_is_never_slow():
    flight = a_flight()
    waiting = asyncio.create_task(flight.join(deadline_s=1).landing())
    await asyncio.sleep(0)
    for _ in range(4):
        flight.add(Delta(text=A_MEGABYTE))
    assert not flight.outruns_all
    flight.land(LANDING)
    assert await waiting is LANDING


@pytest.mark.parametrize("then", ["reads on", "leaves", "is joined by one who only waits", "is stopped"])
async def test_nothing_is_read_ahead_of_everybody_until_somebody_needs_it(then):
    flight = a_flight()
    reader = flight.join(deadline_s=1)
    flight.add(Delta(text="one"))
    await reader.next()
    await flight.outrun_no_more()
    flight.add(Delta(text="x" * AHEAD_BYTES))
    reading_on = asyncio.create_task(flight.outrun_no_more())
    await asyncio.sleep(0)
    assert not reading_on.done()
    match then:
        case "reads on":
            await reader.next()
        case "leaves":
            flight.leave(reader)
        case "is joined by one who only waits":
            flight.join(deadline_s=1)
        case "is stopped":
            flight.stop(Overloaded())
    async with asyncio.timeout(5):
        await reading_on


@pytest.mark.parametrize(
    "delta",
    [
        Delta(reasoning=A_MEGABYTE),
        Delta(refusal=A_MEGABYTE),
        Delta(raw=A_MEGABYTE.encode()),
        Delta(extra={"images": [A_MEGABYTE]}),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments=A_MEGABYTE),)),
    ],
)
async def test_whatever_an_event_holds_is_counted(delta):
    flight = a_flight()
    flight.add(delta)
    assert 2**20 < flight.size < 2**20 + 1000
