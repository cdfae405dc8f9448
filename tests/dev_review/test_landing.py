"""Landing, and what stays when the server is killed."""

import json
import signal
import urllib.request

import pytest

from tests.connections.embedded import Embedded, embedded
from trunkline.dev.review.client import ReviewError
from trunkline.dev.review.journal import Journal


def ready(server: Embedded, number: int) -> None:
    server.approve(number)
    server.client("zuul").review(number, labels={"Verified": 2})


def test_a_change_behind_its_branch_lands_by_a_merge_commit(server: Embedded, project: str):
    first = server.new_change(project, "First", {"one": "1\n"})
    second = server.new_change(project, "Second", {"two": "2\n"})
    for number in (first, second):
        ready(server, number)
        server.client("zuul").submit(number)
    folder = server.clone(project)
    assert server.git(folder, "log", "-1", "--format=%s").strip() == 'Merge "Second"'
    assert (folder / "one").exists()
    assert (folder / "two").exists()


def test_a_conflict_does_not_land(server: Embedded, project: str):
    numbers = [server.new_change(project, f"Take {side}", {"same": f"{side}\n"}) for side in "AB"]
    for number in numbers:
        ready(server, number)
    server.client("zuul").submit(numbers[0])
    with pytest.raises(ReviewError, match="could not be merged due to a path conflict"):
        server.client("zuul").submit(numbers[1])
    assert server.client().change(numbers[1])["status"] == "NEW"


def test_what_a_change_stands_on_must_be_ready_too(server: Embedded, project: str):
    folder = server.clone(project)
    server.commit(folder, "Low", {"low": "1\n"})
    server.commit(folder, "High", {"high": "1\n"})
    top = server.push(folder).number
    ready(server, top)
    words = f"Change {top - 1}: Change {top} must be submitted with change {top - 1} but {top - 1} is not ready"
    with pytest.raises(ReviewError, match=words):
        server.client("zuul").submit(top)
    ready(server, top - 1)
    server.client("zuul").submit(top)
    assert server.client().change(top - 1)["status"] == "MERGED"


def test_a_kill_loses_nothing(tmp_path):
    with embedded(tmp_path / "review") as server:
        server.client().create_project("kept", branches=["main"])
        kept = server.new_change("kept", "Kept", {"f": "1\n"}, branch="main", magic="%topic=t")
        landed = server.new_change("kept", "Landed", {"g": "1\n"}, branch="main")
        ready(server, landed)
        server.client("zuul").submit(landed)
        server.client("bob").review(kept, "words")
        before = server.client().change(kept, "MESSAGES", "DETAILED_LABELS", "CURRENT_REVISION")
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        server.start()
        assert server.client().change(kept, "MESSAGES", "DETAILED_LABELS", "CURRENT_REVISION") == before
        assert server.client().change(landed)["status"] == "MERGED"
        assert server.ssh("zuul", "gerrit version").stdout.startswith("gerrit version 3.")
        again = server.new_change("kept", "After", {"h": "1\n"}, branch="main")
        assert again > landed
        assert server.stop() == 0


def test_a_torn_last_line_is_dropped(tmp_path):
    path = tmp_path / "journal"
    path.write_text('[["group","a",{"x":1}]]\n[["group","b",{"x":2}]]\n[["group","c",{"x"')
    assert [entry[1] for entry in Journal(path).replay()] == ["a", "b"]


def test_pages_can_be_read(server: Embedded, project: str):
    number = server.new_change(project, "See <this>", {"f.txt": "line\n"})
    ready(server, number)
    with urllib.request.urlopen(f"{server.url}/c/{project}/+/{number}") as answer:
        page = answer.read().decode()
    for words in ("See &lt;this&gt;", "f.txt", "Uploaded patch set 1.", "+2", "Alice Core", "+line"):
        assert words in page
    with urllib.request.urlopen(f"{server.url}/") as answer:
        assert "See &lt;this&gt;" in answer.read().decode()


def test_bodies_begin_with_the_prefix_line(server: Embedded):
    with urllib.request.urlopen(f"{server.url}/config/server/version") as answer:
        first, body = answer.read().decode().split("\n", 1)
    assert first == ")]}'"
    assert json.loads(body).startswith("3.")
