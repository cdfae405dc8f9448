"""Changes in the shape of REST: votes are numbers, times are texts, accounts are numbers unless details are asked."""

from datetime import UTC, datetime
from typing import Any

from trunkline.dev.review.describe import deciding_vote, files_of, pseudo_files
from trunkline.dev.review.model import Account, Change, Comment, Message, PatchSet, Project
from trunkline.dev.review.repo import Commit, FileDiff, Person
from trunkline.dev.review.rules import LABELS, Label, has_unresolved, requirements, voting_range
from trunkline.dev.review.site import Site, encoded

Json = dict[str, Any]
Options = frozenset[str]

_EMPTY_BLOB = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
_PSEUDO_BLOB = "2485e7539b2c97a21e718525bf51d56d1559a0ee"


def when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{round(at % 1 * 1000):03d}000000"


def account(site: Site, number: int, detailed: bool) -> Json:
    json: Json = {"_account_id": number}
    value = site.accounts.get(number)
    if not detailed or value is None:
        return json
    fields = {"name": value.name, "email": value.email, "username": value.username}
    json |= {key: text for key, text in fields.items() if text}
    if site.is_service_user(value):
        json["tags"] = ["SERVICE_USER"]
    return json


def change_id(change: Change) -> str:
    return f"{encoded(change.project)}~{change.number}"


async def change(site: Site, value: Change, options: Options = frozenset(), viewer: Account | None = None) -> Json:
    """A ChangeInfo with the keys that these options ask for."""
    detailed = "DETAILED_ACCOUNTS" in options
    json = await _plain(site, value, options, detailed)
    if options & {"LABELS", "DETAILED_LABELS"}:
        json["labels"] = {name: _label(site, value, label, options, detailed) for name, label in LABELS.items()}
    if "DETAILED_LABELS" in options:
        json |= _permitted(site, value, viewer)
        json |= _reviewers(site, value, detailed)
    if "MESSAGES" in options:
        json["messages"] = [message(site, entry, detailed) for entry in value.messages]
    json["current_revision_number"] = value.current.number
    if options & {"CURRENT_REVISION", "ALL_REVISIONS", "CURRENT_COMMIT", "CURRENT_FILES", "ALL_COMMITS", "ALL_FILES"}:
        json["current_revision"] = value.current.sha
        all_of_them = bool(options & {"ALL_REVISIONS", "ALL_COMMITS", "ALL_FILES"})
        shown = value.patchsets if all_of_them else (value.current,)
        json["revisions"] = {entry.sha: await revision(site, value, entry, options) for entry in shown}
    json["requirements"] = []
    json["submit_records"] = [_submit_record(site, value, detailed)]
    if "SUBMIT_REQUIREMENTS" in options:
        json["submit_requirements"] = [_requirement(entry) for entry in requirements(value)]
    return json


async def _plain(site: Site, value: Change, options: Options, detailed: bool) -> Json:
    diffs = await files_of(site, value, value.current)
    json: Json = {
        "id": change_id(value),
        "triplet_id": f"{encoded(value.project)}~{encoded(value.branch)}~{value.change_id}",
        "project": value.project,
        "branch": value.branch,
    }
    if value.topic:
        json["topic"] = value.topic
    json |= {
        "attention_set": {},
        "removed_from_attention_set": {},
        "hashtags": sorted(value.hashtags),
        "change_id": value.change_id,
        "subject": value.subject,
        "status": value.status,
        "created": when(value.created),
        "updated": when(value.updated),
    }
    if value.status == "MERGED":
        json["submitted"] = when(value.submitted)
        if value.submitter is not None:
            json["submitter"] = account(site, value.submitter, detailed)
    elif value.status == "NEW":
        json["submit_type"] = site.projects[value.project].submit_type
        if "SUBMITTABLE" in options:
            json["submittable"] = not any(r.status == "UNSATISFIED" for r in requirements(value))
    if value.is_private:
        json["is_private"] = True
    if value.is_wip:
        json["work_in_progress"] = True
    json |= {
        "insertions": sum(diff.inserted for diff in diffs),
        "deletions": sum(diff.deleted for diff in diffs),
        "total_comment_count": len(value.comments),
        "unresolved_comment_count": _unresolved_count(value),
        "has_review_started": value.has_review_started,
    }
    if value.submission_id:
        json["submission_id"] = value.submission_id
    json |= {
        "meta_rev_id": value.meta,
        "_number": value.number,
        "virtual_id_number": value.number,
        "owner": account(site, value.owner, detailed),
    }
    return json


def _unresolved_count(value: Change) -> int:
    if not has_unresolved(value):
        return 0
    answered = {comment.in_reply_to for comment in value.comments}
    return sum(comment.is_unresolved and comment.id not in answered for comment in value.comments)


