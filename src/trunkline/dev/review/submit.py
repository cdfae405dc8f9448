"""Landing: a change with the open ones that it stands on (and, where the site says so, with all of its topic)."""

import time
from collections.abc import Iterable

import msgspec

from trunkline.dev.review import announce
from trunkline.dev.review.model import Account, Change, Refused
from trunkline.dev.review.repo import MergeConflict, Repo
from trunkline.dev.review.rules import unmet
from trunkline.dev.review.site import Site

replace = msgspec.structs.replace

Place = tuple[str, str]
"""(project, branch)"""

_NOT_FAST_FORWARD = (
    "Project policy requires all submissions to be a fast-forward. Please rebase the change locally and upload again for"
    " review."
)
_CONFLICT = (
    "Change could not be merged due to a path conflict. Please rebase the change locally and upload the rebased commit"
    " for review."
)


async def submit(site: Site, change: Change, by: Account, is_forced: bool = False) -> Change:
    """Land the change. Raises Refused with Gerrit's texts; then nothing has changed."""
    if not site.may(by, "submit"):
        raise Refused(403, "submit not permitted")
    if not change.is_open:
        raise Refused(409, f"change is {change.status.lower()}")
    together = await submitted_together(site, change)
    if not is_forced:
        _check(change, together)
    return await _land(site, change, together, by, is_forced)


async def submitted_together(site: Site, change: Change) -> list[Change]:
    """All that land with the change, itself included, parents before children."""
    found: dict[int, Change] = {}
    waiting = [change]
    while waiting:
        one = waiting.pop()
        if one.number in found:
            continue
        found[one.number] = one
        waiting += await _open_parents(site, one)
        if site.submit_whole_topic and one.topic:
            waiting += [other for other in site.changes.values() if other.topic == one.topic and other.is_open]
    return await _parents_first(site, found.values())


async def _open_parents(site: Site, change: Change) -> list[Change]:
    parents = []
    for sha in change.current.parents:
        known = site.by_sha.get((change.project, sha))
        other = site.changes.get(known[0]) if known else None
        if known is None or other is None or not other.is_open or other.branch != change.branch:
            continue
        if other.current.number != known[1]:
            raise _failed(
                2,
                change,
                f"Depends on commit that cannot be merged. Commit {change.current.sha} depends on commit {sha}, which is"
                f" outdated patch set {known[1]} of change {other.number}. The latest patch set is"
                f" {other.current.number}.",
            )
        parents.append(other)
    return parents


async def _parents_first(site: Site, changes: Iterable[Change]) -> list[Change]:
    by_sha = {change.current.sha: change for change in changes}
    done: dict[str, Change] = {}

    def visit(change: Change) -> None:
        for parent in change.current.parents:
            if parent in by_sha and parent not in done:
                visit(by_sha[parent])
        done.setdefault(change.current.sha, change)

    for change in sorted(by_sha.values(), key=lambda change: change.number):
        visit(change)
    return list(done.values())


def _failed(count: int, change: Change, problem: str) -> Refused:
    noun = "change" if count == 1 else "changes"
    return Refused(
        409, f"Failed to submit {count} {noun} due to the following problems:\nChange {change.number}: {problem}"
    )


def _check(wanted: Change, together: list[Change]) -> None:
    problems = []
    for change in together:
        number = change.number
        problem = None
        if change.is_wip:
            problem = f"Change {number} is marked work in progress"
        elif names := unmet(change):
            missing = f"submit requirement '{names[0]}' is unsatisfied."
            problem = (
                f"Change {number} is not ready: {missing}"
                if change is wanted
                else f"Change {wanted.number} must be submitted with change {number} but {number} is not ready: {missing}"
            )
        if problem:
            problems.append(f"Change {number}: {problem}")
    if problems:
        noun = "change" if len(together) == 1 else "changes"
        head = f"Failed to submit {len(together)} {noun} due to the following problems:"
        raise Refused(409, "\n".join([head, *problems]))


async def _land(site: Site, wanted: Change, together: list[Change], by: Account, is_forced: bool) -> Change:
    places: dict[Place, list[Change]] = {}
    for change in together:
        places.setdefault((change.project, change.branch), []).append(change)
    moves: dict[Place, tuple[str, str]] = {}
    for place, changes in places.items():
        moves[place] = await _new_tip(site, place, changes, len(together), by)
    at = time.time()
    submission = f"{wanted.number}-{wanted.topic}" if site.submit_whole_topic and wanted.topic else str(wanted.number)
    landed = {change.number: _merged(site, change, by, at, submission, is_forced) for change in together}
    for place, changes in places.items():
        old, new = moves[place]
        updates = {f"refs/heads/{place[1]}": (old, new)}
        updates |= {change.meta_ref: (change.meta, landed[change.number].meta) for change in changes}
        await site.repo(place[0]).update_refs({ref: (a, b) for ref, (a, b) in updates.items()})
    site.save(*landed.values())
    for place, changes in places.items():
        old, new = moves[place]
        if old != new:
            announce.ref(site, place[0], f"refs/heads/{place[1]}", old, new, by)
        for change in reversed(changes):
            announce.meta(site, change.meta, landed[change.number], by)
    for change in together:
        await announce.merged(site, landed[change.number], moves[change.project, change.branch][1], by)
    return landed[wanted.number]


def _merged(site: Site, change: Change, by: Account, at: float, submission: str, is_forced: bool) -> Change:
    after = replace(
        change,
        status="MERGED",
        submitted=float(int(at)),
        submitter=by.id,
        submission_id=submission,
        is_forced=is_forced,
    )
    text, tag = "Change has been successfully merged", "autogenerated:gerrit:merged"
    trailers = {"Status": "merged", "Submission-id": submission}
    return site.stage(after, by, f"Submit patch set {change.current.number}", text, tag, trailers, at)


async def _new_tip(site: Site, place: Place, changes: list[Change], count: int, by: Account) -> tuple[str, str]:
    """(old, new) tip of the branch with the changes on it. Raises Refused."""
    repo = site.repo(place[0])
    old = await repo.ref(f"refs/heads/{place[1]}")
    if old is None:
        raise _failed(count, changes[0], f"destination branch {place[1]} not found")
    submit_type = site.projects[place[0]].submit_type
    tip = old
    for change in _heads(changes):
        sha = change.current.sha
        if await repo.is_ancestor(sha, tip):
            continue
        is_forward = await repo.is_ancestor(tip, sha)
        if is_forward and submit_type != "MERGE_ALWAYS":
            tip = sha
            continue
        if submit_type == "FAST_FORWARD_ONLY":
            raise _failed(count, change, _NOT_FAST_FORWARD)
        tip = await _merge(site, repo, place, tip, change, count, by)
    return old, tip


def _heads(changes: list[Change]) -> list[Change]:
    """Those that no other of them stands on."""
    parents = {parent for change in changes for parent in change.current.parents}
    return [change for change in changes if change.current.sha not in parents]


async def _merge(site: Site, repo: Repo, place: Place, tip: str, change: Change, count: int, by: Account) -> str:
    sha = change.current.sha
    try:
        tree = await repo.merge(tip, sha)
    except MergeConflict:
        raise _failed(count, change, _CONFLICT) from None
    into = "" if place[1] in {"master", "main"} else f" into {place[1]}"
    message = f'Merge "{change.subject}"{into}\n'
    now = time.time()
    return repo.write_commit(tree, (tip, sha), site.identity(by, now), site.server_identity(now), message)
