"""Why an item is where it is: read off the queue, in sentences, each with the data it was made from.

Nothing here is remembered or guessed. What a queue does not know (how long a job takes, why a cloud has no nodes) is for
the caller to add: `about` carries the ids to look it up by.
"""

from __future__ import annotations

from typing import Any

from trunkline.gate import graph as jobs
from trunkline.gate.line import NEEDED_FAILS
from trunkline.gate.model import (
    ON_TIPS,
    Change,
    Future,
    FutureState,
    Grant,
    Item,
    ItemId,
    JobId,
    JobKind,
    Landing,
    Manager,
    Queue,
    RefKey,
    Run,
    RunState,
    Struct,
)
from trunkline.gate.window import contains, initial


class Reason(Struct, frozen=True):
    """One sentence. `kind` is for programs, `text` for people, `about` for both."""

    kind: str
    text: str
    about: dict[str, Any] = {}


def find(queue: Queue, key: RefKey | ItemId) -> Item | None:
    """By item id or by the key of a change in it."""
    item_id = queue.changes.get(RefKey(key), ItemId(key))
    return queue.items.get(item_id)


def explain(queue: Queue, item: Item) -> tuple[Reason, ...]:
    """Where it stands, on what, what it waits for, and what becomes of it then; the most general first."""
    reasons = [_place(queue, item)]
    if not item.live:
        return (*reasons, Reason("non-live", "It is here only because what is behind needs it; it is not tested."))
    reasons += _failing(queue, item)
    if item.landing is not Landing.NONE:
        return (*reasons, *_landing(queue, item))
    if item.future is None:
        return (*reasons, *_without_future(queue, item))
    reasons.append(_footing(queue, item, item.future))
    reasons += _future(item.future)
    if item.future.state is FutureState.READY:
        reasons += _jobs(queue, item, item.future)
        reasons += _ahead(queue, item, item.future)
    return tuple(reasons)


def title(change: Change) -> str:
    return f"{change.project} {change.number},{change.patchset}" if change.number else str(change.key)


def _titles(item: Item) -> str:
    return " with ".join(title(change) for change in item.changes)


def _place(queue: Queue, item: Item) -> Reason:
    position = queue.order.index(item.id)
    where = "at the head" if position == 0 else f"at place {position + 1} of {len(queue.order)}"
    text = f"{_titles(item)} is {where} of queue {queue.settings.name or queue.id} in {queue.settings.pipeline}."
    return Reason("place", text, {"position": position, "length": len(queue.order), "queue": queue.id})


def _failing(queue: Queue, item: Item) -> list[Reason]:
    if not item.failing:
        return []
    if item.failing == (NEEDED_FAILS,):
        culprits = [
            queue.items[other]
            for change in item.changes
            for key in change.needs
            if (other := queue.changes.get(key)) and other != item.id and queue.items[other].failing
        ]
        names = ", ".join(_titles(culprit) for culprit in culprits)
        text = f"It needs {names}, which is failing: it is not tested, and leaves when that does."
        return [Reason("needed-fails", text, {"items": [culprit.id for culprit in culprits]})]
    about = {"failed": _failed_jobs(item.future)} if item.future else {}
    return [Reason("failing", f"It will not land as it stands: {', '.join(item.failing)}.", about)]


def _failed_jobs(future: Future) -> list[str]:
    return [job for job, spec in future.graph.items() if jobs.counts_as_failed(spec, future.runs[job])]


def _landing(queue: Queue, item: Item) -> list[Reason]:
    if item.landing is Landing.LANDED:
        return [
            Reason("reporter-jobs", "It is done and reported; its reporter jobs run, and the queue waits for them.")
        ]
    what = "landed" if queue.settings.manager is Manager.DEPENDENT else "reported"
    return [Reason("landing", f"All is tested; it is being {what}.")]


def _without_future(queue: Queue, item: Item) -> list[Reason]:
    if item.failing:
        return []
    window = queue.window if queue.window >= 0 else initial(queue.settings)
    position = queue.order.index(item.id)
    if contains(window, position):
        return []
    text = f"The window is {window}: it is tested once {position - window + 1} of those ahead have left."
    return [Reason("window", text, {"window": window, "position": position})]


def _footing(queue: Queue, item: Item, future: Future) -> Reason:
    if future.base == ON_TIPS:
        below = [queue.items[other] for other in queue.order if not queue.items[other].live]
        if below and queue.settings.manager is Manager.INDEPENDENT:
            names = ", ".join(_titles(other) for other in below)
            return Reason(
                "stands-on", f"It is tested on the branch tips with {names}.", {"items": [i.id for i in below]}
            )
        return Reason("stands-on", "It is tested on the branch tips.", {"items": []})
    line = _line(queue, item)
    names = ", then ".join(_titles(other) for other in line)
    resets = item.generation - 1
    times = f" (after {resets} reset{'s' if resets > 1 else ''})" if resets else ""
    text = f"It is tested as if {names} had landed{times}."
    return Reason("stands-on", text, {"items": [other.id for other in line], "resets": resets})


