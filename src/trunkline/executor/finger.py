"""The consoles of running builds over TCP: a line with the build's uuid, answered by its log, which is then followed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

LONGEST_REQUEST = 1024
REQUEST_TIMEOUT_S = 10.0
FOLLOW_S = 0.1
CHUNK = 1 << 16


async def serve_console(job_dir: Path, host: str = "", port: int = 0) -> asyncio.Server:
    """Serve on `port` (0: any; read it from the server's sockets). Close the returned server to stop."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await _answer(job_dir, reader, writer)
        with contextlib.suppress(OSError):
            writer.close()

    return await asyncio.start_server(accept, host or None, port, limit=LONGEST_REQUEST)


async def _answer(job_dir: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        line = await asyncio.wait_for(reader.readuntil(b"\n"), REQUEST_TIMEOUT_S)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        writer.write(b"Internal streaming error")
        return
    uuid = line.decode("ascii", "replace").strip()
    descriptor = _open(job_dir, uuid)
    if descriptor < 0:
        writer.write(f"Build ID {uuid} not found".encode())
        return
    with os.fdopen(descriptor, "rb", 0) as log:
        await _follow(job_dir / uuid, log.fileno(), reader, writer)


def _open(job_dir: Path, uuid: str) -> int:
    """The build's console by the name that no playbook can reach; -1 when there is no such build."""
    if not uuid or not set(uuid) <= set("0123456789abcdef-"):
        return -1
    try:
        return os.open(job_dir / uuid / "private" / "console", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return -1


async def _follow(root: Path, log: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    gone = asyncio.ensure_future(reader.read())
    try:
        while True:
            is_over = not (root / "private" / "console").exists()
            while chunk := os.read(log, CHUNK):
                writer.write(chunk)
                await writer.drain()
            if is_over or gone.done():
                return
            await asyncio.wait([gone], timeout=FOLLOW_S)
    finally:
        gone.cancel()
