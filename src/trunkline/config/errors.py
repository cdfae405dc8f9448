"""Errors of the configuration: values that say what, where, and what to do about it."""

from __future__ import annotations

import difflib
import enum
import functools
from collections.abc import Iterable

import msgspec

from trunkline.config.source import SourceContext


class Severity(enum.Enum):
    ERROR = "error"
    WARNING = "warning"


class Position(msgspec.Struct, frozen=True, gc=False):
    """A range in a file; lines and columns count from 1."""

    line: int
    column: int
    end_line: int
    end_column: int


class ConfigError(msgspec.Struct, frozen=True, gc=False):
    """One complaint about the configuration.

    `name` is the class of error as interfaces list it (`Unknown` if it has none of its own), `short` one sentence,
    `message` everything a person needs: place, snippet with a caret, the mend.
    """

    name: str
    severity: Severity
    short: str
    message: str
    connection: str = ""
    project: str = ""
    canonical_name: str = ""
    branch: str | None = None
    path: str | None = None
    line: int = 0
    column: int = 0
    end_line: int = 0
    end_column: int = 0
    snippet: str = ""
    mend: str = ""

    @property
    def context(self) -> str:
        return f"{self.project}/{self.path}@{self.branch}"

    @property
    def source_key(self) -> tuple[str, str | None]:
        return (self.canonical_name, self.branch)

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes an error the same one in another layout: not its line, which moves."""
        return (self.name, self.short, self.context, self.canonical_name)


class Refused(ValueError):
    """Stops the reading of one object; the reader of the object turns it into a ConfigError."""

    def __init__(self, short: str, *, name: str = "Unknown", at: Position | None = None, mend: str = "") -> None:
        super().__init__(short)
        self.short = short
        self.name = name
        self.at = at
        self.mend = mend


SNIPPET_LINES = 8


@functools.lru_cache(maxsize=8)
def _lines(text: str) -> list[str]:
    return text.splitlines()


def snippet_of(text: str, at: Position) -> str:
    """The lines of `at` (few of them) with a caret under where it starts."""
    lines = _lines(text)
    first = max(at.line, 1)
    if first > len(lines):
        return ""
    last = min(max(at.end_line, first), first + SNIPPET_LINES - 1, len(lines))
    width = len(str(last))
    before = max(first - 1, 1)
    out = [f"{n:>{width}} | {lines[n - 1]}" for n in range(before, first)]
    out.append(f"{first:>{width}} | {lines[first - 1]}")
    if at.end_line == first and at.end_column > at.column:
        length = at.end_column - at.column
    else:
        length = max(1, len(lines[first - 1].rstrip()) - at.column + 1)
    out.append(" " * width + " | " + " " * (at.column - 1) + "^" * min(length, 80))
    out += [f"{n:>{width}} | {lines[n - 1]}" for n in range(first + 1, last + 1)]
    return "\n".join(out)


def make_error(
    context: SourceContext | None,
    short: str,
    *,
    text: str = "",
    at: Position | None = None,
    name: str = "Unknown",
    severity: Severity = Severity.ERROR,
    mend: str = "",
) -> ConfigError:
    """A ConfigError with its message composed from its parts."""
    snippet = snippet_of(text, at) if at and text else ""
    where = ""
    if context is not None:
        where = f"{context.path}:{at.line}:{at.column}" if at else context.path
        where = f"{where} in {context.project} on branch {context.branch}"
    parts = [f"{where}: {short}" if where else short]
    if snippet:
        parts.append(snippet)
    if mend:
        parts.append(mend)
    return ConfigError(
        name=name,
        severity=severity,
        short=short,
        message="\n\n".join(parts),
        connection=context.connection if context else "",
        project=context.project if context else "",
        canonical_name=context.key[0] if context else "",
        branch=context.branch if context else None,
        path=context.path if context else None,
        line=at.line if at else 0,
        column=at.column if at else 0,
        end_line=at.end_line if at else 0,
        end_column=at.end_column if at else 0,
        snippet=snippet,
        mend=mend,
    )


MOST_COMPARED = 400


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that the writer most likely meant. Long lists are thinned first: this runs once an error."""
    listed = list(known)
    if len(listed) > MOST_COMPARED:
        close = [k for k in listed if abs(len(k) - len(word)) <= 3 and k[:2] == word[:2]]
        listed = close[:MOST_COMPARED]
    found = difflib.get_close_matches(str(word), listed, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    guess = nearest(word, known)
    return f'Did you mean "{guess}"?' if guess else ""
