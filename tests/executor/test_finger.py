"""The console over TCP, while a build runs and when there is none; and taking logs out."""

import asyncio
import os
from pathlib import Path

from tests.executor.scene import Executor
from tests.executor.test_build import SAYS
from trunkline.executor import keep_logs, serve_console


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if not request.endswith(b"\n"):
        writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


def test_a_running_build_is_followed_to_its_end(executor: Executor, tmp_path: Path) -> None:
    async def work() -> None:
        s = executor.scene(tmp_path, keep_job_dirs=False)
        server = await serve_console(s.site.job_dir, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        request = s.request(run=(s.playbook("says", SAYS),), post=(s.playbook("says", SAYS),))
        running = asyncio.create_task(s.run(request))
        await s.sink.until("started")
        answer = (await ask(port, request.uuid.encode() + b"\r\n")).decode()
        assert (await running).result == "SUCCESS"
        assert answer.split(" | ", 1)[1].startswith("Job console starting\n")
        assert "POST-RUN END RESULT_NORMAL" in answer.strip().split("\n")[-1]
        assert await ask(port, request.uuid.encode() + b"\r\n") == f"Build ID {request.uuid} not found".encode()
        assert await ask(port, b"../../etc\n") == b"Build ID ../../etc not found"
        assert await ask(port, b"no newline") == b"Internal streaming error"
        server.close()

    executor.go(work())


def test_logs_are_taken_out_without_following_links(tmp_path: Path) -> None:
    build = tmp_path / ("a" * 32)
    (build / "work/logs/deep").mkdir(parents=True)
    (build / "private").mkdir()
    (build / "private/console").write_text("the console\n")
    (build / "work/logs/deep/file").write_text("x")
    (build / "work/logs/job-output.txt").symlink_to("/etc/passwd")
    (build / "work/logs/deep/link").symlink_to("/etc")
    os.mkfifo(build / "work/logs/pipe")
    assert keep_logs(tmp_path, build.name, tmp_path / "kept") == 1
    found = {str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*")}
    assert found == {"deep", "deep/file", "job-output.txt"}
    assert (tmp_path / "kept/job-output.txt").read_text() == "the console\n"


def test_logs_that_are_a_link_are_not_taken(tmp_path: Path) -> None:
    build = tmp_path / ("a" * 32)
    (build / "work").mkdir(parents=True)
    (build / "work/logs").symlink_to("/etc")
    assert keep_logs(tmp_path, build.name, tmp_path / "kept") == 0
    assert list((tmp_path / "kept").iterdir()) == []
