"""The variables named `zuul`, from a request and what was checked out. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from trunkline.executor.checkout import short_name, shown, src_dir
from trunkline.executor.jobdir import JobDir
from trunkline.executor.request import ArtifactInfo, BuildRequest, Checkout, ProjectInfo, RefInfo

Json = Any

USER_DIR = "{{ inventory_hostname == 'localhost' and zuul.executor.work_root or ansible_user_dir }}"


class UnsafeText(str):
    """Text that Ansible must never take for a template; written with the tag !unsafe."""

    __slots__ = ()


def zuul_variables(
    request: BuildRequest,
    where: JobDir,
    hostname: str,
    ansible_version: str,
    checkouts: Mapping[str, Checkout],
    playbook_context: Mapping[str, Json],
) -> dict[str, Json]:
    """The `zuul` map of a build, complete."""
    job, change, scheme = request.job, request.change, request.job.workspace_scheme
    values: dict[str, Json] = {
        **ref_variables(change, scheme),
        "_inheritance_path": [str(variant) for variant in job.applied],
        "ansible_version": job.ansible_version or ansible_version,
        "attempts": request.attempt,
        "build": request.uuid,
        "build_refs": [_with_src_dir(ref, scheme) for ref in request.build_refs or (change,)],
        "buildset": request.buildset,
        "buildset_refs": [_with_src_dir(ref, scheme) for ref in request.buildset_refs or (change,)],
        "child_jobs": list(request.child_jobs),
        "deduplicate": job.deduplicate,
        "event_id": request.event_id,
        "executor": {
            "hostname": hostname,
            "inventory_file": str(where.ansible / "inventory.yaml"),
            "log_root": str(where.logs),
            "result_data_file": str(where.results),
            "src_root": str(where.src),
            "work_root": str(where.work),
        },
        "image_build_name": job.image_build_name,
        "include_vars": include_vars_variables(request),
        "items": [ref_variables(ref, scheme) for ref in request.items],
        "job": job.name,
        "jobtags": sorted(job.tags),
        "max_attempts": request.max_attempts,
        "pipeline": request.pipeline,
        "playbook_context": dict(playbook_context),
        "post_review": request.post_review,
        "post_timeout": job.post_timeout,
        "pre_timeout": job.pre_timeout,
        "projects": project_variables(request, checkouts),
        "ref": change.ref,
        "resources": {},
        "tenant": request.tenant,
        "timeout": job.timeout,
        "voting": request.voting,
        "workspace_checkout": job.workspace_checkout,
    }
    if change.message is not None:
        values["message"] = base64.b64encode(change.message.encode("utf-8", "surrogateescape")).decode()
    if job.override_checkout:
        values["override_checkout"] = job.override_checkout
    if request.artifacts:
        values["artifacts"] = [artifact_variables(artifact) for artifact in request.artifacts]
    return values


def ref_variables(ref: RefInfo, scheme: str) -> dict[str, Json]:
    """A ref as an entry of `zuul.items`. What does not apply to its kind is absent."""
    values: dict[str, Json] = {
        "project": _project(ref.canonical_hostname, ref.project, scheme),
        "change_url": ref.url,
    }
    optional = ("branch", "tag", "change", "patchset", "commit_id", "oldrev", "newrev", "bundle_id")
    for name in optional:
        value = getattr(ref, name)
        if value is not None:
            values[name] = value
    if ref.change is not None:
        values["topic"] = ref.topic
    if ref.message is not None:
        values["change_message"] = UnsafeText(ref.message)
    return values


def _with_src_dir(ref: RefInfo, scheme: str) -> dict[str, Json]:
    return {**ref_variables(ref, scheme), "src_dir": src_dir(scheme, ref.canonical_hostname, ref.project)}


def _project(hostname: str, name: str, scheme: str) -> dict[str, Json]:
    return {
        "canonical_hostname": hostname,
        "canonical_name": f"{hostname}/{name}",
        "name": name,
        "short_name": short_name(name),
        "src_dir": src_dir(scheme, hostname, name),
    }


def project_variables(request: BuildRequest, checkouts: Mapping[str, Checkout]) -> dict[str, Json]:
    values = {}
    for project in request.projects:
        checkout = checkouts.get(project.canonical_name)
        values[project.canonical_name] = {
            **_project(project.canonical_hostname, project.name, request.job.workspace_scheme),
            "required": project.required,
            "checkout": shown(checkout.ref) if checkout else None,
            "checkout_description": checkout.description if checkout else None,
            "commit": checkout.commit if checkout else None,
        }
    return values


def artifact_variables(artifact: ArtifactInfo) -> dict[str, Json]:
    names = ("project", "change", "patchset", "branch", "ref", "oldrev", "newrev", "job", "name", "url", "metadata")
    return {name: value for name in names if (value := getattr(artifact, name)) is not None}


def include_vars_variables(request: BuildRequest) -> list[dict[str, Json]]:
    known = projects_by_name(request)
    shown_entries = []
    for entry in request.job.include_vars:
        project = known.get(entry.canonical_name or request.change.canonical_name)
        shown_entries.append(
            {
                "connection": entry.connection or request.change.connection,
                "name": entry.name,
                "project": entry.project or request.change.project,
                "project_default_branch": project.default_branch if project else "master",
                "required": entry.required,
                "trusted": entry.trusted,
                "use_ref": entry.use_ref,
            }
        )
    return shown_entries


def projects_by_name(request: BuildRequest) -> dict[str, ProjectInfo]:
    """Every project that the request describes; those of the workspace win."""
    return {project.canonical_name: project for project in (*request.playbook_projects, *request.projects)}


def execution_arguments(phase: str, index: int, trusted: bool, place: str, branch: str) -> list[str]:
    """`-e` of a playbook, all of them text."""
    pairs = (
        ("zuul_execution_phase", phase),
        ("zuul_execution_phase_index", index),
        ("zuul_execution_trusted", trusted),
        ("zuul_execution_canonical_name_and_path", place),
        ("zuul_execution_branch", branch),
    )
    return [word for name, value in pairs for word in ("-e", f"{name}={value}")]


def outcome_arguments(success: bool, will_retry: bool) -> list[str]:
    return ["-e", f"zuul_success={success}", "-e", f"zuul_will_retry={will_retry}"]
