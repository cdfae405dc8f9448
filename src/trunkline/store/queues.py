"""Queues as the gate left them, and an index of who stands where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row, notify


async def ensure(
    conn: Connection, queue_id: str, *, tenant: str, pipeline: str, name: str, branch: str | None, state: bytes
) -> None:
    """Make sure that the queue exists, with `state` if it is new. Locks the row: it cannot be dropped meanwhile."""
    await conn.execute(
        """
        insert into queues (id, tenant, pipeline, name, branch, state) values (%s, %s, %s, %s, %s, %s)
        on conflict (id) do update set updated = queues.updated
        """,
        (queue_id, tenant, pipeline, name, branch, state),
    )


async def lock(conn: Connection, queue_id: str, known_version: int = -1) -> Row | None:
    """The queue's row, locked until the transaction ends; `state` is None if its version is the one known.

    results_wait: the tenant wants results to wait.
    """
    cursor = await conn.execute(
        """
        select id, tenant, pipeline, name, branch, version,
               case when version = %s then null else state end as state,
               coalesce((select (t.state ->> 'result_queue_paused')::bool from tenants t where t.name = queues.tenant),
                        false) as results_wait
        from queues where id = %s for update
        """,
        (known_version, queue_id),
    )
    return await cursor.fetchone()


async def state(conn: Connection, queue_id: str) -> bytes | None:
    """The queue as it is now, for who does not own it."""
    row = await (await conn.execute("select state from queues where id = %s", (queue_id,))).fetchone()
    return bytes(row["state"]) if row else None


async def holds(conn: Connection, queue_id: str, item: str) -> bool:
    cursor = await conn.execute("select 1 from queue_items where queue_id = %s and item = %s", (queue_id, item))
    return await cursor.fetchone() is not None


async def keep_facts(conn: Connection, items: Sequence[str], user: str | None, parameters: dict[str, Any]) -> None:
    """Who had these items enqueued by hand, and with which parameters."""
    await conn.execute(
        "update queue_items set user_id = %s, parameters = %s where item = any(%s)",
        (user, Jsonb(parameters) if parameters else None, list(items)),
    )


async def facts(conn: Connection, item: str) -> tuple[str | None, dict[str, Any]]:
    """(user, parameters) as of `keep_facts`."""
    cursor = await conn.execute("select user_id, parameters from queue_items where item = %s limit 1", (item,))
    row = await cursor.fetchone()
    return (row["user_id"], row["parameters"] or {}) if row else (None, {})


async def save(conn: Connection, queue_id: str, version: int, state: bytes) -> None:
    """Write the state that follows `version`. Raises LookupError if somebody else was faster."""
    cursor = await conn.execute(
        "update queues set version = version + 1, state = %s, updated = clock_timestamp() where id = %s and version = %s",
        (state, queue_id, version),
    )
    if cursor.rowcount != 1:
        raise LookupError(f"queue {queue_id} is not at version {version} any more")


async def drop(conn: Connection, queue_id: str) -> None:
    await conn.execute("delete from queues where id = %s", (queue_id,))


async def of_tenant(conn: Connection, tenant: str) -> list[Row]:
    cursor = await conn.execute(
        "select id, pipeline, name, branch, version, state from queues where tenant = %s order by pipeline, id",
        (tenant,),
    )
    return await cursor.fetchall()


async def items_of(conn: Connection, queue_id: str) -> list[Row]:
    """What stands in a queue: rows {item, ref_key, change, live}."""
    cursor = await conn.execute(
        "select item, ref_key, change, live from queue_items where queue_id = %s order by item, ref_key", (queue_id,)
    )
    return await cursor.fetchall()


async def items_of_tenant(conn: Connection, tenant: str) -> list[Row]:
    """Every (item, project): rows {item, queue_id, pipeline, project, live}."""
    cursor = await conn.execute(
        """
        select distinct item, queue_id, pipeline, project, live from queue_items where tenant = %s
        order by queue_id, item
        """,
        (tenant,),
    )
    return await cursor.fetchall()


async def note_items(
    conn: Connection,
    queue_id: str,
    tenant: str,
    pipeline: str,
    items: Iterable[tuple[str, str, str, int | None, str | None, bool]],
) -> None:
    """Index items: (item, ref key, canonical project, change number, patch set, live)."""
    rows = [
        (item, key, queue_id, tenant, pipeline, project, number, ps, live)
        for item, key, project, number, ps, live in items
    ]
    if rows:
        async with conn.cursor() as cursor:
            await cursor.executemany(
                """
                insert into queue_items (item, ref_key, queue_id, tenant, pipeline, project, change, patchset, live)
                values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
                on conflict (item, ref_key) do update set queue_id = excluded.queue_id, live = excluded.live
                """,
                rows,
            )


async def keep_items(conn: Connection, queue_id: str, items: Sequence[str]) -> None:
    """Forget items of the queue that are not among these."""
    await conn.execute("delete from queue_items where queue_id = %s and not (item = any(%s))", (queue_id, list(items)))


async def forget_item(conn: Connection, item: str) -> None:
    await conn.execute("delete from queue_items where item = %s", (item,))


async def where(conn: Connection, tenant: str, project: str, change: int) -> list[Row]:
    """Every place where a patch set of the change stands: rows {item, ref_key, queue_id, pipeline, patchset, live}."""
    cursor = await conn.execute(
        """
        select item, ref_key, queue_id, pipeline, patchset, live from queue_items
        where tenant = %s and project = %s and change = %s order by queue_id, item
        """,
        (tenant, project, change),
    )
    return await cursor.fetchall()


async def where_key(conn: Connection, tenant: str, keys: Sequence[str]) -> list[Row]:
    """Every place where one of these ref keys stands."""
    cursor = await conn.execute(
        """
        select item, ref_key, queue_id, pipeline, patchset, live from queue_items
        where tenant = %s and ref_key = any(%s) order by queue_id, item
        """,
        (tenant, list(keys)),
    )
    return await cursor.fetchall()


async def count_in_pipeline(conn: Connection, tenant: str, pipeline: str) -> int:
    row = await (
        await conn.execute(
            "select count(*) as n from queue_items where tenant = %s and pipeline = %s and live", (tenant, pipeline)
        )
    ).fetchone()
    return int(row["n"]) if row else 0


async def changed(conn: Connection, tenant: str) -> None:
    """Hint to pages that look at the tenant's status."""
    await notify(conn, "status", tenant)


async def where_ref(conn: Connection, tenant: str, prefix: str) -> list[Row]:
    """Every place where a ref stands, at whatever revision: keys that begin with `prefix`."""
    cursor = await conn.execute(
        """
        select item, ref_key, queue_id, pipeline, patchset, live from queue_items
        where tenant = %s and starts_with(ref_key, %s) order by queue_id, item
        """,
        (tenant, prefix),
    )
    return await cursor.fetchall()


async def where_number(conn: Connection, tenant: str, pipeline: str, change: int, patchset: str) -> list[Row]:
    """Where a change stands in a pipeline, whatever its project."""
    cursor = await conn.execute(
        """
        select item, ref_key, queue_id, pipeline, patchset, live from queue_items
        where tenant = %s and pipeline = %s and change = %s and patchset = %s and live order by queue_id, item
        """,
        (tenant, pipeline, change, patchset),
    )
    return await cursor.fetchall()
