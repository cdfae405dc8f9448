"""From "start this build" to all that an executor needs, written down once in the build's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from trunkline.config import FrozenJob, FrozenNodeset
from trunkline.executor import ArtifactInfo, BuildRequest, NodeInfo, ProjectInfo, RefInfo
from trunkline.gate import Queue
from trunkline.gate.effects import StartBuild
from trunkline.services.layouts import Layouts, Loaded
from trunkline.services.merging import MergeChange
from trunkline.services.playbook_semaphores import counted, of_playbooks
from trunkline.services.sources import Sources
from trunkline.store import Connection, builds, futures, nodes, refs, tasks
from trunkline.store.database import Row

EXECUTE = "build.execute"


async def start(conn: Connection, sources: Sources, layouts: Layouts, queue: Queue, effect: StartBuild) -> None:
    """Write the build and have an executor take it. A build whose item has left meanwhile is not started."""
    future = await futures.get(conn, effect.future)
    raw = await futures.job(conn, effect.future, effect.name, effect.change) if future else None
    item = queue.items.get(effect.item)
    if future is None or raw is None or item is None or item.future is None:
        return
    job = msgspec.convert(raw, FrozenJob)
    loaded = await layouts.get(conn, queue.settings.tenant)
    changes = msgspec.convert(future["changes"], list[MergeChange])
    infos = await refs.get(conn, [change.key for change in changes])
    everything = {change.key: ref_info(sources, change, infos.get(change.key)) for change in changes}
    bundle = item.id if len(item.changes) > 1 else None
    own = [_in_bundle(everything[c.key], bundle) for c in changes[-future["own"] :]]
    run = item.future.runs.get(effect.job)
    nodeset = _nodeset(job, run.alternative if run else 0)
    servers = await nodes.of_request(conn, effect.request) if effect.request else []
    pipeline = loaded.layout.pipelines.get(queue.settings.pipeline) if loaded else None
    spec = item.future.graph.get(effect.job)
    request = BuildRequest(
        uuid=effect.build,
        buildset=effect.future,
        event_id=item.event_id,
        tenant=queue.settings.tenant,
        pipeline=queue.settings.pipeline,
        post_review=bool(pipeline and pipeline.post_review) or bool(job.post_review),
        job=job,
        change=next(info for key, info in everything.items() if key == effect.change),
        items=(*(everything[c.key] for c in changes[: -future["own"]]), *own),
        build_refs=tuple(everything[key] for key in effect.refs),
        buildset_refs=tuple(own),
        projects=tuple(workspace_projects(sources, loaded, job, changes, future["own"], effect.change)),
        playbook_projects=tuple(playbook_projects(sources, loaded, job)),
        repo_state=future["repo_state"],
        attempt=effect.attempt,
        max_attempts=job.attempts,
        voting=job.voting,
        nodes=node_infos(servers, nodeset),
        groups={group.name: group.nodes for group in nodeset.groups},
        child_jobs=effect.child_jobs,
        artifacts=tuple(_artifact(sources, everything, entry) for entry in effect.artifacts),
        parent_data=effect.parent_data,
    )
    owner = f"queue:{queue.id}"
    body = {**msgspec.to_builtins(request), "secret_parents": list(effect.parents), "node_request": effect.request}
    if by_phase := of_playbooks(job):
        tenant = queue.settings.tenant
        body["playbook_semaphores"] = {
            phase: [counted(loaded, tenant, names) for names in playbooks] for phase, playbooks in by_phase.items()
        }
    change = next(c for c in changes if c.key == effect.change)
    fresh = await builds.create(
        conn,
        uuid=effect.build,
        buildset=effect.future,
        owner=owner,
        tenant=queue.settings.tenant,
        pipeline=queue.settings.pipeline,
        job=job.name,
        ref=await ref_row(conn, change),
        voting=job.voting,
        nodeset=job.nodeset_name,
        attempt=effect.attempt,
        request=body,
        provides=spec.provides if spec else (),
    )
    if fresh:
        await tasks.defer(conn, EXECUTE, queue=tasks.EXECUTOR, priority=400 - effect.priority, build=effect.build)


async def ref_row(conn: Connection, change: MergeChange) -> int:
    """The row of a ref in `refs`."""
    return await builds.ref_id(
        conn,
        connection=change.connection,
        canonical=change.canonical,
        project=change.name,
        branch=change.branch,
        change=change.number,
        patchset=change.patchset,
        ref=change.ref,
        oldrev=change.oldrev,
        newrev=change.newrev,
        ref_url=change.url,
    )


def ref_info(sources: Sources, change: MergeChange, info: Mapping[str, Any] | None) -> RefInfo:
    """A ref as builds see it; `info` is what its connection said of a change."""
    known = info or {}
    tag = change.ref.removeprefix("refs/tags/") if change.ref.startswith("refs/tags/") else None
    return RefInfo(
        connection=change.connection,
        canonical_hostname=sources.specs[change.connection].canonical_hostname,
        project=change.name,
        ref=change.ref,
        url=change.url or "",
        branch=change.branch,
        tag=tag,
        change=str(change.number) if change.number is not None else None,
        patchset=change.patchset,
        commit_id=known.get("commit") or change.newrev,
        oldrev=change.oldrev,
        newrev=change.newrev,
        message=known.get("message"),
        topic=known.get("topic"),
    )


def _in_bundle(info: RefInfo, bundle: str | None) -> RefInfo:
    return msgspec.structs.replace(info, bundle_id=bundle) if bundle else info


def _nodeset(job: FrozenJob, alternative: int) -> FrozenNodeset:
    alternatives = job.nodeset_alternatives or (job.nodeset,)
    return alternatives[min(alternative, len(alternatives) - 1)]


def node_infos(servers: Sequence[Row], nodeset: FrozenNodeset) -> tuple[NodeInfo, ...]:
    """Servers as inventory hosts, in the order of the nodeset."""
    return tuple(
        node_info(server, (node.name, *node.aliases)) for server, node in zip(servers, nodeset.nodes, strict=False)
    )


def node_info(server: Row, names: tuple[str, ...]) -> NodeInfo:
    python = server["python_path"]
    return NodeInfo(
        names=names,
        label=server["label"],
        uuid=server["id"],
        interface_ip=server["interface_ip"],
        port=server["connection_port"],
        username=server["username"],
        connection_type=server["connection_type"],
        host_keys=tuple(server["host_keys"]) if server["host_key_checking"] else (),
        python_path=None if python == "auto" else python,
        shell_type=server["shell_type"],
        az=server["az"],
        cloud=server["cloud"],
        provider=server["provider"],
        region=server["region"],
        host_id=server["host_id"],
        external_id=server["server_id"],
        public_ipv4=server["public_ipv4"],
        private_ipv4=server["private_ipv4"],
        public_ipv6=server["public_ipv6"],
        private_ipv6=server["private_ipv6"],
        reuse=server["reuse"],
    )


def _artifact(sources: Sources, known: Mapping[str, RefInfo], entry: Any) -> ArtifactInfo:
    ref = known.get(entry.change)
    _, project, rest = entry.change.split(":", 2)
    number, _, patchset = rest.partition(",")
    return ArtifactInfo(
        project=ref.project if ref else project,
        job=entry.job,
        name=entry.artifact.name,
        url=entry.artifact.url,
        change=(ref.change if ref else number) or None,
        patchset=(ref.patchset if ref else patchset) or None,
        branch=ref.branch if ref else None,
        ref=ref.ref if ref and not ref.change else None,
        oldrev=ref.oldrev if ref else None,
        newrev=ref.newrev if ref else None,
        metadata=entry.artifact.metadata or None,
    )


def workspace_projects(
    sources: Sources, loaded: Loaded | None, job: FrozenJob, changes: Sequence[MergeChange], own: int, tested: str
) -> list[ProjectInfo]:
    """Projects of the job's workspace: required ones, then those of the item's future that the job lets in.

    own: how many changes at the end are the item's; tested: the key of the build's.
    """
    meant = {
        ":change": {change.canonical for change in changes if change.key == tested},
        ":item": {change.canonical for change in changes[-own:]},
    }
    found: dict[str, ProjectInfo] = {}
    for required in job.required_projects:
        found[required.canonical_name] = _project(
            *(sources, loaded, required.connection, required.name, required.canonical_name),
            required=True,
            override_branch=required.override_branch,
            override_checkout=required.override_checkout,
        )
    for change in changes:
        if change.canonical in found or not _is_let_in(job, change.canonical, meant):
            continue
        found[change.canonical] = _project(sources, loaded, change.connection, change.name, change.canonical)
    return list(found.values())


def _is_let_in(job: FrozenJob, canonical: str, meant: Mapping[str, set[str]]) -> bool:
    """`:change` and `:item` in a job's filters stand for the projects in `meant`."""

    def names(listed: Sequence[str]) -> set[str]:
        return {name for entry in listed for name in meant.get(entry, {entry})}

    if job.include_projects is not None and canonical not in names(job.include_projects):
        return False
    return canonical not in names(job.exclude_projects or ())


def playbook_projects(sources: Sources, loaded: Loaded | None, job: FrozenJob) -> list[ProjectInfo]:
    """Projects that playbooks, roles and included variables come from."""
    from trunkline.services.freezing import projects_needed

    return [
        _project(sources, loaded, p["connection"], p["name"], p["canonical"]) for p in projects_needed([job]).values()
    ]


def _project(
    sources: Sources, loaded: Loaded | None, connection: str, name: str, canonical: str, **more: Any
) -> ProjectInfo:
    facts = loaded.layout.project(canonical) if loaded else None
    return ProjectInfo(
        connection=connection,
        canonical_hostname=sources.specs[connection].canonical_hostname,
        name=name,
        canonical_name=canonical,
        default_branch=facts.default_branch if facts else "master",
        merge_mode=facts.merge_mode if facts else None,
        **more,
    )
