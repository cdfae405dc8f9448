"""A pool played by hand: build a world, say what happens, look at what the planner asks for."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from trunkline.pool import (
    Action,
    Create,
    FlavorSpec,
    ImageSpec,
    LabelSpec,
    Node,
    NodeState,
    Offer,
    Policy,
    ProviderSpec,
    Quota,
    RegionFacts,
    Request,
    RequestState,
    Resources,
    Trouble,
    Vendor,
    World,
    apply,
    plan,
    step,
)
from trunkline.pool.step import BecameReady, Building, Canceled, Event, Gone, Requested, Started, Tick, WentWrong

IMAGE = ImageSpec("debian", image_id="debian-12")
FLAVOR = FlavorSpec("small", "m1.small")
SMALL = Resources(cores=1, ram_mib=1024)


def label(name: str = "small", **changes: Any) -> LabelSpec:
    return replace(LabelSpec(name, IMAGE, FLAVOR), **changes)


def provider(name: str, *labels: LabelSpec, tenant: str = "t", region: str = "R1", **changes: Any) -> ProviderSpec:
    spec = ProviderSpec(
        tenant=tenant,
        name=name,
        canonical_name=f"p/{name}",
        driver="openstack",
        connection=name,
        cloud=name,
        region=region,
        labels=labels or (label(),),
    )
    return replace(spec, **changes)


def region(
    spec: ProviderSpec, *, quota: Resources = Resources(), unmanaged: Resources = Resources(), **place: Any
) -> RegionFacts:
    return RegionFacts(
        cloud=spec.cloud,
        region=spec.region,
        vendor=Vendor(name=spec.cloud, **place),
        quota=Quota(quota, unmanaged),
        offer=Offer(flavors={"m1.small": SMALL}, images={"debian": "id-debian"}),
        seen=0.0,
    )


class Pool:
    """A world with a clock."""

    def __init__(
        self, *specs: ProviderSpec, regions: list[RegionFacts] | None = None, policy: Policy = Policy()
    ) -> None:
        facts = regions if regions is not None else [region(s) for s in specs if s.driver != "static"]
        self.world = World(providers=specs, regions={f.key: f for f in facts})
        self.now = 1000.0
        self.actions: tuple[Action, ...] = ()
        self.policy = policy
        self._serial = 0

    def happens(self, event: Event) -> Pool:
        self.world, self.actions = step(self.world, event, self.now, self.policy)
        assert plan(self.world, self.now, self.policy) == (), "a plan carried out leaves nothing to plan"
        return self

    def asks(self, *labels: str, id: str = "", tenant: str = "t", **changes: Any) -> Request:
        self._serial += 1
        request = Request(
            id=id or f"r{self._serial}", owner="queue:q", tenant=tenant, labels=labels, created=self.now, **changes
        )
        self.happens(Requested(request))
        return request

    def later(self, seconds: float) -> Pool:
        self.now += seconds
        return self.happens(Tick())

    def boots(self, *nodes: Node) -> Pool:
        """These nodes (all that are coming, if none is named) become ready."""
        for node in nodes or tuple(n for n in self.world.nodes.values() if n.is_coming):
            self.happens(Building(node.id, f"server-{node.id}"))
            self.happens(BecameReady(node.id, 30.0))
        return self

    def fails(self, node: Node, trouble: Trouble = Trouble.boot) -> Pool:
        return self.happens(WentWrong(node.id, trouble, "it broke"))

    def runs(self, request: Request) -> Pool:
        return self.happens(Started(self.request(request).node_ids))

    def returns(self, request: Request) -> Pool:
        return self.happens(Canceled(request.id))

    def sweeps(self) -> Pool:
        """Servers that were to be deleted are gone."""
        for node in self.nodes(NodeState.deleting):
            self.happens(Gone(node.id))
        return self

    def request(self, request: Request) -> Request:
        return self.world.requests[request.id]

    def is_fulfilled(self, request: Request) -> bool:
        return self.request(request).state is RequestState.fulfilled

    def nodes(self, *states: NodeState) -> list[Node]:
        return [n for n in self.world.nodes.values() if not states or n.state in states]

    def nodes_of(self, request: Request) -> list[Node]:
        return [n for n in self.world.nodes.values() if n.request_id == request.id]

    def created(self) -> list[Node]:
        return [a.node for a in self.actions if isinstance(a, Create)]


__all__ = ["Pool", "apply", "label", "plan", "provider", "region"]
