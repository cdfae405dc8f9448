"""The planner: retire → serve → trim → keep ready, each pass a function on the board.

Laws (tests/pool/test_properties.py): no node has two requests; no account is filled beyond its limit; all nodes of a
request are in one provider and of its tenant; carried out and asked again, the plan is empty.
"""

from __future__ import annotations

from msgspec import Struct

from trunkline.pool.actions import Action, Delete, Recycle, Release, WriteOff
from trunkline.pool.board import Board
from trunkline.pool.model import LabelSpec, Node, NodeState, ProviderSpec, RegionStatus, RequestState, Trouble, World
from trunkline.pool.ready import keep_ready
from trunkline.pool.serve import serve
from trunkline.pool.trim import trim

NOT_COUNTED = (Trouble.quota, Trouble.rate, Trouble.down, Trouble.timeout, Trouble.auth)
MAX_ROUNDS = 8


class Policy(Struct, frozen=True):
    """What the operator may choose."""

    surplus_s: float = 900.0  # unassigned nodes beyond min-ready are deleted when ready for that long
    unreturned_s: float = 300.0  # used nodes wait that long for their requester to return (or hold) them


def plan(world: World, now: float, policy: Policy = Policy()) -> tuple[Action, ...]:
    """What to do now. Pure: the same world and time give the same plan.

    Actions are in the order in which they must be carried out. O(nodes + requests × providers); requests that do not
    fit cost O(1) once one like them did not fit.
    """
    actions: list[Action] = []
    for _ in range(MAX_ROUNDS):
        board = Board(world, now)
        retire(board, policy)
        serve(board)
        trim(board)
        keep_ready(board)
        actions += board.actions
        if not board.released:
            break
        world = board.done()
    return tuple(actions)


def retire(board: Board, policy: Policy) -> None:
    """Nodes that are done with, by state and age."""
    for node in list(board.nodes.values()):
        action = _end_of(board, node, policy)
        if action is not None:
            board.add(action)


def _end_of(board: Board, node: Node, policy: Policy) -> Action | None:
    spec = board.specs.get((node.tenant, node.provider))
    label = spec.label(node.label) if spec else None
    match node.state:
        case NodeState.failed:
            return _write_off(board, node)
        case NodeState.used if _may_be_held(board, node, policy):
            return None
        case NodeState.used if node.reuse and label and not _is_old(board, node, label.max_age_s):
            return Recycle(node.id)
        case NodeState.used:
            return Delete(node.id, "used")
        case NodeState.hold if node.hold_expires is not None and board.now >= node.hold_expires:
            return Delete(node.id, "hold expired")
        case NodeState.requested | NodeState.building | NodeState.ready:
            return _end_of_unused(board, node, spec, label, policy)
        case _:
            return None


def _may_be_held(board: Board, node: Node, policy: Policy) -> bool:
    request = board.requests.get(node.request_id or "")
    is_out = request is not None and request.state is RequestState.fulfilled
    return is_out and board.now - node.state_time < policy.unreturned_s


def _write_off(board: Board, node: Node) -> Action:
    request = board.requests.get(node.request_id or "")
    counts = request is not None and request.state is RequestState.accepted and node.trouble not in NOT_COUNTED
    if node.trouble is Trouble.quota and request is not None:
        counts = _is_alone(board, node)
    return WriteOff(node.id, request.id if counts and request else None, node.provider)


def _is_alone(board: Board, node: Node) -> bool:
    """Whether a full account holds nothing of ours but the request's own: then waiting for room is no use."""
    gone = (NodeState.failed, NodeState.deleting)
    others = (n for n in board.nodes.values() if n.region_key == node.region_key and n.state not in gone)
    return all(n.request_id == node.request_id for n in others)


def _end_of_unused(
    board: Board, node: Node, spec: ProviderSpec | None, label: LabelSpec | None, policy: Policy
) -> Action | None:
    request = board.requests.get(node.request_id or "")
    if node.request_id is not None:
        if request is not None and request.state in (
            RequestState.requested,
            RequestState.accepted,
            RequestState.fulfilled,
        ):
            return None
        return Delete(node.id, "no longer wanted") if node.keep else Release(node.id)
    if spec is None or label is None:
        return Delete(node.id, "no provider has it any more")
    region = board.world.regions.get(node.region_key)
    if node.state is NodeState.requested and region is not None and region.health.status is RegionStatus.down:
        return Delete(node.id, "its region is down")
    if node.is_static:
        machines = {machine.name for machine in spec.static_nodes}
        return None if node.slot in machines else Delete(node.id, "no provider has it any more")
    if node.state is NodeState.ready and not node.locked_by:
        age_s = board.now - node.state_time
        if label.max_ready_age_s and age_s > max(label.max_ready_age_s, label.min_retention_s):
            return Delete(node.id, f"ready for more than {label.max_ready_age_s} s")
        if _is_old(board, node, label.max_age_s):
            return Delete(node.id, f"older than {label.max_age_s} s")
        if age_s > policy.surplus_s and _is_surplus(board, node):
            return Delete(node.id, "more than min-ready")
    return None


def _is_old(board: Board, node: Node, max_age_s: int) -> bool:
    return bool(max_age_s) and board.now - node.created > max_age_s


def _is_surplus(board: Board, node: Node) -> bool:
    """Whether there are enough others that are ready, in regions that work."""
    others, wanted = 0, 0
    for spec in board.specs_of[node.tenant]:
        label = spec.label(node.label)
        region = board.region(spec)
        wanted = max(wanted, label.min_ready if label else 0)
        if region is not None and region.health.status is not RegionStatus.down:
            spare = board.spare.get((node.tenant, spec.canonical_name, node.label), ())
            others += sum(board.nodes[n].state is NodeState.ready for n in spare if n != node.id)
    return others >= wanted
