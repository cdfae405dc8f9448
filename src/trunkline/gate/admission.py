"""Which changes enter which queue, in which order, or why not. Pure: a question about values, answered with values.

Order of the questions (specification §2): is it there already, is an older patch set there, does it meet the
requirements, what does it need (transitively; cycles become bundles where the queue allows them), are those ready, and
in a dependent pipeline: who waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.gate.events import AnyEvent
from trunkline.gate.model import Change, ItemId, ItemSpec, Manager, QueueId, RefKey, Struct


class Candidate(Struct, frozen=True):
    """A change as the admission must know it. Keys of `needs` and `needed_by` without a candidate count as unknown."""

    change: Change
    needs: tuple[RefKey, ...] = ()  # direct: git parents, Depends-On, whole-topic submission; merged ones may be listed
    needed_by: tuple[RefKey, ...] = ()  # known open changes that need it
    topic: str | None = None
    is_open: bool = True
    is_merged: bool = False
    is_current: bool = True  # the latest patch set
    problem: str = ""  # why it does not meet the pipeline's requirements; empty = it does
    landing_problem: str = ""  # why the review system would not let it land, votes of this pipeline aside
    queue: str = ""  # the shared queue of its project (or the project), with "/branch" where the queue is per branch
    branch_of_queue: str | None = None
    allow_cycles: bool = False
    topic_binds: bool = False  # the queue's dependencies-by-topic
    in_pipeline: bool = True  # its project has this pipeline


class PipelineRules(Struct, frozen=True):
    tenant: str
    name: str
    manager: Manager
    ignore_dependencies: bool = False
    dequeue_on_new_patchset: bool = True
    supercedes: tuple[str, ...] = ()
    max_dependencies: int | None = None
    max_changes: int | None = None
    changes_now: int = 0  # in the whole pipeline


class Presence(Struct, frozen=True):
    """Where a change stands now."""

    pipeline: str
    queue: QueueId
    item: ItemId
    live: bool = True


class Entry(Struct, frozen=True):
    """One event for one queue. The queue is created if it does not exist."""

    queue: QueueId
    event: AnyEvent
    name: str = ""  # for the queue's settings
    branch: str | None = None


class Admission(Struct, frozen=True):
    """What follows: `entries` in order (removals first); or a refusal, said to the reporters unless `silent`."""

    entries: tuple[Entry, ...] = ()
    refusal: str = ""
    silent: bool = True
    admitted: tuple[ItemSpec, ...] = ()


def admit(
    wanted: RefKey,
    candidates: Mapping[RefKey, Candidate],
    rules: PipelineRules,
    present: Mapping[RefKey, tuple[Presence, ...]],
    *,
    event_id: str = "",
    now: float = 0.0,
    relative_priority: int = 0,
) -> Admission:
    """Decide on one wanted change.

    `present` says where changes (of any patch set, by key) stand in this tenant; what no rule asks for may be absent.
    """
    return Admission(refusal="not decided", silent=True)
