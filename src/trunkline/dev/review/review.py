"""The action that people do most: message, votes and comments on a patch set."""

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from trunkline.dev.review import announce, describe
from trunkline.dev.review.model import Account, Change, Comment, PatchSet, Range, Refused, Vote
from trunkline.dev.review.rules import LABELS, voting_range
from trunkline.dev.review.site import Site

Json = Mapping[str, Any]
replace = msgspec.structs.replace

_FREE_PATHS = {"/COMMIT_MSG", "/PATCHSET_LEVEL", "/MERGE_LIST"}
READY_TEXT = "This change is ready for review."


async def post_review(site: Site, change: Change, patchset: PatchSet, by: Account, review: Json) -> dict[str, Any]:
    """Do what a ReviewInput asks; the keys of the answer that depend on it. Raises Refused before anything changes."""
    labels = _accepted_votes(site, change, by, review.get("labels") or {})
    comments = await _comments(site, change, patchset, by, review)
    before = {label: change.vote(label, by.id) for label in LABELS}
    at = float(int(time.time()))
    text = str(review.get("message") or "").strip()
    tag = str(review.get("tag") or "")
    is_current = patchset is change.current

    after = _with_people(change, by, labels if is_current else {}, at, bool(text or comments))
    answer: dict[str, Any] = {"labels": labels} if "labels" in review else {}
    added = _named_reviewers(site, review, answer)
    after = replace(after, reviewers=_joined(after.reviewers, [a.id for a in added]))
    ready = bool(review.get("ready")) and change.is_wip
    if ready:
        after = replace(after, is_wip=False, has_review_started=True)
        answer["ready"] = True
    words = vote_words(before, labels) if is_current else ""
    body = review_text(patchset.number, words, len(comments), text)
    told = bool(words or comments or text)
    old_meta = change.meta
    trailers = {"Label": ", ".join(f"{label}={value:+d}" for label, value in labels.items())} if labels else {}
    title = f"Update patch set {patchset.number}"
    after = site.stage(after, by, title, body if told else "", tag, trailers, at)
    after = replace(after, comments=(*change.comments, *(replace(c, message_id=after.meta, tag=tag) for c in comments)))
    if told:
        last = replace(after.messages[-1], patchset=patchset.number)
        after = replace(after, messages=(*after.messages[:-1], last))
    await _write(site, change, after)

    announce.meta(site, old_meta, after, by)
    if ready:
        await announce.happened(site, after, "wip-state-changed", {"changer": describe.account(by)}, after.current)
    if told:
        await announce.comment_added(site, after, by, before, event_text(body, patchset.number, comments), patchset)
    for reviewer in added:
        await announce.reviewer_added(site, after, reviewer, by)
    return answer


async def _write(site: Site, before: Change, after: Change) -> None:
    await site.repo(after.project).update_refs({after.meta_ref: (before.meta, after.meta)})
    site.save(after)


def _accepted_votes(site: Site, change: Change, by: Account, asked: Json) -> dict[str, int]:
    """The votes that count. Unknown labels and impossible values are dropped in silence; missing rights are not."""
    votes: dict[str, int] = {}
    for name, given in asked.items():
        label = LABELS.get(name)
        try:
            value = int(given)
        except (TypeError, ValueError):
            raise Refused(400, f"Invalid vote for label {name}: {given!r}") from None
        if label is None or value not in label.values:
            continue
        span = voting_range(site.groups_of(by), label)
        if value and (span is None or not span[0] <= value <= span[1]):
            raise Refused(403, f'Applying label "{name}": {value} is restricted')
        if change.status == "ABANDONED":
            raise Refused(409, "change is closed")
        if change.status == "MERGED" and value < change.vote(name, by.id):
            raise Refused(409, f"Cannot reduce vote on labels for closed change: {name}")
        votes[name] = value
    return votes


