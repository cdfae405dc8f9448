"""Dependent queues: who is tested on what, what a verdict does to those behind, and what lands."""

from tests.gate.play import (
    Play,
    asks_nodes,
    builds,
    cancels,
    change,
    closes,
    dequeued,
    ended,
    enqueued,
    failed,
    failing,
    gate,
    graph_refused,
    job,
    landed,
    lands,
    message,
    passed,
    promoted,
    queue_is,
    refused,
    reports,
)
from trunkline.gate.effects import BuildsetClosed, FreezeJobs, ItemLeft, Report, RequestNodes, ReviseNodes
from trunkline.gate.events import (
    BuildCompleted,
    ChangeAbandoned,
    ChangeMergedElsewhere,
    DequeueReason,
    RequirementsLost,
    RetryReason,
    Supersede,
)
from trunkline.gate.model import Landing, RefKey
from trunkline.gate.step import step

A, B, C, D = (change(name) for name in "ABCD")


def stack() -> Play:
    play = Play(gate())
    return play >> enqueued(A) >> enqueued(B) >> enqueued(C)


def test_each_change_is_tested_on_all_ahead_of_it():
    stack() << builds("test: A", "test: A B", "test: A B C")


def test_results_in_the_wrong_order_land_in_queue_order():
    play = stack() >> passed("C") >> passed("B")
    play << lands() << queue_is("A", "B", "C")
    play >> passed("A") << lands("A")
    play >> landed("A") << lands("B")
    play >> landed("B") << lands("C")
    play >> landed("C") << queue_is() << reports()
    play << closes("SUCCESS", "SUCCESS", "SUCCESS")


def test_a_landing_disturbs_nobody_behind():
    play = stack() >> passed("A") >> landed("A")
    play << cancels() << builds("test: A B", "test: A B C")


def test_a_failed_head_leaves_and_those_behind_start_without_it():
    play = stack() >> failed("A")
    play << reports("failure: A") << cancels("test: B", "test: C") << builds("test: B", "test: B C")
    play << queue_is("B", "C") << closes("FAILURE", "DEQUEUED", "DEQUEUED")


def test_a_failure_in_the_middle_rebuilds_only_what_is_behind():
    play = stack() >> failed("B")
    play << cancels("test: C") << builds("test: A", "test: A C") << reports()
    play >> passed("A") << lands("A")
    play >> landed("A") << reports("failure: B") << lands()
    play >> passed("C") << lands("C")


def test_a_failed_change_whose_base_fails_too_gets_a_new_chance():
    play = stack() >> failed("B") >> failed("A")
    play << reports("failure: A") << builds("test: B", "test: B C")


def test_an_early_failure_resets_those_behind_at_once_and_the_build_goes_on():
    play = stack() >> failing("A")
    play << builds("test: A", "test: B", "test: B C") << reports()
    play >> passed("A") << reports("failure: A") << queue_is("B", "C")


def test_what_fails_no_longer_starts_over_as_others_may_have_landed_meanwhile():
    play = Play(gate(), job("test"), job("slow")) >> enqueued(A) >> enqueued(B)
    play >> failing("A") >> passed("B") >> passed("B", "slow") >> landed("B")
    play >> passed("A", "slow") >> ended("A", None, retry_reason=RetryReason.EXECUTOR_LOST)
    play << builds("test: A", "slow: A") << reports()


def test_those_behind_hear_nothing_of_a_reset():
    play = stack() >> failed("A")
    starts = [e.changes[0].key for e in play.take(Report) if e.kind.value == "start"]
    assert starts == ["A", "B", "C"]


def test_a_change_behind_a_running_failure_lands_before_that_has_reported():
    play = Play(gate(), job("test"), job("slow")) >> enqueued(A) >> enqueued(B)
    play >> failed("A") >> passed("B") >> passed("B", "slow")
    play << lands("B") << queue_is("A", "B")
    play >> landed("B") << queue_is("A") << reports()
    play << builds("slow: A")
    play >> passed("A", "slow") << reports("failure: A") << queue_is()


def test_a_non_voting_failure_changes_nothing():
    play = Play(gate(), job("test"), job("nv", voting=False)) >> enqueued(A) >> enqueued(B)
    play >> failed("A", "nv") << cancels()
    play >> passed("A") << lands("A")


def test_a_conflict_is_not_tested_and_those_behind_are_tested_without_it():
    play = Play(gate(), conflicts=lambda names: "A" in names and names[-1] == "B")
    play >> enqueued(A) >> enqueued(B) >> enqueued(C)
    play << builds("test: A", "test: A C") << reports()
    play >> passed("A") >> landed("A") << reports("merge-conflict: B")
    assert play.queue.order == ("item-C",)


def test_a_conflict_with_a_change_that_fails_is_forgiven():
    play = Play(gate(), conflicts=lambda names: names == ["A", "B"])
    play >> enqueued(A) >> enqueued(B) >> failed("A")
    play << builds("test: B") << reports("failure: A")


