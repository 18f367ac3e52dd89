"""Idempotency-Key over real HTTP, a real router and a real ledger: the first result again, whatever it was."""

import asyncio
import json
from contextlib import asynccontextmanager

import openai
import pytest

from ledger import idempotency
from ledger.ceilings import Ceiling
from tests.router.gateways import open_gateway
from tests.router.test_ledger_trouble import Between
from tests.service.http.scripted import an_edge
from tests.upstream import answer, hang, scripted_upstream, status, stream

TALE = ["Four ", "farthings ", "make ", "a penny."]
NATIVE, OPENAI = "/generate", "/v1/chat/completions"
WIRES = (NATIVE, OPENAI)
# Of the request, not of the result.
NOT_KEPT = {"date", "server-timing", "server"}


@asynccontextmanager
async def a_service(tmp_path, **rules):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, **rules) as house,
        an_edge(gateway=house.gateway) as (_, client),
    ):
        yield house, upstream, client


def body_for(path, text="tell me", **more):
    if path == NATIVE:
        return {"prompt": text, "params": {"max_tokens": 50}, **more}
    return {"model": "chat", "messages": [{"role": "user", "content": text}], "max_tokens": 50, **more}


async def post(client, path=NATIVE, *, key="k1", headers=None, **body):
    named = {"Idempotency-Key": key} if key is not None else {}
    # Without the cache, so that nothing but the key can give the same result twice.
    steering = {"x-farthing-cache": "bypass", **(headers or {})}
    return await client.post(path, json=body_for(path, **body), headers={**steering, **named})


def told(response):
    """All that an answer says of its result."""
    headers = {name: value for name, value in response.headers.items() if name not in NOT_KEPT}
    return response.status_code, headers, response.content


def assert_replays(first, again, *, more=()):
    """The second is the first once more, and says so."""
    code, headers, content = told(first)
    assert "idempotent-replayed" not in headers
    expected = {**headers, "idempotent-replayed": "true", **dict(more)}
    assert told(again) == (code, expected, content)


NO_RETRY = {"x-should-retry": "false"}


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize("streams", [False, True])
async def test_the_same_key_and_request_get_the_first_answer_again(tmp_path, path, streams):
    async with a_service(tmp_path) as (house, upstream, client):
        upstream.plays(stream(TALE))
        more = {"stream": True, "stream_options": {"include_usage": True}} if path == OPENAI else {"stream": True}
        first = await post(client, path, **(more if streams else {}))
        again = await post(client, path, **(more if streams else {}))
        assert first.status_code == 200
        assert first.headers["x-farthing-id"].startswith("gen_")
        assert_replays(first, again)
        assert len(upstream.requests) == 1
        assert house.count("generations") == 1
        if streams:
            assert first.content.count(b"data: ") >= len(TALE)


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize("streams", [False, True])
async def test_tool_calls_and_fields_nobody_here_knows_come_again_as_they_came(tmp_path, path, streams):
    calls = [{"index": 0, "id": "c1", "type": "function", "function": {"name": "coin", "arguments": '{"of": "GB"}'}}]
    async with a_service(tmp_path) as (_, upstream, client):
        upstream.plays(answer("", message={"tool_calls": calls, "mood": "calm"}, top={"system_fingerprint": "fp"}))
        first = await post(client, path, stream=streams)
        assert b"coin" in first.content
        assert_replays(first, await post(client, path, stream=streams))


@pytest.mark.parametrize("path", WIRES)
async def test_an_error_comes_again_once_the_call_had_gone_out(tmp_path, path):
    async with a_service(tmp_path) as (_, upstream, client):
        upstream.plays(status(500), status(503))
        first = await post(client, path)
        assert (first.status_code, b"upstream_failed" in first.content) == (502, True)
        assert_replays(first, await post(client, path), more=NO_RETRY)
        assert len(upstream.requests) == 2


async def test_a_provider_that_rejected_the_call_is_not_asked_again(tmp_path):
    async with a_service(tmp_path) as (_, upstream, client):
        upstream.plays(status(400, {"error": {"message": "too long", "type": "invalid", "code": "length"}}))
        first = await post(client, OPENAI)
        assert (first.status_code, first.json()["error"]["message"]) == (400, "too long")
        assert_replays(first, await post(client, OPENAI), more=NO_RETRY)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("path", WIRES)
