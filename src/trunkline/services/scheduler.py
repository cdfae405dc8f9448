"""The scheduler: listens to connections, routes what happens, owns queues, freezes jobs, reports and lands.

All of it is tasks and rows: any number of schedulers may run, and each may be killed at any instruction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import procrastinate
import psycopg
import structlog

from trunkline.connections import Connection as Driver
from trunkline.connections import Position, TriggerEvent
from trunkline.services import timers
from trunkline.services.advancing import Advancing
from trunkline.services.effects import Effects
from trunkline.services.freezing import Freezing
from trunkline.services.layouts import Layouts
from trunkline.services.process import Process
from trunkline.services.providing import FIND, Providing
from trunkline.services.reporting import Reporting
from trunkline.services.routing import Routing
from trunkline.services.sources import Sources
from trunkline.services.tenants import Applying, apply_tenant_file
from trunkline.store import Connection, configuration, events, futures, leases, said, streams, tasks

log = structlog.get_logger()

CONCURRENCY = 12
FREEZE_TRIES = 3
REPORT_TRIES = 60  # about half an hour in which a review server may be away
JANITOR_S = 5.0
SILENT_WORKER_S = 20.0
KEPT_S = 3600.0
HISTORY_S = 30 * 86400.0  # how long decisions can be explained, and happenings told apart


async def main(process: Process) -> None:
    settings, db = process.settings, process.db
    sources = Sources.open(settings)
    layouts = Layouts(sources.specs)
    with_times = settings.flag("zuul", "report_times", True)
    routing = Routing(db, sources, layouts)
    advancing = Advancing(db, Effects(sources, layouts))
    freezing = Freezing(db, layouts)
    reporting = Reporting(db, sources, layouts, settings.web_root, with_times)
    applying = Applying(db, settings, layouts)
    providing = Providing(db)
    app = tasks.make_app(settings.dburi)

    @app.task(name="gate.advance", queue=tasks.GATE, retry=tasks.PATIENT)
    async def advance(owner: str) -> None:
        await advancing.advance(owner)

    @app.task(name="router.route", queue=tasks.SCHEDULER, retry=tasks.PATIENT)
    async def route(owner: str) -> None:
        await routing.route(owner)

    @app.task(name="freeze.future", queue=tasks.SCHEDULER, retry=tasks.PATIENT, pass_context=True)
    async def freeze(context: procrastinate.JobContext, future: str, round: int | None = None) -> None:
        try:
            await freezing.future(future, round)
        except psycopg.Error:
            raise
        except Exception as problem:
            if context.job.attempts < FREEZE_TRIES:
                raise
            log.exception("freeze.given_up", future=future)
            await freezing.give_up(future, round, problem)

    @app.task(name=FIND, queue=tasks.SCHEDULER, retry=3)
    async def find(place: dict[str, str], wanted: dict[str, Any]) -> None:
        await providing.find(place, wanted)

    @app.task(name="report.send", queue=tasks.REPORTER, retry=tasks.PATIENT, pass_context=True)
    async def send(
        context: procrastinate.JobContext,
        tenant: str,
        pipeline: str,
        owner: str,
        report: dict[str, Any],
        disabled: bool = False,
    ) -> None:
        is_last = context.job.attempts >= REPORT_TRIES
        await reporting.send(tenant, pipeline, owner, report, disabled=disabled, is_last=is_last)

    @app.task(name="report.land", queue=tasks.REPORTER, retry=tasks.PATIENT, pass_context=True)
    async def land(
        context: procrastinate.JobContext, tenant: str, pipeline: str, owner: str, report: dict[str, Any]
    ) -> None:
        is_last = context.job.attempts >= REPORT_TRIES
        await reporting.land(tenant, pipeline, owner, report, is_last=is_last)

    @app.task(name="tenant.apply", queue=tasks.SCHEDULER, retry=tasks.PATIENT)
    async def apply(tenant: str) -> None:
        await applying.apply(tenant)

    @app.task(name="tenant.reconfigure", queue=tasks.SCHEDULER, retry=3)
    async def reconfigure() -> None:
        await apply_tenant_file(db, settings, sources)

    await apply_tenant_file(db, settings, sources, reread=True)
    others = [asyncio.create_task(_listen(process, driver)) for driver in sources.all()]
    others.append(asyncio.create_task(timers.watch(process, sources, layouts)))
    others.append(asyncio.create_task(_janitor(process)))
    try:
        await process.work(app, [tasks.GATE, tasks.SCHEDULER, tasks.REPORTER], CONCURRENCY)
    finally:
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await sources.close()


async def _listen(process: Process, driver: Driver) -> None:
    """Read a connection's events into its router's inbox; one listener a connection over all schedulers."""
    while not process.stop.is_set():
        try:
            async with leases.held(process.db, f"listen:{driver.name}"):
                while not process.stop.is_set():
                    await _listen_for(process, driver)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("connection.failed", connection=driver.name)
            await asyncio.sleep(1.0)


async def _listen_for(process: Process, driver: Driver) -> None:
    """Listen, from where listening ended last, until there are projects whose refs nobody has looked at yet."""
    async with process.db.transaction() as conn:
        watched = await _watched(conn, driver.name)
        kept, heads = await streams.position(conn, driver.name), await streams.heads(conn, driver.name)
    driver.watch(watched)
    since = Position(kept["at"], heads) if kept else None

    async def keep(project: str, refs: Mapping[str, str]) -> None:
        async with process.db.transaction() as conn:
            await streams.keep_heads(conn, driver.name, project, dict(refs))
            await streams.begin(conn, driver.name, msgspec.to_builtins(Position(time.time())))

    listening = asyncio.create_task(driver.listen(lambda event: _take(process, event), since, keep))
    try:
        while not (await asyncio.wait({listening}, timeout=JANITOR_S))[0]:
            async with process.db.transaction() as conn:
                if await _watched(conn, driver.name) - watched:
                    return
        listening.result()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _watched(conn: Connection, connection: str) -> set[str]:
    """The connection's projects of all tenants."""
    return {
        project["name"]
        for tenant in await configuration.tenants(conn)
        for project in tenant["spec"]["projects"]
        if project["connection"] == connection
    }


async def _take(process: Process, event: TriggerEvent) -> None:
    """Put one happening into the inbox, once, and note how far the stream was read, in one transaction."""
    async with process.db.transaction() as conn:
        if await streams.is_new(conn, event.connection, event.delivery):
            body = {"kind": "trigger", "event": msgspec.to_builtins(event)}
            await events.post(conn, f"router:{event.connection}", body)
        if event.type == "ref-updated" and event.ref:
            newrev = None if event.is_delete else event.newrev
            await streams.move_head(conn, event.connection, event.project, event.ref, newrev)
        await streams.keep_position(conn, event.connection, msgspec.to_builtins(Position(event.at)))


async def _janitor(process: Process) -> None:
    """Give back the tasks of workers that fell silent; forget what nobody needs any more."""
    while not process.stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.stop.wait(), JANITOR_S)
        try:
            async with process.db.transaction() as conn:
                handed = await tasks.hand_back_stalled(conn, SILENT_WORKER_S)
                if handed:
                    log.warning("tasks.handed_back", tasks=handed)
                await futures.forget_old(conn, KEPT_S)
                await tasks.forget_finished(conn, KEPT_S)
                await events.forget(conn, HISTORY_S)
                await said.forget(conn, HISTORY_S)
                await streams.forget(conn, HISTORY_S)
        except Exception:
            log.exception("janitor.failed")
