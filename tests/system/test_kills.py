"""SIGKILL for each service and for the database, in the middle of things: nothing is lost, nothing done twice."""

from __future__ import annotations

import itertools
import os
import signal

import pytest

from tests.system.world import Installation

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("world"), pytest.mark.timeout(900)]


def judge(world: Installation, number: int, lost: int = 0) -> None:
    """One vote and one report a pipeline, one landing, one build a job besides those that were lost, no server left."""
    tip = world.change(number)["current_revision"]
    world.until("the post job has run", lambda: world.rest("builds", pipeline="post", newrev=tip, complete="true"))
    world.wait_drained()
    assert world.change(number)["status"] == "MERGED"
    assert [b["result"] for b in world.rest("builds", pipeline="post", newrev=tip)] == ["SUCCESS"]
    for pipeline in ("check", "gate"):
        assert len(world.reports(number, pipeline)) == 1, world.said(number)
        assert [b["result"] for b in world.buildsets(number, pipeline)] == ["SUCCESS"]
    assert sum("Starting gate jobs" in text for text in world.said(number)) == 1
    assert len(world.said(number)) == 4, world.said(number)  # the fourth is the review server's: that it is merged
    results = [(b["result"], b["final"]) for b in world.builds(number)]
    assert sorted(results) == sorted([("SUCCESS", True)] * 2 + [("RETRY", False)] * lost), results
    landed = [line for line in world.log().splitlines() if f":{number},1 " in line and "event=change.landed" in line]
    assert len(landed) == 1


@pytest.mark.parametrize("service", ["executor", "scheduler", "merger", "launcher"])
def test_a_service_killed_in_the_middle_of_builds_loses_nothing(world: Installation, service: str) -> None:
    world.desk.hold()
    number = world.push("demo/app")
    world.wait_held(number)
    world.kill(service)
    world.desk.release(number)
    world.wait_vote(number, 1)

    world.desk.hold()
    world.approve(number)
    world.until("the gate's build runs", lambda: any(v.pipeline == "gate" for v in world.desk.waiting(number)))
    world.kill(service)
    world.desk.release_all()
    world.wait_landed(number)

    judge(world, number, lost=2 if service == "executor" else 0)


def test_the_database_killed_in_the_middle_is_gone_on_from(world: Installation) -> None:
    world.desk.hold()
    number = world.push("demo/app")
    world.wait_held(number)
    world.kill_database()
    world.desk.release(number)
    world.wait_vote(number, 1)

    world.desk.hold()
    world.approve(number)
    world.until("the gate's build runs", lambda: any(v.pipeline == "gate" for v in world.desk.waiting(number)))
    world.kill_database()
    world.desk.release_all()
    world.wait_landed(number)
    judge(world, number)


def test_what_is_asked_of_running_builds_is_heard_after_the_database_was_killed(world: Installation) -> None:
    world.desk.hold()
    number = world.push("demo/app")
    world.wait_held(number)
    world.kill_database()
    world.amend("demo/app", number, {"second": "patch set"})
    world.until(
        "the first patch set's build is stopped", lambda: "ABORTED" in [b["result"] for b in world.builds(number)]
    )
    world.desk.release(number)
    world.wait_vote(number, 1)
    assert len(world.reports(number, "check", 2)) == 1
    assert world.reports(number, "check", 1) == []
    world.wait_drained()


def test_a_storm_of_kills_loses_nothing(world: Installation) -> None:
    """A service is killed at every second thing that happens to three changes on their way."""
    numbers = [world.push("demo/app") for _ in range(3)]
    victims = itertools.cycle(["scheduler", "merger", "executor", "launcher"])
    killed: list[str] = []

    def happenings() -> int:
        return sum("level=info" in line and "event=service." not in line for line in world.log().splitlines())

    seen = happenings()

    def kill_when_something_happens(done: bool) -> bool:
        nonlocal seen
        if not done and len(killed) < 10 and happenings() > seen + 1:
            victim = next(victims)
            if pid := world.pid(victim):
                os.kill(pid, signal.SIGKILL)
            killed.append(victim)
            seen = happenings()
        return done

    for number in numbers:
        world.until(
            f"{number} is tested", lambda n=number: kill_when_something_happens(world.vote(n) == 1), deadline_s=240
        )
    world.approve(*numbers)
    for number in numbers:
        world.until(
            f"{number} has landed",
            lambda n=number: kill_when_something_happens(world.change(n)["status"] == "MERGED"),
            deadline_s=240,
        )
    world.wait_drained()
    assert len(killed) == 10
    for number in numbers:
        for pipeline in ("check", "gate"):
            assert len(world.reports(number, pipeline)) == 1, world.said(number)
        assert len(world.said(number)) == 4, world.said(number)


def test_a_report_whose_answer_never_came_is_not_said_again(world: Installation) -> None:
    world.proxy.keep_answer(lambda path, body: path.endswith("/review") and b"Build succeeded" in body)
    number = world.push("demo/app")
    world.until("the report is sent", world.proxy.kept.is_set)
    world.kill("scheduler")
    world.proxy.go_on()
    world.wait_done("report.send")
    assert world.vote(number) == 1
    assert len(world.reports(number, "check")) == 1, world.said(number)


def test_a_landing_whose_answer_never_came_is_landed_once(world: Installation) -> None:
    number = world.push("demo/app")
    world.wait_vote(number, 1)
    world.proxy.keep_answer(lambda path, body: path.endswith("/submit"))
    world.approve(number)
    world.until("the change is submitted", world.proxy.kept.is_set)
    world.kill("scheduler")
    world.proxy.go_on()
    world.wait_drained()
    assert world.change(number)["status"] == "MERGED"
    assert [b["result"] for b in world.buildsets(number, "gate")] == ["SUCCESS"]
    assert len(world.said(number)) == 4, world.said(number)


def test_a_storm_of_database_deaths_loses_nothing(world: Installation) -> None:
    numbers = [world.push("demo/app") for _ in range(2)]
    world.approve(*numbers)
    deaths = 0

    def happenings() -> int:
        return sum("level=info" in line for line in world.log().splitlines())

    seen = happenings()

    def is_merged(number: int) -> bool:
        nonlocal deaths, seen
        if deaths < 6 and happenings() > seen + 1:
            world.kill_database()
            deaths += 1
            seen = happenings()
        return world.change(number)["status"] == "MERGED"

    for number in numbers:
        world.until(f"{number} has landed", lambda n=number: is_merged(n), deadline_s=240)
    world.wait_drained()
    assert deaths == 6
    for number in numbers:
        assert len(world.reports(number, "gate")) == 1, world.said(number)


def test_an_executor_that_is_asked_to_stop_hands_its_builds_to_the_next(world: Installation) -> None:
    world.desk.hold()
    number = world.push("demo/app")
    world.wait_held(number)
    old = world.pid("executor")
    os.kill(old, signal.SIGTERM)
    world.until("the executor is started again", lambda: world.pid("executor") not in (0, old))
    world.until("the build runs again", lambda: len(world.desk.of(number)) == 2)
    world.desk.release_all()
    world.wait_vote(number, 1)
    assert sorted((b["result"], b["final"]) for b in world.builds(number)) == [("RETRY", False), ("SUCCESS", True)]
    assert len(world.reports(number, "check")) == 1
    world.wait_drained()
