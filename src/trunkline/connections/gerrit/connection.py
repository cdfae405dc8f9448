"""The Gerrit driver: the room's protocol on a Gerrit server."""

import json
import shlex
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import structlog

from trunkline.connections.gerrit import changes as said
from trunkline.connections.gerrit.reconcile import RECONCILE_OPTIONS, has_comments, missed_events
from trunkline.connections.gerrit.rest import RestClient, RestRefusal, segment
from trunkline.connections.gerrit.settings import GerritSettings
from trunkline.connections.gerrit.ssh import SshClient
from trunkline.connections.gerrit.stream import Listener
from trunkline.connections.gerrit.times import for_query
from trunkline.connections.gitrefs import RemoteRefs, list_refs
from trunkline.connections.model import (
    ChangeInfo,
    ChangeNotFound,
    ConnectionFailed,
    Emit,
    FileComment,
    GitAccess,
    Keep,
    LandingRefused,
    Position,
    Report,
    ReportRefused,
    TriggerEvent,
)

log = structlog.get_logger()

_PAGE = 500
_URIS_A_QUERY = 12
Json = Mapping[str, Any]


class GerritConnection:
    """Speaks REST where a password is set, and SSH for events and everything else."""

    driver = "gerrit"

    def __init__(self, name: str, settings: GerritSettings) -> None:
        self.name = name
        self.settings = settings
        self.canonical_hostname = settings.canonical_hostname
        self._here = said.Here(name, settings)
        self._ssh = SshClient(name, settings)
        self._rest = RestClient(name, settings) if settings.password else None
        self.listener = Listener(name, self._ssh, self._missed, self._ref_objects)

    async def listen(self, emit: Emit, since: Position | None = None, keep: Keep | None = None) -> None:
        await self.listener.listen(emit, since, keep, self.settings.stream_events)

    def watch(self, projects: Iterable[str]) -> None:
        self.listener.watch(projects)

    async def close(self) -> None:
        if self._rest:
            await self._rest.close()
        await self._ssh.close()

    # ------------------------------------------------------------------ changes

    async def change(self, number: int, patchset: int | None = None) -> ChangeInfo:
        if self._rest is None:
            return await self._change_by_ssh(number, patchset)
        query = [("o", option) for option in said.REST_OPTIONS]
        try:
            json = await self._rest.get(f"changes/{number}", query)
            return await self._described(json, patchset)
        except RestRefusal as refusal:
            if refusal.status == 404:
                raise ChangeNotFound(f"{self.name}: change {number}: {refusal.text}") from refusal
            raise ConnectionFailed(f"{self.name}: change {number}: {refusal}") from refusal

    async def _described(self, json: Json, patchset: int | None = None) -> ChangeInfo:
        """A change's answer completed: another patch set's commit and files, and what a merge commit brings."""
        assert self._rest is not None
        current, number = json["current_revision"], json["_number"]
        revision = json["revisions"][current]
        if patchset is not None and not any(r["_number"] == patchset for r in json["revisions"].values()):
            raise ChangeNotFound(f"{self.name}: change {number} has no patch set {patchset}")
        commit, files_query = revision.get("commit"), None
        if patchset is not None and patchset != revision["_number"]:
            commit = await self._rest.get(f"changes/{number}/revisions/{patchset}/commit")
            files_query = []
        if commit and len(commit.get("parents", ())) > 1:
            files_query = [("parent", "1")]
        info = said.from_rest_json(self._here, json, patchset, commit)
        if files_query is None:
            return info
        files = await self._rest.get(f"changes/{number}/revisions/{info.patchset}/files", files_query)
        return said.with_files(info, files)

    async def _change_by_ssh(self, number: int, patchset: int | None) -> ChangeInfo:
        found = await self._query_by_ssh(f"change:{number}")
        if not found:
            raise ChangeNotFound(f"{self.name}: change {number}")
        try:
            return said.from_ssh_json(self._here, found[0], patchset)
        except StopIteration:
            raise ChangeNotFound(f"{self.name}: change {number} has no patch set {patchset}") from None

    async def query(self, text: str) -> list[ChangeInfo]:
        """All changes that a Gerrit query finds, newest first, at their current patch sets."""
        if self._rest is None:
            return [said.from_ssh_json(self._here, json) for json in await self._query_by_ssh(text)]
        return [await self._described(json) for json in await self._query_by_rest(text, said.REST_OPTIONS)]

    async def _query_by_rest(self, text: str, options: Iterable[str]) -> list[Json]:
        assert self._rest is not None
        found: list[Json] = []
        while True:
            query = [("n", str(_PAGE)), ("q", text), *(("o", option) for option in options)]
            if found:
                query.append(("start", str(len(found))))
            try:
                page = await self._rest.get("changes/", query)
            except RestRefusal as refusal:
                raise ConnectionFailed(f"{self.name}: query {text}: {refusal}") from refusal
            found += page
            if not page or not page[-1].get("_more_changes"):
                return found

    async def _query_by_ssh(self, text: str) -> list[Json]:
        found: list[Json] = []
        while True:
            start = f" --start {len(found)}" if found else ""
            answer = await self._ssh.run(f"gerrit query {said.SSH_OPTIONS}{start} -- {shlex.quote(text)}")
            if answer.status:
                raise ConnectionFailed(f"{self.name}: query {text}: {answer.stderr.strip()}")
            *changes, stats = [json.loads(line) for line in answer.stdout.splitlines()] or [{}]
            if stats.get("type") == "error":
                raise ConnectionFailed(f"{self.name}: query {text}: {stats.get('message')}")
            found += changes
            if not stats.get("moreChanges") or not changes:
                return found

    # ------------------------------------------------------------------ dependencies

    async def dependencies(self, change: ChangeInfo) -> list[ChangeInfo]:
        return [
            parent
            for number, patchset in await self._relatives(change, parents=True)
            if not (parent := await self.change(number, patchset)).is_merged
        ]

    async def needed_by(self, change: ChangeInfo) -> list[ChangeInfo]:
        found = [await self.change(number) for number, _ in await self._relatives(change, parents=False)]
        return [child for child in found if child.is_open and change.commit in child.parents]

    async def _relatives(self, change: ChangeInfo, parents: bool) -> list[tuple[int, int]]:
        """(number, patch set) of the changes one step up or down the commit's history."""
        if self._rest is None:
            found = await self._query_by_ssh(f"change:{change.number}")
            entries = found[0].get("dependsOn" if parents else "neededBy", ()) if found else ()
            return [(int(entry["number"]), int(entry["ref"].rsplit("/", 1)[1])) for entry in entries]
        try:
            answer = await self._rest.get(f"changes/{change.number}/revisions/{change.commit}/related")
        except RestRefusal as refusal:
            raise ConnectionFailed(f"{self.name}: relatives of {change.number}: {refusal}") from refusal
        return said.relatives(answer, change.commit, change.parents, parents)

    async def dependents(self, uris: Iterable[str]) -> list[ChangeInfo]:
        wanted, found = list(dict.fromkeys(uris)), dict[int, ChangeInfo]()
        for start in range(0, len(wanted), _URIS_A_QUERY):
            words = " OR ".join(f"message:{{{uri}}}" for uri in wanted[start : start + _URIS_A_QUERY])
            for change in await self.query(f"status:open ({words})"):
                found[change.number] = change
        return [change for change in found.values() if said.names_one_of(change.depends_on, wanted)]

    async def by_topic(self, topic: str) -> list[ChangeInfo]:
        return [change for change in await self.query(f"status:open topic:{{{topic}}}") if change.topic == topic]

    async def open_changes(self, project: str) -> list[ChangeInfo]:
        return [
            change for change in await self.query(f"status:open project:{{{project}}}") if change.project == project
        ]

    def number_of(self, url: str) -> int | None:
        return self._here.number_of(url)

    async def submits_whole_topic(self) -> bool:
        if self._rest is None:
            return False
        try:
            info = await self._rest.get("config/server/info")
        except RestRefusal as refusal:
            raise ConnectionFailed(f"{self.name}: {refusal}") from refusal
        return bool(info.get("change", {}).get("submit_whole_topic", False))

    # ------------------------------------------------------------------ git

    def git_source(self, project: str) -> GitAccess:
        settings = self.settings
        if settings.password and not settings.git_over_ssh:
            return GitAccess(
                url=f"{settings.baseurl}/a/{quote(project)}",
                http_user=settings.user,
                http_password=settings.password,
                env={} if settings.verify_ssl else {"GIT_SSL_NO_VERIFY": "1"},
            )
        return GitAccess(
            url=f"ssh://{quote(settings.user)}@{settings.ssh_server}:{settings.port}/{quote(project)}",
            ssh_key=settings.sshkey,
            ssh_port=settings.port,
            ssh_user=settings.user,
        )

    async def _remote(self, project: str) -> RemoteRefs:
        return await list_refs(self.git_source(project))

    async def _ref_objects(self, project: str) -> dict[str, str]:
        return (await self._remote(project)).objects

    async def branches(self, project: str) -> dict[str, str]:
        heads = "refs/heads/"
        tips = (await self._remote(project)).tips
        return {ref.removeprefix(heads): tip for ref, tip in tips.items() if ref.startswith(heads)}

    async def refs(self, project: str) -> dict[str, str]:
        return (await self._remote(project)).tips

    async def default_branch(self, project: str) -> str:
        if self._rest is not None:
            try:
                head = await self._rest.get(f"projects/{segment(project)}/HEAD")
                return str(head).removeprefix("refs/heads/")
            except RestRefusal as refusal:
                log.info("gerrit.head.refused", connection=self.name, project=project, error=str(refusal))
        return (await self._remote(project)).head or "master"

    async def projects(self) -> list[str]:
        if self._rest is not None:
            try:
                return sorted(await self._rest.get("projects/"))
            except RestRefusal as refusal:
                raise ConnectionFailed(f"{self.name}: {refusal}") from refusal
        answer = await self._ssh.run("gerrit ls-projects")
        if answer.status:
            raise ConnectionFailed(f"{self.name}: {answer.stderr.strip()}")
        return answer.stdout.split()

    # ------------------------------------------------------------------ reports and landing

    async def report(self, report: Report) -> None:
        change = await self.change(report.number, report.patchset)
        review = self._review(report, change)
        if self._rest is None:
            where = f"--project {shlex.quote(report.project)} --json {report.number},{report.patchset}"
            answer = await self._ssh.run(f"gerrit review {where}", json.dumps(review))
            if answer.status:
                raise ReportRefused(answer.stderr.strip())
            return
        try:
            await self._rest.post(f"changes/{_id(change)}/revisions/{change.commit}/review", review)
        except RestRefusal as refusal:
            raise ReportRefused(refusal.text) from refusal

    def _review(self, report: Report, change: ChangeInfo) -> dict[str, Any]:
        """The review as Gerrit takes it. Votes and line comments only make sense on the current patch set."""
        review: dict[str, Any] = {"message": report.message, "tag": report.tag, "strict_labels": False}
        if report.notify:
            review["notify"] = report.notify
        if not change.is_current_patchset:
            return review
        if report.labels:
            review["labels"] = dict(report.labels)
        known = {*change.files, "/COMMIT_MSG"}
        if unknown := sorted(report.comments.keys() - known):
            log.warning("gerrit.report.unknown_files", connection=self.name, change=change.key, files=unknown)
        comments = {path: [_comment(c) for c in found] for path, found in report.comments.items() if path in known}
        if comments:
            review["comments"] = comments
        return review

    async def land(self, change: ChangeInfo) -> None:
        reason = await (self._submit_by_ssh(change) if self._rest is None else self._submit_by_rest(change))
        if reason is not None and not await self.is_merged(change):
            raise LandingRefused(reason)

    async def _submit_by_rest(self, change: ChangeInfo) -> str | None:
        """Submit this very patch set; the refusal's text, or None."""
        assert self._rest is not None
        try:
            await self._rest.post(f"changes/{_id(change)}/revisions/{change.commit}/submit", {})
        except RestRefusal as refusal:
            return refusal.text
        return None

    async def _submit_by_ssh(self, change: ChangeInfo) -> str | None:
        project = shlex.quote(change.project)
        answer = await self._ssh.run(f"gerrit review --project {project} --submit {change.number},{change.patchset}")
        if answer.status == 0:
            return None
        text = answer.stderr.partition("\n\nfatal: one or more reviews failed")[0]
        return text.removeprefix("error: ").removeprefix("fatal: ").strip()

    async def was_said(self, report: Report) -> bool:
        if self._rest is None:
            found = [_as_rest(json) for json in await self._query_by_ssh(f"change:{report.number}")]
        else:
            found = [await self._rest.get(f"changes/{report.number}", [("o", "MESSAGES")])]
        wanted = report.message.strip()
        return any(
            message.get("_revision_number") == report.patchset and wanted in message["message"]
            for change in found
            for message in change.get("messages", ())
        )

    async def is_merged(self, change: ChangeInfo) -> bool:
        return (await self.change(change.number)).is_merged

    # ------------------------------------------------------------------ reconciliation

    async def _missed(self, since: float) -> list[TriggerEvent]:
        """What happened to changes since then, oldest first."""
        text = f"after:{for_query(since)}"
        if self._rest is None:
            found = [_as_rest(json) for json in await self._query_by_ssh(text)]
        else:
            found = list(await self._query_by_rest(text, RECONCILE_OPTIONS))
        events: list[TriggerEvent] = []
        for json_ in found:
            comments: Json = {}
            if self._rest is not None and has_comments(json_, since):
                try:
                    comments = await self._rest.get(f"changes/{json_['_number']}/comments")
                except RestRefusal as refusal:  # deleted or made private meanwhile
                    log.info("gerrit.comments.refused", connection=self.name, error=str(refusal))
            events += missed_events(self.name, json_, comments, since)
        return sorted(events, key=lambda event: event.at)


