"""Putting admissions into effect: queues made, events posted, refusals reported; all in the caller's transaction."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import msgspec
import structlog

from trunkline.config import Pipeline
from trunkline.gate import Admission, Change, PipelineRules, Presence, Queue, QueueSettings, admit
from trunkline.gate.effects import Report, ReportKind
from trunkline.gate.events import Enqueue
from trunkline.gate.model import FutureId, ItemId, Manager, QueueId, RefKey
from trunkline.services import inner_events
from trunkline.services.candidates import Gathered
from trunkline.services.layouts import Loaded, has_pipeline
from trunkline.store import Connection, events, queues, refs, tasks

log = structlog.get_logger()


def event_id_of(delivery: str) -> str:
    """A trigger event's id, as zuul.event_id shows it: the same for the same happening."""
    return hashlib.sha256(delivery.encode()).hexdigest()[:32]


def queue_settings(tenant: str, pipeline: Pipeline, name: str, branch: str | None) -> QueueSettings:
    """A pipeline's numbers for one of its queues."""
    manager = Manager(pipeline.manager)
    return QueueSettings(
        manager=manager,
        tenant=tenant,
        pipeline=pipeline.name,
        name=name,
        branch=branch,
        window=pipeline.window if pipeline.window is not None else (1 if manager is Manager.SERIAL else 20),
        window_floor=pipeline.window_floor,
        window_ceiling=pipeline.window_ceiling,
        increase_type=pipeline.window_increase_type,
        increase_factor=pipeline.window_increase_factor,
        decrease_type=pipeline.window_decrease_type,
        decrease_factor=pipeline.window_decrease_factor,
        priority=pipeline.priority,
        reports_start=bool(pipeline.reporters_for("start")),
        reports_enqueue=bool(pipeline.reporters_for("enqueue")),
    )


async def enter(
    conn: Connection,
    loaded: Loaded,
    pipeline: Pipeline,
    wanted: RefKey,
    gathered: Gathered,
    event_id: str,
    event_at: float,
    by_hand: tuple[str | None, dict[str, Any]] | None = None,
) -> Admission:
    """Admit a wanted ref to a pipeline, or say why not. `by_hand`: who asked for it, with which parameters."""
    tenant = loaded.spec.name
    present = await _present(conn, tenant, gathered)
    rules = PipelineRules(
        tenant=tenant,
        name=pipeline.name,
        manager=Manager(pipeline.manager),
        ignore_dependencies=pipeline.ignore_dependencies,
        dequeue_on_new_patchset=pipeline.dequeue_on_new_patchset,
        supercedes=pipeline.supercedes,
        max_dependencies=loaded.spec.max_dependencies,
        max_changes=loaded.spec.max_changes_per_pipeline,
        changes_now=await queues.count_in_pipeline(conn, tenant, pipeline.name),
    )
    admission = admit(wanted, gathered.candidates, rules, present, event_id=event_id, now=time.time())
    if admission.refusal:
        await _refuse(conn, loaded, pipeline, gathered.candidates[wanted].change, admission, event_id)
    await refs.keep(conn, {key: msgspec.to_builtins(info) for key, info in gathered.infos.items()})
    for entry in admission.entries:
        owner_pipeline = entry.queue.split("/", 2)[1]
        in_pipeline = loaded.layout.pipelines.get(owner_pipeline, pipeline)
        if isinstance(entry.event, Enqueue):
            settings = queue_settings(tenant, in_pipeline, entry.name, entry.branch)
            await queues.ensure(
                conn,
                entry.queue,
                tenant=tenant,
                pipeline=owner_pipeline,
                name=entry.name,
                branch=entry.branch,
                state=msgspec.json.encode(Queue(entry.queue, settings)),
            )
            item = entry.event.item
            await queues.note_items(
                conn,
                entry.queue,
                tenant,
                owner_pipeline,
                ((item.id, c.key, c.project, c.number, c.patchset, item.live) for c in item.changes),
            )
            if by_hand is not None:
                await queues.keep_facts(conn, [item.id], *by_hand)
            if item.live:
                keys = [c.key for c in item.changes]
                await inner_events.note_entered(conn, loaded.layout, owner_pipeline, item.id, keys)
        await events.post(conn, f"queue:{entry.queue}", entry.event)
    log.info(
        "pipeline.considered",
        tenant=tenant,
        pipeline=pipeline.name,
        ref=wanted,
        admitted=len(admission.admitted),
        refusal=admission.refusal or None,
    )
    return admission


async def _present(conn: Connection, tenant: str, gathered: Gathered) -> dict[RefKey, tuple[Presence, ...]]:
    """Where patch sets of the gathered changes stand now, by key."""
    found: dict[RefKey, list[Presence]] = {}
    changes = {(c.change.project, c.change.number) for c in gathered.candidates.values() if c.change.number is not None}
    rows = [
        row for project, number in sorted(changes) for row in await queues.where(conn, tenant, project, number or 0)
    ]
    bare = [c.change.key for c in gathered.candidates.values() if c.change.number is None]
    rows += await queues.where_key(conn, tenant, bare)
    for row in rows:
        presence = Presence(row["pipeline"], QueueId(row["queue_id"]), ItemId(row["item"]), row["live"])
        found.setdefault(RefKey(row["ref_key"]), []).append(presence)
    return {key: tuple(places) for key, places in found.items()}


async def _refuse(
    conn: Connection, loaded: Loaded, pipeline: Pipeline, change: Change, admission: Admission, event_id: str
) -> None:
    if admission.silent or not has_pipeline(loaded.layout, change.project, pipeline.name):
        return
    report = Report(
        item=ItemId(""),
        kind=ReportKind.ENQUEUE_REFUSED,
        changes=(change,),
        future=FutureId(""),
        event_id=event_id,
        message=admission.refusal,
    )
    await tasks.defer(
        conn,
        "report.send",
        queue=tasks.REPORTER,
        tenant=loaded.spec.name,
        pipeline=pipeline.name,
        owner="",
        report=msgspec.to_builtins(report),
    )
