"""The power is cut at any moment: what was acknowledged is there, and the books agree, whatever the disk had kept back.

The ledger's own functions run on a disk that records what they do (tests/faults/disk.py); what a cut may leave at each
moment is rebuilt as files, and opened as the service opens them.
"""

import hashlib
import os
import random
import shutil
from contextlib import closing, contextmanager
from functools import partial

import apsw
import msgspec
import pytest

from ledger.ceilings import Ceiling, CeilingTable
from ledger.operations.admissions import Asked, admit_together
from ledger.operations.ceilings import configure_ceilings
from ledger.operations.owners import Owner, leave, register, sweep
from ledger.operations.settlements import settle_together
from ledger.sqlite import connection as connections
from ledger.sqlite.batches import run_batch
from ledger.sqlite.checkpoint import Checkpoints, WalRule
from ledger.sqlite.opening import prepare
from ledger.store.works import BatchLost, Shared
from ledger.values import CacheBounds, Lead
from ledger.verify import verify_ledger
from tests.faults.disk import Disk, Face, RecordingVFS, recording_fsync
from tests.ledger.calls import BEGAN_MS, a_call, a_settlement

CEILINGS = (
    Ceiling(scope="global", window="day", limit=10_000_000),
    Ceiling(scope="model:p:m", window="minute", limit=1_000_000),
)
LEASE_MS = 15_000
admit_all = partial(admit_together, ceilings=CeilingTable(CEILINGS))
settle_all = partial(settle_together, bounds=CacheBounds())
# Small, so that a short run has many checkpoints and starts of the WAL.
SMALL = WalRule(checkpoint_bytes=64 << 10, restart_bytes=192 << 10, restart_wait_ms=0)


class Run:
    """One process's life on a recording disk. promised: what was acknowledged so far, {hold id: its state}."""

    def __init__(self, folder, synchronous, monkeypatch):
        folder.mkdir()
        self.path = folder / "l.db"
        self.disk = Disk()
        self.vfs = RecordingVFS(f"recording-{folder.name}", self.disk)
        self.promised = {}
        self.now_ms = BEGAN_MS
        self.wal_rule = WalRule()
        self._synchronous = synchronous
        self._lives = 0
        monkeypatch.setattr(os, "fsync", recording_fsync(self.disk, folder, os.fsync))

    @contextmanager
    def open(self):
        """As the writer opens the file."""
        connections.create_private(self.path)
        self.disk.open(self.path.name)
        with closing(Face(self.path, self.vfs.vfs_name)) as db:
            connections._apply_writer_settings(db, synchronous=self._synchronous)
            prepare(db, path=self.path)
            yield db

    def live(self, db, *, batches, ends_well):
        self._lives += 1
        owner = Owner(owner_id=f"own_{self._lives}", process="p")
        checkpoints = Checkpoints(self.path, self.wal_rule)
        self.commit(db, checkpoints, partial(register, owner=owner, now_ms=self.now_ms, lease_ms=LEASE_MS))
        self.commit(db, checkpoints, partial(configure_ceilings, ceilings=CEILINGS, now_ms=self.now_ms))
        held = []
        for number in range(batches):
            self.now_ms += 100
            calls = [a_call(now_ms=self.now_ms, key=f"{self._lives} {number} {n}") for n in range(3)]
            admits = [Shared(admit_all, Asked(call, owner.owner_id)) for call in calls]
            settling, held = held[:2], held[2:]
            leads = self.commit(db, checkpoints, *(self._settling(*pair) for pair in settling), *admits)
            self.promised.update({lead.hold_id: "settled" for _, lead in settling})
            for call, lead in zip(calls, leads[len(settling) :], strict=True):
                assert isinstance(lead, Lead)
                self.promised[lead.hold_id] = "held"
                held.append((call, lead))
        if ends_well:
            checkpoints.run(db)
            self.commit(db, checkpoints, partial(leave, owner=owner))

    def killed(self, folder, monkeypatch):
        """What a next process finds when this one is killed now: the files as the system's cache has them."""
        heir = Run(folder, self._synchronous, monkeypatch)
        heir.promised, heir.now_ms, heir._lives = self.promised, self.now_ms, self._lives
        for name, durable in self.disk.nothing_more().items():
            shutil.copyfile(self.path.with_name(name), folder / name)
            heir.disk.open(name).durable[:] = durable
        heir.disk.sync_folder()
        return heir

    def lapse(self, db):
        """What the next process does with the holds of this one."""
        self.now_ms += LEASE_MS + 1
        self.commit(db, Checkpoints(self.path, self.wal_rule), partial(sweep, now_ms=self.now_ms))
        self.promised.update({hold_id: "lapsed" for hold_id, state in self.promised.items() if state == "held"})

    def commit(self, db, checkpoints, *works):
        results = run_batch(db, list(works))
        for result in results:
            if isinstance(result, Exception):
                raise result
        checkpoints.run_if_due(db)
        return results

    def _settling(self, call, lead):
        return Shared(settle_all, a_settlement(call, lead, ttl_ms=500), goes_first=True)


class Finding(msgspec.Struct):
    """Over all the states that were opened. lost: what was promised and is not there; broken: what the audit says."""

    states: int = 0
    lost: int = 0
    broken: int = 0


