"""Real parts that many tests share: one PostgreSQL a test process, one empty database a test."""

import itertools
from pathlib import Path

import psycopg
import pytest

from trunkline.services.postgres import EmbeddedPostgres
from trunkline.store import migrate

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def _postgres(tmp_path_factory):
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg"))
    uri = server.start()
    migrate(uri)  # the template that every test's database is copied from
    yield server
    server.stop()


@pytest.fixture
def postgres_uri(_postgres) -> str:
    """The URI of an empty database with the whole schema."""
    name = f"test{next(_numbers)}"
    with psycopg.connect(_postgres.dburi.replace("/trunkline?", "/postgres?"), autocommit=True) as conn:
        conn.execute(f"create database {name} template trunkline")  # type: ignore[arg-type]
    return _postgres.dburi.replace("/trunkline?", f"/{name}?")


@pytest.fixture
def postgres_server(tmp_path: Path):
    """A PostgreSQL of the test's own, to be stopped and killed."""
    server = EmbeddedPostgres(tmp_path / "pg")
    server.directory.mkdir()
    uri = server.start()
    migrate(uri)
    yield server
    server.stop()
