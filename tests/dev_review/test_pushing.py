"""Pushes for review and past it, with real git over OpenSSH and HTTP."""

import subprocess

import pytest

from tests.connections.embedded import Embedded
from tests.connections.people import new_change_id, order


def remote(output: str) -> list[str]:
    return [line.removeprefix("remote:").strip() for line in output.splitlines() if line.startswith("remote:")]


def test_a_push_makes_a_change_and_says_where_it_is(server: Embedded, project: str):
    folder = server.clone(project)
    server.commit(folder, "Add a greeting", {"hello.txt": "hello\n"})
    pushed = server.push(folder)
    assert pushed.status == 0, pushed.output
    url = f"{server.url}/c/{project}/+/{pushed.number}"
    assert remote(pushed.output) == [
        "",
        "Processing changes: refs: 1, new: 1, done",
        "",
        "SUCCESS",
        "",
        f"{url} Add a greeting [NEW]",
        "",
    ]
    assert " * [new reference]   HEAD -> refs/for/master" in pushed.output
    tips = server.git(folder, "ls-remote", "origin", f"refs/changes/*/{pushed.number}/*")
    assert f"{pushed.sha}\trefs/changes/{pushed.number % 100:02d}/{pushed.number}/1" in tips


def test_a_push_over_http_does_the_same(server: Embedded, project: str):
    folder = server.clone(project, over="http")
    server.commit(folder, "Over HTTP", {"a": "1\n"})
    pushed = server.push(folder, "refs/for/master%topic=web")
    assert pushed.status == 0, pushed.output
    assert server.client().change(pushed.number)["topic"] == "web"


def test_events_of_a_push_come_in_gerrits_order(server: Embedded, project: str):
    folder = server.clone(project)
    with server.listen() as heard:
        server.commit(folder, "One", {"one": "1\n"})
        server.commit(folder, "Two", {"two": "2\n"})
        top = server.push(folder, "refs/for/master%topic=pair")
        low = top.number - 1
        events = heard.until("topic-changed", 2)
    refs = [f"ref-updated refs/changes/{n % 100:02d}/{n}/{end}" for n in (low, top.number) for end in ("1", "meta")]
    assert sorted(order(events)[:4]) == sorted(refs)
    assert order(events)[4:] == ["patchset-created", "topic-changed", "patchset-created", "topic-changed"]
    assert [event["change"]["number"] for event in events[4:]] == [low, low, top.number, top.number]
    assert events[5]["oldTopic"] == "pair"


@pytest.mark.parametrize(
    ("how", "kind", "warning"),
    [
        ({"date": "2026-01-01T00:00:00Z", "body": ()}, "NO_CHANGE", "warning: no changes between prior commit"),
        ({"body": ("More.",)}, "NO_CODE_CHANGE", "no files changed, message updated"),
        ({"files": {"f": "other\n"}}, "REWORK", ""),
    ],
)
def test_a_patch_set_is_told_by_its_kind(server: Embedded, project: str, how: dict, kind: str, warning: str):
    folder, its_id = server.clone(project), new_change_id()
    server.commit(folder, "A change", {"f": "text\n"}, change_id=its_id)
    number = server.push(folder).number
    server.client("zuul").review(number, labels={"Verified": 1})
    server.approve(number)
    server.commit(folder, "A change", how.pop("files", {}), change_id=its_id, amend=True, **how)
    pushed = server.push(folder)
    assert pushed.number == number, pushed.output
    assert warning in pushed.output
    shown = server.client().change(number, "CURRENT_REVISION", "DETAILED_LABELS")
    revision = shown["revisions"][shown["current_revision"]]
    assert (revision["_number"], revision["kind"]) == (2, kind)
    left = {label for label, votes in shown["labels"].items() if any(vote.get("value") for vote in votes["all"])}
    kept = {"NO_CHANGE": {"Code-Review", "Verified", "Workflow"}, "NO_CODE_CHANGE": {"Verified", "Workflow"}}
    assert left == kept.get(kind, set())


def test_a_rebase_without_conflict_is_trivial(server: Embedded, project: str):
    folder, its_id = server.clone(project), new_change_id()
    server.commit(folder, "A change", {"f": "text\n"}, change_id=its_id)
    number = server.push(folder).number
    admin = server.clone(project, "admin")
    server.commit(admin, "Moves the branch", {"g": "1\n"}, who="admin")
    assert server.push(admin, "refs/heads/master", "admin").status == 0
    server.git(folder, "pull", "-q", "--rebase", "origin", "master")
    assert server.push(folder).number == number
    shown = server.client().change(number, "CURRENT_REVISION")
    assert shown["revisions"][shown["current_revision"]]["kind"] == "TRIVIAL_REBASE"


REFUSALS = [
    ("refs/for/nowhere", "branch nowhere not found"),
    ("refs/for/master%nonsense=1", '"--nonsense" is not a valid option'),
    ("refs/for/master%l=Verified+2", 'applying label "Verified": 2 is restricted'),
    ("refs/for/master%l=Nonsense+1", 'label "Nonsense" is not a configured label'),
    ("refs/for/master%r=nobody", "Account 'nobody' not found"),
    ("refs/for/master%submit", "prohibited by Gerrit: not permitted: update by submit on refs/heads/master"),
    ("refs/heads/master", "prohibited by Gerrit: not permitted: update"),
    ("refs/heads/feature-bob", "prohibited by Gerrit: not permitted: create"),
    ("refs/tags/bob-1", "prohibited by Gerrit: not permitted: create"),
    ("refs/drafts/master", "prohibited by Gerrit: not permitted: create"),
]


