"""Clones for a build, made from local objects.

A clone has all branches (the future's where it differs), all tags, `refs/remotes/origin/*` as they were before the
item's own changes, and an origin that leads nowhere: a job cannot fetch what its future does not contain.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import pygit2

from trunkline.git.source import GitFailed, GitSource, run_git
from trunkline.git.store import RepoStore

NOWHERE = "file:///dev/null"


async def clone(
    store: RepoStore,
    project: str,
    destination: Path,
    refs: Mapping[str, str],
    before: Mapping[str, str],
    *,
    self_contained: bool = True,
) -> None:
    """Make `destination` a clone of `project`, nothing checked out.

    refs: full ref → commit: all that shall exist there. before: branch → commit before the item's own changes, where
    it differs. self_contained: objects are copied, so that the clone lives without the store (a sandbox
    does not see it); else they are borrowed.
    """
    if destination.exists():
        shutil.rmtree(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    repo = pygit2.init_repository(str(destination))
    _take_objects(store.path(project), destination / ".git", self_contained)
    repo = pygit2.Repository(str(destination))
    packed = [f"{commit} {name}\n" for name, commit in refs.items()]
    for name, commit in refs.items():
        if name.startswith("refs/heads/"):
            branch = name.removeprefix("refs/heads/")
            packed.append(f"{before.get(branch, commit)} refs/remotes/origin/{branch}\n")
    header = "# pack-refs with: peeled fully-peeled sorted \n"
    (destination / ".git" / "packed-refs").write_text(header + "".join(sorted(packed, key=lambda line: line[41:])))
    with contextlib.suppress(KeyError, ValueError):
        repo.remotes.delete("origin")
    repo.remotes.create("origin", NOWHERE)
    for branch in (name.removeprefix("refs/heads/") for name in refs if name.startswith("refs/heads/")):
        repo.config[f"branch.{branch}.remote"] = "origin"
        repo.config[f"branch.{branch}.merge"] = f"refs/heads/{branch}"


def _take_objects(bare: Path, git_dir: Path, self_contained: bool) -> None:
    if not self_contained:
        (git_dir / "objects" / "info").mkdir(parents=True, exist_ok=True)
        (git_dir / "objects" / "info" / "alternates").write_text(f"{bare / 'objects'}\n")
        return
    # Copies, never hard links: a job owns its files, and must not be able to write into the store through them.
    shutil.rmtree(git_dir / "objects")
    try:
        shutil.copytree(bare / "objects", git_dir / "objects")
    except shutil.Error:  # an object was repacked under our hands: take what is there now
        shutil.rmtree(git_dir / "objects")
        shutil.copytree(bare / "objects", git_dir / "objects")


async def check_out(destination: Path, ref: str) -> str:
    """Check out a full ref, a branch so that HEAD is on it. Returns the commit id. Raises GitFailed."""
    env = GitSource("").environment()
    args = ["-C", str(destination), "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "checkout"]
    target = ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else ref
    detach = [] if ref.startswith("refs/heads/") else ["--detach"]
    await run_git([*args, "--quiet", "--force", *detach, target, "--"], env)
    return str(pygit2.Repository(str(destination)).head.peel(pygit2.Commit).id)


def export(store: RepoStore, project: str, commit: str, destination: Path) -> None:
    """Write the tree of `commit` to `destination`, without any git directory: for playbooks and roles."""
    repo = store.repo(project)
    try:
        tree = repo.revparse_single(commit).peel(pygit2.Tree)
    except (KeyError, pygit2.GitError) as problem:
        raise GitFailed(project, f"no commit {commit}") from problem
    destination.mkdir(parents=True, exist_ok=True)
    repo.checkout_tree(  # type: ignore[no-untyped-call]
        tree,
        directory=str(destination),
        strategy=pygit2.enums.CheckoutStrategy.FORCE | pygit2.enums.CheckoutStrategy.DONT_UPDATE_INDEX,
    )
