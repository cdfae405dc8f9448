"""Buildsets, builds, refs: written by the scheduler and the executors, read by everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row, notify


async def ref_id(
    conn: Connection,
    *,
    connection: str,
    canonical: str,
    project: str,
    branch: str | None,
    change: int | None,
    patchset: str | None,
    ref: str,
    oldrev: str | None,
    newrev: str | None,
    ref_url: str | None,
) -> int:
    """The number of a ref's row, made if need be."""
    values = (connection, canonical, project, branch, change, patchset, ref, oldrev, newrev, ref_url)
    await conn.execute(
        """
        insert into refs (connection, canonical, project, branch, change, patchset, ref, oldrev, newrev, ref_url)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict on constraint refs_unique do nothing
        """,
        values,
    )
    row = await (
        await conn.execute(
            """
            select id from refs where connection = %s and project = %s and branch is not distinct from %s
              and change is not distinct from %s and patchset is not distinct from %s and ref = %s
              and oldrev is not distinct from %s and newrev is not distinct from %s
            """,
            (connection, project, branch, change, patchset, ref, oldrev, newrev),
        )
    ).fetchone()
    assert row is not None
    return int(row["id"])


async def create_buildset(
    conn: Connection,
    *,
    uuid: str,
    tenant: str,
    pipeline: str,
    owner: str,
    item: str,
    event_id: str,
    event_at: float | None,
    refs: Sequence[int],
    triggered_by: str,
    user_id: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> None:
    """A buildset begins. Asking again is nothing."""
    row = await (
        await conn.execute(
            """
            insert into buildsets
                (uuid, tenant, pipeline, owner, queue_item_uuid, zuul_ref, event_id, event_timestamp, user_id, parameters)
            values (%s, %s, %s, %s, %s, %s, %s, to_timestamp(%s), %s, %s) on conflict (uuid) do nothing returning id
            """,
            (
                *(uuid, tenant, pipeline, owner, item, f"Z{uuid}", event_id, event_at),
                *(user_id, Jsonb(parameters) if parameters else None),
            ),
        )
    ).fetchone()
    if row is None:
        return
    for position, ref in enumerate(refs):
        await conn.execute(
            "insert into buildset_refs (buildset_id, ref_id, position) values (%s, %s, %s) on conflict do nothing",
            (row["id"], ref, position),
        )
    await conn.execute(
        "insert into buildset_events (buildset_id, event_type, description) values (%s, 'triggered', %s)",
        (row["id"], triggered_by),
    )


async def close_buildset(conn: Connection, uuid: str, result: str, message: str) -> None:
    """An item has its result; an empty message leaves what was reported."""
    await conn.execute(
        """
        update buildsets set result = %s, message = coalesce(nullif(%s, ''), message),
            first_build_start_time = (select min(start_time) from builds where buildset_uuid = %s),
            last_build_end_time = (select max(end_time) from builds where buildset_uuid = %s)
        where uuid = %s
        """,
        (result, message, uuid, uuid, uuid),
    )


async def forget_buildset(conn: Connection, uuid: str) -> None:
    await conn.execute("delete from buildsets where uuid = %s", (uuid,))


async def set_buildset_message(conn: Connection, uuid: str, message: str) -> None:
    await conn.execute("update buildsets set message = %s where uuid = %s", (message, uuid))


async def create(
    conn: Connection,
    *,
    uuid: str,
    buildset: str,
    owner: str,
    tenant: str,
    pipeline: str,
    job: str,
    ref: int,
    voting: bool,
    nodeset: str,
    attempt: int,
    request: dict[str, Any] | None,
    provides: Sequence[str] = (),
) -> bool:
    """A build is asked for. False if it was before."""
    row = await (
        await conn.execute(
            """
            insert into builds (uuid, buildset_uuid, owner, tenant, pipeline, job_name, ref_id, voting, nodeset,
                attempt, request, execute_time)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
            on conflict (uuid) do nothing returning id
            """,
            (
                *(uuid, buildset, owner, tenant, pipeline, job, ref, voting, nodeset, attempt),
                Jsonb(request) if request is not None else None,
            ),
        )
    ).fetchone()
    if row is None:
        return False
    for name in provides:
        await conn.execute("insert into provides (build_id, name) values (%s, %s)", (row["id"], name))
    return True


async def get(conn: Connection, uuid: str) -> Row | None:
    return await (await conn.execute("select * from builds where uuid = %s", (uuid,))).fetchone()


async def of_buildset(conn: Connection, buildset: str) -> list[Row]:
    """The builds of a buildset in order of asking, without their requests."""
    cursor = await conn.execute(
        """
        select id, uuid, job_name, result, error_detail, voting, log_url, final, state, attempt, data, warnings,
               start_time, end_time, ref_id
        from builds where buildset_uuid = %s order by id
        """,
        (buildset,),
    )
    return await cursor.fetchall()


async def claim(conn: Connection, uuid: str, executor: str) -> str:
    """An executor takes a build: "run" it, "lost" if an executor died with it, "done" if there is nothing to do."""
    row = await (
        await conn.execute("select state, cancel_requested, executor from builds where uuid = %s for update", (uuid,))
    ).fetchone()
    if row is None or row["state"] == "complete" or row["cancel_requested"]:
        return "done"
    if row["state"] in ("running", "paused"):
        return "lost"
    await conn.execute(
        "update builds set state = 'running', executor = %s, start_time = clock_timestamp() where uuid = %s",
        (executor, uuid),
    )
    return "run"


async def set_state(conn: Connection, uuid: str, state: str) -> None:
    await conn.execute("update builds set state = %s where uuid = %s and state <> 'complete'", (state, uuid))


async def keep_outcome(
    conn: Connection,
    uuid: str,
    *,
    result: str | None,
    error_detail: str | None,
    log_url: str | None,
    data: dict[str, Any],
    secret_data: bytes | None,
    artifacts: Sequence[dict[str, Any]],
    warnings: Sequence[str],
) -> bool:
    """What an executor answers. False (and nothing written) if the build had ended before."""
    row = await (
        await conn.execute(
            """
            update builds set state = 'complete', result = coalesce(result, %s), error_detail = %s, log_url = %s,
                data = %s, secret_data = %s, warnings = %s, end_time = clock_timestamp()
            where uuid = %s and state <> 'complete' returning id
            """,
            (result, error_detail, log_url, Jsonb(data), secret_data, Jsonb(list(warnings)), uuid),
        )
    ).fetchone()
    if row is None:
        return False
    for artifact in artifacts:
        await conn.execute(
            "insert into artifacts (build_id, name, url, metadata) values (%s, %s, %s, %s)",
            (row["id"], artifact["name"], artifact["url"], Jsonb(artifact.get("metadata"))),
        )
    return True


async def record(
    conn: Connection, uuid: str, *, result: str, final: bool, error_detail: str | None, at: float | None
) -> None:
    """The gate's verdict on a build."""
    await conn.execute(
        """
        update builds set result = %(result)s, final = %(final)s, held = coalesce(held, false),
            error_detail = coalesce(%(error_detail)s, error_detail), state = 'complete',
            end_time = coalesce(end_time, to_timestamp(%(at)s), clock_timestamp())
        where uuid = %(uuid)s
        """,
        {"uuid": uuid, "result": result, "final": final, "error_detail": error_detail, "at": at or None},
    )


async def ask_to_cancel(conn: Connection, uuid: str) -> None:
    """Stop a build wherever it is; one that no executor has taken has ended by this."""
    await conn.execute(
        """
        update builds set cancel_requested = true, final = true, held = coalesce(held, false),
            result = case when start_time is null then 'CANCELED' else 'ABORTED' end,
            state = case when state = 'requested' then 'complete' else state end,
            end_time = case when state = 'requested' then clock_timestamp() else end_time end
        where uuid = %s and state <> 'complete'
        """,
        (uuid,),
    )
    await notify(conn, "build", uuid)


async def ask_to_resume(conn: Connection, uuid: str) -> None:
    await conn.execute("update builds set resume_requested = true where uuid = %s", (uuid,))
    await notify(conn, "build", uuid)


async def providing(
    conn: Connection,
    tenant: str,
    pipeline: str,
    canonical: str,
    change: int | None,
    patchset: str | None,
    names: Sequence[str],
) -> list[Row]:
    """Builds of a change's last buildset that provide one of `names`: rows {uuid, job_name, result, provides, artifacts}."""
    cursor = await conn.execute(
        """
        with matching as (
            select b.id, b.uuid, b.job_name, b.result, b.buildset_uuid,
                (select array_agg(p.name) from provides p where p.build_id = b.id) as provides,
                (select coalesce(jsonb_agg(jsonb_build_object(
                     'name', a.name, 'url', a.url, 'metadata', coalesce(a.metadata, '{}')) order by a.id), '[]')
                 from artifacts a where a.build_id = b.id) as artifacts
            from builds b join refs r on r.id = b.ref_id
            where b.tenant = %s and b.pipeline = %s and r.canonical = %s and r.change = %s and r.patchset = %s
              and b.result is not null and b.final is not false
              and exists (select 1 from provides p where p.build_id = b.id and p.name = any(%s)))
        select * from matching where buildset_uuid = (select buildset_uuid from matching order by id desc limit 1)
        order by id
        """,
        (tenant, pipeline, canonical, change, patchset, list(names)),
    )
    return await cursor.fetchall()


async def note_event(conn: Connection, buildset: str, kind: str, description: str) -> None:
    await conn.execute(
        """
        insert into buildset_events (buildset_id, event_type, description)
        select id, %s, %s from buildsets where uuid = %s
        """,
        (kind, description, buildset),
    )


async def secret_data(conn: Connection, uuids: Sequence[str]) -> list[bytes]:
    """Encrypted secret data of builds, in the order asked for."""
    cursor = await conn.execute("select uuid, secret_data from builds where uuid = any(%s)", (list(uuids),))
    found = {row["uuid"]: row["secret_data"] for row in await cursor.fetchall()}
    return [bytes(found[uuid]) for uuid in uuids if found.get(uuid)]


async def running_elsewhere(conn: Connection, executor: str) -> list[str]:
    """Builds that other executors than this one run."""
    cursor = await conn.execute(
        "select uuid from builds where executor <> %s and state in ('running', 'paused')", (executor,)
    )
    return [row["uuid"] for row in await cursor.fetchall()]


async def keep_data(conn: Connection, uuid: str, data: dict[str, Any], secret_data: bytes | None) -> None:
    """What a paused build has returned so far: its children use it."""
    await conn.execute(
        "update builds set data = %s, secret_data = %s where uuid = %s", (Jsonb(data), secret_data, uuid)
    )
