"""The life of a server: boot, SSH, power, delete, and what addresses answer. States as recorded from the real nova."""

import asyncio
import re
import time
from typing import Any

from trunkline.dev.cloud.world import MICROS, Record, Region, Server, is_reachable_address, stamp

_STEPS: tuple[tuple[str | None, float], ...] = (
    ("scheduling", 0.1),
    (None, 0.05),
    ("block_device_mapping", 0.05),
    ("spawning", 0.8),
)
"""Task states on the way to ACTIVE, each with its share of the boot time."""


async def boot(region: Region, server: Server, networks: list[Any]) -> None:
    """From the accepted request to ACTIVE or ERROR. `networks` are functions that plug a port in when called."""
    total = region.pace.draw(region.spec.timings.boot)
    if region.strikes("boot-stuck", server):
        return
    for task_state, share in _STEPS:
        set_state(server, "BUILD", "building", task_state)
        if task_state == "block_device_mapping":
            for plug in networks:
                plug(server)
        if task_state == "spawning" and region.world.sandbox is not None and region.spec.hypervisor == "sandbox":
            start_host(region, server)
        await asyncio.sleep(total * share)
        if server.id not in region.servers:
            return
        if task_state == "scheduling" and (_impossible(server) or region.strikes("no-valid-host", server)):
            fail(server, "No valid host was found. ")
            return
        if task_state == "spawning" and (fault := region.strikes("boot-error", server)):
            message = fault.parameters.get("message", "unexpected error")
            stop_host(server)
            fail(server, f"Build of instance {server.id} aborted: {message}")
            return
    set_state(server, "ACTIVE", "active", None, power_state=1)
    server.launched = time.time()
    finish_action(server, "create")
    for ident in server.ports:
        region.ports[ident]["status"] = "ACTIVE"
    server.never_ssh = region.strikes("never-ssh", server) is not None
    server.changes_host_key = region.strikes("host-key-changed", server) is not None
    delay = region.pace.draw(region.spec.timings.ssh)
    if fault := region.strikes("ssh-slow", server):
        delay += float(fault.parameters.get("delay_s", 30))
    await open_ssh(region, server, delay)


def _impossible(server: Server) -> bool:
    """A flavor that no host of any cloud would have room for."""
    return bool(server.flavor["vcpus"] > 512 or server.flavor["ram"] > 8_000_000)


def set_state(
    server: Server, status: str, vm_state: str, task_state: str | None, power_state: int | None = None
) -> None:
    server.status, server.vm_state, server.task_state = status, vm_state, task_state
    if power_state is not None:
        server.power_state = power_state
    server.updated = time.time()


def fail(server: Server, message: str, code: int = 500) -> None:
    set_state(server, "ERROR", "error", None, power_state=0)
    server.fault = {"code": code, "created": stamp(), "message": message}
    finish_action(server, "create", "Error")


def start_action(server: Server, action: str, request_id: str) -> None:
    now = stamp(pattern=MICROS)
    server.actions.insert(
        0,
        {
            "action": action,
            "instance_uuid": server.id,
            "request_id": request_id,
            "user_id": server.user_id,
            "project_id": server.project_id,
            "start_time": now,
            "message": None,
            "updated_at": now,
        },
    )


def finish_action(server: Server, action: str, message: str | None = None) -> None:
    for row in server.actions:
        if row["action"] == action:
            row["updated_at"], row["message"] = stamp(pattern=MICROS), message
            return


def start_host(region: Region, server: Server) -> None:
    """Fork the server's sandbox; SSH is let out later by `open_ssh`."""
    sandbox = region.world.sandbox
    if sandbox is None or region.spec.hypervisor != "sandbox":
        return
    image = next((image for image in region.spec.images if image.name == image_name(region, server)), None)
    hostname = re.sub(r"[^a-z0-9-]+", "-", server.name.lower()).strip("-") or "server"
    addresses = ssh_addresses(region, server) or fixed_addresses(region, server)
    message = {
        "uuid": server.id,
        "name": server.name,
        "hostname": hostname[:63],
        "region": region.spec.region,
        "availability_zone": server.availability_zone,
        "address": addresses[0] if addresses else "",
        "username": image.username if image else "debian",
        "keys": server.public_keys,
        "user_data": server.user_data,
        "metadata": server.metadata,
        "binds": list(image.binds) if image else [],
        "env": image.env if image else {},
        "disk_mib": max(256, min(server.flavor["disk"] or 20, 20) * 1024),
    }

    def tell(event: dict[str, Any]) -> None:
        if "console" in event:
            server.console = (server.console + event["console"])[-200_000:]
        elif event["event"] == "login" and server.changes_host_key:
            server.changes_host_key = False
            region.spawn(change_host_key(region, server))

    server.host = sandbox.boot(message, tell)


def stop_host(server: Server) -> None:
    if server.host is not None:
        server.host.kill()
        server.host = None
    server.is_reachable = False


def image_name(region: Region, server: Server) -> str:
    """The name of the image it was made from: snapshots remember theirs."""
    image = region.images.get(server.image_id) or {}
    return str(image.get("trunkline_base", image.get("name", "")))


