"""What the web reads: builds and buildsets by filters, their parts, estimates, and small counts.

Filters are a mapping of the names of the REST API to what was given: a sequence of values is an OR, `*` in project,
pipeline, branch and job_name is a wildcard, a boolean decides. Rows come newest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row, notify

Filters = Mapping[str, Any]

_BUILD_COLUMNS = """
    b.id, b.uuid, b.job_name, b.result, b.held, b.execute_time, b.start_time, b.end_time, b.voting, b.log_url,
    b.nodeset, b.error_detail, b.final, b.state, b.executor, b.pipeline, b.buildset_uuid,
    s.event_id, s.event_timestamp, s.queue_item_uuid,
    to_jsonb(r) as ref,
    (select coalesce(jsonb_agg(jsonb_build_object('name', a.name, 'url', a.url, 'metadata', a.metadata) order by a.id),
        '[]') from artifacts a where a.build_id = b.id) as artifacts,
    (select coalesce(jsonb_agg(jsonb_build_object('name', p.name) order by p.id), '[]')
        from provides p where p.build_id = b.id) as provides
"""
_BUILD_TABLES = "builds b join buildsets s on s.uuid = b.buildset_uuid join refs r on r.id = b.ref_id"
_SET_REFS = """
    (select coalesce(jsonb_agg(to_jsonb(r) order by sr.position, r.id), '[]')
        from buildset_refs sr join refs r on r.id = sr.ref_id where sr.buildset_id = s.id) as refs
