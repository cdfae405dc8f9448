"""How requests are answered."""

from __future__ import annotations

from msgspec.structs import replace

from tests.pool.play import FLAVOR, IMAGE, Pool, label, provider, region
from trunkline.pool import (
    Constraints,
    LabelSpec,
    NodeState,
    Offer,
    Outcome,
    RegionStatus,
    RequestState,
    Resources,
    StaticNode,
    Trouble,
)
from trunkline.pool.explain import explain
from trunkline.pool.step import Happened


def test_a_request_is_answered_when_all_its_nodes_are_ready():
    pool = Pool(provider("a"))
    request = pool.asks("small", "small")
    first, second = pool.created()
    pool.boots(first)
    assert pool.request(request).state is RequestState.accepted
    pool.boots(second)
    assert pool.is_fulfilled(request)
    assert set(pool.request(request).node_ids) == {first.id, second.id}


def test_nodes_of_a_request_follow_the_order_of_its_labels():
    big = LabelSpec("big", IMAGE, FLAVOR)
    pool = Pool(provider("a", label(), big))
    request = pool.asks("big", "small")
    for node in reversed(pool.created()):
        pool.boots(node)
    labels = [pool.world.nodes[n].label for n in pool.request(request).node_ids]
    assert labels == ["big", "small"]


def test_all_nodes_of_a_set_come_from_one_provider():
    quota = Resources(instances=2)
    pool = Pool(provider("a", limits=quota), provider("b", limits=quota))
    pool.asks("small")
    pool.asks("small", "small")
    assert len({n.provider for n in pool.nodes_of(pool.world.requests["r2"])}) == 1
    assert len({n.provider for n in pool.nodes()}) == 2


def test_a_set_larger_than_a_quota_is_declined_there_and_fails_when_all_decline():
    pool = Pool(provider("a", limits=Resources(instances=2)))
    request = pool.asks("small", "small", "small")
    assert pool.request(request).state is RequestState.failed
    assert "needs 3 instances" in pool.request(request).declined_by[0].reason


def test_a_label_that_nobody_has_fails_at_once():
    pool = Pool(provider("a"))
    assert pool.request(pool.asks("windows")).state is RequestState.failed


def test_quota_of_the_cloud_less_what_others_use_bounds_the_pool():
    spec = provider("a")
    pool = Pool(spec, regions=[region(spec, quota=Resources(instances=5), unmanaged=Resources(instances=3))])
    for _ in range(4):
        pool.asks("small")
    assert len(pool.nodes()) == 2


def test_the_more_urgent_request_gets_the_room_that_frees_up():
    pool = Pool(provider("a", limits=Resources(instances=1)))
    first = pool.asks("small")
    pool.boots().runs(first)
    low, high = pool.asks("small", priority=300), pool.asks("small", priority=100)
    pool.returns(first).sweeps()
    assert pool.nodes_of(high)
    assert not pool.nodes_of(low)


def test_relative_priority_orders_within_a_priority():
    pool = Pool(provider("a", limits=Resources(instances=1)))
    first = pool.asks("small")
    pool.boots().runs(first)
    behind, ahead = pool.asks("small", relative_priority=5), pool.asks("small", relative_priority=1)
    pool.returns(first).sweeps()
    assert pool.nodes_of(ahead)
    assert not pool.nodes_of(behind)


def test_a_large_set_is_not_starved_by_small_ones():
    pool = Pool(provider("a", limits=Resources(instances=3)))
    running = [pool.asks("small") for _ in range(3)]
    pool.boots()
    for request in running:
        pool.runs(request)
    large = pool.asks("small", "small", "small")
    small = [pool.asks("small") for _ in range(5)]
    for request in running:
        pool.returns(request).sweeps()
    assert len(pool.nodes_of(large)) == 3
    assert not any(pool.nodes_of(r) for r in small)


def test_load_is_spread_over_providers():
    quota = Resources(instances=10)
    pool = Pool(*(provider(n, limits=quota) for n in "abcd"))
    for _ in range(20):
        pool.asks("small")
    counts = [sum(n.cloud == c for n in pool.nodes()) for c in "abcd"]
    assert min(counts) >= 4, counts


