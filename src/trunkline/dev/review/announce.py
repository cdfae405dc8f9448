"""Stream events of what was done, in the order in which Gerrit tells them."""

import time
from typing import Any

from trunkline.dev.review import describe
from trunkline.dev.review.model import Account, Change, PatchSet
from trunkline.dev.review.site import Site

Json = dict[str, Any]


def ref(site: Site, project: str, name: str, old: str, new: str, by: Account | None) -> None:
    """A branch or tag moved. Deleted tags and refs/meta are only seen by administrators."""
    hidden = (name.startswith("refs/tags/") and set(new) == {"0"}) or name.startswith("refs/meta/")
    event = describe.ref_update(project, name, old, new, by, time.time())
    site.hub.publish(event, lambda account: not hidden or site.may(account, "administrate"))


def change_ref(site: Site, change: Change, name: str, old: str, new: str, by: Account | None) -> None:
    event = describe.ref_update(change.project, name, old, new, by, time.time())
    site.hub.publish(event, lambda account: site.may_see(change, account))


def meta(site: Site, before: str, change: Change, by: Account | None) -> None:
    change_ref(site, change, change.meta_ref, before, change.meta, by)


async def happened(
    site: Site, change: Change, kind: str, head: Json, patchset: PatchSet | None = None, **extra: Any
) -> None:
    """An event of a change: `head` comes first, as Gerrit writes it; patchset None leaves the patch set out."""
    event = dict(head)
    if patchset is not None:
        event["patchSet"] = await describe.patchset(site, change, patchset)
    event["change"] = await describe.event_change(site, change)
    event |= {
        "project": change.project,
        "refName": f"refs/heads/{change.branch}",
        "changeKey": {"id": change.change_id},
        "type": kind,
        "eventCreatedOn": int(time.time()),
    }
    event |= extra
    site.hub.publish(event, lambda account: site.may_see(change, account))


async def patchset_created(site: Site, change: Change) -> None:
    head = {"uploader": describe.account(site.accounts[change.current.uploader])}
    await happened(site, change, "patchset-created", head, change.current)


async def comment_added(
    site: Site,
    change: Change,
    by: Account,
    before: dict[str, int],
    comment: str | None,
    patchset: PatchSet | None = None,
) -> None:
    head: Json = {"author": describe.account(by)}
    patchset = patchset or change.current
    if change.status != "MERGED":
        head["approvals"] = describe.event_approvals(change, by.id, before, patchset.number)
    if comment is not None:
        head["comment"] = comment
    await happened(site, change, "comment-added", head, patchset)


async def merged(site: Site, change: Change, new_tip: str, by: Account) -> None:
    head = {"submitter": describe.account(by), "newRev": new_tip}
    await happened(site, change, "change-merged", head, change.current)


async def reviewer_added(site: Site, change: Change, reviewer: Account, by: Account) -> None:
    head = {"reviewer": describe.account(reviewer), "adder": describe.account(by)}
    await happened(site, change, "reviewer-added", head, change.current)


def project_event(site: Site, kind: str, project: str, **fields: str) -> None:
    event = {"projectName": project, **fields, "type": kind, "eventCreatedOn": int(time.time())}
    site.hub.publish(event, lambda account: True)
