"""From a happening at a connection to events in queues: which tenants, which pipelines, what must be read again.

Events of one connection are routed one at a time in the order they came. While a tenant is being read again they wait:
what happened after a configuration landed is judged by that configuration.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import psycopg
import structlog

from trunkline.config import Pipeline, config_paths
from trunkline.connections import ChangeInfo, ChangeNotFound, ConnectionFailed, TriggerEvent, trigger_matches
from trunkline.gate import Change
from trunkline.gate.events import (
    ChangeAbandoned,
    ChangeMergedElsewhere,
    Dequeue,
    DequeueReason,
    RequirementsLost,
    Supersede,
)
from trunkline.gate.model import ItemId, RefKey
from trunkline.gate.verdict import NEEDS_FAILED
from trunkline.services import inner_events, operations
from trunkline.services.admitting import enter, event_id_of
from trunkline.services.candidates import Gathering, of_ref
from trunkline.services.layouts import Layouts, Loaded
from trunkline.services.sources import Sources
from trunkline.store import Connection, Database, configuration, events, queues, refs, tasks
from trunkline.store.database import Row

log = structlog.get_logger()

TRIES = 3


class Routing:
    """Routes for one scheduler process."""

    def __init__(self, db: Database, sources: Sources, layouts: Layouts) -> None:
        self.db, self.sources, self.layouts = db, sources, layouts

    async def route(self, owner: str) -> None:
        """Take the events of a connection ("router:<name>") until none is left or a tenant must be read first."""
        while True:
            async with self.db.transaction() as conn:
                rows = await events.waiting(conn, owner, limit=1)
                if not rows or await configuration.reconfiguring(conn):
                    return
                row = rows[0]
                if row["event"].get("kind") == "layout-ready":
                    await events.finish(conn, [row["id"]])
                    continue
            try:
                is_taken = await self._take(row)
            except ChangeNotFound as problem:
                log.info("event.moot", owner=owner, detail=str(problem))
                is_taken = True
            except (ConnectionFailed, psycopg.Error):
                raise  # tried again until they are back
            except Exception:
                is_taken = await self._give_up(row)
                if not is_taken:
                    raise
            if is_taken:
                async with self.db.transaction() as conn:
                    await events.finish(conn, [row["id"]])

    async def _give_up(self, row: Row) -> bool:
        """A fault of ours must not hold up what comes behind it: after some tries the event is left out, loudly."""
        tries = int(row["event"].get("tries", 0)) + 1
        if tries >= TRIES:
            log.exception("event.left_out", id=row["id"], event_body=row["event"])
            return True
        async with self.db.transaction() as conn:
            await events.amend(conn, row["id"], {"tries": tries})
        return False

    async def _take(self, row: Row) -> bool:
        """Act on one event. False if a tenant must be read first: the event is taken again then."""
        body: dict[str, Any] = row["event"]
        if body.get("kind") == inner_events.KIND:
            await inner_events.carry_out(self, body)
            return True
        if body.get("kind") != "trigger":
            await operations.carry_out(self, body)
            return True
        event = msgspec.convert(body["event"], TriggerEvent)
        info = await self._change(event)
        if "again" not in body and await self._reload(row["id"], event, info):
            return False
        async with self.db.transaction() as conn:
            names = await configuration.tenant_names(conn)
        for name in names:
            if name in (body.get("only", name), event.tenant or name):
                await self._for_tenant(name, event, info)
        return True

    async def _change(self, event: TriggerEvent) -> ChangeInfo | None:
        if event.change is None:
            return None
        return await self.sources[event.connection].change(event.change, event.patchset)

    async def _reload(self, row_id: int, event: TriggerEvent, info: ChangeInfo | None) -> bool:
        """Have tenants read again whose configuration this may have changed; the event is taken again afterwards."""
        canonical = self.sources.canonical(event.connection, event.project)
        async with self.db.transaction() as conn:
            wanted = []
            for tenant in await configuration.tenants(conn):
                loaded = await self.layouts.get(conn, tenant["name"])
                if loaded is not None and _may_change_layout(loaded, canonical, event, info):
                    wanted.append(tenant["name"])
            for name in wanted:
                await configuration.want_next(conn, name)
                await tasks.defer(
                    conn, "config.load", queue=tasks.MERGER, lock=f"config:{name}", tenant=name, projects=[canonical]
                )
            if wanted:
                await events.amend(conn, row_id, {"again": True})
        return bool(wanted)

    async def _for_tenant(self, tenant: str, event: TriggerEvent, info: ChangeInfo | None) -> None:
        canonical = self.sources.canonical(event.connection, event.project)
        async with self.db.transaction() as conn:
            loaded = await self.layouts.get(conn, tenant)
            if loaded is None or loaded.spec.project(canonical) is None:
                return
            switches = await configuration.state(conn, tenant)
            if switches.get("trigger_queue_paused"):
                await events.post(conn, held_back(tenant), msgspec.to_builtins(event))
                return
            if switches.get("trigger_queue_discarding"):
                log.info("event.discarded", tenant=tenant, type=event.type, delivery=event.delivery)
                return
            if info is not None:
                await self._tell_queues(conn, loaded, canonical, event, info)
        project = loaded.spec.project(canonical)
        assert project is not None
        if (
            event.branch is not None
            and not project.includes_branch(event.branch)
            and not project.is_dynamic_branch(event.branch)
        ):
            return
        for pipeline in loaded.layout.pipelines.values():
            if event.trigger == "timer" and event.pipeline != pipeline.name:
                continue
            triggers = pipeline.triggers.get(event.trigger, [])
            if any(trigger_matches(trigger, event, info) for trigger in triggers):
                await self.consider(loaded, pipeline, event, info)

    async def consider(
        self,
        loaded: Loaded,
        pipeline: Pipeline,
        event: TriggerEvent,
        info: ChangeInfo | None,
        by_hand: tuple[str | None, dict[str, Any]] | None = None,
    ) -> None:
        """A trigger fired: gather what the admission must know, then admit in one transaction."""
        canonical = self.sources.canonical(event.connection, event.project)
        if info is not None:
            gathered = await Gathering(self.sources, loaded.layout, pipeline, time.time()).of_change(info)
            wanted = RefKey(info.key)
        else:
            change = ref_change(event.connection, canonical, event.project, event.ref or "", event.oldrev, event.newrev)
            gathered, wanted = of_ref(change, canonical), change.key
        async with self.db.transaction() as conn:
            await enter(conn, loaded, pipeline, wanted, gathered, event_id_of(event.delivery), event.at, by_hand)

    async def _tell_queues(
        self, conn: Connection, loaded: Loaded, canonical: str, event: TriggerEvent, info: ChangeInfo
    ) -> None:
        """Items that hold the change must know what became of it."""
        for place in await queues.where(conn, loaded.spec.name, canonical, info.number):
            pipeline = loaded.layout.pipelines.get(place["pipeline"])
            told = _what_to_tell(self.sources, loaded, pipeline, place, event, info)
            if told is not None:
                await events.post(conn, f"queue:{place['queue_id']}", told)
            elif event.type == "patchset-created" and int(place["patchset"] or 0) < info.patchset:
                await self._tell_those_that_need(conn, loaded, canonical, place["queue_id"], info)

    async def _tell_those_that_need(
        self, conn: Connection, loaded: Loaded, canonical: str, queue_id: str, info: ChangeInfo
    ) -> None:
        """What names the change in a Depends-On footer needs its newest patch set: with another it is not tested on."""
        rows = [row for row in await queues.items_of(conn, queue_id) if row["live"]]
        known = await refs.get(conn, [row["ref_key"] for row in rows])
        queue = loaded.layout.queues.get(loaded.layout.queue_of(canonical, info.branch) or "")
        own = {other.number_of(url) for url in info.depends_on for other in self.sources.all()}
        if queue is None or not queue.allow_circular_dependencies:
            own = set()
        for row in rows:
            urls = known.get(row["ref_key"], {}).get("depends_on", ())
            if not any(self.sources[info.connection].number_of(url) == info.number for url in urls):
                continue
            # A change that needs it in turn makes a cycle of the two: they come back as one item.
            reason = DequeueReason.RECONFIGURED if row["change"] in own else DequeueReason.DEPENDENCY
            message = f"{NEEDS_FAILED}\n\nChange {info.url} is needed."
            await events.post(conn, f"queue:{queue_id}", Dequeue(ItemId(row["item"]), None, reason, message))


def held_back(tenant: str) -> str:
    """The inbox of happenings that wait for the tenant's triggers to go on."""
    return f"held:{tenant}"


