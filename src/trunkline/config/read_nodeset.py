"""Nodesets: nodes with unique names, groups of them, alternatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.config.definitions import NodesetDef, Place
from trunkline.config.errors import Refused, did_you_mean
from trunkline.config.frozen import FrozenNode, NodeGroup


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _nodes(body: Mapping[str, Any], place: Place, path: tuple[Any, ...]) -> tuple[FrozenNode, ...]:
    seen: set[str] = set()
    out = []
    for index, entry in enumerate(_as_list(body.get("nodes"))):
        names = _as_list(entry["name"])
        for name in names:
            if name == "localhost":
                raise Refused('A node cannot be named "localhost"', at=place.position((*path, "nodes", index, "name")))
            if name in seen:
                raise Refused(
                    f'The node name "{name}" is used twice in the nodeset',
                    name="Duplicate Node",
                    at=place.position((*path, "nodes", index, "name")),
                    mend="Give every node a name of its own.",
                )
            seen.add(name)
        if not names:
            raise Refused("A node needs a name", at=place.position((*path, "nodes", index)))
        out.append(FrozenNode(names[0], entry["label"], tuple(names[1:])))
    return tuple(out)


def _groups(
    body: Mapping[str, Any], nodes: tuple[FrozenNode, ...], place: Place, path: tuple[Any, ...]
) -> tuple[NodeGroup, ...]:
    known = {n for node in nodes for n in (node.name, *node.aliases)}
    seen: set[str] = set()
    out = []
    for index, entry in enumerate(_as_list(body.get("groups"))):
        name, members = entry["name"], _as_list(entry["nodes"])
        at = (*path, "groups", index, "name")
        if name == "localhost":
            raise Refused('A group of nodes cannot be named "localhost"', at=place.position(at))
        for member in members:
            if member not in known:
                raise Refused(
                    f'The group "{name}" names the node "{member}", which the nodeset does not have',
                    name="Node From Group Not Found",
                    at=place.position((*path, "groups", index, "nodes")),
                    mend=did_you_mean(member, known),
                )
        if name in seen:
            raise Refused(
                f'The group name "{name}" is used twice in the nodeset',
                name="Duplicate Nodeset Group",
                at=place.position(at),
                mend="Merge the two groups.",
            )
        seen.add(name)
        out.append(NodeGroup(name, tuple(members)))
    return tuple(out)


def read_nodeset(name: str, body: Mapping[str, Any], place: Place, *, path: tuple[Any, ...] = ()) -> NodesetDef:
    """A nodeset from a body that has passed its schema."""
    alternatives = tuple(
        entry if isinstance(entry, str) else read_nodeset("", entry, place, path=(*path, "alternatives", index))
        for index, entry in enumerate(_as_list(body.get("alternatives")))
    )
    nodes = _nodes(body, place, path)
    return NodesetDef(
        name=name, place=place, nodes=nodes, groups=_groups(body, nodes, place, path), alternatives=alternatives
    )
