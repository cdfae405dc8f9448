"""What one decision of the gate costs: CPU time of `step` in queues of growing length, two jobs an item, no window."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from functools import partial

import msgspec

from bench.report import Report
from trunkline.gate.effects import Effect, FreezeJobs, MergeFuture, StartBuild
from trunkline.gate.events import BuildCompleted, BuildStarted, Enqueue, Event, FutureMerged, GraphFrozen, Landed
from trunkline.gate.model import (
    Change,
    ItemId,
    ItemSpec,
    JobGraph,
    JobSpec,
    Landing,
    Manager,
    Queue,
    QueueId,
    QueueSettings,
    RefKey,
)
from trunkline.gate.step import step

METHOD = (
    "dependent queue, 2 jobs an item, all in the window (0 = unlimited) running; process CPU time of one step (for head_fails_all: of"
    " all steps until every build is asked for again); state_* is the queue as JSON"
)
SIZES = (20, 100, 200, 1000, 10_000)
QUICK_SIZES = (20, 200, 1000)
UNLIMITED_UP_TO = 1000  # beyond it the default window, as anybody's queue of that length has
GRAPH = JobGraph((JobSpec("unit"), JobSpec("integration")))


def run(quick: bool) -> Report:
    report = Report("gate_step", METHOD)
    for size in QUICK_SIZES if quick else SIZES:
        queue = filled(size)
        repeats = 5 if quick else 15
        cases: list[tuple[str, Iterable[float]]] = [
            ("build_completes", [_cost_ms(queue, event) for event in _completions(queue, 20 if quick else 60)]),
            ("enqueue", [_cost_ms(queue, Enqueue(_item(size + n))) for n in range(repeats)]),
            ("head_fails", [_cost_ms(queue, _verdict(queue, 0, "FAILURE")) for _ in range(repeats)]),
            ("head_lands", [_landing_ms(queue) for _ in range(repeats)]),
        ]
        if size <= UNLIMITED_UP_TO:
            cases.append(("head_fails_all", [_reset_ms(queue) for _ in range(3)]))
        cases.append(("state_save", [_timed(partial(msgspec.json.encode, queue)) for _ in range(repeats)]))
        load = partial(msgspec.json.decode, msgspec.json.encode(queue), type=Queue)
        cases.append(("state_load", [_timed(load) for _ in range(repeats)]))
        for case, costs in cases:
            report.rows.append(_row(case, size, queue.settings.window, list(costs)))
    return report


def _row(case: str, items: int, window: int, costs_ms: list[float]) -> dict[str, object]:
    ordered = sorted(costs_ms)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return {
        "case": case,
        "items": items,
        "window": window,
        "cpu_ms_p50": round(statistics.median(ordered), 4),
        "cpu_ms_p95": round(p95, 4),
        "store": False,
        "n": len(ordered),
    }


# -- a full queue


def _item(number: int) -> ItemSpec:
    change = Change(RefKey(f"review:p:{number},1"), "host/p", branch="master", number=number, patchset="1")
    return ItemSpec(ItemId(f"item{number}"), (change,), event_id=str(number), enqueued_at=float(number))


def filled(size: int) -> Queue:
    """A queue of that many items, all their builds running."""
    settings = QueueSettings(manager=Manager.DEPENDENT, window=0 if size <= UNLIMITED_UP_TO else 20, pipeline="gate")
    queue = Queue(QueueId("t/gate/q"), settings=settings)
    for number in range(size):
        queue = _settled(queue, Enqueue(_item(number)))
    return queue


def _settled(queue: Queue, event: Event) -> Queue:
    """One event and all that the world answers to it."""
    waiting = [event]
    while waiting:
        queue, effects = step(queue, waiting.pop(), 0.0)
        waiting += [answer for effect in effects if (answer := _answer(effect)) is not None]
    return queue


def _answer(effect: Effect) -> Event | None:
    match effect:
        case MergeFuture():
            return FutureMerged(effect.item, effect.future)
        case FreezeJobs():
            return GraphFrozen(effect.item, effect.future, GRAPH)
        case StartBuild():
            return BuildStarted(effect.build, at=0.0)
    return None


# -- what is measured


def _timed(action: object) -> float:
    assert callable(action)
    begin = time.process_time_ns()
    action()
    return (time.process_time_ns() - begin) / 1e6


def _cost_ms(queue: Queue, event: Event) -> float:
    return _timed(lambda: step(queue, event, 0.0))


def _verdict(queue: Queue, position: int, result: str) -> BuildCompleted:
    future = queue.items[queue.order[position]].future
    assert future is not None
    build = next(iter(future.runs.values())).build
    assert build is not None
    return BuildCompleted(build, result)


def _completions(queue: Queue, wanted: int) -> list[Event]:
    running = min(len(queue.order), queue.window or len(queue.order))
    return [_verdict(queue, position, "SUCCESS") for position in range(0, running, max(1, running // wanted))]


def _landing_ms(queue: Queue) -> float:
    """The answer that the head has landed."""
    head = queue.order[0]
    while queue.items[head].landing is Landing.NONE:
        future = queue.items[head].future
        assert future is not None
        build = next(run.build for run in future.runs.values() if run.result is None)
        assert build is not None
        queue, _ = step(queue, BuildCompleted(build, "SUCCESS"), 0.0)
    return _cost_ms(queue, Landed(head))


def _reset_ms(queue: Queue) -> float:
    event = _verdict(queue, 0, "FAILURE")
    return _timed(lambda: _settled(queue, event))
