"""Two services on one ledger, with keys in force: who is let in, whose answers are whose, and who pays."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

from ledger.ledger import open_ledger
from service.auth.issuing import KeyWish, new_key
from service.auth.keyring import open_keyring
from service.auth.secret import new_secret
from service.clock import now_ms
from service.config import load_config
from tests.processes import farthing_serve, one_route, run_farthing
from tests.service.http.scripted import a_service
from tests.upstream import answer, scripted_upstream, stream

SERVER = '[server]\nauth = "required"\n'


class House:
    """clients: of each service. admin, keys: how to ask as an admin, and as whom else."""

    def __init__(self, clients, upstream, admin, config):
        self.clients = clients
        self.client = clients[0]
        self.upstream = upstream
        self.admin = admin
        self.config = config

    async def key(self, name, **wish):
        """(its id, the headers that show it)."""
        made = (await self.client.post("/keys", json={"name": name, **wish}, headers=self.admin)).json()
        return made["id"], {"authorization": f"Bearer {made['secret']}"}

    async def ask(self, headers, prompt="hello", *, of=0, model="chat", more=None):
        body = {"model": model, "prompt": prompt, "params": {"max_tokens": 20}, **(more or {})}
        return await self.clients[of].post("/generate", json=body, headers=headers)

    async def spend(self, by):
        report = await self.client.get(f"/ledger/spend?group_by={by}", headers=self.admin)
        return {row[by]: row for row in report.json()["rows"]}


@asynccontextmanager
async def a_house(folder, *, services=1, more=""):
    async with scripted_upstream() as upstream, AsyncExitStack() as stack:
        upstream.default = answer("ok", prompt_tokens=3, completion_tokens=2)
        file = folder / "farthing.toml"
        text = one_route(upstream.url, more=f'{SERVER}[ledger]\nurl = "sqlite:{folder}/farthing.db"\n{more}')
        file.write_text(text, "utf-8")
        opened = [await stack.enter_async_context(a_service(file)) for _ in range(services)]
        admin = await first_key(load_config(str(file), {}))
        yield House([client for _, client in opened], upstream, {"x-api-key": admin}, file)


async def first_key(config):
    """As `farthing keys create` makes it, while services run on the ledger."""
    secret = new_secret()
    key = new_key(KeyWish(name="first", role="admin"), secret, resolve=lambda name: None, now_ms=now_ms())
    async with open_ledger(config.ledger.url) as ledger:
        await open_keyring(config, ledger, {}).create(key, secret)
    return secret.text.decode()


async def test_a_key_made_elsewhere_is_known_and_one_revoked_elsewhere_is_refused_at_once(tmp_path):
    async with a_house(tmp_path, services=2) as house:
        key_id, caller = await house.key("jobs", role="reader")
        for of in (0, 1):
            assert (await house.ask(caller, of=of)).status_code == 200
            assert (await house.clients[of].get("/ledger/spend", headers=caller)).status_code == 200
        revoked = await house.clients[1].delete(f"/keys/{key_id}", headers=house.admin)
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
        for path in ("/ledger/spend", "/v1/models", "/estimate"):
            # Each process remembers the key, and asks all the same.
            assert [(await it.get(path, headers=caller)).status_code for it in house.clients] == [401, 401]
        for of in (0, 1):
            # Twice: by the admission, which knows it first, and by the process, which has heard by then.
            for prompt in ("hello", "something else"):
                refused = await house.ask(caller, prompt, of=of)
                assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
        again = await house.client.delete(f"/keys/{key_id}", headers=house.admin)
        assert again.json()["revoked_at"] == revoked.json()["revoked_at"]
        assert (await house.client.delete("/keys/nobody", headers=house.admin)).status_code == 404


async def test_a_call_in_line_when_its_key_is_revoked_is_not_admitted(tmp_path):
    ceiling = '[[ceilings]]\nscope = "global"\nwindow = "total"\nlimit_usd = "0.0002"\nwhen_tight = "wait"\n'
    async with a_house(tmp_path, more=ceiling) as house:
        key_id, caller = await house.key("jobs")
        go = asyncio.Event()
        house.upstream.plays(stream([go, "ok"]))
        first = asyncio.create_task(house.ask(house.admin, "first", more={"stream": True}))
        await house.upstream.until(lambda it: len(it.requests) == 1)
        second = asyncio.create_task(house.ask(caller, "second"))
        await house.client.delete(f"/keys/{key_id}", headers=house.admin)
        go.set()
        assert (await first).status_code == 200
        assert (await second).status_code == 401
        assert len(house.upstream.requests) == 1


async def test_each_key_pays_for_its_own_and_is_held_to_its_own_ceiling(tmp_path):
    async with a_house(tmp_path, services=2) as house:
        one, as_one = await house.key("one", team="a", ceilings=["0.0002/day"])
        other, as_other = await house.key("other", team="b")
        for number in range(4):
            await house.ask(as_other, f"{number}", of=number % 2)
        outcomes = [(await house.ask(as_one, f"mine {n}", of=n % 2)).status_code for n in range(20)]
        assert outcomes[0] == 200
        assert outcomes[-1] == 402
        refused = (await house.ask(as_one, "once more")).json()
        assert (refused["code"], refused["scope"], refused["window"]) == ("ceiling_exceeded", f"key:{one}", "day")
        _, as_third = await house.key("third", ceilings=["2 calls/day"])
        assert [(await house.ask(as_third, f"a third {n}", of=n % 2)).status_code for n in range(3)] == [200, 200, 429]
        by_key, by_team = await house.spend("key"), await house.spend("team")
        assert {one, other} < by_key.keys()
        assert by_key[one]["cost_nanousd"] == by_team["a"]["cost_nanousd"] == 7000 * outcomes.count(200)
        assert by_key[other]["cost_nanousd"] == by_team["b"]["cost_nanousd"] == 28_000
        ceilings = (await house.client.get("/ledger/ceilings", headers=house.admin)).json()["ceilings"]
        assert [(it["unit"], it["limit"]) for it in ceilings if it["unit"] != "usd"] == [("calls", 2)]
        assert [it["scope"] for it in ceilings if it["unit"] == "usd"] == [f"key:{one}"]


async def test_an_answer_is_its_keys_own_unless_teams_share(tmp_path):
    folders = {scope: tmp_path / scope for scope in ("key", "team", "global")}
    shared = {}
    for scope, folder in folders.items():
        folder.mkdir()
        async with a_house(folder, more=f'[cache]\nscope = "{scope}"\n') as house:
            asked = {}
            for name, team in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("n1", ""), ("n2", "")):
                _, headers = await house.key(name, team=team)
                asked[name] = (await house.ask(headers)).json()["cache"]
                assert (await house.ask(headers)).json()["cache"] == "hit"
            shared[scope] = {name for name, cache in asked.items() if cache == "hit"}
    assert shared == {"key": set(), "team": {"a2"}, "global": {"a2", "b1", "n1", "n2"}}


async def test_an_idempotency_key_is_its_callers_own(tmp_path):
    async with a_house(tmp_path) as house:
        (_, one), (_, other) = await house.key("one"), await house.key("other")
        keyed = {"idempotency-key": "same"}
        first = await house.ask({**one, **keyed}, "mine")
        again = await house.ask({**one, **keyed}, "mine")
        assert again.headers["x-farthing-id"] == first.headers["x-farthing-id"]
        theirs = await house.ask({**other, **keyed}, "theirs")
        assert (theirs.status_code, "idempotent-replayed" in theirs.headers) == (200, False)


async def test_a_key_asks_for_its_own_models_only(tmp_path):
    async with a_house(tmp_path) as house:
        _, limited = await house.key("limited", routes=["chat"])
        assert (await house.ask(limited)).status_code == 200
        assert (await house.ask(limited, model=None)).status_code == 200
        refused = await house.ask(limited, model="up:m")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "'up:m'" in refused.json()["detail"]
        for path, body in (
            ("/v1/chat/completions", {"model": "up:m", "messages": [{"role": "user", "content": "x"}]}),
            ("/v1/messages", {"model": "up:m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}),
            ("/estimate", {"model": "up:m", "prompt": "x"}),
        ):
            answer_ = await house.client.post(path, json=body, headers=limited)
            assert (answer_.status_code, "forbidden" in answer_.text) == (403, True), path
        nobodys = await house.client.post("/keys", json={"name": "x", "routes": ["nope"]}, headers=house.admin)
        assert nobodys.json()["code"] == "unknown_model"


async def test_an_expired_key_is_refused_by_edge_and_admission(tmp_path):
    async with a_house(tmp_path) as house:
        _, brief = await house.key("brief", expires="1s")
        assert (await house.ask(brief)).status_code == 200
        async with asyncio.timeout(10):
            while (refused := await house.ask(brief)).status_code == 200:
                await asyncio.sleep(0.05)
        assert (refused.status_code, "expired" in refused.json()["detail"]) == (401, True)


async def test_our_keys_and_those_of_providers_are_seen_by_nobody_else(tmp_path, caplog):
    caplog.set_level("INFO")
    async with a_house(tmp_path) as house:
        _, caller = await house.key("jobs", role="admin")
        secret = caller["authorization"].removeprefix("Bearer ")
        hints = {"base_url": f"{house.upstream.url}/elsewhere", "api_base": "http://x", "proxy": "http://x"}
        everywhere = {**caller, "x-api-key": secret, "x-farthing-workflow": "w"}
        said = [
            await house.ask(everywhere),
            await house.ask(everywhere, model="nope"),
            await house.client.post("/v1/chat/completions", json={"messages": 5}, headers=everywhere),
            await house.client.get(f"/nowhere/{secret}", headers=everywhere),
            await house.client.get("/keys", headers=everywhere),
            await house.client.get("/ledger/generations", headers=everywhere),
            await house.client.get("/ledger/spend?group_by=key", headers=everywhere),
            await house.client.get("/metrics", headers=everywhere),
            await house.client.get("/router/status", headers=everywhere),
            await house.client.post(
                "/v1/chat/completions",
                json={"model": "chat", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], **hints},
                headers=everywhere,
            ),
        ]
        for answer_ in said:
            assert secret not in answer_.text + str(answer_.headers), answer_.request.url
            assert "sk-canary" not in answer_.text + str(answer_.headers)
        # No caller chooses where a call goes: what may look like that is a field like any other.
        assert {request.path for request in house.upstream.requests} == {"/v1/chat/completions"}
        for request in house.upstream.requests:
            assert secret.encode() not in request.raw_body + str(request.headers).encode()
            assert request.headers["authorization"] == "Bearer sk-canary-of-the-provider"
    # What the test's own client says is its own affair.
    logged = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert secret not in "".join(logged)
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes(), file


async def test_off_loopback_the_service_says_how_to_make_the_first_key_and_answers_nobody_before(tmp_path):
    async with scripted_upstream() as upstream:
        upstream.default = answer("ok", prompt_tokens=3, completion_tokens=2)
        config = one_route(upstream.url)
        async with farthing_serve(tmp_path, "--host", "0.0.0.0", config=config) as service:
            await service.logs("farthing keys create --name NAME --role admin")
            service.url = service.url.replace("0.0.0.0", "127.0.0.1")
            assert (await service.generate(model="chat", prompt="x"))[0] == 401
            async with service.http.get(f"{service.url}/health/ready", headers={"host": "gateway.example"}) as ready:
                assert ready.status == 200
            _, out, _ = await run_farthing(tmp_path, "keys", "create", "--name", "first")
            service.http.headers["x-api-key"] = out.strip()
            assert (await service.generate(model="chat", prompt="x"))[0] == 200
        assert out.strip() not in service.log
