"""Which definitions of one name a tenant takes: trust, limits, and who may define what a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from trunkline.config.definitions import (
    Definition,
    JobDef,
    NodesetDef,
    PipelineDef,
    Place,
    ProjectDef,
    ProviderObject,
    QueueDef,
    SecretDef,
    SemaphoreDef,
)
from trunkline.config.errors import ConfigError, Severity, did_you_mean
from trunkline.config.index import Key
from trunkline.config.pipeline import Pipeline
from trunkline.config.read_pipeline import read_pipeline
from trunkline.config.tenant_model import ConnectionSpec, ProjectSpec, TenantSpec


class World(Protocol):
    """What admission asks of a layout."""

    tenant: TenantSpec
    connections: Mapping[str, ConnectionSpec] | None

    def spec(self, canonical_name: str) -> ProjectSpec: ...
    def resolve(self, name: str) -> str: ...
    def unknown_project(self, name: str) -> str | None: ...
    def project_names(self) -> list[str]: ...


Rule = Callable[["World", list[Any], Any], bool | ConfigError]
Admitted = tuple[tuple[Any, ...], tuple[ConfigError, ...]]


def admit(world: World, key: Key, definitions: tuple[Definition, ...]) -> Admitted:
    """The definitions of a group that count, in order, and the complaints about the others."""
    kind = key[0]
    kept: list[Any] = []
    errors: list[ConfigError] = []
    for definition in definitions:
        problems = list(_own_problems(world, definition))
        errors.extend(problems)
        if any(p.severity is Severity.ERROR for p in problems):
            continue
        rule: Rule = _UNIQUENESS.get(kind, _only_once)
        outcome = rule(world, kept, definition)
        if isinstance(outcome, ConfigError):
            errors.append(outcome)
        elif outcome:
            kept.append(definition)
    return tuple(kept), tuple(errors)


def _also(prior: Definition) -> str:
    return f"It is defined in {prior.source}, line {prior.place.line}."


def _job_rule(world: World, kept: list[Any], job: Definition) -> bool | ConfigError:
    foreign = [p for p in kept if p.source.key[0] != job.source.key[0]]
    if not foreign:
        return True
    shadowed = {world.resolve(s) for s in world.spec(job.source.key[0]).shadow if world.unknown_project(s) is None}
    blocking = [p for p in foreign if p.source.key[0] not in shadowed]
    if not blocking:
        return False
    prior = blocking[0]
    short = f'The job "{job.name}" is already defined in the project {prior.source.project} and may not be shadowed'
    mend = f"{_also(prior)} Rename the job, or let the tenant file say that {job.source.project} shadows it."
    return job.place.error(short, path=("name",), mend=mend)


def _template_rule(world: World, kept: list[Any], template: Definition) -> bool | ConfigError:
    if not kept or kept[0].source.key[0] == template.source.key[0]:
        return True
    short = f'The project template "{template.name}" is already defined in another project'
    return template.place.error(short, path=("name",), mend=f"{_also(kept[0])} Rename it.")


def _identical_elsewhere(world: World, kept: list[Any], definition: Any) -> bool | ConfigError:
    if not kept:
        return True
    prior = kept[0]
    what = definition.place.kind
    if prior.source.key[0] != definition.source.key[0]:
        short = f'The {what} "{definition.name}" is already defined in the project {prior.source.project}'
    elif prior.source.branch == definition.source.branch:
        short = f'The {what} "{definition.name}" is already defined'
    elif prior.content != definition.content:
        short = f'The {what} "{definition.name}" differs from the one on the branch {prior.source.branch}'
    else:
        return False
    place: Place = definition.place
    return place.error(short, path=("name",), mend=f"{_also(prior)} Keep one, or make them equal.")


def _only_once(world: World, kept: list[Any], definition: Definition) -> bool | ConfigError:
    if not kept:
        return True
    short = f'The {definition.place.kind} "{definition.name}" is already defined'
    return definition.place.error(short, path=("name",), mend=f"{_also(kept[0])} Rename it.")


def _always(world: World, kept: list[Any], definition: Definition) -> bool:
    return True


_UNIQUENESS: dict[str, Callable[[World, list[Any], Any], bool | ConfigError]] = {
    "job": _job_rule,
    "project": _always,
    "project-regex": _always,
    "project-template": _template_rule,
    "pipeline": _only_once,
    **dict.fromkeys(
        ("nodeset", "secret", "semaphore", "queue", "image", "flavor", "label", "section", "provider"),
        _identical_elsewhere,
    ),
}


def _own_problems(world: World, definition: Definition) -> Iterator[ConfigError]:
    match definition:
        case JobDef():
            yield from _job_problems(world, definition)
        case NodesetDef():
            yield from nodeset_problems(world, definition, definition, ())
        case ProjectDef():
            yield from _stanza_problems(world, definition)
        case SemaphoreDef():
            if definition.name in world.tenant.global_semaphores:
                yield definition.place.error(
                    f'The semaphore "{definition.name}" shadows a global semaphore and is ignored',
                    path=("name",),
                    mend="Rename it, or remove it here.",
                )
        case SecretDef():
            yield from _secret_problems(world, definition)
        case PipelineDef():
            yield from admitted_pipeline(world, definition)[1]
        case QueueDef() | ProviderObject():
            return


def _job_problems(world: World, job: JobDef) -> Iterator[ConfigError]:
    spec = world.spec(job.source.key[0])
    if job.is_base and not spec.allow_base_jobs:
        yield job.place.error(
            f'The project {spec.name} may not define the base job "{job.name}"',
            path=("parent",),
            name="Base Job Not Permitted",
            mend="Name a parent, or remove `parent:` to use the tenant's default.",
        )
    yield from job_limits(world, job, ())


def job_limits(world: World, job: JobDef, path: tuple[Any, ...]) -> Iterator[ConfigError]:
    """Limits of the tenant on a job, or an entry of a project at `path`."""
    most = world.tenant.max_job_timeout
    for key in ("timeout", "pre-timeout", "post-timeout"):
        value = job.attrs.get(key)
        if most != -1 and value is not None and value > most:
            yield job.place.error(
                f'The {key} of the job "{job.name}", {value} seconds, exceeds the tenant\'s maximum of {most}',
                path=(*path, key),
                name="Max Timeout Exceeded",
                mend=f"Lower it to {most} or less.",
            )
            return
    nodeset = job.attrs.get("nodeset")
    if isinstance(nodeset, NodesetDef):
        yield from nodeset_problems(world, nodeset, job, (*path, "nodeset"))


def nodeset_problems(
    world: World, nodeset: NodesetDef, owner: Definition, path: tuple[Any, ...]
) -> Iterator[ConfigError]:
    """Limits of the tenant on a nodeset and its inline alternatives; the first problem only."""
    tenant = world.tenant
    if tenant.use_nodepool:
        for index, node in enumerate(nodeset.nodes):
            allowed = tenant.allowed_labels is None or any(r.matches(node.label) for r in tenant.allowed_labels)
            if not allowed or any(r.matches(node.label) for r in tenant.disallowed_labels or ()):
                yield owner.place.error(
                    f'The label "{node.label}" is not allowed in this tenant',
                    path=(*path, "nodes", index, "label"),
                    name="Label Forbidden",
                    mend="Use a label that the tenant allows.",
                )
                return
    for index, alternative in enumerate(nodeset.alternatives):
        if isinstance(alternative, NodesetDef):
            found = list(nodeset_problems(world, alternative, owner, (*path, "alternatives", index)))
            if found:
                yield found[0]
                return


def _stanza_problems(world: World, stanza: ProjectDef) -> Iterator[ConfigError]:
    if not stanza.is_template:
        problem = _name_problem(world, stanza)
        if problem is not None:
            yield problem
            return
    for pipeline in stanza.pipelines.values():
        for entry in pipeline.jobs:
            found = list(job_limits(world, entry.job, entry.path))
            if found:
                yield found[0]
                return


def _name_problem(world: World, stanza: ProjectDef) -> ConfigError | None:
    spec = world.spec(stanza.source.key[0])
    if stanza.is_regex:
        if spec.trusted or spec.configure_projects:
            return None
        short = f"The project {spec.name} may not configure other projects by a regular expression"
        return stanza.place.error(short, path=("name",), name="Project Forbidden", mend="Move it to a config project.")
    unknown = world.unknown_project(stanza.name)
    if unknown is not None:
        mend = did_you_mean(stanza.name, world.project_names())
        return stanza.place.error(unknown, path=("name",), name="Project Not Found", mend=mend)
    target = world.resolve(stanza.name)
    if spec.trusted or target == spec.canonical_name:
        return None
    if spec.may_configure(target, world.spec(target).name):
        return None
    short = f"The project {spec.name} may only configure itself, not {stanza.name}"
    mend = "Remove `name:`, or move the stanza to a config project."
    return stanza.place.error(short, path=("name",), name="Project Forbidden", mend=mend)


def _secret_problems(world: World, secret: SecretDef) -> Iterator[ConfigError]:
    oidc = secret.oidc or {}
    ttl, issuer = oidc.get("ttl"), oidc.get("iss")
    most = world.tenant.max_oidc_ttl
    if ttl is not None and most != -1 and ttl > most:
        short = f'The ttl of the secret "{secret.name}", {ttl} seconds, exceeds the maximum of {most}'
        yield secret.place.error(short, path=("oidc", "ttl"), name="Max OIDC TTL Exceeded", mend=f"Lower it to {most}.")
    elif issuer is not None and issuer not in world.tenant.allowed_oidc_issuers:
        short = f'The tenant does not allow the issuer "{issuer}"'
        mend = did_you_mean(issuer, world.tenant.allowed_oidc_issuers)
        yield secret.place.error(short, path=("oidc", "iss"), name="OIDC issuer not allowed", mend=mend)


def admitted_pipeline(world: World, definition: PipelineDef) -> tuple[Pipeline | None, tuple[ConfigError, ...]]:
    """The pipeline of a definition with its errors and warnings; None if it has errors."""
    return read_pipeline(definition, world.tenant, world.connections)
