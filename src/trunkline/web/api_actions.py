"""Routes that ask for something: enqueue, dequeue, promote, autohold, tenant state.

They exist only when somebody can prove who they are, that is with at least one authenticator. An action is accepted
when it returns, not done; each is logged with who asked, for what, and how it ended.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from trunkline.web.answers import Stop, as_json, bad_request, body_of, check_query, refusal
from trunkline.web.context import context, log, within
from trunkline.web.source import Json, Refused

REASON_MAX = 1024
STATE_TEXT_MAX = 4096
_AUTOHOLD_KEYS = ("change", "job", "ref", "count", "reason", "node_hold_expiration")
_SWITCHES = ("trigger_queue_paused", "trigger_queue_discarding", "result_queue_paused")


def routes() -> list[web.RouteDef]:
    base = "/api/tenant/{tenant_name}"
    project = f"{base}/project/{{project_name:.+}}"
    actions = [
        web.post(f"{project}/enqueue", enqueue),
        web.post(f"{project}/dequeue", dequeue),
        web.post(f"{project}/autohold", create_autohold),
        web.post(f"{base}/promote", promote),
        web.post(f"{base}/state", set_state),
    ]
    wrong_method = [web.get(route.path, _only_post) for route in actions if not route.path.endswith("/autohold")]
    return [*actions, web.get(f"{project}/autohold", project_autoholds), *wrong_method]


async def _only_post(request: web.Request) -> web.Response:
    raise Stop(refusal(405, "Use POST", {"Allow": "POST, OPTIONS"}))


async def enqueue(request: web.Request) -> web.Response:
    ctx = context(request)
    body = await _body(request)
    tenant, caller = await ctx.administrator(request, "enqueue", body)
    _text(body, "pipeline")
    if body.get("change") is None and body.get("ref") is None:
        raise bad_request("change or ref is needed")
    parameters = body.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise bad_request("parameters must be a map")
    if parameters and not re.match(r"refs/(heads|tags)", str(body.get("ref"))):
        raise bad_request("parameters are for branches and tags only")
    project = request.match_info["project_name"]
    user = caller.uid if body.get("change") is None else None
    await _do(request, caller.uid, body, ctx.source.enqueue(tenant.name, project, body, user))
    return as_json(True)


async def dequeue(request: web.Request) -> web.Response:
    ctx = context(request)
    body = await _body(request)
    tenant, caller = await ctx.administrator(request, "dequeue", body)
    _text(body, "pipeline")
    if (body.get("change") is None) == (body.get("ref") is None):
        raise bad_request("Either change or ref is needed, not both")
    project = request.match_info["project_name"]
    await _do(request, caller.uid, body, ctx.source.dequeue(tenant.name, project, body))
    return as_json(True)


async def promote(request: web.Request) -> web.Response:
    ctx = context(request)
    body = await _body(request)
    tenant, caller = await ctx.administrator(request, "promote", body)
    pipeline, changes = _text(body, "pipeline"), body.get("changes")
    if not isinstance(changes, list) or not all(isinstance(change, str) for change in changes):
        raise bad_request("changes must be a list of NUMBER,PATCHSET")
    await _do(request, caller.uid, body, ctx.source.promote(tenant.name, pipeline, changes))
    return as_json(True)


async def project_autoholds(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    return as_json(await within(ctx.source.autoholds(tenant.name, request.match_info["project_name"])))


async def create_autohold(request: web.Request) -> web.Response:
    ctx = context(request)
    body = await _body(request)
    tenant, caller = await ctx.administrator(request, "autohold", body)
    body = {"change": None, "ref": None, **body}
    for key in _AUTOHOLD_KEYS:
        if key not in body:
            raise bad_request(f"{key} is needed")
    _text(body, "job")
    count, expiration = body["count"], body["node_hold_expiration"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise bad_request("count must be a number that is not negative")
    if expiration is not None and (isinstance(expiration, bool) or not isinstance(expiration, int)):
        raise bad_request("node_hold_expiration must be a number of seconds or null")
    if body["change"] and body["ref"]:
        raise bad_request("change and ref exclude each other")
    if body["ref"]:
        try:
            re.compile(str(body["ref"]))
        except re.error as error:
            raise bad_request(f"ref is not a regular expression: {error}") from None
    body["reason"] = str(body["reason"] or "")[:REASON_MAX]
    project = request.match_info["project_name"]
    await _do(request, caller.uid, body, ctx.source.create_autohold(tenant.name, project, body))
    return as_json(True)


async def set_state(request: web.Request) -> web.Response:
    ctx = context(request)
    body = await _body(request)
    tenant, caller = await ctx.administrator(request, "set-tenant-state", body)
    state: Json = {}
    for key in _SWITCHES:
        if key in body:
            if not isinstance(body[key], bool):
                raise bad_request(f"{key} must be true or false")
            state[key] = body[key]
    for key in ("reason", "info"):
        text = body.get(key)
        state[key] = str(text)[:STATE_TEXT_MAX] if text else None
    await _do(request, caller.uid, body, ctx.source.set_state(tenant.name, state))
    return as_json(None)


async def _body(request: web.Request) -> Json:
    check_query(request)
    return await body_of(request)


def _text(body: Json, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise bad_request(f"{key} is needed")
    return value


async def _do(request: web.Request, user: str, body: Json, action: Any) -> None:
    where = dict(request.match_info.items())
    try:
        await within(action)
    except Refused as refused:
        log.info("web.action.refused", user=user, path=request.path, body=body, reason=refused.text, **where)
        raise Stop(refusal(refused.status, refused.text)) from None
    log.info("web.action.accepted", user=user, path=request.path, body=body, **where)
