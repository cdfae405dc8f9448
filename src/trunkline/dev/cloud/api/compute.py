"""Nova without its servers: flavors, key pairs, limits, quotas, zones, server groups, what members may not see."""

import base64
import hashlib

from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, nova_error, page
from trunkline.dev.cloud.world import MICROS, Record, Region, fixed_uuid, new_id, stamp

routes = Routes()


def furnish(region: Region) -> None:
    """Make the flavors of the region's spec."""
    for spec in region.spec.flavors:
        ident = fixed_uuid(region.label, "flavor", spec.name)
        region.flavors[ident] = {
            "id": ident,
            "name": spec.name,
            "ram": spec.ram,
            "disk": spec.disk,
            "vcpus": spec.vcpus,
            "extra_specs": dict(spec.extra_specs),
        }


def links(call: Call, kind: str, ident: str) -> list[Record]:
    return [
        {"rel": "self", "href": f"{call.root}/v2.1/{kind}/{ident}"},
        {"rel": "bookmark", "href": f"{call.root}/{kind}/{ident}"},
    ]


def _flavor_view(call: Call, flavor: Record) -> Record:
    view = {
        "id": flavor["id"],
        "name": flavor["name"],
        "ram": flavor["ram"],
        "disk": flavor["disk"],
        "swap": 0 if call.at_least(75) else "",
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "vcpus": flavor["vcpus"],
        "os-flavor-access:is_public": True,
        "rxtx_factor": 1.0,
        "links": links(call, "flavors", flavor["id"]),
    }
    if call.at_least(55):
        view["description"] = None
    if call.at_least(61):
        view["extra_specs"] = flavor["extra_specs"]
    return view


def _flavors(call: Call) -> tuple[list[Record], str | None]:
    rows = sorted(call.region.flavors.values(), key=lambda row: str(row["id"]))
    for name, field in (("minRam", "ram"), ("minDisk", "disk")):
        if call.query.get(name):
            rows = [row for row in rows if row[field] >= int(call.query[name])]
    return page(call, rows)


def paged(call: Call, collection: str, rows: list[Record], following: str | None) -> Answer:
    body: Record = {collection: rows}
    if following:
        body[f"{collection}_links"] = [{"rel": "next", "href": f"{call.root}{call.path}?{following}"}]
    return Answer(200, body)


@routes.add("GET", "/flavors")
async def list_flavors(call: Call) -> Answer:
    rows, following = _flavors(call)
    brief = [{"id": row["id"], "name": row["name"], "links": links(call, "flavors", row["id"])} for row in rows]
    if call.at_least(55):
        brief = [{**row, "description": None} for row in brief]
    return paged(call, "flavors", brief, following)


@routes.add("GET", "/flavors/detail")
async def list_flavors_detail(call: Call) -> Answer:
    rows, following = _flavors(call)
    return paged(call, "flavors", [_flavor_view(call, row) for row in rows], following)


def _flavor(call: Call) -> Record:
    ident = call.arguments["id"]
    if ident not in call.region.flavors:
        raise Refusal(nova_error(404, f"Flavor {ident} could not be found."))
    return call.region.flavors[ident]


@routes.add("GET", "/flavors/{id}")
async def show_flavor(call: Call) -> Answer:
    return Answer(200, {"flavor": _flavor_view(call, _flavor(call))})


@routes.add("GET", "/flavors/{id}/os-extra_specs")
async def flavor_extra_specs(call: Call) -> Answer:
    return Answer(200, {"extra_specs": _flavor(call)["extra_specs"]})


@routes.add("POST", "/flavors")
async def create_flavor(call: Call) -> Answer:
    _admin_only(call, "os-flavor-manage:create")
    wish = call.object("flavor")
    ident = str(wish.get("id") or new_id())
    flavor = {key: wish[key] for key in ("name", "ram", "disk", "vcpus")} | {"id": ident, "extra_specs": {}}
    call.region.flavors[ident] = flavor
    return Answer(200, {"flavor": _flavor_view(call, flavor)})


@routes.add("DELETE", "/flavors/{id}")
async def delete_flavor(call: Call) -> Answer:
    _admin_only(call, "os-flavor-manage:delete")
    del call.region.flavors[_flavor(call)["id"]]
    return Answer(202)


def _admin_only(call: Call, policy: str) -> None:
    if not call.is_admin:
        raise Refusal(nova_error(403, f"Policy doesn't allow os_compute_api:{policy} to be performed."))


@routes.add("GET", "/os-availability-zone")
async def availability_zones(call: Call) -> Answer:
    rows = [
        {"zoneName": zone, "zoneState": {"available": True}, "hosts": None}
        for zone in sorted(call.region.spec.availability_zones)
    ]
    return Answer(200, {"availabilityZoneInfo": rows})


