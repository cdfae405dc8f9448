"""Nova's servers: create, list, show, update, delete. Metadata and tags are in `labels`, what can be done in `actions`."""

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from trunkline.dev.cloud import life
from trunkline.dev.cloud.api.compute import links, paged
from trunkline.dev.cloud.api.ports import add_port
from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, nova_error, page
from trunkline.dev.cloud.world import MICROS, Record, Region, Server, new_id, stamp

routes = Routes()

_FIELDS = frozenset(
    [
        "name",
        "imageRef",
        "flavorRef",
        "networks",
        "key_name",
        "metadata",
        "config_drive",
        "user_data",
        "availability_zone",
        "security_groups",
        "min_count",
        "max_count",
        "tags",
        "block_device_mapping_v2",
        "block_device_mapping",
        "description",
        "adminPass",
        "accessIPv4",
        "accessIPv6",
        "personality",
        "OS-DCF:diskConfig",
        "return_reservation_id",
        "host",
        "hypervisor_hostname",
        "hostname",
        "trusted_image_certificates",
        "os:scheduler_hints",
    ]
)
_USER_DATA_LIMIT = 65535

Plug = Callable[[Server], None]


def _bad(message: str) -> Refusal:
    return Refusal(nova_error(400, message))


@routes.add("POST", "/servers")
@routes.add("POST", "/os-volumes_boot")
async def create_server(call: Call) -> Answer:
    if not isinstance(call.body, dict):
        raise _bad("Malformed request body")
    wish = call.object("server")
    _check_fields(call, wish)
    region = call.region
    flavor = _flavor(call, wish)
    image_id = _image(call, wish)
    networks = _networks(call, wish)
    keys = _keys(call, wish)
    zone = _zone(call, wish)
    groups = _security_groups(call, wish)
    count = int(wish.get("max_count") or wish.get("min_count") or 1)
    _check_quota(call, flavor, count)
    hints = call.body.get("os:scheduler_hints") or call.body.get("OS-SCH-HNT:scheduler_hints") or {}
    reservation = None
    made: list[Server] = []
    for number in range(count):
        server = _make(call, wish, flavor, image_id, keys, zone)
        server.security_groups = groups
        if count > 1:
            server.name = f"{server.name}-{number + 1}"
        server.reservation_id = reservation = reservation or server.reservation_id
        _join_group(region, server, hints.get("group"))
        _attach_boot_volume(call, server, wish)
        region.servers[server.id] = server
        region.ledger.created("server", server.id, server.name)
        life.start_action(server, "create", call.request_id)
        region.spawn(life.boot(region, server, networks))
        made.append(server)
    region.note_peaks()
    if region.strikes("create-500"):
        raise Refusal(nova_error(500, "Unexpected API Error. Please report this."))
    if wish.get("return_reservation_id"):
        return Answer(202, {"reservation_id": reservation})
    server = made[0]
    view = {
        "id": server.id,
        "links": links(call, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": name} for name in groups] or [{"name": "default"}],
        "adminPass": server.admin_password,
    }
    return Answer(202, {"server": view}, {"location": f"{call.root}/v2.1/servers/{server.id}"})


def _check_fields(call: Call, wish: Record) -> None:
    region = call.region
    if unknown := sorted(set(wish) - _FIELDS):
        names = ", ".join(f"'{name}'" for name in unknown)
        raise _bad(
            f"Invalid input for field/attribute server. Value: {wish}. Additional properties are not allowed ({names} was unexpected)"
        )
    name = wish.get("name")
    if not isinstance(name, str) or not name:
        raise _bad("Invalid input for field/attribute name. Value: . '' is too short")
    if len(name) > 255:
        raise _bad(f"Invalid input for field/attribute name. Value: {name}. '{name}' is too long")
    if "flavorRef" not in wish:
        raise _bad(f"Invalid input for field/attribute server. Value: {wish}. 'flavorRef' is a required property")
    if call.at_least(37) and "networks" not in wish:
        raise _bad(f"Invalid input for field/attribute server. Value: {wish}. 'networks' is a required property")
    check_metadata(region, wish.get("metadata") or {})
    user_data = wish.get("user_data")
    if user_data is not None:
        if len(user_data) > _USER_DATA_LIMIT:
            raise _bad(
                f"Invalid input for field/attribute user_data. Value: {user_data[:40]}…. '{user_data[:40]}…' is too long"
            )
        try:
            base64.b64decode(user_data, validate=True)
        except (binascii.Error, ValueError):
            raise _bad(
                f"Invalid input for field/attribute user_data. Value: {user_data}. '{user_data}' is not a 'base64'"
            ) from None


def check_metadata(region: Region, metadata: Record) -> None:
    limit = region.quota["metadata_items"]
    if fault := region.strikes("metadata-limit"):
        limit = int(fault.parameters.get("items", 5))
    if 0 <= limit < len(metadata):
        raise Refusal(nova_error(403, f"Maximum number of metadata items exceeds {limit}"))
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise _bad(f"Invalid input for field/attribute {key}. Value: {value}. {value!r} is not of type 'string'")
        if len(value) > 255:
            raise _bad(f"Invalid input for field/attribute {key}. Value: {value}. '{value}' is too long")
        if not re.fullmatch(r"[a-zA-Z0-9-_:. ]{1,255}", key):
            raise _bad(
                f"Invalid input for field/attribute metadata. Value: {metadata}. Additional properties are not allowed ('{key}' was unexpected)"
            )


def _flavor(call: Call, wish: Record) -> Record:
    reference = str(wish["flavorRef"]).rsplit("/", 1)[-1]
    flavor = call.region.flavors.get(reference)
    if flavor is None:
        raise _bad(f"Flavor {reference} could not be found.")
    return flavor


def _image(call: Call, wish: Record) -> str:
    region = call.region
    reference = str(wish.get("imageRef") or "").rsplit("/", 1)[-1]
    for device in wish.get("block_device_mapping_v2") or []:
        if device.get("source_type") == "volume" and device.get("uuid") not in region.volumes:
            raise _bad(f"Volume {device.get('uuid')} could not be found.")
        if device.get("source_type") == "volume":
            volume = region.volumes[device["uuid"]]
            reference = reference or str((volume.get("volume_image_metadata") or {}).get("image_id", ""))
        if device.get("source_type") == "image":
            reference = reference or str(device.get("uuid"))
    image = region.images.get(reference)
    if image is None or image["status"] != "active" or region.strikes("image-missing"):
        raise _bad("Can not find requested image" if image is None else f"Image {reference} is not active.")
    return reference


def _keys(call: Call, wish: Record) -> list[str]:
    name = wish.get("key_name")
    if not name:
        return []
    if name not in call.region.keypairs:
        raise _bad("Invalid key_name provided.")
    return [call.region.keypairs[name]["public_key"]]


def _zone(call: Call, wish: Record) -> str:
    zones = call.region.spec.availability_zones
    zone = (wish.get("availability_zone") or "").split(":")[0]
    if not zone:
        return zones[len(call.region.ledger.entries) % len(zones)]
    if zone not in zones:
        raise _bad("The requested availability zone is not available")
    return zone


def _security_groups(call: Call, wish: Record) -> list[str]:
    names = [group.get("name", "") for group in wish.get("security_groups") or []]
    known = {key for row in call.region.security_groups.values() for key in (row["name"], row["id"])}
    for name in names:
        if name not in known and call.region.profile.topology != "nova":
            raise _bad(f"Unable to find security_group with name or id '{name}'")
    return names


def _networks(call: Call, wish: Record) -> list[Plug]:
    """What to plug in, checked now, plugged in when the server is being built."""
    region, wanted = call.region, wish.get("networks")
    if region.profile.topology == "nova":
        return [partial(_plug_network, region, network["id"], None) for network in region.networks.values()]
    if wanted == "none":
        return []
    if wanted in (None, "auto", []):
        candidates = [row for row in region.networks.values() if row["shared"] or row["project_id"] == call.project]
        if len(candidates) > 1:
            raise Refusal(nova_error(409, "Multiple possible networks found, use a Network ID to be more specific."))
        return [partial(_plug_network, region, row["id"], None) for row in candidates]
    plugs: list[Plug] = []
    for item in wanted:
        if item.get("port"):
            port = region.ports.get(item["port"])
            if port is None:
                raise _bad(f"Port id {item['port']} could not be found.")
            if port["device_id"]:
                raise Refusal(nova_error(409, f"Port {port['id']} is still in use."))
            plugs.append(partial(_plug_port, region, port["id"]))
            continue
        network = region.networks.get(item.get("uuid", ""))
        if network is None:
            raise _bad(f"Network {item.get('uuid')} could not be found.")
        if network["router:external"] and not network["shared"] and not call.is_admin:
            raise Refusal(
                nova_error(403, f"It is not allowed to create an interface on external network {network['id']}")
            )
        plugs.append(partial(_plug_network, region, network["id"], item.get("fixed_ip")))
    ports = region.quota["ports"]
    if 0 <= ports < len([row for row in region.ports.values() if row["project_id"] == call.project]) + len(plugs):
        raise Refusal(nova_error(403, f"The number of defined ports: {len(plugs)} is over the limit: {ports}"))
    return plugs


def _plug_network(region: Region, network_id: str, address: str | None, server: Server) -> None:
    network = region.networks.get(network_id)
    if network is None:
        return
    names = {row["name"]: row["id"] for row in region.security_groups.values()}
    groups = (
        [names.get(name, name) for name in server.security_groups or ["default"]]
        if network["port_security_enabled"]
        else []
    )
    fixed = [{"ip_address": address}] if address else None
    try:
        port = add_port(region, network, server.project_id, fixed_ips=fixed, security_groups=groups)
    except Refusal as refusal:
        life.fail(server, f"Failed to allocate the network(s): {refusal.answer.body}")
        return
    port.update({"device_id": server.id, "device_owner": f"compute:{server.availability_zone}"})
    server.ports.append(port["id"])
    server.own_ports.append(port["id"])


def _plug_port(region: Region, port_id: str, server: Server) -> None:
    port = region.ports[port_id]
    port.update({"device_id": server.id, "device_owner": f"compute:{server.availability_zone}"})
    server.ports.append(port_id)


def _check_quota(call: Call, flavor: Record, count: int) -> None:
    region, used = call.region, call.region.used()
    if region.strikes("quota-full"):
        already = used["instances"]
        raise Refusal(
            nova_error(
                403,
                f"Quota exceeded for instances: Requested {count}, but already used {already} of {already} instances",
            )
        )
    for name, wanted in (("instances", count), ("cores", flavor["vcpus"] * count), ("ram", flavor["ram"] * count)):
        limit = region.quota[name]
        if 0 <= limit < used[name] + wanted:
            message = f"Quota exceeded for {name}: Requested {wanted}, but already used {used[name]} of {limit} {name}"
            raise Refusal(nova_error(403, message))


def _make(call: Call, wish: Record, flavor: Record, image_id: str, keys: list[str], zone: str) -> Server:
    assert call.token is not None
    now = time.time()
    return Server(
        id=new_id(),
        name=wish["name"],
        project_id=call.project,
        user_id=call.token.user_id,
        image_id=image_id,
        flavor=flavor,
        metadata=dict(wish.get("metadata") or {}),
        key_name=wish.get("key_name"),
        public_keys=keys,
        user_data=wish.get("user_data") or "",
        config_drive=bool(wish.get("config_drive")),
        availability_zone=zone,
        created=now,
        updated=now,
        description=wish.get("description"),
        tags=list(wish.get("tags") or []),
    )


def _join_group(region: Region, server: Server, group: str | None) -> None:
    if group is None:
        return
    if group not in region.server_groups:
        raise _bad(f"Instance group {group} could not be found.")
    server.group_id = group
    region.server_groups[group]["members"].append(server.id)


def _attach_boot_volume(call: Call, server: Server, wish: Record) -> None:
    region = call.region
    for device in wish.get("block_device_mapping_v2") or []:
        if device.get("destination_type") != "volume":
            continue
        if device.get("source_type") == "volume":
            volume = region.volumes[device["uuid"]]
        else:
            from trunkline.dev.cloud.api.volume import add_volume

            volume = add_volume(region, call.project, "", int(device.get("volume_size") or 1))
            volume["bootable"] = "true"
        attach_volume(region, server, volume, "/dev/vda", bool(device.get("delete_on_termination")))


def attach_volume(region: Region, server: Server, volume: Record, device: str, delete: bool) -> Record:
    attachment = {"id": volume["id"], "delete_on_termination": delete}
    server.volumes.append(attachment)
    volume["status"] = "in-use"
    volume["attachments"] = [
        {
            "id": volume["id"],
            "attachment_id": new_id(),
            "volume_id": volume["id"],
            "server_id": server.id,
            "host_name": None,
            "device": device,
            "attached_at": stamp(pattern=MICROS),
        }
    ]
    return attachment


def find(call: Call) -> Server:
    """The server named in the path, or nova's 404 for it."""
    ident = call.arguments["id"]
    server = call.region.servers.get(ident)
    if server is None or (server.project_id != call.project and not call.is_admin):
        raise Refusal(nova_error(404, f"Instance {ident} could not be found."))
    return server


def _addresses(region: Region, server: Server, with_types: bool = True) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for ident in server.ports:
        port = region.ports.get(ident)
        if port is None:
            continue
        rows = found.setdefault(region.networks[port["network_id"]]["name"], [])
        floating = [row["floating_ip_address"] for row in region.floating_ips.values() if row["port_id"] == ident]
        fixed = [fixed["ip_address"] for fixed in port["fixed_ips"]]
        for address, kind in [*((one, "fixed") for one in fixed), *((one, "floating") for one in floating)]:
            row: Record = {"version": 6 if ":" in address else 4, "addr": address}
            if with_types:
                row |= {"OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": port["mac_address"]}
            rows.append(row)
    return found


def view(call: Call, server: Server, is_listed: bool = False) -> Record:
    """A server as GET shows it, by the client's microversion. Lists leave its groups out."""
    region = call.region
    addresses = _addresses(region, server)
    is_nova_network = region.profile.topology == "nova"
    access = next((row["addr"] for row in addresses.get(region.profile.provider_network, []) if is_nova_network), "")
    flavor = server.flavor
    image_links = [{"rel": "bookmark", "href": f"{call.root}/images/{server.image_id}"}]
    result: Record = {
        "id": server.id,
        "name": server.name,
        "status": server.status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.metadata,
        "hostId": hashlib.sha224(f"{server.project_id}{server.availability_zone}".encode()).hexdigest()
        if server.launched
        else "",
        "image": {"id": server.image_id, "links": image_links} if server.image_id else "",
        "flavor": {"id": flavor["id"], "links": [{"rel": "bookmark", "href": f"{call.root}/flavors/{flavor['id']}"}]},
        "created": stamp(server.created),
        "updated": stamp(server.updated),
        "addresses": addresses if server.status != "DELETED" else {},
        "accessIPv4": access,
        "accessIPv6": "",
        "links": links(call, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": server.availability_zone
        if server.status != "BUILD" or server.task_state == "spawning"
        else "",
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": stamp(server.launched, MICROS) if server.launched else None,
        "OS-SRV-USG:terminated_at": stamp(server.terminated, MICROS) if server.terminated else None,
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [
            row if call.at_least(3) else {"id": row["id"]} for row in server.volumes
        ],
    }
    if server.status in ("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "PASSWORD", "MIGRATING"):
        result["progress"] = 0
    if server.fault and server.status in ("ERROR", "DELETED"):
        result["fault"] = server.fault
    if groups := _group_names(region, server):
        result["security_groups"] = [{"name": name} for name in groups]
    _later_fields(call, server, result)
    if call.at_least(71) and not is_listed:
        result["server_groups"] = [server.group_id] if server.group_id else []
    return result


def _group_names(region: Region, server: Server) -> list[str]:
    idents = [ident for port in server.ports if port in region.ports for ident in region.ports[port]["security_groups"]]
    return [region.security_groups[ident]["name"] for ident in dict.fromkeys(idents) if ident in region.security_groups]


def _later_fields(call: Call, server: Server, result: Record) -> None:
    flavor = server.flavor
    if call.at_least(9):
        result["locked"] = server.is_locked
    if call.at_least(19):
        result["description"] = server.description
    if call.at_least(26):
        result["tags"] = server.tags
    if call.at_least(47):
        result["flavor"] = {
            "vcpus": flavor["vcpus"],
            "ram": flavor["ram"],
            "disk": flavor["disk"],
            "ephemeral": 0,
            "swap": 0,
            "original_name": flavor["name"],
            "extra_specs": flavor["extra_specs"],
        }
    if call.at_least(63):
        result["trusted_image_certificates"] = None
    if call.at_least(73):
        result["locked_reason"] = None
    if call.at_least(90):
        result["OS-EXT-SRV-ATTR:hostname"] = re.sub(r"[^a-z0-9.-]+", "-", server.name.lower())[:63]


def _listed(call: Call) -> list[Server]:
    region, query = call.region, call.query
    if query.get("all_tenants", "0").lower() in ("1", "true") and not call.is_admin:
        raise Refusal(
            nova_error(403, "Policy doesn't allow os_compute_api:servers:detail:get_all_tenants to be performed.")
        )
    everyone = call.is_admin and query.get("all_tenants", "0").lower() in ("1", "true")
    servers = [*region.servers.values(), *(one for one in region.deleted_servers.values() if one.is_ghost)]
    since = query.get("changes-since")
    if since and since != "None":
        servers = [*region.servers.values(), *region.deleted_servers.values()]
        try:
            after = datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp()
        except ValueError:
            raise _bad(
                f"Invalid input for query parameters changes-since. Value: {since}. '{since}' is not a 'date-time'"
            ) from None
        servers = [one for one in servers if one.updated >= after]
    if fault := region.strikes("stale-list"):
        servers = _as_of(region, servers, time.time() - float(fault.parameters.get("lag_s", 5)))
    servers = [one for one in servers if everyone or one.project_id == call.project]
    return sorted(_filtered(call, servers), key=lambda one: (-one.created, one.id))


def _as_of(region: Region, servers: list[Server], then: float) -> list[Server]:
    """The servers that a list that lags would show: new ones not yet, deleted ones still."""
    gone = [one for one in region.deleted_servers.values() if (one.terminated or 0) > then and one not in servers]
    return [one for one in [*servers, *gone] if one.created <= then]


def _filtered(call: Call, servers: list[Server]) -> list[Server]:
    def wanted(name: str) -> str | None:
        value = call.query.get(name)
        return None if value in (None, "", "None") else value

    if name := wanted("name"):
        try:
            pattern = re.compile(name)
        except re.error:
            raise _bad("Invalid regular expression") from None
        servers = [one for one in servers if pattern.search(one.name)]
    if statuses := [value.upper() for value in call.query.getall("status", []) if value != "None"]:
        servers = [one for one in servers if one.status in statuses]
    if flavor := wanted("flavor"):
        servers = [one for one in servers if one.flavor["id"] == flavor]
    if image := wanted("image"):
        servers = [one for one in servers if one.image_id == image]
    if zone := wanted("availability_zone"):
        servers = [one for one in servers if one.availability_zone == zone]
    if key := wanted("key_name"):
        servers = [one for one in servers if one.key_name == key]
    if reservation := wanted("reservation_id"):
        servers = [one for one in servers if one.reservation_id == reservation]
    if tags := wanted("tags"):
        servers = [one for one in servers if set(tags.split(",")) <= set(one.tags)]
    if ident := wanted("uuid"):
        servers = [one for one in servers if one.id == ident]
    return servers


def _page(call: Call) -> tuple[list[Server], str | None]:
    servers = {one.id: one for one in _listed(call)}
    rows: list[dict[str, Any]] = [{"id": ident} for ident in servers]
    rows, following = page(call, rows)
    return [servers[row["id"]] for row in rows], following


@routes.add("GET", "/servers")
async def list_servers(call: Call) -> Answer:
    servers, following = _page(call)
    rows = [{"id": one.id, "name": one.name, "links": links(call, "servers", one.id)} for one in servers]
    return paged(call, "servers", rows, following)


@routes.add("GET", "/servers/detail")
async def list_servers_detail(call: Call) -> Answer:
    servers, following = _page(call)
    return paged(call, "servers", [view(call, one, is_listed=True) for one in servers], following)


@routes.add("GET", "/servers/{id}")
async def show_server(call: Call) -> Answer:
    server = find(call)
    if call.region.strikes("ghost", server):
        raise Refusal(nova_error(404, f"Instance {server.id} could not be found."))
    return Answer(200, {"server": view(call, server)})


@routes.add("PUT", "/servers/{id}")
async def update_server(call: Call) -> Answer:
    server, wish = find(call), call.object("server")
    server.name = wish.get("name", server.name)
    server.description = wish.get("description", server.description)
    server.updated = time.time()
    return Answer(200, {"server": view(call, server)})


@routes.add("DELETE", "/servers/{id}")
async def delete_server(call: Call) -> Answer:
    server = find(call)
    if server.is_locked and not call.is_admin:
        raise Refusal(nova_error(409, f"Instance {server.id} is locked"))
    life.start_action(server, "delete", call.request_id)
    call.region.spawn(life.delete(call.region, server))
    return Answer(204)


@routes.add("GET", "/servers/{id}/ips")
async def addresses(call: Call) -> Answer:
    return Answer(200, {"addresses": _addresses(call.region, find(call), with_types=False)})
