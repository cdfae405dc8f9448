"""Swift, as much as uploads of images and logs need: account, containers, objects."""

import hashlib
import json

from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes
from trunkline.dev.cloud.world import Record

routes = Routes()


def _headers(call: Call) -> dict[str, str]:
    return {
        key: value
        for key, value in call.headers.items()
        if key.lower().startswith(("x-object-meta", "x-container-meta", "x-delete"))
    }


@routes.add("GET", "/info")
async def info(call: Call) -> Answer:
    return Answer(200, {"swift": {"max_file_size": 5368709122, "version": "2.31.0"}, "slo": {"min_segment_size": 1}})


@routes.add("GET", "/v1/{account}")
@routes.add("HEAD", "/v1/{account}")
async def account(call: Call) -> Answer:
    rows = [
        {"name": name, "count": len(content), "bytes": sum(len(one["data"]) for one in content.values())}
        for name, content in call.region.objects.items()
    ]
    return Answer(
        200,
        json.dumps(rows).encode(),
        {"Content-Type": "application/json", "X-Account-Container-Count": str(len(rows))},
    )


@routes.add("PUT", "/v1/{account}/{container}")
async def put_container(call: Call) -> Answer:
    is_new = call.arguments["container"] not in call.region.objects
    call.region.objects.setdefault(call.arguments["container"], {})
    return Answer(201 if is_new else 202)


def _container(call: Call) -> dict[str, Record]:
    found = call.region.objects.get(call.arguments["container"])
    if found is None:
        raise Refusal(Answer(404, b"<html><h1>Not Found</h1></html>", {"Content-Type": "text/html"}))
    return found


@routes.add("GET", "/v1/{account}/{container}")
@routes.add("HEAD", "/v1/{account}/{container}")
async def get_container(call: Call) -> Answer:
    content = _container(call)
    rows = [{"name": name, "hash": one["etag"], "bytes": len(one["data"])} for name, one in sorted(content.items())]
    headers = {
        "Content-Type": "application/json",
        "X-Container-Object-Count": str(len(rows)),
        "X-Container-Bytes-Used": "0",
    }
    return Answer(200, json.dumps(rows).encode(), headers)


@routes.add("POST", "/v1/{account}/{container}")
async def post_container(call: Call) -> Answer:
    _container(call)
    return Answer(204)


@routes.add("DELETE", "/v1/{account}/{container}")
async def delete_container(call: Call) -> Answer:
    if _container(call):
        raise Refusal(Answer(409, b"There was a conflict when trying to complete your request."))
    del call.region.objects[call.arguments["container"]]
    return Answer(204)


@routes.add("PUT", "/v1/{account}/{container}/{rest}")
async def put_object(call: Call) -> Answer:
    etag = hashlib.md5(call.raw, usedforsecurity=False).hexdigest()
    kind = call.headers.get("Content-Type", "application/octet-stream")
    _container(call)[call.arguments["rest"]] = {"data": call.raw, "etag": etag, "headers": _headers(call), "type": kind}
    return Answer(201, None, {"Etag": etag})


def _object(call: Call) -> Record:
    found = _container(call).get(call.arguments["rest"])
    if found is None:
        raise Refusal(Answer(404, b"<html><h1>Not Found</h1></html>", {"Content-Type": "text/html"}))
    return found


@routes.add("GET", "/v1/{account}/{container}/{rest}")
@routes.add("HEAD", "/v1/{account}/{container}/{rest}")
async def get_object(call: Call) -> Answer:
    found = _object(call)
    return Answer(200, found["data"], {"Etag": found["etag"], "Content-Type": found["type"], **found["headers"]})


@routes.add("POST", "/v1/{account}/{container}/{rest}")
async def post_object(call: Call) -> Answer:
    _object(call)["headers"] = _headers(call)
    return Answer(202)


@routes.add("DELETE", "/v1/{account}/{container}/{rest}")
async def delete_object(call: Call) -> Answer:
    _object(call)
    del _container(call)[call.arguments["rest"]]
    return Answer(204)
