"""Gerrit's descriptions of a change as ours. Pure."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from trunkline.connections.footers import depends_on_urls
from trunkline.connections.gerrit.filters import requirement
from trunkline.connections.gerrit.settings import GerritSettings
from trunkline.connections.gerrit.times import from_rest
from trunkline.connections.model import Account, Approval, ChangeInfo

Json = Mapping[str, Any]

REST_OPTIONS = (
    "DETAILED_ACCOUNTS",
    "CURRENT_REVISION",
    "CURRENT_COMMIT",
    "CURRENT_FILES",
    "LABELS",
    "DETAILED_LABELS",
    "ALL_REVISIONS",
    "SUBMIT_REQUIREMENTS",
)
SSH_OPTIONS = (
    "--format json --all-approvals --comments --commit-message --current-patch-set --dependencies --files --patch-sets"
    " --submit-records"
)

_PSEUDO_FILES = {"/COMMIT_MSG", "/MERGE_LIST", "/PATCHSET_LEVEL"}
_CHANGE_PATH = re.compile(r"^/(?:#/c/|c/(?:.+/\+/)?)?(\d+)(?:[/,?].*)?/?$")


class Here:
    """What every description needs to know of the connection it came from."""

    def __init__(self, name: str, settings: GerritSettings) -> None:
        self.name = name
        self.settings = settings
        self._base = urlsplit(settings.baseurl)
        self._hosts = {settings.server, settings.canonical_hostname, self._base.hostname}

    def url(self, project: str, number: int) -> str:
        return f"{self.settings.baseurl}/c/{project}/+/{number}"

    def uris(self, project: str, number: int) -> tuple[str, ...]:
        """All spellings of a change's URL, without scheme (people write either)."""
        places = dict.fromkeys(
            (self._base.netloc + self._base.path, self.settings.server, self.settings.canonical_hostname)
        )
        return tuple(
            f"{place}/{form}" for place in places for form in (f"c/{project}/+/{number}", f"#/c/{number}", str(number))
        )

    def number_of(self, url: str) -> int | None:
        """The change that a URL names: BASE/N, BASE/#/c/N, BASE/c/N and BASE/c/PROJECT/+/N[/PS]."""
        parts = urlsplit(url if "://" in url else f"https://{url}")
        if parts.hostname not in self._hosts:
            return None
        path = parts.path + (f"#{parts.fragment}" if parts.fragment else "")
        base = self._base.path.rstrip("/")
        if base and path.startswith(base + "/"):
            path = path[len(base) :]
        found = _CHANGE_PATH.match(path)
        return int(found[1]) if found else None


def account(json: Json | None) -> Account:
    json = json or {}
    return Account(name=json.get("name", ""), email=json.get("email", ""), username=json.get("username", ""))


def from_rest_json(here: Here, json: Json, patchset: int | None = None, commit: Json | None = None) -> ChangeInfo:
    """A ChangeInfo asked with REST_OPTIONS. `commit` is needed for another than the current patch set."""
    current = json["current_revision"]
    sha = current
    if patchset is not None:
        sha = next(sha for sha, revision in json["revisions"].items() if revision["_number"] == patchset)
    revision = json["revisions"][sha]
    is_current = sha == current
    commit = commit or revision.get("commit") or {}
    message = commit.get("message", "")
    number, project = json["_number"], json["project"]
    return ChangeInfo(
        connection=here.name,
        driver="gerrit",
        hostname=here.settings.canonical_hostname,
        project=project,
        branch=json["branch"],
        number=number,
        patchset=revision["_number"],
        ref=revision["ref"],
        commit=sha,
        parents=tuple(parent["commit"] for parent in commit.get("parents", ())),
        change_id=json["change_id"],
        subject=str(commit.get("subject", json["subject"])),
        message=message,
        owner=account(json.get("owner")),
        url=here.url(project, number),
        status=json["status"],
        is_current_patchset=is_current,
        topic=json.get("topic"),
        hashtags=tuple(json.get("hashtags", ())),
        wip=json.get("work_in_progress", False),
        private=json.get("is_private", False),
        files=tuple(sorted(set(revision.get("files", ())) - _PSEUDO_FILES)),
        approvals=_approvals_from_rest(json) if is_current else (),
        submit_requirements=tuple(
            requirement(
                entry["name"], entry["status"], entry.get("submittability_expression_result", {}).get("expression", "")
            )
            for entry in json.get("submit_requirements", ())
        ),
        missing_labels=() if "submit_requirements" in json else _missing_in_rest(json),
        depends_on=depends_on_urls(message),
        uris=here.uris(project, number),
        created=from_rest(json.get("created")),
        updated=from_rest(json.get("updated")),
    )


def _approvals_from_rest(json: Json) -> tuple[Approval, ...]:
    return tuple(
        Approval(label=label, value=vote["value"], by=account(vote), granted_on=from_rest(vote.get("date")))
        for label, votes in json.get("labels", {}).items()
        for vote in votes.get("all", ())
        if vote.get("value")
    )


