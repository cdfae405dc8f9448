"""The pass that keeps nodes ready before they are asked for, spread over the providers that have the label."""

from __future__ import annotations

import uuid

from trunkline.pool.actions import Create
from trunkline.pool.board import NODE_NAMES, Board
from trunkline.pool.feasible import launch_hindrance, needs_of
from trunkline.pool.model import LabelSpec, Node, ProviderSpec, RegionStatus, Request, StaticNode
from trunkline.pool.quota import account_keys, amount
from trunkline.pool.score import stable_hash


def keep_ready(board: Board) -> None:
    for tenant in sorted(board.specs_of):
        specs = board.specs_of[tenant]
        for spec in specs:
            if spec.driver == "static":
                _register(board, spec)
        wanted = {label.name: label.min_ready for spec in specs for label in spec.labels if label.min_ready}
        for name in sorted(wanted):
            _fill(board, tenant, name, wanted[name])


def _fill(board: Board, tenant: str, name: str, wanted: int) -> None:
    specs = [s for s in board.specs_of[tenant] if s.driver != "static" and s.label(name) and _is_usable(board, s, name)]
    have = {s.canonical_name: _spare_count(board, s, name) for s in specs}
    static = [s for s in board.specs_of[tenant] if s.driver == "static"]
    missing = wanted - sum(have.values()) - sum(_spare_count(board, s, name) for s in static)
    for position in range(max(0, missing)):
        choices = [s for s in specs if _can_launch(board, s, name)]
        if not choices:
            return
        vendors: dict[str, int] = {}
        for s in specs:
            vendors[_vendor(board, s)] = vendors.get(_vendor(board, s), 0) + have[s.canonical_name]
        best = min(
            choices,
            key=lambda s: (
                have[s.canonical_name],
                vendors[_vendor(board, s)],
                board.ledger.load(_keys(s, name)[:2]),
                stable_hash(name, s.canonical_name),
            ),
        )
        label = best.label(name)
        assert label is not None
        board.add(Create(board.new_node(best, label, None, position)))
        have[best.canonical_name] += 1


def _spare_count(board: Board, spec: ProviderSpec, name: str) -> int:
    """Those that a waiting request counts on too: they are replaced when it takes them."""
    return len(board.spare.get((spec.tenant, spec.canonical_name, name), ()))


def _is_usable(board: Board, spec: ProviderSpec, name: str) -> bool:
    """Nodes in a region that is down do not count as ready, and none is launched there."""
    region = board.region(spec)
    if region is None or region.health.status is RegionStatus.down:
        return False
    probe = Request(id="", owner="", tenant=spec.tenant, labels=(name,))
    verdict = next(v for s, v in board.judged(probe) if s is spec)
    return not verdict.never and not verdict.later


def _can_launch(board: Board, spec: ProviderSpec, name: str) -> bool:
    label = spec.label(name)
    region = board.region(spec)
    assert label is not None
    assert region is not None
    if launch_hindrance([label], region, board.coming[spec.region_key], board.now):
        return False
    return board.ledger.fits(_keys(spec, name), amount(needs_of(label, region.offer)))


def _keys(spec: ProviderSpec, label: str) -> tuple[tuple[str, ...], ...]:
    return account_keys(spec.canonical_name, spec.cloud, spec.region, spec.tenant, label)


def _vendor(board: Board, spec: ProviderSpec) -> str:
    region = board.region(spec)
    return (region.vendor.name if region else "") or spec.cloud


def _register(board: Board, spec: ProviderSpec) -> None:
    """Static machines are nodes as soon as they are configured."""
    most = spec.limits.instances if spec.limits.instances is not None else len(spec.static_nodes)
    known = {n.id for n in board.nodes.values() if n.is_static and n.provider == spec.canonical_name}
    for machine in spec.static_nodes:
        node_id = static_node_id(spec, machine)
        label = spec.label(machine.label)
        if label is None or node_id in known or len(known) >= most:
            continue
        known.add(node_id)
        board.add(Create(_static_node(board, spec, label, machine, node_id)))


def static_node_id(spec: ProviderSpec, machine: StaticNode) -> str:
    """The same machine has the same id for ever."""
    seed = f"{spec.canonical_name}/{machine.name}/{machine.connection_port}/{machine.username or ''}"
    return str(uuid.uuid5(NODE_NAMES, seed))


def _static_node(board: Board, spec: ProviderSpec, label: LabelSpec, machine: StaticNode, node_id: str) -> Node:
    return Node(
        id=node_id,
        label=label.name,
        provider=spec.canonical_name,
        cloud=spec.cloud,
        region=spec.region,
        state_time=board.now,
        created=board.now,
        tenant=spec.tenant,
        slot=machine.name,
        is_static=True,
        reuse=True,
    )
