"""Is it failing, is it done, what is said, and how an item leaves. Every way out of a queue goes through `leave`."""

from __future__ import annotations

from msgspec.structs import replace

from trunkline.gate import graph as jobs
from trunkline.gate.desk import Desk
from trunkline.gate.effects import BuildsetClosed, ItemLeft, Land, Report, ReportKind
from trunkline.gate.line import landed_under, withdraw
from trunkline.gate.model import (
    ON_TIPS,
    Future,
    FutureState,
    Item,
    ItemId,
    JobKind,
    Landing,
    Manager,
    RefKey,
)
from trunkline.gate.starting import BEFORE_REPORT, advance, touch_waiting_behind
from trunkline.gate.window import grown, shrunk

JOB_FAILED = "at least one job failed"
CONFLICTS = "it has a merge conflict"
BROKEN = "it has an invalid configuration"
NO_JOBS = "it has no jobs"
DID_NOT_MERGE = "it did not merge"

NEEDS_FAILED = "This change depends on a change that failed to merge."


def reasons(desk: Desk, item: Item) -> tuple[str, ...]:
    """Why the item is failing, judged by its own future. O(its jobs)."""
    future = item.future
    if future is None:
        return item.failing
    match future.state:
        case FutureState.CONFLICT:
            return (CONFLICTS,)
        case FutureState.BROKEN:
            return (BROKEN,)
        case FutureState.READY:
            if not future.graph:
                return (NO_JOBS,) if desk.speculates else ()
            if any(jobs.counts_as_failed(spec, future.runs[job]) for job, spec in future.graph.items()):
                return (JOB_FAILED,)
            if _is_tested(future) and not jobs.succeeded(future.graph, future.runs):
                return (JOB_FAILED,)  # all were skipped
    return ()


def attend(desk: Desk, item_id: ItemId) -> None:
    """Look at one touched item: move its jobs on, see whether its verdict changed."""
    advance(desk, desk.items[item_id])
    item = desk.items[item_id]
    if item.landing is not Landing.NONE:
        return
    now_failing = reasons(desk, item)
    if now_failing == item.failing:
        return
    news = bool(now_failing) != bool(item.failing)
    item = replace(item, failing=now_failing)
    desk.put(item)
    if news and desk.speculates:
        desk.disturb(desk.position(item_id))
        if not now_failing:
            # While it failed it was in nobody's future, and others may have landed that are not in its own.
            withdraw(desk, item)
        if now_failing and desk.set_holding(item_id, False):
            touch_waiting_behind(desk, desk.position(item_id))


def _is_tested(future: Future) -> bool:
    return (
        future.state is FutureState.READY
        and not future.refreezing
        and jobs.all_done(future.graph, future.runs, BEFORE_REPORT)
    )


def _is_decided(future: Future) -> bool:
    return not future.refreezing and (future.state in (FutureState.CONFLICT, FutureState.BROKEN) or _is_tested(future))


def report_ready(desk: Desk) -> bool:
    """Report or land the first item that stands on the tips and is done. O(failing items in front)."""
    for item_id in desk.order:
        item = desk.items[item_id]
        if not item.live:
            continue
        if item.landing is Landing.LANDED:
            return _finish_reported(desk, item)
        future = item.future
        if item.landing is Landing.ASKED:
            return False
        if future is None:
            if item.failing:
                continue
            return False
        if future.base == ON_TIPS and _is_decided(future):
            return _conclude(desk, item, future)
        if not item.failing:
            return False
    return False


def _conclude(desk: Desk, item: Item, future: Future) -> bool:
    match future.state:
        case FutureState.CONFLICT:
            _reject(desk, item, future, ReportKind.MERGE_CONFLICT, "MERGE_CONFLICT", future.detail)
        case FutureState.BROKEN:
            _reject(desk, item, future, ReportKind.CONFIG_ERROR, "CONFIG_ERROR", future.detail)
        case _ if not future.graph:
            _reject(desk, item, future, ReportKind.NO_JOBS, "NO_JOBS", "")
        case _ if not jobs.succeeded(future.graph, future.runs):
            _reject(desk, item, future, ReportKind.FAILURE, "FAILURE", "")
        case _:
            _accept(desk, item, future)
    return True


def _reject(desk: Desk, item: Item, future: Future, kind: ReportKind, result: str, message: str) -> None:
    desk.emit(BuildsetClosed(item.id, future.id, result, message))
    desk.emit(_report(item, future, kind, result, message))
    if kind is not ReportKind.NO_JOBS:
        desk.window = shrunk(desk.window, desk.settings)
    leave(desk, item, result)


def _report(item: Item, future: Future | None, kind: ReportKind, result: str, message: str) -> Report:
    return Report(
        item.id,
        kind,
        item.changes,
        future.id if future else ON_TIPS,
        event_id=item.event_id,
        result=result,
        message=message,
        files=future.files if future else (),
    )


def _accept(desk: Desk, item: Item, future: Future) -> None:
    if desk.settings.manager is Manager.DEPENDENT:
        desk.put(replace(item, landing=Landing.ASKED))
        desk.emit(Land(item.id, future.id, item.changes, event_id=item.event_id))
        return
    reporters = _has_reporters(future)
    desk.emit(BuildsetClosed(item.id, future.id, "SUCCESS"))
    desk.emit(replace(_report(item, future, ReportKind.SUCCESS, "SUCCESS", ""), answer=reporters))
    if reporters:
        desk.put(replace(item, landing=Landing.ASKED))
    else:
        leave(desk, item, "SUCCESS")


