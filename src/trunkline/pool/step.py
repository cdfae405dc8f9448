"""Advance the world by one event, then plan: what a launcher that had all state in memory would do.

The launcher keeps state in tables and calls `plan` on what it reads; simulation and properties call `step`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from trunkline.pool.actions import Action, apply
from trunkline.pool.health import Outcome, observe
from trunkline.pool.model import Node, NodeState, RegionKey, Request, RequestState, Trouble, World
from trunkline.pool.plan import Policy, plan


class Requested(Struct, frozen=True, tag=True):
    request: Request


class Canceled(Struct, frozen=True, tag=True):
    """The requester wants nothing (more) of a request: nodes that ran something are used up."""

    request: str


class Started(Struct, frozen=True, tag=True):
    """A build runs on these nodes."""

    nodes: tuple[str, ...]


class Building(Struct, frozen=True, tag=True):
    node: str
    server_id: str


class BecameReady(Struct, frozen=True, tag=True):
    node: str
    ready_s: float


class WentWrong(Struct, frozen=True, tag=True):
    """A launch failed or a server vanished."""

    node: str
    trouble: Trouble
    message: str = ""


class Gone(Struct, frozen=True, tag=True):
    """The server of a node that was being deleted is gone."""

    node: str


class Happened(Struct, frozen=True, tag=True):
    """Something in a region that concerns no node."""

    region: RegionKey
    outcome: Outcome


class Tick(Struct, frozen=True, tag=True):
    pass


Event = Requested | Canceled | Started | Building | BecameReady | WentWrong | Gone | Happened | Tick


def step(world: World, event: Event, now: float, policy: Policy = Policy()) -> tuple[World, tuple[Action, ...]]:
    """The world after the event and the plan that follows from it, and that plan. Stale events change nothing."""
    world = record(world, event, now)
    actions = plan(world, now, policy)
    return apply(world, actions, now), actions


def record(world: World, event: Event, now: float) -> World:
    """The world after an event, nothing decided yet."""
    match event:
        case Requested(request=request) if request.id not in world.requests:
            return replace(world, requests={**world.requests, request.id: request})
        case Canceled(request=request_id) if request_id in world.requests:
            return _canceled(world, request_id, now)
        case Started(nodes=nodes):
            return _moved(world, nodes, (NodeState.ready,), NodeState.in_use, now)
        case Building(node=node, server_id=server_id):
            return _moved(world, (node,), (NodeState.requested,), NodeState.building, now, server_id=server_id)
        case BecameReady(node=node_id, ready_s=ready_s) if node_id in world.nodes:
            it = world.nodes[node_id]
            world = _moved(world, (node_id,), (NodeState.requested, NodeState.building), NodeState.ready, now)
            return _observed(world, it, Outcome(ready_s=ready_s, flavor=it.flavor, az=it.az or ""), now)
        case WentWrong(node=node_id, trouble=trouble, message=message) if node_id in world.nodes:
            return _went_wrong(world, world.nodes[node_id], trouble, message, now)
        case Gone(node=node_id) if node_id in world.nodes and world.nodes[node_id].state is NodeState.deleting:
            return replace(world, nodes={k: v for k, v in world.nodes.items() if k != node_id})
        case Happened(region=key, outcome=outcome) if key in world.regions:
            facts = world.regions[key]
            health = observe(facts.health, outcome, now)
            return replace(world, regions={**world.regions, key: replace(facts, health=health)})
        case _:
            return world


def _went_wrong(world: World, node: Node, trouble: Trouble, message: str, now: float) -> World:
    was = (NodeState.requested, NodeState.building, NodeState.ready, NodeState.in_use)
    in_use = sum(n.region_key == node.region_key and n.state is not NodeState.requested for n in world.nodes.values())
    world = _moved(world, (node.id,), was, NodeState.failed, now, trouble=trouble, comment=message)
    outcome = Outcome(trouble, message, flavor=node.flavor, az=node.az or "", in_use=in_use)
    return _observed(world, node, outcome, now)


def _observed(world: World, node: Node, outcome: Outcome, now: float) -> World:
    facts = world.regions.get(node.region_key)
    if facts is None:
        return world
    facts = replace(facts, health=observe(facts.health, outcome, now))
    return replace(world, regions={**world.regions, facts.key: facts})


def _canceled(world: World, request_id: str, now: float) -> World:
    request = world.requests[request_id]
    if request.state in (RequestState.failed, RequestState.canceled):
        return world
    mine = tuple(n.id for n in world.nodes.values() if n.request_id == request_id)
    world = _moved(world, mine, (NodeState.in_use,), NodeState.used, now)
    done = replace(request, state=RequestState.canceled)
    return replace(world, requests={**world.requests, request_id: done})


def _moved(
    world: World, ids: tuple[str, ...], was: tuple[NodeState, ...], state: NodeState, now: float, **changes: Any
) -> World:
    nodes = dict(world.nodes)
    for node_id in ids:
        node = nodes.get(node_id)
        if node is not None and node.state in was:
            nodes[node_id] = replace(node, state=state, state_time=now, **changes)
    return replace(world, nodes=nodes)
