"""A layout as the REST API shows it: jobs, projects, pipelines, provider objects, errors, frozen jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

import msgspec

from trunkline.config import ConfigError, FrozenGraph, Layout
from trunkline.config.definitions import JobDef, NodesetDef, PlaybookUse, ProjectDef, ProjectPipeline, ProviderObject
from trunkline.config.frozen import FrozenJob, FrozenNode, FrozenPlaybook, NodeGroup
from trunkline.config.pipeline import Pipeline
from trunkline.config.regex import Regex
from trunkline.config.source import SourceContext
from trunkline.config.tenant_model import ProjectSpec

Json = dict[str, Any]
DEFAULT_ATTEMPTS = 3


def job_list(layout: Layout) -> list[Json]:
    out = []
    for name in sorted(layout.jobs):
        variants = layout.kept("job", name)
        entry: Json = {"name": name}
        description = next((v.attrs["description"] for v in variants if v.attrs.get("description")), None)
        if description:
            entry["description"] = description.splitlines()[0]
        tags = sorted({tag for variant in variants for tag in variant.attrs.get("tags", ())})
        if tags:
            entry["tags"] = tags
        entry["variants"] = [_variant_summary(layout, variant) for variant in variants]
        out.append(entry)
    return out


def _variant_summary(layout: Layout, job: JobDef) -> Json:
    out: Json = {}
    if parent := _parent(layout, job):
        out["parent"] = parent
    if branches := _branches(layout, job):
        out["branches"] = branches
    return out


def _parent(layout: Layout, job: JobDef) -> str | None:
    return job.parent if job.has_parent else layout.tenant.default_parent


def _branches(layout: Layout, job: JobDef) -> list[str] | None:
    if job.branches:
        return [regex.pattern for regex in job.branches]
    if not job.source.canonical_name or job.in_project:
        return None
    matcher = layout.job_matcher(job)
    if matcher is None:
        return None
    return [matcher.exact] if matcher.exact is not None else [regex.pattern for regex in matcher.regexes]


def job_variants(layout: Layout, name: str) -> list[Json]:
    return [job_variant(layout, job) for job in layout.kept("job", name)]


def _context(source: SourceContext) -> Json | None:
    if not source.project:
        return None
    return {"project": source.project, "branch": source.branch, "path": source.path}


def _regexes(found: Iterable[Regex] | None) -> list[Json]:
    return [{"regex": regex.pattern, "negate": regex.negate} for regex in found or ()]


def job_variant(layout: Layout, job: JobDef) -> Json:
    """One variant, as written: what it leaves open has the language's default."""
    attrs = job.attrs
    branches = _branches(layout, job)
    said = {key: msgspec.to_builtins(attrs.get(key)) for key in ("tags", "provides", "requires", "failure-output")}
    out: Json = {
        "name": job.name,
        "parent": _parent(layout, job),
        "description": attrs.get("description"),
        "variant_description": attrs.get("variant-description") or (", ".join(branches) if branches else ""),
        "source_context": _context(job.source),
        "branches": branches,
        "files": _regexes(attrs.get("files")),
        "irrelevant_files": _regexes(attrs.get("irrelevant-files")),
        "match_on_config_updates": attrs.get("match-on-config-updates", True),
        "override_checkout": attrs.get("override-checkout"),
        "final": bool(attrs.get("final", False)),
        "abstract": bool(attrs.get("abstract", False)),
        "intermediate": bool(attrs.get("intermediate", False)),
        "protected": attrs.get("protected"),
        "voting": attrs.get("voting", True),
        "post_review": attrs.get("post-review"),
        "type": attrs.get("type", "regular"),
        "attempts": attrs.get("attempts", DEFAULT_ATTEMPTS),
        "timeout": attrs.get("timeout"),
        "pre_timeout": attrs.get("pre-timeout"),
        "post_timeout": attrs.get("post-timeout"),
        "tags": sorted(said["tags"] or []),
        "provides": sorted(said["provides"] or []),
        "requires": sorted(said["requires"] or []),
        "dependencies": [{"name": d.name, "soft": d.soft} for d in attrs.get("dependencies", ())],
        "semaphores": [{"name": s.name, "resources_first": s.resources_first} for s in attrs.get("semaphores", ())],
        "required_projects": [
            {
                "project_name": use.name,
                "override_branch": use.override_branch,
                "override_checkout": use.override_checkout,
            }
            for use in attrs.get("required-projects", ())
        ],
        "include_projects": _project_filter(attrs.get("include-projects")),
        "exclude_projects": _project_filter(attrs.get("exclude-projects")),
        "variables": dict(attrs.get("vars", {})),
        "extra_variables": dict(attrs.get("extra-vars", {})),
        "host_variables": dict(attrs.get("host-vars", {})),
        "group_variables": dict(attrs.get("group-vars", {})),
        "include_vars": [
            {"name": use.name, "project_name": use.project, "required": use.required, "use_ref": use.use_ref}
            for use in attrs.get("include-vars", ())
        ],
        "roles": _roles(layout, job),
        "ansible_version": attrs.get("ansible-version"),
        "ansible_split_streams": attrs.get("ansible-split-streams"),
        "workspace_scheme": attrs.get("workspace-scheme", "golang"),
        "workspace_checkout": attrs.get("workspace-checkout", True),
        "deduplicate": attrs.get("deduplicate", "auto"),
        "failure_output": list(said["failure-output"] or []),
        "image_build_name": attrs.get("image-build-name"),
        "secret_exposure": attrs.get("secret-exposure", "ignore"),
    }
    for key, written in (
        ("pre_run", "pre-run"),
        ("run", "run"),
        ("post_run", "post-run"),
        ("cleanup_run", "cleanup-run"),
    ):
        out[key] = [_playbook(job, use, out["roles"]) for use in attrs.get(written, ())]
    out |= _nodeset(attrs.get("nodeset"))
    return out


