"""A cache server may be gone, slow, full, locked or lying: nobody waits long for it, or is told what was not kept."""

import asyncio
import os
import random
import tempfile
import time
from pathlib import Path

import pytest

from ledger.bodies import checksum_of
from ledger.values import StoredElsewhere
from tests.certificates import NEEDS_OPENSSL, certificate_files
from tests.valkey import a_cache_server, asked

KEY = b"k" * 32
HOUR_MS = 3_600_000


async def kept(bodies, body, *, for_ms=HOUR_MS):
    """The place of a body that was kept."""
    checksum = await checksum_of(KEY, body)
    assert await bodies.keep(checksum, body, for_ms=for_ms)
    return StoredElsewhere(cache_key=KEY, generation_id="gen_1", checksum=checksum)


async def keeps(bodies):
    return await bodies.keep(await checksum_of(KEY, b"x"), b"x", for_ms=HOUR_MS)


async def test_what_was_kept_is_found_as_it_was_until_its_time_is_over():
    async with a_cache_server() as server, asked(server.url) as (bodies, outcomes):
        for body in (b"", b"\0\r\n$-1\r\n", os.urandom(3 << 20)):
            assert await bodies.find(await kept(bodies, body)) == body
        (name, *_) = server.names()
        assert 0 < server.run("PTTL", name) <= HOUR_MS
        gone = await kept(bodies, b"for a moment", for_ms=1)
        async with asyncio.timeout(10):
            while await bodies.find(gone) is not None:
                await asyncio.sleep(0.005)
        assert outcomes["find", "absent"] == 1


async def test_a_lie_is_no_answer():
    async with a_cache_server() as server, asked(server.url) as (bodies, outcomes):
        one, other = await kept(bodies, b"one"), await kept(bodies, b"other")
        under_another_key = StoredElsewhere(cache_key=b"o" * 32, generation_id="gen_1", checksum=one.checksum)
        assert await bodies.find(under_another_key) is None
        names = {stored.checksum: f"farthing:body:{stored.checksum.hex()}" for stored in (one, other)}
        server.run("COPY", names[one.checksum], names[other.checksum], "REPLACE")
        assert await bodies.find(other) is None
        server.flip()
        assert await bodies.find(one) is None
        server.run("DEL", names[one.checksum])
        server.run("RPUSH", names[one.checksum], "no body at all")
        assert await bodies.find(one) is None
        assert outcomes == {("keep", "kept"): 2, ("find", "wrong"): 3, ("find", "refused"): 1}
        assert await keeps(bodies), "one that answers is asked on"


async def test_one_that_is_gone_is_asked_again_after_a_pause_and_serves_again(monkeypatch):
    monkeypatch.setattr("ledger.valkey.pauses.FIRST_PAUSE_S", 0.05)
    async with a_cache_server(starts=False) as server, asked(server.url) as (bodies, outcomes):
        assert not await keeps(bodies)
        assert not await keeps(bodies)
        assert outcomes == {("keep", "unreachable"): 1, ("keep", "paused"): 1}
        await server.start()
        await until(lambda: keeps(bodies))
        stored = await kept(bodies, b"answer")
        server.kill()
        assert await bodies.find(stored) is None
        await server.start()
        await until(lambda: keeps(bodies))
        assert await bodies.find(stored) is None
        assert outcomes["find", "absent"] == 1


async def until(asks):
    async with asyncio.timeout(10):
        while not await asks():
            await asyncio.sleep(0.01)


async def test_one_that_says_nothing_costs_one_wait_however_many_ask():
    async with a_cache_server() as server, asked(server.url, timeout_s=0.1) as (bodies, outcomes):
        stored = await kept(bodies, b"answer")
        server.stop()
        began_s = time.monotonic()
        assert await asyncio.gather(*(bodies.find(stored) for _ in range(200))) == [None] * 200
        assert time.monotonic() - began_s < 1.0
        for _ in range(200):
            assert await bodies.find(stored) is None
        assert outcomes["find", "slow"] <= 200
        assert outcomes["find", "paused"] >= 200
        server.go_on()


