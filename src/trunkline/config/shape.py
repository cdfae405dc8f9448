"""The building blocks of a schema: small values that check, explain and describe themselves.

`check(value, path, report)` calls `report(path, text, mend)` for each fault; `describe()` gives JSON Schema.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trunkline.config.errors import did_you_mean
from trunkline.config.syntax import KEY, Encrypted, Tagged

Path = tuple[Any, ...]
Report = Callable[[Path, str, str], None]


def kind_of(value: Any) -> str:
    """What a person calls this value."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "a map"
        case Encrypted():
            return "an encrypted value"
        case Tagged():
            return f"a value tagged !{value.how}"
    return type(value).__name__


class Anything(msgspec.Struct, frozen=True):
    def check(self, value: Any, path: Path, report: Report) -> None:
        return None

    def describe(self) -> dict[str, Any]:
        return {}

    def words(self) -> str:
        return "anything"


class Type(msgspec.Struct, frozen=True):
    """A scalar (or map) of a Python type; booleans count as numbers only where numbers are not meant."""

    types: tuple[type, ...]
    name: str
    json: str
    low: float = -math.inf

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not isinstance(value, self.types):
            report(path, f"expected {self.name}, found {kind_of(value)}", "")
        elif self.low > -math.inf and isinstance(value, int | float) and value < self.low:
            report(path, f"expected a number of at least {self.low:g}", "")

    def describe(self) -> dict[str, Any]:
        out: dict[str, Any] = {"type": self.json}
        if self.low > -math.inf:
            out["minimum"] = self.low
        return out

    def words(self) -> str:
        return self.name


STR = Type((str,), "a string", "string")
INT = Type((int,), "a whole number", "integer")
NUMBER = Type((int, float), "a number", "number")
BOOL = Type((bool,), "true or false", "boolean")
NOTHING = Type((type(None),), "nothing", "null")
MAP = Type((dict,), "a map", "object")
ANY = Anything()


def at_least(low: int) -> Type:
    return Type((int,), "a whole number", "integer", low)


class OneOf(msgspec.Struct, frozen=True):
    """One of some literal values."""

    values: tuple[Any, ...]

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not any(value == v and isinstance(value, bool) == isinstance(v, bool) for v in self.values):
            mend = did_you_mean(value, [str(v) for v in self.values]) if isinstance(value, str) else ""
            report(path, f"expected {self.words()}, found {value!r:.60}", mend)

    def describe(self) -> dict[str, Any]:
        return {"enum": list(self.values)}

    def words(self) -> str:
        shown = [str(v).lower() if isinstance(v, bool) else str(v) for v in self.values]
        return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"


class Many(msgspec.Struct, frozen=True):
    """A list of something."""

    of: Any

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not isinstance(value, list):
            report(path, f"expected a list, found {kind_of(value)}", "")
            return
        for index, item in enumerate(value):
            self.of.check(item, (*path, index), report)

    def describe(self) -> dict[str, Any]:
        return {"type": "array", "items": self.of.describe()}

    def words(self) -> str:
        return "a list"


def _closeness(faults: list[tuple[Path, str, str]], path: Path) -> tuple[int, bool]:
    """How near a value came to a shape: how deep the first fault lies, and whether its mend is known."""
    return (len(faults[0][0]) - len(path), bool(faults[0][2])) if faults else (-1, False)


class Either(msgspec.Struct, frozen=True):
    """The first shape that fits; if none does, the complaint of the one that came closest."""

    options: tuple[Any, ...]

    def check(self, value: Any, path: Path, report: Report) -> None:
        best: list[tuple[Path, str, str]] = []
        for option in self.options:
            found: list[tuple[Path, str, str]] = []
            option.check(value, path, lambda p, t, m, found=found: found.append((p, t, m)))
            if not found:
                return
            if _closeness(found, path) > _closeness(best, path):
                best = found
        if _closeness(best, path) > (0, False):
            for fault in best:
                report(*fault)
        else:
            report(path, f"expected {self.words()}, found {kind_of(value)}", "")

    def describe(self) -> dict[str, Any]:
        return {"anyOf": [o.describe() for o in self.options]}

    def words(self) -> str:
        return " or ".join(o.words() for o in self.options)


def scalar_or_list(of: Any) -> Either:
    return Either((of, Many(of)))


class Combining(msgspec.Struct, frozen=True):
    """A value that may carry `!override` or `!inherit`."""

    of: Any

    def check(self, value: Any, path: Path, report: Report) -> None:
        if isinstance(value, Tagged):
            if value.value is not None:
                self.of.check(value.value, path, report)
            return
        self.of.check(value, path, report)

    def describe(self) -> dict[str, Any]:
        return dict(self.of.describe())

    def words(self) -> str:
        return str(self.of.words())


class Mapped(msgspec.Struct, frozen=True):
    """A map with free keys of one shape."""

    of: Any
    keys: Any = STR

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not isinstance(value, dict):
            report(path, f"expected a map, found {kind_of(value)}", "")
            return
        for key, item in value.items():
            self.keys.check(key, (*path, key, KEY), report)
            self.of.check(item, (*path, key), report)

    def describe(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.of.describe()}

    def words(self) -> str:
        return "a map"


class Fields(msgspec.Struct, frozen=True):
    """A map with known keys. `rest` is the shape of other keys, None if there may be none."""

    known: Mapping[str, Any]
    required: tuple[str, ...] = ()
    rest: Any = None
    exclusive: tuple[str, ...] = ()

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not isinstance(value, dict):
            report(path, f"expected a map, found {kind_of(value)}", "")
            return
        for key, item in value.items():
            shape = self.known.get(key) if isinstance(key, str) else None
            if shape is not None:
                shape.check(item, (*path, key), report)
            elif self.rest is not None and isinstance(key, str):
                self.rest.check(item, (*path, key), report)
            else:
                report((*path, key, KEY), f'unknown key "{key}"', did_you_mean(str(key), self.known))
        for key in self.required:
            if key not in value:
                report(path, f'the key "{key}" is missing', f'Add "{key}:".')
        given = [k for k in self.exclusive if k in value]
        if len(given) > 1:
            report(
                (*path, given[1], KEY), f"{' and '.join(given)} exclude each other", f"Keep one of {', '.join(given)}."
            )

    def describe(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "type": "object",
            "properties": {k: v.describe() for k, v in self.known.items()},
            "additionalProperties": self.rest.describe() if self.rest is not None else False,
        }
        if self.required:
            out["required"] = list(self.required)
        return out

    def words(self) -> str:
        return "a map"


class OneKey(msgspec.Struct, frozen=True):
    """A map with exactly one key, which is a name."""

    of: Any

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not isinstance(value, dict):
            report(path, f"expected a map with one key, found {kind_of(value)}", "")
        elif len(value) != 1:
            report(path, f"expected one name with its attributes indented below, found {len(value)} keys", "")
        else:
            key, body = next(iter(value.items()))
            STR.check(key, (*path, key, KEY), report)
            self.of.check(body, (*path, key), report)

    def describe(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.of.describe(), "minProperties": 1, "maxProperties": 1}

    def words(self) -> str:
        return "a map with one key"
