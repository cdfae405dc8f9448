"""How far each connection's stream of events has been read, which happenings were taken, and where refs were then."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection


async def position(conn: Connection, connection: str) -> dict[str, Any] | None:
    row = await (
        await conn.execute("select position from stream_positions where connection = %s", (connection,))
    ).fetchone()
    return row["position"] if row else None


async def keep_position(conn: Connection, connection: str, position: dict[str, Any]) -> None:
    await conn.execute(
        """
        insert into stream_positions (connection, position) values (%s, %s)
        on conflict (connection) do update set position = excluded.position, seen = clock_timestamp()
        """,
        (connection, Jsonb(position)),
    )


async def begin(conn: Connection, connection: str, position: dict[str, Any]) -> None:
    """Where reading began, unless something was read before."""
    await conn.execute(
        "insert into stream_positions (connection, position) values (%s, %s) on conflict do nothing",
        (connection, Jsonb(position)),
    )


async def heads(conn: Connection, connection: str) -> dict[str, dict[str, str]]:
    """The last known tips by project and full ref."""
    cursor = await conn.execute("select project, heads from stream_heads where connection = %s", (connection,))
    return {row["project"]: row["heads"] for row in await cursor.fetchall()}


async def keep_heads(conn: Connection, connection: str, project: str, heads: dict[str, str]) -> None:
    await conn.execute(
        """
        insert into stream_heads (connection, project, heads) values (%s, %s, %s)
        on conflict (connection, project) do update set heads = excluded.heads
        """,
        (connection, project, Jsonb(heads)),
    )


async def move_head(conn: Connection, connection: str, project: str, ref: str, newrev: str | None) -> None:
    """A ref moved, or is gone; of projects whose tips are not kept nothing is noted."""
    await conn.execute(
        """
        update stream_heads set heads = (heads - %(ref)s::text) ||
            case when %(newrev)s::text is null then '{}' else jsonb_build_object(%(ref)s::text, %(newrev)s::text) end
        where connection = %(connection)s and project = %(project)s
        """,
        {"connection": connection, "project": project, "ref": ref, "newrev": newrev},
    )


async def is_new(conn: Connection, connection: str, delivery: str) -> bool:
    """Note a happening; False if it was noted before."""
    cursor = await conn.execute(
        "insert into seen_deliveries (connection, delivery) values (%s, %s) on conflict do nothing",
        (connection, delivery),
    )
    return cursor.rowcount > 0


async def forget(conn: Connection, older_than_s: float) -> None:
    await conn.execute(
        "delete from seen_deliveries where seen < clock_timestamp() - make_interval(secs => %s)", (older_than_s,)
    )
