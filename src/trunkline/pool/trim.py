"""The pass that makes room: when requests wait for an account that is full, unassigned nodes in it go.

Only if that (with what is being deleted already) gives the most urgent of them all it lacks: otherwise it has to wait
for others anyway, and the ready nodes may still serve somebody.
"""

from __future__ import annotations

from trunkline.pool.actions import Delete
from trunkline.pool.board import Board
from trunkline.pool.model import Node, NodeState
from trunkline.pool.quota import Amount, amount, keys_of


def trim(board: Board) -> None:
    for key in sorted(board.pressure):
        lacking = _minus_leaving(board, key, board.pressure[key])
        chosen: list[Node] = []
        for node in _candidates(board, key):
            if not any(part > 0 for part in lacking):
                break
            chosen.append(node)
            lacking = [a - b for a, b in zip(lacking, amount(node.needs), strict=True)]
        if not any(part > 0 for part in lacking):
            for node in chosen:
                board.add(Delete(node.id, "others wait for its room"))


def _minus_leaving(board: Board, key: tuple[str, ...], lacking: Amount) -> Amount:
    for node in board.nodes.values():
        if node.state is NodeState.deleting and key in keys_of(node):
            lacking = [a - b for a, b in zip(lacking, amount(node.needs), strict=True)]
    return lacking


def _candidates(board: Board, key: tuple[str, ...]) -> list[Node]:
    """Unassigned nodes in the account, those beyond min-ready first, then those that are furthest from ready."""
    found: list[tuple[bool, bool, float, str]] = []
    for (tenant, provider, label), nodes in board.spare.items():
        spec = board.specs.get((tenant, provider))
        label_spec = spec.label(label) if spec else None
        kept = label_spec.min_ready if label_spec else 0
        for position, node_id in enumerate(nodes):
            node = board.nodes[node_id]
            if node_id not in board.claimed and not node.is_static and key in keys_of(node):
                found.append((position < kept, node.state is NodeState.ready, -node.created, node_id))
    return [board.nodes[node_id] for *_, node_id in sorted(found)]
