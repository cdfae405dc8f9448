"""The web service: the REST API, console streams and the live page over one port."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import structlog
from aiohttp import web

from trunkline import __version__
from trunkline.services.layouts import Layouts
from trunkline.services.process import Process
from trunkline.services.settings import Settings, SettingsError
from trunkline.services.sources import Sources
from trunkline.services.web_source import StoreSource
from trunkline.web import Authenticators, WebSettings, make_app

log = structlog.get_logger()

CLOSE_WITHIN_S = 3.0
FETCH_TIMEOUT_S = 10.0


def web_settings(settings: Settings) -> WebSettings:
    return WebSettings(
        root=settings.web_root,
        version=__version__,
        static_cache_expiry_s=int(settings.number("web", "static_cache_expiry", 3600)),
        websocket_url=settings.get("web", "websocket_url") or None,
        stats_url=settings.get("web", "stats_url") or None,
        stats_type=settings.get("web", "stats_type", "graphite"),
        stats_prefix=settings.get("statsd", "prefix") or None,
        auth_log_file_requests=settings.flag("web", "auth_log_file_requests", False),
        log_directory=str(settings.log_dir),
    )


async def main(process: Process) -> None:
    settings = process.settings
    sources = Sources.open(settings)
    source = StoreSource(process.db, settings, sources, Layouts(sources.specs))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)) as session:

        async def fetch(url: str) -> Any:
            async with session.get(url) as answer:
                answer.raise_for_status()
                return await answer.json(content_type=None)

        try:
            auth = Authenticators.read(settings.named("auth"), fetch)
        except (ValueError, OSError) as problem:
            raise SettingsError(f"{settings.path}: {problem}") from problem
        runner = web.AppRunner(
            make_app(source, auth, web_settings(settings)), access_log=None, shutdown_timeout=CLOSE_WITHIN_S
        )
        await runner.setup()
        following = asyncio.create_task(source.follow())
        try:
            site = web.TCPSite(runner, settings.get("web", "listen_address", "127.0.0.1"), settings.web_port)
            await site.start()
            log.info("web.listening", url=settings.web_root, port=settings.web_port)
            await process.stop.wait()
        finally:
            following.cancel()
            await runner.cleanup()
            await sources.close()
