"""What the page shows of a status: queues as tracks, items with their futures, jobs with their progress.

Pure: the answer of the status route in, what a template needs out. A template decides nothing but how it looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from trunkline.web.source import Json

_GOOD = {"SUCCESS"}
_QUIET = {"SKIPPED": "skipped", "CANCELED": "cancelled", "ABORTED": "cancelled", "DEQUEUED": "cancelled"}
_WORDS = {
    "success": "passed",
    "skipped": "skipped",
    "cancelled": "cancelled",
    "paused": "paused",
    "running": "running",
    "doomed": "failing",
    "waiting": "waiting",
}
MOST_SHOWN = 60  # items of a queue; a page is for looking at
ALMOST = 0.97  # a bar never claims to be full while its job runs


class JobView(msgspec.Struct, frozen=True):
    """One job of an item."""

    name: str
    state: str  # success, failure, skipped, cancelled, paused, running, doomed, waiting
    word: str  # the state for people
    uuid: str | None
    voting: bool
    tries: int
    waiting_for: str | None
    started: float | None  # epoch seconds
    elapsed_s: float | None
    estimate_s: float | None
    done: float | None  # 0…1, None when nothing is known

    @property
    def left_s(self) -> float | None:
        if self.estimate_s is None or self.elapsed_s is None or self.state not in ("running", "doomed"):
            return None
        return max(0.0, self.estimate_s - self.elapsed_s)


class Stop(msgspec.Struct, frozen=True):
    """One station of a future: a change that is assumed to land first."""

    label: str
    project: str
    url: str | None
    is_live: bool


class ItemView(msgspec.Struct, frozen=True):
    """One item on its track."""

    id: str
    refs: tuple[Json, ...]
    future: tuple[Stop, ...]  # what it is tested on, the trunk first; without itself
    state: str  # failing, running, passed, waiting, outside, support
    word: str
    reasons: tuple[str, ...]
    jobs: tuple[JobView, ...]
    enqueued: float  # epoch seconds
    remaining_s: float | None
    is_live: bool
    is_active: bool
    bypassed: tuple[str, ...]  # items ahead that its future leaves out, because they fail

    @property
    def settled(self) -> int:
        return sum(1 for job in self.jobs if job.state not in ("waiting", "running", "paused", "doomed"))


class QueueView(msgspec.Struct, frozen=True):
    """One queue: a track on which changes run towards the trunk."""

    name: str
    branch: str | None
    window: int
    items: tuple[ItemView, ...]
    live: int  # all of them, also those not shown
    outside: int  # of them beyond the window
    hidden: int  # at the end, not shown


class PipelineView(msgspec.Struct, frozen=True):
    name: str
    description: str | None
    manager: str
    state: str
    queues: tuple[QueueView, ...]
    events: int

    @property
    def count(self) -> int:
        return sum(queue.live for queue in self.queues)


class Counts(msgspec.Struct, frozen=True):
    """The few figures at the top of the page."""

    changes: int
    running: int
    waiting: int
    failing: int


def pipelines_of(status: Json, now: float, only: frozenset[str] | None = None) -> tuple[PipelineView, ...]:
    """Every pipeline, those with work first in configuration order. `only`: no other items than these."""
    views = [
        PipelineView(
            name=pipeline["name"],
            description=pipeline.get("description"),
            manager=pipeline.get("manager", ""),
            state=pipeline.get("state", "normal"),
            queues=tuple(queue_view(queue, now, only) for queue in pipeline["change_queues"]),
            events=sum(pipeline.get(f"{kind}_events", 0) for kind in ("trigger", "result", "management")),
        )
        for pipeline in status["pipelines"]
    ]
    return tuple(sorted(views, key=lambda view: not view.queues))


def counts_of(status: Json) -> Counts:
    """O(jobs): futures play no part."""
    live = [
        item
        for pipeline in status["pipelines"]
        for queue in pipeline["change_queues"]
        for run in queue["heads"]
        for item in run
        if item.get("live", True)
    ]
    states = Counter(_job_state(job) for item in live for job in item["jobs"])
    return Counts(
        changes=len(live),
        running=states["running"] + states["paused"] + states["doomed"],
        waiting=states["waiting"],
        failing=sum(1 for item in live if item.get("failing_reasons")),
    )


def queue_view(queue: Json, now: float, only: frozenset[str] | None = None) -> QueueView:
    """A queue's first MOST_SHOWN items, or those of `only`."""
    items = [item for run in queue["heads"] for item in run]
    by_id = {item["id"]: item for item in items}
    views = []
    for index, item in enumerate(items if only is not None else items[:MOST_SHOWN]):
        if only is not None and item["id"] not in only:
            continue
        ahead = _ahead(item, by_id)
        on = {entry["id"] for entry in ahead}
        bypassed = tuple(_label(other) for other in items[:index] if other["id"] not in on and other.get("live", True))
        views.append(_item_view(item, ahead, bypassed, now))
    live = [item for item in items if item.get("live", True)]
    return QueueView(
        name=queue["name"],
        branch=queue.get("branch"),
        window=queue.get("window") or 0,
        items=tuple(views),
        live=len(live),
        outside=sum(1 for item in live if not item.get("active", True)),
        hidden=max(0, len(items) - MOST_SHOWN) if only is None else 0,
    )


