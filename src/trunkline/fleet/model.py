"""The nouns of the fleet. Frozen values only; the legal moves of an instance stand beside its states."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NewType

import msgspec

InstanceId = NewType("InstanceId", str)
"""``<application>-<serial>``: unique in a tenant, never used twice."""

LIVE_LIMIT = 10_000
"""More instances than this in one application is a mistake in a file, not a wish."""


class Near(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Users are near this city; weight counts them against those of other cities."""

    city: str
    weight: float = 1.0


class Only(msgspec.Struct, frozen=True):
    """A hard choice by name: in ``only`` (if any is given) and not in ``never``."""

    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def allows(self, name: str) -> bool:
        return (not self.only or name in self.only) and name not in self.never


class Survive(Enum):
    """What may be lost while min-healthy instances are there or can be made."""

    NONE = "none"
    SERVER = "server"
    REGION = "region"
    PROVIDER = "provider"


class Placement(msgspec.Struct, frozen=True):
    """Where instances may be (hard) and should be (near)."""

    jurisdictions: tuple[str, ...] = ()
    clouds: Only = Only()
    regions: Only = Only()
    near: tuple[Near, ...] = ()
    spread_providers: int = 1
    spread_regions: int = 1
    survive: Survive = Survive.NONE


class Deploy(msgspec.Struct, frozen=True):
    """The job that puts a landed commit onto instances; they join the inventory group ``group``."""

    job: str
    group: str


class Update(msgspec.Struct, frozen=True):
    """How a new commit replaces an old one."""

    max_parallel: int = 1
    min_healthy_time_s: float = 10.0
    healthy_deadline_s: float = 300.0


class HealthCheck(msgspec.Struct, frozen=True):
    """One HTTP probe of every instance."""

    port: int = 80
    path: str = "/"
    expect: int = 200
    interval_s: float = 5.0
    timeout_s: float = 2.0
    fail_after: int = 3
    pass_after: int = 2


class Dns(msgspec.Struct, frozen=True):
    """The name under which healthy instances are found."""

    zone: str
    name: str
    ttl_s: int = 30

    @property
    def fqdn(self) -> str:
        return self.zone if self.name in ("", "@") else f"{self.name}.{self.zone}"


class Failover(msgspec.Struct, frozen=True):
    """Limits on reactions: how long evidence must hold, and what part may move within one cooldown."""

    detect_s: float = 30.0
    cooldown_s: float = 600.0
    max_moving: float = 0.5


class Application(msgspec.Struct, frozen=True):
    """One application as its file says it."""

    name: str
    label: str
    instances: int
    deploy: Deploy
    placement: Placement = Placement()
    min_healthy: int | None = None
    update: Update = Update()
    health: tuple[HealthCheck, ...] = ()
    dns: Dns | None = None
    failover: Failover = Failover()

    @property
    def must_serve(self) -> int:
        """How many must serve at least; all but one unless the file says otherwise."""
        return max(self.instances - 1, 0) if self.min_healthy is None else self.min_healthy

    @property
    def drain_s(self) -> float:
        """How long clients may still hold an address after it is no longer published."""
        return 10.0 + (self.dns.ttl_s if self.dns else 0)

    @property
    def port(self) -> int:
        """The port that endpoints name: that of the first health check."""
        return self.health[0].port if self.health else 80


