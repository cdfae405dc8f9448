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
    RecordBuild,
    ReleaseSemaphores,
    RequestNodes,
    ResumeBuild,
    ReturnNodes,
    StartBuild,
)
from trunkline.gate.graph import Readiness
from trunkline.gate.model import (
    LIVE_RUNS,
    RUN_MOVES,
    Artifact,
    ArtifactFrom,
    BuildId,
    Change,
    Future,
    FutureState,
    Grant,
    Item,
    JobId,
    JobKind,
    JobSpec,
    Landing,
    Manager,
    RequestId,
    Run,
    RunState,
    stable_id,
)

_BEFORE_REPORT = (JobKind.REGULAR, JobKind.INITIALIZER)


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
                artifacts=tuple(_unique([*_artifacts(self.graph, self.runs, above), *required])),
                child_jobs=jobs.children(self.graph, job),
                priority=self.desk.settings.priority,
                relative_priority=self.relative_priority(),
            )
        )


def _artifacts(graph: jobs.Graph, runs: jobs.Runs, among: list[JobId]) -> list[ArtifactFrom]:
    found = []
    for job in among:
        run, spec = runs[job], graph[job]
        for artifact in run.artifacts:
            found.append(ArtifactFrom(artifact, spec.name, spec.change, run.build or BuildId("")))
    return found


def _unique(artifacts: list[ArtifactFrom]) -> list[ArtifactFrom]:
    seen: dict[tuple[str, str, str], ArtifactFrom] = {}
    for found in artifacts:
        artifact: Artifact = found.artifact
        seen.setdefault((found.build, artifact.name, artifact.url), found)
    return list(seen.values())


def advance(desk: Desk, item: Item) -> None:
    """Start what can start. O(jobs of the item)."""
    if item.future is None or item.future.state is not FutureState.READY or not item.live:
        return
    work = Work(desk, item)
    if item.landing is Landing.LANDED:
        kinds: tuple[JobKind, ...] = (JobKind.REPORTER,)
    elif item.landing is Landing.ASKED:
        return
    else:
        kinds = _BEFORE_REPORT
    _stop_early(work)
    held_back = is_held_back(desk, item)
    for job, spec in work.graph.items():
        if spec.kind in kinds and work.runs[job].state is RunState.WAITING:
            _advance_run(work, job, spec, held_back)
    for job, run in list(work.runs.items()):
        if run.state is RunState.PAUSED and _all_below_done(work, job):
            assert run.build is not None
            desk.emit(ResumeBuild(run.build))
            work.move(job, "resume")
    work.save()
    _tell_those_behind(desk, work)


def _stop_early(work: Work) -> None:
    """fail-fast: at the first voting failure the rest is cancelled."""
    if not work.future.fail_fast:
        return
    if any(jobs.counts_as_failed(spec, work.runs[job]) and _is_done(work, job) for job, spec in work.graph.items()):
        for job, spec in work.graph.items():
            if spec.kind in _BEFORE_REPORT:
                work.cancel(job)


def _is_done(work: Work, job: JobId) -> bool:
    return work.runs[job].state is RunState.DONE


def _all_below_done(work: Work, job: JobId) -> bool:
    below = jobs.descendants(work.graph, job)
    return all(_is_done(work, other) for other in below if work.graph[other].kind is not JobKind.REPORTER)


def _advance_run(work: Work, job: JobId, spec: JobSpec, held_back: bool) -> None:
    ready = jobs.readiness(spec, work.runs)
    if ready is Readiness.SKIP:
        work.finish(job, jobs.SKIPPED)
        return
    if ready is Readiness.WAIT or (held_back and not _holds_something(work.runs[job])):
        return
    if ready is Readiness.EARLY:
        may_ask = work.desk.settings.early_requests and not spec.requires and not _semaphores_first(spec)
        if may_ask and spec.nodesets and work.runs[job].nodes is Grant.NONE:
            work.ask_for_nodes(job)
        return
    if spec.name == jobs.NOOP:
        work.finish(job, jobs.SUCCESS)
        return
    required, verdict = required_artifacts(work.desk, work.item, spec)
    if verdict is not None:
        if verdict:
            work.finish(job, "FAILURE", verdict)
        return
    if _acquire(work, job, spec):
        work.start(job, required)