def port_of(region: Region, server: Server) -> int:
    image = next((image for image in region.spec.images if image.name == image_name(region, server)), None)
    return image.connection_port if image else 2222


def fixed_addresses(region: Region, server: Server) -> list[str]:
    return [
        fixed["ip_address"]
        for ident in server.ports
        if ident in region.ports
        for fixed in region.ports[ident]["fixed_ips"]
    ]


def ssh_addresses(region: Region, server: Server) -> list[str]:
    """Where its SSH server should answer: public networks and floating IPs, private addresses if the region says so."""
    found = []
    for ident in server.ports:
        port = region.ports.get(ident)
        if port is None:
            continue
        is_public = region.networks[port["network_id"]]["router:external"]
        if is_public or region.spec.private_ssh:
            found += [fixed["ip_address"] for fixed in port["fixed_ips"]]
        found += [
            row["floating_ip_address"]
            for row in region.floating_ips.values()
            if row["port_id"] == ident and row["status"] == "ACTIVE"
        ]
    return [address for address in found if is_reachable_address(address)]


async def open_ssh(region: Region, server: Server, delay: float) -> None:
    await asyncio.sleep(delay)
    if server.never_ssh or server.host is None or server.status != "ACTIVE":
        return
    server.is_reachable = True
    for address in ssh_addresses(region, server):
        await _listen(region, server, address)


async def _listen(region: Region, server: Server, address: str) -> None:
    for _ in range(40):
        if server.host is None:
            return
        try:
            server.host.listen(address, port_of(region, server))
            return
        except OSError:
            await asyncio.sleep(0.05)
    server.console += f"sshd: cannot listen on {address}: the address is in use\n"


async def change_host_key(region: Region, server: Server) -> None:
    addresses = ssh_addresses(region, server)
    server.host.renew_host_keys()
    for address in addresses:
        server.host.unlisten(address)
        await _listen(region, server, address)


async def attach_floating_ip(region: Region, row: Record) -> None:
    """A floating IP becomes ACTIVE after a while, and its server answers there if it answers at all."""
    port_id = row["port_id"]
    await region.pace.wait(region.spec.timings.floating_ip)
    if row["port_id"] != port_id or row["id"] not in region.floating_ips:
        return
    row["status"] = "ACTIVE"
    server = next((one for one in region.servers.values() if port_id in one.ports), None)
    if server is not None and server.is_reachable and is_reachable_address(row["floating_ip_address"]):
        await _listen(region, server, row["floating_ip_address"])


def detach_floating_ip(region: Region, row: Record) -> None:
    server = next((one for one in region.servers.values() if row["port_id"] in one.ports), None)
    if server is not None and server.host is not None:
        server.host.unlisten(row["floating_ip_address"])
    row.update({"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"})


def remove_port(region: Region, ident: str) -> None:
    """Take a port away, and let go of the floating IPs on it."""
    for row in region.floating_ips.values():
        if row["port_id"] == ident:
            detach_floating_ip(region, row)
    for server in region.servers.values():
        if ident in server.ports:
            server.ports.remove(ident)
    if region.ports.pop(ident, None) is not None:
        region.ledger.deleted(ident)


async def delete(region: Region, server: Server) -> None:
    """From the accepted request to gone. A second request while this goes on changes nothing."""
    if server.task_state == "deleting":
        return
    server.task_state = "deleting"
    server.updated = time.time()
    fault = region.strikes("delete-stuck", server)
    while fault is not None and fault in region.faults.in_force():
        await asyncio.sleep(0.1)
    if region.strikes("delete-error", server):
        await region.pace.wait(region.spec.timings.delete)
        fail(server, "Failed to terminate instance")
        return
    stop_host(server)
    await region.pace.wait(region.spec.timings.delete)
    for ident in list(server.ports):
        if ident in server.own_ports:
            remove_port(region, ident)
        elif ident in region.ports:
            region.ports[ident].update({"device_id": "", "device_owner": "", "status": "DOWN"})
    for attachment in server.volumes:
        _release_volume(region, attachment)
    server.terminated = server.updated = time.time()
    server.is_ghost = region.strikes("ghost", server) is not None
    set_state(server, "DELETED", "deleted", None, power_state=0)
    region.servers.pop(server.id, None)
    region.deleted_servers[server.id] = server
    for group in region.server_groups.values():
        if server.id in group["members"]:
            group["members"].remove(server.id)
    region.ledger.deleted(server.id)


def _release_volume(region: Region, attachment: Record) -> None:
    volume = region.volumes.get(attachment["id"])
    if volume is None:
        return
    volume["attachments"] = []
    volume["status"] = "available"
    if attachment.get("delete_on_termination"):
        del region.volumes[volume["id"]]
        region.ledger.deleted(volume["id"])


def lose(region: Region, server: Server, shows_it: bool) -> None:
    """Its host dies now. The API goes on showing ACTIVE, or SHUTOFF when the cloud has noticed."""
    stop_host(server)
    if shows_it and server.status == "ACTIVE":
        set_state(server, "SHUTOFF", "stopped", server.task_state, power_state=4)
