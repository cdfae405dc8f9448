"""A job in the making: the first definition as it is, each further variant applied over what stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from trunkline.config.definitions import JobDef, NodesetDef, PlaybookUse, SecretDef
from trunkline.config.errors import Refused
from trunkline.config.frozen import (
    AppliedVariant,
    FrozenPlaybook,
    FrozenRole,
    IncludeVars,
    JobSemaphore,
    RequiredProject,
    SecretRef,
)
from trunkline.config.merging import deep_merge, union
from trunkline.config.tenant_model import ProjectSpec

EXECUTION_ATTRIBUTES = frozenset(
    {
        "timeout",
        "pre-timeout",
        "post-timeout",
        "vars",
        "extra-vars",
        "host-vars",
        "group-vars",
        "include-vars",
        "nodeset",
        "pre-run",
        "run",
        "post-run",
        "cleanup-run",
        "ansible-version",
        "ansible-split-streams",
        "semaphores",
        "attempts",
        "roles",
        "required-projects",
        "include-projects",
        "exclude-projects",
        "allowed-projects",
        "override-checkout",
        "override-branch",
        "post-review",
        "workspace-scheme",
        "workspace-checkout",
        "failure-output",
        "image-build-name",
        "type",
        "preserve-home-paths",
        "secret-exposure",
    }
)
_REPLACED = (
    "type",
    "timeout",
    "pre-timeout",
    "post-timeout",
    "attempts",
    "voting",
    "hold-following-changes",
    "success-message",
    "failure-message",
    "override-checkout",
    "override-branch",
    "ansible-version",
    "ansible-split-streams",
    "workspace-scheme",
    "workspace-checkout",
    "match-on-config-updates",
    "deduplicate",
    "image-build-name",
)
_UNITED = ("tags", "provides", "requires", "failure-output")
_REPLACED_OR_UNITED = ("dependencies", "files", "irrelevant-files")
_MERGED = ("vars", "extra-vars", "host-vars", "group-vars")


class Lookup(Protocol):
    """What a job in the making asks of the layout."""

    def kept(self, kind: str, name: str) -> tuple[Any, ...]: ...
    def spec(self, canonical_name: str) -> ProjectSpec: ...
    def resolve(self, name: str) -> str: ...
    def find_project(self, name: str) -> str | None: ...
    def default_branch(self, canonical_name: str) -> str: ...


class JobState:
    """Mutable while variants are applied; `graph` freezes it."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.name = ""
        self.values: dict[str, Any] = {}
        self.final = self.abstract = self.intermediate = False
        self.protected: bool | None = None
        self.protected_by = ""
        self.post_review: bool | None = None
        self.final_attributes: frozenset[str] = frozenset()
        self.description: str | None = None
        self.nodeset: str | NodesetDef | None = None
        self.semaphores: tuple[JobSemaphore, ...] = ()
        self.allowed_projects: frozenset[str] | None = None
        self.roles: tuple[FrozenRole, ...] = ()
        self.home_paths: tuple[str, ...] = ()
        self.pre: tuple[FrozenPlaybook, ...] = ()
        self.run: tuple[FrozenPlaybook, ...] = ()
        self.post: tuple[FrozenPlaybook, ...] = ()
        self.cleanup: tuple[FrozenPlaybook, ...] = ()
        self.required: dict[str, RequiredProject] = {}
        self.include_projects: tuple[str, ...] | None = None
        self.exclude_projects: tuple[str, ...] | None = None
        self.include_vars: tuple[IncludeVars, ...] = ()
        self.applied: list[AppliedVariant] = []

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def apply(self, variant: JobDef, branches: str = "") -> None:
        """Put one more definition over what stands. Raises Refused where what stands forbids it."""
        is_base = not self.applied
        level = len(self.applied)
        if not is_base:
            self._permit(variant)
        self._flags(variant, is_base)
        attrs, how = variant.attrs, variant.how
        for key in _REPLACED:
            if attrs.get(key) is not None:
                self.values[key] = attrs[key]
        self._roles(variant)
        if "preserve-home-paths" in attrs:
            self.home_paths = tuple(sorted({*self.home_paths, *attrs["preserve-home-paths"]}))
        if "nodeset" in attrs:
            self.nodeset = attrs["nodeset"]
        self._exposure(attrs)
        secrets = self._secrets(variant)
        self._playbooks(variant, secrets, level)
        for key in _MERGED:
            if key in attrs:
                standing = {} if how.get(key) == "override" else self.values.get(key, {})
                self.values[key] = deep_merge(standing, attrs[key])
        self._projects(variant)
        self._include_vars(variant)
        self._semaphores(variant)
        for key in _UNITED:
            if key in attrs:
                standing = () if how.get(key) == "override" else self.values.get(key, ())
                self.values[key] = tuple(sorted({*standing, *attrs[key]}))
        for key in _REPLACED_OR_UNITED:
            if key in attrs:
                standing = self.values.get(key, ()) if how.get(key) == "inherit" else ()
                self.values[key] = union(standing, attrs[key])
        self.final_attributes |= attrs.get("attribute-control", frozenset())
        self.name = variant.name
        self.applied.append(AppliedVariant(variant.name, str(variant.source), variant.place.line, branches))

    def _permit(self, variant: JobDef) -> None:
        set_here = [k for k in variant.attrs if k in EXECUTION_ATTRIBUTES]
        if not variant.in_project and "roles" not in set_here:
            set_here.append("roles")
        by = f"{variant.name} in {variant.source}, line {variant.place.line}"
        if self.final and set_here:
            raise Refused(f'The job "{self.name}" is final and cannot be changed: {by} sets {set_here[0]}')
        if self.protected and set_here and variant.source.key[0] != self.protected_by:
            raise Refused(f'The job "{self.name}" is protected; {by} lies in another project and sets {set_here[0]}')
        for key in variant.attrs:
            if key in self.final_attributes:
                raise Refused(f'The attribute {key} of the job "{self.name}" is final: {by} sets it')

    def _flags(self, variant: JobDef, is_base: bool) -> None:
        attrs = variant.attrs
        is_child = not is_base and variant.name != self.name
        if is_child and self.intermediate and not attrs.get("abstract"):
            raise Refused(
                f'The job "{self.name}" is intermediate: only abstract jobs may inherit from it, "{variant.name}" is not'
            )
        if "final" in attrs:
            self.final = bool(attrs["final"])
        if is_child:
            self.abstract, self.intermediate = bool(attrs.get("abstract")), bool(attrs.get("intermediate"))
        else:
            self.abstract |= bool(attrs.get("abstract"))
            self.intermediate |= bool(attrs.get("intermediate"))
        if attrs.get("protected") is False and self.protected:
            raise Refused(f'The job "{self.name}" is protected, which cannot be taken back')
        if attrs.get("protected"):
            if not self.protected:
                self.protected_by = variant.source.key[0]
            self.protected = True
        if attrs.get("post-review"):
            self.post_review = True
        if is_base or is_child or "description" in attrs:
            self.description = attrs.get("description")
        if "allowed-projects" in attrs:
            self._allow({self.lookup.spec(self.lookup.resolve(n)).name for n in attrs["allowed-projects"]})

    def _allow(self, names: set[str]) -> None:
        self.allowed_projects = frozenset(names) if self.allowed_projects is None else self.allowed_projects & names

    def _exposure(self, attrs: Mapping[str, Any]) -> None:
        wanted = attrs.get("secret-exposure")
        if wanted is None:
            return
        standing = self.values.get("secret-exposure")
        if standing is not None and standing != wanted:
            raise Refused(f'secret-exposure of the job "{self.name}" is {standing} and cannot be changed')
        self.values["secret-exposure"] = wanted

    def _roles(self, variant: JobDef) -> None:
        """New roles go in front. One that is written replaces an implicit one of the same project and name."""
        written = []
        for use in variant.attrs.get("roles") or ():
            canonical = self.lookup.find_project(use.project) if use.type == "zuul" else None
            if canonical is not None:
                written.append(self._role(canonical, use.name, implicit=False))
        if not variant.in_project and variant.source.key[0] in self._specs():
            own = self._role(variant.source.key[0], None, implicit=True)
            if not any(_same_role(own, role) for role in written):
                written.insert(0, own)
        standing = [next((w for w in written if _same_role(r, w) and r.implicit), r) for r in self.roles]
        fresh = [w for w in written if not any(_same_role(w, r) for r in standing)]
        self.roles = (*fresh, *standing)

    def _specs(self) -> Mapping[str, Any]:
        return self.lookup.roster.specs  # type: ignore[attr-defined, no-any-return]

    def _role(self, canonical: str, name: str | None, implicit: bool) -> FrozenRole:
        spec = self.lookup.spec(canonical)
        return FrozenRole(
            connection=spec.connection,
            project=spec.name,
            canonical_name=canonical,
            target_name=name or _default_role_name(spec.name),
            name=name,
            implicit=implicit,
            project_default_branch=self.lookup.default_branch(canonical),
        )

    def _secrets(self, variant: JobDef) -> tuple[SecretRef, ...]:
        uses = variant.attrs.get("secrets") or ()
        if not uses:
            return ()
        owner = variant.source.key[0]
        passed, refs = [], []
        for use in uses:
            found: tuple[SecretDef, ...] = self.lookup.kept("secret", use.secret)
            if not found:
                raise Refused(f'The secret "{use.secret}" was not found')
            secret = found[0]
            if secret.source.key[0] != owner:
                raise Refused(
                    f'The secret "{use.secret}" belongs to {secret.source.project} and cannot be used in {variant.source}'
                )
            refs.append(_secret_ref(use.alias, secret))
            if use.pass_to_parent:
                passed.append(refs[-1])
        if not variant.source.trusted:
            self.post_review = True
            self._allow({variant.source.project})
        if passed:
            self._pass_to_parent(tuple(passed))
        return tuple(refs)

    def _pass_to_parent(self, passed: tuple[SecretRef, ...]) -> None:
        if any(not p.trusted for p in (*self.pre, *self.run, *self.post, *self.cleanup)):
            self.post_review = True
        self.pre, self.run = _with_secrets(self.pre, passed), _with_secrets(self.run, passed)
        self.post, self.cleanup = _with_secrets(self.post, passed), _with_secrets(self.cleanup, passed)

    def _playbooks(self, variant: JobDef, secrets: tuple[SecretRef, ...], level: int) -> None:
        attrs, source = variant.attrs, variant.source

        def bind(use: PlaybookUse, cleanup: bool = False) -> FrozenPlaybook:
            return FrozenPlaybook(
                connection=source.connection,
                project=source.project,
                canonical_name=source.key[0],
                branch=source.branch,
                trusted=source.trusted,
                path=use.path,
                roles=self.roles,
                secrets=secrets,
                semaphores=use.semaphores,
                cleanup=use.cleanup or cleanup,
                nesting_level=level,
                preserve_home_paths=self.home_paths,
                ignore_result=cleanup,
            )

        self.pre = (*self.pre, *(bind(u) for u in attrs.get("pre-run") or ()))
        if attrs.get("run"):
            self.run = tuple(bind(u) for u in attrs["run"])
        self.post = (*(bind(u) for u in attrs.get("post-run") or ()), *self.post)
        self.cleanup = (*(bind(u, True) for u in attrs.get("cleanup-run") or ()), *self.cleanup)

    def _projects(self, variant: JobDef) -> None:
        attrs, how = variant.attrs, variant.how
        if "required-projects" in attrs:
            if how.get("required-projects") == "override":
                self.required = {}
            for use in attrs["required-projects"]:
                canonical = self.lookup.resolve(use.name)
                spec = self.lookup.spec(canonical)
                self.required[canonical] = RequiredProject(
                    spec.connection,
                    spec.name,
                    canonical,
                    use.override_branch,
                    use.override_checkout,
                    self.lookup.default_branch(canonical),
                )
        for key in ("include-projects", "exclude-projects"):
            if key not in attrs:
                continue
            slot = key.replace("-", "_")
            standing = None if how.get(key) == "override" else getattr(self, slot)
            if attrs[key] is None:
                setattr(self, slot, standing)
                continue
            new = [self.lookup.resolve(n) if kind == "name" else f":{kind}" for kind, n in attrs[key]]
            setattr(self, slot, tuple(sorted({*(standing or ()), *new})))

    def _include_vars(self, variant: JobDef) -> None:
        if "include-vars" not in variant.attrs:
            return
        if variant.how.get("include-vars") == "override":
            self.include_vars = ()
        source = variant.source
        for use in variant.attrs["include-vars"]:
            if use.zuul_project:
                made = IncludeVars(use.name, required=use.required, use_ref=use.use_ref)
            elif use.project is not None:
                canonical = self.lookup.resolve(use.project)
                spec = self.lookup.spec(canonical)
                made = IncludeVars(
                    use.name, spec.connection, spec.name, canonical, None, spec.trusted, use.required, use.use_ref
                )
            else:
                made = IncludeVars(
                    use.name, source.connection, source.project, source.key[0], source.branch, source.trusted,
                    use.required, use.use_ref,
                )  # fmt: skip
            if made not in self.include_vars:
                self.include_vars = (*self.include_vars, made)

    def _semaphores(self, variant: JobDef) -> None:
        if "semaphores" in variant.attrs:
            merged = {s.name: s for s in (*self.semaphores, *variant.attrs["semaphores"])}
            self.semaphores = tuple(merged[n] for n in sorted(merged))
        if not self.semaphores:
            return
        own = {s.name for s in self.semaphores}
        for playbook in (*self.pre, *self.run, *self.post, *self.cleanup):
            both = own & set(playbook.semaphores)
            if both:
                raise Refused(
                    f'The semaphore "{min(both)}" is taken by the job "{variant.name}" and by its playbook {playbook.path}'
                )


def _same_role(one: FrozenRole, other: FrozenRole) -> bool:
    return one.canonical_name == other.canonical_name and one.target_name == other.target_name


def _default_role_name(project: str) -> str:
    """The last part of the project's name without the usual prefixes of repositories that hold a role."""
    name = project.rsplit("/", 1)[-1]
    for prefix in ("ansible-role-", "ansible-", "role-"):
        if name.startswith(prefix) and name != prefix:
            return name[len(prefix) :]
    return name


def _secret_ref(alias: str, secret: SecretDef) -> SecretRef:
    source = secret.source
    oidc = dict(secret.oidc or {}) if secret.has_oidc else None
    return SecretRef(
        alias, secret.name, source.connection, source.project, source.key[0], source.branch, secret.data, oidc
    )


def _with_secrets(playbooks: tuple[FrozenPlaybook, ...], passed: tuple[SecretRef, ...]) -> tuple[FrozenPlaybook, ...]:
    out = []
    for playbook in playbooks:
        have = {s.alias for s in playbook.secrets}
        new = tuple(s for s in passed if s.alias not in have)
        out.append(msgspec.structs.replace(playbook, secrets=(*playbook.secrets, *new)) if new else playbook)
    return tuple(out)
