"""The latest calls, one line each: all that is open, the newest, and those asked for by name."""

from ledger.sql import statements
from ledger.usage import Usage
from ledger.values import Bid, Lead, NextAttempt
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, a_result, a_settlement, admit_and_settle


async def test_calls_are_summed_up_with_all_attempts_and_the_tokens_of_the_one_that_answered(home):
    async with a_ledger(home) as ledger:
        request = a_call()
        lead = await ledger.admit(request)
        (running,) = await ledger.latest_calls()
        assert (running.state, running.deployment, running.attempts) == ("running", "p:m", 1)
        assert (running.cost_nanousd, running.outcome, running.latency_ms) == (None, "", None)
        failed = a_result(lead, outcome="cut", cost=70, usage=Usage(input_tokens=9))
        bid = Bid(deployment="q:n", held_nanousd=1000, price_version="v1")
        following = NextAttempt(facts=request.facts, closed=(failed,), bids=(bid,), attempt=2, now_ms=BEGAN_MS)
        second = await ledger.hold_next(following)
        assert isinstance(second, Lead)
        (running,) = await ledger.latest_calls()
        assert (running.state, running.deployment, running.attempts) == ("running", "q:n", 2)
        await ledger.settle(a_settlement(request, second, cost=400, usage=Usage(input_tokens=3, output_tokens=2)))
        (ended,) = await ledger.latest_calls()
        assert (ended.state, ended.outcome, ended.cost_nanousd, ended.cost_usd) == ("ended", "ok", 470, "0.000000470")
        assert (ended.prompt_tokens, ended.completion_tokens, ended.latency_ms) == (3, 2, 1.0)
        assert running.joined(ended) == ended.joined(running) == ended


async def test_what_is_open_is_told_however_old_and_what_is_over_if_it_is_new_or_named(home):
    async with a_ledger(home) as ledger:
        await ledger.admit(a_call(generation_id="gen_open", now_ms=BEGAN_MS - 9))
        for number in range(4):
            await admit_and_settle(ledger, a_call(generation_id=f"gen_{number}", now_ms=BEGAN_MS - 5 + number))
        named = await ledger.latest_calls(also=["gen_1", "gen_nobody"], most=2)
        assert [call.id for call in named] == ["gen_open", "gen_1", "gen_2", "gen_3"]
        assert [call.id for call in await ledger.latest_calls(most=1)] == ["gen_open", "gen_3"]


async def test_the_reading_takes_the_same_time_over_any_history(sqlite_home):
    async with a_ledger(sqlite_home):
        pass
    with sqlite_home.database() as db:
        statement = statements("sqlite", "reports")["latest_calls"]
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", {"also": "[]", "most": 1})]
    walked = [
        step for step in plan if step.startswith("SCAN") and step.split()[1] in {"postings", "generations", "holds"}
    ]
    # Each of them from its newest end, for :most rows.
    assert walked == [
        "SCAN generations USING COVERING INDEX generations_by_time",
        "SCAN generations USING INDEX open_generations",
        "SCAN holds USING INDEX holds_by_time",
    ]
    searched = [step for step in plan if step.startswith("SEARCH postings")]
    assert len(searched) == 2, plan
