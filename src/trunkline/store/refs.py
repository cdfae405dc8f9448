"""What connections said of the refs in the queues, by ref key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection


async def keep(conn: Connection, infos: Mapping[str, Mapping[str, Any]]) -> None:
    if infos:
        async with conn.cursor() as cursor:
            await cursor.executemany(
                """
                insert into ref_infos (key, info) values (%s, %s)
                on conflict (key) do update set info = excluded.info, seen = clock_timestamp()
                """,
                [(key, Jsonb(dict(info))) for key, info in infos.items()],
            )


async def get(conn: Connection, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    cursor = await conn.execute("select key, info from ref_infos where key = any(%s)", (list(keys),))
    return {row["key"]: row["info"] for row in await cursor.fetchall()}
