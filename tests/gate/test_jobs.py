"""The job graph of one item: order, skipping, pausing, retrying, resources."""

from tests.gate.play import (
    Play,
    asks_nodes,
    builds,
    cancels,
    change,
    check,
    dequeued,
    ended,
    enqueued,
    failed,
    failing,
    gate,
    gives_back,
    job,
    landed,
    lands,
    nodes_failed,
    passed,
    paused,
    queue_is,
    records,
    reports,
    resumes,
)
from trunkline.gate.effects import (
    AcquireSemaphores,
    CancelNodes,
    FreezeJobs,
    RecordBuild,
    ReleaseSemaphores,
    RequestNodes,
    StartBuild,
)
from trunkline.gate.events import Artifact, GraphFrozen, NodesReady, Reconfigured, RetryReason, SemaphoresHad
from trunkline.gate.model import Grant, JobGraph, JobKind, Semaphore

A, B, C = (change(name) for name in "ABC")
DIAMOND = (job("a"), job("b", "a"), job("c", "a"), job("d", "b", "c"))


def checked(*jobs, **more) -> Play:
    return Play(check(), *jobs, **more) >> enqueued(A)


# -- order


def test_a_job_starts_when_all_its_parents_succeeded():
    play = checked(*DIAMOND) << builds("a: A")
    play >> passed("A", "a") << builds("b: A", "c: A")
    play >> passed("A", "b") << builds("c: A")
    play >> passed("A", "c") << builds("d: A")
    play >> passed("A", "d") << reports("success: A") << queue_is()


def test_what_needs_a_failed_job_is_skipped_and_the_rest_runs():
    play = checked(*DIAMOND) >> passed("A", "a") >> failed("A", "b")
    play << builds("c: A") << reports()
    play >> passed("A", "c") << reports("failure: A")
    play << records("a SUCCESS", "b FAILURE", "d SKIPPED", "c SUCCESS")


def test_jobs_listed_before_their_parents_are_put_in_order():
    play = checked(job("late", "early"), job("early"))
    play << builds("early: A")
    play >> passed("A", "early") << builds("late: A")


def test_a_soft_parent_that_is_not_there_is_no_parent():
    checked(job("b", soft=["gone"])) << builds("b: A")


def test_a_soft_parent_that_was_skipped_does_not_skip():
    play = checked(job("a"), job("b", "a"), job("c", soft=["b"]))
    play >> passed("A", "a", data={"zuul": {"child_jobs": []}})
    play << builds("c: A") << records("a SUCCESS", "b SKIPPED")


def test_a_soft_parent_that_failed_skips():
    play = checked(job("a"), job("b", soft=["a"])) >> failed("A", "a")
    play << records("a FAILURE", "b SKIPPED") << reports("failure: A")


def test_a_hard_dependency_on_a_job_that_is_not_there_is_a_configuration_error():
    checked(job("b", "gone")) << reports("config-error: A")


def test_a_dependency_cycle_is_a_configuration_error():
    checked(job("a", "b"), job("b", "a")) << reports("config-error: A")


def test_a_failed_non_voting_parent_skips_its_children_and_the_change_passes():
    play = checked(job("nv", voting=False), job("child", "nv"), job("test"))
    play >> failed("A", "nv") >> passed("A") << reports("success: A")


def test_all_skipped_is_a_failure():
    play = checked(job("nv", voting=False), job("child", "nv")) >> failed("A", "nv")
    play << reports("success: A")
    play = checked(job("a", nodesets=(("x",),)), by_hand=(RequestNodes,)) >> nodes_failed("A", "a")
    play << records("a NODE_FAILURE") << reports("failure: A")


def test_noop_succeeds_without_a_build():
    play = Play(gate(), job("noop")) >> enqueued(A)
    play << builds() << records("noop SUCCESS") << lands("A")


# -- what jobs hand down


