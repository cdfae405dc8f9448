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
from trunkline.store import configuration, events, leases, streams

log = structlog.get_logger()

LOOK_S = 0.5
MOST_LATE_S = 60


async def watch(process: Process, sources: Sources, layouts: Layouts) -> None:
    """For ever, as long as the process runs."""
    while not process.stop.is_set():
        try:
            async with leases.held(process.db, "timers"):
                while not process.stop.is_set():
                    await _look(process, sources, layouts)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(process.stop.wait(), LOOK_S)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("timers.failed")
            await asyncio.sleep(1.0)


async def _look(process: Process, sources: Sources, layouts: Layouts) -> None:
    now = int(time.time())
    async with process.db.transaction() as conn:
        kept = await streams.position(conn, "timer")
        since = max(int(kept["at"]), now - MOST_LATE_S) if kept else now - 1
        if since >= now:
            return
        found: list[TriggerEvent] = []
        for tenant in await configuration.tenant_names(conn):
            loaded = await layouts.get(conn, tenant)
            if loaded is not None:
                found += [event for second in range(since + 1, now + 1) for event in due(loaded.layout, second)]
        for event in [await _dereferenced(sources, event) for event in found]:
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