def _id(change: ChangeInfo) -> str:
    return f"{segment(change.project)}~{change.number}"


def _comment(comment: FileComment) -> dict[str, Any]:
    """An unresolved comment would block the landing on a server with its default requirements."""
    json: dict[str, Any] = {"message": comment.message, "unresolved": False}
    if comment.range is not None:
        json["range"] = {
            "start_line": comment.range.start_line,
            "start_character": comment.range.start_character,
            "end_line": comment.range.end_line,
            "end_character": comment.range.end_character,
        }
    elif comment.line is not None:
        json["line"] = comment.line
    return json


def _as_rest(json: Json) -> Json:
    """A line of `gerrit query` in REST's shape, as far as reconciliation reads it; messages get ids of their words."""

    def at(seconds: Any) -> str:
        return datetime.fromtimestamp(float(seconds or 0), UTC).strftime("%Y-%m-%d %H:%M:%S.000000000")

    messages = [
        {
            "id": f"{zlib.crc32(comment['message'].encode()):08x}{comment['timestamp']}",
            "date": at(comment["timestamp"]),
            "author": comment.get("reviewer"),
            "message": comment["message"],
            "tag": said.tag_of(comment["message"]),
            "_revision_number": said.patchset_of(comment["message"]),
        }
        for comment in json.get("comments", ())
    ]
    return {
        "_number": int(json["number"]),
        "project": json["project"],
        "branch": json["branch"],
        "status": json["status"],
        "topic": json.get("topic"),
        "hashtags": json.get("hashtags", ()),
        "work_in_progress": json.get("wip", False),
        "revisions": {
            patchset["revision"]: {
                "_number": int(patchset["number"]),
                "created": at(patchset["createdOn"]),
                "uploader": patchset.get("uploader"),
            }
            for patchset in json.get("patchSets", ())
        },
        "messages": messages,
        "labels": {},
    }
