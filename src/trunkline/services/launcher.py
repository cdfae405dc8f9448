"""The launcher: plans the pool and has each provider region carry it out.

Any number of launchers may run. One of them holds the lease of the planner, and for each region one (any) holds the
region's; a lease is gone with its holder's connection, and the next one goes on from the tables and the clouds' lists.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import msgspec
import psycopg
import structlog

from trunkline import pool, store
from trunkline.clouds import Limiter, Region
from trunkline.pool.model import ProviderSpec, RegionKey
from trunkline.services.launcher_leases import Leases
from trunkline.services.launcher_plan import plan_once
from trunkline.services.launcher_region import Pace, RegionWorker
from trunkline.services.launcher_static import StaticWorker
from trunkline.services.launcher_world import read_specs
from trunkline.store import regions, requests
from trunkline.store.nodes import REGION_CHANNEL
from trunkline.store.requests import POOL_CHANNEL

log = structlog.get_logger("launcher")


class LauncherOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Plain values from the settings."""

    hostname: str = ""
    clouds_file: str | None = None  # clouds.yaml for connections that name none; None: the SDK's usual places
    images_dir: str | None = None  # NAME.raw, NAME.qcow2, NAME.vhd of images of type zuul
    public_key: str | None = None  # OpenSSH line; made a key pair where labels name one that is missing
    connections: tuple[str, ...] = ()  # only providers of these connections (connection_filter); empty: all
    plan_every_s: float = 2.0
    keep_answered_s: float = 86400.0
    pace: Pace = Pace()
    policy: pool.Policy = pool.Policy()


async def run_launcher(db: store.Database, stop: asyncio.Event, options: LauncherOptions = LauncherOptions()) -> None:
    """Run until `stop` is set. Database trouble is waited out."""
    launcher = Launcher(db, options)
    try:
        await launcher.run(stop)
    finally:
        await launcher.close()


class Launcher:
    def __init__(self, db: store.Database, options: LauncherOptions) -> None:
        self._db, self._options = db, options
        self._hostname = options.hostname or socket.gethostname()
        self._leases = Leases(db.dburi)
        self._workers: dict[RegionKey, RegionWorker | StaticWorker] = {}
        self._running: dict[RegionKey, asyncio.Task[None]] = {}
        self._limiters: dict[str, Limiter] = {}
        self._plan_wake = asyncio.Event()
        self._owner = ""

    async def run(self, stop: asyncio.Event) -> None:
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._listen(), name="launcher-listen"),
            asyncio.create_task(self._plan(stop), name="launcher-plan"),
            asyncio.create_task(self._supervise(stop), name="launcher-regions"),
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # a bug: let the process end and be started again
        finally:
            stopping.cancel()
            for task in [*tasks, *self._running.values()]:
                task.cancel()
            await asyncio.gather(*tasks, stopping, *self._running.values(), return_exceptions=True)

    async def close(self) -> None:
        await self._leases.close()

    async def _listen(self) -> None:
        """Hints: something changed. Without them the loops look by themselves, only later."""
        async for channel, payload in store.listen(self._db.dburi, [POOL_CHANNEL, REGION_CHANNEL]):
            if channel != REGION_CHANNEL:
                self._plan_wake.set()
            if channel != POOL_CHANNEL:
                cloud, _, region = payload.partition("/")
                for key, worker in self._workers.items():
                    if not payload or key == (cloud, region):
                        worker.wake.set()

    async def _plan(self, stop: asyncio.Event) -> None:
        answered = 0.0
        while not stop.is_set():
            self._plan_wake.clear()
            wait_s = self._options.plan_every_s
            try:
                if await self._leases.hold("planner"):
                    await plan_once(self._db, self._options.policy)
                    if (now := asyncio.get_running_loop().time()) - answered > 3600:
                        answered = now
                        async with self._db.transaction() as conn:
                            await requests.forget_answered(conn, self._options.keep_answered_s)
            except (psycopg.Error, OSError) as error:
                log.warning("plan.failed", error=str(error))
                wait_s = 0.5
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._plan_wake.wait(), wait_s)
            await asyncio.sleep(0.02)  # several hints, one plan

    async def _supervise(self, stop: asyncio.Event) -> None:
        """Have one worker for each configured region whose lease can be had, and end those without configuration."""
        while not stop.is_set():
            try:
                await self._look_after_regions(stop)
            except (psycopg.Error, OSError) as error:
                log.warning("regions.failed", error=str(error))
            await asyncio.sleep(1.0)

    async def _look_after_regions(self, stop: asyncio.Event) -> None:
        async with self._db.connection() as conn:
            self._owner = self._owner or await regions.identity(conn)
            specs = [s for s in await read_specs(conn) if self._is_ours(s)]
            left = {(r["cloud"], r["region"]) for r in await regions.listed(conn)}
        by_region: dict[RegionKey, list[ProviderSpec]] = {}
        for spec in specs:
            by_region.setdefault(spec.region_key, []).append(spec)
        for key, task in list(self._running.items()):
            if task.done():
                if not task.cancelled() and task.exception() is not None:
                    log.error("region.worker.failed", region="/".join(key), error=repr(task.exception()))
                del self._running[key], self._workers[key]
                await self._leases.give_up(_lease(key))
        for key, its_specs in sorted(by_region.items()):
            if key in self._workers:
                self._workers[key].configure(its_specs)
            elif await self._leases.hold(_lease(key)):
                self._begin(key, its_specs, stop)
        for key in left - set(by_region):
            await self._retire(key)

    async def _retire(self, key: RegionKey) -> None:
        """A region that no provider names any more: its worker stays until its last node is gone."""
        worker = self._workers.get(key)
        if worker is None:
            return
        worker.configure([])
        async with self._db.transaction() as conn:
            if not await store.nodes.in_region(conn, *key):
                self._running[key].cancel()
                await regions.forget(conn, *key)

    def _begin(self, key: RegionKey, specs: list[ProviderSpec], stop: asyncio.Event) -> None:
        lease = _lease(key)

        async def has_lease() -> bool:
            return await self._leases.hold(lease)

        first = specs[0]
        worker: RegionWorker | StaticWorker
        if first.driver == "static":
            worker = StaticWorker(self._db, key, specs, launcher=self._hostname, has_lease=has_lease)
        else:
            try:
                cloud = Region(
                    first.cloud,
                    first.region,
                    owner=self._owner,
                    config_file=first.client_config_file or self._options.clouds_file,
                    limiter=self._limiter(first),
                    timeout_s=self._options.pace.api_timeout_s,
                )
            except Exception as error:
                log.error("region.configuration", region="/".join(key), error=str(error))
                return
            images_dir = Path(self._options.images_dir) if self._options.images_dir else None
            worker = RegionWorker(
                self._db,
                cloud,
                specs,
                launcher=self._hostname,
                has_lease=has_lease,
                pace=self._options.pace,
                images_dir=images_dir,
                public_key=self._options.public_key,
            )
        self._workers[key] = worker
        self._running[key] = asyncio.create_task(worker.run(stop), name=lease)
        log.info("region.taken", region="/".join(key), providers=[s.name for s in specs])

    def _limiter(self, spec: ProviderSpec) -> Limiter:
        """One a connection: its regions share the account's allowance."""
        return self._limiters.setdefault(spec.connection, Limiter(spec.rate))

    def _is_ours(self, spec: ProviderSpec) -> bool:
        return not self._options.connections or spec.connection in self._options.connections


def _lease(key: RegionKey) -> str:
    return f"region:{key[0]}/{key[1]}"
