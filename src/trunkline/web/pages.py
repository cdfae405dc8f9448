"""The pages for people: rendered here, kept fresh by fragments that the browser fetches when a hint says so."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import jinja2
from aiohttp import web

from trunkline.web import api_history, fragments, permissions
from trunkline.web.answers import Stop, not_found
from trunkline.web.context import TOKEN_COOKIE, WebSettings, context, within
from trunkline.web.source import Json, TenantInfo
from trunkline.web.tokens import TokenError
from trunkline.web.wording import FILTERS

TEMPLATES: web.AppKey[jinja2.Environment] = web.AppKey("templates", jinja2.Environment)
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' ws: wss:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_BUILDS_ON_A_PAGE = 50
Page = Callable[[web.Request, TenantInfo], Awaitable[web.Response]]


def load_templates(settings: WebSettings) -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("trunkline.web", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    env.filters.update(FILTERS)
    env.globals.update(base=urlsplit(settings.root).path.rstrip("/"), version=settings.version)
    return env


def routes() -> list[web.RouteDef]:
    tenant = "/t/{tenant_name}"
    return [
        web.get("/", front),
        web.get(tenant, to_status),
        web.get(f"{tenant}/", to_status),
        web.get(f"{tenant}/status", _page(overview)),
        web.get(f"{tenant}/status/change/{{ref_id:.+}}", _page(change)),
        web.get(f"{tenant}/change/{{ref_id:.+}}", _page(change)),
        web.get(f"{tenant}/builds", _page(builds)),
        web.get(f"{tenant}/build/{{uuid}}", _page(build)),
        web.get(f"{tenant}/buildset/{{uuid}}", _page(buildset)),
        web.get(f"{tenant}/stream/{{uuid}}", to_build),
        web.get(f"{tenant}/pool", _page(pool)),
        web.get(f"{tenant}/fleet", _page(fleet)),
        web.get(f"{tenant}/config", _page(config)),
        web.get(f"{tenant}/config-errors", _page(config)),
        web.get(f"{tenant}/fragment/{{name}}", _page(fragment)),
        web.get(f"{tenant}/fragment/{{name}}/{{key:.+}}", _page(fragment)),
        web.post(f"{tenant}/sign-in", sign_in),
    ]


def render(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    text = request.app[TEMPLATES].get_template(template).render(now=time.time(), path=request.path, **values)
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status, headers=_HEADERS)


def _page(page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A page of a tenant, for those who may read it; others are asked to sign in."""

    async def guarded(request: web.Request) -> web.Response:
        ctx = context(request)
        try:
            tenant = await ctx.reader(request)
            return await page(request, tenant)
        except Stop as stop:
            name = request.match_info["tenant_name"]
            match stop.answer.status:
                case 401 | 403:
                    refused = stop.answer.status == 403
                    return render(request, "sign_in.html", status=stop.answer.status, tenant=name, refused=refused)
                case 404 | 422:
                    starting = stop.answer.status == 422
                    code = stop.answer.status
                    return render(request, "missing.html", status=code, tenant=None, name=name, starting=starting)
            raise

    return guarded


async def front(request: web.Request) -> web.Response:
    """The tenants; with a single one, its page at once."""
    ctx = context(request)
    names = await ctx.source.tenants()
    if len(names) == 1:
        raise Stop(_to(request, f"/t/{names[0]}/status"))
    return await index(request)


async def index(request: web.Request) -> web.Response:
    """All tenants that anybody may know of."""
    ctx = context(request)
    authorisation = await ctx.source.authorisation()
    names = [] if permissions.needs_token(authorisation.root) else sorted(await ctx.source.tenants())
    return render(request, "index.html", tenant=None, tenants=names)


def _to(request: web.Request, path: str) -> web.Response:
    base = request.app[TEMPLATES].globals["base"]
    return web.Response(status=302, headers={"Location": f"{base}{path}"})


async def to_status(request: web.Request) -> web.Response:
    tenant = await context(request).tenant(request)
    return _to(request, f"/t/{tenant.name}/status")


