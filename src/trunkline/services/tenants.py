"""Tenants from the tenant file into the store, and what follows when a tenant's layout is a new one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from trunkline.config import ConfigError, Layout, load_tenants
from trunkline.config.tenant_model import TenantFile
from trunkline.gate.events import Dequeue, DequeueReason, Reconfigured
from trunkline.gate.model import ItemId
from trunkline.pool import provider_specs
from trunkline.services.admitting import queue_settings
from trunkline.services.layouts import Layouts
from trunkline.services.settings import Settings, SettingsError
from trunkline.services.sources import Sources
from trunkline.store import Connection, Database, configuration, events, queues, regions, tasks

log = structlog.get_logger()


def read_tenant_file(settings: Settings, sources: Sources) -> TenantFile:
    """What [scheduler] tenant_config (or the output of tenant_config_script) says. Raises SettingsError."""
    script = settings.file("scheduler", "tenant_config_script")
    path = settings.file("scheduler", "tenant_config")
    if script is not None:
        try:
            text = subprocess.run([str(script)], check=True, capture_output=True, text=True, timeout=60).stdout
        except (OSError, subprocess.SubprocessError) as problem:
            raise SettingsError(f"{script}: {problem}") from problem
        return load_tenants(text, str(script), sources.specs)
    if path is None:
        raise SettingsError(f"{settings.path}: [scheduler] tenant_config is missing: name the file that lists tenants")
    try:
        return load_tenants(Path(path).read_text(), str(path), sources.specs)
    except OSError as problem:
        raise SettingsError(f"{path}: {problem.strerror}") from problem


async def apply_tenant_file(
    db: Database, settings: Settings, sources: Sources, *, reread: bool = False
) -> tuple[list[str], Sequence[ConfigError]]:
    """Bring the store in line with the tenant file. Returns (tenants that are being read, errors of the file).

    reread: read every tenant's repositories, as when the scheduler starts; else only those of changed tenants.
    """
    file = read_tenant_file(settings, sources)
    reading = []
    async with db.transaction() as conn:
        for position, (name, spec) in enumerate(file.tenants.items()):
            changed = await configuration.put_tenant(conn, name, position, msgspec.to_builtins(spec))
            if changed or reread:
                await configuration.want_next(conn, name)
                await tasks.defer(conn, "config.load", queue=tasks.MERGER, lock=f"config:{name}", tenant=name)
                reading.append(name)
        if file.tenants or not file.errors:
            await configuration.drop_tenants_except(conn, list(file.tenants))
        rules = {
            "rules": file.authorization_rules,
            "roles": file.roles,
            "api_root": file.api_root,
            "errors": [msgspec.to_builtins(error) for error in file.errors],
        }
        await configuration.put_installation(conn, msgspec.to_builtins(rules))
    for error in file.errors:
        log.error("tenant_file.error", detail=error.message)
    return reading, file.errors


class Applying:
    """What follows from a new layout: providers for the launchers, settings for the queues."""

    def __init__(self, db: Database, settings: Settings, layouts: Layouts) -> None:
        self.db, self.settings, self.layouts = db, settings, layouts

    async def apply(self, tenant: str) -> None:
        """Safe to do twice."""
        async with self.db.transaction() as conn:
            loaded = await self.layouts.get(conn, tenant)
            if loaded is None:
                return
            specs, problems = provider_specs(tenant, provider_objects(loaded.layout), self.settings.named("connection"))
            for problem in problems:
                log.warning("provider.unusable", tenant=tenant, provider=problem.provider, detail=problem.message)
            await regions.write_specs(conn, tenant, [msgspec.to_builtins(spec) for spec in specs])
            await self._tell_queues(conn, tenant, loaded.layout)

    async def _tell_queues(self, conn: Connection, tenant: str, layout: Layout) -> None:
        for row in await queues.items_of_tenant(conn, tenant):
            gone = row["pipeline"] not in layout.pipelines or layout.tenant.project(row["project"]) is None
            if gone and row["live"]:
                event = Dequeue(item=ItemId(row["item"]), reason=DequeueReason.RECONFIGURED)
                await events.post(conn, f"queue:{row['queue_id']}", event)
        for row in await queues.of_tenant(conn, tenant):
            pipeline = layout.pipelines.get(row["pipeline"])
            if pipeline is not None:
                settings = queue_settings(tenant, pipeline, row["name"], row["branch"])
                await events.post(conn, f"queue:{row['id']}", Reconfigured(settings, refreeze=False))


def provider_objects(layout: Layout) -> Mapping[str, list[dict[str, Any]]]:
    """The bodies of provider configuration as written, by kind."""
    kinds = {
        "image": layout.images,
        "flavor": layout.flavors,
        "label": layout.labels,
        "section": layout.sections,
        "provider": layout.providers,
    }
    return {kind: [_body(definition) for definition in found.values()] for kind, found in kinds.items()}


def _body(definition: Any) -> dict[str, Any]:
    return {**definition.body, "name": definition.name, "_project": definition.source.canonical_name}