def _missing_in_rest(json: Json) -> tuple[str, ...]:
    """Before submit requirements a label blocked by itself: neither approved nor marked optional, or rejected."""
    return tuple(
        label
        for label, votes in json.get("labels", {}).items()
        if not votes.get("optional") and ("approved" not in votes or "rejected" in votes)
    )


def from_ssh_json(here: Here, json: Json, patchset: int | None = None) -> ChangeInfo:
    """A line of `gerrit query` asked with SSH_OPTIONS."""
    current = json["currentPatchSet"]
    chosen = current
    if patchset is not None and patchset != int(current["number"]):
        chosen = next(entry for entry in json["patchSets"] if int(entry["number"]) == patchset)
    is_current = chosen is current
    number, project, message = int(json["number"]), json["project"], json.get("commitMessage", "")
    return ChangeInfo(
        connection=here.name,
        driver="gerrit",
        hostname=here.settings.canonical_hostname,
        project=project,
        branch=json["branch"],
        number=number,
        patchset=int(chosen["number"]),
        ref=chosen["ref"],
        commit=chosen["revision"],
        parents=tuple(chosen.get("parents", ())),
        change_id=json["id"],
        subject=json.get("subject", ""),
        message=message,
        owner=account(json.get("owner")),
        url=here.url(project, number),
        status=json["status"],
        is_current_patchset=is_current,
        topic=json.get("topic"),
        hashtags=tuple(json.get("hashtags", ())),
        wip=json.get("wip", False),
        private=json.get("private", False),
        files=tuple(sorted({entry["file"] for entry in chosen.get("files", ())} - _PSEUDO_FILES)),
        approvals=tuple(
            Approval(
                label=entry["type"],
                value=int(entry["value"]),
                by=account(entry.get("by")),
                granted_on=float(entry.get("grantedOn", 0)),
            )
            for entry in (chosen.get("approvals", ()) if is_current else ())
            if entry["type"] != "SUBM" and int(entry["value"])
        ),
        missing_labels=_missing_in_records(json),
        depends_on=depends_on_urls(message),
        uris=here.uris(project, number),
        created=float(json.get("createdOn", 0)),
        updated=float(json.get("lastUpdated", 0)),
    )


def _missing_in_records(json: Json) -> tuple[str, ...]:
    """Labels that block by themselves. Newer servers say OK for everything: only REST tells what they still want."""
    records = json.get("submitRecords", ())
    return tuple(
        dict.fromkeys(
            label["label"]
            for record in records
            if record.get("status") != "OK"
            for label in record.get("labels", ())
            if label.get("status") in {"NEED", "REJECT", "IMPOSSIBLE"}
        )
    )


def with_files(info: ChangeInfo, files: Json) -> ChangeInfo:
    """The change with the files of an answer of `…/files`."""
    return msgspec.structs.replace(info, files=tuple(sorted(set(files) - _PSEUDO_FILES)))


def relatives(answer: Json, commit: str, parents: tuple[str, ...], up: bool) -> list[tuple[int, int]]:
    """(number, patch set) of those in an answer of `…/related` that are one step up or down from the commit."""
    found = []
    for entry in answer.get("changes", ()):
        its = entry["commit"]
        is_parent = its["commit"] in parents
        is_child = any(parent["commit"] == commit for parent in its.get("parents", ()))
        if (is_parent if up else is_child) and "_change_number" in entry:
            found.append((int(entry["_change_number"]), int(entry["_revision_number"])))
    return found


def names_one_of(urls: tuple[str, ...], uris: list[str]) -> bool:
    """Whether one of the Depends-On URLs is a spelling of one of the URIs (which are written without a scheme)."""
    wanted = {uri.partition("://")[2] or uri for uri in uris}
    return any(_bare(url) in wanted for url in urls)


def _bare(url: str) -> str:
    """A change's URL without scheme, patch set and trailing slash."""
    place = url.partition("://")[2] or url
    return re.sub(r"^(.*?/(?:#/c/|c/(?:.+/\+/)?)?\d+)(?:[/,].*)?$", r"\1", place)


_TAGS = (
    ("Uploaded patch set", "autogenerated:gerrit:newPatchSet"),
    ("Abandoned", "autogenerated:gerrit:abandon"),
    ("Restored", "autogenerated:gerrit:restore"),
    ("Change has been successfully", "autogenerated:gerrit:merged"),
    ("Patch Set", ""),
)
_PATCHSET = re.compile(r"^(?:Uploaded patch set|Patch Set) (\d+)")


def tag_of(message: str) -> str:
    """The tag that a review message would have over REST; over SSH only its words tell."""
    return next((tag for start, tag in _TAGS if message.startswith(start)), "autogenerated:gerrit:other")


def patchset_of(message: str) -> int:
    found = _PATCHSET.match(message)
    return int(found[1]) if found else 1