async def test_one_that_is_full_is_told_and_still_finds_what_it_has():
    async with a_cache_server(maxmemory="3mb") as server, asked(server.url) as (bodies, outcomes):
        stored = await kept(bodies, b"answer")
        big = os.urandom(4 << 20)
        assert not await bodies.keep(await checksum_of(KEY, big), big, for_ms=HOUR_MS)
        while await bodies.keep(await checksum_of(KEY, part := os.urandom(200_000)), part, for_ms=HOUR_MS):
            pass
        assert await bodies.find(stored) == b"answer"
        assert outcomes["keep", "refused"] == 2


async def test_a_wrong_password_is_told_and_never_shown(caplog):
    async with (
        a_cache_server(password="right") as server,
        asked(server.url.replace("right", "hunter2")) as (bodies, told),
    ):
        assert not await keeps(bodies)
        assert not await keeps(bodies)
        assert told == {("keep", "refused"): 1, ("keep", "paused"): 1}
    assert "does not serve (keep: refused)" in caplog.text
    assert "hunter2" not in caplog.text


@NEEDS_OPENSSL
async def test_tls_is_spoken_with_whom_an_authority_vouches_for_and_with_nobody_else(tmp_path, monkeypatch, caplog):
    key, certificate = certificate_files(tmp_path)
    async with a_cache_server(certificate=(key, certificate)) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with asked(server.tls_url) as (bodies, outcomes):
            assert await bodies.find(await kept(bodies, b"answer")) == b"answer"
            assert outcomes == {("keep", "kept"): 1, ("find", "found"): 1}
        assert caplog.text == ""
        assert await not_kept(server.tls_url.replace("127.0.0.1", "localhost"))
        assert "its certificate: Hostname mismatch, certificate is not valid for 'localhost'" in caplog.text
        monkeypatch.delenv("SSL_CERT_FILE")
        assert await not_kept(server.tls_url)
        assert "(keep: unreachable, its certificate: self-signed certificate): until it does" in caplog.text
        # Plain text, where TLS is spoken.
        assert await not_kept(server.tls_url.replace("rediss", "redis"))
        assert len(server.names()) == 1


async def not_kept(url):
    async with asked(url) as (bodies, outcomes):
        return not await keeps(bodies) and outcomes == {("keep", "unreachable"): 1}


async def test_callers_that_leave_at_any_moment_spoil_nothing_for_the_others():
    """A reply that nobody read any more must never be the next one's."""
    chance = random.Random(5)
    async with a_cache_server() as server, asked(server.url) as (bodies, outcomes):
        stored = [(await kept(bodies, body := os.urandom(chance.randint(1, 50_000))), body) for _ in range(20)]

        async def look():
            place, body = chance.choice(stored)
            assert await bodies.find(place) == body

        for _ in range(60):
            looking = [asyncio.create_task(look()) for _ in range(50)]
            leaving = chance.sample(looking, 25)
            for task in leaving:
                await asyncio.sleep(0)
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() / 2000)
                task.cancel()
            await asyncio.wait(looking)
            assert [task.exception() for task in looking if not task.cancelled()].count(None) >= 25
            assert not any(task.exception() for task in looking if not task.cancelled())
        assert set(outcomes) == {("keep", "kept"), ("find", "found")}


ODD = [
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"$5\r\nab",
    b"$-9\r\n",
    b":x\r\n",
    b"*1\r\n" * 2000,
    b"$99999999999999999999\r\n",
    b"\0" * 5000,
    b"-ERR \xff\xfe\r\n",
    b"+OK\r\n" * 9,
    b"",
]


@pytest.mark.parametrize("said", ODD, ids=range(len(ODD)))
async def test_whatever_one_says_that_is_none_it_costs_hits_alone(said):
    async def speak(reader, writer):
        await reader.read(100)
        writer.write(said)
        await reader.read(10_000)
        writer.close()

    with tempfile.TemporaryDirectory() as folder:
        socket = str(Path(folder) / "s")
        async with (
            await asyncio.start_unix_server(speak, socket),
            asked(f"unix://{socket}", timeout_s=0.1) as (bodies, outcomes),
        ):
            assert await bodies.find(StoredElsewhere(cache_key=KEY, generation_id="g", checksum=KEY)) is None
            assert outcomes.total() == 1
