"""Why a request is where it is, in a line a provider: for `trunkline explain` and the page."""

from __future__ import annotations

from trunkline.pool.actions import is_waiting
from trunkline.pool.board import Board
from trunkline.pool.model import NodeState, RequestState, World
from trunkline.pool.quota import RESOURCE_NAMES
from trunkline.pool.serve import Offering, offering_of


def explain(world: World, request_id: str, now: float) -> list[str]:
    """Lines for a person: the state, then what each provider says."""
    request = world.requests.get(request_id)
    if request is None:
        return ["no such request"]
    wanted = ", ".join(request.labels)
    if not is_waiting(request):
        return [f"{request.state.value}: {wanted}"]
    board = Board(world, now)
    lines = [f"{request.state.value}: {wanted}; priority {request.priority}, for {now - request.created:.0f} s"]
    if request.state is RequestState.accepted:
        mine = [board.nodes[n] for n in board.mine[request.id]]
        ready = sum(n.state is NodeState.ready for n in mine)
        lines.append(f"{request.provider}: at work, {ready} of {len(request.labels)} nodes ready, {len(mine)} made")
    for spec, verdict in board.judged(request):
        name = spec.canonical_name
        declined = next((d.reason for d in request.declined_by if d.provider == name), verdict.never)
        if name == request.provider:
            continue
        if declined:
            lines.append(f"{name}: declines, {declined}")
        elif verdict.later:
            lines.append(f"{name}: not now, {verdict.later}")
        else:
            offering = offering_of(board, request, spec, tuple(range(len(request.labels))))
            lines.append(f"{name}: {_offered(offering)}")
    return lines


def _offered(offering: Offering) -> str:
    if offering.hindrance:
        return f"not now, {offering.hindrance}"
    for account, lacking in offering.lacks.items():
        parts = [f"{part:.0f} {name}" for part, name in zip(lacking, RESOURCE_NAMES, strict=True) if part > 0]
        return f"full, lacks {' and '.join(parts)} in {' '.join(account)}"
    return "could serve it"
