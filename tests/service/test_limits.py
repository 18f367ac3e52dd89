"""What one process takes on, against the running service: connections, slow senders, and bodies made to hurt."""

import asyncio
import gzip
import io
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.strict_json import MAX_CONTAINERS
from tests.processes import Service, farthing_serve
from tests.upstream import answer, scripted_upstream

CONFIG = """
[server]
max_connections = {connections}
max_body_bytes = 33554432

[[providers]]
name = "up"
dialect = "openai"
base_url = "{url}"

[[models]]
id = "up:m"
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
max_output_tokens = 100
context_window = 100000000

[[routes]]
name = "default"
targets = ["up:m"]
"""
MOST_MORE_KB = 64 * 1024
JSON = {"content-type": "application/json"}
ALIVE = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
SLOW_BODY = (
    b"POST /generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
)
BOMBS = (
    (gzip.compress(b'{"prompt":"' + b"a" * 100 * 2**20 + b'"}', 1), {"content-encoding": "gzip"}, 415),
    (b'{"prompt":"x","params":{"a":' + b"[" * 8 * 2**20, {}, 400),
    (b'{"prompt":"x","params":{"a":' + b'{"a":' * 2**20, {}, 400),
    (b'{"prompt":"x","params":{"a":[' + b"[]," * 2**21 + b"[]]}}", {}, 400),
    (b'{"prompt":"' + b"\\" * 8 * 2**20, {}, 400),
)


@asynccontextmanager
async def serving(folder: Path, *, connections: int):
    async with scripted_upstream() as upstream:
        config = CONFIG.format(url=upstream.url, connections=connections)
        async with farthing_serve(folder, config=config, installed=True) as service:
            yield service, upstream


@asynccontextmanager
async def half_open(service: Service, count: int, said: bytes = b"GET /health/live HTTP/1.1\r\nhost:"):
    """So many connections that have said no more than this."""
    host, port = service.url.removeprefix("http://").split(":")
    opened = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(said)
            opened.append((reader, writer))
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def test_a_thousand_slow_connections_take_nobodys_place_and_who_finds_none_is_told_so(tmp_path):
    async with serving(tmp_path, connections=1010) as (service, upstream):
        async with half_open(service, 700), half_open(service, 300, SLOW_BODY):
            upstream.plays(answer("Here."))
            code, said = await service.generate(prompt="Anybody?")
            assert (code, said["output"]) == (200, "Here.")
            async with half_open(service, 10), half_open(service, 1, ALIVE) as ((reader, _),), asyncio.timeout(20):
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1" in head.lower()
            assert json.loads(body)["code"] == "overloaded"
        assert (await service.get("/health/live"))["status"] == "live"
        for headers in (b"".join(b"h%d: x\r\n" % n for n in range(200)), b"big: " + b"a" * 500_000 + b"\r\n"):
            async with half_open(service, 1, ALIVE[:-2] + headers + b"\r\n") as ((reader, _),):
                assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")


async def test_bodies_made_to_hurt_are_refused_in_little_memory_and_large_ones_go_through_as_they_came(tmp_path):
    async with serving(tmp_path, connections=100) as (service, upstream):
        assert (await service.generate(prompt="warm"))[0] == 200
        before_kb = peak_kb(service)
        for body, headers, expected in BOMBS:
            request = io.BytesIO(body)
            async with service.http.post(f"{service.url}/generate", data=request, headers=JSON | headers) as refusal:
                assert refusal.status == expected, body[:40]
        assert peak_kb(service) - before_kb < MOST_MORE_KB

        most = {"prompt": "x", "params": {"metadata": [[]] * (MAX_CONTAINERS - 3)}}
        assert (await service.generate(**most))[0] == 200
        most["params"]["metadata"].append([])
        code, said = await service.generate(**most)
        assert code == 400
        assert f"more than {MAX_CONTAINERS} objects" in said["detail"]

        text = 'Sie sagte: "Ein Farthing, mehr für keinen."\n' * 250_000
        upstream.plays(answer("Long.", prompt_tokens=3_000_000))
        long = io.BytesIO(json.dumps({"prompt": text}).encode())
        async with service.http.post(f"{service.url}/generate", data=long, headers=JSON) as answered:
            said = await answered.json()
        assert (answered.status, said["output"]) == (200, "Long."), said
        assert len(upstream.requests) == 3
        assert upstream.requests[-1].body["messages"] == [{"role": "user", "content": text}]
        # Counted by a sample, of which all is like the rest.
        assert said["estimated_prompt_tokens"] == pytest.approx(250_000 * 12, rel=0.1)


def peak_kb(service: Service) -> int:
    """The most memory that the process has had so far."""
    status = Path(f"/proc/{service.process.pid}/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
