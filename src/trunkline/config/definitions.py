"""The definitions that a file may hold, as plain located values: what was written, nothing resolved yet.

They hold no cycles, so the garbage collector need not visit them (`gc=False`): tenants have very many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from trunkline.config.errors import ConfigError, Position, Severity, make_error
from trunkline.config.frozen import Dependency, FrozenNode, JobSemaphore, NodeGroup
from trunkline.config.regex import Regex
from trunkline.config.source import SourceContext
from trunkline.config.syntax import locate


class Place(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Where a definition stands. `text` is the whole file, shared by all definitions in it."""

    source: SourceContext
    text: str
    index: int
    kind: str
    line: int

    def position(self, path: tuple[Any, ...] = ()) -> Position:
        found = locate(self.text, (self.index, self.kind, *path)) if self.text else None
        return found or Position(self.line, 1, self.line, 1)

    def error(
        self,
        short: str,
        *,
        path: tuple[Any, ...] = (),
        name: str = "Unknown",
        mend: str = "",
        severity: Severity = Severity.ERROR,
        at: Position | None = None,
    ) -> ConfigError:
        return make_error(
            self.source,
            short,
            text=self.text,
            at=at or self.position(path),
            name=name,
            mend=mend,
            severity=severity,
        )


class Pragma(msgspec.Struct, frozen=True, gc=False):
    """What the pragmas of a file say; None where they say nothing."""

    implied_branch_matchers: bool | None = None
    implied_branches: tuple[Regex, ...] | None = None


NO_PRAGMA = Pragma()


class Definition(msgspec.Struct, frozen=True, eq=False, kw_only=True, gc=False):
    name: str
    place: Place

    @property
    def source(self) -> SourceContext:
        return self.place.source


class PlaybookUse(msgspec.Struct, frozen=True, gc=False):
    path: str
    semaphores: tuple[str, ...] = ()
    cleanup: bool = False


class SecretUse(msgspec.Struct, frozen=True, gc=False):
    alias: str
    secret: str
    pass_to_parent: bool = False


class RoleUse(msgspec.Struct, frozen=True, gc=False):
    type: str
    project: str
    name: str | None = None


class ProjectUse(msgspec.Struct, frozen=True, gc=False):
    name: str
    override_checkout: str | None = None
    override_branch: str | None = None


class VarsUse(msgspec.Struct, frozen=True, gc=False):
    name: str
    project: str | None = None
    zuul_project: bool = False
    required: bool = True
    use_ref: bool = True


class NodesetDef(Definition, frozen=True, eq=False, kw_only=True, gc=False):
    """`alternatives` hold names and inline nodesets; empty for a plain one."""

    nodes: tuple[FrozenNode, ...] = ()
    groups: tuple[NodeGroup, ...] = ()
    alternatives: tuple[str | NodesetDef, ...] = ()

    @property
    def content(self) -> Any:
        inner = tuple(a if isinstance(a, str) else a.content for a in self.alternatives)
        return (self.name, self.nodes, self.groups, inner)


class JobDef(Definition, frozen=True, eq=False, kw_only=True, gc=False):
    """One variant of a job. `attrs` holds what it sets, by attribute name; `how` the tags on values.

    `has_parent` tells a stated null from nothing. `branches` is the explicit matcher.
    """

    attrs: Mapping[str, Any] = {}
    how: Mapping[str, str] = {}
    has_parent: bool = False
    parent: str | None = None
    branches: tuple[Regex, ...] | None = None
    pragma: Pragma = NO_PRAGMA
    in_project: bool = False

    @property
    def is_base(self) -> bool:
        return self.has_parent and self.parent is None


class JobEntry(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A job in the list of a project pipeline: its name, and what the entry changes of it."""

    name: str
    job: JobDef
    path: tuple[Any, ...] = ()


class Parameter(msgspec.Struct, frozen=True, gc=False):
    name: str
    type: str = "string"
    description: str | None = None
    values: tuple[Any, ...] = ()
    default: Any = None
    required: bool = False


class ProjectPipeline(msgspec.Struct, frozen=True, eq=False, gc=False):
    jobs: tuple[JobEntry, ...] = ()
    debug: bool = False
    fail_fast: bool | None = None
    parameters: tuple[Parameter, ...] = ()


class ProjectDef(Definition, frozen=True, eq=False, kw_only=True, gc=False):
    """A project stanza or a template. `name` is as written (or the file's project)."""

    is_template: bool = False
    templates: tuple[str, ...] = ()
    branches: tuple[Regex, ...] | None = None
    merge_mode: str | None = None
    default_branch: str | None = None
    queue: str | None = None
    variables: Mapping[str, Any] = {}
    pipelines: Mapping[str, ProjectPipeline] = {}
    pragma: Pragma = NO_PRAGMA

    @property
    def is_regex(self) -> bool:
        return self.name.startswith("^")


class PipelineDef(Definition, frozen=True, eq=False, kw_only=True, gc=False):
    body: Mapping[str, Any]


class SecretDef(Definition, frozen=True, eq=False, kw_only=True, gc=False):
    data: Any = None
    oidc: Mapping[str, Any] | None = None
    has_oidc: bool = False

    @property
    def content(self) -> Any:
        return (self.name, self.data, self.oidc, self.has_oidc)


class SemaphoreDef(Definition, frozen=True, eq=False, kw_only=True, gc=False):
    max: int = 1

    @property
    def content(self) -> Any:
        return (self.name, self.max)


class QueueDef(Definition, frozen=True, eq=False, kw_only=True, gc=False):
    type: str = "all-branches"
    allow_circular_dependencies: bool = False
    dependencies_by_topic: bool = False

    @property
    def per_branch(self) -> bool:
        return self.type == "per-branch"

    @property
    def content(self) -> Any:
        return (self.name, self.type, self.allow_circular_dependencies, self.dependencies_by_topic)


class ProviderObject(Definition, frozen=True, eq=False, kw_only=True, gc=False):
    """An image, flavor, label, section or provider as written: `body` is plain data with the keys of the language."""

    kind: str
    body: Mapping[str, Any]

    @property
    def content(self) -> Any:
        return (self.kind, self.body)


__all__ = [
    "NO_PRAGMA",
    "Definition",
    "Dependency",
    "JobDef",
    "JobEntry",
    "JobSemaphore",
    "NodesetDef",
    "Parameter",
    "PipelineDef",
    "Place",
    "PlaybookUse",
    "Pragma",
    "ProjectDef",
    "ProjectPipeline",
    "ProjectUse",
    "ProviderObject",
    "QueueDef",
    "RoleUse",
    "SecretDef",
    "SecretUse",
    "SemaphoreDef",
    "VarsUse",
]
