"""Application files from git, in a repository store of the fleet's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from trunkline.git import GitFailed, GitSource, RepoStore
from trunkline.services.sources import Sources


class ProjectFiles:
    """Reads files of projects (canonical names) at commits; fetches only what is not here yet."""

    def __init__(self, repos: RepoStore, sources: Sources) -> None:
        self.repos, self.sources = repos, sources

    async def head(self, project: str, branch: str) -> str:
        """The commit at a branch's tip. Raises GitFailed."""
        await self.repos.update(project, self._source(project))
        return await asyncio.to_thread(self.repos.commit_of, project, f"refs/heads/{branch}")

    async def read_files(self, project: str, commit: str, paths: Sequence[str]) -> Mapping[str, str]:
        """Texts of those paths that exist; one that ends in `/` means all files below it. Raises GitFailed."""
        await self.repos.ensure(project, self._source(project), [commit])
        return await asyncio.to_thread(self._read, project, commit, paths)

    def _read(self, project: str, commit: str, paths: Sequence[str]) -> dict[str, str]:
        plain = {path for path in paths if not path.endswith("/")}
        folders = tuple(path for path in paths if path.endswith("/"))
        found = self.repos.files(project, commit, lambda path: path in plain or path.startswith(folders))
        return {path: self.repos.blob_text(project, blob) for path, blob in found.items()}

    def _source(self, project: str) -> GitSource:
        host, _, name = project.partition("/")
        for connection, driver in self.sources.drivers.items():
            if driver.canonical_hostname == host:
                return self.sources.git_source(connection, name)
        raise GitFailed(project, f"no connection has the canonical hostname {host}")
