"""Work for any process: tasks carried by procrastinate, deferred in the transaction that caused them.

This is the outbox (design §10). A task has a name, a queue (which services take it) and perhaps a lock (at most one
of the same lock runs at a time).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import procrastinate

from trunkline.store.database import Connection

GATE, SCHEDULER, MERGER, EXECUTOR, LAUNCHER, REPORTER = "gate", "scheduler", "merger", "execute", "launcher", "report"


def make_app(dburi: str) -> procrastinate.App:
    """The task application of one process; open it before a worker runs."""
    return procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=dburi, min_size=1, max_size=6, timeout=60.0),
    )


PATIENT = procrastinate.RetryStrategy(linear_wait=1)
"""For tasks that must be done some day: at once after the first failure, then ever more seconds later."""


_outbox = procrastinate.App(connector=procrastinate.PsycopgConnector())


async def defer(
    conn: Connection,
    task: str,
    *,
    queue: str,
    lock: str | None = None,
    priority: int = 0,
    delay_s: float = 0.0,
    **arguments: Any,
) -> None:
    """Ask for `task` to be run with `arguments` once the transaction of `conn` commits.

    lock: tasks of one lock run one at a time, in order. priority: higher first. delay_s: not before that many
    seconds; never together with a lock, since a task that waits for its time would hold up the others of its lock.

    Tasks are not coalesced by procrastinate's queueing lock: a task that is found waiting may be fetched, and miss
    what this transaction writes, before this transaction commits.
    """
    assert not (lock and delay_s), "a delayed task must not have a lock"
    await _outbox.configure_task(
        task,
        queue=queue,
        lock=lock,
        priority=priority,
        schedule_in={"seconds": delay_s} if delay_s > 0 else None,
        connection=conn,
    ).defer_async(**arguments)


async def taken(conn: Connection, worker_id: int) -> set[int]:
    """The tasks that a worker is said to run."""
    cursor = await conn.execute(
        "select id from procrastinate_jobs where status = 'doing' and worker_id = %s", (worker_id,)
    )
    return {row["id"] for row in await cursor.fetchall()}


async def hand_back(conn: Connection, worker_id: int, only: Collection[int] | None = None) -> int:
    """Give the tasks (or only these) of a worker that does not run them to others at once. Returns how many."""
    rows = await (
        await conn.execute(
            """
            update procrastinate_jobs set status = 'todo', worker_id = null, attempts = attempts + 1
            where status = 'doing' and worker_id = %s and (%s::bigint[] is null or id = any(%s::bigint[]))
            returning id, queue_name
            """,
            (worker_id, ids := None if only is None else list(only), ids),
        )
    ).fetchall()
    for row in rows:
        payload = json.dumps({"type": "job_inserted", "job_id": row["id"]})
        await conn.execute("select pg_notify(%s, %s)", (f"procrastinate_queue_v1#{row['queue_name']}", payload))
    return len(rows)


async def hand_back_stalled(conn: Connection, silent_s: float) -> int:
    """Give back the tasks of every worker that has not been heard of for `silent_s` seconds. Returns how many."""
    rows = await (
        await conn.execute(
            """
            select distinct j.worker_id from procrastinate_jobs j
            join procrastinate_workers w on w.id = j.worker_id
            where j.status = 'doing' and w.last_heartbeat < now() - make_interval(secs => %s)
            """,
            (silent_s,),
        )
    ).fetchall()
    return sum([await hand_back(conn, row["worker_id"]) for row in rows])


async def forget_finished(conn: Connection, older_than_s: float) -> int:
    """Delete tasks that ended well longer ago than `older_than_s`. Returns how many."""
    cursor = await conn.execute(
        """
        delete from procrastinate_jobs where status = 'succeeded' and id in (
          select job_id from procrastinate_events
          where type = 'succeeded' and at < now() - make_interval(secs => %s))
        """,
        (older_than_s,),
    )
    return cursor.rowcount