async def to_build(request: web.Request) -> web.Response:
    tenant = await context(request).tenant(request)
    return _to(request, f"/t/{tenant.name}/build/{request.match_info['uuid']}")


async def overview(request: web.Request, tenant: TenantInfo) -> web.Response:
    values: Json = {}
    for name in ("banner", "counts", "queues", "pool", "fleet", "builds"):
        values |= await within(fragments.FRAGMENTS[name](request, tenant.name, ""))
    return render(request, "overview.html", tenant=tenant.name, **values)


async def pool(request: web.Request, tenant: TenantInfo) -> web.Response:
    values = await within(fragments.pool(request, tenant.name, ""))
    values |= await within(fragments.nodes(request, tenant.name, ""))
    return render(request, "pool.html", tenant=tenant.name, **values)


async def fleet(request: web.Request, tenant: TenantInfo) -> web.Response:
    values = await within(fragments.fleet(request, tenant.name, ""))
    values |= await within(fragments.placement(request, tenant.name, ""))
    return render(request, "fleet.html", tenant=tenant.name, **values)


async def config(request: web.Request, tenant: TenantInfo) -> web.Response:
    ctx = context(request)
    return render(
        request,
        "config.html",
        tenant=tenant.name,
        errors=await within(ctx.source.config_errors(tenant.name)),
        pipelines=await within(ctx.source.pipelines(tenant.name)),
        projects=await within(ctx.source.projects(tenant.name)),
        jobs=await within(ctx.source.jobs(tenant.name)),
    )


async def builds(request: web.Request, tenant: TenantInfo) -> web.Response:
    used = {key: value for key, value in request.query.items() if value}
    query = api_history.read_query(
        request.clone(rel_url=request.rel_url.with_query({"limit": str(_BUILDS_ON_A_PAGE), **used})),
        api_history.BUILD_KEYS,
    )
    found = await within(context(request).source.builds(tenant.name, query))
    filters = {key: used.get(key, "") for key in ("project", "pipeline", "job_name", "change", "result")}
    return render(request, "builds.html", tenant=tenant.name, builds=found, query=query, filters=filters)


async def build(request: web.Request, tenant: TenantInfo) -> web.Response:
    values = await within(fragments.build(request, tenant.name, request.match_info["uuid"]))
    return render(request, "build.html", tenant=tenant.name, **values)


async def buildset(request: web.Request, tenant: TenantInfo) -> web.Response:
    found = await within(context(request).source.buildset(tenant.name, request.match_info["uuid"]))
    if found is None:
        raise not_found("Buildset not found")
    return render(request, "buildset.html", tenant=tenant.name, buildset=found)


async def change(request: web.Request, tenant: TenantInfo) -> web.Response:
    values = await within(fragments.change(request, tenant.name, request.match_info["ref_id"]))
    return render(request, "change.html", tenant=tenant.name, **values)


async def fragment(request: web.Request, tenant: TenantInfo) -> web.Response:
    """A piece of a page by itself, as the page has it."""
    name = request.match_info["name"]
    make = fragments.FRAGMENTS.get(name)
    if make is None:
        raise not_found(f"No fragment {name}")
    values = await within(make(request, tenant.name, request.match_info.get("key", "")))
    return render(request, f"_{name}.html", tenant=tenant.name, **values)


async def sign_in(request: web.Request) -> web.Response:
    """Keep a token in a cookie that scripts cannot read and other sites cannot send."""
    ctx = context(request)
    tenant = await ctx.tenant(request)
    form = await request.post()
    token = str(form.get("token", "")).strip().removeprefix("Bearer ")
    try:
        await ctx.auth.holder(token)
    except TokenError as error:
        return render(request, "sign_in.html", status=401, tenant=tenant.name, refused=False, problem=error.description)
    answer = _to(request, f"/t/{tenant.name}/status")
    answer.headers["Set-Cookie"] = f"{TOKEN_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict" + (
        "; Secure" if request.secure else ""
    )
    return answer
