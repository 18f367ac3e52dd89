"""The watch tells of what no call can tell, once, and one process does it for all."""

from contextlib import asynccontextmanager

import pytest

from ledger.ceilings import DAY_MS, HOUR_MS, Ceiling
from ledger.errors import LedgerUnavailable
from ledger.events import EventsQuery
from ledger.ledger import open_ledger
from ledger.money import NANOUSD_PER_USD
from ledger.reports import iso
from router.breaker import Breaker, BreakerEvent, BreakerRule, BreakerState, admit, record
from router.hints import Block, Cause, LastError
from router.status import Standing
from service.watch.troubles import low_disk, troubles
from service.watch.watch import MOST_UNPRICED_A_DAY, Watch, WatchRule
from tests.ledger.calls import Clock, a_call, a_ledger, admit_and_settle
from tests.ledger.test_apikeys import a_key

MIDNIGHT = 1_795_219_200_000
OPEN_LONG_MS = 300_000
RULE = WatchRule(open_long_ms=OPEN_LONG_MS, low_bytes=0)
BREAKER_RULE = BreakerRule(threshold=1, cooldown_s=60)


def a_standing(*, breaker=None, cause=None, since_ms=MIDNIGHT, deployment="p:m"):
    block = None if cause is None else Block(cause=cause, since_ms=since_ms, until_ms=since_ms + 1, wait_ms=1)
    error = LastError(outcome="auth_refused", at_ms=since_ms, status=401, code="invalid_api_key")
    return Standing(deployment=deployment, breaker=breaker or Breaker(), block=block, last_error=error)


def an_open_breaker(at_ms=MIDNIGHT):
    return record(Breaker(), BreakerEvent.FAULT, BREAKER_RULE, now_s=0, now_ms=at_ms)


class Surroundings:
    """What a watch is handed, and what a test changes of it."""

    def __init__(self, ledger, clock, rule=RULE):
        self.standings, self.unpriced = [], set()
        self.ledger, self.clock = ledger, clock
        self.watch = Watch(
            ledger,
            rule,
            standings=lambda: self.standings,
            take_unpriced=self.take,
            now_ms=clock,
        )

    def take(self):
        taken, self.unpriced = self.unpriced, set()
        return taken

    async def later(self, span_ms):
        """Let time pass, under a lease that is kept."""
        self.clock.at_ms += span_ms
        await self.ledger.lease.rejoin(self.ledger.lease.owner)

    async def told(self):
        """What was told so far, the oldest first."""
        await self.watch.look()
        alerts = (await self.ledger.events(EventsQuery(limit=1000)))["alerts"]
        return [(alert["type"], alert["facts"]) for alert in reversed(alerts)]


@asynccontextmanager
async def a_house(folder, *, ceilings=(), rule=RULE, at_ms=MIDNIGHT):
    clock = Clock(at_ms)
    async with a_ledger(folder, clock=clock, ceilings=ceilings) as ledger:
        yield Surroundings(ledger, clock, rule)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (Cause.KEY_REFUSED, "provider.key_refused"),
        (Cause.OUT_OF_CREDIT, "provider.out_of_credit"),
        (Cause.FAILING, None),
        (Cause.NOT_SUPPORTED, None),
        (Cause.OPERATOR, None),
    ],
)
def test_blocks_that_only_the_providers_customer_can_lift_are_told(cause, kind):
    found = list(troubles([a_standing(cause=cause)], now_ms=MIDNIGHT + 5, open_long_ms=OPEN_LONG_MS))
    assert [raised.type for raised in found] == ([] if kind is None else [kind])
    if kind is not None:
        assert found[0].facts == {
            "deployment": "p:m",
            "since": iso(MIDNIGHT),
            "last_outcome": "auth_refused",
            "last_status": 401,
            "last_code": "invalid_api_key",
        }


def test_a_breaker_is_open_from_its_first_fault_until_it_closes_whatever_its_probes_find():
    def told(breaker, after_ms):
        found = troubles([a_standing(breaker=breaker)], now_ms=MIDNIGHT + after_ms, open_long_ms=OPEN_LONG_MS)
        return [(raised.type, raised.dedup_key) for raised in found]

    breaker = an_open_breaker()
    assert told(breaker, OPEN_LONG_MS - 1) == []
    first = told(breaker, OPEN_LONG_MS)
    assert [kind for kind, _ in first] == ["breaker.open_long"]
    probing, _ = admit(breaker, now_s=1000)
    assert told(probing, OPEN_LONG_MS) == first
    again = record(probing, BreakerEvent.FAULT, BREAKER_RULE, now_s=1000, now_ms=MIDNIGHT + 200_000)
    assert told(again, OPEN_LONG_MS) == first
    closed = record(admit(again, now_s=9000)[0], BreakerEvent.SUCCESS, BREAKER_RULE, now_s=9000, now_ms=MIDNIGHT + 9)
    assert (closed.state, told(closed, DAY_MS)) == (BreakerState.CLOSED, [])
    later = record(closed, BreakerEvent.FAULT, BREAKER_RULE, now_s=9001, now_ms=MIDNIGHT + 10)
    assert told(later, DAY_MS) not in ([], first)


def test_a_disk_is_low_once_a_day():
    (one,) = low_disk(99, 100, now_ms=MIDNIGHT)
    assert one.facts == {"free_bytes": 99, "low_bytes": 100}
    (same,) = low_disk(50, 100, now_ms=MIDNIGHT + DAY_MS - 1)
    (other,) = low_disk(50, 100, now_ms=MIDNIGHT + DAY_MS)
    assert one.dedup_key == same.dedup_key != other.dedup_key
    assert list(low_disk(100, 100, now_ms=MIDNIGHT)) == []


