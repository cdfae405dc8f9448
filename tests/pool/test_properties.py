"""The planner's laws, on random worlds and through whole simulated lives of pools."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.pool.play import FLAVOR, IMAGE, SMALL, label, provider, region
from trunkline.pool import (
    Action,
    Constraints,
    Create,
    Delete,
    Fulfil,
    LabelSpec,
    Node,
    NodeState,
    ProviderHealth,
    RegionStatus,
    Release,
    Request,
    RequestState,
    Resources,
    Trouble,
    World,
    WriteOff,
    apply,
    plan,
)
from trunkline.pool.model import NODE_TRANSITIONS
from trunkline.sim.pool_world import Cloud, PoolSim

LABELS = ("small", "big")
TENANTS = ("t", "u")
NOW = 5000.0


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A world in the middle of things, as a launcher might find it after being killed."""
    specs, facts = [], {}
    for i in range(draw(st.integers(1, 4))):
        tenants = draw(st.sampled_from([("t",), ("t", "u"), ("u",)]))
        min_ready = draw(st.integers(0, 2))
        labels = [label("small", min_ready=min_ready)]
        if draw(st.booleans()):
            labels.append(
                LabelSpec("big", IMAGE, FLAVOR, max_nodes=draw(st.sampled_from([None, 2])), aliases=("small",))
            )
        limits = Resources(instances=draw(st.sampled_from([None, 0, 1, 3, 6])))
        for tenant in tenants:
            spec = provider(f"p{i}", *labels, tenant=tenant, limits=limits)
            specs.append(spec)
        it = region(
            spec, quota=Resources(instances=draw(st.sampled_from([None, 2, 5]))), country="SE", jurisdiction="EU"
        )
        status = draw(
            st.sampled_from([RegionStatus.healthy, RegionStatus.healthy, RegionStatus.degraded, RegionStatus.down])
        )
        facts[it.key] = replace(it, health=ProviderHealth(status=status, probe_at=NOW + 5))
    requests = {}
    for i in range(draw(st.integers(0, 8))):
        request = Request(
            id=f"r{i}",
            owner="q",
            tenant=draw(st.sampled_from(TENANTS)),
            labels=tuple(draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=3))),
            priority=draw(st.sampled_from([100, 200, 300])),
            created=float(draw(st.integers(0, 100))),
            state=draw(st.sampled_from([RequestState.requested, RequestState.accepted, RequestState.canceled])),
            keep=draw(st.booleans()),
            constraints=draw(
                st.sampled_from([None, None, Constraints(jurisdictions=("EU",)), Constraints(jurisdictions=("US",))])
            ),
        )
        if request.state is RequestState.accepted:
            mine = [s.canonical_name for s in specs if s.tenant == request.tenant] or ["p/gone"]
            request = replace(request, provider=draw(st.sampled_from(mine)))
        requests[request.id] = request
    nodes = {}
    for i in range(draw(st.integers(0, 10))):
        spec = draw(st.sampled_from(specs))
        state = draw(st.sampled_from(list(NodeState)))
        owned = [r for r in requests.values() if r.tenant == spec.tenant and r.provider in (None, spec.canonical_name)]
        request = draw(st.sampled_from([None, *owned]))
        nodes[f"n{i}"] = Node(
            id=f"n{i}",
            label=draw(st.sampled_from([x.name for x in spec.labels])),
            provider=spec.canonical_name,
            cloud=spec.cloud,
            region=spec.region,
            state=state,
            state_time=NOW - draw(st.integers(0, 2000)),
            tenant=spec.tenant,
            request_id=request.id if request else None,
            flavor="m1.small",
            needs=replace(SMALL, instances=1),
            trouble=Trouble.boot if state is NodeState.failed else None,
            keep=bool(request and request.keep),
        )
    return World(requests=requests, nodes=nodes, providers=tuple(specs), regions=facts)


def counts(world: World, key: str) -> Counter[object]:
    return Counter(getattr(n, key) for n in world.nodes.values())


def over_limit(world: World) -> set[tuple[str, str]]:
    """Accounts with more servers than they may have."""
    found = set()
    by_provider, by_cloud = counts(world, "provider"), counts(world, "cloud")
    for spec in world.providers:
        most = spec.limits.instances
        if most is not None and by_provider[spec.canonical_name] > most:
            found.add(("provider", spec.canonical_name))
    for facts in world.regions.values():
        most = facts.quota.limits.instances
        if most is not None and by_cloud[facts.cloud] > most:
            found.add(("region", facts.cloud))
    return found