@routes.add("GET", "/os-availability-zone/detail")
async def availability_zones_detail(call: Call) -> Answer:
    _admin_only(call, "os-availability-zone:detail")
    return await availability_zones(call)


@routes.add("GET", "/os-hypervisors")
@routes.add("GET", "/os-hypervisors/detail")
async def hypervisors(call: Call) -> Answer:
    _admin_only(call, "os-hypervisors:list")
    row = {
        "id": fixed_uuid(call.region.label, "host"),
        "hypervisor_hostname": "host1",
        "state": "up",
        "status": "enabled",
    }
    return Answer(200, {"hypervisors": [row]})


@routes.add("GET", "/os-services")
async def services(call: Call) -> Answer:
    _admin_only(call, "os-services:list")
    zone = call.region.spec.availability_zones[0]
    row = {"binary": "nova-compute", "host": "host1", "id": fixed_uuid(call.region.label, "service"), "zone": zone}
    return Answer(
        200,
        {
            "services": [
                {
                    **row,
                    "status": "enabled",
                    "state": "up",
                    "updated_at": stamp(pattern=MICROS),
                    "disabled_reason": None,
                }
            ]
        },
    )


@routes.add("GET", "/extensions")
async def extensions(call: Call) -> Answer:
    return Answer(200, {"extensions": []})


def _limit(region: Region, name: str, add: int) -> int:
    return region.quota[name] + add if region.quota[name] >= 0 else -1


def _lie(region: Region) -> int:
    fault = region.strikes("quota-lies")
    return int(fault.parameters.get("add", 100)) if fault else 0