def test_child_jobs_chooses_who_runs():
    play = checked(job("a"), job("b", "a"), job("c", "a"), job("d", "c"))
    play >> passed("A", "a", data={"zuul": {"child_jobs": ["b"]}})
    play << builds("b: A") << records("a SUCCESS", "c SKIPPED", "d SKIPPED")
    play >> passed("A", "b") << reports("success: A")


def test_child_jobs_with_unknown_names_skips_all():
    play = checked(job("a"), job("b", "a")) >> passed("A", "a", data={"zuul": {"child_jobs": ["nobody"]}})
    play << builds() << reports("success: A")


def test_child_jobs_that_is_no_list_is_ignored():
    play = checked(job("a"), job("b", "a")) >> passed("A", "a", data={"zuul": {"child_jobs": "b"}})
    play << builds("b: A")


def test_returned_data_merges_deeply_in_graph_order_without_what_is_meant_for_the_system():
    play = checked(job("a"), job("b", "a"), job("c", "a"), job("d", "b", "c"))
    play >> passed("A", "a", data={"x": {"from": "a", "only_a": 1}, "zuul": {"log_url": "u"}})
    play >> passed("A", "c", data={"x": {"from": "c"}}) >> passed("A", "b", data={"x": {"from": "b"}, "list": [1]})
    start = play.find("d", "A")
    assert start.parent_data == {"x": {"from": "c", "only_a": 1}, "list": [1]}
    assert len(start.parents) == 3


def test_a_build_is_told_its_artifacts_and_children():
    play = checked(job("a"), job("b", "a"))
    assert play.find("a", "A").child_jobs == ("b",)
    play >> passed("A", "a", artifacts=(Artifact("image", "http://x", {"type": "container"}),))
    (given,) = play.find("b", "A").artifacts
    assert (given.artifact.name, given.job, given.change) == ("image", "a", "A")


# -- pause


def test_a_paused_job_resumes_when_the_last_of_its_descendants_is_done():
    play = checked(job("a"), job("b", "a"), job("c", "b")) >> paused("A", "a")
    play << builds("a: A", "b: A") << resumes()
    play >> passed("A", "b") << builds("a: A", "c: A") << resumes()
    play >> passed("A", "c") << resumes("a") << reports()
    play >> passed("A", "a") << reports("success: A")


def test_a_paused_job_without_children_resumes_at_once():
    checked(job("a")) >> paused("A", "a") << resumes("a")


def test_a_paused_job_resumes_when_its_children_are_skipped():
    checked(job("a"), job("b", "a")) >> paused("A", "a", zuul={"child_jobs": []}) << resumes("a")


def test_children_of_a_paused_job_get_its_data_and_run_where_its_nodes_are():
    play = checked(job("a", nodes=1), job("b", "a", nodes=1)) >> paused("A", "a", registry="10.0.0.1")
    assert play.find("b", "A").parent_data == {"registry": "10.0.0.1"}
    assert play.run("A", "b").provider == "cloud-a"


def test_nodes_asked_for_early_elsewhere_are_asked_for_again_where_the_parent_paused():
    play = checked(job("a", nodes=1), job("b", "a", nodes=1), by_hand=(RequestNodes,))
    (first,) = play.take(RequestNodes)
    play >> NodesReady(first.item, first.job, first.request, provider="cloud-b")
    (early,) = play.take(RequestNodes)
    assert (early.job, early.provider) == ("b", None)
    play >> paused("A", "a")
    assert [e.request for e in play.take(CancelNodes)] == [early.request]
    assert [e.provider for e in play.take(RequestNodes)] == ["cloud-b"]


def test_a_paused_job_that_is_lost_takes_its_descendants_along():
    play = checked(job("a"), job("b", "a"), job("c", "b"))
    play >> paused("A", "a") >> passed("A", "b")
    play >> ended("A", None, "a", retry_reason=RetryReason.EXECUTOR_LOST)
    play << cancels("c: A") << builds("a: A")
    play >> passed("A", "a") << builds("b: A")


# -- retries


