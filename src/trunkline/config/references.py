"""Names that definitions use: do they exist, and may they be used here? One complaint a definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from trunkline.config.definitions import Definition, JobDef, NodesetDef, PipelineDef, ProjectDef, ProviderObject
from trunkline.config.errors import ConfigError, Refused, did_you_mean
from trunkline.config.fragment import check_shape
from trunkline.config.index import Key
from trunkline.config.nodesets import alternatives_of
from trunkline.config.provider_schema import DRIVERS
from trunkline.config.read_job import Located
from trunkline.config.tenant_model import ConnectionSpec, ProjectSpec, TenantSpec


class Names(Protocol):
    """What the checks ask of a layout."""

    tenant: TenantSpec
    connections: Mapping[str, ConnectionSpec] | None

    def kept(self, kind: str, name: str) -> tuple[Any, ...]: ...
    def names(self, kind: str) -> list[str]: ...
    def spec(self, canonical_name: str) -> ProjectSpec: ...
    def resolve(self, name: str) -> str: ...
    def unknown_project(self, name: str) -> str | None: ...
    def project_names(self) -> list[str]: ...


def references_of(definition: Definition, default_parent: str) -> Iterator[Key]:
    """The groups whose change may make a definition right or wrong."""
    match definition:
        case JobDef():
            yield from _job_references(definition, default_parent)
        case NodesetDef():
            yield from _nodeset_references(definition)
        case ProjectDef():
            for template in definition.templates:
                yield ("project-template", template)
            for pipeline in definition.pipelines.values():
                for entry in pipeline.jobs:
                    yield ("job", entry.name)
                    yield from _job_references(entry.job, default_parent)
        case PipelineDef():
            supercedes = definition.body.get("supercedes") or []
            for name in supercedes if isinstance(supercedes, list) else [supercedes]:
                yield ("pipeline", name)
        case ProviderObject():
            yield from provider_references(definition)


def _job_references(job: JobDef, default_parent: str) -> Iterator[Key]:
    if not job.in_project and not job.is_base:
        yield ("job", job.parent or default_parent)
    nodeset = job.attrs.get("nodeset")
    if isinstance(nodeset, str):
        yield ("nodeset", nodeset)
    elif nodeset is not None:
        yield from _nodeset_references(nodeset)
    for use in job.attrs.get("secrets") or ():
        yield ("secret", use.secret)


def _nodeset_references(nodeset: NodesetDef) -> Iterator[Key]:
    for node in nodeset.nodes:
        yield ("label", node.label)
    for alternative in nodeset.alternatives:
        if isinstance(alternative, str):
            yield ("nodeset", alternative)
        else:
            yield from _nodeset_references(alternative)


def check_references(names: Names, definition: Definition) -> ConfigError | None:
    """The first reference of a definition that does not hold."""
    match definition:
        case JobDef():
            return _check_job(names, definition, definition, ()) or _check_parent(names, definition)
        case NodesetDef():
            return _check_nodeset(names, definition, definition, ())
        case ProjectDef():
            return _check_stanza(names, definition)
        case PipelineDef():
            return _check_pipeline(names, definition)
        case ProviderObject():
            return _check_provider_object(names, definition)
    return None


def _check_parent(names: Names, job: JobDef) -> ConfigError | None:
    if job.is_base:
        return None
    parent = job.parent or names.tenant.default_parent
    variants: tuple[JobDef, ...] = names.kept("job", parent)
    path = ("parent",) if job.parent else ("name",)
    if not variants:
        mend = did_you_mean(parent, names.names("job")) or "Define it, or name another parent."
        return job.place.error(
            f'The job "{job.name}" inherits from "{parent}", which is not defined', path=path, mend=mend
        )
    if parent == job.name:
        return None
    if all(v.attrs.get("final") for v in variants):
        return job.place.error(f'The job "{job.name}" inherits from "{parent}", which is final', path=path)
    if not job.attrs.get("abstract") and all(v.attrs.get("intermediate") for v in variants):
        short = f'The job "{job.name}" inherits from "{parent}", which is intermediate: only abstract jobs may'
        return job.place.error(short, path=path, mend="Inherit from one of its children.")
    if all(v.attrs.get("protected") and v.source.key[0] != job.source.key[0] for v in variants):
        return job.place.error(f'The job "{job.name}" inherits from "{parent}", which is protected', path=path)
    return None


def _check_job(names: Names, job: JobDef, owner: Definition, path: tuple[Any, ...]) -> ConfigError | None:
    nodeset = job.attrs.get("nodeset")
    if isinstance(nodeset, str):
        if not names.kept("nodeset", nodeset):
            return _no_nodeset(names, nodeset, owner, (*path, "nodeset"))
    elif nodeset is not None:
        found = _check_nodeset(names, nodeset, owner, (*path, "nodeset"))
        if found:
            return found
    if nodeset is not None:
        found = _check_size(names, nodeset, owner, (*path, "nodeset"))
        if found:
            return found
    for index, use in enumerate(job.attrs.get("secrets") or ()):
        secrets = names.kept("secret", use.secret)
        if not secrets:
            mend = did_you_mean(use.secret, names.names("secret"))
            return owner.place.error(
                f'The secret "{use.secret}" is not defined', path=(*path, "secrets", index), mend=mend
            )
        if secrets[0].source.key[0] != job.source.key[0]:
            short = f'The secret "{use.secret}" belongs to the project {secrets[0].source.project} and can be used only there'
            return owner.place.error(short, path=(*path, "secrets", index), mend="Define a secret in this project.")
    return _check_job_projects(names, job, owner, path)


def _check_job_projects(names: Names, job: JobDef, owner: Definition, path: tuple[Any, ...]) -> ConfigError | None:
    used: list[tuple[str, tuple[Any, ...]]] = []
    for index, project in enumerate(job.attrs.get("required-projects") or ()):
        used.append((project.name, ("required-projects", index)))
    for key in ("include-projects", "exclude-projects"):
        for index, (kind, name) in enumerate(job.attrs.get(key) or ()):
            if kind == "name":
                used.append((name, (key, index)))
    for index, include in enumerate(job.attrs.get("include-vars") or ()):
        if include.project is not None:
            used.append((include.project, ("include-vars", index)))
    for name in job.attrs.get("allowed-projects") or ():
        used.append((name, ("allowed-projects",)))
    for name, where in used:
        unknown = names.unknown_project(name)
        if unknown is not None:
            mend = did_you_mean(name, names.project_names()) or "Add it to the tenant, or remove it here."
            return owner.place.error(unknown, path=(*path, *where), name="Project Not Found", mend=mend)
    return None


def _check_size(
    names: Names, nodeset: str | NodesetDef, owner: Definition, path: tuple[Any, ...]
) -> ConfigError | None:
    most = names.tenant.max_nodes_per_job
    if most == -1:
        return None
    try:
        alternatives = alternatives_of(names, nodeset)
    except Refused as problem:
        return owner.place.error(problem.short, path=path, name=problem.name)
    count = max(len(a.nodes) for a in alternatives)
    if count <= most:
        return None
    short = f"The nodeset has {count} nodes; the tenant allows {most}"
    return owner.place.error(short, path=path, mend=f"Use {most} nodes or fewer.")


def _no_nodeset(names: Names, nodeset: str, owner: Definition, path: tuple[Any, ...]) -> ConfigError:
    mend = did_you_mean(nodeset, names.names("nodeset")) or "Define it, or write the nodes here."
    return owner.place.error(f'The nodeset "{nodeset}" is not defined', path=path, name="Nodeset Not Found", mend=mend)


def _check_nodeset(names: Names, nodeset: NodesetDef, owner: Definition, path: tuple[Any, ...]) -> ConfigError | None:
    if not names.tenant.use_nodepool:
        for index, node in enumerate(nodeset.nodes):
            if not names.kept("label", node.label):
                mend = did_you_mean(node.label, names.names("label")) or "Define a label of this name."
                return owner.place.error(
                    f'The label "{node.label}" is not defined',
                    path=(*path, "nodes", index, "label"),
                    name="Label Not Found",
                    mend=mend,
                )
    for index, alternative in enumerate(nodeset.alternatives):
        where = (*path, "alternatives", index)
        if isinstance(alternative, str):
            if not names.kept("nodeset", alternative):
                return _no_nodeset(names, alternative, owner, where)
        else:
            found = _check_nodeset(names, alternative, owner, where)
            if found:
                return found
    return None


def _check_stanza(names: Names, stanza: ProjectDef) -> ConfigError | None:
    for index, template in enumerate(stanza.templates):
        if not names.kept("project-template", template):
            mend = did_you_mean(template, names.names("project-template")) or "Define it, or remove it here."
            return stanza.place.error(
                f'The project template "{template}" is not defined',
                path=("templates", index),
                name="Template Not Found",
                mend=mend,
            )
    for name, pipeline in stanza.pipelines.items():
        declared = names.kept("pipeline", name)
        if pipeline.parameters and declared and not declared[0].body.get("allow-parameters"):
            short = f'The pipeline "{name}" does not allow parameters'
            return stanza.place.error(short, path=(name, "parameters"), mend="Remove them, or set allow-parameters.")
        if not declared:
            continue
        for entry in pipeline.jobs:
            if not names.kept("job", entry.name):
                mend = did_you_mean(entry.name, names.names("job")) or "Define the job, or remove it from the list."
                return stanza.place.error(f'The job "{entry.name}" is not defined', path=entry.path, mend=mend)
            found = _check_job(names, entry.job, stanza, entry.path)
            if found:
                return found
    return None


def _check_pipeline(names: Names, definition: PipelineDef) -> ConfigError | None:
    supercedes = definition.body.get("supercedes") or []
    for name in supercedes if isinstance(supercedes, list) else [supercedes]:
        if not names.kept("pipeline", name):
            mend = did_you_mean(name, names.names("pipeline"))
            short = f'The pipeline "{definition.name}" supercedes "{name}", which is not defined'
            return definition.place.error(short, path=("supercedes",), mend=mend)
    return None


def provider_references(definition: ProviderObject) -> Iterator[Key]:
    body = definition.body
    match definition.kind:
        case "label":
            yield ("image", body["image"])
            yield ("flavor", body["flavor"])
        case "provider":
            yield ("section", body["section"])
        case "section" if body.get("parent"):
            yield ("section", body["parent"])
    if definition.kind in ("provider", "section"):
        for key, kind in (("images", "image"), ("flavors", "flavor"), ("labels", "label")):
            for attached in body.get(key) or ():
                yield (kind, attached if isinstance(attached, str) else attached["name"])


def _check_provider_object(names: Names, definition: ProviderObject) -> ConfigError | None:
    """What a label, section or provider names must be defined; what is attached counts once a provider uses it."""
    for kind, wanted in provider_references(definition):
        attached = definition.kind == "section" and kind != "section"
        if not attached and not names.kept(kind, wanted):
            return _undefined(names, definition, definition, kind, wanted)
    if definition.kind not in ("section", "provider"):
        return None
    chain = _chain(names, definition)
    if chain is None:
        return definition.place.error(
            f'The sections above "{definition.name}" go round in a circle', path=_path_of(definition, "section")
        )
    if definition.kind == "provider":
        for step in chain[1:]:
            for kind, wanted in provider_references(step):
                if kind != "section" and not names.kept(kind, wanted):
                    return _undefined(names, definition, step, kind, wanted)
    return _check_driver(names, definition, chain)


def _undefined(names: Names, definition: ProviderObject, step: ProviderObject, kind: str, wanted: str) -> ConfigError:
    mend = did_you_mean(wanted, names.names(kind)) or f"Define the {kind}."
    by = f'The {step.kind} "{step.name}"'
    return definition.place.error(
        f'{by} uses the {kind} "{wanted}", which is not defined', path=_path_of(step, kind), mend=mend
    )


def _chain(names: Names, definition: ProviderObject) -> list[ProviderObject] | None:
    """A section or provider and the sections above it, as far as they are defined; None if they go round."""
    chain = [definition]
    while True:
        step = chain[-1]
        above = step.body.get("section") if step.kind == "provider" else step.body.get("parent")
        found = names.kept("section", above) if above else ()
        if not found:
            return chain
        if any(found[0] is one for one in chain):
            return None
        chain.append(found[0])


def _check_driver(names: Names, definition: ProviderObject, chain: list[ProviderObject]) -> ConfigError | None:
    """The attributes of a section or provider fit the driver of the connection that its chain names."""
    connection = next((c for step in chain if (c := step.body.get("connection")) is not None), None)
    if connection is None or names.connections is None:
        return None
    known = names.connections.get(connection)
    if known is None:
        if definition.kind == "section":
            return None
        mend = did_you_mean(connection, names.connections)
        short = f'The connection "{connection}" is not configured'
        return definition.place.error(
            short, path=_path_of(definition, "connection"), name="Unknown Connection", mend=mend
        )
    shape = DRIVERS.get(known.driver)
    if shape is None:
        return None
    try:
        check_shape(definition.kind, definition.body, definition.place, shape)
    except Refused as problem:
        path = problem.path if isinstance(problem, Located) else ()
        return definition.place.error(problem.short, path=path, mend=problem.mend)
    return None


def _path_of(definition: ProviderObject, kind: str) -> tuple[Any, ...]:
    for key in (kind, f"{kind}s", "parent"):
        if key in definition.body:
            return (key,)
    return ()
