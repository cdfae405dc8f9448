"""From the checked body of a job to a JobDef: one small reader an attribute, no names resolved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from trunkline.config.definitions import (
    JobDef,
    Place,
    PlaybookUse,
    Pragma,
    ProjectUse,
    RoleUse,
    SecretUse,
    VarsUse,
)
from trunkline.config.errors import ConfigError, Refused, Severity
from trunkline.config.frozen import Dependency, JobSemaphore
from trunkline.config.read_nodeset import read_nodeset
from trunkline.config.regex import DEPRECATION, re2_only, regexes_of
from trunkline.config.syntax import Encrypted, Tagged

ANSIBLE_VERSIONS = ("9", "11")
RESERVED_NAMES = frozenset({"zuul", "zuul_node", "nodepool", "unsafe_vars", "zuul_user_dir"})
RESERVED_ANSIBLE_NAMES = frozenset(
    {"ansible_connection", "ansible_host", "ansible_python_interpreter", "ansible_shell_executable", "ansible_user"}
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_IGNORED = {"success-url", "failure-url", "variant-description", "parent", "branches", "name"}
_UNSAFE_HOME_PATHS = {".ssh/config", ".kube/config"}
CLEANUP_DEPRECATION = "Cleanup Run Deprecation"


def as_list(value: Any) -> list[Any]:
    """A list attribute as a list: it takes a bare scalar too."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def check_variable_name(name: Any, *, path: tuple[Any, ...], reserved: frozenset[str]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        mend = "A name of a variable begins with a letter and holds letters, digits and underscores."
        raise Located(f'"{name}" is not a name of a variable', path=path, mend=mend)
    if name in reserved:
        raise Located(f'The name of the variable "{name}" is reserved', path=path, mend="Choose another name.")


class Located(Refused):
    """A refusal whose place is a path below the object."""

    def __init__(self, short: str, *, path: tuple[Any, ...] = (), name: str = "Unknown", mend: str = "") -> None:
        super().__init__(short, name=name, mend=mend)
        self.path = path


ALL_RESERVED = RESERVED_NAMES | RESERVED_ANSIBLE_NAMES


def check_variables(value: Mapping[str, Any], path: tuple[Any, ...], reserved: frozenset[str] = ALL_RESERVED) -> None:
    for name in value:
        check_variable_name(name, path=(*path, name), reserved=reserved)