def check_laws(before: World, actions: tuple[Action, ...], after: World) -> None:
    for node in after.nodes.values():
        was = before.nodes.get(node.id)
        if was is not None and was.state is not node.state:
            assert node.state in NODE_TRANSITIONS[was.state], (was.state, node.state)
        if node.request_id in after.requests:
            assert after.requests[node.request_id].tenant == node.tenant, "tenants are not mixed"
    seen: Counter[str] = Counter()
    for request in after.requests.values():
        if request.state is RequestState.fulfilled:
            seen.update(request.node_ids)
            nodes = [after.nodes[n] for n in request.node_ids]
            assert len({n.provider for n in nodes}) == 1, "all of a set in one provider"
            assert len(nodes) == len(request.labels)
    assert all(times == 1 for times in seen.values()), "a node answers one request"
    busy = (NodeState.in_use, NodeState.hold)
    for action in actions:
        match action:
            case Delete(node=id) | WriteOff(node=id) | Release(node=id):
                if id not in before.nodes:
                    continue  # made and given up by the same plan
                held = before.nodes[id]
                assert held.state not in busy or held.hold_expires is not None, "what runs is left alone"
            case Create(node=node):
                created_over = over_limit(after) & {("provider", node.provider), ("region", node.cloud)}
                assert not created_over, "nothing is created where there is no room"
                assert before.regions[node.region_key].health.status is not RegionStatus.down
            case Fulfil(request=id):
                assert before.requests[id].state in (RequestState.requested, RequestState.accepted)
            case _:
                pass


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_plans_keep_the_laws_and_leave_nothing_to_plan(world: World):
    actions = plan(world, NOW)
    assert plan(world, NOW) == actions, "the same world gives the same plan"
    after = apply(world, actions, NOW)
    check_laws(world, actions, after)
    assert plan(after, NOW) == (), "level-triggered: carried out, there is nothing more to do"


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    clouds=st.lists(st.tuples(st.integers(2, 8), st.booleans()), min_size=1, max_size=4),
    sets=st.lists(st.integers(1, 3), min_size=1, max_size=25),
    outage=st.booleans(),
)
def test_every_request_ends_and_nothing_is_left(
    seed: int, clouds: list[tuple[int, bool]], sets: list[int], outage: bool
):
    regions = [Cloud((f"c{i}", "r"), size, lies=lies) for i, (size, lies) in enumerate(clouds)]
    sim = PoolSim(regions, seed=seed)
    worlds_seen: list[tuple[Action, ...]] = []

    def look(actions: tuple[Action, ...]) -> None:
        check_laws(sim.world, actions, apply(sim.world, actions, sim.now))
        worlds_seen.append(actions)

    sim.on_plan = look
    for i, size in enumerate(sets):
        sim.ask(*["small"] * size, runs_s=60.0 + 7 * i, when=float(3 * i))
    if outage:
        sim.at(30.0, lambda: sim.kill(regions[0].key))
        sim.at(300.0, lambda: sim.revive(regions[0].key))
    sim.run(6 * 3600.0)
    done = sim.measures
    assert done.fulfilled + done.failed == done.asked == len(sets)
    if not outage and all(size <= 2 for size in sets):
        assert done.failed == 0 or any(lies for _, lies in clouds)
    assert all(cloud.peak <= cloud.instances for cloud in sim.clouds.values())
    sim.policy = replace(sim.policy, surplus_s=0.0)
    sim.at(sim.now, lambda: setattr(sim, "_dirty", True))
    sim.run(sim.now + 3600.0)
    assert not any(cloud.servers for cloud in sim.clouds.values()), "no server is left"


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_replays_a_run_exactly(seed: int):
    def run() -> list[float]:
        sim = PoolSim([Cloud(("a", "r"), 3), Cloud(("b", "r"), 3)], seed=seed)
        for i in range(20):
            sim.ask("small", runs_s=50.0, when=float(i))
        sim.run(7200.0)
        return sim.measures.waits_s

    assert run() == run()
