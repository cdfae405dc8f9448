"""What every route works with: the source, the authenticators, plain settings; and the guard in front of a route."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog
from aiohttp import web

from trunkline.web import permissions
from trunkline.web.answers import CORS, Stop, as_json, not_found, refusal
from trunkline.web.source import TenantInfo, WebSource
from trunkline.web.tokens import Authenticators, Caller, TokenError

log = structlog.get_logger(__name__)

QUERY_TIMEOUT_S = 30.0
TOKEN_COOKIE = "trunkline_token"


class WebSettings(msgspec.Struct, frozen=True):
    """The plain values of the `[web]` section, and where stored logs lie."""

    root: str = "/"
    version: str = ""
    static_cache_expiry_s: int = 3600
    websocket_url: str | None = None
    stats_url: str | None = None
    stats_type: str = "graphite"
    stats_prefix: str | None = None
    auth_log_file_requests: bool = False
    log_directory: str | None = None  # stored logs, DIRECTORY/TENANT/BUILD/…
    status_fresh_s: float = 1.0


class Context:
    """Held by the application under CONTEXT; one for each application."""

    def __init__(self, source: WebSource, auth: Authenticators, settings: WebSettings) -> None:
        self.source = source
        self.auth = auth
        self.settings = settings

    async def tenant(self, request: web.Request) -> TenantInfo:
        """The tenant of the path: 404 if there is none, 422 while nothing is loaded."""
        name = request.match_info["tenant_name"]
        tenant = await self.source.tenant(name)
        if tenant is None:
            raise not_found(f"Unknown tenant {name}")
        if not tenant.ready:
            raise Stop(refusal(422, f"Tenant {name} is not ready yet: its configuration is still being loaded"))
        return tenant

    async def reader(self, request: web.Request) -> TenantInfo:
        """The tenant, if the caller may read it."""
        tenant = await self.tenant(request)
        await self._check(request, permissions.READ, tenant, needed=permissions.needs_token(tenant), values={})
        return tenant

    async def root_reader(self, request: web.Request) -> None:
        """Stops callers that may not read what belongs to no tenant."""
        authorisation = await self.source.authorisation()
        root = authorisation.root
        if permissions.needs_token(root):
            caller = await self._caller(request)
            if not permissions.may(permissions.READ, root, caller, authorisation, {}):
                raise Stop(web.Response(status=403, headers=CORS))

    async def administrator(
        self, request: web.Request, permission: str, values: dict[str, Any] | None = None
    ) -> tuple[TenantInfo, Caller]:
        """The tenant and the caller, if the caller holds the permission there."""
        tenant = await self.tenant(request)
        caller = await self._check(request, permission, tenant, needed=True, values=values or {})
        assert caller is not None
        return tenant, caller

    async def _check(
        self, request: web.Request, permission: str, tenant: TenantInfo, *, needed: bool, values: dict[str, Any]
    ) -> Caller | None:
        if not needed:
            return None
        caller = await self._caller(request)
        known = {**values, **_path_values(request), "tenant": tenant.name}
        if not permissions.may(permission, tenant, caller, await self.source.authorisation(), known):
            log.info("web.refused", user=caller.uid, permission=permission, tenant=tenant.name, path=request.path)
            raise Stop(web.Response(status=403, headers=CORS))
        return caller

    async def _caller(self, request: web.Request) -> Caller:
        try:
            return await self.token_holder(request)
        except TokenError as error:
            raise Stop(token_refusal(error)) from None

    async def token_holder(self, request: web.Request) -> Caller:
        """Raises TokenError. Pages in a browser carry the token in a cookie, which counts for reading alone."""
        header = request.headers.get("Authorization")
        cookie = request.cookies.get(TOKEN_COOKIE)
        if header is None and cookie and request.method in ("GET", "HEAD"):
            header = f"Bearer {cookie}"
        return await self.auth.caller(header)


def _path_values(request: web.Request) -> dict[str, Any]:
    return {key.removesuffix("_name"): value for key, value in request.match_info.items()}


def token_refusal(error: TokenError) -> web.Response:
    said = f'Bearer realm="{error.realm}" error="{error.error}" error_description="{error.description}"'
    said = said.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace").decode("latin-1")
    return as_json(
        {"description": error.description, "error": error.error, "realm": error.realm},
        status=error.status,
        headers={"WWW-Authenticate": said},
    )


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)


def context(request: web.Request) -> Context:
    return request.app[CONTEXT]


async def within(awaitable: Any) -> Any:
    """An answer of the source, cut after QUERY_TIMEOUT_S."""
    try:
        async with asyncio.timeout(QUERY_TIMEOUT_S):
            return await awaitable
    except TimeoutError:
        raise Stop(refusal(503, f"The query took longer than {QUERY_TIMEOUT_S:.0f} s")) from None
