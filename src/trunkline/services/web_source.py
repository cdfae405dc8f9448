"""What the web shows and asks for, over the store and the layouts: the production `WebSource`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from trunkline import __version__
from trunkline.config import ConfigError, Layout
from trunkline.config.tenant_model import TenantFile, TenantSpec
from trunkline.gate.model import Queue
from trunkline.services import web_layout, web_rows, web_status
from trunkline.services.keystore import SECRETS, SSH, Keystore
from trunkline.services.layouts import Layouts, Loaded
from trunkline.services.settings import Settings, SettingsError
from trunkline.services.sources import Sources
from trunkline.services.tenants import read_tenant_file
from trunkline.services.web_actions import StoreActions
from trunkline.services.web_explain import standing, story
from trunkline.services.web_freeze import freeze_job, freeze_jobs
from trunkline.store import Database, components, configuration, fleet, listen, nodes, queues, regions, requests
from trunkline.store import semaphores as store_semaphores
from trunkline.store import web as reads
from trunkline.web.live import Hub
from trunkline.web.source import ApiRoot, Authorisation, BuildConsole, BuildQuery, Json, TenantInfo

log = structlog.get_logger()

ESTIMATES_FRESH_S = 30.0
TENANT_FILE_FRESH_S = 5.0
MOST_STATES = 512
PLAIN_KINDS = frozenset({"scheduler", "executor", "web"})  # what one group for everything shows as components
# Which part of the page a hint of the store concerns.
TOPICS: Mapping[str, tuple[str, ...]] = {
    "status": ("queues", "builds", "fleet"),
    "build": ("builds",),
    "pool": ("pool",),
    "region": ("pool",),
    "layout": ("config", "queues"),
    "fleet": ("fleet",),
}


class StoreSource(StoreActions):
    """One a process. Run `follow` beside it, so that pages hear of changes."""

    def __init__(self, db: Database, settings: Settings, sources: Sources, layouts: Layouts) -> None:
        super().__init__(db, settings, sources, layouts)
        self.keystore = Keystore(settings.keystore_password)
        self.hub = Hub()
        self._states: OrderedDict[str, tuple[int, Queue]] = OrderedDict()
        self._estimates: dict[str, tuple[float, dict[web_status.Estimate, float]]] = {}
        self._tenant_file: tuple[float, float, TenantFile] | None = None

    async def follow(self) -> None:
        """Pass hints of the store on to open pages, for ever."""
        async for channel, payload in listen(self.db.dburi, list(TOPICS)):
            tenant = payload if channel in ("status", "layout") else ""
            for topic in TOPICS.get(channel, ("queues", "builds", "pool", "fleet", "config")):
                self.hub.post(tenant, topic)

    def changes(self, tenant: str) -> AsyncIterator[str]:
        return self.hub.changes(tenant)

    # who may what
    async def authorisation(self) -> Authorisation:
        file = await asyncio.to_thread(self._read_tenant_file)
        root = file.api_root
        return Authorisation(
            root=ApiRoot(root.authentication_realm, root.anonymous_read_access, root.access_rules, root.role_mappings),
            rules={name: tuple(_conditions(found)) for name, found in file.authorization_rules.items()},
            roles=file.roles,
        )

    def _read_tenant_file(self) -> TenantFile:
        """Rules and roles stand in the tenant file alone; it is read again when it has changed."""
        path = self.settings.file("scheduler", "tenant_config")
        now = time.monotonic()
        if self._tenant_file is not None and now - self._tenant_file[0] < TENANT_FILE_FRESH_S:
            return self._tenant_file[2]
        modified = _modified(path)
        if self._tenant_file is None or modified != self._tenant_file[1] or path is None:
            try:
                file = read_tenant_file(self.settings, self.sources)
            except SettingsError:
                if self._tenant_file is None:
                    raise
                file = self._tenant_file[2]
            self._tenant_file = (now, modified, file)
        else:
            self._tenant_file = (now, modified, self._tenant_file[2])
        return self._tenant_file[2]

    async def tenants(self) -> list[str]:
        async with self.db.connection() as conn:
            return [row["name"] for row in await configuration.tenants(conn)]

    async def tenant(self, name: str) -> TenantInfo | None:
        async with self.db.connection() as conn:
            row = await configuration.tenant(conn, name)
        if row is None:
            return None
        spec = msgspec.convert(row["spec"], TenantSpec)
        return TenantInfo(
            name=name,
            ready=row["generation"] > 0,
            web_root=spec.web_root,
            anonymous_read_access=spec.anonymous_read_access,
            authentication_realm=spec.authentication_realm,
            access_rules=spec.access_rules,
            admin_rules=spec.admin_rules,
            role_mappings=spec.role_mappings,
            launcher_providers=not spec.use_nodepool,
        )

    # the installation
    async def connections(self) -> list[Json]:
        return [_connection(name, dict(options), self.sources) for name, options in self._sources_options()]

    def _sources_options(self) -> list[tuple[str, Mapping[str, str]]]:
        return [(n, o) for n, o in self.settings.named("connection").items() if n in self.sources.drivers]

    async def components(self) -> dict[str, list[Json]]:
        async with self.db.connection() as conn:
            rows = await components.listed(conn)
        out: dict[str, list[Json]] = {}
        for row in rows:
            if row["details"].get("group") == "whole" and row["kind"] not in PLAIN_KINDS:
                continue
            entry = {"hostname": row["hostname"], "state": row["state"], "version": row["version"]}
            out.setdefault(row["kind"], []).append(entry)
        return out

    # status
    async def status(self, tenant: str) -> Json:
        async with self.db.connection() as conn:
            row = await configuration.tenant(conn, tenant)
            loaded = await self.layouts.get(conn, tenant)
            assert row is not None
            assert loaded is not None
            states = [(found, self._state(found)) for found in await queues.of_tenant(conn, tenant)]
            held = [state for _, state in states]
            builds = await reads.running(conn, web_status.builds_in(held))
            waiting = await reads.events_waiting(conn, f"queue:{tenant}/")
            routed = await reads.events_waiting(conn, "router:")
        facts = web_status.Facts(
            now=time.time(),
            web_root=self.tenant_root(loaded.spec),
            builds=builds,
            estimates=await self._estimate(tenant, held),
            names={project.canonical_name: project.name for project in loaded.spec.projects},
            websocket_url=self.settings.get("web", "websocket_url") or None,
        )
        return {
            "zuul_version": __version__,
            "trigger_event_queue": {"length": sum(routed.values())},
            "management_event_queue": {"length": 0},
            "connection_event_queues": {
                name: {"length": routed.get(f"router:{name}", 0)} for name in self.sources.drivers
            },
            "state": _tenant_state(row["state"]),
            "last_reconfigured": int(row["reconfigured"].timestamp() * 1000) if row["reconfigured"] else 0,
            "pipelines": [
                self._pipeline(loaded.layout, name, states, waiting, facts) for name in loaded.layout.pipelines
            ],
        }

    def _pipeline(
        self,
        layout: Layout,
        name: str,
        states: Sequence[tuple[Mapping[str, Any], Queue]],
        waiting: Mapping[str, int],
        facts: web_status.Facts,
    ) -> Json:
        pipeline = layout.pipelines[name]
        mine = [(row, queue) for row, queue in states if row["pipeline"] == name]
        drivers = self._drivers()
        return {
            "name": name,
            "description": pipeline.description,
            "state": "normal",
            "manager": pipeline.manager,
            "triggers": [{"driver": t["driver"]} for t in web_layout.pipeline_triggers(pipeline, drivers)],
            "trigger_events": 0,
            "result_events": sum(waiting.get(f"queue:{row['id']}", 0) for row, _ in mine),
            "management_events": 0,
            "change_queues": [
                web_status.queue_json(queue, row["name"], row["branch"], facts) for row, queue in mine if queue.items
            ],
        }

    def _state(self, row: Mapping[str, Any]) -> Queue:
        known = self._states.get(row["id"])
        if known is not None and known[0] == row["version"]:
            return known[1]
        queue = msgspec.json.decode(bytes(row["state"]), type=Queue)
        self._states[row["id"]] = (row["version"], queue)
        self._states.move_to_end(row["id"])
        while len(self._states) > MOST_STATES:
            self._states.popitem(last=False)
        return queue

    async def _estimate(self, tenant: str, held: Sequence[Queue]) -> dict[web_status.Estimate, float]:
        """History changes slowly: what is known is asked again only now and then."""
        wanted = web_status.estimates_wanted(held)
        asked, known = self._estimates.get(tenant, (0.0, {}))
        if time.monotonic() - asked > ESTIMATES_FRESH_S:
            known, missing = {}, wanted
            asked = time.monotonic()
        else:
            missing = [key for key in wanted if key not in known]
        if missing:
            async with self.db.connection() as conn:
                found = await reads.estimates(conn, tenant, missing)
            known = known | {key: found.get(key, 0.0) for key in missing}
            self._estimates[tenant] = (asked, known)
        return {key: value for key, value in known.items() if value}

    async def system_events(self, tenant: str, query: Json) -> list[Json]:
        async with self.db.connection() as conn:
            rows = await reads.system_events(conn, tenant, query)
        return [web_rows.event_json(row) | {"event_id": row["event_id"]} for row in rows]

    async def explain(self, tenant: str, change: str) -> list[Json]:
        async with self.db.connection() as conn:
            held = [self._state(row) for row in await queues.of_tenant(conn, tenant)]
            return [*standing(held, change, time.time()), *await story(conn, tenant, change)]

    # the layout in force
    async def _loaded(self, tenant: str) -> Loaded:
        async with self.db.connection() as conn:
            loaded = await self.layouts.get(conn, tenant)
        assert loaded is not None, tenant
        return loaded

    def _drivers(self) -> dict[str, str]:
        return {name: spec.driver for name, spec in self.sources.specs.items()}

    async def jobs(self, tenant: str) -> list[Json]:
        return web_layout.job_list((await self._loaded(tenant)).layout)

    async def job(self, tenant: str, name: str) -> list[Json]:
        return web_layout.job_variants((await self._loaded(tenant)).layout, name)

    async def projects(self, tenant: str) -> list[Json]:
        return web_layout.project_list((await self._loaded(tenant)).layout)

    async def project(self, tenant: str, name: str) -> Json | None:
        return web_layout.project_page((await self._loaded(tenant)).layout, name)

    async def pipelines(self, tenant: str) -> list[Json]:
        return web_layout.pipeline_list((await self._loaded(tenant)).layout, self._drivers())

    async def labels(self, tenant: str) -> list[Json]:
        return web_layout.label_list((await self._loaded(tenant)).layout)

    async def flavors(self, tenant: str) -> list[Json]:
        return web_layout.provider_objects((await self._loaded(tenant)).layout.flavors)

    async def images(self, tenant: str) -> list[Json]:
        return web_layout.image_list((await self._loaded(tenant)).layout)

    async def providers(self, tenant: str) -> list[Json]:
        return web_layout.provider_list((await self._loaded(tenant)).layout)

    async def semaphores(self, tenant: str) -> list[Json]:
        loaded = await self._loaded(tenant)
        async with self.db.connection() as conn:
            holders = await store_semaphores.holders(conn)
        return [
            _semaphore(name, limit, name in loaded.spec.global_semaphores, tenant, holders)
            for name, limit in sorted(loaded.layout.semaphores.items())
        ]

    async def config_errors(self, tenant: str) -> list[Json]:
        loaded = await self._loaded(tenant)
        held = [msgspec.convert(error, ConfigError) for error in loaded.held]
        return [web_layout.error_json(error) for error in (*held, *loaded.layout.errors)]

    async def freeze_jobs(self, tenant: str, pipeline: str, project: str, branch: str) -> list[Json] | None:
        return freeze_jobs((await self._loaded(tenant)).layout, pipeline, project, branch)

    async def freeze_job(self, tenant: str, pipeline: str, project: str, branch: str, job: str) -> Json | None:
        return freeze_job(await self._loaded(tenant), self.sources, pipeline, project, branch, job)

    async def freeze_pipeline(self, tenant: str, pipeline: str, project: str, ref: str) -> list[Json] | None:
        return web_layout.freeze_pipeline((await self._loaded(tenant)).layout, pipeline, project)

    async def public_key(self, tenant: str, project: str) -> str | None:
        scope = await self._key_scope(tenant, project)
        return await self._public(scope, SECRETS) if scope else None

    async def ssh_key(self, tenant: str, project: str | None) -> str | None:
        scope = await self._key_scope(tenant, project) if project is not None else f"tenant:{tenant}"
        return await self._public(scope, SSH) if scope else None

    async def _key_scope(self, tenant: str, project: str) -> str | None:
        spec = await self.project_spec(tenant, project)
        return f"{spec.connection}/{spec.name}" if spec else None

    async def _public(self, scope: str, kind: str) -> str:
        async with self.db.transaction() as conn:
            return (await self.keystore.pair(conn, scope, kind))[1]

    # history
    async def builds(self, tenant: str, query: BuildQuery) -> list[Json]:
        async with self.db.connection() as conn:
            rows = await reads.builds(conn, tenant, msgspec.to_builtins(query))
        return [web_rows.build_json(row) for row in rows]

    async def build(self, tenant: str, uuid: str) -> Json | None:
        async with self.db.connection() as conn:
            row = await reads.build(conn, tenant, uuid)
        return web_rows.build_json(row) if row else None

    async def buildsets(self, tenant: str, query: BuildQuery) -> list[Json]:
        async with self.db.connection() as conn:
            rows = await reads.buildsets(conn, tenant, msgspec.to_builtins(query))
        return [web_rows.buildset_json(row) for row in rows]

    async def buildset(self, tenant: str, uuid: str) -> Json | None:
        async with self.db.connection() as conn:
            row = await reads.buildset(conn, tenant, uuid)
            if row is None:
                return None
            builds = await reads.builds_of(conn, uuid)
            events = await reads.events_of(conn, row["id"])
        out = web_rows.buildset_json(row)
        if builds:
            out["builds"] = [web_rows.build_json(build, whole=False) for build in builds]
        if events:
            out["events"] = [web_rows.event_json(event) for event in events]
        return out

    async def build_times(self, tenant: str, query: BuildQuery) -> list[Json]:
        async with self.db.connection() as conn:
            rows = await reads.build_times(conn, tenant, msgspec.to_builtins(query))
        return [web_rows.build_time_json(row) for row in rows]

    async def build_console(self, tenant: str, uuid: str) -> BuildConsole | None:
        async with self.db.connection() as conn:
            row = await reads.console(conn, tenant, uuid)
        return BuildConsole(row["state"], row["executor"]) if row else None

    # servers and applications
    async def nodes(self, tenant: str) -> list[Json]:
        async with self.db.connection() as conn:
            mine, spare = await nodes.listed(conn, tenant), await nodes.listed(conn, "")
        return [web_rows.node_json(row) for row in (*mine, *spare)]

    async def nodeset_requests(self, tenant: str) -> list[Json]:
        async with self.db.connection() as conn:
            rows = await requests.listed(conn, tenant)
        return [web_rows.request_json(row) for row in rows if row["state"] != "canceled"]

    async def regions(self, tenant: str) -> list[Json]:
        async with self.db.connection() as conn:
            rows, counts = await regions.listed(conn), await reads.node_counts(conn, tenant)
        by_region: dict[tuple[str, str], Counter[str]] = {}
        for count in counts:
            by_region.setdefault((count["cloud"], count["region"]), Counter())[count["state"]] += count["n"]
        return [web_rows.region_json(row, by_region.get((row["cloud"], row["region"]), {})) for row in rows]

    async def applications(self, tenant: str) -> list[Json]:
        async with self.db.connection() as conn:
            rows = await reads.applications(conn, tenant)
        return [web_rows.application_json(row) for row in rows]

    async def endpoints(self, tenant: str, application: str) -> Json | None:
        async with self.db.connection() as conn:
            rows = await fleet.endpoints(conn, tenant, application)
        return rows[0]["document"] if rows else None


def _conditions(found: Any) -> list[Json]:
    """A rule's conditions: a map, or a list of maps that are an OR."""
    if isinstance(found, Mapping) and "conditions" in found:
        found = found["conditions"]
    return [dict(one) for one in (found if isinstance(found, (list, tuple)) else [found])]


