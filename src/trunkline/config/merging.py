"""How values combine: maps deeply, everything else by replacement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trunkline.config.syntax import Tagged


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Maps merge, the later value wins; a value tagged !override replaces the whole."""
    out = dict(below)
    for written, value in above.items():
        key = key_text(written)
        standing = out.get(key)
        if isinstance(value, Tagged):
            out[key] = strip(value.value)
        elif isinstance(value, dict):
            out[key] = deep_merge(standing if isinstance(standing, dict) else {}, value)
        else:
            out[key] = strip(value)
    return out


def key_text(key: Any) -> str:
    """A key as JSON writes it: variables travel as JSON."""
    match key:
        case str():
            return key
        case bool():
            return "true" if key else "false"
        case None:
            return "null"
    return str(key)


def strip(value: Any) -> Any:
    """A value without tags."""
    if isinstance(value, Tagged):
        return strip(value.value)
    if isinstance(value, dict):
        return {key_text(k): strip(v) for k, v in value.items()}
    if isinstance(value, list):
        return [strip(v) for v in value]
    return value


def union(standing: Iterable[Any], new: Iterable[Any]) -> tuple[Any, ...]:
    """Both, in order, each once."""
    return tuple(dict.fromkeys((*standing, *new)))
