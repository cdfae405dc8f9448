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

from trunkline.gate import answers, comings, verdict
from trunkline.gate.desk import Desk
from trunkline.gate.effects import (
    Effect,
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
    ProvidedFound,
    Reconfigured,
    ReportSent,
    RequirementsLost,
    SemaphoresHad,
    Supersede,
    Tick,
)
from trunkline.gate.invariants import touched_hold
from trunkline.gate.line import sweep
from trunkline.gate.model import (
    Manager,
    Queue,
)
from trunkline.gate.runs import Work, scaled


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


_HANDLERS: dict[type[Event], Callable[[Desk, Any], None]] = {
    Enqueue: comings.enqueue,
    Dequeue: comings.dequeue,
    Supersede: comings.supersede,
    Promote: comings.promote,
    RequirementsLost: comings.requirements_lost,
    ChangeAbandoned: comings.abandoned,
    ChangeMergedElsewhere: comings.merged_elsewhere,
    Reconfigured: comings.reconfigured,
    Tick: comings.tick,
    FutureMerged: answers.future_merged,
    FutureConflicted: answers.future_conflicted,
    GraphFrozen: answers.graph_frozen,
    GraphRefused: answers.graph_refused,
    SemaphoresHad: answers.semaphores_had,
    ProvidedFound: answers.provided_found,
    NodesReady: answers.nodes_ready,
    NodesFailed: answers.nodes_failed,
    BuildStarted: answers.build_started,
    BuildPaused: answers.build_paused,
    BuildFailing: answers.build_failing,
    BuildCompleted: answers.build_completed,
    ReportSent: answers.report_sent,
    Landed: answers.landed,
    LandingRefused: answers.landing_refused,
}