async def test_a_stream_that_broke_breaks_at_the_same_place_again(tmp_path, path):
    async with a_service(tmp_path) as (_, upstream, client):
        upstream.plays(stream(TALE[:2], then="cut"))
        first = await post(client, path, stream=True)
        assert first.status_code == 200
        assert b"farthings" in first.content
        assert b"upstream_failed" in first.content
        assert_replays(first, await post(client, path, stream=True))
        assert len(upstream.requests) == 1


async def test_a_deadline_that_passed_has_passed_for_good(tmp_path):
    async with a_service(tmp_path) as (_, upstream, client):
        upstream.plays(hang(), hang())
        first = await post(client, deadline_ms=500)
        assert (first.status_code, first.json()["code"]) == (504, "deadline_exceeded")
        again = await ended(lambda: post(client, deadline_ms=500))
        assert_replays(first, again)


async def ended(ask):
    """The result, once the call it waits for is over."""
    async with asyncio.timeout(10):
        while (response := await ask()).status_code == 409:
            await asyncio.sleep(0.02)
    return response


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_who_left_a_shared_call_finds_the_answer_that_the_others_got(tmp_path, hangs_up):
    gate = asyncio.Event()
    use = {"x-farthing-cache": "use"}
    hurried = use if hangs_up else use | {"x-farthing-deadline-ms": "2500"}
    async with a_service(tmp_path) as (house, upstream, client):
        # One deployment may be given up for the next while the leader, who is in a hurry, is the only one to wait.
        upstream.plays(answer("paid for", gate=gate), answer("paid for", gate=gate))
        leader = asyncio.create_task(post(client, headers=hurried))
        await upstream.until(lambda it: len(it.requests) == 1)
        follower = asyncio.create_task(post(client, key="follower", headers=use))
        await in_progress(house, "follower")
        if hangs_up:
            leader.cancel()
            await asyncio.wait([leader])
        else:
            assert (await leader).status_code == 504
        assert (await post(client, headers=use)).status_code == 409
        gate.set()
        assert (await follower).headers["x-farthing-cache"] == "coalesced"
        again = await ended(lambda: post(client, headers=use))
        assert (again.status_code, again.json()["output"], again.json()["cache"]) == (200, "paid for", "miss")
        assert again.json()["cost_nanousd"] > 0
        assert house.count("generations") == 2


async def test_neither_spaces_nor_the_order_of_keys_make_another_request(tmp_path):
    async with a_service(tmp_path) as (_, upstream, client):
        headers = {"Idempotency-Key": "k", "content-type": "application/json"}
        first = await client.post(NATIVE, content=b'{"prompt":"a","params":{"max_tokens":5,"seed":1}}', headers=headers)
        text = b' {"params" : {"seed" : 1, "max_tokens" : 5}, "prompt" : "\\u0061"} '
        assert_replays(first, await client.post(NATIVE, content=text, headers=headers))
        assert len(upstream.requests) == 1


async def test_another_request_under_the_key_is_refused(tmp_path):
    changes = (
        {"text": "something else"},
        {"stream": True},
        {"user": "u2"},
        {"headers": {"x-farthing-cache": "use"}},
        {"headers": {"x-farthing-workflow": "w"}},
        {"headers": {"openai-beta": "assistants=v2"}},
    )
    async with a_service(tmp_path) as (_, upstream, client):
        first = await post(client)
        for change in changes:
            problem = await post(client, **change)
            assert (problem.status_code, problem.json()["code"]) == (422, "idempotency_mismatch"), change
            assert first.headers["x-farthing-id"] in problem.text
        assert len(upstream.requests) == 1
        assert_replays(first, await post(client))


async def test_the_same_body_on_another_path_is_another_request(tmp_path):
    async with a_service(tmp_path) as (_, _, client):
        body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"Idempotency-Key": "k"}
        assert (await client.post(NATIVE, json=body, headers=headers)).status_code == 200
        assert (await client.post(OPENAI, json=body, headers=headers)).status_code == 422


async def test_who_asks_and_in_which_trace_makes_no_other_request(tmp_path):
    async with a_service(tmp_path) as (_, _, client):
        first = await post(client)
        for name in ("x-farthing-user", "x-farthing-run", "x-farthing-deadline-ms"):
            assert_replays(first, await post(client, headers={name: "70000"}))
        assert_replays(first, await post(client, headers={"x-farthing-tags": "a=b"}))
        assert_replays(first, await post(client, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}))


