"""A changed config is taken into force on SIGHUP while calls go on, whole or not at all."""

import asyncio
import os
import signal

import pytest

from service.config.model import Config, ProviderSection
from service.reload import started_with
from tests.processes import farthing_serve, one_route
from tests.upstream import answer, scripted_upstream


def limited(url, limit_usd, *, scope="user:*"):
    ceiling = f'[[ceilings]]\nscope = "{scope}"\nwindow = "month"\nlimit_usd = "{limit_usd}"\n'
    return one_route(url) + ceiling


async def said(service, words, *, times=1):
    try:
        async with asyncio.timeout(20):
            while service.log.count(words) < times:
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(service.log)


def hang_up(service):
    os.kill(service.process.pid, signal.SIGHUP)


@pytest.mark.parametrize("workers", [1, 2])
async def test_ceilings_routes_and_prices_change_while_calls_go_on_and_nothing_counted_is_lost(tmp_path, workers):
    config = tmp_path / "farthing.toml"
    async with scripted_upstream() as upstream:
        gate = asyncio.Event()
        upstream.plays(answer("one", prompt_tokens=10, completion_tokens=5), answer("slow", gate=gate))
        text = limited(upstream.url, "1")
        async with farthing_serve(tmp_path, "--workers", str(workers), config=text) as service:
            await asyncio.gather(*(service.poll("/health/ready", lambda it: it["status"] == "ready") for _ in range(5)))
            code, first = await service.generate(model="chat", prompt="one", user="u")
            assert code == 200
            in_flight = asyncio.create_task(service.generate(model="chat", prompt="slow", user="v"))
            await upstream.until(lambda it: len(it.requests) == 2)
            spent = first["cost_nanousd"]
            more = text.replace('limit_usd = "1"', f'limit_usd = "{spent / 1e9:.9f}"')
            config.write_text(more + '[[routes]]\nname = "again"\ntargets = ["up:m"]\n')
            hang_up(service)
            await said(service, "the config was read again", times=workers)
            gate.set()
            assert (await in_flight)[0] == 200
            code, problem = await service.generate(model="again", prompt="no room", user="u")
            assert (code, problem["code"], problem["scope"]) == (402, "ceiling_exceeded", "user:u")
            assert problem["spent_nanousd"] == spent
            models = await service.get("/v1/models")
            assert {"chat", "again"} <= {model["id"] for model in models["data"]}
            config.write_text(text.replace('input_usd_per_mtok = "1"', 'input_usd_per_mtok = "3"'))
            hang_up(service)
            await said(service, "the config was read again", times=2 * workers)
            upstream.plays(answer("dearer", prompt_tokens=10, completion_tokens=5))
            _, third = await service.generate(model="chat", prompt="dearer", user="u")
            assert third["cost_nanousd"] == first["cost_nanousd"] + 10 * 2000
            found = {it["scope"]: it for it in (await service.get("/ledger/ceilings"))["ceilings"]}
            assert found["user:u"]["spent_nanousd"] == spent + third["cost_nanousd"]
            service.terminate()
            assert await service.ended() == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_that_is_asked_for_while_the_service_starts_is_not_lost(tmp_path, workers):
    async with scripted_upstream() as upstream:
        text = one_route(upstream.url)
        async with farthing_serve(tmp_path, "--workers", str(workers), config=text, installed=True) as service:
            # It listens, so the config has been read; the handler of signals comes later.
            (tmp_path / "farthing.toml").write_text(text + '[[routes]]\nname = "again"\ntargets = ["up:m"]\n')
            hang_up(service)
            for _ in range(5 * workers):
                await service.poll("/v1/models", lambda it: "again" in {model["id"] for model in it["data"]})
            assert "ended with status" not in service.log


WRONG = {
    "nonsense": lambda text: text + "nonsense = 1",
    "is not TOML": lambda text: text + "[[routes]\n",
    "there is no provider 'nobody'": lambda text: text + '[[routes]]\nname = "x"\ntargets = ["nobody:m"]\n',
    "only be changed by a restart": lambda text: text + '[[providers]]\nname = "l"\ndialect = "local"\n',
}


