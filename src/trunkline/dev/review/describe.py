"""Changes in the shapes of SSH: `gerrit query` lines and stream events. Numbers are numbers, votes strings, times seconds."""

from typing import Any

from trunkline.dev.review.model import Account, Change, PatchSet, Vote
from trunkline.dev.review.repo import Commit, FileDiff
from trunkline.dev.review.rules import EVENT_ORDER, LABELS
from trunkline.dev.review.site import Site

Json = dict[str, Any]

_FILE_TYPES = {"A": "ADDED", "M": "MODIFIED", "D": "DELETED", "R": "RENAMED", "C": "COPIED", "T": "MODIFIED"}


def account(value: Account | None) -> Json:
    if value is None:
        return {}
    fields = {"name": value.name, "email": value.email, "username": value.username}
    return {key: text for key, text in fields.items() if text}


def message_lines(commit: Commit) -> int:
    """Lines of the pseudo file /COMMIT_MSG: a head of six (one more for a merge) and the message."""
    return 6 + (1 if len(commit.parents) > 1 else 0) + commit.message.rstrip("\n").count("\n") + 1


async def pseudo_files(site: Site, change: Change, patchset: PatchSet) -> list[tuple[str, int]]:
    """(path, lines) of the files that only a review shows."""
    repo = site.repo(change.project)
    commit = await repo.commit(patchset.sha)
    found = [("/COMMIT_MSG", message_lines(commit))]
    if len(commit.parents) > 1:
        brought = await repo.new_commits(commit.parents[1], [commit.parents[0]])
        found.append(("/MERGE_LIST", 2 + len(brought)))
    return found


async def files_of(site: Site, change: Change, patchset: PatchSet) -> list[FileDiff]:
    return await site.repo(change.project).diff(patchset.sha, 0)


def _person(site: Site, name: str, email: str) -> Json:
    known = next((a for a in site.accounts.values() if a.email == email and email), None)
    return account(known) if known else {"name": name, "email": email}


async def patchset(
    site: Site, change: Change, value: PatchSet, approvals: bool = False, files: bool = False, comments: bool = False
) -> Json:
    commit = await site.repo(change.project).commit(value.sha)
    diffs = await files_of(site, change, value)
    pseudo = await pseudo_files(site, change, value)
    json: Json = {
        "number": value.number,
        "revision": value.sha,
        "parents": list(value.parents),
        "ref": change.ref(value.number),
        "uploader": account(site.accounts[value.uploader]),
        "createdOn": int(value.created),
        "author": _person(site, commit.author.name, commit.author.email),
        "kind": value.kind,
    }
    if approvals and value is change.current:
        votes = [_approval(site, vote) for vote in change.votes if vote.value]
        if change.status == "MERGED" and change.submitter is not None:
            by = account(site.accounts[change.submitter])
            votes.append({"type": "SUBM", "value": "1", "grantedOn": int(change.submitted), "by": by})
        if votes:
            json["approvals"] = votes
    if comments and (found := [c for c in change.comments if c.patchset == value.number]):
        json["comments"] = [
            {
                "file": comment.path,
                "line": comment.line or 0,
                "reviewer": account(site.accounts[comment.author]),
                "message": comment.text,
            }
            for comment in sorted(found, key=lambda comment: comment.path)
        ]
    if files:
        json["files"] = [
            {"file": path, "type": "ADDED", "insertions": lines, "deletions": 0} for path, lines in pseudo
        ] + [
            {
                "file": diff.path,
                "type": _FILE_TYPES[diff.status],
                "insertions": diff.inserted,
                "deletions": diff.deleted,
            }
            for diff in diffs
        ]
    json["sizeInsertions"] = sum(diff.inserted for diff in diffs) + sum(lines for _, lines in pseudo)
    json["sizeDeletions"] = sum(diff.deleted for diff in diffs)
    return json


def _approval(site: Site, vote: Vote) -> Json:
    return {
        "type": vote.label,
        "description": vote.label,
        "value": str(vote.value),
        "grantedOn": int(vote.at),
        "by": account(site.accounts[vote.account]),
    }


