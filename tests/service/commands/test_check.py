"""`farthing check`, as people run it."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.commands.check import check
from tests.processes import OURS
from tests.upstream import scripted_upstream

EXAMPLE = Path(__file__).parents[3] / "deploy" / "farthing.example.toml"


@pytest.fixture(autouse=True)
def _nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no variable of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(check, arguments)


def cells(result: Result, name: str) -> list[str]:
    """The row of a table that begins with this."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]
    return next(row for row in rows if name == row[0])


def test_the_example_is_shown_whole() -> None:
    result = run("--config", str(EXAMPLE), OPENAI_API_KEY="sk-hunter2", WEBHOOK_SECRET="hunter2")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert cells(result, "openai:gpt-4o-mini") == [
        *("openai:gpt-4o-mini", "0.15", "0.075", "0.60", "128,000", "16,384"),
        "json_schema, temperature, tools, vision",
        "config: input 0.15, output 0.60, cached input 0.075",
    ]
    assert cells(result, "local:smollm2")[-1] == "free"
    assert cells(result, "provider:openai") == ["provider:openai", "day", "$20.00", "refuse", "80%, 100%", "90%"]
    assert cells(result, "user:*") == ["user:*", "day", "$5.00", "wait", "80%, 100%"]
    assert cells(result, "key:*") == ["key:*", "minute", "600 calls", "refuse"]
    events = "ceiling.*, spend.anomaly, disk.low"
    assert cells(result, "ops") == ["ops", "https://hooks.example.com/…", events, "yes"]
    assert "route chat" in result.stdout
    assert "The config is valid." in result.stdout
    assert "hunter2" not in result.stdout


def test_a_routes_strategy_is_shown() -> None:
    provider = '[[providers]]\nname = "a"\ndialect = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'
    route = '[[routes]]\nname = "{0}"\ntargets = ["a:m", "a:n"]\nstrategy = "{0}"\n'
    weighted = route.format("weighted") + "weights = [3, 1]\n"
    Path("farthing.toml").write_text(provider + weighted + route.format("fastest") + route.format("ordered"), "utf-8")
    shown = run().stdout
    for title in ("route weighted, weighted 3:1 (", "route fastest, fastest (", "route ordered ("):
        assert title in shown


def test_a_wrong_config_is_a_line_for_each_problem_and_exit_2() -> None:
    Path("farthing.toml").write_text('[server]\nprot = 1\n[ledger]\nurl = "x"\n', "utf-8")
    result = run()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "farthing: farthing.toml: server.prot: unknown key; did you mean port?",
        "farthing: farthing.toml: ledger.url: must be a file, written sqlite:farthing.db, or a database, written "
        "postgresql://user@host/database",
    ]


def test_what_has_no_price_is_warned_of_and_names_are_no_markup() -> None:
    result = run(PRIMARY_OPENAI_MODEL="fire:[red]m", PRIMARY_OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert cells(result, "primary:fire:[red]m")[-1] == "unpriced: free"
    assert "warning: primary:fire:[red]m has no price, so calls to it count as free" in result.stdout


@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
def test_a_local_models_file_that_is_not_here_is_warned_of() -> None:
    local = '[[providers]]\nname = "own"\ndialect = "local"\nmodel_path = "{0}"\n'
    Path("other.gguf").write_bytes(b"GGUF")
    for path, warning in {
        "gone.gguf": "warning: own: cannot read the local model gone.gguf: No such file or directory",
        "other.gguf": None,
    }.items():
        Path("farthing.toml").write_text(local.format(path) + '[[routes]]\nname = "r"\ntargets = ["own:m"]\n', "utf-8")
        result = run()
        assert result.exit_code == 0
        assert [line for line in result.stdout.splitlines() if "own:" in line and "warning" in line] == (
            [warning] if warning else []
        )


@asynccontextmanager
async def locked_upstream() -> AsyncIterator[str]:
    """The URL of a provider that takes no key."""
    body = b'{"error": {"message": "no such key", "type": "auth", "code": "invalid_api_key"}}'
    head = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\n"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_a_probe_says_what_each_provider_answers_and_fails_if_one_does_not() -> None:
    async with scripted_upstream() as dead:
        pass
    async with scripted_upstream() as alive, locked_upstream() as locked_url:
        alive.models = ["gpt-4o", "o3"]
        text = '[[providers]]\nname = "embedded"\ndialect = "local"\n'
        for name, url in (("alive", alive.url), ("locked", locked_url), ("dead", dead.url)):
            text += f'[[providers]]\nname = "{name}"\ndialect = "openai"\nbase_url = "{url}"\napi_key = "sk-hunter2"\n'
        text += '[[routes]]\nname = "r"\ntargets = ["alive:gpt-4o", "alive:gpt-9"]\n'
        Path("farthing.toml").write_text(text, "utf-8")
        result = await asyncio.to_thread(run, "--probe")
        assert result.exit_code == 1, result.output
        assert alive.others[0].headers["authorization"] == "Bearer sk-hunter2"
    assert cells(result, "alive") == ["alive", "reachable, 2 models; not among them: gpt-9"]
    assert cells(result, "locked")[1].startswith("key refused (401): no such key")
    assert cells(result, "dead")[1].startswith("not reachable: ")
    assert cells(result, "embedded") == ["embedded", "runs with the service"]
    assert "hunter2" not in result.output


def test_what_a_deployment_supports_is_shown_where_it_is_said() -> None:
    text = EXAMPLE.read_text("utf-8").replace("encoding =", 'supports = ["tools", "temperature"]\nencoding =')
    Path("farthing.toml").write_text(text, "utf-8")
    result = run(OPENAI_API_KEY="k", WEBHOOK_SECRET="s")
    assert cells(result, "openai:gpt-4o-mini")[-2] == "temperature, tools"
    assert "supports" in result.stdout
    assert "reasoning" not in result.stdout


async def test_a_probe_that_every_provider_answers_is_a_success() -> None:
    async with scripted_upstream() as upstream:
        environ = {"PRIMARY_OPENAI_MODEL": upstream.models[0], "PRIMARY_OPENAI_BASE_URL": upstream.url}
        result = await asyncio.to_thread(run, "--probe", **environ)
    assert result.exit_code == 0
    assert cells(result, "primary") == ["primary", "reachable, 1 model"]


def test_where_stored_answers_are_is_shown_without_the_way_in(tmp_path: Path) -> None:
    pytest.importorskip("valkey", reason="no client of cache servers here: pip install valkey")
    path = tmp_path / "farthing.toml"
    path.write_text('[cache]\nurl = "rediss://me:hunter2@cache.example/2"\n')
    result = run("--config", str(path))
    assert result.exit_code == 0
    assert "stored answers: at rediss://cache.example:6379/2, and in the ledger while that takes none" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr
