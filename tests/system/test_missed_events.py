"""What happened while nobody listened is found out afterwards."""

from __future__ import annotations

import pytest

from tests.system.world import Installation

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("world"), pytest.mark.timeout(900)]


def test_changes_pushed_and_approved_while_the_scheduler_was_down_are_taken_up(world: Installation) -> None:
    waiting = world.push("demo/app")
    world.wait_vote(waiting, 1)
    with world.without("scheduler"):
        fresh = world.push("demo/app")
        world.approve(waiting)
    world.wait_vote(fresh, 1)
    world.wait_landed(waiting)
    for number, pipeline in ((fresh, "check"), (waiting, "check"), (waiting, "gate")):
        world.until("it is told", lambda n=number, p=pipeline: len(world.reports(n, p)) == 1)
    world.wait_drained()


def test_what_landed_by_other_hands_while_the_scheduler_was_down_starts_post_jobs(world: Installation) -> None:
    with world.without("scheduler"):
        tip = world.put("demo/app", {"direct": "push"})
    world.until("the post job ran", lambda: world.rest("builds", pipeline="post", newrev=tip, complete="true"))
    world.wait_drained()