class RegionHealth(Enum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"


class RegionView(msgspec.Struct, frozen=True):
    """A place where instances can be: one provider of the pool, in one region of one cloud.

    ``vendor`` is the failure domain above the region. ``headroom`` is how many more servers fit by quota
    (None: not known). ``labels`` are those the provider offers (None: not known). ``since`` and ``seen`` are
    seconds since the epoch: of the present state, and of the last observation.
    """

    cloud: str
    region: str
    provider: str
    vendor: str
    city: str = ""
    country: str = ""
    jurisdiction: str = ""
    lat: float | None = None
    lon: float | None = None
    health: RegionHealth = RegionHealth.HEALTHY
    reason: str = ""
    since: float = 0.0
    headroom: int | None = None
    labels: tuple[str, ...] | None = None
    seen: float = 0.0


class InstanceState(Enum):
    REQUESTED = "requested"
    """A server is asked for in the pool."""
    READY = "ready"
    """The server is there; nothing runs on it yet."""
    DEPLOYING = "deploying"
    """A build puts a commit onto it."""
    RUNNING = "running"
    DRAINING = "draining"
    """No longer published; clients may still come until the drain time is over."""
    DELETING = "deleting"
    GONE = "gone"


MOVES: Mapping[InstanceState, tuple[InstanceState, ...]] = {
    InstanceState.REQUESTED: (InstanceState.READY, InstanceState.DELETING, InstanceState.GONE),
    InstanceState.READY: (InstanceState.DEPLOYING, InstanceState.DELETING, InstanceState.GONE),
    InstanceState.DEPLOYING: (
        InstanceState.RUNNING,
        InstanceState.READY,
        InstanceState.DELETING,
        InstanceState.GONE,
    ),
    InstanceState.RUNNING: (
        InstanceState.DEPLOYING,
        InstanceState.DRAINING,
        InstanceState.DELETING,
        InstanceState.GONE,
    ),
    InstanceState.DRAINING: (InstanceState.DELETING, InstanceState.GONE),
    InstanceState.DELETING: (InstanceState.GONE,),
    InstanceState.GONE: (),
}


class Health(Enum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Leaving(Enum):
    """Why an instance is on its way out and no longer counts."""

    LOST = "lost"
    """Its region or server is gone, and probes agree."""
    FAILING = "failing"
    """Its region answers, the instance does not."""
    MISPLACED = "misplaced"
    """Policy or label have changed under it."""
    FORBIDDEN = "forbidden"
    """The law has: it goes at once."""
    SURPLUS = "surplus"


class Instance(msgspec.Struct, frozen=True):
    """One server that is kept, and what runs on it. Times are seconds since the epoch."""

    id: InstanceId
    state: InstanceState
    label: str
    cloud: str
    region: str
    provider: str
    vendor: str
    jurisdiction: str
    country: str
    city: str
    created: float
    state_since: float
    request: str | None = None
    node: str | None = None
    address: str = ""
    commit: str | None = None
    build: str | None = None
    deploying: str | None = None
    deployed_at: float | None = None
    health: Health = Health.UNKNOWN
    health_since: float = 0.0
    published: bool = False
    leaving: Leaving | None = None
    failures: int = 0
    reason: str = ""


class RolloutState(Enum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Rollout(msgspec.Struct, frozen=True):
    """A landed commit on its way to every instance."""

    commit: str
    state: RolloutState
    started: float
    ended: float | None = None
    failures: int = 0
    reason: str = ""


class AppState(msgspec.Struct, frozen=True):
    """All that the planner remembers of one application.

    ``target`` is the commit wanted everywhere, ``good`` the last one that ran healthy everywhere, ``landed`` the
    commits that passed their gate (newest last). ``moves`` are the times of recent reactions (bounded by failover
    limits), ``avoid`` the providers that refused lately, until when. ``generation`` counts changes of the published
    set, ``serial`` the instances and ``deploys`` the builds ever asked for.
    """

    tenant: str
    application: Application
    project: str = ""
    branch: str = ""
    target: str | None = None
    good: str | None = None
    landed: tuple[str, ...] = ()
    rollout: Rollout | None = None
    instances: tuple[Instance, ...] = ()
    serial: int = 0
    deploys: int = 0
    moves: tuple[float, ...] = ()
    avoid: tuple[tuple[str, float], ...] = ()
    generation: int = 0
    retired: bool = False

    @property
    def owner(self) -> str:
        """The inbox of this application."""
        return f"fleet:{self.tenant}/{self.application.name}"


class Streak(msgspec.Struct, frozen=True):
    """What one vantage point saw of one instance: ``count`` equal results in a row, from ``since`` to ``last``."""

    vantage: str
    ok: bool
    count: int
    since: float
    last: float
    detail: str = ""


class Seen(msgspec.Struct, frozen=True):
    """The world as last observed. ``gone`` are instances whose server the cloud no longer lists."""

    regions: tuple[RegionView, ...] = ()
    streaks: Mapping[str, tuple[Streak, ...]] = {}
    gone: frozenset[str] = frozenset()


class Condition(Enum):
    """An application in one word, worst first."""

    CONSTRAINED = "constrained"
    HOLDING = "holding"
    ROLLOUT_FAILED = "rollout-failed"
    RECOVERING = "recovering"
    ROLLING = "rolling"
    PLACING = "placing"
    STEADY = "steady"
    RETIRED = "retired"


class Status(msgspec.Struct, frozen=True):
    """What to tell a person: the word, why, and what the application survives at this moment."""

    condition: Condition
    messages: tuple[str, ...] = ()
    survives: Survive = Survive.NONE
    serving: int = 0
    wanted: int = 0
