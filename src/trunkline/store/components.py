"""Processes that are alive, as they say themselves every few seconds."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row


async def beat(
    conn: Connection,
    *,
    kind: str,
    hostname: str,
    instance: str,
    state: str,
    pid: int,
    version: str,
    worker_id: int | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Say that a process is there. `instance` tells processes of one kind on one host apart over restarts."""
    await conn.execute(
        """
        insert into components (kind, hostname, instance, state, pid, version, worker_id, details, seen)
        values (%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
        on conflict (kind, hostname, instance) do update set
            state = excluded.state, pid = excluded.pid, version = excluded.version,
            worker_id = coalesce(excluded.worker_id, components.worker_id),
            details = excluded.details, seen = excluded.seen
        """,
        (kind, hostname, instance, state, pid, version, worker_id, Jsonb(details or {})),
    )


async def get(conn: Connection, kind: str, hostname: str, instance: str) -> Row | None:
    cursor = await conn.execute(
        "select * from components where kind = %s and hostname = %s and instance = %s", (kind, hostname, instance)
    )
    return await cursor.fetchone()


async def listed(conn: Connection, silent_s: float = 30.0) -> list[Row]:
    """Components heard of in the last `silent_s` seconds."""
    cursor = await conn.execute(
        """
        select * from components where seen > clock_timestamp() - make_interval(secs => %s)
        order by kind, hostname, instance
        """,
        (silent_s,),
    )
    return await cursor.fetchall()
