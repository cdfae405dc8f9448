"""A world around one queue of the gate: merges, nodes, semaphores, executors and a review system in virtual time.

The seed decides everything: the changes and their hidden faults, durations, outages, and what becomes of every event on
its way (late, twice, out of order). Events are never lost for good: the inbox is durable, so "lost" means delivered later.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from trunkline.gate.effects import (
    AcquireSemaphores,
    CancelBuild,
    CancelNodes,
    Effect,
    FreezeJobs,
    Land,
    MergeFuture,
    ReleaseSemaphores,
    Report,
    ReportKind,
    RequestNodes,
    ResumeBuild,
    ReturnNodes,
    StartBuild,
)
from trunkline.gate.events import (
    BuildCompleted,
    BuildFailing,
    BuildPaused,
    BuildStarted,
    Enqueue,
    Event,
    FutureConflicted,
    FutureMerged,
    GraphFrozen,
    GraphRefused,
    Landed,
    LandingRefused,
    NodesFailed,
    NodesReady,
    Promote,
    Reconfigured,
    ReportSent,
    RetryReason,
    SemaphoresHad,
)
from trunkline.gate.model import (
    BuildId,
    Change,
    FutureId,
    ItemId,
    JobGraph,
    Manager,
    Queue,
    QueueId,
    RefKey,
    RequestId,
)
from trunkline.gate.step import step
from trunkline.sim.gate_laws import Laws
from trunkline.sim.gate_workload import Workload

MOST_EVENTS = 200_000

# A failure that no test gave: what the item needs has failed, or somebody took a vote back.
NO_VERDICT = ("depends on a change", "missing merge requirement")


@dataclass
class Tally:
    """What became of the changes."""

    events: int = 0
    builds: int = 0
    landed: int = 0
    rejected: int = 0
    left: int = 0
    virtual_h: float = 0.0

    def __iadd__(self, other: Tally) -> Tally:
        self.events += other.events
        self.builds += other.builds
        self.landed += other.landed
        self.rejected += other.rejected
        self.left += other.left
        self.virtual_h += other.virtual_h
        return self


@dataclass(order=True)
class _Due:
    at: float
    serial: int
    event: Event = field(compare=False)


class GateWorld:
    """One seeded run."""

    def __init__(self, seed: int, *, manager: Manager = Manager.DEPENDENT, changes: int = 40) -> None:
        self.random = random.Random(f"gate {seed} {manager.value} {changes}")
        self.workload = Workload(self.random, changes, manager)
        self.settings = self.workload.settings
        self.queue = Queue(QueueId(f"sim/{manager.value}/q"), settings=self.settings)
        self.laws = Laws(self.queue)
        self.now = 0.0
        self.trace: list[str] = []
        self.tally = Tally()
        self._due: list[_Due] = []
        self._serial = 0
        self._needs: dict[RefKey, tuple[RefKey, ...]] = {}
        self._own: dict[FutureId, tuple[Change, ...]] = {}
        self._merged: dict[FutureId, tuple[Change, ...]] = {}
        self._running: dict[BuildId, StartBuild] = {}
        self._resumed: set[BuildId] = set()
        self._free_nodes = self.workload.nodes
        self._nodes: dict[RequestId, int] = {}
        self._wanting: dict[RequestId, RequestNodes] = {}
        self._semaphores: dict[str, str] = {}  # name → ticket
        self._queueing: dict[str, AcquireSemaphores] = {}
        self._landing_done: set[ItemId] = set()

    def run(self) -> Tally:
        for at, event in self.workload.arrivals():
            self._post(event, at=at)
        while self._due:
            due = heapq.heappop(self._due)
            self.now = max(self.now, due.at)
            self._deliver(due.event)
            self.tally.events += 1
            self.laws.check(self.tally.events < MOST_EVENTS, "L2: this world does not come to an end")
        self.laws.over(self.queue)
        self.tally.virtual_h = self.now / 3600
        return self.tally

    # -- events on their way

    def _post(self, event: Event, *, after: float = 0.0, at: float | None = None) -> None:
        when = (self.now + after if at is None else at) + self.random.expovariate(1 / 2)
        if self.random.random() < self.workload.p_late:
            when += self.random.uniform(0, 900)  # lost, and delivered again by whoever noticed
        self._push(when, event)
        if self.random.random() < self.workload.p_twice:
            self._push(when + self.random.expovariate(1 / 300), event)

    def _push(self, at: float, event: Event) -> None:
        self._serial += 1
        heapq.heappush(self._due, _Due(at, self._serial, event))

    def _deliver(self, event: Event) -> None:
        if isinstance(event, Enqueue):
            for change in event.item.changes:
                self._needs[change.key] = change.needs
        self.queue, effects = step(self.queue, event, self.now)
        self.trace.append(f"{self.now:10.1f} > {event}")
        self.trace += [f"{self.now:10.1f} <   {effect}" for effect in effects]
        for effect in effects:
            if isinstance(effect, MergeFuture):
                # The tree of a future is decided by the branch tips when its merge is asked for.
                self.laws.content[effect.future] = frozenset(self.laws.landed) | {c.key for c in effect.changes}
        self.laws.after(self.queue, event, self.now, effects)
        if self.random.random() < 0.2 and not isinstance(event, Reconfigured | Promote):
            self.laws.twice(self.queue, event, self.now)
        for effect in effects:
            self._carry_out(effect)

    # -- what the gate asks for

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case MergeFuture():
                self._merge(effect)
            case FreezeJobs():
                self._freeze(effect)
            case RequestNodes():
                self._wanting[effect.request] = effect
                self._hand_out_nodes()
            case CancelNodes() | ReturnNodes():
                self._take_nodes(effect.request)
            case AcquireSemaphores():
                self._queueing[effect.ticket] = effect
                self._hand_out_semaphores()
            case ReleaseSemaphores():
                self._release(effect.ticket)
            case StartBuild():
                self._build(effect)
            case CancelBuild():
                self._running.pop(effect.build, None)
            case ResumeBuild():
                self._resumed.add(effect.build)
                self._finish(effect.build, self.random.uniform(5, 60))
            case Land():
                self._land(effect)
            case Report():
                self._report(effect)

    def _merge(self, effect: MergeFuture) -> None:
        self._own[effect.future] = effect.changes[-effect.own :]
        content = self.laws.content[effect.future]
        self._merged[effect.future] = effect.changes
        if self.workload.conflicts(content, {c.key for c in self._own[effect.future]}):
            self._post(FutureConflicted(effect.item, effect.future, ("f",), "conflict"), after=self._short())
        else:
            self._post(FutureMerged(effect.item, effect.future), after=self._short())

    def _freeze(self, effect: FreezeJobs) -> None:
        if any(change.key in self.workload.broken for change in effect.changes):
            self._post(GraphRefused(effect.item, effect.future, ("unknown key",), effect.round), after=self._short())
            return
        jobs = tuple(spec for change in effect.changes for spec in self.workload.jobs_of(change.key))
        graph = JobGraph(jobs, fail_fast=self.workload.fail_fast)
        self._post(GraphFrozen(effect.item, effect.future, graph, effect.round), after=self._short())

    def _short(self) -> float:
        return self.random.expovariate(1 / 5)

    def _build(self, effect: StartBuild) -> None:
        self._running[effect.build] = effect
        self.tally.builds += 1
        self._post(BuildStarted(effect.build, at=self.now), after=self._short())
        if effect.name in self.workload.pausing and self.random.random() < 0.7:
            data = {"zuul": {"pause": True}}
            self._post(BuildPaused(effect.build, data=data), after=self.random.uniform(60, 600))
            if self.random.random() < self.workload.p_lost:
                self._lose(effect.build, self.random.uniform(60, 3000))
        else:
            self._finish(effect.build, self.random.uniform(60, 2400))

    def _lose(self, build: BuildId, after: float) -> None:
        """Its executor dies; whoever notices says so."""
        self._post(BuildCompleted(build, None, RetryReason.EXECUTOR_LOST), after=after)

    def _finish(self, build: BuildId, after: float) -> None:
        effect = self._running.get(build)
        if effect is None:
            return
        if self.random.random() < self.workload.p_lost:
            if self.random.random() < 0.3:
                self._post(BuildFailing(build), after=after * 0.5)
            self._lose(build, after)
            return
        if self.random.random() < self.workload.p_retry and build not in self._resumed:
            reasons = [RetryReason.PRE_RUN, RetryReason.UNREACHABLE, RetryReason.TRANSIENT]
            self._post(BuildCompleted(build, None, self.random.choice(reasons)), after=after)
            return
        bad = self.workload.fails(effect.name, self.laws.content[effect.future])
        if bad and self.random.random() < 0.3:
            self._post(BuildFailing(build), after=after * 0.5)
        result = self.random.choice(["FAILURE", "POST_FAILURE", "TIMED_OUT"]) if bad else "SUCCESS"
        data = self.workload.returned(self.random, effect)
        self._post(BuildCompleted(build, result, data=data, at=self.now + after), after=after)

    # -- nodes and semaphores

    def _hand_out_nodes(self) -> None:
        order = sorted(self._wanting.values(), key=lambda r: (r.priority, r.relative_priority))
        for request in order:
            if self.random.random() < self.workload.p_node_failure:
                del self._wanting[request.request]
                self._nodes[request.request] = 0
                self._post(NodesFailed(request.item, request.job, request.request, "no capacity"), after=self._short())
            elif len(request.labels) <= self._free_nodes:
                del self._wanting[request.request]
                self._free_nodes -= len(request.labels)
                self._nodes[request.request] = len(request.labels)
                ready = NodesReady(request.item, request.job, request.request, provider="cloud")
                self._post(ready, after=self.random.uniform(10, 90))

    def _take_nodes(self, request: RequestId) -> None:
        self._wanting.pop(request, None)
        self._free_nodes += self._nodes.pop(request, 0)
        self._hand_out_nodes()

    def _hand_out_semaphores(self) -> None:
        for ticket, wish in list(self._queueing.items()):
            if not any(name in self._semaphores for name in wish.names):
                del self._queueing[ticket]
                self._semaphores |= dict.fromkeys(wish.names, ticket)
                self._post(SemaphoresHad(wish.item, wish.job, ticket))

    def _release(self, ticket: str) -> None:
        self._queueing.pop(ticket, None)
        self._semaphores = {name: holder for name, holder in self._semaphores.items() if holder != ticket}
        self._hand_out_semaphores()

    # -- the review system

    def _land(self, effect: Land) -> None:
        keys = tuple(change.key for change in effect.changes)
        if self.random.random() < self.workload.p_refused:
            self.tally.rejected += 1
            self._post(LandingRefused(effect.item, "no"), after=self._short())
            return
        self.laws.lands(effect.future, keys, (need for key in keys for need in self._needs[key]))
        self.tally.landed += len(keys)
        self._post(Landed(effect.item, keys), after=self._short())

    def _report(self, effect: Report) -> None:
        if effect.answer:
            self._post(ReportSent(effect.item, effect.kind.value), after=self._short())
        if effect.kind is ReportKind.FAILURE and not any(words in effect.message for words in NO_VERDICT):
            self.tally.rejected += 1
            if self.settings.manager is Manager.DEPENDENT:
                self.laws.innocent(effect.future, [change.key for change in effect.changes])
        elif effect.kind is not ReportKind.START:
            self.tally.left += 1