def test_a_pinned_request_is_served_by_that_provider_only():
    pool = Pool(provider("a", limits=Resources(instances=1)), provider("b"))
    for name in ("p/a", "a"):
        pool.asks("small", pin=name)
    assert {n.provider for n in pool.nodes()} == {"p/a"}
    assert len(pool.nodes()) == 1


def test_a_request_with_jurisdictions_stays_inside_them():
    us, gb, se = provider("us"), provider("gb"), provider("se")
    facts = [
        region(us, country="US", jurisdiction="US"),
        region(gb, country="GB", jurisdiction="GB"),
        region(se, country="SE", jurisdiction="EU"),
    ]
    pool = Pool(us, gb, se, regions=facts)
    for _ in range(12):
        pool.asks("small", constraints=Constraints(jurisdictions=("EU", "GB")), keep=True)
    assert {n.cloud for n in pool.nodes()} == {"gb", "se"}
    pool.asks("small", constraints=Constraints(regions=("us/R1",)))
    assert pool.created()[0].cloud == "us"
    refused = pool.asks("small", constraints=Constraints(jurisdictions=("CH",)))
    assert pool.request(refused).state is RequestState.failed


def test_a_node_that_never_answers_is_deleted_and_tried_elsewhere():
    pool = Pool(provider("a"), provider("b"))
    request = pool.asks("small")
    (node,) = pool.created()
    pool.fails(node, Trouble.unreachable)
    assert pool.world.nodes[node.id].state is NodeState.deleting
    (again,) = pool.created()
    assert again.provider != node.provider
    pool.boots(again)
    assert pool.is_fulfilled(request)


def test_after_three_failed_launches_a_provider_declines():
    pool = Pool(provider("a"))
    request = pool.asks("small")
    for _ in range(3):
        pool.fails(next(n for n in pool.nodes_of(request) if n.is_coming))
    assert pool.request(request).state is RequestState.failed
    assert "3 launches failed" in pool.request(request).declined_by[0].reason


def test_a_set_that_lost_one_node_keeps_the_others():
    pool = Pool(provider("a"))
    request = pool.asks("small", "small")
    kept, lost = pool.created()
    pool.boots(kept).fails(lost)
    (again,) = pool.created()
    pool.boots(again)
    assert set(pool.request(request).node_ids) == {kept.id, again.id}


def test_refusals_for_quota_do_not_count_as_failures_and_teach_a_ceiling():
    pool = Pool(provider("a"))
    requests = [pool.asks("small") for _ in range(4)]
    pool.boots(*pool.nodes()[:3])
    node = next(n for n in pool.nodes() if n.is_coming)
    pool.fails(node, Trouble.quota)
    waiting = next(r for r in requests if not pool.is_fulfilled(r))
    assert pool.request(waiting).failures == {}
    assert not pool.created()
    pool.returns(next(r for r in requests if pool.is_fulfilled(r)))
    assert pool.is_fulfilled(waiting), "the node that was given back serves it"


def test_no_room_in_the_cloud_sends_the_request_elsewhere_and_is_forgotten_in_time():
    pool = Pool(provider("a"), provider("b"))
    request = pool.asks("small")
    (node,) = pool.created()
    pool.fails(node, Trouble.capacity)
    assert pool.created()[0].cloud != node.cloud
    assert pool.request(request).failures == {node.provider: 1}


def test_a_region_that_goes_down_gives_its_requests_to_others():
    pool = Pool(provider("a"), provider("b"))
    request = pool.asks("small")
    (node,) = pool.created()
    for _ in range(3):
        pool.happens(Happened(node.region_key, Outcome(Trouble.down, "connection refused")))
    assert pool.world.regions[node.region_key].health.status is RegionStatus.down
    moved = [n for n in pool.nodes_of(request) if n.is_coming]
    assert [n.cloud for n in moved] == [{"a": "b", "b": "a"}[node.cloud]]


def test_refused_credentials_open_the_circuit_at_once_and_say_why():
    pool = Pool(provider("a"))
    pool.happens(Happened(("a", "R1"), Outcome(Trouble.auth, "The request you have made requires authentication.")))
    request = pool.asks("small")
    assert not pool.nodes()
    assert any("credentials refused" in line for line in explain(pool.world, request.id, pool.now))
    pool.now += 10
    pool.happens(Happened(("a", "R1"), Outcome()))
    assert pool.nodes_of(request)


