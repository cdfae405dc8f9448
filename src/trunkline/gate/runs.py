"""The jobs of one item: what is asked for, started, retried, resumed, finished and given back.

`Work` is the working copy of one item's runs within a step. Whatever ends a run goes through `finish`, `again` or `drop`,
and each of them gives back what the run held: that is law L9 in one place.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from trunkline.gate import graph as jobs
from trunkline.gate.desk import Desk
from trunkline.gate.effects import (
    AcquireSemaphores,
    CancelBuild,
    CancelNodes,
    FindProvided,
    RecordBuild,
    ReleaseSemaphores,
    RequestNodes,
    ReturnNodes,
    StartBuild,
)
from trunkline.gate.model import (
    LIVE_RUNS,
    RUN_MOVES,
    Artifact,
    ArtifactFrom,
    BuildId,
    Change,
    Future,
    Grant,
    Item,
    JobId,
    JobSpec,
    Manager,
    RequestId,
    Run,
    RunState,
    stable_id,
)


def scaled(position: int) -> int:
    """Positions as node requests see them: exact up to 10, then in tens, from 100 in hundreds."""
    if position < 10:
        return position
    return position // 10 * 10 if position < 100 else position // 100 * 100


class Work:
    """The runs of one item, to be written back with `save`."""

    def __init__(self, desk: Desk, item: Item) -> None:
        assert item.future is not None
        self.desk = desk
        self.item = item
        self.future: Future = item.future
        self.graph = self.future.graph
        self.runs = dict(self.future.runs)

    def save(self) -> None:
        if self.runs != self.future.runs:
            self.desk.put(replace(self.item, future=replace(self.future, runs=self.runs)))

    def change(self, job: JobId, **fields: Any) -> Run:
        run = self.runs[job] = replace(self.runs[job], **fields)
        return run

    def move(self, job: JobId, move: str, **fields: Any) -> Run:
        return self.change(job, state=RUN_MOVES[self.runs[job].state, move], **fields)

    # -- ends of a run

    def finish(self, job: JobId, result: str, error: str | None = None) -> None:
        """A verdict: record it and give back what the run held."""
        run, executed = self.runs[job], self.runs[job].state in LIVE_RUNS
        build = run.build if executed and run.build else self._next_build(job)
        self._record(job, build, result, executed=executed, final=True, error=error)
        self._give_back(job)
        self.move(job, "finish", result=result, build=build, ended_at=self.desk.now, failing=False)
        self.note_provided(job)

    def note_provided(self, job: JobId) -> None:
        if self.graph[job].provides:
            self.desk.provided.add(self.item.id)

    def again(self, job: JobId, *, counted: bool, alternative: int) -> None:
        """No verdict: record the attempt and wait to start anew."""
        run = self.runs[job]
        assert run.build is not None
        self._record(job, run.build, "RETRY", executed=True, final=False)
        was_paused = run.state in (RunState.PAUSED, RunState.RESUMING)
        self._give_back(job)
        self._restart(job, attempt=run.attempt + counted, alternative=alternative)
        for below in jobs.descendants(self.graph, job):
            # If it had paused they have begun; else they may hold nodes asked for early, which it may need itself now.
            if was_paused or self.runs[below].state is RunState.WAITING:
                self.restart(below)

    def restart(self, job: JobId) -> None:
        """Forget what it did and let it wait again (its parent has to start anew)."""
        run = self.runs[job]
        if run.state in LIVE_RUNS and run.build is not None:
            self.desk.emit(CancelBuild(run.build, self.item.id, self.future.id, job))
        self._give_back(job)
        if run.state is not RunState.WAITING:
            self._restart(job, attempt=run.attempt, alternative=run.alternative)

    def _restart(self, job: JobId, *, attempt: int, alternative: int) -> None:
        self.move(
            job,
            "again",
            attempt=attempt,
            alternative=alternative,
            result=None,
            build=None,
            failing=False,
            started_at=None,
            ended_at=None,
            child_jobs=None,
            data={},
            artifacts=(),
        )

    def cancel(self, job: JobId) -> None:
        """Stop it for good while the item stays: CANCELED if it had a build, else SKIPPED."""
        run = self.runs[job]
        if run.state is RunState.DONE:
            return
        if run.state is RunState.WAITING:
            self.finish(job, jobs.SKIPPED)
            return
        assert run.build is not None
        self.desk.emit(CancelBuild(run.build, self.item.id, self.future.id, job))
        self._give_back(job)
        self.move(job, "finish", result="CANCELED", ended_at=self.desk.now, failing=False)

    def drop(self, job: JobId) -> None:
        """The item or its future goes: stop the build, give everything back. The run itself is thrown away."""
        run = self.runs[job]
        if run.state in LIVE_RUNS and run.build is not None:
            self.desk.emit(CancelBuild(run.build, self.item.id, self.future.id, job))
        self._give_back(job)

    def _give_back(self, job: JobId) -> None:
        run = self.runs[job]
        if run.ticket is not None:
            self.desk.emit(ReleaseSemaphores(run.ticket, self.item.id, job))
        if run.request is not None:
            if run.state in LIVE_RUNS:
                self.desk.emit(ReturnNodes(run.request, run.build))
            else:
                self.desk.emit(CancelNodes(run.request))
            if run.nodes is Grant.ASKED:
                self.desk.forget_request(run.request)
        if run.state in LIVE_RUNS and run.build is not None:
            self.desk.forget_build(run.build)
        if run.semaphores is not Grant.NONE or run.request is not None:
            self.change(job, semaphores=Grant.NONE, ticket=None, nodes=Grant.NONE, request=None)

    def _next_build(self, job: JobId) -> BuildId:
        tries = self.runs[job].tries + 1
        self.change(job, tries=tries)
        return BuildId(stable_id(self.future.id, job, "build", tries))

    def _record(
        self, job: JobId, build: BuildId, result: str, *, executed: bool, final: bool, error: str | None = None
    ) -> None:
        spec = self.graph[job]
        self.desk.emit(
            RecordBuild(
                build,
                self.item.id,
                self.future.id,
                job,
                spec.name,
                spec.change,
                result,
                final=final,
                voting=spec.voting,
                executed=executed,
                attempt=self.runs[job].attempt,
                error_detail=error,
                at=self.desk.now,
                of=None if executed else self._change_of(spec),
            )
        )

    def _change_of(self, spec: JobSpec) -> Change:
        return next((change for change in self.item.changes if change.key == spec.change), self.item.changes[0])

    # -- resources

    def ask_for_nodes(self, job: JobId) -> None:
        run, spec = self.runs[job], self.graph[job]
        request = RequestId(stable_id(self.future.id, job, "nodes", run.requests + 1))
        relative = self.relative_priority()
        provider = self._provider_of_paused_parent(job)
        self.desk.emit(
            RequestNodes(
                request,
                self.item.id,
                self.future.id,
                job,
                spec.nodesets[run.alternative],
                priority=self.desk.settings.priority,
                relative_priority=relative,
                provider=provider,
                alternative=run.alternative,
            )
        )
        self.desk.index_request(request, self.item.id, job)
        self.change(
            job,
            nodes=Grant.ASKED,
            request=request,
            requests=run.requests + 1,
            relative_priority=relative,
            provider=provider,
        )

    def ask_for_provided(self, job: JobId, changes: tuple[Change, ...]) -> None:
        requires = self.graph[job].requires
        self.desk.emit(FindProvided(self.item.id, self.future.id, job, requires, changes))
        self.change(job, required=Grant.ASKED)

    def ask_for_semaphores(self, job: JobId) -> None:
        run = self.runs[job]
        ticket = stable_id(self.future.id, job, "semaphores", run.tries + 1)
        wanted = self._semaphores_of(job) - self._held_by_paused_parents(job)
        if not wanted:
            self.change(job, semaphores=Grant.HAD)
            return
        names, relative = tuple(sorted(wanted)), self.relative_priority()
        self.desk.emit(
            AcquireSemaphores(ticket, self.item.id, self.future.id, job, names, self.desk.settings.priority, relative)
        )
        self.change(job, semaphores=Grant.ASKED, ticket=ticket)

    def _semaphores_of(self, job: JobId) -> set[str]:
        return {semaphore.name for semaphore in self.graph[job].semaphores}

    def _held_by_paused_parents(self, job: JobId) -> set[str]:
        """A paused parent waits for its descendants; what it holds, it holds for them. (Else neither would ever end.)"""
        held: set[str] = set()
        for parent in jobs.ancestors(self.graph, job):
            run = self.runs[parent]
            if run.state is RunState.PAUSED and run.semaphores is Grant.HAD:
                held |= self._semaphores_of(parent)
        return held

    def relative_priority(self) -> int:
        if self.desk.settings.manager is Manager.INDEPENDENT:
            return self.item.relative_priority
        return scaled(self.desk.position(self.item.id))

    def _provider_of_paused_parent(self, job: JobId) -> str | None:
        """Children of a paused job run where its nodes are."""
        for parent in jobs.ancestors(self.graph, job):
            run = self.runs[parent]
            if run.state is RunState.PAUSED and run.nodes is Grant.HAD and run.provider:
                return run.provider
        return None

    def start(self, job: JobId, required: tuple[ArtifactFrom, ...]) -> None:
        spec = self.graph[job]
        above = [
            parent for parent in jobs.ancestors(self.graph, job) if self.runs[parent].result in (None, jobs.SUCCESS)
        ]
        parents = [self.runs[parent].build for parent in above]
        build = self._next_build(job)
        run = self.move(job, "start", build=build)
        self.desk.index_build(build, self.item.id, job)
        self.desk.emit(
            StartBuild(
                build,
                self.item.id,
                self.future.id,
                job,
                spec.name,
                spec.change,
                spec.refs,
                attempt=run.attempt,
                request=run.request,
                parents=tuple(parent for parent in parents if parent),
                parent_data=jobs.merged_data(self.runs[parent].data for parent in above),
                artifacts=tuple(unique([*artifacts_of(self.graph, self.runs, above), *required])),
                child_jobs=jobs.children(self.graph, job),
                priority=self.desk.settings.priority,
                relative_priority=self.relative_priority(),
            )
        )


def artifacts_of(graph: jobs.Graph, runs: jobs.Runs, among: list[JobId]) -> list[ArtifactFrom]:
    found = []
    for job in among:
        run, spec = runs[job], graph[job]
        for artifact in run.artifacts:
            found.append(ArtifactFrom(artifact, spec.name, spec.change, run.build or BuildId("")))
    return found


def unique(artifacts: list[ArtifactFrom]) -> list[ArtifactFrom]:
    seen: dict[tuple[str, str, str], ArtifactFrom] = {}
    for found in artifacts:
        artifact: Artifact = found.artifact
        seen.setdefault((found.build, artifact.name, artifact.url), found)
    return list(seen.values())
