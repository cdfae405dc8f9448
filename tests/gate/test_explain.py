"""Why is it not landing? Every answer that people get."""

from tests.gate.play import (
    Play,
    change,
    check,
    enqueued,
    failed,
    failing,
    gate,
    graph_refused,
    job,
    landed,
    passed,
    paused,
)
from trunkline.gate.effects import AcquireSemaphores, FreezeJobs, MergeFuture, RequestNodes, StartBuild
from trunkline.gate.explain import explain, find
from trunkline.gate.model import JobKind, RefKey

A, B, C = (change(name) for name in "ABC")


def said(play: Play, name: str) -> str:
    item = find(play.queue, RefKey(name))
    assert item is not None
    return "\n".join(reason.text for reason in explain(play.queue, item))


def kinds(play: Play, name: str) -> list[str]:
    item = find(play.queue, RefKey(name))
    assert item is not None
    return [reason.kind for reason in explain(play.queue, item)]


def test_where_it_stands_and_on_what():
    play = Play(gate()) >> enqueued(A) >> enqueued(B) >> enqueued(C)
    assert "at place 3 of 3" in said(play, "C")
    assert "as if A, then B had landed" in said(play, "C")
    assert "test runs" in said(play, "C")
    assert "at the head" in said(play, "A")
    assert "on the branch tips" in said(play, "A")


def test_resets_are_counted():
    play = Play(gate()) >> enqueued(A) >> enqueued(B) >> enqueued(C) >> failed("B")
    assert "as if A had landed (after 1 reset)" in said(play, "C")


def test_a_tested_change_waits_for_its_turn():
    play = Play(gate()) >> enqueued(A) >> enqueued(B) >> passed("B")
    assert "it lands after A" in said(play, "B")


def test_a_failed_change_waits_to_report():
    play = Play(gate()) >> enqueued(A) >> enqueued(B) >> failed("B")
    assert "at least one job failed" in said(play, "B")
    assert "test ended FAILURE" in said(play, "B")
    assert "reports its failure after A" in said(play, "B")


def test_outside_the_window():
    play = Play(gate(window=1, window_floor=1)) >> enqueued(A) >> enqueued(B) >> enqueued(C)
    assert "The window is 1: it is tested once 2 of those ahead have left." in said(play, "C")


def test_what_it_needs_is_failing():
    play = Play(gate(), job("test"), job("slow")) >> enqueued(A) >> enqueued(change("B", "A")) >> failed("A")
    assert "It needs A, which is failing" in said(play, "B")


def test_merging_and_freezing():
    play = Play(gate(), by_hand=(MergeFuture,)) >> enqueued(A)
    assert kinds(play, "A")[-1] == "merging"
    play = Play(gate(), by_hand=(FreezeJobs,)) >> enqueued(A)
    assert kinds(play, "A")[-1] == "freezing"


def test_conflicts_and_broken_configuration_behind_another():
    play = Play(gate(), conflicts=lambda names: names == ["A", "B"]) >> enqueued(A) >> enqueued(B)
    assert "in same.txt" in said(play, "B")
    play = Play(gate()) >> enqueued(A)
    play.by_hand = (FreezeJobs,)
    play >> enqueued(B) >> graph_refused("B", "unknown key")
    assert "unknown key" in said(play, "B")


def test_what_a_job_waits_for():
    play = Play(check(), job("a", nodes=2), by_hand=(RequestNodes,)) >> enqueued(A)
    assert "a waits for 2 nodes (debian, debian)" in said(play, "A")
    play = Play(check(), job("a", semaphores=["s"]), by_hand=(AcquireSemaphores,)) >> enqueued(A)
    assert "a waits for semaphore s" in said(play, "A")
    play = Play(check(), job("a"), job("b", "a"), by_hand=(StartBuild,)) >> enqueued(A)
    assert "a waits for an executor" in said(play, "A")
    assert "b waits for a." in said(play, "A")


def test_pauses_and_early_failures():
    play = Play(check(), job("a"), job("b", "a")) >> enqueued(A) >> paused("A", "a") >> failing("A", "b")
    assert "a is paused until b ended" in said(play, "A")
    assert "b runs and is known to fail" in said(play, "A")


def test_held_back_and_requirements():
    play = Play(gate(), job("first", hold_following_changes=True)) >> enqueued(A) >> enqueued(B)
    assert "first waits until the jobs of A that hold following changes succeeded" in said(play, "B")
    graphs = {"A": (job("image", provides=("i",)),), "B": (job("use", requires=("i",)),)}
    play = Play(gate(), graphs=graphs) >> enqueued(A) >> enqueued(B)
    assert "use waits for i from a change ahead" in said(play, "B")


def test_landing_and_reporter_jobs():
    play = Play(gate(), job("test"), job("publish", kind=JobKind.REPORTER)) >> enqueued(A) >> passed("A")
    assert "being landed" in said(play, "A")
    play >> landed("A")
    assert "reporter jobs run" in said(play, "A")


def test_dependencies_in_check():
    play = Play(check()) >> enqueued(A, live=False) >> enqueued(B)
    assert "not tested" in said(play, "A")
    assert "on the branch tips with A" in said(play, "B")


def test_nobody_is_found_that_is_not_there():
    assert find(Play(gate()).queue, RefKey("A")) is None
