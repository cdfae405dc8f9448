"""The application on a real port, and tokens to call it with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
from aiohttp import web

from tests.web.sample import SampleSource
from trunkline.web import Authenticators, WebSettings, make_app

SECRET = "a secret of more than thirty-two bytes, for the tests"
SECTION = {
    "driver": "HS256",
    "realm": "meadow",
    "default": "true",
    "client_id": "meadow-client",
    "issuer_id": "meadow-issuer",
    "secret": SECRET,
    "allow_authz_override": "true",
}
AUTH = Authenticators.read({"meadow": SECTION})
NO_AUTH = Authenticators([])
DEADLINE_S = 20.0


def token(**claims: Any) -> str:
    base = {"iss": "meadow-issuer", "aud": "meadow-client", "sub": "ann", "exp": time.time() + 600}
    said = {key: value for key, value in (base | claims).items() if value is not None}
    return jwt.encode(said, SECRET, algorithm="HS256")


def admin(tenant: str = "meadow") -> dict[str, str]:
    return {"Authorization": f"Bearer {token(zuul={'admin': [tenant]})}"}


class Site:
    """A running application: `await site.get(path)` gives (status, body, headers)."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self.session = url, session

    async def ask(self, method: str, path: str, **how: Any) -> tuple[int, Any, Any]:
        async with self.session.request(method, self.url + path, allow_redirects=False, **how) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.text()), answer.headers

    async def get(self, path: str, **how: Any) -> tuple[int, Any, Any]:
        return await self.ask("GET", path, **how)

    async def post(self, path: str, body: Any, **how: Any) -> tuple[int, Any, Any]:
        return await self.ask("POST", path, json=body, **how)


@asynccontextmanager
async def serving(
    source: Any, auth: Authenticators = NO_AUTH, settings: WebSettings | None = None
) -> AsyncIterator[Site]:
    runner = web.AppRunner(make_app(source, auth, settings), access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as session:
            yield Site(f"http://{host}:{port}", session)
    finally:
        await runner.cleanup()


def play(scene: Callable[[Site, SampleSource], Any], auth: Authenticators = NO_AUTH, **how: Any) -> Any:
    """Run one scene against an application over sample data."""

    async def run() -> Any:
        source = SampleSource()
        async with asyncio.timeout(DEADLINE_S * 2), serving(source, auth, **how) as site:
            return await scene(site, source)

    return asyncio.run(run())
