"""Freezing the jobs of a future: the layout with its configuration, its job graph, and what its builds need to know."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from trunkline.config import ConfigError, FrozenGraph, FrozenJob, Layout, RefKind, Subject
from trunkline.gate.events import GraphFrozen, GraphRefused
from trunkline.gate.model import Dependency, FutureId, ItemId, JobGraph, JobKind, JobSpec, RefKey, Semaphore
from trunkline.services.layouts import Layouts, Loaded, has_pipeline
from trunkline.services.merging import MergeChange
from trunkline.store import Connection, Database, events, futures, queues, tasks
from trunkline.store.database import Row

log = structlog.get_logger()


class Freezing:
    """Freezes for one scheduler process."""

    def __init__(self, db: Database, layouts: Layouts) -> None:
        self.db, self.layouts = db, layouts

    async def future(self, future_id: str, round_: int | None = None) -> None:
        """Freeze a merged future and tell its queue, by way of the merger if tips of more projects are needed."""
        async with self.db.transaction() as conn:
            row = await futures.get(conn, future_id)
            loaded = await self.layouts.get(conn, row["tenant"]) if row else None
            if row is None or loaded is None:
                return
            layout = await self.layouts.overlay(conn, loaded, row["config"])
            before = await self.layouts.overlay(conn, loaded, row["config_before"])
            _, parameters = await queues.facts(conn, row["item"])
        changes = msgspec.convert(row["changes"], list[MergeChange])[-row["own"] :]
        touched = {(c.canonical, c.branch or "") for c in changes}
        errors: Sequence[ConfigError] = ()
        if row["config"]:
            errors = await asyncio.to_thread(layout.new_errors, before, touched)
        if errors:
            if any(has_pipeline(layout, change.canonical, row["pipeline"]) for change in changes):
                await self._refuse(row, errors, round_)
            else:  # nobody asked this pipeline about it
                await self._accept(row, loaded, layout, FrozenGraph(pipeline=row["pipeline"]), round_)
            return
        frozen = await asyncio.to_thread(_freeze, layout, before, row, changes, parameters)
        if frozen.error is not None:
            await self._refuse(row, (frozen.error,), round_)
            return
        await self._accept(row, loaded, layout, frozen, round_)

    async def give_up(self, future_id: str, round_: int | None, problem: Exception) -> None:
        """A fault of ours: the item is told instead of waiting for ever."""
        async with self.db.transaction() as conn:
            row = await futures.get(conn, future_id)
            if row is not None:
                message = f"The jobs of this change cannot be worked out ({problem}). This is a fault of Trunkline: "
                message += f"its scheduler's log says more at freeze.given_up, future={future_id}."
                event = GraphRefused(ItemId(row["item"]), FutureId(row["id"]), (message,), round_)
                await events.post(conn, f"queue:{row['queue_id']}", event)

    async def _refuse(self, row: Row, errors: Sequence[ConfigError], round_: int | None) -> None:
        async with self.db.transaction() as conn:
            await futures.update(conn, row["id"], errors=[msgspec.to_builtins(error) for error in errors])
            messages = tuple(error.message for error in errors)
            event = GraphRefused(ItemId(row["item"]), FutureId(row["id"]), messages, round_)
            await events.post(conn, f"queue:{row['queue_id']}", event)

    async def _accept(self, row: Row, loaded: Loaded, layout: Layout, frozen: FrozenGraph, round_: int | None) -> None:
        graph = job_graph(frozen)
        needed = {name: value for name, value in projects_needed(frozen.jobs).items() if name not in row["repo_state"]}
        known = {p.canonical_name for p in loaded.spec.projects}
        missing = [value for name, value in sorted(needed.items()) if name in known]
        async with self.db.transaction() as conn:
            await futures.keep_jobs(
                conn, row["id"], ((job.name, ref, msgspec.to_builtins(job)) for job in frozen.jobs for ref in job.refs)
            )
            await futures.update(
                conn,
                row["id"],
                graph=msgspec.to_builtins(graph),
                debug=list(frozen.debug) if frozen.wants_debug else [],
            )
            if missing:
                await tasks.defer(
                    conn, "merge.states", queue=tasks.MERGER, future=row["id"], projects=missing, round=round_
                )
            else:
                event = GraphFrozen(ItemId(row["item"]), FutureId(row["id"]), graph, round_)
                await events.post(conn, f"queue:{row['queue_id']}", event)


def _freeze(
    layout: Layout, before: Layout, row: Row, changes: Sequence[MergeChange], parameters: Mapping[str, Any]
) -> FrozenGraph:
    subjects = [_subject(change, row, parameters) for change in changes]
    return layout.freeze(row["pipeline"], subjects, before if row["config"] else None)


def _subject(change: MergeChange, row: Row, parameters: Mapping[str, Any]) -> Subject:
    if change.is_change:
        kind = RefKind.CHANGE
    elif change.ref.startswith("refs/tags/"):
        kind = RefKind.TAG
    elif change.branch is not None:
        kind = RefKind.BRANCH
    else:
        kind = RefKind.REF
    touched = row["files"].get(change.key)
    return Subject(
        project=change.canonical,
        kind=kind,
        branch=change.branch,
        ref=change.ref,
        files=tuple(touched) if touched is not None else None,
        containing_branches=tuple(row["containing"].get(change.key, ())),
        key=change.key,
        triggering=True,
        parameters=parameters,
    )


def projects_needed(jobs: Iterable[FrozenJob]) -> dict[str, dict[str, str]]:
    """Every project that a build of these jobs takes something from: canonical name → {connection, name, canonical}."""
    found: dict[str, dict[str, str]] = {}

    def add(connection: str | None, name: str | None, canonical: str | None) -> None:
        if connection and name and canonical:
            found[canonical] = {"connection": connection, "name": name, "canonical": canonical}

    for job in jobs:
        for project in job.required_projects:
            add(project.connection, project.name, project.canonical_name)
        for playbook in (*job.pre_playbooks, *job.playbooks, *job.post_playbooks, *job.cleanup_playbooks):
            add(playbook.connection, playbook.project, playbook.canonical_name)
            for role in playbook.roles:
                add(role.connection, role.project, role.canonical_name)
        for file in job.include_vars:
            add(file.connection, file.project, file.canonical_name)
    return found


def job_graph(frozen: FrozenGraph) -> JobGraph:
    """What the gate must know of frozen jobs."""
    return JobGraph(tuple(spec for job in frozen.jobs for spec in _specs(job)), fail_fast=frozen.fail_fast)


def _specs(job: FrozenJob) -> list[JobSpec]:
    digest = hashlib.sha256(msgspec.json.encode(_content(job), order="sorted")).hexdigest()[:32]
    kinds = {"initializer": JobKind.INITIALIZER, "reporter": JobKind.REPORTER}
    nodesets = tuple(tuple(node.label for node in alternative.nodes) for alternative in job.nodeset_alternatives)
    return [
        JobSpec(
            name=job.name,
            change=RefKey(ref),
            kind=kinds.get(job.type, JobKind.REGULAR),
            dependencies=tuple(Dependency(d.name, d.soft) for d in job.dependencies),
            voting=job.voting,
            attempts=job.attempts,
            nodesets=nodesets if any(nodesets) else (),
            semaphores=tuple(Semaphore(s.name, s.resources_first) for s in job.semaphores),
            hold_following_changes=job.hold_following_changes,
            provides=job.provides,
            requires=job.requires,
            deduplicate=len(job.refs) > 1,
            digest=digest,
        )
        for ref in job.refs or ("",)
    ]


def _content(job: FrozenJob) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(job)
    for place in ("refs", "applied"):
        content.pop(place, None)
    return content


async def merge_changes(
    conn: Connection, layouts: Layouts, tenant: str, changes: Iterable[Any], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """gate.Change values as the merger wants them, with the merge mode of each project. `names`: canonical → name."""
    loaded = await layouts.get(conn, tenant)
    result = []
    for change in changes:
        mode = loaded.layout.project(change.project).merge_mode if loaded else "merge"
        result.append(
            msgspec.to_builtins(
                MergeChange(
                    key=change.key,
                    connection=change.connection,
                    name=names.get(change.project, change.project.partition("/")[2]),
                    canonical=change.project,
                    ref=change.ref or "",
                    branch=change.branch,
                    is_change=change.number is not None,
                    number=change.number,
                    patchset=change.patchset,
                    oldrev=change.oldrev,
                    newrev=change.newrev,
                    url=change.url,
                    mode=mode,
                )
            )
        )
    return result
