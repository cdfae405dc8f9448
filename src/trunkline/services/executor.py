"""The executor: takes builds, runs them, says how they went. A build that died with its executor is said to be lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import structlog

from trunkline.executor import (
    BuildControl,
    BuildOutcome,
    BuildRequest,
    ExecutorSite,
    SandboxPaths,
    WarmRunner,
    clean_leftovers,
    jobdir,
    keep_logs,
    run_build,
    serve_console,
    site_paths,
)
from trunkline.gate.events import BuildCompleted, BuildFailing, BuildPaused, BuildStarted, RetryReason
from trunkline.gate.model import Artifact, BuildId
from trunkline.git import RepoStore
from trunkline.services.build_requests import EXECUTE
from trunkline.services.holding import held_for, hold_nodes
from trunkline.services.keystore import Keystore
from trunkline.services.merger import identity
from trunkline.services.playbook_semaphores import PlaybookSemaphores, forget
from trunkline.services.private import private_of
from trunkline.services.process import DRAIN_S, Process
from trunkline.services.settings import Settings
from trunkline.services.sources import Sources
from trunkline.services.workspaces import StoreWorkspaces
from trunkline.store import Connection, builds, events, listen, nodes, requests, tasks

log = structlog.get_logger()

MOST_BUILDS = 200


def site_of(settings: Settings, finger_port: int) -> ExecutorSite:
    """The [executor] section as the room wants it."""

    def paths(key: str) -> tuple[str, ...]:
        return tuple(filter(None, settings.get("executor", key).split(":")))

    return ExecutorSite(
        job_dir=settings.job_dir,
        hostname=settings.hostname,
        private_key_file=settings.file("executor", "private_key_file", "~/.ssh/id_rsa"),
        variables_file=settings.file("executor", "variables"),
        default_username=settings.get("executor", "default_username", "zuul"),
        ansible_setup_timeout_s=settings.number("executor", "ansible_setup_timeout", 60.0),
        disk_limit_mib=int(settings.number("executor", "disk_limit_per_job", 250)),
        max_output_bytes=int(settings.number("executor", "output_max_bytes", 1 << 30)),
        trusted_ro_paths=paths("trusted_ro_paths"),
        trusted_rw_paths=paths("trusted_rw_paths"),
        untrusted_ro_paths=paths("untrusted_ro_paths"),
        untrusted_rw_paths=paths("untrusted_rw_paths"),
        finger_host=settings.get("executor", "finger_host", "127.0.0.1"),
        finger_port=finger_port,
        zone=settings.get("executor", "zone") or None,
        keep_job_dirs=True,  # removed here, once the logs are kept
    )


class Executing:
    """The builds of one executor process."""

    def __init__(
        self,
        process: Process,
        site: ExecutorSite,
        runner: WarmRunner,
        keystore: Keystore,
        workspaces: StoreWorkspaces,
    ) -> None:
        self.process, self.db = process, process.db
        self.site, self.runner, self.keystore, self.workspaces = site, runner, keystore, workspaces
        self.settings = process.settings
        self.address = ""
        self.controls: dict[str, BuildControl] = {}
        starting = self.settings.number("executor", "load_multiplier", 2.5) * (os.cpu_count() or 1)
        self._starting = asyncio.Semaphore(
            int(self.settings.number("executor", "max_starting_builds", max(2, starting)))
        )

    async def execute(self, uuid: str) -> None:
        """Take one build and see it through."""
        async with self.db.transaction() as conn:
            claim = await builds.claim(conn, uuid, self.address)
            row = await builds.get(conn, uuid)
            if row is None or claim == "done":
                return
            if claim == "lost":
                log.warning("build.lost", build=uuid)
                lost = BuildOutcome(result=None, retry_reason=RetryReason.EXECUTOR_LOST.value, hold_hint=False)
                await self._complete(conn, row, lost)
                return
            request = msgspec.convert(row["request"], BuildRequest)
            private = await private_of(conn, self.keystore, request, row["request"].get("secret_parents", []))
            await events.post(conn, row["owner"], BuildStarted(BuildId(uuid), row["start_time"].timestamp()))
        log.info("build.started", build=uuid, job=request.job.name, tenant=request.tenant)
        control = self.controls[uuid] = BuildControl()
        holding = PlaybookSemaphores(self.db, row, control)
        sink = _Sink(self, row, [node.uuid for node in request.nodes if node.uuid], self._starting, holding)
        try:
            await self._look(uuid)
            await sink.acquire()
            outcome = await run_build(
                request,
                self.site,
                sink,
                workspaces=self.workspaces,
                runner=self.runner,
                control=control,
                private=private,
            )
            await asyncio.to_thread(self._keep_logs, request)
        except asyncio.CancelledError:  # this process ends before the build could
            outcome = BuildOutcome(result=None, retry_reason=RetryReason.EXECUTOR_LOST.value)
        except Exception as problem:
            log.exception("build.failed", build=uuid)
            outcome = BuildOutcome(result="ERROR", error_detail=str(problem)[:2000])
        finally:
            sink.release()
            self.controls.pop(uuid, None)
            self.workspaces.forget(uuid)
            await asyncio.to_thread(_remove, self.site.job_dir / uuid)
        if self.process.stop.is_set() and control.reason == "shutdown":
            outcome = BuildOutcome(result=None, retry_reason=RetryReason.EXECUTOR_LOST.value)
        async with self.db.transaction() as conn:
            fresh = await builds.get(conn, uuid)
            if fresh is not None:
                await self._complete(conn, fresh, outcome)
        log.info("build.ended", build=uuid, job=request.job.name, result=outcome.result, retry=outcome.retry_reason)

    async def _complete(self, conn: Connection, row: dict[str, Any], outcome: BuildOutcome) -> None:
        """Write the answer and post it, once, in one transaction."""
        secret = self.keystore.seal(msgspec.json.encode(outcome.secret_data)) if outcome.secret_data else None
        written = await builds.keep_outcome(
            conn,
            row["uuid"],
            result=outcome.result,
            error_detail=outcome.error_detail,
            log_url=outcome.log_url or self._stored(row),
            data=outcome.data,
            secret_data=secret,
            artifacts=outcome.artifacts,
            warnings=outcome.warnings,
        )
        node_ids = [node["uuid"] for node in (row["request"] or {}).get("nodes", ()) if node.get("uuid")]
        if node_ids and row["owner"].startswith("queue:"):  # the fleet keeps its servers
            await nodes.mark(conn, node_ids, "used")
            if written and (result := held_for(row, outcome)) is not None:
                await hold_nodes(conn, row, result, node_ids)
            if asked_for := (row["request"] or {}).get("node_request"):
                await requests.return_nodes(conn, asked_for)
        await forget(conn, row)
        if not written:
            return
        event = BuildCompleted(
            build=BuildId(row["uuid"]),
            result=outcome.result,
            retry_reason=_retry_reason(outcome),
            error_detail=outcome.error_detail,
            data=outcome.data,
            artifacts=tuple(Artifact(a["name"], a["url"], a.get("metadata") or {}) for a in outcome.artifacts),
        )
        if row["owner"].startswith("queue:"):
            await events.post(conn, row["owner"], event)
        else:
            body = {"kind": "build-completed", "build": row["uuid"], "result": outcome.result or "RETRY"}
            await events.post(conn, row["owner"], body)

    def _keep_logs(self, request: BuildRequest) -> None:
        """Copy a finished build's logs to where the web service shows them."""
        keep_logs(self.site.job_dir, request.uuid, self.settings.log_dir / request.tenant / request.uuid)

    def _stored(self, row: dict[str, Any]) -> str | None:
        place = self.settings.log_dir / row["tenant"] / row["uuid"]
        return f"{self.settings.web_root}logs/{row['tenant']}/{row['uuid']}/" if place.exists() else None

    async def _look(self, uuid: str) -> None:
        """See what is asked of a running build, and do it."""
        control = self.controls.get(uuid)
        if control is None:
            return
        async with self.db.transaction() as conn:
            row = await builds.get(conn, uuid)
        if row is not None and row["cancel_requested"]:
            control.abort("canceled")
        if row is not None and row["resume_requested"]:
            control.resume()

    async def drain(self) -> None:
        """After a stop was asked for: builds that do not end in time are stopped, to be done again elsewhere."""
        await self.process.stop.wait()
        await asyncio.sleep(DRAIN_S / 2)
        for control in list(self.controls.values()):
            control.abort("shutdown")

    async def watch(self) -> None:
        """Follow what is asked of running builds."""
        async for channel, uuid in listen(self.db.dburi, ["build"]):
            for one in [uuid] if channel else list(self.controls):
                await self._look(one)


