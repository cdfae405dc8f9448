"""A landed commit on its way: which instances get which commit now, and when a rollout is over.

In place: an instance is deployed to while it stays published; probes take it out if it stops answering. Never more
than ``max-parallel`` at once, never fewer than min-healthy serving because of it, each batch healthy before the next.
"""

from __future__ import annotations

from .actions import Conclude, DeployBatch
from .judge import is_serving, keepers, live, region_is_down
from .model import AppState, Health, Instance, InstanceState, RolloutState, Seen

SIBLING_GRACE_S = 15.0
"""A ready server waits this long for those asked for beside it, so that one build serves them all."""

DEPLOY_TRIES = 2
"""A deploy build may fail once: the second failure of an unproven commit ends its rollout."""


def wanted_count(state: AppState) -> int:
    """How many instances to keep; one more while a rollout could not go on without a spare."""
    if state.retired:
        return 0
    count = state.application.instances
    if not is_rolling(state) or state.application.must_serve < count or count == 0:
        return count
    kept = keepers(state)
    old = any(i.commit not in (None, state.target) for i in kept)
    return count + int(old or len(kept) > count)


def is_rolling(state: AppState) -> bool:
    return state.rollout is not None and state.rollout.state is RolloutState.RUNNING


def outdated(state: AppState) -> list[Instance]:
    """Running instances whose commit is not the wanted one, those that serve nobody first."""
    found = [i for i in keepers(state) if i.state is InstanceState.RUNNING and i.commit != state.target]
    return sorted(found, key=lambda i: (is_serving(i), i.created, i.id))


def unsettled(state: AppState, now: float) -> list[Instance]:
    """Instances at the wanted commit that have not been healthy for min-healthy-time yet."""
    calm_s = state.application.update.min_healthy_time_s
    return [
        i
        for i in keepers(state)
        if i.state is InstanceState.RUNNING
        and i.commit == state.target
        and not (i.health is Health.HEALTHY and now - max(i.health_since, i.deployed_at or 0.0) >= calm_s)
    ]


def deploys(state: AppState, now: float) -> list[DeployBatch]:
    """The builds to start now: one for all fresh servers, one for the next batch of the rollout."""
    if state.target is None or state.retired or _is_stopped(state, now):
        return []
    groups = [(_fresh(state, now), "fresh servers"), (_next_batch(state, now), "next batch of the rollout")]
    batches: list[DeployBatch] = []
    for instances, reason in groups:
        if instances:
            deploy = f"{state.application.name}:{state.deploys + len(batches) + 1}"
            batches.append(DeployBatch(deploy, tuple(i.id for i in instances), state.target, reason))
    return batches


def _is_stopped(state: AppState, now: float) -> bool:
    """A commit that failed and has no good one before it is tried again after the cooldown only."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.FAILED or rollout.commit != state.target:
        return False
    return now - (rollout.ended or 0.0) < state.application.failover.cooldown_s


def _fresh(state: AppState, now: float) -> list[Instance]:
    ready = [i for i in keepers(state) if i.state is InstanceState.READY]
    expected = [i for i in keepers(state) if i.state is InstanceState.REQUESTED]
    if ready and expected and now - min(i.state_since for i in ready) < SIBLING_GRACE_S:
        return []
    return ready


def _next_batch(state: AppState, now: float) -> list[Instance]:
    if unsettled(state, now):
        return []
    updating = [i for i in live(state) if i.state is InstanceState.DEPLOYING and i.commit is not None]
    room = state.application.update.max_parallel - len(updating)
    spare = sum(1 for i in live(state) if is_serving(i) and i not in updating) - state.application.must_serve
    batch: list[Instance] = []
    for instance in outdated(state):
        if len(batch) >= room:
            break
        if is_serving(instance):
            if spare < 1:
                continue
            spare -= 1
        batch.append(instance)
    return batch


def conclusions(state: AppState, seen: Seen, now: float) -> list[Conclude]:
    """Whether the rollout is over, well or badly."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.RUNNING or state.retired:
        return []
    if rollout.failures >= DEPLOY_TRIES:
        return [Conclude(rollout.commit, False, f"{rollout.failures} deploys of it failed")]
    deadline_s = state.application.update.healthy_deadline_s
    for i in unsettled(state, now):
        waiting_s = now - max(i.deployed_at or 0.0, i.health_since if i.health is Health.UNHEALTHY else 0.0)
        if i.health is not Health.HEALTHY and waiting_s >= deadline_s and not region_is_down(i, seen.regions):
            return [Conclude(rollout.commit, False, f"{i.id} is not healthy {deadline_s:g} s after its deploy")]
    kept = keepers(state)
    ready = kept and all(i.state is InstanceState.RUNNING and i.commit == state.target for i in kept)
    if ready and not unsettled(state, now):
        return [Conclude(rollout.commit, True, f"healthy on {len(kept)} instances")]
    return []
