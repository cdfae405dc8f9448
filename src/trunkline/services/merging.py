"""Making a future of changes: fetch, merge, and read from the result what the freeze needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from trunkline.config import TenantSpec, config_paths
from trunkline.gate.events import FutureConflicted, FutureMerged, GraphFrozen
from trunkline.gate.model import FutureId, ItemId, JobGraph
from trunkline.git import GitFailed, Identity, RepoStore, Step, merge_future
from trunkline.services.sources import Sources
from trunkline.store import Database, configuration, events, futures
from trunkline.store.database import Row

log = structlog.get_logger()

TRIES = 3
PAUSE_S = 0.5


class MergeChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change as the merger must know it: what stands in futures.changes."""

    key: str
    connection: str
    name: str
    canonical: str
    ref: str
    branch: str | None = None
    is_change: bool = True
    number: int | None = None
    patchset: str | None = None
    oldrev: str | None = None
    newrev: str | None = None
    url: str | None = None
    mode: str = "merge"

    @property
    def step(self) -> Step:
        if self.is_change:
            return Step(self.canonical, self.ref, branch=self.branch, mode=self.mode)
        return Step(self.canonical, self.ref, commit=self.newrev, branch=self.branch, is_tip=True)


class Merging:
    """Merges for one merger process."""

    def __init__(self, db: Database, repos: RepoStore, sources: Sources, identity: Identity) -> None:
        self.db, self.repos, self.sources, self.identity = db, repos, sources, identity

    async def future(self, future_id: str) -> None:
        """Merge a future and tell its queue."""
        async with self.db.transaction() as conn:
            row = await futures.get(conn, future_id)
        if row is None:
            return
        for attempt in range(1, TRIES + 1):
            try:
                await self._merge(row)
                return
            except GitFailed as problem:
                log.warning("merge.failed", future=future_id, attempt=attempt, detail=str(problem))
                if attempt == TRIES:
                    await self._refuse(row, (), str(problem))
                    return
                await asyncio.sleep(PAUSE_S * attempt)

    async def states(self, future_id: str, projects: Sequence[Mapping[str, str]], round_: int | None = None) -> None:
        """Add the tips of further projects to a future, then tell its queue that its jobs are frozen."""
        async with self.db.transaction() as conn:
            row = await futures.get(conn, future_id)
        if row is None:
            return
        state: dict[str, dict[str, str]] = dict(row["repo_state"])

        async def one(project: Mapping[str, str]) -> None:
            try:
                source = self.sources.git_source(project["connection"], project["name"])
                state[project["canonical"]] = await self.repos.update(project["canonical"], source)
            except GitFailed as problem:
                log.warning("project.unreadable", project=project["canonical"], detail=str(problem))
                state[project["canonical"]] = {}  # a build that needs it will say so

        await asyncio.gather(*(one(p) for p in projects))
        async with self.db.transaction() as conn:
            await futures.update(conn, future_id, repo_state=state)
            graph = msgspec.convert(row["graph"], JobGraph)
            event = GraphFrozen(ItemId(row["item"]), FutureId(future_id), graph, round_)
            await events.post(conn, f"queue:{row['queue_id']}", event)

    async def _merge(self, row: Row) -> None:
        changes = msgspec.convert(row["changes"], list[MergeChange])
        state = await self._fetch(changes)
        steps = [change.step for change in changes]
        future = await asyncio.to_thread(merge_future, self.repos, steps, state, self.identity)
        if future.conflict is not None:
            await self._refuse(row, future.conflict.files, future.conflict.message)
            return
        files = {
            change.key: list(self.repos.changed_files(change.canonical, self._commit(change)))
            for change in changes
            if change.is_change
        }
        tags = [change for change in changes if change.ref.startswith("refs/tags/")]
        containing = {tag.key: list(self.repos.containing_branches(tag.canonical, self._tagged(tag))) for tag in tags}
        async with self.db.transaction() as conn:
            tenant = await configuration.tenant(conn, row["tenant"])
        spec = msgspec.convert(tenant["spec"], TenantSpec) if tenant else TenantSpec(name=row["tenant"])
        ahead = len(changes) - row["own"]
        config = self._config(spec, changes, future.commits, files)
        before = self._config(spec, changes[:ahead], future.commits[:ahead], files)
        commits = {f"{project}@{branch}": commit for (project, branch), commit in future.tips.items()}
        async with self.db.transaction() as conn:
            await self._keep_blobs(conn, config + before)
            await futures.update(
                conn,
                row["id"],
                commits=commits,
                repo_state=state,
                files=files,
                containing=containing,
                config=config,
                config_before=before,
            )
            event = FutureMerged(ItemId(row["item"]), FutureId(row["id"]), commits)
            await events.post(conn, f"queue:{row['queue_id']}", event)

    def _tagged(self, tag: MergeChange) -> str:
        return tag.newrev or self.repos.commit_of(tag.canonical, tag.ref)

    def _commit(self, change: MergeChange) -> str:
        return self.repos.commit_of(change.canonical, change.ref)

    async def _fetch(self, changes: Sequence[MergeChange]) -> dict[str, dict[str, str]]:
        """Bring every project of the changes up to date; their tips by project."""
        wanted: dict[tuple[str, str, str], list[str]] = {}
        for change in changes:
            refs = wanted.setdefault((change.connection, change.name, change.canonical), [])
            if change.is_change:
                refs.append(change.ref)

        async def one(connection: str, name: str, canonical: str, refs: list[str]) -> tuple[str, dict[str, str]]:
            return canonical, await self.repos.update(canonical, self.sources.git_source(connection, name), refs)

        return dict(await asyncio.gather(*(one(*key, refs) for key, refs in wanted.items())))

    def _config(
        self,
        spec: TenantSpec,
        changes: Sequence[MergeChange],
        commits: Sequence[str],
        files: Mapping[str, list[str]],
    ) -> list[dict[str, Any]]:
        """The configuration files of every (project, branch) whose configuration these changes touch, as it ends."""
        tips: dict[tuple[str, str], tuple[MergeChange, str]] = {}
        touched: set[tuple[str, str]] = set()
        for change, commit in zip(changes, commits, strict=True):
            project = spec.project(change.canonical)
            if project is None or change.branch is None or not change.is_change:
                continue
            tips[change.canonical, change.branch] = (change, commit)
            if any(map(config_paths(project), files.get(change.key, ()))):
                touched.add((change.canonical, change.branch))
        found = []
        for key in sorted(touched):
            change, commit = tips[key]
            project = spec.project(change.canonical)
            assert project is not None
            found.append(
                {
                    "connection": change.connection,
                    "project": change.name,
                    "canonical": change.canonical,
                    "branch": change.branch,
                    "files": self.repos.files(change.canonical, commit, config_paths(project)),
                }
            )
        return found

    async def _keep_blobs(self, conn: Any, config: Sequence[Mapping[str, Any]]) -> None:
        where = {blob: row["canonical"] for row in config for blob in row["files"].values()}
        missing = await configuration.missing_blobs(conn, where)
        await configuration.put_blobs(conn, {blob: self.repos.blob_text(where[blob], blob) for blob in missing})

    async def _refuse(self, row: Row, files: tuple[str, ...], message: str) -> None:
        async with self.db.transaction() as conn:
            event = FutureConflicted(ItemId(row["item"]), FutureId(row["id"]), files, message)
            await events.post(conn, f"queue:{row['queue_id']}", event)