class Examiner:
    """Rebuilds states in a folder, each content once, and opens them as the service would.

    What many states are recovered to is one database: it is audited once.
    """

    def __init__(self, folder):
        folder.mkdir()
        self._folder = folder
        self._seen = set()
        self._audited = {}
        self.finding = Finding()

    def examine(self, state, promised):
        digest = hashlib.sha256(
            b"".join(name.encode() + len(data).to_bytes(8) + data for name, data in sorted(state.items()))
        )
        seen = (digest.digest(), len(promised), sum(stage == "held" for stage in promised.values()))
        if seen in self._seen:
            return
        self._seen.add(seen)
        self.finding.states += 1
        for file in self._folder.iterdir():
            file.unlink()
        for name, data in state.items():
            (self._folder / name).write_bytes(data)
        path = self._folder / "l.db"
        found = self._recover(path)
        self.finding.lost += sum(not _keeps(stage, found.get(hold_id)) for hold_id, stage in promised.items())
        self.finding.broken += self._is_broken(path)

    def _is_broken(self, path):
        assert not path.with_name(f"{path.name}-wal").exists(), "all of it is in one file"
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest not in self._audited:
            findings = verify_ledger(f"sqlite:{path}", on_rule=lambda _rule: None)
            self._audited[digest] = bool(findings.violations)
        return self._audited[digest]

    def _recover(self, path):
        connections.create_private(path)
        with closing(connections._connect(str(path), uri=False)) as db:
            connections._apply_writer_settings(db, synchronous="normal")
            prepare(db, path=path)
            return dict(db.execute("SELECT hold_id, state FROM holds"))


def _keeps(promised, found):
    """A hold may have got further than was acknowledged, never less far."""
    return found == promised or (promised == "held" and found is not None)


def survey(tmp_path, monkeypatch, *, synchronous, batches, samples, seed):
    """Cut the power after every operation: nothing lost, all unsynced lost, and `samples` mixtures of both."""
    chance = random.Random(seed)
    run = Run(tmp_path / "run", synchronous, monkeypatch)
    examiner = Examiner(tmp_path / "after")

    def cut():
        states = [run.disk.everything(), run.disk.nothing_more()]
        states += [run.disk.something(chance) for _ in range(samples)]
        for state in states:
            examiner.examine(state, run.promised)

    run.disk.on_change = cut
    with run.open() as db:
        run.wal_rule = SMALL
        run.live(db, batches=batches, ends_well=True)
        run.wal_rule = WalRule()
    with run.open() as db:
        run.lapse(db)
        run.live(db, batches=batches, ends_well=False)
    return examiner.finding


def test_on_full_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path, monkeypatch):
    finding = survey(tmp_path, monkeypatch, synchronous="full", batches=5, samples=2, seed=1)
    assert finding.states >= 1000
    assert (finding.lost, finding.broken) == (0, 0)


def test_on_normal_a_power_cut_loses_what_was_acknowledged_and_the_books_still_agree(tmp_path, monkeypatch):
    finding = survey(tmp_path, monkeypatch, synchronous="normal", batches=2, samples=0, seed=1)
    assert finding.lost > 0, "the disk keeps something back, so the test above proves something"
    assert finding.broken == 0


def test_without_the_sync_of_its_folder_a_power_cut_would_lose_what_was_acknowledged(tmp_path, monkeypatch):
    run = Run(tmp_path / "run", "full", monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    with run.open() as db:
        run.live(db, batches=1, ends_well=False)
        examiner = Examiner(tmp_path / "after")
        examiner.examine(run.disk.nothing_more(), run.promised)
    assert examiner.finding.lost > 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_on_full_many_more_power_cuts_lose_nothing(tmp_path, monkeypatch, seed):
    finding = survey(tmp_path, monkeypatch, synchronous="full", batches=12, samples=4, seed=seed)
    assert finding.states >= 2000
    assert (finding.lost, finding.broken) == (0, 0)


def test_a_commit_whose_sync_failed_is_undone_and_later_ones_do_not_rest_on_it(tmp_path, monkeypatch):
    """Linux reports a failed sync once, and takes the pages for clean: what is in them reads well until a reboot."""
    run = Run(tmp_path / "run", "full", monkeypatch)
    with run.open() as db, closing(Face(run.path, run.vfs.vfs_name)) as reader:
        run.live(db, batches=2, ends_well=False)
        reader.execute("SELECT COUNT(*) FROM holds")  # So that the WAL stays when the writer's connection is closed.
        fail_to_sync_the_next_commit(run, db)
        db.close()
        examiner = Examiner(tmp_path / "after")
        run.disk.on_change = lambda: examiner.examine(run.disk.nothing_more(), run.promised)
        with run.open() as again:
            run.live(again, batches=2, ends_well=False)
    assert (examiner.finding.lost, examiner.finding.broken) == (0, 0)


def test_a_process_that_starts_on_a_log_whose_sync_failed_first_writes_it_again(tmp_path, monkeypatch):
    """The process that saw the sync fail was killed; the next one recovers frames that only the cache still has."""
    run = Run(tmp_path / "run", "full", monkeypatch)
    with run.open() as db:
        run.live(db, batches=2, ends_well=False)
        fail_to_sync_the_next_commit(run, db)
        heir = run.killed(tmp_path / "heir", monkeypatch)
    examiner = Examiner(tmp_path / "after")
    heir.disk.on_change = lambda: examiner.examine(heir.disk.nothing_more(), heir.promised)
    with heir.open() as db:
        heir.live(db, batches=2, ends_well=False)
    assert (examiner.finding.lost, examiner.finding.broken) == (0, 0)


def fail_to_sync_the_next_commit(run, db):
    def fault(operation, name):
        if (operation, name) == ("sync", "l.db-wal") and len(run.disk.names[name].pending) > 1:  # Not its header's.
            run.disk.fault = lambda _operation, _name: None
            return apsw.SQLITE_IOERR_FSYNC
        return None

    run.disk.fault = fault
    late = Owner(owner_id="late", process="p")
    with pytest.raises(BatchLost) as lost:
        run_batch(db, [partial(register, owner=late, now_ms=run.now_ms, lease_ms=LEASE_MS)])
    assert lost.value.unknown, "whether it was kept is not known, so nobody is told that it was"