def _holds_something(run: Run) -> bool:
    """Then it goes on even if it is held back: what it holds may be what those ahead wait for."""
    return run.request is not None or run.ticket is not None


def _acquire(work: Work, job: JobId, spec: JobSpec) -> bool:
    """Ask for what is still missing, one kind of resource after the other. True when all is had."""
    run = work.runs[job]
    if _semaphores_first(spec) and not _has_semaphores(work, job):
        return False
    if spec.nodesets and run.nodes is not Grant.HAD:
        if run.nodes is Grant.NONE:
            work.ask_for_nodes(job)
        return False
    return not spec.semaphores or _has_semaphores(work, job)


def _has_semaphores(work: Work, job: JobId) -> bool:
    if work.runs[job].semaphores is Grant.NONE:
        work.ask_for_semaphores(job)
    return work.runs[job].semaphores is Grant.HAD


def _semaphores_first(spec: JobSpec) -> bool:
    """All at once, before the nodes; after them only if each of them says resources-first."""
    return any(not semaphore.resources_first for semaphore in spec.semaphores)


# -- what items do to those behind them


def is_holding(item: Item) -> bool:
    """A job of it that holds following changes has not succeeded."""
    future = item.future
    if future is None or future.state is not FutureState.READY or item.failing:
        return False
    return any(
        spec.hold_following_changes
        and not (future.runs[job].state is RunState.DONE and future.runs[job].result == jobs.SUCCESS)
        for job, spec in future.graph.items()
    )


def is_held_back(desk: Desk, item: Item) -> bool:
    if not desk.holding or not desk.speculates:
        return False
    position = desk.position(item.id)
    return any(other != item.id and desk.position(other) < position for other in desk.holding)


def required_artifacts(desk: Desk, item: Item, spec: JobSpec) -> tuple[tuple[ArtifactFrom, ...], str | None]:
    """Artifacts of jobs in items ahead that provide what this job requires.

    Returns (artifacts, verdict): None = go, "" = wait, otherwise why it can't be had. O(items ahead), only for such jobs.
    """
    if not spec.requires or not desk.speculates:
        return (), None
    wanted = set(spec.requires)
    found: list[ArtifactFrom] = []
    for other_id in desk.order[: desk.position(item.id)]:
        other = desk.items[other_id]
        if other.failing or other.landing is Landing.LANDED:
            continue
        if other.future is None or other.future.state is not FutureState.READY:
            return (), ""
        providing = [job for job, theirs in other.future.graph.items() if wanted & set(theirs.provides)]
        for job in providing:
            run = other.future.runs[job]
            if run.state not in (RunState.DONE, RunState.PAUSED):
                return (), ""
            if run.state is RunState.DONE and run.result not in (jobs.SUCCESS, jobs.SKIPPED):
                names = ", ".join(sorted(wanted & set(other.future.graph[job].provides)))
                return (), f"Requirements {names} not met by build {run.build}"
        found += _artifacts(other.future.graph, other.future.runs, providing)
    return tuple(found), None


def _tell_those_behind(desk: Desk, work: Work) -> None:
    """Touch items behind that waited for a requirement or were held back by this one."""
    if not desk.speculates:
        return
    item = desk.items[work.item.id]
    waiting = (spec for job, spec in work.graph.items() if work.runs[job].state is RunState.WAITING)
    desk.set_requiring(item.id, any(spec.requires for spec in waiting))
    if desk.set_holding(item.id, is_holding(item)) and item.id not in desk.holding:
        touch_waiting_behind(desk, desk.position(item.id))
    if item.id in desk.provided and desk.requiring:
        position = desk.position(item.id)
        for other in desk.requiring:
            if desk.position(other) > position:
                desk.touch(other)
    desk.provided.discard(item.id)


def touch_waiting_behind(desk: Desk, position: int) -> None:
    """Somebody at `position` holds no longer. O(window)."""
    for behind in desk.ready_behind(position):
        future = desk.items[behind].future
        assert future is not None
        if any(run.state is RunState.WAITING for run in future.runs.values()):
            desk.touch(behind)
