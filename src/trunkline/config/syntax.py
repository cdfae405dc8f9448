"""YAML text to plain values, and back to places in the text.

Values are ordinary dicts, lists and scalars, plus two nouns for the language's tags: *Tagged* (`!override`,
`!inherit`) and *Encrypted* (`!encrypted/pkcs1-oaep`). Positions are not kept: errors are rare, so a place is found
again from its path (`locate`) by composing the text once more. Everything is bounded: size, depth, expansion.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Hashable, Sequence
from typing import Any

import msgspec
import yaml

from trunkline.config.errors import Position, Refused

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 100
MAX_VALUES = 2_000_000
LARGEST_NUMBER = 2**63
ENCRYPTED_TAG = "!encrypted/pkcs1-oaep"
SYNTAX_ERROR = "Unknown Configuration Error"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


class Tagged(msgspec.Struct, frozen=True):
    """A value that says how it combines: `how` is override or inherit."""

    how: str
    value: Any


class Encrypted(msgspec.Struct, frozen=True):
    """Base64 chunks, each encrypted with the key of the project that the text lies in."""

    chunks: tuple[str, ...]


class Item(msgspec.Struct, frozen=True):
    """One entry of a configuration file: a kind, its body, and where it stands.

    `line` is that of the entry, counted from 1.
    """

    index: int
    kind: str
    body: Any
    line: int


def _where(node: yaml.Node) -> Position:
    start, end = node.start_mark, node.end_mark
    return Position(start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def _compose(text: str) -> tuple[Any, yaml.Node | None]:
    if len(text) > MAX_BYTES:
        raise Refused(f"The file is larger than {MAX_BYTES} bytes", name=SYNTAX_ERROR, mend="Split the file.")
    try:
        loader = _Loader(text)
        return loader, loader.get_single_node()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        at = Position(mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 2) if mark else None
        short = ": ".join(p for p in (problem.context, problem.problem) if p) or "invalid YAML"
        raise Refused(
            f"The file is not valid YAML: {short}", name=SYNTAX_ERROR, at=at, mend=_yaml_mend(text, at)
        ) from None
    except (yaml.YAMLError, UnicodeError) as problem:
        raise Refused(f"The file is not valid YAML: {str(problem).splitlines()[0]}", name=SYNTAX_ERROR) from None
    except RecursionError:
        raise Refused("The file is nested too deeply", name=SYNTAX_ERROR) from None


def _yaml_mend(text: str, at: Position | None) -> str:
    if at is None:
        return ""
    lines = text.splitlines()
    line = lines[at.line - 1] if at.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "Indent with spaces: YAML does not take tabs."
    return ""


class _Reader:
    """Turns a composed tree into values, counting what aliases expand to."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.done: dict[int, tuple[Any, int]] = {}
        self.open: set[int] = set()

    def value(self, node: yaml.Node, depth: int = 0) -> tuple[Any, int]:
        """The value of a node and how many values it holds, aliases counted each time."""
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node), 1
        known = self.done.get(id(node))
        if known is not None:
            return known
        if id(node) in self.open:
            raise Refused("An anchor contains itself", name=SYNTAX_ERROR, at=_where(node))
        if depth > MAX_DEPTH:
            raise Refused(f"Nested more than {MAX_DEPTH} levels deep", name=SYNTAX_ERROR, at=_where(node))
        self.open.add(id(node))
        result = self.mapping(node, depth) if isinstance(node, yaml.MappingNode) else self.sequence(node, depth)
        self.open.discard(id(node))
        if result[1] > MAX_VALUES:
            raise Refused("Aliases expand to too many values", name=SYNTAX_ERROR, at=_where(node))
        value = self.tagged(node, result[0]), result[1]
        self.done[id(node)] = value
        return value

    def scalar(self, node: yaml.ScalarNode) -> Any:
        tag = node.tag
        if tag == _STR:
            return node.value
        if tag.startswith("!"):
            if tag == ENCRYPTED_TAG:
                return Encrypted((_squeeze(node.value),))
            if tag in ("!override", "!inherit"):
                plain = node.value
                if plain == "":
                    return Tagged(tag[1:], None)
                implied = self.loader.resolve(yaml.ScalarNode, plain, (True, False))
                return Tagged(tag[1:], self.scalar(yaml.ScalarNode(implied, plain, node.start_mark, node.end_mark)))
            raise Refused(f"Unknown tag {tag}", name=SYNTAX_ERROR, at=_where(node), mend=_TAGS)
        try:
            value = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError) as problem:
            raise Refused(
                f"Not a valid value: {str(problem).splitlines()[0]}", name=SYNTAX_ERROR, at=_where(node)
            ) from None
        if isinstance(value, datetime.date | datetime.datetime | bytes):
            return node.value
        if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
            raise Refused(
                "The number is too large", name=SYNTAX_ERROR, at=_where(node), mend="Write it as text, quoted."
            )
        if isinstance(value, float) and not math.isfinite(value):
            return node.value
        return value

    def sequence(self, node: Any, depth: int) -> tuple[list[Any], int]:
        total, out = 1, []
        for child in node.value:
            value, size = self.value(child, depth + 1)
            out.append(value)
            total += size
            if total > MAX_VALUES:
                raise Refused("Aliases expand to too many values", name=SYNTAX_ERROR, at=_where(node))
        return out, total

    def mapping(self, node: Any, depth: int) -> tuple[dict[Any, Any], int]:
        total = 1
        out: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            value, size = self.value(value_node, depth + 1)
            total += size + 1
            if key_node.tag == _MERGE:
                for source in value if isinstance(value, list) else [value]:
                    if not isinstance(source, dict):
                        raise Refused("A merge key needs a map", name=SYNTAX_ERROR, at=_where(value_node))
                    for k, v in source.items():
                        merged.setdefault(k, v)
                continue
            key = self.value(key_node, depth + 1)[0]
            if not isinstance(key, Hashable) or isinstance(key, Tagged):
                raise Refused("A key must be a plain value", name=SYNTAX_ERROR, at=_where(key_node))
            if key in out:
                short = f'The key "{key}" appears more than once'
                raise Refused(short, name=SYNTAX_ERROR, at=_where(key_node), mend="Remove one of them.")
            out[key] = value
            if total > MAX_VALUES:
                raise Refused("Aliases expand to too many values", name=SYNTAX_ERROR, at=_where(node))
        return ({**merged, **out} if merged else out), total

    def tagged(self, node: Any, value: Any) -> Any:
        tag = node.tag
        if not tag.startswith("!"):
            return value
        if tag in ("!override", "!inherit"):
            return Tagged(tag[1:], value)
        if tag == ENCRYPTED_TAG and isinstance(value, list) and all(isinstance(v, str) for v in value):
            return Encrypted(tuple(_squeeze(v) for v in value))
        raise Refused(f"Unknown tag {tag}", name=SYNTAX_ERROR, at=_where(node), mend=_TAGS)


