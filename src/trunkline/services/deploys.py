"""Deploys: an ordinary job, frozen at a branch tip, run on servers that the fleet keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from trunkline.config import FrozenJob, FrozenNode, FrozenNodeset, RefKind, Subject
from trunkline.config.errors import Refused
from trunkline.config.single import freeze_single
from trunkline.executor import BuildRequest, NodeInfo
from trunkline.gate.model import stable_id
from trunkline.services.build_requests import (
    EXECUTE,
    node_info,
    playbook_projects,
    ref_info,
    ref_row,
    workspace_projects,
)
from trunkline.services.fleet_ports import DeployNode, DeployRefused
from trunkline.services.layouts import Layouts, Loaded
from trunkline.services.merging import MergeChange
from trunkline.services.sources import Sources
from trunkline.store import Connection, builds, tasks
from trunkline.store import nodes as node_rows

PIPELINE = "deploy"


async def submit_deploy(
    conn: Connection,
    sources: Sources,
    layouts: Layouts,
    *,
    tenant: str,
    application: str,
    job: str,
    project: str,
    branch: str,
    commit: str,
    nodes: Sequence[DeployNode],
    variables: Mapping[str, Any],
) -> str:
    """Write a build of `job` for `commit` on these servers; its end comes to "fleet:<tenant>/<application>".

    Returns the build's uuid. Raises DeployRefused.
    """
    loaded = await layouts.get(conn, tenant)
    spec = loaded.spec.project(project) if loaded else None
    if loaded is None or spec is None:
        raise DeployRefused(f"tenant {tenant} has no project {project}")
    change = MergeChange(
        key=f"{spec.connection}:{spec.name}:refs/heads/{branch}@{commit}",
        connection=spec.connection,
        name=spec.name,
        canonical=project,
        ref=f"refs/heads/{branch}",
        branch=branch,
        is_change=False,
        newrev=commit,
    )
    frozen = freeze_deploy(loaded, change, job)
    uuid = uuid4().hex
    buildset = stable_id("buildset", uuid)
    servers = {row["id"]: row for row in await node_rows.get(conn, [node.node_id for node in nodes])}
    present = [node for node in nodes if node.node_id in servers]
    job_for_targets = _on_servers(frozen, present, variables)
    request = BuildRequest(
        uuid=uuid,
        buildset=buildset,
        event_id=uuid,
        tenant=tenant,
        pipeline=PIPELINE,
        post_review=True,
        job=job_for_targets,
        change=ref_info(sources, change, None),
        items=(ref_info(sources, change, None),),
        projects=tuple(workspace_projects(sources, loaded, frozen, [change], 1, change.key)),
        playbook_projects=tuple(playbook_projects(sources, loaded, frozen)),
        nodes=tuple(_node(servers[target.node_id], target) for target in present),
        groups=_groups(present),
        max_attempts=1,
    )
    owner = f"fleet:{tenant}/{application}"
    ref = await ref_row(conn, change)
    await builds.create_buildset(
        conn,
        uuid=buildset,
        tenant=tenant,
        pipeline=PIPELINE,
        owner=owner,
        item=uuid,
        event_id=uuid,
        event_at=None,
        refs=[ref],
        triggered_by=f"Deploy of {application} at {commit[:12]}",
    )
    fresh = await builds.create(
        conn,
        uuid=uuid,
        buildset=buildset,
        owner=owner,
        tenant=tenant,
        pipeline=PIPELINE,
        job=job,
        ref=ref,
        voting=True,
        nodeset="",
        attempt=1,
        request=msgspec.to_builtins(request),
    )
    if fresh:
        await tasks.defer(conn, EXECUTE, queue=tasks.EXECUTOR, priority=300, build=uuid)
    return uuid


def freeze_deploy(loaded: Loaded, change: MergeChange, job: str) -> FrozenJob:
    """The job as it is at the branch, whatever pipelines say of it. Raises DeployRefused."""
    subject = Subject(change.canonical, RefKind.BRANCH, branch=change.branch, ref=change.ref, key=change.key)
    try:
        return freeze_single(loaded.layout, job, subject)
    except Refused as problem:
        raise DeployRefused(f"job {job}: {problem.short}") from problem


def _on_servers(job: FrozenJob, targets: Sequence[DeployNode], variables: Mapping[str, Any]) -> FrozenJob:
    nodeset = FrozenNodeset(nodes=tuple(FrozenNode(target.name, "") for target in targets))
    return msgspec.structs.replace(
        job, nodeset=nodeset, nodeset_alternatives=(nodeset,), vars={**job.vars, **variables}, attempts=1
    )


def _node(row: Mapping[str, Any], target: DeployNode) -> NodeInfo:
    return node_info(dict(row), (target.name,))


def _groups(targets: Sequence[DeployNode]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for target in targets:
        for group in target.groups:
            groups.setdefault(group, []).append(target.name)
    return {name: tuple(members) for name, members in groups.items()}
