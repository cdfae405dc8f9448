"""The tenant file: text in, tenants out. A tenant that does not fit its schema is left out, with an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from trunkline.config.definitions import Place
from trunkline.config.errors import ConfigError, Refused, did_you_mean, make_error
from trunkline.config.read_job import ANSIBLE_VERSIONS, Located, as_list
from trunkline.config.regex import regexes_of
from trunkline.config.shape import (
    ANY,
    BOOL,
    INT,
    MAP,
    NUMBER,
    STR,
    Either,
    Fields,
    Many,
    Mapped,
    OneOf,
    scalar_or_list,
)
from trunkline.config.source import SourceContext
from trunkline.config.syntax import Item, read_items
from trunkline.config.tenant_model import (
    BASE_CLASSES,
    PROVIDER_CLASSES,
    STANDARD_PATHS,
    UNTRUSTED_CLASSES,
    ApiRoot,
    ConnectionSpec,
    ProjectSpec,
    TenantFile,
    TenantSpec,
    config_paths,
)

__all__ = ["ProjectSpec", "TenantFile", "TenantSpec", "config_paths", "load_tenants"]

_STRS = scalar_or_list(STR)
_REGEX = Either((STR, Fields({"regex": STR, "negate": BOOL}, required=("regex",))))
_REGEXES = scalar_or_list(_REGEX)
_CLASSES = scalar_or_list(OneOf(tuple(sorted(BASE_CLASSES | PROVIDER_CLASSES))))
_COMMON_OPTIONS: dict[str, Any] = {
    "include": _CLASSES,
    "exclude": _CLASSES,
    "include-provider-config": BOOL,
    "shadow": _STRS,
    "exclude-unprotected-branches": BOOL,
    "exclude-locked-branches": BOOL,
    "include-branches": _STRS,
    "exclude-branches": _STRS,
    "always-dynamic-branches": _STRS,
    "implied-branch-matchers": BOOL,
    "extra-config-paths": _STRS,
    "load-branch": STR,
    "allow-circular-dependencies": BOOL,
    "allow-base-jobs": BOOL,
    "allow-reporter-jobs": BOOL,
    "configure-projects": _STRS,
}
_OPTIONS = Fields(_COMMON_OPTIONS)
_SOURCE = Fields({"config-projects": ANY, "untrusted-projects": ANY})
TENANT = Fields(
    {
        "name": STR,
        "source": Mapped(_SOURCE),
        "max-changes-per-pipeline": INT,
        "max-dependencies": INT,
        "max-nodes-per-job": INT,
        "max-job-timeout": INT,
        "max-oidc-ttl": INT,
        "default-oidc-ttl": INT,
        "allowed-oidc-issuers": _STRS,
        "exclude-unprotected-branches": BOOL,
        "exclude-locked-branches": BOOL,
        "default-parent": STR,
        "default-ansible-version": Either((STR, NUMBER)),
        "allowed-triggers": _STRS,
        "allowed-reporters": _STRS,
        "allowed-labels": _REGEXES,
        "disallowed-labels": _REGEXES,
        "web-root": STR,
        "admin-rules": _STRS,
        "access-rules": _STRS,
        "anonymous-read-access": BOOL,
        "role-mappings": Mapped(_STRS),
        "authentication-realm": STR,
        "semaphores": _STRS,
        "use-nodepool": BOOL,
        "allow-circular-dependencies": BOOL,
        "report-build-page": BOOL,
    },
    required=("name",),
)
_CONDITIONS = Either((MAP, Many(MAP)))
_SCOPED = Either((BOOL, Fields({"conditions": Fields({"project": STR, "ref": STR})}, required=("conditions",))))
_PERMISSIONS = Fields(
    {
        **dict.fromkeys(
            (
                "read",
                "promote",
                "set-tenant-state",
                "build-image",
                "upload-image",
                "delete-image-build-artifact",
                "delete-image-upload",
                "validate-image-upload",
                "modify-node",
                "modify-nodeset-request",
                "autohold",
            ),
            BOOL,
        ),
        "dequeue": _SCOPED,
        "enqueue": _SCOPED,
    }
)
TENANT_OBJECTS: dict[str, Any] = {
    "tenant": TENANT,
    "global-semaphore": Fields({"name": STR, "max": INT}, required=("name",)),
    "authorization-rule": Fields({"name": STR, "conditions": _CONDITIONS}, required=("name", "conditions")),
    "admin-rule": Fields({"name": STR, "conditions": _CONDITIONS}, required=("name", "conditions")),
    "role": Fields({"name": STR, "permissions": _PERMISSIONS}, required=("name",)),
    "api-root": Fields(
        {
            "authentication-realm": STR,
            "access-rules": _STRS,
            "anonymous-read-access": BOOL,
            "role-mappings": Mapped(_STRS),
        }
    ),
}


def load_tenants(text: str, path: str, connections: Mapping[str, ConnectionSpec]) -> TenantFile:
    """Read a tenant file. `connections` are those that may serve as sources, by name.

    Errors leave out the object that they are in. O(size of the text).
    """
    context = SourceContext("", "", "", path, True)
    try:
        items, problems = read_items(text)
    except Refused as problem:
        error = make_error(context, problem.short, text=text, at=problem.at, name=problem.name, mend=problem.mend)
        return TenantFile(errors=(error,))
    reader = _TenantReader(text, context, connections)
    for odd in problems:
        reader.errors.append(make_error(context, odd.short, text=text, at=odd.at, name=odd.name, mend=odd.mend))
    for item in sorted(items, key=lambda i: i.kind == "tenant"):
        reader.read(item)
    return reader.result()


class _TenantReader:
    def __init__(self, text: str, context: SourceContext, connections: Mapping[str, ConnectionSpec]) -> None:
        self.text, self.context, self.connections = text, context, connections
        self.errors: list[ConfigError] = []
        self.tenants: dict[str, TenantSpec] = {}
        self.semaphores: dict[str, int] = {}
        self.rules: dict[str, Any] = {}
        self.roles: dict[str, dict[str, Any]] = {"admin": {}, "read": {"read": True}}
        self.api_root: ApiRoot | None = None

    def result(self) -> TenantFile:
        roles = {k: v for k, v in self.roles.items() if k not in ("admin", "read")}
        return TenantFile(
            tenants=self.tenants,
            authorization_rules=self.rules,
            roles=roles,
            api_root=self.api_root or ApiRoot(),
            errors=tuple(self.errors),
        )

    def read(self, item: Item) -> None:
        place = Place(self.context, self.text, item.index, item.kind, item.line)
        try:
            if item.kind not in TENANT_OBJECTS:
                raise Located(f'Unknown object "{item.kind}"', mend=did_you_mean(item.kind, TENANT_OBJECTS))
            self.check(item.kind, item.body)
            getattr(self, "read_" + item.kind.replace("-", "_"))(item.body)
        except Refused as problem:
            at_path = problem.path if isinstance(problem, Located) else ()
            error = place.error(problem.short, path=at_path, name=problem.name, mend=problem.mend, at=problem.at)
            self.errors.append(error)

    def check(self, kind: str, body: Any) -> None:
        faults: list[tuple[tuple[Any, ...], str, str]] = []
        TENANT_OBJECTS[kind].check(body, (), lambda p, text, mend: faults.append((p, text, mend)))
        if faults:
            where, _, mend = faults[0]
            raise Located(f"In the {kind}: " + "; ".join(f[1] for f in faults[:5]), path=where, mend=mend)

    def read_global_semaphore(self, body: Mapping[str, Any]) -> None:
        self.semaphores[body["name"]] = body.get("max", 1)

    def read_authorization_rule(self, body: Mapping[str, Any]) -> None:
        self.rules[body["name"]] = body["conditions"]

    read_admin_rule = read_authorization_rule

    def read_role(self, body: Mapping[str, Any]) -> None:
        if body["name"] in ("admin", "read"):
            raise Located(f'The role "{body["name"]}" is built in', path=("name",), mend="Choose another name.")
        self.roles[body["name"]] = body.get("permissions") or {}

    def read_api_root(self, body: Mapping[str, Any]) -> None:
        if self.api_root is not None:
            raise Located("There may be only one api-root", mend="Merge the two.")
        self.check_rules(body)
        self.api_root = ApiRoot(
            authentication_realm=body.get("authentication-realm"),
            access_rules=tuple(as_list(body.get("access-rules"))),
            anonymous_read_access=body.get("anonymous-read-access", True),
            role_mappings={k: tuple(as_list(v)) for k, v in (body.get("role-mappings") or {}).items()},
        )

    def check_rules(self, body: Mapping[str, Any]) -> None:
        for key in ("admin-rules", "access-rules"):
            for rule in as_list(body.get(key)):
                self.known_rule(rule, (key,))
        for rule, roles in (body.get("role-mappings") or {}).items():
            self.known_rule(rule, ("role-mappings", rule))
            for role in as_list(roles):
                if role not in self.roles:
                    mend = did_you_mean(role, self.roles)
                    raise Located(
                        f'The role "{role}" is not defined',
                        path=("role-mappings", rule),
                        name="AuthZ Role Not Found",
                        mend=mend,
                    )

    def known_rule(self, rule: str, where: tuple[Any, ...]) -> None:
        if rule not in self.rules:
            mend = did_you_mean(rule, self.rules)
            raise Located(f'The rule "{rule}" is not defined', path=where, name="AuthZ Rule Not Found", mend=mend)

    def read_tenant(self, body: Mapping[str, Any]) -> None:
        name = body["name"]
        if name in self.tenants:
            raise Located(f'The tenant "{name}" is defined twice', path=("name",), mend="Rename one of them.")
        self.check_rules(body)
        for semaphore in as_list(body.get("semaphores")):
            if semaphore not in self.semaphores:
                raise Located(
                    f'The global semaphore "{semaphore}" is not defined',
                    path=("semaphores",),
                    name="Global Semaphore Not Found",
                    mend=did_you_mean(semaphore, self.semaphores),
                )
        version = body.get("default-ansible-version")
        if version is not None and str(version) not in ANSIBLE_VERSIONS:
            raise Located(f"Ansible version {version} is not supported", path=("default-ansible-version",))
        self.tenants[name] = self.make_tenant(body)

    def make_tenant(self, body: Mapping[str, Any]) -> TenantSpec:
        listed = {s: self.semaphores[s] for s in as_list(body.get("semaphores"))}
        given: dict[str, Any] = {
            key: body[key.replace("_", "-")] for key in _PLAIN_KEYS if body.get(key.replace("_", "-")) is not None
        }
        for key in _TUPLE_KEYS:
            if key.replace("_", "-") in body:
                given[key] = tuple(as_list(body[key.replace("_", "-")]))
        for key in ("allowed-labels", "disallowed-labels"):
            if body.get(key):
                given[key.replace("-", "_")] = regexes_of(body[key])
        if body.get("default-ansible-version") is not None:
            given["default_ansible_version"] = str(body["default-ansible-version"])
        mappings = {k: tuple(as_list(v)) for k, v in (body.get("role-mappings") or {}).items()}
        return TenantSpec(projects=self.projects(body), role_mappings=mappings, global_semaphores=listed, **given)

    def projects(self, body: Mapping[str, Any]) -> tuple[ProjectSpec, ...]:
        found: dict[bool, list[ProjectSpec]] = {True: [], False: []}
        for connection, lists in (body.get("source") or {}).items():
            if connection not in self.connections:
                raise Located(
                    f'The connection "{connection}" is not configured',
                    path=("source", connection),
                    name="Unknown Connection",
                    mend=did_you_mean(connection, self.connections),
                )
            for key, trusted in (("config-projects", True), ("untrusted-projects", False)):
                for spec in self.listed(connection, lists.get(key), trusted, {}, ("source", connection, key)):
                    if any(p.canonical_name == spec.canonical_name for p in (*found[True], *found[False])):
                        raise Located(f'The project "{spec.name}" is listed twice', path=("source", connection, key))
                    found[trusted].append(spec)
        for spec in found[False]:
            for config in found[True]:
                if spec.may_configure(config.canonical_name, config.name):
                    short = f'configure-projects of "{spec.name}" matches the config project "{config.name}"'
                    raise Located(short, path=("source", spec.connection), mend="Narrow the pattern.")
        return (*found[True], *found[False])

    def listed(
        self, connection: str, entries: Any, trusted: bool, inherited: Mapping[str, Any], path: tuple[Any, ...]
    ) -> Iterable[ProjectSpec]:
        for index, entry in enumerate(as_list(entries)):
            where = (*path, index)
            if isinstance(entry, str):
                yield self.project(connection, entry, dict(inherited), trusted, where)
            elif isinstance(entry, dict) and "projects" in entry and not isinstance(entry["projects"], dict):
                options = {k: v for k, v in entry.items() if k != "projects"}
                self.check_options(options, where)
                merged = {**inherited, **options}
                yield from self.listed(connection, entry["projects"], trusted, merged, (*where, "projects"))
            elif isinstance(entry, dict) and len(entry) == 1:
                name, options = next(iter(entry.items()))
                self.check_options(options or {}, (*where, name))
                yield self.project(connection, str(name), {**inherited, **(options or {})}, trusted, (*where, name))
            else:
                mend = "Write a name, a name with its options indented below, or a group with `projects:`."
                raise Located("A project must be a name or a map with one key", path=where, mend=mend)

    def check_options(self, options: Any, path: tuple[Any, ...]) -> None:
        faults: list[tuple[tuple[Any, ...], str, str]] = []
        _OPTIONS.check(options, path, lambda p, text, mend: faults.append((p, text, mend)))
        if faults:
            raise Located(f"In the project {path[-1]}: {faults[0][1]}", path=faults[0][0], mend=faults[0][2])

    def project(
        self, connection: str, name: str, options: Mapping[str, Any], trusted: bool, path: tuple[Any, ...]
    ) -> ProjectSpec:
        files: list[str] = []
        trees: list[str] = []
        for extra in as_list(options.get("extra-config-paths")):
            if extra in STANDARD_PATHS or extra.rstrip("/") + "/" in STANDARD_PATHS:
                raise Located(f"The path {extra} is read anyway", path=(*path, "extra-config-paths"), mend="Remove it.")
            (trees if extra.endswith("/") else files).append(extra)
        patterns = {
            key: tuple(as_list(options[key])) if options.get(key) is not None else None
            for key in ("include-branches", "exclude-branches", "always-dynamic-branches", "configure-projects")
        }
        for key, values in patterns.items():
            for pattern in values or ():
                try:
                    re.compile(pattern)
                except re.error as problem:
                    raise Located(f"Invalid regular expression {pattern!r}: {problem}", path=(*path, key)) from None
        return ProjectSpec(
            connection=connection,
            name=name,
            canonical_name=f"{self.connections[connection].canonical_hostname}/{name}",
            trusted=trusted,
            classes=_classes(options, trusted),
            shadow=tuple(as_list(options.get("shadow"))),
            load_branch=options.get("load-branch", "master"),
            exclude_unprotected_branches=options.get("exclude-unprotected-branches"),
            exclude_locked_branches=options.get("exclude-locked-branches"),
            include_branches=patterns["include-branches"],
            exclude_branches=patterns["exclude-branches"],
            always_dynamic_branches=patterns["always-dynamic-branches"],
            implied_branch_matchers=options.get("implied-branch-matchers"),
            extra_config_files=tuple(files),
            extra_config_dirs=tuple(trees),
            configure_projects=() if trusted else patterns["configure-projects"] or (),
            allow_base_jobs=bool(options.get("allow-base-jobs", True)) if trusted else False,
            allow_reporter_jobs=True if trusted else bool(options.get("allow-reporter-jobs", False)),
        )


_PLAIN_KEYS = (
    "name",
    "max_changes_per_pipeline",
    "max_dependencies",
    "max_nodes_per_job",
    "max_job_timeout",
    "max_oidc_ttl",
    "default_oidc_ttl",
    "exclude_unprotected_branches",
    "exclude_locked_branches",
    "default_parent",
    "web_root",
    "anonymous_read_access",
    "authentication_realm",
    "use_nodepool",
)
_TUPLE_KEYS = (
    "allowed_oidc_issuers",
    "allowed_triggers",
    "allowed_reporters",
    "admin_rules",
    "access_rules",
    "semaphores",
)


def _classes(options: Mapping[str, Any], trusted: bool) -> frozenset[str]:
    """include, then include-provider-config, then exclude; untrusted projects never load pipelines."""
    if "include" in options:
        chosen = frozenset(as_list(options["include"]))
    else:
        chosen = BASE_CLASSES | PROVIDER_CLASSES if trusted else UNTRUSTED_CLASSES
    if options.get("include-provider-config"):
        chosen |= PROVIDER_CLASSES
    return chosen - frozenset(as_list(options.get("exclude")))
