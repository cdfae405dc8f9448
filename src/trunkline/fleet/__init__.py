"""The fleet: what landed runs where policy says, through anything.

May live here: pure decisions on values. May not: I/O, clocks, randomness, SQL.

Nouns: an *application* (read from files in git by ``files``), its *placement* policy, its *instances* (servers that
are kept), the *rollout* of a landed commit onto them. ``Seen`` is the world as last observed.

    files.py      text → Application, or located errors
    judge.py      probe streaks → health; who is lost; are we cut off
    placement.py  feasible → score → choose
    rollout.py    which instances get which commit now
    survival.py   what may be lost at this moment
    plan.py       (state, seen, now) → Plan: named passes
    step.py       (state, events, seen, now) → (state', plan): observe, plan, apply until nothing moves

From: store rows, by services/fleet.py. To: the same rows, pool requests, builds, endpoints.
"""

from .actions import (
    Action,
    Conclude,
    Delete,
    DeployBatch,
    Drain,
    Leave,
    Place,
    Plan,
    Publish,
    Return,
    Unpublish,
)
from .events import Asked, BuildCompleted, Event, Landed, NodeFailed, NodeGone, NodeReady, Submitted
from .model import (
    MOVES,
    Application,
    AppState,
    Condition,
    Deploy,
    Dns,
    Failover,
    Health,
    HealthCheck,
    Instance,
    InstanceId,
    InstanceState,
    Leaving,
    Near,
    Only,
    Placement,
    RegionHealth,
    RegionView,
    Rollout,
    RolloutState,
    Seen,
    Status,
    Streak,
    Survive,
    Update,
)

__all__ = [
    "MOVES",
    "Action",
    "AppState",
    "Application",
    "Asked",
    "BuildCompleted",
    "Conclude",
    "Condition",
    "Delete",
    "Deploy",
    "DeployBatch",
    "Dns",
    "Drain",
    "Event",
    "Failover",
    "Health",
    "HealthCheck",
    "Instance",
    "InstanceId",
    "InstanceState",
    "Landed",
    "Leave",
    "Leaving",
    "Near",
    "NodeFailed",
    "NodeGone",
    "NodeReady",
    "Only",
    "Place",
    "Placement",
    "Plan",
    "Publish",
    "RegionHealth",
    "RegionView",
    "Return",
    "Rollout",
    "RolloutState",
    "Seen",
    "Status",
    "Streak",
    "Submitted",
    "Survive",
    "Unpublish",
    "Update",
]
