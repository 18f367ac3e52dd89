"""Whatever a ledger went through, its copy is the same row for row, wherever the copying was cut off."""

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.copying import copy_ledger
from ledger.operations import rows as ranges
from ledger.sqlite.tables import tables
from tests.ledger.homes import SqliteHome
from tests.ledger.test_prune import LATER_MS, a_history, prune

ENDINGS = st.sampled_from(["settled", "released", "lapsed", "mended", "open"])
HISTORIES = st.lists(st.tuples(st.integers(0, 5), ENDINGS), max_size=8)


class Cut(Exception):
    pass


def content(home):
    with home.database() as db:
        return [ranges.next_rows(db, table, None, 10**6) for table in tables()]


def cut_after(ranges_copied):
    left = iter(range(ranges_copied))

    def step(step):
        if step.what.startswith("copying") and next(left, None) is None:
            raise Cut

    return step


@settings(max_examples=6)
@given(calls=HISTORIES, folded=st.none() | st.integers(1, 6), at_once=st.integers(1, 3), each=st.integers(3, 9))
def test_a_copy_is_the_same_wherever_it_was_cut_off(calls, folded, at_once, each):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        (Path(folder) / "there").mkdir()
        home, there = SqliteHome(Path(folder)), SqliteHome(Path(folder) / "there")
        asyncio.run(a_history(home, calls))
        if folded is not None:
            prune(home, folded)
        patch.setattr(ranges, "ROWS_AT_ONCE", at_once)
        while True:
            with suppress(Cut):
                copy_ledger(home.url, there.url, now_ms=LATER_MS, on_step=cut_after(each))
                break
        assert content(there) == content(home)
