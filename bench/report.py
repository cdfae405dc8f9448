"""One shape for every bench: a table for people and JSON for machines, both from the same rows."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Report:
    """What one bench measured.

    rows: one dict a case: `case`, its parameters, its metrics (medians, unit last in the name), and `n`, the number of runs.
    """

    name: str
    method: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        machine = {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.system(),
            "arch": platform.machine(),
        }
        return {"name": self.name, "method": self.method, "machine": machine, "rows": self.rows}

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n")

    def table(self) -> str:
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        cells = [[_cell(row.get(column)) for column in columns] for row in self.rows]
        widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in [columns, *cells]
        ]
        return "\n".join(
            [f"{self.name}: {self.method}", "", lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
        )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def median_s(action: Callable[[], object], n: int) -> float:
    """The median wall time in seconds of `n` calls."""
    times = []
    for _ in range(n):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def median_of(values: Sequence[float]) -> float:
    return statistics.median(values)