class _Sink:
    """Where a running build reports: rows and events of its owner."""

    def __init__(
        self,
        executing: Executing,
        row: dict[str, Any],
        node_ids: list[str],
        starting: asyncio.Semaphore,
        semaphores: PlaybookSemaphores,
    ) -> None:
        self.executing, self.row, self.node_ids, self._starting = executing, row, node_ids, starting
        self.semaphores = semaphores
        self.is_holding = False

    async def acquire(self) -> None:
        await self._starting.acquire()
        self.is_holding = True

    def release(self) -> None:
        if self.is_holding:
            self.is_holding = False
            self._starting.release()

    async def started(self) -> None:
        return

    async def nodes_in_use(self) -> None:
        if self.node_ids and self.row["owner"].startswith("queue:"):
            async with self.executing.db.transaction() as conn:
                await nodes.mark(conn, self.node_ids, "in-use", locked_by=self.executing.address)

    async def phase(self, name: str, index: int) -> None:
        self.release()  # it has started: another may begin
        await self.semaphores.enter(name, index)

    async def failing(self) -> None:
        await self._post(BuildFailing(BuildId(self.row["uuid"])))

    async def paused(self, data: dict[str, Any], secret_data: dict[str, Any]) -> None:
        await self.semaphores.leave()
        async with self.executing.db.transaction() as conn:
            await builds.set_state(conn, self.row["uuid"], "paused")
            secret = self.executing.keystore.seal(msgspec.json.encode(secret_data)) if secret_data else None
            await builds.keep_data(conn, self.row["uuid"], data, secret)
            await builds.note_event(conn, self.row["buildset_uuid"], "paused", f"Build {self.row['job_name']} paused")
            made = (data.get("zuul") or {}).get("artifacts") or []
            artifacts = tuple(Artifact(a["name"], a["url"], a.get("metadata") or {}) for a in made)
            await self._tell(conn, BuildPaused(BuildId(self.row["uuid"]), data, artifacts))

    async def resumed(self) -> None:
        async with self.executing.db.transaction() as conn:
            await builds.set_state(conn, self.row["uuid"], "running")
            await builds.note_event(conn, self.row["buildset_uuid"], "resumed", f"Build {self.row['job_name']} resumed")

    async def _post(self, event: msgspec.Struct) -> None:
        async with self.executing.db.transaction() as conn:
            await self._tell(conn, event)

    async def _tell(self, conn: Connection, event: msgspec.Struct) -> None:
        if self.row["owner"].startswith("queue:"):
            await events.post(conn, self.row["owner"], event)


