"""One service process: log, signals, its database, its place among the components, its worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import procrastinate
import psycopg
import structlog
from procrastinate.worker import Worker

from trunkline import __version__
from trunkline.services.settings import Settings
from trunkline.store import Database, components, tasks

log = structlog.get_logger()

HEARTBEAT_S = 2.0
DRAIN_S = 8.0
SWEEP_S = 5.0
GROUP = "TRUNKLINE_GROUP"  # set by a supervisor for what it starts: "whole" if that is every kind of service


@dataclass
class Process:
    """What every service has. `stop` is set by SIGTERM: finish what you are doing, take nothing new."""

    kind: str
    settings: Settings
    db: Database
    stop: asyncio.Event
    instance: str = "1"
    details: dict[str, Any] = field(default_factory=dict)
    worker_id: int | None = None

    async def announce(self, state: str) -> None:
        async with self.db.transaction() as conn:
            await components.beat(
                conn,
                kind=self.kind,
                hostname=self.settings.hostname,
                instance=self.instance,
                state=state,
                pid=os.getpid(),
                version=__version__,
                worker_id=self.worker_id,
                details=self.details,
            )

    async def take_over(self) -> int:
        """Hand back the tasks of this instance's last life, which ended without a word. Returns how many."""
        async with self.db.transaction() as conn:
            old = await components.get(conn, self.kind, self.settings.hostname, self.instance)
            if old is None or old["worker_id"] is None:
                return 0
            return await tasks.hand_back(conn, old["worker_id"])

    async def heartbeat(self) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(Exception):
                await self.announce("running")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), HEARTBEAT_S)

    async def work(self, app: procrastinate.App, queues: Sequence[str], concurrency: int) -> None:
        """Run tasks of `queues` until stop; those that run then get DRAIN_S to end."""
        handed = await self.take_over()
        if handed:
            log.info("worker.taken_over", kind=self.kind, tasks=handed)
        async with app.open_async():
            worker = Worker(
                app=app,
                queues=list(queues),
                concurrency=concurrency,
                name=self.kind,
                install_signal_handlers=False,
                fetch_job_polling_interval=1.0,
                update_heartbeat_interval=2.0,
                stalled_worker_timeout=60.0,
                shutdown_graceful_timeout=DRAIN_S,
                delete_jobs="successful",
            )
            running = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call]
            while worker.worker_id is None and not running.done():
                await asyncio.sleep(0.01)
            self.worker_id = worker.worker_id
            await self.announce("running")
            stopping = asyncio.create_task(self.stop.wait())
            sweeping = asyncio.create_task(self._sweep(worker))
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            sweeping.cancel()
            worker.stop()  # type: ignore[no-untyped-call]
            stopping.cancel()
            await running

    async def _sweep(self, worker: Worker) -> None:
        """Give back tasks that this worker is said to run and does not.

        When the database dies as a task ends, its end is written nowhere, and the worker lives on as if it ran.
        """
        before: set[int] = set()
        while worker.worker_id is not None:
            await asyncio.sleep(SWEEP_S)
            running = {context.job.id for context in worker._running_jobs.values()}
            try:
                async with self.db.transaction() as conn:
                    idle = await tasks.taken(conn, worker.worker_id) - running
                    if lost := idle & before:  # twice: what is just being fetched is not known as running yet
                        log.warning("tasks.handed_back", kind=self.kind, tasks=len(lost))
                        await tasks.hand_back(conn, worker.worker_id, lost)
                before = idle - lost
            except psycopg.Error as problem:
                log.warning("tasks.not_swept", kind=self.kind, error=str(problem))


class _FailedTasks(logging.Filter):
    """Says that a task failed and will be tried again: else an operator sees only that nothing happens."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "action", "") == "job_error_retry":
            problem = record.exc_info[1] if record.exc_info else None
            log.warning("task.failed", detail=record.getMessage(), error=repr(problem)[:2000])
        return record.levelno >= logging.WARNING


def configure_logging(debug: bool = False) -> None:
    """Events as key=value lines on standard error."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    worker = logging.getLogger("procrastinate.worker")
    if not worker.filters:
        worker.setLevel(logging.INFO)
        worker.addFilter(_FailedTasks())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


Main = Callable[[Process], Awaitable[None]]


def run_service(kind: str, settings: Settings, main: Main, *, instance: str = "1", debug: bool = False) -> int:
    """Run one service until SIGTERM or SIGINT. Returns the exit status."""
    configure_logging(debug)
    structlog.contextvars.bind_contextvars(service=kind, pid=os.getpid())
    try:
        asyncio.run(_run(kind, settings, main, instance))
    except KeyboardInterrupt:
        return 130
    except Exception:
        log.exception("service.failed", kind=kind)
        return 1
    return 0


def _details() -> dict[str, Any]:
    group = os.environ.get(GROUP)
    return {"group": group} if group else {}


async def _run(kind: str, settings: Settings, main: Main, instance: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with await Database.open(settings.dburi, name=f"trunkline-{kind}") as db:
        process = Process(kind, settings, db, stop, instance, _details())
        beating = asyncio.create_task(process.heartbeat())
        log.info("service.started", kind=kind)
        try:
            await main(process)
        finally:
            beating.cancel()
            with contextlib.suppress(Exception):
                await process.announce("stopped")
            log.info("service.stopped", kind=kind)
