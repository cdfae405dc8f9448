"""The executor's view of git: clones of a build's future, computed here from the same commits as the merger's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from trunkline.executor import (
    BuildRequest,
    Checkout,
    ProjectInfo,
    WorkspaceBroken,
    WorkspaceConflict,
    WorkspaceMissing,
)
from trunkline.executor.checkout import src_dir
from trunkline.executor.request import ChooseRef
from trunkline.git import Future, GitFailed, Identity, RepoStore, Step, merge_future
from trunkline.git.workspace import check_out, clone, export
from trunkline.services.sources import Sources

log = structlog.get_logger()


class StoreWorkspaces:
    """Workspaces from a RepoStore; one for all builds of an executor."""

    def __init__(self, repos: RepoStore, sources: Sources, identity: Identity) -> None:
        self.repos, self.sources, self.identity = repos, sources, identity
        self._futures: dict[str, Future] = {}

    def forget(self, build: str) -> None:
        self._futures.pop(build, None)

    async def prepare(
        self, request: BuildRequest, src_root: Path, step: Callable[[str], None], choose: ChooseRef
    ) -> dict[str, Checkout]:
        step("Updating git repos")
        await asyncio.gather(*(self._ensure(request, project) for project in _all_projects(request)))
        step("Cloning repos into workspace")
        step("Restoring repo states")
        step("Merging changes")
        future = await self._future(request)
        before = self._before_own(request, future)
        step("Checking out repos")
        found = {}
        for project in request.projects:
            name = project.canonical_name
            refs = dict(self._refs(request, project)) | _tips(future, name)
            if request.change.canonical_name == name and request.change.tag and request.change.newrev:
                refs[request.change.ref] = self.repos.commit_of(name, request.change.newrev)
            ref, reason = choose(project, refs)
            place = src_root.parent / src_dir(request.job.workspace_scheme, project.canonical_hostname, project.name)
            old = {branch: commit for (owner, branch), commit in before.items() if owner == name}
            try:
                await clone(self.repos, name, place, refs, old)
                commit = await check_out(place, ref) if request.job.workspace_checkout else refs[ref]
            except (GitFailed, OSError) as problem:
                raise WorkspaceBroken(str(problem)) from problem
            found[name] = Checkout(ref=ref, description=reason, commit=commit)
        return found

    async def content(
        self, request: BuildRequest, project: ProjectInfo, ref: str, speculative: bool, destination: Path
    ) -> Checkout:
        await self._ensure(request, project)
        refs = dict(self._refs(request, project))
        if speculative:
            refs |= _tips(await self._future(request), project.canonical_name)
        candidates = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        full = next((name for name in candidates if name in refs), None)
        if full is None:
            raise WorkspaceMissing(f"Project {project.canonical_name} has no branch or tag {ref}")
        try:
            await asyncio.to_thread(export, self.repos, project.canonical_name, refs[full], destination)
        except GitFailed as problem:
            raise WorkspaceBroken(str(problem)) from problem
        return Checkout(ref=full, description="playbook ref", commit=refs[full])

    async def refs(self, request: BuildRequest, project: ProjectInfo, speculative: bool) -> Collection[str]:
        await self._ensure(request, project)
        found = set(self._refs(request, project))
        if speculative:
            found |= set(_tips(await self._future(request), project.canonical_name))
        return found

    def _refs(self, request: BuildRequest, project: ProjectInfo) -> dict[str, str]:
        """The project's tips as frozen for the item; as they are now where nothing was frozen."""
        return request.repo_state.get(project.canonical_name) or self.repos.refs(project.canonical_name)

    async def _ensure(self, request: BuildRequest, project: ProjectInfo) -> None:
        name = project.canonical_name
        changes = [item.ref for item in request.items if item.canonical_name == name and item.change is not None]
        source = self.sources.git_source(project.connection, project.name)
        state = request.repo_state.get(name)
        try:
            if state:
                await self.repos.ensure(name, source, state.values())
            else:
                await self.repos.update(name, source)
            if changes:
                await self.repos.fetch_refs(name, source, changes)
        except GitFailed as problem:
            raise WorkspaceBroken(str(problem)) from problem

    async def _future(self, request: BuildRequest) -> Future:
        known = self._futures.get(request.uuid)
        if known is not None:
            return known
        by_name = {p.canonical_name: p for p in (*request.playbook_projects, *request.projects)}
        steps = [
            Step(
                item.canonical_name,
                item.ref,
                commit=item.newrev if item.change is None else None,
                branch=item.branch,
                mode=(by_name[item.canonical_name].merge_mode if item.canonical_name in by_name else None) or "merge",
                is_tip=item.change is None,
            )
            for item in request.items
        ]
        try:
            future = await asyncio.to_thread(merge_future, self.repos, steps, request.repo_state, self.identity)
        except GitFailed as problem:
            raise WorkspaceBroken(str(problem)) from problem
        if future.conflict is not None:
            raise WorkspaceConflict(future.conflict.message, future.conflict.files)
        self._futures[request.uuid] = future
        return future

    @staticmethod
    def _before_own(request: BuildRequest, future: Future) -> dict[tuple[str, str], str]:
        """Branch tips without the item's own changes: where they differ from the frozen state, else that state."""
        ahead = len(request.items) - max(1, len(request.buildset_refs))
        tips: dict[tuple[str, str], str] = {}
        for number, item in enumerate(request.items):
            if item.branch is None or item.change is None:
                continue
            key = (item.canonical_name, item.branch)
            if number < ahead:
                tips[key] = future.commits[number]
            else:
                base = request.repo_state.get(item.canonical_name, {}).get(f"refs/heads/{item.branch}")
                if base is not None:
                    tips.setdefault(key, base)
        return tips


def _tips(future: Future, project: str) -> dict[str, str]:
    return {f"refs/heads/{branch}": commit for (owner, branch), commit in future.tips.items() if owner == project}


def _all_projects(request: BuildRequest) -> list[ProjectInfo]:
    """Projects of the workspace, and those whose changes are merged although the job leaves them out."""
    known = {p.canonical_name: p for p in request.projects}
    for item in request.items:
        if item.canonical_name not in known:
            known[item.canonical_name] = ProjectInfo(
                connection=item.connection,
                canonical_hostname=item.canonical_hostname,
                name=item.project,
                canonical_name=item.canonical_name,
            )
    return list(known.values())
