"""run_build: from request to outcome, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from trunkline.executor import jobdir
from trunkline.executor.agent import AgentBroken, SshAgent
from trunkline.executor.broker import Broker
from trunkline.executor.checkout import choose_ref
from trunkline.executor.console import Console, DiskFull
from trunkline.executor.disk import watch_disk
from trunkline.executor.inventory import (
    FIXED_SSH_ARGUMENTS,
    everywhere,
    host_variables,
    inventory,
    job_variables,
    known_hosts,
    to_yaml,
    unmarked,
)
from trunkline.executor.phases import Phases, Verdict
from trunkline.executor.play import Stage
from trunkline.executor.playbooks import Preparation, PreparationFailed
from trunkline.executor.request import (
    BuildControl,
    BuildOutcome,
    BuildPrivate,
    BuildRequest,
    BuildSink,
    Checkout,
    ExecutorSite,
    WorkspaceBroken,
    WorkspaceConflict,
    WorkspaceMissing,
    Workspaces,
)
from trunkline.executor.results import ResultProblem, Returned, read_returned
from trunkline.executor.variables import USER_DIR, zuul_variables
from trunkline.executor.warm import RunnerBroken, WarmRunner

log = structlog.get_logger()
T = TypeVar("T")

HELD_RESULTS = ("FAILURE", "POST_FAILURE", "TIMED_OUT")
CONSOLE_PORTS = (19885,)


class _Aborted(Exception):
    """The build was stopped before its playbooks."""


async def run_build(
    request: BuildRequest,
    site: ExecutorSite,
    sink: BuildSink,
    *,
    workspaces: Workspaces,
    runner: WarmRunner,
    control: BuildControl | None = None,
    private: BuildPrivate | None = None,
) -> BuildOutcome:
    """Run one build and say what came of it. Never raises for what a job or its nodes do.

    Everything on disk is in site.job_dir/UUID and is removed at the end (unless site.keep_job_dirs); every process
    ends with this coroutine, also when it is cancelled.
    """
    control, private = control or BuildControl(), private or BuildPrivate()
    where = await asyncio.to_thread(jobdir.create, site.job_dir, request.uuid)
    try:
        build = _Build(request, site, sink, workspaces, runner, control, private, where)
        return await build.run()
    finally:
        if not site.keep_job_dirs:
            await asyncio.to_thread(jobdir.remove, where.root)


class _Build:
    def __init__(
        self,
        request: BuildRequest,
        site: ExecutorSite,
        sink: BuildSink,
        workspaces: Workspaces,
        runner: WarmRunner,
        control: BuildControl,
        private: BuildPrivate,
        where: jobdir.JobDir,
    ) -> None:
        self.request, self.site, self.sink, self.where = request, site, sink, where
        self.workspaces, self.runner, self.control, self.private = workspaces, runner, control, private
        self.failing: asyncio.Task[None] | None = None
        self.phases: Phases | None = None
        self.console = Console(where.console, request.job.failure_output, self._on_failing)
        os.link(where.console, where.private / "console")
        self.logs = os.open(where.logs, os.O_RDONLY | os.O_DIRECTORY)

    async def run(self) -> BuildOutcome:
        try:
            verdict = await self._guarded()
            if self.failing is not None:
                await self.failing
            return self._outcome(verdict)
        finally:
            self.console.close()
            os.close(self.logs)

    async def _guarded(self) -> Verdict:
        try:
            self.console.line("Job console starting")
            await self.sink.started()
            return await self._in_surroundings()
        except _Aborted:
            return Verdict("ABORTED")
        except WorkspaceConflict as error:
            files = f" ({', '.join(error.files)})" if error.files else ""
            return Verdict("MERGE_CONFLICT", detail=f"{error}{files}")
        except (PreparationFailed, WorkspaceMissing, ResultProblem) as error:
            return Verdict("ERROR", detail=str(error))
        except DiskFull:
            return Verdict("DISK_FULL")
        except (WorkspaceBroken, AgentBroken, RunnerBroken) as error:
            log.warning("executor.build.broken", build=self.request.uuid, error=str(error))
            return Verdict(None, type(error).__name__, str(error))
        except Exception:
            log.exception("executor.build.failed", build=self.request.uuid)
            return Verdict(None, "internal error")

    async def _in_surroundings(self) -> Verdict:
        site, request, where = self.site, self.request, self.where
        key_files = [site.private_key_file] if site.private_key_file and request.nodes else []
        async with contextlib.AsyncExitStack() as stack:
            agent = await stack.enter_async_context(SshAgent(where.run, key_files, self.private.ssh_keys))
            await stack.enter_async_context(Broker(where.run, self._allowed(), request.uuid))
            stage = Stage(
                request=request,
                site=site,
                where=where,
                console=self.console,
                runner=self.runner,
                control=self.control,
                agent_pid=agent.pid,
                may_reach=self._may_reach_console,
                on_failing=self._on_failing,
                logs_descriptor=self.logs,
            )
            if request.job.secret_exposure == "fail":
                self.console.on_exposure = stage.exposure.set
            if site.disk_limit_mib >= 0:
                watch = asyncio.create_task(watch_disk(where.root, site.disk_limit_mib, stage.disk_full.set))
                stack.callback(watch.cancel)
            phases = await self._abortable(stage, self._prepare(stage))
            self.phases = phases
            if not await self._abortable(stage, phases.set_up()):
                return Verdict("ABORTED") if stage.is_stopped else Verdict(None, "setup failed")
            return await phases.run()

    async def _prepare(self, stage: Stage) -> Phases:
        request, where = self.request, self.where
        checkouts = await self.workspaces.prepare(
            request,
            where.src,
            self.console.line,
            lambda project, refs: choose_ref(request, project, refs),
        )
        preparation = Preparation(request, where, self.workspaces)
        included = await preparation.include_vars()
        await self.sink.nodes_in_use()
        self.console.line("Preparing playbooks")
        plans = await preparation.playbooks()
        base = job_variables(request, included)
        hosts = host_variables(request, base, self.site.default_username)
        shared = everywhere(request, base)
        zuul = zuul_variables(
            request, where, self.site.hostname, self.site.ansible_version, checkouts, preparation.context
        )
        where.zuul_vars.write_text(to_yaml({"zuul": zuul, "zuul_user_dir": USER_DIR}))
        where.fixed_vars.write_text(json.dumps(FIXED_SSH_ARGUMENTS))
        debug = inventory(request, hosts, {**shared, "zuul": zuul})
        (where.ansible / "inventory.yaml").write_text(to_yaml(unmarked(debug)))
        where.known_hosts.write_text(known_hosts(request.nodes))
        (where.logs / "workspace-repos.json").write_text(json.dumps(_repos(checkouts), indent=2, sort_keys=True))
        return Phases(stage, plans, self.private, self.sink, hosts, shared)

    async def _abortable(self, stage: Stage, work: Awaitable[T]) -> T:
        """Await `work`, but no longer than until the build is stopped."""
        working = asyncio.ensure_future(work)
        watching = [asyncio.ensure_future(event.wait()) for event in stage.stop_events]
        try:
            await asyncio.wait([working, *watching], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise DiskFull("limit") if stage.disk_full.is_set() else _Aborted
        finally:
            for task in (working, *watching):
                task.cancel()
            await asyncio.gather(working, *watching, return_exceptions=True)

    def _allowed(self) -> set[tuple[str, int]]:
        """Where an untrusted sandbox may go: its nodes by ssh, and the hosts that the site declares."""
        pairs = {(node.interface_ip, node.port) for node in self.request.nodes if node.interface_ip}
        for text in self.site.untrusted_hosts:
            host, _colon, port = text.rpartition(":")
            pairs.add((host, int(port)))
        return pairs

    def _may_reach_console(self, address: str, port: int) -> bool:
        wanted = self.request.job.vars.get("zuul_console_port")
        ports = (*CONSOLE_PORTS, wanted)
        return port in ports and any(address == node.interface_ip for node in self.request.nodes)

    def _on_failing(self) -> None:
        if self.failing is None:
            if self.phases is not None:
                self.phases.has_early_failure = True
            self.failing = asyncio.create_task(_quietly(self.sink.failing))

    def _outcome(self, verdict: Verdict) -> BuildOutcome:
        try:
            returned = read_returned(self.where.results)
        except ResultProblem as error:
            return BuildOutcome(result="ERROR", error_detail=str(error))
        return _outcome(self.request, verdict, returned)


def _outcome(request: BuildRequest, verdict: Verdict, returned: Returned) -> BuildOutcome:
    is_last = verdict.result is None and request.attempt >= request.max_attempts
    return BuildOutcome(
        result=verdict.result,
        retry_reason=verdict.reason if verdict.result is None else None,
        error_detail=verdict.detail,
        data=returned.sent(),
        secret_data=returned.secret_data,
        artifacts=returned.artifacts(),
        log_url=returned.log_url,
        warnings=returned.warnings(),
        unreachable=verdict.unreachable,
        hold_hint=verdict.result in HELD_RESULTS or is_last,
    )


def _repos(checkouts: dict[str, Checkout]) -> dict[str, Any]:
    return {name: {"checkout": seen.ref, "commit": seen.commit} for name, seen in checkouts.items()}


async def _quietly(call: Callable[[], Awaitable[None]]) -> None:
    try:
        await call()
    except Exception:
        log.exception("executor.sink.failed")