async def _comments(site: Site, change: Change, patchset: PatchSet, by: Account, review: Json) -> list[Comment]:
    asked = review.get("comments") or {}
    if not asked:
        return []
    known = {diff.path for diff in await site.repo(change.project).diff(patchset.sha, 1)} | _FREE_PATHS
    found = []
    for path, entries in asked.items():
        if path not in known:
            raise Refused(400, f"file {path} not found in revision {change.number},{patchset.number}")
        found += [_comment(path, entry, patchset, by) for entry in entries if str(entry.get("message", "")).strip()]
    return found


def _comment(path: str, entry: Json, patchset: PatchSet, by: Account) -> Comment:
    span = None
    if entry.get("range"):
        span = msgspec.convert({"start_character": 0, "end_character": 0} | dict(entry["range"]), Range)
        start, end = (span.start_line, span.start_character), (span.end_line, span.end_character)
        if not (span.start_line > 0 and start <= end and min(start[1], end[1]) >= 0):
            text = f"Range ({start[0]}:{start[1]} - {end[0]}:{end[1]}) is not valid for the comment on {path}"
            raise Refused(400, text)
    return Comment(
        id=f"{secrets.token_hex(4)}_{secrets.token_hex(4)}",
        message_id="",
        author=by.id,
        at=float(int(time.time())),
        path=path,
        text=str(entry["message"]).strip(),
        patchset=patchset.number,
        is_unresolved=bool(entry.get("unresolved", False)),
        line=span.end_line if span else entry.get("line"),
        range=span,
        side=str(entry.get("side", "REVISION")),
        in_reply_to=entry.get("in_reply_to"),
    )


def _named_reviewers(site: Site, review: Json, answer: dict[str, Any]) -> list[Account]:
    found = []
    for entry in review.get("reviewers") or []:
        account = site.find_account(str(entry["reviewer"]))
        if entry.get("state", "REVIEWER") == "REVIEWER":
            found.append(account)
        answer.setdefault("reviewers", {})[entry["reviewer"]] = {"input": entry["reviewer"]}
    return found


def _joined(numbers: tuple[int, ...], more: list[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys((*numbers, *more)))


def _with_people(change: Change, by: Account, labels: Mapping[str, int], at: float, spoke: bool) -> Change:
    """The change with the votes, and with the author among its people: voters review, speakers get copies."""
    votes = change.votes
    for label, value in labels.items():
        if value == change.vote(label, by.id):
            continue
        votes = tuple(vote for vote in votes if not (vote.label == label and vote.account == by.id))
        if value:
            votes += (Vote(label, by.id, value, at, change.current.number, change.status == "MERGED"),)
    reviewers, ccs = change.reviewers, change.ccs
    if labels and by.id not in reviewers:
        reviewers, ccs = (*reviewers, by.id), tuple(number for number in ccs if number != by.id)
    elif spoke and by.id not in {*reviewers, *ccs, change.owner}:
        ccs = (*ccs, by.id)
    return replace(change, votes=votes, reviewers=reviewers, ccs=ccs)


def vote_words(before: Mapping[str, int], labels: Mapping[str, int]) -> str:
    """`Code-Review+2 Workflow+1`, `-Verified` for a vote withdrawn; only what changed."""
    return " ".join(
        f"{label}{value:+d}" if value else f"-{label}"
        for label, value in labels.items()
        if value != before.get(label, 0)
    )


def review_text(patchset: int, words: str, comments: int, text: str) -> str:
    first = f"Patch Set {patchset}:" + (f" {words}" if words else "")
    count = f"({comments} comment{'s' if comments != 1 else ''})" if comments else ""
    return "\n\n".join(part for part in (first, count, text) if part)


def event_text(body: str, patchset: int, comments: list[Comment]) -> str:
    """What comment-added says: a comment on the patch set as a whole takes the place of everything else."""
    whole = [comment.text for comment in comments if comment.path == "/PATCHSET_LEVEL"]
    return f"Patch Set {patchset}:\n\n" + "\n".join(whole) if whole else body


def votes_by_option(options: Mapping[str, str]) -> dict[str, int]:
    """`--code-review +2` and its like: labels as options of their own."""
    by_option = {re.sub(r"[^a-z]+", "-", name.lower()): name for name in LABELS}
    return {by_option[option]: int(value) for option, value in options.items() if option in by_option}