def _project_filter(found: Iterable[tuple[str, str | None]] | None) -> list[Json] | None:
    if found is None:
        return None
    return [{"type": kind} | ({"name": name} if name else {}) for kind, name in found]


def _roles(layout: Layout, job: JobDef) -> list[Json]:
    """The roles that a variant adds: those of its own project are found without being named."""
    source = job.source
    out: list[Json] = []
    playbooks = any(job.attrs.get(key) for key in ("pre-run", "run", "post-run", "cleanup-run"))
    named = [use for use in job.attrs.get("roles", ()) if use.type == "zuul"]
    if source.canonical_name and (playbooks or named or job.has_parent) and not job.in_project:
        out.append(_role(source.project.rpartition("/")[2], source.canonical_name, implicit=True))
    for use in named:
        canonical = layout.find_project(use.project) or use.project
        name = use.name or use.project.rpartition("/")[2]
        if all(role["project_canonical_name"] != canonical for role in out):
            out.append(_role(name, canonical, implicit=False))
    return out


def _role(name: str, canonical: str, *, implicit: bool) -> Json:
    return {"type": "zuul", "target_name": name, "project_canonical_name": canonical, "implicit": implicit}


def _playbook(job: JobDef, use: PlaybookUse, roles: Sequence[Json]) -> Json:
    return {
        "path": use.path,
        "source_context": _context(job.source),
        "roles": list(roles),
        "secrets": [{"name": s.secret, "alias": s.alias} for s in job.attrs.get("secrets", ())],
        "semaphores": [{"name": name} for name in use.semaphores],
        "cleanup": use.cleanup,
        "preserve_home_paths": list(job.attrs.get("preserve-home-paths", ())),
    }


def _nodeset(nodeset: str | NodesetDef | None) -> Json:
    if nodeset is None:
        return {}
    if isinstance(nodeset, str):
        return {"nodeset": nodeset_json(nodeset, (), ())}
    if nodeset.alternatives:
        return {
            "nodeset_alternatives": [
                nodeset_json(a, (), ()) if isinstance(a, str) else nodeset_json(a.name, a.nodes, a.groups)
                for a in nodeset.alternatives
            ]
        }
    if not nodeset.nodes:
        return {}
    return {"nodeset": nodeset_json(nodeset.name, nodeset.nodes, nodeset.groups)}


