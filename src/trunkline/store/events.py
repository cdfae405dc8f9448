"""The inboxes: events that wait for an owner, in order, each used in exactly one transaction of the owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from trunkline.store import tasks
from trunkline.store.database import Connection, Row, notify

# Owners of these kinds are advanced by a task; others (fleet, launcher) listen on the channel of their kind.
_ADVANCED_BY = {"queue": ("gate.advance", tasks.GATE), "router": ("router.route", tasks.SCHEDULER)}


async def post(conn: Connection, owner: str, event: msgspec.Struct | dict[str, Any]) -> int:
    """Put an event into the inbox of `owner` ("kind:name") and wake it when this transaction commits.

    Returns the event's number; within an owner numbers grow in order of posting.
    """
    row = await (
        await conn.execute(
            "insert into events (owner, event) values (%s, %s) returning id",
            (owner, Jsonb(msgspec.to_builtins(event))),
        )
    ).fetchone()
    assert row is not None
    await wake(conn, owner)
    return int(row["id"])


async def wake(conn: Connection, owner: str) -> None:
    """Have `owner` look into its inbox when this transaction commits."""
    kind, _, _ = owner.partition(":")
    if kind in _ADVANCED_BY:
        task, queue = _ADVANCED_BY[kind]
        await tasks.defer(conn, task, queue=queue, lock=owner, owner=owner)
    else:
        await notify(conn, kind, owner)


async def waiting(conn: Connection, owner: str, limit: int = 200, without: Sequence[str] = ()) -> list[Row]:
    """The events of `owner` that have not been used, oldest first: rows {id, event, created}.

    without: names of events (their type, or kind) that are left for later.
    """
    cursor = await conn.execute(
        """
        select id, event, created from events where owner = %s and done is null
          and not (coalesce(event ->> 'type', event ->> 'kind', '') = any(%s)) order by id limit %s
        """,
        (owner, list(without), limit),
    )
    return await cursor.fetchall()


async def owners_waiting(conn: Connection, kind: str) -> list[str]:
    """The owners of a kind that have events waiting."""
    cursor = await conn.execute(
        "select distinct owner from events where done is null and owner like %s order by owner", (f"{kind}:%",)
    )
    return [row["owner"] for row in await cursor.fetchall()]


async def finish(conn: Connection, ids: list[int], version: int | None = None) -> None:
    """Mark events as used by this transaction, which brought the owner's state to `version`."""
    if ids:
        await conn.execute(
            "update events set done = clock_timestamp(), version = %s where id = any(%s)", (version, ids)
        )


async def amend(conn: Connection, id: int, values: dict[str, Any]) -> None:
    """Add to the body of an event that waits."""
    await conn.execute("update events set event = event || %s where id = %s", (Jsonb(values), id))


async def history(conn: Connection, owner: str, limit: int = 500) -> list[Row]:
    """What `owner` has been told, newest first: rows {id, event, created, done, version}."""
    cursor = await conn.execute(
        "select id, event, created, done, version from events where owner = %s order by id desc limit %s",
        (owner, limit),
    )
    return await cursor.fetchall()


async def count_waiting(conn: Connection, owner: str) -> int:
    row = await (
        await conn.execute("select count(*) as n from events where owner = %s and done is null", (owner,))
    ).fetchone()
    return int(row["n"]) if row else 0


async def forget(conn: Connection, older_than_s: float) -> int:
    """Delete used events older than `older_than_s`. Returns how many."""
    cursor = await conn.execute("delete from events where done < now() - make_interval(secs => %s)", (older_than_s,))
    return cursor.rowcount
