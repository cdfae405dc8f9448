"""Rows against lists: what a region's worker does about each, whoever was killed when."""

from __future__ import annotations

import pytest

from trunkline.pool.model import NodeState, Trouble
from trunkline.pool.reconcile import (
    Active,
    Adopt,
    Broken,
    Forget,
    Missing,
    Remove,
    Row,
    Seen,
    Send,
    reconcile,
    unsent,
)

NOW, GRACE = 1000.0, 10.0


def found(rows: list[Row], servers: list[Seen]) -> list[object]:
    return list(reconcile(rows, servers, NOW, grace_s=GRACE))


def test_a_planned_node_is_asked_for_once():
    assert found([Row("n", NodeState.requested)], []) == [Send("n")]
    assert unsent([Row("n", NodeState.requested)]) == [Send("n")]
    assert unsent([Row("n", NodeState.requested, create_sent=999.0)]) == []
    assert found([Row("n", NodeState.requested, create_sent=999.0)], []) == []


def test_a_server_whose_asker_was_killed_is_adopted():
    assert found([Row("n", NodeState.requested, create_sent=900.0)], [Seen("s", "n", "BUILD")]) == [Adopt("n", "s")]


def test_a_create_that_was_never_confirmed_is_written_off_not_repeated():
    (finding,) = found([Row("n", NodeState.requested, create_sent=980.0)], [])
    assert isinstance(finding, Broken)
    assert finding.trouble is Trouble.down


def test_a_server_that_no_row_claims_is_deleted():
    assert found([], [Seen("s", "gone", "ACTIVE")]) == [Remove("s", None)]


def test_a_second_server_of_a_node_is_a_leak():
    row = Row("n", NodeState.building, "s1", create_sent=990.0)
    servers = [Seen("s0", "n", "ACTIVE"), Seen("s1", "n", "BUILD")]
    assert found([row], servers) == [Remove("s0", None)]


def test_an_active_server_is_made_ready_and_a_broken_one_given_up():
    row = Row("n", NodeState.building, "s", create_sent=990.0)
    assert found([row], [Seen("s", "n", "ACTIVE")]) == [Active("n", "s")]
    assert found([row], [Seen("s", "n", "BUILD")]) == []
    (finding,) = found([row], [Seen("s", "n", "ERROR", "No valid host was found.")])
    assert finding == Broken("n", Trouble.boot, "No valid host was found.", from_fault=True)


def test_a_server_that_does_not_get_active_in_time_is_given_up():
    row = Row("n", NodeState.building, "s", create_sent=600.0, boot_timeout_s=300.0)
    (finding,) = found([row], [Seen("s", "n", "BUILD")])
    assert isinstance(finding, Broken)


@pytest.mark.parametrize("state", [NodeState.building, NodeState.ready, NodeState.in_use, NodeState.hold])
def test_a_server_that_is_not_listed_is_looked_for_by_id_after_a_while(state: NodeState):
    assert found([Row("n", state, "s", create_sent=500.0)], []) == [Missing("n", "s")]
    assert found([Row("n", state, "s", create_sent=995.0)], []) == []


def test_a_deleted_node_is_forgotten_only_when_its_server_is_gone():
    row = Row("n", NodeState.deleting, "s", create_sent=500.0)
    assert found([row], [Seen("s", "n", "ACTIVE")]) == [Remove("s", "n")]
    assert found([row], []) == [Forget("n", "s")]


def test_a_deleted_node_that_may_have_a_server_waits_for_the_list_to_catch_up():
    assert found([Row("n", NodeState.deleting)], []) == [Forget("n", None)]
    assert found([Row("n", NodeState.deleting, create_sent=995.0)], []) == []
    assert found([Row("n", NodeState.deleting, create_sent=980.0)], []) == [Forget("n", None)]
    assert found([Row("n", NodeState.deleting, create_sent=980.0)], [Seen("s", "n", "ACTIVE")]) == [Remove("s", "n")]


def test_a_ready_server_that_stopped_is_given_up_and_a_busy_one_left_to_its_job():
    server = Seen("s", "n", "SHUTOFF")
    (finding,) = found([Row("n", NodeState.ready, "s")], [server])
    assert isinstance(finding, Broken)
    assert found([Row("n", NodeState.in_use, "s")], [server]) == []