@pytest.mark.parametrize("path", WIRES)
async def test_while_the_first_is_in_progress_the_second_is_told_to_come_back(tmp_path, path):
    gate = asyncio.Event()
    async with a_service(tmp_path) as (_, upstream, client):
        upstream.plays(answer("done", gate=gate))
        first = asyncio.create_task(post(client, path))
        await upstream.until(lambda it: len(it.requests) == 1)
        problem = await post(client, path)
        assert (problem.status_code, problem.headers["retry-after"]) == (409, "1")
        assert b"idempotency_in_progress" in problem.content
        other = await post(client, path, text="another")
        assert other.status_code == 422
        elsewhere = await post(client, path, key="k2")
        assert elsewhere.status_code == 200
        gate.set()
        assert_replays(await first, await post(client, path))
        assert len(upstream.requests) == 2


async def test_fifty_at_once_are_one_call(tmp_path):
    gate = asyncio.Event()
    async with a_service(tmp_path) as (house, upstream, client):
        upstream.plays(answer("once", gate=gate))
        calls = [asyncio.create_task(post(client)) for _ in range(50)]
        for number, call in enumerate(asyncio.as_completed(calls), start=1):
            response = await call
            if number < 50:
                assert response.status_code == 409
            if number == 49:
                gate.set()
        assert response.json()["output"] == "once"
        assert len(upstream.requests) == 1
        assert house.count("generations") == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_a_caller_who_hung_up_may_try_again(tmp_path, streams):
    headers = {"Idempotency-Key": "k1", "x-farthing-cache": "bypass"}
    async with a_service(tmp_path) as (house, upstream, client):
        upstream.plays(stream(TALE[:1], then="hang"))
        if streams:
            async with client.stream("POST", NATIVE, json=body_for(NATIVE, stream=True), headers=headers) as response:
                assert TALE[0].strip() in await anext(response.aiter_text())
        else:
            first = asyncio.create_task(client.post(NATIVE, json=body_for(NATIVE, stream=False), headers=headers))
            await upstream.until(lambda it: len(it.requests) == 1)
            first.cancel()
        await upstream.closed(upstream.requests[0])
        again = await ended(lambda: post(client, stream=streams))
        assert again.status_code == 200
        assert "idempotent-replayed" not in again.headers
        assert len(upstream.requests) == 2
        assert house.count("generations") == 2


async def test_a_call_that_found_no_room_may_try_again(tmp_path):
    gate = asyncio.Event()
    ceilings = (Ceiling(scope="global", window="total", limit=45_000),)
    async with a_service(tmp_path, ceilings=ceilings) as (house, upstream, client):
        upstream.plays(answer("first", gate=gate))
        first = asyncio.create_task(post(client, key=None))
        await upstream.until(lambda it: len(it.requests) == 1)
        problem = await post(client)
        assert (problem.status_code, problem.json()["code"]) == (429, "ceiling_held")
        gate.set()
        await first
        again = await post(client)
        assert again.status_code == 200
        assert_replays(again, await post(client))
        assert house.count("idempotency") == 1


async def test_a_ceiling_that_ends_a_call_midway_frees_its_key(tmp_path):
    ceilings = (Ceiling(scope="provider:b", window="total", limit=1),)
    async with a_service(tmp_path, ceilings=ceilings) as (house, upstream, client):
        upstream.plays(status(500))
        problem = await post(client)
        assert (problem.status_code, problem.json()["code"]) == (402, "ceiling_exceeded")
        assert house.count("idempotency") == 0
        assert (await post(client)).status_code == 200


async def test_an_answer_made_shorter_to_fit_says_so_every_time(tmp_path):
    ceilings = (Ceiling(scope="global", window="total", limit=20_000, when_tight="clamp"),)
    async with a_service(tmp_path, ceilings=ceilings) as (_, upstream, client):
        for streams in (False, True):
            first = await post(client, key=str(streams), stream=streams)
            assert first.headers["x-farthing-clamped"].startswith("max_tokens=")
            assert b"clamped" in first.content
            assert_replays(first, await post(client, key=str(streams), stream=streams))
        assert len(upstream.requests) == 2


