"""Regular expressions as configurations write them: a string, or {regex, negate}; one or a list (ORed)."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol

import re2


class _Pattern(Protocol):
    def search(self, text: str, /) -> object: ...
    def match(self, text: str, /) -> object: ...


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> _Pattern:
    """RE2 where it can, as untrusted authors write these; Python's engine for what only that knows, as Zuul does."""
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: _Pattern = re2.compile(pattern, options)
    except re2.error:
        compiled = re.compile(pattern)
    return compiled


def as_list(value: Any) -> list[Any]:
    """A scalar as a list of one, nothing as an empty list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _holds(regex: Any, text: str, anchored: bool) -> bool:
    negate = False
    if not isinstance(regex, str):
        regex, negate = str(regex["regex"]), bool(regex.get("negate", False))
    pattern = _compiled(regex)
    found = pattern.match(text) if anchored else pattern.search(text)
    return (found is not None) != negate


def any_matches(regexes: Any, text: str | None) -> bool:
    """Whether one of the regexes matches from the start of the text (open at the end)."""
    return text is not None and any(_holds(regex, text, True) for regex in as_list(regexes))


def any_found(regexes: Any, texts: Iterable[str | None]) -> bool:
    """Whether one of the regexes is found anywhere in one of the texts."""
    given = [text for text in texts if text is not None]
    return any(_holds(regex, text, False) for regex in as_list(regexes) for text in given)
