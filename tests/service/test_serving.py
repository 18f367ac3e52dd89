"""The service as a whole, in a process of its own, in front of a scripted provider."""

import asyncio
import json
import signal
import socket
import sqlite3
from collections import Counter
from contextlib import closing

import aiohttp
import pytest

from tests.processes import START_WITHIN_S, farthing_serve, one_route, run_farthing
from tests.upstream import answer, garbage, scripted_upstream, status, stream


def rows(folder, sql):
    with closing(sqlite3.connect(folder / "farthing.db")) as db:
        return db.execute(sql).fetchall()


async def test_without_the_primary_the_fallback_answers_and_both_are_told(tmp_path):
    async with scripted_upstream() as gone:
        dead = gone.url
    async with scripted_upstream() as upstream:
        upstream.plays(answer("from the fallback"))
        environ = {
            "PRIMARY_OPENAI_BASE_URL": dead,
            "PRIMARY_OPENAI_MODEL": "first",
            "FALLBACK_OPENAI_BASE_URL": upstream.url,
            "FALLBACK_OPENAI_MODEL": "second",
        }
        async with farthing_serve(tmp_path, environ=environ, installed=True) as service:
            code, body = await service.generate(prompt="hello")
            assert code == 200
            assert body["output"] == "from the fallback"
            assert [(a["provider"], a["model"], a["outcome"]) for a in body["attempts"]] == [
                ("primary", "first", "connect_failed"),
                ("fallback", "second", "ok"),
            ]
            assert body["cost_basis"] == "free", "an unknown host's unpriced model is free in the environment modes"
            assert "has no price" in service.log
            # Said in the background, at nobody's cost: what each provider answers to being asked for its models.
            await service.logs("primary: not reachable")
            await service.logs("fallback: reachable, 1 model; not among them: second")


async def call_streaming(service, body):
    text, done = "", None
    async with service.http.post(f"{service.url}/generate", json={**body, "stream": True}) as response:
        assert response.status == 200
        async for line in response.content:
            if line.startswith(b"event:"):
                name = line.split(b":")[1].strip()
            elif line.startswith(b"data:"):
                payload = json.loads(line[5:])
                if name == b"delta":
                    text += payload["text"]
                elif name == b"done":
                    done = payload
    return text, done


async def test_sixty_equal_calls_half_of_them_streaming_are_one_call_upstream(tmp_path):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.plays(answer("one answer for all", gate=gate))
        async with farthing_serve(tmp_path, config=one_route(upstream.url)) as service:
            body = {"model": "chat", "prompt": "the same"}
            leader = asyncio.create_task(service.generate(**body))
            await upstream.until(lambda it: len(it.requests) == 1)
            whole = [asyncio.create_task(service.generate(**body)) for _ in range(30)]
            streams = [asyncio.create_task(call_streaming(service, body)) for _ in range(29)]
            # Each of these is admitted behind what was there before it: by the last one all the others have joined.
            for _ in range(20):
                only = {**body, "cache": {"mode": "only"}}
                async with service.http.post(f"{service.url}/generate", json=only) as missed:
                    assert missed.status == 404
            leader.cancel()  # The first caller hangs up: that is nobody else's trouble.
            await asyncio.wait([leader])
            gate.set()
            for code, reply in await asyncio.gather(*whole):
                assert (code, reply["output"], reply["cache"]) == (200, "one answer for all", "coalesced")
                assert (reply["cost_nanousd"], reply["cache_hit"], reply["attempts"]) == (0, False, [])
            for text, done in await asyncio.gather(*streams):
                assert text == "one answer for all"
                assert done["cache"] == "coalesced"
                assert done["cost_nanousd"] == 0
            spend = await service.poll("/ledger/spend", lambda report: report["total"]["coalesced"] == 59)
    assert len(upstream.requests) == 1
    assert spend["total"]["generations"] == 60
    assert spend["total"]["attempts"] == 1
    assert spend["total"]["cost_nanousd"] == 9 * 1000 + 4 * 2000
    assert rows(tmp_path, "SELECT COUNT(*) FROM postings") == [(1,)]


