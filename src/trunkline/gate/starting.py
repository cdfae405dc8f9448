"""Which runs of an item move on now: what is asked for, started, resumed or stopped; and what that does to those behind.

Costs: O(jobs of the item). Those behind are looked at only if one of them waits for what happened here.
"""

from __future__ import annotations

from collections.abc import Iterable

from trunkline.gate import graph as jobs
from trunkline.gate.desk import Desk
from trunkline.gate.effects import ResumeBuild
from trunkline.gate.graph import Readiness
from trunkline.gate.model import (
    ArtifactFrom,
    FutureState,
    Grant,
    Item,
    JobId,
    JobKind,
    JobSpec,
    Landing,
    Run,
    RunState,
)
from trunkline.gate.runs import Work, artifacts_of

BEFORE_REPORT = (JobKind.REGULAR, JobKind.INITIALIZER)


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
        kinds = BEFORE_REPORT
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
            if spec.kind in BEFORE_REPORT:
                work.cancel(job)


def _is_done(work: Work, job: JobId) -> bool:
    return work.runs[job].state is RunState.DONE


def _all_below_done(work: Work, job: JobId) -> bool:
    below = jobs.descendants(work.graph, job)
    return all(_is_done(work, other) for other in below if work.graph[other].kind is not JobKind.REPORTER)


def _advance_run(work: Work, job: JobId, spec: JobSpec, held_back: bool) -> None:
    ready = jobs.readiness(spec, work.runs)
    if ready is Readiness.SKIP:
        work.finish(job, jobs.SKIPPED, jobs.skip_reason(work.graph, spec, work.runs) or None)
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
    if spec.requires and not _knows_what_is_provided(work, job):
        return
    required, verdict = required_artifacts(work.desk, work.item, spec)
    required += work.runs[job].provided
    if verdict is not None:
        if verdict:
            work.finish(job, "FAILURE", verdict)
        return
    if _acquire(work, job, spec):
        work.start(job, required)


def _knows_what_is_provided(work: Work, job: JobId) -> bool:
    """What changes that are not tested in this queue provide must be asked for."""
    desk, run = work.desk, work.runs[job]
    if desk.speculates or run.required is Grant.HAD:
        return True
    before = desk.order[: desk.position(work.item.id)]
    elsewhere = tuple(c for other in before if not desk.items[other].live for c in desk.items[other].changes)
    if elsewhere and run.required is Grant.NONE:
        work.ask_for_provided(job, elsewhere)
    return not elsewhere


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
        theirs, verdict = provided_by(other, wanted)
        if verdict is not None:
            return (), verdict
        found += theirs
    return tuple(found), None


def provided_by(other: Item, wanted: set[str]) -> tuple[list[ArtifactFrom], str | None]:
    """What one item provides of what is wanted; the verdict as of `required_artifacts`."""
    future = other.future
    if future is None or future.state is not FutureState.READY:
        return [], ""
    providing = [job for job, spec in future.graph.items() if wanted & set(spec.provides)]
    for job in providing:
        run = future.runs[job]
        if run.state not in (RunState.DONE, RunState.PAUSED):
            return [], ""
        if run.state is RunState.DONE and run.result not in (jobs.SUCCESS, jobs.SKIPPED):
            return [], unmet(wanted & set(future.graph[job].provides), run.build or "")
    return artifacts_of(future.graph, future.runs, providing), None


def unmet(names: Iterable[str], build: str) -> str:
    return f"Requirements {', '.join(sorted(names))} not met by build {build}"


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
