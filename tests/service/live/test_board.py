"""What listeners are told of calls: in order, once, within bounds."""

import asyncio
import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.latest import STATES, CallSummary
from router.errors import Overloaded
from service.live.board import LiveBoard


def a_call(name="gen_1", state="running", **known):
    return CallSummary(id=name, state=state, created_at="2026-11-21T14:00:00.000Z", **known)


async def heard(listener):
    """The calls of all events that it was told of by now."""
    return calls_in(await listener.next(within_s=0))


def calls_in(events):
    assert events.count(b"event: call\n") == events.count(b"\n\n")
    return [
        msgspec.json.decode(line[len(b"data: ") :], type=CallSummary)
        for line in events.splitlines()
        if line.startswith(b"data: ")
    ]


async def test_a_listener_is_told_what_is_there_and_then_every_change_in_order():
    board = LiveBoard()
    board.tell(a_call("nobody_listened"))
    with board.listening() as first:
        board.tell(a_call("gen_1", "waiting"))
        board.tell(a_call("gen_2", "running"))
        board.tell(a_call("gen_1", "output"))
        with board.listening() as late:
            board.tell(a_call("gen_2", "ended", cost_nanousd=5))
            told = [(call.id, call.state) for call in await heard(late)]
            assert told == [("gen_1", "output"), ("gen_2", "running"), ("gen_2", "ended")]
        told = [(call.id, call.state) for call in await heard(first)]
        assert told == [("gen_1", "waiting"), ("gen_2", "running"), ("gen_1", "output"), ("gen_2", "ended")]
        assert await first.next(within_s=0) == b""
    assert not board.is_watched
    with board.listening() as again:
        assert await again.next(within_s=0) == b""


@settings(max_examples=100)
@given(
    st.lists(
        st.builds(
            a_call,
            st.sampled_from(["gen_1", "gen_2"]),
            st.sampled_from(STATES),
            attempts=st.integers(0, 3),
            cost_nanousd=st.one_of(st.none(), st.just(7)),
        )
    )
)
def test_nobody_is_told_less_than_before_in_whatever_order_it_is_learned(learned):
    async def run():
        board = LiveBoard()
        with board.listening() as listener:
            for call in learned:
                board.tell(call)
            return await heard(listener)

    told = asyncio.run(run())
    for name in {call.id for call in learned}:
        own = [call for call in told if call.id == name]
        assert all(earlier.joined(later) == later != earlier for earlier, later in itertools.pairwise(own))
        assert all(own[-1].joined(call) == own[-1] for call in learned if call.id == name)


async def test_who_does_not_keep_up_is_dropped_and_the_others_hear_on():
    board = LiveBoard(most_behind=3)
    with board.listening() as slow, board.listening() as quick:
        for number in range(4):
            board.tell(a_call(f"gen_{number}"))
            assert len(await heard(quick)) == 1
        assert slow.ended_by == "slow_reader"
        assert await slow.next(within_s=0) == b""
        board.tell(a_call("gen_9"))
        assert await slow.next(within_s=0) == b""
        assert [call.id for call in await heard(quick)] == ["gen_9"]
        assert not quick.ended_by


async def test_the_board_keeps_the_newest_calls_only():
    board = LiveBoard(most_calls=2)
    with board.listening():
        for number in range(3):
            board.tell(a_call(f"gen_{number}"))
        with board.listening() as late:
            assert [call.id for call in await heard(late)] == ["gen_1", "gen_2"]


async def test_there_are_only_so_many_places_and_none_once_it_is_closed():
    board = LiveBoard(most_listeners=1)
    with board.listening() as listener:
        with pytest.raises(Overloaded), board.listening():
            pass
        closing = asyncio.create_task(board.close(within_s=10))
        await asyncio.sleep(0)
        assert listener.ended_by == "draining"
        assert not closing.done()
    await closing
    with pytest.raises(Overloaded), board.listening():
        pass


async def test_what_is_not_settled_is_asked_for_again():
    board = LiveBoard()
    with board.listening():
        board.tell(a_call("open", "output"))
        board.tell(a_call("left", "ended", error_code="caller_gone"))
        board.tell(a_call("over", "ended", cost_nanousd=0))
        assert board.unsettled() == ["open", "left"]
