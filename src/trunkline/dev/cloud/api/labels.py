"""Nova: the metadata and tags of a server."""

from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, nova_error
from trunkline.dev.cloud.api.servers import check_metadata, find

routes = Routes()


@routes.add("GET", "/servers/{id}/metadata")
async def get_metadata(call: Call) -> Answer:
    return Answer(200, {"metadata": find(call).metadata})


@routes.add("POST", "/servers/{id}/metadata")
async def add_metadata(call: Call) -> Answer:
    server = find(call)
    merged = {**server.metadata, **call.object("metadata")}
    check_metadata(call.region, merged)
    server.metadata = merged
    return Answer(200, {"metadata": merged})


@routes.add("PUT", "/servers/{id}/metadata")
async def replace_metadata(call: Call) -> Answer:
    server = find(call)
    check_metadata(call.region, call.object("metadata"))
    server.metadata = dict(call.object("metadata"))
    return Answer(200, {"metadata": server.metadata})


@routes.add("PUT", "/servers/{id}/metadata/{key}")
async def put_metadata(call: Call) -> Answer:
    server = find(call)
    check_metadata(call.region, {**server.metadata, **call.object("meta")})
    server.metadata.update(call.object("meta"))
    return Answer(200, {"meta": call.object("meta")})


@routes.add("GET", "/servers/{id}/metadata/{key}")
async def show_metadata(call: Call) -> Answer:
    server, key = find(call), call.arguments["key"]
    if key not in server.metadata:
        raise Refusal(nova_error(404, "Metadata item was not found"))
    return Answer(200, {"meta": {key: server.metadata[key]}})


@routes.add("DELETE", "/servers/{id}/metadata/{key}")
async def delete_metadata(call: Call) -> Answer:
    server, key = find(call), call.arguments["key"]
    if key not in server.metadata:
        raise Refusal(nova_error(404, "Metadata item was not found"))
    del server.metadata[key]
    return Answer(204)


@routes.add("GET", "/servers/{id}/tags")
async def get_tags(call: Call) -> Answer:
    return Answer(200, {"tags": find(call).tags})


@routes.add("PUT", "/servers/{id}/tags")
async def replace_tags(call: Call) -> Answer:
    server = find(call)
    server.tags = list(call.body.get("tags", []))
    return Answer(200, {"tags": server.tags})


@routes.add("DELETE", "/servers/{id}/tags")
async def delete_tags(call: Call) -> Answer:
    find(call).tags.clear()
    return Answer(204)


@routes.add("GET", "/servers/{id}/tags/{tag}")
async def check_tag(call: Call) -> Answer:
    server, tag = find(call), call.arguments["tag"]
    if tag not in server.tags:
        raise Refusal(nova_error(404, f"Server {server.id} has no tag '{tag}'"))
    return Answer(204)


@routes.add("PUT", "/servers/{id}/tags/{tag}")
async def add_tag(call: Call) -> Answer:
    server, tag = find(call), call.arguments["tag"]
    if tag in server.tags:
        return Answer(204)
    server.tags.append(tag)
    return Answer(201, None, {"Location": f"{call.root}/v2.1/servers/{server.id}/tags/{tag}"})


@routes.add("DELETE", "/servers/{id}/tags/{tag}")
async def delete_tag(call: Call) -> Answer:
    await check_tag(call)
    find(call).tags.remove(call.arguments["tag"])
    return Answer(204)