async def test_what_is_wrong_with_the_request_takes_no_key(tmp_path):
    async with a_service(tmp_path) as (house, _, client):
        assert (await post(client, model="nobody")).status_code == 404
        assert (await post(client, params={"n": 2})).status_code == 400
        assert (await post(client, headers={"x-farthing-cache": "only"})).status_code == 404
        assert house.count("idempotency") == 0


async def test_a_key_is_1_to_255_printable_characters(tmp_path):
    async with a_service(tmp_path) as (_, upstream, client):
        for key in ("", "x" * 256, "clef-é".encode(), b"tab\there"):
            problem = await post(client, key=key)
            assert (problem.status_code, problem.json()["code"]) == (400, "invalid_request"), key
            assert problem.json()["param"] == "Idempotency-Key"
        assert upstream.requests == []
        for key in ("x", "~" * 255, 'a "quoted" key: {1}'):
            assert_replays(await post(client, key=key), await post(client, key=key))
        assert len(upstream.requests) == 3


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_stored_answer_under_a_key_comes_again_with_all_its_names(tmp_path, path, streams):
    async with a_service(tmp_path) as (house, upstream, client):
        use = {"x-farthing-cache": "use"}
        await post(client, path, key=None, headers=use)
        first = await post(client, path, headers=use, stream=streams)
        assert first.headers["x-farthing-cache"] == "hit"
        assert_replays(first, await post(client, path, headers=use, stream=streams))
        assert len(upstream.requests) == 1
        assert house.count("generations") == 2


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_follower_has_a_result_of_its_own_under_its_key(tmp_path, path, streams):
    gate = asyncio.Event()
    use = {"x-farthing-cache": "use"}
    async with a_service(tmp_path) as (house, upstream, client):
        upstream.plays(stream([TALE[0], gate, *TALE[1:]]))
        leader = asyncio.create_task(post(client, path, key="leader", headers=use))
        await upstream.until(lambda it: len(it.requests) == 1)
        follower = asyncio.create_task(post(client, path, key="follower", headers=use, stream=streams))
        await in_progress(house, "follower")
        assert (await post(client, path, key="follower", headers=use, stream=streams)).status_code == 409
        gate.set()
        led, followed = await leader, await follower
        assert followed.headers["x-farthing-cache"] == "coalesced"
        assert_replays(led, await post(client, path, key="leader", headers=use))
        assert_replays(followed, await post(client, path, key="follower", headers=use, stream=streams))
        assert len(upstream.requests) == 1


async def in_progress(house, key):
    """Wait until this key is taken."""
    async with asyncio.timeout(10):
        while not house.rows("SELECT 1 FROM idempotency WHERE idempotency_key = :key", key=key):
            await asyncio.sleep(0.005)


async def test_a_follower_who_hung_up_or_was_failed_by_its_leader_may_try_again(tmp_path):
    gate = asyncio.Event()
    use = {"x-farthing-cache": "use"}
    async with a_service(tmp_path) as (house, upstream, client):
        upstream.plays(status(500, gate=gate), status(500))
        leader = asyncio.create_task(post(client, key="leader", headers=use))
        await upstream.until(lambda it: len(it.requests) == 1)
        failed = asyncio.create_task(post(client, key="failed", headers=use))
        gone = asyncio.create_task(post(client, key="gone", headers=use))
        for key in ("failed", "gone"):
            await in_progress(house, key)
        gone.cancel()
        gate.set()
        assert ((await leader).status_code, (await failed).status_code) == (502, 502)
        for key in ("failed", "gone"):
            again = await ended(lambda key=key: post(client, key=key, headers=use))
            assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)
        assert (await post(client, key="leader", headers=use)).status_code == 502


async def test_a_follower_of_a_call_that_waits_in_vain_lets_go_of_its_key(tmp_path):
    gate = asyncio.Event()
    use = {"x-farthing-cache": "use"}
    ceilings = (Ceiling(scope="provider:b", window="total", limit=1),)
    async with a_service(tmp_path, ceilings=ceilings) as (house, upstream, client):
        # The lead passes on when the leader finds no room for its second attempt; the follower leads and fails alike.
        upstream.plays(status(500, gate=gate), status(500))
        leader = asyncio.create_task(post(client, key="leader", headers=use))
        await upstream.until(lambda it: len(it.requests) == 1)
        follower = asyncio.create_task(post(client, key="follower", headers=use))
        await in_progress(house, "follower")
        gate.set()
        assert ((await leader).status_code, (await follower).status_code) == (402, 402)
        assert house.count("idempotency") == 0
        assert (await post(client, key="follower", headers=use)).status_code == 200


