"""The one job that every tenant has: `noop`, which always succeeds without a node or an executor."""

from __future__ import annotations

from trunkline.config.definitions import JobDef, Place
from trunkline.config.source import SourceContext

_NOWHERE = SourceContext("", "", "", "", True)
NOOP = JobDef(
    name="noop",
    place=Place(_NOWHERE, "", 0, "job", 0),
    attrs={"description": "A job that always succeeds and does nothing.", "final": True, "deduplicate": True},
    has_parent=True,
    parent=None,
)