def test_a_broken_configuration_is_reported_once_nothing_is_ahead():
    play = Play(gate(), by_hand=(FreezeJobs,)) >> enqueued(A)
    play >> graph_refused("A", "zuul.yaml:3: unknown key", "another")
    assert message("config-error")(play) == "zuul.yaml:3: unknown key\n\nanother"
    play << queue_is() << closes("CONFIG_ERROR")


def test_a_change_without_jobs_does_not_land_and_is_in_nobodys_future():
    play = Play(gate(), graphs={"A": ()}) >> enqueued(A) >> enqueued(B)
    play << reports("no-jobs: A") << builds("test: B") << queue_is("B")
    assert play.queue.window == 20


def test_what_needs_a_failed_change_leaves_at_once_and_is_told_why():
    play = Play(gate()) >> enqueued(A) >> enqueued(change("B", "A"))
    play << builds("test: A", "test: A B")
    play >> failed("A") << cancels("test: B") << queue_is()
    said = {e.changes[0].key: e.message for e in play.take(Report) if e.kind.value == "failure"}
    assert "depends on a change" in said["B"]
    assert "https://review/A" in said["B"]


def test_what_needs_a_failing_change_stops_but_keeps_its_place_until_that_has_left():
    play = Play(gate(), job("test"), job("slow")) >> enqueued(A) >> enqueued(change("B", "A")) >> enqueued(C)
    play >> failed("A")
    play << builds("slow: A", "test: C", "slow: C") << queue_is("A", "B", "C")
    assert play.item("B").failing == ("a needed change is failing",)
    play >> passed("A", "slow") << reports("failure: A", "failure: B") << queue_is("C")


def test_a_dependent_of_a_change_that_gets_a_new_chance_does_too():
    play = Play(gate(), job("test"), job("slow"))
    play >> enqueued(A) >> enqueued(B) >> enqueued(change("C", "B"))
    play >> failed("B") << builds("test: A", "slow: A", "slow: A B")
    play >> failed("A") << builds("slow: A", "test: B", "slow: B", "test: B C", "slow: B C")


def test_a_long_chain_of_dependents_leaves_together():
    play = Play(gate(window=0))
    play >> enqueued(change("c0"))
    for n in range(1, 150):
        play >> enqueued(change(f"c{n}", f"c{n - 1}"))
    play >> failed("c0") << queue_is()


def test_a_dependent_whose_dependency_left_before_it_came_is_refused():
    play = Play(gate()) >> enqueued(change("B", "A"))
    play << reports("enqueue-refused: B") << queue_is()


def test_a_dependent_of_what_landed_meanwhile_is_taken():
    play = Play(gate()) >> enqueued(A) >> passed("A") >> landed("A") >> enqueued(change("B", "A"))
    play << builds("test: B")


def test_a_refused_landing_says_nothing_more_and_resets_those_behind():
    play = stack() >> passed("A") >> refused("A", "not allowed")
    play << lands("A") << builds("test: B", "test: B C") << reports()
    closed = [e for e in play.take(BuildsetClosed) if e.result == "MERGE_FAILURE"]
    assert ["not allowed" in e.message for e in closed] == [True]


def test_landing_is_asked_for_once():
    play = stack() >> passed("A")
    play >> enqueued(D) >> failed("B")
    play << lands("A")


def test_an_abandoned_head_gets_no_result_and_those_behind_start_over():
    play = stack() >> ChangeAbandoned(RefKey("A"))
    play << builds("test: B", "test: B C") << reports("dequeue: A") << closes("DEQUEUED", "DEQUEUED", "DEQUEUED")


def test_a_dequeue_from_the_middle_leaves_the_head_alone():
    play = stack() >> dequeued("B")
    play << builds("test: A", "test: A C") << cancels("test: B", "test: C")


def test_a_change_that_left_lives_on_in_nobodys_future():
    play = stack() >> dequeued("A") >> passed("B") >> landed("B") >> passed("C")
    play << lands("B", "C")


def test_once_landing_is_asked_for_a_dequeue_comes_too_late():
    play = stack() >> passed("A") >> dequeued("A", reason=DequeueReason.OPERATOR)
    assert play.item("A").landing is Landing.ASKED
    play >> landed("A") << queue_is("B", "C")


def test_a_new_patch_set_puts_the_old_one_out_with_what_needs_it():
    play = Play(gate()) >> enqueued(A) >> enqueued(change("B", "A")) >> enqueued(C)
    play >> Supersede(RefKey("A"), by="2")
    play << queue_is("C") << reports("dequeue: A", "failure: B") << builds("test: C")


def test_lost_requirements_put_a_change_out_as_a_failure():
    play = stack() >> RequirementsLost(RefKey("B"), "The approval was withdrawn.")
    said = message("failure")(play)
    assert "missing merge requirement" in said
    assert "The approval was withdrawn." in said
    play << queue_is("A", "C") << builds("test: A", "test: A C")