async def test_a_follower_of_another_process_lets_go_of_its_key_when_its_time_is_up(tmp_path):
    gate = asyncio.Event()
    use = {"x-farthing-cache": "use"}
    async with (
        a_service(tmp_path, ends_at_rest=False) as (house, upstream, client),
        a_service(tmp_path, ends_at_rest=False) as (_, others, elsewhere),
    ):
        others.plays(answer("late", gate=gate))
        leader = asyncio.create_task(post(elsewhere, key="leader", headers=use, deadline_ms=60_000))
        await others.until(lambda it: len(it.requests) == 1)
        problem = await post(client, key="follower", headers={**use, "x-farthing-deadline-ms": "400"})
        assert (problem.status_code, problem.json()["code"]) == (504, "deadline_exceeded")
        gate.set()
        await leader
        again = await ended(lambda: post(client, key="follower", headers=use))
        assert (again.status_code, again.json()["output"]) == (200, "late")
        assert (await post(client, key="leader", headers=use, deadline_ms=60_000)).headers[
            "idempotent-replayed"
        ] == "true"
        assert upstream.requests == []
        assert house.rows("SELECT 1 FROM idempotency WHERE state = 'in_progress'") == []


async def test_a_result_too_large_to_keep_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("ledger.operations.idempotency.MAX_KEPT_BYTES", 1000)
    assert idempotency.MAX_KEPT_BYTES == 16 * 2**20
    async with a_service(tmp_path) as (_, upstream, client):
        upstream.plays(answer("word " * 300))
        first = await post(client)
        assert first.status_code == 200
        again = await post(client)
        assert (again.status_code, again.json()["code"]) == (409, "idempotency_result_not_kept")
        assert again.headers["x-should-retry"] == "false"
        assert first.headers["x-farthing-id"] in again.text
        assert len(upstream.requests) == 1


async def test_a_result_that_another_version_wrote_is_not_made_again(tmp_path):
    async with a_service(tmp_path) as (house, upstream, client):
        await post(client)
        house.write("DROP TRIGGER a_kept_result_stays_until_it_expires")
        house.write("UPDATE idempotency SET result = x'81a6666f726d617463'")
        assert (await post(client)).json()["code"] == "idempotency_result_not_kept"
        assert len(upstream.requests) == 1


async def test_a_stored_answer_that_cannot_be_read_gives_way_to_a_call_under_the_same_key(tmp_path):
    use = {"x-farthing-cache": "use"}
    async with a_service(tmp_path) as (house, upstream, client):
        await post(client, key=None, headers=use)
        house.write("UPDATE responses SET body = zeroblob(length(body))")
        first = await post(client, headers=use)
        assert (first.status_code, first.headers["x-farthing-cache"]) == (200, "miss")
        assert_replays(first, await post(client, headers=use))
        assert len(upstream.requests) == 2


async def test_a_result_is_told_again_while_nobody_could_be_asked(tmp_path):
    async with a_service(tmp_path) as (house, upstream, client):
        first = await post(client)
        upstream.default = status(500)
        for number in range(6):
            await post(client, key=f"other {number}")
        refused = await post(client, key="new")
        assert refused.json()["code"] == "no_deployment_available"
        assert_replays(first, await post(client))
        house.clock.forward_s += 100
        upstream.default = answer("back")
        assert (await post(client, key="new")).status_code == 200


async def test_after_a_day_the_key_is_forgotten(tmp_path):
    async with a_service(tmp_path) as (house, upstream, client):
        first = await post(client)
        house.clock.forward_s += 24 * 3600 - 5
        assert_replays(first, await post(client))
        house.clock.forward_s += 6
        again = await post(client, text="a new request")
        assert (again.status_code, again.headers["x-farthing-id"] != first.headers["x-farthing-id"]) == (200, True)
        assert len(upstream.requests) == 2


async def test_a_write_that_may_have_been_kept_under_a_key_is_repeated_and_counts_once(tmp_path):
    between = Between()
    async with a_service(tmp_path, between=between) as (_, upstream, client):
        between.unsteady.fails_after["admit"] = 2
        between.unsteady.fails_after["settle"] = 2
        first = await post(client)
        assert first.status_code == 200
        assert_replays(first, await post(client))
        assert len(upstream.requests) == 1


