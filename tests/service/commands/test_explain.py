"""`farthing explain`: what one answer cost and why, for people."""

import asyncio
import json
from functools import partial

import msgspec
from click.testing import CliRunner

from ledger.chain import Line
from ledger.operations.postings import post
from ledger.prices import Price, Tier
from ledger.usage import Usage
from ledger.values import Bid, Settlement
from service.commands.explain import explain
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, a_result, admit_and_settle, an_ending

PRICE = Price(
    version="book-1",
    base=Tier(input=150_000_000, output=600_000_000),
    tiers=((1000, Tier(input=300_000_000, output=600_000_000)),),
)


def farthing_explain(folder, generation_id, *options):
    config = folder / "farthing.toml"
    config.write_text(f'[ledger]\nurl = "sqlite:{folder / "farthing.db"}"\n', "utf-8")
    return CliRunner().invoke(explain, [generation_id, "--config", str(config), *options])


def in_ledger(folder, play):
    async def run():
        async with a_ledger(folder) as ledger:
            await play(ledger)

    asyncio.run(run())


def a_priced_call(name, held=1_000_000):
    bid = Bid(deployment="p:m", held_nanousd=held, price_version="book-1", price=PRICE)
    return a_call(generation_id=name, bids=(bid,))


async def settled(ledger, name, *, cost, usage, held=1_000_000, basis="priced_usage"):
    request = a_priced_call(name, held)
    lead = await ledger.admit(request)
    result = a_result(lead, cost=cost, usage=usage, basis=basis)
    result = msgspec.structs.replace(result, price_version="book-1")
    await ledger.settle(Settlement(attempts=(result,), ending=an_ending(request)))
    return lead


def test_a_cost_is_told_from_tokens_to_dollars(tmp_path):
    async def play(ledger):
        usage = Usage(input_tokens=2001, output_tokens=40)
        lead = await settled(ledger, "gen_1", cost=624_300, usage=usage, held=600_000)
        line = Line(
            hold_id=lead.hold_id,
            kind="correction",
            cost_nanousd=-300,
            cost_basis="provider_reported",
            usage=None,
            price_version="book-1",
            posted_at_ms=BEGAN_MS,
            reason="the invoice \x1b[31msays so",
        )
        await ledger._store.write(partial(post, line=line))

    in_ledger(tmp_path, play)
    answer = farthing_explain(tmp_path, "gen_1")
    assert answer.exit_code == 0, answer.output
    rows = [line.split() for line in answer.output.splitlines()]
    assert ["input", "2,001", "0.3", "600,300", "0.000600300"] in rows
    assert ["output", "40", "0.6", "24,000", "0.000024000"] in rows
    assert ["sum", "624,300", "0.000624300"] in rows
    for words in (
        "the prompt is longer than 1,000 tokens",
        "prices of book-1",
        "posting 1, settled: $0.000624300; tokens as the provider counted them",
        "$0.000024300 more than was held",
        "posting 2, corrected: -$0.000000300; the provider said what it cost",
        "reason: the invoice \\x1b[31msays so",
        "trace 00000000000000000000000000000000",
        "cost of the answer: $0.000624000",
    ):
        assert words in answer.output, words


def test_what_is_not_known_lapsed_or_still_open_says_so(tmp_path):
    async def play(ledger):
        await ledger.admit(a_priced_call("gen_lost"))
        await ledger.lease.rejoin(ledger.lease.owner)
        await ledger._sweep()
        await ledger.admit(a_priced_call("gen_open"))
        await settled(ledger, "gen_low", cost=5, usage=Usage(input_tokens=10), held=5, basis="estimated")
        await admit_and_settle(ledger, a_call(generation_id="gen_given_back"), cost=None, outcome="rate_limited")

    in_ledger(tmp_path, play)
    lost = farthing_explain(tmp_path, "gen_lost").output
    assert "lapsed: its process died: $0.001000000; not known: the whole hold is charged" in lost
    assert "no arithmetic: its usage is not known" in lost
    still = farthing_explain(tmp_path, "gen_open").output
    assert "nothing is charged yet" in still
    assert "still held: $0.001000000" in still
    assert "an estimate is never above its hold" in farthing_explain(tmp_path, "gen_low").output
    assert "the hold was given back: nothing was charged" in farthing_explain(tmp_path, "gen_given_back").output


def test_an_answer_of_another_call_says_whose_it_is_and_what_it_saved(tmp_path):
    async def play(ledger):
        await admit_and_settle(ledger, a_call(generation_id="gen_first", key="k"), cost=400)
        await ledger.admit(a_call(generation_id="gen_hit", key="k"))
        request = a_call(generation_id="gen_follower")
        await ledger.record_follower(request.facts, an_ending(request, saved=7), leader_id="gen_first")

    in_ledger(tmp_path, play)
    hit = farthing_explain(tmp_path, "gen_hit").output
    assert "got the stored answer of gen_first: it cost nothing and saved $0.000000400" in hit
    follower = farthing_explain(tmp_path, "gen_follower").output
    assert "got the answer in flight of gen_first: it cost nothing and saved $0.000000007" in follower


def test_the_same_comes_as_json_and_an_unknown_id_is_one_line(tmp_path):
    in_ledger(tmp_path, lambda ledger: admit_and_settle(ledger, a_call(generation_id="gen_1")))
    assert json.loads(farthing_explain(tmp_path, "gen_1", "--json").output)["id"] == "gen_1"
    unknown = farthing_explain(tmp_path, "gen_2")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert unknown.stderr == "farthing: there is no call 'gen_2' in this ledger\n"
