"""Ledgers on both engines, from one set of tests."""

import pytest

from tests.ledger.homes import SqliteHome


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request):
    """Where this test keeps its ledger, on either engine."""
    return request.getfixturevalue("sqlite_home" if request.param == "sqlite" else "postgres_home")


@pytest.fixture
def sqlite_home(tmp_path):
    """Where a test that is about SQLite's file keeps its ledger."""
    return SqliteHome(tmp_path)
