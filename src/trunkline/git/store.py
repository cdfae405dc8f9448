"""A directory of bare repositories, one a project, kept up to date."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import pygit2

from trunkline.git.source import GitFailed, GitSource, run_git

_MIRRORED = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class RepoStore:
    """Bare repositories under `root`. One process uses a root at a time; within it updates of a project queue up.

    Projects are named canonically, `<host>/<name>`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._locks: dict[str, asyncio.Lock] = {}

    def path(self, project: str) -> Path:
        return self.root / (quote(project, safe="") + ".git")

    def repo(self, project: str) -> pygit2.Repository:
        """The project's repository; raises GitFailed if it was never fetched."""
        path = self.path(project)
        if not path.exists():
            raise GitFailed(project, "never fetched")
        return pygit2.Repository(str(path))

    def _lock(self, project: str) -> asyncio.Lock:
        return self._locks.setdefault(project, asyncio.Lock())

    async def update(self, project: str, source: GitSource, refs: Iterable[str] = ()) -> dict[str, str]:
        """Fetch all branches and tags (deleted ones go), and `refs` besides. Returns full ref → commit id.

        `refs` are full names of change refs; they are fetched once and then known, since a patch set never changes.
        """
        async with self._lock(project):
            await self._create(project)
            wanted = [ref for ref in refs if not self._known(project, ref)]
            specs = [*_MIRRORED, *(f"+{ref}:{ref}" for ref in wanted)]
            await self._fetch(project, source, ["--prune", "--no-tags", source.url, *specs])
            return self.refs(project)

    async def fetch_refs(self, project: str, source: GitSource, refs: Iterable[str]) -> None:
        """Fetch these change refs only, if they are not here yet."""
        async with self._lock(project):
            await self._create(project)
            wanted = [ref for ref in refs if not self._known(project, ref)]
            if wanted:
                await self._fetch(project, source, ["--no-tags", source.url, *(f"+{ref}:{ref}" for ref in wanted)])

    async def ensure(self, project: str, source: GitSource, commits: Iterable[str]) -> None:
        """Fetch branches and tags only if one of `commits` is missing here."""
        if not self.path(project).exists() or not self.has_commits(project, commits):
            await self.update(project, source)

    def has_commits(self, project: str, commits: Iterable[str]) -> bool:
        repo = self.repo(project)
        return all(commit in repo for commit in commits)

    async def _create(self, project: str) -> None:
        path = self.path(project)
        if path.exists():
            return
        fresh = path.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        pygit2.init_repository(str(fresh), bare=True)
        config = pygit2.Config(str(fresh / "config"))
        config["gc.auto"] = "0"  # objects that only a build knows must not go
        config["core.logAllRefUpdates"] = "false"
        fresh.rename(path)

    async def _fetch(self, project: str, source: GitSource, args: list[str]) -> None:
        command: list[str | Path] = ["-C", self.path(project), "fetch", "--quiet", "--force", *args]
        try:
            await run_git(command, source.environment())
        except GitFailed as problem:
            if "lock" not in problem.said.lower():
                raise
            for stale in self.path(project).rglob("*.lock"):  # left by a process that was killed
                stale.unlink(missing_ok=True)
            await run_git(command, source.environment())

    def _known(self, project: str, ref: str) -> bool:
        return self.path(project).exists() and ref in self.repo(project).references

    def refs(self, project: str) -> dict[str, str]:
        """Branches and tags of the project: full ref → commit id (annotated tags peeled)."""
        repo = self.repo(project)
        found = {}
        for name in repo.references:
            if name.startswith(("refs/heads/", "refs/tags/")):
                try:
                    found[name] = str(repo.references[name].peel(pygit2.Commit).id)
                except (pygit2.InvalidSpecError, pygit2.GitError, ValueError):
                    continue  # a tag of a blob, say: no state of the project
        return found

    def branches(self, project: str) -> dict[str, str]:
        """Branch name → commit id."""
        prefix = "refs/heads/"
        return {r[len(prefix) :]: sha for r, sha in self.refs(project).items() if r.startswith(prefix)}

    def commit_of(self, project: str, ref: str) -> str:
        """The commit id that a full ref or id names; raises GitFailed if there is none."""
        try:
            return str(self.repo(project).revparse_single(ref).peel(pygit2.Commit).id)
        except (KeyError, pygit2.GitError, ValueError) as problem:
            raise GitFailed(project, f"no commit {ref}") from problem

    def files(self, project: str, commit: str, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Paths (wanted(path) is true) → blob ids in the tree of `commit`. Symbolic links and submodules are left out.

        Only trees that could hold a wanted path are walked: `wanted` is asked for `dir/` as well, with a trailing slash
        and a made-up name behind it, so it must be a test by prefix or name.
        """
        repo = self.repo(project)
        found: dict[str, str] = {}
        _walk(repo.revparse_single(commit).peel(pygit2.Tree), "", wanted, found)
        return found

    def blob_text(self, project: str, blob: str) -> str:
        """The text of a blob; bytes that are no UTF-8 become replacement characters."""
        data: bytes = self.repo(project)[blob].peel(pygit2.Blob).data
        return data.decode("utf-8", errors="replace")

    def changed_files(self, project: str, commit: str) -> tuple[str, ...]:
        """The paths that `commit` changes against its first parent (all of its files for a root commit)."""
        repo = self.repo(project)
        tip = repo.revparse_single(commit).peel(pygit2.Commit)
        diff = repo.diff(tip.parents[0], tip) if tip.parents else tip.tree.diff_to_tree(swap=True)
        paths = {delta.new_file.path for delta in diff.deltas} | {delta.old_file.path for delta in diff.deltas}
        return tuple(sorted(paths))

    def containing_branches(self, project: str, commit: str) -> tuple[str, ...]:
        """Branches whose history has `commit`."""
        repo = self.repo(project)
        return tuple(
            sorted(
                name for name, tip in self.branches(project).items() if tip == commit or repo.descendant_of(tip, commit)
            )
        )

    def import_refs(self, project: str, refs: Mapping[str, str]) -> None:
        """Point refs of the project at commits that are here, so that clones get them."""
        repo = self.repo(project)
        for name, commit in refs.items():
            repo.references.create(name, commit, force=True)


def _walk(tree: pygit2.Tree, prefix: str, wanted: Callable[[str], bool], found: dict[str, str]) -> None:
    for entry in tree:
        path = prefix + (entry.name or "")
        if entry.filemode in (pygit2.enums.FileMode.BLOB, pygit2.enums.FileMode.BLOB_EXECUTABLE):
            if wanted(path):
                found[path] = str(entry.id)
        elif isinstance(entry, pygit2.Tree):
            _walk(entry, path + "/", wanted, found)
