"""Glance: images, their data by PUT and by import, members, tags; and the tasks of vendors who refuse uploads."""

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, glance_error, page, sort
from trunkline.dev.cloud.world import Record, Region, fixed_uuid, new_id, stamp

routes = Routes()

_FORMATS = (None, "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
_READ_ONLY = frozenset(
    [
        "id",
        "status",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "size",
        "virtual_size",
        "created_at",
        "updated_at",
        "self",
        "file",
        "schema",
        "stores",
        "owner",
    ]
)


def furnish(region: Region) -> None:
    """Make the public images of the region's spec."""
    for spec in region.spec.images:
        data = f"{spec.name} of {region.label}".encode()
        image = add_image(
            region,
            region.cloud.users[1].project_id,
            id=fixed_uuid(region.label, "image", spec.name),
            name=spec.name,
            disk_format="raw",
            container_format="bare",
            visibility="public",
            min_disk=spec.min_disk,
            min_ram=spec.min_ram,
        )
        store(region, image, data)


def add_image(region: Region, owner: str, **values: Any) -> Record:
    now = stamp()
    defaults: Record = {
        "name": None,
        "disk_format": None,
        "container_format": None,
        "visibility": "shared",
        "size": None,
        "virtual_size": None,
        "status": "queued",
        "checksum": None,
        "protected": False,
        "min_ram": 0,
        "min_disk": 0,
        "owner": owner,
        "os_hidden": False,
        "os_hash_algo": None,
        "os_hash_value": None,
        "created_at": now,
        "updated_at": now,
        "tags": [],
        "members": {},
    }
    ident = values.pop("id", None) or new_id()
    image = {"id": ident, **defaults, **values}
    region.images[ident] = image
    region.ledger.created("image", ident, str(image["name"]))
    return image


def store(region: Region, image: Record, data: bytes) -> None:
    """The data is there: the image is active."""
    region.image_data[image["id"]] = data
    image.update(
        {
            "size": len(data),
            "virtual_size": len(data),
            "status": "active",
            "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(data).hexdigest(),
            "updated_at": stamp(),
            "stores": "fs",
        }
    )


def _view(image: Record) -> Record:
    ident = image["id"]
    paths = {"self": f"/v2/images/{ident}", "file": f"/v2/images/{ident}/file", "schema": "/v2/schemas/image"}
    return {key: value for key, value in image.items() if key not in ("members", "trunkline_base")} | paths


def _may_see(call: Call, image: Record) -> bool:
    is_mine = call.is_admin or image["owner"] == call.project
    return bool(is_mine or image["visibility"] in ("public", "community") or call.project in image["members"])


def find(call: Call, what: str = "No image found with ID {}") -> Record:
    ident = call.arguments["id"]
    image = call.region.images.get(ident)
    if image is None or not _may_see(call, image) or call.region.strikes("image-missing", path=str(image["name"])):
        raise Refusal(glance_error(404, what.format(ident)))
    return image


def _own(call: Call, image: Record, message: str = "You do not own this image") -> None:
    if image["owner"] != call.project and not call.is_admin:
        raise Refusal(glance_error(403, message))


@routes.add("GET", "/v2/images")
async def list_images(call: Call) -> Answer:
    region, skip = call.region, {"limit", "marker", "sort_key", "sort_dir", "sort", "member_status", "os_hidden"}
    hidden = (call.query.get("os_hidden") or "false").lower() == "true"
    rows = [row for row in region.images.values() if _may_see(call, row) and row["os_hidden"] == hidden]
    for name in {key for key in call.query if key not in skip}:
        for value in call.query.getall(name):
            rows = [row for row in rows if _fits(row, name, value)]
    if region.strikes("image-missing"):
        rows = []
    if rows and region.strikes("duplicate-name"):
        rows = [*rows, {**rows[0], "id": new_id()}]
    rows, following = page(call, sort(call, rows, "created_at"), 25 if "limit" not in call.query else 1000)
    text = _query_text(call)
    query = f"?{text}" if text else ""
    body: Record = {
        "images": [_view(row) for row in rows],
        "first": f"/v2/images{query}",
        "schema": "/v2/schemas/images",
    }
    if following:
        body["next"] = f"/v2/images?{following}"
    return Answer(200, body)


def _query_text(call: Call) -> str:
    return urlencode([(key, value) for key, value in call.query.items() if key != "marker"])


def _fits(row: Record, name: str, value: str) -> bool:
    if name == "tag":
        return value in row["tags"]
    if value.startswith("in:"):
        return str(row.get(name)) in value[3:].split(",")
    if name in ("size_min", "size_max"):
        size = row["size"] or 0
        return bool(size >= int(value) if name == "size_min" else size <= int(value))
    if name == "protected":
        return bool(row["protected"] == (value.lower() == "true"))
    return name in row and str(row[name]) == value


@routes.add("POST", "/v2/images")
async def create_image(call: Call) -> Answer:
    wish = call.body
    if not isinstance(wish, dict):
        raise Refusal(glance_error(400, "Malformed request body"))
    _check(call, wish)
    if wish.get("visibility") == "public" and not call.is_admin:
        raise Refusal(glance_error(403, "You are not authorized to complete publicize_image action."))
    if wish.get("id") in call.region.images:
        raise Refusal(glance_error(409, f"Image ID {wish['id']} already exists!"))
    image = add_image(call.region, call.project, **wish)
    methods = ",".join(_methods(call.region))
    location = f"{call.root}/v2/images/{image['id']}"
    return Answer(201, _view(image), {"Location": location, "OpenStack-image-import-methods": methods})


def _check(call: Call, wish: Record) -> None:
    if wish.get("disk_format") not in _FORMATS:
        formats = list(_FORMATS)
        message = f"Provided object does not match schema 'image': '{wish['disk_format']}' is not one of {formats}"
        raise Refusal(glance_error(400, message))
    if read_only := sorted(set(wish) & (_READ_ONLY - {"id", "owner"})):
        raise Refusal(glance_error(403, f"Attribute '{read_only[0]}' is read-only."))


@routes.add("GET", "/v2/images/{id}")
async def show_image(call: Call) -> Answer:
    return Answer(200, _view(find(call)))


@routes.add("PATCH", "/v2/images/{id}")
async def update_image(call: Call) -> Answer:
    image = find(call)
    changes = json.loads(call.raw)
    for change in changes:
        key = change["path"].lstrip("/").replace("~1", "/").replace("~0", "~")
        if key == "visibility" and change.get("value") == "public" and not call.is_admin:
            raise Refusal(glance_error(403, "You are not authorized to complete publicize_image action."))
        _own(call, image, "You are not authorized to complete modify_image action.")
        if key in _READ_ONLY:
            raise Refusal(glance_error(403, f"Attribute '{key}' is read-only."))
        if change["op"] == "remove":
            image.pop(key, None)
        else:
            _check(call, {key: change["value"]})
            image[key] = change["value"]
    image["updated_at"] = stamp()
    return Answer(200, _view(image))


@routes.add("DELETE", "/v2/images/{id}")
async def delete_image(call: Call) -> Answer:
    image = find(call, "Failed to find image {} to delete")
    _own(call, image)
    if image["protected"]:
        raise Refusal(glance_error(403, f"Image {image['id']} is protected and cannot be deleted."))
    del call.region.images[image["id"]]
    call.region.image_data.pop(image["id"], None)
    call.region.ledger.deleted(image["id"])
    return Answer(204, None, {"Content-Type": "text/html; charset=UTF-8"})


@routes.add("PUT", "/v2/images/{id}/file")
async def upload(call: Call) -> Answer:
    region, image = call.region, find(call)
    if "put" not in region.profile.upload:
        raise Refusal(glance_error(403, "You are not authorized to complete upload_image action."))
    if image["status"] != "queued":
        raise Refusal(glance_error(409, f"Image status transition from {image['status']} to saving is not allowed"))
    image["status"] = "saving"
    await region.pace.wait(region.spec.timings.image)
    if region.strikes("image-upload-fails"):
        image["status"] = "killed"
        raise Refusal(glance_error(400, "Failed to upload image data due to internal error"))
    store(region, image, call.raw)
    return Answer(204, None, {"Content-Type": "text/html; charset=UTF-8"})


@routes.add("GET", "/v2/images/{id}/file")
async def download(call: Call) -> Answer:
    image = find(call)
    data = call.region.image_data.get(image["id"])
    if data is None:
        return Answer(204)
    return Answer(200, data, {"Content-MD5": image["checksum"]})


@routes.add("PUT", "/v2/images/{id}/stage")
async def stage(call: Call) -> Answer:
    image = find(call)
    if "import" not in call.region.profile.upload:
        raise Refusal(glance_error(403, "You are not authorized to complete upload_image action."))
    if image["status"] != "queued":
        raise Refusal(glance_error(409, f"Image status transition from {image['status']} to uploading is not allowed"))
    image["status"] = "uploading"
    call.region.image_data[image["id"]] = call.raw
    return Answer(204)


@routes.add("POST", "/v2/images/{id}/import")
async def import_image(call: Call) -> Answer:
    region, image = call.region, find(call)
    method = (call.body or {}).get("method", {}).get("name")
    if method not in _methods(region):
        raise Refusal(glance_error(400, f"Unknown import method name '{method}'."))
    if method == "glance-direct" and image["status"] != "uploading":
        raise Refusal(
            glance_error(409, f"Only images with status 'uploading' can be imported, not '{image['status']}'")
        )
    image["status"] = "importing"
    region.spawn(_import(region, image))
    return Answer(202, None)


async def _import(region: Region, image: Record) -> None:
    await region.pace.wait(region.spec.timings.image)
    if region.strikes("image-upload-fails"):
        image["status"] = "queued"
        image["os_glance_failed_import"] = "fs"
        return
    store(region, image, region.image_data.get(image["id"], b""))


def _methods(region: Region) -> list[str]:
    return ["glance-direct", "web-download", "copy-image"] if "import" in region.profile.upload else []


@routes.add("GET", "/v2/info/import")
async def import_info(call: Call) -> Answer:
    value = {"description": "Import methods available.", "type": "array", "value": _methods(call.region)}
    return Answer(200, {"import-methods": value})


@routes.add("GET", "/v2/info/stores")
async def stores(call: Call) -> Answer:
    return Answer(200, {"stores": [{"id": "fs", "default": "true"}]})


@routes.add("GET", "/v2/schemas/{name}")
async def schema(call: Call) -> Answer:
    names = [
        "id",
        "name",
        "status",
        "visibility",
        "protected",
        "checksum",
        "owner",
        "size",
        "disk_format",
        "container_format",
        "min_ram",
    ]
    properties: Record = {name: {"type": ["null", "string"]} for name in names}
    properties["disk_format"]["enum"] = list(_FORMATS)
    body = {
        "name": call.arguments["name"],
        "properties": properties,
        "additionalProperties": {"type": "string"},
        "links": [],
    }
    return Answer(200, body)


@routes.add("PUT", "/v2/images/{id}/tags/{tag}")
async def add_tag(call: Call) -> Answer:
    image = find(call)
    _own(call, image)
    if call.arguments["tag"] not in image["tags"]:
        image["tags"] = [*image["tags"], call.arguments["tag"]]
    return Answer(204)


@routes.add("DELETE", "/v2/images/{id}/tags/{tag}")
async def delete_tag(call: Call) -> Answer:
    image, tag = find(call), call.arguments["tag"]
    if tag not in image["tags"]:
        raise Refusal(glance_error(404, f"Could not find tag {tag} for image {image['id']}"))
    image["tags"] = [one for one in image["tags"] if one != tag]
    return Answer(204)


@routes.add("POST", "/v2/images/{id}/actions/{action}")
async def act(call: Call) -> Answer:
    image, action = find(call), call.arguments["action"]
    _own(call, image)
    image["status"] = "deactivated" if action == "deactivate" else "active"
    return Answer(204)


def _member(image: Record, ident: str) -> Record:
    return {"member_id": ident, "image_id": image["id"], "schema": "/v2/schemas/member", **image["members"][ident]}


@routes.add("GET", "/v2/images/{id}/members")
async def list_members(call: Call) -> Answer:
    image = find(call)
    return Answer(
        200, {"members": [_member(image, ident) for ident in image["members"]], "schema": "/v2/schemas/members"}
    )


@routes.add("POST", "/v2/images/{id}/members")
async def add_member(call: Call) -> Answer:
    image, ident = find(call), call.body["member"]
    if image["visibility"] != "shared":
        raise Refusal(glance_error(403, "Only shared images have members."))
    now = stamp()
    image["members"][ident] = {"status": "pending", "created_at": now, "updated_at": now}
    return Answer(200, _member(image, ident))


@routes.add("GET", "/v2/images/{id}/members/{member}")
async def show_member(call: Call) -> Answer:
    image, ident = find(call), call.arguments["member"]
    if ident not in image["members"]:
        raise Refusal(glance_error(404, f"{ident} not found in the member list of the image {image['id']}."))
    return Answer(200, _member(image, ident))


@routes.add("PUT", "/v2/images/{id}/members/{member}")
async def update_member(call: Call) -> Answer:
    await show_member(call)
    image, ident = find(call), call.arguments["member"]
    image["members"][ident]["status"] = call.body["status"]
    return Answer(200, _member(image, ident))


@routes.add("DELETE", "/v2/images/{id}/members/{member}")
async def remove_member(call: Call) -> Answer:
    await show_member(call)
    del find(call)["members"][call.arguments["member"]]
    return Answer(204)


@routes.add("GET", "/v2/tasks")
async def list_tasks(call: Call) -> Answer:
    if not call.is_admin and "task" not in call.region.profile.upload:
        raise Refusal(glance_error(403, "You are not authorized to complete get_tasks action."))
    return Answer(200, {"tasks": list(call.region.tasks.values()), "first": "/v2/tasks", "schema": "/v2/schemas/tasks"})


@routes.add("GET", "/v2/tasks/{id}")
async def show_task(call: Call) -> Answer:
    task = call.region.tasks.get(call.arguments["id"])
    if task is None:
        raise Refusal(glance_error(404, f"Task not found with id {call.arguments['id']}"))
    return Answer(200, task)


@routes.add("POST", "/v2/tasks")
async def create_task(call: Call) -> Answer:
    region = call.region
    if "task" not in region.profile.upload and not call.is_admin:
        raise Refusal(glance_error(403, "You are not authorized to complete add_task action."))
    now, ident = stamp(), new_id()
    task: Record = {
        "id": ident,
        "type": call.body["type"],
        "status": "pending",
        "input": call.body.get("input", {}),
        "result": None,
        "message": "",
        "owner": call.project,
        "created_at": now,
        "updated_at": now,
        "self": f"/v2/tasks/{ident}",
        "schema": "/v2/schemas/task",
    }
    region.tasks[ident] = task
    region.spawn(_run_task(region, task))
    return Answer(201, task)


async def _run_task(region: Region, task: Record) -> None:
    """Make an image of an object in the object store: what vendors want who refuse uploads."""
    task["status"] = "processing"
    await region.pace.wait(region.spec.timings.image)
    wish = task["input"]
    container, _, name = str(wish.get("import_from", "")).partition("/")
    data = region.objects.get(container, {}).get(name)
    if region.strikes("image-upload-fails") or data is None:
        task.update(
            {
                "status": "failure",
                "message": "Image could not be imported." if data else f"Object {wish.get('import_from')} not found.",
            }
        )
        return
    properties = dict(wish.get("image_properties") or {})
    properties.setdefault("disk_format", wish.get("import_from_format", "vhd"))
    image = add_image(region, task["owner"], container_format="bare", **properties)
    store(region, image, data["data"])
    task.update({"status": "success", "result": {"image_id": image["id"]}, "updated_at": stamp()})
