"""Applications, their instances, probes, endpoints, and the record of what was done.

The state of an application is one value of the planner; its instances are rows of their own beside it, so that pages
and people can ask for them. A write names the version that it read: a late writer is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from trunkline.fleet import (
    Action,
    AppState,
    Instance,
    InstanceState,
    Rollout,
    Status,
    Streak,
)
from trunkline.store.database import Connection, Row, notify

CHANNEL = "fleet"  # something changed for the fleet: time to reconcile


PAGE_CHANNEL = "status"  # pages of a tenant have something new to show


class LateWriter(Exception):
    """Somebody else wrote the application since it was read; nothing was written."""


class Loaded(msgspec.Struct, frozen=True):
    """An application as it was read, and the database's clock (seconds since the epoch) at that moment."""

    state: AppState
    version: int
    status: dict[str, Any]
    now: float


async def try_owner(conn: Connection, owner: str) -> bool:
    """Be the only one who works on this inbox, until the transaction ends."""
    row = await (
        await conn.execute("select pg_try_advisory_xact_lock(hashtextextended(%s, 0)) as mine", (owner,))
    ).fetchone()
    return bool(row and row["mine"])


async def clock(conn: Connection) -> float:
    """The database's time, in seconds since the epoch."""
    row = await (await conn.execute("select extract(epoch from clock_timestamp())::float8 as now")).fetchone()
    return float(row["now"]) if row else 0.0


async def names(conn: Connection, tenant: str | None = None) -> list[tuple[str, str]]:
    """(tenant, name) of all applications."""
    cursor = await conn.execute(
        "select tenant, name from applications where %(t)s::text is null or tenant = %(t)s order by 1, 2", {"t": tenant}
    )
    return [(row["tenant"], row["name"]) for row in await cursor.fetchall()]


async def load(conn: Connection, tenant: str, name: str, *, claim: bool = False) -> Loaded | None:
    """An application with the instances that still are. `claim`: lock it to the transaction's end; None if another has."""
    lock = "for update skip locked" if claim else ""
    row = await (
        await conn.execute(
            f"""
            select body, version, status, extract(epoch from clock_timestamp())::float8 as now
            from applications where tenant = %s and name = %s {lock}
            """,
            (tenant, name),
        )
    ).fetchone()
    if row is None:
        return None
    cursor = await conn.execute(
        "select body from instances where tenant = %s and application = %s and ended is null order by serial",
        (tenant, name),
    )
    bodies = [r["body"] for r in await cursor.fetchall()]
    state = msgspec.convert({**row["body"], "instances": bodies}, AppState)
    return Loaded(state, row["version"], row["status"], row["now"])


async def add(conn: Connection, state: AppState, path: str) -> bool:
    """Make an application known; False if its name is taken."""
    cursor = await conn.execute(
        """
        insert into applications (tenant, name, project, branch, path, body) values (%s, %s, %s, %s, %s, %s)
        on conflict (tenant, name) do nothing
        """,
        (state.tenant, state.application.name, state.project, state.branch, path, _body(state)),
    )
    return cursor.rowcount > 0


async def save(conn: Connection, before: Loaded, state: AppState, status: Status) -> None:
    """Write an application that was read as `before`. Raises LateWriter."""
    tenant, name = state.tenant, state.application.name
    cursor = await conn.execute(
        """
        update applications set body = %s, status = %s, project = %s, branch = %s, version = version + 1, updated = now()
        where tenant = %s and name = %s and version = %s
        """,
        (
            _body(state),
            Jsonb(msgspec.to_builtins(status)),
            state.project,
            state.branch,
            tenant,
            name,
            before.version,
        ),
    )
    if cursor.rowcount == 0:
        raise LateWriter(f"{tenant}/{name}")
    await notify(conn, PAGE_CHANNEL, tenant)
    old = {i.id: i for i in before.state.instances}
    for instance in state.instances:
        if old.get(instance.id) != instance:
            await _save_instance(conn, tenant, name, instance)
    if state.rollout is not None and state.rollout != before.state.rollout:
        await _save_rollout(conn, tenant, name, state.rollout)


def _body(state: AppState) -> Jsonb:
    body = msgspec.to_builtins(state)
    del body["instances"]
    return Jsonb(body)


async def _save_instance(conn: Connection, tenant: str, name: str, i: Instance) -> None:
    ended = i.state is InstanceState.GONE
    await conn.execute(
        """
        insert into instances (tenant, application, id, serial, state, provider, cloud, region, jurisdiction, request_id,
            node_id, commit, build, published, health, created, ended, body)
        values (%(tenant)s, %(name)s, %(id)s, %(serial)s, %(state)s, %(provider)s, %(cloud)s, %(region)s, %(jurisdiction)s,
            %(request)s, %(node)s, %(commit)s, %(build)s, %(published)s, %(health)s, to_timestamp(%(created)s),
            case when %(ended)s then now() end, %(body)s)
        on conflict (tenant, application, id) do update set state = excluded.state, request_id = excluded.request_id,
            node_id = excluded.node_id, commit = excluded.commit, build = excluded.build, published = excluded.published,
            health = excluded.health, ended = excluded.ended, body = excluded.body
        """,
        {
            "tenant": tenant,
            "name": name,
            "id": i.id,
            "serial": int(i.id.rpartition("-")[2]),
            "state": i.state.value,
            "provider": i.provider,
            "cloud": i.cloud,
            "region": i.region,
            "jurisdiction": i.jurisdiction,
            "request": i.request,
            "node": i.node,
            "commit": i.commit,
            "build": i.build,
            "published": i.published,
            "health": i.health.value,
            "created": i.created,
            "ended": ended,
            "body": Jsonb(msgspec.to_builtins(i)),
        },
    )
    if ended:
        await conn.execute(
            "delete from probes where tenant = %s and application = %s and instance = %s", (tenant, name, i.id)
        )


