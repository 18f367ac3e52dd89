"""A start is refused, with a line that says what to do, where no ledger can be kept; nothing is changed then."""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from ledger.errors import NotALedger
from ledger.ledger import open_reports
from ledger.sqlite import files
from ledger.sqlite.files import check_file, network_mount
from tests.ledger.calls import a_call, a_ledger, admit_and_settle
from tests.processes import run_farthing

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:40 / /srv rw,relatime shared:7 - nfs4 files:/export rw,vers=4.2
41 40 0:41 / /srv/local rw,relatime shared:8 master:1 - xfs /dev/vdb rw
42 27 0:42 / /mnt/my\040share rw - cifs //box/share rw
43 27 0:43 / /mnt/remote rw,nosuid - fuse.sshfs me@host: rw
44 27 0:44 / /mnt/host rw - 9p host rw,trans=virtio
45 27 0:45 / /twice rw - ext4 /dev/vdc rw
46 45 0:46 / /twice rw - nfs files:/twice rw
47 27 0:47 / /mnt/fuse rw - fuse.ntfs-3g /dev/vdd rw
a line that is none
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    {
        "/": None,
        "/home/me": None,
        "/srv": "nfs4",
        "/srv/books": "nfs4",
        "/srvother": None,
        "/srv/local/books": None,
        "/mnt/my share/books": "cifs",
        "/mnt/remote": "fuse.sshfs",
        "/mnt/host/a/b": "9p",
        "/twice/books": "nfs",
        "/mnt/fuse/books": None,
    }.items(),
)
def test_a_network_file_system_is_known_by_its_mount(folder, kind):
    assert network_mount(MOUNTS, folder) == kind


async def a_history(folder):
    async with a_ledger(folder) as ledger:
        for _ in range(5):
            await admit_and_settle(ledger, a_call())
    return folder / "farthing.db"


async def refuses(folder, words):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name == "farthing.db"}
    with pytest.raises(NotALedger, match=words):
        async with a_ledger(folder):
            raise AssertionError("it opened")
    assert before == {name: (folder / name).read_bytes() for name in before}


async def test_a_file_cut_short(tmp_path):
    path = await a_history(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    await refuses(tmp_path, "damaged .*put a backup in its place")


def flip(path, table):
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff")


async def test_a_file_with_a_flipped_page(tmp_path):
    flip(await a_history(tmp_path), "postings")
    await refuses(tmp_path, "damaged")


async def test_of_a_large_file_a_start_looks_at_what_every_admission_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGE_BYTES", 0)
    path = await a_history(tmp_path)
    whole = path.read_bytes()
    flip(path, "responses")  # For `farthing verify`, which reads all of it.
    check_file(path)
    flip(path, "ceiling_windows")
    await refuses(tmp_path, "damaged")
    path.write_bytes(whole[: len(whole) // 2])
    await refuses(tmp_path, "damaged")


async def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "farthing.db").write_bytes(b"dear diary, " * 1000)
    await refuses(tmp_path, "damaged or no ledger")
    with pytest.raises(NotALedger, match=r"damaged or no ledger .*put a backup in its place"):
        async with open_reports(f"sqlite:{tmp_path / 'farthing.db'}"):
            raise AssertionError("it opened")


async def test_a_folder_is_no_ledger_to_read_either(tmp_path):
    with pytest.raises(NotALedger, match="is a folder: name a file in it"):
        async with open_reports(f"sqlite:{tmp_path}"):
            raise AssertionError("it opened")


@pytest.mark.parametrize("statement", ["DROP TABLE audit", "DROP TRIGGER a_posting_never_changes"])
async def test_a_ledger_by_its_name_alone(tmp_path, statement):
    path = await a_history(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement)
    await refuses(tmp_path, f"lacks {statement[5:].lower()}")


async def test_no_folder_or_a_folder_for_a_file(tmp_path):
    with pytest.raises(NotALedger, match="there is no folder"):
        check_file(tmp_path / "nowhere" / "farthing.db")
    with pytest.raises(NotALedger, match="is a folder"):
        check_file(tmp_path)


async def test_no_room(tmp_path):
    with pytest.raises(NotALedger, match="make room"):
        check_file(tmp_path / "farthing.db", least_free_bytes=1 << 62)


NOBODY = 65534


def told_to_someone_else(path):
    """What a process is told that owns nothing here. Root may write anywhere, so a child gives that up."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        told = "it would do"
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            check_file(path)
        except NotALedger as error:
            told = str(error)
        finally:
            os.write(writer, told.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        return told.read()


def test_a_folder_or_file_that_may_not_be_written():
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "farthing.db"
        path.write_bytes(b"")
        folder.chmod(0o777)
        path.chmod(0o666)
        assert told_to_someone_else(path) == "it would do"
        path.chmod(0o444)
        assert told_to_someone_else(path).startswith(f"{path} may not be written to")
        path.chmod(0o666)
        folder.chmod(0o555)
        assert told_to_someone_else(path).startswith(f"{folder} may not be written to")
        folder.chmod(0o777)


async def test_serve_says_it_in_one_line_and_leaves(tmp_path):
    (tmp_path / "farthing.db").write_bytes(b"dear diary, " * 1000)
    for workers in ("1", "2"):
        code, _, err = await run_farthing(
            tmp_path, "serve", "--port", "0", "--workers", workers, environ={"OPENAI_API_KEY": "sk-x"}
        )
        assert code == 1
        (line,) = [line for line in err.splitlines() if "farthing.db" in line]
        assert line.startswith("farthing: ")
        assert "backup" in line
