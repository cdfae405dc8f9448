"""Reading configuration from repositories into the store: once for each head of each branch, by whoever is asked.

A trusted project whose new head does not parse is held back: its last good files stay in force and the errors are
shown. An untrusted project's broken files are taken as they are; only the broken objects are missing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable

import msgspec
import structlog

from trunkline.config import SourceContext, TenantSpec, config_paths, parse_blob
from trunkline.config.errors import Severity
from trunkline.config.tenant_model import ProjectSpec
from trunkline.connections import ConnectionFailed
from trunkline.git import GitFailed, RepoStore
from trunkline.services.layouts import paths_key, reading_order
from trunkline.services.sources import Sources
from trunkline.store import Connection, Database, configuration, events, tasks

log = structlog.get_logger()

AT_ONCE = 6


async def load(db: Database, repos: RepoStore, sources: Sources, tenant: str, projects: Iterable[str] | None) -> None:
    """Read the configuration of a tenant's projects (None: all; names are canonical) and raise its generation if that changes anything.

    What cannot be reached keeps what was read before, with the problem noted.
    """
    async with db.transaction() as conn:
        row = await configuration.tenant(conn, tenant)
    if row is None:
        return
    wanted = int(row["wanted"])
    spec = msgspec.convert(row["spec"], TenantSpec)
    only = set(projects) if projects is not None else None
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(project: ProjectSpec) -> None:
        async with gate:
            await _read_project(db, repos, sources, project)

    await asyncio.gather(*(one(p) for p in spec.projects if only is None or p.canonical_name in only))
    async with db.transaction() as conn:
        for connection in sources.drivers:
            await events.post(conn, f"router:{connection}", {"kind": "layout-ready", "tenant": tenant})
        fingerprint = await _fingerprint(conn, spec)
        if not await configuration.reached(conn, tenant, wanted, fingerprint):
            return  # most landings leave the configuration as it was: the layout stands
        await tasks.defer(conn, "tenant.apply", queue=tasks.SCHEDULER, lock=f"tenant:{tenant}", tenant=tenant)
    log.info("tenant.loaded", tenant=tenant, generation=wanted, projects=len(spec.projects))


async def _fingerprint(conn: Connection, spec: TenantSpec) -> str:
    """Of all that a layout is made of: the tenant's description, branches, files."""
    projects = await configuration.projects(conn)
    files = {
        (r["connection"], r["project"], r["branch"], r["paths_key"]): r for r in await configuration.branches(conn)
    }
    parts: list[object] = [msgspec.to_builtins(spec)]
    for project in spec.projects:
        facts = projects.get((project.connection, project.name))
        names = sorted(facts["branches"]) if facts else []
        parts.append([project.canonical_name, names, facts["default_branch"] if facts else None])
        for name in names:
            row = files.get((project.connection, project.name, name, paths_key(project)))
            if row is not None and project.loads_branch(name):
                parts.append([name, row["files"], row["held"]])
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


async def _read_project(db: Database, repos: RepoStore, sources: Sources, project: ProjectSpec) -> None:
    driver = sources[project.connection]
    try:
        branches, default = await asyncio.gather(driver.branches(project.name), driver.default_branch(project.name))
    except ConnectionFailed as problem:
        log.warning("project.unreadable", project=project.canonical_name, detail=str(problem))
        async with db.transaction() as conn:
            known = (await configuration.projects(conn)).get((project.connection, project.name))
            await configuration.put_project(
                *(conn, project.connection, project.name, known["default_branch"] if known else "master"),
                *(known["branches"] if known else {}, str(problem)),
            )
        return
    heads = {name: head for name, head in branches.items() if project.classes and project.loads_branch(name)}
    await _read_branches(db, repos, sources, project, heads)
    async with db.transaction() as conn:
        await configuration.put_project(conn, project.connection, project.name, default, branches)
        await configuration.drop_branches_except(conn, project.connection, project.name, list(branches))


async def _read_branches(
    db: Database, repos: RepoStore, sources: Sources, project: ProjectSpec, heads: dict[str, str]
) -> None:
    key = paths_key(project)
    async with db.transaction() as conn:
        known = {name: await configuration.branch(conn, project.connection, project.name, name, key) for name in heads}
    stale = {name: head for name, head in heads.items() if (row := known[name]) is None or row["head"] != head}
    if not stale:
        return
    name = project.canonical_name
    try:
        await repos.update(name, sources.git_source(project.connection, project.name))
        for branch in stale:
            head = repos.branches(name).get(branch)
            if head is not None:
                async with db.transaction() as conn:
                    await _read_branch(conn, repos, project, branch, head)
    except GitFailed as problem:
        log.warning("project.unreadable", project=name, detail=str(problem))


async def _read_branch(conn: Connection, repos: RepoStore, project: ProjectSpec, branch: str, head: str) -> None:
    name = project.canonical_name
    files = repos.files(name, head, config_paths(project))
    missing = await configuration.missing_blobs(conn, files.values())
    await configuration.put_blobs(conn, {blob: repos.blob_text(name, blob) for blob in missing})
    key = paths_key(project)
    before = await configuration.branch(conn, project.connection, project.name, branch, key)
    held = None
    if project.trusted and before is not None and (errors := _errors(repos, project, branch, files)):
        log.error("tenant.held", project=name, branch=branch, head=head, errors=len(errors))
        files, held = before["files"], errors
    await configuration.put_branch(conn, project.connection, project.name, branch, key, head, files, held)


def _errors(repos: RepoStore, project: ProjectSpec, branch: str, files: dict[str, str]) -> list[dict[str, object]]:
    """What does not parse in these files, as plain values."""
    found = []
    for path in reading_order(project, files):
        context = SourceContext(project.connection, project.name, branch, path, project.trusted, project.canonical_name)
        fragment = parse_blob(repos.blob_text(project.canonical_name, files[path]), context)
        found += [c.error for c in fragment.complaints if c.error.severity is Severity.ERROR]
    return [msgspec.to_builtins(error) for error in found]
