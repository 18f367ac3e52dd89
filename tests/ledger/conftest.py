"""Ledgers on both engines, from one set of tests."""

import pytest

from tests.ledger.homes import PostgresHome, SqliteHome
from tests.postgres import a_server


@pytest.fixture(scope="session")
def postgres():
    """The run's server."""
    with a_server() as server:
        yield server


@pytest.fixture(scope="session")
def databases():
    """The database that tests use one after the other, once there is one."""
    return []


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request, tmp_path):
    """Where this test keeps its ledger, on either engine."""
    if request.param == "sqlite":
        yield SqliteHome(tmp_path)
    else:
        yield from _on_postgres(request)


@pytest.fixture
def postgres_home(request):
    """Where a test that is about PostgreSQL keeps its ledger."""
    yield from _on_postgres(request)


def _on_postgres(request):
    server, kept = request.getfixturevalue("postgres"), request.getfixturevalue("databases")
    if not kept:
        kept.append(server.ledger_database())
    place = PostgresHome(server, kept[0])
    yield place
    if place.is_altered:
        kept.clear()
    else:
        server.wipe(place.name)
