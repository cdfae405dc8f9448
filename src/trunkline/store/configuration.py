"""Tenants, and the configuration that was read for them: branches, files, blobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row, notify


async def put_tenant(conn: Connection, name: str, position: int, spec: dict[str, Any]) -> bool:
    """Write what the tenant file says of a tenant. True if that is new, so that it must be loaded."""
    cursor = await conn.execute(
        """
        insert into tenants (name, position, spec) values (%(name)s, %(position)s, %(spec)s)
        on conflict (name) do update set position = excluded.position, spec = excluded.spec
        where tenants.spec is distinct from excluded.spec
        """,
        {"name": name, "position": position, "spec": Jsonb(spec)},
    )
    if cursor.rowcount:
        return True
    row = await (await conn.execute("select generation, wanted from tenants where name = %s", (name,))).fetchone()
    return row is not None and row["generation"] < row["wanted"]


async def drop_tenants_except(conn: Connection, names: Sequence[str]) -> None:
    await conn.execute("delete from tenants where not (name = any(%s))", (list(names),))


async def tenants(conn: Connection) -> list[Row]:
    cursor = await conn.execute("select * from tenants order by position, name")
    return await cursor.fetchall()


async def tenant_names(conn: Connection) -> list[str]:
    cursor = await conn.execute("select name from tenants order by position, name")
    return [row["name"] for row in await cursor.fetchall()]


async def generation(conn: Connection, name: str) -> int:
    """Of the tenant's layout; 0 if there is none."""
    row = await (await conn.execute("select generation from tenants where name = %s", (name,))).fetchone()
    return int(row["generation"]) if row else 0


async def generations(conn: Connection) -> dict[str, int]:
    """Of every tenant's layout."""
    cursor = await conn.execute("select name, generation from tenants order by position, name")
    return {row["name"]: row["generation"] for row in await cursor.fetchall()}


async def state(conn: Connection, name: str) -> dict[str, Any]:
    """The tenant's switches; they do not change until the transaction ends."""
    row = await (await conn.execute("select state from tenants where name = %s for share", (name,))).fetchone()
    return row["state"] if row else {}


async def tenant(conn: Connection, name: str) -> Row | None:
    return await (await conn.execute("select * from tenants where name = %s", (name,))).fetchone()


async def want_next(conn: Connection, name: str) -> int:
    """Ask for a new generation of a tenant's layout; its connections' events wait until it is there."""
    row = await (
        await conn.execute(
            "update tenants set wanted = greatest(wanted, generation) + 1 where name = %s returning wanted", (name,)
        )
    ).fetchone()
    return int(row["wanted"]) if row else 0


async def reached(conn: Connection, name: str, wanted: int, fingerprint: str) -> bool:
    """The configuration asked for as number `wanted` has been read. False if it is what was in force before."""
    cursor = await conn.execute(
        """
        update tenants set generation = greatest(generation, %(wanted)s), fingerprint = %(fingerprint)s,
            reconfigured = clock_timestamp()
        where name = %(name)s and (fingerprint is distinct from %(fingerprint)s or generation = 0)
        """,
        {"wanted": wanted, "fingerprint": fingerprint, "name": name},
    )
    is_new = cursor.rowcount > 0
    if not is_new:
        await conn.execute("update tenants set wanted = generation where name = %s and wanted = %s", (name, wanted))
    await notify(conn, "layout", name)
    await notify(conn, "status", name)
    return is_new


async def reconfiguring(conn: Connection) -> list[str]:
    cursor = await conn.execute("select name from tenants where generation < wanted")
    return [row["name"] for row in await cursor.fetchall()]


async def put_project(
    conn: Connection,
    connection: str,
    project: str,
    default_branch: str,
    branches: Mapping[str, str],
    problem: str | None = None,
) -> None:
    await conn.execute(
        """
        insert into config_projects (connection, project, default_branch, branches, problem)
        values (%s, %s, %s, %s, %s)
        on conflict (connection, project) do update set default_branch = excluded.default_branch,
            branches = excluded.branches, problem = excluded.problem, read = clock_timestamp()
        """,
        (connection, project, default_branch, Jsonb(dict(branches)), problem),
    )


async def projects(conn: Connection) -> dict[tuple[str, str], Row]:
    cursor = await conn.execute("select * from config_projects")
    return {(row["connection"], row["project"]): row for row in await cursor.fetchall()}


async def branches(conn: Connection) -> list[Row]:
    cursor = await conn.execute("select * from config_branches order by connection, project, branch")
    return await cursor.fetchall()


async def branch(conn: Connection, connection: str, project: str, branch: str, paths_key: str) -> Row | None:
    cursor = await conn.execute(
        "select * from config_branches where connection = %s and project = %s and branch = %s and paths_key = %s",
        (connection, project, branch, paths_key),
    )
    return await cursor.fetchone()


async def put_branch(
    conn: Connection,
    connection: str,
    project: str,
    branch: str,
    paths_key: str,
    head: str,
    files: Mapping[str, str],
    held: list[dict[str, Any]] | None = None,
) -> None:
    """The files in force on a branch. `held`: errors of the head, for which older files stay in force."""
    await conn.execute(
        """
        insert into config_branches (connection, project, branch, paths_key, head, files, held)
        values (%s, %s, %s, %s, %s, %s, %s)
        on conflict (connection, project, branch, paths_key) do update
            set head = excluded.head, files = excluded.files, held = excluded.held
        """,
        (connection, project, branch, paths_key, head, Jsonb(dict(files)), Jsonb(held) if held else None),
    )


async def drop_branches_except(conn: Connection, connection: str, project: str, names: Sequence[str]) -> None:
    await conn.execute(
        "delete from config_branches where connection = %s and project = %s and not (branch = any(%s))",
        (connection, project, list(names)),
    )


async def missing_blobs(conn: Connection, blobs: Iterable[str]) -> list[str]:
    wanted = sorted(set(blobs))
    cursor = await conn.execute("select blob from config_blobs where blob = any(%s)", (wanted,))
    known = {row["blob"] for row in await cursor.fetchall()}
    return [blob for blob in wanted if blob not in known]


async def put_blobs(conn: Connection, texts: Mapping[str, str]) -> None:
    if texts:
        async with conn.cursor() as cursor:
            await cursor.executemany(
                "insert into config_blobs (blob, text) values (%s, %s) on conflict do nothing",
                [(blob, text.replace("\x00", "\ufffd")) for blob, text in texts.items()],
            )


async def texts(conn: Connection, blobs: Iterable[str]) -> dict[str, str]:
    cursor = await conn.execute("select blob, text from config_blobs where blob = any(%s)", (sorted(set(blobs)),))
    return {row["blob"]: row["text"] for row in await cursor.fetchall()}


async def put_installation(conn: Connection, body: dict[str, Any]) -> None:
    """What the tenant file says beyond tenants: authorisation rules, roles, the API's root, errors."""
    await conn.execute(
        "insert into installation (body) values (%s) on conflict (one) do update set body = excluded.body",
        (Jsonb(body),),
    )


async def installation(conn: Connection) -> dict[str, Any]:
    row = await (await conn.execute("select body from installation")).fetchone()
    return row["body"] if row else {}
