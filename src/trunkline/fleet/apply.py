"""The state after a plan's actions are asked of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from .actions import Action, Conclude, Delete, DeployBatch, Drain, Leave, Place, Publish, Return, Unpublish
from .model import (
    MOVES,
    AppState,
    Instance,
    InstanceId,
    InstanceState,
    Leaving,
    Rollout,
    RolloutState,
    Seen,
)

AVOID_S = 300.0
"""A provider that refused or broke a server is not asked again for this long."""


def apply(state: AppState, actions: Iterable[Action], seen: Seen, now: float) -> AppState:
    for action in actions:
        state = _one(state, action, seen, now)
    return state


def _one(state: AppState, action: Action, seen: Seen, now: float) -> AppState:
    match action:
        case Place():
            return _placed(state, action, seen, now)
        case Leave():
            return _leaving(state, action, now)
        case Return():
            return change(state, action.instance, lambda i: replace(i, leaving=None, reason=action.reason))
        case DeployBatch():
            return _deploying(state, action, now)
        case Publish():
            return _set_published(state, action.instance, True)
        case Unpublish():
            return _set_published(state, action.instance, False)
        case Drain():
            state = _set_published(state, action.instance, False)
            return change(state, action.instance, lambda i: moved(i, InstanceState.DRAINING, now, action.reason))
        case Delete():
            state = _set_published(state, action.instance, False)
            return change(state, action.instance, lambda i: moved(i, InstanceState.DELETING, now, action.reason))
        case Conclude():
            return _concluded(state, action, now)


def moved(instance: Instance, to: InstanceState, now: float, reason: str) -> Instance:
    """The instance in its next state; only along ``MOVES``."""
    assert to in MOVES[instance.state], (instance, to)
    return replace(instance, state=to, state_since=now, reason=reason)


def change(state: AppState, instance: InstanceId | str, by: Callable[[Instance], Instance]) -> AppState:
    """The state with one instance changed."""
    return replace(state, instances=tuple(by(i) if i.id == instance else i for i in state.instances))


def avoid(state: AppState, provider: str, now: float) -> AppState:
    others = tuple((p, until) for p, until in state.avoid if p != provider and until > now)
    return replace(state, avoid=(*others, (provider, now + AVOID_S)))


def _placed(state: AppState, place: Place, seen: Seen, now: float) -> AppState:
    region = next(r for r in seen.regions if r.provider == place.provider)
    instance = Instance(
        id=place.instance,
        state=InstanceState.REQUESTED,
        label=place.label,
        cloud=region.cloud,
        region=region.region,
        provider=region.provider,
        vendor=region.vendor,
        jurisdiction=region.jurisdiction,
        country=region.country,
        city=region.city,
        created=now,
        state_since=now,
        reason=place.reason,
    )
    return replace(state, instances=(*state.instances, instance), serial=state.serial + 1)


def _leaving(state: AppState, leave: Leave, now: float) -> AppState:
    instance = next(i for i in state.instances if i.id == leave.instance)
    bounded = leave.why in (Leaving.LOST, Leaving.FAILING, Leaving.MISPLACED) and instance.commit is not None
    if bounded:
        recent = tuple(at for at in state.moves if now - at < state.application.failover.cooldown_s)
        state = replace(state, moves=(*recent, now))
    elif leave.why is Leaving.FAILING:
        state = avoid(state, instance.provider, now)
    return change(state, leave.instance, lambda i: replace(i, leaving=leave.why, reason=leave.reason))


def _deploying(state: AppState, batch: DeployBatch, now: float) -> AppState:
    if (
        (rollout := state.rollout) is not None
        and rollout.state is RolloutState.FAILED
        and rollout.commit == batch.commit
    ):
        state = replace(state, rollout=Rollout(batch.commit, RolloutState.RUNNING, now))
    for instance in batch.instances:
        state = change(
            state,
            instance,
            lambda i: replace(
                moved(i, InstanceState.DEPLOYING, now, batch.reason), build=batch.deploy, deploying=batch.commit
            ),
        )
    return replace(state, deploys=state.deploys + 1)


def _set_published(state: AppState, instance: InstanceId, published: bool) -> AppState:
    if all(i.published == published for i in state.instances if i.id == instance):
        return state
    state = change(state, instance, lambda i: replace(i, published=published))
    return replace(state, generation=state.generation + 1)


def _concluded(state: AppState, end: Conclude, now: float) -> AppState:
    if state.rollout is None:
        return state
    ended = replace(
        state.rollout, state=RolloutState.DONE if end.good else RolloutState.FAILED, ended=now, reason=end.reason
    )
    instances = tuple(replace(i, failures=0) if i.failures else i for i in state.instances)
    state = replace(state, rollout=ended, instances=instances)
    if end.good:
        return replace(state, good=end.commit)
    return replace(state, target=state.good) if state.good is not None else state
