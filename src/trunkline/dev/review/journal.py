"""Durable state: one file of JSON lines, each line one action's changes; replayed at start, then rewritten.

A line is all or nothing: a torn last line (the machine died while writing) is dropped, and with it an action that
nobody was told had succeeded.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

Entry = tuple[str, str, Any]
"""(kind, id, value): the newest entry of a kind and id is its state; value None deletes."""


class Journal:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def replay(self) -> Iterator[Entry]:
        """The entries in order. Lines after a torn one cannot exist: it was the last."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    entries = json.loads(line)
                except ValueError:
                    return
                yield from (tuple(entry) for entry in entries)

    def start(self, state: Iterable[Entry]) -> None:
        """Begin a new file that holds the state, and keep it open for what follows."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            for entry in state:
                file.write(_line([entry]))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._file = self._path.open("ab")

    def write(self, entries: Iterable[Entry]) -> None:
        """Returns when the entries are on the disk."""
        self._file.write(_line(list(entries)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _line(entries: list[Entry]) -> bytes:
    return msgspec.json.encode(entries) + b"\n"