async def test_each_trouble_is_told_once(tmp_path):
    rule = WatchRule(open_long_ms=OPEN_LONG_MS, low_bytes=1 << 62)
    async with a_house(tmp_path, rule=rule) as house:
        house.standings = [a_standing(cause=Cause.KEY_REFUSED), a_standing(breaker=an_open_breaker(MIDNIGHT))]
        assert [kind for kind, _ in await house.told()] == ["provider.key_refused", "disk.low"]
        await house.later(OPEN_LONG_MS)
        assert [kind for kind, _ in await house.told()][2:] == ["breaker.open_long"]
        # Another process, which has told nothing yet.
        assert len(await Surroundings(house.ledger, house.clock, rule).told()) == 3
        house.standings = [a_standing(cause=Cause.KEY_REFUSED, since_ms=MIDNIGHT + 7)]
        assert [kind for kind, _ in await house.told()][3:] == ["provider.key_refused"]


async def test_models_without_a_price_are_told_of_by_each_process_once_a_day_and_not_without_bound(tmp_path):
    async with (
        a_house(tmp_path) as house,
        open_ledger(f"sqlite:{tmp_path / 'farthing.db'}", clock_ms=house.clock) as elsewhere,
    ):
        assert await house.told() == []
        other = Surroundings(elsewhere, house.clock)
        other.standings = [a_standing(cause=Cause.KEY_REFUSED)]
        house.unpriced, other.unpriced = {"p:a"}, {"p:a", "p:b"}
        await house.told()
        found = await other.told()
        # What both could tell, the one that has the duty tells.
        assert found == [("model.unpriced", {"deployment": "p:a"}), ("model.unpriced", {"deployment": "p:b"})]
        house.unpriced = {f"p:{number}" for number in range(500)}
        assert len(await house.told()) == MOST_UNPRICED_A_DAY + 1
        await house.later(DAY_MS)
        house.unpriced = {"p:a"}
        assert len(await house.told()) == MOST_UNPRICED_A_DAY + 2


async def test_a_ceiling_that_will_fall_is_foretold_once(tmp_path):
    ceilings = [Ceiling(scope="global", window="day", limit=1000), Ceiling(scope="user:*", window="day", limit=10**9)]
    async with a_house(tmp_path, ceilings=ceilings, at_ms=MIDNIGHT + 6 * HOUR_MS) as house:
        await admit_and_settle(house.ledger, a_call(now_ms=house.clock.at_ms), cost=500)
        ((kind, facts),) = await house.told()
        assert (kind, facts["scope"], facts["projected_nanousd"]) == ("ceiling.forecast", "global", 2000)
        await house.later(60_000)
        assert len(await house.told()) == 1


async def test_a_months_forecast_goes_by_its_last_three_days(tmp_path):
    ceiling = Ceiling(scope="global", window="month", limit=1000)
    async with a_house(tmp_path, ceilings=[ceiling]) as house:
        # From the 21st to the 23rd; a week is left. By the whole month's rate it would be half of the limit.
        for cost in (120, 121, 122):
            await admit_and_settle(house.ledger, a_call(held=cost, now_ms=house.clock.at_ms), cost=cost)
            await house.later(DAY_MS)
        ((kind, facts),) = await house.told()
        assert (kind, facts["projected_nanousd"]) == ("ceiling.forecast", 363 + 7 * 363 // 3)
        assert facts["hourly_nanousd"] == 363 // 72


async def test_a_keys_hour_far_above_its_usual_is_told(tmp_path):
    async with a_house(tmp_path, at_ms=MIDNIGHT) as house:

        async def spend(nanousd, key="k"):
            request = a_call(held=nanousd, now_ms=house.clock.at_ms)
            facts = request.facts
            facts.attribution["key"] = key
            await admit_and_settle(house.ledger, request, cost=nanousd)

        await house.ledger.create_api_key(a_key("k"))
        for _ in range(25):
            await spend(NANOUSD_PER_USD // 2)
            await house.later(HOUR_MS)
        await spend(NANOUSD_PER_USD * 5 // 2)
        await spend(NANOUSD_PER_USD * 99, key="")
        assert await house.told() == []
        await spend(1)
        await house.later(60_000)
        assert [kind for kind, _ in await house.told()] == ["spend.anomaly"], "while it goes on"
        await house.later(HOUR_MS)  # What began in an hour may be settled after it.
        ((kind, facts),) = await house.told()
        assert (kind, facts["key"], facts["key_name"]) == ("spend.anomaly", "k", "a name")
        assert facts["usual_nanousd"] == NANOUSD_PER_USD // 2
        assert facts["hour"] == iso(MIDNIGHT + 25 * HOUR_MS)


async def test_what_could_not_be_told_is_told_at_the_next_look(tmp_path):
    class InTrouble:
        """A ledger that takes no writes, once."""

        def __init__(self, ledger):
            self._ledger, self.is_over = ledger, False

        def __getattr__(self, name):
            if name == "raise_event" and not self.is_over:
                self.is_over = True
                raise LedgerUnavailable
            return getattr(self._ledger, name)

    async with a_house(tmp_path) as house:
        other = Surroundings(InTrouble(house.ledger), house.clock)
        other.unpriced = {"p:a"}
        with pytest.raises(LedgerUnavailable):
            await other.told()
        assert len(await other.told()) == 1