@pytest.mark.parametrize(("ref", "reason"), REFUSALS)
def test_a_refusal_is_the_status_of_the_ref(server: Embedded, project: str, ref: str, reason: str):
    folder = server.clone(project)
    server.commit(folder, "A change", {"f": "text\n"})
    pushed = server.push(folder, ref)
    assert pushed.status == 1
    assert "[remote rejected]" in pushed.output
    assert reason in pushed.output


BAD_MESSAGES = [
    ("No id at all", "missing Change-Id in message footer"),
    ("Malformed\n\nChange-Id: I123", "invalid Change-Id line format in message footer"),
    ("Misplaced\n\nChange-Id: I" + "1" * 40 + "\n\nMore words here.", "Change-Id must be in message footer"),
    ("Two\n\nChange-Id: I" + "2" * 40 + "\nChange-Id: I" + "3" * 40, "multiple Change-Id lines"),
]


@pytest.mark.parametrize(("message", "reason"), BAD_MESSAGES)
def test_a_change_needs_one_well_formed_id(server: Embedded, project: str, message: str, reason: str):
    folder = server.clone(project)
    server.git(folder, "commit", "-q", "--allow-empty", "-m", message)
    pushed = server.push(folder)
    assert pushed.status == 1
    assert reason in pushed.output


def test_the_same_commit_again_is_no_new_change(server: Embedded, project: str):
    folder = server.clone(project)
    server.commit(folder, "A change", {"f": "text\n"})
    assert server.push(folder).status == 0
    assert "(no new changes)" in server.push(folder).output


def test_a_foreign_committer_is_refused_and_a_foreign_author_is_not(server: Embedded, project: str):
    folder = server.clone(project)
    message = f"Foreign\n\nChange-Id: {new_change_id()}"
    server.git(folder, "commit", "-q", "--allow-empty", "-m", message, GIT_COMMITTER_EMAIL="eve@example.net")
    assert "invalid committer" in server.push(folder).output
    server.git(folder, "commit", "-q", "--allow-empty", "--amend", "--author", "Eve <eve@example.net>", "--no-edit")
    assert server.push(folder).status == 0


def test_the_hook_from_the_server_makes_ids(server: Embedded, project: str):
    folder = server.clone(project)
    hook = folder / ".git" / "hooks" / "commit-msg"
    key = str(server.key("bob"))
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes"]
    source = f"bob@{server.ssh_host}:hooks/commit-msg"
    words = ["scp", "-O", "-q", "-F", "none", "-i", key, "-P", str(server.ssh_port), *options, source, str(hook)]
    subprocess.run(words, check=True, timeout=30)
    hook.chmod(0o755)
    server.git(
        folder, "commit", "-q", "--allow-empty", "-m", "Hooked\n\nWords.\n\nSigned-off-by: Bob <bob@example.com>"
    )
    assert server.push(folder).status == 0


def test_branches_and_tags_pass_by_those_who_may(server: Embedded, project: str):
    folder = server.clone(project, "admin")
    server.commit(folder, "Straight", {"f": "1\n"}, who="admin")
    with server.listen() as heard:
        assert server.push(folder, "refs/heads/master", "admin").status == 0
        assert server.push(folder, "refs/heads/stable/1", "admin").status == 0
        assert server.push(folder, "refs/tags/1.0", "admin").status == 0
        assert server.push(folder, "refs/heads/stable/1", "admin", what="").status == 0
        events = heard.until("ref-updated", 4)
    updates = [event["refUpdate"] for event in events]
    names = ["refs/heads/master", "refs/heads/stable/1", "refs/tags/1.0", "refs/heads/stable/1"]
    assert [update["refName"] for update in updates] == names
    assert updates[-1]["newRev"] == "0" * 40


def test_a_change_pushed_to_its_branch_closes(server: Embedded, project: str):
    folder = server.clone(project, "admin")
    server.commit(folder, "Closed by a push", {"f": "1\n"}, who="admin")
    number = server.push(folder, who="admin").number
    assert server.push(folder, "refs/heads/master", "admin").status == 0
    assert server.client().change(number)["status"] == "MERGED"


def test_a_private_change_is_hidden_from_others(server: Embedded, project: str):
    folder = server.clone(project)
    server.commit(folder, "A secret", {"f": "1\n"})
    pushed = server.push(folder, "refs/for/master%private")
    ref = f"refs/changes/{pushed.number % 100:02d}/{pushed.number}/1"
    assert "[PRIVATE]" in pushed.output
    assert server.run_git(folder, "fetch", server.ssh_url(project, "bob"), ref).returncode == 0
    assert server.run_git(folder, "fetch", server.ssh_url(project, "zuul"), ref, who="zuul").returncode == 128
    assert server.query("zuul", f"change:{pushed.number}")[-1]["rowCount"] == 0