async def test_a_ceiling_for_ten_lets_ten_through_two_worker_processes(tmp_path):
    # A hold for this prompt is the same for every call; the ceiling has room for ten of them and not for eleven.
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.default = answer("cheap", gate=gate, prompt_tokens=1, completion_tokens=1)
        async with farthing_serve(tmp_path, config=one_route(upstream.url)) as probe:
            gate.set()
            _, first = await probe.generate(model="chat", prompt="call 000", params={"max_tokens": 50})
            story = await probe.get(f"/ledger/generations/{first['id']}")
            held = story["attempts"][0]["held_nanousd"]
            probe.terminate()
            assert await probe.ended() == 0
        gate.clear()
        upstream.requests.clear()
        folder = tmp_path / "two"
        folder.mkdir()
        limit = (held * 10 + held // 2) / 1e9
        config = one_route(upstream.url, limit_usd=f"{limit:.9f}")
        async with farthing_serve(folder, "--workers", "2", config=config, installed=True) as service:
            calls = [
                asyncio.create_task(service.generate(model="chat", prompt=f"call {n:03}", params={"max_tokens": 50}))
                for n in range(200)
            ]
            # Whoever starts them may be busy.
            await upstream.until(lambda it: len(it.requests) == 10, within_s=START_WITHIN_S)
            (ceiling,) = (await service.get("/ledger/ceilings"))["ceilings"]
            assert ceiling["held_nanousd"] + ceiling["spent_nanousd"] <= ceiling["limit_nanousd"]
            refusals = await settled(calls, expected=190)
            assert Counter(code for code, _ in refusals) == Counter({429: 190})
            assert {body["code"] for _, body in refusals} == {"ceiling_held"}
            gate.set()
            answers = await asyncio.gather(*calls)
            assert Counter(code for code, _ in answers) == Counter({200: 10, 429: 190})
            assert len(upstream.requests) == 10
            # The ten settled far below their holds: there is room again.
            code, again = await service.generate(model="chat", prompt="call 999", params={"max_tokens": 50})
            assert code == 200, again
            service.terminate()
            assert await service.ended() == 0
        code, out, _ = await run_farthing(folder, "verify", installed=True)
        assert (code, out.split(":")[0]) == (0, "clean")


async def settled(calls, *, expected):
    """The results of those that have ended, once so many have."""
    ended = asyncio.Event()

    def note(_):
        if sum(call.done() for call in calls) >= expected:
            ended.set()

    for call in calls:
        call.add_done_callback(note)
    note(None)
    await ended.wait()
    return [call.result() for call in calls if call.done()]


async def test_spent_alone_without_room_is_402_and_says_so(tmp_path):
    async with scripted_upstream() as upstream:
        config = one_route(upstream.url, limit_usd="0.000001")
        async with farthing_serve(tmp_path, config=config) as service:
            code, problem = await service.generate(model="chat", prompt="too dear", params={"max_tokens": 50})
            assert (code, problem["code"]) == (402, "ceiling_exceeded")
            assert problem["scope"] == "global"
            assert upstream.requests == []
            spend = await service.get("/ledger/spend")
            assert (spend["total"]["generations"], spend["total"]["refused"]) == (0, 1)


async def test_a_streaming_caller_who_hangs_up_pays_for_what_it_got_and_nothing_is_stored(tmp_path):
    async with scripted_upstream() as upstream:
        upstream.plays(stream(["one ", "two ", "three "], then="hang"))
        async with farthing_serve(tmp_path, config=one_route(upstream.url)) as service:
            body = {"model": "chat", "prompt": "a story", "stream": True, "params": {"max_tokens": 500}}
            async with service.http.post(f"{service.url}/generate", json=body) as response:
                read = b""
                while read.count(b"event: delta") < 3:
                    read += await response.content.readany()
                response.close()
            await upstream.closed(upstream.requests[0], within_s=1.0)
            spend = await service.poll("/ledger/spend?group_by=outcome", lambda it: it["total"]["held_nanousd"] == 0)
            (row,) = [row for row in spend["rows"] if row["attempts"]]
            assert row["outcome"] == "aborted"
            assert 0 < row["cost_nanousd"] == row["estimated_nanousd"] == row["wasted_nanousd"]
            assert row["completion_tokens"] >= 3
            assert rows(tmp_path, "SELECT COUNT(*) FROM responses") == [(0,)]


async def test_nonsense_from_the_provider_is_a_clear_problem_and_leaks_nothing(tmp_path):
    prompt = "canary-of-the-prompt"
    inside = {"error": {"message": "no: sk-canary-of-the-provider", "type": "server_error"}}
    scripts = [garbage(), stream(["half"], then="cut"), status(200, inside), status(500), status(502, "<html>")]
    async with scripted_upstream() as upstream:
        config = one_route(upstream.url, more="[router]\nbreaker_threshold = 100\n")
        async with farthing_serve(tmp_path, config=config) as service:
            # Who never answered is soon left alone.
            assert (await service.generate(model="chat", prompt="hello"))[0] == 200
            for number, script in enumerate(scripts):
                upstream.plays(script)
                code, problem = await service.generate(model="chat", prompt=f"{prompt} {number}")
                assert (code, problem["code"]) == (502, "upstream_failed"), problem
                assert len(problem["attempts"]) == 1
                assert "sk-canary" not in json.dumps(problem)
                assert "Traceback" not in json.dumps(problem)
            upstream.plays(answer("fine again"))
            code, body = await service.generate(model="chat", prompt="well?")
            assert (code, body["output"]) == (200, "fine again")
            service.terminate()
            assert await service.ended() == 0
            assert "canary" not in service.log
            assert "Traceback" not in service.log
    for suffix in ("", "-wal"):
        file = tmp_path / f"farthing.db{suffix}"
        assert not file.exists() or prompt.encode() not in file.read_bytes()


async def test_a_sigterm_lets_a_stream_end_and_takes_nothing_new(tmp_path):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.plays(stream(["begun ", gate, "ended"]))
        async with farthing_serve(tmp_path, config=one_route(upstream.url), installed=True) as service:
            body = {"model": "chat", "prompt": "long", "stream": True}
            async with (
                service.http.get(f"{service.url}/live", headers={"accept": "text/event-stream"}) as watching,
                service.http.post(f"{service.url}/generate", json=body) as response,
            ):
                first = await response.content.readuntil(b"\n\n")
                assert b"begun" in first
                service.terminate()
                # Who only watches is let go at once.
                assert (await watching.content.read()).endswith(b'event: end\ndata: {"code":"draining"}\n\n')
                await ready_no_more(service)
                code, problem = await service.generate(model="chat", prompt="new")
                assert (code, problem["code"]) == (503, "overloaded")
                gate.set()
                rest = await response.content.read()
            assert b"ended" in rest
            assert b"event: done" in rest
            assert await service.ended() == 0
    assert rows(tmp_path, "SELECT COUNT(*) FROM holds WHERE state = 'held'") == [(0,)]


async def test_a_stream_that_outlasts_the_drain_is_told_so_and_paid_for(tmp_path):
    async with scripted_upstream() as upstream:
        upstream.plays(stream(["begun ", "and on"], then="hang"))
        config = one_route(upstream.url, more="[server]\ndrain_s = 0.1\n")
        async with farthing_serve(tmp_path, config=config) as service:
            body = {"model": "chat", "prompt": "without end", "stream": True}
            async with service.http.post(f"{service.url}/generate", json=body) as response:
                assert b"begun" in await response.content.readuntil(b"\n\n")
                service.terminate()
                assert b"event: error" in await response.content.read()
            assert await service.ended() == 0
    assert rows(tmp_path, "SELECT cost_basis FROM postings") == [("estimated",)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_all_of_its_processes_lets_the_streams_of_workers_end(tmp_path, number):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.default = stream(["begun ", gate, "ended"])
        config = one_route(upstream.url)
        async with farthing_serve(tmp_path, "--workers", "2", config=config, installed=True) as service:
            asked = [asyncio.create_task(service.stream(model="chat", prompt=f"long {count}")) for count in range(6)]
            await upstream.until(lambda it: len(it.requests) == len(asked))
            service.signal_group(number)
            # It is told once: who was told by it and by the group alike lets them end all the same.
            await ready_no_more(service)
            gate.set()
            for events in await asyncio.gather(*asked):
                assert b"ended" in events
                assert b"event: done" in events
            assert await service.ended() == 0
            assert "Traceback" not in service.log
    assert rows(tmp_path, "SELECT COUNT(*) FROM holds WHERE state = 'held'") == [(0,)]


async def test_a_second_signal_to_workers_is_obeyed_at_once(tmp_path):
    async with scripted_upstream() as upstream:
        upstream.default = stream(["begun "], then="hang")
        config = one_route(upstream.url)
        async with farthing_serve(tmp_path, "--workers", "2", config=config, installed=True) as service:
            asked = asyncio.create_task(service.stream(model="chat", prompt="long"))
            await upstream.until(lambda it: len(it.requests) == 1)
            service.terminate()
            await ready_no_more(service)
            service.terminate()
            assert await service.ended() == 1
            with pytest.raises(aiohttp.ClientError):
                await asked


async def ready_no_more(service):
    async with asyncio.timeout(5):
        while (await service.http.get(f"{service.url}/health/ready")).status != 503:
            await asyncio.sleep(0.02)


async def test_a_wrong_config_is_told_whole_and_exits_with_2(tmp_path):
    (tmp_path / "farthing.toml").write_text('[server]\nprot = 1\n[[routes]]\nname = "r"\ntargets = ["gone:m"]\n')
    code, _, err = await run_farthing(tmp_path, "serve", "--port", "0", installed=True)
    assert code == 2
    assert "prot" in err
    assert "did you mean port?" in err
    assert "gone" in err
    assert "Traceback" not in err


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="IPv6 is switched off here")
async def test_where_it_listens_is_told_as_a_url_also_of_ipv6(tmp_path):
    async with farthing_serve(tmp_path, "--host", "::1") as service:
        assert service.url.startswith("http://[::1]:")
        assert await service.get("/health/live") == {"status": "live"}


async def test_an_address_that_is_taken_is_told_with_the_way_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = await run_farthing(tmp_path, "serve", "--port", port)
    assert code == 1
    why = "Address already in use; --port takes another one"
    assert err.splitlines() == [f"farthing: cannot listen on 127.0.0.1:{port}: {why}"]


async def test_an_address_that_is_not_this_machines_is_told_with_the_way_out(tmp_path):
    # Of the block for documentation (RFC 5737): nobody has it.
    code, _, err = await run_farthing(tmp_path, "serve", "--host", "192.0.2.1", "--port", "0")
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith("farthing: cannot listen on 192.0.2.1:0: ")
    assert "; --host takes another one: 127.0.0.1 is this machine alone" in line


async def test_a_deployment_of_no_route_is_told_of_once_it_was_called(tmp_path):
    async with scripted_upstream() as upstream:
        upstream.default = status(500)
        config = one_route(upstream.url, more='[router]\nunpriced = "free"\n')
        async with farthing_serve(tmp_path, config=config) as service:
            for number in range(3):
                assert (await service.generate(model="up:other", prompt=f"call {number}"))[0] == 502
            found = (await service.get("/router/status"))["deployments"]
            assert [(it["deployment"], it["breaker"]["state"]) for it in found] == [
                ("up:m", "closed"),
                ("up:other", "open"),
            ]
            async with service.http.get(f"{service.url}/metrics") as metrics:
                assert 'farthing_breaker_state{deployment="up:other",state="open"} 1.0' in await metrics.text()


async def test_what_one_service_learns_of_a_deployment_the_others_on_its_ledger_know_also_after_a_restart(tmp_path):
    def is_open(found):
        (deployment,) = found["deployments"]
        return deployment["breaker"]["state"] == "open"

    async with scripted_upstream() as upstream:
        upstream.default = status(500)
        config = one_route(upstream.url)
        async with farthing_serve(tmp_path, config=config) as one, farthing_serve(tmp_path, config=config) as other:
            for number in range(3):
                code, _ = await one.generate(model="chat", prompt=f"call {number}")
                assert code == 502
            await other.poll("/router/status", is_open)
            code, problem = await other.generate(model="chat", prompt="nobody is asked")
            assert (code, problem["code"]) == (503, "no_deployment_available")
            one.kill()
            other.kill()
        async with farthing_serve(tmp_path, config=config) as again:
            assert is_open(await again.get("/router/status"))
            code, _ = await again.generate(model="chat", prompt="nor now")
            assert code == 503
        assert len(upstream.requests) == 3
