"""Who needs whom: the strongly connected components of the changes that one change needs, needs first.

Tarjan's algorithm with an explicit stack: chains of a thousand changes are legal, Python's call stack is not that deep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trunkline.gate.model import RefKey

if TYPE_CHECKING:
    from trunkline.gate.admission import Candidate


def needs_of(key: RefKey, candidates: Mapping[RefKey, Candidate]) -> tuple[RefKey, ...]:
    """What it needs directly and has not landed: declared needs, and its topic where the queue binds topics."""
    candidate = candidates[key]
    needs = dict.fromkeys(need for need in candidate.needs if need != key and not candidates[need].is_merged)
    if candidate.topic and candidate.topic_binds:
        for other, theirs in candidates.items():
            same = theirs.topic == candidate.topic and theirs.is_open and theirs.is_current
            if same and other != key and not theirs.is_merged:
                needs.setdefault(other)
    return tuple(needs)


def components(root: RefKey, needs: Callable[[RefKey], tuple[RefKey, ...]]) -> list[tuple[RefKey, ...]]:
    """Components reachable from `root`, each after all that it needs; the root's own is the last."""
    index: dict[RefKey, int] = {}
    low: dict[RefKey, int] = {}
    path: list[RefKey] = []
    on_path: set[RefKey] = set()
    found: list[tuple[RefKey, ...]] = []
    work: list[tuple[RefKey, list[RefKey]]] = []

    def enter(key: RefKey) -> None:
        index[key] = low[key] = len(index)
        path.append(key)
        on_path.add(key)
        work.append((key, list(needs(key))))

    enter(root)
    while work:
        key, pending = work[-1]
        if pending:
            other = pending.pop(0)
            if other not in index:
                enter(other)
            elif other in on_path:
                low[key] = min(low[key], index[other])
            continue
        work.pop()
        if work:
            above = work[-1][0]
            low[above] = min(low[above], low[key])
        if low[key] == index[key]:
            position = path.index(key)
            component = tuple(path[position:])
            del path[position:]
            on_path.difference_update(component)
            found.append(component)
    return found
