"""Readings are bounded in time, and one that is given up leaves the connection to the next."""

import pytest

from ledger.errors import ReadingTooLong
from ledger.sqlite import connection
from ledger.sqlite.readers import READERS, open_readers
from tests.ledger.calls import a_ledger

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"


async def test_a_reading_that_takes_too_long_is_given_up_and_the_next_one_is_read(tmp_path, monkeypatch):
    async with a_ledger(tmp_path), open_readers(tmp_path / "farthing.db") as readers:
        with monkeypatch.context() as impatient:
            impatient.setattr(connection, "READ_STATEMENT_S", 0.0)
            for _ in range(READERS):
                with pytest.raises(ReadingTooLong):
                    await readers.read(lambda db: db.execute(ENDLESS).fetchone())
        assert await readers.read(lambda db: db.execute("SELECT 1").fetchone()) == (1,)
