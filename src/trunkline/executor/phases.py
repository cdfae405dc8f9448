"""The phases of a build and its result: setup, pre, run, pause, post, with Zuul's rules.

After a pre-run failure post-run playbooks run only at the nesting levels that were reached; after a stop (abort, disk
full, exposed secret) only those marked as cleanup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trunkline.executor.inventory import Hosts, inventory, to_yaml, unsafe, with_originals
from trunkline.executor.play import PlayEnd, Stage, play_freeze, play_playbook, play_setup
from trunkline.executor.playbooks import PlaybookPlan
from trunkline.executor.request import BuildPrivate, BuildSink
from trunkline.executor.results import Returned, read_returned
from trunkline.executor.settings_file import ansible_settings
from trunkline.executor.variables import execution_arguments, outcome_arguments

Json = Any

UNREACHABLE_DETAIL = "Host unreachable"
WITHOUT_SETUP = ("network_cli", "kubectl", "netconf", "httpapi", "project", "namespace")


@dataclass
class Verdict:
    """result None: try again."""

    result: str | None
    reason: str | None = None
    detail: str | None = None
    unreachable: bool = False


@dataclass
class Phases:
    """Runs the playbooks of one build. hosts and shared hold the original variables; frozen ones come by `set_up`."""

    stage: Stage
    plans: Sequence[PlaybookPlan]
    private: BuildPrivate
    sink: BuildSink
    hosts: Hosts
    shared: dict[str, Json]
    frozen_hosts: Hosts = field(default_factory=dict)
    frozen_shared: dict[str, Json] = field(default_factory=dict)
    has_early_failure: bool = False
    started_at: float = 0.0

    async def set_up(self) -> bool:
        """Reach all nodes, gather facts, freeze variables. False: a node cannot be used."""
        stage = self.stage
        await self.sink.phase("setup", 0)
        stage.console.line("Running Ansible setup")
        usable = {
            name: values for name, values in self.hosts.items() if values["ansible_connection"] not in WITHOUT_SETUP
        }
        if usable:
            directory = stage.where.ansible / "setup_playbook"
            directory.mkdir()
            place = directory / "inventory.yaml"
            place.write_text(to_yaml({"all": {"hosts": _unsafe_hosts(usable)}}))
            settings = directory / "ansible.cfg"
            settings.write_text(ansible_settings(stage.where, place, console=False))
            end = await play_setup(stage, settings, place, self._site_variables())
            if not end.is_good:
                return False
        if any(plan.needs_frozen_variables for plan in self.plans):
            return await self._freeze()
        return True

    async def _freeze(self) -> bool:
        stage = self.stage
        directory = stage.where.ansible / "freeze_playbook"
        (directory / "group_vars").mkdir(parents=True)
        place = directory / "inventory.yaml"
        place.write_text(to_yaml(inventory(stage.request, self.hosts, self.shared)))
        settings = directory / "ansible.cfg"
        settings.write_text(ansible_settings(stage.where, place, console=False))
        names = {host: list(values) for host, values in self.hosts.items()}
        names["localhost"] = list(self.shared)
        if not any(names.values()):
            return True
        files = [word for word in self._variable_files(trusted=False) if word != "-e"]
        end = await play_freeze(stage, settings, place, names, files)
        if not end.is_good or end.frozen is None:
            for line in end.output.splitlines():
                stage.console.line(line)
            return False
        self.frozen_shared = end.frozen.pop("localhost", {})
        self.frozen_hosts = end.frozen
        return True

    async def run(self) -> Verdict:
        """All playbooks, in order."""
        loop = asyncio.get_running_loop()
        self.started_at = loop.time()
        verdict, reached = await self._pre()
        if verdict is None:
            verdict = await self._run()
            if verdict.result == "SUCCESS" and self._returned().wants_pause:
                await self._pause()
        if verdict.result == "SUCCESS" and self.has_early_failure:
            return await self._post(Verdict("FAILURE"), reached, success=True)
        return await self._post(verdict, reached, success=verdict.result == "SUCCESS")

    async def _pre(self) -> tuple[Verdict | None, int | None]:
        """(why the build ends here, nesting level reached) or (None, None) when all went well."""
        job = self.stage.request.job
        limit = job.pre_timeout if job.pre_timeout is not None else job.timeout
        for plan in self._of("pre"):
            end = await self._play(plan, [], self._left(limit))
            if self.stage.is_stopped:
                return Verdict(None, "aborted in pre-run"), plan.frozen.nesting_level
            if not end.is_good:
                return self._again(end, "pre-run failed"), plan.frozen.nesting_level
        return None, None

    async def _run(self) -> Verdict:
        for plan in self._of("run"):
            self.stage.console.is_watching = True
            end = await self._play(plan, [], self._left(self.stage.request.job.timeout))
            self.stage.console.is_watching = False
            if self.stage.is_stopped:
                return Verdict("ABORTED")
            if end.status == "UNREACHABLE":
                return self._again(end, "unreachable")
            if end.status == "TIMED_OUT":
                return Verdict("TIMED_OUT")
            if not end.is_good:
                return Verdict("FAILURE" if end.status == "NORMAL" else "ABORTED")
        return Verdict("SUCCESS")

    def _again(self, end: PlayEnd, reason: str) -> Verdict:
        """Another attempt, unless the job forbade it or had failed before."""
        is_unreachable = end.status == "UNREACHABLE"
        detail = UNREACHABLE_DETAIL if is_unreachable else None
        is_final = self._returned().forbids_retry or (is_unreachable and self.has_early_failure)
        result = "FAILURE" if is_final else None
        return Verdict(result, "unreachable" if is_unreachable else reason, detail, is_unreachable)

    async def _pause(self) -> None:
        stage, returned = self.stage, self._returned()
        stage.console.line("")
        stage.console.line("Job paused")
        await self.sink.paused(returned.sent(), returned.secret_data)
        events = (stage.control.resumed, *stage.stop_events)
        waiting = [asyncio.create_task(event.wait()) for event in events]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if not stage.is_stopped:
            stage.console.line("Job resumed")
            stage.console.line("")
            await self.sink.resumed()

    async def _post(self, verdict: Verdict, reached: int | None, success: bool) -> Verdict:
        stage, request = self.stage, self.stage.request
        for plan in self._of("post"):
            if reached is not None and plan.frozen.nesting_level > reached:
                continue
            if stage.is_stopped and not plan.frozen.cleanup:
                continue
            will_retry = verdict.result is None and request.attempt < request.max_attempts
            was_stopped = stage.is_stopped
            arguments = outcome_arguments(success and not was_stopped, will_retry)
            end = await self._play(plan, arguments, request.job.post_timeout, is_cleanup=was_stopped)
            if end.is_good or was_stopped or plan.frozen.ignore_result or stage.is_stopped:
                continue
            success = False
            if end.status == "UNREACHABLE" and not plan.frozen.cleanup:
                verdict = self._again(end, "unreachable")
            elif verdict.result in ("SUCCESS", "FAILURE") and not verdict.unreachable and reached is None:
                verdict = Verdict("POST_FAILURE")
        if stage.disk_full.is_set():
            return Verdict("DISK_FULL")
        if stage.exposure.is_set():
            return Verdict("SECRET_EXPOSURE")
        return Verdict("ABORTED") if stage.control.aborted.is_set() else verdict

    async def _play(
        self, plan: PlaybookPlan, arguments: list[str], timeout_s: float | None, is_cleanup: bool = False
    ) -> PlayEnd:
        stage = self.stage
        await self.sink.phase(plan.phase, plan.index)
        own = self.private.secrets.get(f"{plan.phase}:{plan.index}", {})
        plan.inventory.write_text(to_yaml(self._inventory(plan, own)))
        frozen = plan.frozen
        arguments = [
            *arguments,
            *execution_arguments(plan.phase, plan.index, frozen.trusted, plan.place, frozen.branch),
            *self._variable_files(frozen.trusted),
        ]
        self._watch_for_secrets()
        secrets = {**self._secret_parent_data(), **own}
        return await play_playbook(stage, plan, arguments, secrets, timeout_s, is_cleanup=is_cleanup)

    def _inventory(self, plan: PlaybookPlan, secrets: Mapping[str, Json]) -> dict[str, Json]:
        frozen = plan.needs_frozen_variables
        hosts, shared = (self.frozen_hosts, self.frozen_shared) if frozen else (self.hosts, self.shared)

        def visible(values: Mapping[str, Json], original: Mapping[str, Json]) -> dict[str, Json]:
            return with_originals({name: value for name, value in values.items() if name not in secrets}, original)

        return inventory(
            self.stage.request,
            {name: visible(values, self.hosts[name]) for name, values in hosts.items()},
            visible(shared, self.shared),
            self.stage.unreachable,
        )

    def _secret_parent_data(self) -> dict[str, Json]:
        known = {*self.shared, *(name for values in self.hosts.values() for name in values)}
        return {name: value for name, value in self.private.secret_parent_data.items() if name not in known}

    def _watch_for_secrets(self) -> None:
        if self.stage.request.job.secret_exposure in ("redact", "fail"):
            self.stage.console.secrets = (*self.private.exposed, *self._returned().redactions)

    def _site_variables(self) -> list[str]:
        site = self.stage.site
        return ["-e", f"@{site.variables_file}"] if site.variables_file is not None else []

    def _variable_files(self, trusted: bool) -> list[str]:
        where = self.stage.where
        fixed = [] if trusted else ["-e", f"@{where.fixed_vars}"]
        return [*self._site_variables(), *fixed, "-e", f"@{where.zuul_vars}"]

    def _returned(self) -> Returned:
        return read_returned(self.stage.where.results)

    def _left(self, limit: int | None) -> float | None:
        """Seconds left of a limit that counts from the start of pre-run; None for no limit."""
        if limit is None:
            return None
        return max(0.0, limit - (asyncio.get_running_loop().time() - self.started_at))

    def _of(self, phase: str) -> list[PlaybookPlan]:
        return [plan for plan in self.plans if plan.phase == phase]


def _unsafe_hosts(hosts: Hosts) -> Hosts:
    return {name: unsafe(values) for name, values in hosts.items()}
