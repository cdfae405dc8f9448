"""Semaphores of single playbooks: had by the executor for as long as the playbook runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from trunkline.config import FrozenJob
from trunkline.executor import BuildControl
from trunkline.gate.events import SemaphoresHad
from trunkline.gate.model import ItemId, JobId
from trunkline.services.layouts import Loaded
from trunkline.store import Connection, Database, events, semaphores
from trunkline.store.database import Row

log = structlog.get_logger()

LOOK_S = 0.5


async def tell_served(conn: Connection, served: Sequence[Row]) -> None:
    """Tell queues whose jobs got what they wait for. (Executors look themselves.)"""
    for row in served:
        if row["queue_id"]:
            event = SemaphoresHad(ItemId(row["item"]), JobId(row["job"]), row["ticket"])
            await events.post(conn, f"queue:{row['queue_id']}", event)


def counted(loaded: Loaded | None, tenant: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """Names with their scope and maximum; an undeclared one has 1."""
    most = loaded.layout.semaphores if loaded else {}
    shared = loaded.spec.global_semaphores if loaded else {}
    return [
        {"scope": "" if name in shared else tenant, "name": name, "max": most.get(name, shared.get(name, 1))}
        for name in names
    ]


def of_playbooks(job: FrozenJob) -> dict[str, list[list[str]]]:
    """Names by phase and index, empty if no playbook has any."""
    phases = {"pre": job.pre_playbooks, "run": job.playbooks, "post": job.post_playbooks}
    found = {phase: [list(one.semaphores) for one in playbooks] for phase, playbooks in phases.items()}
    return found if any(names for phase in found.values() for names in phase) else {}


class PlaybookSemaphores:
    """Those of one running build."""

    def __init__(self, db: Database, row: Row, control: BuildControl) -> None:
        self.db, self.row, self.control = db, row, control
        request = row["request"] or {}
        self.wanted: Mapping[str, list[list[dict[str, Any]]]] = request.get("playbook_semaphores") or {}
        self._ticket: str | None = None

    async def enter(self, phase: str, index: int) -> None:
        """Wait until the playbook has what it wants, or the build is stopped."""
        await self.leave()
        playbooks = self.wanted.get(phase, [])
        names = playbooks[index] if index < len(playbooks) else []
        if not names:
            return
        self._ticket = semaphores.playbook_ticket(self.row["uuid"], phase, index)
        async with self.db.transaction() as conn:
            served = await semaphores.acquire(
                conn,
                ticket=self._ticket,
                tenant=self.row["tenant"],
                queue_id="",
                item="",
                job=self.row["job_name"],
                buildset=self.row["buildset_uuid"],
                names=names,
                priority=0,
                relative_priority=0,
            )
            await tell_served(conn, served)
        while not self.control.aborted.is_set():
            async with self.db.transaction() as conn:
                if await semaphores.has(conn, self._ticket):
                    return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.control.aborted.wait(), LOOK_S)

    async def leave(self) -> None:
        """Give back what the last playbook had."""
        if self._ticket is not None:
            async with self.db.transaction() as conn:
                await tell_served(conn, await semaphores.release(conn, self._ticket))
            self._ticket = None


async def forget(conn: Connection, row: Row) -> None:
    """Give back whatever a build that has ended, or is lost, may still have."""
    if (row["request"] or {}).get("playbook_semaphores"):
        await tell_served(conn, await semaphores.release_of_build(conn, row["uuid"]))
