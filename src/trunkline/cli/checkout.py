"""Where the checkout is that this command runs from: tests, benches and linters need its files."""

from __future__ import annotations

import sys
from pathlib import Path


def root() -> Path:
    """The checkout's root. Exits with a message when the package was installed without it."""
    found = Path(__file__).resolve().parents[3]
    if not (found / "pyproject.toml").exists():
        sys.exit("trunkline: this command works in a checkout of the repository, which is not here")
    return found
