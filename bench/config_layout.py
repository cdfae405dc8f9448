"""Configuration of synthetic tenants: parse everything, build the layout, one future, freeze one item."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable

from bench.report import Report
from trunkline.config import Layout, Source, SourceContext, TenantSpec, build_layout, parse_blob
from trunkline.config.source import RefKind, Subject
from trunkline.config.tenant_model import BASE_CLASSES, UNTRUSTED_CLASSES, ProjectSpec

HOST = "review.example.com"
BRANCHES = ("master", "stable/1", "stable/2")
JOBS = 5
CONFIG = """
- pipeline: {name: check, manager: independent, trigger: {gerrit: [{event: patchset-created}]}}
- pipeline: {name: gate, manager: dependent, trigger: {gerrit: [{event: comment-added}]}}
- job: {name: base, parent: null, pre-run: pre.yaml, post-run: post.yaml, timeout: 1800}
- job: {name: test, abstract: true, vars: {tool: tox}, nodeset: one}
- nodeset: {name: one, nodes: [{name: node, label: small}]}
- project-template: {name: common, check: {jobs: [lint]}, gate: {jobs: [lint]}}
- job: {name: lint, run: lint.yaml}
"""


def project_text(index: int, level: int = 0) -> str:
    """One project's zuul.yaml: JOBS jobs, and a stanza that runs them in two pipelines."""
    jobs = "".join(
        f"- job:\n    name: p{index}-j{n}\n    parent: test\n    description: Job {n} of project {index}\n"
        f"    run: playbooks/run-{n}.yaml\n    files:\n      - ^src/\n      - ^tests/{n}/\n"
        f"    vars:\n      number: {n}\n      level: {level}\n\n"
        for n in range(JOBS)
    )
    listed = "".join(f"        - p{index}-j{n}\n" for n in range(JOBS))
    return f"{jobs}- project:\n    templates:\n      - common\n    check:\n      jobs:\n{listed}    gate:\n      jobs:\n{listed}"


def spec_of(name: str, trusted: bool) -> ProjectSpec:
    classes = BASE_CLASSES if trusted else UNTRUSTED_CLASSES
    return ProjectSpec(
        connection="gerrit",
        name=name,
        canonical_name=f"{HOST}/{name}",
        trusted=trusted,
        classes=classes,
        allow_base_jobs=trusted,
    )


def tenant_of(projects: int) -> tuple[TenantSpec, dict[tuple[str, str], str]]:
    """A tenant and its texts by (project, branch)."""
    specs = [spec_of("config", True), *(spec_of(f"org/p{i}", False) for i in range(projects))]
    texts = {("config", "master"): CONFIG}
    for index in range(projects):
        for branch in BRANCHES:
            texts[(f"org/p{index}", branch)] = project_text(index)
    return TenantSpec(name="bench", projects=tuple(specs)), texts


def context(spec: ProjectSpec, branch: str) -> SourceContext:
    return SourceContext(spec.connection, spec.name, branch, "zuul.yaml", spec.trusted, spec.canonical_name)


def sources_of(tenant: TenantSpec, texts: dict[tuple[str, str], str]) -> list[Source]:
    out = []
    for spec in tenant.projects:
        branches = ("master",) if spec.trusted else BRANCHES
        fragments = {b: (parse_blob(texts[(spec.name, b)], context(spec, b)),) for b in branches}
        out.append(Source(spec.canonical_name, branches, fragments))
    return out


def timed_ms(action: Callable[[], object], n: int) -> list[float]:
    times = []
    for _ in range(n):
        start = time.process_time()
        action()
        times.append((time.process_time() - start) * 1000)
    return times


def future_of(layout: Layout, index: int, level: int) -> Layout:
    """One change's layout: its file parsed, the overlay made, its new errors and its job graph asked for."""
    spec = layout.spec(f"{HOST}/org/p{index}")
    key = (spec.canonical_name, "master")
    future = layout.overlay({key: (parse_blob(project_text(index, level), context(spec, "master")),)})
    assert not future.new_errors(layout, {key})
    subject = Subject(spec.canonical_name, RefKind.CHANGE, "master", "", ("zuul.yaml",))
    graph = future.freeze("check", (subject,), layout)
    assert len(graph.jobs) == JOBS + 1, graph.error
    return future


def run(quick: bool) -> Report:
    report = Report(
        "config_layout",
        f"tenants of N projects x {JOBS} jobs x {len(BRANCHES)} branches; parse every file once, build the layout, "
        "then futures of single changes (parse, overlay, errors, freeze with comparison); CPU time: nothing here waits",
    )
    for projects in (50, 200) if quick else (200, 1000, 5000):
        tenant, texts = tenant_of(projects)
        start = time.process_time()
        sources = sources_of(tenant, texts)
        parsed = time.process_time()
        layout = build_layout(tenant, sources)
        built = time.process_time()
        assert not layout.errors, layout.errors[0].message
        gc.freeze()  # as a service does once a tenant is loaded: the collector need not walk it again
        n = 20 if quick else 100
        futures = timed_ms(lambda layout=layout, projects=projects: future_of(layout, projects // 2, 1), n)  # type: ignore[misc]
        overlays = timed_ms(lambda layout=layout, projects=projects: overlay_only(layout, projects // 2), n)  # type: ignore[misc]
        report.rows.append(
            {
                "case": "tenant",
                "projects": projects,
                "files": len(texts),
                "parse_cpu_s": parsed - start,
                "layout_cpu_s": built - parsed,
                "overlay_p50_cpu_ms": statistics.median(overlays),
                "future_p50_cpu_ms": statistics.median(futures),
                "future_p95_cpu_ms": sorted(futures)[int(n * 0.95)],
                "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "n": n,
            }
        )
        gc.unfreeze()
    return report


_PARSED: dict[int, object] = {}


def overlay_only(layout: Layout, index: int) -> None:
    """The overlay alone, its file parsed before."""
    spec = layout.spec(f"{HOST}/org/p{index}")
    key = (spec.canonical_name, "master")
    fragment = _PARSED.get(index)
    if fragment is None:
        fragment = _PARSED[index] = parse_blob(project_text(index, 2), context(spec, "master"))
    future = layout.overlay({key: (fragment,)})  # type: ignore[dict-item]
    assert not future.new_errors(layout, {key})