def without_encryption(value: Any, path: tuple[Any, ...]) -> None:
    """Encrypted leaves belong into secrets alone."""
    if isinstance(value, Encrypted):
        raise Located("An encrypted value may only stand in a secret", path=path, mend="Move it into a secret.")
    if isinstance(value, dict):
        for key, item in value.items():
            without_encryption(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            without_encryption(item, (*path, index))


def _playbooks(value: Any) -> tuple[PlaybookUse, ...]:
    out = []
    for entry in as_list(value):
        if isinstance(entry, str):
            out.append(PlaybookUse(entry))
        else:
            names = tuple(sorted(as_list(entry.get("semaphores"))))
            out.append(PlaybookUse(entry["name"], names, bool(entry.get("cleanup", False))))
    return tuple(out)


def _semaphores(value: Any) -> tuple[JobSemaphore, ...]:
    found = [
        JobSemaphore(e) if isinstance(e, str) else JobSemaphore(e["name"], bool(e.get("resources-first", False)))
        for e in as_list(value)
    ]
    return tuple(sorted(found, key=lambda s: s.name))


def _secrets(value: Any) -> tuple[SecretUse, ...]:
    out: list[SecretUse] = []
    for index, entry in enumerate(as_list(value)):
        use = (
            SecretUse(entry, entry)
            if isinstance(entry, str)
            else SecretUse(entry["name"], entry["secret"], bool(entry.get("pass-to-parent", False)))
        )
        if use.alias in ("zuul", "nodepool", "zuul_node", "unsafe_vars", "zuul_user_dir") or use.alias in ALL_RESERVED:
            raise Located(
                f'Secrets named "{use.alias}" are not allowed', path=("secrets", index), mend="Give it another alias."
            )
        if not _NAME.fullmatch(use.alias.replace("-", "_")):
            raise Located(f'"{use.alias}" is not a name of a variable', path=("secrets", index))
        out.append(use)
    return tuple(out)


def _roles(value: Any) -> tuple[RoleUse, ...]:
    return tuple(
        RoleUse("zuul", e["zuul"], e.get("name")) if "zuul" in e else RoleUse("galaxy", e["galaxy"], e.get("name"))
        for e in as_list(value)
    )


def _required_projects(value: Any) -> tuple[ProjectUse, ...]:
    return tuple(
        ProjectUse(e)
        if isinstance(e, str)
        else ProjectUse(e["name"], e.get("override-checkout"), e.get("override-branch"))
        for e in as_list(value)
    )


def _project_filter(value: Any) -> tuple[tuple[str, str | None], ...] | None:
    """(type, name) pairs; None for an explicit null."""
    if value is None:
        return None
    return tuple(("name", e) if isinstance(e, str) else (e["type"], e.get("name")) for e in as_list(value))


def _include_vars(value: Any) -> tuple[VarsUse, ...]:
    return tuple(
        VarsUse(e)
        if isinstance(e, str)
        else VarsUse(
            e["name"],
            e.get("project"),
            bool(e.get("zuul-project", False)),
            bool(e.get("required", True)),
            bool(e.get("use-ref", True)),
        )
        for e in as_list(value)
    )


def _dependencies(value: Any) -> tuple[Dependency, ...]:
    return tuple(
        Dependency(e) if isinstance(e, str) else Dependency(e["name"], bool(e.get("soft", False)))
        for e in as_list(value)
    )


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(as_list(value))


def _failure_output(value: Any) -> tuple[str, ...]:
    for index, pattern in enumerate(as_list(value)):
        try:
            re2_only(pattern)
        except Refused as problem:
            raise Located(problem.short, path=("failure-output", index)) from None
    return tuple(as_list(value))


def _variables(value: Any) -> Mapping[str, Any]:
    return value or {}


def _ansible_version(value: Any) -> str:
    version = str(value)
    if version not in ANSIBLE_VERSIONS:
        mend = f"Known versions are {', '.join(ANSIBLE_VERSIONS)}."
        raise Located(f"Ansible version {version} is not supported", path=("ansible-version",), mend=mend)
    return version


def _home_paths(value: Any) -> tuple[str, ...]:
    for path in as_list(value):
        if path in _UNSAFE_HOME_PATHS:
            raise Located(f"The path {path} cannot be preserved", path=("preserve-home-paths",))
    return tuple(as_list(value))


def _post_review(value: Any) -> bool:
    if value is not True:
        raise Located(
            "post-review can only be set, not taken back", path=("post-review",), mend="Remove the attribute."
        )
    return True


def _attribute_control(value: Any) -> frozenset[str]:
    return frozenset(k for k, v in value.items() if v.get("final"))


READERS: dict[str, Callable[[Any], Any]] = {
    "semaphores": _semaphores,
    "tags": _strings,
    "provides": _strings,
    "requires": _strings,
    "secrets": _secrets,
    "pre-run": _playbooks,
    "run": _playbooks,
    "post-run": _playbooks,
    "cleanup-run": _playbooks,
    "roles": _roles,
    "required-projects": _required_projects,
    "include-projects": _project_filter,
    "exclude-projects": _project_filter,
    "vars": _variables,
    "extra-vars": _variables,
    "host-vars": _variables,
    "group-vars": _variables,
    "include-vars": _include_vars,
    "dependencies": _dependencies,
    "allowed-projects": _strings,
    "failure-output": _failure_output,
    "ansible-version": _ansible_version,
    "preserve-home-paths": _home_paths,
    "post-review": _post_review,
    "attribute-control": _attribute_control,
}
_ALIASES = {"semaphore": "semaphores"}


def _check_timeouts(body: Mapping[str, Any]) -> None:
    pre, timeout = body.get("pre-timeout"), body.get("timeout")
    if pre is not None and timeout is not None and pre > timeout:
        raise Located(
            f"The pre-timeout of {pre} seconds exceeds the timeout of {timeout}",
            path=("pre-timeout",),
            name="Pre-Timeout Exceeds Timeout",
            mend="Lower pre-timeout: it counts inside timeout.",
        )


def _check_all_variables(attrs: Mapping[str, Any]) -> None:
    for key in ("vars", "extra-vars"):
        if attrs.get(key):
            check_variables(attrs[key], (key,))
            without_encryption(attrs[key], (key,))
    for key in ("host-vars", "group-vars"):
        for host, variables in (attrs.get(key) or {}).items():
            check_variables(variables, (key, host))
            without_encryption(variables, (key, host))


def read_job(
    name: str,
    body: Mapping[str, Any],
    place: Place,
    pragma: Pragma,
    warn: Callable[[ConfigError], None],
    *,
    path: tuple[Any, ...] = (),
    in_project: bool = False,
) -> JobDef:
    """A job from a body that has passed its schema. `path` leads from the object to the body (entries of projects)."""
    attrs: dict[str, Any] = {}
    how: dict[str, str] = {}

    def deprecated(key: str) -> Callable[[str], None]:
        return lambda text: warn(place.error(text, path=(*path, key), name=DEPRECATION, severity=Severity.WARNING))

    _check_timeouts(body)
    if body.get("intermediate") and not body.get("abstract"):
        raise Located("An intermediate job must be abstract too", path=("intermediate",), mend="Add `abstract: true`.")
    branches = None
    for written, given in body.items():
        try:
            if written == "branches":
                branches = regexes_of(given, deprecated("branches")) or None
            if written in _IGNORED:
                continue
            key, value = _ALIASES.get(written, written), given
            if isinstance(value, Tagged):
                how[key] = value.how
                value = value.value
            if key in ("files", "irrelevant-files"):
                attrs[key] = regexes_of(value, deprecated(key))
            elif key == "nodeset" and not isinstance(value, str):
                attrs[key] = read_nodeset("", value, place, path=(*path, "nodeset"))
            else:
                reader = READERS.get(key)
                attrs[key] = reader(value) if reader else value
        except Refused as problem:
            if isinstance(problem, Located) or problem.at is not None:
                raise
            raise Located(problem.short, path=(written,), name=problem.name, mend=problem.mend) from None
    _check_all_variables(attrs)
    if body.get("cleanup-run"):
        warn(
            place.error(
                "cleanup-run is deprecated",
                path=(*path, "cleanup-run"),
                name=CLEANUP_DEPRECATION,
                severity=Severity.WARNING,
                mend="Use post-run with `cleanup: true`.",
            )
        )
    return JobDef(
        name=name,
        place=place,
        attrs=attrs,
        how=how,
        has_parent="parent" in body,
        parent=body.get("parent"),
        branches=branches,
        pragma=pragma,
        in_project=in_project,
    )
