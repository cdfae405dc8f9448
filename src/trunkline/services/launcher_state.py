"""What is known of one region, shared by the tasks of its worker: learnt, and written for the planner and the page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from trunkline import store
from trunkline.clouds import CloudTrouble, Region, ServerSeen
from trunkline.pool import health as pool_health
from trunkline.pool.model import LabelSpec, ProviderSpec, RegionFacts, Resources, Trouble
from trunkline.pool.quota import RESOURCE_NAMES
from trunkline.services.launcher_world import region_of, usage_of
from trunkline.store import regions
from trunkline.store.database import Row

log = structlog.get_logger("launcher.region")


class RegionState:
    """Facts and health of the region, its specs, and the servers of the last list."""

    def __init__(self, db: store.Database, cloud: Region, specs: Sequence[ProviderSpec], launcher: str) -> None:
        self.db, self.cloud, self.specs = db, cloud, tuple(specs)
        self.key = (cloud.cloud, cloud.region)
        self.name = "/".join(self.key)
        self.facts = RegionFacts(cloud.cloud, cloud.region, cloud.place)
        self.servers: list[ServerSeen] = []
        self.log = log.bind(region=self.name)
        self._launcher = launcher

    async def resume(self) -> None:
        """Go on with what the last holder of the lease knew."""
        async with self.db.connection() as conn:
            row = await regions.get(conn, *self.key)
        if row is not None:
            self.facts = replace(region_of(row), vendor=self.cloud.place)

    def spec(self, row: Row) -> ProviderSpec | None:
        wanted = (row["tenant"], row["provider"])
        return next((s for s in self.specs if (s.tenant, s.canonical_name) == wanted), None)

    def label(self, row: Row) -> LabelSpec | None:
        spec = self.spec(row)
        return spec.label(row["label"]) if spec else None

    def learn(self, outcome: pool_health.Outcome) -> None:
        """Fold an outcome into the health; the caller writes it."""
        before = self.facts.health.status
        self.facts = replace(self.facts, health=pool_health.observe(self.facts.health, outcome, time.time()))
        after = self.facts.health
        if after.status is not before:
            self.log.warning("region.state", was=before.value, now=after.status.value, reason=after.reason)

    async def refused(self, trouble: CloudTrouble, what: str) -> None:
        """A call that concerns no node's fate failed."""
        self.log.warning("region.refused", what=what, kind=trouble.kind.value, error=trouble.message)
        self.learn(pool_health.Outcome(trouble.kind, f"{what}: {trouble.message}"))
        if trouble.kind in (Trouble.auth, Trouble.down):
            self.cloud.forget_connection()
        await self.write()

    async def write(self, rows: Sequence[Row] | None = None) -> None:
        async with self.db.transaction() as conn:
            await self.write_in(conn, rows)

    async def write_in(self, conn: store.Connection, rows: Sequence[Row] | None = None) -> None:
        """rows: the region's nodes as read after the last list."""
        values: dict[str, Any] = {}
        if rows is not None:
            foreign = [s.uses for s in self.servers if not s.node_id]
            unmanaged = Resources(*(sum(getattr(u, n) or 0 for u in foreign) for n in RESOURCE_NAMES))
            self.facts = replace(self.facts, quota=replace(self.facts.quota, unmanaged=unmanaged))
            values["usage"] = usage_of(rows)
        vendor, health = self.facts.vendor, self.facts.health
        values |= {
            "provider": ", ".join(sorted({s.name for s in self.specs})),
            "vendor": vendor.name,
            "city": vendor.city,
            "country": vendor.country,
            "jurisdiction": vendor.jurisdiction,
            "lat": vendor.lat,
            "lon": vendor.lon,
            "state": health.status.value,
            "reason": health.reason,
            "quota": msgspec.to_builtins(self.facts.quota),
            "health": msgspec.to_builtins(health),
            "offer": msgspec.to_builtins(self.facts.offer),
            "launcher": self._launcher,
        }
        await regions.write(conn, *self.key, values)