async def test_a_caller_told_that_the_ledger_is_away_finds_the_paid_answer_later(tmp_path):
    between = Between()
    async with a_service(tmp_path, between=between) as (_, upstream, client):
        between.unsteady.fails_before["settle"] = 7
        first = await post(client)
        assert (first.status_code, first.json()["code"]) == (503, "ledger_unavailable")
        again = await ended(lambda: post(client))
        assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        assert again.headers["x-farthing-id"] == first.headers["x-farthing-id"]
        assert len(upstream.requests) == 1


async def test_a_followers_key_is_done_even_if_its_record_was_not_kept(tmp_path):
    gate = asyncio.Event()
    between = Between()
    use = {"x-farthing-cache": "use"}
    async with a_service(tmp_path, between=between) as (house, upstream, client):
        upstream.plays(answer("for both", gate=gate))
        leader = asyncio.create_task(post(client, key=None, headers=use))
        await upstream.until(lambda it: len(it.requests) == 1)
        follower = asyncio.create_task(post(client, headers=use))
        await in_progress(house, "k1")
        between.unsteady.fails_before["record_follower"] = 1
        gate.set()
        await leader
        first = await follower
        again = await ended(lambda: post(client, headers=use))
        assert_replays(first, again)


async def test_the_official_sdk_sends_no_key_of_its_own_and_one_that_is_given_is_honoured(tmp_path):
    messages = [{"role": "user", "content": "hello"}]
    async with a_service(tmp_path) as (house, upstream, client):
        sdk = openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="sk-any", max_retries=2)
        async with sdk:
            bypass = {"x-farthing-cache": "bypass"}
            await sdk.chat.completions.create(model="chat", messages=messages, extra_headers=bypass)
            assert house.count("idempotency") == 0
            named = {**bypass, "Idempotency-Key": "from the SDK"}
            ask = sdk.chat.completions.with_raw_response.create
            first = await ask(model="chat", messages=messages, extra_headers=named)
            again = await ask(model="chat", messages=messages, extra_headers=named)
            assert first.parse() == again.parse()
            assert again.headers["idempotent-replayed"] == "true"
            with pytest.raises(openai.UnprocessableEntityError) as refused:
                await ask(model="chat", messages=messages, max_tokens=1, extra_headers=named)
            assert refused.value.code == "idempotency_mismatch"
            assert len(upstream.requests) == 2


async def test_the_sdks_own_retry_after_a_timeout_gets_an_answer_and_pays_for_no_second_one_in_flight(tmp_path):
    messages = [{"role": "user", "content": "hello"}]
    async with a_service(tmp_path) as (_, upstream, client):
        upstream.plays(hang(), answer("at the second try"))
        sdk = openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="sk-any", max_retries=4, timeout=2.0)
        async with sdk:
            named = {"x-farthing-cache": "bypass", "Idempotency-Key": "k"}
            completion = await sdk.chat.completions.create(model="chat", messages=messages, extra_headers=named)
        assert completion.choices[0].message.content == "at the second try"
        assert len(upstream.requests) == 2


async def test_a_replay_is_no_generation_in_the_trace(tmp_path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream) as house,
        an_edge(gateway=house.gateway) as (edge, client),
    ):
        first = await post(client)
        made = await edge.telemetry.next()
        assert made.chat.generation_id == first.headers["x-farthing-id"]
        again = await post(client)
        repeated = await edge.telemetry.next()
        assert (repeated.status, repeated.chat) == (200, None)
        # It goes by the first one's names, and is traced by its own.
        assert again.headers["x-farthing-trace-id"] == made.trace_id != repeated.trace_id


async def test_prompts_are_never_in_what_is_kept(tmp_path):
    async with a_service(tmp_path) as (house, upstream, client):
        upstream.default = answer("a plain answer")
        for path in WIRES:
            for streams in (False, True):
                await post(client, path, key=f"{path} {streams}", text="canary-prompt", stream=streams)
        kept = house.rows("SELECT * FROM idempotency")
        assert len(kept) == 4
        assert "canary-prompt" not in json.dumps([[repr(value) for value in row.values()] for row in kept])
