"""What can be done to a server: power, rebuild, snapshot, lock, console; interfaces, volumes, history."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from trunkline.dev.cloud import life
from trunkline.dev.cloud.api.ports import add_port
from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, nova_error
from trunkline.dev.cloud.api.servers import attach_volume, find, view
from trunkline.dev.cloud.world import Record, Region, Server, new_id, stamp

routes = Routes()

Action = Callable[[Call, Server, Record], Awaitable[Answer]]
_ACTIONS: dict[str, Action] = {}


def _action(name: str) -> Callable[[Action], Action]:
    def register(function: Action) -> Action:
        _ACTIONS[name] = function
        return function

    return register


@routes.add("POST", "/servers/{id}/action")
async def act(call: Call) -> Answer:
    server = find(call)
    if not isinstance(call.body, dict) or len(call.body) != 1:
        raise Refusal(nova_error(400, "Malformed request body"))
    name, argument = next(iter(call.body.items()))
    if name not in _ACTIONS:
        raise Refusal(nova_error(400, f"There is no such action: {name}"))
    return await _ACTIONS[name](call, server, argument if isinstance(argument, dict) else {})


def _require(server: Server, action: str, *states: str) -> None:
    if server.vm_state not in states:
        raise Refusal(
            nova_error(409, f"Cannot '{action}' instance {server.id} while it is in vm_state {server.vm_state}")
        )
    if server.task_state is not None:
        raise Refusal(
            nova_error(409, f"Cannot '{action}' instance {server.id} while it is in task_state {server.task_state}")
        )


def _unlocked(call: Call, server: Server) -> None:
    if server.is_locked and not call.is_admin:
        raise Refusal(nova_error(409, f"Instance {server.id} is locked"))


def _is_there(region: Region, server: Server) -> bool:
    return server.id in region.servers and server.task_state != "deleting"


@_action("reboot")
async def reboot(call: Call, server: Server, argument: Record) -> Answer:
    _unlocked(call, server)
    _require(server, "reboot", "active", "stopped", "error")
    is_hard = argument.get("type") == "HARD"
    life.start_action(server, "reboot", call.request_id)
    life.set_state(
        server, "HARD_REBOOT" if is_hard else "REBOOT", "active", "rebooting_hard" if is_hard else "rebooting"
    )
    call.region.spawn(_reboot(call.region, server))
    return Answer(202)


async def _reboot(region: Region, server: Server) -> None:
    _halt(server)
    await region.pace.wait(region.spec.timings.action)
    if _is_there(region, server):
        await _power_on(region, server, "reboot")


def _halt(server: Server) -> None:
    server.is_reachable = False
    if server.host is not None:
        server.host.halt()


async def _power_on(region: Region, server: Server, action: str) -> None:
    if server.host is None or not server.host.is_alive:
        life.start_host(region, server)
    life.set_state(server, "ACTIVE", "active", None, power_state=1)
    life.finish_action(server, action)
    await life.open_ssh(region, server, region.pace.draw(region.spec.timings.ssh))


@_action("os-stop")
async def stop(call: Call, server: Server, argument: Record) -> Answer:
    _unlocked(call, server)
    _require(server, "stop", "active", "error")
    life.start_action(server, "stop", call.request_id)
    life.set_state(server, "ACTIVE", "active", "powering-off")
    call.region.spawn(_stop(call.region, server))
    return Answer(202)


async def _stop(region: Region, server: Server) -> None:
    _halt(server)
    await region.pace.wait(region.spec.timings.action)
    if _is_there(region, server):
        life.set_state(server, "SHUTOFF", "stopped", None, power_state=4)
        life.finish_action(server, "stop")


@_action("os-start")
async def start(call: Call, server: Server, argument: Record) -> Answer:
    _unlocked(call, server)
    _require(server, "start", "stopped")
    life.start_action(server, "start", call.request_id)
    life.set_state(server, "SHUTOFF", "stopped", "powering-on")
    call.region.spawn(_start(call.region, server))
    return Answer(202)


async def _start(region: Region, server: Server) -> None:
    await region.pace.wait(region.spec.timings.action)
    if _is_there(region, server):
        await _power_on(region, server, "start")


@_action("rebuild")
async def rebuild(call: Call, server: Server, argument: Record) -> Answer:
    _unlocked(call, server)
    _require(server, "rebuild", "active", "stopped", "error")
    image = call.region.images.get(str(argument.get("imageRef", "")).rsplit("/", 1)[-1])
    if image is None:
        raise Refusal(nova_error(400, "Cannot find image for rebuild"))
    server.image_id = image["id"]
    server.name = argument.get("name", server.name)
    if "metadata" in argument:
        server.metadata = dict(argument["metadata"])
    if "user_data" in argument:
        server.user_data = argument["user_data"] or ""
    life.start_action(server, "rebuild", call.request_id)
    life.set_state(server, "REBUILD", "active", "rebuilding")
    call.region.spawn(_rebuild(call.region, server))
    return Answer(202, {"server": {**view(call, server), "adminPass": server.admin_password}})


async def _rebuild(region: Region, server: Server) -> None:
    life.stop_host(server)
    server.console = ""
    await region.pace.wait(region.spec.timings.action)
    if _is_there(region, server):
        await _power_on(region, server, "rebuild")


@_action("createImage")
async def create_image(call: Call, server: Server, argument: Record) -> Answer:
    _require(server, "createImage", "active", "stopped", "paused", "suspended")
    from trunkline.dev.cloud.api.image import add_image

    image = add_image(
        call.region,
        call.project,
        name=argument["name"],
        disk_format="raw",
        container_format="bare",
        visibility="private",
    )
    image.update({str(key): value for key, value in (argument.get("metadata") or {}).items()})
    image["trunkline_base"] = life.image_name(call.region, server)
    image["image_type"] = "snapshot"
    life.start_action(server, "createImage", call.request_id)
    life.set_state(server, server.status, server.vm_state, "image_snapshot_pending")
    call.region.spawn(_snapshot(call.region, server, image))
    location = f"{call.region.endpoint}/image/v2/images/{image['id']}"
    return Answer(202, {"image_id": image["id"]} if call.at_least(45) else None, {"Location": location})


async def _snapshot(region: Region, server: Server, image: Record) -> None:
    await region.pace.wait(region.spec.timings.action)
    image.update({"status": "active", "size": 1024, "updated_at": stamp()})
    if _is_there(region, server):
        life.set_state(server, server.status, server.vm_state, None)
        life.finish_action(server, "createImage")


@_action("lock")
async def lock(call: Call, server: Server, argument: Record) -> Answer:
    server.is_locked = True
    return Answer(202)


@_action("unlock")
async def unlock(call: Call, server: Server, argument: Record) -> Answer:
    server.is_locked = False
    return Answer(202)


@_action("os-getConsoleOutput")
async def console(call: Call, server: Server, argument: Record) -> Answer:
    lines = server.console.splitlines()
    length = argument.get("length")
    if length not in (None, "", -1):
        lines = lines[-int(length) :]
    return Answer(200, {"output": "\n".join(lines)})


@_action("addSecurityGroup")
async def add_security_group(call: Call, server: Server, argument: Record) -> Answer:
    names = {row["name"]: row["id"] for row in call.region.security_groups.values()}
    name = argument.get("name", "")
    if name not in names:
        raise Refusal(nova_error(404, f"Security group {name} not found."))
    server.security_groups = [*(server.security_groups or ["default"]), name]
    for ident in server.ports:
        call.region.ports[ident]["security_groups"].append(names[name])
    return Answer(202)


@_action("removeSecurityGroup")
async def remove_security_group(call: Call, server: Server, argument: Record) -> Answer:
    names = {row["name"]: row["id"] for row in call.region.security_groups.values()}
    server.security_groups = [one for one in server.security_groups if one != argument.get("name")]
    for ident in server.ports:
        groups = call.region.ports[ident]["security_groups"]
        groups[:] = [one for one in groups if one != names.get(argument.get("name", ""))]
    return Answer(202)


@_action("os-resetState")
async def reset_state(call: Call, server: Server, argument: Record) -> Answer:
    if not call.is_admin:
        raise Refusal(
            nova_error(403, "Policy doesn't allow os_compute_api:os-admin-actions:reset_state to be performed.")
        )
    state = argument.get("state", "error")
    life.set_state(server, "ACTIVE" if state == "active" else "ERROR", state, None)
    return Answer(202)


@routes.add("GET", "/servers/{id}/os-security-groups")
async def security_groups(call: Call) -> Answer:
    server = find(call)
    names = {ident for port in server.ports for ident in call.region.ports[port]["security_groups"]}
    rows = [row for row in call.region.security_groups.values() if row["id"] in names]
    view = [
        {
            "id": row["id"],
            "name": row["name"],
            "description": row["description"],
            "tenant_id": row["tenant_id"],
            "rules": [],
        }
        for row in rows
    ]
    return Answer(200, {"security_groups": view})


@routes.add("GET", "/servers/{id}/os-instance-actions")
async def instance_actions(call: Call) -> Answer:
    return Answer(200, {"instanceActions": find(call).actions})


@routes.add("GET", "/servers/{id}/os-instance-actions/{request}")
async def instance_action(call: Call) -> Answer:
    for row in find(call).actions:
        if row["request_id"] == call.arguments["request"]:
            return Answer(200, {"instanceAction": {**row, "events": []}})
    raise Refusal(nova_error(404, f"Action for request_id {call.arguments['request']} not found"))


def _interface(region: Region, ident: str) -> Record:
    port = region.ports[ident]
    return {
        "net_id": port["network_id"],
        "port_id": port["id"],
        "mac_addr": port["mac_address"],
        "port_state": port["status"],
        "fixed_ips": port["fixed_ips"],
        "tag": None,
    }


@routes.add("GET", "/servers/{id}/os-interface")
async def interfaces(call: Call) -> Answer:
    return Answer(200, {"interfaceAttachments": [_interface(call.region, ident) for ident in find(call).ports]})


@routes.add("GET", "/servers/{id}/os-interface/{port}")
async def interface(call: Call) -> Answer:
    server, ident = find(call), call.arguments["port"]
    if ident not in server.ports:
        raise Refusal(nova_error(404, f"Instance {server.id} does not have a port with id {ident}"))
    return Answer(200, {"interfaceAttachment": _interface(call.region, ident)})


@routes.add("POST", "/servers/{id}/os-interface")
async def attach_interface(call: Call) -> Answer:
    server, region = find(call), call.region
    wish = (call.body or {}).get("interfaceAttachment") or {}
    if wish.get("port_id"):
        port = region.ports.get(wish["port_id"])
        if port is None:
            raise Refusal(nova_error(404, f"Port id {wish['port_id']} could not be found."))
    else:
        network = region.networks.get(wish.get("net_id", ""))
        if network is None:
            raise Refusal(nova_error(400, f"Network {wish.get('net_id')} could not be found."))
        port = add_port(region, network, server.project_id)
        server.own_ports.append(port["id"])
    port.update({"device_id": server.id, "device_owner": f"compute:{server.availability_zone}", "status": "ACTIVE"})
    server.ports.append(port["id"])
    if server.is_reachable:
        region.spawn(life.open_ssh(region, server, 0))
    return Answer(200, {"interfaceAttachment": _interface(region, port["id"])})


@routes.add("DELETE", "/servers/{id}/os-interface/{port}")
async def detach_interface(call: Call) -> Answer:
    server, ident = find(call), call.arguments["port"]
    if ident not in server.ports:
        raise Refusal(nova_error(404, f"Port {ident} not found"))
    call.region.spawn(_detach_interface(call.region, server, ident))
    return Answer(202)


async def _detach_interface(region: Region, server: Server, ident: str) -> None:
    await asyncio.sleep(0)
    if server.host is not None:
        for fixed in region.ports[ident]["fixed_ips"]:
            server.host.unlisten(fixed["ip_address"])
    if ident in server.own_ports:
        life.remove_port(region, ident)
        return
    server.ports.remove(ident)
    region.ports[ident].update({"device_id": "", "device_owner": "", "status": "DOWN"})


def _attachment_view(call: Call, server: Server, row: Record) -> Record:
    volume = call.region.volumes[row["id"]]
    result = {"serverId": server.id, "volumeId": row["id"], "device": volume["attachments"][0]["device"]}
    if call.at_least(79):
        result["delete_on_termination"] = row["delete_on_termination"]
    if call.at_least(70):
        result["tag"] = None
    if call.at_least(89):
        result |= {"attachment_id": volume["attachments"][0]["attachment_id"], "bdm_uuid": new_id()}
    else:
        result["id"] = row["id"]
    return result


@routes.add("GET", "/servers/{id}/os-volume_attachments")
async def volume_attachments(call: Call) -> Answer:
    server = find(call)
    return Answer(200, {"volumeAttachments": [_attachment_view(call, server, row) for row in server.volumes]})


@routes.add("GET", "/servers/{id}/os-volume_attachments/{volume}")
async def volume_attachment(call: Call) -> Answer:
    server = find(call)
    for row in server.volumes:
        if row["id"] == call.arguments["volume"]:
            return Answer(200, {"volumeAttachment": _attachment_view(call, server, row)})
    raise Refusal(nova_error(404, f"Instance {server.id} is not attached to volume {call.arguments['volume']}"))


@routes.add("POST", "/servers/{id}/os-volume_attachments")
async def attach(call: Call) -> Answer:
    server, region = find(call), call.region
    wish = call.object("volumeAttachment")
    volume = region.volumes.get(wish["volumeId"])
    if volume is None:
        raise Refusal(nova_error(404, f"Volume {wish['volumeId']} could not be found."))
    if volume["status"] != "available":
        message = f"Invalid volume: volume {volume['id']} is not available. Status is '{volume['status']}'"
        raise Refusal(nova_error(400, message))
    device = wish.get("device") or f"/dev/vd{chr(ord('b') + len(server.volumes))}"
    row = attach_volume(region, server, volume, device, bool(wish.get("delete_on_termination")))
    volume["status"] = "attaching"
    region.spawn(_finish_attach(region, volume))
    server.updated = time.time()
    return Answer(200, {"volumeAttachment": _attachment_view(call, server, row)})


async def _finish_attach(region: Region, volume: Record) -> None:
    await region.pace.wait(region.spec.timings.volume)
    if volume["attachments"]:
        volume["status"] = "in-use"


@routes.add("DELETE", "/servers/{id}/os-volume_attachments/{volume}")
async def detach(call: Call) -> Answer:
    await volume_attachment(call)
    server, region = find(call), call.region
    volume = region.volumes[call.arguments["volume"]]
    volume["status"] = "detaching"
    region.spawn(_detach(region, server, volume))
    return Answer(202)


async def _detach(region: Region, server: Server, volume: Record) -> None:
    await region.pace.wait(region.spec.timings.volume)
    server.volumes = [row for row in server.volumes if row["id"] != volume["id"]]
    volume.update({"status": "available", "attachments": []})
