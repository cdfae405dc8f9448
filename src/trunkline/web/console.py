"""The live console of a build over a websocket: what the executor's finger port says, frame by frame.

The client names the build in one text frame; the service connects to the executor that runs it, sends the build's id
and copies bytes until the end, cut at arbitrary places but never inside a character.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator

import msgspec
from aiohttp import WSMsgType, web

from trunkline.web import permissions
from trunkline.web.answers import Stop, check_query, refusal
from trunkline.web.context import TOKEN_COOKIE, Context, context, log
from trunkline.web.live import streaming
from trunkline.web.source import Json, TenantInfo
from trunkline.web.tokens import TokenError

PING_EVERY_S = 20.0
FIRST_FRAME_WITHIN_S = 30.0
CONNECT_WITHIN_S = 10.0
CHUNK_BYTES = 1024 * 16
_AUTH, _ERROR = 4000, 4011


class Closed(Exception):
    """Ends a stream with a close code and its reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def routes() -> list[web.RouteDef]:
    return [web.get("/api/tenant/{tenant_name}/console-stream", console_stream)]


async def console_stream(request: web.Request) -> web.StreamResponse:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.tenant(request)
    socket = web.WebSocketResponse(heartbeat=PING_EVERY_S, max_msg_size=1 << 16)
    if not socket.can_prepare(request).ok:
        raise Stop(refusal(400, "This route speaks websocket"))
    await socket.prepare(request)
    try:
        asked = await _first_frame(socket)
        await _check(ctx, tenant, asked, request.cookies.get(TOKEN_COOKIE))
        async with streaming(request):
            await _copy(ctx, tenant, str(asked["uuid"]), socket)
        code, reason = 1000, "No more data"
    except Closed as closed:
        code, reason = closed.code, closed.reason
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("web.console.failed", tenant=tenant.name)
        code, reason = _ERROR, "Unknown error"
    await socket.close(code=code, message=reason.encode())
    return socket


async def _first_frame(socket: web.WebSocketResponse) -> Json:
    try:
        frame = await socket.receive(timeout=FIRST_FRAME_WITHIN_S)
    except TimeoutError:
        raise Closed(_AUTH, "'uuid' missing from request payload") from None
    if frame.type != WSMsgType.TEXT:
        raise Closed(1000, "")
    try:
        asked = msgspec.json.decode(frame.data)
    except msgspec.DecodeError:
        raise Closed(_AUTH, "The request is not JSON") from None
    if not isinstance(asked, dict):
        raise Closed(_AUTH, "'uuid' missing from request payload")
    for key in ("uuid", "logfile"):
        if key not in asked:
            raise Closed(_AUTH, f"'{key}' missing from request payload")
    return asked


async def _check(ctx: Context, tenant: TenantInfo, asked: Json, cookie: str | None) -> None:
    """The token of the request; a page of ours has it in a cookie that other sites cannot send."""
    if not permissions.needs_token(tenant):
        return
    try:
        token = asked.get("token") or cookie
        caller = await ctx.auth.caller(f"Bearer {token}" if token else None)
    except TokenError as error:
        raise Closed(_AUTH, error.error) from None
    if not permissions.may(permissions.READ, tenant, caller, await ctx.source.authorisation(), {"tenant": tenant.name}):
        raise Closed(_AUTH, "Authorization error")


async def _copy(ctx: Context, tenant: TenantInfo, uuid: str, socket: web.WebSocketResponse) -> None:
    console = await ctx.source.build_console(tenant.name, uuid)
    if console is None or console.state == "complete":
        raise Closed(_ERROR, "Build not found")
    if console.executor is None:
        raise Closed(_ERROR, "Build did not start yet")
    listener = asyncio.create_task(_until_closed(socket))
    try:
        async for text in executor_lines(console.executor, uuid):
            if listener.done():
                raise Closed(1000, "")
            await socket.send_str(text)
    except (OSError, TimeoutError) as error:
        log.info("web.console.unreachable", build=uuid, executor=console.executor, reason=str(error))
        raise Closed(_ERROR, "Error with log streaming") from None
    finally:
        listener.cancel()


async def _until_closed(socket: web.WebSocketResponse) -> None:
    """Read and ignore further requests, so that pings are answered and a close is seen."""
    async for _ in socket:
        pass


async def executor_lines(address: str, uuid: str) -> AsyncIterator[str]:
    """The console of a build, as text pieces, from an executor's finger port until it closes."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(CONNECT_WITHIN_S):
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(f"{uuid}\n".encode())
        await writer.drain()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while chunk := await reader.read(CHUNK_BYTES):
            if text := decoder.decode(chunk):
                yield text
        if text := decoder.decode(b"", True):
            yield text
    finally:
        writer.close()
