"""What can happen to a queue. Each event names what it is about by id; one for an id that is gone changes nothing."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from trunkline.gate.model import (
    Artifact,
    ArtifactFrom,
    BuildId,
    FutureId,
    ItemId,
    ItemSpec,
    JobGraph,
    JobId,
    QueueSettings,
    RefKey,
    RequestId,
)


class DequeueReason(enum.Enum):
    OPERATOR = "operator"  # somebody asked for it
    ABANDONED = "abandoned"
    NEW_PATCHSET = "new-patchset"
    SUPERSEDED = "superseded"  # by another pipeline, or a newer waiting item of a supercedent one
    REQUIREMENTS = "requirements"  # it no longer meets the pipeline's requirements
    DEPENDENCY = "dependency"  # something it needs left without landing
    RECONFIGURED = "reconfigured"  # its project is no longer in this pipeline


class RetryReason(enum.Enum):
    """Why a build ended without a verdict."""

    PRE_RUN = "pre-run"
    UNREACHABLE = "unreachable"  # the next alternative of the nodeset is tried
    EXECUTOR_LOST = "executor-lost"  # not counted as an attempt
    MERGE_CONFLICT = "merge-conflict"  # in the workspace, by the executor; MERGE_CONFLICT after the last attempt
    REQUESTED = "requested"  # the job said zuul.retry
    TRANSIENT = "transient"  # repositories could not be reached, and the like


class Event(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all events; the tag on the wire is the class name."""


# -- items come and go


class Enqueue(Event, frozen=True):
    item: ItemSpec


class Dequeue(Event, frozen=True):
    """By item or by change."""

    item: ItemId | None = None
    change: RefKey | None = None
    reason: DequeueReason = DequeueReason.OPERATOR
    message: str = ""


class Supersede(Event, frozen=True):
    """A newer patch set exists (`by`, for the message)."""

    change: RefKey
    by: str = ""


class Promote(Event, frozen=True):
    changes: tuple[RefKey, ...]


class RequirementsLost(Event, frozen=True):
    change: RefKey
    message: str = ""


class ChangeAbandoned(Event, frozen=True):
    change: RefKey


class ChangeMergedElsewhere(Event, frozen=True):
    """Somebody landed it past the queue: what needs it need not wait for it any more."""

    change: RefKey


class Reconfigured(Event, frozen=True):
    """The tenant's layout changed. With `refreeze`, graphs are asked for again; builds of unchanged jobs are kept.

    `generation` of the layout grows; one that is known already is ignored. 0 = not known, always acted upon.
    """

    settings: QueueSettings
    refreeze: bool = True
    generation: int = 0


class Tick(Event, frozen=True):
    """Time passed. Nothing depends on it by default; a way to have a queue settle."""


# -- the future of an item


class FutureMerged(Event, frozen=True):
    item: ItemId
    future: FutureId
    commits: dict[str, str] = {}  # "project@branch" → sha
    repo_state: str = ""


class FutureConflicted(Event, frozen=True):
    item: ItemId
    future: FutureId
    files: tuple[str, ...] = ()
    message: str = ""


class GraphFrozen(Event, frozen=True):
    """`round` echoes FreezeJobs, so that an answer in the words of an older layout is known as such. None = the current."""

    item: ItemId
    future: FutureId
    graph: JobGraph
    round: int | None = None


class GraphRefused(Event, frozen=True):
    item: ItemId
    future: FutureId
    errors: tuple[str, ...] = ()
    round: int | None = None


# -- resources of a run


class SemaphoresHad(Event, frozen=True):
    item: ItemId
    job: JobId
    ticket: str


class ProvidedFound(Event, frozen=True):
    """Artifacts that a job requires; `problem`: why it can't have them."""

    item: ItemId
    future: FutureId
    job: JobId
    artifacts: tuple[ArtifactFrom, ...] = ()
    problem: str = ""


class NodesReady(Event, frozen=True):
    item: ItemId
    job: JobId
    request: RequestId
    provider: str | None = None


class NodesFailed(Event, frozen=True):
    item: ItemId
    job: JobId
    request: RequestId
    error: str = ""


# -- builds


class BuildStarted(Event, frozen=True):
    build: BuildId
    at: float | None = None


class BuildPaused(Event, frozen=True):
    build: BuildId
    data: dict[str, Any] = {}
    artifacts: tuple[Artifact, ...] = ()


class BuildFailing(Event, frozen=True):
    build: BuildId


class BuildCompleted(Event, frozen=True):
    """`result` None: no verdict, `retry_reason` says why."""

    build: BuildId
    result: str | None = None
    retry_reason: RetryReason | None = None
    error_detail: str | None = None
    data: dict[str, Any] = {}
    artifacts: tuple[Artifact, ...] = ()
    at: float | None = None


# -- reports and landing


class ReportSent(Event, frozen=True):
    item: ItemId
    kind: str = ""


class Landed(Event, frozen=True):
    item: ItemId
    changes: tuple[RefKey, ...] = ()


class LandingRefused(Event, frozen=True):
    item: ItemId
    reason: str = ""
    landed: tuple[RefKey, ...] = ()  # of a bundle: those that landed before one was refused


AnyEvent = (
    Enqueue
    | Dequeue
    | Supersede
    | Promote
    | RequirementsLost
    | ChangeAbandoned
    | ChangeMergedElsewhere
    | Reconfigured
    | Tick
    | FutureMerged
    | FutureConflicted
    | GraphFrozen
    | GraphRefused
    | SemaphoresHad
    | ProvidedFound
    | NodesReady
    | NodesFailed
    | BuildStarted
    | BuildPaused
    | BuildFailing
    | BuildCompleted
    | ReportSent
    | Landed
    | LandingRefused
)

RESULTS = (
    FutureMerged,
    FutureConflicted,
    GraphFrozen,
    GraphRefused,
    NodesReady,
    NodesFailed,
    BuildStarted,
    BuildPaused,
    BuildFailing,
    BuildCompleted,
)
"""What comes back from the world about futures, nodes and builds: may be made to wait, together."""
