"""Futures: what was merged, which configuration it has, which jobs were frozen for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row

_JSON = frozenset(
    {"commits", "repo_state", "files", "containing", "config", "config_before", "errors", "debug", "graph"}
)


async def create(
    conn: Connection,
    *,
    id: str,
    item: str,
    queue_id: str,
    tenant: str,
    pipeline: str,
    base: str,
    changes: list[dict[str, Any]],
    own: int,
) -> None:
    await conn.execute(
        """
        insert into futures (id, item, queue_id, tenant, pipeline, base, changes, own)
        values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (id) do nothing
        """,
        (id, item, queue_id, tenant, pipeline, base, Jsonb(changes), own),
    )


async def get(conn: Connection, id: str) -> Row | None:
    return await (await conn.execute("select * from futures where id = %s", (id,))).fetchone()


async def update(conn: Connection, id: str, **values: Any) -> None:
    """Set columns of a future; unknown ids are nothing."""
    assignments = ", ".join(f"{column} = %({column})s" for column in values)
    wrapped = {column: Jsonb(value) if column in _JSON else value for column, value in values.items()}
    await conn.execute(f"update futures set {assignments} where id = %(id)s", {"id": id, **wrapped})


async def keep_jobs(conn: Connection, id: str, jobs: Iterable[tuple[str, str, dict[str, Any]]]) -> None:
    """Keep frozen jobs: (name, change it was frozen for, the job)."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            """
            insert into frozen_jobs (future_id, name, change, job) values (%s, %s, %s, %s)
            on conflict (future_id, name, change) do update set job = excluded.job
            """,
            [(id, name, change, Jsonb(job)) for name, change, job in jobs],
        )


async def job(conn: Connection, id: str, name: str, change: str) -> dict[str, Any] | None:
    """A frozen job of a future."""
    row = await (
        await conn.execute(
            "select job from frozen_jobs where future_id = %s and name = %s and change = %s", (id, name, change)
        )
    ).fetchone()
    return row["job"] if row else None


async def forget_old(conn: Connection, older_than_s: float) -> int:
    """Delete futures of items that left longer ago than that. Returns how many."""
    cursor = await conn.execute(
        """
        delete from futures f where created < clock_timestamp() - make_interval(secs => %s)
          and not exists (select 1 from queue_items i where i.item = f.item)
        """,
        (older_than_s,),
    )
    return cursor.rowcount
