"""Small worlds, whole: every outcome in every order. Law L2 is that each path ends in an empty queue."""

import itertools
from typing import Any

import msgspec
import pytest

from tests.gate.play import change, gate, job, serial, spec_of
from trunkline.gate.effects import Effect, FreezeJobs, Land, MergeFuture, StartBuild
from trunkline.gate.events import (
    BuildCompleted,
    BuildFailing,
    BuildPaused,
    Enqueue,
    Event,
    FutureMerged,
    GraphFrozen,
    Landed,
    LandingRefused,
)
from trunkline.gate.invariants import violations
from trunkline.gate.model import JobGraph, JobSpec, Landing, Queue, QueueId, QueueSettings, RunState
from trunkline.gate.step import step

A, B, C = (change(name) for name in "ABC")


class Worlds:
    """All worlds that follow from one start, each state looked at once."""

    def __init__(self, settings: QueueSettings, jobs: tuple[JobSpec, ...], *, early: bool = False) -> None:
        self.settings = settings
        self.jobs = jobs
        self.early = early
        self.seen: set[bytes] = set()
        self.ends = 0
        self.landed: set[tuple[str, ...]] = set()

    def explore(self, *items: tuple[Any, ...]) -> None:
        queue = Queue(QueueId("q"), settings=self.settings)
        for changes in items:
            queue = self.settled(queue, Enqueue(spec_of(*changes)))
        stack = [(queue, ())]
        while stack:
            queue, landed = stack.pop()
            key = msgspec.json.encode((queue, landed))
            if key in self.seen:
                continue
            self.seen.add(key)
            choices = list(self.choices(queue))
            if not choices:
                assert not queue.order, "L2: nothing can happen and somebody is still there"
                self.ends += 1
                self.landed.add(landed)
            for event, now_landed in choices:
                stack.append((self.settled(queue, event), landed + now_landed))

    def choices(self, queue: Queue) -> Any:
        for build, (item_id, job_id) in queue.builds.items():
            run = queue.items[item_id].future.runs[job_id]  # type: ignore[union-attr]
            yield BuildCompleted(build, "SUCCESS"), ()
            yield BuildCompleted(build, "FAILURE"), ()
            if self.early and not run.failing:
                yield BuildFailing(build), ()
            if job_id == "pausing" and run.state is RunState.REQUESTED:
                yield BuildPaused(build), ()
        for item in queue.items.values():
            if item.landing is Landing.ASKED:
                yield Landed(item.id), tuple(c.key for c in item.changes)
                yield LandingRefused(item.id, "no"), ()

    def settled(self, queue: Queue, event: Event) -> Queue:
        """One step, and merges and freezes answered at once."""
        waiting = [event]
        while waiting:
            queue, effects = step(queue, waiting.pop(0), 0.0)
            assert violations(queue) == []
            waiting += [answer for effect in effects if (answer := self.answer(effect))]
        return queue

    def answer(self, effect: Effect) -> Event | None:
        match effect:
            case MergeFuture():
                return FutureMerged(effect.item, effect.future)
            case FreezeJobs():
                frozen = (msgspec.structs.replace(spec, change=c.key) for c in effect.changes for spec in self.jobs)
                return GraphFrozen(effect.item, effect.future, JobGraph(tuple(frozen)))
            case StartBuild() | Land():
                return None
        return None


def test_three_changes_with_one_job() -> None:
    worlds = Worlds(gate(window=3, window_floor=1), (job("test"),))
    worlds.explore((A,), (B,), (C,))
    assert worlds.landed == {landed for n in range(4) for landed in itertools.combinations(("A", "B", "C"), n)}, (
        "any subset may land, always in queue order"
    )


def test_two_changes_with_two_jobs_that_may_fail_early() -> None:
    worlds = Worlds(gate(), (job("a"), job("b")), early=True)
    worlds.explore((A,), (B,))
    # B may land while A, already failing, still runs: never after a landing of A that B was not tested with.
    assert worlds.landed == {(), ("A",), ("B",), ("A", "B")}


def test_a_narrow_window() -> None:
    worlds = Worlds(gate(window=1, window_floor=1), (job("test"),))
    worlds.explore((A,), (B,), (C,))
    assert ("A", "B", "C") in worlds.landed


def test_what_depends_lands_with_or_after_what_it_needs() -> None:
    worlds = Worlds(gate(), (job("test"),))
    worlds.explore((A,), (change("B", "A"),), (C,))
    assert all("A" in landed[: landed.index("B")] for landed in worlds.landed if "B" in landed)
    assert ("A", "B", "C") in worlds.landed
    assert ("C",) in worlds.landed


def test_a_bundle_lands_as_one_or_not_at_all() -> None:
    worlds = Worlds(gate(), (job("test"),))
    worlds.explore((change("A", "B"), change("B", "A")), (C,))
    assert worlds.landed == {(), ("A", "B"), ("C",), ("A", "B", "C")}


def test_a_graph_with_a_job_that_may_pause() -> None:
    worlds = Worlds(gate(), (job("pausing"), job("child", "pausing"), job("grandchild", soft=["child"])))
    worlds.explore((A,), (B,))
    assert worlds.landed == {(), ("A",), ("B",), ("A", "B")}


@pytest.mark.parametrize("jobs", [(job("test"),), (job("a"), job("b", "a"))])
def test_serial_worlds(jobs: tuple[JobSpec, ...]) -> None:
    worlds = Worlds(serial(), jobs)
    worlds.explore((A,), (B,), (C,))
    assert worlds.ends == 1
    assert worlds.landed == {()}


def test_holding_jobs_let_everybody_through_in_the_end() -> None:
    worlds = Worlds(gate(), (job("first", hold_following_changes=True, voting=False), job("test")))
    worlds.explore((A,), (B,))
    assert ("A", "B") in worlds.landed
