"""The consoles of the nodes: what a running command prints is fetched line by line from the node's daemon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from trunkline.executor.console import Console

CONNECT_TIMEOUT_S = 5.0
QUIET_LIMIT_S = 10.0
LONGEST_LINE = 1 << 20
MISSING = "[Zuul] Log not found"
LAST = "[Zuul] Task exit code"


@dataclass
class _Stream:
    host: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    has_lines: bool = False
    has_ended: bool = False
    last_heard: float = 0.0


class Streams:
    """Follows the consoles of one playbook. `may_reach(address, port)` decides where connections may go."""

    def __init__(self, console: Console, may_reach: Callable[[str, int], bool]) -> None:
        self._console = console
        self._may_reach = may_reach
        self._streams: dict[str, _Stream] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._absent: set[tuple[str, int]] = set()

    def start(self, log_id: str, host: str, address: str, port: int) -> None:
        if log_id in self._streams or (address, port) in self._absent or not self._may_reach(address, port):
            return
        stream = self._streams[log_id] = _Stream(host)
        stream.task = asyncio.create_task(self._follow(stream, log_id, address, port))

    async def drain(self, log_id: str, host: str, lines: Sequence[str]) -> None:
        """Wait for the last line; where no console was there, show `lines`."""
        stream = self._streams.pop(log_id, None)
        if stream is not None:
            await self._wait(stream)
            self._retire(stream)
        if stream is None or not (stream.has_lines or stream.has_ended):
            for line in lines:
                self._console.line(line, host)

    async def drop(self, log_id: str) -> None:
        """The task did not run on that host after all."""
        stream = self._streams.pop(log_id, None)
        if stream is not None:
            stream.has_ended = False
            self._retire(stream)

    async def close(self) -> None:
        for log_id in list(self._streams):
            await self.drop(log_id)
        await asyncio.wait(self._retired, timeout=CONNECT_TIMEOUT_S) if self._retired else None
        for task in self._retired:
            task.cancel()

    def _retire(self, stream: _Stream) -> None:
        """Nobody waits for the stream any more; one that has ended may still tell its node to forget."""
        assert stream.task is not None
        if not stream.has_ended:
            stream.task.cancel()
        self._retired.add(stream.task)
        stream.task.add_done_callback(self._retired.discard)

    async def _wait(self, stream: _Stream) -> None:
        loop = asyncio.get_running_loop()
        stream.last_heard = loop.time()
        while not stream.over.is_set():
            left = stream.last_heard + QUIET_LIMIT_S - loop.time()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stream.over.wait(), left)

    async def _follow(self, stream: _Stream, log_id: str, address: str, port: int) -> None:
        try:
            await self._copy(stream, log_id, address, port)
        finally:
            stream.over.set()
        if stream.has_ended:
            await _forget(log_id, address, port)

    async def _copy(self, stream: _Stream, log_id: str, address: str, port: int) -> None:
        try:
            connecting = asyncio.open_connection(address, port, limit=LONGEST_LINE)
            reader, writer = await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError):
            self._note_absent(stream, address, port)
            return
        with contextlib.suppress(OSError, TimeoutError), contextlib.closing(writer):
            writer.write(b"v:0\n")
            await asyncio.wait_for(reader.readline(), CONNECT_TIMEOUT_S)
            writer.write(f"s:{log_id}\n".encode())
            while text := await _line(reader):
                line = text.decode("utf-8", "backslashreplace").rstrip("\n")
                if line.startswith(MISSING):
                    continue
                stream.last_heard = asyncio.get_running_loop().time()
                if LAST in line:
                    stream.has_ended = True
                    return
                stream.has_lines = True
                self._console.stamped(line, stream.host)

    def _note_absent(self, stream: _Stream, address: str, port: int) -> None:
        if (address, port) not in self._absent:
            self._absent.add((address, port))
            self._console.line(f"[{stream.host}] Waiting on logger")


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