async def test_a_config_that_is_wrong_changes_nothing_and_is_named_in_the_log(tmp_path):
    async with scripted_upstream() as upstream:
        text = limited(upstream.url, "1")
        async with farthing_serve(tmp_path, config=text) as service:
            before = await service.get("/v1/models")
            for times, (words, change) in enumerate(WRONG.items(), 1):
                (tmp_path / "farthing.toml").write_text(change(text))
                told = len(service.log)
                hang_up(service)
                await said(service, "the config was not taken", times=times)
                assert words in service.log[told:]
                assert await service.get("/v1/models") == before
                assert (await service.generate(model="chat", prompt=f"still here after {words}"))[0] == 200


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("away", "words"),
    [
        (lambda config: config.rename(config.with_name("away.toml")), "cannot be read"),
        (lambda config: config.write_text("\n"), "says nothing"),
    ],
    ids=["gone", "empty"],
)
async def test_a_config_file_that_is_gone_changes_nothing_and_frees_nobody_of_a_ceiling(tmp_path, workers, away, words):
    config = tmp_path / "farthing.toml"
    async with scripted_upstream() as upstream:
        # Without a file the embedded model would serve everyone, as what this one names it.
        text = limited(upstream.url, "0") + '[[providers]]\nname = "local"\ndialect = "local"\n'
        async with farthing_serve(tmp_path, "--workers", str(workers), config=text) as service:
            await asyncio.gather(*(service.poll("/health/ready", lambda it: it["status"] == "ready") for _ in range(5)))
            before = await service.get("/v1/models")
            away(config)
            hang_up(service)
            await said(service, f"the config was not taken: farthing.toml: {words}", times=workers)
            assert await service.get("/v1/models") == before
            code, problem = await service.generate(model="chat", prompt="free now?", user="u")
            assert (code, problem["code"]) == (402, "ceiling_exceeded")


async def test_what_takes_a_restart_is_said_and_the_rest_is_taken(tmp_path):
    async with scripted_upstream() as upstream:
        text = one_route(upstream.url)
        async with farthing_serve(tmp_path, config=text) as service:
            await service.poll("/health/ready", lambda it: it["status"] == "ready")
            (tmp_path / "farthing.toml").write_text(text + "[server]\nmax_in_flight = 5\n[cache]\nenabled = false\n")
            hang_up(service)
            await said(service, "the config was read again")
            assert "a change in [server] takes effect after a restart" in service.log
            assert "a change in [cache] takes effect after a restart" in service.log


async def test_what_takes_a_restart_is_not_half_taken(tmp_path):
    async with scripted_upstream() as upstream:
        text = one_route(upstream.url, more='[[routes]]\nname = "odd"\ntargets = ["up:made-up"]\n')
        async with farthing_serve(tmp_path, config=text) as service:
            await service.poll("/health/ready", lambda it: it["status"] == "ready")
            (tmp_path / "farthing.toml").write_text(text + '[router]\nunpriced = "free"\n')
            hang_up(service)
            await said(service, "the config was read again")
            assert (await service.generate(model="odd", prompt="at no price"))[0] == 402


async def test_what_one_reload_brought_runs_for_the_next(tmp_path):
    async with scripted_upstream() as upstream:
        text = one_route(upstream.url)
        new = f'[[providers]]\nname = "new"\ndialect = "openai"\nbase_url = "{upstream.url}"\napi_key = "sk-new"\n'
        async with farthing_serve(tmp_path, config=text) as service:
            await service.poll("/health/ready", lambda it: it["status"] == "ready")
            (tmp_path / "farthing.toml").write_text(text + new)
            hang_up(service)
            await said(service, "the config was read again")
            (tmp_path / "farthing.toml").write_text(text + new + "max_concurrency = 3\n")
            hang_up(service)
            await said(service, "the config was not taken: providers.new can only be changed by a restart")


def test_what_runs_since_the_start_is_not_swapped():
    def config(*providers):
        return Config(providers=providers)

    up = ProviderSection(name="up", dialect="openai", base_url="http://a")
    local = ProviderSection(name="l", dialect="local")
    assert started_with(config(up), config(up, ProviderSection(name="new", dialect="openai"))) == []
    assert started_with(config(up, local), config(up)) == []
    assert started_with(config(up), config(ProviderSection(name="up", dialect="openai", base_url="http://b"))) == []
    assert started_with(config(up), config(up, local)) == ["providers.l"]
    limited_up = ProviderSection(name="up", dialect="openai", max_concurrency=3)
    assert started_with(config(up), config(limited_up)) == ["providers.up"]
