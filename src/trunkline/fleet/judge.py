"""From evidence to health: one bad probe moves nothing, one vantage point proves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from .model import (
    Application,
    AppState,
    Health,
    Instance,
    InstanceState,
    Leaving,
    RegionHealth,
    RegionView,
    RolloutState,
    Seen,
    Streak,
)

VANTAGES_TO_CONDEMN = 2
"""So many vantage points must agree before an instance counts as unhealthy."""

SERVING_STATES = (InstanceState.RUNNING, InstanceState.DEPLOYING)
LIVE_STATES = (InstanceState.REQUESTED, InstanceState.READY, InstanceState.DEPLOYING, InstanceState.RUNNING)


def verdict(application: Application, instance: Instance, streaks: Sequence[Streak], gone: bool) -> Health:
    """Health of an instance by the probes since its last deploy; what it was if they do not say enough.

    Without health checks an instance is well as long as its server is there.
    """
    if instance.state not in SERVING_STATES or instance.commit is None:
        return instance.health
    if not application.health:
        return Health.UNHEALTHY if gone else Health.HEALTHY
    fail_after = max(check.fail_after for check in application.health)
    pass_after = max(check.pass_after for check in application.health)
    deployed = instance.deployed_at or 0.0
    fresh = [streak for streak in streaks if streak.last > deployed]
    if sum(1 for s in fresh if not s.ok and s.count >= fail_after) >= VANTAGES_TO_CONDEMN:
        return Health.UNHEALTHY
    if any(s.ok and s.count >= pass_after for s in fresh):
        return Health.HEALTHY
    return instance.health


def refresh(state: AppState, seen: Seen, now: float) -> AppState:
    """Give every instance its present health."""
    renewed = tuple(_judged(state.application, instance, seen, now) for instance in state.instances)
    return state if renewed == state.instances else replace(state, instances=renewed)


def _judged(application: Application, instance: Instance, seen: Seen, now: float) -> Instance:
    health = verdict(application, instance, seen.streaks.get(instance.id, ()), instance.id in seen.gone)
    return instance if health is instance.health else replace(instance, health=health, health_since=now)


def live(state: AppState) -> list[Instance]:
    """Instances that are there or on their way, and not on their way out of the world."""
    return [i for i in state.instances if i.state in LIVE_STATES]


def keepers(state: AppState) -> list[Instance]:
    """Live instances that count towards what is wanted."""
    return [i for i in live(state) if i.leaving is None]


def is_serving(instance: Instance) -> bool:
    return instance.published and instance.health is Health.HEALTHY and instance.state in SERVING_STATES


def region_of(instance: Instance, regions: Iterable[RegionView]) -> RegionView | None:
    return next((r for r in regions if r.provider == instance.provider), None)


def region_is_down(instance: Instance, regions: Iterable[RegionView]) -> bool:
    region = region_of(instance, regions)
    return region is not None and region.health is RegionHealth.DOWN


def hold(state: AppState, seen: Seen) -> str | None:
    """Why nothing may move now: it is rather we who are cut off, or the application that is broken everywhere."""
    places = {(r.cloud, r.region) for r in seen.regions}
    down = {(r.cloud, r.region) for r in seen.regions if r.health is RegionHealth.DOWN}
    if len(places) > 1 and len(down) * 2 > len(places):
        return f"{len(down)} of {len(places)} regions vanished at once: we may be cut off, nothing moves"
    judged = [i for i in live(state) if i.commit is not None and i.health is not Health.UNKNOWN]
    alone = all(not region_is_down(i, seen.regions) and i.id not in seen.gone for i in judged)
    if len(judged) > 1 and alone and all(i.health is Health.UNHEALTHY for i in judged):
        return "every instance fails while its region answers: moving them would not mend it"
    return None


def fault(state: AppState, instance: Instance, seen: Seen, now: float) -> tuple[Leaving, str] | None:
    """Whether this instance is lost or failing, by evidence that held for ``detect``; and what the evidence is."""
    detect_s = state.application.failover.detect_s
    down = region_is_down(instance, seen.regions)
    gone = instance.id in seen.gone
    if instance.commit is None:
        return _fault_before_it_served(state, instance, seen, now, down, gone)
    if not state.application.health:
        if gone:
            return Leaving.LOST, "its server is gone (there are no health checks to ask)"
        return None
    if instance.health is not Health.UNHEALTHY or now - instance.health_since < detect_s:
        return None
    where = f"{instance.provider} ({instance.cloud}/{instance.region})"
    if down or gone:
        what = f"{where} does not answer" if down else f"its server in {where} is gone"
        return Leaving.LOST, f"{what} and probes from {VANTAGES_TO_CONDEMN} vantage points fail for {detect_s:g} s"
    if state.rollout is not None and state.rollout.state is RolloutState.RUNNING:
        return None  # the commit may be at fault; the rollout decides by its own deadline
    return Leaving.FAILING, f"probes fail for {detect_s:g} s while {where} answers"


def _fault_before_it_served(
    state: AppState, instance: Instance, seen: Seen, now: float, down: bool, gone: bool
) -> tuple[Leaving, str] | None:
    if gone:
        return Leaving.LOST, "its server is gone before anything ran on it"
    region = region_of(instance, seen.regions)
    if down and region is not None and now - region.since >= state.application.failover.detect_s:
        return Leaving.LOST, f"{instance.provider} does not answer and nothing runs there yet"
    if instance.state is InstanceState.READY and instance.failures >= 2 and state.target == state.good:
        return Leaving.FAILING, f"{instance.failures} deploys of a commit that runs elsewhere failed on it"
    return None
