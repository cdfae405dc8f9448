"""One change from push to landing, on the embedded review server and on a real Gerrit."""

from __future__ import annotations

import pytest

from tests.system.world import Installation

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("world"), pytest.mark.timeout(900)]


def goes_through(world: Installation) -> None:
    number = world.push("demo/app")
    world.wait_vote(number, 1)
    world.approve(number)
    world.wait_landed(number)
    world.until(
        "the post job has run", lambda: world.rest("builds", pipeline="post", project="demo/app", complete="true")
    )
    world.wait_drained()

    builds = {(b["pipeline"], b["job_name"]): b["result"] for b in world.builds(number)}
    assert builds == {("check", "unit"): "SUCCESS", ("gate", "unit"): "SUCCESS"}
    check, start, gate = world.said(number)[:3]
    assert check.startswith("Patch Set 1: Verified+1")
    assert "Build succeeded." in check
    assert "- unit http" in check
    assert "Starting gate jobs." in start
    assert "Build succeeded." in gate
    post = world.rest("builds", pipeline="post", project="demo/app")[0]
    assert (post["job_name"], post["result"], post["ref"]["newrev"]) == (
        "local",
        "SUCCESS",
        world.change(number)["current_revision"],
    )


def test_a_change_goes_from_push_to_landing(world: Installation) -> None:
    goes_through(world)


@pytest.mark.gerrit
def test_a_change_goes_from_push_to_landing_on_a_real_gerrit(gerrit_world: Installation) -> None:
    goes_through(gerrit_world)