async def _save_rollout(conn: Connection, tenant: str, name: str, rollout: Rollout) -> None:
    await conn.execute(
        """
        insert into rollouts (tenant, application, commit, started, state, reason, ended)
        values (%s, %s, %s, to_timestamp(%s), %s, %s, to_timestamp(%s))
        on conflict (tenant, application, commit, started) do update
            set state = excluded.state, reason = excluded.reason, ended = excluded.ended
        """,
        (tenant, name, rollout.commit, rollout.started, rollout.state.value, rollout.reason, rollout.ended),
    )


# What happened, for people and evidence


async def record(conn: Connection, tenant: str, name: str, actions: Sequence[Action]) -> None:
    """Keep what a plan asked for, with its reasons."""
    for action in actions:
        body = msgspec.to_builtins(action)
        await conn.execute(
            "insert into fleet_actions (tenant, application, instance, kind, reason, body) values (%s, %s, %s, %s, %s, %s)",
            (tenant, name, body.get("instance"), body["type"], action.reason, Jsonb(body)),
        )


async def actions(conn: Connection, tenant: str, name: str, limit: int = 100) -> list[Row]:
    """What was done last, newest first: {id, instance, kind, reason, body, at}."""
    cursor = await conn.execute(
        """
        select id, instance, kind, reason, body, at from fleet_actions
        where tenant = %s and application = %s order by id desc limit %s
        """,
        (tenant, name, limit),
    )
    return await cursor.fetchall()


async def listed(conn: Connection, tenant: str | None = None) -> list[Row]:
    """Applications for people: {tenant, name, project, branch, path, status, body, updated}."""
    cursor = await conn.execute(
        """
        select tenant, name, project, branch, path, status, body, updated from applications
        where %(t)s::text is null or tenant = %(t)s order by tenant, name
        """,
        {"t": tenant},
    )
    return await cursor.fetchall()


async def instances(conn: Connection, tenant: str, name: str, *, gone: bool = False) -> list[Row]:
    """Instances of an application (with `gone`: all there ever were): the columns of the table and `body`."""
    cursor = await conn.execute(
        """
        select id, state, provider, cloud, region, jurisdiction, request_id::text, node_id::text, commit, build::text,
            published, health, created, ended, body
        from instances where tenant = %s and application = %s and (%s or ended is null) order by serial
        """,
        (tenant, name, gone),
    )
    return await cursor.fetchall()


async def rollouts(conn: Connection, tenant: str, name: str, limit: int = 20) -> list[Row]:
    cursor = await conn.execute(
        """
        select commit, started, state, reason, ended from rollouts where tenant = %s and application = %s
        order by started desc limit %s
        """,
        (tenant, name, limit),
    )
    return await cursor.fetchall()


# Application files that could not be read


async def set_fault(conn: Connection, tenant: str, project: str, branch: str, commit: str, messages: list[str]) -> None:
    """Remember, or with no messages forget, what is wrong with the files of a project."""
    if not messages:
        await conn.execute(
            "delete from application_faults where tenant = %s and project = %s and branch = %s",
            (tenant, project, branch),
        )
        return
    await conn.execute(
        """
        insert into application_faults (tenant, project, branch, commit, messages) values (%s, %s, %s, %s, %s)
        on conflict (tenant, project, branch) do update
            set commit = excluded.commit, messages = excluded.messages, at = now()
        """,
        (tenant, project, branch, commit, Jsonb(messages)),
    )


async def faults(conn: Connection, tenant: str | None = None) -> list[Row]:
    cursor = await conn.execute(
        """
        select tenant, project, branch, commit, messages, at from application_faults
        where %(t)s::text is null or tenant = %(t)s order by tenant, project, branch
        """,
        {"t": tenant},
    )
    return await cursor.fetchall()


# Probes


async def targets(conn: Connection) -> list[Row]:
    """What to probe: {tenant, application, instance, address, health} of every instance that something runs on."""
    cursor = await conn.execute(
        """
        select i.tenant, i.application, i.id as instance, i.body ->> 'address' as address,
            a.body -> 'application' -> 'health' as health
        from instances i join applications a on a.tenant = i.tenant and a.name = i.application
        where i.ended is null and i.commit is not null and i.state in ('running', 'deploying', 'draining')
        order by i.tenant, i.application, i.serial
        """
    )
    return await cursor.fetchall()


