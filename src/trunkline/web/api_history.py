"""Routes that read what was built: builds, buildsets, build times, the badge, system events."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from trunkline.web.answers import as_json, as_text, bad_request, boolean, check_query, integer, not_found, page
from trunkline.web.badge import badge_svg
from trunkline.web.context import context, within
from trunkline.web.source import BuildQuery

_TEXTS = (
    "project",
    "pipeline",
    "branch",
    "patchset",
    "ref",
    "newrev",
    "uuid",
    "queue_item_uuid",
    "result",
    "exclude_result",
)
_PAGE = ("limit", "skip", "idx_min", "idx_max")
BUILDSET_KEYS = (*_TEXTS, "change", "complete", *_PAGE)
BUILD_KEYS = (*BUILDSET_KEYS, "job_name", "voting", "nodeset", "final", "held", "node_name")
TIMES_KEYS = (
    "project",
    "pipeline",
    "branch",
    "ref",
    "job_name",
    "final",
    "start_time",
    "end_time",
    "exclude_result",
    "limit",
    "skip",
)


def routes() -> list[web.RouteDef]:
    base = "/api/tenant/{tenant_name}"
    return [
        web.get(f"{base}/builds", builds),
        web.get(f"{base}/build/{{uuid}}", build),
        web.get(f"{base}/buildsets", buildsets),
        web.get(f"{base}/buildset/{{uuid}}", buildset),
        web.get(f"{base}/build-times", build_times),
        web.get(f"{base}/badge", badge),
        web.get(f"{base}/system-events", system_events),
    ]


def read_query(request: web.Request, keys: tuple[str, ...]) -> BuildQuery:
    """The filters of a request; keys outside `keys` are refused."""
    check_query(request, *keys)
    values: dict[str, Any] = {}
    for key in (*_TEXTS, "job_name", "nodeset"):
        if key in keys and key in request.query:
            values[key] = tuple(request.query.getall(key))
    if "change" in keys and "change" in request.query:
        try:
            values["change"] = tuple(int(value) for value in request.query.getall("change"))
        except ValueError:
            raise bad_request("change must be an integer") from None
    for key in ("voting", "final", "held", "complete"):
        if key in keys and key in request.query:
            values[key] = boolean(request.query[key], key)
    for key in ("start_time", "end_time"):
        if key in keys and key in request.query:
            values[key] = request.query[key]
    limit, skip = page(request)
    return BuildQuery(
        **values, limit=limit, skip=skip, idx_min=integer(request, "idx_min"), idx_max=integer(request, "idx_max")
    )


async def builds(request: web.Request) -> web.Response:
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.builds(tenant.name, read_query(request, BUILD_KEYS))))


async def build(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    found = await within(ctx.source.build(tenant.name, request.match_info["uuid"]))
    if found is None:
        raise not_found("Build not found")
    return as_json(found)


async def buildsets(request: web.Request) -> web.Response:
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.buildsets(tenant.name, read_query(request, BUILDSET_KEYS))))


async def buildset(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    found = await within(ctx.source.buildset(tenant.name, request.match_info["uuid"]))
    if found is None:
        raise not_found("Buildset not found")
    return as_json(found)


async def build_times(request: web.Request) -> web.Response:
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.build_times(tenant.name, read_query(request, TIMES_KEYS))))


async def badge(request: web.Request) -> web.Response:
    ctx = context(request)
    tenant = await ctx.reader(request)
    query = read_query(request, ("project", "pipeline", "branch"))
    query = BuildQuery(project=query.project, pipeline=query.pipeline, branch=query.branch, complete=True, limit=1)
    newest = await within(ctx.source.buildsets(tenant.name, query))
    if not newest:
        raise not_found("No buildset found")
    passing = newest[0].get("result") == "SUCCESS"
    return as_text(badge_svg(passing), content_type="image/svg+xml", headers={"Cache-Control": "no-cache"})


async def system_events(request: web.Request) -> web.Response:
    check_query(request, "event_type", *_PAGE)
    ctx = context(request)
    tenant = await ctx.reader(request)
    limit, skip = page(request)
    query = {
        "event_type": request.query.getall("event_type", []),
        "limit": limit,
        "skip": skip,
        "idx_min": integer(request, "idx_min"),
        "idx_max": integer(request, "idx_max"),
    }
    return as_json(await within(ctx.source.system_events(tenant.name, query)))
