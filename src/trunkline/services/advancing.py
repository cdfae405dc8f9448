"""The owner of a queue: takes its events in order through gate.step and writes state and effects in one transaction.

One owner at a time by the task's lock; the row's version fences whoever comes late. States are kept in memory by
version, so a step does not read them again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec
import structlog

from trunkline.gate import Queue, step
from trunkline.gate.events import RESULTS, AnyEvent, NodesFailed, NodesReady
from trunkline.gate.model import RequestId
from trunkline.services.effects import Effects
from trunkline.store import Connection, Database, events, queues
from trunkline.store.database import Row

log = structlog.get_logger()

MOST_KEPT = 512
BATCH = 100
WAITING_RESULTS = (*(kind.__name__ for kind in RESULTS), "nodes-ready", "nodes-failed")


class Advancing:
    """Advances queues for one scheduler process."""

    def __init__(self, db: Database, effects: Effects) -> None:
        self.db, self.effects = db, effects
        self._states: OrderedDict[str, tuple[int, Queue]] = OrderedDict()

    async def advance(self, owner: str) -> None:
        """Take what waits in the inbox of "queue:<id>"."""
        queue_id = owner.removeprefix("queue:")
        while True:
            async with self.db.transaction() as conn:
                version, _ = self._states.get(queue_id, (-1, None))
                row = await queues.lock(conn, queue_id, version)
                without = WAITING_RESULTS if row is not None and row["results_wait"] else ()
                rows = await events.waiting(conn, owner, limit=BATCH, without=without)
                if not rows:
                    return
                if row is None:  # the queue has ended: what comes late is stale
                    await events.finish(conn, [r["id"] for r in rows])
                    return
                try:
                    queue = await self._take(conn, row, rows)
                except BaseException:
                    self._states.pop(queue_id, None)
                    raise
            self._keep(queue_id, int(row["version"]) + 1, queue)

    async def _take(self, conn: Connection, row: Row, rows: list[Row]) -> Queue:
        queue = self._state(row)
        before = queue
        for event_row in rows:
            event = _event(queue, event_row["event"])
            if event is None:
                continue
            queue, effects = step(queue, event, event_row["created"].timestamp())
            for effect in effects:
                await self.effects.carry_out(conn, queue, effect)  # type: ignore[arg-type]
        await events.finish(conn, [r["id"] for r in rows], int(row["version"]) + 1)
        if queue.items or await events.count_waiting(conn, f"queue:{row['id']}"):
            await queues.save(conn, row["id"], row["version"], msgspec.json.encode(queue))
        else:
            await queues.drop(conn, row["id"])
        await self._index(conn, row, before, queue)
        await queues.changed(conn, row["tenant"])
        return queue

    async def _index(self, conn: Connection, row: Row, before: Queue, queue: Queue) -> None:
        if before.items.keys() != queue.items.keys():
            await queues.keep_items(conn, row["id"], list(queue.items))
        fresh = [item for id, item in queue.items.items() if id not in before.items]
        await queues.note_items(
            conn,
            row["id"],
            row["tenant"],
            row["pipeline"],
            ((i.id, c.key, c.project, c.number, c.patchset, i.live) for i in fresh for c in i.changes),
        )

    def _state(self, row: Row) -> Queue:
        known = self._states.get(row["id"])
        if known is not None and known[0] == row["version"]:
            return known[1]
        return msgspec.json.decode(bytes(row["state"]), type=Queue)

    def _keep(self, queue_id: str, version: int, queue: Queue) -> None:
        if not queue.items:
            self._states.pop(queue_id, None)
            return
        self._states[queue_id] = (version, queue)
        self._states.move_to_end(queue_id)
        while len(self._states) > MOST_KEPT:
            self._states.popitem(last=False)


def _event(queue: Queue, body: dict[str, Any]) -> AnyEvent | None:
    """The event of an inbox row. The pool speaks of requests; the queue knows whose they are."""
    kind = body.get("kind")
    if kind is None:
        return msgspec.convert(body, AnyEvent)  # type: ignore[no-any-return]
    request = RequestId(str(body["request"]).replace("-", ""))
    asked = queue.asking.get(request)
    if asked is None:
        return None
    if kind == "nodes-ready":
        return NodesReady(*asked, request, body.get("provider"))
    return NodesFailed(*asked, request, str(body.get("reason", "")))
