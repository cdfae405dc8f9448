"""Gathering what the admission must know: a change, all it needs, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from trunkline.config import Layout, Pipeline
from trunkline.connections import (
    ChangeInfo,
    ChangeNotFound,
    Connection,
    merge_problem,
    requirement_problem,
)
from trunkline.gate import Candidate, Change
from trunkline.gate.model import RefKey
from trunkline.services.sources import Sources

log = structlog.get_logger()

MOST = 500  # changes looked at for one admission; a bound, not a rule of the tenant


@dataclass
class Gathered:
    """Candidates by ref key, and what is to be remembered of their changes."""

    candidates: dict[RefKey, Candidate] = field(default_factory=dict)
    infos: dict[str, ChangeInfo] = field(default_factory=dict)


def gate_change(sources: Sources, info: ChangeInfo) -> Change:
    """A change as the gate names it."""
    return Change(
        key=RefKey(info.key),
        project=sources.canonical(info.connection, info.project),
        connection=info.connection,
        branch=info.branch,
        number=info.number,
        patchset=str(info.patchset),
        ref=info.ref,
        url=info.url,
        owner=info.owner.name or info.owner.username or None,
    )


class Gathering:
    """Gathers for one pipeline of one layout."""

    def __init__(self, sources: Sources, layout: Layout, pipeline: Pipeline, now: float) -> None:
        self.sources, self.layout, self.pipeline, self.now = sources, layout, pipeline, now
        self._changes: dict[tuple[str, int], ChangeInfo] = {}
        self._labels = _labels_voted(pipeline)
        self._whole_topics: set[str] = set()

    async def of_change(self, info: ChangeInfo) -> Gathered:
        """Everything reachable from the change: needs always, needed-by only where it matters."""
        gathered = Gathered()
        self._whole_topics = {name for name in self.sources.drivers if await self.sources.lands_whole_topics(name)}
        waiting = [info]
        self._changes[info.connection, info.number] = info
        while waiting and len(gathered.infos) < MOST:
            one = waiting.pop(0)
            if one.key in gathered.infos:
                continue
            needs, needed_by = await asyncio.gather(self._needs(one), self._needed_by(one))
            gathered.infos[one.key] = one
            gathered.candidates[RefKey(one.key)] = self._candidate(one, needs, needed_by)
            waiting += [*needs, *needed_by]
        return gathered

    async def _needs(self, info: ChangeInfo) -> list[ChangeInfo]:
        if self.pipeline.ignore_dependencies or not info.is_open:
            return []
        driver = self.sources[info.connection]
        found = list(await driver.dependencies(info))
        for url in info.depends_on:
            other = self.sources.of_url(url)
            if other is None:
                continue  # a change of a system that this installation is not connected to binds nobody
            try:
                found.append(await self._change(*other))
            except ChangeNotFound:
                log.info("dependency.unknown", change=info.key, url=url)
        if self._topic_binds(info):
            found += [c for c in await self._topic(info) if c.key != info.key]
        return _once(found)

    async def _needed_by(self, info: ChangeInfo) -> list[ChangeInfo]:
        if self.pipeline.ignore_dependencies or self.pipeline.manager != "dependent":
            return []
        found = list(await self.sources[info.connection].needed_by(info))
        for driver in self.sources.all():
            found += await driver.dependents(info.uris)
        if self._topic_binds(info):
            found += [c for c in await self._topic(info) if c.key != info.key]
        return _once(found)

    async def _change(self, driver: Connection, number: int) -> ChangeInfo:
        key = (driver.name, number)
        if key not in self._changes:
            self._changes[key] = await driver.change(number)
        return self._changes[key]

    async def _topic(self, info: ChangeInfo) -> list[ChangeInfo]:
        assert info.topic is not None
        return await self.sources[info.connection].by_topic(info.topic)

    def _topic_binds(self, info: ChangeInfo) -> bool:
        """Changes of a topic need one another where the queue says so, or the review system lands them together."""
        queue = self.layout.queues.get(self._queue_name(info) or "")
        by_queue = queue is not None and queue.dependencies_by_topic
        return bool(info.topic) and (by_queue or info.connection in self._whole_topics)

    def _queue_name(self, info: ChangeInfo) -> str | None:
        canonical = self.sources.canonical(info.connection, info.project)
        return self.layout.queue_of(canonical, info.branch)

    def _candidate(self, info: ChangeInfo, needs: Iterable[ChangeInfo], needed_by: Iterable[ChangeInfo]) -> Candidate:
        canonical = self.sources.canonical(info.connection, info.project)
        name = self._queue_name(info)
        queue = self.layout.queues.get(name or "")
        per_branch = queue is not None and queue.per_branch
        return Candidate(
            change=gate_change(self.sources, info),
            needs=tuple(RefKey(c.key) for c in needs),
            needed_by=tuple(RefKey(c.key) for c in needed_by),
            topic=info.topic,
            is_open=info.is_open,
            is_merged=info.is_merged,
            is_current=info.is_current_patchset,
            problem=self.requirement_problem(info) or "",
            landing_problem=(merge_problem(info, self._labels) or "") if self.pipeline.manager == "dependent" else "",
            queue=(name or canonical) + (f"/{info.branch}" if per_branch else ""),
            branch_of_queue=info.branch if per_branch else None,
            allow_cycles=queue is not None and queue.allow_circular_dependencies,
            topic_binds=self._topic_binds(info),
            in_pipeline=self.layout.tenant.project(canonical) is not None,
        )

    def problem(self, info: ChangeInfo) -> str | None:
        """Why the change may not be in a pipeline that lands, or could not land from it."""
        return self.requirement_problem(info) or merge_problem(info, self._labels)

    def requirement_problem(self, info: ChangeInfo) -> str | None:
        """Why the change may not be in the pipeline now, or None."""
        require = self.pipeline.require.get(info.connection, [])
        reject = self.pipeline.reject.get(info.connection, [])
        return requirement_problem(require, reject, info, self.now)


def of_ref(change: Change, canonical: str) -> Gathered:
    """A branch, tag or other ref needs nothing and stands in a queue of its project."""
    candidate = Candidate(change=change, queue=canonical, is_open=True)
    return Gathered({change.key: candidate})


def _once(changes: Iterable[ChangeInfo]) -> list[ChangeInfo]:
    return list({change.key: change for change in changes}.values())


def _labels_voted(pipeline: Pipeline) -> frozenset[str]:
    """Labels that the pipeline sets itself when an item succeeds: landing does not wait for those."""
    labels: set[str] = set()
    for options in pipeline.reporters_for("success").values():
        if isinstance(options, dict):
            labels |= {key for key, value in options.items() if isinstance(value, int) and not isinstance(value, bool)}
    return frozenset(labels)