async def record_probe(
    conn: Connection, tenant: str, name: str, instance: str, vantage: str, ok: bool, detail: str
) -> int:
    """Add one result to the streak of a vantage point; returns its length. Wakes the fleet while the streak is young."""
    row = await (
        await conn.execute(
            """
            insert into probes as p (tenant, application, instance, vantage, ok, count, since, last, detail)
            select tenant, application, id, %(vantage)s, %(ok)s, 1, clock_timestamp(), clock_timestamp(), %(detail)s
            from instances where tenant = %(tenant)s and application = %(name)s and id = %(id)s and ended is null
            on conflict (tenant, application, instance, vantage) do update set
                count = case when p.ok = excluded.ok then p.count + 1 else 1 end,
                since = case when p.ok = excluded.ok then p.since else excluded.since end,
                ok = excluded.ok, last = excluded.last, detail = excluded.detail
            returning count
            """,
            {"tenant": tenant, "name": name, "id": instance, "vantage": vantage, "ok": ok, "detail": detail[:500]},
        )
    ).fetchone()
    count = int(row["count"]) if row else 0
    if 0 < count <= 10:
        await notify(conn, CHANNEL, f"fleet:{tenant}/{name}")
    return count


async def streaks(conn: Connection, tenant: str, name: str) -> dict[str, tuple[Streak, ...]]:
    """Present streaks by instance, vantage points in order."""
    cursor = await conn.execute(
        """
        select instance, vantage, ok, count, extract(epoch from since)::float8 as since,
            extract(epoch from last)::float8 as last, detail
        from probes where tenant = %s and application = %s order by instance, vantage
        """,
        (tenant, name),
    )
    found: dict[str, tuple[Streak, ...]] = {}
    for row in await cursor.fetchall():
        instance = row.pop("instance")
        found[instance] = (*found.get(instance, ()), Streak(**row))
    return found


async def forget_streaks(conn: Connection, tenant: str, name: str, instances: Sequence[str]) -> None:
    """What was seen of the old commit says nothing about the new one."""
    await conn.execute(
        "delete from probes where tenant = %s and application = %s and instance = any(%s)",
        (tenant, name, list(instances)),
    )


# The pool as the fleet sees it


async def servers(conn: Connection, requests: Sequence[str]) -> dict[str, Row]:
    """By request: its state and error, and its node's id, state and address (None if there is no node row)."""
    cursor = await conn.execute(
        """
        select r.id::text as request, r.state, coalesce(r.error, '') as error, n.id::text as node, n.state as node_state,
            coalesce(n.interface_ip, n.public_ipv4, n.private_ipv4, n.public_ipv6, '') as address
        from node_requests r left join nodes n
            on n.request_id = r.id and (r.state <> 'fulfilled' or n.id::text = r.node_ids ->> 0)
        where r.id = any(%s::uuid[]) order by n.created
        """,
        (list(requests),),
    )
    return {row["request"]: row for row in await cursor.fetchall()}


async def unreturned(conn: Connection, requests: Sequence[str]) -> list[str]:
    """Those of these requests that are still open, or have a node that nobody ended."""
    cursor = await conn.execute(
        """
        select r.id::text as id from node_requests r
        where r.id = any(%s::uuid[]) and (r.state in ('requested', 'accepted', 'fulfilled') or exists (
            select 1 from nodes n where n.request_id = r.id and n.state in ('requested', 'building', 'ready', 'in-use')))
        """,
        (list(requests),),
    )
    return [row["id"] for row in await cursor.fetchall()]


async def needs_by_region(conn: Connection, without_requests: Sequence[str]) -> list[Row]:
    """What our nodes use of each region: {cloud, region, instances, cores, ram_mib}; nodes of some requests left out."""
    cursor = await conn.execute(
        """
        select cloud, region, count(*)::int as instances, coalesce(sum((needs ->> 'cores')::int), 0)::int as cores,
            coalesce(sum((needs ->> 'ram_mib')::int), 0)::int as ram_mib
        from nodes where request_id is null or not request_id = any(%s::uuid[]) group by cloud, region
        """,
        (list(without_requests),),
    )
    return await cursor.fetchall()


# Endpoints


async def publish(conn: Connection, tenant: str, name: str, document: Mapping[str, Any]) -> bool:
    """Write what is published; False if that is what was."""
    cursor = await conn.execute(
        """
        insert into endpoints (tenant, application, generation, document) values (%s, %s, %s, %s)
        on conflict (tenant, application) do update
            set generation = excluded.generation, document = excluded.document, updated = now()
            where endpoints.document <> excluded.document
        """,
        (tenant, name, document["generation"], Jsonb(document)),
    )
    return cursor.rowcount > 0


async def endpoints(conn: Connection, tenant: str | None = None, name: str | None = None) -> list[Row]:
    """Published documents: {tenant, application, generation, document, updated}."""
    cursor = await conn.execute(
        """
        select tenant, application, generation, document, updated from endpoints
        where (%(t)s::text is null or tenant = %(t)s) and (%(n)s::text is null or application = %(n)s)
        order by tenant, application
        """,
        {"t": tenant, "n": name},
    )
    return await cursor.fetchall()
