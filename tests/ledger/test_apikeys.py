"""API keys in the ledger: made and revoked whole, and obeyed by every admission of every process from then on."""

import sqlite3
from contextlib import closing

import msgspec
import pytest

from ledger.apikeys import ApiKey, ApiKeyOver, KeptKey, PepperDiffers
from ledger.ceilings import Ceiling
from ledger.ledger import open_reports
from ledger.sql import migrations
from ledger.sqlite.migrate import run_script
from ledger.values import Bid, Lead, Refused
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, admit_and_settle
from tests.ledger.homes import CHECKED, REFUSED

BREACHES = {
    "revoked, once": "UPDATE api_keys SET role = 'admin'",
    "a key never vanishes": "DELETE FROM api_keys",
    CHECKED: "INSERT INTO api_keys SELECT 'x', substr(digest, 1, 1), pepper_id, name, team, role, 1, 2, NULL "
    "FROM api_keys",
}


def a_key(key_id="k1", *, ceilings=(), pepper_id="p1", expires_at_ms=None, **fields):
    key = ApiKey(
        key_id=key_id,
        name="a name",
        team="t1",
        role="caller",
        routes=("chat", "draft"),
        ceilings=tuple(
            Ceiling(scope=f"key:{key_id}", window=window, limit=limit, unit=unit)
            for window, limit, unit in ((*ceiling, "usd")[:3] for ceiling in ceilings)
        ),
        created_at_ms=BEGAN_MS,
        expires_at_ms=expires_at_ms,
        **fields,
    )
    return KeptKey(key=key, digest=key_id.encode().ljust(32, b"."), pepper_id=pepper_id)


def a_call_with(key_id, **fields):
    call = a_call(**fields)
    who = {**call.facts.attribution, "key": key_id}
    return msgspec.structs.replace(call, api_key=key_id, facts=msgspec.structs.replace(call.facts, attribution=who))


async def test_a_key_is_kept_as_it_was_made_and_making_it_again_changes_nothing(home):
    async with a_ledger(home) as ledger:
        ceilings = [("day", 5), ("day", 9, "tokens"), ("day", 7, "calls"), ("month", 50)]
        kept = a_key(ceilings=ceilings, expires_at_ms=BEGAN_MS + 1)
        await ledger.create_api_key(kept)
        await ledger.create_api_key(kept)
        assert await ledger.find_api_key("k1") == kept
        assert await ledger.find_api_key("k2") is None
        assert await ledger.api_keys() == [kept.key]
    async with open_reports(home.url) as reports:
        assert await reports.api_keys() == [kept.key]


async def test_whoever_revokes_a_key_is_obeyed_by_every_process_at_once(home):
    async with a_ledger(home) as one, a_ledger(home) as other:
        await one.create_api_key(a_key())
        assert isinstance(await other.admit(a_call_with("k1")), Lead)
        revoked = await one.revoke_api_key("k1")
        assert revoked.revoked_at_ms == BEGAN_MS
        for ledger in (one, other):
            with pytest.raises(ApiKeyOver):
                await ledger.admit(a_call_with("k1"))
        assert await other.revoke_api_key("k1") == revoked
        assert await other.revoke_api_key("k2") is None
        assert not (await other.find_api_key("k1")).key.is_in_force(BEGAN_MS)


