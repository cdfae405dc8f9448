"""The embedded server against the recordings of a real Gerrit: the same keys, texts and order for the same actions."""

import json
import re
from typing import Any

import pytest

from tests.connections.embedded import Embedded
from tests.connections.people import order
from tests.shared import SHARED, needs_shared
from trunkline.dev.review.client import ReviewError

pytestmark = needs_shared

ZUUL_OPTIONS = (
    "DETAILED_ACCOUNTS",
    "CURRENT_REVISION",
    "CURRENT_COMMIT",
    "CURRENT_FILES",
    "LABELS",
    "DETAILED_LABELS",
    "ALL_REVISIONS",
    "SUBMIT_REQUIREMENTS",
)
QUERY_OPTIONS = "--all-approvals --comments --commit-message --current-patch-set --dependencies --files --patch-sets --submit-records"
LEFT_OUT = {"attention_set", "removed_from_attention_set", "approved", "recommended", "rejected", "disliked", "fetch"}
"""Keys that hang on who looked when, or that only one of the two knows."""


def recorded(file: str, name: str) -> dict[str, Any]:
    assert SHARED is not None
    entries = json.loads((SHARED / "reference" / "gerrit-recordings" / f"{file}.json").read_text())["entries"]
    return next(entry for entry in entries if entry["name"] == name)


def shape(value: Any) -> Any:
    """The nested keys and types of an answer; lists by their first element, ids as keys by their kind."""
    match value:
        case dict():
            return {_kind(key): shape(entry) for key, entry in value.items() if key not in LEFT_OUT}
        case list():
            return [shape(value[0])] if value else []
        case bool() | None:
            return type(value).__name__
        case int() | float():
            return "number"
        case str():
            return "time" if re.match(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}$", value) else "text"
    raise AssertionError(value)


def _kind(key: str) -> str:
    return "SHA" if re.fullmatch(r"[0-9a-f]{40}", key) else "FILE" if key.endswith(".txt") else key


@pytest.fixture
def approved(server: Embedded, project: str) -> int:
    """A change with a vote of alice, as the recorded one had."""
    folder = server.clone(project)
    server.commit(folder, "Seen over REST", {"seen.txt": "a\nb\nc\n"}, body=("More words.",))
    number = server.push(folder).number
    server.client("alice").review(number, labels={"Code-Review": 2})
    return number


def test_a_change_with_zuuls_options(server: Embedded, approved: int):
    theirs = recorded("rest-reads", "change with Zuul's options, waiting for votes")["response"]["body"]
    ours = server.client("zuul").change(approved, *ZUUL_OPTIONS)
    assert shape(ours) == shape(theirs)
    assert list(shape(ours)) == list(shape(theirs))
    assert {r["name"]: r["status"] for r in ours["submit_requirements"]} == {
        r["name"]: r["status"] for r in theirs["submit_requirements"]
    }
    assert [r["submittability_expression_result"] for r in ours["submit_requirements"]] == [
        r["submittability_expression_result"] for r in theirs["submit_requirements"]
    ]
    assert ours["permitted_labels"] == theirs["permitted_labels"]


def test_a_change_without_options(server: Embedded, approved: int):
    theirs = recorded("rest-reads", "change without options")["response"]["body"]
    assert shape(server.client("zuul").change(approved)) == shape(theirs)


def test_the_answer_to_a_review_and_what_it_leaves(server: Embedded, approved: int):
    asked = recorded("rest-writes", "review: label, message, tag, comments")
    path = f"changes/{approved}/revisions/current/review"
    ours = server.client("zuul").call("POST", path, asked["request"]["body"])
    assert shape(ours) == shape(asked["response"]["body"])
    for what in ("messages", "comments"):
        theirs = recorded("rest-writes", f"{what} of the change, after the reviews")["response"]["body"]
        got = server.client("zuul").call("GET", f"changes/{approved}/{what}")
        if what == "messages":
            told = [(entry.get("tag"), entry["message"]) for entry in theirs[:3]]
            assert [(entry.get("tag"), entry["message"]) for entry in got] == told
            assert shape(got) == shape(theirs)
        else:
            lines = [[(entry["line"], entry["message"]) for entry in found["seen.txt"][:2]] for found in (got, theirs)]
            assert lines[0] == lines[1]
            assert shape(got["seen.txt"]) == shape(theirs["seen.txt"])