def _retry_reason(outcome: BuildOutcome) -> RetryReason | None:
    if outcome.result is not None:
        return None
    try:
        return RetryReason(outcome.retry_reason or "")
    except ValueError:
        return RetryReason.UNREACHABLE if outcome.unreachable else RetryReason.PRE_RUN


def _remove(root: Path) -> None:
    if root.exists():
        jobdir.remove(root)


async def main(process: Process) -> None:
    settings = process.settings
    sources = Sources.open(settings)
    workspaces = StoreWorkspaces(RepoStore(settings.git_dir_executor), sources, identity(settings))
    keystore = Keystore(settings.keystore_password)
    settings.job_dir.mkdir(parents=True, exist_ok=True)
    finger = await _console_server(settings)
    port = finger.sockets[0].getsockname()[1]
    site = site_of(settings, port)
    async with process.db.transaction() as conn:  # another executor of this machine may share the directory
        clean_leftovers(settings.job_dir, await builds.running_elsewhere(conn, f"{site.finger_host}:{port}"))
    app = tasks.make_app(settings.dburi)
    async with WarmRunner(SandboxPaths(settings.job_dir, site_paths(site))) as runner:
        executing = Executing(process, site, runner, keystore, workspaces)
        executing.address = f"{site.finger_host}:{port}"

        @app.task(name=EXECUTE, queue=tasks.EXECUTOR)
        async def execute(build: str) -> None:
            await executing.execute(build)

        watching = asyncio.create_task(executing.watch())
        draining = asyncio.create_task(executing.drain())
        try:
            await process.work(app, [tasks.EXECUTOR], MOST_BUILDS)
        finally:
            watching.cancel()
            draining.cancel()
            finger.close()
            await sources.close()


async def _console_server(settings: Settings) -> asyncio.Server:
    """On the configured finger port; on any free one if that is taken by another executor of this machine."""
    host = settings.get("executor", "finger_host", "127.0.0.1")
    port = int(settings.number("executor", "finger_port", 7900))
    try:
        return await serve_console(settings.job_dir, host, port)
    except OSError:
        return await serve_console(settings.job_dir, host, 0)
