"""What the demo shows: a terminal view that updates in place, plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

MARKS = {
    "SUCCESS": ("●", "green"),
    "FAILURE": ("●", "red"),
    None: ("○", "yellow"),
}


class View:
    """`say` adds a line of the story; `look` gives the queues as they are. Use as a context manager."""

    def __init__(self, look: Callable[[], list[dict[str, Any]]] | None = None) -> None:
        self.console = Console(highlight=False)
        self.is_live = self.console.is_terminal
        self.look = look or (list)
        self.title = ""
        self._lines: deque[str] = deque(maxlen=10)
        self._begin = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._live: Live | None = None

    def say(self, text: str) -> None:
        line = f"{time.monotonic() - self._begin:5.1f} s  {text}"
        self._lines.append(line)
        if not self.is_live:
            print(line, flush=True)

    def __enter__(self) -> View:
        if self.is_live:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        if self._live is not None:
            self._live.stop()
            for line in self._lines:
                print(line)
        sys.stdout.flush()

    def _follow(self) -> None:
        queues: list[dict[str, Any]] = []
        while not self._stop.wait(0.4):
            with contextlib.suppress(Exception):  # of an installation that restarts, what was last seen is shown
                queues = self.look()
            assert self._live is not None
            self._live.update(Group(Text(self.title, style="bold"), _table(queues), *map(Text, self._lines)))


def _table(queues: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    table.add_column()
    for queue in queues:
        for number, item in enumerate(queue["items"]):
            ref = item["refs"][0]
            jobs = Text()
            for job in item["jobs"]:
                mark, colour = MARKS.get(job["result"], MARKS["FAILURE"])
                jobs.append(f"{mark} ", style=colour)
                jobs.append(f"{job['name']}  ", style="red" if job["result"] == "FAILURE" else "")
            failing = bool(item["failing_reasons"])
            what = Text(f"{ref['project']} {ref['id'] or ''}", style="red" if failing else "")
            table.add_row(f"{queue['pipeline']:6}" if number == 0 else "", what, jobs)
    return table


def closing_table(rows: list[tuple[str, str, float | None, bool]]) -> Table:
    """What was asked, what happened, how long, whether it is as it must be."""
    table = Table(title="what was asked, what happened", title_justify="left", show_lines=False)
    for column in ("asked", "happened", "seconds", ""):
        table.add_column(column)
    for asked, happened, seconds, good in rows:
        mark = Text("✓", style="green") if good else Text("✗", style="bold red")
        table.add_row(asked, happened, f"{seconds:.1f}" if seconds is not None else "", mark)
    return table
