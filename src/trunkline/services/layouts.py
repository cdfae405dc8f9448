"""Layouts of tenants, built from what the store holds and kept in memory by generation.

No process reads repositories for this: files were read once, when they landed, by whoever did `configuration.load`.
Fragments are kept by blob, so that a new generation parses only what is new.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from trunkline.config import Fragment, Layout, Source, SourceContext, TenantSpec, build_layout, parse_blob
from trunkline.config.tenant_model import ConnectionSpec, ProjectSpec
from trunkline.store import Connection, configuration
from trunkline.store.database import Row

MOST_OVERLAYS = 64


def paths_key(project: ProjectSpec) -> str:
    """Tells tenants apart that look for a project's configuration in different places."""
    return " ".join([*project.extra_config_files, *project.extra_config_dirs])


@dataclass
class Loaded:
    """A tenant's layout with what went into it."""

    generation: int
    spec: TenantSpec
    layout: Layout
    held: list[dict[str, Any]] = field(default_factory=list)


class Layouts:
    """One a process. `specs`: the installation's connections."""

    def __init__(self, specs: Mapping[str, ConnectionSpec]) -> None:
        self.specs = specs
        self._loaded: dict[str, Loaded] = {}
        self._fragments: dict[tuple[str, SourceContext], Fragment] = {}
        self._overlays: OrderedDict[tuple[str, int, str], Layout] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, conn: Connection, tenant: str) -> Loaded | None:
        """The tenant's layout as of its current generation; None if there is no such tenant or nothing was read yet."""
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            generation = await configuration.generation(conn, tenant)
            known = self._loaded.get(tenant)
            if known is not None and known.generation == generation:
                return known
            row = await configuration.tenant(conn, tenant) if generation else None
            if row is None:
                self._loaded.pop(tenant, None)
                return None
            spec = msgspec.convert(row["spec"], TenantSpec)
            sources, held = await self.sources(conn, spec)
            layout = await asyncio.to_thread(build_layout, spec, sources, self.specs)
            loaded = Loaded(row["generation"], spec, layout, held)
            self._loaded[tenant] = loaded
            return loaded

    def known(self) -> list[Loaded]:
        """The layouts that this process has in memory: those of every tenant that it routes for."""
        return list(self._loaded.values())

    async def sources(self, conn: Connection, spec: TenantSpec) -> tuple[list[Source], list[dict[str, Any]]]:
        """What each project of the tenant brings, in the tenant's order; and the errors of heads that are held back."""
        projects = await configuration.projects(conn)
        rows = {
            (r["connection"], r["project"], r["branch"], r["paths_key"]): r for r in await configuration.branches(conn)
        }
        wanted: list[tuple[ProjectSpec, Row | None, list[str], dict[str, Row]]] = []
        blobs: set[str] = set()
        held: list[dict[str, Any]] = []
        for project in spec.projects:
            facts = projects.get((project.connection, project.name))
            names = _branches_of(project, facts)
            found = {}
            for name in names:
                row = rows.get((project.connection, project.name, name, paths_key(project)))
                if row is not None and project.loads_branch(name):
                    found[name] = row
                    blobs |= set(row["files"].values())
                    held += row["held"] or []
            wanted.append((project, facts, names, found))
        texts = await configuration.texts(conn, blobs)
        return [self._source(project, facts, names, found, texts) for project, facts, names, found in wanted], held

    def _source(
        self,
        project: ProjectSpec,
        facts: Row | None,
        names: list[str],
        found: Mapping[str, Row],
        texts: Mapping[str, str],
    ) -> Source:
        return Source(
            canonical_name=project.canonical_name,
            branches=tuple(names),
            fragments={name: self.fragments(project, name, row["files"], texts) for name, row in found.items()},
            default_branch=facts["default_branch"] if facts else "master",
            problem=facts["problem"] if facts else None,
        )

    def fragments(
        self, project: ProjectSpec, branch: str, files: Mapping[str, str], texts: Mapping[str, str]
    ) -> tuple[Fragment, ...]:
        """The files of a branch, parsed, in the order of reading."""
        return tuple(
            self.fragment(project, branch, path, files[path], texts[files[path]])
            for path in reading_order(project, files)
            if files[path] in texts
        )

    def fragment(self, project: ProjectSpec, branch: str, path: str, blob: str, text: str) -> Fragment:
        context = SourceContext(
            connection=project.connection,
            project=project.name,
            branch=branch,
            path=path,
            trusted=project.trusted,
            canonical_name=project.canonical_name,
        )
        key = (blob, context)
        found = self._fragments.get(key)
        if found is None:
            found = self._fragments[key] = parse_blob(text, context)
        return found

    async def overlay(self, conn: Connection, loaded: Loaded, changed: Iterable[Mapping[str, Any]]) -> Layout:
        """The layout of a future. `changed`: rows {canonical, branch, files: {path: blob}} as the merger left them."""
        rows = [row for row in changed if loaded.spec.project(row["canonical"]) is not None]
        if not rows:
            return loaded.layout
        key = (loaded.spec.name, loaded.generation, msgspec.json.encode(rows, order="sorted").decode())
        known = self._overlays.get(key)
        if known is not None:
            self._overlays.move_to_end(key)
            return known
        texts = await configuration.texts(conn, {blob for row in rows for blob in row["files"].values()})
        files = {}
        for row in rows:
            project = loaded.spec.project(row["canonical"])
            assert project is not None
            files[project.canonical_name, row["branch"]] = self.fragments(project, row["branch"], row["files"], texts)
        layout = await asyncio.to_thread(loaded.layout.overlay, files)
        self._overlays[key] = layout
        while len(self._overlays) > MOST_OVERLAYS:
            self._overlays.popitem(last=False)
        return layout


def reading_order(project: ProjectSpec, paths: Iterable[str]) -> list[str]:
    """The paths that count, in order: the first of the four standard places that exists, then the extra ones."""
    known = sorted(paths)
    ignored = tuple(path.removesuffix(".zuul.ignore") for path in known if path.endswith("/.zuul.ignore"))
    files = [p for p in known if p.endswith(".yaml") and not (ignored and p.startswith(ignored))]
    ordered: list[str] = []
    for place in ("zuul.yaml", "zuul.d/", ".zuul.yaml", ".zuul.d/"):
        here = [p for p in files if (p.startswith(place) if place.endswith("/") else p == place)]
        if here:
            ordered += here
            break
    for extra in project.extra_config_files:
        ordered += [p for p in files if p == extra and p not in ordered]
    for extra in project.extra_config_dirs:
        ordered += [p for p in files if p.startswith(extra) and p not in ordered]
    return ordered


def _branches_of(project: ProjectSpec, facts: Row | None) -> list[str]:
    """The branches that exist for the tenant, the default branch first."""
    if facts is None:
        return []
    names = sorted(name for name in facts["branches"] if project.trusted or project.includes_branch(name))
    default = facts["default_branch"]
    return sorted(names, key=lambda name: (name != default, name))


def has_pipeline(layout: Layout, canonical: str, pipeline: str) -> bool:
    """Whether a stanza of the project, or a template that one uses, has the pipeline."""
    if layout.tenant.project(canonical) is None:
        return False
    return any(
        pipeline in stanza.pipelines
        or any(pipeline in t.pipelines for name in stanza.templates for t in layout.kept("project-template", name))
        for stanza in layout.stanzas(canonical)
    )
