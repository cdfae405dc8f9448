"""REST below /changes/."""

import base64
import html
from typing import Any
from urllib.parse import unquote

from trunkline.dev.review import describe_rest as shape
from trunkline.dev.review import lifecycle, query
from trunkline.dev.review.model import Change, PatchSet, Refused, not_found
from trunkline.dev.review.repo import MergeConflict
from trunkline.dev.review.rest import NOTHING, Answer, Asked, Raw, route
from trunkline.dev.review.review import post_review
from trunkline.dev.review.submit import submit, submitted_together

_PAGE = 500


def _change(asked: Asked) -> Change:
    return asked.site.find_change(asked.parts["change"], asked.account)


def _patchset(asked: Asked, change: Change) -> PatchSet:
    word = asked.parts["revision"]
    for patchset in change.patchsets:
        if word in {"current", "0"} and patchset is not change.current:
            continue
        if word in {"current", str(patchset.number)} or (len(word) >= 4 and patchset.sha.startswith(word)):
            return patchset
    raise not_found(word)


async def _shown(asked: Asked, change: Change, *options: str) -> Answer:
    return Answer(await shape.change(asked.site, change, asked.options | set(options), asked.account))


# ---------------------------------------------------------------------- finding


@route("GET", "changes")
async def find(asked: Asked) -> Answer:
    texts = [value for key, value in asked.query if key in {"q", "query"}]
    answers = [await _found(asked, text) for text in texts or ["status:open"]]
    return Answer(answers if len(answers) > 1 else answers[0])


async def _found(asked: Asked, text: str) -> list[dict[str, Any]]:
    found, limit = await query.run(asked.site, text, asked.account)
    start = int(asked.one("start", "S") or 0)
    size = min(limit or _PAGE, int(asked.one("n", "limit") or _PAGE))
    shown = found[start : start + size]
    page = [await shape.change(asked.site, change, asked.options, asked.account) for change in shown]
    if page and len(found) > start + len(page):
        page[-1]["_more_changes"] = True
    return page


@route("GET", "changes/{change}")
async def one(asked: Asked) -> Answer:
    return await _shown(asked, _change(asked))


@route("GET", "changes/{change}/detail")
async def detail(asked: Asked) -> Answer:
    return await _shown(asked, _change(asked), "LABELS", "DETAILED_LABELS", "DETAILED_ACCOUNTS", "MESSAGES")


@route("GET|POST", "changes/{change}/check")
async def check(asked: Asked) -> Answer:
    return await _shown(asked, _change(asked))


@route("GET", "changes/{change}/messages")
async def messages(asked: Asked) -> Answer:
    return Answer([shape.message(asked.site, message) for message in _change(asked).messages])


@route("GET", "changes/{change}/comments")
async def comments(asked: Asked) -> Answer:
    return Answer(_by_path(asked, _change(asked), None))


@route("GET", "changes/{change}/revisions/{revision}/comments")
async def revision_comments(asked: Asked) -> Answer:
    change = _change(asked)
    return Answer(_by_path(asked, change, _patchset(asked, change)))


def _by_path(asked: Asked, change: Change, patchset: PatchSet | None) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    kept = [comment for comment in change.comments if patchset is None or comment.patchset == patchset.number]
    for comment in sorted(kept, key=lambda comment: (comment.path, comment.line or 0, comment.at)):
        found.setdefault(comment.path, []).append(shape.comment(asked.site, change, comment))
    return found


@route("GET", "changes/{change}/submitted_together")
async def together(asked: Asked) -> Answer:
    change = _change(asked)
    try:
        changes = await submitted_together(asked.site, change) if change.is_open else []
    except Refused:
        changes = [change]
    shown = []
    if len(changes) > 1:
        options = asked.options | {"CURRENT_REVISION", "SUBMITTABLE"}
        shown = [await shape.change(asked.site, entry, options, asked.account) for entry in reversed(changes)]
    if "NON_VISIBLE_CHANGES" in asked.options:
        return Answer({"changes": shown, "non_visible_changes": 0})
    return Answer(shown)


@route("GET", "changes/{change}/in")
async def included_in(asked: Asked) -> Answer:
    change = _change(asked)
    repo = asked.site.repo(change.project)
    out = await repo.git("for-each-ref", "--format=%(refname)", f"--contains={change.current.sha}")
    heads, tags = "refs/heads/", "refs/tags/"
    return Answer(
        {
            "branches": [ref.removeprefix(heads) for ref in out.split() if ref.startswith(heads)],
            "tags": [ref.removeprefix(tags) for ref in out.split() if ref.startswith(tags)],
        }
    )


# ---------------------------------------------------------------------- revisions


