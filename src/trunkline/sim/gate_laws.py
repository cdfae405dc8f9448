"""The gate's laws as checks on what a world sees: effects as they are asked for, landings as they happen."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trunkline.gate.effects import (
    AcquireSemaphores,
    CancelBuild,
    CancelNodes,
    Effect,
    ItemLeft,
    Land,
    RecordBuild,
    ReleaseSemaphores,
    Report,
    ReportKind,
    RequestNodes,
    ReturnNodes,
    StartBuild,
)
from trunkline.gate.events import AnyEvent, Event, NodesFailed
from trunkline.gate.invariants import violations
from trunkline.gate.model import BuildId, FutureId, ItemId, JobId, Queue, RefKey, RequestId
from trunkline.gate.step import step

FINAL = frozenset(
    {
        ReportKind.SUCCESS,
        ReportKind.FAILURE,
        ReportKind.MERGE_CONFLICT,
        ReportKind.CONFIG_ERROR,
        ReportKind.NO_JOBS,
        ReportKind.DEQUEUE,
    }
)


class LawBroken(Exception):
    """Which law, and what happened."""


class Laws:
    """Watches one queue. `content` tells which changes a future's tree holds."""

    def __init__(self, empty: Queue) -> None:
        self.empty = empty
        self.content: dict[FutureId, frozenset[RefKey]] = {}
        self.landed: list[RefKey] = []
        self.builds: dict[BuildId, tuple[ItemId, JobId]] = {}
        self.requests: dict[RequestId, ItemId] = {}
        self.tickets: dict[str, ItemId] = {}
        self.ever_built: set[BuildId] = set()
        self.land_asked: set[ItemId] = set()
        self.final: set[ItemId] = set()
        self.started: set[ItemId] = set()
        self.left: set[ItemId] = set()
        self.log: list[tuple[Event, float]] = []

    def check(self, condition: bool, law: str) -> None:
        if not condition:
            raise LawBroken(law)

    # -- after every step

    def after(self, queue: Queue, event: Event, now: float, effects: Iterable[Effect]) -> None:
        self.log.append((event, now))
        if isinstance(event, NodesFailed):
            self.requests.pop(event.request, None)
        for effect in effects:
            self._effect(effect)
        wrong = violations(queue)
        self.check(not wrong, "; ".join(wrong))
        live = set(queue.items)
        for holder, what in (*_owners(self.builds), *_owners(self.requests), *_owners(self.tickets)):
            self.check(holder in live, f"L9: {what} outlives its item {holder}")

    def twice(self, queue: Queue, event: Event, now: float) -> None:
        """L6: the same event again changes nothing."""
        again, effects = step(queue, event, now)
        self.check(not effects, f"L6: {event} delivered twice asks for {effects}")
        self.check(again == queue, f"L6: {event} delivered twice changes the queue")

    def _effect(self, effect: Effect) -> None:
        match effect:
            case StartBuild():
                self._start(effect)
            case CancelBuild() | RecordBuild():
                self.builds.pop(effect.build, None)
            case RequestNodes():
                self.requests[effect.request] = effect.item
            case CancelNodes() | ReturnNodes():
                self.check(self.requests.pop(effect.request, None) is not None, f"L9: {effect} gives back nothing")
            case AcquireSemaphores():
                self.tickets[effect.ticket] = effect.item
            case ReleaseSemaphores():
                self.check(self.tickets.pop(effect.ticket, None) is not None, f"L9: {effect} releases nothing")
            case Land():
                self.check(effect.item not in self.land_asked, f"L6: landing of {effect.item} asked for twice")
                self.land_asked.add(effect.item)
            case Report():
                self._report(effect)
            case ItemLeft():
                self.check(effect.item not in self.left, f"L6: {effect.item} left twice")
                self.left.add(effect.item)

    def _start(self, effect: StartBuild) -> None:
        self.check(effect.build not in self.ever_built, f"L6: build {effect.build} started twice")
        self.check(effect.future in self.content, f"{effect.job} started on a future that was never merged")
        same = [build for build, key in self.builds.items() if key == (effect.item, effect.job)]
        self.check(not same, f"L6: {effect.job} of {effect.item} is built twice at once")
        if effect.request is not None:
            self.check(effect.request in self.requests, f"{effect.job} started on nodes that were given back")
        self.ever_built.add(effect.build)
        self.builds[effect.build] = (effect.item, effect.job)

    def _report(self, effect: Report) -> None:
        if effect.kind is ReportKind.START:
            self.check(effect.item not in self.started, f"L6: start of {effect.item} reported twice")
            self.started.add(effect.item)
        if effect.kind in FINAL:
            self.check(effect.item not in self.final, f"L6: {effect.item} has two results")
            self.final.add(effect.item)

    # -- when something lands or is rejected

    def lands(self, future: FutureId, own: Iterable[RefKey], needs: Iterable[RefKey]) -> None:
        """L1 and L3 at the moment of landing."""
        own = tuple(own)
        expected = frozenset(self.landed) | frozenset(own)
        tested = self.content[future]
        self.check(tested == expected, f"L1: {own} was tested with {sorted(tested ^ expected)} too much or too little")
        missing = set(needs) - expected
        self.check(not missing, f"L3: {own} lands before {missing}")
        self.landed += own

    def innocent(self, future: FutureId, own: Iterable[RefKey]) -> None:
        """L4: a rejection counts only with nothing in the future that has not landed."""
        strangers = self.content.get(future, frozenset()) - frozenset(self.landed) - frozenset(own)
        self.check(not strangers, f"L4: {sorted(own)} was rejected on a future with {sorted(strangers)}")

    # -- at the end

    def over(self, queue: Queue) -> None:
        self.check(not queue.order, f"L2: still there when nothing is left to happen: {queue.order}")
        held = [*self.builds, *self.requests, *self.tickets]
        self.check(not held, f"L9: never given back: {held}")
        self.replay(queue)

    def replay(self, live: Queue) -> None:
        """L8: snapshot and events give the live state, bit for bit."""
        queue = self.empty
        for position, (event, now) in enumerate(self.log):
            if position % 7 == 0:
                queue = msgspec.json.decode(msgspec.json.encode(queue), type=Queue)
            event = msgspec.json.decode(msgspec.json.encode(event), type=AnyEvent)
            queue, _ = step(queue, event, now)
        self.check(msgspec.json.encode(queue) == msgspec.json.encode(live), "L8: replay differs from live")


def _owners(
    table: dict[BuildId, tuple[ItemId, JobId]] | dict[RequestId, ItemId] | dict[str, ItemId],
) -> list[tuple[ItemId, str]]:
    return [(value[0] if isinstance(value, tuple) else value, str(key)) for key, value in table.items()]
