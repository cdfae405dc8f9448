"""Carrying out what the gate asks: every effect is rows and tasks in the transaction of the decision, nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from trunkline.config import Pipeline
from trunkline.gate import Change, Queue
from trunkline.gate import effects as e
from trunkline.gate.model import Manager
from trunkline.services import build_requests, inner_events, providing
from trunkline.services.freezing import merge_changes
from trunkline.services.layouts import Layouts, Loaded, has_pipeline
from trunkline.services.playbook_semaphores import counted, tell_served
from trunkline.services.sources import Sources
from trunkline.store import Connection, builds, futures, pipelines, queues, requests, semaphores, tasks

log = structlog.get_logger()

TOLD_WHERE_ASKED = frozenset({e.ReportKind.MERGE_CONFLICT, e.ReportKind.ENQUEUE_REFUSED, e.ReportKind.ENQUEUE})
"""Reports only for projects that have the pipeline: others did not ask for its opinion."""
MIDDLE_PRIORITY = 400  # tasks run highest first; the gate counts the other way round


class Effects:
    """Carries out effects for one scheduler process."""

    def __init__(self, sources: Sources, layouts: Layouts) -> None:
        self.sources, self.layouts = sources, layouts

    async def carry_out(self, conn: Connection, queue: Queue, effect: e.AnyEffect) -> None:
        """Write what the effect means. Safe to do twice with the same effect."""
        settings = queue.settings
        owner = f"queue:{queue.id}"
        match effect:
            case e.MergeFuture():
                await self._merge(conn, queue, effect)
            case e.FreezeJobs():
                await tasks.defer(
                    conn,
                    "freeze.future",
                    queue=tasks.SCHEDULER,
                    priority=_priority(settings.priority),
                    future=effect.future,
                )
            case e.BuildsetCreated():
                await self._buildset(conn, queue, effect)
            case e.BuildsetClosed():
                await self._close(conn, queue, effect)
            case e.RequestNodes():
                await requests.create(
                    conn,
                    id=effect.request,
                    owner=owner,
                    tenant=settings.tenant,
                    labels=effect.labels,
                    pipeline=settings.pipeline,
                    project=queue.items[effect.item].changes[0].project if effect.item in queue.items else "",
                    job=effect.job,
                    buildset_uuid=effect.future,
                    priority=effect.priority,
                    relative_priority=effect.relative_priority,
                    provider=effect.provider,
                )
            case e.ReviseNodes():
                await requests.revise_priority(conn, effect.request, settings.priority, effect.relative_priority)
            case e.CancelNodes():
                await requests.cancel(conn, effect.request)
            case e.ReturnNodes():
                await self._return_nodes(conn, effect)
            case e.AcquireSemaphores():
                await self._acquire(conn, queue, effect)
            case e.ReleaseSemaphores():
                await tell_served(conn, await semaphores.release(conn, effect.ticket))
            case e.FindProvided():
                await providing.ask(conn, queue, effect)
            case e.StartBuild():
                await build_requests.start(conn, self.sources, self.layouts, queue, effect)
            case e.CancelBuild():
                await builds.ask_to_cancel(conn, effect.build)
            case e.ResumeBuild():
                await builds.ask_to_resume(conn, effect.build)
            case e.RecordBuild():
                await self._record(conn, queue, effect)
            case e.Report() | e.Land():
                await self._report(conn, queue, effect)
            case e.ItemLeft():
                if effect.landed and settings.manager is Manager.DEPENDENT:
                    await inner_events.note_landed(conn, self.layouts, effect.item, effect.changes)
                await queues.forget_item(conn, effect.item)
            case e.Wake():
                log.debug("queue.wake", queue=queue.id, at=effect.at)

    async def _merge(self, conn: Connection, queue: Queue, effect: e.MergeFuture) -> None:
        settings = queue.settings
        changes = await merge_changes(conn, self.layouts, settings.tenant, effect.changes, self.names(effect.changes))
        await futures.create(
            conn,
            id=effect.future,
            item=effect.item,
            queue_id=queue.id,
            tenant=settings.tenant,
            pipeline=settings.pipeline,
            base=effect.base,
            changes=changes,
            own=effect.own,
        )
        await tasks.defer(
            conn, "merge.future", queue=tasks.MERGER, priority=_priority(settings.priority), future=effect.future
        )

    def names(self, changes: tuple[Change, ...]) -> dict[str, str]:
        """Project names by canonical name."""
        return {
            c.project: c.project.removeprefix(self.sources.specs[c.connection].canonical_hostname + "/")
            for c in changes
        }

    async def ref_id(self, conn: Connection, change: Change) -> int:
        return await builds.ref_id(
            conn,
            connection=change.connection,
            canonical=change.project,
            project=self.names((change,))[change.project],
            branch=change.branch,
            change=change.number,
            patchset=change.patchset,
            ref=change.ref or "",
            oldrev=change.oldrev,
            newrev=change.newrev,
            ref_url=change.url,
        )

    async def _buildset(self, conn: Connection, queue: Queue, effect: e.BuildsetCreated) -> None:
        user, parameters = await queues.facts(conn, effect.item)
        await builds.create_buildset(
            conn,
            uuid=effect.future,
            tenant=queue.settings.tenant,
            pipeline=queue.settings.pipeline,
            owner=f"queue:{queue.id}",
            item=effect.item,
            event_id=effect.event_id,
            event_at=effect.enqueued_at or None,
            refs=[await self.ref_id(conn, change) for change in effect.changes],
            triggered_by=_triggered_by(effect.changes[0], self.names(effect.changes)),
            user_id=user,
            parameters=parameters,
        )

    async def _close(self, conn: Connection, queue: Queue, effect: e.BuildsetClosed) -> None:
        """An item that had no jobs leaves no buildset, unless the pipeline says something about such items."""
        if effect.result == "NO_JOBS":
            loaded = await self.layouts.get(conn, queue.settings.tenant)
            pipeline = loaded.layout.pipelines.get(queue.settings.pipeline) if loaded else None
            if pipeline is None or not pipeline.reporters_for("no-jobs"):
                await builds.forget_buildset(conn, effect.future)
                return
        await builds.close_buildset(conn, effect.future, effect.result, effect.message)

    async def _return_nodes(self, conn: Connection, effect: e.ReturnNodes) -> None:
        """Give nodes back; those of a build that is being stopped go when its executor has let go of them."""
        row = await builds.get(conn, effect.build) if effect.build else None
        if row is None or row["state"] == "complete":
            await requests.return_nodes(conn, effect.request)

    async def _acquire(self, conn: Connection, queue: Queue, effect: e.AcquireSemaphores) -> None:
        tenant = queue.settings.tenant
        loaded = await self.layouts.get(conn, tenant)
        names = counted(loaded, tenant, effect.names)
        served = await semaphores.acquire(
            conn,
            ticket=effect.ticket,
            tenant=tenant,
            queue_id=queue.id,
            item=effect.item,
            job=effect.job,
            buildset=effect.future,
            names=names,
            priority=effect.priority,
            relative_priority=effect.relative_priority,
        )
        await tell_served(conn, served)

    async def _record(self, conn: Connection, queue: Queue, effect: e.RecordBuild) -> None:
        if not effect.executed:
            if effect.of is None:
                return
            await builds.create(
                conn,
                uuid=effect.build,
                buildset=effect.future,
                owner=f"queue:{queue.id}",
                tenant=queue.settings.tenant,
                pipeline=queue.settings.pipeline,
                job=effect.name,
                ref=await self.ref_id(conn, effect.of),
                voting=effect.voting,
                nodeset="",
                attempt=effect.attempt,
                request=None,
            )
        await builds.record(
            conn,
            effect.build,
            result=effect.result,
            final=effect.final,
            error_detail=effect.error_detail,
            at=effect.at or None,
        )

    async def _report(self, conn: Connection, queue: Queue, effect: e.Report | e.Land) -> None:
        settings = queue.settings
        loaded = await self.layouts.get(conn, settings.tenant)
        pipeline = loaded.layout.pipelines.get(settings.pipeline) if loaded else None
        if loaded is None:
            return
        told = isinstance(effect, e.Report) and effect.kind in TOLD_WHERE_ASKED
        if told and not any(has_pipeline(loaded.layout, c.project, settings.pipeline) for c in effect.changes):
            return
        silent = pipeline is not None and await self._is_disabled(conn, loaded, pipeline, effect)
        arguments: dict[str, Any] = {
            "tenant": queue.settings.tenant,
            "pipeline": queue.settings.pipeline,
            "owner": f"queue:{queue.id}",
            "report": msgspec.to_builtins(effect),
        }
        if silent and isinstance(effect, e.Report):
            arguments["disabled"] = True
        task = "report.land" if isinstance(effect, e.Land) else "report.send"
        await tasks.defer(conn, task, queue=tasks.REPORTER, lock=f"report:{effect.item}", **arguments)

    async def _is_disabled(
        self, conn: Connection, loaded: Loaded, pipeline: Pipeline, effect: e.Report | e.Land
    ) -> bool:
        """Whether the pipeline has failed too often in a row. This report's own result counts for the next."""
        limit = pipeline.disable_after_consecutive_failures
        if not limit:
            return False
        kind = e.ReportKind.SUCCESS if isinstance(effect, e.Land) else effect.kind
        failed = {e.ReportKind.SUCCESS: False, e.ReportKind.FAILURE: True}.get(kind)
        tenant = loaded.spec.name
        return await pipelines.note_result(conn, tenant, pipeline.name, loaded.generation, failed, limit)


def _priority(priority: int) -> int:
    return MIDDLE_PRIORITY - priority


def _triggered_by(change: Change, names: dict[str, str]) -> str:
    name = names[change.project]
    if change.number is not None:
        return f"Triggered by GerritChange {name} {change.number},{change.patchset}"
    kind = "Tag" if (change.ref or "").startswith("refs/tags/") else "Branch"
    return f"Triggered by {kind} {name} {change.branch or change.ref} {change.newrev or ''}".rstrip()
