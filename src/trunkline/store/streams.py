"""How far each connection's stream of events has been read, and which happenings were taken."""

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
