"""Which triggers fire and which requirements hold: Zuul's rules for Gerrit, each with an example."""

import msgspec
import pytest

from trunkline.connections import (
    NO_REVISION,
    Account,
    Approval,
    ChangeInfo,
    SubmitRequirement,
    TriggerEvent,
    VoteChange,
    depends_on_urls,
    merge_problem,
    requirement_problem,
    trigger_matches,
)

NOW = 1_000_000.0
ALICE = Account("Alice Core", "alice@example.com", "alice")
EVENT = TriggerEvent(
    connection="gerrit",
    driver="gerrit",
    delivery="1",
    type="comment-added",
    project="demo/app",
    at=NOW,
    branch="main",
    ref="refs/changes/01/1/1",
    change=1,
    patchset=1,
    comment="Patch Set 1:\n\nrecheck please",
    approvals=(VoteChange("Code-Review", 2, 0), VoteChange("Workflow", 1), VoteChange("Verified", 0)),
    account=ALICE,
)
MOVE = TriggerEvent(
    connection="gerrit",
    driver="gerrit",
    delivery="2",
    type="ref-updated",
    project="demo/app",
    at=NOW,
    branch="main",
    ref="refs/heads/main",
    oldrev="1" * 40,
    newrev="2" * 40,
)
CHANGE = ChangeInfo(
    connection="gerrit",
    driver="gerrit",
    hostname="review.example.com",
    project="demo/app",
    branch="main",
    number=1,
    patchset=1,
    ref="refs/changes/01/1/1",
    commit="a" * 40,
    parents=("b" * 40,),
    change_id="I" + "1" * 40,
    subject="A change",
    message="A change\n",
    owner=ALICE,
    url="https://review.example.com/c/demo/app/+/1",
    status="NEW",
    is_current_patchset=True,
    hashtags=("ready-soon",),
    approvals=(Approval("Code-Review", 2, ALICE, NOW - 3600), Approval("Verified", 0, ALICE, NOW)),
)
replace = msgspec.structs.replace

TRIGGERS = [
    ({"event": "comment-added"}, True),
    ({"event": ["patchset-created", "comment-added"]}, True),
    ({"event": "comment"}, True),  # a regex, anchored at its start only
    ({"event": "patchset-created"}, False),
    ({"event": "comment-added", "branch": "mai"}, True),
    ({"event": "comment-added", "branch": ["stable", "^main$"]}, True),
    ({"event": "comment-added", "branch": {"regex": "^main$", "negate": True}}, False),
    ({"event": "comment-added", "comment": "recheck"}, True),
    ({"event": "comment-added", "comment": "^recheck"}, False),
    ({"event": "comment-added", "comment": r"(?m)^recheck please$"}, True),
    ({"event": "comment-added", "comment_filter": "recheck"}, True),
    ({"event": "comment-added", "comment": r"(?<!no )recheck"}, True),  # what RE2 does not know, Python does
    ({"event": "comment-added", "approval": {"Code-Review": 2}}, True),
    ({"event": "comment-added", "approval": [{"Code-Review": "2"}, {"Workflow": 1}]}, True),
    ({"event": "comment-added", "approval": [{"Code-Review": 2}, {"Verified": 1}]}, False),
    ({"event": "comment-added", "approval-change": [{"Code-Review": 2}]}, True),
    ({"event": "comment-added", "approval-change": [{"Workflow": 1}]}, False),
    ({"event": "comment-added", "username": "^ali"}, True),
    ({"event": "comment-added", "email": "example.org"}, False),
    ({"event": "comment-added", "require": {"approval": {"Code-Review": 2}}}, True),
    ({"event": "comment-added", "require-approval": {"Code-Review": -2}}, False),
    ({"event": "comment-added", "reject-approval": {"Code-Review": 2}}, False),
    ({"event": "comment-added", "reject": {"open": True}}, False),
    ({"event": "pending-check", "scheme": "zuul"}, False),
]


