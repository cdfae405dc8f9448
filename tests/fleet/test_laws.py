"""The laws of the fleet as properties: random worlds, policies and faults; F1, F3 and F5 are checked at every tick."""

import os

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.fleet.worlds import LABEL, World, application, region, world
from trunkline import fleet
from trunkline.fleet import InstanceState, RegionHealth, Survive
from trunkline.fleet.step import observe, step

SEEDS = int(os.environ.get("TRUNKLINE_FLEET_SEEDS", "80"))  # worlds a property; a long run sets thousands
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
CITIES = ["London", "Paris", "Stockholm", "Frankfurt", "Warsaw", "Dallas", "Montreal", "Zurich"]
LAWS = ["GB", "EU", "EU", "EU", "EU", "US", "CA", "CH"]
VENDORS = ["rack", "ovh", "cleura", "otc", "ovh", "lime", "vexx", "switch"]


@st.composite
def places(draw, least=3):
    which = draw(st.lists(st.sampled_from(range(len(CITIES))), min_size=least, max_size=6, unique=True))
    return tuple(
        region(
            f"p{k}",
            VENDORS[k],
            CITIES[k],
            LAWS[k],
            headroom=draw(st.sampled_from([None, 2, 20])),
            labels=draw(st.sampled_from([None, (LABEL,)])),
        )
        for k in which
    )


@st.composite
def policies(draw):
    count = draw(st.integers(1, 6))
    return application(
        instances=count,
        min_healthy=draw(st.one_of(st.none(), st.integers(0, count))),
        placement=fleet.Placement(
            jurisdictions=draw(st.sampled_from([(), ("EU",), ("EU", "GB"), ("EU", "CH", "GB"), ("US",)])),
            near=draw(st.sampled_from([(), (fleet.Near("London"),), (fleet.Near("Paris", 2), fleet.Near("Zurich"))])),
            spread_providers=draw(st.integers(1, min(2, count))),
            spread_regions=draw(st.integers(1, min(3, count))),
            survive=draw(st.sampled_from(list(Survive))),
        ),
        update=fleet.Update(draw(st.integers(1, 3)), 10, 120),
        health=draw(st.sampled_from([application().health, application().health, ()])),
        failover=fleet.Failover(detect_s=30, cooldown_s=draw(st.sampled_from([60, 600])), max_moving=0.5),
    )


FAULTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["kill", "revive", "cut", "sick", "vanish", "blind", "land", "bad", "broken", "policy", "wait"]
        ),
        st.integers(0, 7),
        st.integers(1, 40),
    ),
    max_size=8,
)


def happen(it: World, faults, policy) -> None:
    """Play a list of faults, each followed by some ticks."""
    for number, (what, which, ticks) in enumerate(faults):
        name = sorted(it.regions)[which % len(it.regions)]
        servers = [s for s in it.servers.values() if s.exists]
        match what:
            case "kill":
                it.kill(name)
            case "revive":
                it.revive(name)
            case "cut":
                it.cut_api(name)
            case "sick" if servers:
                servers[which % len(servers)].sick = True
            case "vanish" if servers:
                servers[which % len(servers)].exists = False
            case "blind":
                it.blind ^= {"east"}
            case "land" | "bad" | "broken":
                commit = f"{what}{number}"
                {"land": set(), "bad": it.bad_commits, "broken": it.broken_builds}[what].add(commit)
                it.land(commit)
            case "policy":
                it.land(f"policy{number}", policy)
        it.run(ticks * it.tick_s)


def heal(it: World) -> None:
    """No more faults from here on."""
    it.blind.clear()
    for name in it.regions:
        it.revive(name)
    for server in it.servers.values():
        server.sick = False
    it.land("mended")


