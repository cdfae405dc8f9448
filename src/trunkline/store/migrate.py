"""Bring a database to the schema of this version: our tables by alembic, the task tables by procrastinate."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config

_HERE = Path(__file__).parent
_MIGRATION_LOCK = 0x7472756E  # any number of processes may start at once; one migrates


def migrate(dburi: str) -> None:
    """Create or upgrade the schema. Safe to call from several processes at once, and again."""
    with psycopg.connect(dburi, autocommit=True) as lock:
        lock.execute("select pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        config = Config()
        config.set_main_option("script_location", str(_HERE / "migrations"))
        config.attributes["dburi"] = dburi
        command.upgrade(config, "head")
        _install_task_tables(lock)


def _install_task_tables(conn: psycopg.Connection) -> None:
    from procrastinate.schema import SchemaManager

    row = conn.execute("select to_regclass('procrastinate_jobs')").fetchone()
    if row is None or row[0] is None:
        conn.execute(SchemaManager.get_schema())


def schema_files() -> list[Path]:
    """The files that make up the initial schema, in the order in which they are run."""
    return sorted((_HERE / "schema").glob("*.sql"))