def _label(site: Site, value: Change, label: Label, options: Options, detailed: bool) -> Json:
    votes = [vote for vote in value.votes if vote.label == label.name]
    json: Json = {}
    for key, wanted in (("approved", label.maximum), ("rejected", label.minimum)):
        if hit := next((vote for vote in reversed(votes) if vote.value == wanted), None):
            json[key] = account(site, hit.account, detailed)
    for key, sign in (("recommended", 1), ("disliked", -1)):
        hit = next(
            (v for v in reversed(votes) if v.value == sign and v.value not in (label.minimum, label.maximum)), None
        )
        if hit:
            json[key] = account(site, hit.account, detailed)
            json["value"] = sign
    if "DETAILED_LABELS" in options:
        json["all"] = _all_votes(site, value, label, detailed)
        json["values"] = {_signed(number): text for number, text in label.values.items()}
    json["default_value"] = 0
    json["optional"] = True
    return json


def _all_votes(site: Site, value: Change, label: Label, detailed: bool) -> list[Json]:
    voters = dict.fromkeys([*value.reviewers, *(vote.account for vote in value.votes)])
    entries = []
    for number in voters:
        voter = site.accounts[number]
        found = next((v for v in value.votes if v.label == label.name and v.account == number), None)
        entry: Json = {}
        span = voting_range(site.groups_of(voter), label)
        if found is not None and found.value:
            entry |= {"value": found.value, "date": when(found.at)}
            if found.is_post_submit:
                entry["post_submit"] = True
        elif span is not None:
            entry["value"] = 0
        if span is not None and value.is_open:
            entry["permitted_voting_range"] = {"min": span[0], "max": span[1]}
        entries.append(entry | account(site, number, detailed))
    return entries


def _signed(number: int) -> str:
    return f"{number:+d}" if number else " 0"


def _permitted(site: Site, value: Change, viewer: Account | None) -> Json:
    permitted = {}
    if viewer is not None and value.status != "ABANDONED":
        for label in LABELS.values():
            span = voting_range(site.groups_of(viewer), label)
            if span is None:
                continue
            low, high = span
            if value.status == "MERGED":
                low = max(low, value.vote(label.name, viewer.id))
            numbers = [number for number in label.values if low <= number <= high]
            if numbers:
                permitted[label.name] = [_signed(number) for number in numbers]
    return {"permitted_labels": permitted, "removable_labels": {}, "removable_reviewers": []}


def _reviewers(site: Site, value: Change, detailed: bool) -> Json:
    groups = {"REVIEWER": value.reviewers, "CC": value.ccs}
    return {
        "reviewers": {
            state: [account(site, number, detailed) for number in numbers]
            for state, numbers in groups.items()
            if numbers
        },
        "pending_reviewers": {},
    }


def _submit_record(site: Site, value: Change, detailed: bool) -> Json:
    labels = []
    for name in LABELS:
        entry: Json = {"label": name, "status": "MAY"}
        if vote := deciding_vote(value, name):
            entry["applied_by"] = account(site, vote.account, detailed)
        labels.append(entry)
    status = "OK" if value.is_open else "CLOSED"
    return {"rule_name": "gerrit~DefaultSubmitRule", "status": status, "labels": labels}


def _requirement(entry: Any) -> Json:
    fulfilled = entry.status in {"SATISFIED", "NOT_APPLICABLE"}
    result: Json = {"expression": entry.expression, "fulfilled": fulfilled}
    result["status"] = "NOT_EVALUATED" if entry.status == "NOT_APPLICABLE" else "PASS" if fulfilled else "FAIL"
    result |= {
        "passing_atoms": list(entry.passing),
        "failing_atoms": list(entry.failing),
        "atom_explanations": dict.fromkeys(sorted((*entry.passing, *entry.failing)), ""),
    }
    json: Json = {"name": entry.name, "description": entry.description, "status": entry.status, "is_legacy": False}
    if entry.is_conditional:
        applies = entry.status != "NOT_APPLICABLE"
        json["applicability_expression_result"] = {"fulfilled": applies, "status": "PASS" if applies else "FAIL"}
    return json | {"submittability_expression_result": result}


def message(site: Site, entry: Message, detailed: bool = True) -> Json:
    json: Json = {"id": entry.id}
    if entry.tag:
        json["tag"] = entry.tag
    if entry.author is not None:
        json["author"] = account(site, entry.author, detailed)
    return json | {
        "date": when(entry.at),
        "message": entry.text,
        "accounts_in_message": [],
        "_revision_number": entry.patchset,
    }


