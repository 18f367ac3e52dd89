"""Mistakes of the kind that only some schedules show, planted in the real writer, sweeper and leases."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ledger.errors import LedgerUnavailable
from ledger.operations import owners
from ledger.sqlite import batches, writer
from ledger.store import lease, ledger


@contextmanager
def acknowledged_before_the_commit() -> Iterator[None]:
    def run_batch(db, works):
        if db.in_transaction:
            db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        return [batches.run_work(db, work) for work in works]

    with mock.patch.object(writer, "run_batch", run_batch):
        yield


@contextmanager
def a_failed_commit_is_taken_for_a_success() -> Iterator[None]:
    def run_batch(db, works):
        db.execute("BEGIN IMMEDIATE")
        results = [batches.run_work(db, work) for work in works]
        try:
            db.execute("COMMIT")
        except sqlite3.Error:
            db.rollback()
        return results

    with mock.patch.object(writer, "run_batch", run_batch):
        yield


@contextmanager
def nobody_looks_whether_the_batch_is_still_open() -> Iterator[None]:
    """SQLite rolls the whole batch back where it finds no room; this writer believes that it undid one statement."""

    def run_work(db, work):
        with contextlib.suppress(sqlite3.Error):
            db.execute("SAVEPOINT work")
        try:
            result = work(db)
        except Exception as error:  # noqa: BLE001  # As the writer does.
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK TO work")
            result = LedgerUnavailable() if isinstance(error, sqlite3.Error) else error
        with contextlib.suppress(sqlite3.Error):
            db.execute("RELEASE work")
        return result

    def run_batch(db, works):
        db.execute("BEGIN IMMEDIATE")
        results = [run_work(db, work) for work in works]
        if db.in_transaction:
            db.execute("COMMIT")
        return results

    with mock.patch.object(writer, "run_batch", run_batch):
        yield


@contextmanager
def a_failing_disk_is_taken_for_one_call_s_trouble() -> Iterator[None]:
    """The simulation's first find: whoever kept the lease got SQLite's own error, and kept it no more."""
    with mock.patch.object(batches, "TROUBLE", frozenset()):
        yield


@contextmanager
def the_sweeper_does_not_wait_for_the_end_of_a_lease() -> Iterator[None]:
    impatient = owners.SQL["dead_owners"].replace(":now_ms", ":now_ms + 11000")
    assert impatient != owners.SQL["dead_owners"]
    with mock.patch.object(owners, "SQL", {**owners.SQL, "dead_owners": impatient}):
        yield


@contextmanager
def nobody_sweeps() -> Iterator[None]:
    with mock.patch.object(ledger, "sweep", return_value=0):
        yield


@contextmanager
def who_was_fenced_off_goes_on() -> Iterator[None]:
    """Needs a schema without its guard, which is what stops it otherwise."""
    with mock.patch.object(lease, "renew", return_value=True):
        yield


UNGUARDED = "DROP TRIGGER a_hold_is_taken_under_a_lease"
BUGS = {
    acknowledged_before_the_commit: "",
    a_failed_commit_is_taken_for_a_success: "",
    nobody_looks_whether_the_batch_is_still_open: "",
    a_failing_disk_is_taken_for_one_call_s_trouble: "",
    the_sweeper_does_not_wait_for_the_end_of_a_lease: "",
    nobody_sweeps: "",
    who_was_fenced_off_goes_on: UNGUARDED,
}
