"""The shell of one provider region: makes real what the node rows say, and writes back what it sees.

A tick: list the servers, read the rows (in this order), reconcile, act. Creating, booting and deleting run beside the
ticks, one task a node. Killed anywhere, the next holder of the lease goes on from the rows and the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from msgspec.structs import replace

from trunkline import store
from trunkline.clouds import CloudTrouble, Region, classify
from trunkline.clouds.trouble import fault
from trunkline.pool import health as pool_health
from trunkline.pool import reconcile as rec
from trunkline.pool.model import NodeState, ProviderSpec, Quota, RegionStatus, Trouble
from trunkline.services.launcher_facts import Facts
from trunkline.services.launcher_node import NodeTasks
from trunkline.services.launcher_state import RegionState
from trunkline.services.launcher_threads import Crew
from trunkline.store import nodes, regions
from trunkline.store.database import Row

THREADS = 8
UNSETTLED = ("requested", "building", "deleting")


class Pace(msgspec.Struct, frozen=True):
    """How often a region is looked at."""

    busy_s: float = 1.0  # while something boots or goes
    idle_s: float = 10.0
    facts_s: float = 60.0  # limits, flavors, images
    sweep_s: float = 30.0  # leaks of floating IPs; servers are swept with every list
    grace_s: float = 10.0  # how long a list may lag
    api_timeout_s: float = 30.0


class RegionWorker:
    """Owns one region while its lease is held. `run` returns when stopped or when the lease is lost."""

    def __init__(
        self,
        db: store.Database,
        cloud: Region,
        specs: Sequence[ProviderSpec],
        *,
        launcher: str,
        has_lease: Callable[[], Coroutine[Any, Any, bool]],
        pace: Pace = Pace(),
        images_dir: Path | None = None,
        public_key: str | None = None,
    ) -> None:
        self.wake = asyncio.Event()
        self._db, self._cloud, self._pace, self._has_lease = db, cloud, pace, has_lease
        self._crew = Crew(THREADS, f"cloud-{cloud.cloud}-{cloud.region}")
        self._state = RegionState(db, cloud, specs, launcher)
        self._nodes = NodeTasks(self._state, self._crew)
        self._facts = Facts(cloud, self._crew, images_dir, public_key)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: set[str] = set()
        self._listed_at = self._facts_at = self._swept_at = float("-inf")
        self._key, self._log = self._state.key, self._state.log

    async def run(self, stop: asyncio.Event) -> None:
        try:
            await self._state.resume()
            while not stop.is_set() and await self._has_lease():
                self.wake.clear()
                wait_s = self._pace.busy_s
                try:
                    wait_s = await self.tick()
                except (psycopg.Error, OSError) as error:
                    self._log.warning("region.tick.failed", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), wait_s)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._crew.dismiss()

    def configure(self, specs: Sequence[ProviderSpec]) -> None:
        """The layout may have changed."""
        if tuple(specs) != self._state.specs:
            self._state.specs = tuple(specs)
            self._facts_at = float("-inf")
            self.wake.set()

    async def tick(self) -> float:
        """Look once and act. Returns after how many seconds to look again."""
        health = self._state.facts.health
        if not pool_health.may_call(health, time.time()):
            return max(0.05, health.probe_at - time.time())
        if time.monotonic() - self._facts_at >= self._pace.facts_s and not await self._refresh():
            return self._pace.busy_s
        async with self._db.connection() as conn:
            rows = await nodes.in_region(conn, *self._key)
        busy = any(row["state"] in UNSETTLED for row in rows)
        findings = rec.unsent(map(self._row, rows))
        if self._list_is_due(busy):
            if not await self._list():
                return self._pace.busy_s
            async with self._db.connection() as conn:
                rows = await nodes.in_region(conn, *self._key)
                now = await regions.clock(conn)
            ours = [rec.Seen(s.id, s.node_id, s.status, s.fault) for s in self._state.servers if s.node_id]
            findings = rec.reconcile(map(self._row, rows), ours, now, grace_s=self._pace.grace_s)
            await self._state.write(rows)
        by_id = {row["id"]: row for row in rows}
        for finding in findings:
            self._act(finding, by_id)
        await self._sweep()
        return self._pace.busy_s if busy or self._tasks else self._pace.idle_s

    def _list_is_due(self, busy: bool) -> bool:
        """Wake-ups in between do only what needs no list."""
        return time.monotonic() - self._listed_at >= 0.9 * (self._pace.busy_s if busy else self._pace.idle_s)

    async def _list(self) -> bool:
        try:
            self._state.servers = await self._crew.run(self._cloud.servers)
        except Exception as error:
            return await self._refused(error, "list servers")
        self._listed_at = time.monotonic()
        health = self._state.facts.health
        if health.failures or health.status is RegionStatus.down:
            self._state.learn(pool_health.Outcome())
        return True

    async def _refresh(self) -> bool:
        """Limits, flavors, images, networks."""
        try:
            limits, offer = await self._facts.read(self._state.specs)
        except Exception as error:
            return await self._refused(error, "read limits, flavors and images")
        facts = self._state.facts
        quota = Quota(limits, facts.quota.unmanaged)
        self._state.facts = replace(facts, quota=quota, offer=offer, seen=time.time())
        self._facts_at = time.monotonic()
        await self._state.write()
        return True

    async def _refused(self, error: Exception, what: str) -> bool:
        """A call that every region must be able to answer failed: whatever it was, the region does not work."""
        trouble = classify(error)
        if trouble.kind not in (Trouble.auth, Trouble.timeout, Trouble.rate):
            trouble = CloudTrouble(Trouble.down, trouble.message)
        await self._state.refused(trouble, what)
        self._listed_at = float("-inf")
        return False

    def _row(self, row: Row) -> rec.Row:
        label = self._state.label(row)
        timeout_s = float(label.boot_timeout_s) if label else 300.0
        state = NodeState(row["state"])
        return rec.Row(row["id"], state, row["server_id"], row["create_sent"], row["state_time"], timeout_s)

    def _act(self, finding: rec.Finding, rows: dict[str, Row]) -> None:
        tasks = self._nodes
        match finding:
            case rec.Send(node=node):
                self._start(node, tasks.create(rows[node]))
            case rec.Adopt(node=node, server=server):
                self._start(node, tasks.adopt(rows[node], server))
            case rec.Active(node=node, server=server_id):
                seen = next(s for s in self._state.servers if s.id == server_id)
                self._start(node, tasks.get_ready(rows[node], seen), waits=True)
            case rec.Broken(node=node, trouble=kind, message=message):
                trouble = fault(message) if finding.from_fault else CloudTrouble(kind, message)
                self._start(node, tasks.fail(rows[node], trouble, teaches=finding.teaches))
            case rec.Missing(node=node, server=server_id):
                self._start(node, tasks.check_missing(rows[node], server_id))
            case rec.Remove(server=server_id, node=owner):
                self._start(owner or f"leak {server_id}", tasks.remove(server_id, rows.get(owner or "")))
            case rec.Forget(node=node, server=had):
                self._start(node, tasks.forget(rows[node], had))

    def _start(self, key: str, work: Coroutine[Any, Any, None], *, waits: bool = False) -> None:
        """One task a node at a time: what ticks find meanwhile is found again later.

        waits: the task may wait for long; any other finding about the node ends it.
        """
        if key in self._tasks:
            if key in self._waiting and not waits:
                self._tasks[key].cancel()
            work.close()
            return
        if waits:
            self._waiting.add(key)
        self._tasks[key] = asyncio.create_task(self._guard(key, work))

    async def _guard(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (psycopg.Error, OSError) as error:
            self._log.warning("node.task.failed", node=key, error=str(error))
        except Exception:
            self._log.exception("node.task.broken", node=key)
        finally:
            self._tasks.pop(key, None)
            self._waiting.discard(key)

    async def _sweep(self) -> None:
        """Floating IPs that carry our name and belong to no node of ours."""
        if self._cloud.floating_ip_rule == "none" or time.monotonic() - self._swept_at < self._pace.sweep_s:
            return
        try:
            ours = await self._crew.run(self._cloud.floating_ips)
            async with self._db.connection() as conn:
                known = {row["id"] for row in await nodes.in_region(conn, *self._key)}
            for ip_id in sorted(ip for ip, node_id in ours.items() if node_id not in known):
                await self._crew.run(self._cloud.delete_floating_ip, ip_id)
                self._log.warning("leak.floating_ip.deleted", floating_ip=ip_id)
        except psycopg.Error:
            raise
        except Exception as error:
            await self._refused(error, "sweep floating IPs")
            return
        self._swept_at = time.monotonic()