def _ahead(item: Json, by_id: Mapping[str, Json]) -> list[Json]:
    """The items of its future, nearest the trunk first."""
    chain: list[Json] = []
    seen = {item["id"]}
    key = item.get("item_ahead")
    while key and key in by_id and key not in seen:
        seen.add(key)
        chain.append(by_id[key])
        key = by_id[key].get("item_ahead")
    return chain[::-1]


def _item_view(item: Json, ahead: list[Json], bypassed: tuple[str, ...], now: float) -> ItemView:
    jobs = tuple(job_view(job, now) for job in item["jobs"])
    live, active = item.get("live", True), item.get("active", True)
    reasons = tuple(item.get("failing_reasons") or ()) if live else ()
    state, word = _item_state(live, active, bool(reasons), jobs)
    remaining = item.get("remaining_time")
    return ItemView(
        id=item["id"],
        refs=tuple(item["refs"]),
        future=tuple(_stops(ahead)),
        state=state,
        word=word,
        reasons=reasons,
        jobs=jobs,
        enqueued=(item.get("enqueue_time") or now * 1000) / 1000,
        remaining_s=remaining / 1000 if remaining else None,
        is_live=live,
        is_active=active,
        bypassed=bypassed,
    )


def _item_state(live: bool, active: bool, failing: bool, jobs: tuple[JobView, ...]) -> tuple[str, str]:
    if not live:
        return "support", "needed by a change behind it"
    if failing:
        return "failing", "failing"
    if not active:
        return "outside", "waits outside the window"
    if not jobs:
        return "waiting", "preparing"
    if all(job.state not in ("waiting", "running", "paused", "doomed") for job in jobs):
        return "passed", "passed, waits for its turn"
    if any(job.state in ("running", "paused", "doomed") for job in jobs):
        return "running", "running"
    return "waiting", "waiting"


def _stops(ahead: list[Json]) -> list[Stop]:
    return [
        Stop(_label(item), ref.get("project") or "", ref.get("url"), item.get("live", True))
        for item in ahead
        for ref in item["refs"][:1]
    ]


def _label(item: Json) -> str:
    refs = item["refs"]
    label = ref_label(refs[0]) if refs else "?"
    return f"{label} +{len(refs) - 1}" if len(refs) > 1 else label


def ref_label(ref: Json) -> str:
    """What people call it: the change's number and patch set, or the branch or tag."""
    if ref.get("id") and "," in ref["id"]:
        return str(ref["id"])
    name = str(ref.get("ref") or "")
    for prefix in ("refs/heads/", "refs/tags/"):
        name = name.removeprefix(prefix)
    return name or str(ref.get("id") or "?")[:10]


def job_view(job: Json, now: float) -> JobView:
    state = _job_state(job)
    start, estimate = job.get("start_time"), job.get("estimated_time")
    elapsed = max(0.0, (job.get("end_time") or now) - start) if start else None
    done = None
    if state in ("success", "failure", "skipped", "cancelled"):
        done = 1.0
    elif elapsed is not None and estimate:
        done = min(ALMOST, elapsed / estimate)
    return JobView(
        name=job["name"],
        state=state,
        word=_WORDS.get(state) or str(job["result"]).replace("_", " ").lower(),
        uuid=job.get("uuid"),
        voting=job.get("voting", True),
        tries=job.get("tries") or 1,
        waiting_for=_waiting_words(job.get("waiting_status")) if state == "waiting" else None,
        started=start,
        elapsed_s=elapsed,
        estimate_s=estimate or None,
        done=done,
    )


def _waiting_words(status: str | None) -> str | None:
    """The status's own words, for people."""
    kind, _, rest = (status or "").partition(": ")
    match kind:
        case "":
            return None
        case "dependencies":
            return f"after {rest}"
        case "node request" | "nodeset request":
            return "waits for servers"
        case "executor":
            return "waits for an executor"
        case "semaphores" | "requirements":
            return f"waits for {rest}"
    return f"waits for {status}"


def _job_state(job: Json) -> str:
    result = job.get("result")
    if result in _GOOD:
        return "success"
    if result in _QUIET:
        return _QUIET[result]
    if result:
        return "failure"
    if job.get("paused"):
        return "paused"
    if job.get("start_time"):
        return "doomed" if job.get("pre_fail") else "running"
    return "waiting"