_TAGS = "Known tags are !encrypted/pkcs1-oaep, !override and !inherit."


def _squeeze(chunk: str) -> str:
    return "".join(chunk.split())


def read_items(text: str) -> tuple[list[Item], list[Refused]]:
    """The entries of a configuration file, and those that are not entries at all.

    A text that is no YAML, or whose anchors or duplicate keys make it unreadable, gives no entries and one problem.
    """
    loader, root = _compose(text)
    if root is None:
        return [], []
    if isinstance(root, yaml.ScalarNode) and root.tag == "tag:yaml.org,2002:null":
        return [], []
    if not isinstance(root, yaml.SequenceNode):
        mend = "Begin each object with a dash: `- job:`, its attributes indented below."
        raise Refused(
            "A configuration file must be a list of maps with one key", name=SYNTAX_ERROR, at=_where(root), mend=mend
        )
    reader = _Reader(loader)
    items: list[Item] = []
    problems: list[Refused] = []
    for index, node in enumerate(root.value):
        value, _ = reader.value(node, 1)
        if not isinstance(value, dict):
            problems.append(
                Refused("An entry of the list must be a map with one key", name=SYNTAX_ERROR, at=_where(node))
            )
        elif len(value) != 1:
            mend = "Indent the attributes below the kind of the object, or separate the objects with dashes."
            short = f"An entry must have one key, not {len(value)}"
            problems.append(Refused(short, name=SYNTAX_ERROR, at=_where(node), mend=mend))
        else:
            kind, body = next(iter(value.items()))
            items.append(Item(index, str(kind), body, node.start_mark.line + 1))
    return items, problems


@functools.lru_cache(maxsize=8)
def _tree(text: str) -> yaml.Node | None:
    return _compose(text)[1]


def locate(text: str, path: Sequence[Any]) -> Position | None:
    """Where the value at `path` (keys and indexes from the root) stands; a path ending in KEY gives the key itself.

    Follows merge keys; stops at the deepest part that exists.
    """
    try:
        node: Any = _tree(text)
    except Refused:
        return None
    if node is None:
        return None
    key_node = None
    for step in path:
        if step is KEY:
            break
        found = _child(node, step)
        if found is None:
            return _where(node)
        key_node, node = found
    if path and path[-1] is KEY and key_node is not None:
        return _where(key_node)
    return _where(node)


KEY: Any = object()


def _child(node: Any, step: Any) -> tuple[Any, Any] | None:
    if isinstance(node, yaml.SequenceNode):
        return (None, node.value[step]) if isinstance(step, int) and step < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    for key_node, value_node in node.value:
        if isinstance(key_node, yaml.ScalarNode) and key_node.value == str(step):
            return key_node, value_node
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                found = _child(source, step)
                if found:
                    return found
    return None
