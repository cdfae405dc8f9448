"""(state, seen, now) → Plan: passes in a fixed order, each on the state as the passes before it leave it.

Level-triggered: what is already under way is in the state, so planning twice asks for nothing twice. The order is
law first (what is forbidden goes), then who counts, who is missing, what to deploy, whom to publish, whom to remove.
"""

from __future__ import annotations

from collections.abc import Callable

from . import placement
from .actions import Action, Delete, Drain, Leave, Place, Plan, Publish, Return, Unpublish
from .apply import apply
from .judge import LIVE_STATES, fault, hold, is_serving, keepers, live, region_is_down, region_of
from .model import (
    AppState,
    Condition,
    Health,
    Instance,
    InstanceId,
    InstanceState,
    Leaving,
    RegionHealth,
    RolloutState,
    Seen,
    Status,
)
from .rollout import conclusions, deploys, is_rolling, outdated, wanted_count
from .survival import survives


def plan(state: AppState, seen: Seen, now: float) -> Plan:
    """What to do now, and how things stand then."""
    state, actions = advance(state, seen, now)
    return Plan(actions, status(state, seen, now))


def advance(state: AppState, seen: Seen, now: float) -> tuple[AppState, tuple[Action, ...]]:
    """All passes once. Costs O(instances) if nothing moves, O(regions + instances) more for each that does."""
    actions: list[Action] = []
    for decide in _PASSES:
        found = decide(state, seen, now)
        state = apply(state, found, seen, now)
        actions.extend(found)
    return state, tuple(actions)


def _obey_law(state: AppState, seen: Seen, now: float) -> list[Action]:
    return [
        Leave(i.id, Leaving.FORBIDDEN, f"jurisdiction {i.jurisdiction} is not allowed")
        for i in live(state)
        if i.leaving is not Leaving.FORBIDDEN and placement.forbidden(state.application, i)
    ]


def _take_back(state: AppState, seen: Seen, now: float) -> list[Action]:
    return [
        Return(i.id, "it answers again")
        for i in live(state)
        if i.leaving in (Leaving.LOST, Leaving.FAILING)
        and i.commit is not None
        and i.health is Health.HEALTHY
        and i.id not in seen.gone
        and not region_is_down(i, seen.regions)
    ]


def _give_up(state: AppState, seen: Seen, now: float) -> list[Action]:
    """Who is lost, failing or misplaced; no more within one cooldown than failover allows."""
    if hold(state, seen) is not None:
        return []
    actions: list[Action] = []
    budget = moves_left(state, now)
    for i in keepers(state):
        found = fault(state, i, seen, now)
        if found is None and (why := placement.misplaced(state.application, i)) is not None:
            found = Leaving.MISPLACED, why
        if found is None:
            continue
        if i.commit is not None:
            if budget < 1:
                continue
            budget -= 1
        actions.append(Leave(i.id, *found))
    if not actions and budget >= 1:
        actions.extend(_restore_spread(state, seen, now))
    return actions


def _restore_spread(state: AppState, seen: Seen, now: float) -> list[Action]:
    """Move one instance if policy has come to demand more failure domains than the instances use."""
    kept = keepers(state)
    if len(kept) < wanted_count(state) or state.retired or not kept:
        return []
    want_providers, want_regions = placement.spread_wanted(state.application)
    if len({i.vendor for i in kept}) >= want_providers and len({(i.cloud, i.region) for i in kept}) >= want_regions:
        return []
    mover = placement.worst_first(state.application, seen.regions, kept)[0]
    others = [i for i in kept if i is not mover]
    choice = placement.choose(state.application, seen.regions, others, avoided(state, now), now)
    if isinstance(choice, placement.Refused):
        return []
    return [Leave(mover.id, Leaving.MISPLACED, "the spread of the policy is not reached")]


def moves_left(state: AppState, now: float) -> int:
    """How many serving instances may still be given up within this cooldown."""
    failover = state.application.failover
    most = max(1, int(state.application.instances * failover.max_moving))
    return most - sum(1 for at in state.moves if now - at < failover.cooldown_s)


def avoided(state: AppState, now: float) -> list[str]:
    return [provider for provider, until in state.avoid if now < until]


def _fill_up(state: AppState, seen: Seen, now: float) -> list[Action]:
    if hold(state, seen) is not None:
        return []
    actions: list[Action] = []
    while len(keepers(state)) < wanted_count(state):
        choice = placement.choose(state.application, seen.regions, keepers(state), avoided(state, now), now)
        if isinstance(choice, placement.Refused):
            break
        place = Place(
            instance=InstanceId(f"{state.application.name}-{state.serial + 1}"),
            provider=choice.region.provider,
            label=state.application.label,
            jurisdictions=(choice.region.jurisdiction,) if state.application.placement.jurisdictions else (),
            reason=choice.reason,
        )
        state = apply(state, [place], seen, now)
        actions.append(place)
    return actions


def _thin_out(state: AppState, seen: Seen, now: float) -> list[Action]:
    if hold(state, seen) is not None:
        return []
    actions: list[Action] = []
    while (kept := keepers(state)) and len(kept) > wanted_count(state):
        worst = placement.worst_first(state.application, seen.regions, kept)[0]
        leave = Leave(worst.id, Leaving.SURPLUS, f"{len(kept)} instances, {wanted_count(state)} wanted")
        state = apply(state, [leave], seen, now)
        actions.append(leave)
    return actions