@routes.add("GET", "/limits")
async def limits(call: Call) -> Answer:
    region, add = call.region, _lie(call.region)
    used = region.used()
    absolute = {
        "maxTotalInstances": _limit(region, "instances", add),
        "maxTotalCores": _limit(region, "cores", add),
        "maxTotalRAMSize": _limit(region, "ram", add * 1024),
        "maxServerMeta": region.quota["metadata_items"],
        "maxTotalKeypairs": region.quota["key_pairs"],
        "maxServerGroups": region.quota["server_groups"],
        "maxServerGroupMembers": region.quota["server_group_members"],
        "totalRAMUsed": used["ram"],
        "totalCoresUsed": used["cores"],
        "totalInstancesUsed": used["instances"],
        "totalServerGroupsUsed": len(region.server_groups),
    }
    if not call.at_least(36):
        absolute |= {"maxTotalFloatingIps": -1, "maxSecurityGroups": -1, "maxSecurityGroupRules": -1}
        absolute |= {"totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0}
    if not call.at_least(39):
        absolute["maxImageMeta"] = 128
    if not call.at_least(57):
        absolute |= {"maxPersonality": 5, "maxPersonalitySize": 10240}
    return Answer(200, {"limits": {"rate": [], "absolute": absolute}})


def _quota_values(call: Call, add: int) -> dict[str, int]:
    region = call.region
    values = {
        "cores": _limit(region, "cores", add),
        "instances": _limit(region, "instances", add),
        "key_pairs": region.quota["key_pairs"],
        "metadata_items": region.quota["metadata_items"],
        "ram": _limit(region, "ram", add * 1024),
        "server_group_members": region.quota["server_group_members"],
        "server_groups": region.quota["server_groups"],
    }
    if not call.at_least(36):
        values |= {"fixed_ips": -1, "floating_ips": -1, "security_group_rules": -1, "security_groups": -1}
    if not call.at_least(57):
        values |= {"injected_file_content_bytes": 10240, "injected_file_path_bytes": 255, "injected_files": 5}
    return values


@routes.add("GET", "/os-quota-sets/{project}")
@routes.add("GET", "/os-quota-sets/{project}/defaults")
async def show_quota(call: Call) -> Answer:
    return Answer(200, {"quota_set": {"id": call.arguments["project"], **_quota_values(call, _lie(call.region))}})


@routes.add("GET", "/os-quota-sets/{project}/detail")
async def show_quota_detail(call: Call) -> Answer:
    used = call.region.used() | {"server_groups": len(call.region.server_groups)}
    used["floating_ips"] = 0
    rows = {
        name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
        for name, limit in _quota_values(call, _lie(call.region)).items()
    }
    return Answer(200, {"quota_set": {"id": call.arguments["project"], **rows}})


@routes.add("PUT", "/os-quota-sets/{project}")
async def set_quota(call: Call) -> Answer:
    _admin_only(call, "os-quota-sets:update")
    for name, value in call.object("quota_set").items():
        if name in call.region.quota:
            call.region.quota[name] = int(value)
    return Answer(200, {"quota_set": _quota_values(call, 0)})


@routes.add("GET", "/os-keypairs")
async def list_keypairs(call: Call) -> Answer:
    rows = []
    for row in call.region.keypairs.values():
        view = {key: row[key] for key in ("name", "public_key", "fingerprint")}
        rows.append({"keypair": view | ({"type": "ssh"} if call.at_least(2) else {})})
    return Answer(200, {"keypairs": rows})


@routes.add("POST", "/os-keypairs")
async def create_keypair(call: Call) -> Answer:
    region, wish = call.region, call.object("keypair")
    name, public_key = wish.get("name", ""), wish.get("public_key")
    private = None
    if public_key is None:
        if call.at_least(92):
            raise Refusal(
                nova_error(400, "Invalid input for field/attribute keypair. 'public_key' is a required property")
            )
        private, public_key = _generate()
    fingerprint = _fingerprint(public_key)
    if name in region.keypairs:
        raise Refusal(nova_error(409, f"Key pair '{name}' already exists."))
    if 0 <= region.quota["key_pairs"] <= len(region.keypairs):
        raise Refusal(nova_error(403, "Quota exceeded, too many key pairs."))
    assert call.token is not None
    row: Record = {
        "name": name,
        "public_key": public_key,
        "fingerprint": fingerprint,
        "user_id": call.token.user_id,
        "created_at": stamp(pattern=MICROS),
        "deleted": False,
        "deleted_at": None,
        "id": len(region.keypairs) + 1,
        "updated_at": None,
        "type": "ssh",
    }
    region.keypairs[name] = row
    region.ledger.created("keypair", f"keypair:{name}", name)
    view = {key: row[key] for key in ("type", "name", "public_key", "fingerprint", "user_id")}
    if private:
        view["private_key"] = private
    return Answer(201 if call.at_least(2) else 200, {"keypair": view})


def _generate() -> tuple[str, str]:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    return key.export_private_key("pkcs1-pem").decode(), key.export_public_key().decode().strip() + " Generated-by-Nova"


def _fingerprint(public_key: str) -> str:
    parts = public_key.split()
    try:
        data = base64.b64decode(parts[1], validate=True)
        if len(parts) < 2 or not data[4:].startswith(parts[0].encode()):
            raise ValueError
    except (ValueError, IndexError):
        raise Refusal(nova_error(400, "Keypair data is invalid: failed to generate fingerprint")) from None
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return ":".join(digest[index : index + 2] for index in range(0, 32, 2))


def _keypair(call: Call) -> Record:
    name = call.arguments["name"]
    assert call.token is not None
    if name not in call.region.keypairs:
        raise Refusal(nova_error(404, f"Keypair {name} not found for user {call.token.user_id}"))
    return call.region.keypairs[name]


@routes.add("GET", "/os-keypairs/{name}")
async def show_keypair(call: Call) -> Answer:
    return Answer(200, {"keypair": _keypair(call)})


@routes.add("DELETE", "/os-keypairs/{name}")
async def delete_keypair(call: Call) -> Answer:
    name = _keypair(call)["name"]
    del call.region.keypairs[name]
    call.region.ledger.deleted(f"keypair:{name}")
    return Answer(204 if call.at_least(2) else 202)


def _group_view(call: Call, group: Record) -> Record:
    view = {key: value for key, value in group.items() if key != "policy"}
    if call.at_least(64):
        return view | {"policy": group["policy"], "rules": {}}
    return view | {"policies": [group["policy"]], "metadata": {}}


@routes.add("GET", "/os-server-groups")
async def list_groups(call: Call) -> Answer:
    return Answer(200, {"server_groups": [_group_view(call, row) for row in call.region.server_groups.values()]})


@routes.add("POST", "/os-server-groups")
async def create_group(call: Call) -> Answer:
    region, wish = call.region, call.object("server_group")
    if 0 <= region.quota["server_groups"] <= len(region.server_groups):
        raise Refusal(nova_error(403, "Quota exceeded, too many server groups."))
    policy = wish.get("policy") or (wish.get("policies") or ["affinity"])[0]
    assert call.token is not None
    group = {
        "id": new_id(),
        "name": wish["name"],
        "policy": policy,
        "members": [],
        "project_id": call.project,
        "user_id": call.token.user_id,
    }
    region.server_groups[group["id"]] = group
    region.ledger.created("server_group", group["id"], group["name"])
    return Answer(200, {"server_group": _group_view(call, group)})


def _group(call: Call) -> Record:
    ident = call.arguments["id"]
    if ident not in call.region.server_groups:
        raise Refusal(nova_error(404, f"Instance group {ident} could not be found."))
    return call.region.server_groups[ident]


@routes.add("GET", "/os-server-groups/{id}")
async def show_group(call: Call) -> Answer:
    return Answer(200, {"server_group": _group_view(call, _group(call))})


@routes.add("DELETE", "/os-server-groups/{id}")
async def delete_group(call: Call) -> Answer:
    ident = _group(call)["id"]
    del call.region.server_groups[ident]
    call.region.ledger.deleted(ident)
    return Answer(204)