def test_a_submitted_change(server: Embedded, approved: int):
    server.approve(approved)
    server.client("zuul").review(approved, labels={"Verified": 2})
    ours = server.client("zuul").call("POST", f"changes/{approved}/submit", {})
    assert shape(ours) == shape(recorded("rest-writes", "submit")["response"]["body"])
    shown = server.client("zuul").change(approved, *ZUUL_OPTIONS)
    theirs = recorded("rest-reads", "merged change with Zuul's options")["response"]["body"]
    assert shape(shown).keys() == shape(theirs).keys()


def test_relatives_and_files(server: Embedded, project: str, approved: int):
    assert server.client().call("GET", f"changes/{approved}/revisions/current/related") == {"changes": []}
    theirs = recorded("rest-reads", "files")["response"]["body"]
    ours = server.client().call("GET", f"changes/{approved}/revisions/current/files")
    assert shape(ours) == shape(theirs)
    assert ours["seen.txt"] == theirs["seen.txt"]
    assert ours["/COMMIT_MSG"]["lines_inserted"] == theirs["/COMMIT_MSG"]["lines_inserted"]
    folder = server.clone(project)
    server.commit(folder, "One", {"one.txt": "1\n"})
    server.commit(folder, "Two", {"two.txt": "2\n"})
    top = server.push(folder).number
    theirs = recorded("rest-reads", "related, series (from the lower)")["response"]["body"]
    ours = server.client().call("GET", f"changes/{top - 1}/revisions/current/related")
    assert shape(ours) == shape(theirs)
    assert [entry["_change_number"] for entry in ours["changes"]] == [top, top - 1]


@pytest.mark.parametrize("end", ["lower", "upper"])
def test_a_series_over_ssh(server: Embedded, project: str, end: str):
    folder = server.clone(project)
    server.commit(folder, "First of two", {"one.txt": "1\n"})
    server.commit(folder, "Second of two", {"two.txt": "2\n"})
    number = server.push(folder, "refs/for/master%topic=pair").number - (end == "lower")
    theirs = recorded("ssh-query", f"all options that Zuul uses: {end} of a series")["stdout_lines"]
    ours = server.query("zuul", f"{QUERY_OPTIONS} change:{number}")
    assert [list(line) for line in ours] == [list(line) for line in theirs]
    assert shape(ours[0]) == shape(theirs[0])
    assert ours[0]["currentPatchSet"]["files"][0] == {
        "file": "/COMMIT_MSG",
        "type": "ADDED",
        "insertions": 9,
        "deletions": 0,
    }


ERRORS = [
    ("review: comment on a file that is not in the patch set", "zuul"),
    ("review: malformed range", "zuul"),
    ("review: label without permission", "bob"),
    ("submit: requirements not met", "zuul"),
    ("submit: no permission", "bob"),
    ("restore: not abandoned", "bob"),
    ("abandon: no permission", "zuul"),
    ("rebase: up to date", "bob"),
    ("topic: no permission", "zuul"),
    ("hashtags: no permission", "zuul"),
    ("unknown endpoint", "zuul"),
    ("delete a change without permission", "zuul"),
]


@pytest.mark.parametrize(("name", "who"), ERRORS)
def test_refusals_have_gerrits_words(server: Embedded, approved: int, name: str, who: str):
    entry = recorded("rest-errors", name)
    asked = entry["request"]
    path = re.sub(r"^/a/changes/[^/]+", f"changes/{approved}", asked["path"])
    with pytest.raises(ReviewError) as refused:
        server.client(who).call(asked["method"], path, asked.get("body"))
    answer = entry["response"]
    assert refused.value.status == answer["status"]
    words = re.sub(r"\b30\b", str(approved), answer["body"]).strip()
    assert refused.value.text == words


SSH_WORDS = [
    ("unknown change", "gerrit review --message x 99999,1"),
    ("change number without patch set", "gerrit review --message x 14"),
    ("unknown project", "gerrit review --project no/such --message x 14,1"),
    ("unknown option", "gerrit review --nonsense 14,1"),
    ("no change given", "gerrit review --message x"),
    ("malformed label", "gerrit review --label Verified 14,1"),
]


@pytest.mark.parametrize(("name", "command"), SSH_WORDS)
def test_ssh_refusals_have_gerrits_words(server: Embedded, name: str, command: str):
    theirs = recorded("ssh-review", name)
    done = server.ssh("zuul", command)
    assert (done.returncode, done.stdout, done.stderr) == (theirs["exit"], theirs["stdout"], theirs["stderr"])


QUERIES = ["syntax error", "unknown operator", "no query", "unknown option", "files without patch sets", "no result"]


