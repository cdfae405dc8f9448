"""What the gate asks of the world. Effects of one step are carried out in order; each is safe to carry out twice.

Answers come back as events: MergeFuture → FutureMerged | FutureConflicted, FreezeJobs → GraphFrozen | GraphRefused,
RequestNodes → NodesReady | NodesFailed, AcquireSemaphores → SemaphoresHad, FindProvided → ProvidedFound, StartBuild → BuildStarted … BuildCompleted,
Land → Landed | LandingRefused, Report with `answer` → ReportSent. The others are not answered.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from trunkline.gate.model import (
    ArtifactFrom,
    BuildId,
    Change,
    FutureId,
    ItemId,
    JobId,
    RefKey,
    RequestId,
)


class ReportKind(enum.Enum):
    START = "start"
    SUCCESS = "success"
    FAILURE = "failure"
    MERGE_CONFLICT = "merge-conflict"
    CONFIG_ERROR = "config-error"
    NO_JOBS = "no-jobs"
    DEQUEUE = "dequeue"
    ENQUEUE = "enqueue"
    ENQUEUE_REFUSED = "enqueue-refused"


class Effect(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all effects; the tag on the wire is the class name."""


class MergeFuture(Effect, frozen=True):
    """Merge `changes` in order onto the branch tips. All but the last `own` come from ahead (or non-live)."""

    item: ItemId
    future: FutureId
    base: FutureId  # of the item ahead, empty on the tips; its merges may be built upon
    changes: tuple[Change, ...]
    own: int = 1


class FreezeJobs(Effect, frozen=True):
    """Freeze the job graph of the item in the layout of its future."""

    item: ItemId
    future: FutureId
    base: FutureId
    changes: tuple[Change, ...]  # the item's own
    round: int = 1  # to be echoed in the answer


class BuildsetCreated(Effect, frozen=True):
    item: ItemId
    future: FutureId
    changes: tuple[Change, ...]
    event_id: str = ""
    enqueued_at: float = 0.0


class BuildsetClosed(Effect, frozen=True):
    """`result` as Zuul names it: SUCCESS, FAILURE, MERGE_CONFLICT, MERGE_FAILURE, CONFIG_ERROR, NO_JOBS, DEQUEUED."""

    item: ItemId
    future: FutureId
    result: str
    message: str = ""


class RequestNodes(Effect, frozen=True):
    request: RequestId
    item: ItemId
    future: FutureId
    job: JobId
    labels: tuple[str, ...]
    priority: int
    relative_priority: int
    provider: str | None = None  # where the parents' nodes are, to be near
    alternative: int = 0


class ReviseNodes(Effect, frozen=True):
    """An open request stands elsewhere in the order now."""

    request: RequestId
    relative_priority: int


class CancelNodes(Effect, frozen=True):
    """Not wanted any more, fulfilled or not."""

    request: RequestId


class ReturnNodes(Effect, frozen=True):
    """The build that used them has ended, or is being stopped: then they go when it has let go of them.

    To hold them for somebody is the shell's decision.
    """

    request: RequestId
    build: BuildId | None = None


class AcquireSemaphores(Effect, frozen=True):
    """All of `names` at once, or wait. Lower `priority` first, then lower `relative_priority`, then older."""

    ticket: str
    item: ItemId
    future: FutureId
    job: JobId
    names: tuple[str, ...]
    priority: int
    relative_priority: int


class ReleaseSemaphores(Effect, frozen=True):
    """Give back what the ticket holds, or stop waiting."""

    ticket: str
    item: ItemId
    job: JobId


class FindProvided(Effect, frozen=True):
    """What do these changes, tested elsewhere in the pipeline or earlier, provide? Answered when they are done."""

    item: ItemId
    future: FutureId
    job: JobId
    requires: tuple[str, ...]
    changes: tuple[Change, ...]


class StartBuild(Effect, frozen=True):
    build: BuildId
    item: ItemId
    future: FutureId
    job: JobId
    name: str  # of the job
    change: RefKey  # the change it was frozen for
    refs: tuple[RefKey, ...]  # all changes it stands for
    attempt: int
    request: RequestId | None = None
    parents: tuple[BuildId, ...] = ()  # builds whose (secret) data it gets, in graph order
    parent_data: dict[str, Any] = {}  # merged in graph order, later over earlier
    artifacts: tuple[ArtifactFrom, ...] = ()
    child_jobs: tuple[str, ...] = ()  # names of direct dependants
    priority: int = 200
    relative_priority: int = 0


class CancelBuild(Effect, frozen=True):
    """Stop it wherever it is and record it as CANCELED; what it still answers is not listened to."""

    build: BuildId
    item: ItemId
    future: FutureId
    job: JobId


class ResumeBuild(Effect, frozen=True):
    build: BuildId


class RecordBuild(Effect, frozen=True):
    """The verdict on a build, executed or not. `final` false: RETRY, another attempt follows."""

    build: BuildId
    item: ItemId
    future: FutureId
    job: JobId
    name: str
    change: RefKey
    result: str
    final: bool = True
    voting: bool = True
    executed: bool = True
    attempt: int = 1
    error_detail: str | None = None
    at: float = 0.0
    of: Change | None = None  # the change itself, where no build was executed and so nobody has its row


class Report(Effect, frozen=True):
    """Say it to the reporters of that kind. `future` empty: nothing was tested."""

    item: ItemId
    kind: ReportKind
    changes: tuple[Change, ...]
    future: FutureId
    event_id: str = ""
    result: str = ""
    message: str = ""  # said in place of, or before, the job lines
    files: tuple[str, ...] = ()  # in conflict
    answer: bool = False  # a ReportSent is waited for


class Land(Effect, frozen=True):
    """Deliver the success reports (votes first), then submit each change in order; all or nothing as far as possible.

    Already landed counts as landed. When the answer of the review system is unknown, ask again: never assume.
    """

    item: ItemId
    future: FutureId
    changes: tuple[Change, ...]
    event_id: str = ""


class ItemLeft(Effect, frozen=True):
    """The item is gone from the queue; the last effect about it."""

    item: ItemId
    changes: tuple[RefKey, ...]
    landed: bool = False
    result: str = ""


class Wake(Effect, frozen=True):
    """Send a Tick at that time."""

    at: float


AnyEffect = (
    MergeFuture
    | FreezeJobs
    | BuildsetCreated
    | BuildsetClosed
    | RequestNodes
    | ReviseNodes
    | CancelNodes
    | ReturnNodes
    | AcquireSemaphores
    | ReleaseSemaphores
    | FindProvided
    | StartBuild
    | CancelBuild
    | ResumeBuild
    | RecordBuild
    | Report
    | Land
    | ItemLeft
    | Wake
)