"""
_BUILD_FIELDS = {
    "project": ("r.project", "r.canonical"),
    "pipeline": ("b.pipeline",),
    "change": ("r.change",),
    "branch": ("r.branch",),
    "patchset": ("r.patchset",),
    "ref": ("r.ref",),
    "newrev": ("r.newrev",),
    "uuid": ("b.uuid",),
    "job_name": ("b.job_name",),
    "queue_item_uuid": ("s.queue_item_uuid",),
    "nodeset": ("b.nodeset",),
    "result": ("b.result",),
}
_SET_FIELDS = {
    "pipeline": ("s.pipeline",),
    "uuid": ("s.uuid",),
    "queue_item_uuid": ("s.queue_item_uuid",),
    "result": ("s.result",),
}
_SET_REF_FIELDS = {key: _BUILD_FIELDS[key] for key in ("project", "change", "branch", "patchset", "ref", "newrev")}
_WILD = frozenset({"project", "pipeline", "branch", "job_name"})


def _matches(columns: Sequence[str], key: str, values: Sequence[Any], args: list[Any]) -> str:
    """One condition: any of the columns equals, or is like, any of the values."""
    parts = []
    for value in values:
        for column in columns:
            if key in _WILD and "*" in value:
                parts.append(f"{column} like %s")
                escaped = value.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
                args.append(escaped.replace("*", "%"))
            else:
                parts.append(f"{column} = %s")
                args.append(value)
    return f"({' or '.join(parts)})"


def _conditions(fields: Mapping[str, Sequence[str]], filters: Filters, args: list[Any]) -> list[str]:
    return [_matches(columns, key, filters[key], args) for key, columns in fields.items() if filters.get(key)]


def _keyset(alias: str, filters: Filters, args: list[Any]) -> list[str]:
    out = []
    for key, sign in (("idx_min", ">="), ("idx_max", "<=")):
        if filters.get(key) is not None:
            out.append(f"{alias}.id {sign} %s")
            args.append(filters[key])
    return out


def _results(alias: str, filters: Filters, args: list[Any]) -> list[str]:
    out = []
    if filters.get("exclude_result"):
        out.append(f"({alias}.result is null or not ({alias}.result = any(%s)))")
        args.append(list(filters["exclude_result"]))
    if filters.get("complete") is not None:
        out.append(f"{alias}.result is {'not null' if filters['complete'] else 'null'}")
    return out


def _build_conditions(tenant: str, filters: Filters, args: list[Any]) -> str:
    args.append(tenant)
    wanted = ["b.tenant = %s", *_conditions(_BUILD_FIELDS, filters, args)]
    wanted += _results("b", filters, args) + _keyset("b", filters, args)
    for key in ("voting", "final", "held"):
        if filters.get(key) is not None:
            wanted.append(f"b.{key} = %s")
            args.append(filters[key])
    for key, sign in (("start_time", ">="), ("end_time", "<=")):
        if filters.get(key) is not None:
            wanted.append(f"b.{key} {sign} %s::timestamp at time zone 'UTC'")
            args.append(filters[key])
    return " and ".join(wanted)


async def _rows(conn: Connection, query: str, args: Sequence[Any]) -> list[Row]:
    # Every piece of the text is a constant of this file; what callers give goes in as parameters.
    return await (await conn.execute(query, args)).fetchall()


async def builds(conn: Connection, tenant: str, filters: Filters) -> list[Row]:
    args: list[Any] = []
    where = _build_conditions(tenant, filters, args)
    query = f"select {_BUILD_COLUMNS} from {_BUILD_TABLES} where {where} order by b.id desc limit %s offset %s"
    return await _rows(conn, query, [*args, filters["limit"], filters["skip"]])


async def build(conn: Connection, tenant: str, uuid: str) -> Row | None:
    """One build, with the refs of its buildset."""
    query = f"select {_BUILD_COLUMNS}, {_SET_REFS} from {_BUILD_TABLES} where b.tenant = %s and b.uuid = %s"
    found = await _rows(conn, query, (tenant, uuid))
    return found[0] if found else None


async def build_times(conn: Connection, tenant: str, filters: Filters) -> list[Row]:
    args: list[Any] = []
    where = _build_conditions(tenant, {"complete": True, **filters}, args)
    query = f"""
        select b.id, b.uuid, b.job_name, b.result, b.start_time, b.end_time, b.final, b.pipeline,
            r.project, r.branch, r.ref
        from {_BUILD_TABLES} where {where} and b.start_time is not null and b.end_time is not null
        order by b.id desc limit %s offset %s"""
    return await _rows(conn, query, [*args, filters["limit"], filters["skip"]])


async def buildsets(conn: Connection, tenant: str, filters: Filters) -> list[Row]:
    args: list[Any] = [tenant]
    wanted = ["s.tenant = %s", *_conditions(_SET_FIELDS, filters, args)]
    wanted += _results("s", filters, args) + _keyset("s", filters, args)
    of_ref = _conditions(_SET_REF_FIELDS, filters, args)
    if of_ref:
        wanted.append(
            "exists (select 1 from buildset_refs sr join refs r on r.id = sr.ref_id "
            f"where sr.buildset_id = s.id and {' and '.join(of_ref)})"
        )
    query = f"""
        select s.*, {_SET_REFS} from buildsets s where {" and ".join(wanted)}
        order by s.id desc limit %s offset %s"""
    return await _rows(conn, query, [*args, filters["limit"], filters["skip"]])


async def buildset(conn: Connection, tenant: str, uuid: str) -> Row | None:
    query = f"select s.*, {_SET_REFS} from buildsets s where s.tenant = %s and s.uuid = %s"
    found = await _rows(conn, query, (tenant, uuid))
    return found[0] if found else None


async def builds_of(conn: Connection, buildset_uuid: str) -> list[Row]:
    query = f"select {_BUILD_COLUMNS} from {_BUILD_TABLES} where b.buildset_uuid = %s order by b.id"
    return await _rows(conn, query, (buildset_uuid,))


async def events_of(conn: Connection, buildset_id: int) -> list[Row]:
    query = "select event_time, event_type, description from buildset_events where buildset_id = %s order by id"
    return await _rows(conn, query, (buildset_id,))


async def console(conn: Connection, tenant: str, uuid: str) -> Row | None:
    """Where a build's console is: rows {state, executor}; an executor is named only while it has the build."""
    query = "select state, case when start_time is not null then executor end as executor from builds where tenant = %s and uuid = %s"
    found = await _rows(conn, query, (tenant, uuid))
    return found[0] if found else None