def test_a_build_without_a_verdict_is_tried_again_up_to_its_attempts():
    play = checked(job("test", attempts=2)) >> ended("A", None, retry_reason=RetryReason.PRE_RUN)
    assert play.find("test", "A").attempt == 2
    play >> ended("A", None, retry_reason=RetryReason.PRE_RUN)
    play << builds() << records("test RETRY", "test RETRY_LIMIT") << reports("failure: A")


def test_only_the_last_attempt_is_final():
    play = checked(job("test", attempts=2))
    play >> ended("A", None, retry_reason=RetryReason.PRE_RUN) >> ended("A", None, retry_reason=RetryReason.PRE_RUN)
    assert [e.final for e in play.take(RecordBuild)] == [False, True]


def test_a_lost_executor_does_not_count_as_an_attempt():
    play = checked(job("test", attempts=1))
    for _ in range(5):
        play >> ended("A", None, retry_reason=RetryReason.EXECUTOR_LOST)
    play << builds("test: A")
    assert play.find("test", "A").attempt == 1


def test_every_attempt_is_a_build_of_its_own():
    play = checked(job("test"))
    first = play.find("test", "A").build
    play >> ended("A", None, retry_reason=RetryReason.TRANSIENT)
    assert play.find("test", "A").build != first


def test_a_workspace_that_cannot_be_merged_is_tried_again_and_then_named():
    play = checked(job("test", attempts=2))
    for _ in range(2):
        play >> ended("A", None, retry_reason=RetryReason.MERGE_CONFLICT)
    play << records("test RETRY", "test MERGE_CONFLICT")


def test_a_job_known_to_fail_is_not_retried():
    play = checked(job("test"))
    play >> failing("A") >> ended("A", None, retry_reason=RetryReason.UNREACHABLE)
    play << records("test FAILURE")


def test_an_unreachable_node_moves_on_to_the_next_alternative():
    play = checked(job("test", nodesets=(("big",), ("small",))))
    play >> ended("A", None, retry_reason=RetryReason.UNREACHABLE)
    assert [e.labels for e in play.take(RequestNodes)] == [("big",), ("small",)]


# -- nodes


def test_nodes_come_before_the_build_and_go_after_it():
    play = checked(job("test", nodes=2))
    (request,) = play.take(RequestNodes)
    assert request.labels == ("debian", "debian")
    assert play.find("test", "A").request == request.request
    play >> passed("A") << gives_back(nodes=1)


def test_failed_requests_go_through_the_alternatives_and_end_in_node_failure():
    play = checked(job("test", nodesets=(("big",), ("small",))), by_hand=(RequestNodes,))
    play >> nodes_failed("A")
    assert [e.alternative for e in play.take(RequestNodes)] == [0, 1]
    play >> nodes_failed("A") << records("test NODE_FAILURE") << reports("failure: A")


def test_nodes_of_a_child_are_asked_for_while_its_parent_runs_but_not_before():
    play = checked(job("a", nodes=1), job("b", "a", nodes=1), by_hand=(RequestNodes,))
    play << asks_nodes("a")
    run = play.run("A", "a")
    play >> NodesReady("item-A", "a", run.request)
    play << asks_nodes("b") << builds("a: A")


def test_nodes_asked_for_early_go_back_if_the_child_is_skipped():
    play = checked(job("a"), job("b", "a", nodes=1)) >> failed("A", "a")
    play << gives_back(canceled=1)


def test_without_early_requests_nodes_wait_for_the_parent():
    play = Play(check(early_requests=False), job("a"), job("b", "a", nodes=1)) >> enqueued(A)
    play << asks_nodes()
    play >> passed("A", "a") << asks_nodes("b")


def test_everything_is_given_back_when_the_item_leaves():
    play = Play(
        check(),
        job("running", nodes=1, semaphores=["s"]),
        job("asking", nodes=1),
        job("waiting", semaphores=["t"]),
        by_hand=(),
    )
    play.by_hand = (AcquireSemaphores,)
    play >> enqueued(A)
    tickets = {e.job: e for e in play.take(AcquireSemaphores)}
    play.by_hand = (RequestNodes,)
    first = tickets["running"]
    play >> SemaphoresHad(first.item, "running", first.ticket)
    play >> NodesReady("item-A", "running", play.run("A", "running").request)
    play >> dequeued("A")
    play << gives_back(nodes=2, semaphores=2) << queue_is()


