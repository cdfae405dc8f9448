"""From frozen jobs to a graph: initializers, duplicates of a cycle, files, dependencies, late refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trunkline.config.definitions import Place
from trunkline.config.errors import ConfigError
from trunkline.config.frozen import Dependency, FrozenJob
from trunkline.config.regex import Regex
from trunkline.config.source import Subject

if TYPE_CHECKING:
    from trunkline.config.layout import Layout


class Candidate(msgspec.Struct):
    """A job frozen for one subject, before it is decided whether it runs."""

    job: FrozenJob
    subject: Subject
    place: Place
    path: tuple[Any, ...]
    files: tuple[Regex, ...]
    irrelevant: tuple[Regex, ...]
    match_on_updates: bool
    problem: str | None = None
    matches: bool = True


class Failed(Exception):
    def __init__(self, error: ConfigError) -> None:
        super().__init__(error.short)
        self.error = error


def settle(layout: Layout, candidates: list[Candidate], notes: list[str]) -> tuple[FrozenJob, ...]:
    _add_initializers(candidates)
    candidates = _deduplicate(candidates)
    _propagate(candidates, notes)
    for candidate in candidates:
        if not candidate.matches:
            notes.append(f'Job "{candidate.job.name}": left out, its files do not match')
    chosen = [c for c in candidates if c.matches]
    jobs = _connect(layout, chosen)
    for candidate in chosen:
        if candidate.problem:
            raise Failed(candidate.place.error(candidate.problem, path=candidate.path))
    return jobs


def _add_initializers(candidates: list[Candidate]) -> None:
    """Every regular job depends softly on every initializer of its subject."""
    for candidate in candidates:
        if candidate.job.type != "regular":
            continue
        have = {d.name for d in candidate.job.dependencies}
        new = [
            Dependency(c.job.name, soft=True)
            for c in candidates
            if c.job.type == "initializer" and c.subject is candidate.subject and c.job.name not in have
        ]
        if new:
            candidate.job = msgspec.structs.replace(candidate.job, dependencies=(*candidate.job.dependencies, *new))


def _deduplicate(candidates: list[Candidate]) -> list[Candidate]:
    """One job for several subjects of a cycle, where they allow it and are equal."""
    kept: list[Candidate] = []
    for candidate in candidates:
        job = candidate.job
        twin = next((k for k in kept if _are_twins(k.job, job)), None)
        if twin is None:
            kept.append(candidate)
            continue
        refs = (*twin.job.refs, *job.refs)
        if candidate.subject.triggering and not twin.subject.triggering:
            twin.subject, twin.problem, twin.place, twin.path = (
                candidate.subject,
                candidate.problem,
                candidate.place,
                candidate.path,
            )
            twin.job = msgspec.structs.replace(job, refs=refs)
        else:
            twin.job = msgspec.structs.replace(twin.job, refs=refs)
        twin.matches |= candidate.matches
    return kept


def _are_twins(one: FrozenJob, other: FrozenJob) -> bool:
    if one.name != other.name or one.deduplicate_key != other.deduplicate_key or one.dependencies != other.dependencies:
        return False
    if one.deduplicate is False or set(one.refs) & set(other.refs):
        return False
    if one.deduplicate == "auto":
        return bool(one.required_projects) or one.project == other.project
    return True


def _shares_subject(one: FrozenJob, other: FrozenJob) -> bool:
    return one.refs == other.refs or bool(set(one.refs) & set(other.refs))


def _propagate(candidates: list[Candidate], notes: list[str]) -> None:
    """A job that a matching job needs (hard, over any distance) matches too."""
    pending = [c for c in candidates if c.matches]
    while pending:
        current = pending.pop()
        for dependency in current.job.dependencies:
            if dependency.soft:
                continue
            for other in candidates:
                if other.job.name == dependency.name and not other.matches and _shares_subject(other.job, current.job):
                    other.matches = True
                    notes.append(f'Job "{other.job.name}": runs because "{current.job.name}" depends on it')
                    pending.append(other)


def _connect(layout: Layout, chosen: list[Candidate]) -> tuple[FrozenJob, ...]:
    jobs = []
    for candidate in chosen:
        kept = []
        for dependency in candidate.job.dependencies:
            if any(c.job.name == dependency.name and _shares_subject(c.job, candidate.job) for c in chosen):
                kept.append(dependency)
            elif not layout.kept("job", dependency.name):
                short = f'The job "{candidate.job.name}" depends on "{dependency.name}", which is not defined'
                raise Failed(candidate.place.error(short, path=candidate.path))
            elif not dependency.soft:
                short = f'The job "{candidate.job.name}" depends on "{dependency.name}", which was not run'
                raise Failed(candidate.place.error(short, path=candidate.path))
        jobs.append(msgspec.structs.replace(candidate.job, dependencies=tuple(kept)))
    _refuse_cycles(jobs, chosen)
    return tuple(jobs)


def _refuse_cycles(jobs: list[FrozenJob], chosen: list[Candidate]) -> None:
    waiting = {i: [j for j, other in enumerate(jobs) if _depends(job, other)] for i, job in enumerate(jobs)}
    done: set[int] = set()
    while True:
        ready = [i for i, needs in waiting.items() if i not in done and all(n in done for n in needs)]
        if not ready:
            break
        done.update(ready)
    left = [i for i in waiting if i not in done]
    if left:
        names = ", ".join(jobs[i].name for i in left)
        first = chosen[left[0]]
        raise Failed(
            first.place.error(f"The dependencies of these jobs go round in a circle: {names}", path=first.path)
        )


def _depends(job: FrozenJob, other: FrozenJob) -> bool:
    return any(d.name == other.name for d in job.dependencies) and _shares_subject(job, other)
