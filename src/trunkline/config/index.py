"""Definitions grouped by (kind, name), in layout order, with cheap replacement of a few groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from trunkline.config.definitions import Definition, ProjectDef

K = TypeVar("K")
V = TypeVar("V")
Key = tuple[str, str]
SourceKey = tuple[str, str]


class Layered(Mapping[K, V], Generic[K, V]):
    """A mapping over another with some keys replaced or removed; the one below is shared, never copied."""

    __slots__ = ("below", "gone", "top")

    def __init__(self, below: Mapping[K, V], top: Mapping[K, V], gone: frozenset[K] = frozenset()) -> None:
        self.below, self.top, self.gone = below, top, gone

    def __getitem__(self, key: K) -> V:
        if key in self.top:
            return self.top[key]
        if key in self.gone:
            raise KeyError(key)
        return self.below[key]

    def get(self, key: K, default: Any = None) -> Any:
        if key in self.top:
            return self.top[key]
        if key in self.gone:
            return default
        return self.below.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self.top or (key not in self.gone and key in self.below)

    def __iter__(self) -> Iterator[K]:
        for key in self.below:
            if key in self.top or key not in self.gone:
                yield key
        for key in self.top:
            if key not in self.below:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)


def key_of(definition: Definition) -> Key:
    """The group that a definition belongs to. Stanzas are grouped by the name they are written with."""
    if isinstance(definition, ProjectDef) and not definition.is_template:
        if definition.is_regex:
            return ("project-regex", definition.name)
        return ("project", definition.name)
    return (definition.place.kind, definition.name)