# -- semaphores


def test_semaphores_come_before_nodes():
    play = checked(job("test", nodes=1, semaphores=["s"]), by_hand=(AcquireSemaphores,))
    play << asks_nodes()
    (asked,) = play.take(AcquireSemaphores)
    assert asked.names == ("s",)
    play >> SemaphoresHad(asked.item, asked.job, asked.ticket)
    play << asks_nodes("test") << builds("test: A")


def test_resources_first_turns_the_order_round():
    semaphore = Semaphore("s", resources_first=True)
    play = checked(job("test", nodes=1, semaphores=[semaphore]), by_hand=(AcquireSemaphores,))
    play << asks_nodes("test") << builds()
    (asked,) = play.take(AcquireSemaphores)
    play >> SemaphoresHad(asked.item, asked.job, asked.ticket) << builds("test: A")


def test_semaphores_are_released_by_the_end_of_the_build_and_taken_again_for_a_retry():
    play = checked(job("test", semaphores=["s"])) >> ended("A", None, retry_reason=RetryReason.PRE_RUN)
    released, asked = play.take(ReleaseSemaphores), play.take(AcquireSemaphores)
    assert [e.ticket for e in released] == [asked[0].ticket]
    assert asked[0].ticket != asked[1].ticket
    play >> passed("A") << gives_back(semaphores=1)


def test_what_a_paused_parent_holds_it_holds_for_its_children_too():
    play = checked(job("a", semaphores=["s"]), job("b", "a", semaphores=["s", "t"])) >> paused("A", "a")
    play << builds("a: A", "b: A")
    assert [e.names for e in play.take(AcquireSemaphores)] == [("s",), ("t",)]
    play = checked(job("a", semaphores=["s"]), job("b", "a", semaphores=["s"])) >> paused("A", "a")
    play << builds("a: A", "b: A")


def test_a_semaphore_had_under_an_old_ticket_is_not_had():
    play = Play(gate(), job("test", semaphores=["s"]), by_hand=(AcquireSemaphores,)) >> enqueued(A) >> enqueued(B)
    old = play.take(AcquireSemaphores)[1]
    play >> dequeued("A") >> SemaphoresHad(old.item, old.job, old.ticket)
    assert play.run("B").semaphores is Grant.ASKED
    play << builds()


# -- fail-fast, holding, requirements


def test_fail_fast_stops_the_rest_and_reports():
    play = checked(job("a"), job("b"), job("c", "b"), fail_fast=True) >> failed("A", "a")
    play << cancels("b: A") << reports("failure: A") << records("a FAILURE", "c SKIPPED")


def test_fail_fast_is_not_set_off_by_a_non_voting_job():
    play = checked(job("nv", voting=False), job("b"), fail_fast=True) >> failed("A", "nv")
    play << builds("b: A")


def test_those_behind_wait_for_a_job_that_holds_them():
    play = Play(gate(), job("first", hold_following_changes=True), job("test", "first"))
    play >> enqueued(A) >> enqueued(B) << builds("first: A")
    play >> passed("A", "first") << builds("test: A", "first: A B")


def test_a_holding_change_that_fails_lets_go():
    play = Play(gate(), job("first", hold_following_changes=True)) >> enqueued(A) >> enqueued(B)
    play >> failed("A", "first") << builds("first: B")


def test_a_holding_job_that_does_not_vote_lets_go_when_its_change_has_left():
    jobs = (job("first", hold_following_changes=True, voting=False), job("test"))
    play = Play(gate(), *jobs) >> enqueued(A) >> enqueued(B)
    play >> failed("A", "first") >> passed("A") << builds()
    play >> landed("A") << builds("first: A B", "test: A B")


