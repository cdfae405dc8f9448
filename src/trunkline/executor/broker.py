"""The only way out of an untrusted sandbox: a Unix socket that leads to the build's nodes and nowhere else.

Protocol: `HOST PORT\\n`, answered by `+` (then bytes pass both ways) or `-`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Collection
from pathlib import Path

import structlog

log = structlog.get_logger()

DIAL_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 10.0
CHUNK = 1 << 16
MOST_CONNECTIONS = 256


class Broker:
    """Splices connections to `allowed` (address, port) pairs. One a build; use as an async context manager."""

    def __init__(self, directory: Path, allowed: Collection[tuple[str, int]], build: str) -> None:
        self._directory = directory
        self._allowed = frozenset(allowed)
        self._build = build
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Broker:
        sock = bind_in(self._directory, "broker")
        self._server = await asyncio.start_unix_server(self._accept, sock=sock)
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.CancelledError):
            await self._serve(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT_S)
        host, port = request.decode("ascii", "replace").split()
        if (host, int(port)) not in self._allowed or len(self._connections) > MOST_CONNECTIONS:
            log.warning("executor.broker.refused", build=self._build, host=host, port=port)
            writer.write(b"-")
            await writer.drain()
            return
        try:
            there = await asyncio.wait_for(asyncio.open_connection(host, int(port)), DIAL_TIMEOUT_S)
        except (OSError, TimeoutError):
            return
        writer.write(b"+")
        try:
            await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        finally:
            there[1].close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def bind_in(directory: Path, name: str) -> socket.socket:
    """A listening Unix socket in a directory whose path may be longer than a socket's address."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        sock.bind(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)
    os.chmod(directory / name, 0o600)
    sock.listen(64)
    sock.setblocking(False)
    return sock
