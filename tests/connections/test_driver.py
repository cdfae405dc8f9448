"""The Gerrit driver from push to landing, at the embedded server and at a real Gerrit."""

import asyncio
import time

import msgspec
import pytest

from tests.connections.conftest import Listening, connect
from tests.connections.embedded import Embedded
from tests.connections.people import People, new_change_id
from trunkline.connections import (
    ChangeNotFound,
    FileComment,
    LandingRefused,
    Position,
    Report,
    TextRange,
    merge_problem,
    requirement_problem,
    trigger_matches,
)

GATE = [{"open": True, "current-patchset": True, "approval": [{"Code-Review": 2}, {"Workflow": 1}]}]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 240))


@pytest.mark.parametrize("over_rest", [True, False], ids=["rest", "ssh"])
def test_a_change_goes_from_push_to_landing(server: People, project: str, over_rest: bool):
    run(_push_to_landing(server, project, over_rest))


async def _push_to_landing(server: People, project: str, over_rest: bool) -> None:
    connection = connect(server, over_rest)
    async with Listening(connection) as heard:
        footers = ["Depends-On: https://elsewhere.example.com/77"]
        words = {"a.txt": "one\ntwo\n", "dir/b.txt": "b\n"}
        number = await asyncio.to_thread(server.new_change, project, "A change", words, footers=footers)
        event = await heard.until(lambda e: e.type == "patchset-created" and e.change == number)
        assert (event.project, event.branch, event.patchset) == (project, "master", 1)
        assert trigger_matches({"event": "patchset-created"}, event)
        change = await connection.change(number)
        assert change.key == f"gerrit:{project}:{number},1"
        assert (change.subject, change.status, change.is_current_patchset) == ("A change", "NEW", True)
        assert change.files == ("a.txt", "dir/b.txt")
        assert change.depends_on == ("https://elsewhere.example.com/77",)
        assert change.owner.username == "bob"
        assert connection.number_of(change.url) == number
        assert change.commit == event.newrev
        assert requirement_problem(GATE, [], change, time.time())

        comments = {
            "a.txt": (FileComment("here", line=2), FileComment("this", range=TextRange(1, 0, 1, 3))),
            "absent.txt": (FileComment("nowhere", line=1),),
        }
        found = Report(
            project=project,
            number=number,
            patchset=1,
            pipeline="check",
            message="Build succeeded.",
            labels={"Verified": 1},
        )
        await connection.report(msgspec.structs.replace(found, comments=comments))
        await heard.until(lambda e: e.type == "comment-added" and e.account.username == "zuul")
        told = await asyncio.to_thread(server.client().call, "GET", f"changes/{number}/comments")
        assert {path: len(entries) for path, entries in told.items()} == {"a.txt": 2}
        await asyncio.to_thread(server.approve, number)
        vote = await heard.until(lambda e: e.type == "comment-added" and e.account.username == "alice")
        assert trigger_matches({"event": "comment-added", "approval": {"Workflow": 1}}, vote)
        assert trigger_matches({"event": "comment-added", "approval-change": [{"Workflow": 1}]}, vote)
        change = await connection.change(number)
        assert requirement_problem(GATE, [], change, time.time()) is None
        assert merge_problem(change, ["Verified"]) is None
        if over_rest:  # SSH does not tell what is still missing
            assert merge_problem(change, ["Other"]) == "the submit requirement Verified is not satisfied"

        with pytest.raises(LandingRefused, match="Verified"):
            await connection.land(change)
        await connection.report(msgspec.structs.replace(found, labels={"Verified": 2}, pipeline="gate"))
        await connection.land(change)
        await connection.land(change)  # again: it has landed
        moved = await heard.until(
            lambda e: e.ref == "refs/heads/master" and e.project == project and e.oldrev != "0" * 40
        )
        merged = await heard.until(lambda e: e.type == "change-merged" and e.change == number)
        assert heard.events.index(moved) < heard.events.index(merged)
        assert moved.newrev == merged.newrev == (await connection.branches(project))["master"]
        assert await connection.is_merged(change)
        assert len({event.delivery for event in heard.events}) == len(heard.events)


@pytest.mark.parametrize("over_rest", [True, False], ids=["rest", "ssh"])
def test_dependencies_are_found_both_ways(server: People, project: str, over_rest: bool):
    run(_dependencies(server, project, over_rest))


async def _dependencies(server: People, project: str, over_rest: bool) -> None:
    folder, low_id = server.clone(project), new_change_id()
    server.commit(folder, "Low", {"low": "1\n"}, change_id=low_id)
    server.commit(folder, "High", {"high": "1\n"})
    high_number = server.push(folder, "refs/for/master%topic=both").number
    connection = connect(server, over_rest)
    high = await connection.change(high_number)
    low = await connection.change(high_number - 1)
    assert [change.number for change in await connection.dependencies(high)] == [low.number]
    assert await connection.dependencies(low) == []
    assert [change.number for change in await connection.needed_by(low)] == [high.number]
    assert {change.number for change in await connection.by_topic("both") if change.project == project} == {
        low.number,
        high.number,
    }
    footers = [f"Depends-On: {low.url}"]
    above = server.new_change(project, "Needs it", {"else": "1\n"}, footers=footers)
    assert [change.number for change in await connection.dependents(low.uris)] == [above]

    server.git(folder, "reset", "-q", "--hard", "HEAD~1")
    server.commit(folder, "Low", {"low": "2\n"}, change_id=low_id, amend=True)
    server.push(folder)
    outdated = (await connection.dependencies(high))[0]
    assert (outdated.number, outdated.patchset, outdated.is_current_patchset) == (low.number, 1, False)
    assert outdated.files == ("low",)
    await connection.close()


