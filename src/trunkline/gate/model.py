"""The nouns of the gate: queue, item, future, run, change. Frozen values; identity is an id.

Two rules for this file: a struct says what *is* (nothing here decides anything), and all that a later step needs is in
the queue, so that `msgspec.json.encode(queue)` is the whole truth about it.
"""

from __future__ import annotations

import enum
import uuid
from typing import Any, NewType

import msgspec

QueueId = NewType("QueueId", str)
ItemId = NewType("ItemId", str)
FutureId = NewType("FutureId", str)  # also the uuid of the buildset that tests this future
BuildId = NewType("BuildId", str)
RequestId = NewType("RequestId", str)
JobId = NewType("JobId", str)  # unique within one item; the job's name unless two changes of a cycle run it
RefKey = NewType("RefKey", str)  # "<connection>:<project>:<number>,<patchset>" or "…:<ref>@<newrev>"

ON_TIPS = FutureId("")  # the base of a future that stands on the branch tips alone

_NAMESPACE = uuid.UUID("6d1e6e1c-0f0e-5b6f-9c53-2f0a5f8f5d8e")


def stable_id(*parts: object) -> str:
    """An id that any machine derives from the same parts: a version 5 uuid, as 32 hex digits."""
    return uuid.uuid5(_NAMESPACE, "/".join(map(str, parts))).hex


class Manager(enum.Enum):
    INDEPENDENT = "independent"
    DEPENDENT = "dependent"
    SERIAL = "serial"
    SUPERCEDENT = "supercedent"


class FutureState(enum.Enum):
    MERGING = "merging"
    FREEZING = "freezing"
    READY = "ready"
    CONFLICT = "conflict"
    BROKEN = "broken"  # its configuration has errors


FUTURE_MOVES: dict[tuple[FutureState, str], FutureState] = {
    (FutureState.MERGING, "FutureMerged"): FutureState.FREEZING,
    (FutureState.MERGING, "FutureConflicted"): FutureState.CONFLICT,
    (FutureState.FREEZING, "GraphFrozen"): FutureState.READY,
    (FutureState.FREEZING, "GraphRefused"): FutureState.BROKEN,
    (FutureState.READY, "GraphFrozen"): FutureState.READY,
    (FutureState.READY, "GraphRefused"): FutureState.BROKEN,
    (FutureState.BROKEN, "GraphFrozen"): FutureState.READY,
    (FutureState.BROKEN, "GraphRefused"): FutureState.BROKEN,
}
"""Legal moves of a future. The last four are answers to a reconfiguration; a reset makes a new future instead."""


class RunState(enum.Enum):
    WAITING = "waiting"  # for parents, semaphores, nodes
    REQUESTED = "requested"  # an executor is asked for
    RUNNING = "running"
    PAUSED = "paused"  # its descendants run
    RESUMING = "resuming"
    DONE = "done"


RUN_MOVES: dict[tuple[RunState, str], RunState] = {
    (RunState.WAITING, "start"): RunState.REQUESTED,
    (RunState.WAITING, "finish"): RunState.DONE,
    (RunState.REQUESTED, "begin"): RunState.RUNNING,
    (RunState.REQUESTED, "pause"): RunState.PAUSED,
    (RunState.REQUESTED, "finish"): RunState.DONE,
    (RunState.REQUESTED, "again"): RunState.WAITING,
    (RunState.RUNNING, "pause"): RunState.PAUSED,
    (RunState.RUNNING, "finish"): RunState.DONE,
    (RunState.RUNNING, "again"): RunState.WAITING,
    (RunState.PAUSED, "resume"): RunState.RESUMING,
    (RunState.PAUSED, "finish"): RunState.DONE,
    (RunState.PAUSED, "again"): RunState.WAITING,
    (RunState.RESUMING, "finish"): RunState.DONE,
    (RunState.RESUMING, "again"): RunState.WAITING,
    (RunState.DONE, "again"): RunState.WAITING,
}
"""Legal moves of a run. `again` is a retry, or a paused parent that starts anew and takes its descendants along."""

LIVE_RUNS = frozenset({RunState.REQUESTED, RunState.RUNNING, RunState.PAUSED, RunState.RESUMING})


class Grant(enum.Enum):
    """How far one resource of a run has come."""

    NONE = "none"
    ASKED = "asked"
    HAD = "had"


class Landing(enum.Enum):
    NONE = "none"
    ASKED = "asked"
    LANDED = "landed"  # still in the queue: its reporter jobs run


class JobKind(enum.Enum):
    REGULAR = "regular"
    INITIALIZER = "initializer"
    REPORTER = "reporter"  # runs after the item has landed and was reported


