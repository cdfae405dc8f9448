"""Hints for open pages: which topic changed. Server-sent events; the page fetches the fragment again.

A hint carries no data, so losing one costs a moment, and a slow reader is told once what changed many times.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from trunkline.web.answers import CORS, check_query
from trunkline.web.context import context

TOPICS = ("queues", "builds", "pool", "fleet", "config")
GATHER_S = 0.4  # hints of this time go out as one
KEEP_ALIVE_S = 15.0


class Streams(set["asyncio.Task[Any]"]):
    """Tasks that answer for as long as somebody listens; they end with the service."""


STREAMS = web.AppKey("streams", Streams)


async def close_streams(app: web.Application) -> None:
    """End what would never end by itself."""
    streams = app[STREAMS]
    for task in list(streams):
        task.cancel()


@asynccontextmanager
async def streaming(request: web.Request) -> AsyncIterator[None]:
    """While this is open, the request ends when the service does."""
    task = asyncio.current_task()
    assert task is not None
    request.app[STREAMS].add(task)
    try:
        yield
    finally:
        request.app[STREAMS].discard(task)


class Hub:
    """Fans hints out to any number of readers. Each reader holds a set of topics, never a queue."""

    def __init__(self) -> None:
        self._readers: dict[str, set[_Reader]] = {}

    def post(self, tenant: str, topic: str) -> None:
        """Tell the readers of a tenant ('' for all tenants) that something of a topic changed."""
        readers = self._readers.get(tenant, set()) if tenant else {r for some in self._readers.values() for r in some}
        for reader in readers:
            reader.topics.add(topic)
            reader.wake.set()

    async def changes(self, tenant: str) -> AsyncIterator[str]:
        """Topics that changed, for as long as it is iterated."""
        reader = _Reader()
        self._readers.setdefault(tenant, set()).add(reader)
        try:
            while True:
                await reader.wake.wait()
                reader.wake.clear()
                topics, reader.topics = reader.topics, set()
                for topic in sorted(topics):
                    yield topic
        finally:
            self._readers[tenant].discard(reader)


class _Reader:
    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.wake = asyncio.Event()


def routes() -> list[web.RouteDef]:
    return [web.get("/api/tenant/{tenant_name}/events", events)]


async def events(request: web.Request) -> web.StreamResponse:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    response = web.StreamResponse(
        headers={
            **CORS,
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    await response.write(b"retry: 2000\nevent: hello\ndata: 1\n\n")
    pending: set[str] = set()
    wake = asyncio.Event()

    async def gather() -> None:
        async for topic in ctx.source.changes(tenant.name):
            pending.add(topic)
            wake.set()

    gatherer = asyncio.create_task(gather())
    try:
        async with streaming(request):
            while not gatherer.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await wake.wait()
                if not pending:
                    await response.write(b": still here\n\n")
                    continue
                await asyncio.sleep(GATHER_S)
                wake.clear()
                topics, pending = sorted(pending), set()
                await response.write(f"event: changed\ndata: {' '.join(topics)}\n\n".encode())
    except ConnectionError:
        pass
    finally:
        gatherer.cancel()
    return response
