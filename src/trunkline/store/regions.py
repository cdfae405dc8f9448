"""Rows of regions and provider_specs, the identity that is stamped on servers, and the leases of launchers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row, notify
from trunkline.store.requests import POOL_CHANNEL

_JSON = {"quota", "usage", "health", "offer"}
_LEASE_SPACE = 0x706F6F6C


async def identity(conn: Connection) -> str:
    """The name of this installation as its servers carry it."""
    row = await (await conn.execute("select id from pool_identity")).fetchone()
    assert row is not None
    return str(row["id"])


async def clock(conn: Connection) -> float:
    """The database's time, the one that all rows carry, in seconds since the epoch."""
    row = await (await conn.execute("select extract(epoch from clock_timestamp())::float8 as now")).fetchone()
    assert row is not None
    return float(row["now"])


async def get(conn: Connection, cloud: str, region: str) -> Row | None:
    return next((r for r in await listed(conn) if (r["cloud"], r["region"]) == (cloud, region)), None)


async def listed(conn: Connection) -> list[Row]:
    cursor = await conn.execute(
        """
        select cloud, region, provider, vendor, city, country, jurisdiction, lat, lon, state, reason, quota, usage,
            health, offer, launcher, extract(epoch from since)::float8 as since,
            extract(epoch from seen)::float8 as seen
        from regions order by cloud, region
        """
    )
    return await cursor.fetchall()


async def write(conn: Connection, cloud: str, region: str, values: Mapping[str, Any]) -> None:
    """Insert or update what is known of a region; `since` moves when `state` does. `seen` is now."""
    columns = list(values)
    changed = sql.SQL("since = case when regions.state = excluded.state then regions.since else clock_timestamp() end")
    statement = sql.SQL(
        "insert into regions (cloud, region, seen, {}) values (%s, %s, clock_timestamp(), {}) "
        "on conflict (cloud, region) do update set {}, seen = clock_timestamp(), {}"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder() * len(columns)),
        changed if "state" in values else sql.SQL("since = regions.since"),
        sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in columns),
    )
    await conn.execute(statement, [cloud, region, *(Jsonb(values[c]) if c in _JSON else values[c] for c in columns)])
    await notify(conn, POOL_CHANNEL)


async def forget(conn: Connection, cloud: str, region: str) -> None:
    await conn.execute("delete from regions where cloud = %s and region = %s", (cloud, region))


async def write_specs(conn: Connection, tenant: str, specs: Sequence[Mapping[str, Any]]) -> None:
    """Replace the providers of a tenant. Each spec is a `pool.ProviderSpec` as plain data (msgspec.to_builtins)."""
    await conn.execute(
        "delete from provider_specs where tenant = %s and not name = any(%s)", (tenant, [s["name"] for s in specs])
    )
    for spec in specs:
        await conn.execute(
            """
            insert into provider_specs (tenant, name, spec) values (%s, %s, %s)
            on conflict (tenant, name) do update set spec = excluded.spec, updated = clock_timestamp()
            """,
            (tenant, spec["name"], Jsonb(spec)),
        )
    await notify(conn, POOL_CHANNEL, "specs")


async def specs(conn: Connection) -> list[dict[str, Any]]:
    """The providers of all tenants, as `write_specs` got them."""
    rows = await (await conn.execute("select spec from provider_specs order by tenant, name")).fetchall()
    return [row["spec"] for row in rows]


async def try_lease(conn: Connection, name: str) -> bool:
    """Take a lease that lasts as long as this connection. A connection that dies gives it up at once."""
    row = await (
        await conn.execute("select pg_try_advisory_lock(%s, %s) as taken", (_LEASE_SPACE, _lease_key(name)))
    ).fetchone()
    return bool(row and row["taken"])


async def end_lease(conn: Connection, name: str) -> None:
    await conn.execute("select pg_advisory_unlock(%s, %s)", (_LEASE_SPACE, _lease_key(name)))


def _lease_key(name: str) -> int:
    return zlib.crc32(name.encode()) - 2**31


async def uploads(conn: Connection, cloud: str, region: str) -> list[Row]:
    cursor = await conn.execute("select * from image_uploads where cloud = %s and region = %s", (cloud, region))
    return await cursor.fetchall()


async def write_upload(
    conn: Connection,
    cloud: str,
    region: str,
    image: str,
    checksum: str,
    *,
    format: str,
    state: str,
    external_id: str | None = None,
    error: str | None = None,
) -> None:
    await conn.execute(
        """
        insert into image_uploads (cloud, region, image, checksum, format, state, external_id, error)
        values (%s, %s, %s, %s, %s, %s, %s, %s)
        on conflict (cloud, region, image, checksum) do update set format = excluded.format, state = excluded.state,
            external_id = excluded.external_id, error = excluded.error, state_time = clock_timestamp()
        """,
        (cloud, region, image, checksum, format, state, external_id, error),
    )