def _has_reporters(future: Future) -> bool:
    return any(spec.kind is JobKind.REPORTER for spec in future.graph.values())


# -- answers


def has_landed(desk: Desk, item: Item) -> None:
    """Landed, and reported with it. Those behind stay as they are."""
    future = item.future
    assert future is not None
    desk.emit(BuildsetClosed(item.id, future.id, "SUCCESS"))
    desk.window = grown(desk.window, desk.settings)
    keys = tuple(change.key for change in item.changes)
    desk.remember_landed(keys)
    position = desk.position(item.id)
    landed_under(desk, position + 1, future.id)
    if _has_reporters(future):
        desk.put(replace(item, landing=Landing.LANDED))
        desk.touch(item.id)
        desk.disturb(position)
    else:
        leave(desk, item, "SUCCESS", landed=True)


def landing_refused(desk: Desk, item: Item, reason: str, landed: tuple[RefKey, ...]) -> None:
    """The review system did not take it: those behind are reset. The success report stands, nothing else is said."""
    assert item.future is not None
    desk.remember_landed(landed)
    message = f"This change could not be landed: {reason}" if reason else "This change could not be landed."
    desk.emit(BuildsetClosed(item.id, item.future.id, "MERGE_FAILURE", message))
    desk.window = shrunk(desk.window, desk.settings)
    leave(desk, item, "MERGE_FAILURE")


def reported(desk: Desk, item: Item) -> None:
    """The success report is out: reporter jobs may run."""
    desk.put(replace(item, landing=Landing.LANDED))
    desk.touch(item.id)


def _finish_reported(desk: Desk, item: Item) -> bool:
    """The queue stands still until the reporter jobs are done; if one fails, those behind start over."""
    future = item.future
    assert future is not None
    if not jobs.all_done(future.graph, future.runs, (JobKind.REPORTER,)):
        return False
    bad = any(
        spec.kind is JobKind.REPORTER and future.runs[job].result not in (jobs.SUCCESS, jobs.SKIPPED)
        for job, spec in future.graph.items()
    )
    position = desk.position(item.id)
    leave(desk, item, "SUCCESS", landed=True)
    if bad and desk.speculates:
        for behind in desk.order[position:]:
            withdraw(desk, desk.items[behind])
        desk.disturb(position)
        desk.sweep_all = True
    return True


# -- ways out


def leave(desk: Desk, item: Item, result: str, *, landed: bool = False) -> None:
    """Take the item out, with everything it holds; what needs it goes too if it did not land."""
    position = _remove(desk, item, result, landed)
    if not landed and desk.speculates:
        _abandon_dependents(desk, item, position)
    if not any(desk.items[other].live for other in desk.order):
        _drop_non_live(desk)


def _remove(desk: Desk, item: Item, result: str, landed: bool) -> int:
    item = desk.items[item.id]
    if item.future is not None:
        # Its buildset is closed by who calls; here only what it holds is given back.
        item = withdraw(desk, replace(item, future=replace(item.future, state=FutureState.MERGING)))
    held = desk.set_holding(item.id, False)
    position = desk.remove(item)
    if held:
        touch_waiting_behind(desk, position - 1)
    desk.emit(ItemLeft(item.id, tuple(change.key for change in item.changes), landed, result))
    desk.disturb(position)
    return position


def _abandon_dependents(desk: Desk, gone: Item, position: int) -> None:
    """What needs an item that left without landing can't be saved: it leaves at once and is told why.

    One pass front to back finds indirect ones too, since what is needed stands ahead. O(queue behind).
    """
    lost = {change.key: change for change in gone.changes if change.key not in desk.landed}
    for item_id in desk.order[position:]:
        item = desk.items[item_id]
        missed = dict.fromkeys(key for change in item.changes for key in change.needs if key in lost)
        if not missed:
            continue
        lost.update((change.key, change) for change in item.changes)
        names = ", ".join(lost[key].url or key for key in missed)
        needed = f"Changes {names} are needed." if len(missed) > 1 else f"Change {names} is needed."
        message = f"{NEEDS_FAILED}\n\n{needed}"
        _take_back(desk, item, ReportKind.FAILURE, "FAILURE", message)
        _remove(desk, item, "FAILURE", False)


def put_out(desk: Desk, item: Item, kind: ReportKind | None, result: str, message: str) -> None:
    """Leave before a verdict: by somebody's wish, or because what it needs is gone."""
    _take_back(desk, item, kind, result, message)
    leave(desk, item, result)


def _take_back(desk: Desk, item: Item, kind: ReportKind | None, result: str, message: str) -> None:
    future = item.future
    withdraw(desk, item, result)
    if kind is not None and item.live and (kind is not ReportKind.DEQUEUE or item.start_reported):
        desk.emit(_report(item, future, kind, result, message))


def _drop_non_live(desk: Desk) -> None:
    """Non-live items with nothing live behind them have no purpose."""
    for item_id in desk.order:
        item = desk.items[item_id]
        desk.remove(item)
        desk.emit(ItemLeft(item.id, tuple(change.key for change in item.changes)))
