"""`router.chat_complete` in a plain script, in a process of its own."""

import asyncio
import json
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

from tests.upstream import answer, scripted_upstream, status, stream

SCRIPT = """
import asyncio, json
from contextlib import aclosing
from router import ChatFailed, chat_complete, chat_complete_stream

HELLO = [{"role": "user", "content": "hello"}]

async def main():
    print(json.dumps(await chat_complete(HELLO, 0.5)))
    async with aclosing(chat_complete_stream(HELLO, 0.7)) as pieces:
        print(json.dumps([piece async for piece in pieces]))
    try:
        await chat_complete(HELLO)
    except ChatFailed as error:
        print(json.dumps([error.code, str(error)]))

asyncio.run(main())
"""
FAILING = """
import asyncio
from router import ChatFailed, chat_complete

try:
    asyncio.run(chat_complete([{"role": "user", "content": "hello"}]))
except ChatFailed as error:
    print(error.code, str(error))
"""
CONFIG = """
[[providers]]
name = "p"
dialect = "openai"
base_url = "{url}"
[[routes]]
name = "chat"
targets = ["p:gpt-4o-mini"]
"""
OURS = ("OTEL_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "PRIMARY_", "FALLBACK_", "FARTHING_", "PREFERRED_")


async def run(script: str, folder: Path, **environ: str) -> str:
    """What a script prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    here = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=folder, env={**kept, "PYTHONPATH": here, **environ}, stdout=PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()


async def test_a_script_is_answered_through_the_router_and_its_calls_are_in_the_ledger(tmp_path: Path) -> None:
    async with scripted_upstream() as upstream:
        (tmp_path / "farthing.toml").write_text(CONFIG.format(url=upstream.url), "utf-8")
        upstream.plays(answer("Hello there.", completion_tokens=4), stream(["Hel", "lo"], completion_tokens=2))
        upstream.default = status(500)
        lines = (await run(SCRIPT, tmp_path)).splitlines()
        assert [request.body.get("temperature") for request in upstream.requests] == [0.5, 0.7, None]
    whole, pieces, failed = map(json.loads, lines)
    assert whole == ["p:gpt-4o-mini", "Hello there."]
    assert pieces == ["Hel", "lo"]
    assert failed[0] == "upstream_failed"
    with closing(sqlite3.connect(tmp_path / "farthing.db")) as db:
        calls = db.execute("SELECT workflow, outcome FROM generations ORDER BY generation_id").fetchall()
        assert calls == [("script", "ok"), ("script", "ok"), ("script", "upstream_error")]
        # 9 tokens read and 4, then 2 written, at the book's prices.
        assert [cost for (cost,) in db.execute("SELECT cost_nanousd FROM postings ORDER BY seq")][:2] == [3750, 2550]
        assert db.execute("SELECT COUNT(*) FROM holds WHERE state = 'held'").fetchone() == (0,)


async def test_a_script_whose_environment_is_wrong_is_told_which_variable(tmp_path: Path) -> None:
    said = await run(FAILING, tmp_path, PREFERRED_MODEL="openai:gpt-4o")
    assert said.strip() == ("config_invalid PREFERRED_MODEL: 'openai:gpt-4o' needs OPENAI_API_KEY, which is not set")
