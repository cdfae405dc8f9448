"""Speculative merges as pure functions of commits.

Two rules for this file. The same steps on the same bases give the same commit ids on every machine, for ever: names,
dates and messages are made from the steps alone. Nothing here touches the network or moves a ref.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import pygit2

from trunkline.git.source import GitFailed

if TYPE_CHECKING:
    from trunkline.git.store import RepoStore

MERGE, RESOLVE, CHERRY_PICK, SQUASH, REBASE = "merge", "merge-resolve", "cherry-pick", "squash-merge", "rebase"


class Identity(msgspec.Struct, frozen=True):
    """Who speculative commits say made them."""

    name: str = "Trunkline"
    email: str = "trunkline@localhost"


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing to put on a branch: a change (`ref` is merged), or a ref as it is (`is_tip`: nothing is merged)."""

    project: str
    ref: str
    commit: str | None = None
    branch: str | None = None
    mode: str = MERGE
    is_tip: bool = False


class Conflict(msgspec.Struct, frozen=True):
    """Step number `step` does not merge; `files` are the paths in conflict (empty: no common history)."""

    step: int
    files: tuple[str, ...] = ()
    message: str = ""


class Future(msgspec.Struct, frozen=True):
    """What the steps give. `commits[i]` is the tip of step i's project and branch after it; `tips` the last state by
    (project, branch); `before_last` the same without the last step."""

    commits: tuple[str, ...] = ()
    tips: Mapping[tuple[str, str], str] = {}
    before_last: Mapping[tuple[str, str], str] = {}
    conflict: Conflict | None = None


def merge_future(
    store: RepoStore,
    steps: Sequence[Step],
    state: Mapping[str, Mapping[str, str]],
    identity: Identity = Identity(),
) -> Future:
    """Apply `steps` in order to the branch tips in `state` (project → full ref → commit).

    Every commit named must be in the store. Raises GitFailed if a branch or commit does not exist.
    """
    tips: dict[tuple[str, str], str] = {}
    before: dict[tuple[str, str], str] = {}
    commits: list[str] = []
    for number, step in enumerate(steps):
        before = dict(tips)
        commit = step.commit or store.commit_of(step.project, step.ref)
        if step.is_tip or step.branch is None:
            if step.branch is not None:
                tips[step.project, step.branch] = commit
            commits.append(commit)
            continue
        key = (step.project, step.branch)
        base = tips.get(key) or state.get(step.project, {}).get(f"refs/heads/{step.branch}")
        if base is None:
            raise GitFailed(step.project, f"no branch {step.branch}")
        made = _apply(store.repo(step.project), step, base, commit, identity)
        if isinstance(made, str):
            tips[key] = made
            commits.append(made)
        else:
            conflict = Conflict(number, made, f"{step.project} {step.branch}: {step.ref} does not merge")
            return Future(tuple(commits), tips, before, conflict)
    return Future(tuple(commits), tips, before)


def _apply(repo: pygit2.Repository, step: Step, base: str, commit: str, identity: Identity) -> str | tuple[str, ...]:
    """The new tip, or the paths in conflict."""
    if step.mode in (MERGE, RESOLVE, SQUASH):
        return _merge(repo, step, base, commit, identity)
    if step.mode == CHERRY_PICK:
        return _pick(repo, base, commit, identity)
    return _rebase(repo, base, commit, identity)


def _merge(repo: pygit2.Repository, step: Step, base: str, commit: str, identity: Identity) -> str | tuple[str, ...]:
    ancestor = repo.merge_base(base, commit)
    if ancestor is not None and str(ancestor) == commit:
        return base
    if ancestor is not None and str(ancestor) == base and step.mode != SQUASH:
        return commit  # a fast-forward, as the review server would do
    if ancestor is None:
        return ()
    tree = _merged_tree(repo.merge_commits(pygit2.Oid(hex=base), pygit2.Oid(hex=commit)), repo)
    if isinstance(tree, tuple):
        return tree
    parents = [base] if step.mode == SQUASH else [base, commit]
    return _commit(repo, tree, parents, f"Merge {step.ref} into {step.branch}\n", commit, identity)


def _pick(repo: pygit2.Repository, base: str, commit: str, identity: Identity) -> str | tuple[str, ...]:
    picked = repo[commit].peel(pygit2.Commit)
    if not picked.parents:
        return ()
    if str(picked.parents[0].id) == base:
        return commit
    onto = repo[base].peel(pygit2.Commit)
    tree = _merged_tree(repo.merge_trees(picked.parents[0].tree, onto.tree, picked.tree), repo)
    if isinstance(tree, tuple):
        return tree
    return _commit(repo, tree, [base], picked.message, commit, identity)


def _rebase(repo: pygit2.Repository, base: str, commit: str, identity: Identity) -> str | tuple[str, ...]:
    ancestor = repo.merge_base(base, commit)
    if ancestor is None:
        return ()
    walker = repo.walk(commit, pygit2.enums.SortMode.TOPOLOGICAL | pygit2.enums.SortMode.REVERSE)
    walker.hide(base)
    tip = base
    for one in walker:
        made = _pick(repo, tip, str(one.id), identity)
        if isinstance(made, tuple):
            return made
        tip = made
    return tip


def _merged_tree(index: pygit2.Index, repo: pygit2.Repository) -> pygit2.Oid | tuple[str, ...]:
    if index.conflicts is None:
        return index.write_tree(repo)
    paths = {entry.path for conflict in index.conflicts for entry in conflict if entry is not None}
    return tuple(sorted(paths))


def _commit(
    repo: pygit2.Repository, tree: pygit2.Oid, parents: list[str], message: str, dated_by: str, identity: Identity
) -> str:
    """A commit whose date is that of the commit that caused it, so that no clock is asked."""
    cause = repo[dated_by].peel(pygit2.Commit)
    who = pygit2.Signature(identity.name, identity.email, cause.committer.time, cause.committer.offset)
    return str(repo.create_commit(None, who, who, message, tree, [pygit2.Oid(hex=p) for p in parents]))
