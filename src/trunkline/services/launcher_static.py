"""The shell of a static provider: machines that are there already. Their keys are read; nothing is made or deleted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import psycopg
import structlog

from trunkline import store
from trunkline.clouds import NotReachable, scan_host_keys
from trunkline.clouds.hostkeys import wait_for_port
from trunkline.pool.model import ProviderSpec, RegionKey
from trunkline.store import nodes, regions
from trunkline.store.database import Row

log = structlog.get_logger("launcher.static")

SCAN_S = 30.0
AGAIN_S = 30.0


class StaticWorker:
    def __init__(
        self,
        db: store.Database,
        key: RegionKey,
        specs: Sequence[ProviderSpec],
        *,
        launcher: str,
        has_lease: Callable[[], Coroutine[Any, Any, bool]],
    ) -> None:
        self.db, self.key, self.specs = db, key, tuple(specs)
        self.wake = asyncio.Event()
        self._launcher, self._has_lease = launcher, has_lease
        self._scans: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}

    def configure(self, specs: Sequence[ProviderSpec]) -> None:
        if tuple(specs) != self.specs:
            self.specs = tuple(specs)
            self.wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set() and await self._has_lease():
                self.wake.clear()
                try:
                    await self._tick()
                except (psycopg.Error, OSError) as error:
                    log.warning("static.tick.failed", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), 5.0)
        finally:
            for task in self._scans.values():
                task.cancel()
            await asyncio.gather(*self._scans.values(), return_exceptions=True)

    async def _tick(self) -> None:
        async with self.db.transaction() as conn:
            rows = await nodes.in_region(conn, *self.key)
            for row in rows:
                if row["state"] == "deleting":
                    await nodes.forget(conn, row["id"])
            facts = {"provider": self.key[1], "vendor": "static", "launcher": self._launcher}
            usage = {"nodes": len(rows), "limits": msgspec.to_builtins(self.specs[0].limits) if self.specs else {}}
            await regions.write(conn, *self.key, {**facts, "usage": usage})
        for row in rows:
            due = time.monotonic() >= self._not_before.get(row["id"], 0.0)
            if row["state"] == "requested" and row["id"] not in self._scans and due:
                self._scans[row["id"]] = asyncio.create_task(self._scan(row))

    async def _scan(self, row: Row) -> None:
        host, port = row["interface_ip"], row["connection_port"]
        known = [m.host_key for s in self.specs for m in s.static_nodes if m.name == row["slot"] and m.host_key]
        try:
            keys = known
            if not keys and row["host_key_checking"] and row["connection_type"] == "ssh":
                keys = await scan_host_keys(host, port, timeout_s=SCAN_S)
            elif not keys:
                await wait_for_port(host, port, timeout_s=SCAN_S)
            async with self.db.transaction() as conn:
                await nodes.update(conn, row["id"], ["requested"], state="ready", host_keys=keys, comment=None)
            log.info("static.ready", node=row["id"], machine=host)
        except NotReachable as error:
            self._not_before[row["id"]] = time.monotonic() + AGAIN_S
            async with self.db.transaction() as conn:
                await nodes.update(conn, row["id"], ["requested"], comment=str(error))
            log.warning("static.unreachable", node=row["id"], machine=host, error=str(error))
        except psycopg.Error as error:
            log.warning("static.scan.failed", node=row["id"], error=str(error))
        finally:
            self._scans.pop(row["id"], None)
            self.wake.set()