def test_what_happened_while_nobody_listened_is_told_once(server: People, project: str):
    run(_reconciled(server, project))


async def _reconciled(server: People, project: str) -> None:
    first = connect(server)
    first.watch([project])
    kept: dict[str, dict[str, str]] = {}
    async with Listening(first, kept=kept) as heard:
        before = await asyncio.to_thread(server.new_change, project, "Heard live", {"f": "1\n"})
        live = await heard.until(lambda e: e.type == "patchset-created" and e.change == before)
        heads = kept[project]
    await asyncio.sleep(1.1)  # the server's times are whole seconds: what follows is later

    missed = server.new_change(project, "Missed", {"g": "1\n"})
    server.client("bob").review(missed, "recheck")
    whole = {"/PATCHSET_LEVEL": [{"message": "typed in the page", "unresolved": False}]}
    server.client("bob").review(missed, comments=whole)
    server.approve(missed)
    server.client().abandon(before, "Not needed")
    admin = server.clone(project, "admin")
    server.commit(admin, "Past review", {"h": "1\n"}, who="admin")
    assert server.push(admin, "refs/heads/master", "admin").status == 0
    assert server.push(admin, "refs/tags/v1", "admin").status == 0

    async with Listening(connect(server), Position(live.at, {project: heads})) as again:
        events = [event for event in again.events if event.project == project]
        kinds = [(event.type, event.change) for event in events if event.change == missed]
        assert kinds.count(("patchset-created", missed)) == 1
        comments = [event for event in events if event.type == "comment-added" and event.change == missed]
        texts = [event.comment for event in comments]
        assert "Patch Set 1:\n\nrecheck" in texts
        assert "Patch Set 1:\n\ntyped in the page" in texts
        assert any(
            trigger_matches({"event": "comment-added", "approval": {"Workflow": 1}}, event) for event in comments
        )
        gone = next(event for event in events if event.type == "change-abandoned")
        assert (gone.change, gone.reason) == (before, "Not needed")
        moves = {event.ref for event in events if event.type == "ref-updated"}
        assert moves == {"refs/heads/master", "refs/tags/v1"}
        # A little is told again, under the same id
        assert next(event.delivery for event in again.events if event.change == before) == live.delivery
        server.client("bob").review(missed, "afterwards")
        await again.until(lambda e: e.comment == "Patch Set 1:\n\nafterwards")
        assert len({event.delivery for event in again.events}) == len(again.events)


def test_live_and_reconciled_events_have_the_same_ids(server: People, project: str):
    run(_same_ids(server, project))


async def _same_ids(server: People, project: str) -> None:
    began = time.time() - 1
    async with Listening(connect(server)) as live:
        number = await asyncio.to_thread(server.new_change, project, "A change", {"f": "1\n"})
        await asyncio.to_thread(server.client("bob").review, number, "recheck")
        await asyncio.to_thread(server.approve, number)
        await asyncio.to_thread(server.client("zuul").review, number, "fine", {"Verified": 2})
        await asyncio.to_thread(server.client("zuul").submit, number)
        await live.until(lambda e: e.type == "change-merged" and e.change == number)
    async with Listening(connect(server), Position(began)) as later:
        told = {event.delivery: event for event in later.events if event.change == number}
    heard = {event.delivery: event for event in live.events if event.change == number}
    assert told.keys() == heard.keys()
    for delivery, event in heard.items():
        assert (told[delivery].type, told[delivery].comment) == (event.type, event.comment)
        assert {(v.label, v.value) for v in told[delivery].approvals if v.old is not None} == {
            (v.label, v.value) for v in event.approvals if v.old is not None
        }


def test_refs_and_branches_are_told(server: People, project: str):
    run(_refs(server, project))


async def _refs(server: People, project: str) -> None:
    server.client().create_branch(project, "stable/1", "master")
    connection = connect(server)
    branches = await connection.branches(project)
    assert branches.keys() == {"master", "stable/1"}
    assert await connection.default_branch(project) == "master"
    assert project in await connection.projects()
    over_ssh = connect(server, git_over_ssh="true")
    assert await over_ssh.branches(project) == branches
    assert not await connection.submits_whole_topic()
    with pytest.raises(ChangeNotFound):
        await connection.change(999999)
    await connection.close()


def test_a_report_on_an_old_patch_set_does_not_vote(server: People, project: str):
    run(_old_patchset(server, project))


async def _old_patchset(server: People, project: str) -> None:
    folder, its_id = server.clone(project), new_change_id()
    server.commit(folder, "A change", {"f": "1\n"}, change_id=its_id)
    number = server.push(folder).number
    server.commit(folder, "A change", {"f": "2\n"}, change_id=its_id, amend=True)
    server.push(folder)
    connection = connect(server)
    late = Report(project=project, number=number, patchset=1, pipeline="check", message="late", labels={"Verified": -1})
    await connection.report(late)
    change = await connection.change(number)
    assert not [vote for vote in change.approvals if vote.label == "Verified"]
    old = await connection.change(number, 1)
    assert not old.is_current_patchset
    with pytest.raises(LandingRefused):
        await connection.land(old)
    await connection.close()


def test_a_lost_server_is_listened_to_again(embedded_server: Embedded):
    run(_lost(embedded_server))


async def _lost(server: Embedded) -> None:
    project = "driver/lost"
    server.client().create_project(project, branches=["master"])
    async with Listening(connect(server)) as heard:
        server.stop(9)
        server.start()
        number = await asyncio.to_thread(server.new_change, project, "After the crash", {"f": "1\n"})
        await heard.until(lambda e: e.type == "patchset-created" and e.change == number)
        assert [e.type for e in heard.events if e.change == number].count("patchset-created") == 1
