"""The application: all routes, and what holds for each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web

from trunkline.web import (
    api_actions,
    api_config,
    api_history,
    api_pool,
    api_root,
    api_status,
    console,
    live,
    logs,
    pages,
)
from trunkline.web.answers import CORS, MAX_BODY_BYTES, Stop, preflight, refusal
from trunkline.web.context import CONTEXT, Context, WebSettings
from trunkline.web.source import WebSource
from trunkline.web.tokens import Authenticators

log = structlog.get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATIC = Path(__file__).parent / "static"


def make_app(source: WebSource, auth: Authenticators, settings: WebSettings | None = None) -> web.Application:
    """An application that answers from `source`; run it with any aiohttp runner."""
    settings = settings or WebSettings()
    app = web.Application(middlewares=[_frame], client_max_size=MAX_BODY_BYTES)
    app[CONTEXT] = Context(source, auth, settings)
    app[api_status.STATUS] = api_status.StatusCache(source, settings.status_fresh_s)
    app[live.STREAMS] = live.Streams()
    app.on_shutdown.append(live.close_streams)
    app[pages.TEMPLATES] = pages.load_templates(settings)
    for routes in (
        api_root.routes(with_auth=bool(auth)),
        api_status.routes(),
        api_history.routes(),
        api_pool.routes(),
        console.routes(),
        live.routes(),
        api_actions.routes() if auth else [],
        api_config.routes(),
        logs.routes(),
        pages.routes(),
    ):
        app.add_routes(routes)
    app.router.add_static("/static", STATIC)
    return app


@web.middleware
async def _frame(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Preflights, unrouted paths, refusals, and errors nobody expected."""
    unrouted = request.match_info.http_exception
    if request.method == "OPTIONS" and not (unrouted and unrouted.status == 404):
        allowed = unrouted.allowed_methods if isinstance(unrouted, web.HTTPMethodNotAllowed) else {"GET"}
        return preflight(allowed)
    try:
        if isinstance(unrouted, web.HTTPMethodNotAllowed):
            return refusal(405, "Another method is needed", {"Allow": ", ".join(sorted(unrouted.allowed_methods))})
        if unrouted is not None:
            # A link of the dashboard's that this version does not know: show the way in.
            if request.method in ("GET", "HEAD"):
                return await pages.index(request)
            return refusal(404, "No such route")
        return await handler(request)
    except Stop as stop:
        return stop.answer
    except web.HTTPException as error:
        if error.status == 413:
            return refusal(400, "The body is too large")
        if request.path.startswith("/api"):
            error.headers.update(CORS)
        raise
    except (ConnectionError, TimeoutError):
        raise
    except Exception:
        log.exception("web.failed", method=request.method, path=request.path)
        return refusal(500, "This is a fault of the service; it has been logged")