@pytest.mark.parametrize("name", QUERIES)
def test_odd_queries_are_answered_alike(server: Embedded, name: str):
    theirs = recorded("ssh-query", name)
    done = server.ssh("zuul", theirs["command"].partition("zuul@HOST ")[2])
    assert done.returncode == theirs["exit"]
    assert done.stderr == theirs["stderr"]
    if "stdout_lines" in theirs:
        ours = [json.loads(line) for line in done.stdout.splitlines()]
        assert [{**line, "runTimeMilliseconds": 0} for line in ours] == [
            {**line, "runTimeMilliseconds": 0} for line in theirs["stdout_lines"]
        ]


def _steps(number: int) -> dict[str, Any]:
    """Actions on one change in their order: name in the recordings → (who, what to do)."""
    review = f"gerrit review --project {{project}} {{options}} {number},1"
    zuul = "--tag autogenerated:zuul:check"
    return {
        "gerrit review: message and label by zuul with a tag": (
            "zuul",
            review.format(
                project="{project}", options=f"--message 'Build succeeded (check pipeline).' -l Verified=1 {zuul}"
            ),
        ),
        "gerrit review: vote changed 1 -> 2 (oldValue)": (
            "zuul",
            review.format(
                project="{project}", options="--message 'Build succeeded (gate pipeline).' --label Verified=2"
            ),
        ),
        "gerrit review: message without label": ("bob", f"gerrit review -m recheck {number},1"),
        "gerrit review: vote 2 -> 0": ("zuul", f"gerrit review --label Verified=0 {number},1"),
        "gerrit review: label out of range (9) with message": (
            "zuul",
            f"gerrit review -m nine --label Verified=9 {number},1",
        ),
        "gerrit review: by commit id": ("alice", f"gerrit review --code-review +2 --workflow +1 {number},1"),
        "set-topic": ("bob", f"gerrit set-topic {number} --topic a-topic"),
        "abandon over SSH with a message": ("bob", f"gerrit review --abandon -m 'Not needed' {number},1"),
        "restore over SSH": ("bob", f"gerrit review --restore -m 'Needed after all' {number},1"),
    }


def test_events_have_gerrits_order_keys_and_words(server: Embedded, project: str):
    number = server.new_change(project, "Reviewed over SSH", {"r.txt": "r\n"})
    with server.listen() as heard:
        for name, (who, command) in _steps(number).items():
            theirs = recorded("events", name)
            done = server.ssh(who, command.replace("{project}", project))
            assert done.returncode == 0, (name, done.stderr)
            ours = heard.until(theirs["events"][-1]["type"])
            _compare_events(name, number, ours, theirs)


def _compare_events(name: str, number: int, ours: list[dict[str, Any]], theirs: dict[str, Any]) -> None:
    meta = f"refs/changes/{number % 100:02d}/{number}/meta"
    assert order(ours) == [re.sub(r"refs/changes/.*/meta", meta, step) for step in theirs["order"]], name
    mine, their = ours[-1], theirs["events"][-1]
    assert list(mine) == list(their), name
    assert mine.get("comment") == their.get("comment"), name
    for key in ("approvals", "reason"):
        if name != "gerrit review: by commit id":
            assert mine.get(key) == their.get(key), name
    skipped = {"topic", "hashtags"}
    assert [key for key in mine["change"] if key not in skipped] == [
        key for key in their["change"] if key not in skipped
    ]
    if "patchSet" in their:
        assert list(mine["patchSet"]) == list(their["patchSet"]), name


def test_events_of_landing(server: Embedded, project: str):
    folder = server.clone(project)
    server.commit(folder, "Low", {"low.txt": "1\n"})
    server.commit(folder, "High", {"high.txt": "1\n"})
    top = server.push(folder).number
    for number in (top - 1, top):
        server.approve(number)
        server.client("zuul").review(number, labels={"Verified": 2})
    theirs = recorded("events", "submit of a chain of two through its tip")
    with server.listen() as heard:
        done = server.ssh("zuul", f"gerrit review --project {project} --submit {top},1")
        assert done.returncode == 0, done.stderr
        ours = heard.until("change-merged", 2)
    kinds = [re.sub(r"refs/changes/.*/", "refs/changes/", step) for step in order(ours)]
    assert kinds == [re.sub(r"refs/changes/.*/", "refs/changes/", step) for step in theirs["order"]]
    assert list(ours[-1]) == list(theirs["events"][-1])
    assert [event["change"]["number"] for event in ours[-2:]] == [top - 1, top]
    assert {event["newRev"] for event in ours[-2:]} == {ours[0]["refUpdate"]["newRev"]}
