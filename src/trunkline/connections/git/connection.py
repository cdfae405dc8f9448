"""The git driver: polls `git ls-remote` of the watched projects and tells which branches and tags moved."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

import structlog

from trunkline.connections.gitrefs import RemoteRefs, list_refs
from trunkline.connections.model import (
    NO_REVISION,
    ChangeInfo,
    ChangeNotFound,
    ConnectionFailed,
    Emit,
    GitAccess,
    Keep,
    LandingRefused,
    Position,
    Report,
    ReportRefused,
    TriggerEvent,
)

log = structlog.get_logger()


class GitConnection:
    driver = "git"

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        self.name = name
        if not options.get("baseurl"):
            raise ValueError(f"[connection {name}]: the key `baseurl` is missing")
        self._baseurl = options["baseurl"].rstrip("/")
        self.canonical_hostname = options.get("canonical_hostname") or urlsplit(self._baseurl).hostname or "git"
        try:
            self._poll_delay_s = float(options.get("poll_delay", 7200))
        except ValueError:
            raise ValueError(f"[connection {name}]: `poll_delay` must be a number of seconds") from None
        self._watched: set[str] = set()
        self._heads: dict[str, dict[str, str]] = {}

    async def listen(self, emit: Emit, since: Position | None = None, keep: Keep | None = None) -> None:
        if since:
            self._heads = {project: dict(heads) for project, heads in since.heads.items()}
            self._watched.update(since.heads)
        while True:
            for project in sorted(self._watched):
                try:
                    now = (await self._remote(project)).objects
                except ConnectionFailed as error:
                    log.warning("git.refs.failed", connection=self.name, project=project, error=str(error))
                    continue
                if project not in self._heads and keep is not None:
                    await keep(project, now)
                for event in self._compared(project, now):
                    await emit(event)
                self._heads[project] = now
            await asyncio.sleep(self._poll_delay_s)

    def _compared(self, project: str, now: dict[str, str]) -> list[TriggerEvent]:
        before = self._heads.get(project)
        if before is None:
            return []
        at = time.time()
        return [
            TriggerEvent(
                connection=self.name,
                driver="git",
                delivery=f"{project}:{ref}:{old}..{new}",
                type="ref-updated",
                project=project,
                at=at,
                branch=ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None,
                ref=ref,
                oldrev=old,
                newrev=new,
            )
            for ref in sorted(before.keys() | now.keys())
            if (old := before.get(ref, NO_REVISION)) != (new := now.get(ref, NO_REVISION))
        ]

    def watch(self, projects: Iterable[str]) -> None:
        self._watched.update(projects)

    def git_source(self, project: str) -> GitAccess:
        return GitAccess(url=f"{self._baseurl}/{quote(project)}")

    async def _remote(self, project: str) -> RemoteRefs:
        return await list_refs(self.git_source(project))

    async def branches(self, project: str) -> dict[str, str]:
        heads = "refs/heads/"
        tips = (await self._remote(project)).tips
        return {ref.removeprefix(heads): tip for ref, tip in tips.items() if ref.startswith(heads)}

    async def refs(self, project: str) -> dict[str, str]:
        return (await self._remote(project)).tips

    async def default_branch(self, project: str) -> str:
        return (await self._remote(project)).head or "master"

    async def projects(self) -> list[str]:
        return sorted(self._watched)

    async def change(self, number: int, patchset: int | None = None) -> ChangeInfo:
        raise ChangeNotFound(f"{self.name}: a git connection has no changes")

    async def dependencies(self, change: ChangeInfo) -> list[ChangeInfo]:
        return []

    async def needed_by(self, change: ChangeInfo) -> list[ChangeInfo]:
        return []

    async def dependents(self, uris: Iterable[str]) -> list[ChangeInfo]:
        return []

    async def by_topic(self, topic: str) -> list[ChangeInfo]:
        return []

    async def open_changes(self, project: str) -> list[ChangeInfo]:
        return []

    def number_of(self, url: str) -> int | None:
        return None

    async def submits_whole_topic(self) -> bool:
        return False

    async def report(self, report: Report) -> None:
        raise ReportRefused(f"{self.name}: a git connection takes no reports")

    async def land(self, change: ChangeInfo) -> None:
        raise LandingRefused(f"{self.name}: a git connection has no changes to land")

    async def was_said(self, report: Report) -> bool:
        return False

    async def is_merged(self, change: ChangeInfo) -> bool:
        return False

    async def close(self) -> None:
        return
