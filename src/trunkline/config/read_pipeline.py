"""Pipelines: the connections they name must exist and take what is written for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.config.definitions import PipelineDef
from trunkline.config.drivers import check_reporter, check_requirement, check_trigger
from trunkline.config.errors import ConfigError, Refused, Severity, did_you_mean
from trunkline.config.pipeline import REPORTER_ACTIONS, Pipeline
from trunkline.config.read_job import Located, as_list
from trunkline.config.syntax import KEY
from trunkline.config.tenant_model import ConnectionSpec, TenantSpec

_SAME_NAME = (
    "name",
    "manager",
    "description",
    "post_review",
    "allow_other_connections",
    "allow_parameters",
    "dequeue_on_new_patchset",
    "ignore_dependencies",
    "precedence",
    "success_message",
    "failure_message",
    "start_message",
    "enqueue_message",
    "merge_conflict_message",
    "no_jobs_message",
    "dequeue_message",
    "footer_message",
    "disable_after_consecutive_failures",
    "window",
    "window_floor",
    "window_ceiling",
    "window_increase_type",
    "window_increase_factor",
    "window_decrease_type",
    "window_decrease_factor",
)
_OLD_ACTION = {"merge-conflict": "merge-failure"}
BUILT_IN = {"timer": "timer", "zuul": "zuul", "sql": "sql", "database": "sql"}


def read_pipeline(
    definition: PipelineDef, tenant: TenantSpec, connections: Mapping[str, ConnectionSpec] | None
) -> tuple[Pipeline | None, tuple[ConfigError, ...]]:
    """The pipeline of a definition, and its complaints. Without `connections` their names are not checked."""
    warnings: list[ConfigError] = []
    place = definition.place

    def warn(name: str, text: str, path: tuple[Any, ...]) -> None:
        warnings.append(place.error(text, path=path, name=name, severity=Severity.WARNING))

    try:
        made = _Reader(definition, tenant, connections, warn).read()
    except Refused as problem:
        path = problem.path if isinstance(problem, Located) else ()
        return None, (*warnings, place.error(problem.short, path=path, name=problem.name, mend=problem.mend))
    return made, tuple(warnings)


class _Reader:
    def __init__(
        self, definition: PipelineDef, tenant: TenantSpec, connections: Mapping[str, ConnectionSpec] | None, warn: Any
    ) -> None:
        self.body = definition.body
        self.definition = definition
        self.tenant, self.connections, self.warn = tenant, connections, warn

    def read(self) -> Pipeline:
        body = self.body
        given: dict[str, Any] = {
            key: body[key.replace("_", "-")] for key in _SAME_NAME if key.replace("_", "-") in body
        }
        if "merge-failure-message" in body and "merge-conflict-message" not in body:
            given["merge_conflict_message"] = body["merge-failure-message"]
        reporters = {}
        for action in REPORTER_ACTIONS:
            key = action if action in body else _OLD_ACTION.get(action, action)
            if key in body:
                reporters[action] = self.reporters(key)
        window = given.pop("window", 20)
        floor, ceiling = given.get("window_floor", 3), given.get("window_ceiling")
        if ceiling is not None and ceiling < floor:
            raise Located(
                "window-ceiling is below window-floor", path=("window-ceiling",), mend="Raise it, or lower the floor."
            )
        manager = body["manager"]
        fixed: dict[str, int | None] = {"independent": None, "serial": 1, "supercedent": 1}
        return Pipeline(
            triggers=self.filters("trigger", check_trigger, self.tenant.allowed_triggers),
            require=self.filters("require", check_requirement, None),
            reject=self.filters("reject", check_requirement, None),
            reporters=reporters,
            window=fixed.get(manager, window),
            supercedes=tuple(as_list(body.get("supercedes"))),
            project=self.definition.source.key[0],
            **given,
        )

    def filters(self, key: str, check: Any, allowed: tuple[str, ...] | None) -> dict[str, list[dict[str, Any]]]:
        out = {}
        for connection, value in (self.body.get(key) or {}).items():
            driver = self.driver(connection, (key, connection), allowed)
            listed = [] if value is None else as_list(value)
            for index, one in enumerate(listed):
                path = (key, connection, index) if isinstance(value, list) else (key, connection)
                check(driver, one, path, self.warn)
            out[connection] = listed
        return out

    def reporters(self, key: str) -> dict[str, Any]:
        out = {}
        for connection, value in (self.body.get(key) or {}).items():
            driver = self.driver(connection, (key, connection), self.tenant.allowed_reporters)
            listed = as_list(value)
            for one in listed:
                check_reporter(driver, one, (key, connection), self.warn)
            out[connection] = listed[0] if len(listed) == 1 else listed or {}
        return out

    def driver(self, connection: str, path: tuple[Any, ...], allowed: tuple[str, ...] | None) -> str | None:
        if self.connections is None:
            return None
        known = self.connections.get(connection)
        if (known is None and connection not in BUILT_IN) or (allowed is not None and connection not in allowed):
            raise Located(
                f'The connection "{connection}" is unknown in this tenant',
                path=(*path, KEY),
                name="Unknown Connection",
                mend=did_you_mean(connection, allowed if allowed is not None else [*self.connections, *BUILT_IN]),
            )
        return known.driver if known is not None else BUILT_IN[connection]
