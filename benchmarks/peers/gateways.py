"""The gateways that are compared: how each is had, set up and started. Their settings are those of their own manuals.

LiteLLM: docs.litellm.ai/docs/proxy/prod (a master key, one worker a core, spend written once a minute, error logs off,
`LITELLM_MODE=PRODUCTION`, `LITELLM_LOG=ERROR`). Portkey: its README's command, without its console.
"""

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.load import CHAT, Target
from benchmarks.measures import Contender
from benchmarks.peers import postgres
from benchmarks.peers.environments import NotInstalled, environ, node_environment, python_environment, run
from benchmarks.processes import (
    DELAY_MS,
    GATEWAY_CORE,
    Process,
    prepared_gateway,
    running,
    running_floor,
    started,
)

# 1.106.1 and later ask for a certifi that not every index has yet; 1.107.0 was withdrawn as malicious.
LITELLM: Final = ("litellm[proxy]==1.106.0", "prisma==0.15.0")
PORTKEY: Final = "@portkey-ai/gateway@1.15.2"
MASTER_KEY: Final = "sk-bench"
SAID: Final = "said.log"

LITELLM_CONFIG: Final = """
model_list:
- model_name: bench
  litellm_params: &bench
    model: openai/m
    api_base: http://127.0.0.1:{port}/v1
    api_key: bench
    input_cost_per_token: 0.00000015
    output_cost_per_token: 0.0000006
- model_name: slow
  litellm_params:
    <<: *bench
    api_base: http://127.0.0.1:{port}/delay/{delay}/v1
general_settings:
  master_key: {key}
  proxy_batch_write_at: 60
  database_connection_pool_limit: 10
  disable_error_logs: true
litellm_settings:
  request_timeout: 600
  set_verbose: false
  json_logs: true
"""
LITELLM_CACHE: Final = """
  cache: true
  cache_params:
    type: local
    ttl: 300
"""
LITELLM_ENVIRON: Final = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    # Its prices come with it; without this it asks the network for newer ones.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}

Running = Callable[[Path, int], AbstractContextManager[Contender]]


class Gateway(msgspec.Struct, frozen=True):
    """A gateway to compare. running: (a folder of its own, the upstream's port) -> it, listening.

    is_kept: it keeps answers, so that hits can be asked for. install: raises NotInstalled.
    """

    name: str
    install: Callable[[], object]
    running: Running
    is_kept: bool = False


def gateways() -> tuple[Gateway, ...]:
    """All of them, Farthing first: each of a round is measured in this order."""
    return (
        Gateway("Farthing, everything on", lambda: None, _farthing, is_kept=True),
        Gateway("the floor: its web stack and one upstream call", lambda: None, _floor),
        Gateway(f"LiteLLM {_version(LITELLM[0])}, no database", _litellm_environment, _litellm("")),
        Gateway(
            f"LiteLLM {_version(LITELLM[0])}, its own cache",
            _litellm_environment,
            _litellm(LITELLM_CACHE),
            is_kept=True,
        ),
        Gateway(f"LiteLLM {_version(LITELLM[0])}, its database", _litellm_with_database, _litellm_on_postgres),
        Gateway(f"Portkey {_version(PORTKEY)}", _portkey_environment, _portkey),
    )


def free_port() -> int:
    """A port at which nobody listens just now, for those that cannot take one of their own choice."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def _farthing(folder: Path, upstream_port: int) -> Iterator[Contender]:
    with started(prepared_gateway(folder, upstream_port)) as process:
        yield Contender("Farthing", process, process.target("bench"), process.target("slow"))


@contextmanager
def _floor(_: Path, upstream_port: int) -> Iterator[Contender]:
    with running_floor(upstream_port) as process:
        yield Contender("floor", process, process.target())


def _litellm_environment() -> Path:
    return python_environment("litellm", LITELLM)


def _litellm(more: str, environ_more: dict[str, str] | None = None) -> Running:
    @contextmanager
    def running_litellm(folder: Path, upstream_port: int) -> Iterator[Contender]:
        config = folder / "config.yaml"
        config.write_text(LITELLM_CONFIG.format(port=upstream_port, delay=DELAY_MS, key=MASTER_KEY) + more, "utf-8")
        port = free_port()
        command = [
            str(_litellm_environment() / "litellm"), "--config", str(config),
            "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
        ]  # fmt: skip
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        targets = [Target(port, CHAT, model, headers) for model in ("bench", "slow")]
        with _quiet(command, LITELLM_ENVIRON | (environ_more or {}), folder) as child:
            yield Contender("LiteLLM", Process(child.pid, port, headers), *targets)

    return running_litellm


def _litellm_with_database() -> None:
    """LiteLLM reads and writes its database through an engine that Prisma fetches when it is first asked for."""
    commands = _litellm_environment()
    postgres.environment()
    found = run([str(commands / "python"), "-c", "import litellm.proxy as it; print(it.__path__[0])"])
    schema = Path(found.split()[-1]) / "schema.prisma"
    try:
        run([str(commands / "prisma"), "generate", "--schema", str(schema)], more=_first_on_path(commands))
    except NotInstalled as error:
        raise NotInstalled(
            f"Prisma's query engine, which is in no package, cannot be fetched: {error.reason}"
        ) from error


@contextmanager
def _litellm_on_postgres(folder: Path, upstream_port: int) -> Iterator[Contender]:
    with postgres.running(folder / "postgres") as url:
        environ_more = {"DATABASE_URL": url} | _first_on_path(_litellm_environment())
        with _litellm("", environ_more)(folder, upstream_port) as contender:
            yield contender


def _portkey_environment() -> Path:
    return node_environment("portkey", PORTKEY)


@contextmanager
def _portkey(folder: Path, upstream_port: int) -> Iterator[Contender]:
    port = free_port()
    script = _portkey_environment() / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {"authorization": "Bearer bench", "x-portkey-provider": "openai"}

    def target(path: str) -> Target:
        return Target(port, CHAT, "m", {**headers, "x-portkey-custom-host": f"http://127.0.0.1:{upstream_port}{path}"})

    now = target("/v1")
    command = ["node", str(script), f"--port={port}", "--headless"]
    with _quiet(command, {"NODE_ENV": "production"}, folder) as child:
        yield Contender("Portkey", Process(child.pid, port, now.headers), now, target(f"/delay/{DELAY_MS}/v1"))


@contextmanager
def _quiet(command: list[str], more: dict[str, str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """One of theirs on the gateway's core, knowing nothing of our environment; what it says is kept in its folder."""
    with (
        (folder / SAID).open("wb") as said,
        running(command, cores={GATEWAY_CORE}, stdout=said, stderr=said, environ=environ(more), folder=folder) as child,
    ):
        yield child


def _first_on_path(commands: Path) -> dict[str, str]:
    return {"PATH": f"{commands}:{environ().get('PATH', '')}"}


def _version(requirement: str) -> str:
    return requirement.replace("==", "@").rpartition("@")[2]
