"""The way in to the services of a region or the identity of a cloud: what happens to every request, in order.

Region down? Slow? Limited? Version documents for strangers; then the token, the operation, its count, the vendor's
latency, the answer with the headers that the real services send.
"""

import asyncio
import json
import secrets
import time
from typing import Any

from aiohttp import web

from trunkline.dev.cloud.api import discovery, identity
from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, error_of, nova_error
from trunkline.dev.cloud.world import Cloud, Region

_NEWEST = (2, 93)
_VARY = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
BODY_LIMIT = 512 * 1024 * 1024


class Door:
    """Serves one region (services by path prefix) or, without one, the identity of a cloud."""

    def __init__(self, cloud: Cloud, region: Region | None, tables: dict[str, Routes]) -> None:
        self._cloud = cloud
        self._region = region
        self._tables = tables

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        region = self._region or self._cloud.regions[0]
        region.ledger.requests_now += 1
        region.ledger.peak("requests_at_once", region.ledger.requests_now)
        try:
            return await self._answer(request, region)
        finally:
            region.ledger.requests_now -= 1

    async def _answer(self, request: web.BaseRequest, region: Region) -> web.StreamResponse:
        service, path = self._split(request.path)
        request_id = f"req-{secrets.token_hex(4)}-{secrets.token_hex(2)}-4{secrets.token_hex(2)[1:]}-a{secrets.token_hex(2)[1:]}-{secrets.token_hex(6)}"
        headers: dict[str, str] = {"x-openstack-request-id": request_id}
        microversion: tuple[int, int] = (2, 1)
        try:
            await self._troubles(request, region, service, path)
            if service == "compute":
                headers["x-compute-request-id"] = request_id
                microversion = _microversion(request, headers)
            raw = await request.read()
            call = self._call(request, region, service, path, raw, microversion, request_id)
            answer = await self._operate(call)
        except Refusal as refusal:
            answer = refusal.answer
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            region.world.report(f"{region.label} {request.method} {request.path}", error)
            answer = error_of(service, 400, f"Malformed request body: {type(error).__name__}")
        return _response(request, service, answer, headers)

    def _split(self, path: str) -> tuple[str, str]:
        if self._region is None:
            return "identity", path
        first, _, rest = path.lstrip("/").partition("/")
        return (first, f"/{rest}") if first in self._tables else ("", path)

    async def _troubles(self, request: web.BaseRequest, region: Region, service: str, path: str) -> None:
        await region.pace.wait(region.spec.timings.api)
        if fault := region.strikes("api-slow", path=path, service=service, method=request.method):
            await asyncio.sleep(float(fault.parameters.get("delay_s", 5)))
        if fault := region.strikes("rate-limit", path=path, service=service, method=request.method):
            _limit(fault)
        if fault := region.strikes("api-error", path=path, service=service, method=request.method):
            status = int(fault.parameters.get("status", 500))
            raise Refusal(
                error_of(
                    service, status, fault.parameters.get("message", "The server has either erred or is incapable.")
                )
            )

    def _call(
        self, request: web.BaseRequest, region: Region, service: str, path: str, raw: bytes, version: Any, ident: str
    ) -> Call:
        body: Any = None
        if raw and "json" in request.headers.get("Content-Type", "json"):
            try:
                body = json.loads(raw)
            except ValueError:
                body = None
        root = self._cloud.identity_url if self._region is None else f"{region.endpoint}/{service}"
        if service == "compute" and region.strikes("wrong-catalog"):
            root = "http://compute.invalid:8774"
        prefix = path.split("/")[1] if path != "/" else ""
        return Call(
            cloud=self._cloud,
            region=region,
            service=service,
            method=request.method,
            path=path,
            query=request.query,
            headers=request.headers,
            raw=raw,
            body=body,
            base=f"{root}/{prefix}" if prefix else root,
            root=root,
            token=self._cloud.token(request.headers.get("X-Auth-Token")),
            microversion=version,
            request_id=ident,
        )

    async def _operate(self, call: Call) -> Answer:
        region = call.region
        if call.service not in self._tables or (self._region and call.service not in region.profile.services):
            raise Refusal(Answer(404, {"message": "The resource could not be found."}))
        if self._region is None and call.path.startswith("/v2.0") and not self._cloud.profile.identity_v2:
            raise Refusal(error_of("identity", 404, "The resource could not be found."))
        public = discovery.answer(call)
        if public is not None:
            return public
        if call.token is not None and region.strikes("token-expired", service=call.service, method=call.method):
            self._cloud.tokens.pop(call.token.id, None)
            call.token = None
        is_login = (
            call.service == "identity"
            and call.method == "POST"
            and call.path.rstrip("/") in ("/v3/auth/tokens", "/v2.0/tokens")
        )
        if call.token is None and not is_login:
            raise Refusal(_unauthorised(call))
        found = self._tables[call.service].find(call.method, _without_project(call))
        if found is None:
            raise Refusal(Answer(404, discovery.NOT_FOUND))
        operation, handler, call.arguments = found
        method, _, template = operation.partition(" ")
        region.ledger.calls[f"{method} {call.service} {template}"] += 1
        return await handler(call)


