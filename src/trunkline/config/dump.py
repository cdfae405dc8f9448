"""A layout as plain data for people and for comparison: errors, pipelines, projects, frozen jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from trunkline.config.errors import ConfigError
from trunkline.config.frozen import FrozenGraph, FrozenJob, FrozenNodeset, FrozenPlaybook
from trunkline.config.layout import Layout
from trunkline.config.pipeline import PRECEDENCES
from trunkline.config.source import RefKind, Subject


def dump_error(error: ConfigError) -> dict[str, Any]:
    return {
        "name": error.name,
        "severity": error.severity.value,
        "short_error": error.short,
        "context": error.context,
        "line": error.line,
        "column": error.column,
        "message": error.message,
    }


def dump_playbook(playbook: FrozenPlaybook) -> dict[str, Any]:
    return {
        "branch": playbook.branch,
        "path": playbook.path,
        "project": f"{playbook.connection}/{playbook.project}",
        "secrets": [s.alias for s in playbook.secrets],
        "trusted": playbook.trusted,
        "nesting_level": playbook.nesting_level,
        "cleanup": playbook.cleanup,
        "semaphores": list(playbook.semaphores),
        "roles": [
            {"implicit": r.implicit, "name": None, "project": r.project, "target_name": r.target_name, "type": r.type}
            for r in playbook.roles
        ],
    }


def dump_nodeset(nodeset: FrozenNodeset) -> dict[str, Any]:
    nobody = {
        "comment": None,
        "hold_job": None,
        "id": None,
        "requestor": None,
        "state": "unknown",
        "tenant_name": None,
        "user_data": None,
    }
    return {
        "name": nodeset.name,
        "nodes": [{"name": n.name, "aliases": list(n.aliases), "label": n.label, **nobody} for n in nodeset.nodes],
        "groups": [{"name": g.name, "nodes": list(g.nodes)} for g in nodeset.groups],
        "alternatives": [],
    }


def dump_job(job: FrozenJob) -> dict[str, Any]:
    """One frozen job, every attribute, in the shape of the recordings: they never fill post_review nor role names."""
    return {
        "name": job.name,
        "type": job.type,
        "voting": job.voting,
        "attempts": job.attempts,
        "hold_following_changes": job.hold_following_changes,
        "dependencies": [{"name": d.name, "soft": d.soft} for d in job.dependencies],
        "semaphores": [s.name for s in job.semaphores],
        "tags": list(job.tags),
        "provides": list(job.provides),
        "requires": list(job.requires),
        "deduplicate": job.deduplicate,
        "post_review": None,
        "needs_post_review": bool(job.post_review),
        "success_message": job.success_message,
        "failure_message": job.failure_message,
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
        "image_build_name": job.image_build_name,
        "vars": job.vars,
        "extra_vars": job.extra_vars,
        "host_vars": job.host_vars,
        "group_vars": job.group_vars,
        "include_vars": msgspec.to_builtins(job.include_vars),
        "nodeset": dump_nodeset(job.nodeset),
        "nodeset_alternatives": [dump_nodeset(n) for n in job.nodeset_alternatives],
        "required_projects": {
            p.canonical_name: {
                "override_branch": p.override_branch,
                "override_checkout": p.override_checkout,
                "project_name": p.canonical_name,
            }
            for p in job.required_projects
        },
        "include_projects": job.include_projects,
        "exclude_projects": job.exclude_projects,
        "pre_run": [dump_playbook(p) for p in job.pre_playbooks],
        "run": [dump_playbook(p) for p in job.playbooks],
        "post_run": [dump_playbook(p) for p in job.post_playbooks],
        "cleanup_run": [dump_playbook(p) for p in job.cleanup_playbooks],
        "applied": [str(a) for a in job.applied],
    }


def dump_graph(graph: FrozenGraph) -> Any:
    if graph.error is not None:
        return {"error": graph.error.name, "message": graph.error.short}
    return [dump_job(job) for job in graph.jobs]


def pipelines_of(layout: Layout, canonical_name: str) -> list[str]:
    """The pipelines that the stanzas of a project, or their templates, mention; all, if a template is missing."""
    named: set[str] = set()
    for stanza in layout.stanzas(canonical_name):
        named.update(stanza.pipelines)
        for name in stanza.templates:
            if not layout.kept("project-template", name):
                return list(layout.pipelines)
            for template in layout.kept("project-template", name):
                named.update(template.pipelines)
    return [name for name in layout.pipelines if name in named]


def dump_project(layout: Layout, canonical_name: str) -> dict[str, Any]:
    pipelines: dict[str, dict[str, Any]] = {}
    for pipeline in pipelines_of(layout, canonical_name):
        for branch in layout.branches(canonical_name):
            graph = layout.freeze(pipeline, (Subject(canonical_name, RefKind.BRANCH, branch),))
            if graph.jobs or graph.error is not None:
                pipelines.setdefault(pipeline, {})[branch] = dump_graph(graph)
    return {
        "trusted": layout.spec(canonical_name).trusted,
        "branches": list(layout.branches(canonical_name)),
        "pipelines": pipelines,
    }


def dump_layout(layout: Layout) -> dict[str, Any]:
    """Everything that a tenant's layout says, frozen for every branch tip."""
    return {
        "errors": [dump_error(e) for e in layout.errors],
        "jobs": sorted(layout.jobs),
        "pipelines": {
            name: {
                "manager": p.manager,
                "window": p.window if p.manager == "dependent" else None,
                "precedence": PRECEDENCES[p.precedence],
                "post_review": p.post_review,
                "supercedes": list(p.supercedes),
            }
            for name, p in layout.pipelines.items()
        },
        "projects": {p.canonical_name: dump_project(layout, p.canonical_name) for p in layout.tenant.projects},
    }


def subject_of(question: Mapping[str, Any]) -> Subject:
    """The subject of a question {project, ref: change|branch|tag, branch, files}."""
    kind = RefKind(question.get("ref", "change"))
    branch = question.get("branch")
    if kind is RefKind.TAG:
        tag = question.get("tag") or "refs/tags/1.0"
        contained = (branch,) if branch else ()
        return Subject(question["project"], kind, None, tag, None, contained)
    files = tuple(question.get("files") or ()) if kind is RefKind.CHANGE else None
    return Subject(question["project"], kind, branch, "", files)


def decide(layout: Layout, question: Mapping[str, Any], why: bool = False) -> dict[str, Any]:
    """The question with its answer: `jobs`, names in order, or `error` and `message`."""
    graph = layout.freeze(question["pipeline"], (subject_of(question),))
    answer = dict(question)
    if graph.error is not None:
        answer.update(error=graph.error.name, message=graph.error.short)
    else:
        answer["jobs"] = [job.name for job in graph.jobs]
    if why:
        answer["why"] = list(graph.debug)
    return answer
