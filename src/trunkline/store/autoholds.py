"""Requests to keep the nodes of failing builds, as they are used up."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row


async def matching(conn: Connection, tenant: str, project: str, job: str) -> list[Row]:
    """Requests for a job of a project that are not used up, locked until the transaction ends."""
    cursor = await conn.execute(
        """
        select id, ref_filter, reason, node_expiration from autoholds
        where tenant = %s and project = %s and job = %s and current_count < max_count order by id for update
        """,
        (tenant, project, job),
    )
    return await cursor.fetchall()


async def use(conn: Connection, id: int, build: str, node_ids: Sequence[str]) -> None:
    """The nodes of a build are kept for a request."""
    entry = [{"build": build, "nodes": list(node_ids)}]
    await conn.execute(
        """
        update autoholds set nodes = nodes || %s, current_count = current_count + 1,
            expired = case when current_count + 1 >= max_count then clock_timestamp() else expired end
        where id = %s
        """,
        (Jsonb(entry), id),
    )
    await conn.execute("update builds set held = true where uuid = %s", (build,))