async def test_not_even_a_stored_answer_is_given_for_a_key_that_is_over(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        await ledger.create_api_key(a_key(expires_at_ms=BEGAN_MS + 1000))
        await admit_and_settle(ledger, a_call_with("k1", key="same"))
        with pytest.raises(ApiKeyOver):
            await ledger.admit(a_call_with("k1", key="same", now_ms=BEGAN_MS + 1000))
        with pytest.raises(ApiKeyOver):
            await ledger.admit(a_call_with("nobody", key="same"))


async def test_its_ceilings_hold_in_every_process_and_through_reloads_of_the_config(home):
    async with a_ledger(home) as one, a_ledger(home) as other:
        await one.create_api_key(a_key(ceilings=[("total", 1500)]))
        assert isinstance(await other.admit(a_call_with("k1", held=1000)), Lead)
        assert isinstance(await one.admit(a_call_with("k1", held=1000)), Refused)
        await other.configure_ceilings((Ceiling(scope="global", window="day", limit=10**9),))
        refused = await one.admit(a_call_with("k1", held=1000))
        assert isinstance(refused, Refused)
        assert (refused.tight.scope, refused.tight.held) == ("key:k1", 1000)
        # What the config says of the same key and window counts instead, and no longer than it says it.
        await one.configure_ceilings((Ceiling(scope="key:k1", window="total", limit=2500),))
        assert isinstance(await other.admit(a_call_with("k1", held=1000)), Lead)
        await one.configure_ceilings(())
        assert isinstance(await other.admit(a_call_with("k1", held=1)), Refused)


async def test_a_key_is_held_to_tokens_and_calls_too_whoever_asks(home):
    async with a_ledger(home) as one, a_ledger(home) as other:
        await one.create_api_key(a_key(ceilings=[("total", 2, "calls")]))
        await other.create_api_key(a_key("k2", ceilings=[("total", 1000, "tokens")]))
        admitted = [await ledger.admit(a_call_with("k1")) for ledger in (one, other, one)]
        assert [type(it) for it in admitted] == [Lead, Lead, Refused]
        assert (admitted[-1].tight.unit, admitted[-1].tight.limit) == ("calls", 2)
        await one.configure_ceilings(())
        assert isinstance(await other.admit(a_call_with("k1")), Refused)
        bids = [Bid(deployment="p:m", held_nanousd=1, held_tokens=tokens, price_version="v") for tokens in (900, 101)]
        assert isinstance(await other.admit(a_call_with("k2", bids=bids[:1])), Lead)
        refused = await one.admit(a_call_with("k2", bids=bids[1:]))
        assert (refused.tight.unit, refused.tight.held) == ("tokens", 900)


async def test_the_ceilings_of_a_key_that_is_over_are_shown_no_more_in_any_process(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as one, a_ledger(home, clock=clock) as other:
        for name, ends_at_ms in (("k1", None), ("k2", BEGAN_MS + 1), ("k3", None)):
            await one.create_api_key(a_key(name, ceilings=[("day", 5)], expires_at_ms=ends_at_ms))
        await one.revoke_api_key("k1")
        clock.at_ms = BEGAN_MS + 1
        for ledger in (one, other):
            assert [ceiling["scope"] for ceiling in await ledger.ceilings()] == ["key:k3"]


def test_the_ceilings_of_before_units_are_kept():
    (number,) = (number for number, script in migrations("sqlite") if "The ceilings of keys in tokens" in script)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for before, script in migrations("sqlite"):
            if before < number:
                run_script(db, script)
        db.executescript(
            """
            INSERT INTO api_keys (key_id, digest, pepper_id, name, team, role, created_at_ms)
            VALUES ('k1', zeroblob(32), 'p', 'n', '', 'caller', 1);
            INSERT INTO api_key_ceilings VALUES ('k1', 'day', 5);
            BEGIN;
            """
        )
        run_script(db, dict(migrations("sqlite"))[number])
        assert db.execute("SELECT * FROM api_key_ceilings").fetchall() == [("k1", "day", "nanousd", 5)]


async def test_a_process_that_meets_a_key_plans_by_its_ceilings(home):
    async with a_ledger(home) as one, a_ledger(home) as other:
        await one.create_api_key(a_key(ceilings=[("day", 5)]))
        assert not other.ceilings_of("p:m", {"key": "k1"})
        await other.find_api_key("k1")
        assert other.ceilings_of("p:m", {"key": "k1"})


async def test_keys_of_two_peppers_are_not_in_force_together(home):
    async with a_ledger(home) as ledger:
        await ledger.create_api_key(a_key("k1"))
        with pytest.raises(PepperDiffers):
            await ledger.create_api_key(a_key("k2", pepper_id="p2"))
        await ledger.revoke_api_key("k1")
        await ledger.create_api_key(a_key("k2", pepper_id="p2"))


@pytest.mark.parametrize("words", BREACHES)
async def test_the_schema_refuses(home, words):
    async with a_ledger(home) as ledger:
        await ledger.create_api_key(a_key())
    with home.database() as db, pytest.raises(REFUSED, match=words):
        db.execute(BREACHES[words])
