"""The git driver: polling tells of what moved."""

import asyncio
import subprocess

from trunkline.connections import TriggerEvent, open_connection, trigger_matches


def test_moved_refs_are_told_once(tmp_path):
    asyncio.run(asyncio.wait_for(_moved(tmp_path), 60))


def git(folder, *words: str) -> str:
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


async def _moved(tmp_path) -> None:
    (tmp_path / "demo").mkdir()
    git(tmp_path / "demo", "init", "-q")
    git(tmp_path / "demo", "commit", "-q", "--allow-empty", "-m", "One")
    connection = open_connection("git", {"driver": "git", "baseurl": f"file://{tmp_path}", "poll_delay": "0.1"})
    assert connection is not None
    connection.watch(["demo"])
    told: asyncio.Queue[TriggerEvent] = asyncio.Queue()
    task = asyncio.create_task(connection.listen(told.put))
    before = (await connection.branches("demo"))["main"]
    while not connection._heads:  # type: ignore[attr-defined]
        await asyncio.sleep(0.02)
    git(tmp_path / "demo", "commit", "-q", "--allow-empty", "-m", "Two")
    event = await told.get()
    task.cancel()
    assert (event.ref, event.branch, event.oldrev) == ("refs/heads/main", "main", before)
    assert trigger_matches({"event": "ref-updated", "ref": "^refs/heads/"}, event)
    assert await connection.default_branch("demo") == "main"
