"""Telling changes what became of them, and landing those that passed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from trunkline.config import ConfigError, FrozenJob, Pipeline
from trunkline.connections import (
    ChangeNotFound,
    ConnectionFailed,
    FileComment,
    LandingRefused,
    Report,
    ReportRefused,
    TextRange,
)
from trunkline.gate import Change
from trunkline.gate import effects as e
from trunkline.gate.events import Landed, ReportSent
from trunkline.gate.events import LandingRefused as LandingRefusedEvent
from trunkline.services.layouts import Layouts
from trunkline.services.report_text import JobLine, compose, first_line, message_of
from trunkline.services.sources import Sources
from trunkline.store import Connection, Database, builds, events, futures, said

log = structlog.get_logger()

TRIES = 4  # of one task; the task itself is tried again
PAUSE_S = 0.5
SAID_BY_ITSELF = {"start", "enqueue"}
WITHOUT_LINK = {*SAID_BY_ITSELF, "no-jobs"}  # their messages name the link where it is wanted
MERGE_FAILURE = "MERGE_FAILURE"


class Reporting:
    """Reports for one scheduler process. `web_root` ends with a slash."""

    def __init__(
        self, db: Database, sources: Sources, layouts: Layouts, web_root: str, with_times: bool = True
    ) -> None:
        self.db, self.sources, self.layouts = db, sources, layouts
        self.web_root, self.with_times = web_root, with_times

    async def send(
        self,
        tenant: str,
        pipeline: str,
        owner: str,
        report: Mapping[str, Any],
        *,
        disabled: bool = False,
        is_last: bool = False,
    ) -> None:
        """Say one report to the reporters of its kind; results of a disabled pipeline to its `disabled` reporters.

        Raises ConnectionFailed while a review server does not answer, unless this `is_last` try.
        """
        effect = msgspec.convert(report, e.Report)
        kind = effect.kind.value
        described = await self._describe(tenant, pipeline, effect.future, kind, effect)
        if described is not None:
            definition, message, comments = described
            action = "failure" if kind == "enqueue-refused" else kind
            if disabled:
                action = "" if kind in SAID_BY_ITSELF else "disabled"
            for change in effect.changes:
                key = _report_key(tenant, pipeline, effect, kind, change)
                on_lines = comments.get(change.key, {})
                await self._tell(key, definition.reporters_for(action), definition, change, message, on_lines, is_last)
        if effect.answer:
            async with self.db.transaction() as conn:
                await events.post(conn, owner, ReportSent(effect.item, kind))

    async def land(
        self, tenant: str, pipeline: str, owner: str, report: Mapping[str, Any], *, is_last: bool = False
    ) -> None:
        """Vote, then submit each change of an item, and tell its queue how that went.

        Raises ConnectionFailed while a review server does not answer, unless this `is_last` try.
        """
        effect = msgspec.convert(report, e.Land)
        described = await self._describe(tenant, pipeline, effect.future, "success", effect)
        if described is None:
            return
        definition, message, _ = described
        reporters = definition.reporters_for("success")
        for change in effect.changes:
            key = _report_key(tenant, pipeline, effect, "success", change)
            await self._tell(key, reporters, definition, change, message, {}, is_last)
        landed: list[Any] = []
        for change in effect.changes:
            options = reporters.get(change.connection)
            if not (isinstance(options, Mapping) and options.get("submit")):
                landed.append(change.key)  # a pipeline that does not submit has nothing to land
                continue
            refusal = await self._submit(change, is_last)
            if refusal is not None and await self._vote_again(change, definition, reporters):
                refusal = await self._submit(change, is_last)
            if refusal is not None:
                log.warning("change.not_landed", change=change.key, detail=refusal)
                async with self.db.transaction() as conn:
                    await events.post(conn, owner, LandingRefusedEvent(effect.item, refusal, tuple(landed)))
                return
            landed.append(change.key)
            log.info("change.landed", change=change.key, tenant=tenant, pipeline=pipeline)
        async with self.db.transaction() as conn:
            await events.post(conn, owner, Landed(effect.item, tuple(landed)))
            await self._tell_fleet(conn, tenant, effect.changes)

    async def _tell_fleet(self, conn: Connection, tenant: str, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.branch is not None and change.number is not None:
                body = {"kind": "landed", "project": change.project, "branch": change.branch, "change": change.key}
                await events.post(conn, f"fleet:{tenant}", {**body, "connection": change.connection})

    async def _submit(self, change: Change, is_last: bool) -> str | None:
        """Land one change; None when it has landed, else why not."""
        assert change.number is not None
        driver = self.sources[change.connection]
        problem = ""
        for attempt in range(1, TRIES + 1):
            try:
                await driver.land(await driver.change(change.number, int(change.patchset or 0)))
                return None
            except LandingRefused as refusal:
                return refusal.reason
            except ChangeNotFound as missing:
                return str(missing)
            except ConnectionFailed as failure:
                if attempt == TRIES and not is_last:
                    raise
                problem = str(failure)
                await asyncio.sleep(PAUSE_S * attempt)
        return problem

    async def _vote_again(self, change: Change, pipeline: Pipeline, reporters: Mapping[str, Any]) -> bool:
        """Vote once more, without words, if another pipeline's late report has taken our votes' place."""
        assert change.number is not None
        driver = self.sources[change.connection]
        labels = _labels(reporters.get(change.connection))
        try:
            info = await driver.change(change.number, int(change.patchset or 0))
            standing = {(vote.label, vote.value) for vote in info.approvals}
            if not info.is_current_patchset or labels.items() <= standing:
                return False
            await driver.report(self._report_of(change, pipeline, "", labels, {}))
        except (ConnectionFailed, ChangeNotFound, ReportRefused) as problem:
            log.warning("vote.refused", change=change.key, detail=str(problem))
            return False
        log.info("change.voted_again", change=change.key)
        return True

    def _report_of(
        self,
        change: Change,
        pipeline: Pipeline,
        message: str,
        labels: Mapping[str, int],
        comments: Mapping[str, tuple[FileComment, ...]],
    ) -> Report:
        assert change.number is not None
        return Report(
            project=change.project.removeprefix(self.sources.specs[change.connection].canonical_hostname + "/"),
            number=change.number,
            patchset=int(change.patchset or 0),
            pipeline=pipeline.name,
            message=message,
            labels=labels,
            comments=comments,
        )

    async def _tell(
        self,
        key: str,
        reporters: Mapping[str, Any],
        pipeline: Pipeline,
        change: Change,
        message: str,
        comments: Mapping[str, tuple[FileComment, ...]],
        is_last: bool,
    ) -> None:
        options = reporters.get(change.connection)
        if options is None or change.number is None or change.connection not in self.sources.drivers:
            return
        report = self._report_of(change, pipeline, message, _labels(options), comments)
        async with self.db.transaction() as conn:
            before = await said.intend(conn, key)
        if before != "said" and await self._send(change, report, is_last, perhaps=before == "perhaps"):
            async with self.db.transaction() as conn:
                await said.done(conn, key)

    async def _send(self, change: Change, report: Report, is_last: bool, *, perhaps: bool) -> bool:
        """Send a report, unless an earlier try that was cut off did. False if it cannot be told at all."""
        driver = self.sources[change.connection]
        for attempt in range(1, TRIES + 1):
            try:
                if not (perhaps and await driver.was_said(report)):
                    await driver.report(report)
                return True
            except (ReportRefused, ChangeNotFound) as problem:
                log.warning("report.refused", change=change.key, detail=str(problem))
                return True
            except ConnectionFailed as problem:
                log.warning("report.failed", change=change.key, attempt=attempt, detail=str(problem))
                perhaps = True
                if attempt == TRIES and not is_last:
                    raise
                await asyncio.sleep(PAUSE_S * attempt)
        return False

    async def _describe(
        self, tenant: str, pipeline: str, future_id: str, kind: str, effect: e.Report | e.Land
    ) -> tuple[Pipeline, str, dict[str, dict[str, tuple[FileComment, ...]]]] | None:
        """The pipeline, the text, and comments on lines by change and path; keeps the text with the buildset."""
        async with self.db.transaction() as conn:
            loaded = await self.layouts.get(conn, tenant)
            definition = loaded.layout.pipelines.get(pipeline) if loaded else None
            if definition is None:
                return None
            future = await futures.get(conn, future_id) if future_id else None
            rows = await builds.of_buildset(conn, future_id) if future_id else []
            jobs = {name: await self._job(conn, future_id, name, effect) for name in {r["job_name"] for r in rows}}
        words = effect.message if isinstance(effect, e.Report) else ""
        result = effect.result if isinstance(effect, e.Report) else "SUCCESS"
        files = effect.files if isinstance(effect, e.Report) else ()
        errors = msgspec.convert(future["errors"], list[ConfigError]) if future else []
        if kind == "failure" and result == "CONFIG_ERROR":
            kind = "config-error"
        put_out = kind == "failure" and bool(words)  # its jobs have no say in it
        url = self._item_url(effect, future_id, kind)
        text = compose(
            first_line(definition, kind, result, words, url),
            item_url="" if put_out or kind in WITHOUT_LINK else url,
            lines=[] if kind in SAID_BY_ITSELF or put_out else self._lines(rows, jobs),
            detail=_detail(kind, words, errors, files),
            warnings=[w for row in rows for w in row["warnings"]],
            debug=future["debug"] if future and kind not in SAID_BY_ITSELF else (),
            footer="" if kind in SAID_BY_ITSELF else definition.footer_message,
            with_times=self.with_times,
        )
        if future_id and kind not in SAID_BY_ITSELF:
            async with self.db.transaction() as conn:
                message = compose(
                    first_line(definition, kind, result, words), detail=_detail(kind, words, errors, files)
                )
                await builds.set_buildset_message(conn, future_id, message.strip())
        return definition, text, _comments(effect.changes, errors, rows)

    async def _job(self, conn: Connection, future_id: str, name: str, effect: e.Report | e.Land) -> FrozenJob | None:
        for change in effect.changes:
            raw = await futures.job(conn, future_id, name, change.key)
            if raw is not None:
                return msgspec.convert(raw, FrozenJob)
        return None

    def _lines(self, rows: Sequence[Mapping[str, Any]], jobs: Mapping[str, FrozenJob | None]) -> list[JobLine]:
        """The last build of every job, in order of first asking."""
        last: dict[tuple[str, int], Mapping[str, Any]] = {}
        for row in rows:
            if row["final"] is not False:
                last[row["job_name"], row["ref_id"]] = row
        lines = []
        for (name, _), row in last.items():
            seconds = None
            if row["start_time"] is not None and row["end_time"] is not None:
                seconds = (row["end_time"] - row["start_time"]).total_seconds()
            lines.append(
                JobLine(
                    name=name,
                    result=row["result"] or "",
                    url=row["log_url"] or f"{self.web_root}build/{row['uuid']}",
                    voting=row["voting"],
                    seconds=seconds,
                    error_detail=row["error_detail"],
                    message=message_of(jobs.get(name), row),
                    skipped_by_parent="child_jobs" in (row["error_detail"] or ""),
                )
            )
        return lines

    def _item_url(self, effect: e.Report | e.Land, future_id: str, kind: str) -> str:
        if future_id and kind not in SAID_BY_ITSELF:
            return f"{self.web_root}buildset/{future_id}"
        change = effect.changes[0]
        if change.number is None:
            return ""
        return f"{self.web_root}status/change/{change.number},{change.patchset}"


def _labels(options: Any) -> dict[str, int]:
    """The votes among a reporter's options."""
    pairs = options.items() if isinstance(options, Mapping) else ()
    return {key: value for key, value in pairs if isinstance(value, int) and not isinstance(value, bool)}


