"""Nodes that are there before they are asked for, and room that is made for those who wait."""

from __future__ import annotations

from msgspec.structs import replace

from tests.pool.play import Pool, label, provider
from trunkline.pool import Node, NodeState, Outcome, Policy, Resources, Trouble
from trunkline.pool.step import Happened


def test_min_ready_is_spread_over_the_providers():
    pool = Pool(*(provider(n, label(min_ready=4)) for n in "abcd")).later(0)
    assert sorted(n.cloud for n in pool.nodes()) == ["a", "b", "c", "d"]


def test_a_ready_node_answers_at_once_and_is_replaced():
    pool = Pool(provider("a", label(min_ready=1))).later(0)
    pool.boots()
    request = pool.asks("small")
    assert pool.is_fulfilled(request)
    assert len(pool.created()) == 1


def test_min_ready_moves_out_of_a_region_that_is_down():
    pool = Pool(*(provider(n, label(min_ready=2)) for n in "ab")).later(0)
    pool.boots()
    pool.happens(Happened(("a", "R1"), Outcome(Trouble.auth, "revoked")))
    assert [n.cloud for n in pool.created()] == ["b"]


def test_ready_nodes_of_other_labels_give_way_to_those_who_wait():
    limits = Resources(instances=2)
    pool = Pool(provider("a", label("x", min_ready=1), label("y", min_ready=1), limits=limits)).later(0)
    pool.boots()
    request = pool.asks("x", "x")
    assert [n.label for n in pool.nodes(NodeState.deleting)] == ["y"]
    pool.sweeps().boots()
    assert pool.is_fulfilled(request)


def test_ready_nodes_stay_if_deleting_them_would_not_help():
    pool = Pool(provider("a", label("x"), label("y", min_ready=1), limits=Resources(instances=3))).later(0)
    pool.boots()
    running = pool.asks("x", "x")
    pool.boots().runs(running)
    pool.asks("x", "x")
    assert not pool.nodes(NodeState.deleting)


def test_nodes_grow_old():
    pool = Pool(provider("a", label(min_ready=1, max_ready_age_s=600))).later(0)
    pool.boots().later(599)
    assert not pool.nodes(NodeState.deleting)
    pool.later(2)
    assert len(pool.nodes(NodeState.deleting)) == 1
    assert len(pool.created()) == 1


def test_surplus_is_deleted_after_a_while():
    pool = Pool(provider("a"), policy=Policy(surplus_s=60))
    pool.boots().returns(pool.asks("small"))
    pool.boots().later(59)
    assert not pool.nodes(NodeState.deleting)
    pool.later(2)
    assert len(pool.nodes(NodeState.deleting)) == 1


def test_a_provider_that_left_the_configuration_loses_its_idle_nodes_and_keeps_the_busy():
    pool = Pool(provider("a", label(min_ready=1))).later(0)
    pool.boots()
    busy = pool.asks("small")
    pool.runs(busy).boots()
    pool.world = replace(pool.world, providers=())
    pool.later(1)
    assert sorted(n.state.value for n in pool.nodes()) == ["deleting", "in-use"]


def test_used_nodes_wait_for_their_requester_who_may_want_to_hold_them():
    pool = Pool(provider("a"))
    request = pool.asks("small")
    pool.boots().runs(request)
    (node,) = pool.nodes()
    used = replace(node, state=NodeState.used, state_time=pool.now)
    pool.world = replace(pool.world, nodes={node.id: used})
    pool.later(299)
    assert pool.nodes(NodeState.used)
    pool.returns(request)
    assert pool.nodes(NodeState.deleting)
    pool.world = replace(pool.world, nodes={node.id: used})
    pool.later(2)
    assert pool.nodes(NodeState.deleting), "even if it never comes back"


def test_held_nodes_stay_until_their_time_is_over():
    pool = Pool(provider("a"))
    held = Node("n", "small", "p/a", "a", "R1", NodeState.hold, tenant="t", hold_expires=pool.now + 100)
    forever = Node("m", "small", "p/a", "a", "R1", NodeState.hold, tenant="t")
    pool.world = replace(pool.world, nodes={"n": held, "m": forever})
    pool.later(99)
    assert len(pool.nodes(NodeState.hold)) == 2
    pool.later(2)
    assert [n.id for n in pool.nodes(NodeState.hold)] == ["m"]


def test_a_region_whose_launches_fail_is_used_with_care_then_left_alone():
    pool = Pool(provider("a", label(min_ready=6))).later(0)
    for _ in range(4):
        pool.fails(next(n for n in pool.nodes() if n.is_coming))
    assert pool.world.regions["a", "R1"].health.status.value == "degraded"
    while pool.world.regions["a", "R1"].health.status.value == "degraded":
        pool.fails(next(n for n in pool.nodes() if n.is_coming))
    assert pool.world.regions["a", "R1"].health.status.value == "down"
    assert not pool.created()