def nodeset_json(name: str, nodes: Iterable[FrozenNode], groups: Iterable[NodeGroup]) -> Json:
    """A nodeset before anything is assigned to it."""
    return {
        "name": name,
        "nodes": [
            {
                "name": node.name,
                "aliases": list(node.aliases),
                "label": node.label,
                "id": None,
                "state": "unknown",
                "hold_job": None,
                "comment": None,
                "user_data": None,
                "tenant_name": None,
                "requestor": None,
            }
            for node in nodes
        ],
        "groups": [{"name": group.name, "nodes": list(group.nodes)} for group in groups],
        "alternatives": [],
    }


def project_list(layout: Layout) -> list[Json]:
    found = [
        _project_head(spec) | {"type": "config" if spec.trusted else "untrusted"} for spec in layout.tenant.projects
    ]
    return sorted(found, key=lambda project: str(project["name"]))


def _project_head(spec: ProjectSpec) -> Json:
    return {"name": spec.name, "connection_name": spec.connection, "canonical_name": spec.canonical_name}


def project_page(layout: Layout, name: str) -> Json | None:
    canonical = layout.find_project(name)
    if canonical is None:
        return None
    facts = layout.project(canonical)
    metadata: Json = {}
    configs: list[Json] = []
    if facts.stanzas:
        metadata = {
            "merge_mode": facts.merge_mode,
            "default_branch": facts.default_branch,
            "is_template": False,
            "queue_name": facts.queue_name,
        }
    for stanza in facts.stanzas:
        configs.append(_stanza(layout, stanza))
        for template in stanza.templates:
            configs += [_stanza(layout, found) for found in layout.kept("project-template", template)]
    return _project_head(layout.spec(canonical)) | {"metadata": metadata, "configs": configs}


def _stanza(layout: Layout, stanza: ProjectDef) -> Json:
    return {
        "source_context": _context(stanza.source),
        "is_template": stanza.is_template,
        "templates": list(stanza.templates),
        "default_branch": stanza.default_branch,
        "merge_mode": stanza.merge_mode,
        "queue_name": stanza.queue,
        "pipelines": [
            {
                "name": name,
                "parameters": parameters(pipeline),
                "jobs": [[job_variant(layout, entry.job)] for entry in pipeline.jobs],
            }
            for name, pipeline in stanza.pipelines.items()
        ],
    }


def parameters(pipeline: ProjectPipeline) -> list[Json]:
    return [
        {
            "name": parameter.name,
            "type": parameter.type,
            "description": parameter.description,
            "values": list(parameter.values),
            "default": parameter.default,
            "required": parameter.required,
        }
        for parameter in pipeline.parameters
    ]


def freeze_pipeline(layout: Layout, pipeline: str, project: str) -> list[Json] | None:
    """The parameters that a person may give when enqueueing a ref of the project."""
    canonical = layout.find_project(project)
    if canonical is None or pipeline not in layout.pipelines:
        return None
    found: dict[str, Json] = {}
    for stanza in layout.stanzas(canonical):
        templates = [t for name in stanza.templates for t in layout.kept("project-template", name)]
        for definition in (*templates, stanza):
            if listed := definition.pipelines.get(pipeline):
                found |= {str(parameter["name"]): parameter for parameter in parameters(listed)}
    return list(found.values())


def pipeline_list(layout: Layout, drivers: Mapping[str, str]) -> list[Json]:
    return [
        {"name": pipeline.name, "triggers": pipeline_triggers(pipeline, drivers)}
        for pipeline in layout.pipelines.values()
    ]


def pipeline_triggers(pipeline: Pipeline, drivers: Mapping[str, str]) -> list[Json]:
    """One entry a connection that triggers the pipeline."""
    return [{"name": name, "driver": drivers.get(name, name)} for name in pipeline.triggers]


def _canonical(definition: ProviderObject) -> str:
    return f"{quote_plus(definition.source.canonical_name)}/{quote_plus(definition.name)}"


def provider_objects(found: Mapping[str, ProviderObject]) -> list[Json]:
    """Labels or flavors."""
    return [
        {"name": name, "canonical_name": _canonical(one), "description": one.body.get("description")}
        for name, one in sorted(found.items())
    ]


def label_list(layout: Layout) -> list[Json]:
    """Labels of the layout; with nodepool's kind of labels, those that nodesets and jobs name."""
    known = provider_objects(layout.labels)
    names = {node.label for nodeset in layout.nodesets.values() for node in nodeset.nodes} - set(layout.labels)
    return sorted([*known, *({"name": name} for name in names)], key=lambda label: str(label["name"]))


