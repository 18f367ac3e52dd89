"""From npm, unchanged: the official `openai` package and Vercel's `ai`. Their scripts are in `node/`."""

import asyncio
import json
import shutil
import subprocess
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.clients.serving import SAID, clever_service

FOLDER = Path(__file__).with_name("node")
NODE, NPM = shutil.which("node"), shutil.which("npm")
INSTALL_WITHIN_S = 300

pytestmark = pytest.mark.skipif(not (NODE and NPM), reason="Node.js is not installed")


@pytest.fixture(scope="session")
def packages() -> None:
    """What `package.json` names, installed once. A registry that cannot be reached skips the tests."""
    wanted = (FOLDER / "package.json").read_text("utf-8")
    installed = FOLDER / "node_modules" / ".farthing"
    if installed.is_file() and installed.read_text("utf-8") == wanted:
        return
    command = [NPM, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, timeout=INSTALL_WITHIN_S, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install the clients: {done.stderr.decode('utf-8', 'replace')[-300:]}")
    installed.write_text(wanted, "utf-8")


async def saw(script: str, *arguments: str) -> dict[str, Any]:
    """What a script says that it saw."""
    process = await asyncio.create_subprocess_exec(str(NODE), script, *arguments, cwd=FOLDER, stdout=PIPE, stderr=PIPE)
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    assert process.returncode == 0, err.decode("utf-8", "replace")
    return json.loads(out)


@pytest.mark.usefixtures("packages")
async def test_the_packages_from_npm_work_unchanged(tmp_path):
    async with clever_service(tmp_path) as (url, _):
        openai = await saw("openai.mjs", url, "default", "100")
        assert openai["whole"]["text"] == openai["streamed"] == openai["responseText"] == SAID
        assert openai["whole"]["usage"]["total_tokens"] == 11
        assert (openai["response"]["text"], openai["response"]["status"]) == (SAID, "completed")
        assert openai["response"]["usage"]["output_tokens"] == 2
        assert openai["responseEvents"][0] == "response.created"
        assert openai["responseEvents"][-1] == "response.completed"
        assert openai["vectors"] == [3, 3]
        assert openai["called"] == {"name": "weather", "arguments": {"city": "Paris"}}
        assert openai["error"] == {"kind": "NotFoundError", "status": 404, "code": "unknown_model"}
        assert "default" in openai["models"]

        ai = await saw("ai.mjs", url, "default", "100")
        assert ai.pop("object") == {"coin": "farthing"}
        assert set(ai) == {"responses", "chat", "compatible", "anthropic"}
        for kind, by in ai.items():
            assert by["whole"] == by["streamed"] == SAID, kind
            assert (by["finish"], by["usage"], by["streamedUsage"]) == ("stop", [9, 2], [9, 2]), kind
            assert by["agent"] == {"text": "It is sunny in Paris.", "steps": 2, "called": {"city": "Paris"}}, kind