async def running(conn: Connection, uuids: Sequence[str]) -> dict[str, Row]:
    """What the status must know of builds under way."""
    query = """
        select uuid, state, result, pre_fail, cancel_requested, attempt, log_url,
            extract(epoch from execute_time)::float8 as execute_time,
            extract(epoch from start_time)::float8 as start_time,
            extract(epoch from end_time)::float8 as end_time
        from builds where uuid = any(%s)"""
    return {row["uuid"]: row for row in await _rows(conn, query, (list(uuids),))}


async def estimates(
    conn: Connection, tenant: str, wanted: Sequence[tuple[str, str, str | None]], runs: int = 10
) -> dict[tuple[str, str, str | None], float]:
    """Seconds that a job of a project's branch took: the mean of its last successful runs.

    `wanted` holds (job, canonical project, branch); what has no history is left out.
    """
    if not wanted:
        return {}
    query = """
        select w.job, w.project, w.branch, avg(l.took)::float8 as took
        from unnest(%s::text[], %s::text[], %s::text[]) as w (job, project, branch)
        cross join lateral (
            select extract(epoch from b.end_time - b.start_time) as took
            from builds b join refs r on r.id = b.ref_id
            where b.tenant = %s and b.job_name = w.job and r.canonical = w.project
              and (w.branch is null or r.branch = w.branch)
              and b.result = 'SUCCESS' and b.start_time is not null and b.end_time is not null
            order by b.id desc limit %s) l
        group by w.job, w.project, w.branch"""
    columns = [list(column) for column in zip(*wanted, strict=True)]
    found = await _rows(conn, query, (*columns, tenant, runs))
    return {(row["job"], row["project"], row["branch"]): row["took"] for row in found}


async def events_waiting(conn: Connection, prefix: str) -> dict[str, int]:
    """How many events wait, by owner, of owners whose name begins with `prefix`."""
    query = "select owner, count(*) as n from events where done is null and starts_with(owner, %s) group by owner"
    return {row["owner"]: int(row["n"]) for row in await _rows(conn, query, (prefix,))}


async def node_counts(conn: Connection, tenant: str) -> list[Row]:
    """Servers by region and state: the tenant's, and those that belong to nobody yet."""
    query = """
        select cloud, region, state, count(*) as n from nodes
        where tenant = any(%s) group by cloud, region, state"""
    return await _rows(conn, query, ([tenant, ""],))


async def system_events(conn: Connection, tenant: str, filters: Filters) -> list[Row]:
    args: list[Any] = [tenant]
    wanted = ["e.tenant = %s", *_keyset("e", filters, args)]
    if filters.get("event_type"):
        wanted.append("e.event_type = any(%s)")
        args.append(list(filters["event_type"]))
    query = f"""
        select e.event_id, e.event_time, e.event_type, e.description from system_events e
        where {" and ".join(wanted)} order by e.id desc limit %s offset %s"""
    return await _rows(conn, query, [*args, filters["limit"], filters["skip"]])


async def autoholds(conn: Connection, tenant: str) -> list[Row]:
    return await _rows(conn, "select * from autoholds where tenant = %s order by id", (tenant,))


async def autohold(conn: Connection, tenant: str, number: int) -> Row | None:
    found = await _rows(conn, "select * from autoholds where tenant = %s and id = %s", (tenant, number))
    return found[0] if found else None


async def create_autohold(
    conn: Connection,
    *,
    tenant: str,
    project: str,
    job: str,
    ref_filter: str,
    reason: str,
    max_count: int,
    node_expiration: int,
) -> None:
    await conn.execute(
        """
        insert into autoholds (tenant, project, job, ref_filter, reason, max_count, node_expiration)
        values (%s, %s, %s, %s, %s, %s, %s)
        """,
        (tenant, project, job, ref_filter, reason, max_count, node_expiration),
    )


