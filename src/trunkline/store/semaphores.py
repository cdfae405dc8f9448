"""Semaphores: counted, of a tenant or global, handed out in order of priority."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from trunkline.store.database import Connection, Row


async def acquire(
    conn: Connection,
    *,
    ticket: str,
    tenant: str,
    queue_id: str,
    item: str,
    job: str,
    buildset: str,
    names: list[dict[str, Any]],
    priority: int,
    relative_priority: int,
) -> list[Row]:
    """Take all of `names` ([{scope, name, max}]) for `ticket`, or wait in line. Asking again is nothing.

    Returns everyone who got what they wait for by this: rows {ticket, queue_id, item, job}.
    """
    await _lock(conn)
    held = await (await conn.execute("select 1 from semaphore_holders where ticket = %s", (ticket,))).fetchone()
    if held:
        return []
    await conn.execute(
        """
        insert into semaphore_waiters
            (tenant, queue_id, item, job, buildset, ticket, names, priority, relative_priority)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (ticket) do nothing
        """,
        (tenant, queue_id, item, job, buildset, ticket, Jsonb(names), priority, relative_priority),
    )
    return await _serve(conn)


async def release(conn: Connection, ticket: str) -> list[Row]:
    """Give back what a ticket holds, or stop waiting. Returns who got it: rows {ticket, queue_id, item, job}."""
    await _lock(conn)
    await conn.execute("delete from semaphore_holders where ticket = %s", (ticket,))
    await conn.execute("delete from semaphore_waiters where ticket = %s", (ticket,))
    return await _serve(conn)


async def release_of_build(conn: Connection, build: str) -> list[Row]:
    """As `release`, for every playbook of a build that has ended."""
    await _lock(conn)
    for table in ("semaphore_holders", "semaphore_waiters"):
        await conn.execute(f"delete from {table} where starts_with(ticket, %s)", (playbook_ticket(build),))
    return await _serve(conn)


def playbook_ticket(build: str, phase: str = "", index: int | None = None) -> str:
    """Under which a playbook holds its semaphores; without a phase, how all of the build begin."""
    return f"playbook:{build}:" + (f"{phase}:{index}" if phase else "")


async def has(conn: Connection, ticket: str) -> bool:
    cursor = await conn.execute("select 1 from semaphore_holders where ticket = %s limit 1", (ticket,))
    return await cursor.fetchone() is not None


async def holders(conn: Connection) -> list[Row]:
    cursor = await conn.execute("select * from semaphore_holders order by since, ticket")
    return await cursor.fetchall()


async def _lock(conn: Connection) -> None:
    await conn.execute("select pg_advisory_xact_lock(hashtext('semaphores'))")


async def _serve(conn: Connection) -> list[Row]:
    """Give to waiting tickets in order what is free; one that cannot have all takes nothing and bars nobody."""
    taken: dict[tuple[str, str], int] = {}
    for row in await (
        await conn.execute("select scope, name, count(*) as n from semaphore_holders group by scope, name")
    ).fetchall():
        taken[row["scope"], row["name"]] = row["n"]
    waiting = await (
        await conn.execute("select * from semaphore_waiters order by priority, relative_priority, id")
    ).fetchall()
    served = []
    for waiter in waiting:
        wants = [((n["scope"], n["name"]), n["max"]) for n in waiter["names"]]
        if any(taken.get(key, 0) >= most for key, most in wants):
            continue
        for key, _ in wants:
            taken[key] = taken.get(key, 0) + 1
            await conn.execute(
                """
                insert into semaphore_holders (scope, name, queue_id, item, job, ticket, buildset, tenant)
                values (%s, %s, %s, %s, %s, %s, %s, %s)
                """,
                (
                    *(*key, waiter["queue_id"], waiter["item"], waiter["job"]),
                    *(waiter["ticket"], waiter["buildset"], waiter["tenant"]),
                ),
            )
        await conn.execute("delete from semaphore_waiters where id = %s", (waiter["id"],))
        served.append(waiter)
    return served
