"""What outcomes teach about a provider region: the circuit breaker, learned ceilings, what to avoid, time to ready.

healthy ──failures in a row──▶ down ──probe_at reached, one call succeeds──▶ degraded ──a server gets ready──▶ healthy
   ▲                            ▲                                              │
   └── degraded (boots fail) ◀──┴──────────── one more failure ◀───────────────┘
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from trunkline.pool.model import Avoid, Ceiling, ProviderHealth, RegionStatus, Trouble

API_FAILURES_TO_OPEN = 3
BOOT_FAILURES_TO_DEGRADE = 4
BOOT_FAILURES_TO_OPEN = 8
FIRST_PAUSE_S = 2.0
PAUSE_GROWTH = 1.6
LONGEST_PAUSE_S = 60.0
FORGIVEN_AFTER_S = 600.0  # of good health
AVOID_S = 20.0
LONGEST_AVOID_S = 600.0
AVOID_KEPT_S = 1800.0


class Outcome(Struct, frozen=True):
    """One thing that happened in a region. trouble None: it went well."""

    trouble: Trouble | None = None
    message: str = ""
    ready_s: float | None = None  # a server became ready after that long
    flavor: str = ""
    az: str = ""
    resource: str = "instances"  # quota: of what
    in_use: int | None = None  # quota: how much of it the account has in use


def observe(health: ProviderHealth, outcome: Outcome, now: float) -> ProviderHealth:
    """The health after one more outcome. Pure."""
    match outcome.trouble:
        case None:
            return _went_well(health, outcome, now)
        case Trouble.auth:
            return _open(health, f"credentials refused: {outcome.message}", now)
        case Trouble.timeout | Trouble.down:
            failures = health.failures + 1
            health = replace(health, failures=failures)
            if failures >= API_FAILURES_TO_OPEN or health.status is not RegionStatus.healthy:
                return _open(health, f"{outcome.trouble.value}: {outcome.message}", now)
            return health
        case Trouble.boot | Trouble.unreachable:
            return _boot_failed(health, outcome, now)
        case Trouble.quota:
            return _learn_ceiling(health, outcome, now)
        case Trouble.capacity:
            return _avoid(health, outcome, now)
        case _:
            return health


def may_call(health: ProviderHealth, now: float) -> bool:
    """Whether the region may be asked for anything now: always, unless its circuit is open and no probe is due."""
    return health.status is not RegionStatus.down or now >= health.probe_at


def is_avoided(health: ProviderHealth, flavor: str, az: str | None, now: float) -> bool:
    return any(a.flavor == flavor and (not a.az or not az or a.az == az) and now < a.until for a in health.avoid)


def _went_well(health: ProviderHealth, outcome: Outcome, now: float) -> ProviderHealth:
    if outcome.ready_s is not None:
        mean = health.ready_s
        health = replace(
            health,
            ready_s=outcome.ready_s if mean is None else mean + (outcome.ready_s - mean) / 8,
            ready_dev_s=health.ready_dev_s
            + (abs(outcome.ready_s - (mean or outcome.ready_s)) - health.ready_dev_s) / 8,
            boot_failures=0,
            failures=0,
            openings=0,
            avoid=tuple(a for a in health.avoid if a.flavor != outcome.flavor and now < a.until + AVOID_KEPT_S),
        )
        return _set(health, RegionStatus.healthy, "", now)
    if health.status is RegionStatus.down:
        careful = health.boot_failures >= BOOT_FAILURES_TO_DEGRADE
        reason = f"answers again after: {health.reason}" if careful else ""
        status = RegionStatus.degraded if careful else RegionStatus.healthy
        return _set(replace(health, failures=0), status, reason, now)
    return replace(health, failures=0) if health.failures else health


def _open(health: ProviderHealth, reason: str, now: float) -> ProviderHealth:
    if health.status is RegionStatus.down and now < health.probe_at:
        return replace(health, reason=reason)  # a call that was under way when the circuit opened
    was_well = health.status is RegionStatus.healthy and now - health.since > FORGIVEN_AFTER_S
    openings = 1 if was_well else health.openings + 1
    pause_s = min(FIRST_PAUSE_S * PAUSE_GROWTH ** (openings - 1), LONGEST_PAUSE_S)
    return _set(replace(health, openings=openings, probe_at=now + pause_s), RegionStatus.down, reason, now)


def _boot_failed(health: ProviderHealth, outcome: Outcome, now: float) -> ProviderHealth:
    health = replace(health, boot_failures=health.boot_failures + 1)
    reason = f"{health.boot_failures} launches failed in a row, the last: {outcome.message}"
    if health.boot_failures >= BOOT_FAILURES_TO_OPEN:
        return _open(health, reason, now)
    if health.boot_failures >= BOOT_FAILURES_TO_DEGRADE and health.status is RegionStatus.healthy:
        return _set(health, RegionStatus.degraded, reason, now)
    return health


def _learn_ceiling(health: ProviderHealth, outcome: Outcome, now: float) -> ProviderHealth:
    if outcome.in_use is None:
        return health
    others = tuple(c for c in health.ceilings if c.resource != outcome.resource)
    return replace(health, ceilings=(*others, Ceiling(outcome.resource, max(0, outcome.in_use), now)))


def _avoid(health: ProviderHealth, outcome: Outcome, now: float) -> ProviderHealth:
    key = (outcome.flavor, outcome.az)
    before = next((a for a in health.avoid if (a.flavor, a.az) == key), None)
    others = tuple(a for a in health.avoid if (a.flavor, a.az) != key and now < a.until + AVOID_KEPT_S)
    times = before.times + 1 if before else 1
    until = now + min(AVOID_S * 2.0 ** (times - 1), LONGEST_AVOID_S)
    return replace(health, avoid=(*others, Avoid(outcome.flavor, outcome.az, until, times)))


def _set(health: ProviderHealth, status: RegionStatus, reason: str, now: float) -> ProviderHealth:
    since = health.since if status is health.status else now
    return replace(health, status=status, reason=reason, since=since)
