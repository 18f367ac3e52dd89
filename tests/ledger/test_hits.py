"""Answers that a process has at hand: the ledger alone says whether one may be served now, and has each on record."""

import asyncio

import msgspec

from ledger.apikeys import ApiKeyOver
from ledger.values import Hit, HitAgain, Missing
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, admit_and_settle, key_of
from tests.ledger.test_apikeys import a_key


def again_of(request, answer_of, **fields):
    asked = HitAgain(
        facts=request.facts,
        cache_key=key_of("k"),
        answer_of=answer_of,
        deployment="p:m",
        saved_nanousd=400,
        now_ms=request.now_ms,
    )
    return msgspec.structs.replace(asked, **fields)


def query(home, sql):
    with home.database() as db:
        return db.execute(sql).fetchall()


async def test_one_at_hand_is_on_record_exactly_as_one_that_was_read(home):
    async with a_ledger(home) as ledger:
        stored = a_call(key="k")
        await admit_and_settle(ledger, stored)
        later = {"now_ms": BEGAN_MS + 7}
        read, at_hand = (a_call(key="k", generation_id=name) for name in ("gen_read", "gen_at_hand"))
        assert isinstance(await ledger.admit(msgspec.structs.replace(read, **later)), Hit)
        again = again_of(at_hand, stored.facts.generation_id, **later)
        assert await ledger.hit_again(again) is True
        assert await ledger.hit_again(again) is True, "a repeat, as after a commit that nobody knows of"
    rows = query(home, "SELECT * FROM generations WHERE cache = 'hit' ORDER BY generation_id")
    assert [row[0] for row in rows] == ["gen_at_hand", "gen_read"]
    assert rows[0][1:] == rows[1][1:]
    assert query(home, "SELECT SUM(cache_hits), SUM(saved_nanousd) FROM spend_hours") == [(2, 800)]


async def test_one_that_is_not_the_stored_one_any_more_is_not_served_and_nothing_is_written(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger, a_ledger(home, clock=clock) as other:
        first = a_call(key="k")
        await admit_and_settle(ledger, first, ttl_ms=1000)
        answer_of = first.facts.generation_id
        for moment, may_serve in ((999, True), (1000, False), (5000, False), (-60_000, True)):
            call = a_call(key="k", now_ms=BEGAN_MS + moment)
            assert await ledger.hit_again(again_of(call, answer_of)) is may_serve, moment
            found = await ledger.admit(msgspec.structs.replace(call, bids=()))
            assert type(found) is (Hit if may_serve else Missing), moment
        refreshing = a_call(key="k", reads=False, joins=False)
        await admit_and_settle(other, refreshing, body=b"newer")
        assert await ledger.hit_again(again_of(a_call(), answer_of)) is False
        assert await ledger.hit_again(again_of(a_call(), refreshing.facts.generation_id)) is True
        await other._store.write(lambda db: db.execute("DELETE FROM responses").rowcount)
        assert await ledger.hit_again(again_of(a_call(), refreshing.facts.generation_id)) is False
    assert query(home, "SELECT COUNT(*) FROM generations WHERE cache = 'hit'") == [(3,)]


async def test_of_many_at_once_each_is_answered_for_itself(home):
    async with a_ledger(home) as ledger, a_ledger(home) as other:
        stored = a_call(key="k")
        await admit_and_settle(ledger, stored)
        await ledger.create_api_key(a_key("kept"))
        await ledger.create_api_key(a_key("gone"))
        asked = [
            again_of(a_call(generation_id=f"gen_{key}_{answer_of}"), answer_of, api_key=key)
            for key in ("", "kept", "gone", "unheard of")
            for answer_of in (stored.facts.generation_id, "gen_other")
        ]
        await other.revoke_api_key("gone")
        found = await asyncio.gather(*map(ledger.hit_again, asked), return_exceptions=True)
        assert found[:4] == [True, False, True, False]
        assert [(type(it), it.key_id) for it in found[4:]] == [
            (ApiKeyOver, "gone"), (ApiKeyOver, "gone"), (ApiKeyOver, "unheard of"), (ApiKeyOver, "unheard of"),
        ]  # fmt: skip
    served = query(home, "SELECT generation_id FROM generations WHERE cache = 'hit' ORDER BY 1")
    answer_of = stored.facts.generation_id
    assert served == [(f"gen__{answer_of}",), (f"gen_kept_{answer_of}",)]
