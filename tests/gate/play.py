"""Plays: what happens (`>>`), and what the gate then asks of the world (`<<`).

    play = Play(gate(window=3))
    play >> enqueued(A) >> enqueued(B)
    play << builds("test: A", "test: A B")

The play answers the gate's errands at once (merges, freezes, nodes, semaphores), unless told not to, so that a test names
only what it is about. A build is written `job: A B`: the job and the changes of its future, the tested one last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from trunkline.gate.effects import (
    AcquireSemaphores,
    AnyEffect,
    BuildsetClosed,
    CancelBuild,
    CancelNodes,
    Effect,
    FreezeJobs,
    Land,
    MergeFuture,
    RecordBuild,
    ReleaseSemaphores,
    Report,
    RequestNodes,
    ResumeBuild,
    ReturnNodes,
    StartBuild,
)
from trunkline.gate.events import (
    AnyEvent,
    BuildCompleted,
    BuildFailing,
    BuildPaused,
    BuildStarted,
    Dequeue,
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
    SemaphoresHad,
)
from trunkline.gate.invariants import violations
from trunkline.gate.model import (
    Change,
    Dependency,
    ItemId,
    ItemSpec,
    JobGraph,
    JobSpec,
    Manager,
    Queue,
    QueueId,
    QueueSettings,
    RefKey,
    Semaphore,
)
from trunkline.gate.step import step

Said = Callable[["Play"], None]


def gate(**settings: Any) -> QueueSettings:
    return QueueSettings(manager=Manager.DEPENDENT, pipeline="gate", priority=100, **settings)


def check(**settings: Any) -> QueueSettings:
    return QueueSettings(manager=Manager.INDEPENDENT, pipeline="check", reports_start=False, **settings)


def serial(**settings: Any) -> QueueSettings:
    return QueueSettings(manager=Manager.SERIAL, pipeline="deploy", reports_start=False, **settings)


def supercedent(**settings: Any) -> QueueSettings:
    return QueueSettings(manager=Manager.SUPERCEDENT, pipeline="post", reports_start=False, **settings)


def change(name: str, *needs: str, project: str = "p1") -> Change:
    return Change(RefKey(name), project, branch="master", url=f"https://review/{name}", needs=tuple(map(RefKey, needs)))


def job(name: str, *after: str, soft: Iterable[str] = (), nodes: int = 0, **more: Any) -> JobSpec:
    """`nodes` labels in one nodeset, or `nodesets=` given whole; `semaphores` by name."""
    dependencies = (*(Dependency(a) for a in after), *(Dependency(s, soft=True) for s in soft))
    semaphores = tuple(s if isinstance(s, Semaphore) else Semaphore(s) for s in more.pop("semaphores", ()))
    nodesets = more.pop("nodesets", (("debian",) * nodes,) if nodes else ())
    return JobSpec(name, dependencies=dependencies, nodesets=nodesets, semaphores=semaphores, **more)


class Play:
    """A queue, the graph of every item in it, and who carries out what."""

    def __init__(
        self,
        settings: QueueSettings,
        *jobs: JobSpec,
        graphs: dict[str, tuple[JobSpec, ...]] | None = None,
        conflicts: Callable[[list[str]], bool] = lambda names: False,
        fail_fast: bool = False,
        by_hand: tuple[type[Effect], ...] = (),
    ) -> None:
        self.queue = Queue(QueueId("t/gate/q"), settings=settings)
        self.jobs = jobs or (job("test"),)
        self.graphs = graphs or {}
        self.conflicts = conflicts
        self.fail_fast = fail_fast
        self.by_hand = by_hand
        self.now = 1000.0
        self.futures: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.live: dict[str, StartBuild] = {}
        self.seen: list[Effect] = []
        self.history: list[Event] = []

    # -- saying

    def __rshift__(self, happens: Said | Event) -> Play:
        if isinstance(happens, Event):
            self.send(happens)
        else:
            happens(self)
        return self

    def __lshift__(self, expects: Said) -> Play:
        expects(self)
        return self

    def send(self, event: Event) -> None:
        """One event, and everything the world answers to what follows from it."""
        waiting: list[Event] = [event]
        while waiting:
            event = waiting.pop(0)
            event = msgspec.json.decode(msgspec.json.encode(event), type=AnyEvent)
            self.history.append(event)
            self.now += 1
            self.queue, effects = step(self.queue, event, self.now)
            assert violations(self.queue) == []
            stored = msgspec.json.decode(msgspec.json.encode(self.queue), type=Queue)
            assert stored == self.queue
            for effect in effects:
                assert msgspec.json.decode(msgspec.json.encode(effect), type=AnyEffect) == effect
                self.seen.append(effect)
                answer = self._carry_out(effect)
                if answer is not None and not isinstance(effect, self.by_hand):
                    waiting.append(answer)

    def _carry_out(self, effect: Effect) -> Event | None:
        match effect:
            case MergeFuture():
                names = [change.key for change in effect.changes]
                self.futures[effect.future] = names
                if self.conflicts(names):
                    return FutureConflicted(effect.item, effect.future, ("same.txt",), "conflict")
                return FutureMerged(effect.item, effect.future)
            case FreezeJobs():
                return GraphFrozen(effect.item, effect.future, self.graph_of(effect), effect.round)
            case RequestNodes():
                return NodesReady(effect.item, effect.job, effect.request, provider="cloud-a")
            case AcquireSemaphores():
                return SemaphoresHad(effect.item, effect.job, effect.ticket)
            case StartBuild():
                self.live[effect.build] = effect
                return BuildStarted(effect.build, at=self.now)
            case CancelBuild():
                self.live.pop(effect.build, None)
        return None

    def graph_of(self, effect: FreezeJobs) -> JobGraph:
        frozen = []
        for tested in effect.changes:
            for spec in self.graphs.get(tested.key, self.jobs):
                frozen.append(msgspec.structs.replace(spec, change=tested.key))
        return JobGraph(tuple(frozen), fail_fast=self.fail_fast)

    # -- looking

    def text(self, build: StartBuild) -> str:
        return f"{build.name}: {' '.join(self.futures[build.future])}"

    def find(self, name: str, change_name: str) -> StartBuild:
        for build in self.live.values():
            if build.name == name and change_name in build.refs:
                return build
        raise AssertionError(f"no build {name} of {change_name}: {[self.text(b) for b in self.live.values()]}")

    def item(self, change_name: str) -> Any:
        return self.queue.items[self.queue.changes[RefKey(change_name)]]

    def run(self, change_name: str, job_id: str = "test") -> Any:
        return self.item(change_name).future.runs[job_id]

    def take(self, *kinds: type[Effect]) -> list[Any]:
        """Effects of these kinds since they were last taken."""
        taken = [effect for effect in self.seen if isinstance(effect, kinds)]
        self.seen = [effect for effect in self.seen if not isinstance(effect, kinds)]
        return taken


# -- what happens


def spec_of(*changes: Change, live: bool = True, **more: Any) -> ItemSpec:
    return ItemSpec(ItemId("item-" + "-".join(c.key for c in changes)), changes, live=live, **more)


def enqueued(*changes: Change, live: bool = True, **more: Any) -> Said:
    return lambda play: play.send(Enqueue(spec_of(*changes, live=live, **more)))


def dequeued(name: str, **more: Any) -> Said:
    return lambda play: play.send(Dequeue(change=RefKey(name), **more))


def ended(name: str, result: str | None, job: str = "test", **more: Any) -> Said:
    def say(play: Play) -> None:
        build = play.find(job, name)
        del play.live[build.build]
        play.send(BuildCompleted(build.build, result, at=play.now, **more))

    return say


def passed(name: str, job: str = "test", **more: Any) -> Said:
    return ended(name, "SUCCESS", job, **more)


def failed(name: str, job: str = "test", **more: Any) -> Said:
    return ended(name, "FAILURE", job, **more)


def paused(name: str, job: str = "test", **data: Any) -> Said:
    return lambda play: play.send(BuildPaused(play.find(job, name).build, data=data))


def failing(name: str, job: str = "test") -> Said:
    return lambda play: play.send(BuildFailing(play.find(job, name).build))


def landed(name: str) -> Said:
    return lambda play: play.send(Landed(play.item(name).id))


def refused(name: str, reason: str = "", landed: tuple[str, ...] = ()) -> Said:
    return lambda play: play.send(LandingRefused(play.item(name).id, reason, tuple(map(RefKey, landed))))


def promoted(*names: str) -> Said:
    return lambda play: play.send(Promote(tuple(map(RefKey, names))))


def nodes_failed(name: str, job: str = "test") -> Said:
    def say(play: Play) -> None:
        item, run = play.item(name), play.run(name, job)
        play.send(NodesFailed(item.id, job, run.request, "no capacity"))  # type: ignore[arg-type]

    return say


def graph_refused(name: str, *errors: str) -> Said:
    return lambda play: play.send(GraphRefused(play.item(name).id, play.item(name).future.id, errors))


# -- what is expected


def builds(*texts: str) -> Said:
    """Exactly these builds are under way."""

    def look(play: Play) -> None:
        assert sorted(play.text(b) for b in play.live.values()) == sorted(texts)

    return look


def lands(*names: str) -> Said:
    """Landing is asked for exactly these items since last asked; nothing else."""
    return lambda play: _same([c.key for e in play.take(Land) for c in e.changes], names)


def reports(*texts: str) -> Said:
    """`KIND: A`, in order, since last asked. Start reports aside."""

    def look(play: Play) -> None:
        said = [
            f"{e.kind.value}: {' '.join(c.key for c in e.changes)}"
            for e in play.take(Report)
            if e.kind.value != "start"
        ]
        _same(said, texts)

    return look


def cancels(*texts: str) -> Said:
    """`job: A` for the item whose build is stopped."""

    def look(play: Play) -> None:
        said = [f"{e.job}: {' '.join(_own(play, e))}" for e in play.take(CancelBuild)]
        _same(sorted(said), sorted(texts))

    return look


def _own(play: Play, effect: CancelBuild) -> list[str]:
    return effect.item.removeprefix("item-").split("-")


def queue_is(*names: str) -> Said:
    def look(play: Play) -> None:
        _same(["+".join(c.key for c in play.queue.items[i].changes) for i in play.queue.order], names)

    return look


def records(*texts: str) -> Said:
    """`job RESULT` of verdicts since last asked."""
    return lambda play: _same([f"{e.job} {e.result}" for e in play.take(RecordBuild)], texts)


def closes(*texts: str) -> Said:
    return lambda play: _same([e.result for e in play.take(BuildsetClosed)], texts)


def resumes(*jobs: str) -> Said:
    def look(play: Play) -> None:
        _same([play.live[e.build].name for e in play.take(ResumeBuild)], jobs)

    return look


def gives_back(nodes: int = 0, canceled: int = 0, semaphores: int = 0) -> Said:
    def look(play: Play) -> None:
        found = (len(play.take(ReturnNodes)), len(play.take(CancelNodes)), len(play.take(ReleaseSemaphores)))
        assert found == (nodes, canceled, semaphores)

    return look


def asks_nodes(*jobs: str) -> Said:
    return lambda play: _same([e.job for e in play.take(RequestNodes)], jobs)


def message(kind: str) -> Callable[[Play], str]:
    def look(play: Play) -> str:
        return next(e.message for e in play.take(Report) if e.kind.value == kind)

    return look


def _same(found: Iterable[str], wanted: Iterable[str]) -> None:
    assert list(found) == list(wanted)
