"""A tenant as its file describes it: which projects, what each may define, and the limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from trunkline.config.regex import Regex

STANDARD_PATHS = ("zuul.yaml", "zuul.d/", ".zuul.yaml", ".zuul.d/")
BASE_CLASSES = frozenset({"pipeline", "job", "semaphore", "project", "project-template", "nodeset", "secret", "queue"})
PROVIDER_CLASSES = frozenset({"image", "flavor", "label", "section", "provider"})
UNTRUSTED_CLASSES = BASE_CLASSES - {"pipeline"}


class ProjectSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One project of a tenant. `classes` are the kinds of objects that are loaded from it."""

    connection: str
    name: str
    canonical_name: str
    trusted: bool
    classes: frozenset[str] = frozenset()
    shadow: tuple[str, ...] = ()
    load_branch: str = "master"
    exclude_unprotected_branches: bool | None = None
    exclude_locked_branches: bool | None = None
    include_branches: tuple[str, ...] | None = None
    exclude_branches: tuple[str, ...] | None = None
    always_dynamic_branches: tuple[str, ...] | None = None
    implied_branch_matchers: bool | None = None
    extra_config_files: tuple[str, ...] = ()
    extra_config_dirs: tuple[str, ...] = ()
    configure_projects: tuple[str, ...] = ()
    allow_base_jobs: bool = True
    allow_reporter_jobs: bool = False

    def loads_branch(self, branch: str) -> bool:
        """Whether configuration is read from `branch` for the tenant's own layout (not for a future)."""
        if self.trusted:
            return branch == self.load_branch
        return self.includes_branch(branch)

    def includes_branch(self, branch: str) -> bool:
        """Whether `branch` exists for the tenant: include decides alone, then always-dynamic, then exclude."""
        if self.include_branches is not None:
            return any(re.fullmatch(p, branch) for p in self.include_branches)
        if self.is_dynamic_branch(branch):
            return False
        return not any(re.fullmatch(p, branch) for p in self.exclude_branches or ())

    def is_dynamic_branch(self, branch: str) -> bool:
        return any(re.fullmatch(p, branch) for p in self.always_dynamic_branches or ())

    def may_configure(self, canonical_name: str, name: str) -> bool:
        return any(re.fullmatch(p, n) for p in self.configure_projects for n in (canonical_name, name))


def config_paths(project: ProjectSpec) -> Callable[[str], bool]:
    """A predicate: does the file at this path hold configuration of `project`?"""
    files = {"zuul.yaml", ".zuul.yaml", *project.extra_config_files}
    trees = ("zuul.d/", ".zuul.d/", *project.extra_config_dirs)

    def is_config(path: str) -> bool:
        if not project.classes:
            return False
        if path in files:
            return True
        return path.startswith(trees) and path.endswith((".yaml", "/.zuul.ignore"))

    return is_config


class TenantSpec(msgspec.Struct, frozen=True, kw_only=True):
    """`projects` are in the order of loading: config projects as listed, then untrusted ones as listed."""

    name: str
    projects: tuple[ProjectSpec, ...] = ()
    max_changes_per_pipeline: int | None = None
    max_dependencies: int | None = None
    max_nodes_per_job: int = 5
    max_job_timeout: int = 10800
    max_oidc_ttl: int = 10800
    default_oidc_ttl: int = 3600
    allowed_oidc_issuers: tuple[str, ...] = ()
    default_parent: str = "base"
    default_ansible_version: str | None = None
    exclude_unprotected_branches: bool = False
    exclude_locked_branches: bool = False
    allowed_triggers: tuple[str, ...] | None = None
    allowed_reporters: tuple[str, ...] | None = None
    allowed_labels: tuple[Regex, ...] | None = None
    disallowed_labels: tuple[Regex, ...] | None = None
    web_root: str | None = None
    admin_rules: tuple[str, ...] = ()
    access_rules: tuple[str, ...] = ()
    anonymous_read_access: bool = True
    role_mappings: dict[str, tuple[str, ...]] = {}
    authentication_realm: str | None = None
    semaphores: tuple[str, ...] = ()
    global_semaphores: dict[str, int] = {}
    use_nodepool: bool = True

    def project(self, canonical_name: str) -> ProjectSpec | None:
        return next((p for p in self.projects if p.canonical_name == canonical_name), None)


class ApiRoot(msgspec.Struct, frozen=True, kw_only=True):
    authentication_realm: str | None = None
    access_rules: tuple[str, ...] = ()
    anonymous_read_access: bool = True
    role_mappings: dict[str, tuple[str, ...]] = {}


class TenantFile(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a tenant file says. `authorization_rules` name → conditions; `roles` name → permissions."""

    tenants: dict[str, TenantSpec] = {}
    authorization_rules: dict[str, Any] = {}
    roles: dict[str, dict[str, Any]] = {}
    api_root: ApiRoot = ApiRoot()
    errors: tuple[Any, ...] = ()


class ConnectionSpec(msgspec.Struct, frozen=True):
    """What the language must know of a connection. Merge modes: what its projects support; None is everything."""

    name: str
    driver: str
    canonical_hostname: str = ""
    merge_modes: frozenset[str] | None = None
    default_merge_mode: str = "merge"
    problem: str | None = None
