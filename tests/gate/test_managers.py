"""Independent, serial and supercedent queues; and what does not change whatever the manager."""

import msgspec
import pytest

from tests.gate.play import (
    Play,
    builds,
    cancels,
    change,
    check,
    closes,
    dequeued,
    enqueued,
    failed,
    gate,
    job,
    lands,
    passed,
    promoted,
    queue_is,
    reports,
    serial,
    supercedent,
)
from trunkline.gate.effects import MergeFuture, Report
from trunkline.gate.events import AnyEvent, ChangeMergedElsewhere, ReportSent, Supersede, Tick
from trunkline.gate.model import JobKind, Queue, RefKey
from trunkline.gate.step import step

A, B, C, D = (change(name) for name in "ABCD")


def test_dependencies_are_merged_below_and_never_run_or_report():
    play = Play(check()) >> enqueued(A, live=False) >> enqueued(B)
    play << builds("test: A B")
    play >> passed("B") << reports("success: B") << queue_is()


def test_check_does_not_land():
    play = Play(check()) >> enqueued(A) >> passed("A")
    play << lands() << reports("success: A") << closes("SUCCESS")


def test_a_conflict_in_check_is_reported_at_once():
    Play(check(), conflicts=lambda names: True) >> enqueued(A) << reports("merge-conflict: A") << queue_is()


def test_a_change_without_jobs_is_reported_as_such():
    Play(check(), graphs={"A": ()}) >> enqueued(A) << reports("no-jobs: A")


def test_a_new_patch_set_stops_the_old_one_quietly_in_check():
    play = Play(check()) >> enqueued(A) >> Supersede(RefKey("A"))
    play << cancels("test: A") << reports() << queue_is() << closes("DEQUEUED")


def test_a_dependency_that_changes_is_not_what_is_tested():
    play = Play(check()) >> enqueued(A, live=False) >> enqueued(B) >> dequeued("A")
    play << builds("test: A B")


def test_a_change_that_lands_elsewhere_is_still_checked():
    Play(check()) >> enqueued(A) >> ChangeMergedElsewhere(RefKey("A")) << builds("test: A")


def test_serial_works_on_one_at_a_time_in_order_each_on_its_own():
    play = Play(serial()) >> enqueued(A) >> enqueued(B) >> enqueued(C)
    play << builds("test: A")
    play >> passed("A") << builds("test: B")
    play >> failed("B") << builds("test: C")
    play >> passed("C") << reports("success: A", "failure: B", "success: C") << lands()


def test_promotion_in_a_serial_queue_leaves_what_runs():
    play = Play(serial()) >> enqueued(A) >> enqueued(B) >> enqueued(C) >> promoted("C")
    play << builds("test: A") << queue_is("A", "C", "B")


def test_supercedent_keeps_what_runs_and_the_newest_that_waits():
    play = Play(supercedent()) >> enqueued(A) >> enqueued(B) >> enqueued(C) >> enqueued(D)
    play << builds("test: A") << queue_is("A", "D") << reports()
    play >> passed("A") << builds("test: D")


def test_relative_priority_in_check_is_as_told():
    play = Play(check(), job("test", nodes=1)) >> enqueued(A, relative_priority=7)
    assert [e.relative_priority for e in play.seen if type(e).__name__ == "RequestNodes"] == [7]


def test_reporter_jobs_wait_for_the_report():
    play = Play(check(), job("test"), job("after", kind=JobKind.REPORTER)) >> enqueued(A) >> passed("A")
    (said,) = (e for e in play.take(Report) if e.kind.value == "success")
    assert said.answer
    play << builds()
    play >> ReportSent("item-A", "success") << builds("after: A")
    play >> passed("A", "after") << queue_is()


def test_the_start_is_reported_once_and_not_for_quiet_items():
    play = Play(gate()) >> enqueued(A) >> enqueued(B, quiet=True) >> failed("A")
    assert [e.changes[0].key for e in play.take(Report) if e.kind.value == "start"] == ["A"]


def test_merging_says_what_is_ahead_and_what_is_its_own():
    play = Play(gate()) >> enqueued(A) >> enqueued(B, C)
    last = play.take(MergeFuture)[-1]
    assert [c.key for c in last.changes] == ["A", "B", "C"]
    assert last.own == 2
    assert last.base == play.item("A").future.id


def test_a_repeated_enqueue_changes_nothing_even_after_the_item_has_left():
    play = Play(gate()) >> enqueued(A) >> enqueued(A)
    play << queue_is("A")
    play >> failed("A") >> enqueued(A) << queue_is()


def test_a_bundle_replaces_the_single_item_of_one_of_its_changes():
    play = Play(gate()) >> enqueued(A) >> enqueued(A, B)
    play << queue_is("A+B") << cancels("test: A") << builds("test: A B", "test: A B")


def history_of(settings):
    play = Play(settings, job("a", nodes=1, semaphores=["s"]), job("b", "a"))
    play >> enqueued(A) >> enqueued(B) >> enqueued(C)
    play >> passed("A", "a")
    play >> failed("A", "b")
    play >> dequeued("C")
    return play


@pytest.mark.parametrize("settings", [gate(), serial(), supercedent()])
def test_every_event_delivered_twice_changes_nothing_the_second_time(settings):
    play = history_of(settings)
    queue = Queue(play.queue.id, settings=settings)
    for now, event in enumerate(play.history):
        queue, _ = step(queue, event, now)
        again, effects = step(queue, event, now)
        assert again == queue
        assert effects == ()


@pytest.mark.parametrize("settings", [gate(), serial(), supercedent()])
def test_old_events_delivered_late_change_nothing(settings):
    play = history_of(settings)
    for event in play.history:
        after, effects = step(play.queue, event, play.now)
        assert after == play.queue
        assert effects == ()


def test_replay_equals_live_bit_for_bit():
    play = history_of(gate())
    queue = Queue(play.queue.id, settings=gate())
    for now, event in enumerate(play.history):
        stored = msgspec.json.decode(msgspec.json.encode(queue), type=Queue)
        event = msgspec.json.decode(msgspec.json.encode(event), type=AnyEvent)
        queue, _ = step(stored, event, 1001.0 + now)
    assert msgspec.json.encode(queue) == msgspec.json.encode(play.queue)


def test_a_tick_has_a_quiet_queue_stay_as_it_is():
    play = history_of(gate())
    assert step(play.queue, Tick(), play.now) == (play.queue, ())
