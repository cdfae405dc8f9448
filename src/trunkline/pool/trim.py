"""The pass that makes room: when requests wait for accounts that are full, unassigned nodes in them go.

Only if that (with what is being deleted already) gives the most urgent of them all it lacks: otherwise it has to wait
for others anyway, and the ready nodes may still serve somebody.
"""

from __future__ import annotations

from trunkline.pool.actions import Delete
from trunkline.pool.board import Board
from trunkline.pool.model import Node, NodeState
from trunkline.pool.quota import Amount, amount, keys_of

Lacks = dict[tuple[str, ...], Amount]


def trim(board: Board) -> None:
    leaving = [n for n in board.nodes.values() if n.state is NodeState.deleting] if board.wants else []
    for wanted in board.wants:
        lacks = dict(wanted)
        for node in leaving:
            _subtract(lacks, node)
        chosen: list[Node] = []
        for node in _candidates(board, lacks):
            if _is_met(lacks):
                break
            if any(key in lacks and any(part > 0 for part in lacks[key]) for key in keys_of(node)):
                chosen.append(node)
                _subtract(lacks, node)
        if _is_met(lacks):
            for node in chosen:
                board.add(Delete(node.id, "others wait for its room"))


def _subtract(lacks: Lacks, node: Node) -> None:
    for key in keys_of(node):
        if key in lacks:
            lacks[key] = [a - b for a, b in zip(lacks[key], amount(node.needs), strict=True)]


def _is_met(lacks: Lacks) -> bool:
    return not any(part > 0 for short in lacks.values() for part in short)


def _candidates(board: Board, lacks: Lacks) -> list[Node]:
    """Unassigned nodes in these accounts, those beyond min-ready first, then those that are furthest from ready."""
    found: list[tuple[bool, bool, float, str]] = []
    for (tenant, provider, label), nodes in board.spare.items():
        spec = board.specs.get((tenant, provider))
        label_spec = spec.label(label) if spec else None
        kept = label_spec.min_ready if label_spec else 0
        for position, node_id in enumerate(nodes):
            node = board.nodes[node_id]
            if node_id not in board.claimed and not node.is_static and any(key in lacks for key in keys_of(node)):
                found.append((position < kept, node.state is NodeState.ready, -node.created, node_id))
    return [board.nodes[node_id] for *_, node_id in sorted(found)]
