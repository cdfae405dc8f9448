"""The warm runner: one Ansible process in a sandbox, forked for every playbook.

WarmRunner owns the process (bubblewrap around `ansible/warm/zygote.py`), gives it orders, and hands out a Playing for
each: messages to read, a process to wait for or kill. When the process cannot be started or dies, it is started again
with the next order; after that has failed, orders run cold (same program, one process each).
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from trunkline.executor.sandbox import SandboxPaths, outer_sandbox

log = structlog.get_logger()

START_TIMEOUT_S = 60.0
ORDER_TIMEOUT_S = 30.0
LARGEST_MESSAGE = 64 << 20


class RunnerBroken(Exception):
    """The sandbox or Ansible in it does not start; the text says why."""


@dataclass
class Playing:
    """A playbook that runs. `messages()` ends when all of its processes have closed the channel."""

    handle: int
    reader: asyncio.StreamReader
    output: Path
    document: Path
    _killed: bool = field(default=False)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            try:
                size = int.from_bytes(await self.reader.readexactly(4), "big")
                if size > LARGEST_MESSAGE:
                    self.kill()
                    return
                body = await self.reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            message = json.loads(body.decode("utf-8", "surrogateescape"))
            if isinstance(message, dict):
                yield message

    def kill(self) -> None:
        """Kill the playbook and everything that it started. Safe at any time."""
        if self.handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    async def gone(self) -> None:
        """Wait until no process of the playbook is left."""
        await _readable(self.handle)

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class WarmRunner:
    """Starts playbooks. One for all builds of an executor; use as an async context manager."""

    def __init__(self, paths: SandboxPaths) -> None:
        self.paths = paths
        self.starts = 0
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> WarmRunner:
        async with self._lock:
            await self._ensure()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stop()

    async def play(self, order: Mapping[str, Any], output: Path, document: Path) -> Playing:
        """Start what `order` says. output and document are files that the playbook may write to but never sees."""
        read_end, write_end = os.pipe()
        descriptors = [
            _memory_file(json.dumps(order).encode("utf-8", "surrogateescape")),
            write_end,
            os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            os.open(document, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        try:
            async with self._lock:
                handle = await self._order(descriptors)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0))
        return Playing(handle, reader, output, document)

    async def _order(self, descriptors: list[int]) -> int:
        for attempt in (1, 2):
            sock = await self._ensure()
            try:
                return await asyncio.wait_for(_exchange(sock, descriptors), ORDER_TIMEOUT_S)
            except (OSError, EOFError, TimeoutError) as error:
                log.warning("executor.runner.lost", error=str(error), attempt=attempt)
                await self._stop()
        raise RunnerBroken("the warm process dies with every order")

    async def _ensure(self) -> socket.socket:
        if self._socket is not None and self._process is not None and self._process.returncode is None:
            return self._socket
        await self._stop()
        try:
            self._socket = await self._start(warm=True)
        except RunnerBroken as error:
            log.warning("executor.runner.cold", error=str(error), effect="every playbook starts slowly")
            await self._stop()
            self._socket = await self._start(warm=False)
        return self._socket

    async def _start(self, warm: bool) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs, outer_sandbox(self.paths, sys.executable, theirs.fileno(), warm) as launch:
                self._process = await asyncio.create_subprocess_exec(
                    *launch.arguments,
                    pass_fds=launch.descriptors,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    env=launch.environment,
                )
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 16), START_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            ours.close()
            raise RunnerBroken(f"the warm process does not start: {error}") from error
        if answer != b"ready":
            assert self._process.stderr is not None
            text = (await self._process.stderr.read()).decode(errors="replace").strip()
            ours.close()
            raise RunnerBroken(f"the warm process does not start: {text}")
        self.starts += 1
        self._saying = asyncio.create_task(_discard(self._process.stderr))
        log.info("executor.runner.ready", pid=self._process.pid, starts=self.starts, warm=warm)
        return ours

    async def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            await self._process.wait()
            self._process = None


async def _exchange(sock: socket.socket, descriptors: list[int]) -> int:
    """Send one order; returns the descriptor of the new process."""
    socket.send_fds(sock, [b"order"], descriptors)
    await _readable(sock.fileno())
    data, ancillary, _flags, _address = sock.recvmsg(64, socket.CMSG_SPACE(array.array("i").itemsize))
    handles = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            handles.frombytes(payload)
    if data != b"started" or len(handles) != 1:
        raise EOFError("no answer")
    return handles[0]


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _memory_file(data: bytes) -> int:
    descriptor = os.memfd_create("order")
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _discard(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and (text := await stream.read(65536)):
        log.warning("executor.runner.said", text=text.decode(errors="replace")[-2000:])