def _report_key(tenant: str, pipeline: str, effect: e.Report | e.Land, kind: str, change: Change) -> str:
    """Tells reports apart: the same happening is said once to a change, however often it is tried."""
    return "/".join((tenant, pipeline, effect.item, effect.future, effect.event_id, kind, change.key))


def _detail(kind: str, said: str, errors: Sequence[ConfigError], files: Sequence[str]) -> str:
    if kind == "config-error" and errors:
        return "\n\n".join(error.message for error in errors)
    if kind == "merge-conflict" and files:
        return "Files in conflict:\n" + "\n".join(f"  {path}" for path in files)
    return "" if kind in ("enqueue-refused", "failure") else said


def _comments(
    changes: Sequence[Change], errors: Sequence[ConfigError], rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, tuple[FileComment, ...]]]:
    """Comments on lines: configuration errors at their place, and what jobs returned as zuul.file_comments."""
    found: dict[str, dict[str, list[FileComment]]] = {}
    for error in errors:
        for change in changes:
            if change.project == error.canonical_name and change.branch == error.branch and error.path and error.line:
                comment = FileComment(error.message, error.line, _range(error))
                found.setdefault(change.key, {}).setdefault(error.path, []).append(comment)
    for row in rows:
        for path, comments in (row["data"].get("zuul", {}).get("file_comments") or {}).items():
            for change in changes[:1]:
                made = [c for entry in comments if (c := _file_comment(entry)) is not None]
                found.setdefault(change.key, {}).setdefault(path, []).extend(made)
    return {key: {path: tuple(list_) for path, list_ in by_path.items()} for key, by_path in found.items()}


def _range(error: ConfigError) -> TextRange | None:
    """The place of an error, if it is one that a review system takes: it must not end before it begins."""
    start, end = (error.line, max(error.column - 1, 0)), (error.end_line, max(error.end_column - 1, 0))
    return TextRange(*start, *end) if start < end else None


def _file_comment(entry: Any) -> FileComment | None:
    if not isinstance(entry, Mapping) or not entry.get("message"):
        return None
    where = entry.get("range")
    place = None
    if isinstance(where, Mapping):
        names = ("start_line", "start_character", "end_line", "end_character")
        place = TextRange(*(int(where.get(name, 0)) for name in names))
    line = entry.get("line")
    return FileComment(str(entry["message"]), int(line) if line is not None else None, place)