def _modified(path: Path | None) -> float:
    try:
        return path.stat().st_mtime if path else 0.0
    except OSError:
        return 0.0


def _connection(name: str, options: dict[str, str], sources: Sources) -> Json:
    driver, hostname = options.get("driver", ""), sources.specs[name].canonical_hostname
    out: Json = {"name": name, "driver": driver}
    if driver == "gerrit":
        server = options.get("server", "")
        out |= {
            "baseurl": options.get("baseurl", f"https://{server}").rstrip("/"),
            "canonical_hostname": hostname,
            "server": server,
            "ssh_server": options.get("ssh_server", server),
            "port": int(options.get("port", 29418)),
        }
    return out


def _tenant_state(state: Mapping[str, Any]) -> Json:
    return {
        "trigger_queue_discarding": bool(state.get("trigger_queue_discarding")),
        "trigger_queue_paused": bool(state.get("trigger_queue_paused")),
        "result_queue_paused": bool(state.get("result_queue_paused")),
        "reason": state.get("reason"),
        "info": state.get("info"),
    }


def _semaphore(name: str, limit: int, is_global: bool, tenant: str, holders: Sequence[Mapping[str, Any]]) -> Json:
    held = [row for row in holders if row["name"] == name and row["scope"] == ("" if is_global else tenant)]
    mine = [{"buildset_uuid": row["buildset"], "job_name": row["job"]} for row in held if row["tenant"] == tenant]
    return {
        "name": name,
        "global": is_global,
        "max": limit,
        "holders": {"count": len(held), "this_tenant": mine, "other_tenants": len(held) - len(mine)},
    }
