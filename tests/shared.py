"""Where the recorded facts lie, if they are there: beside the repository, or where TRUNKLINE_SHARED says."""

import os
from pathlib import Path

import pytest

_CANDIDATE = Path(os.environ.get("TRUNKLINE_SHARED", Path(__file__).resolve().parents[2] / "shared"))

SHARED: Path | None = _CANDIDATE if (_CANDIDATE / "reference").is_dir() else None

needs_shared = pytest.mark.skipif(SHARED is None, reason="the recordings are not beside the repository")