def test_unassigned_nodes_of_a_canceled_request_serve_the_next():
    pool = Pool(provider("a"))
    first = pool.asks("small")
    pool.boots()
    pool.returns(first)
    second = pool.asks("small")
    assert pool.is_fulfilled(second)
    assert len(pool.nodes()) == 1


def test_nodes_that_ran_something_are_deleted_not_handed_on():
    pool = Pool(provider("a"))
    first = pool.asks("small")
    pool.boots().runs(first)
    pool.returns(first)
    assert [n.state for n in pool.nodes()] == [NodeState.deleting]


def test_nodes_of_an_application_are_never_handed_on():
    pool = Pool(provider("a"))
    first = pool.asks("small", keep=True)
    pool.boots().returns(first)
    assert [n.state for n in pool.nodes()] == [NodeState.deleting]


def test_tenants_do_not_share_nodes():
    pool = Pool(provider("a", tenant="t"), provider("a", tenant="u"))
    mine = pool.asks("small")
    pool.boots().returns(mine)
    theirs = pool.asks("small", tenant="u")
    assert not pool.is_fulfilled(theirs)
    assert len(pool.nodes()) == 2


def test_providers_of_two_tenants_share_the_limits_they_name():
    limits = Resources(instances=1)
    pool = Pool(provider("a", tenant="t", limits=limits), provider("a", tenant="u", limits=limits))
    first, second = pool.asks("small"), pool.asks("small", tenant="u")
    assert len(pool.nodes_of(first)) == 1
    assert not pool.nodes_of(second)


def test_reusable_labels_come_back_ready():
    pool = Pool(provider("a", label(reuse=True)))
    first = pool.asks("small")
    pool.boots().runs(first).returns(first)
    assert [n.state for n in pool.nodes()] == [NodeState.ready]
    assert pool.is_fulfilled(pool.asks("small"))


def test_aliases_serve_other_names_with_what_is_ready():
    pool = Pool(provider("a", label("new", aliases=("old",), min_ready=1), label("old")))
    pool.later(1).boots()
    request = pool.asks("old")
    assert pool.is_fulfilled(request)
    assert pool.world.nodes[pool.request(request).node_ids[0]].label == "new"


def test_static_machines_are_handed_out_and_come_back():
    machines = (StaticNode("one.example.org", "small"), StaticNode("two.example.org", "small"))
    pool = Pool(provider("s", driver="static", static_nodes=machines)).later(0)
    pool.boots()
    first, second, third = (pool.asks("small") for _ in range(3))
    assert pool.is_fulfilled(first)
    assert pool.is_fulfilled(second)
    pool.runs(first).returns(first)
    assert pool.is_fulfilled(third)
    assert pool.request(pool.asks("small", "small", "small")).state is RequestState.failed


def test_a_missing_image_is_a_reason_to_decline_and_one_on_its_way_to_wait():
    spec = provider("a")
    facts = region(spec)
    gone = replace(facts, offer=Offer(flavors=facts.offer.flavors, problems={"image:debian": "no image debian-12"}))
    pool = Pool(spec, regions=[gone])
    refused = pool.asks("small")
    assert "no image debian-12" in pool.request(refused).declined_by[0].reason
    pool = Pool(spec, regions=[replace(facts, offer=Offer(flavors=facts.offer.flavors))])
    waiting = pool.asks("small")
    assert pool.request(waiting).state is RequestState.requested


def test_nodes_of_one_request_share_an_availability_zone():
    spec = provider("a")
    facts = region(spec)
    pool = Pool(spec, regions=[replace(facts, offer=replace(facts.offer, azs=("az1", "az2", "az3")))])
    zones = []
    for _ in range(12):
        request = pool.asks("small", "small")
        (zone,) = {n.az for n in pool.nodes_of(request)}
        zones.append(zone)
    assert set(zones) == {"az1", "az2", "az3"}


def test_max_nodes_bounds_a_label_over_all_providers():
    pool = Pool(provider("a", label(max_nodes=2)), provider("b", label(max_nodes=2)))
    for _ in range(4):
        pool.asks("small")
    assert len(pool.nodes()) == 2
