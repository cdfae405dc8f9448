"""The HTTP side: who asks, and which of REST, git and pages answers."""

import asyncio
import base64
import binascii
import gzip
import json
from typing import Any
from urllib.parse import unquote

import structlog
from aiohttp import web

from trunkline.dev.review import pages, rest
from trunkline.dev.review.git_serving import SERVICES, PushDesk, project_name, service
from trunkline.dev.review.model import Account, Refused
from trunkline.dev.review.repo import GitFailed
from trunkline.dev.review.site import Site
from trunkline.dev.review.sshd import COMMIT_HOOK

log = structlog.get_logger()

_PREFIX = ")]}'\n"
_NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}
_REST_ROOTS = {"accounts", "changes", "config", "groups", "projects", "plugins"}
_LARGEST_BODY = 1 << 30


class HttpServer:
    def __init__(self, site: Site, desk: PushDesk) -> None:
        self._site = site
        self._desk = desk
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        must_log_in = path.startswith("/a/")
        path = path[2:] if must_log_in else path
        try:
            account = _login(self._site, request)
        except PermissionError:
            return _unauthorized()
        if must_log_in and account is None:
            return _unauthorized()
        try:
            return await self._routed(request, path, account)
        except Refused as refused:
            return web.Response(status=refused.status, text=refused.text.rstrip("\n") + "\n")
        except GitFailed as failed:
            log.error("review.http.failed", path=path, error=str(failed))
            return web.Response(status=500, text="Internal server error\n")

    async def _routed(self, request: web.Request, path: str, account: Account | None) -> web.StreamResponse:
        for name in (*SERVICES, "info/refs"):
            if path.endswith(f"/{name}"):
                return await self._git(request, unquote(path.removesuffix(f"/{name}")), name, account)
        root = path.strip("/").partition("/")[0]
        if root in _REST_ROOTS:
            return await self._rest(request, path, account)
        if path == "/tools/hooks/commit-msg":
            return web.Response(body=COMMIT_HOOK, content_type="application/octet-stream")
        page = await pages.page(self._site, unquote(path), dict(request.query), account)
        if page is not None:
            return web.Response(text=page, content_type="text/html")
        return web.Response(status=404, text="Not Found", charset="iso-8859-1")

    async def _rest(self, request: web.Request, path: str, account: Account | None) -> web.Response:
        asked = rest.Asked(
            site=self._site,
            account=account,
            method=request.method,
            path=path,
            query=[(key, value) for key, value in request.query.items()],
            body=await _body(request),
        )
        if request.method == "GET":
            answer = await rest.answer(asked)
        else:
            async with self._site.lock:
                answer = await rest.answer(asked)
        if isinstance(answer, rest.Raw):
            return web.Response(status=answer.status, body=answer.data, content_type="text/plain", charset="iso-8859-1")
        if answer.status == 204:
            return web.Response(status=204)
        text = _PREFIX + json.dumps(answer.json, ensure_ascii=False, separators=(",", ":")) + "\n"
        response = web.Response(status=answer.status, text=text, content_type="application/json")
        response.enable_compression()
        return response

    # ------------------------------------------------------------------ git

    async def _git(self, request: web.Request, path: str, name: str, account: Account | None) -> web.StreamResponse:
        is_advertisement = name == "info/refs"
        wanted = request.query.get("service", "") if is_advertisement else name
        if wanted not in SERVICES:
            return web.Response(status=406, text="Not Acceptable", headers=_NO_CACHE)
        if wanted == "git-receive-pack" and account is None:
            return _unauthorized()
        project = project_name(path)
        kind = "advertisement" if is_advertisement else "result"
        headers = _NO_CACHE | {"Content-Type": f"application/x-{wanted}-{kind}"}
        if project not in self._site.projects:
            lines = _packet(f"# service={wanted}\n") + b"0000" + _packet(f"ERR {project} unavailable")
            return web.Response(status=403, body=lines, headers=headers)
        protocol = request.headers.get("Git-Protocol", "")
        arguments = ["--stateless-rpc", "--http-backend-info-refs"] if is_advertisement else ["--stateless-rpc"]
        stdin = b"" if is_advertisement else await _git_body(request)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if is_advertisement and "version=2" not in protocol:
            await response.write(_packet(f"# service={wanted}\n") + b"0000")
        name = SERVICES[wanted]
        async with service(self._site, self._desk, name, project, account, *arguments, protocol=protocol) as git:
            assert git.stdin is not None
            assert git.stdout is not None
            assert git.stderr is not None
            said = asyncio.create_task(git.stderr.read())
            git.stdin.write(stdin)
            git.stdin.close()
            while data := await git.stdout.read(65536):
                await response.write(data)
            if await git.wait():
                log.warning("review.git.failed", project=project, service=name, said=(await said)[-500:])
            await said
        await response.write_eof()
        return response


def _login(site: Site, request: web.Request) -> Account | None:
    """The account whose credentials came along. Raises PermissionError for wrong ones, even where none are needed."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, _, password = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise PermissionError from None
    account = site.password_holds(username, password)
    if account is None:
        raise PermissionError
    return account


def _unauthorized() -> web.Response:
    headers = {"WWW-Authenticate": 'Basic realm="Gerrit Code Review"', "Cache-Control": "no-cache, no-store"}
    return web.Response(status=401, text="Unauthorized", headers=headers, charset="iso-8859-1")


async def _body(request: web.Request) -> Any:
    """The JSON of the body, or its text where the type says so; nothing, and forms, are an empty map."""
    data = await request.read()
    if not data or request.content_type == "application/x-www-form-urlencoded":
        return {}
    text = data.decode("utf-8", "replace")
    if request.content_type != "application/json":
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise Refused(400, "Invalid application/json in request") from None


async def _git_body(request: web.Request) -> bytes:
    data = await request.read()  # aiohttp has undone a gzip Content-Encoding where it knows it
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _packet(text: str) -> bytes:
    data = text.encode()
    return b"%04x" % (len(data) + 4) + data