async def event_change(site: Site, change: Change) -> Json:
    """The `change` of an event."""
    message = (await site.repo(change.project).commit(change.current.sha)).message
    json: Json = {"project": change.project, "branch": change.branch}
    if change.topic:
        json["topic"] = change.topic
    json |= {
        "id": change.change_id,
        "number": change.number,
        "subject": change.subject,
        "owner": account(site.accounts[change.owner]),
        "url": site.change_url(change),
        "commitMessage": message,
    }
    if change.hashtags:
        json["hashtags"] = sorted(change.hashtags)
    json |= {"createdOn": int(change.created), "status": change.status}
    return json | _flags(change)


def _flags(change: Change) -> Json:
    flags = {"wip": change.is_wip, "private": change.is_private}
    return {name: True for name, is_set in flags.items() if is_set}


def event_approvals(change: Change, by: int, before: dict[str, int], patchset: int) -> list[Json]:
    """One entry for every label: the author's value, and the old one where it changed."""
    entries = []
    for label in EVENT_ORDER:
        value, old = change.vote(label, by), before.get(label, 0)
        entry = {"type": label, "description": label, "value": str(value)}
        if value != old:
            entry["oldValue"] = str(old)
        entries.append(entry)
    return entries


def ref_update(project: str, ref: str, old: str, new: str, submitter: Account | None, at: float) -> Json:
    json: Json = {"submitter": account(submitter)} if submitter else {}
    return json | {
        "refUpdate": {"oldRev": old, "newRev": new, "refName": ref, "project": project},
        "type": "ref-updated",
        "eventCreatedOn": int(at),
    }


async def query_line(site: Site, change: Change, options: frozenset[str]) -> Json:
    """One line of `gerrit query`; options as on the command line, without dashes."""
    json: Json = {"project": change.project, "branch": change.branch}
    if change.topic:
        json["topic"] = change.topic
    json |= {
        "id": change.change_id,
        "number": change.number,
        "subject": change.subject,
        "owner": account(site.accounts[change.owner]),
        "url": site.change_url(change),
    }
    if "commit-message" in options:
        json["commitMessage"] = (await site.repo(change.project).commit(change.current.sha)).message
    json |= {
        "hashtags": sorted(change.hashtags),
        "createdOn": int(change.created),
        "lastUpdated": int(change.updated),
        "open": change.is_open,
        "status": change.status,
    } | _flags(change)
    if "comments" in options:
        json["comments"] = [
            {
                "timestamp": int(message.at),
                "reviewer": account(site.accounts.get(message.author or 0)) or {"name": "Gerrit Code Review"},
                "message": message.text,
            }
            for message in change.messages
        ]
    files = "files" in options
    votes = "all-approvals" in options
    if "current-patch-set" in options:
        json["currentPatchSet"] = await patchset(site, change, change.current, True, files, False)
    if "patch-sets" in options or votes:
        json["patchSets"] = [
            await patchset(site, change, value, votes, files, "comments" in options) for value in change.patchsets
        ]
    if "dependencies" in options:
        json |= await _dependencies(site, change)
    if "submit-records" in options:
        json["submitRecords"] = [{"status": "OK", "labels": [_record(site, change, name) for name in LABELS]}]
    return json


def _record(site: Site, change: Change, label: str) -> Json:
    """Labels never block: submit requirements do, and SSH does not show those."""
    decisive = deciding_vote(change, label)
    json: Json = {"label": label, "status": "MAY"}
    if decisive:
        json["by"] = account(site.accounts[decisive.account])
    return json


def deciding_vote(change: Change, label: str) -> Vote | None:
    """The strongest vote of a label: the last of those with the lowest negative, else with the highest value."""
    votes = [vote for vote in change.votes if vote.label == label and vote.value]
    return max(votes, key=lambda vote: (abs(vote.value), vote.value < 0, vote.at), default=None)


async def _dependencies(site: Site, change: Change) -> Json:
    json: Json = {}
    above = []
    for parent in change.current.parents:
        found = site.by_sha.get((change.project, parent))
        if found:
            other = site.changes[found[0]]
            entry = _dependency(other, found[1])
            above.append(entry | {"isCurrentPatchSet": other.current.number == found[1]})
    below = [
        _dependency(other, other.current.number)
        for other in site.changes.values()
        if other.project == change.project and change.current.sha in other.current.parents and other.is_open
    ]
    if above:
        json["dependsOn"] = above
    if below:
        json["neededBy"] = below
    return json


def _dependency(change: Change, number: int) -> Json:
    sha = change.patchsets[number - 1].sha
    return {"id": change.change_id, "number": change.number, "revision": sha, "ref": change.ref(number)}
