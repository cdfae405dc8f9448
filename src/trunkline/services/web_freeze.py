"""Which jobs would run for a branch's tip, and exactly how: nothing is merged or asked for. Pure."""

from __future__ import annotations

from typing import Any

from trunkline.config import FrozenGraph, FrozenJob, Layout, RefKind
from trunkline.services import web_layout
from trunkline.services.layouts import Loaded
from trunkline.services.sources import Sources

Json = dict[str, Any]
NO_BUILD = "0" * 32


def _graph(layout: Layout, pipeline: str, project: str, branch: str) -> FrozenGraph | None:
    canonical = layout.find_project(project)
    if canonical is None or pipeline not in layout.pipelines or branch not in layout.branches(canonical):
        return None
    return layout.freeze_jobs(canonical, pipeline, RefKind.BRANCH, branch)


def freeze_jobs(layout: Layout, pipeline: str, project: str, branch: str) -> list[Json] | None:
    graph = _graph(layout, pipeline, project, branch)
    return None if graph is None or graph.error else web_layout.graph_jobs(graph)


def freeze_job(loaded: Loaded, sources: Sources, pipeline: str, project: str, branch: str, name: str) -> Json | None:
    layout = loaded.layout
    graph = _graph(layout, pipeline, project, branch)
    job = graph.job(name) if graph is not None and graph.error is None else None
    canonical = layout.find_project(project)
    if graph is None or job is None or canonical is None:
        return None
    children = [other.name for other in graph.jobs if any(d.name == name for d in other.dependencies)]
    post_review = layout.pipelines[pipeline].post_review or bool(job.post_review)
    zuul = _variables(loaded, job, canonical, pipeline, branch, children, post_review)
    projects = [
        {
            "connection": required.connection,
            "name": required.name,
            "canonical_name": required.canonical_name,
            "override_branch": required.override_branch,
            "override_checkout": required.override_checkout,
            "default_branch": required.default_branch,
        }
        for required in job.required_projects
    ]
    return web_layout.frozen_job(job, branch, zuul, projects, ssh_keys=2 if post_review else 1)


def _project(layout: Layout, canonical: str, scheme: str) -> Json:
    name = layout.spec(canonical).name
    hostname = canonical.removesuffix(f"/{name}")
    short = name.rpartition("/")[2]
    folder = {"flat": f"src/{short}", "unique": f"src/{canonical.replace('/', '%2F')}"}.get(scheme, f"src/{canonical}")
    return {
        "name": name,
        "short_name": short,
        "canonical_hostname": hostname,
        "canonical_name": canonical,
        "src_dir": folder,
    }


def _variables(
    loaded: Loaded, job: FrozenJob, canonical: str, pipeline: str, branch: str, children: list[str], post_review: bool
) -> Json:
    """The variable `zuul` as far as it is known without a change and a build."""
    layout = loaded.layout
    project = _project(layout, canonical, job.workspace_scheme)
    ref = {"branch": branch, "change_url": None, "project": project, "src_dir": project["src_dir"]}
    return {
        "_inheritance_path": [str(variant) for variant in job.applied],
        "branch": branch,
        "build": NO_BUILD,
        "build_refs": [ref],
        "buildset": None,
        "buildset_refs": [ref],
        "change_url": None,
        "child_jobs": children,
        "deduplicate": job.deduplicate if isinstance(job.deduplicate, str) else str(job.deduplicate).lower(),
        "event_id": None,
        "image_build_name": job.image_build_name,
        "include_vars": [
            {"name": use.name, "project": use.project, "required": use.required} for use in job.include_vars
        ],
        "items": [],
        "job": job.name,
        "jobtags": sorted(job.tags),
        "pipeline": pipeline,
        "post_review": post_review,
        "post_timeout": job.post_timeout,
        "pre_timeout": job.pre_timeout,
        "project": project,
        "projects": {
            required.canonical_name: _project(layout, required.canonical_name, job.workspace_scheme)
            | {"required": True}
            for required in job.required_projects
        },
        "ref": None,
        "tenant": loaded.spec.name,
        "timeout": job.timeout,
        "voting": job.voting,
        "workspace_checkout": job.workspace_checkout,
    }
