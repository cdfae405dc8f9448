"""What a job requires of changes that are tested elsewhere: from the queue that tests them now, else from earlier builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from trunkline.gate import Change, Queue
from trunkline.gate.effects import FindProvided
from trunkline.gate.events import ProvidedFound
from trunkline.gate.model import Artifact, ArtifactFrom, BuildId
from trunkline.gate.starting import provided_by, unmet
from trunkline.store import Connection, Database, builds, events, queues, tasks

log = structlog.get_logger()

AGAIN_S = 1.0
FIND = "artifacts.find"


async def ask(conn: Connection, queue: Queue, effect: FindProvided, *, delay_s: float = 0.0) -> None:
    """Have the artifacts looked for once this transaction commits."""
    place = {"tenant": queue.settings.tenant, "pipeline": queue.settings.pipeline, "queue_id": queue.id}
    wanted = msgspec.to_builtins(effect)
    await tasks.defer(conn, FIND, queue=tasks.SCHEDULER, delay_s=delay_s, place=place, wanted=wanted)


class Providing:
    """Looks for one scheduler process."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def find(self, place: dict[str, str], wanted: dict[str, Any]) -> None:
        """Answer, or look again a little later if what is required is being made."""
        effect = msgspec.convert(wanted, FindProvided)
        async with self.db.transaction() as conn:
            if not await queues.holds(conn, place["queue_id"], effect.item):
                return
            found: list[ArtifactFrom] = []
            for change in effect.changes:
                theirs, verdict = await self._of(conn, place, change, set(effect.requires))
                if verdict == "":
                    await tasks.defer(conn, FIND, queue=tasks.SCHEDULER, delay_s=AGAIN_S, place=place, wanted=wanted)
                    return
                if verdict is not None:
                    event = ProvidedFound(effect.item, effect.future, effect.job, problem=verdict)
                    await events.post(conn, f"queue:{place['queue_id']}", event)
                    return
                found += theirs
            event = ProvidedFound(effect.item, effect.future, effect.job, tuple(found))
            await events.post(conn, f"queue:{place['queue_id']}", event)

    async def _of(
        self, conn: Connection, place: dict[str, str], change: Change, wanted: set[str]
    ) -> tuple[Sequence[ArtifactFrom], str | None]:
        for where in await queues.where_key(conn, place["tenant"], [change.key]):
            if where["pipeline"] != place["pipeline"] or not where["live"]:
                continue
            state = await queues.state(conn, where["queue_id"])
            queue = msgspec.json.decode(state, type=Queue) if state else None
            item = queue.items.get(where["item"]) if queue else None
            if item is None:
                return (), ""  # on its way in
            return provided_by(item, wanted)
        rows = await builds.providing(
            conn, place["tenant"], place["pipeline"], change.project, change.number, change.patchset, sorted(wanted)
        )
        for row in rows:
            if row["result"] != "SUCCESS":
                return (), unmet(wanted & set(row["provides"]), row["uuid"])
        return [
            ArtifactFrom(msgspec.convert(made, Artifact), row["job_name"], change.key, BuildId(row["uuid"]))
            for row in rows
            for made in row["artifacts"]
        ], None
