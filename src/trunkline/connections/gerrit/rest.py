"""A client of Gerrit's REST API."""

import asyncio
import base64
import json
import random
import time
from types import TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp
import structlog
from yarl import URL

from trunkline.connections.gerrit.settings import GerritSettings
from trunkline.connections.model import ConnectionFailed

log = structlog.get_logger()

_PREFIX = ")]}'"
_TRIES = 3
_TIMEOUT_S = 60.0

Query = list[tuple[str, str]]


class RestRefusal(Exception):
    """The server understood and said no: a 4xx status and its text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


def segment(value: str | int) -> str:
    """One path segment: project names hold slashes, which must be encoded."""
    return quote(str(value), safe="")


class RestClient:
    """Asks BASEURL/a/… as the configured user. Opened on first use, inside the running loop."""

    def __init__(self, name: str, settings: GerritSettings) -> None:
        self._name = name
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            settings = self._settings
            assert settings.password is not None
            headers = {"User-Agent": "trunkline"}
            middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()
            if settings.auth_type == "digest":
                middlewares = (aiohttp.DigestAuthMiddleware(settings.user, settings.password),)
            else:
                login = base64.b64encode(f"{settings.user}:{settings.password}".encode()).decode()
                headers["Authorization"] = f"Basic {login}"
            self._session = aiohttp.ClientSession(
                middlewares=middlewares,
                connector=aiohttp.TCPConnector(ssl=settings.verify_ssl, limit=16),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                headers=headers,
            )
        return self._session

    async def get(self, path: str, query: Query | None = None) -> Any:
        return await self._ask("GET", path, query=query)

    async def post(self, path: str, body: Any) -> Any:
        return await self._ask("POST", path, body=body)

    async def _ask(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Any:
        """The decoded answer. Server errors and broken connections are tried again; refusals are raised at once."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._ask_once(method, path, query, body)
            except (aiohttp.ClientError, TimeoutError, ConnectionFailed) as error:
                log.warning(
                    "gerrit.rest.failed",
                    connection=self._name,
                    method=method,
                    path=path,
                    attempt=attempt,
                    error=str(error),
                )
                if attempt == _TRIES:
                    raise ConnectionFailed(f"{method} {path} on {self._settings.baseurl}: {error}") from error
            await asyncio.sleep(random.uniform(0.5, 1.0) * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    async def _ask_once(self, method: str, path: str, query: Query | None, body: Any) -> Any:
        url = URL(f"{self._settings.baseurl}/a/{path}", encoded=True)
        if query:
            url = url.extend_query(query)
        began = time.monotonic()
        async with self._opened().request(method, url, json=body) as answer:
            text = await answer.text()
        log.debug(
            "gerrit.rest",
            connection=self._name,
            method=method,
            path=path,
            status=answer.status,
            took_s=round(time.monotonic() - began, 4),
        )
        if answer.status >= 500:
            raise ConnectionFailed(f"status {answer.status}: {text.strip()[:200]}")
        if answer.status >= 400:
            raise RestRefusal(answer.status, text.strip())
        if not text.startswith(_PREFIX):
            return text or None
        try:
            return json.loads(text[len(_PREFIX) :])
        except ValueError as error:
            raise ConnectionFailed(f"not JSON: {error}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> "RestClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
