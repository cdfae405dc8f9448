"""The status of a tenant: every pipeline, queue, item and job, at most a second old."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import msgspec
from aiohttp import web

from trunkline.web.answers import CORS, as_json, check_query
from trunkline.web.context import context, within
from trunkline.web.source import Json, WebSource


class Kept(msgspec.Struct, frozen=True):
    """An answer, and when it was made."""

    status: Json
    body: bytes
    made: float  # monotonic, for its age
    modified: float  # epoch, for the header


class StatusCache:
    """Makes the status of a tenant at most once in `fresh_s`, however many ask at the same time."""

    def __init__(self, source: WebSource, fresh_s: float) -> None:
        self._source = source
        self._fresh_s = fresh_s
        self._kept: dict[str, Kept] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, tenant: str) -> Kept:
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            kept = self._kept.get(tenant)
            if kept is None or time.monotonic() - kept.made >= self._fresh_s:
                started = time.monotonic()
                status = await self._source.status(tenant)
                kept = Kept(status, msgspec.json.encode(status), started, time.time())
                self._kept[tenant] = kept
            return kept


STATUS: web.AppKey[StatusCache] = web.AppKey("status", StatusCache)


def routes() -> list[web.RouteDef]:
    base = "/api/tenant/{tenant_name}/status"
    return [
        web.get(base, status),
        web.get(f"{base}/change/{{ref_id:.+}}", status_change),
        web.get("/api/tenant/{tenant_name}/explain/{change:.+}", explain),
    ]


async def status(request: web.Request) -> web.Response:
    check_query(request)
    tenant = await context(request).reader(request)
    kept = await within(request.app[STATUS].get(tenant.name))
    return web.Response(
        body=kept.body,
        content_type="application/json",
        charset="utf-8",
        headers={
            **CORS,
            "Cache-Control": "public, max-age=1",
            "Last-Modified": formatdate(kept.modified, usegmt=True),
        },
    )


async def status_change(request: web.Request) -> web.Response:
    check_query(request)
    tenant = await context(request).reader(request)
    kept = await within(request.app[STATUS].get(tenant.name))
    return as_json(items_of(kept.status, request.match_info["ref_id"]), headers={"Cache-Control": "public, max-age=1"})


async def explain(request: web.Request) -> web.Response:
    """Ours: why a change is where it is, and what happened to it."""
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.explain(tenant.name, request.match_info["change"])))


def items_of(status: Json, ref_id: str) -> list[Json]:
    """Every item that holds the ref, flat."""
    return [
        item
        for pipeline in status["pipelines"]
        for queue in pipeline["change_queues"]
        for run in queue["heads"]
        for item in run
        if any(ref["id"] == ref_id for ref in item["refs"])
    ]
