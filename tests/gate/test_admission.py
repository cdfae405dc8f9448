"""Who enters which queue, in which order, and why not."""

from typing import Any

import pytest
from msgspec.structs import replace

from trunkline.gate.admission import Admission, Candidate, PipelineRules, Presence, admit, outdated, presence_of
from trunkline.gate.cycles import components
from trunkline.gate.events import Dequeue, DequeueReason, Enqueue, Supersede
from trunkline.gate.model import Change, ItemId, Manager, Queue, QueueId, QueueSettings, RefKey
from trunkline.gate.step import step


def candidate(name: str, *needs: str, project: str = "p1", **more: Any) -> Candidate:
    number = ord(name[0])
    change = Change(RefKey(f"{name},1"), project, branch="master", number=number, patchset="1", url=f"https://r/{name}")
    by = tuple(RefKey(f"{other},1") for other in more.pop("needed_by", ()))
    return Candidate(change, tuple(RefKey(f"{n},1") for n in needs), by, **{"queue": "q", **more})


def rules(manager: Manager = Manager.DEPENDENT, **more: Any) -> PipelineRules:
    return PipelineRules("t", more.pop("name", "gate"), manager, **more)


def here(*names: str, pipeline: str = "gate", live: bool = True) -> dict[RefKey, tuple[Presence, ...]]:
    return {RefKey(f"{n},1"): (Presence(pipeline, QueueId(f"t/{pipeline}/q"), ItemId(n), live),) for n in names}


def ask(wanted: str, *known: Candidate, by: PipelineRules | None = None, present: Any = None) -> Admission:
    table = {c.change.key: c for c in known}
    return admit(RefKey(f"{wanted},1"), table, by or rules(), present or {}, event_id="e1", now=5.0)


def names(admission: Admission) -> list[str]:
    return ["+".join(c.key[0] for c in spec.changes) for spec in admission.admitted]


def test_a_ready_change_enters_its_shared_queue():
    answer = ask("A", candidate("A"))
    assert names(answer) == ["A"]
    assert answer.entries[0].queue == "t/gate/q"
    assert (answer.admitted[0].event_id, answer.admitted[0].enqueued_at) == ("e1", 5.0)


def test_a_project_without_a_queue_has_one_of_its_own():
    assert ask("A", candidate("A", queue="")).entries[0].queue == "t/gate/p1"


def test_a_queue_per_branch_is_named_by_it():
    answer = ask("A", candidate("A", queue="q/stable", branch_of_queue="stable"))
    entry = answer.entries[0]
    assert (entry.queue, entry.name, entry.branch) == ("t/gate/q/stable", "q", "stable")


def test_the_same_question_has_the_same_answer():
    assert ask("A", candidate("A")) == ask("A", candidate("A"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (candidate("A", problem="needs Workflow +1"), "needs Workflow"),
        (candidate("A", is_open=False), "not open"),
        (candidate("A", is_current=False), "latest patch set"),
        (candidate("A", landing_problem="work in progress"), "work in progress"),
        (candidate("A", in_pipeline=False), "no jobs in gate"),
    ],
)
def test_what_is_not_ready_does_not_enter_and_nothing_is_said(change, text):
    answer = ask("A", change)
    assert text in answer.refusal
    assert answer.silent
    assert not answer.entries


def test_a_change_does_not_enter_twice():
    assert "already" in ask("A", candidate("A"), present=here("A")).refusal


def test_a_dependency_of_another_change_may_still_enter_itself():
    answer = ask("A", candidate("A"), present=here("A", live=False))
    assert names(answer) == ["A"]


# -- dependencies where things land


def test_what_is_needed_enters_first():
    assert names(ask("C", candidate("C", "B"), candidate("B", "A"), candidate("A"))) == ["A", "B", "C"]


def test_what_is_needed_and_here_is_not_entered_again():
    assert names(ask("B", candidate("B", "A"), candidate("A"), present=here("A"))) == ["B"]


def test_what_has_landed_is_needed_no_more():
    answer = ask("B", candidate("B", "A"), candidate("A", is_merged=True, is_open=False))
    assert names(answer) == ["B"]
    assert answer.admitted[0].changes[0].needs == ()


def test_needs_are_given_to_the_queue():
    answer = ask("B", candidate("B", "A"), candidate("A"), present=here("A"))
    assert answer.admitted[0].changes[0].needs == ("A,1",)