def comment(site: Site, value: Change, entry: Comment) -> Json:
    json: Json = {"author": account(site, entry.author, True)}
    if entry.tag:
        json["tag"] = entry.tag
    json |= {
        "change_message_id": entry.message_id,
        "unresolved": entry.is_unresolved,
        "patch_set": entry.patchset,
        "id": entry.id,
    }
    if entry.in_reply_to:
        json["in_reply_to"] = entry.in_reply_to
    if entry.side != "REVISION":
        json["side"] = entry.side
    if entry.line is not None:
        json["line"] = entry.line
    if entry.range is not None:
        json["range"] = {
            "start_line": entry.range.start_line,
            "start_character": entry.range.start_character,
            "end_line": entry.range.end_line,
            "end_character": entry.range.end_character,
        }
    sha = value.patchsets[entry.patchset - 1].sha
    return json | {"updated": when(entry.at), "message": entry.text, "commit_id": sha}


async def revision(site: Site, value: Change, entry: PatchSet, options: Options) -> Json:
    is_current = entry is value.current
    json: Json = {
        "kind": entry.kind,
        "_number": entry.number,
        "created": when(entry.created),
        "uploader": account(site, entry.uploader, "DETAILED_ACCOUNTS" in options),
        "ref": value.ref(entry.number),
        "fetch": _fetch(site, value, entry),
    }
    if "ALL_COMMITS" in options or ("CURRENT_COMMIT" in options and is_current):
        json["commit"] = await commit(site, value.project, entry.sha, named=False)
    json["branch"] = f"refs/heads/{value.branch}"
    if entry.description:
        json["description"] = entry.description
    if "ALL_FILES" in options or ("CURRENT_FILES" in options and is_current):
        diffs = await files_of(site, value, entry)
        json["files"] = {diff.path: file(diff) for diff in diffs}
    return json


def _fetch(site: Site, value: Change, entry: PatchSet) -> Json:
    """How to fetch the patch set; git-review takes it from here."""
    return {"anonymous http": {"url": f"{site.url}/{value.project}", "ref": value.ref(entry.number)}}


async def commit(site: Site, project: str, sha: str, named: bool = True) -> Json:
    """A CommitInfo; `named`: with the commit's own id."""
    repo = site.repo(project)
    value = await repo.commit(sha)
    parents = [{"commit": parent, "subject": (await repo.commit(parent)).subject} for parent in value.parents]
    json: Json = {"commit": sha} if named else {}
    return json | {
        "parents": parents,
        "author": person(value.author),
        "committer": person(value.committer),
        "subject": value.subject,
        "message": value.message,
    }


def person(value: Person) -> Json:
    sign = -1 if value.zone.startswith("-") else 1
    minutes = sign * (int(value.zone[1:3]) * 60 + int(value.zone[3:5]))
    return {"name": value.name, "email": value.email, "date": when(value.at), "tz": minutes}


def file(diff: FileDiff) -> Json:
    json: Json = {} if diff.status == "M" else {"status": diff.status}
    if diff.old_path:
        json["old_path"] = diff.old_path
    if diff.status != "A":
        json |= {"old_mode": diff.old_mode, "old_sha": diff.old_blob}
    if diff.status != "D":
        json |= {"new_mode": diff.new_mode, "new_sha": diff.new_blob}
    if diff.is_binary:
        json["binary"] = True
    if diff.inserted:
        json["lines_inserted"] = diff.inserted
    if diff.deleted:
        json["lines_deleted"] = diff.deleted
    return json | {"size_delta": diff.size_delta, "size": diff.size}


async def files(site: Site, value: Change, entry: PatchSet, parent: int) -> Json:
    """The answer of `…/files`: pseudo files first."""
    repo = site.repo(value.project)
    size = len((await repo.commit(entry.sha)).message.encode())
    json: Json = {
        path: {
            "status": "A",
            "old_sha": _EMPTY_BLOB,
            "new_sha": _PSEUDO_BLOB,
            "lines_inserted": lines,
            "size_delta": size,
            "size": size,
        }
        for path, lines in await pseudo_files(site, value, entry)
    }
    return json | {diff.path: file(diff) for diff in await repo.diff(entry.sha, parent)}


def project(value: Project) -> Json:
    json: Json = {"id": encoded(value.name), "name": value.name, "parent": "All-Projects"}
    if value.description:
        json["description"] = value.description
    labels = {
        name: {"values": {_signed(number): text for number, text in label.values.items()}, "default_value": 0}
        for name, label in LABELS.items()
    }
    return json | {"state": "ACTIVE", "labels": labels}


def related_entry(value: Change, number: int, its: Commit) -> Json:
    return {
        "project": value.project,
        "change_id": value.change_id,
        "commit": {
            "commit": its.sha,
            "parents": [{"commit": parent} for parent in its.parents],
            "author": person(its.author),
            "subject": its.subject,
        },
        "_change_number": value.number,
        "_revision_number": number,
        "_current_revision_number": value.current.number,
        "status": value.status,
    }