def test_what_is_required_comes_from_items_ahead():
    graphs = {"A": (job("build-image", provides=("image",)), job("test")), "B": (job("use", requires=("image",)),)}
    play = Play(gate(), graphs=graphs) >> enqueued(A) >> enqueued(B)
    play << builds("build-image: A", "test: A")
    play >> passed("A", "build-image", artifacts=(Artifact("image", "http://x"),))
    play << builds("test: A", "use: A B")
    (given,) = play.find("use", "B").artifacts
    assert (given.job, given.change) == ("build-image", "A")


def test_nothing_is_waited_for_if_nobody_ahead_provides_it():
    play = Play(gate(), graphs={"B": (job("use", requires=("image",)),)}) >> enqueued(A) >> enqueued(B)
    play << builds("test: A", "use: A B")


def test_a_requirement_whose_build_failed_fails():
    graphs = {
        "A": (job("build-image", provides=("image",), voting=False), job("test")),
        "B": (job("use", requires=("image",)),),
    }
    play = Play(gate(), graphs=graphs) >> enqueued(A) >> enqueued(B) >> failed("A", "build-image")
    play << records("build-image FAILURE", "use FAILURE")


# -- reporter jobs


def test_reporter_jobs_run_after_landing_and_the_queue_stands_still_meanwhile():
    play = Play(gate(), job("test"), job("publish", kind=JobKind.REPORTER)) >> enqueued(A) >> enqueued(B)
    play >> passed("A") >> passed("B") << lands("A")
    play >> landed("A") << builds("publish: A") << lands() << queue_is("A", "B")
    play >> passed("A", "publish") << lands("B") << queue_is("B")


def test_a_failed_reporter_job_resets_those_behind():
    play = Play(gate(), job("test"), job("publish", kind=JobKind.REPORTER)) >> enqueued(A) >> enqueued(B)
    play >> passed("A") >> landed("A") >> failed("A", "publish")
    play << cancels("test: B") << builds("test: B") << reports()


# -- reconfiguration


def test_builds_of_unchanged_jobs_survive_a_reconfiguration():
    play = Play(gate(), job("same"), job("old"), job("altered", digest="1")) >> enqueued(A)
    play.jobs = (job("same"), job("altered", digest="2"), job("new"))
    play >> Reconfigured(gate())
    play << cancels("old: A", "altered: A") << builds("same: A", "altered: A", "new: A")


def test_a_verdict_waits_for_the_graph_to_be_frozen_again():
    play = Play(gate(), job("test")) >> enqueued(A)
    play.by_hand = (FreezeJobs,)
    play >> Reconfigured(gate()) >> passed("A") << lands()


def test_an_answer_in_the_words_of_the_old_layout_does_not_count():
    play = Play(gate(), job("test"), by_hand=(FreezeJobs,)) >> enqueued(A) >> Reconfigured(gate())
    first, second = play.take(FreezeJobs)
    play >> GraphFrozen("item-A", first.future, JobGraph((job("old"),)), first.round)
    play << builds()
    play >> GraphFrozen("item-A", second.future, JobGraph((job("new"),)), second.round)
    play << builds("new: A")


def test_a_layout_that_is_known_already_changes_nothing():
    play = Play(gate(), job("test")) >> enqueued(A) >> Reconfigured(gate(), generation=2)
    play.take(FreezeJobs)
    play >> Reconfigured(gate(window=1), generation=2) >> Reconfigured(gate(window=1), generation=1)
    assert play.take(FreezeJobs) == []
    assert play.queue.settings == gate()


def test_a_broken_configuration_is_mended_by_a_reconfiguration():
    play = Play(gate(), job("test"), graphs={"B": (job("x", "gone"),)}) >> enqueued(A) >> enqueued(B) >> enqueued(C)
    play << builds("test: A", "test: A C")
    play.graphs = {}
    play >> Reconfigured(gate()) << builds("test: A", "test: A B", "test: A B C")


def test_a_build_that_was_started_is_not_started_again_by_anything():
    play = Play(gate(), job("test")) >> enqueued(A)
    play >> Reconfigured(gate()) >> Reconfigured(gate()) >> enqueued(A)
    assert len(play.take(StartBuild)) == 1
