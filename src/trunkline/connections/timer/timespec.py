"""Times written as `minute hour day month weekday [second [jitter]]`, in the dialect of cron that APScheduler takes.

Weekday 0 is Monday. Fields take `*`, `*/n`, `a`, `a-b`, `a-b/n`, lists of these, names of months and weekdays; days of the
month also `last`, `2nd fri`, `last mon`.
"""

from __future__ import annotations

import calendar
import hashlib
import re
from collections.abc import Callable
from datetime import datetime

import msgspec

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NTH = {"1st": 0, "2nd": 1, "3rd": 2, "4th": 3, "5th": 4, "last": -1}
_RANGE = re.compile(r"^(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?$")


class TimeSpec(msgspec.Struct, frozen=True):
    """When something is due. `days` are numbers of the month; `special` are (which, weekday), weekday None = any day."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    special: tuple[tuple[int, int | None], ...]
    months: frozenset[int]
    weekdays: frozenset[int]
    jitter_s: int = 0

    def is_due(self, moment: datetime) -> bool:
        """Whether this very second is one of them (jitter aside)."""
        return (
            moment.second in self.seconds
            and moment.minute in self.minutes
            and moment.hour in self.hours
            and moment.month in self.months
            and moment.weekday() in self.weekdays
            and (moment.day in self.days or any(_is_nth(moment, *one) for one in self.special))
        )


def parse(text: str) -> TimeSpec:
    """Raises ValueError that says what is wrong."""
    fields = text.split()
    if "last" in fields or any(name in fields for name in _NTH):
        fields = _joined(fields)
    if not 5 <= len(fields) <= 7:
        raise ValueError(f"{text!r} has {len(fields)} fields: minute hour day month weekday [second [jitter]]")
    minute, hour, day, month, weekday = fields[:5]
    days, special = _days(day)
    return TimeSpec(
        seconds=_field(fields[5], 0, 59) if len(fields) > 5 else frozenset({0}),
        minutes=_field(minute, 0, 59),
        hours=_field(hour, 0, 23),
        days=days,
        special=special,
        months=_field(month, 1, 12, _MONTHS, 1),
        weekdays=_field(weekday, 0, 6, _WEEKDAYS),
        jitter_s=_number(fields[6], 0, 10**6) if len(fields) > 6 else 0,
    )


def offset_s(spec: TimeSpec, *names: str) -> int:
    """The jitter of one project's branch: always the same for the same names."""
    if not spec.jitter_s:
        return 0
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return int.from_bytes(digest[:8], "big") % (spec.jitter_s + 1)


def _joined(fields: list[str]) -> list[str]:
    """`2nd fri` is one field."""
    out: list[str] = []
    for field in fields:
        if out and out[-1] in _NTH and field in _WEEKDAYS and len(out) == 3:
            out[-1] += f" {field}"
        else:
            out.append(field)
    return out


def _days(text: str) -> tuple[frozenset[int], tuple[tuple[int, int | None], ...]]:
    plain, special = [], []
    for part in text.split(","):
        which, _, weekday = part.partition(" ")
        if which in _NTH and (weekday or which == "last"):
            special.append((_NTH[which], _WEEKDAYS.index(weekday) if weekday else None))
        else:
            plain.append(part)
    return (_field(",".join(plain), 1, 31) if plain else frozenset(), tuple(special))


def _field(text: str, low: int, high: int, names: tuple[str, ...] = (), first: int = 0) -> frozenset[int]:
    found: set[int] = set()
    read = _reader(low, high, names, first)
    for part in text.lower().split(","):
        match = _RANGE.match(part)
        if match is None:
            raise ValueError(f"not a time: {part!r}")
        star, start, end, step = match.groups()
        begin = low if star else read(start)
        until = high if star or (step and end is None) else read(end) if end is not None else begin
        if until < begin or (step is not None and int(step) == 0):
            raise ValueError(f"not a time: {part!r}")
        found.update(range(begin, until + 1, int(step or 1)))
    return frozenset(found)


def _reader(low: int, high: int, names: tuple[str, ...], first: int) -> Callable[[str], int]:
    return lambda word: names.index(word) + first if word in names else _number(word, low, high)


def _number(word: str, low: int, high: int) -> int:
    if not word.isdigit() or not low <= int(word) <= high:
        raise ValueError(f"not a time: {word!r} is not between {low} and {high}")
    return int(word)


def _is_nth(moment: datetime, which: int, weekday: int | None) -> bool:
    last = calendar.monthrange(moment.year, moment.month)[1]
    days = [
        day
        for day in range(1, last + 1)
        if weekday is None or datetime(moment.year, moment.month, day).weekday() == weekday
    ]
    return which < len(days) and days[which] == moment.day
