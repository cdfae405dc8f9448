"""What is done to one node: create, adopt, make ready, fail, remove, forget. Each may be killed anywhere and done again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from trunkline.clouds import CloudTrouble, NotReachable, ServerSeen, classify, scan_host_keys
from trunkline.clouds.hostkeys import wait_for_port
from trunkline.pool import health as pool_health
from trunkline.pool.model import LabelSpec, Trouble
from trunkline.services.launcher_state import RegionState
from trunkline.services.launcher_threads import Crew
from trunkline.store import events, nodes
from trunkline.store.database import Row

REISSUE_DELETE_S = 60.0
LAUNCH_TIMEOUT_S = (120.0, 600.0)  # the least and the most, when the configuration says nothing
MAYBE_THERE = (Trouble.timeout, Trouble.down)  # after these nobody knows whether the server was created


class NodeTasks:
    def __init__(self, state: RegionState, crew: Crew) -> None:
        self._state, self._crew = state, crew
        self._db, self._cloud = state.db, state.cloud
        self._delete_asked: dict[str, float] = {}

    async def create(self, row: Row) -> None:
        spec, label = self._state.spec(row), self._state.label(row)
        image_id = self._state.facts.offer.images.get(label.image.name) if label else None
        if spec is None or label is None or image_id is None:
            return await self.fail(row, CloudTrouble(Trouble.not_found, f"label {row['label']} cannot be made here"))
        async with self._db.transaction() as conn:
            if not await nodes.stamp_create(conn, row["id"]):
                return None
        try:
            server_id = await self._crew.run(
                self._cloud.create_server, row["id"], label, image_id, az=row["az"], tags=row["metadata"]
            )
        except LookupError as error:
            return await self.fail(row, CloudTrouble(Trouble.not_found, str(error)))
        except Exception as error:
            trouble = classify(error)
            if trouble.kind in MAYBE_THERE:
                self._state.log.warning("node.create.unclear", node=row["id"])
                await self._state.refused(trouble, "create server")
                return None
            if trouble.kind is Trouble.rate:
                return await self._set(row, ["requested"], create_sent=None)
            return await self.fail(row, trouble)
        await self._set(row, ["requested"], state="building", server_id=server_id)
        self._state.log.info("node.create.sent", node=row["id"], server=server_id, label=row["label"])
        return None

    async def adopt(self, row: Row, server_id: str) -> None:
        await self._set(row, ["requested"], state="building", server_id=server_id)
        self._state.log.info("node.adopted", node=row["id"], server=server_id)

    async def get_ready(self, row: Row, server: ServerSeen) -> None:
        """Address, floating IP, host keys; then the node is ready."""
        spec, label = self._state.spec(row), self._state.label(row)
        if spec is None or label is None:
            return await self.fail(row, CloudTrouble(Trouble.not_found, "the label is not configured any more"))
        values: dict[str, Any] = {"az": server.az or row["az"], "host_id": server.host_id}
        try:
            addresses = await self._crew.run(self._cloud.addresses, server)
            if await self._crew.run(self._cloud.needs_floating_ip, server, label):
                ip_id, ip = await self._crew.run(self._cloud.attach_floating_ip, server)
                values["floating_ip_id"] = ip_id
                addresses = replace(addresses, interface_ip=ip, public_ipv4=ip)
        except LookupError:
            return None  # no port yet: the next tick comes back
        except Exception as error:
            trouble = classify(error)
            if trouble.kind in (Trouble.quota, Trouble.invalid, Trouble.not_found):
                return await self.fail(row, trouble)
            await self._state.refused(trouble, "floating IP")
            return None
        if addresses.interface_ip is None:
            return None
        values |= msgspec.to_builtins(addresses)
        begun = row["create_sent"] or row["state_time"]
        left_s = begun + (spec.launch_timeout_s or self._usual_timeout_s()) - time.time()
        try:
            values["host_keys"] = await self._reach(addresses.interface_ip, label, max(1.0, left_s))
        except NotReachable as error:
            console = await self._crew.run(self._cloud.console_log, server.id)
            self._state.log.warning("node.unreachable", node=row["id"], error=str(error), console=console[-2000:])
            return await self.fail(row, CloudTrouble(Trouble.unreachable, str(error)))
        ready_s = time.time() - begun
        self._state.learn(pool_health.Outcome(ready_s=ready_s, flavor=row["flavor"], az=row["az"] or ""))
        async with self._db.transaction() as conn:
            await nodes.update(conn, row["id"], ["building"], state="ready", **values)
            await self._state.write_in(conn)
        self._state.log.info("node.ready", node=row["id"], server=server.id, seconds=round(ready_s, 2))
        return None

    def _usual_timeout_s(self) -> float:
        """Well beyond what launches took here so far."""
        least, most = LAUNCH_TIMEOUT_S
        health = self._state.facts.health
        if health.ready_s is None:
            return most
        return min(most, max(least, 2 * health.ready_s + 8 * health.ready_dev_s))

    async def _reach(self, host: str, label: LabelSpec, timeout_s: float) -> list[str]:
        port = label.image.connection_port
        if label.host_key_checking and label.image.connection_type == "ssh":
            return await scan_host_keys(host, port, timeout_s=timeout_s)
        await wait_for_port(host, port, timeout_s=timeout_s)
        return []

    async def fail(self, row: Row, trouble: CloudTrouble, *, teaches: bool = True) -> None:
        """The node is lost; what that teaches of the region is written with it, for the planner to see both."""
        in_use = trouble.in_use if trouble.in_use is not None else sum(bool(s.node_id) for s in self._state.servers)
        outcome = pool_health.Outcome(
            trouble.kind,
            trouble.message,
            flavor=row["flavor"],
            az=row["az"] or "",
            resource=trouble.resource,
            in_use=in_use,
        )
        if teaches:
            self._state.learn(outcome)
        was = ["requested", "building", "ready", "in-use"]
        async with self._db.transaction() as conn:
            moved = await nodes.update(
                conn, row["id"], was, state="failed", trouble=trouble.kind.value, comment=trouble.message
            )
            await self._state.write_in(conn)
            if moved and row["owner"] and row["state"] in ("ready", "in-use"):
                lost = {"kind": "node-lost", "node": row["id"], "request": row["request_id"], "reason": trouble.message}
                await events.post(conn, row["owner"], lost)
        self._state.log.warning("node.failed", node=row["id"], kind=trouble.kind.value, error=trouble.message)

    async def check_missing(self, row: Row, server_id: str) -> None:
        try:
            server = await self._crew.run(self._cloud.server, server_id)
        except Exception as error:
            await self._state.refused(classify(error), "look for a server")
            return
        if server is None:
            await self.fail(row, CloudTrouble(Trouble.vanished, "the server is gone"))

    async def remove(self, server_id: str, row: Row | None) -> None:
        """Delete a server, again every minute while it stays. A list may show what is gone: ask by id then."""
        asked = self._delete_asked.get(server_id)
        now = time.monotonic()
        try:
            if asked is not None:
                gone = await self._crew.run(self._cloud.server, server_id) is None
                if gone and row is not None:
                    return await self.forget(row, None)
                if gone or now - asked < REISSUE_DELETE_S:
                    return None
            if row is not None and row["floating_ip_id"]:
                await self._crew.run(self._cloud.delete_floating_ip, row["floating_ip_id"])
            await self._crew.run(self._cloud.delete_server, server_id)
        except Exception as error:
            await self._state.refused(classify(error), "delete a server")
            return None
        if row is None:
            self._state.log.warning("leak.deleted", server=server_id)
        self._delete_asked[server_id] = now
        return None

    async def forget(self, row: Row, server_id: str | None) -> None:
        if server_id is not None:
            try:
                still_there = await self._crew.run(self._cloud.server, server_id)
            except Exception as error:
                await self._state.refused(classify(error), "look for a server")
                return None
            if still_there is not None:
                return await self.remove(server_id, row)
            if row["floating_ip_id"]:
                with contextlib.suppress(Exception):  # the sweep finds it again
                    await self._crew.run(self._cloud.delete_floating_ip, row["floating_ip_id"])
        async with self._db.transaction() as conn:
            await nodes.forget(conn, row["id"])
        self._delete_asked.pop(row["server_id"] or "", None)
        self._state.log.info("node.gone", node=row["id"])
        return None

    async def _set(self, row: Row, was: Sequence[str], **values: Any) -> None:
        async with self._db.transaction() as conn:
            await nodes.update(conn, row["id"], was, **values)
