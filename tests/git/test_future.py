"""Futures are functions of commits: same steps, same ids, and conflicts that name their files."""

import subprocess
from pathlib import Path

import pytest

from trunkline.git import GitFailed, GitSource, RepoStore, Step, merge_future
from trunkline.git.workspace import check_out, clone, export

P = "review.example.com/app"


class Upstream:
    """A real repository that changes are pushed to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.commit("main", "README", "one\n")

    def git(self, *args: str) -> str:
        base = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com", "-C", str(self.path)]
        return subprocess.run([*base, *args], check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, on: str, name: str, text: str) -> str:
        (self.path / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"{on}: {name}")
        return self.git("rev-parse", "HEAD")

    def change(self, number: int, name: str, text: str, base: str = "main") -> str:
        self.git("checkout", "-q", "--detach", base)
        sha = self.commit(base, name, text)
        self.git("update-ref", f"refs/changes/{number:02d}/{number}/1", sha)
        self.git("checkout", "-q", "main")
        return f"refs/changes/{number:02d}/{number}/1"


async def fetched(tmp_path: Path, upstream: Upstream, name: str, refs: list[str]) -> tuple[RepoStore, dict[str, str]]:
    store = RepoStore(tmp_path / name)
    state = await store.update(P, GitSource(str(upstream.path)), refs)
    return store, state


def run(coroutine):
    import asyncio

    return asyncio.run(coroutine)


def test_two_stores_compute_the_same_commit_ids(tmp_path):
    upstream = Upstream(tmp_path / "up")
    refs = [upstream.change(1, "a", "a\n"), upstream.change(2, "b", "b\n"), upstream.change(3, "c", "c\n")]
    steps = [Step(P, ref, branch="main") for ref in refs]
    futures = []
    for name in ("one", "two"):
        store, state = run(fetched(tmp_path, upstream, name, refs))
        futures.append(merge_future(store, steps, {P: state}))
    assert futures[0] == futures[1]
    assert futures[0].conflict is None
    files = store.files(P, futures[0].tips[P, "main"], lambda path: True)
    assert set(files) == {"README", "a", "b", "c"}
    assert futures[0].before_last[P, "main"] == futures[0].commits[1]


def test_a_change_on_the_tip_is_a_fast_forward(tmp_path):
    upstream = Upstream(tmp_path / "up")
    ref = upstream.change(1, "a", "a\n")
    store, state = run(fetched(tmp_path, upstream, "one", [ref]))
    future = merge_future(store, [Step(P, ref, branch="main")], {P: state})
    assert future.tips[P, "main"] == upstream.git("rev-parse", ref)


def test_a_conflict_names_the_step_and_its_files(tmp_path):
    upstream = Upstream(tmp_path / "up")
    refs = [upstream.change(1, "README", "left\n"), upstream.change(2, "README", "right\n")]
    store, state = run(fetched(tmp_path, upstream, "one", refs))
    future = merge_future(store, [Step(P, ref, branch="main") for ref in refs], {P: state})
    assert future.conflict is not None
    assert (future.conflict.step, future.conflict.files) == (1, ("README",))


@pytest.mark.parametrize("mode", ["merge", "merge-resolve", "cherry-pick", "squash-merge", "rebase"])
def test_every_merge_mode_gives_the_same_tree(tmp_path, mode):
    upstream = Upstream(tmp_path / "up")
    ref = upstream.change(1, "a", "a\n")
    upstream.commit("main", "later", "later\n")
    store, state = run(fetched(tmp_path, upstream, "one", [ref]))
    future = merge_future(store, [Step(P, ref, branch="main", mode=mode)], {P: state})
    assert set(store.files(P, future.tips[P, "main"], lambda path: True)) == {"README", "a", "later"}


def test_a_missing_branch_is_said_and_not_guessed(tmp_path):
    upstream = Upstream(tmp_path / "up")
    ref = upstream.change(1, "a", "a\n")
    store, state = run(fetched(tmp_path, upstream, "one", [ref]))
    with pytest.raises(GitFailed, match="no branch stable"):
        merge_future(store, [Step(P, ref, branch="stable")], {P: state})


def test_a_workspace_has_the_future_as_its_branch_and_the_past_as_its_origin(tmp_path):
    upstream = Upstream(tmp_path / "up")
    upstream.git("tag", "-a", "1.0", "-m", "one")
    refs = [upstream.change(1, "a", "a\n"), upstream.change(2, "b", "b\n")]
    store, state = run(fetched(tmp_path, upstream, "one", refs))
    future = merge_future(store, [Step(P, ref, branch="main") for ref in refs], {P: state})
    work = tmp_path / "work"
    wanted = state | {"refs/heads/main": future.tips[P, "main"]}
    run(clone(store, P, work, wanted, {"main": future.before_last[P, "main"]}))
    tip = run(check_out(work, "refs/heads/main"))

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(work), *args], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert tip == future.tips[P, "main"]
    assert git("symbolic-ref", "--short", "HEAD") == "main"
    assert git("rev-parse", "refs/remotes/origin/main") == future.commits[0]
    assert git("remote", "get-url", "origin") == "file:///dev/null"
    assert git("tag") == "1.0"
    assert git("status", "--porcelain") == ""
    assert sorted(p.name for p in work.iterdir()) == [".git", "README", "a", "b"]
    store.path(P).rename(tmp_path / "gone")
    assert git("log", "--oneline", "-n1") != ""


def test_an_export_is_the_tree_alone(tmp_path):
    upstream = Upstream(tmp_path / "up")
    store, state = run(fetched(tmp_path, upstream, "one", []))
    export(store, P, state["refs/heads/main"], tmp_path / "content")
    assert sorted(p.name for p in (tmp_path / "content").iterdir()) == ["README"]


def test_deleted_branches_go_at_the_next_update(tmp_path):
    upstream = Upstream(tmp_path / "up")
    upstream.git("branch", "stable")
    store, state = run(fetched(tmp_path, upstream, "one", []))
    assert "refs/heads/stable" in state
    upstream.git("branch", "-D", "stable")
    assert "refs/heads/stable" not in run(store.update(P, GitSource(str(upstream.path))))
