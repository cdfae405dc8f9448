"""Draws the transition tables into docs/gate.md: `python -m tests.gate.diagrams`. A test holds the picture to the tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from trunkline.gate.model import FUTURE_MOVES, RUN_MOVES, FutureState, RunState

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"


def drawing(moves: Mapping[tuple[Any, str], Any], start: Enum, ends: Iterable[Enum]) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start.value}"]
    lines += [f"    {before.value} --> {after.value}: {move}" for (before, move), after in moves.items()]
    lines += [f"    {end.value} --> [*]" for end in ends]
    return "\n".join([*lines, "```"])


DRAWINGS = {
    "future": drawing(FUTURE_MOVES, FutureState.MERGING, [FutureState.READY, FutureState.CONFLICT, FutureState.BROKEN]),
    "run": drawing(RUN_MOVES, RunState.WAITING, [RunState.DONE]),
}


def drawn(page: str) -> str:
    for name, picture in DRAWINGS.items():
        page = re.sub(
            rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)",
            lambda found, picture=picture: f"{found[1]}{picture}\n{found[2]}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
    return page


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
