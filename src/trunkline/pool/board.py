"""The table on which one plan is worked out: a draft of the world with the indices that the passes need.

Everything is kept current as actions are added, so that each pass sees what those before it decided.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping

from trunkline.pool.actions import Action, Create, Draft, Release, Unaccept, carry_out, is_waiting
from trunkline.pool.feasible import Verdict, choices_of_az, judge, needs_of
from trunkline.pool.health import is_avoided
from trunkline.pool.model import LabelSpec, Node, NodeState, ProviderSpec, RegionFacts, RegionKey, Request, World
from trunkline.pool.quota import Amount, Ledger, amount, keys_of
from trunkline.pool.score import stable_hash

NODE_NAMES = uuid.UUID("5d1d3e3a-6c5e-5b0b-9a52-3d1f2f7a7c11")
ALIVE = (NodeState.requested, NodeState.building, NodeState.ready)


class Board(Draft):
    """Actions so far, and the world as it would be after them."""

    def __init__(self, world: World, now: float) -> None:
        super().__init__(world, now)
        self.actions: list[Action] = []
        self.ledger = Ledger(world, now)
        self.specs: dict[tuple[str, str], ProviderSpec] = {(s.tenant, s.canonical_name): s for s in world.providers}
        self.specs_of: dict[str, list[ProviderSpec]] = defaultdict(list)
        for spec in world.providers:
            self.specs_of[spec.tenant].append(spec)
        self.mine: dict[str, dict[str, None]] = defaultdict(dict)  # request → its nodes that are coming or ready
        self.spare: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)  # tenant, provider, label → nodes
        self.coming: dict[RegionKey, int] = defaultdict(int)
        self.pressure: set[tuple[str, ...]] = set()  # accounts in which waiting requests lack room
        self.wants: list[Mapping[tuple[str, ...], Amount]] = []  # what the most urgent of them lack, by account
        self.claimed: set[str] = set()  # spare nodes that a waiting request counts on
        self.blocked: set[object] = set()  # shapes of requests that did not fit
        self.verdicts: dict[object, list[tuple[ProviderSpec, Verdict]]] = {}
        self.needs: dict[tuple[str, str, tuple[str, ...]], dict[tuple[str, ...], Amount]] = {}
        self.released = False  # nodes came free: another round may use them
        for node in sorted(self.nodes.values(), key=lambda n: (n.state is not NodeState.ready, n.created, n.id)):
            self._index(node)

    def add(self, action: Action) -> None:
        """Decide on an action, and see the world so from here on."""
        self.actions.append(action)
        self.released = self.released or isinstance(action, Release)
        match action:
            case Create(node=node):
                self.ledger.charge(keys_of(node), amount(node.needs))
                carry_out(self, action)
                self._index(node)
            case _ if hasattr(action, "node"):
                self._forget(self.nodes[action.node])
                carry_out(self, action)
                self._index(self.nodes[action.node])
            case _:
                carry_out(self, action)

    def give_up(self, request_id: str, reason: str) -> None:
        """A provider stops working on a request; what was made for it is for anybody of the tenant."""
        self.add(Unaccept(request_id, reason))
        self.release_nodes(request_id)

    def release_nodes(self, request_id: str) -> None:
        for node_id in list(self.mine[request_id]):
            self.add(Release(node_id))

    def region(self, spec: ProviderSpec) -> RegionFacts | None:
        return self.world.regions.get(spec.region_key)

    def judged(self, request: Request) -> list[tuple[ProviderSpec, Verdict]]:
        """Each provider of the tenant with what it says of the request; like requests are judged once."""
        key = shape(request)
        if key not in self.verdicts:
            self.verdicts[key] = [
                (spec, judge(request, spec, self.region(spec), self.now)) for spec in self.specs_of[request.tenant]
            ]
        return self.verdicts[key]

    def spares(self, spec: ProviderSpec, label: str) -> list[str]:
        """Unassigned nodes that may serve a label, best first: ready before coming, its own before aliases."""
        own = [n for n in self.spare.get((spec.tenant, spec.canonical_name, label), ()) if n not in self.claimed]
        others = [other.name for other in spec.labels if label in other.aliases and other.name != label]
        for name in others:
            own += [
                n
                for n in self.spare.get((spec.tenant, spec.canonical_name, name), ())
                if n not in self.claimed and self.nodes[n].state is NodeState.ready
            ]
        return sorted(own, key=lambda n: self.nodes[n].state is not NodeState.ready) if len(own) > 1 else own

    def new_node(self, spec: ProviderSpec, label: LabelSpec, request: Request | None, position: int) -> Node:
        """A node to be created. Its id follows from what it is for, and was never used."""
        region = self.world.regions[spec.region_key]
        seed = f"{request.id if request else spec.tenant}/{label.name}/{spec.canonical_name}/{position}/{self.now!r}"
        node_id = str(uuid.uuid5(NODE_NAMES, seed))
        while node_id in self.nodes:
            node_id = str(uuid.uuid5(NODE_NAMES, node_id))
        return Node(
            id=node_id,
            label=label.name,
            provider=spec.canonical_name,
            cloud=spec.cloud,
            region=spec.region,
            state_time=self.now,
            created=self.now,
            tenant=spec.tenant,
            request_id=request.id if request else None,
            flavor=label.flavor.flavor_name,
            needs=needs_of(label, region.offer),
            az=self._az(label, region, request.id if request else node_id),
            keep=bool(request and request.keep),
            reuse=label.reuse,
        )

    def _az(self, label: LabelSpec, region: RegionFacts, seed: str) -> str | None:
        """One zone for all nodes of a request, another for the next request."""
        choices = choices_of_az(label, region)
        good = [az for az in choices if not is_avoided(region.health, label.flavor.flavor_name, az, self.now)]
        return min(good or choices, key=lambda az: stable_hash(seed, az or ""))

    def _index(self, node: Node) -> None:
        if node.state not in ALIVE:
            return
        if node.is_coming and not node.is_static:
            self.coming[node.region_key] += 1
        if node.request_id is not None:
            self.mine[node.request_id][node.id] = None
        elif not node.locked_by and (node.tenant, node.provider) in self.specs:
            self.spare[node.tenant, node.provider, node.label][node.id] = None

    def _forget(self, node: Node) -> None:
        if node.is_coming and not node.is_static:
            self.coming[node.region_key] -= 1
        if node.request_id is not None:
            self.mine[node.request_id].pop(node.id, None)
        self.spare[node.tenant, node.provider, node.label].pop(node.id, None)


def waiting(board: Board) -> list[Request]:
    """Requests that want an answer, the most urgent first."""
    found = [r for r in board.requests.values() if is_waiting(r)]
    return sorted(found, key=lambda r: (r.priority, r.relative_priority, r.created, r.id))


def shape(request: Request) -> object:
    """What providers look at: requests of one shape get the same verdicts."""
    return (
        request.tenant,
        request.labels,
        request.pin,
        request.zone,
        request.constraints,
        tuple(sorted(request.failures.items())),
        request.declined_by,
    )
