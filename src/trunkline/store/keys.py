"""Keys of projects and tenants, encrypted with the keystore's password before they come here."""

from __future__ import annotations

from trunkline.store.database import Connection, Row


async def get(conn: Connection, scope: str, kind: str) -> Row | None:
    return await (
        await conn.execute("select private, public from keys where scope = %s and kind = %s", (scope, kind))
    ).fetchone()


async def put_if_absent(conn: Connection, scope: str, kind: str, private: bytes, public: str) -> Row:
    """Keep a new key pair unless there is one; returns the one that is kept."""
    await conn.execute(
        "insert into keys (scope, kind, private, public) values (%s, %s, %s, %s) on conflict do nothing",
        (scope, kind, private, public),
    )
    row = await get(conn, scope, kind)
    assert row is not None
    return row