async def delete_autohold(conn: Connection, tenant: str, number: int) -> list[dict[str, Any]] | None:
    """Returns what it held ([{build, nodes}]), or None if there is no such request."""
    found = await _rows(conn, "delete from autoholds where tenant = %s and id = %s returning nodes", (tenant, number))
    return found[0]["nodes"] if found else None


async def set_tenant_state(conn: Connection, tenant: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Lay these switches and texts over what the tenant has. Returns all of them."""
    query = "update tenants set state = state || %s where name = %s returning state"
    found = await _rows(conn, query, (Jsonb(dict(state)), tenant))
    await notify(conn, "status", tenant)
    return found[0]["state"] if found else {}


async def futures_of(conn: Connection, items: Sequence[str]) -> list[Row]:
    """Every future that these items had, oldest first."""
    query = """
        select f.item, f.pipeline, f.base, f.changes, f.own, f.errors, extract(epoch from f.created)::float8 as created
        from futures f where f.item = any(%s) order by f.created"""
    return await _rows(conn, query, (list(items),))


async def items_of_change(
    conn: Connection, tenant: str, change: int | None, patchset: str | None, newrev: str | None
) -> list[str]:
    """Items that held a change or commit, as far as their buildsets tell."""
    query = """
        select distinct s.queue_item_uuid from buildsets s
        join buildset_refs sr on sr.buildset_id = s.id join refs r on r.id = sr.ref_id
        where s.tenant = %s and s.queue_item_uuid is not null
          and r.change is not distinct from %s::bigint and (%s::text is null or r.patchset = %s)
          and (%s::text is null or r.newrev = %s)"""
    rows = await _rows(conn, query, (tenant, change, patchset, patchset, newrev, newrev))
    return [row["queue_item_uuid"] for row in rows]


async def story_of(conn: Connection, tenant: str, items: Sequence[str]) -> list[Row]:
    """What buildsets of these items were told and came to: rows {at, kind, text, pipeline, uuid, item}."""
    query = """
        select extract(epoch from e.event_time)::float8 as at, e.event_type as kind, e.description as text,
            s.pipeline, s.uuid, s.queue_item_uuid as item
        from buildset_events e join buildsets s on s.id = e.buildset_id
        where s.tenant = %s and s.queue_item_uuid = any(%s)
        union all
        select extract(epoch from b.end_time)::float8, 'build', b.job_name || ' ' || coalesce(b.result, ''),
            b.pipeline, b.uuid, s.queue_item_uuid
        from builds b join buildsets s on s.uuid = b.buildset_uuid
        where s.tenant = %s and s.queue_item_uuid = any(%s) and b.end_time is not null
        union all
        select extract(epoch from coalesce(s.last_build_end_time, s.created))::float8, 'result', s.result,
            s.pipeline, s.uuid, s.queue_item_uuid
        from buildsets s where s.tenant = %s and s.queue_item_uuid = any(%s) and s.result is not null
        order by 1 desc limit 200"""
    ids = list(items)
    return await _rows(conn, query, (tenant, ids, tenant, ids, tenant, ids))


async def applications(conn: Connection, tenant: str) -> list[Row]:
    """Applications with their live instances and where those are."""
    query = """
        select a.name, a.project, a.branch, a.body, a.status, e.document as endpoints,
            (select coalesce(jsonb_agg(i.body || jsonb_build_object('lat', g.lat, 'lon', g.lon) order by i.serial), '[]')
             from instances i left join regions g on g.cloud = i.cloud and g.region = i.region
             where i.tenant = a.tenant and i.application = a.name and i.ended is null) as instances
        from applications a left join endpoints e on e.tenant = a.tenant and e.application = a.name
        where a.tenant = %s order by a.name"""
    return await _rows(conn, query, (tenant,))