class Struct(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all values here: immutable, small on the wire."""


class Change(Struct, frozen=True):
    """What is tested: a change of a review system, or a branch, a tag, a timer's ref."""

    key: RefKey
    project: str  # canonical name
    connection: str = ""
    branch: str | None = None
    number: int | None = None
    patchset: str | None = None
    ref: str | None = None
    oldrev: str | None = None
    newrev: str | None = None
    url: str | None = None
    owner: str | None = None
    needs: tuple[RefKey, ...] = ()  # what must land before it and had not when it was admitted


class ItemSpec(Struct, frozen=True):
    """An item as it comes to the queue. Non-live items come before the live one that needs them."""

    id: ItemId
    changes: tuple[Change, ...]  # more than one: a bundle
    live: bool = True
    event_id: str = ""
    enqueued_at: float = 0.0
    relative_priority: int = 0  # outside dependent pipelines, where the queue's own index is used
    quiet: bool = False  # no start report (re-enqueued, already reported)


class Dependency(Struct, frozen=True):
    name: str
    soft: bool = False


class Semaphore(Struct, frozen=True):
    name: str
    resources_first: bool = False


class JobSpec(Struct, frozen=True):
    """What the gate must know of a frozen job."""

    name: str
    id: JobId = JobId("")  # given by the gate
    change: RefKey = RefKey("")  # the change it was frozen for; empty = the item's only change
    refs: tuple[RefKey, ...] = ()  # after deduplication: all changes it stands for; given by the gate
    kind: JobKind = JobKind.REGULAR
    dependencies: tuple[Dependency, ...] = ()
    parents: tuple[tuple[JobId, bool], ...] = ()  # dependencies resolved to (id, soft); given by the gate
    voting: bool = True
    attempts: int = 3
    nodesets: tuple[tuple[str, ...], ...] = ()  # alternatives, each the labels in node order; none = no nodes
    semaphores: tuple[Semaphore, ...] = ()
    hold_following_changes: bool = False
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    deduplicate: bool = False  # may run once for several changes of a bundle (the config room decided `auto`)
    digest: str = ""  # hash of the frozen content: equal digests = the same job


class JobGraph(Struct, frozen=True):
    jobs: tuple[JobSpec, ...] = ()  # in graph order, parents first
    fail_fast: bool = False


class Artifact(Struct, frozen=True):
    name: str
    url: str
    metadata: dict[str, Any] = {}


class ArtifactFrom(Struct, frozen=True):
    """An artifact together with where it comes from, as a job that uses it is told."""

    artifact: Artifact
    job: str
    change: RefKey
    build: BuildId


class Run(Struct, frozen=True):
    """One job of one future, over all its attempts."""

    state: RunState = RunState.WAITING
    result: str | None = None
    attempt: int = 1  # counted attempts; a lost executor does not count
    tries: int = 0  # builds asked for so far
    build: BuildId | None = None  # the current or last one
    semaphores: Grant = Grant.NONE
    ticket: str | None = None  # under which the semaphores are asked for and held
    nodes: Grant = Grant.NONE
    request: RequestId | None = None
    requests: int = 0  # node requests made so far
    alternative: int = 0
    provider: str | None = None  # where its nodes are
    relative_priority: int = 0
    failing: bool = False  # known to fail before its end
    started_at: float | None = None
    ended_at: float | None = None
    child_jobs: tuple[str, ...] | None = None
    data: dict[str, Any] = {}
    artifacts: tuple[Artifact, ...] = ()
    required: Grant = Grant.NONE  # what it requires of changes that are tested elsewhere
    provided: tuple[ArtifactFrom, ...] = ()  # what was found of that


class Future(Struct, frozen=True):
    """What an item is tested on: `base` and then the item. Its id is also the buildset's uuid."""

    id: FutureId
    base: FutureId = ON_TIPS
    state: FutureState = FutureState.MERGING
    graph: dict[JobId, JobSpec] = {}
    fail_fast: bool = False
    runs: dict[JobId, Run] = {}
    detail: str = ""  # conflict or configuration error, for the report
    files: tuple[str, ...] = ()  # in conflict
    round: int = 1  # how often its graph was asked for
    refreezing: bool = False


class Item(Struct, frozen=True):
    id: ItemId
    changes: tuple[Change, ...]
    live: bool = True
    event_id: str = ""
    enqueued_at: float = 0.0
    relative_priority: int = 0
    quiet: bool = False
    generation: int = 0  # futures it had so far
    future: Future | None = None
    failing: tuple[str, ...] = ()  # reasons, in the words of the status page
    landing: Landing = Landing.NONE
    start_reported: bool = False


class QueueSettings(Struct, frozen=True):
    manager: Manager = Manager.INDEPENDENT
    tenant: str = ""
    pipeline: str = ""
    name: str = ""  # shared queue or project
    branch: str | None = None  # of per-branch and supercedent queues
    window: int = 20  # 0 = unlimited
    window_floor: int = 3
    window_ceiling: int | None = None
    increase_type: str = "linear"
    increase_factor: int = 1
    decrease_type: str = "exponential"
    decrease_factor: int = 2
    priority: int = 200  # of the pipeline's precedence: high 100, normal 200, low 300
    reports_start: bool = True
    reports_enqueue: bool = False
    early_requests: bool = True  # ask for a job's nodes while its parents run


class Queue(Struct, frozen=True):
    """One queue: the unit of ownership. `order` is who stands where, everything else is an index or a setting."""

    id: QueueId
    settings: QueueSettings = QueueSettings()
    window: int = -1  # as it is now; -1 = not yet begun, 0 = unlimited
    order: tuple[ItemId, ...] = ()
    items: dict[ItemId, Item] = {}
    changes: dict[RefKey, ItemId] = {}  # who holds a change
    builds: dict[BuildId, tuple[ItemId, JobId]] = {}  # live builds
    asking: dict[RequestId, tuple[ItemId, JobId]] = {}  # node requests not yet fulfilled
    holding: tuple[ItemId, ...] = ()  # items whose hold-following-changes jobs have not succeeded
    requiring: tuple[ItemId, ...] = ()  # items with a job that waits for what items ahead provide
    landed: tuple[RefKey, ...] = ()  # the last that landed from here (bounded)
    generation: int = 0  # of the tenant's layout, as last heard
    departed: tuple[ItemId, ...] = ()  # the last that left, so that a late duplicate does not re-enter (bounded)


REMEMBERED = 256  # bound of Queue.landed and Queue.departed
