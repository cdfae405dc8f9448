"""Lines of `gerrit stream-events` as trigger events. Pure but for the memory that `EventReader` keeps.

What the recordings taught: ref-updated of a branch comes before change-merged, once for a whole chain; every event of a
change follows the ref-updated of its meta ref, whose commit id is the id of the review message: that names the event.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from trunkline.connections.gerrit.changes import account
from trunkline.connections.model import TriggerEvent, VoteChange

Json = Mapping[str, Any]

_MEMORY = 10_000
_ACTORS = {
    "patchset-created": "uploader",
    "comment-added": "author",
    "change-merged": "submitter",
    "change-abandoned": "abandoner",
    "change-restored": "restorer",
    "topic-changed": "changer",
    "hashtags-changed": "editor",
    "reviewer-added": "reviewer",
    "reviewer-deleted": "reviewer",
    "vote-deleted": "reviewer",
    "wip-state-changed": "changer",
    "private-state-changed": "changer",
    "change-deleted": "deleter",
    "ref-updated": "submitter",
    "draft-published": "uploader",
}
"""Who did it, by type: the field that holds the account. Types that are not here are nothing to us."""

_ONCE_A_PATCHSET = {"patchset-created", "change-merged"}


class EventReader:
    """Turns what the stream says into trigger events, each with its delivery id."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._meta: OrderedDict[int, str] = OrderedDict()
        self._used: OrderedDict[str, int] = OrderedDict()

    def read(self, json: Json) -> TriggerEvent | None:
        """The event, or None where it triggers nothing."""
        kind = json.get("type")
        if kind == "ref-updated":
            return self._ref_updated(json)
        if kind in {"project-created", "project-head-updated"}:
            return self._project_event(json)
        if kind in _ACTORS and "change" in json:
            return self._change_event(json)
        return None

    def _ref_updated(self, json: Json) -> TriggerEvent | None:
        update = json["refUpdate"]
        sent = str(update["refName"])
        if sent.startswith("refs/changes/"):
            if sent.endswith("/meta") and update.get("newRev"):
                _remember(self._meta, int(sent.split("/")[3]), str(update["newRev"]))
            return None
        ref = sent if sent.startswith("refs/") else f"refs/heads/{sent}"
        at = float(json.get("eventCreatedOn", 0))
        return ref_event(
            self._connection,
            update["project"],
            ref,
            update["oldRev"],
            update["newRev"],
            at,
            actor=json.get("submitter"),
            sent_ref=sent if sent != ref else None,
            live=True,
        )

    def _project_event(self, json: Json) -> TriggerEvent:
        head = str(json.get("newHead") or json.get("headName") or "")
        at = float(json.get("eventCreatedOn", 0))
        kind, project = str(json["type"]), str(json["projectName"])
        return TriggerEvent(
            connection=self._connection,
            driver="gerrit",
            delivery=f"{project}:{kind}:{head}@{at:.0f}",
            type=kind,
            project=project,
            at=at,
            default_branch=head.removeprefix("refs/heads/") or None,
        )

    def _change_event(self, json: Json) -> TriggerEvent:
        kind, change, patchset = str(json["type"]), json["change"], json.get("patchSet", {})
        number = int(change["number"])
        at = float(json.get("eventCreatedOn", 0))
        is_merge = kind == "change-merged"
        return TriggerEvent(
            connection=self._connection,
            driver="gerrit",
            delivery=self._delivery(kind, number, patchset, at),
            type=kind,
            project=change["project"],
            at=at,
            branch=change["branch"],
            ref=patchset.get("ref"),
            newrev=json.get("newRev") if is_merge else patchset.get("revision"),
            change=number,
            patchset=int(patchset["number"]) if patchset else None,
            change_url=change.get("url"),
            comment=json.get("comment"),
            patchset_comments=tuple(
                entry["message"] for entry in json.get("patchSetComments", {}).get("/PATCHSET_LEVEL", ())
            ),
            approvals=tuple(_vote(entry) for entry in json.get("approvals", ()) if entry["type"] != "SUBM"),
            account=account(json.get(_ACTORS[kind])),
            reason=json.get("reason"),
            topic=change.get("topic"),
            hashtags=tuple(change.get("hashtags", ())),
            added=tuple(json.get("added", ())),
            removed=tuple(json.get("removed", ())),
            wip=bool(change.get("wip", False)),
        )

    def _delivery(self, kind: str, number: int, patchset: Json, at: float) -> str:
        if kind in _ONCE_A_PATCHSET:
            return f"{number},{patchset.get('number')}:{kind}"
        name = f"{number}:{self._meta.get(number) or f'{at:.0f}'}:{kind}"
        # Two quick reviews may come as meta, meta, comment, comment: both would claim the second meta.
        times = self._used.get(name, 0)
        _remember(self._used, name, times + 1)
        return name if times == 0 else f"{name}:{times + 1}"


def ref_event(
    connection: str,
    project: str,
    ref: str,
    oldrev: str,
    newrev: str,
    at: float,
    *,
    actor: Json | None = None,
    sent_ref: str | None = None,
    live: bool = False,
) -> TriggerEvent:
    """A ref moved. `live` is false where it was found by comparing, when nobody knows the time."""
    return TriggerEvent(
        connection=connection,
        driver="gerrit",
        delivery=f"{project}:{ref}:{oldrev}..{newrev}" + (f"@{at:.0f}" if live else ""),
        type="ref-updated",
        project=project,
        at=at,
        branch=ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None,
        ref=ref,
        sent_ref=sent_ref,
        oldrev=oldrev,
        newrev=newrev,
        account=account(actor) if actor else None,
    )


def _vote(entry: Json) -> VoteChange:
    old = entry.get("oldValue")
    return VoteChange(label=entry["type"], value=int(entry["value"]), old=int(old) if old is not None else None)


def _remember(memory: "OrderedDict[Any, Any]", key: Any, value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > _MEMORY:
        memory.popitem(last=False)
