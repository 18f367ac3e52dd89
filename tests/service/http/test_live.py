"""`GET /live`: calls are seen to begin, have output and end, whichever process answers them; never their words."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

from router.answer import Delta
from router.errors import UpstreamFailed
from service.live.board import MOST_LISTENERS
from tests.scripts import answer, hang, status
from tests.service.http.scripted import a_keyring, a_service, an_edge, finished, text
from tests.service.http.test_access import made
from tests.upstream import scripted_upstream

STREAM = {"accept": "text/event-stream"}
CONFIG = """
[ledger]
url = "sqlite:{folder}/farthing.db"
[router]
breaker_threshold = 100
[[providers]]
name = "first"
dialect = "openai"
base_url = "{url}"
[[providers]]
name = "second"
dialect = "openai"
base_url = "{url}"
[[models]]
id = "first:m"
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
max_output_tokens = 100
[[models]]
id = "second:n"
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
max_output_tokens = 100
[[routes]]
name = "chat"
targets = ["first:m", "second:n"]
"""


class Watcher:
    """Someone at `/live`: what came, event by event."""

    def __init__(self, lines):
        self._lines = lines
        self.text = ""

    async def next(self):
        """(name, data) of the next event."""
        name = ""
        async with asyncio.timeout(10):
            async for line in self._lines:
                self.text += line
                if line.startswith("event: "):
                    name = line[len("event: ") :]
                elif line.startswith("data: "):
                    return name, json.loads(line[len("data: ") :])
        return "", {}

    async def until(self, state, **known):
        """All that was told of the calls, until one is in this state and has these facts."""
        told = []
        while not told or told[-1]["state"] != state or not known.items() <= told[-1].items():
            name, call = await self.next()
            assert name == "call", (name, call)
            told.append(call)
        return told


@asynccontextmanager
async def watching(client, **headers):
    async with client.stream("GET", "/live", headers={**STREAM, **headers}) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        async with aclosing(answer.aiter_lines()) as lines:
            yield Watcher(lines)


async def test_a_streamed_call_is_seen_to_begin_to_have_output_and_to_end():
    async with an_edge() as (edge, client), watching(client) as watcher:
        proceed = asyncio.Event()
        edge.gateway.script = lambda call: [*text("half a "), proceed, finished(call)]
        body = {"prompt": "a secret", "stream": True, "workflow": "tales", "user": "u1"}
        call = asyncio.create_task(client.post("/generate", json=body))
        began = await watcher.until("output")
        assert [told["state"] for told in began] == ["waiting", "running", "output"]
        proceed.set()
        (ended,) = await watcher.until("ended")
        await call
        assert (ended["outcome"], ended["cost_usd"], ended["prompt_tokens"]) == ("ok", "0.000007950", 21)
        assert (ended["route"], ended["workflow"], ended["user"]) == ("chat", "tales", "u1")
        assert {told["id"] for told in began} == {ended["id"]} == {edge.gateway.calls[0].generation_id}
        assert "secret" not in watcher.text
        assert "half" not in watcher.text


async def test_refused_failed_and_stored_answers_are_told_as_what_they_are():
    async with an_edge() as (edge, client), watching(client) as watcher:
        edge.gateway.refusal = UpstreamFailed(())
        await client.post("/generate", json={"prompt": "x"})
        refused = (await watcher.until("ended"))[-1]
        assert (refused["outcome"], refused["error_code"], refused["cost_nanousd"]) == ("refused", "upstream_failed", 0)
        edge.gateway.refusal = None
        for stream in (False, True):
            edge.gateway.script = lambda call: [Delta(text="x"), UpstreamFailed(())]
            await client.post("/generate", json={"prompt": "x", "stream": stream})
            failed = (await watcher.until("ended"))[-1]
            # What it cost is the ledger's to say.
            assert (failed["outcome"], failed["error_code"], failed["cost_usd"]) == ("", "upstream_failed", None)
        edge.gateway.script = lambda call: [finished(call, cache="hit")]
        edge.gateway.cache = "hit"
        await client.post("/generate", json={"prompt": "x"})
        hit = await watcher.until("ended")
        assert [told["state"] for told in hit] == ["waiting", "ended"]
        assert (hit[-1]["cache"], hit[-1]["saved_nanousd"], hit[-1]["prompt_tokens"]) == ("hit", 7950, None)


async def test_the_calls_of_all_processes_on_the_ledger_are_seen_with_their_failovers(tmp_path):
    async with scripted_upstream() as upstream:
        (tmp_path / "farthing.toml").write_text(CONFIG.format(folder=tmp_path, url=upstream.url), "utf-8")
        async with (
            a_service(tmp_path / "farthing.toml") as (_, here),
            a_service(tmp_path / "farthing.toml") as (_, there),
        ):
            upstream.plays(status(500), answer("ok"))
            earlier = (await there.post("/generate", json={"prompt": "one"})).json()
            async with watching(here) as watcher:
                (known,) = await watcher.until("ended")
                assert (known["id"], known["attempts"], known["cost_usd"]) == (earlier["id"], 2, earlier["cost_usd"])
                upstream.plays(hang())
                leaving = asyncio.create_task(there.post("/generate", json={"prompt": "two"}))
                running = (await watcher.until("running"))[-1]
                assert (running["deployment"], running["cost_usd"]) == ("first:m", None)
                leaving.cancel()
                await asyncio.wait([leaving])
                left = (await watcher.until("ended", id=running["id"]))[-1]
                assert (left["outcome"], left["cost_nanousd"]) == ("aborted", left["cost_nanousd"] or 0)
                key, body = {"idempotency-key": "once"}, {"prompt": "three"}
                for _ in range(2):
                    await here.post("/generate", json=body, headers=key)
                first = (await watcher.until("ended", outcome="ok"))[-1]
                again = (await watcher.until("ended", outcome="replayed"))[-1]
                assert (again["origin"], again["cost_usd"]) == (first["id"], "0.000000000")
                latest = (await here.get("/live")).json()["calls"]
                assert [(call["id"], call["state"]) for call in latest] == [
                    (earlier["id"], "ended"),
                    (left["id"], "ended"),
                    (first["id"], "ended"),
                ]


async def test_only_readers_watch_and_a_revoked_key_hears_no_more():
    keyring = a_keyring(are_needed=True)
    caller, reader = await made(keyring), await made(keyring, role="reader")
    async with an_edge(keyring=keyring, live_check_s=0.01) as (_, client):
        bearer = {"authorization": f"Bearer {caller.text.decode()}"}
        assert (await client.get("/live", headers={**STREAM, **bearer})).status_code == 403
        async with watching(client, authorization=f"Bearer {reader.text.decode()}") as watcher:
            await keyring.revoke(reader.key_id)
            assert await watcher.next() == ("end", {"code": "unauthenticated"})
            assert await watcher.next() == ("", {})


async def test_listeners_are_limited_told_of_a_drain_and_cost_no_place_once_they_left():
    async with an_edge() as (edge, client):
        board = edge.parts.live
        async with watching(client):
            await board.watched()
            places = [board.listening() for _ in range(MOST_LISTENERS - 1)]
            for place in places:
                place.__enter__()
            full = await client.get("/live", headers=STREAM)
            assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "overloaded", "10")
            for place in places:
                place.__exit__(None, None, None)
        async with asyncio.timeout(10):
            while board.is_watched:
                await asyncio.sleep(0.01)
        async with watching(client) as watcher:
            await board.watched()
            closing = asyncio.create_task(board.close(within_s=10))
            assert await watcher.next() == ("end", {"code": "draining"})
            await closing
        assert (await client.get("/live", headers=STREAM)).status_code == 503
