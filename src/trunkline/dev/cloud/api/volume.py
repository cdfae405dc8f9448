"""Cinder: volumes, snapshots, types, limits, quotas."""

from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, nova_error, page, sort
from trunkline.dev.cloud.world import MICROS, Record, Region, fixed_uuid, new_id, stamp

routes = Routes()

TYPE_NAME = "standard"


def _links(call: Call, ident: str) -> list[Record]:
    base = f"{call.root}/v3/{call.project}/volumes/{ident}"
    return [{"rel": "self", "href": base}, {"rel": "bookmark", "href": base.replace("/v3/", "/")}]


def _view(call: Call, volume: Record) -> Record:
    return {**volume, "links": _links(call, volume["id"])}


def add_volume(region: Region, project: str, name: str, size: int, **values: object) -> Record:
    ident = new_id()
    volume: Record = {
        "id": ident,
        "status": "creating",
        "size": size,
        "availability_zone": region.spec.availability_zones[0],
        "created_at": stamp(pattern=MICROS),
        "updated_at": None,
        "name": name,
        "description": None,
        "volume_type": TYPE_NAME,
        "snapshot_id": None,
        "source_volid": None,
        "metadata": {},
        "user_id": region.cloud.users[0].id,
        "bootable": "false",
        "encrypted": False,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": False,
        "attachments": [],
        "os-vol-tenant-attr:tenant_id": project,
        **values,
    }
    region.volumes[ident] = volume
    region.ledger.created("volume", ident, name or "")
    return volume


def _find(call: Call) -> Record:
    ident = call.arguments["id"]
    if ident not in call.region.volumes:
        raise Refusal(nova_error(404, f"Volume {ident} could not be found."))
    return call.region.volumes[ident]


def _over(status: int, message: str) -> Refusal:
    answer = nova_error(status, message, retryAfter="0")
    answer.headers["Retry-After"] = "0"
    return Refusal(answer)


@routes.add("POST", "/volumes")
async def create_volume(call: Call) -> Answer:
    region, wish = call.region, call.object("volume")
    snapshot = region.snapshots.get(wish.get("snapshot_id") or "")
    size = wish.get("size", snapshot["size"] if snapshot else None)
    if not str(size).isdigit() or int(str(size)) <= 0:
        message = f"Invalid input for field/attribute size. Value: {size}. '{size}' does not match '^[0-9]+$'"
        raise Refusal(
            nova_error(
                400,
                message
                if size != 0
                else "Invalid input received: Volume size '0' must be an integer and greater than 0",
            )
        )
    _check_quota(region, int(str(size)))
    image = region.images.get(wish.get("imageRef") or "")
    more: Record = {
        "description": wish.get("description"),
        "metadata": wish.get("metadata") or {},
        "snapshot_id": wish.get("snapshot_id"),
    }
    if image is not None:
        more |= {"bootable": "true", "volume_image_metadata": {"image_id": image["id"], "image_name": image["name"]}}
    if wish.get("availability_zone"):
        more["availability_zone"] = wish["availability_zone"]
    volume = add_volume(region, call.project, wish.get("name") or "", int(str(size)), **more)
    answer = _view(call, volume)
    region.spawn(_become(region, volume, "available"))
    return Answer(202, {"volume": answer})


def _check_quota(region: Region, size: int) -> None:
    limit, used = region.quota["volumes"], len(region.volumes)
    if 0 <= limit <= used:
        raise _over(
            413, f"VolumeLimitExceeded: Maximum number of volumes allowed ({limit}) exceeded for quota 'volumes'."
        )
    limit, used = region.quota["gigabytes"], sum(row["size"] for row in region.volumes.values())
    if 0 <= limit < used + size:
        message = (
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. "
            f"Requested {size}G, quota is {limit}G and {used}G has been consumed."
        )
        raise _over(413, message)


