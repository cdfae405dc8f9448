"""Clouds that misbehave: the region is circled out with the reason shown, and the work goes elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.world import Installation

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("world"), pytest.mark.timeout(900)]


SICK = "beta"  # the one that is chosen when all is well
HAS_WORK = "alpha"


def judged(world: Installation, *numbers: int) -> None:
    for number in numbers:
        world.wait_vote(number, 1)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "api-error", "status": 401}, "credentials refused"),
        ({"kind": "api-slow", "delay_s": 8}, "timeout"),
    ],
    ids=["refuses-credentials", "times-out"],
)
def test_a_cloud_that_does_not_serve_is_circled_out_with_the_reason(
    world: Installation, fault: dict[str, Any], reason: str
) -> None:
    world.until("the region is seen", lambda: world.region(SICK).get("state") == "healthy")
    before = world.made(SICK)
    world.fault(**fault, cloud=SICK)
    numbers = [world.push("demo/app") for _ in range(2)]
    judged(world, *numbers)
    world.until("the region is down", lambda: world.region(SICK).get("state") == "down")
    assert reason in world.region(SICK)["reason"]
    assert reason in world.get("t/small/pool")
    assert world.made(SICK) == before
    world.clear_faults()
    world.until("the region is well again", lambda: world.region(SICK).get("state") == "healthy")
    world.wait_drained()


def test_credentials_that_are_refused_from_the_beginning_are_shown(world: Installation) -> None:
    world.fault("api-error", status=401, cloud=SICK)
    world.kill("launcher")
    number = world.push("demo/app")
    judged(world, number)
    world.until("the region is down", lambda: world.region(SICK).get("state") == "down")
    assert "credentials refused" in world.region(SICK)["reason"]
    world.clear_faults()
    world.until("the region is well again", lambda: world.region(SICK).get("state") == "healthy")
    world.wait_drained()


def test_a_cloud_that_lies_about_its_quota_gets_no_more_than_it_takes(world: Installation) -> None:
    before = world.made(HAS_WORK)
    world.fault("quota-full", cloud=SICK)
    world.fault("quota-lies", cloud=SICK, add=100)
    numbers = [world.push("demo/app") for _ in range(2)]
    judged(world, *numbers)
    for number in numbers:
        assert [b["result"] for b in world.builds(number)] == ["SUCCESS"]
    assert world.made(HAS_WORK) - before >= 2
    world.wait_drained()


def test_a_server_that_never_answers_ssh_is_deleted_and_tried_elsewhere(world: Installation) -> None:
    world.fault("never-ssh", count=1)
    number = world.push("demo/app")
    world.until("the build runs", lambda: world.desk.of(number))
    world.wait_vote(number, 1)
    assert [b["result"] for b in world.builds(number)] == ["SUCCESS"]
    assert "node.unreachable" in world.log()
    world.wait_drained()
