"""What exists and existed in a region, and what was asked of it: where leak tests look."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Entry:
    kind: str
    id: str
    name: str
    created: float
    deleted: float | None = None


@dataclass
class Ledger:
    """One region's record. Entries are never removed."""

    entries: dict[str, Entry] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    peaks: dict[str, int] = field(default_factory=dict)
    requests_now: int = 0

    def created(self, kind: str, ident: str, name: str) -> None:
        self.entries[ident] = Entry(kind, ident, name, time.time())

    def deleted(self, ident: str) -> None:
        if ident in self.entries and self.entries[ident].deleted is None:
            self.entries[ident].deleted = time.time()

    def peak(self, what: str, value: int) -> None:
        self.peaks[what] = max(self.peaks.get(what, 0), value)

    def rows(self, **more: str) -> list[dict[str, Any]]:
        return [{**vars(entry), **more} for entry in self.entries.values()]