@pytest.mark.parametrize(("trigger", "fires"), TRIGGERS)
def test_a_trigger_fires_when_all_it_says_holds(trigger: dict, fires: bool):
    assert trigger_matches(trigger, EVENT, CHANGE, NOW) is fires


REF_TRIGGERS = [
    ({"event": "ref-updated"}, MOVE, True),
    ({"event": "ref-updated", "ref": "^refs/heads/.*$"}, MOVE, True),
    ({"event": "ref-updated", "ref": "^refs/tags/.*$"}, MOVE, False),
    ({"event": "ref-updated"}, replace(MOVE, newrev=NO_REVISION), False),
    ({"event": "ref-updated", "ignore-deletes": False}, replace(MOVE, newrev=NO_REVISION), True),
    ({"event": "ref-updated", "ref": "^(?!refs/).*$"}, replace(MOVE, sent_ref="main"), True),
    ({"event": "ref-updated", "require": {"open": True}}, MOVE, False),
    ({"event": "hashtags-changed", "added": "go"}, replace(EVENT, type="hashtags-changed", added=("let-go",)), True),
    ({"event": "hashtags-changed", "removed": "go"}, replace(EVENT, type="hashtags-changed", added=("go",)), False),
]


@pytest.mark.parametrize(("trigger", "event", "fires"), REF_TRIGGERS)
def test_refs_and_hashtags_are_matched(trigger: dict, event: TriggerEvent, fires: bool):
    assert trigger_matches(trigger, event, None, NOW) is fires


REQUIRE = [
    ({"open": True, "current-patchset": True, "wip": False}, True),
    ({"open": False}, False),
    ({"status": ["NEW", "MERGED"]}, True),
    ({"status": "MERGED"}, False),
    ({"hashtags": "ready"}, True),
    ({"hashtags": ["ready", "other"]}, False),
    ({"approval": {"Code-Review": [1, 2], "username": "alice"}}, True),
    ({"approval": [{"Code-Review": 2, "email": "bob@"}]}, False),
    ({"approval": {"Code-Review": 2, "newer-than": "2h"}}, True),
    ({"approval": {"Code-Review": 2, "older-than": "2h"}}, False),
    ({"approval": {"Verified": 0}}, False),  # a vote of nothing is no vote
]


@pytest.mark.parametrize(("wanted", "holds"), REQUIRE)
def test_require_passes_and_reject_is_its_reverse(wanted: dict, holds: bool):
    assert (requirement_problem([wanted], [], CHANGE, NOW) is None) is holds
    if "wip" not in wanted and len(wanted) == 1 and wanted.get("hashtags") != ["ready", "other"]:
        assert (requirement_problem([], [wanted], CHANGE, NOW) is None) is not holds


def test_a_ref_fails_what_only_a_change_can_meet():
    assert requirement_problem([{"open": True}], [], None, NOW)
    assert requirement_problem([], [{"open": False}], None, NOW) is None


def test_what_the_pipeline_itself_sets_does_not_keep_a_change_from_landing():
    missing = (SubmitRequirement("Verified", False, "label:Verified=MAX", ("Verified",)),)
    change = replace(CHANGE, submit_requirements=missing)
    assert merge_problem(change, ["Verified"]) is None
    assert merge_problem(change, []) == "the submit requirement Verified is not satisfied"
    assert merge_problem(replace(change, wip=True), ["Verified"]) == "the change is work in progress"
    assert merge_problem(replace(change, status="ABANDONED"), ["Verified"]) == "the change is abandoned"
    assert merge_problem(replace(change, status="MERGED"), []) is None
    assert merge_problem(replace(CHANGE, missing_labels=("Other",)), ["Verified"]) == "the label Other is missing"


def test_depends_on_footers_are_found_anywhere_once():
    text = "Subject\n\nDepends-On: https://a/1\nMore.\ndepends-on: https://b/2\n\nDepends-On: https://a/1\n"
    assert depends_on_urls(text) == ("https://a/1", "https://b/2")
