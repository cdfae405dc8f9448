"""(state, events, seen, now) → (state', plan): observe what happened, plan, apply, until nothing moves.

Pure: the same arguments give the same result on every machine, for ever. Stale or unknown ids change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from .actions import Action, Plan
from .apply import avoid, change, moved
from .events import Asked, BuildCompleted, Event, Landed, NodeFailed, NodeGone, NodeReady, Submitted
from .judge import refresh
from .model import AppState, Health, Instance, InstanceState, Rollout, RolloutState, Seen
from .placement import forbidden
from .plan import advance, status

PASSES_AT_MOST = 20
LANDED_KEPT = 100
LOST_BUILD = "RETRY"
"""The result of a build that ended with its executor: it says nothing about the commit, and is done again."""


def step(state: AppState, events: Sequence[Event], seen: Seen, now: float) -> tuple[AppState, Plan]:
    """Advance one application. The plan's actions are to be done in order, in the transaction that stores the state."""
    for event in events:
        state = observe(state, event, now)
    state = refresh(state, seen, now)
    actions: list[Action] = []
    for _ in range(PASSES_AT_MOST):
        state, found = advance(state, seen, now)
        if not found:
            break
        state = refresh(state, seen, now)
        actions.extend(found)
    assert invariants_hold(state), state
    return state, Plan(tuple(actions), status(state, seen, now))


def observe(state: AppState, event: Event, now: float) -> AppState:
    """Fold one event into the state."""
    match event:
        case Landed():
            return _landed(state, event, now)
        case Asked():
            return change(state, event.instance, lambda i: i if i.request else replace(i, request=event.request))
        case NodeReady():
            return _each(state, lambda i: i.request == event.request, lambda i: _node_ready(i, event, now))
        case NodeFailed():
            return _node_failed(state, event, now)
        case NodeGone():
            return _each(
                state,
                lambda i: i.id == event.instance and i.state is InstanceState.DELETING,
                lambda i: moved(i, InstanceState.GONE, now, i.reason),
            )
        case Submitted():
            return _each(state, lambda i: i.build == event.deploy, lambda i: replace(i, build=event.build))
        case BuildCompleted():
            return _build_completed(state, event, now)


def forget(state: AppState) -> AppState:
    """The state without instances that are gone; their rows stay as evidence."""
    return replace(state, instances=tuple(i for i in state.instances if i.state is not InstanceState.GONE))


def _each(state: AppState, which: Callable[[Instance], bool], by: Callable[[Instance], Instance]) -> AppState:
    return replace(state, instances=tuple(by(i) if which(i) else i for i in state.instances))


def _landed(state: AppState, event: Landed, now: float) -> AppState:
    if event.commit in state.landed:
        return state
    used = {i.commit for i in state.instances} | {i.deploying for i in state.instances} | {state.good, state.target}
    older = tuple(c for c in state.landed[:-LANDED_KEPT] if c in used)
    landed = (*older, *state.landed[-LANDED_KEPT:], event.commit)
    state = replace(state, landed=landed, project=event.project, branch=event.branch)
    if event.application is None:
        return replace(state, retired=True)
    instances = tuple(replace(i, failures=0) if i.failures else i for i in state.instances)
    return replace(
        state,
        application=event.application,
        retired=False,
        target=event.commit,
        rollout=Rollout(event.commit, RolloutState.RUNNING, now),
        instances=instances,
    )


def _node_ready(instance: Instance, event: NodeReady, now: float) -> Instance:
    if instance.node is not None:
        return instance
    instance = replace(instance, node=event.node, address=event.address)
    if instance.state is not InstanceState.REQUESTED:
        return instance
    return moved(instance, InstanceState.READY, now, instance.reason)


def _node_failed(state: AppState, event: NodeFailed, now: float) -> AppState:
    for i in state.instances:
        if i.request == event.request and i.node is None and i.state is InstanceState.REQUESTED:
            state = avoid(state, i.provider, now)
            state = change(state, i.id, lambda i: moved(i, InstanceState.GONE, now, event.reason))
    return state


def _build_completed(state: AppState, event: BuildCompleted, now: float) -> AppState:
    built = [i for i in state.instances if i.build == event.build and i.state is InstanceState.DEPLOYING]
    if not built:
        return state
    if event.result == "SUCCESS":
        return _each(state, built.__contains__, lambda i: _deployed(i, now))
    rollout, counts = state.rollout, event.result != LOST_BUILD
    if (
        counts
        and rollout is not None
        and rollout.state is RolloutState.RUNNING
        and built[0].deploying == rollout.commit
    ):
        state = replace(state, rollout=replace(rollout, failures=rollout.failures + 1))
    if any(i.published for i in built):
        state = replace(state, generation=state.generation + 1)
    reason = f"its deploy ended with {event.result}"
    return _each(state, built.__contains__, lambda i: _undeployed(i, now, reason, counts))


def _deployed(instance: Instance, now: float) -> Instance:
    return replace(
        moved(instance, InstanceState.RUNNING, now, f"deployed {(instance.deploying or '')[:12]}"),
        commit=instance.deploying,
        deploying=None,
        deployed_at=now,
        health=Health.UNKNOWN,
        health_since=now,
        failures=0,
    )


def _undeployed(instance: Instance, now: float, reason: str, counts: bool) -> Instance:
    """After a failed deploy nobody knows what runs there: it starts over as a fresh server."""
    return replace(
        moved(instance, InstanceState.READY, now, reason),
        commit=None,
        deploying=None,
        deployed_at=None,
        health=Health.UNKNOWN,
        health_since=now,
        published=False,
        failures=instance.failures + counts,
    )


def invariants_hold(state: AppState) -> bool:
    """What must be true after every step."""
    ids = [i.id for i in state.instances]
    kept = [i for i in state.instances if i.state not in (InstanceState.DELETING, InstanceState.GONE)]
    return (
        len(ids) == len(set(ids))
        and all(i.commit is None or i.commit in state.landed for i in kept)
        and all(not forbidden(state.application, i) for i in kept)
        and all(i.state in (InstanceState.RUNNING, InstanceState.DEPLOYING) for i in state.instances if i.published)
    )
