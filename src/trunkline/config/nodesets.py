"""The plain nodesets that a nodeset with alternatives stands for."""

from __future__ import annotations

from typing import Any, Protocol

from trunkline.config.definitions import NodesetDef
from trunkline.config.errors import Refused
from trunkline.config.frozen import FrozenNodeset

MOST_LEVELS = 100


class Lookup(Protocol):
    def kept(self, kind: str, name: str) -> tuple[Any, ...]: ...


def alternatives_of(
    lookup: Lookup, nodeset: str | NodesetDef, stack: tuple[str, ...] = ()
) -> tuple[FrozenNodeset, ...]:
    """The plain nodesets that a nodeset stands for, depth first in written order."""
    if isinstance(nodeset, str):
        if len(stack) >= MOST_LEVELS:
            raise Refused(f"The alternatives of the nodeset {stack[0]} nest more than {MOST_LEVELS} deep")
        if nodeset in stack:
            raise Refused(f"The alternatives of the nodeset {nodeset} go round in a circle")
        found = lookup.kept("nodeset", nodeset)
        if not found:
            raise Refused(f'The nodeset "{nodeset}" was not found', name="Nodeset Not Found")
        return alternatives_of(lookup, found[0], (*stack, nodeset))
    if not nodeset.alternatives:
        return (FrozenNodeset(nodeset.name, nodeset.nodes, nodeset.groups),)
    out: list[FrozenNodeset] = []
    for alternative in nodeset.alternatives:
        out.extend(alternatives_of(lookup, alternative, stack))
    return tuple(out)
