"""Routes that belong to the installation: index, info, tenants, connections, components, authorizations."""

from __future__ import annotations

from aiohttp import web

from trunkline.web import permissions
from trunkline.web.answers import Stop, as_json, check_query
from trunkline.web.context import Context, context, token_refusal
from trunkline.web.source import ApiRoot, Json, TenantInfo
from trunkline.web.tokens import TokenError

# Names that tools look up in the index, and where they lead.
INDEX = {
    "info": "/api/info",
    "connections": "/api/connections",
    "components": "/api/components",
    "tenants": "/api/tenants",
    "tenant_info": "/api/tenant/{tenant}/info",
    "status": "/api/tenant/{tenant}/status",
    "status_change": "/api/tenant/{tenant}/status/change/{change}",
    "tenant-status": "/api/tenant/{tenant}/tenant-status",
    "jobs": "/api/tenant/{tenant}/jobs",
    "job": "/api/tenant/{tenant}/job/{job_name}",
    "projects": "/api/tenant/{tenant}/projects",
    "project": "/api/tenant/{tenant}/project/{project}",
    "project_freeze_jobs": "/api/tenant/{tenant}/pipeline/{pipeline}/project/{project}/branch/{branch}/freeze-jobs",
    "project_freeze_job": "/api/tenant/{tenant}/pipeline/{pipeline}/project/{project}/branch/{branch}/freeze-job/{job}",
    "pipelines": "/api/tenant/{tenant}/pipelines",
    "semaphores": "/api/tenant/{tenant}/semaphores",
    "labels": "/api/tenant/{tenant}/labels",
    "flavors": "/api/tenant/{tenant}/flavors",
    "images": "/api/tenant/{tenant}/images",
    "providers": "/api/tenant/{tenant}/providers",
    "nodes": "/api/tenant/{tenant}/nodes",
    "nodeset-requests": "/api/tenant/{tenant}/nodeset-requests",
    "regions": "/api/tenant/{tenant}/regions",
    "applications": "/api/tenant/{tenant}/applications",
    "endpoints": "/api/tenant/{tenant}/application/{application}/endpoints",
    "key": "/api/tenant/{tenant}/key/{project}.pub",
    "project_ssh_key": "/api/tenant/{tenant}/project-ssh-key/{project}.pub",
    "tenant_ssh_key": "/api/tenant/{tenant}/tenant-ssh-key/ssh.pub",
    "console_stream": "/api/tenant/{tenant}/console-stream",
    "badge": "/api/tenant/{tenant}/badge",
    "build": "/api/tenant/{tenant}/build/{uuid}",
    "builds": "/api/tenant/{tenant}/builds",
    "build_times": "/api/tenant/{tenant}/build-times",
    "buildset": "/api/tenant/{tenant}/buildset/{uuid}",
    "buildsets": "/api/tenant/{tenant}/buildsets",
    "config_errors": "/api/tenant/{tenant}/config-errors",
    "system_events": "/api/tenant/{tenant}/system-events",
    "tenant_authorizations": "/api/tenant/{tenant}/authorizations",
    "autohold": "/api/tenant/{tenant}/project/{project}/autohold",
    "autohold_list": "/api/tenant/{tenant}/autohold",
    "enqueue": "/api/tenant/{tenant}/project/{project}/enqueue",
    "dequeue": "/api/tenant/{tenant}/project/{project}/dequeue",
    "promote": "/api/tenant/{tenant}/promote",
}


def routes(with_auth: bool) -> list[web.RouteDef]:
    out = [
        web.get("/api", index),
        web.get("/api/", index),
        web.get("/api/info", root_info),
        web.get("/api/connections", connections),
        web.get("/api/components", components),
        web.get("/api/tenants", tenants),
        web.get("/api/tenant/{tenant_name}/info", tenant_info),
    ]
    if with_auth:
        out += [
            web.get("/api/authorizations", root_authorizations),
            web.get("/api/tenant/{tenant_name}/authorizations", tenant_authorizations),
        ]
    return out


async def index(request: web.Request) -> web.Response:
    await context(request).root_reader(request)
    return as_json(INDEX)


async def root_info(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    authorisation = await ctx.source.authorisation()
    return _info(ctx, authorisation.root)


async def tenant_info(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    return _info(ctx, await ctx.tenant(request))


def _info(ctx: Context, scope: TenantInfo | ApiRoot) -> web.Response:
    auth: Json = {
        "realms": {section.realm: section.capability() for section in ctx.auth.sections},
        "default_realm": scope.authentication_realm or ctx.auth.default_realm,
        "read_protected": permissions.needs_token(scope),
        "auth_log_file_requests": ctx.settings.auth_log_file_requests,
    }
    settings = ctx.settings
    info: Json = {
        "capabilities": {"job_history": True, "auth": auth},
        "stats": {"prefix": settings.stats_prefix, "type": settings.stats_type, "url": settings.stats_url},
        "websocket_url": settings.websocket_url,
    }
    if isinstance(scope, TenantInfo):
        auth["niz"] = scope.launcher_providers
        info["tenant"] = scope.name
    return as_json({"info": info}, headers={"Cache-Control": f"public, max-age={settings.static_cache_expiry_s}"})


async def connections(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    await ctx.root_reader(request)
    return as_json(await ctx.source.connections())


async def components(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    await ctx.root_reader(request)
    return as_json(await ctx.source.components())


async def tenants(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    await ctx.root_reader(request)
    names = sorted(await ctx.source.tenants())
    return as_json([{"name": name} for name in names], headers={"Cache-Control": "public, max-age=1"})


async def root_authorizations(request: web.Request) -> web.Response:
    ctx = context(request)
    authorisation = await ctx.source.authorisation()
    return await _authorizations(request, ctx, authorisation.root)


async def tenant_authorizations(request: web.Request) -> web.Response:
    ctx = context(request)
    return await _authorizations(request, ctx, await ctx.tenant(request))


async def _authorizations(request: web.Request, ctx: Context, scope: TenantInfo | ApiRoot) -> web.Response:
    try:
        caller = await ctx.token_holder(request)
    except TokenError as error:
        raise Stop(token_refusal(error)) from None
    return as_json({"zuul": permissions.granted(scope, caller, await ctx.source.authorisation())})