async def _become(region: Region, row: Record, status: str) -> None:
    await region.pace.wait(region.spec.timings.volume)
    row["status"], row["updated_at"] = status, stamp(pattern=MICROS)


@routes.add("GET", "/volumes")
@routes.add("GET", "/volumes/detail")
async def list_volumes(call: Call) -> Answer:
    rows = list(call.region.volumes.values())
    for name in ("name", "status"):
        if call.query.get(name):
            rows = [row for row in rows if row[name] == call.query[name]]
    rows, following = page(call, sort(call, rows, "created_at"))
    is_brief = call.path.rstrip("/").endswith("/volumes")
    views = [_view(call, row) for row in rows]
    if is_brief:
        views = [{key: row[key] for key in ("id", "name", "links")} for row in views]
    body: Record = {"volumes": views}
    if following:
        body["volumes_links"] = [{"rel": "next", "href": f"{call.root}{call.path}?{following}"}]
    return Answer(200, body)


@routes.add("GET", "/volumes/{id}")
async def show_volume(call: Call) -> Answer:
    return Answer(200, {"volume": _view(call, _find(call))})


@routes.add("PUT", "/volumes/{id}")
async def update_volume(call: Call) -> Answer:
    volume, wish = _find(call), call.object("volume")
    volume.update({key: wish[key] for key in ("name", "description", "metadata") if key in wish})
    return Answer(200, {"volume": _view(call, volume)})


@routes.add("DELETE", "/volumes/{id}")
async def delete_volume(call: Call) -> Answer:
    volume = _find(call)
    if volume["status"] not in ("available", "error", "creating"):
        message = (
            "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must "
            "not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots."
        )
        raise Refusal(nova_error(400, message))
    volume["status"] = "deleting"
    call.region.spawn(_delete(call.region, call.region.volumes, volume))
    return Answer(202, None, {"Content-Type": "text/html; charset=UTF-8"})


async def _delete(region: Region, table: dict[str, Record], row: Record) -> None:
    await region.pace.wait(region.spec.timings.volume)
    table.pop(row["id"], None)
    region.ledger.deleted(row["id"])


@routes.add("POST", "/volumes/{id}/action")
async def act(call: Call) -> Answer:
    region, volume = call.region, _find(call)
    name, argument = next(iter(call.body.items()))
    if name == "os-extend":
        size = int(argument["new_size"])
        if size <= volume["size"]:
            message = f"Invalid input received: New size for extend must be greater than current size. (current: {volume['size']}, extended: {size})."
            raise Refusal(nova_error(400, message))
        volume["status"], volume["size"] = "extending", size
        region.spawn(_become(region, volume, "available"))
        return Answer(202)
    if name in ("os-set_bootable", "os-update_readonly_flag", "os-retype"):
        return Answer(202)
    if name == "os-reset_status" and call.is_admin:
        volume["status"] = argument.get("status", volume["status"])
        return Answer(202)
    raise Refusal(nova_error(400, f"There is no such action: {name}"))


@routes.add("POST", "/snapshots")
async def create_snapshot(call: Call) -> Answer:
    region, wish = call.region, call.object("snapshot")
    volume = region.volumes.get(wish.get("volume_id", ""))
    if volume is None:
        raise Refusal(nova_error(404, f"Volume {wish.get('volume_id')} could not be found."))
    if 0 <= region.quota["snapshots"] <= len(region.snapshots):
        raise _over(413, "SnapshotLimitExceeded: Maximum number of snapshots allowed exceeded for quota 'snapshots'.")
    snapshot: Record = {
        "id": new_id(),
        "name": wish.get("name"),
        "description": wish.get("description"),
        "volume_id": volume["id"],
        "status": "creating",
        "size": volume["size"],
        "created_at": stamp(pattern=MICROS),
        "updated_at": None,
        "metadata": wish.get("metadata") or {},
    }
    region.snapshots[snapshot["id"]] = snapshot
    region.ledger.created("snapshot", snapshot["id"], snapshot["name"] or "")
    answer = dict(snapshot)
    region.spawn(_become(region, snapshot, "available"))
    return Answer(202, {"snapshot": answer})