def image_list(layout: Layout) -> list[Json]:
    return [
        {
            "name": name,
            "canonical_name": _canonical(image),
            "project_canonical_name": image.source.canonical_name,
            "branch": image.source.branch,
            "type": image.body.get("type", "zuul"),
        }
        for name, image in sorted(layout.images.items())
    ]


def provider_list(layout: Layout) -> list[Json]:
    out = []
    for name, provider in sorted(layout.providers.items()):
        entry: Json = {"name": name, "canonical_name": _canonical(provider)}
        for key, known in (("images", layout.images), ("labels", layout.labels), ("flavors", layout.flavors)):
            used = [item["name"] if isinstance(item, dict) else item for item in provider.body.get(key) or ()]
            entry[key] = [
                {"name": used_name, "canonical_name": _canonical(known[used_name])}
                | ({"type": known[used_name].body.get("type", "zuul")} if key == "images" else {})
                for used_name in used
                if used_name in known
            ]
        out.append(entry)
    return out


def error_json(error: ConfigError) -> Json:
    context = None
    if error.project:
        context = {"project": error.project, "branch": error.branch, "path": error.path}
    return {
        "source_context": context,
        "error": error.message,
        "short_error": error.short,
        "severity": error.severity.value,
        "name": error.name,
    }


def graph_jobs(graph: FrozenGraph) -> list[Json]:
    return [
        {"name": job.name, "dependencies": [{"name": d.name, "soft": d.soft} for d in job.dependencies]}
        for job in graph.jobs
    ]


def playbooks(found: Iterable[FrozenPlaybook]) -> list[Json]:
    """Playbooks of a frozen job, without what nobody may read."""
    return [
        {
            "connection": playbook.connection,
            "project": playbook.project,
            "branch": playbook.branch,
            "trusted": playbook.trusted,
            "path": playbook.path,
            "roles": [
                {
                    "type": role.type,
                    "target_name": role.target_name,
                    "project_canonical_name": role.canonical_name,
                    "implicit": role.implicit,
                    "project": role.project,
                    "connection": role.connection,
                    "project_default_branch": role.project_default_branch,
                }
                for role in playbook.roles
            ],
            "secrets": {secret.alias: "REDACTED" for secret in playbook.secrets},
            "semaphores": [{"name": name} for name in playbook.semaphores],
            "cleanup": playbook.cleanup,
            "nesting_level": playbook.nesting_level,
            "preserve_home_paths": list(playbook.preserve_home_paths),
        }
        for playbook in found
    ]


def frozen_job(job: FrozenJob, branch: str, zuul: Json, projects: list[Json], ssh_keys: int) -> Json:
    """The answer of freeze-job; `zuul` are the variables that the job would see."""
    out: Json = {
        "job": job.name,
        "branch": branch,
        "items": [],
        "projects": projects,
        "zuul": zuul,
        "vars": job.vars,
        "extra_vars": job.extra_vars,
        "host_vars": job.host_vars,
        "group_vars": job.group_vars,
        "secret_vars": None,
        "nodeset": nodeset_json(job.nodeset.name, job.nodeset.nodes, job.nodeset.groups),
        "timeout": job.timeout,
        "pre_timeout": job.pre_timeout,
        "post_timeout": job.post_timeout,
        "override_branch": job.override_branch,
        "override_checkout": job.override_checkout,
        "ansible_version": job.ansible_version,
        "ansible_split_streams": job.ansible_split_streams,
        "workspace_scheme": job.workspace_scheme,
        "workspace_checkout": job.workspace_checkout,
        "failure_output": list(job.failure_output),
        "pipeline_builds_images": job.image_build_name is not None,
        "repo_state_keys": [],
        "ssh_keys": ["REDACTED"] * ssh_keys,
    }
    if not job.is_noop:
        out |= {
            "playbooks": playbooks(job.playbooks),
            "pre_playbooks": playbooks(job.pre_playbooks),
            "post_playbooks": playbooks(job.post_playbooks),
            "cleanup_playbooks": playbooks(job.cleanup_playbooks),
        }
    return out