def _roll(state: AppState, seen: Seen, now: float) -> list[Action]:
    return [*conclusions(state, seen, now)]


def _deploy(state: AppState, seen: Seen, now: float) -> list[Action]:
    return [*deploys(state, now)]


def _publish(state: AppState, seen: Seen, now: float) -> list[Action]:
    held = hold(state, seen) is not None
    actions: list[Action] = []
    for i in live(state):
        running = i.state is InstanceState.RUNNING
        if not i.published and running and i.leaving is None and i.health is Health.HEALTHY:
            actions.append(Publish(i.id, "it is healthy"))
        elif i.published and not held and i.health is Health.UNHEALTHY:
            actions.append(Unpublish(i.id, "its probes fail"))
    return actions


def _remove(state: AppState, seen: Seen, now: float) -> list[Action]:
    """Publish before drain, drain before delete: a healthy instance goes only when enough others serve."""
    held = hold(state, seen) is not None
    serving = sum(1 for i in keepers(state) if is_serving(i))
    enough = serving >= (0 if state.retired else state.application.instances)
    actions: list[Action] = []
    for i in state.instances:
        draining = i.state is InstanceState.DRAINING
        is_live = i.state in LIVE_STATES
        if (draining or is_live) and placement.forbidden(state.application, i):
            actions.append(Delete(i.id, i.reason))
        elif draining:
            if now - i.state_since >= state.application.drain_s:
                actions.append(Delete(i.id, "drained"))
        elif i.leaving is not None and not held and is_live:
            actions.extend(_let_go(state, i, seen, now, enough))
    return actions


def _let_go(state: AppState, i: Instance, seen: Seen, now: float, enough: bool) -> list[Action]:
    if i.commit is None:
        return [Delete(i.id, f"{i.reason}; nothing runs on it")]
    if i.published and i.state is InstanceState.DEPLOYING:
        return []  # its build ends first
    if i.published:
        return [Drain(i.id, f"{i.reason}; {'enough others serve'}")] if enough else []
    if enough or i.id in seen.gone or _stays_dead(state, i, seen, now):
        return [Delete(i.id, i.reason)]
    return []


def _stays_dead(state: AppState, i: Instance, seen: Seen, now: float) -> bool:
    """Whether its region has answered for long enough that it would serve again if it could."""
    region = region_of(i, seen.regions)
    return (
        i.health is Health.UNHEALTHY
        and region is not None
        and region.health is not RegionHealth.DOWN
        and now - region.since >= state.application.failover.detect_s
    )


_PASSES: tuple[Callable[[AppState, Seen, float], list[Action]], ...] = (
    _obey_law,
    _take_back,
    _give_up,
    _roll,
    _fill_up,
    _thin_out,
    _deploy,
    _publish,
    _remove,
)


def status(state: AppState, seen: Seen, now: float) -> Status:
    """How things stand, worst first, in words that say what would mend it."""
    kept, wanted = keepers(state), wanted_count(state)
    serving = sum(1 for i in live(state) if is_serving(i))
    found: list[tuple[Condition, str]] = []
    if len(kept) < wanted:
        choice = placement.choose(state.application, seen.regions, kept, avoided(state, now), now)
        if isinstance(choice, placement.Refused):
            found.append((Condition.CONSTRAINED, choice.message))
    if (held := hold(state, seen)) is not None:
        found.append((Condition.HOLDING, held))
    found.extend(_progress(state, kept, wanted))
    survived = survives(state, seen, now)
    demanded = state.application.placement.survive
    order = list(type(demanded))
    messages = [message for _, message in found]
    condition = found[0][0] if found else Condition.STEADY
    if order.index(survived) < order.index(demanded) and condition is Condition.STEADY:
        condition = Condition.CONSTRAINED
        messages.append(
            f"policy wants to survive the loss of any {demanded.value}, now it survives {survived.value}: "
            "add quota or another allowed provider, or lower min-healthy"
        )
    return Status(condition, tuple(messages), survived, serving, wanted)


def _progress(state: AppState, kept: list[Instance], wanted: int) -> list[tuple[Condition, str]]:
    found: list[tuple[Condition, str]] = []
    rollout = state.rollout
    if rollout is not None and rollout.state is RolloutState.FAILED:
        found.append((Condition.ROLLOUT_FAILED, f"{rollout.commit[:12]} was given up: {rollout.reason}"))
    leaving = [i for i in live(state) if i.leaving in (Leaving.LOST, Leaving.FAILING)]
    if leaving:
        found.append((Condition.RECOVERING, "; ".join(f"{i.id} {i.reason}" for i in leaving)))
    if is_rolling(state):
        late = len(outdated(state))
        found.append((Condition.ROLLING, f"{(state.target or '')[:12]}: {late} instances still at another commit"))
    coming = [i for i in kept if i.commit is None]
    if coming or len(kept) < wanted:
        found.append((Condition.PLACING, f"{len(coming)} instances on their way"))
    if not found and state.retired and not live(state):
        found.append((Condition.RETIRED, "its application file is gone"))
    return found