def test_nothing_enters_before_what_it_needs_is_ready():
    answer = ask("B", candidate("B", "A"), candidate("A", problem="not approved"))
    assert "needs p1 65,1" in answer.refusal
    assert "not approved" in answer.refusal
    assert answer.silent


def test_a_dependency_in_another_queue_is_refused_aloud():
    answer = ask("B", candidate("B", "A"), candidate("A", queue="other", project="p2"))
    assert "does not share a change queue" in answer.refusal
    assert not answer.silent


def test_a_dependency_that_is_tested_in_another_queue_does_not_do():
    there = {RefKey("A,1"): (Presence("gate", QueueId("t/gate/other"), ItemId("i")),)}
    answer = ask("B", candidate("B", "A"), candidate("A", queue="other", project="p2"), present=there)
    assert "does not share a change queue" in answer.refusal


def test_an_abandoned_dependency_is_never_satisfied():
    assert "closed" in ask("B", candidate("B", "A"), candidate("A", is_open=False)).refusal


def test_an_unknown_dependency_is_named():
    assert "A,1" in ask("B", candidate("B", "A")).refusal


def test_changes_that_wait_for_it_enter_behind():
    A = candidate("A", needed_by="B")
    B = candidate("B", "A", needed_by="C")
    assert names(ask("A", A, B, candidate("C", "B"))) == ["A", "B", "C"]


def test_changes_that_wait_for_it_and_are_not_ready_do_not():
    A = candidate("A", needed_by="BC")
    assert names(ask("A", A, candidate("B", "A", problem="no"), candidate("C", "A"))) == ["A", "C"]


def test_a_follower_that_needs_something_else_too_waits_for_that():
    A, B = candidate("A", needed_by="B"), candidate("B", "A", "X")
    assert names(ask("A", A, B, candidate("X"))) == ["A"]
    assert names(ask("A", A, B, candidate("X"), present=here("X"))) == ["A", "B"]


def test_a_follower_in_another_queue_does_not_follow():
    assert names(ask("A", candidate("A", needed_by="B"), candidate("B", "A", queue="other"))) == ["A"]


def test_the_tenant_bounds_dependencies():
    chain = [candidate("C", "B"), candidate("B", "A"), candidate("A")]
    assert names(ask("C", *chain, by=rules(max_dependencies=2))) == ["A", "B", "C"]
    answer = ask("C", *chain, by=rules(max_dependencies=1))
    assert "more changes than" in answer.refusal
    assert answer.silent


def test_the_tenant_bounds_changes_in_a_pipeline():
    assert names(ask("A", candidate("A"), by=rules(max_changes=1))) == ["A"]
    answer = ask("A", candidate("A"), by=rules(max_changes=1, changes_now=1))
    assert "limit of 1 changes" in answer.refusal
    assert not answer.silent


# -- cycles


def cycle(**more: Any) -> list[Candidate]:
    return [candidate("A", "B", needed_by="B", **more), candidate("B", "A", needed_by="A", **more)]


def test_a_cycle_enters_as_one_item_where_the_queue_allows_it():
    assert names(ask("B", *cycle(allow_cycles=True))) == ["A+B"]


def test_a_cycle_is_refused_aloud_elsewhere():
    answer = ask("A", *cycle())
    assert "cycle" in answer.refusal
    assert not answer.silent


def test_no_member_of_a_cycle_enters_before_all_are_ready():
    A, B = cycle(allow_cycles=True)
    assert "not approved" in ask("A", A, replace(B, problem="not approved")).refusal


def test_changes_of_one_topic_are_a_cycle_where_the_queue_binds_topics():
    A, B = (candidate(n, topic="t", topic_binds=True, allow_cycles=True) for n in "AB")
    assert names(ask("A", A, B)) == ["A+B"]
    assert "no" in ask("A", A, replace(B, problem="no")).refusal


def test_topics_bind_nothing_elsewhere():
    assert names(ask("A", candidate("A", topic="t"), candidate("B", topic="t"))) == ["A"]


def test_a_change_that_needs_itself_does_not():
    assert names(ask("A", candidate("A", "A"))) == ["A"]


def test_a_cycle_that_has_grown_takes_the_place_of_the_old_one():
    A, B, C = (candidate(n, *needs, allow_cycles=True) for n, needs in [("A", "B"), ("B", "C"), ("C", "A")])
    present = {RefKey(f"{n},1"): (Presence("gate", QueueId("q"), ItemId("old")),) for n in "AB"}
    assert names(ask("A", A, B, C, present=present)) == ["A+B+C"]


