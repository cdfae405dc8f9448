"""Rows of nodes: written before a server is asked for, deleted after it is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row, notify
from trunkline.store.requests import POOL_CHANNEL

REGION_CHANNEL = "region"  # payload "cloud/region": rows of its nodes changed

_JSON = {"needs", "host_keys", "metadata"}
_COLUMNS = """
    id::text, request_id::text, owner, tenant, label, flavor, needs, provider, region, cloud, az, server_id, hostname,
    interface_ip, public_ipv4, private_ipv4, public_ipv6, private_ipv6, connection_port, connection_type, username,
    shell_type, host_keys, host_key_checking, python_path, state, next_state, locked_by, hold_reason, hold_job, comment,
    trouble, attempt, keep, is_static, reuse, slot, host_id, executor_zone, floating_ip_id, metadata,
    extract(epoch from state_time)::float8 as state_time, extract(epoch from created)::float8 as created,
    extract(epoch from create_sent)::float8 as create_sent, extract(epoch from hold_expires)::float8 as hold_expires
"""


async def mark(conn: Connection, ids: Sequence[str], state: str, *, locked_by: str | None = None) -> int:
    """A build starts on nodes ("in-use", locked_by who runs it) or is done with them ("used"). Returns how many."""
    assert state in ("in-use", "used"), state
    was = ["ready", "in-use"] if state == "in-use" else ["ready", "in-use", "used"]
    cursor = await conn.execute(
        """
        update nodes set state = %s, state_time = clock_timestamp(), locked_by = %s
        where id = any(%s::uuid[]) and state = any(%s)
        """,
        (state, locked_by if state == "in-use" else None, list(ids), was),
    )
    await notify(conn, POOL_CHANNEL)
    return cursor.rowcount


async def hold(
    conn: Connection, ids: Sequence[str], *, reason: str, job: str | None = None, expires_s: float | None = None
) -> int:
    """Keep nodes for a person to look at, for `expires_s` seconds (None: until somebody deletes them)."""
    cursor = await conn.execute(
        """
        update nodes set state = 'hold', state_time = clock_timestamp(), locked_by = null, hold_reason = %(reason)s,
            hold_job = %(job)s, comment = %(reason)s,
            hold_expires = clock_timestamp() + make_interval(secs => %(expires)s::float8)
        where id = any(%(ids)s::uuid[]) and state in ('ready', 'in-use', 'used')
        """,
        {"ids": list(ids), "reason": reason, "job": job, "expires": expires_s},
    )
    return cursor.rowcount


async def release_hold(conn: Connection, ids: Sequence[str]) -> int:
    """A person is done with held nodes: they are deleted."""
    return await _delete_where(conn, ids, ["hold"], "hold ended")


async def delete(conn: Connection, ids: Sequence[str], reason: str) -> int:
    """Have nodes deleted whatever they are doing. Returns how many were not being deleted yet."""
    return await _delete_where(
        conn, ids, ["requested", "building", "ready", "in-use", "used", "hold", "failed"], reason
    )


async def _delete_where(conn: Connection, ids: Sequence[str], was: Sequence[str], reason: str) -> int:
    cursor = await conn.execute(
        """
        update nodes set state = 'deleting', state_time = clock_timestamp(), comment = %s, locked_by = null
        where id = any(%s::uuid[]) and state = any(%s) returning cloud, region
        """,
        (reason, list(ids), list(was)),
    )
    rows = await cursor.fetchall()
    for cloud, region in {(row["cloud"], row["region"]) for row in rows}:
        await notify(conn, REGION_CHANNEL, f"{cloud}/{region}")
    return len(rows)


async def get(conn: Connection, ids: Sequence[str]) -> list[Row]:
    """The rows of these nodes, in the order asked for; missing ones are left out."""
    cursor = await conn.execute(f"select {_COLUMNS} from nodes where id = any(%s::uuid[])", (list(ids),))
    found = {row["id"]: row for row in await cursor.fetchall()}
    return [found[id] for id in ids if id in found]


async def of_request(conn: Connection, request_id: str) -> list[Row]:
    """The nodes that answered a request, in the order of its labels."""
    row = await (await conn.execute("select node_ids from node_requests where id = %s", (request_id,))).fetchone()
    return await get(conn, row["node_ids"]) if row else []


async def listed(conn: Connection, tenant: str | None = None) -> list[Row]:
    cursor = await conn.execute(
        f"select {_COLUMNS} from nodes where %(tenant)s::text is null or tenant = %(tenant)s order by created, id",
        {"tenant": tenant},
    )
    return await cursor.fetchall()


async def in_region(conn: Connection, cloud: str, region: str) -> list[Row]:
    cursor = await conn.execute(
        f"select {_COLUMNS} from nodes where cloud = %s and region = %s order by created, id", (cloud, region)
    )
    return await cursor.fetchall()


async def insert(conn: Connection, values: Mapping[str, Any]) -> None:
    """Write a planned node; column names as keys. An id that is there already is left as it is."""
    columns = list(values)
    statement = sql.SQL("insert into nodes ({}) values ({}) on conflict (id) do nothing").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join(sql.Placeholder() * len(columns))
    )
    await conn.execute(statement, [Jsonb(values[c]) if c in _JSON else values[c] for c in columns])
    await notify(conn, REGION_CHANNEL, f"{values['cloud']}/{values['region']}")


async def update(conn: Connection, id: str, was: Sequence[str], **values: Any) -> bool:
    """Set columns of a node if its state is still one of `was`. A new state sets state_time. Tells the planner."""
    changes: list[sql.Composable] = [sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder()) for c in values]
    if "state" in values:
        changes.append(sql.SQL("state_time = clock_timestamp()"))
    cursor = await conn.execute(
        sql.SQL("update nodes set {} where id = {} and state = any({})").format(
            sql.SQL(", ").join(changes), sql.Placeholder(), sql.Placeholder()
        ),
        [*(Jsonb(v) if c in _JSON else v for c, v in values.items()), id, list(was)],
    )
    if cursor.rowcount and "state" in values:
        await notify(conn, POOL_CHANNEL)
    return cursor.rowcount > 0


async def stamp_create(conn: Connection, id: str) -> bool:
    """Note that the cloud is about to be asked for the server; False if the node is not wanted any more."""
    cursor = await conn.execute(
        "update nodes set create_sent = clock_timestamp() where id = %s and state = 'requested'", (id,)
    )
    return cursor.rowcount > 0


async def assign(conn: Connection, id: str, request_id: str) -> bool:
    """Give an unassigned node to a request that is still wanted."""
    cursor = await conn.execute(
        """
        update nodes n set request_id = r.id, owner = r.owner, keep = r.keep
        from node_requests r
        where n.id = %s and r.id = %s and n.request_id is null and n.tenant = r.tenant
          and n.state in ('requested', 'building', 'ready') and r.state in ('requested', 'accepted')
        """,
        (id, request_id),
    )
    return cursor.rowcount > 0


async def release(conn: Connection, id: str) -> bool:
    """Take a node that nothing ran on from its request, for any other of the tenant."""
    cursor = await conn.execute(
        """
        update nodes set request_id = null, owner = null, keep = false
        where id = %s and state in ('requested', 'building', 'ready')
        """,
        (id,),
    )
    return cursor.rowcount > 0


async def recycle(conn: Connection, id: str) -> bool:
    """A used node of a label that allows it is ready again."""
    cursor = await conn.execute(
        """
        update nodes set state = 'ready', state_time = clock_timestamp(), request_id = null, owner = null,
            locked_by = null, comment = null
        where id = %s and state = 'used'
        """,
        (id,),
    )
    return cursor.rowcount > 0


async def forget(conn: Connection, id: str) -> None:
    """The server is gone, and so is the row."""
    await conn.execute("delete from nodes where id = %s and state = 'deleting'", (id,))
    await notify(conn, POOL_CHANNEL)
