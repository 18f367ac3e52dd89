"""However much happens: no target gets more than `burst` messages in `digest_s`, and none of it is left untold."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.events import EVENT_TYPES, Event
from ledger.reports import iso
from service.alerts.pace import SHOWN, Next, Pace, digest_of

NOW_MS = 1_700_000_000_000


def an_event(seq: int, kind: str = "disk.low", **facts) -> Event:
    return Event(seq=seq, id=f"evt_{seq}", type=kind, at_ms=NOW_MS + seq, facts=facts)


@given(
    burst=st.integers(1, 5),
    digest_s=st.integers(1, 10),
    happening=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 12)), max_size=40),
)
def test_a_storm_is_a_bounded_number_of_messages_that_tell_of_everything(burst, digest_s, happening):
    pace = Pace(burst=burst, digest_s=digest_s)
    messages: list[float] = []
    waiting: list[float] = []
    told = now_s = 0
    arrivals = [
        (at_s, count) for at_s, count in zip(running([gap for gap, _ in happening]), counts(happening), strict=True)
    ]
    total = sum(count for _, count in arrivals)
    while told < total:
        waiting += [at for at, count in arrivals if at == now_s for _ in range(count)]
        match pace.decide(len(waiting), now_s) if waiting else Next.WAIT:
            case Next.SEND:
                told += len(waiting)
                for _ in waiting:
                    pace = pace.after_a_message(now_s)
                    messages.append(now_s)
                waiting = []
            case Next.FOLD:
                assert len(waiting) > burst
                assert pace.decide(1, now_s) == Next.SEND, "the digest goes out at once"
                told += len(waiting)
                pace = pace.after_a_message(now_s)
                messages.append(now_s)
                waiting = []
            case Next.WAIT:
                assert not waiting or now_s - messages[-1] < digest_s, "nobody waits longer than for a quiet digest_s"
        now_s += 1
    for at_s in messages:
        assert sum(at_s <= other < at_s + digest_s for other in messages) <= burst


def running(gaps: list[int]) -> list[int]:
    return [sum(gaps[: index + 1]) for index in range(len(gaps))]


def counts(happening: list[tuple[int, int]]) -> list[int]:
    return [count for _, count in happening]


def test_up_to_burst_each_goes_by_itself_and_a_pile_goes_at_once_as_one():
    pace = Pace(burst=20, digest_s=60)
    assert pace.decide(20, 0.0) == Next.SEND
    assert pace.decide(1000, 0.0) == Next.FOLD
    for _ in range(20):
        pace = pace.after_a_message(0.0)
    assert pace.decide(1, 59.0) == Next.WAIT
    assert pace.decide(1, 60.0) == Next.SEND
    assert pace.decide(21, 60.0) == Next.FOLD


def test_a_digest_counts_by_type_and_shows_the_first_in_full():
    events = [an_event(seq, EVENT_TYPES[seq % 2], free=seq) for seq in range(25)]
    digest = digest_of(events, "ops", NOW_MS + 99)
    assert (digest.type, digest.at_ms) == ("digest", NOW_MS + 99)
    assert digest.facts["events"] == 25
    assert digest.facts["counts"] == {"ceiling.threshold": 13, "ceiling.exceeded": 12}
    assert digest.facts["since"] == iso(NOW_MS)
    assert len(digest.facts["first"]) == SHOWN
    assert digest.facts["first"][1] == {"id": "evt_1", "type": "ceiling.exceeded", "at": iso(NOW_MS + 1), "free": 1}


def test_the_same_events_make_the_same_digest_for_a_target_and_others_another():
    events = [an_event(seq) for seq in range(3)]
    digest = digest_of(events, "ops", NOW_MS)
    assert digest_of(events, "ops", NOW_MS + 5).id == digest.id
    others = {digest_of(events, "team", NOW_MS).id, digest_of(events[:2], "ops", NOW_MS).id}
    assert digest.id not in others


def test_a_digest_within_a_digest_counts_as_what_is_in_it():
    first = digest_of([an_event(seq) for seq in range(4)], "ops", NOW_MS + 50)
    inner = an_event(60, "digest", **first.facts)
    whole = digest_of([an_event(5, "posting.overrun"), inner], "ops", NOW_MS + 70)
    assert whole.facts["events"] == 5
    assert whole.facts["counts"] == {"disk.low": 4, "posting.overrun": 1}
    assert whole.facts["since"] == iso(NOW_MS)
    assert [it["id"] for it in whole.facts["first"]] == ["evt_5", "evt_0", "evt_1", "evt_2", "evt_3"]
