"""A pipeline as the scheduler and the connections see it."""

from __future__ import annotations

from typing import Any

import msgspec

REPORTER_ACTIONS = (
    "enqueue",
    "start",
    "success",
    "failure",
    "merge-conflict",
    "config-error",
    "no-jobs",
    "disabled",
    "dequeue",
)
PRECEDENCES = {"normal": 0, "low": 1, "high": 2}
PRIORITIES = {"high": 100, "normal": 200, "low": 300}
MERGE_CONFLICT_MESSAGE = (
    "Merge Failed.\n\nThis change or one of its dependencies could not be merged with the current state of its "
    "repository. Please rebase the change and upload a new version."
)


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """`triggers`, `require` and `reject` map a connection to its list of filters; `reporters` maps an action
    (`success`, `merge-conflict`, …) to {connection: options}. merge-conflict and config-error fall back to failure.
    """

    name: str
    manager: str
    description: str | None = None
    post_review: bool = False
    triggers: dict[str, list[dict[str, Any]]] = {}
    require: dict[str, list[dict[str, Any]]] = {}
    reject: dict[str, list[dict[str, Any]]] = {}
    reporters: dict[str, dict[str, Any]] = {}
    success_message: str = "Build succeeded."
    failure_message: str = "Build failed."
    start_message: str = "Starting {pipeline.name} jobs."
    enqueue_message: str = ""
    merge_conflict_message: str = MERGE_CONFLICT_MESSAGE
    no_jobs_message: str = ""
    dequeue_message: str = "Build canceled."
    footer_message: str = ""
    precedence: str = "normal"
    window: int | None = None
    window_floor: int = 3
    window_ceiling: int | None = None
    window_increase_type: str = "linear"
    window_increase_factor: int = 1
    window_decrease_type: str = "exponential"
    window_decrease_factor: int = 2
    supercedes: tuple[str, ...] = ()
    dequeue_on_new_patchset: bool = True
    ignore_dependencies: bool = False
    allow_other_connections: bool = True
    allow_parameters: bool = False
    disable_after_consecutive_failures: int | None = None
    project: str = ""

    @property
    def priority(self) -> int:
        """The base priority of node requests and builds: lower goes first."""
        return PRIORITIES[self.precedence]

    def reporters_for(self, action: str) -> dict[str, Any]:
        """What reports `action`, with the documented fall-backs."""
        found = self.reporters.get(action)
        if found is None and action in ("merge-conflict", "config-error"):
            return self.reporters.get("failure") or {}
        return found or {}

    @property
    def connections(self) -> frozenset[str]:
        """Every connection that the pipeline names."""
        names = set(self.triggers) | set(self.require) | set(self.reject)
        for reporters in self.reporters.values():
            names |= set(reporters)
        return frozenset(names)
