"""Virtual clouds for the pool's core: they boot, fail, fill up and die by a seed; the real planner runs against them.

Time is virtual. Every random choice comes from one seeded generator, so that a seed replays a run exactly.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from trunkline.pool import (
    Action,
    Create,
    FlavorSpec,
    Fulfil,
    ImageSpec,
    LabelSpec,
    NodeState,
    Offer,
    Outcome,
    Policy,
    ProviderSpec,
    Quota,
    RegionFacts,
    RegionKey,
    Request,
    RequestState,
    Resources,
    Trouble,
    Vendor,
    World,
    apply,
    observe,
    plan,
)
from trunkline.pool.actions import is_waiting
from trunkline.pool.health import may_call
from trunkline.pool.step import (
    BecameReady,
    Building,
    Canceled,
    Event,
    Gone,
    Happened,
    Requested,
    Started,
    WentWrong,
    record,
)

FLAVOR, IMAGE = FlavorSpec("small", "small"), ImageSpec("debian", image_id="debian")
UNIT = Resources(cores=1, ram_mib=1024)
TICK_S = 5.0


@dataclass
class Cloud:
    """How one region behaves."""

    key: RegionKey
    instances: int
    boot_s: float = 45.0
    failure_rate: float = 0.02
    unreachable_rate: float = 0.01
    delete_s: float = 10.0
    is_down: bool = False
    lies: bool = False  # announces no limit
    servers: set[str] = field(default_factory=set)  # nodes that have a server
    created: int = 0
    peak: int = 0


@dataclass
class Measures:
    asked: int = 0
    fulfilled: int = 0
    failed: int = 0
    waits_s: list[float] = field(default_factory=list)
    plans: int = 0
    over_quota: int = 0


class PoolSim:
    """A launcher, its clouds and its requesters, in one process and in virtual time."""

    def __init__(
        self,
        clouds: Iterable[Cloud],
        labels: Iterable[str] = ("small",),
        *,
        seed: int = 0,
        min_ready: int = 0,
        **spec: Any,
    ) -> None:
        self.random = random.Random(seed)
        self.clouds = {cloud.key: cloud for cloud in clouds}
        label_specs = tuple(LabelSpec(name, IMAGE, FLAVOR, min_ready=min_ready) for name in labels)
        specs = tuple(_spec(cloud, label_specs, **spec) for cloud in self.clouds.values())
        self.world = World(providers=specs, regions={c.key: _facts(c) for c in self.clouds.values()})
        self.now = 0.0
        self.measures = Measures()
        self.policy = Policy()
        self.on_plan: Callable[[tuple[Action, ...]], None] | None = None
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._dirty = False
        self._tick_set = False
        self._durations: dict[str, float] = {}
        self._deletes_sent: set[str] = set()

    # -- what may be done to it

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._agenda, (when, self._serial, what))

    def ask(self, *labels: str, runs_s: float, when: float | None = None, **more: Any) -> str:
        """A request that comes at a time and uses its nodes for `runs_s`."""
        self._serial += 1
        request_id = f"r{self._serial}"

        def come() -> None:
            request = Request(id=request_id, owner="q", tenant="t", labels=labels, created=self.now, **more)
            self.measures.asked += 1
            self._durations[request_id] = runs_s
            self.happens(Requested(request))

        self.at(self.now if when is None else when, come)
        return request_id

    def kill(self, key: RegionKey, *, servers: bool = True) -> None:
        self.clouds[key].is_down = True
        if servers:
            self.clouds[key].servers.clear()
        self._probe(key)

    def revive(self, key: RegionKey) -> None:
        self.clouds[key].is_down = False

    def run(self, until: float) -> None:
        """Advance virtual time, planning after each burst of events, and at intervals while somebody waits."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now = self._agenda[0][0]
            while self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()
            if self._dirty:
                self._plan()
        self.now = until

    # -- inside

    def happens(self, event: Event) -> None:
        self.world = record(self.world, event, self.now)
        self._dirty = True

    def _plan(self) -> None:
        self._dirty = False
        if not self._tick_set and any(is_waiting(r) for r in self.world.requests.values()):
            self._tick_set = True
            self.at(self.now + TICK_S, self._tick)
        actions = plan(self.world, self.now, self.policy)
        self.measures.plans += 1
        if self.on_plan:
            self.on_plan(actions)
        self.world = apply(self.world, actions, self.now)
        for action in actions:
            match action:
                case Create(node=node):
                    self._launch(node.id)
                case Fulfil(request=request_id):
                    self._answered(request_id)
                case _:
                    pass
        for request in [r for r in self.world.requests.values() if r.state is RequestState.failed]:
            self.measures.failed += 1
            self._drop(request.id)
        for node in list(self.world.nodes.values()):
            if node.state is NodeState.deleting and node.id not in self._deletes_sent:
                self._delete(node.id)

    def _tick(self) -> None:
        self._tick_set, self._dirty = False, True

    def _launch(self, node_id: str) -> None:
        if node_id not in self.world.nodes:
            return
        key = self.world.nodes[node_id].region_key
        cloud = self.clouds[key]
        if cloud.is_down:
            self.at(self.now + 1.0, lambda: self._unreachable(key))
            self.at(self.now + 15.0, lambda: self._wrong(node_id, Trouble.down, "no answer"))
            return
        if len(cloud.servers) >= cloud.instances:
            self.at(self.now + 1.0, lambda: self._wrong(node_id, Trouble.quota, "Quota exceeded"))
            return
        cloud.servers.add(node_id)
        cloud.created += 1
        cloud.peak = max(cloud.peak, len(cloud.servers))
        ready_s = cloud.boot_s * self.random.lognormvariate(0.0, 0.35)
        chance = self.random.random()
        self.at(self.now + 1.0, lambda: self.happens(Building(node_id, f"s-{node_id}")))
        if chance < cloud.failure_rate:
            self.at(self.now + ready_s, lambda: self._wrong(node_id, Trouble.boot, "ERROR"))
        elif chance < cloud.failure_rate + cloud.unreachable_rate:
            self.at(self.now + 300.0, lambda: self._wrong(node_id, Trouble.unreachable, "no SSH"))
        else:
            self.at(self.now + ready_s, lambda: self._ready(node_id, ready_s))

    def _ready(self, node_id: str, ready_s: float) -> None:
        node = self.world.nodes.get(node_id)
        if node is not None and node_id in self.clouds[node.region_key].servers:
            self.happens(BecameReady(node_id, ready_s))

    def _wrong(self, node_id: str, trouble: Trouble, message: str) -> None:
        node = self.world.nodes.get(node_id)
        if node is not None and (node.is_coming or node.state is NodeState.ready):
            self.happens(WentWrong(node_id, trouble, message))

    def _unreachable(self, key: RegionKey) -> None:
        if self.clouds[key].is_down:
            self.happens(Happened(key, Outcome(Trouble.down, "connection refused")))

    def _delete(self, node_id: str) -> None:
        self._deletes_sent.add(node_id)
        cloud = self.clouds[self.world.nodes[node_id].region_key]

        def gone() -> None:
            if cloud.is_down:
                self.at(self.now + 10.0, gone)
                return
            cloud.servers.discard(node_id)
            self._deletes_sent.discard(node_id)
            self.happens(Gone(node_id))

        self.at(self.now + cloud.delete_s * self.random.lognormvariate(0.0, 0.5), gone)

    def _answered(self, request_id: str) -> None:
        request = self.world.requests[request_id]
        self.measures.fulfilled += 1
        self.measures.waits_s.append(self.now - request.created)
        self.at(self.now, lambda: self.happens(Started(request.node_ids)))

        def done() -> None:
            self.happens(Canceled(request_id))
            self._drop(request_id)

        self.at(self.now + self._durations.pop(request_id), done)

    def _drop(self, request_id: str) -> None:
        requests = dict(self.world.requests)
        requests.pop(request_id, None)
        self.world = replace(self.world, requests=requests)

    def _probe(self, key: RegionKey) -> None:
        """What a worker does with its region: list, notice, back off, look again."""
        facts = self.world.regions[key]
        if may_call(facts.health, self.now):
            outcome = Outcome(Trouble.down, "connection refused") if self.clouds[key].is_down else Outcome()
            health = observe(facts.health, outcome, self.now)
            self.world = replace(self.world, regions={**self.world.regions, key: replace(facts, health=health)})
            self._dirty = True
            if not self.clouds[key].is_down:
                self._find_the_lost(key)
                return
        wait_s = max(1.0, self.world.regions[key].health.probe_at - self.now)
        self.at(self.now + wait_s, lambda: self._probe(key))

    def _find_the_lost(self, key: RegionKey) -> None:
        servers = self.clouds[key].servers
        for node in list(self.world.nodes.values()):
            if (
                node.region_key == key
                and node.id not in servers
                and node.state in (NodeState.building, NodeState.ready)
            ):
                self.happens(WentWrong(node.id, Trouble.vanished, "the server is gone"))


def _spec(cloud: Cloud, labels: tuple[LabelSpec, ...], **changes: Any) -> ProviderSpec:
    name = f"{cloud.key[0]}-{cloud.key[1]}"
    spec = ProviderSpec("t", name, f"p/{name}", "openstack", cloud.key[0], cloud.key[0], cloud.key[1], labels=labels)
    return replace(spec, **changes)


def _facts(cloud: Cloud) -> RegionFacts:
    limits = Resources() if cloud.lies else Resources(instances=cloud.instances)
    return RegionFacts(
        *cloud.key,
        vendor=Vendor(cloud.key[0], country="SE", jurisdiction="EU"),
        quota=Quota(limits),
        offer=Offer(flavors={"small": UNIT}, images={"debian": "debian"}),
        seen=0.0,
    )
