"""The status of a tenant from the states of its queues. Pure: queues and what is known of their builds in, JSON out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from trunkline.gate.model import (
    ON_TIPS,
    Change,
    Future,
    Grant,
    Item,
    ItemId,
    JobId,
    JobSpec,
    Manager,
    Queue,
    Run,
    RunState,
)
from trunkline.gate.window import contains, initial

Json = dict[str, Any]
Estimate = tuple[str, str, str | None]  # job, canonical project, branch


class Facts(msgspec.Struct, frozen=True):
    """What the queues themselves do not say."""

    now: float
    web_root: str  # of the tenant, with a slash at the end
    builds: Mapping[str, Mapping[str, Any]] = {}  # uuid → row of the build
    estimates: Mapping[Estimate, float] = {}
    names: Mapping[str, str] = {}  # canonical project → its name in this tenant
    websocket_url: str | None = None


def builds_in(queues: Sequence[Queue]) -> list[str]:
    """Every build that an item shows."""
    return [str(run.build) for _, _, _, run in _runs(queues) if run.build]


def estimates_wanted(queues: Sequence[Queue]) -> list[Estimate]:
    return sorted(
        {_estimate_key(item, spec) for _, item, spec, _ in _runs(queues)},
        key=lambda key: (key[0], key[1], key[2] or ""),
    )


def _runs(queues: Sequence[Queue]) -> Iterator[tuple[Queue, Item, JobSpec, Run]]:
    for queue in queues:
        for item in queue.items.values():
            if item.future is not None and item.live:
                for job, spec in item.future.graph.items():
                    yield queue, item, spec, item.future.runs.get(job, Run())


def _change_of(item: Item, spec: JobSpec) -> Change:
    return next((change for change in item.changes if change.key == spec.change), item.changes[0])


def _estimate_key(item: Item, spec: JobSpec) -> Estimate:
    change = _change_of(item, spec)
    return spec.name, change.project, change.branch


def queue_json(queue: Queue, name: str, branch: str | None, facts: Facts) -> Json:
    """A queue with its items in runs: an item that stands on nothing ahead starts a new one."""
    ahead = _ahead(queue)
    behind: dict[ItemId, list[str]] = {}
    for item_id, on in ahead.items():
        if on is not None:
            behind.setdefault(on, []).append(item_id)
    runs: list[list[Json]] = []
    remaining: dict[ItemId, int | None] = {}
    for position, item_id in enumerate(queue.order):
        on = ahead[item_id]
        entry = _item(queue, queue.items[item_id], position, facts)
        entry |= {"item_ahead": on, "items_behind": behind.get(item_id, [])}
        entry["remaining_time"] = remaining[item_id] = _later(
            entry["remaining_time"], remaining.get(on) if on else None
        )
        if on is None or not runs:
            runs.append([])
        runs[-1].append(entry)
    return {
        "name": facts.names.get(name, name),
        "branch": branch,
        "window": window_of(queue),
        "heads": runs,
    }


def window_of(queue: Queue) -> int:
    """How far the queue speculates now; 0 is without limit."""
    return queue.window if queue.window >= 0 else initial(queue.settings)


def _later(own: int | None, ahead: int | None) -> int | None:
    return own if own is None or ahead is None else max(own, ahead)


def _ahead(queue: Queue) -> dict[ItemId, ItemId | None]:
    """Whom each item stands on: as its future says; without one, the nearest ahead that does not fail."""
    by_future = {item.future.id: item.id for item in queue.items.values() if item.future is not None}
    line = queue.settings.manager is Manager.DEPENDENT
    nearest: ItemId | None = None
    out: dict[ItemId, ItemId | None] = {}
    for item_id in queue.order:
        item = queue.items[item_id]
        if line and item.future is not None:
            out[item_id] = None if item.future.base == ON_TIPS else by_future.get(item.future.base)
        elif line or queue.settings.manager is Manager.INDEPENDENT:
            out[item_id] = nearest
        else:
            out[item_id] = None
        if not item.failing:
            nearest = item_id
    return out


def _item(queue: Queue, item: Item, position: int, facts: Facts) -> Json:
    future = item.future
    jobs = [_job(queue, item, future, job, facts) for job in future.graph] if future and item.live else []
    return {
        "id": item.id,
        "live": item.live,
        "active": contains(window_of(queue), position),
        "refs": [_ref(change, facts) for change in item.changes],
        "item_ahead": None,
        "items_behind": [],
        "failing_reasons": list(item.failing),
        "zuul_ref": f"Z{future.id}" if future else None,
        "enqueue_time": int(item.enqueued_at * 1000),
        "remaining_time": _remaining(jobs),
        "jobs": jobs,
    }


def _ref(change: Change, facts: Facts) -> Json:
    name = facts.names.get(change.project) or change.key.split(":", 2)[1]
    number = f"{change.number},{change.patchset}" if change.number is not None else change.newrev
    return {
        "id": number,
        "url": change.url,
        "ref": change.ref,
        "project": name,
        "project_canonical": change.project,
        "owner": change.owner,
    }


def _remaining(jobs: Sequence[Json]) -> int | None:
    """Milliseconds that the longest job has left; None until all have started, 0 without estimates."""
    longest = 0
    for job in jobs:
        if job["result"] is not None:
            continue
        if job["start_time"] is None:
            return None
        longest = max(longest, job["remaining_time"] or 0)
    return longest if jobs else None


def _job(queue: Queue, item: Item, future: Future, job: JobId, facts: Facts) -> Json:
    spec, run = future.graph[job], future.runs.get(job, Run())
    build = facts.builds.get(run.build or "", {})
    begun = run.build is not None
    start = run.started_at if begun else None
    end = run.ended_at if run.state is RunState.DONE else None
    estimate = facts.estimates.get(_estimate_key(item, spec))
    elapsed = int(((end or facts.now) - start) * 1000) if start is not None else None
    left = None
    if elapsed is not None and end is None:
        left = max(0, int(estimate * 1000) - elapsed) if estimate is not None else None
    result = run.result if run.state is RunState.DONE else None
    started = start is not None or run.state is RunState.DONE
    return {
        "name": spec.name,
        "dependencies": [dependency.name for dependency in spec.dependencies],
        "uuid": run.build,
        "result": result,
        "voting": spec.voting,
        "queued": run.requests > 0,
        "url": _url(run, build, result, facts),
        "report_url": f"{facts.web_root}build/{run.build}" if begun else None,
        "waiting_status": None if started else _waiting_for(future, spec, run),
        "start_time": start,
        "end_time": end,
        "execute_time": build.get("execute_time") or start,
        "estimated_time": estimate,
        "elapsed_time": elapsed,
        "remaining_time": left,
        "pipeline": queue.settings.pipeline if begun else None,
        "tries": run.tries,
        "canceled": bool(build.get("cancel_requested")) if begun else None,
        "paused": run.state is RunState.PAUSED if begun else None,
        "retry": (run.tries > 1 and run.state is not RunState.DONE) if begun else None,
        "pre_fail": run.failing if begun else None,
        "snapshotting": False if begun else None,
    }


def _url(run: Run, build: Mapping[str, Any], result: str | None, facts: Facts) -> str | None:
    """Where to look: the stream while it runs, the log after."""
    if run.build is None:
        return None
    if result is not None:
        return build.get("log_url") or f"{facts.web_root}build/{run.build}"
    url = f"stream/{run.build}?logfile=console.log"
    return f"{url}&websocket_url={facts.websocket_url}" if facts.websocket_url else url


def _waiting_for(future: Future, spec: JobSpec, run: Run) -> str | None:
    """What a job that has not started waits for, in the words that dashboards know."""
    if run.state is RunState.REQUESTED:
        return "executor"
    open_parents = [
        future.graph[parent].name
        for parent, _ in spec.parents
        if parent in future.graph and future.runs.get(parent, Run()).state not in (RunState.DONE, RunState.PAUSED)
    ]
    if open_parents:
        return f"dependencies: {', '.join(open_parents)}"
    if run.semaphores is Grant.ASKED:
        return f"semaphores: {', '.join(semaphore.name for semaphore in spec.semaphores)}"
    if run.nodes is Grant.ASKED:
        return f"nodeset request: {run.request}"
    if spec.requires and run.nodes is Grant.NONE and run.semaphores is Grant.NONE:
        return f"requirements: {', '.join(spec.requires)}"
    return "executor"