@routes.add("GET", "/snapshots")
@routes.add("GET", "/snapshots/detail")
async def list_snapshots(call: Call) -> Answer:
    rows = [row for row in call.region.snapshots.values() if call.query.get("name") in (None, row["name"])]
    return Answer(200, {"snapshots": rows})


def _snapshot(call: Call) -> Record:
    ident = call.arguments["id"]
    if ident not in call.region.snapshots:
        raise Refusal(nova_error(404, f"Snapshot {ident} could not be found."))
    return call.region.snapshots[ident]


@routes.add("GET", "/snapshots/{id}")
async def show_snapshot(call: Call) -> Answer:
    return Answer(200, {"snapshot": _snapshot(call)})


@routes.add("DELETE", "/snapshots/{id}")
async def delete_snapshot(call: Call) -> Answer:
    snapshot = _snapshot(call)
    snapshot["status"] = "deleting"
    call.region.spawn(_delete(call.region, call.region.snapshots, snapshot))
    return Answer(202)


def _type(call: Call) -> Record:
    return {
        "id": fixed_uuid(call.region.label, "volume-type"),
        "name": TYPE_NAME,
        "is_public": True,
        "description": None,
        "extra_specs": {},
        "os-volume-type-access:is_public": True,
    }


@routes.add("GET", "/types")
async def types(call: Call) -> Answer:
    return Answer(200, {"volume_types": [_type(call)]})


@routes.add("GET", "/types/{id}")
async def show_type(call: Call) -> Answer:
    if call.arguments["id"] not in (_type(call)["id"], "default"):
        raise Refusal(nova_error(404, f"Volume type {call.arguments['id']} could not be found."))
    return Answer(200, {"volume_type": _type(call)})


@routes.add("GET", "/limits")
async def limits(call: Call) -> Answer:
    region = call.region
    absolute = {
        "maxTotalVolumes": region.quota["volumes"],
        "maxTotalSnapshots": region.quota["snapshots"],
        "maxTotalVolumeGigabytes": region.quota["gigabytes"],
        "maxTotalBackups": 10,
        "maxTotalBackupGigabytes": 1000,
        "totalVolumesUsed": len(region.volumes),
        "totalGigabytesUsed": sum(row["size"] for row in region.volumes.values()),
        "totalSnapshotsUsed": len(region.snapshots),
        "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }
    return Answer(200, {"limits": {"rate": [], "absolute": absolute}})


@routes.add("GET", "/os-quota-sets/{project}")
@routes.add("GET", "/os-quota-sets/{project}/defaults")
async def quota(call: Call) -> Answer:
    region = call.region
    used = {
        "volumes": len(region.volumes),
        "gigabytes": sum(row["size"] for row in region.volumes.values()),
        "snapshots": len(region.snapshots),
    }
    limit = {name: region.quota[name] for name in used}
    limit |= {"per_volume_gigabytes": -1, "backups": 10, "backup_gigabytes": 1000, "groups": 10}
    with_usage = call.query.get("usage", "").lower() == "true"
    rows: Record = {
        name: {"limit": value, "in_use": used.get(name, 0), "reserved": 0} if with_usage else value
        for name, value in limit.items()
    }
    return Answer(200, {"quota_set": {"id": call.arguments["project"], **rows}})


@routes.add("GET", "/os-availability-zone")
async def zones(call: Call) -> Answer:
    rows = [{"zoneName": zone, "zoneState": {"available": True}} for zone in call.region.spec.availability_zones]
    return Answer(200, {"availabilityZoneInfo": rows})


@routes.add("GET", "/extensions")
async def extensions(call: Call) -> Answer:
    return Answer(200, {"extensions": []})
