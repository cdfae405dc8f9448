"""The frozen job as this room reads it: fields as `freeze-job` answers them."""

from __future__ import annotations

from typing import Any

import msgspec

Json = Any


class FrozenRole(msgspec.Struct, frozen=True, kw_only=True):
    """A repository whose roles a playbook may use. `implicit` ones may be without roles."""

    connection: str
    project: str
    target_name: str
    project_canonical_name: str
    project_default_branch: str = "master"
    implicit: bool = False
    type: str = "zuul"


class FrozenPlaybook(msgspec.Struct, frozen=True, kw_only=True):
    connection: str
    project: str
    branch: str
    trusted: bool
    path: str
    roles: tuple[FrozenRole, ...] = ()
    secrets: dict[str, Json] = {}
    semaphores: tuple[Json, ...] = ()
    cleanup: bool = False
    nesting_level: int = 0
    preserve_home_paths: tuple[str, ...] = ()


class FrozenIncludeVars(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    connection: str
    project: str
    project_default_branch: str = "master"
    required: bool = True
    trusted: bool = False
    use_ref: bool = True


class FrozenJob(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    vars: dict[str, Json] = {}
    extra_vars: dict[str, Json] = {}
    host_vars: dict[str, dict[str, Json]] = {}
    group_vars: dict[str, dict[str, Json]] = {}
    include_vars: tuple[FrozenIncludeVars, ...] = ()
    pre_playbooks: tuple[FrozenPlaybook, ...] = ()
    playbooks: tuple[FrozenPlaybook, ...] = ()
    post_playbooks: tuple[FrozenPlaybook, ...] = ()
    tags: tuple[str, ...] = ()
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
    deduplicate: Json = "auto"
    image_build_name: str | None = None
    inheritance_path: tuple[str, ...] = ()
