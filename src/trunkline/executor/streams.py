"""The consoles of the nodes: what a running command prints is fetched line by line from the node's daemon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trunkline.executor.console import Console

CONNECT_TIMEOUT_S = 5.0
QUIET_LIMIT_S = 10.0
LONGEST_LINE = 1 << 20
MISSING = "[Zuul] Log not found"
LAST = "[Zuul] Task exit code"


@dataclass
class _Stream:
    task: asyncio.Task[None]
    host: str
    is_connected: bool = False
    has_lines: bool = False
    has_ended: bool = False
    last_heard: float = 0.0


class Streams:
    """Follows the consoles of one playbook. `may_reach(address, port)` decides where connections may go."""

    def __init__(self, console: Console, may_reach: Callable[[str, int], bool]) -> None:
        self._console = console
        self._may_reach = may_reach
        self._streams: dict[str, _Stream] = {}
        self._absent: set[tuple[str, int]] = set()

    def start(self, log_id: str, host: str, address: str, port: int) -> None:
        if log_id in self._streams or (address, port) in self._absent or not self._may_reach(address, port):
            return
        self._streams[log_id] = _Stream(asyncio.create_task(self._follow(log_id, address, port)), host)

    async def drain(self, log_id: str, host: str, lines: Sequence[str]) -> None:
        """Wait for the last line; where no console was there, show `lines`."""
        stream = self._streams.pop(log_id, None)
        if stream is not None:
            await self._wait(stream)
            await _stop(stream.task)
        if stream is None or not (stream.has_lines or stream.has_ended):
            for line in lines:
                self._console.line(line, host)

    async def drop(self, log_id: str) -> None:
        """The task did not run on that host after all."""
        stream = self._streams.pop(log_id, None)
        if stream is not None:
            await _stop(stream.task)

    async def close(self) -> None:
        for log_id in list(self._streams):
            await self.drop(log_id)

    async def _wait(self, stream: _Stream) -> None:
        loop = asyncio.get_running_loop()
        stream.last_heard = loop.time()
        while not stream.task.done():
            left = stream.last_heard + QUIET_LIMIT_S - loop.time()
            if left <= 0:
                return
            await asyncio.wait([stream.task], timeout=left)

    async def _follow(self, log_id: str, address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            connecting = asyncio.open_connection(address, port, limit=LONGEST_LINE)
            reader, writer = await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError):
            self._note_absent(log_id, address, port)
            return
        try:
            writer.write(b"v:0\n")
            await asyncio.wait_for(reader.readline(), CONNECT_TIMEOUT_S)
            writer.write(f"s:{log_id}\n".encode())
            stream = self._streams[log_id]
            stream.is_connected = True
            while text := await _line(reader):
                stream.last_heard = loop.time()
                line = text.decode("utf-8", "backslashreplace").rstrip("\n")
                if line.startswith(MISSING):
                    continue
                if LAST in line:
                    stream.has_ended = True
                    break
                stream.has_lines = True
                self._console.stamped(line, stream.host)
        except (OSError, TimeoutError, KeyError):
            return
        finally:
            writer.close()
        await _forget(log_id, address, port)

    def _note_absent(self, log_id: str, address: str, port: int) -> None:
        if (address, port) not in self._absent:
            self._absent.add((address, port))
            stream = self._streams.get(log_id)
            self._console.line(f"[{stream.host if stream else address}] Waiting on logger")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await reader.readexactly(error.consumed) + b"\n"


async def _forget(log_id: str, address: str, port: int) -> None:
    """Have the daemon delete the file."""
    with contextlib.suppress(OSError, TimeoutError):
        _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_TIMEOUT_S)
        writer.write(f"v:0\nf:{log_id}\n".encode())
        await writer.drain()
        writer.write_eof()
        writer.close()


async def _stop(task: asyncio.Task[None]) -> None:
    if not task.done():
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