@route("GET", "changes/{change}/revisions/{revision}/related")
async def related(asked: Asked) -> Answer:
    change = _change(asked)
    entries = await _relatives(asked, change, _patchset(asked, change))
    return Answer({"changes": entries if len(entries) > 1 else []})


async def _relatives(asked: Asked, change: Change, patchset: PatchSet) -> list[dict[str, Any]]:
    """The chain through a patch set, newest first."""
    site = asked.site
    repo = site.repo(change.project)
    above: list[tuple[Change, int]] = []
    waiting = list(patchset.parents)
    while waiting:
        found = site.by_sha.get((change.project, waiting.pop(0)))
        if found and (found[0], found[1]) not in [(c.number, n) for c, n in above]:
            other = site.changes[found[0]]
            if other.status == "MERGED" and change.is_open:
                continue
            above.append((other, found[1]))
            waiting += other.patchsets[found[1] - 1].parents
    below: list[tuple[Change, int]] = []
    tips = {patchset.sha}
    for other in sorted(site.changes.values(), key=lambda other: other.number):
        mine = other.project == change.project and other.number != change.number
        if mine and tips & set(other.current.parents) and (other.is_open or not change.is_open):
            tips.add(other.current.sha)
            below.append((other, other.current.number))
    chain = [*reversed(below), (change, patchset.number), *above]
    return [
        shape.related_entry(entry, number, await repo.commit(entry.patchsets[number - 1].sha))
        for entry, number in chain
    ]


@route("GET", "changes/{change}/revisions/{revision}/commit")
async def commit(asked: Asked) -> Answer:
    change = _change(asked)
    return Answer(await shape.commit(asked.site, change.project, _patchset(asked, change).sha))


@route("GET", "changes/{change}/revisions/{revision}/files")
async def files(asked: Asked) -> Answer:
    change = _change(asked)
    parent = int(asked.one("parent") or 0)
    return Answer(await shape.files(asked.site, change, _patchset(asked, change), parent))


@route("GET", "changes/{change}/revisions/{revision}/patch")
async def patch(asked: Asked) -> Raw:
    change = _change(asked)
    text = await asked.site.repo(change.project).git("format-patch", "-1", "--stdout", _patchset(asked, change).sha)
    return Raw(base64.b64encode(text.encode()))


@route("GET", "changes/{change}/revisions/{revision}/mergeable")
async def mergeable(asked: Asked) -> Answer:
    change = _change(asked)
    repo = asked.site.repo(change.project)
    tip = await repo.ref(f"refs/heads/{change.branch}")
    sha = _patchset(asked, change).sha
    is_merged = bool(tip and await repo.is_ancestor(sha, tip))
    merges = True
    try:
        if tip and not is_merged:
            await repo.merge(tip, sha)
    except MergeConflict:
        merges = False
    submit_type = asked.site.projects[change.project].submit_type
    answer = {"submit_type": submit_type, "strategy": "recursive", "mergeable": merges and not is_merged}
    return Answer(answer | {"commit_merged": is_merged, "content_merged": is_merged})


@route("POST", "changes/{change}/revisions/{revision}/review")
async def review(asked: Asked) -> Answer:
    by, change = asked.by, _change(asked)
    answer = await post_review(asked.site, change, _patchset(asked, change), by, asked.fields)
    after = asked.site.changes[change.number]
    return Answer(answer | {"change_info": await shape.change(asked.site, after, frozenset(), by)})


@route("POST", "changes/{change}/submit")
async def land(asked: Asked) -> Answer:
    by, change = asked.by, _change(asked)
    return await _shown(asked, await submit(asked.site, change, by))


@route("POST", "changes/{change}/revisions/{revision}/submit")
async def land_revision(asked: Asked) -> Answer:
    by, change = asked.by, _change(asked)
    patchset = _patchset(asked, change)
    if change.is_open and patchset is not change.current:
        raise Refused(409, f"revision {patchset.sha} is not current revision")
    return await _shown(asked, await submit(asked.site, change, by))


# ---------------------------------------------------------------------- life of a change


@route("POST", "changes/{change}/abandon")
async def abandon(asked: Asked) -> Answer:
    text = str(asked.fields.get("message", ""))
    return await _shown(asked, await lifecycle.abandon(asked.site, _change(asked), asked.by, text))


@route("POST", "changes/{change}/restore")
async def restore(asked: Asked) -> Answer:
    text = str(asked.fields.get("message", ""))
    return await _shown(asked, await lifecycle.restore(asked.site, _change(asked), asked.by, text))


@route("POST", "changes/{change}/rebase")
async def rebase(asked: Asked) -> Answer:
    base = asked.fields.get("base")
    after = await lifecycle.rebase(asked.site, _change(asked), asked.by, base)
    return await _shown(asked, after, "CURRENT_REVISION", "CURRENT_COMMIT")


