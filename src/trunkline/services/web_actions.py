"""What an authorised caller may have done: each action is a row in an inbox, or a change of one row of the store."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trunkline.config.tenant_model import ProjectSpec, TenantSpec
from trunkline.services import operations
from trunkline.services.layouts import Layouts, Loaded
from trunkline.services.routing import go_on
from trunkline.services.settings import Settings
from trunkline.services.sources import Sources
from trunkline.services.web_rows import autohold_json
from trunkline.store import Database, events, nodes, requests
from trunkline.store import web as reads
from trunkline.web.source import Json, Refused


class StoreActions:
    """The acting half of the source."""

    def __init__(self, db: Database, settings: Settings, sources: Sources, layouts: Layouts) -> None:
        self.db, self.settings, self.sources, self.layouts = db, settings, sources, layouts

    def tenant_root(self, spec: TenantSpec) -> str:
        """The URL of the tenant's pages, with a slash at the end."""
        if spec.web_root:
            return spec.web_root if spec.web_root.endswith("/") else spec.web_root + "/"
        return f"{self.settings.web_root}t/{spec.name}/"

    async def project_spec(self, tenant: str, project: str) -> ProjectSpec | None:
        async with self.db.connection() as conn:
            loaded = await self.layouts.get(conn, tenant)
        return _project(loaded, project) if loaded else None

    async def enqueue(self, tenant: str, project: str, body: Json, user: str | None) -> None:
        spec = await self._known(tenant, project, body["pipeline"])
        wanted = {"kind": "enqueue", "change": body.get("change"), "ref": body.get("ref"), "user": user}
        wanted |= {key: body.get(key) for key in ("oldrev", "newrev", "parameters")}
        if body.get("change") is not None:
            _number_and_patchset(str(body["change"]))
        await self._ask(tenant, spec, body["pipeline"], wanted)

    async def dequeue(self, tenant: str, project: str, body: Json) -> None:
        spec = await self._known(tenant, project, body["pipeline"])
        if body.get("change") is not None:
            _number_and_patchset(str(body["change"]))
        wanted = {"kind": "dequeue", "change": body.get("change"), "ref": body.get("ref")}
        await self._ask(tenant, spec, body["pipeline"], wanted)

    async def promote(self, tenant: str, pipeline: str, changes: Sequence[str]) -> None:
        async with self.db.connection() as conn:
            loaded = await self.layouts.get(conn, tenant)
        if loaded is None or pipeline not in loaded.layout.pipelines:
            raise Refused(400, "Unknown pipeline")
        for change in changes:
            _number_and_patchset(change)
        connections = loaded.layout.pipelines[pipeline].triggers or {p.connection: [] for p in loaded.spec.projects}
        source = next((name for name in connections if name in self.sources.drivers), None)
        if source is None:
            raise Refused(400, "The pipeline has no source of changes")
        body = {"kind": "promote", "tenant": tenant, "pipeline": pipeline, "changes": list(changes)}
        async with self.db.transaction() as conn:
            await operations.ask(conn, source, body)

    async def _known(self, tenant: str, project: str, pipeline: str) -> ProjectSpec:
        async with self.db.connection() as conn:
            loaded = await self.layouts.get(conn, tenant)
        spec = _project(loaded, project) if loaded else None
        if loaded is None or spec is None:
            raise Refused(404, "Unknown project")
        if pipeline not in loaded.layout.pipelines:
            raise Refused(400, "Unknown pipeline")
        return spec

    async def _ask(self, tenant: str, spec: ProjectSpec, pipeline: str, wanted: Json) -> None:
        body = {**wanted, "tenant": tenant, "pipeline": pipeline, "project": spec.canonical_name}
        async with self.db.transaction() as conn:
            await operations.ask(conn, spec.connection, body)

    # holds
    async def autoholds(self, tenant: str, project: str | None) -> list[Json]:
        async with self.db.connection() as conn:
            rows = await reads.autoholds(conn, tenant)
        return [autohold_json(row) for row in rows if project is None or row["project"].endswith(project)]

    async def autohold(self, tenant: str, request: str) -> Json | None:
        if not request.isdigit():
            return None
        async with self.db.connection() as conn:
            row = await reads.autohold(conn, tenant, int(request))
        return autohold_json(row) if row else None

    async def create_autohold(self, tenant: str, project: str, body: Json) -> None:
        spec = await self.project_spec(tenant, project)
        if spec is None:
            raise Refused(404, "Unknown project")
        ref_filter = ".*"
        if body["change"]:
            number = str(body["change"]).partition(",")[0]
            if not number.isdigit():
                raise Refused(400, "change must be a number")
            ref_filter = f"refs/changes/{int(number) % 100:02d}/{int(number)}/.*"
        elif body["ref"]:
            ref_filter = str(body["ref"])
        async with self.db.transaction() as conn:
            await reads.create_autohold(
                conn,
                tenant=tenant,
                project=spec.canonical_name,
                job=body["job"],
                ref_filter=ref_filter,
                reason=body["reason"],
                max_count=body["count"],
                node_expiration=self._expiration(body["node_hold_expiration"]),
            )

    def _expiration(self, asked: int | None) -> int:
        """Seconds: what was asked for within the operator's limits; 0 is never."""
        most = int(self.settings.number("scheduler", "max_hold_expiration", 0))
        if asked is None:
            return int(self.settings.number("scheduler", "default_hold_expiration", most))
        return most if most and (asked == 0 or asked > most) else max(asked, 0)

    async def delete_autohold(self, tenant: str, request: str) -> bool:
        if not request.isdigit():
            return False
        async with self.db.transaction() as conn:
            held = await reads.delete_autohold(conn, tenant, int(request))
            if held is None:
                return False
            await nodes.release_hold(conn, [node for entry in held for node in entry["nodes"]])
        return True

    # tenant, nodes, requests
    async def set_state(self, tenant: str, body: Json) -> None:
        async with self.db.transaction() as conn:
            switches = await reads.set_tenant_state(conn, tenant, body)
            if not switches.get("trigger_queue_paused"):
                await go_on(conn, tenant, discard=bool(switches.get("trigger_queue_discarding")))
            if not switches.get("result_queue_paused"):
                for owner in await reads.events_waiting(conn, f"queue:{tenant}/"):
                    await events.wake(conn, owner)

    async def set_node(self, tenant: str, node: str, body: Json) -> bool:
        if not re.fullmatch(r"[0-9a-f-]{32,36}", node):
            return False
        async with self.db.transaction() as conn:
            found = await nodes.get(conn, [node])
            if not found or found[0]["tenant"] not in (tenant, ""):
                return False
            match body["state"]:
                case "hold":
                    await nodes.hold(conn, [node], reason=str(body.get("comment", found[0]["comment"]) or ""))
                case "used" | "outdated":
                    await nodes.delete(conn, [node], f"set to {body['state']} by an administrator")
        return True

    async def delete_nodeset_request(self, tenant: str, request: str) -> bool:
        if not re.fullmatch(r"[0-9a-f-]{32,36}", request):
            return False
        async with self.db.transaction() as conn:
            found = await requests.get(conn, request)
            if found is None or found["tenant"] != tenant:
                return False
            await requests.fail(conn, request, "deleted by an administrator")
        return True


def _project(loaded: Loaded, name: str) -> ProjectSpec | None:
    canonical = loaded.layout.find_project(name)
    return loaded.layout.spec(canonical) if canonical else None


def _number_and_patchset(change: str) -> tuple[int, str]:
    number, _, patchset = change.partition(",")
    if not number.isdigit() or not patchset.isdigit():
        raise Refused(400, f"change must be NUMBER,PATCHSET, not {change!r}")
    return int(number), patchset