async def go_on(conn: Connection, tenant: str, *, discard: bool) -> None:
    """Route what was held back for the tenant, or forget it."""
    rows = await events.waiting(conn, held_back(tenant), limit=100_000)
    for row in () if discard else rows:
        body = {"kind": "trigger", "event": row["event"], "only": tenant, "again": True}
        await events.post(conn, f"router:{row['event']['connection']}", body)
    await events.finish(conn, [row["id"] for row in rows])


def _what_to_tell(
    sources: Sources,
    loaded: Loaded,
    pipeline: Pipeline | None,
    place: Mapping[str, Any],
    event: TriggerEvent,
    info: ChangeInfo,
) -> msgspec.Struct | None:
    key = RefKey(place["ref_key"])
    if event.type == "patchset-created":
        if (
            place["live"]
            and int(place["patchset"] or 0) < info.patchset
            and (pipeline is None or pipeline.dequeue_on_new_patchset)
        ):
            return Supersede(key, f"{info.number},{info.patchset}")
        return None
    if event.type == "change-abandoned":
        return ChangeAbandoned(key)
    if event.type == "change-merged":
        return ChangeMergedElsewhere(key) if key == info.key else None
    if pipeline is not None and pipeline.manager == "dependent" and key == info.key and info.is_open and place["live"]:
        problem = Gathering(sources, loaded.layout, pipeline, event.at).problem(info)
        return RequirementsLost(key, problem) if problem else None
    return None


def _may_change_layout(loaded: Loaded, canonical: str, event: TriggerEvent, info: ChangeInfo | None) -> bool:
    project = loaded.spec.project(canonical)
    if project is None:
        return False
    if event.type == "change-merged" and info is not None:
        return project.loads_branch(info.branch) and any(map(config_paths(project), info.files))
    if event.type == "ref-updated" and event.branch is not None:
        if event.branch_created or event.branch_deleted:
            return project.trusted or project.includes_branch(event.branch)
        return bool(project.classes) and project.loads_branch(event.branch)
    return False


def ref_change(
    connection: str, canonical: str, project: str, ref: str, oldrev: str | None, newrev: str | None
) -> Change:
    """A branch tip, tag or other ref as the gate names it."""
    branch = ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None
    zeros = "0" * 40
    return Change(
        key=RefKey(f"{connection}:{project}:{ref}@{newrev or ''}"),
        project=canonical,
        connection=connection,
        branch=branch,
        ref=ref,
        oldrev=None if oldrev in (None, zeros) else oldrev,
        newrev=None if newrev in (None, zeros) else newrev,
    )