@route("POST", "changes/{change}/revisions/{revision}/rebase")
async def rebase_revision(asked: Asked) -> Answer | Raw:
    return await rebase(asked)


@route("DELETE", "changes/{change}")
async def delete(asked: Asked) -> Answer:
    await lifecycle.delete(asked.site, _change(asked), asked.by)
    return NOTHING


@route("GET", "changes/{change}/topic")
async def topic(asked: Asked) -> Answer:
    return Answer(_change(asked).topic)


@route("PUT|DELETE", "changes/{change}/topic")
async def set_topic(asked: Asked) -> Answer:
    text = "" if asked.method == "DELETE" else str(asked.fields.get("topic", ""))
    await lifecycle.set_topic(asked.site, _change(asked), asked.by, text.strip())
    return Answer(text.strip()) if text.strip() else NOTHING


@route("GET", "changes/{change}/hashtags")
async def hashtags(asked: Asked) -> Answer:
    return Answer(sorted(_change(asked).hashtags))


@route("POST", "changes/{change}/hashtags")
async def set_hashtags(asked: Asked) -> Answer:
    add, remove = asked.fields.get("add", ()), asked.fields.get("remove", ())
    after = await lifecycle.set_hashtags(asked.site, _change(asked), asked.by, add, remove)
    return Answer(sorted(after.hashtags))


@route("POST", "changes/{change}/{flag}")
async def flag(asked: Asked) -> Answer:
    text = str(asked.fields.get("message", ""))
    match asked.parts["flag"]:
        case "wip" | "ready" as word:
            await lifecycle.set_wip(asked.site, _change(asked), asked.by, word == "wip", text)
            return Answer("")
        case "private":
            change = _change(asked)
            await lifecycle.set_private(asked.site, change, asked.by, True, text)
            return Answer("", 200 if change.is_private else 201)
        case "reviewers":
            return await _add_reviewer(asked)
        case other:
            raise not_found(other)


@route("DELETE", "changes/{change}/private")
async def unset_private(asked: Asked) -> Answer:
    await lifecycle.set_private(asked.site, _change(asked), asked.by, False)
    return NOTHING


@route("GET|PUT", "changes/{change}/message")
async def message(asked: Asked) -> Answer:
    change = _change(asked)
    if asked.method == "PUT":
        await lifecycle.set_message(asked.site, change, asked.by, str(asked.fields.get("message", "")))
        return Answer("ok")
    value = await asked.site.repo(change.project).commit(change.current.sha)
    subject, _, rest_of_it = value.message.partition("\n")
    return Answer({"subject": subject, "full_message": value.message, "footers": {}, "body": html.escape(rest_of_it)})


# ---------------------------------------------------------------------- reviewers


@route("GET", "changes/{change}/reviewers")
async def reviewers(asked: Asked) -> Answer:
    change = _change(asked)
    return Answer([_reviewer(asked, change, number) for number in change.reviewers])


def _reviewer(asked: Asked, change: Change, number: int) -> dict[str, Any]:
    votes = {vote.label: f"{vote.value:+d}" for vote in change.votes if vote.account == number and vote.value}
    return {"approvals": votes} | shape.account(asked.site, number, True)


async def _add_reviewer(asked: Asked) -> Answer:
    change, word = _change(asked), str(asked.fields.get("reviewer", ""))
    by = asked.by
    try:
        account = asked.site.find_account(word)
    except Refused:
        text = f"Account '{word}' not found\n{word} does not identify a registered user or group"
        return Answer({"input": word, "error": text}, 400)
    is_cc = asked.fields.get("state") == "CC"
    after = await lifecycle.add_reviewer(asked.site, change, by, account, is_cc)
    key = "ccs" if is_cc else "reviewers"
    entries = [] if after is change else [_reviewer(asked, after, account.id)]
    return Answer({"input": word, key: entries})


@route("DELETE", "changes/{change}/reviewers/{account}")
async def remove_reviewer(asked: Asked) -> Answer:
    account = asked.site.find_account(asked.parts["account"], asked.account)
    await lifecycle.remove_reviewer(asked.site, _change(asked), asked.by, account)
    return NOTHING


@route("POST", "changes/{change}/reviewers/{account}/delete")
async def remove_reviewer_by_post(asked: Asked) -> Answer | Raw:
    return await remove_reviewer(asked)


@route("DELETE", "changes/{change}/reviewers/{account}/votes/{label}")
async def delete_vote(asked: Asked) -> Answer:
    voter = asked.site.find_account(asked.parts["account"], asked.account)
    await lifecycle.delete_vote(asked.site, _change(asked), asked.by, voter, unquote(asked.parts["label"]))
    return NOTHING
