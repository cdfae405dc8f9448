"""The action of pushing: to refs/for (a review), to branches and to tags."""

import time
from collections.abc import Iterable

import msgspec

from trunkline.dev.review import announce, describe
from trunkline.dev.review.magic import BadMessage, Wanted, change_id, wanted
from trunkline.dev.review.model import NO_SHA, Account, Change, PatchSet, Refused, Vote
from trunkline.dev.review.repo import Commit, GitFailed, MergeConflict, Repo
from trunkline.dev.review.review import vote_words
from trunkline.dev.review.rules import LABELS, kept_votes, voting_range
from trunkline.dev.review.site import Site
from trunkline.dev.review.submit import submit

replace = msgspec.structs.replace

_MOST_COMMITS = 500
_KIND_TEXT = {
    "NO_CODE_CHANGE": ": Commit message was updated.",
    "NO_CHANGE": ": New patch set was added with same tree, parent tree, and commit message as Patch Set {before}.",
    "TRIVIAL_REBASE": ": Patch Set {before} was rebased.",
    "TRIVIAL_REBASE_WITH_MESSAGE_UPDATE": ": Patch Set {before} was rebased. Commit message was updated.",
}


class Answer:
    """What the pusher sees: lines, and a status for every ref (None is success)."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.notes: list[str] = []
        self.successes: list[str] = []
        self.report: list[tuple[str, str | None]] = []
        self.new = 0
        self.updated = 0

    def lines(self) -> list[str]:
        counts = [f"refs: {len(self.report)}"]
        counts += [f"new: {self.new}"] if self.new else []
        counts += [f"updated: {self.updated}"] if self.updated else []
        lines = [*self.errors, "", f"Processing changes: {', '.join(counts)}, done", *self.notes]
        return lines + (["", "SUCCESS", "", *self.successes, ""] if self.successes else [])


async def receive(
    site: Site, project: str, by: Account, commands: list[tuple[str, str, str]], options: list[str]
) -> Answer:
    """Do the commands of one push, (old, new, ref) each; the objects are in the repository already."""
    answer = Answer()
    for old, new, ref in commands:
        problem: str | None = None
        try:
            if ref.startswith("refs/for/"):
                await _for_review(site, project, by, new, ref, options, answer)
            else:
                await _direct(site, project, by, old, new, ref)
        except BadMessage as bad:
            problem = bad.problem
            answer.notes += [f"ERROR: {bad.problem}", *bad.hints]
        except Prohibited as prohibited:
            problem = f"prohibited by Gerrit: not permitted: {prohibited.text}"
            hints = [*prohibited.hints, f"User: {by.username}", "Contact an administrator to fix the permissions"]
            answer.errors += [f"error: branch {ref}:", *hints]
        except Refused as refused:
            problem = refused.text
        except GitFailed as failed:
            problem = f"failed to update ref: {failed.text.strip().splitlines()[-1] if failed.text.strip() else failed}"
        answer.report.append((ref, problem))
    return answer


class Prohibited(Exception):
    def __init__(self, text: str, *hints: str) -> None:
        super().__init__(text)
        self.text = text
        self.hints = hints


# ---------------------------------------------------------------------- past review


async def _direct(site: Site, project: str, by: Account, old: str, new: str, ref: str) -> None:
    """Create, move or delete a branch or tag, then close the changes that this brings in."""
    repo = site.repo(project)
    if ref.startswith("refs/heads/"):
        await _check_branch(site, repo, by, old, new, ref)
    elif ref.startswith("refs/tags/"):
        if new == NO_SHA and not site.may(by, "delete tag"):
            raise Prohibited(
                "delete", "You need 'Delete Reference' rights or 'Push' rights with the ", "'Force Push' flag"
            )
        if new != NO_SHA and not site.may(by, "create tag" if old == NO_SHA else "force push"):
            raise Prohibited("create", "You need 'Create' rights to create new references.")
    elif not (ref == "refs/meta/config" and site.may(by, "administrate")):
        hint = "If you are using git-review, update to at least git-review 1.27. Otherwise:"
        hints = [hint] if ref.startswith("refs/publish/") else []
        raise Prohibited("create", *hints, "You need 'Create' rights to create new references.")
    await repo.update_refs({ref: (old, new)})
    announce.ref(site, project, ref, old, new, by)
    if ref.startswith("refs/heads/") and new != NO_SHA:
        await close_landed(site, project, ref.removeprefix("refs/heads/"), old, new, by)


async def _check_branch(site: Site, repo: Repo, by: Account, old: str, new: str, ref: str) -> None:
    if old == NO_SHA:
        if not site.may(by, "create branch"):
            raise Prohibited("create", "You need 'Create' rights to create new references.")
    elif new == NO_SHA:
        if not site.may(by, "delete branch"):
            raise Prohibited("delete", "You need 'Delete Reference' rights or 'Push' rights with the 'Force Push' flag")
    elif not site.may(by, "push"):
        target = ref.removeprefix("refs/heads/")
        hint = f"Push to refs/for/{target} to create a review, or get 'Push' rights to update the branch."
        raise Prohibited("update", hint)
    elif not await repo.is_ancestor(old, new) and not site.may(by, "force push"):
        raise Prohibited("force update", "You need 'Push' rights with 'Force' flag set to do a non-fastforward push.")


async def close_landed(site: Site, project: str, branch: str, old: str, new: str, by: Account) -> None:
    """Changes whose commits a push brought to their branch are merged."""
    repo = site.repo(project)
    excluded = [old] if old != NO_SHA else []
    brought = set(await repo.new_commits(new, excluded)) if old != NO_SHA else set()
    for change in [c for c in site.changes.values() if c.project == project and c.branch == branch and c.is_open]:
        if change.current.sha not in brought:
            continue
        now = float(int(time.time()))
        after = replace(change, status="MERGED", submitted=now, submitter=by.id, submission_id=str(change.number))
        text = f"Change has been successfully pushed into branch {branch}."
        after = site.stage(after, by, f"Update patch set {change.current.number}", text, "autogenerated:gerrit:merged")
        await repo.update_refs({after.meta_ref: (change.meta, after.meta)})
        site.save(after)
        announce.meta(site, change.meta, after, by)
        await announce.merged(site, after, new, by)


# ---------------------------------------------------------------------- for review


class Upload(msgspec.Struct):
    """One commit of a push on its way to become a patch set."""

    commit: Commit
    change_id: str
    before: Change | None
    after: Change | None = None
    kind: str = "REWORK"


async def _for_review(
    site: Site, project: str, by: Account, tip: str, ref: str, options: list[str], answer: Answer
) -> None:
    want = wanted(ref, options)
    _check_votes(site, by, want)
    reviewers = _accounts(site, want.reviewers)
    ccs = _accounts(site, want.ccs)
    if want.submit and not site.may(by, "submit on push"):
        hint = "You need 'Submit' rights on refs/for/ to submit changes during change upload."
        raise Prohibited(f"update by submit on refs/heads/{want.branch}", hint)
    uploads = await _uploads(site, project, by, tip, want)
    for upload in uploads:
        await _make_patchset(site, project, by, upload, want, reviewers, ccs)
    await _store(site, project, by, uploads)
    _tell_pusher(site, uploads, answer)
    await _tell_listeners(site, by, uploads, want, reviewers)
    if want.submit:
        last = uploads[-1].after
        assert last is not None
        await submit(site, last, by, is_forced=True)


def _check_votes(site: Site, by: Account, want: Wanted) -> None:
    for name, value in want.labels:
        span = voting_range(site.groups_of(by), LABELS[name])
        if span is None or not span[0] <= value <= span[1]:
            raise Refused(403, f'applying label "{name}": {value} is restricted')


def _accounts(site: Site, words: Iterable[str]) -> list[Account]:
    found = []
    for word in words:
        try:
            found.append(site.find_account(word))
        except Refused:
            raise Refused(
                400, f"Account '{word}' not found\n{word} does not identify a registered user or group"
            ) from None
    return found


async def _uploads(site: Site, project: str, by: Account, tip: str, want: Wanted) -> list[Upload]:
    """The commits that become patch sets, parents first. Raises Refused or BadMessage."""
    repo = site.repo(project)
    heads = await repo.refs("refs/heads/")
    if f"refs/heads/{want.branch}" not in heads and (heads or await repo.head() != f"refs/heads/{want.branch}"):
        raise Refused(404, f"branch {want.branch} not found")
    commits = await repo.new_commits(tip, heads.values())
    uploads: list[Upload] = []
    for sha in commits:
        known = site.by_sha.get((project, sha))
        if known and site.changes[known[0]].branch == want.branch:
            continue
        uploads.append(await _upload(site, project, by, await repo.commit(sha), want))
    ids = [upload.change_id for upload in uploads]
    if len(set(ids)) < len(ids):
        raise Refused(
            409,
            "same Change-Id in multiple changes.\n"
            "Squash the commits with the same Change-Id or ensure Change-Ids are unique for each commit",
        )
    if not uploads:
        raise Refused(409, "no new changes")
    if len(uploads) > _MOST_COMMITS:
        raise Refused(409, f"the number of pushed changes in a batch exceeds the max limit {_MOST_COMMITS}")
    return uploads


async def _upload(site: Site, project: str, by: Account, commit: Commit, want: Wanted) -> Upload:
    short = commit.sha[:7]
    its_id = change_id(commit.message, short, _hook_hint(site, by))
    if commit.committer.email != by.email and not site.may(by, "forge committer"):
        hints = [
            "The following addresses are currently registered:",
            f"   {by.email}",
            "To register an email address, visit:",
            f"{site.url}/settings#EmailAddresses",
        ]
        text = (
            f"email address {commit.committer.email} is not registered in your account, and you lack 'forge committer'"
        )
        bad = BadMessage(f"commit {short}: invalid committer", hints)
        bad.hints = [f"ERROR: commit {short}: {text} permission.", *hints]
        raise bad
    existing = [
        change
        for change in site.changes.values()
        if change.change_id == its_id and change.project == project and change.branch == want.branch
    ]
    before = existing[0] if existing else None
    if before is not None and not before.is_open:
        raise Refused(409, f"change {site.change_url(before)} closed")
    kind = await _kind(site.repo(project), before.current.sha, commit) if before else "REWORK"
    return Upload(commit=commit, change_id=its_id, before=before, kind=kind)


def _hook_hint(site: Site, by: Account) -> list[str]:
    return [
        "Hint: to automatically insert a Change-Id, install the hook:",
        f"  gitdir=$(git rev-parse --git-dir); scp -p -P {site.ssh_port} {by.username}@{site.ssh_host}:hooks/commit-msg"
        " ${gitdir}/hooks/",
        "(for OpenSSH >= 9.0 you need to add the flag '-O' to the scp command)",
        "or, for http(s):",
        f'  f="$(git rev-parse --git-dir)/hooks/commit-msg"; curl -o "$f" {site.url}/tools/hooks/commit-msg ; chmod +x "$f"',
        "and then amend the commit:",
        "  git commit --amend --no-edit",
        "Finally, push your changes again",
    ]


async def _kind(repo: Repo, old_sha: str, new: Commit) -> str:
    """How a patch set differs from the one before."""
    old = await repo.commit(old_sha)
    same_message = old.message == new.message
    if old.tree == new.tree and await _parent_trees(repo, old) == await _parent_trees(repo, new):
        return "NO_CHANGE" if same_message else "NO_CODE_CHANGE"
    if len(old.parents) == len(new.parents) == 1 and old.parents != new.parents:
        try:
            tree = await repo.rebased_tree(old, new.parents[0])
        except MergeConflict:
            return "REWORK"
        if tree == new.tree:
            return "TRIVIAL_REBASE" if same_message else "TRIVIAL_REBASE_WITH_MESSAGE_UPDATE"
    return "REWORK"


async def _parent_trees(repo: Repo, commit: Commit) -> list[str]:
    return [(await repo.commit(parent)).tree for parent in commit.parents]


async def _make_patchset(
    site: Site,
    project: str,
    by: Account,
    upload: Upload,
    want: Wanted,
    reviewers: list[Account],
    ccs: list[Account],
) -> None:
    """The change as it will be, with its meta commit written; refs and journal follow for all uploads at once."""
    at = float(int(time.time()))
    change = upload.before or Change(
        number=site.next_number(),
        project=project,
        branch=want.branch,
        change_id=upload.change_id,
        owner=by.id,
        created=at,
        updated=at,
    )
    number = len(change.patchsets) + 1
    commit = upload.commit
    patchset = PatchSet(number, commit.sha, commit.parents, by.id, at, upload.kind)
    is_wip = change.is_wip if want.wip is None else want.wip
    votes = kept_votes(change.votes, upload.kind, number) if upload.before else ()
    before = {label: next((v.value for v in votes if (v.label, v.account) == (label, by.id)), 0) for label in LABELS}
    given = dict(want.labels)
    votes = tuple(vote for vote in votes if not (vote.account == by.id and vote.label in given))
    votes += tuple(Vote(label, by.id, value, at, number) for label, value in given.items() if value)
    people = [account.id for account in reviewers] + ([by.id] if given else [])
    after = replace(
        change,
        patchsets=(*change.patchsets, patchset),
        subject=commit.subject,
        topic=change.topic if want.topic is None else want.topic,
        hashtags=tuple(dict.fromkeys((*change.hashtags, *want.hashtags))),
        is_wip=is_wip,
        is_private=change.is_private if want.private is None else want.private,
        has_review_started=(change.has_review_started and upload.before is not None) or not is_wip,
        votes=votes,
        reviewers=tuple(dict.fromkeys((*change.reviewers, *people))),
        ccs=tuple(dict.fromkeys((*change.ccs, *(account.id for account in ccs)))),
    )
    words = vote_words(before, given)
    detail = f": {words}." if words else _KIND_TEXT.get(upload.kind, ".").format(before=number - 1)
    text = f"Uploaded patch set {number}{detail}" + (f"\n\n{want.message}" if want.message else "")
    tag = "autogenerated:gerrit:newWipPatchSet" if is_wip else "autogenerated:gerrit:newPatchSet"
    title = "Create change" if number == 1 else f"Create patch set {number}"
    trailers = {"Change-id": change.change_id, "Subject": commit.subject, "Branch": f"refs/heads/{change.branch}"}
    trailers |= {"Commit": commit.sha}
    upload.after = site.stage(after, by, title, text, tag, trailers, at)


async def _store(site: Site, project: str, by: Account, uploads: list[Upload]) -> None:
    updates: dict[str, tuple[str | None, str]] = {}
    done = [upload.after for upload in uploads if upload.after is not None]
    for change in done:
        updates[change.ref(change.current.number)] = (None, change.current.sha)
        updates[change.meta_ref] = (None, change.meta)
    await site.repo(project).update_refs(updates)
    site.save(*done)


def _tell_pusher(site: Site, uploads: list[Upload], answer: Answer) -> None:
    for upload in uploads:
        change = upload.after
        assert change is not None
        if upload.before is None:
            answer.new += 1
        else:
            answer.updated += 1
            old, new = upload.before.current.sha[:7], upload.commit.sha[:7]
            if upload.kind == "NO_CODE_CHANGE":
                answer.notes.append(f"warning: {new}: no files changed, message updated")
            elif upload.kind == "NO_CHANGE":
                answer.notes.append(f"warning: no changes between prior commit {old} and new commit {new}")
        marks = [
            mark
            for mark, holds in (
                ("[WIP]", change.is_wip),
                ("[PRIVATE]", change.is_private),
                ("[NEW]", not upload.before),
            )
            if holds
        ]
        answer.successes.append("  " + " ".join([site.change_url(change), change.subject, *marks]))


async def _tell_listeners(
    site: Site, by: Account, uploads: list[Upload], want: Wanted, reviewers: list[Account]
) -> None:
    done = [(upload.before, upload.after) for upload in uploads]
    for _, after in done:
        assert after is not None
        announce.change_ref(site, after, after.ref(after.current.number), NO_SHA, after.current.sha, by)
    for before, after in done:
        assert after is not None
        announce.meta(site, before.meta if before else NO_SHA, after, by)
    for before, after in done:
        assert after is not None
        for reviewer in reviewers:
            if before is None or reviewer.id not in before.reviewers:
                await announce.reviewer_added(site, after, reviewer, by)
        await announce.patchset_created(site, after)
        if before is None and after.topic:  # as Gerrit does, with the new topic as the old one
            await _topic_of_new(site, after, by)
        if want.labels:
            old = {label: before.vote(label, by.id) if before else 0 for label in LABELS}
            await announce.comment_added(site, after, by, old, None)


async def _topic_of_new(site: Site, change: Change, by: Account) -> None:
    head = {"changer": describe.account(by), "oldTopic": change.topic}
    await announce.happened(site, change, "topic-changed", head)
