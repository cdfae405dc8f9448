"""A small tenant to write tests in: projects with branches and files, all on one connection."""

from collections.abc import Mapping, Sequence

from trunkline.config import (
    ConfigError,
    FrozenGraph,
    Layout,
    RefKind,
    Source,
    Subject,
    TenantSpec,
    build_layout,
    load_tenants,
)
from trunkline.config.connections import connection_spec
from trunkline.config.discovery import read_branch

HOST = "review.example.com"
CONNECTIONS = {"gerrit": connection_spec("gerrit", {"driver": "gerrit", "server": HOST})}
PIPELINES = """
- pipeline:
    name: check
    manager: independent
    trigger: {gerrit: [{event: patchset-created}]}
    success: {gerrit: {Verified: 1}}
    failure: {gerrit: {Verified: -1}}
- pipeline:
    name: gate
    manager: dependent
    post-review: true
    trigger: {gerrit: [{event: comment-added, approval: [{Workflow: 1}]}]}
    success: {gerrit: {Verified: 2, submit: true}}
    failure: {gerrit: {Verified: -2}}
"""
BASE = """
- job: {name: base, parent: null, run: playbooks/base.yaml}
"""
Files = Mapping[str, str]
Tree = str | Files | Mapping[str, str | Files]


def tenant_of(
    config: Sequence[str] = ("config",), untrusted: Sequence[object] = ("org/app",), **options: object
) -> TenantSpec:
    """A tenant with these projects; an untrusted one may be {name: options}. Options with _ for -."""
    import yaml

    body = {"name": "one", **{k.replace("_", "-"): v for k, v in options.items()}}
    body["source"] = {"gerrit": {"config-projects": list(config), "untrusted-projects": list(untrusted)}}
    loaded = load_tenants(yaml.safe_dump([{"tenant": body}]), "main.yaml", CONNECTIONS)
    assert not loaded.errors, loaded.errors[0].message
    return loaded.tenants["one"]


def files_of(tree: object) -> dict[str, str]:
    return {"zuul.yaml": tree} if isinstance(tree, str) else dict(tree)  # type: ignore[call-overload, no-any-return]


def layout_of(trees: Mapping[str, object], tenant: TenantSpec | None = None) -> Layout:
    """The layout of {project: text, or {branch: text or files}}. Config project: `config`, others untrusted.

    A tree that is text is the zuul.yaml of master.
    """
    untrusted = [name for name in trees if name != "config"]
    tenant = tenant or tenant_of(untrusted=untrusted)
    sources = []
    for spec in tenant.projects:
        tree = trees.get(spec.name, "")
        branches = {"master": tree} if isinstance(tree, str) else tree
        names = sorted(branches, key=lambda b: (b != "master", b))
        fragments = {b: read_branch(spec, b, files_of(branches[b])) for b in names}
        sources.append(Source(spec.canonical_name, tuple(names), fragments, default_merge_mode="merge-resolve"))
    return build_layout(tenant, sources, CONNECTIONS)


def replaced(layout: Layout, project: str, text: object, branch: str = "master") -> Layout:
    """The layout of a future in which a project's branch has this configuration."""
    spec = layout.spec(f"{HOST}/{project}")
    return layout.overlay({(spec.canonical_name, branch): read_branch(spec, branch, files_of(text))})


def graph(
    layout: Layout, project: str = "org/app", pipeline: str = "check", branch: str = "master", **more: object
) -> FrozenGraph:
    before = more.pop("before", None)
    subject = Subject(project=f"{HOST}/{project}", kind=RefKind.CHANGE, branch=branch, **more)  # type: ignore[arg-type]
    return layout.freeze(pipeline, (subject,), before)  # type: ignore[arg-type]


def jobs(
    layout: Layout, project: str = "org/app", pipeline: str = "check", branch: str = "master", **more: object
) -> list[str]:
    found = graph(layout, project, pipeline, branch, **more)
    assert found.error is None, found.error.message
    return [job.name for job in found.jobs]


def job(layout: Layout, name: str, project: str = "org/app", pipeline: str = "check", branch: str = "master"):  # type: ignore[no-untyped-def]
    found = graph(layout, project, pipeline, branch)
    assert found.error is None, found.error.message
    made = found.job(name)
    assert made is not None, f"{name} does not run: {found.debug}"
    return made


def refusal(layout: Layout, project: str = "org/app", pipeline: str = "check", **more: object) -> str:
    found = graph(layout, project, pipeline, **more)
    assert found.error is not None, [j.name for j in found.jobs]
    return found.error.short


def only_error(layout: Layout) -> ConfigError:
    assert len(layout.errors) == 1, [e.message for e in layout.errors]
    return layout.errors[0]
