"""A stored answer whose body is elsewhere: the ledger says that it is there, and serves it to who brings it."""

import asyncio

import msgspec

from ledger.ledger import open_ledger
from ledger.values import Body, CacheBounds, Hit, Lead, Replay, StoredElsewhere
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, admit_and_settle, an_idempotency_key
from tests.valkey import a_cache_server, asked


def opened(home, bodies, **bounds):
    return open_ledger(home.url, clock_ms=Clock(), cache_bounds=CacheBounds(**bounds), bodies=bodies)


def bringing(request, stored, body):
    at_hand = Body(stored.checksum, body)
    return msgspec.structs.replace(request, lookup=msgspec.structs.replace(request.lookup, at_hand=at_hand))


def passing_over(request, stored):
    return msgspec.structs.replace(request, lookup=msgspec.structs.replace(request.lookup, not_of=stored.generation_id))


async def audited(home):
    findings = await asyncio.to_thread(verify_ledger, home.url, on_rule=str)
    assert findings.violations == ()


async def test_it_is_served_to_who_brings_its_body_and_nothing_is_written_before(home):
    async with a_cache_server() as server, asked(server.url) as (bodies, _), opened(home, bodies) as ledger:
        await admit_and_settle(ledger, a_call(key="k"), body=b"the answer")
        call = a_call(key="k", idempotency=an_idempotency_key())
        stored = await ledger.admit(call)
        assert isinstance(stored, StoredElsewhere)
        with home.database() as db:
            assert db.execute("SELECT COUNT(*) FROM generations").fetchone() == (1,)
            assert db.execute("SELECT COUNT(*) FROM idempotency").fetchone() == (0,)
        assert (await ledger.look_ahead(call)).is_stored
        body = await ledger.find_body(stored)
        assert body == b"the answer"
        served = await ledger.admit(bringing(call, stored, body))
        assert isinstance(served, Replay)
        assert served.hit.body == body
        again = await ledger.admit(a_call(key="k", idempotency=an_idempotency_key()))
        assert again.hit == served.hit, "under its key it is kept whole"
        with home.database() as db:
            assert db.execute("SELECT entries, bytes FROM response_totals").fetchone() == (1, len(body))
    await audited(home)


async def test_what_is_brought_for_another_one_is_not_served_and_what_is_passed_over_is_led_anew(home):
    async with a_cache_server() as server, asked(server.url) as (bodies, _), opened(home, bodies) as ledger:
        await admit_and_settle(ledger, a_call(key="k"), body=b"old")
        old = await ledger.admit(a_call(key="k"))
        refreshing = a_call(key="k", reads=False)
        await admit_and_settle(ledger, refreshing, body=b"new")
        new = await ledger.admit(bringing(a_call(key="k"), old, b"old"))
        assert isinstance(new, StoredElsewhere)
        assert new.generation_id == refreshing.facts.generation_id
        assert isinstance(await ledger.admit(bringing(passing_over(a_call(key="k"), old), new, b"new")), Hit)
        call = passing_over(a_call(key="k"), new)
        assert isinstance(await ledger.admit(call), Lead)
    await audited(home)


async def test_bounds_are_of_bodies_wherever_they_are(home):
    async with a_cache_server() as server, asked(server.url) as (bodies, _):
        async with opened(home, bodies, max_bytes=100) as ledger:
            for number, key in enumerate("abc"):
                await admit_and_settle(ledger, a_call(key=key), body=bytes(40), ttl_ms=60_000 + number)
        server.kill()
        async with opened(home, bodies, max_bytes=100) as ledger:
            assert isinstance(await ledger.admit(a_call(key="a", now_ms=BEGAN_MS)), Lead), "it made room"
            await admit_and_settle(ledger, a_call(key="d"), body=bytes(50), ttl_ms=90_000)
            with home.database() as db:
                kept = db.execute(
                    "SELECT length(body), elsewhere_bytes FROM responses ORDER BY expires_at_ms"
                ).fetchall()
                assert db.execute("SELECT entries, bytes FROM response_totals").fetchone() == (2, 90)
    assert kept == [(0, 40), (50, 0)], "what the server does not take is here"
    await audited(home)
