"""Rows of node_requests: made by the scheduler and the fleet, answered by the launcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row, notify

POOL_CHANNEL = "pool"  # something about requests or nodes changed: time to plan

_COLUMNS = """
    id::text, owner, tenant, pipeline, project, job, buildset_uuid, event_id, labels, priority, relative_priority,
    provider, zone, constraints, keep, state, accepted_by, node_ids, declined_by, failures, error,
    extract(epoch from created)::float8 as created, extract(epoch from state_time)::float8 as state_time
"""


async def create(
    conn: Connection,
    *,
    id: str,
    owner: str,
    tenant: str,
    labels: Sequence[str],
    pipeline: str = "",
    project: str = "",
    job: str = "",
    buildset_uuid: str | None = None,
    event_id: str | None = None,
    priority: int = 200,
    relative_priority: int = 0,
    provider: str | None = None,
    zone: str | None = None,
    constraints: dict[str, Any] | None = None,
    keep: bool = False,
) -> None:
    """Ask for nodes with these labels, all from one provider. Asking again with the same id is nothing.

    owner: told by `events.post` with kind "nodes-ready" {request, nodes: [id…], provider} or "nodes-failed" {request,
    reason}. provider: canonical or plain name of the only one allowed. constraints: {jurisdictions, regions,
    never_regions, clouds}, each a list (see `pool.Constraints`). keep: servers of an application, which only
    `return_nodes` ends.
    """
    await conn.execute(
        """
        insert into node_requests (id, owner, tenant, pipeline, project, job, buildset_uuid, event_id, labels, priority,
            relative_priority, provider, zone, constraints, keep)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        on conflict (id) do nothing
        """,
        (
            id,
            owner,
            tenant,
            pipeline,
            project,
            job,
            buildset_uuid,
            event_id,
            Jsonb(list(labels)),
            priority,
            relative_priority,
            provider,
            zone,
            Jsonb(constraints) if constraints else None,
            keep,
        ),
    )
    await notify(conn, POOL_CHANNEL)


async def revise_priority(conn: Connection, id: str, priority: int, relative_priority: int) -> None:
    """Move a request that still waits within the order."""
    await conn.execute(
        """
        update node_requests set priority = %s, relative_priority = %s
        where id = %s and state in ('requested', 'accepted')
        """,
        (priority, relative_priority, id),
    )


async def cancel(conn: Connection, id: str) -> None:
    """The nodes are not wanted any more: whatever was made for the request goes back to the pool or is deleted."""
    await conn.execute(
        """
        update node_requests set state = 'canceled', state_time = clock_timestamp()
        where id = %s and state in ('requested', 'accepted', 'fulfilled')
        """,
        (id,),
    )
    await _give_back(conn, id)


async def return_nodes(conn: Connection, id: str) -> None:
    """The requester is done with its nodes. Those that ran something are used up; held ones stay held."""
    await cancel(conn, id)


async def _give_back(conn: Connection, id: str) -> None:
    await conn.execute(
        """
        update nodes set state = 'used', state_time = clock_timestamp(), locked_by = null
        where request_id = %s and state = 'in-use'
        """,
        (id,),
    )
    await conn.execute(
        """
        update nodes set state = 'deleting', state_time = clock_timestamp(), comment = 'no longer wanted'
        where request_id = %s and keep and state in ('requested', 'building', 'ready')
        """,
        (id,),
    )
    await notify(conn, POOL_CHANNEL)


async def get(conn: Connection, id: str) -> Row | None:
    return await (await conn.execute(f"select {_COLUMNS} from node_requests where id = %s", (id,))).fetchone()


async def live(conn: Connection) -> list[Row]:
    """Requests that the planner must know: unanswered ones, and answered ones that were not returned yet."""
    cursor = await conn.execute(
        f"""
        select {_COLUMNS} from node_requests r
        where state in ('requested', 'accepted')
           or (state = 'fulfilled' and exists (
                select 1 from nodes n where n.request_id = r.id and n.state not in ('in-use', 'hold', 'deleting')))
        """
    )
    return await cursor.fetchall()


async def listed(conn: Connection, tenant: str | None = None) -> list[Row]:
    """For people: unanswered requests, and those answered in the last minutes."""
    cursor = await conn.execute(
        f"""
        select {_COLUMNS} from node_requests
        where (state in ('requested', 'accepted') or state_time > clock_timestamp() - interval '10 minutes')
          and (%(tenant)s::text is null or tenant = %(tenant)s)
        order by priority, relative_priority, created, id
        """,
        {"tenant": tenant},
    )
    return await cursor.fetchall()


async def accept(conn: Connection, id: str, provider: str) -> bool:
    return await _move(conn, id, "requested", "state = 'accepted', accepted_by = %(provider)s", provider=provider)


async def unaccept(conn: Connection, id: str) -> bool:
    return await _move(conn, id, "accepted", "state = 'requested', accepted_by = null")


async def fulfil(conn: Connection, id: str, node_ids: Sequence[str]) -> Row | None:
    """Answer a request with nodes that are all ready and its own. Returns its row, or None if they are not."""
    cursor = await conn.execute(
        f"""
        update node_requests r set state = 'fulfilled', state_time = clock_timestamp(), node_ids = %(node_ids)s
        where id = %(id)s and state in ('requested', 'accepted')
          and (select count(*) from nodes n
               where n.request_id = r.id and n.state = 'ready' and n.id = any(%(ids)s::uuid[])) = %(count)s
        returning {_COLUMNS}
        """,
        {"id": id, "node_ids": Jsonb(list(node_ids)), "ids": list(node_ids), "count": len(node_ids)},
    )
    return await cursor.fetchone()


async def decline(conn: Connection, id: str, provider: str, reason: str) -> None:
    await conn.execute(
        """
        update node_requests set declined_by = declined_by || %(entry)s,
            accepted_by = nullif(accepted_by, %(provider)s),
            state = case when accepted_by = %(provider)s then 'requested' else state end
        where id = %(id)s and state in ('requested', 'accepted')
          and not declined_by @> %(like)s
        """,
        {
            "id": id,
            "provider": provider,
            "entry": Jsonb([{"provider": provider, "reason": reason}]),
            "like": Jsonb([{"provider": provider}]),
        },
    )


async def fail(conn: Connection, id: str, reason: str) -> Row | None:
    """Answer a request with a refusal. Returns its row, or None if it was answered or canceled before."""
    cursor = await conn.execute(
        f"""
        update node_requests set state = 'failed', state_time = clock_timestamp(), error = %s, accepted_by = null
        where id = %s and state in ('requested', 'accepted') returning {_COLUMNS}
        """,
        (reason, id),
    )
    return await cursor.fetchone()


async def count_failure(conn: Connection, id: str, provider: str) -> None:
    await conn.execute(
        """
        update node_requests set failures = jsonb_set(failures, array[%(provider)s::text],
            to_jsonb(coalesce((failures ->> %(provider)s)::int, 0) + 1))
        where id = %(id)s
        """,
        {"id": id, "provider": provider},
    )


async def forget_answered(conn: Connection, older_than_s: float) -> int:
    """Delete requests that were answered longer ago than that and have no nodes left. Returns how many."""
    cursor = await conn.execute(
        """
        delete from node_requests r where state in ('fulfilled', 'failed', 'canceled')
          and state_time < clock_timestamp() - make_interval(secs => %s)
          and not exists (select 1 from nodes n where n.request_id = r.id)
        """,
        (older_than_s,),
    )
    return cursor.rowcount


async def _move(conn: Connection, id: str, was: str, change: str, **values: Any) -> bool:
    cursor = await conn.execute(
        f"update node_requests set {change}, state_time = clock_timestamp() where id = %(id)s and state = %(was)s",
        {"id": id, "was": was, **values},
    )
    return cursor.rowcount > 0
