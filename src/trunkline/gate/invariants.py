"""What is true of every queue after every step. `touched_hold` is cheap and always on; `violations` looks at everything."""

from __future__ import annotations

from trunkline.gate.model import (
    LIVE_RUNS,
    ON_TIPS,
    Future,
    FutureState,
    Grant,
    Item,
    Landing,
    Manager,
    Queue,
    RunState,
)
from trunkline.gate.window import contains, initial


def touched_hold(before: Queue, after: Queue) -> bool:
    """Sizes of the indexes agree. O(1)."""
    if after is before:
        return True
    return len(after.order) == len(after.items) and len(after.changes) >= len(after.items)


def violations(queue: Queue) -> list[str]:
    """Everything that is wrong with a queue. O(queue)."""
    found: list[str] = []
    if list(queue.items) != list(dict.fromkeys(queue.order)) and set(queue.items) != set(queue.order):
        found.append("order and items disagree")
    builds, asking = {}, {}
    for item_id in queue.order:
        item = queue.items[item_id]
        if item.future is None:
            continue
        for job, run in item.future.runs.items():
            if run.state in LIVE_RUNS:
                builds[run.build] = (item_id, job)
            if run.nodes is Grant.ASKED:
                asking[run.request] = (item_id, job)
            found += _of_run(item, job, item.future)
    if builds != queue.builds:
        found.append(f"index of builds: {queue.builds} instead of {builds}")
    if asking != queue.asking:
        found.append(f"index of node requests: {queue.asking} instead of {asking}")
    changes = {change.key: item.id for item in queue.items.values() for change in item.changes}
    if changes != queue.changes:
        found.append("index of changes disagrees")
    found += _of_window(queue)
    if queue.settings.manager is Manager.DEPENDENT:
        found += _of_line(queue)
    return found


def _of_run(item: Item, job: str, future: Future) -> list[str]:
    run = future.runs[job]  # type: ignore[index]
    found = []
    if run.state is RunState.DONE and (run.request or run.ticket):
        found.append(f"L9: {job} of {item.id} is done and still holds something")
    if run.state is RunState.DONE and run.result is None:
        found.append(f"{job} of {item.id} is done without a result")
    if run.state in LIVE_RUNS and future.graph[job].nodesets and run.nodes is not Grant.HAD:  # type: ignore[index]
        found.append(f"{job} of {item.id} is being built without its nodes")
    if not item.live and run.state is not RunState.WAITING:
        found.append(f"non-live {item.id} runs {job}")
    return found


def _of_window(queue: Queue) -> list[str]:
    """L5."""
    window = queue.window if queue.window >= 0 else initial(queue.settings)
    found = []
    for position, item_id in enumerate(queue.order):
        item = queue.items[item_id]
        outside = not contains(window, position) and item.live
        if outside and item.future is not None and item.landing is Landing.NONE:
            found.append(f"L5: {item_id} at {position} has a future, the window is {window}")
        if not outside and item.live and item.future is None and not item.failing:
            found.append(f"L2: {item_id} at {position} is in the window {window} and has no future")
    return found


def _of_line(queue: Queue) -> list[str]:
    """L4: in the window, everyone stands on the nearest non-failing item ahead."""
    window = queue.window if queue.window >= 0 else initial(queue.settings)
    found, base = [], ON_TIPS
    for position, item_id in enumerate(queue.order):
        item = queue.items[item_id]
        if not contains(window, position):
            break
        if item.future is None or item.landing is Landing.LANDED:
            continue
        if item.future.base != base and item.landing is Landing.NONE:
            found.append(f"L4: {item_id} stands on {item.future.base or 'the tips'} instead of {base or 'the tips'}")
        if not item.failing:
            base = item.future.id
        if item.failing and item.future.state is FutureState.MERGING:
            found.append(f"{item_id} fails before it is merged")
    return found
