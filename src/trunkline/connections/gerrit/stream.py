"""Listening: the live stream, and what it cannot tell because the connection was lost or nobody listened.

On every (re)connect the stream is opened first and read into a buffer; then the changes updated since the last event,
and the refs of the watched projects, are compared with what is known; then the buffer is told. What both tell has one
delivery id and is emitted once. A second look follows a little later, for what happened while the server was still
attaching the listener.
"""

import asyncio
import json
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from trunkline.connections.gerrit.events import EventReader, ref_event
from trunkline.connections.gerrit.ssh import SshClient
from trunkline.connections.model import NO_REVISION, ConnectionFailed, Emit, Keep, Position, TriggerEvent

log = structlog.get_logger()

_OVERLAP_S = 10.0
_SECOND_LOOK_S = 5.0
_POLL_S = 10.0
_MAX_BACKOFF_S = 60.0
_BUFFER = 10_000
_MEMORY = 20_000
_REF_LISTERS = 4

Missed = Callable[[float], Awaitable[list[TriggerEvent]]]
ListRefs = Callable[[str], Awaitable[dict[str, str]]]
Line = dict[str, Any] | None


class Listener:
    """Listens for one connection. `missed` tells the events of changes since a time, `refs` a project's refs."""

    def __init__(self, name: str, ssh: SshClient, missed: Missed, refs: ListRefs) -> None:
        self._name = name
        self._ssh = ssh
        self._missed = missed
        self._refs = refs
        self._reader = EventReader(name)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._found_moves: set[tuple[str, str, str, str]] = set()
        self._heads: dict[str, dict[str, str]] = {}
        self._watched: set[str] = set()
        self._keep: Keep | None = None
        self._at = 0.0
        self._floor = 0.0
        self.connected = asyncio.Event()

    def watch(self, projects: Iterable[str]) -> None:
        self._watched.update(projects)

    async def listen(self, emit: Emit, since: Position | None, keep: Keep | None, stream: bool = True) -> None:
        self._keep = keep
        self._at = since.at if since else time.time()
        self._floor = 0.0 if since else float(int(self._at))
        if since:
            self._heads = {project: dict(heads) for project, heads in since.heads.items()}
            self._watched.update(since.heads)
        backoff_s = 0.5
        while True:
            began = time.monotonic()
            try:
                await (self._session(emit) if stream else self._catch_up(emit))
            except ConnectionFailed as error:
                log.warning("gerrit.stream.failed", connection=self._name, error=str(error))
            finally:
                self.connected.clear()
            if time.monotonic() - began > 60:
                backoff_s = 0.5
            await asyncio.sleep(random.uniform(0.5, 1.0) * backoff_s if stream else _POLL_S)
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)

    async def _session(self, emit: Emit) -> None:
        """One connection, from its opening to its loss. Raises ConnectionFailed, and whatever `emit` raises."""
        buffer: asyncio.Queue[Line] = asyncio.Queue(_BUFFER)
        async with self._ssh.lines("gerrit stream-events") as lines:
            helpers = [
                asyncio.create_task(self._pump(lines, buffer)),
                asyncio.create_task(_after(_SECOND_LOOK_S, buffer, {"type": "second-look"})),
            ]
            try:
                await self._catch_up(emit)
                self.connected.set()
                log.info("gerrit.stream.connected", connection=self._name)
                await self._tell(emit, buffer)
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
        log.info("gerrit.stream.ended", connection=self._name)

    async def _pump(self, lines: Any, buffer: asyncio.Queue[Line]) -> None:
        try:
            async for line in lines:
                try:
                    await buffer.put(json.loads(line))
                except ValueError:
                    log.warning("gerrit.stream.odd_line", connection=self._name, line=line[:200])
        except Exception as error:  # whatever ends the stream, it is opened again
            log.warning("gerrit.stream.broken", connection=self._name, error=str(error))
        await buffer.put(None)

    async def _tell(self, emit: Emit, buffer: asyncio.Queue[Line]) -> None:
        while (line := await buffer.get()) is not None:
            if line.get("type") in {"dropped-output", "second-look"}:  # the server says that it left some out
                await self._catch_up(emit)
                continue
            event = self._reader.read(line)
            if event is not None and not self._is_known_move(event):
                await self._emit(emit, event)

    async def _emit(self, emit: Emit, event: TriggerEvent) -> None:
        if event.delivery in self._seen:
            return
        await emit(event)
        self._seen[event.delivery] = None
        while len(self._seen) > _MEMORY:
            self._seen.popitem(last=False)
        self._at = max(self._at, event.at)
        if event.type == "ref-updated" and event.ref and event.newrev:
            heads = self._heads.setdefault(event.project, {}) if event.project in self._watched else {}
            if event.is_delete:
                heads.pop(event.ref, None)
            else:
                heads[event.ref] = event.newrev

    async def _catch_up(self, emit: Emit) -> None:
        """Emit what happened to changes and refs since the last event. Raises ConnectionFailed."""
        for event in await self._missed(max(self._at - _OVERLAP_S, self._floor)):
            await self._emit(emit, event)
        for event in await self._moved_refs():
            await self._emit(emit, event)

    async def _moved_refs(self) -> list[TriggerEvent]:
        lister = asyncio.Semaphore(_REF_LISTERS)

        async def look(project: str) -> list[TriggerEvent]:
            async with lister:
                try:
                    now = await self._refs(project)
                except ConnectionFailed as error:  # one project that is gone must not keep us from the others
                    log.warning("gerrit.refs.failed", connection=self._name, project=project, error=str(error))
                    return []
            if project not in self._heads and self._keep is not None:
                await self._keep(project, now)
            return self._compared(project, now)

        found = await asyncio.gather(*(look(project) for project in sorted(self._watched)))
        return [event for events in found for event in events]

    def _compared(self, project: str, now: dict[str, str]) -> list[TriggerEvent]:
        before = self._heads.get(project)
        if before is None:
            self._heads[project] = dict(now)
            return []
        events = []
        for ref in sorted(before.keys() | now.keys()):
            old, new = before.get(ref, NO_REVISION), now.get(ref, NO_REVISION)
            if old != new:
                self._found_moves.add((project, ref, old, new))
                events.append(ref_event(self._name, project, ref, old, new, time.time()))
        return events

    def _is_known_move(self, event: TriggerEvent) -> bool:
        """Whether the stream repeats what comparing refs has found; each such finding swallows one event."""
        if event.type != "ref-updated":
            return False
        move = (event.project, event.ref or "", event.oldrev or "", event.newrev or "")
        if move in self._found_moves:
            self._found_moves.discard(move)
            return True
        return False


async def _after(delay_s: float, buffer: asyncio.Queue[Line], line: dict[str, Any]) -> None:
    await asyncio.sleep(delay_s)
    await buffer.put(line)
