"""Looks at the clock for pipelines with timer triggers: one event for every branch of every project that has the pipeline.

One scheduler does so at a time. How far it looked is kept in the transaction of the events, so that nothing is missed
over a short absence and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

import msgspec
import structlog

from trunkline.config import Layout, Pipeline
from trunkline.connections import ConnectionFailed, TriggerEvent
from trunkline.connections.timer import TimeSpec, offset_s, parse
from trunkline.services.layouts import Layouts, has_pipeline
from trunkline.services.process import Process
from trunkline.services.sources import Sources
from trunkline.store import Connection, configuration, events, leases, streams

log = structlog.get_logger()

LOOK_S = 0.5
MOST_LATE_S = 60


async def watch(process: Process, sources: Sources, layouts: Layouts) -> None:
    """For ever, as long as the process runs."""
    while not process.stop.is_set():
        try:
            async with leases.held(process.db, "timers"):
                looking = _Looking(process, sources, layouts)
                while not process.stop.is_set():
                    await looking.look()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(process.stop.wait(), LOOK_S)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("timers.failed")
            await asyncio.sleep(1.0)


class _Looking:
    """One holder of the lease. Costs one query a look while no tenant has a timer."""

    def __init__(self, process: Process, sources: Sources, layouts: Layouts) -> None:
        self.process, self.sources, self.layouts = process, sources, layouts
        self.since: int | None = None  # up to which second everything was told; None = as kept
        self.timed: dict[str, tuple[int, Layout | None]] = {}  # by tenant: generation, its layout if that has timers

    async def look(self) -> None:
        now = int(time.time())
        if self.since is not None and self.since >= now:
            return
        async with self.process.db.transaction() as conn:
            await self._learn(conn)
            timed = [layout for _, layout in self.timed.values() if layout is not None]
            if timed:
                await self._tell(conn, timed, now)
        self.since = now

    async def _learn(self, conn: Connection) -> None:
        generations = await configuration.generations(conn)
        for tenant in self.timed.keys() - generations.keys():
            del self.timed[tenant]
        for tenant, generation in generations.items():
            if self.timed.get(tenant, (-1, None))[0] != generation:
                loaded = await self.layouts.get(conn, tenant)
                has_timers = loaded is not None and any(
                    p.triggers.get("timer") for p in loaded.layout.pipelines.values()
                )
                self.timed[tenant] = (generation, loaded.layout if loaded is not None and has_timers else None)

    async def _tell(self, conn: Connection, timed: list[Layout], now: int) -> None:
        since = self.since
        if since is None:
            kept = await streams.position(conn, "timer")
            since = max(int(kept["at"]), now - MOST_LATE_S) if kept else now - 1
        for event in [
            event for second in range(since + 1, now + 1) for layout in timed for event in due(layout, second)
        ]:
            event = await _dereferenced(self.sources, event)
            body = {"kind": "trigger", "event": msgspec.to_builtins(event)}
            await events.post(conn, f"router:{event.connection}", body)
        await streams.keep_position(conn, "timer", {"at": float(now)})


def due(layout: Layout, second: int) -> Iterator[TriggerEvent]:
    """Events of one second. `newrev` is "tip" where the trigger wants it looked up."""
    for pipeline in layout.pipelines.values():
        for trigger in pipeline.triggers.get("timer", ()):
            spec = _spec(str(trigger["time"]))
            if spec is None or not (spec.jitter_s or spec.is_due(datetime.fromtimestamp(second))):
                continue
            for canonical in layout.roster.specs:
                if not has_pipeline(layout, canonical, pipeline.name):
                    continue
                for branch in layout.branches(canonical):
                    offset = offset_s(spec, layout.tenant.name, canonical, branch)
                    if spec.is_due(datetime.fromtimestamp(second - offset)):
                        yield _event(layout, pipeline, canonical, branch, str(trigger["time"]), second, trigger)


def _event(
    layout: Layout, pipeline: Pipeline, canonical: str, branch: str, spec: str, second: int, trigger: dict[str, object]
) -> TriggerEvent:
    project = layout.spec(canonical)
    return TriggerEvent(
        connection=project.connection,
        driver="timer",
        delivery="/".join(("timer", layout.tenant.name, pipeline.name, spec, canonical, branch, str(second))),
        type="timer",
        project=project.name,
        at=float(second),
        branch=branch,
        ref=f"refs/heads/{branch}",
        newrev="tip" if trigger.get("dereference") else None,
        timespec=spec,
        tenant=layout.tenant.name,
        pipeline=pipeline.name,
    )


async def _dereferenced(sources: Sources, event: TriggerEvent) -> TriggerEvent:
    if event.newrev is None:
        return event
    try:
        tip = (await sources[event.connection].branches(event.project)).get(event.branch or "")
    except ConnectionFailed as problem:
        log.warning("timer.tip_unknown", project=event.project, detail=str(problem))
        tip = None
    return msgspec.structs.replace(event, newrev=tip)


@lru_cache(maxsize=1024)
def _spec(text: str) -> TimeSpec | None:
    try:
        return parse(text)
    except ValueError as problem:
        log.warning("timer.unreadable", time=text, detail=str(problem))
        return None
