"""Handlers of answers: what became of a future, of nodes and semaphores, of a build, of a report or a landing.

Each writes down what the event says, if it is what was asked for last, and touches the item.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from trunkline.gate import graph as jobs
from trunkline.gate import verdict
from trunkline.gate.desk import Desk
from trunkline.gate.effects import (
    BuildsetCreated,
    FreezeJobs,
    Report,
    ReportKind,
)
from trunkline.gate.events import (
    BuildCompleted,
    BuildFailing,
    BuildPaused,
    BuildStarted,
    Event,
    FutureConflicted,
    FutureMerged,
    GraphFrozen,
    GraphRefused,
    Landed,
    LandingRefused,
    NodesFailed,
    NodesReady,
    ProvidedFound,
    ReportSent,
    RetryReason,
    SemaphoresHad,
)
from trunkline.gate.model import (
    FUTURE_MOVES,
    RUN_MOVES,
    Future,
    FutureId,
    FutureState,
    Grant,
    Item,
    ItemId,
    JobSpec,
    Landing,
    Manager,
    Run,
    RunState,
)
from trunkline.gate.runs import Work
from trunkline.gate.starting import is_holding

# -- the future of an item


def _awaiting(desk: Desk, item_id: ItemId, future_id: FutureId, event: Event) -> tuple[Item, Future] | None:
    """The item and its future, if this answer is one that it waits for."""
    item = desk.items.get(item_id)
    if item is None or item.future is None or item.future.id != future_id:
        return None
    if (item.future.state, type(event).__name__) not in FUTURE_MOVES:
        return None
    return item, item.future


def _move(desk: Desk, item: Item, future: Future, event: Event, **fields: Any) -> Item:
    state = FUTURE_MOVES[future.state, type(event).__name__]
    moved = replace(item, future=replace(future, state=state, **fields))
    desk.put(moved)
    desk.touch(item.id)
    return moved


def future_merged(desk: Desk, event: FutureMerged) -> None:
    if found := _awaiting(desk, event.item, event.future, event):
        item, future = found
        _move(desk, item, future, event)
        desk.emit(FreezeJobs(item.id, future.id, future.base, item.changes))


def future_conflicted(desk: Desk, event: FutureConflicted) -> None:
    if found := _awaiting(desk, event.item, event.future, event):
        item, future = found
        _move(desk, item, future, event, detail=event.message, files=event.files)
        _open_buildset(desk, item, future)


def graph_refused(desk: Desk, event: GraphRefused) -> None:
    _refused(desk, event, event.errors)


def _refused(desk: Desk, event: GraphRefused | GraphFrozen, errors: tuple[str, ...]) -> None:
    refused = GraphRefused(event.item, event.future, errors)
    found = _awaiting(desk, event.item, event.future, refused)
    if found is None or not _is_answer(found[1], event.round):
        return
    item, future = found
    if future.state is FutureState.READY:
        work = Work(desk, item)
        for job in work.runs:
            work.drop(job)
    detail = "\n\n".join(errors)
    _move(desk, item, future, refused, detail=detail, graph={}, runs={}, refreezing=False)
    if future.state is FutureState.FREEZING:
        _open_buildset(desk, item, future)


def graph_frozen(desk: Desk, event: GraphFrozen) -> None:
    found = _awaiting(desk, event.item, event.future, event)
    if found is None or not _is_answer(found[1], event.round):
        return
    item, future = found
    graph, error = jobs.resolve(event.graph, item.changes[0].key)
    if error:
        _refused(desk, event, (error,))
        return
    runs = _kept_runs(desk, item, future, graph)
    item = _move(
        desk, item, future, event, graph=graph, runs=runs, fail_fast=event.graph.fail_fast, detail="", refreezing=False
    )
    if future.state is FutureState.FREEZING:
        _open_buildset(desk, item, future)
    desk.set_holding(item.id, desk.speculates and is_holding(item))
    desk.provided.add(item.id)  # those behind know now what it provides
    if graph and desk.settings.reports_start and not (item.start_reported or item.quiet):
        desk.put(replace(item, start_reported=True))
        desk.emit(Report(item.id, ReportKind.START, item.changes, future.id, event_id=item.event_id))


def _is_answer(future: Future, answered: int | None) -> bool:
    """To the last time that its graph was asked for."""
    waits = future.state is FutureState.FREEZING or future.refreezing
    return waits and answered in (None, future.round)


def _kept_runs(desk: Desk, item: Item, future: Future, graph: dict[Any, JobSpec]) -> dict[Any, Run]:
    """After a reconfiguration: jobs that are the same keep what they have done, others are dropped or are new."""
    if not future.runs:
        return {job: Run() for job in graph}
    work = Work(desk, item)
    kept = {job for job, spec in graph.items() if future.graph.get(job) == spec}
    for job in work.runs:
        if job not in kept:
            work.drop(job)
    for job, spec in graph.items():
        if job not in kept:
            continue
        run = work.runs[job]
        if run.state is RunState.DONE and run.result == jobs.SKIPPED and not all(p in kept for p, _ in spec.parents):
            work.restart(job)
    return {job: work.runs[job] if job in kept else Run() for job in graph}


def _open_buildset(desk: Desk, item: Item, future: Future) -> None:
    desk.emit(BuildsetCreated(item.id, future.id, item.changes, item.event_id, item.enqueued_at))


# -- resources of a run


def semaphores_had(desk: Desk, event: SemaphoresHad) -> None:
    run = _run(desk, event.item, event.job)
    if run is not None and run.ticket == event.ticket and run.semaphores is Grant.ASKED:
        work = Work(desk, desk.items[event.item])
        work.change(event.job, semaphores=Grant.HAD)
        _done_with(desk, work)


def provided_found(desk: Desk, event: ProvidedFound) -> None:
    run = _run(desk, event.item, event.job)
    future = desk.items[event.item].future if run is not None else None
    if run is None or future is None or future.id != event.future:
        return
    if run.state is not RunState.WAITING or run.required is not Grant.ASKED:
        return
    work = Work(desk, desk.items[event.item])
    work.change(event.job, required=Grant.HAD, provided=event.artifacts)
    if event.problem:
        work.finish(event.job, "FAILURE", event.problem)
    _done_with(desk, work)


def nodes_ready(desk: Desk, event: NodesReady) -> None:
    run = _run(desk, event.item, event.job)
    if run is not None and run.request == event.request and run.nodes is Grant.ASKED:
        work = Work(desk, desk.items[event.item])
        desk.forget_request(event.request)
        work.change(event.job, nodes=Grant.HAD, provider=event.provider)
        _done_with(desk, work)


def nodes_failed(desk: Desk, event: NodesFailed) -> None:
    """The next alternative of the nodeset, as long as there is one."""
    run = _run(desk, event.item, event.job)
    if run is None or run.request != event.request or run.nodes is not Grant.ASKED:
        return
    work = Work(desk, desk.items[event.item])
    desk.forget_request(event.request)
    work.change(event.job, nodes=Grant.NONE, request=None)
    if run.alternative + 1 < len(work.graph[event.job].nodesets):
        work.change(event.job, alternative=run.alternative + 1)
    else:
        work.finish(event.job, "NODE_FAILURE", event.error or "The nodes could not be had.")
    _done_with(desk, work)


def _run(desk: Desk, item_id: ItemId, job: Any) -> Run | None:
    item = desk.items.get(item_id)
    return item.future.runs.get(job) if item is not None and item.future is not None else None


def _done_with(desk: Desk, work: Work) -> None:
    work.save()
    desk.touch(work.item.id)


# -- builds


def _work_on(desk: Desk, build: Any) -> tuple[Work, Any, Run] | None:
    found = desk.builds.get(build)
    if found is None:
        return None
    item_id, job = found
    work = Work(desk, desk.items[item_id])
    return work, job, work.runs[job]


def build_started(desk: Desk, event: BuildStarted) -> None:
    if (found := _work_on(desk, event.build)) and (found[2].state, "begin") in RUN_MOVES:
        work, job, _ = found
        work.move(job, "begin", started_at=desk.now if event.at is None else event.at)
        _done_with(desk, work)


def build_paused(desk: Desk, event: BuildPaused) -> None:
    if (found := _work_on(desk, event.build)) and (found[2].state, "pause") in RUN_MOVES:
        work, job, run = found
        work.move(
            job,
            "pause",
            data=event.data,
            artifacts=event.artifacts,
            child_jobs=_child_jobs(event.data),
            started_at=run.started_at if run.started_at is not None else desk.now,
        )
        work.note_provided(job)
        if run.nodes is Grant.HAD and run.provider:
            _unpin_children(work, job)
        _done_with(desk, work)


def _unpin_children(work: Work, job: Any) -> None:
    """Nodes asked for early, before it was known that the parent pauses, are asked for again where the parent is."""
    provider = work.runs[job].provider
    for child in jobs.descendants(work.graph, job):
        run = work.runs[child]
        if run.state is RunState.WAITING and run.request is not None and run.provider != provider:
            work.restart(child)


def build_failing(desk: Desk, event: BuildFailing) -> None:
    if (found := _work_on(desk, event.build)) and not found[2].failing:
        work, job, _ = found
        work.change(job, failing=True)
        _done_with(desk, work)


def build_completed(desk: Desk, event: BuildCompleted) -> None:
    found = _work_on(desk, event.build)
    if found is None:
        return
    work, job, run = found
    result = event.result
    if run.failing and (result == jobs.SUCCESS or _is_verdictless(event)):
        result = "FAILURE"  # what was known to fail has failed
    if result is None:
        _retry(work, job, run, event.retry_reason or RetryReason.PRE_RUN, event.error_detail)
    else:
        data, artifacts = event.data or run.data, event.artifacts or run.artifacts
        work.change(
            job, data=data, artifacts=artifacts, child_jobs=_child_jobs(data) if result == jobs.SUCCESS else None
        )
        if run.started_at is None:
            work.change(job, started_at=desk.now if event.at is None else event.at)
        work.finish(job, result, event.error_detail)
    _done_with(desk, work)


def _is_verdictless(event: BuildCompleted) -> bool:
    return event.result is None and event.retry_reason is not RetryReason.EXECUTOR_LOST


def _retry(work: Work, job: Any, run: Run, reason: RetryReason, error: str | None) -> None:
    spec = work.graph[job]
    counted = reason is not RetryReason.EXECUTOR_LOST
    if counted and run.attempt >= spec.attempts:
        work.finish(job, "MERGE_CONFLICT" if reason is RetryReason.MERGE_CONFLICT else "RETRY_LIMIT", error)
        return
    moves_on = reason is RetryReason.UNREACHABLE and run.alternative + 1 < len(spec.nodesets)
    work.again(job, counted=counted, alternative=run.alternative + moves_on)


def _child_jobs(data: dict[str, Any]) -> tuple[str, ...] | None:
    own = data.get("zuul")
    listed = own.get("child_jobs") if isinstance(own, dict) else None
    if not isinstance(listed, list | tuple):
        return None
    return tuple(str(name) for name in listed)


# -- reports and landing


def report_sent(desk: Desk, event: ReportSent) -> None:
    item = desk.items.get(event.item)
    waits = item is not None and item.landing is Landing.ASKED and desk.settings.manager is not Manager.DEPENDENT
    if item is not None and waits and event.kind == ReportKind.SUCCESS.value:
        verdict.reported(desk, item)


def landed(desk: Desk, event: Landed) -> None:
    item = desk.items.get(event.item)
    if item is not None and item.landing is Landing.ASKED and desk.speculates:
        verdict.has_landed(desk, item)


def landing_refused(desk: Desk, event: LandingRefused) -> None:
    item = desk.items.get(event.item)
    if item is not None and item.landing is Landing.ASKED and desk.speculates:
        verdict.landing_refused(desk, item, event.reason, event.landed)