def _line(queue: Queue, item: Item) -> list[Item]:
    """The items that its future assumes landed, head first."""
    ahead = queue.order[: queue.order.index(item.id)]
    return [
        i for other in ahead if (i := queue.items[other]).future and not i.failing and i.landing is not Landing.LANDED
    ]


def _future(future: Future) -> list[Reason]:
    match future.state:
        case FutureState.MERGING:
            return [Reason("merging", "Its future is being merged.", {"future": future.id})]
        case FutureState.FREEZING:
            return [Reason("freezing", "Its jobs are being determined from the configuration.", {"future": future.id})]
        case FutureState.CONFLICT:
            files = ", ".join(future.files) or "unknown files"
            return [
                Reason("conflict", f"It conflicts with what it stands on, in {files}.", {"files": list(future.files)})
            ]
        case FutureState.BROKEN:
            return [Reason("broken", f"Its configuration is invalid: {future.detail}", {"detail": future.detail})]
        case FutureState.READY if future.refreezing:
            return [Reason("refreezing", "The configuration changed; its jobs are being determined again.")]
    return []


def _jobs(queue: Queue, item: Item, future: Future) -> list[Reason]:
    if not future.graph:
        return [Reason("no-jobs", "No job runs for it here.")]
    return [
        reason
        for job, spec in future.graph.items()
        if spec.kind is not JobKind.REPORTER and (reason := waiting(queue, item, job)) is not None
    ]


def waiting(queue: Queue, item: Item, job: JobId) -> Reason | None:
    """What one job waits for or does; None when it has ended well."""
    future = item.future
    assert future is not None
    spec, run = future.graph[job], future.runs[job]
    about = {"job": job, "build": run.build, "request": run.request, "attempt": run.attempt}
    match run.state:
        case RunState.DONE:
            if run.result == jobs.SUCCESS:
                return None
            voice = "" if spec.voting else ", which does not vote,"
            return Reason("job-ended", f"{job}{voice} ended {run.result}.", about | {"result": run.result})
        case RunState.REQUESTED:
            return Reason("executor", f"{job} waits for an executor.", about)
        case RunState.RUNNING:
            attempt = f", attempt {run.attempt} of {spec.attempts}" if run.attempt > 1 else ""
            known = " and is known to fail" if run.failing else ""
            return Reason("running", f"{job} runs{attempt}{known}.", about | {"since": run.started_at})
        case RunState.PAUSED:
            open_below = [other for other in jobs.descendants(future.graph, job) if not _is_done(future.runs[other])]
            text = f"{job} is paused until {', '.join(open_below)} ended."
            return Reason("paused", text, about | {"for": open_below})
        case RunState.RESUMING:
            return Reason("running", f"{job} finishes after its pause.", about)
    return _waiting_to_start(queue, item, future, job, about)


def _is_done(run: Run) -> bool:
    return run.state is RunState.DONE


def _waiting_to_start(queue: Queue, item: Item, future: Future, job: JobId, about: dict[str, Any]) -> Reason:
    spec, run = future.graph[job], future.runs[job]
    parents = jobs.waits_for(spec, future.runs)
    if parents:
        early = " (its nodes are asked for already)" if run.request else ""
        return Reason("dependencies", f"{job} waits for {', '.join(parents)}{early}.", about | {"for": parents})
    if run.semaphores is Grant.ASKED:
        names = [semaphore.name for semaphore in spec.semaphores]
        return Reason("semaphores", f"{job} waits for semaphore {', '.join(names)}.", about | {"for": names})
    if run.nodes is Grant.ASKED:
        labels = spec.nodesets[run.alternative]
        text = f"{job} waits for {len(labels)} node{'s' if len(labels) != 1 else ''} ({', '.join(labels)})."
        return Reason("nodes", text, about | {"labels": list(labels), "alternative": run.alternative})
    position = queue.order.index(item.id)
    holders = [other for other in queue.holding if queue.order.index(other) < position]
    if holders:
        names_ahead = ", ".join(_titles(queue.items[other]) for other in holders)
        text = f"{job} waits until the jobs of {names_ahead} that hold following changes succeeded."
        return Reason("held-back", text, about | {"items": holders})
    return Reason("requirements", f"{job} waits for {', '.join(spec.requires)} from a change ahead.", about)


def _ahead(queue: Queue, item: Item, future: Future) -> list[Reason]:
    """All tested, and still here."""
    if future.refreezing or not jobs.all_done(future.graph, future.runs, (JobKind.REGULAR, JobKind.INITIALIZER)):
        return []
    line = _line(queue, item) if future.base != ON_TIPS else []
    if not line:
        return []
    what = "reports its failure" if item.failing else "lands"
    text = f"All its jobs ended; it {what} after {_titles(line[-1])}."
    return [Reason("order", text, {"items": [other.id for other in line]})]
