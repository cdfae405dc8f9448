"""The review server is away for a while: what had to be said is said when it is back."""

from __future__ import annotations

import signal

import pytest

from tests.connections.embedded import Embedded
from tests.system.world import Installation

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("world"), pytest.mark.timeout(900)]


def test_votes_and_landings_wait_for_a_review_server_that_is_away(world: Installation) -> None:
    review = world.review
    assert isinstance(review, Embedded)
    waiting = world.push("demo/app")
    world.wait_vote(waiting, 1)
    world.desk.hold()
    fresh = world.push("demo/app")
    world.approve(waiting)
    world.wait_held(fresh)
    world.wait_held(waiting)
    review.stop(signal.SIGKILL)
    failed = world.log().count("event=report.failed")
    world.desk.release_all()
    world.until(
        "both reports have failed in all their tries", lambda: world.log().count("event=report.failed") >= failed + 8
    )
    review.start()
    world.wait_vote(fresh, 1)
    world.wait_landed(waiting)
    assert len(world.reports(fresh, "check")) == 1
    assert len(world.reports(waiting, "gate")) == 1
    newer = world.push("demo/lib")
    world.wait_vote(newer, 1)
    world.wait_drained()
