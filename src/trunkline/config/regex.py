"""Regular expressions of the language: RE2 first, the deprecated Perl style with a warning, else an error."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import re2

from trunkline.config.errors import Refused

DEPRECATION = "Regex Deprecation"
MAX_LENGTH = 10_000


@functools.cache
def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


@functools.lru_cache(maxsize=16384)
def _compiled(pattern: str) -> tuple[Any, bool]:
    """(matcher, whether RE2 took it). Raises Refused if nothing does."""
    if len(pattern) > MAX_LENGTH:
        raise Refused(f"A regular expression is longer than {MAX_LENGTH} characters")
    try:
        return re2.compile(pattern, _options()), True
    except re2.error as problem:
        try:
            return re.compile(pattern), False
        except (re.error, RecursionError, OverflowError):
            raise Refused(f"Invalid regular expression {pattern!r}: {_words(problem)}") from None


def _words(problem: Exception) -> str:
    first = problem.args[0] if problem.args else problem
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


class Regex(msgspec.Struct, frozen=True, gc=False):
    """A pattern, matched from the start and open at the end; `negate` inverts."""

    pattern: str
    negate: bool = False

    def matches(self, text: str) -> bool:
        return (_compiled(self.pattern)[0].match(text) is not None) != self.negate

    def searches(self, text: str) -> bool:
        return (_compiled(self.pattern)[0].search(text) is not None) != self.negate

    @property
    def is_deprecated(self) -> bool:
        return not _compiled(self.pattern)[1]

    def __str__(self) -> str:
        return f"not {self.pattern}" if self.negate else self.pattern


def matches_any(regexes: Iterable[Regex], text: str) -> bool:
    return any(r.matches(text) for r in regexes)


def regex_of(value: Any, warn: Callable[[str], None] | None = None) -> Regex:
    """A regex from a string or `{regex, negate}`; `warn` is told of deprecated ones."""
    made = Regex(value) if isinstance(value, str) else Regex(value["regex"], bool(value.get("negate", False)))
    if made.is_deprecated and warn is not None:
        warn(deprecation_text(made.pattern))
    return made


def regexes_of(value: Any, warn: Callable[[str], None] | None = None) -> tuple[Regex, ...]:
    if value is None:
        return ()
    return tuple(regex_of(v, warn) for v in (value if isinstance(value, list) else [value]))


def deprecation_text(pattern: str) -> str:
    return (
        f"The regular expression {pattern!r} is not accepted by RE2, which matches all expressions in future. "
        "Write it without look-around and back references; `negate: true` inverts a match."
    )


def re2_only(pattern: str) -> None:
    """Refuse what RE2 refuses."""
    _compiled(pattern)
    if not _compiled(pattern)[1]:
        raise Refused(f"The regular expression {pattern!r} is not accepted by RE2")


def full_match(pattern: str, text: str) -> bool:
    """Whole-string match in Python's dialect: patterns of branches in the tenant file, names of stanzas."""
    try:
        return _python(pattern).fullmatch(text) is not None
    except re.error:
        return False


@functools.lru_cache(maxsize=4096)
def _python(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
