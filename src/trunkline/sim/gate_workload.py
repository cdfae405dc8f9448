"""What a gate world is made of: changes with hidden faults, job graphs, people who intervene."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from trunkline.gate.effects import StartBuild
from trunkline.gate.events import (
    ChangeAbandoned,
    Dequeue,
    Enqueue,
    Event,
    Promote,
    Reconfigured,
    RequirementsLost,
    Supersede,
    Tick,
)
from trunkline.gate.model import (
    Change,
    Dependency,
    ItemId,
    ItemSpec,
    JobKind,
    JobSpec,
    Manager,
    QueueSettings,
    RefKey,
    Semaphore,
)


class Workload:
    """Drawn once from the seed; asked afterwards."""

    def __init__(self, draw: random.Random, changes: int, manager: Manager) -> None:
        self.draw = draw
        self.manager = manager
        self.settings = self._settings()
        self.nodes = draw.choice([8, 20, 100])
        self.p_twice = draw.choice([0.0, 0.1, 0.3])
        self.p_late = draw.choice([0.0, 0.05, 0.2])
        self.p_lost = draw.choice([0.0, 0.02, 0.1])
        self.p_retry = draw.choice([0.0, 0.05, 0.2])
        self.p_node_failure = draw.choice([0.0, 0.02])
        self.p_refused = draw.choice([0.0, 0.05])
        self.fail_fast = draw.random() < 0.2
        # One way round in one world: mixed, holders of nodes and holders of the semaphore may wait for each other.
        self.resources_first = draw.random() < 0.3
        self.jobs = self._jobs()
        self.pausing = {spec.name for spec in self.jobs if draw.random() < 0.15 and not spec.semaphores}
        if self.pausing:
            self.nodes = 10_000  # paused jobs hold their nodes while their children wait for some: no bound is safe
        self.keys = [RefKey(f"review:p{draw.randrange(4)}:{n},1") for n in range(changes)]
        self.bad = {key: self._some_jobs() for key in self.keys if draw.random() < draw.choice([0.05, 0.2])}
        self.broken = {key for key in self.keys if draw.random() < 0.03}
        self.jobless = {key for key in self.keys if draw.random() < 0.03}
        self.conflicting = self._pairs(changes // 10)
        self.clashing = self._pairs(changes // 10)

    def _settings(self) -> QueueSettings:
        draw = self.draw
        window, floor = draw.choice([(20, 3), (3, 1), (1, 1), (0, 1), (6, 2)])
        return QueueSettings(
            manager=self.manager,
            pipeline=self.manager.value,
            window=window,
            window_floor=floor,
            window_ceiling=draw.choice([None, 30]),
            increase_type=draw.choice(["linear", "exponential"]),
            decrease_type=draw.choice(["linear", "exponential"]),
            decrease_factor=draw.choice([1, 2]),
            increase_factor=draw.choice([1, 2]),
            early_requests=draw.random() < 0.5,
        )

    def _jobs(self) -> tuple[JobSpec, ...]:
        draw = self.draw
        specs: list[JobSpec] = []
        for number in range(draw.randint(1, 6)):
            above = [spec for spec in specs if spec.kind is JobKind.REGULAR and draw.random() < 0.35]
            node_count = draw.randint(0, 2)
            labels = tuple(("debian",) * node_count for _ in range(draw.randint(1, 2))) if node_count else ()
            reporter = number > 2 and not above and draw.random() < 0.15
            specs.append(
                JobSpec(
                    f"j{number}",
                    kind=JobKind.REPORTER if reporter else JobKind.REGULAR,
                    dependencies=tuple(Dependency(spec.name, draw.random() < 0.3) for spec in above),
                    voting=number == 0 or draw.random() < 0.85,
                    attempts=draw.randint(1, 3),
                    nodesets=labels,
                    semaphores=(Semaphore("s", self.resources_first),) if draw.random() < 0.15 else (),
                    hold_following_changes=draw.random() < 0.1,
                    provides=("image",) if draw.random() < 0.15 else (),
                    requires=("image",) if draw.random() < 0.1 else (),
                    deduplicate=draw.random() < 0.3,
                    digest=f"d{number}",
                )
            )
        return tuple(specs)

    def _some_jobs(self) -> set[str]:
        return {self.draw.choice(self.jobs).name}

    def _pairs(self, count: int) -> set[frozenset[RefKey]]:
        if len(self.keys) < 2:
            return set()
        return {frozenset(self.draw.sample(self.keys, 2)) for _ in range(count)}

    # -- the truth about changes

    def conflicts(self, content: frozenset[RefKey], own: set[RefKey]) -> bool:
        return any(pair <= content and pair & own for pair in self.conflicting)

    def fails(self, job: str, content: frozenset[RefKey]) -> bool:
        if any(job in self.bad.get(key, ()) for key in content):
            return True
        return job == self.jobs[0].name and any(pair <= content for pair in self.clashing)

    def jobs_of(self, key: RefKey) -> tuple[JobSpec, ...]:
        if key in self.jobless:
            return ()
        return tuple(replace(spec, change=key) for spec in self.jobs)

    def returned(self, draw: random.Random, build: StartBuild) -> dict[str, Any]:
        if build.child_jobs and draw.random() < 0.1:
            return {"zuul": {"child_jobs": draw.sample(build.child_jobs, draw.randint(0, len(build.child_jobs)))}}
        return {build.name: {"answer": 42}} if draw.random() < 0.2 else {}

    # -- what happens by itself

    def arrivals(self) -> Iterator[tuple[float, Event]]:
        """Enqueues in order (a changed order would not be an admission's), and interventions in between."""
        at, entered = 0.0, list[RefKey]()
        pace_s = self.draw.choice([30, 300, 1200])
        remaining = list(self.keys)
        while remaining:
            at += self.draw.expovariate(1 / pace_s)
            size = 2 if self.draw.random() < 0.08 and len(remaining) > 1 else 1
            keys, remaining = remaining[:size], remaining[size:]
            yield from self._enter(at, keys, entered)
            entered += keys
            if self.draw.random() < 0.12:
                yield at + self.draw.uniform(0, 3600), self._intervention(entered)

    def _enter(self, at: float, keys: list[RefKey], entered: list[RefKey]) -> Iterator[tuple[float, Event]]:
        recent = entered[-6:]
        needs = [self.draw.choice(recent)] if recent and self.draw.random() < 0.2 else []
        if self.manager is Manager.INDEPENDENT:
            needs = []
        changes = tuple(
            Change(key, "host/p", branch="master", needs=(*needs, *(k for k in keys if k != key))) for key in keys
        )
        yield at, Enqueue(ItemSpec(ItemId(f"item {keys[0]}"), changes, event_id=str(at)))

    def _intervention(self, entered: list[RefKey]) -> Event:
        key = self.draw.choice(entered)
        kinds: list[Event] = [
            Dequeue(change=key),
            ChangeAbandoned(key),
            Supersede(key, "2"),
            RequirementsLost(key, "vote withdrawn"),
            Promote((key,)),
            Reconfigured(self.settings),
            Tick(),
        ]
        return self.draw.choice(kinds)
