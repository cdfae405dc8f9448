"""Gerrit's words as the room's values, against the recordings."""

import json
from typing import Any

import pytest

from tests.shared import SHARED, needs_shared
from trunkline.connections import open_connection
from trunkline.connections.gerrit import changes
from trunkline.connections.gerrit.events import EventReader
from trunkline.connections.gerrit.settings import GerritSettings
from trunkline.connections.gitrefs import parse_refs

OPTIONS = {"driver": "gerrit", "server": "review.example.com", "user": "zuul"}


def recorded(file: str) -> list[dict[str, Any]]:
    assert SHARED is not None
    return json.loads((SHARED / "reference" / "gerrit-recordings" / f"{file}.json").read_text())["entries"]


def here() -> changes.Here:
    return changes.Here("gerrit", GerritSettings.read("gerrit", OPTIONS | {"baseurl": "http://127.0.0.1:8090"}))


@needs_shared
def test_every_recorded_event_can_be_read():
    reader = EventReader("gerrit")
    ids: list[str] = []
    for entry in recorded("events"):
        for line in entry["events"]:
            event = reader.read(line)
            is_change_ref = line["type"] == "ref-updated" and line["refUpdate"]["refName"].startswith("refs/changes/")
            assert (event is None) == (is_change_ref or line["type"] == "batch-ref-updated"), line["type"]
            if event is not None:
                ids.append(event.delivery)
                assert event.project
                assert event.account is not None or line["type"].startswith("project-")
    assert len(ids) > 60


@needs_shared
def test_a_recorded_change_reads_alike_over_rest_and_ssh():
    rest = next(e for e in recorded("rest-reads") if e["name"] == "merged change with Zuul's options")["response"][
        "body"
    ]
    ssh = next(e for e in recorded("ssh-query") if e["name"] == "all options that Zuul uses: merged")["stdout_lines"][0]
    by_rest, by_ssh = changes.from_rest_json(here(), rest), changes.from_ssh_json(here(), ssh)
    for field in (
        "number",
        "patchset",
        "ref",
        "commit",
        "parents",
        "message",
        "owner",
        "status",
        "files",
        "url",
        "uris",
    ):
        assert getattr(by_rest, field) == getattr(by_ssh, field), field
    votes = [sorted((v.label, v.value, v.by.username) for v in change.approvals) for change in (by_rest, by_ssh)]
    assert votes[0] == votes[1]
    assert ("Code-Review", 2, "alice") in votes[0]
    assert {r.name: r.satisfied for r in by_rest.submit_requirements}["Verified"] is True


@needs_shared
def test_a_waiting_change_says_what_is_missing():
    name = "change with Zuul's options, waiting for votes"
    json_ = next(e for e in recorded("rest-reads") if e["name"] == name)["response"]["body"]
    change = changes.from_rest_json(here(), json_)
    missing = {r.name: r.labels for r in change.submit_requirements if not r.satisfied}
    assert missing == {"Workflow": ("Workflow",), "Verified": ("Verified",)}


URLS = [
    ("https://review.example.com/12", 12),
    ("https://review.example.com/#/c/12/", 12),
    ("https://review.example.com/c/demo/app/+/12", 12),
    ("https://review.example.com/c/demo/app/+/12/3", 12),
    ("http://127.0.0.1:8090/c/demo/app/+/12", 12),
    ("review.example.com/12", 12),
    ("https://other.example.com/12", None),
    ("https://review.example.com/c/demo/app", None),
]


@pytest.mark.parametrize(("url", "number"), URLS)
def test_a_changes_url_is_known_in_every_spelling(url: str, number: int | None):
    assert here().number_of(url) == number


def test_a_depends_on_url_names_a_change_by_any_of_its_uris():
    uris = list(here().uris("demo/app", 12))
    for url, number in URLS:
        assert changes.names_one_of((url,), uris) == (number == 12), url
    assert not changes.names_one_of(("https://review.example.com/123",), uris)


def test_two_reviews_behind_their_meta_refs_are_two_deliveries():
    """Gerrit may tell meta, meta, comment, comment: neither comment may be taken for the other."""
    reader = EventReader("gerrit")

    def meta(sha: str) -> dict[str, Any]:
        update = {"oldRev": "0" * 40, "newRev": sha, "refName": "refs/changes/01/1/meta", "project": "p"}
        return {"type": "ref-updated", "eventCreatedOn": 1, "refUpdate": update}

    comment = {
        "type": "comment-added",
        "eventCreatedOn": 1,
        "author": {"username": "bob"},
        "comment": "Patch Set 1:\n\nrecheck",
        "change": {"number": 1, "project": "p", "branch": "main"},
        "patchSet": {"number": 1, "ref": "refs/changes/01/1/1"},
    }
    reader.read(meta("a" * 40))
    reader.read(meta("b" * 40))
    ids = [event.delivery for event in (reader.read(comment), reader.read(comment)) if event]
    assert len(set(ids)) == 2


def test_old_servers_bare_branch_names_become_full_refs():
    update = {"oldRev": "1" * 40, "newRev": "2" * 40, "refName": "main", "project": "p"}
    event = EventReader("gerrit").read({"type": "ref-updated", "eventCreatedOn": 1, "refUpdate": update})
    assert event is not None
    assert (event.ref, event.branch, event.sent_ref) == ("refs/heads/main", "main", "main")


def test_annotated_tags_are_peeled():
    refs = parse_refs(
        f"ref: refs/heads/main\tHEAD\n{'1' * 40}\tHEAD\n{'2' * 40}\trefs/tags/v1\n{'1' * 40}\trefs/tags/v1^{{}}\n"
    )
    assert refs.head == "main"
    assert refs.tips["refs/tags/v1"] == "1" * 40
    assert refs.objects["refs/tags/v1"] == "2" * 40


BAD_OPTIONS = [
    ({"server": ""}, "the key `server` is missing"),
    ({"user": ""}, "the key `user` is missing"),
    ({"port": "x"}, "`port` must be a whole number"),
    ({"keepalive": "often"}, "`keepalive` must be a whole number"),
    ({"git_over_ssh": "perhaps"}, "`git_over_ssh` must be true or false"),
    ({"auth_type": "form"}, "auth_type 'form' is not supported yet"),
    ({"baseurl": "review.example.com"}, "`baseurl` must begin with http"),
    ({"kafka_bootstrap_servers": "k"}, "is not supported yet"),
]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS)
def test_bad_options_are_named_with_their_section(options: dict[str, str], words: str):
    with pytest.raises(ValueError, match=r"\[connection gerrit\]") as refused:
        open_connection("gerrit", OPTIONS | options)
    assert words in str(refused.value)


def test_drivers_without_a_source_open_to_nothing():
    assert open_connection("mail", {"driver": "smtp"}) is None
    with pytest.raises(ValueError, match="driver"):
        open_connection("x", {})
