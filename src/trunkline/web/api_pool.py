"""Routes about servers: nodes, requests, regions, autoholds; and where applications run."""

from __future__ import annotations

from aiohttp import web

from trunkline.web.answers import as_json, bad_request, body_of, check_query, not_found, nothing
from trunkline.web.context import context, log, within

_NODE_STATES = ("hold", "used", "outdated")
COMMENT_MAX = 1024


def routes() -> list[web.RouteDef]:
    base = "/api/tenant/{tenant_name}"
    return [
        web.get(f"{base}/nodes", nodes),
        web.put(f"{base}/nodes/{{node_id}}", set_node),
        web.get(f"{base}/nodeset-requests", nodeset_requests),
        web.delete(f"{base}/nodeset-requests/{{request_id}}", delete_nodeset_request),
        web.get(f"{base}/regions", regions),
        web.get(f"{base}/autohold", autoholds),
        web.get(f"{base}/autohold/{{request_id}}", autohold),
        web.delete(f"{base}/autohold/{{request_id}}", delete_autohold),
        web.get(f"{base}/applications", applications),
        web.get(f"{base}/application/{{application}}/endpoints", endpoints),
    ]


async def nodes(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.nodes(tenant.name)))


async def set_node(request: web.Request) -> web.Response:
    ctx = context(request)
    node_id = request.match_info["node_id"]
    tenant, caller = await ctx.administrator(request, "modify-node")
    body = await body_of(request)
    state, comment = body.get("state"), body.get("comment")
    if state not in _NODE_STATES:
        raise bad_request(f"state must be one of {', '.join(_NODE_STATES)}")
    if comment is not None and not isinstance(comment, str):
        raise bad_request("comment must be a text")
    change = {"state": state}
    if state == "hold" and comment is not None:
        change["comment"] = comment[:COMMENT_MAX]
    if not await within(ctx.source.set_node(tenant.name, node_id, change)):
        raise not_found(f"Unknown node {node_id}")
    log.info("web.node.set", user=caller.uid, tenant=tenant.name, node=node_id, **change)
    return as_json(None, status=201)


async def nodeset_requests(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.nodeset_requests(tenant.name)))


async def delete_nodeset_request(request: web.Request) -> web.Response:
    ctx = context(request)
    tenant, caller = await ctx.administrator(request, "modify-nodeset-request")
    request_id = request.match_info["request_id"]
    if not await within(ctx.source.delete_nodeset_request(tenant.name, request_id)):
        raise not_found(f"Unknown request {request_id}")
    log.info("web.request.deleted", user=caller.uid, tenant=tenant.name, request=request_id)
    return nothing()


async def regions(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.regions(tenant.name)))


async def autoholds(request: web.Request) -> web.Response:
    check_query(request, "project")
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.autoholds(tenant.name, request.query.get("project"))))


async def autohold(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    found = await within(ctx.source.autohold(tenant.name, request.match_info["request_id"]))
    if found is None:
        raise not_found("Hold request not found")
    return as_json(found)


async def delete_autohold(request: web.Request) -> web.Response:
    ctx = context(request)
    request_id = request.match_info["request_id"]
    tenant, caller = await ctx.administrator(request, "autohold")
    if not await within(ctx.source.delete_autohold(tenant.name, request_id)):
        raise not_found("Hold request not found")
    log.info("web.autohold.deleted", user=caller.uid, tenant=tenant.name, autohold=request_id)
    return nothing()


async def applications(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.applications(tenant.name)))


async def endpoints(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    found = await within(ctx.source.endpoints(tenant.name, request.match_info["application"]))
    if found is None:
        raise not_found("Unknown application")
    return as_json(found, headers={"Cache-Control": "public, max-age=1"})