def test_what_is_no_longer_configured_leaves_quietly():
    play = stack() >> dequeued("B", reason=DequeueReason.RECONFIGURED)
    play << reports() << closes("DEQUEUED", "DEQUEUED") << builds("test: A", "test: A C")


def test_a_head_that_landed_past_the_queue_disturbs_nobody():
    play = stack() >> ChangeMergedElsewhere(RefKey("A"))
    play << queue_is("A", "B", "C") << builds("test: A", "test: A B", "test: A B C") << cancels()
    play >> passed("A") << lands("A")


def test_what_needs_a_change_that_landed_past_the_queue_survives_its_failure():
    play = Play(gate()) >> enqueued(A) >> enqueued(change("B", "A")) >> ChangeMergedElsewhere(RefKey("A"))
    play >> failed("A") << queue_is("B") << builds("test: B")


def test_the_event_of_our_own_landing_changes_nothing():
    play = stack() >> passed("A") >> ChangeMergedElsewhere(RefKey("A"))
    play << queue_is("A", "B", "C")
    play >> landed("A") << queue_is("B", "C")


def test_a_promoted_change_is_tested_first_and_what_it_overtakes_again():
    play = stack() >> promoted("C")
    play << queue_is("C", "A", "B") << builds("test: C", "test: C A", "test: C A B")


def test_promotion_takes_what_is_needed_along():
    play = Play(gate()) >> enqueued(A) >> enqueued(B) >> enqueued(change("C", "B")) >> promoted("C")
    play << queue_is("B", "C", "A") << builds("test: B", "test: B C", "test: B C A")


def test_promotion_does_not_overtake_a_landing():
    play = stack() >> passed("A") >> promoted("C")
    play << queue_is("A", "C", "B") << builds("test: A C", "test: A C B")


def test_promoting_the_head_changes_nothing():
    play = stack() >> promoted("A")
    play << cancels() << builds("test: A", "test: A B", "test: A B C")


def test_a_bundle_is_one_item():
    play = Play(gate(), graphs={"A": (job("test"),), "B": (job("other"),)})
    play >> enqueued(change("A", "B"), change("B", "A")) >> enqueued(C)
    play << builds("test: A B", "other: A B", "test: A B C")
    play >> passed("A", "test") << lands()
    play >> passed("B", "other") << lands("A", "B")
    play >> landed("A") << queue_is("C") << builds("test: A B C")


def test_a_bundle_fails_as_one():
    play = Play(gate(), graphs={"A": (job("test"),), "B": (job("other"),)})
    play >> enqueued(change("A", "B"), change("B", "A")) >> passed("A", "test") >> failed("B", "other")
    play << lands() << reports("failure: A B")


def test_a_bundle_of_which_one_landed_keeps_what_needs_that_one():
    play = Play(gate())
    play >> enqueued(change("A", "B"), change("B", "A")) >> enqueued(change("C", "A")) >> enqueued(change("D", "B"))
    play >> passed("A") >> passed("B") >> refused("A", "B could not be submitted", landed=("A",))
    play << queue_is("C") << builds("test: C")


def test_equal_jobs_of_a_bundle_run_once_where_they_may():
    shared = job("lint", deduplicate=True, digest="same")
    play = Play(gate(), graphs={"A": (shared, job("test", "lint")), "B": (shared,)})
    play >> enqueued(change("A", "B"), change("B", "A"))
    play << builds("lint: A B")
    play >> passed("B", "lint") << builds("test: A B")


def test_equal_names_of_a_bundle_that_may_not_be_shared_run_each():
    play = Play(gate()) >> enqueued(change("A", "B"), change("B", "A"))
    play << builds("test: A B", "test: A B")


def test_open_requests_follow_their_item_forward():
    play = Play(gate(), job("test", nodes=1), by_hand=(RequestNodes,))
    play >> enqueued(A) >> enqueued(B)
    assert [e.relative_priority for e in play.take(RequestNodes)] == [0, 1]
    play >> dequeued("A")
    play << asks_nodes("test")
    play = Play(gate(), job("test"), graphs={"B": (job("test", nodes=1),)}, by_hand=(RequestNodes,))
    play >> enqueued(A) >> enqueued(B) >> passed("A") >> landed("A")
    assert [e.relative_priority for e in play.take(ReviseNodes)] == [0]


def test_leaving_is_the_last_word_about_an_item():
    play = stack() >> failed("A")
    assert [(e.item, e.landed, e.result) for e in play.take(ItemLeft)] == [("item-A", False, "FAILURE")]


def test_an_event_about_one_build_rewrites_that_item_alone():
    play = Play(gate(window=0), job("a"), job("b"))
    for n in range(50):
        play >> enqueued(change(f"c{n}"))
    before = play.queue
    event = BuildCompleted(play.find("a", "c25").build, "SUCCESS")
    after, effects = step(before, event, 0.0)
    assert [item for item in after.items if after.items[item] is not before.items[item]] == ["item-c25"]
    assert after.order is before.order
    assert len(effects) == 1
