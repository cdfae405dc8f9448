"""The pieces of pages that stay fresh: for each, the values that its template needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from trunkline.web import geography, view
from trunkline.web.answers import not_found
from trunkline.web.api_status import STATUS, items_of
from trunkline.web.context import context
from trunkline.web.source import BuildQuery, Json

Fragment = Callable[[web.Request, str, str], Awaitable[Json]]

RECENT_BUILDS = 12
IDLE_NODE_STATES = ("ready", "in-use", "building", "requested", "used", "hold", "failed", "deleting")


async def queues(request: web.Request, tenant: str, key: str) -> Json:
    kept = await request.app[STATUS].get(tenant)
    return {"pipelines": view.pipelines_of(kept.status, time.time())}


async def counts(request: web.Request, tenant: str, key: str) -> Json:
    source = context(request).source
    kept, regions, applications = await asyncio.gather(
        request.app[STATUS].get(tenant), source.regions(tenant), source.applications(tenant)
    )
    by_state = _sum_nodes(regions)
    return {
        "counts": view.counts_of(kept.status),
        "nodes_in_use": by_state.get("in-use", 0),
        "nodes_all": sum(by_state.values()),
        "regions_healthy": sum(1 for region in regions if region["state"] == "healthy"),
        "regions_all": len(regions),
        "instances_healthy": sum(app["healthy"] for app in applications),
        "instances_wanted": sum(app["wanted"] for app in applications),
    }


def _sum_nodes(regions: list[Json]) -> dict[str, int]:
    out: dict[str, int] = {}
    for region in regions:
        for state, number in (region.get("nodes") or {}).items():
            out[state] = out.get(state, 0) + number
    return out


async def banner(request: web.Request, tenant: str, key: str) -> Json:
    source = context(request).source
    kept = await request.app[STATUS].get(tenant)
    errors = await source.config_errors(tenant)
    return {
        "errors": [error for error in errors if error.get("severity") == "error"],
        "warnings": [error for error in errors if error.get("severity") != "error"],
        "state": kept.status.get("state") or {},
    }


async def pool(request: web.Request, tenant: str, key: str) -> Json:
    regions = await context(request).source.regions(tenant)
    return {
        "regions": regions,
        "region_by_key": {_region_key(region): region for region in regions},
        "node_states": _sum_nodes(regions),
        "maps": geography.draw(
            (_region_key(region), region["lat"], region["lon"]) for region in regions if region.get("lat") is not None
        ),
    }


def _region_key(region: Json) -> str:
    return f"{region['cloud']}/{region['region']}"


async def nodes(request: web.Request, tenant: str, key: str) -> Json:
    source = context(request).source
    found, requests, holds = await asyncio.gather(
        source.nodes(tenant), source.nodeset_requests(tenant), source.autoholds(tenant, None)
    )
    order = {state: index for index, state in enumerate(IDLE_NODE_STATES)}
    found = sorted(found, key=lambda node: (order.get(node["state"], 99), node.get("provider") or "", node["id"]))
    return {"nodes": found, "requests": requests, "autoholds": holds}


async def fleet(request: web.Request, tenant: str, key: str) -> Json:
    return {"applications": await context(request).source.applications(tenant)}


async def placement(request: web.Request, tenant: str, key: str) -> Json:
    """Where instances are, all applications together."""
    places: dict[str, Json] = {}
    for app in await context(request).source.applications(tenant):
        for instance in app["instances"]:
            if instance.get("lat") is None:
                continue
            where = f"{instance['city'] or instance['region']}/{instance['provider']}"
            place = places.setdefault(where, {**instance, "apps": set(), "healthy": 0, "total": 0})
            place["apps"].add(app["name"])
            place["healthy"] += bool(instance["healthy"])
            place["total"] += 1
    for place in places.values():
        place["state"] = "healthy" if place["healthy"] == place["total"] else "degraded" if place["healthy"] else "down"
    return {
        "places": places,
        "maps": geography.draw((where, place["lat"], place["lon"]) for where, place in places.items()),
    }


async def builds(request: web.Request, tenant: str, key: str) -> Json:
    return {"recent": await context(request).source.builds(tenant, BuildQuery(limit=RECENT_BUILDS))}


async def build(request: web.Request, tenant: str, key: str) -> Json:
    ctx = context(request)
    found, console = await asyncio.gather(ctx.source.build(tenant, key), ctx.source.build_console(tenant, key))
    if found is None:
        raise not_found("Build not found")
    state = console.state if console else "complete"
    base = ctx.settings.root.rstrip("/")
    log_url = found.get("log_url") or ""
    local = log_url.startswith("/") or bool(base and log_url.startswith(base + "/"))
    if local and base and log_url.startswith(base + "/"):
        log_url = _path_of(log_url)
    return {"build": found, "state": state, "log_is_local": local, "log_url": log_url}


def _path_of(url: str) -> str:
    """The path of a URL of this site: the page may be read under another name of it."""
    rest = url.split("://", 1)[-1]
    return "/" + rest.partition("/")[2] if "://" in url else url


async def change(request: web.Request, tenant: str, key: str) -> Json:
    source = context(request).source
    number, _, patchset = key.partition(",")
    wanted: dict[str, Any] = {}
    if number.isdigit():
        wanted = {"change": (int(number),)}
        if patchset:
            wanted["patchset"] = (patchset,)
    else:
        wanted = {"newrev": (key,)}
    kept, reasons, history = await asyncio.gather(
        request.app[STATUS].get(tenant),
        source.explain(tenant, key),
        source.buildsets(tenant, BuildQuery(**wanted, limit=30)),
    )
    now = time.time()
    held = frozenset(item["id"] for item in items_of(kept.status, key))
    places = [
        (pipeline, queue, item)
        for pipeline in view.pipelines_of(kept.status, now, held)
        for queue in pipeline.queues
        for item in queue.items
    ]
    return {"ref_id": key, "places": places, "reasons": reasons, "history": history}


FRAGMENTS: dict[str, Fragment] = {
    "queues": queues,
    "counts": counts,
    "banner": banner,
    "pool": pool,
    "nodes": nodes,
    "fleet": fleet,
    "placement": placement,
    "builds": builds,
    "build": build,
    "change": change,
}
