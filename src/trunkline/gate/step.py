"""(queue, event, now) → (queue, effects).

Two rules for this file: a handler only writes down what the event says and touches what it concerns; what follows from it
(starting, resetting, reporting, landing) is decided in `_settle`, the same way whatever the event was.

Costs: an event about one build that changes no verdict is O(jobs of its item); a changed verdict O(items behind in the
window); landing and leaving O(window); reconfiguring and promoting O(queue). (Copying the index of items is O(queue) too,
in C.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from trunkline.gate import graph as jobs
from trunkline.gate import verdict
from trunkline.gate.desk import Desk
from trunkline.gate.effects import (
    BuildsetCreated,
    Effect,
    FreezeJobs,
    ItemLeft,
    Report,
    ReportKind,
    ReviseNodes,
)
from trunkline.gate.events import (
    BuildCompleted,
    BuildFailing,
    BuildPaused,
    BuildStarted,
    ChangeAbandoned,
    ChangeMergedElsewhere,
    Dequeue,
    DequeueReason,
    Enqueue,
    Event,
    FutureConflicted,
    FutureMerged,
    GraphFrozen,
    GraphRefused,
    Landed,
    LandingRefused,
    NodesFailed,
    NodesReady,
    Promote,
    Reconfigured,
    ReportSent,
    RequirementsLost,
    RetryReason,
    SemaphoresHad,
    Supersede,
    Tick,
)
from trunkline.gate.invariants import touched_hold
from trunkline.gate.line import landed_under, sweep
from trunkline.gate.model import (
    FUTURE_MOVES,
    ON_TIPS,
    RUN_MOVES,
    Future,
    FutureId,
    FutureState,
    Grant,
    Item,
    ItemId,
    ItemSpec,
    JobSpec,
    Landing,
    Manager,
    Queue,
    RefKey,
    Run,
    RunState,
)
from trunkline.gate.runs import Work, is_holding, scaled
from trunkline.gate.window import reconfigured


def step(queue: Queue, event: Event, now: float) -> tuple[Queue, tuple[Effect, ...]]:
    """Advance one queue by one event.

    Pure: the same arguments give the same result on every machine, for ever. Unknown or stale events (a build that was
    cancelled, an item that has left) change nothing and have no effects, so that any event may be delivered twice.
    Raises nothing: a broken invariant is a bug and stops the owner before anything is written.
    """
    desk = Desk(queue, now)
    _HANDLERS[type(event)](desk, event)
    _settle(desk)
    after = desk.queue()
    assert touched_hold(queue, after), (event, queue, after)
    return after, tuple(desk.effects)


def _settle(desk: Desk) -> None:
    """Until nothing moves: look at what was touched, report what is done, make the rest stand where it should.

    Reports come before the sweep so that what shrinks the window does so before anything new is placed in it.
    """
    while True:
        if desk.touched:
            for item in desk.take_touched():
                verdict.attend(desk, item)
        elif verdict.report_ready(desk):
            pass
        elif desk.sweep_from is not None:
            sweep(desk)
        else:
            break
    if desk.reordered and desk.asking:
        _revise_requests(desk)


def _revise_requests(desk: Desk) -> None:
    """Open node requests follow their item to its new place. O(queue) after a departure, while requests are open."""
    if desk.settings.manager is Manager.INDEPENDENT:
        return
    places = {item: scaled(position) for position, item in enumerate(desk.order)}
    for request, (item_id, job) in desk.asking.items():
        item = desk.items[item_id]
        assert item.future is not None
        if item.future.runs[job].relative_priority != places[item_id]:
            work = Work(desk, item)
            work.change(job, relative_priority=places[item_id])
            work.save()
            desk.emit(ReviseNodes(request, places[item_id]))


# -- items come and go


def _enqueue(desk: Desk, event: Enqueue) -> None:
    spec = event.item
    if spec.id in desk.items or spec.id in desk.departed or not spec.changes:
        return
    holders = {desk.changes[change.key] for change in spec.changes if change.key in desk.changes}
    if any(_covers(desk.items[holder], spec) for holder in holders):
        return
    for holder in holders:
        if holder in desk.items and desk.items[holder].landing is Landing.NONE:
            verdict.put_out(desk, desk.items[holder], None, "DEQUEUED", "")
    missing = _missing_needs(desk, spec)
    if missing:
        _refuse(desk, spec, missing)
        return
    if desk.settings.manager is Manager.SUPERCEDENT and spec.live:
        for waiting in desk.order[1:]:
            verdict.put_out(desk, desk.items[waiting], None, "DEQUEUED", "Superseded by a newer ref.")
    desk.add(
        Item(
            spec.id,
            spec.changes,
            live=spec.live,
            event_id=spec.event_id,
            enqueued_at=spec.enqueued_at or desk.now,
            relative_priority=spec.relative_priority,
            quiet=spec.quiet,
        )
    )
    if desk.settings.reports_enqueue and spec.live:
        desk.emit(Report(spec.id, ReportKind.ENQUEUE, spec.changes, ON_TIPS, event_id=spec.event_id))
    desk.disturb(len(desk.order) - 1)


def _covers(item: Item, spec: ItemSpec) -> bool:
    """It is here already: live (or as little live as asked for) with exactly these changes, or landing them."""
    if item.landing is not Landing.NONE:
        return True
    return {c.key for c in item.changes} == {c.key for c in spec.changes} and item.live >= spec.live


def _missing_needs(desk: Desk, spec: ItemSpec) -> list[RefKey]:
    """Needs that were in the queue when the item was admitted and have left it since without landing."""
    if not desk.speculates:
        return []
    own = {change.key for change in spec.changes}
    needs = [key for change in spec.changes for key in change.needs]
    return [key for key in needs if key not in own and key not in desk.changes and key not in desk.landed]


def _refuse(desk: Desk, spec: ItemSpec, missing: list[RefKey]) -> None:
    message = "\n".join(["This change needs changes that are not in the queue any more:", *(f"- {k}" for k in missing)])
    desk.emit(
        Report(spec.id, ReportKind.ENQUEUE_REFUSED, spec.changes, ON_TIPS, event_id=spec.event_id, message=message)
    )
    desk.emit(ItemLeft(spec.id, tuple(change.key for change in spec.changes), result="DEQUEUED"))
    desk.remember_departed(spec.id)


def _dequeue(desk: Desk, event: Dequeue) -> None:
    item_id = event.item or (desk.changes.get(event.change) if event.change else None)
    _put_out(desk, item_id, event.message, event.reason)


def _put_out(desk: Desk, item_id: ItemId | None, message: str, reason: DequeueReason) -> None:
    item = desk.items.get(item_id) if item_id else None
    if item is None or not item.live or item.landing is not Landing.NONE:
        return  # once landing was asked for, its answer decides
    if reason is DequeueReason.DEPENDENCY:
        verdict.put_out(desk, item, ReportKind.FAILURE, "FAILURE", message)
    else:
        verdict.put_out(desk, item, ReportKind.DEQUEUE, "DEQUEUED", message)


def _supersede(desk: Desk, event: Supersede) -> None:
    message = f"Superseded by patch set {event.by}." if event.by else "Superseded by a newer patch set."
    _put_out(desk, desk.changes.get(event.change), message, DequeueReason.NEW_PATCHSET)


def _requirements_lost(desk: Desk, event: RequirementsLost) -> None:
    _put_out(desk, desk.changes.get(event.change), event.message, DequeueReason.REQUIREMENTS)


def _abandoned(desk: Desk, event: ChangeAbandoned) -> None:
    _put_out(desk, desk.changes.get(event.change), "The change was abandoned.", DequeueReason.ABANDONED)


def _merged_elsewhere(desk: Desk, event: ChangeMergedElsewhere) -> None:
    """In a queue that lands: nothing is left to do for it. What stands on it alone keeps standing."""
    item_id = desk.changes.get(event.change)
    if item_id is None or not desk.speculates:
        return
    item = desk.items[item_id]
    if item.landing is not Landing.NONE:
        return
    desk.remember_landed((event.change,))
    if len(item.changes) == 1 and item.future is not None and item.future.base == ON_TIPS and not item.failing:
        landed_under(desk, desk.position(item_id) + 1, item.future.id)
    verdict.put_out(desk, item, ReportKind.DEQUEUE, "DEQUEUED", "The change landed outside this queue.")


def _promote(desk: Desk, event: Promote) -> None:
    """Bring these (and what they need) to the front, in this order. What was under way there stays at the very front."""
    front: dict[ItemId, None] = {}
    for item_id in desk.order:
        item = desk.items[item_id]
        under_way = item.landing is not Landing.NONE or (item.future is not None and not desk.speculates)
        if under_way or not item.live:
            front[item_id] = None
    for key in event.changes:
        _with_needs(desk, desk.changes.get(key), front)
    order = (*front, *(item for item in desk.order if item not in front))
    if order != desk.order:
        desk.order = order
        desk.reordered = True
        desk.sweep_all = True
        desk.disturb(0)


def _with_needs(desk: Desk, item_id: ItemId | None, into: dict[ItemId, None]) -> None:
    """Depth first, needs before what needs them; an explicit stack, as chains may be long."""
    stack: list[tuple[ItemId, bool]] = [(item_id, False)] if item_id else []
    seen: set[ItemId] = set()
    while stack:
        current, expanded = stack.pop()
        if expanded:
            into.setdefault(current)
            continue
        if current in seen or current in into:
            continue
        seen.add(current)
        stack.append((current, True))
        needs = [key for change in desk.items[current].changes for key in change.needs]
        stack += [(desk.changes[key], False) for key in reversed(needs) if key in desk.changes]


def _reconfigured(desk: Desk, event: Reconfigured) -> None:
    if event.generation and event.generation <= desk.generation:
        return
    desk.generation = event.generation or desk.generation
    desk.window = reconfigured(desk.window, desk.settings, event.settings)
    desk.settings = event.settings
    desk.sweep_all = True
    desk.disturb(0)
    if not event.refreeze:
        return
    for item_id in desk.order:
        item = desk.items[item_id]
        future = item.future
        if future is None or item.landing is not Landing.NONE:
            continue
        if future.state in (FutureState.READY, FutureState.BROKEN, FutureState.FREEZING):
            again = future.state is not FutureState.FREEZING
            asked = replace(future, refreezing=again, round=future.round + 1)
            desk.put(replace(item, future=asked))
            desk.emit(FreezeJobs(item.id, future.id, future.base, item.changes, asked.round))


def _tick(desk: Desk, event: Tick) -> None:
    if desk.order:
        desk.disturb(0)


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


def _future_merged(desk: Desk, event: FutureMerged) -> None:
    if found := _awaiting(desk, event.item, event.future, event):
        item, future = found
        _move(desk, item, future, event)
        desk.emit(FreezeJobs(item.id, future.id, future.base, item.changes))


def _future_conflicted(desk: Desk, event: FutureConflicted) -> None:
    if found := _awaiting(desk, event.item, event.future, event):
        item, future = found
        _move(desk, item, future, event, detail=event.message, files=event.files)
        _open_buildset(desk, item, future)


def _graph_refused(desk: Desk, event: GraphRefused) -> None:
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


def _graph_frozen(desk: Desk, event: GraphFrozen) -> None:
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


def _semaphores_had(desk: Desk, event: SemaphoresHad) -> None:
    run = _run(desk, event.item, event.job)
    if run is not None and run.ticket == event.ticket and run.semaphores is Grant.ASKED:
        work = Work(desk, desk.items[event.item])
        work.change(event.job, semaphores=Grant.HAD)
        _done_with(desk, work)


def _nodes_ready(desk: Desk, event: NodesReady) -> None:
    run = _run(desk, event.item, event.job)
    if run is not None and run.request == event.request and run.nodes is Grant.ASKED:
        work = Work(desk, desk.items[event.item])
        desk.forget_request(event.request)
        work.change(event.job, nodes=Grant.HAD, provider=event.provider)
        _done_with(desk, work)


def _nodes_failed(desk: Desk, event: NodesFailed) -> None:
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


def _build_started(desk: Desk, event: BuildStarted) -> None:
    if (found := _work_on(desk, event.build)) and (found[2].state, "begin") in RUN_MOVES:
        work, job, _ = found
        work.move(job, "begin", started_at=desk.now if event.at is None else event.at)
        _done_with(desk, work)


def _build_paused(desk: Desk, event: BuildPaused) -> None:
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


def _build_failing(desk: Desk, event: BuildFailing) -> None:
    if (found := _work_on(desk, event.build)) and not found[2].failing:
        work, job, _ = found
        work.change(job, failing=True)
        _done_with(desk, work)


def _build_completed(desk: Desk, event: BuildCompleted) -> None:
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


def _report_sent(desk: Desk, event: ReportSent) -> None:
    item = desk.items.get(event.item)
    waits = item is not None and item.landing is Landing.ASKED and desk.settings.manager is not Manager.DEPENDENT
    if item is not None and waits and event.kind == ReportKind.SUCCESS.value:
        verdict.reported(desk, item)


def _landed(desk: Desk, event: Landed) -> None:
    item = desk.items.get(event.item)
    if item is not None and item.landing is Landing.ASKED and desk.speculates:
        verdict.has_landed(desk, item)


def _landing_refused(desk: Desk, event: LandingRefused) -> None:
    item = desk.items.get(event.item)
    if item is not None and item.landing is Landing.ASKED and desk.speculates:
        verdict.landing_refused(desk, item, event.reason, event.landed)


_HANDLERS: dict[type[Event], Callable[[Desk, Any], None]] = {
    Enqueue: _enqueue,
    Dequeue: _dequeue,
    Supersede: _supersede,
    Promote: _promote,
    RequirementsLost: _requirements_lost,
    ChangeAbandoned: _abandoned,
    ChangeMergedElsewhere: _merged_elsewhere,
    Reconfigured: _reconfigured,
    Tick: _tick,
    FutureMerged: _future_merged,
    FutureConflicted: _future_conflicted,
    GraphFrozen: _graph_frozen,
    GraphRefused: _graph_refused,
    SemaphoresHad: _semaphores_had,
    NodesReady: _nodes_ready,
    NodesFailed: _nodes_failed,
    BuildStarted: _build_started,
    BuildPaused: _build_paused,
    BuildFailing: _build_failing,
    BuildCompleted: _build_completed,
    ReportSent: _report_sent,
    Landed: _landed,
    LandingRefused: _landing_refused,
}