def test_components_of_long_chains_are_found():
    needs = {RefKey(str(n)): (RefKey(str(n + 1)),) for n in range(3000)} | {RefKey("3000"): (RefKey("2990"),)}
    found = components(RefKey("0"), needs.__getitem__)
    assert len(found[0]) == 11
    assert found[-1] == ("0",)
    assert len(found) == 2991


# -- the other managers


def test_in_check_dependencies_are_merged_but_not_tested():
    answer = ask("B", candidate("B", "A"), candidate("A", problem="whatever"), by=rules(Manager.INDEPENDENT))
    assert [(s.changes[0].key, s.live) for s in answer.admitted] == [("A,1", False), ("B,1", True)]
    assert {e.queue for e in answer.entries} == {f"t/gate/{answer.admitted[1].id}"}


def test_in_check_each_change_has_a_queue_of_its_own():
    by = rules(Manager.INDEPENDENT)
    assert ask("A", candidate("A"), by=by).entries[0].queue != ask("B", candidate("B"), by=by).entries[0].queue


def test_dependencies_may_be_ignored():
    by = rules(Manager.INDEPENDENT, ignore_dependencies=True)
    assert names(ask("B", candidate("B", "A"), by=by)) == ["B"]


def test_nobody_follows_in_check():
    by = rules(Manager.INDEPENDENT)
    assert names(ask("A", candidate("A", needed_by="B"), candidate("B", "A"), by=by)) == ["A"]


def test_landed_changes_enter_serial_pipelines():
    landed = candidate("A", is_open=False, is_merged=True)
    assert names(ask("A", landed, by=rules(Manager.SERIAL))) == ["A"]


def test_a_supercedent_queue_belongs_to_a_project_and_a_ref():
    tip = Candidate(Change(RefKey("A,1"), "p1", branch="master", ref="refs/heads/master"), queue="shared")
    answer = ask("A", tip, by=rules(Manager.SUPERCEDENT))
    assert answer.entries[0].queue == "t/gate/p1/refs/heads/master"


# -- what it removes


def test_entering_takes_the_change_out_of_pipelines_that_are_superseded():
    answer = ask("A", candidate("A"), by=rules(supercedes=("check",)), present=here("A", pipeline="check"))
    first = answer.entries[0].event
    assert isinstance(first, Dequeue)
    assert (first.change, first.reason) == ("A,1", DequeueReason.SUPERSEDED)
    assert isinstance(answer.entries[1].event, Enqueue)


def test_entering_puts_the_older_patch_set_out():
    change = Change(RefKey("A,2"), "p1", number=65, patchset="2")
    answer = admit(change.key, {change.key: Candidate(change, queue="q")}, rules(), here("A"))
    assert answer.entries[0].event == Supersede(RefKey("A,1"), "2")


def test_a_new_patch_set_puts_the_old_one_out_of_every_pipeline_that_wants_so():
    change = Change(RefKey("A,2"), "p1", number=65, patchset="2")
    pipelines = (
        rules(name="gate"),
        rules(Manager.INDEPENDENT, name="check"),
        rules(name="slow", dequeue_on_new_patchset=False),
    )
    present = {RefKey("A,1"): tuple(here("A", pipeline=p)[RefKey("A,1")][0] for p in ("gate", "check", "slow"))}
    assert [e.queue for e in outdated(change, present, pipelines)] == ["t/gate/q", "t/check/q"]


def test_presence_is_read_off_queues():
    answer = ask("B", candidate("B", "A"), candidate("A"), by=rules(Manager.INDEPENDENT, name="check"))
    queue = Queue(answer.entries[0].queue, QueueSettings(pipeline="check"))
    for entry in answer.entries:
        queue, _ = step(queue, entry.event, 1.0)
    found = presence_of([queue])
    assert [(p.pipeline, p.live) for p in found[RefKey("A,1")]] == [("check", False)]
    assert [(p.pipeline, p.live) for p in found[RefKey("B,1")]] == [("check", True)]


def test_an_older_patch_set_that_is_asked_for_puts_nothing_out():
    there = {RefKey("A,2"): (Presence("check", QueueId("t/check/x"), ItemId("i")),)}
    answer = ask("A", candidate("A"), by=rules(manager=Manager.INDEPENDENT, name="check"), present=there)
    assert [type(entry.event) for entry in answer.entries] == [Enqueue]
