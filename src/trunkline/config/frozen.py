"""What freezing gives: jobs that need nothing but themselves to run. Plain values, JSON both ways."""

from __future__ import annotations

from typing import Any

import msgspec

from trunkline.config.errors import ConfigError


class Dependency(msgspec.Struct, frozen=True):
    name: str
    soft: bool = False


class JobSemaphore(msgspec.Struct, frozen=True):
    name: str
    resources_first: bool = False


class FrozenNode(msgspec.Struct, frozen=True):
    """`name` is the first name, `aliases` the others: all stand in the inventory with one address."""

    name: str
    label: str
    aliases: tuple[str, ...] = ()


class NodeGroup(msgspec.Struct, frozen=True):
    name: str
    nodes: tuple[str, ...]


class FrozenNodeset(msgspec.Struct, frozen=True):
    name: str = ""
    nodes: tuple[FrozenNode, ...] = ()
    groups: tuple[NodeGroup, ...] = ()


class FrozenRole(msgspec.Struct, frozen=True):
    connection: str
    project: str
    canonical_name: str
    target_name: str
    name: str | None = None
    implicit: bool = False
    project_default_branch: str = "master"
    type: str = "zuul"


class SecretRef(msgspec.Struct, frozen=True):
    """A secret as a playbook sees it: variable `alias`. Encrypted leaves of `data` are `{ENCRYPTED: [chunk, …]}`."""

    alias: str
    name: str
    connection: str
    project: str
    canonical_name: str
    branch: str
    data: Any = None
    oidc: dict[str, Any] | None = None


class FrozenPlaybook(msgspec.Struct, frozen=True):
    connection: str
    project: str
    canonical_name: str
    branch: str
    trusted: bool
    path: str
    roles: tuple[FrozenRole, ...] = ()
    secrets: tuple[SecretRef, ...] = ()
    semaphores: tuple[str, ...] = ()
    cleanup: bool = False
    nesting_level: int = 0
    preserve_home_paths: tuple[str, ...] = ()
    ignore_result: bool = False


class RequiredProject(msgspec.Struct, frozen=True):
    connection: str
    name: str
    canonical_name: str
    override_branch: str | None = None
    override_checkout: str | None = None
    default_branch: str = "master"


class IncludeVars(msgspec.Struct, frozen=True):
    """`canonical_name` None: the project of the item (zuul-project)."""

    name: str
    connection: str | None = None
    project: str | None = None
    canonical_name: str | None = None
    branch: str | None = None
    trusted: bool = False
    required: bool = True
    use_ref: bool = True


class AppliedVariant(msgspec.Struct, frozen=True):
    """One definition that made the job: name, `project/path@branch`, line."""

    name: str
    source: str
    line: int
    branches: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.source}:{self.line}"


class FrozenJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job exactly as it runs. `refs` are the keys of the subjects that it runs for (several once deduplicated)."""

    name: str
    project: str
    refs: tuple[str, ...] = ()
    type: str = "regular"
    description: str | None = None
    voting: bool = True
    attempts: int = 3
    hold_following_changes: bool = False
    dependencies: tuple[Dependency, ...] = ()
    semaphores: tuple[JobSemaphore, ...] = ()
    tags: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    deduplicate: bool | str = "auto"
    deduplicate_key: str = ""
    final: bool = False
    protected: bool | None = None
    post_review: bool | None = None
    success_message: str | None = None
    failure_message: str | None = None
    timeout: int | None = None
    pre_timeout: int | None = None
    post_timeout: int | None = None
    override_branch: str | None = None
    override_checkout: str | None = None
    ansible_version: str | None = None
    ansible_split_streams: bool | None = None
    workspace_scheme: str = "golang"
    workspace_checkout: bool = True
    failure_output: tuple[str, ...] = ()
    secret_exposure: str = "ignore"
    image_build_name: str | None = None
    vars: dict[str, Any] = {}
    extra_vars: dict[str, Any] = {}
    host_vars: dict[str, dict[str, Any]] = {}
    group_vars: dict[str, dict[str, Any]] = {}
    include_vars: tuple[IncludeVars, ...] = ()
    nodeset: FrozenNodeset = FrozenNodeset()
    nodeset_alternatives: tuple[FrozenNodeset, ...] = (FrozenNodeset(),)
    nodeset_name: str = ""
    required_projects: tuple[RequiredProject, ...] = ()
    include_projects: tuple[str, ...] | None = None
    exclude_projects: tuple[str, ...] | None = None
    allowed_projects: tuple[str, ...] | None = None
    pre_playbooks: tuple[FrozenPlaybook, ...] = ()
    playbooks: tuple[FrozenPlaybook, ...] = ()
    post_playbooks: tuple[FrozenPlaybook, ...] = ()
    cleanup_playbooks: tuple[FrozenPlaybook, ...] = ()
    applied: tuple[AppliedVariant, ...] = ()

    @property
    def is_noop(self) -> bool:
        return self.name == "noop"


class FrozenGraph(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of an item in start order; dependencies name jobs of the graph, soft ones on absent jobs are gone.

    `error` is set when the item cannot run at all; then there are no jobs. `debug` says why each job is in or out;
    it is meant for the report only when `wants_debug`.
    """

    pipeline: str
    jobs: tuple[FrozenJob, ...] = ()
    fail_fast: bool = False
    wants_debug: bool = False
    debug: tuple[str, ...] = ()
    has_pipeline_config: bool = True
    error: ConfigError | None = None

    def job(self, name: str) -> FrozenJob | None:
        return next((j for j in self.jobs if j.name == name), None)