def _without_project(call: Call) -> str:
    """Nova's and cinder's paths may name the project after the version: /v2.1/PROJECT/servers."""
    parts = call.path.split("/")
    if call.service in ("compute", "volume") and len(parts) > 2:
        known = {user.project_id for user in call.cloud.users}
        rest = parts[3:] if parts[2] in known else parts[2:]
        return "/" + "/".join(rest)
    return call.path


def _limit(fault: Any) -> None:
    per_minute = fault.parameters.get("per_minute")
    if per_minute is not None:
        now = time.monotonic()
        fault.window[:] = [at for at in fault.window if at > now - 60]
        fault.window.append(now)
        if len(fault.window) <= int(per_minute):
            return
    status, after = int(fault.parameters.get("status", 413)), str(fault.parameters.get("retry_after_s", 1))
    answer = nova_error(status, "This request was rate-limited.", retryAfter=after)
    answer.headers["Retry-After"] = after
    raise Refusal(answer)


def _microversion(request: web.BaseRequest, headers: dict[str, str]) -> tuple[int, int]:
    wanted = "2.1"
    for part in request.headers.get("OpenStack-API-Version", "").split(","):
        name, _, version = part.strip().partition(" ")
        if name == "compute":
            wanted = version
    wanted = request.headers.get("X-OpenStack-Nova-API-Version", wanted) if wanted == "2.1" else wanted
    if wanted == "latest":
        wanted = ".".join(map(str, _NEWEST))
    headers["Vary"] = _VARY
    try:
        major, minor = (int(part) for part in wanted.split("."))
    except ValueError:
        message = f"API Version String {wanted} is of invalid format. Must be of format MajorNum.MinorNum."
        raise Refusal(nova_error(400, message)) from None
    if not (2, 1) <= (major, minor) <= _NEWEST:
        message = f"Version {wanted} is not supported by the API. Minimum is 2.1 and maximum is 2.93."
        raise Refusal(nova_error(406, message))
    headers["OpenStack-API-Version"] = f"compute {wanted}"
    headers["X-OpenStack-Nova-API-Version"] = wanted
    return major, minor


def _unauthorised(call: Call) -> Answer:
    headers = {"WWW-Authenticate": f'Keystone uri="{call.cloud.identity_url}/v3"'}
    if call.service == "image":
        message = (
            "This server could not verify that you are authorized to access the document you requested. Either you supplied the "
            "wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials required."
        )
        answer = error_of("image", 401, message)
        return Answer(401, answer.body, headers)
    body = {
        "error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}
    }
    return Answer(401, body, headers)


def _response(request: web.BaseRequest, service: str, answer: Answer, headers: dict[str, str]) -> web.Response:
    if service == "identity":
        headers["Vary"] = "X-Auth-Token"
        if answer.status == 401 and "WWW-Authenticate" not in answer.headers:
            headers["WWW-Authenticate"] = f'Keystone uri="{request.scheme}://{request.host}/v3"'
    headers.update(answer.headers)
    if answer.body is None:
        body = b""
        if answer.status != 204 and "Content-Type" not in headers:
            headers["Content-Type"] = "application/json"
    elif isinstance(answer.body, bytes):
        body = answer.body
        headers.setdefault("Content-Type", "application/octet-stream")
    else:
        body = json.dumps(answer.body).encode()
        headers.setdefault("Content-Type", "application/json")
    return web.Response(status=answer.status, body=body, headers=headers)


def identity_tables() -> dict[str, Routes]:
    return {"identity": identity.routes}