@settings(max_examples=SEEDS, deadline=None, phases=PHASES)
@given(policies(), places(), FAULTS, policies())
def test_whatever_happens_law_grace_and_provenance_hold_and_policy_is_reached_when_faults_end(
    app, where, faults, other
):
    it = world(app, where)
    it.land("c1")
    happen(it, faults, other)
    heal(it)
    it.settle(4 * 3600)
    policy = it.state.application
    kept = it.live()
    assert len(kept) <= policy.instances, kept
    if len(kept) < policy.instances:
        assert it.status.messages, "says what fails"
    else:
        assert len(it.serving()) == policy.instances
        assert len({i.vendor for i in kept}) >= min(policy.placement.spread_providers, policy.instances)
        spare_missing = it.status.wanted > len(kept) and it.status.messages  # all must serve, and no room for a spare
        assert spare_missing or {i.commit for i in kept} == {"mended"}
    owned = {i.id for i in it.state.instances}
    assert all(not server.exists or name in owned for name, server in it.servers.items()), "F7: nothing is left"
    assert all(i.state is InstanceState.RUNNING for i in it.state.instances if it.status.condition.value == "steady")


@settings(max_examples=SEEDS // 4, deadline=None, phases=PHASES)
@given(policies(), places(least=4))
def test_what_is_said_to_survive_a_provider_survives_it(app, where):
    it = world(replace(app, health=application().health, failover=fleet.Failover(30, 60, 0.5)), where)
    it.land("c1")
    it.settle()
    if it.status.survives is not Survive.PROVIDER:
        return
    vendor = it.live()[0].vendor
    for name, place in it.regions.items():
        if place.vendor == vendor:
            it.kill(name)
    it.until(lambda: len(it.serving()) >= it.state.application.must_serve, within=1800)


@settings(max_examples=SEEDS // 4, deadline=None, phases=PHASES)
@given(policies(), places(least=4), st.data())
def test_losing_most_regions_at_once_moves_nothing(app, where, data):
    it = world(replace(app, health=application().health), where)
    it.land("c1")
    it.settle()
    least = len(it.regions) // 2 + 1
    lost = data.draw(st.lists(st.sampled_from(sorted(it.regions)), min_size=least, unique=True))
    for name in lost:
        it.kill(name)
    asked = len(it.log)
    it.run(1800)
    assert it.log[asked:] == []


@settings(max_examples=SEEDS // 4, deadline=None, phases=PHASES)
@given(policies(), places(), FAULTS, policies())
def test_the_same_input_gives_the_same_plan(app, where, faults, other):
    logs = []
    for _ in range(2):
        it = world(app, where)
        it.land("c1")
        happen(it, faults[:4], other)
        logs.append(it.log)
    assert logs[0] == logs[1]


@settings(max_examples=SEEDS // 4, deadline=None, phases=PHASES)
@given(policies(), places())
def test_never_fewer_than_min_healthy_serve_because_of_a_rollout(app, where):
    it = world(replace(app, health=application().health), where)
    it.land("c1")
    it.settle()
    it.bad_commits.add("c2")
    floor = min(len(it.serving()), it.state.application.must_serve)
    for commit in ("c2", "c3"):
        it.land(commit)
        for _ in range(200):
            it.tick()
            assert len(it.serving()) >= floor


@given(places(), policies())
@settings(max_examples=SEEDS // 4, deadline=None, phases=PHASES)
def test_events_of_strangers_change_nothing(where, app):
    it = world(app, where)
    it.land("c1")
    it.run(60)
    for event in (
        fleet.NodeReady("nobody", "n", "a"),
        fleet.NodeFailed("nobody", "why"),
        fleet.BuildCompleted("nobody", "SUCCESS"),
        fleet.Submitted("nobody", "b"),
        fleet.Asked(fleet.InstanceId("nobody-1"), "r"),
        fleet.NodeGone(fleet.InstanceId("nobody-1")),
    ):
        assert observe(it.state, event, it.now) == it.state


def test_no_more_than_half_moves_within_one_cooldown():
    app = application(instances=6, placement=fleet.Placement(spread_providers=1, near=(fleet.Near("London"),)))
    it = world(app, tuple(region(f"p{k}", VENDORS[k], CITIES[k], LAWS[k], headroom=9) for k in range(4)))
    it.land("c1")
    it.settle()
    it.kill("p0")
    it.run(300)
    assert len([a for a in it.log if isinstance(a, fleet.Leave)]) == 3
    it.settle()
    assert len(it.serving()) == 6


def test_a_step_without_regions_holds_still():
    it = world(regions=())
    it.land("c1")
    it.run(60)
    assert not it.log
    state, plan = step(it.state, (), fleet.Seen(), it.now)
    assert state == it.state
    assert "no region is known" in plan.status.messages[0]
    assert RegionHealth.DOWN.value == "down"
