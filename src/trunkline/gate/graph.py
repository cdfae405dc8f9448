"""Which jobs may start: pure questions about a job graph and the state of its runs.

A graph is a map id → JobSpec in graph order, parents before children; `resolve` makes it from what was frozen.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from trunkline.gate.model import JobGraph, JobId, JobKind, JobSpec, RefKey, Run, RunState

Graph = Mapping[JobId, JobSpec]
Runs = Mapping[JobId, Run]

NOOP = "noop"
SUCCESS = "SUCCESS"
SKIPPED = "SKIPPED"


class Readiness(enum.Enum):
    READY = "ready"  # all parents succeeded or are paused
    EARLY = "early"  # all parents are at least being built, none has failed
    WAIT = "wait"
    SKIP = "skip"  # it will never run


def resolve(frozen: JobGraph, only_change: RefKey) -> tuple[dict[JobId, JobSpec], str]:
    """Give jobs their ids, merge duplicates, resolve dependencies, order parents first.

    Returns the graph and an error, one of them empty. A soft dependency on a job that is not there vanishes.
    """
    specs = [replace(spec, change=spec.change or only_change) for spec in frozen.jobs]
    survivors, stands_for = _deduplicated(specs)
    names = [spec.name for spec in survivors]
    ids = {
        (spec.name, spec.change): JobId(spec.name if names.count(spec.name) == 1 else f"{spec.name}@{spec.change}")
        for spec in survivors
    }
    lookup = {(spec.name, spec.change): ids[owner] for owner, group in stands_for.items() for spec in group}
    graph: dict[JobId, JobSpec] = {}
    for spec in survivors:
        own = ids[(spec.name, spec.change)]
        group = stands_for[(spec.name, spec.change)]
        parents: dict[JobId, bool] = {}
        for member in group:
            for dependency in member.dependencies:
                parent = lookup.get((dependency.name, member.change))
                if parent is None and not dependency.soft:
                    return {}, f"Job {spec.name} depends on {dependency.name} which was not run."
                if parent is not None:
                    parents[parent] = parents.get(parent, True) and dependency.soft
        refs = tuple(member.change for member in group)
        graph[own] = replace(spec, id=own, refs=refs, parents=tuple(parents.items()))
    return _parents_first(graph)


def _deduplicated(specs: list[JobSpec]) -> tuple[list[JobSpec], dict[tuple[str, RefKey], list[JobSpec]]]:
    survivors: list[JobSpec] = []
    stands_for: dict[tuple[str, RefKey], list[JobSpec]] = {}
    first: dict[tuple[str, str], JobSpec] = {}
    for spec in specs:
        twin = first.get((spec.name, spec.digest)) if spec.deduplicate and spec.digest else None
        if twin is not None and twin.change != spec.change:
            stands_for[(twin.name, twin.change)].append(spec)
            continue
        survivors.append(spec)
        stands_for[(spec.name, spec.change)] = [spec]
        if spec.deduplicate and spec.digest:
            first.setdefault((spec.name, spec.digest), spec)
    return survivors, stands_for


def _parents_first(graph: dict[JobId, JobSpec]) -> tuple[dict[JobId, JobSpec], str]:
    ordered: dict[JobId, JobSpec] = {}
    waiting = dict(graph)
    while waiting:
        ready = [job for job, spec in waiting.items() if all(parent in ordered for parent, _ in spec.parents)]
        if not ready:
            return {}, f"Dependency cycle detected in job {min(waiting)}."
        if len(ready) == len(waiting):
            ordered.update(waiting)
            break
        # One at a time, so that list order is kept wherever dependencies allow it.
        ordered[ready[0]] = waiting.pop(ready[0])
    return ordered, ""


def readiness(spec: JobSpec, runs: Runs) -> Readiness:
    """May this waiting job start? O(its parents)."""
    answer = Readiness.READY
    for parent, soft in spec.parents:
        run = runs[parent]
        if run.state is RunState.DONE and run.result != SUCCESS:
            if run.result != SKIPPED or not soft:
                return Readiness.SKIP
            continue
        if run.child_jobs is not None and spec.name not in run.child_jobs:
            return Readiness.SKIP
        if run.state is RunState.DONE or run.state in (RunState.PAUSED, RunState.RESUMING):
            continue
        started = run.state in (RunState.REQUESTED, RunState.RUNNING) and not run.failing
        answer = Readiness.EARLY if started and answer is not Readiness.WAIT else Readiness.WAIT
    return answer


def skip_reason(graph: Graph, spec: JobSpec, runs: Runs) -> str:
    """Why a job will never run: the parent that did not choose it, or that failed; its parent's reason if that was skipped."""
    for parent, soft in spec.parents:
        run = runs[parent]
        if run.child_jobs is not None and spec.name not in run.child_jobs:
            return f"Skipped due to child_jobs return value in job {graph[parent].name}"
        if run.state is RunState.DONE and run.result == SKIPPED and not soft:
            return skip_reason(graph, graph[parent], runs)
        if run.state is RunState.DONE and run.result not in (SUCCESS, SKIPPED):
            return f"Skipped due to failed job {graph[parent].name}"
    return ""


def waits_for(spec: JobSpec, runs: Runs) -> list[JobId]:
    """Parents that have neither ended nor paused."""
    passed = (RunState.DONE, RunState.PAUSED, RunState.RESUMING)
    return [parent for parent, _ in spec.parents if runs[parent].state not in passed]


def ancestors(graph: Graph, job: JobId) -> list[JobId]:
    """All jobs that this one depends on, directly or not, in graph order."""
    wanted: set[JobId] = set()
    frontier = [job]
    while frontier:
        for parent, _ in graph[frontier.pop()].parents:
            if parent not in wanted:
                wanted.add(parent)
                frontier.append(parent)
    return [other for other in graph if other in wanted] if wanted else []


def descendants(graph: Graph, job: JobId) -> list[JobId]:
    """All jobs that depend on this one, directly or not, in graph order."""
    found = {job}
    below = []
    for other, spec in graph.items():
        if any(parent in found for parent, _ in spec.parents):
            found.add(other)
            below.append(other)
    return below


def children(graph: Graph, job: JobId) -> tuple[str, ...]:
    """Names of the direct dependants."""
    return tuple(spec.name for spec in graph.values() if any(parent == job for parent, _ in spec.parents))


def counts_as_failed(spec: JobSpec, run: Run) -> bool:
    """A voting job that failed, or is known to."""
    if not spec.voting or spec.kind is JobKind.REPORTER:
        return False
    return run.failing or (run.state is RunState.DONE and run.result not in (SUCCESS, SKIPPED))


def all_done(graph: Graph, runs: Runs, kinds: Iterable[JobKind]) -> bool:
    wanted = frozenset(kinds)
    return all(runs[job].state is RunState.DONE for job, spec in graph.items() if spec.kind in wanted)


def succeeded(graph: Graph, runs: Runs) -> bool:
    """No voting job failed, and not all jobs were skipped."""
    jobs = [(spec, runs[job]) for job, spec in graph.items() if spec.kind is not JobKind.REPORTER]
    if any(counts_as_failed(spec, run) for spec, run in jobs):
        return False
    return any(run.result != SKIPPED for _, run in jobs)


def merged_data(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Maps merge deeply, later over earlier; what is meant for the system itself (`zuul`) is not handed down."""
    merged: dict[str, Any] = {}
    for part in parts:
        merged = _merge(merged, {key: value for key, value in part.items() if key != "zuul"})
    return merged


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
