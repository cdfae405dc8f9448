"""Neutron: ports, routers and floating IPs."""

import ipaddress
import secrets
from typing import Any

from trunkline.dev.cloud import life
from trunkline.dev.cloud.api.network import (
    add_network,
    add_subnet,
    check_fields,
    check_quota,
    find,
    listing,
    stamped,
    touch,
    visible,
)
from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, neutron_error
from trunkline.dev.cloud.api.security import add_group
from trunkline.dev.cloud.world import Record, Region

routes = Routes()

_PORT_FIELDS = (
    "name network_id admin_state_up fixed_ips device_id device_owner security_groups description mac_address allowed_address_pairs "
    "binding:vnic_type binding:profile binding:host_id extra_dhcp_opts port_security_enabled tenant_id project_id dns_name qos_policy_id"
)
_ROUTER_FIELDS = "name admin_state_up external_gateway_info description distributed ha availability_zone_hints tenant_id project_id flavor_id enable_snat"
_FLOATING_FIELDS = "floating_network_id port_id fixed_ip_address floating_ip_address description subnet_id tenant_id project_id dns_name dns_domain qos_policy_id"


def furnish(region: Region) -> None:
    """Make the networks that a region of this vendor has from the start."""
    profile, project = region.profile, region.cloud.project_id
    admin = region.cloud.users[1].project_id
    provider = profile.topology != "private"
    public = add_network(
        region,
        admin,
        name=profile.provider_network,
        mtu=1500,
        shared=provider,
        port_security_enabled=False,
        **{"router:external": True},
    )
    subnet = {"name": f"{profile.provider_network}-v4", "cidr": f"{region.public_address(0)}/24"}
    add_subnet(region, public, admin, **subnet, enable_dhcp=provider)
    add_group(region, project, "default", "Default security group")
    if profile.topology == "provider":
        return
    private = add_network(region, project, name="private")
    inner = add_subnet(region, private, project, name="private-v4", cidr=f"{region.private_address(0)}/24")
    if profile.topology == "nova":
        return
    router = add_router(region, project, "router")
    router["external_gateway_info"] = {"network_id": public["id"], "enable_snat": True, "external_fixed_ips": []}
    port = add_port(
        region,
        private,
        project,
        device_id=router["id"],
        device_owner="network:router_interface",
        fixed_ips=[_at(inner, inner["gateway_ip"])],
    )
    port["status"] = "ACTIVE"


def _at(subnet: Record, address: str) -> Record:
    return {"subnet_id": subnet["id"], "ip_address": address}


def taken_addresses(region: Region) -> set[str]:
    fixed = {fixed["ip_address"] for port in region.ports.values() for fixed in port["fixed_ips"]}
    return fixed | {row["floating_ip_address"] for row in region.floating_ips.values()}


def free_address(region: Region, subnet: Record) -> str:
    taken = taken_addresses(region)
    for pool in subnet["allocation_pools"]:
        first, last = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        for number in range(int(first), int(last) + 1):
            address = str(ipaddress.ip_address(number))
            if address not in taken:
                return address
    raise Refusal(
        neutron_error(
            409, "IpAddressGenerationFailure", f"No more IP addresses available on network {subnet['network_id']}."
        )
    )


def add_port(region: Region, network: Record, project: str, **values: Any) -> Record:
    """Make a port; without fixed_ips it gets an address of the network's first IPv4 subnet."""
    fixed = values.pop("fixed_ips", None)
    row = stamped(
        project,
        **{
            "name": "",
            "network_id": network["id"],
            "mac_address": "fa:16:3e:" + ":".join(secrets.token_hex(1) for _ in range(3)),
            "admin_state_up": True,
            "status": "DOWN",
            "device_id": "",
            "device_owner": "",
            "port_security_enabled": network["port_security_enabled"],
            "security_groups": [],
            "binding:vnic_type": "normal",
            "allowed_address_pairs": [],
            "extra_dhcp_opts": [],
            **values,
            "fixed_ips": _fixed_ips(region, network, fixed),
        },
    )
    region.ports[row["id"]] = row
    region.ledger.created("port", row["id"], row["name"])
    return row


def _fixed_ips(region: Region, network: Record, wanted: list[Record] | None) -> list[Record]:
    subnets = [region.subnets[ident] for ident in network["subnets"]]
    if wanted is None:
        v4 = [subnet for subnet in subnets if subnet["ip_version"] == 4]
        return [_at(v4[0], free_address(region, v4[0]))] if v4 else []
    fixed = []
    for wish in wanted:
        address = wish.get("ip_address")
        subnet = next((row for row in subnets if row["id"] == wish.get("subnet_id")), None)
        if subnet is None and address:
            subnet = next(
                (row for row in subnets if ipaddress.ip_address(address) in ipaddress.ip_network(row["cidr"])), None
            )
        if subnet is None:
            raise Refusal(
                neutron_error(
                    400,
                    "InvalidIpForNetwork",
                    f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
                )
            )
        if address and address in taken_addresses(region):
            raise Refusal(
                neutron_error(
                    409, "IpAddressAlreadyAllocated", f"IP address {address} already allocated in subnet {subnet['id']}"
                )
            )
        fixed.append(_at(subnet, address or free_address(region, subnet)))
    return fixed


@routes.add("GET", "/v2.0/ports")
async def list_ports(call: Call) -> Answer:
    return listing(call, "ports", visible(call, call.region.ports))


@routes.add("POST", "/v2.0/ports")
async def create_port(call: Call) -> Answer:
    wish = call.object("port")
    check_fields(call, "port", wish, _PORT_FIELDS)
    check_quota(call, "port")
    network = find(call, "network", call.region.networks, wish.get("network_id", ""))
    values = {key: value for key, value in wish.items() if key != "network_id"}
    if "security_groups" not in values and network["port_security_enabled"]:
        default = [row["id"] for row in visible(call, call.region.security_groups) if row["name"] == "default"]
        values["security_groups"] = default
    return Answer(201, {"port": add_port(call.region, network, call.project, **values)})


@routes.add("GET", "/v2.0/ports/{id}")
async def show_port(call: Call) -> Answer:
    return Answer(200, {"port": find(call, "port", call.region.ports, call.arguments["id"])})


@routes.add("PUT", "/v2.0/ports/{id}")
async def update_port(call: Call) -> Answer:
    row = find(call, "port", call.region.ports, call.arguments["id"])
    return Answer(200, {"port": touch(row, call.object("port"))})


@routes.add("DELETE", "/v2.0/ports/{id}")
async def delete_port(call: Call) -> Answer:
    row = find(call, "port", call.region.ports, call.arguments["id"])
    if row["device_owner"].startswith("network:router"):
        message = (
            f"Port {row['id']} cannot be deleted directly via the port API: has device owner {row['device_owner']}."
        )
        raise Refusal(neutron_error(409, "ServicePortInUse", message))
    life.remove_port(call.region, row["id"])
    return Answer(204)


@routes.add("GET", "/v2.0/routers")
async def list_routers(call: Call) -> Answer:
    return listing(call, "routers", visible(call, call.region.routers))


def add_router(region: Region, project: str, name: str, **values: Any) -> Record:
    row = stamped(
        project,
        **{
            "name": name,
            "admin_state_up": True,
            "status": "ACTIVE",
            "external_gateway_info": None,
            "routes": [],
            "availability_zone_hints": [],
            "availability_zones": list(region.spec.availability_zones),
            "flavor_id": None,
            **values,
        },
    )
    region.routers[row["id"]] = row
    region.ledger.created("router", row["id"], name)
    return row


@routes.add("POST", "/v2.0/routers")
async def create_router(call: Call) -> Answer:
    wish = dict(call.object("router"))
    check_fields(call, "router", wish, _ROUTER_FIELDS)
    check_quota(call, "router")
    _check_gateway(call, wish)
    return Answer(201, {"router": add_router(call.region, call.project, wish.pop("name", ""), **wish)})


def _check_gateway(call: Call, wish: Record) -> None:
    gateway = wish.get("external_gateway_info")
    if gateway:
        network = find(call, "network", call.region.networks, gateway.get("network_id", ""))
        if not network["router:external"]:
            raise Refusal(
                neutron_error(
                    400, "BadRequest", f"Bad router request: Network {network['id']} is not an external network."
                )
            )
        wish["external_gateway_info"] = {"enable_snat": True, "external_fixed_ips": [], **gateway}


@routes.add("GET", "/v2.0/routers/{id}")
async def show_router(call: Call) -> Answer:
    return Answer(200, {"router": find(call, "router", call.region.routers, call.arguments["id"])})


@routes.add("PUT", "/v2.0/routers/{id}")
async def update_router(call: Call) -> Answer:
    row, wish = find(call, "router", call.region.routers, call.arguments["id"]), dict(call.object("router"))
    _check_gateway(call, wish)
    return Answer(200, {"router": touch(row, wish)})


@routes.add("DELETE", "/v2.0/routers/{id}")
async def delete_router(call: Call) -> Answer:
    row = find(call, "router", call.region.routers, call.arguments["id"])
    if any(port["device_id"] == row["id"] for port in call.region.ports.values()):
        raise Refusal(neutron_error(409, "RouterInUse", f"Router {row['id']} still has ports"))
    del call.region.routers[row["id"]]
    call.region.ledger.deleted(row["id"])
    return Answer(204)


@routes.add("PUT", "/v2.0/routers/{id}/add_router_interface")
async def add_router_interface(call: Call) -> Answer:
    region = call.region
    router = find(call, "router", region.routers, call.arguments["id"])
    if "port_id" in call.body:
        port = find(call, "port", region.ports, call.body["port_id"])
        touch(port, {"device_id": router["id"], "device_owner": "network:router_interface", "status": "ACTIVE"})
        subnet_id = port["fixed_ips"][0]["subnet_id"]
    else:
        subnet = region.subnets.get(call.body.get("subnet_id", ""))
        if subnet is None:
            raise Refusal(
                neutron_error(404, "SubnetNotFound", f"Subnet {call.body.get('subnet_id')} could not be found.")
            )
        subnet_id = subnet["id"]
        if subnet["gateway_ip"] in taken_addresses(region):
            raise Refusal(
                neutron_error(
                    400, "BadRequest", f"Bad router request: Router already has a port on subnet {subnet_id}."
                )
            )
        network = region.networks[subnet["network_id"]]
        owner = {"device_id": router["id"], "device_owner": "network:router_interface", "status": "ACTIVE"}
        port = add_port(region, network, call.project, fixed_ips=[_at(subnet, subnet["gateway_ip"])], **owner)
    return Answer(200, _interface_view(router, port, subnet_id))


def _interface_view(router: Record, port: Record, subnet_id: str) -> Record:
    return {
        "id": router["id"],
        "tenant_id": router["project_id"],
        "port_id": port["id"],
        "network_id": port["network_id"],
        "subnet_id": subnet_id,
        "subnet_ids": [subnet_id],
    }


@routes.add("PUT", "/v2.0/routers/{id}/remove_router_interface")
async def remove_router_interface(call: Call) -> Answer:
    router = find(call, "router", call.region.routers, call.arguments["id"])
    for port in list(call.region.ports.values()):
        subnets = [fixed["subnet_id"] for fixed in port["fixed_ips"]]
        if port["device_id"] == router["id"] and (
            call.body.get("port_id") == port["id"] or call.body.get("subnet_id") in subnets
        ):
            life.remove_port(call.region, port["id"])
            return Answer(200, _interface_view(router, port, subnets[0]))
    message = f"Router {router['id']} has no interface on subnet {call.body.get('subnet_id')}"
    raise Refusal(neutron_error(404, "RouterInterfaceNotFoundForSubnet", message))


@routes.add("GET", "/v2.0/floatingips")
async def list_floating_ips(call: Call) -> Answer:
    return listing(call, "floatingips", visible(call, call.region.floating_ips))


@routes.add("POST", "/v2.0/floatingips")
async def create_floating_ip(call: Call) -> Answer:
    region, wish = call.region, call.object("floatingip")
    check_fields(call, "floatingip", wish, _FLOATING_FIELDS)
    check_quota(call, "floatingip")
    network = find(call, "network", region.networks, wish.get("floating_network_id", ""))
    if not network["router:external"]:
        message = f"Bad floatingip request: Network {network['id']} is not a valid external network."
        raise Refusal(neutron_error(400, "BadRequest", message))
    port = find(call, "port", region.ports, wish["port_id"]) if wish.get("port_id") else None
    address = wish.get("floating_ip_address") or free_address(region, region.subnets[network["subnets"][0]])
    if address in taken_addresses(region):
        raise Refusal(neutron_error(409, "IpAddressAlreadyAllocated", f"IP address {address} already allocated"))
    values = {
        "floating_ip_address": address,
        "floating_network_id": network["id"],
        "router_id": None,
        "port_id": None,
        "fixed_ip_address": None,
        "status": "DOWN",
        "description": wish.get("description", ""),
        "port_details": None,
        "revision_number": 0,
    }
    row = stamped(call.project, **values)
    region.floating_ips[row["id"]] = row
    region.ledger.created("floating_ip", row["id"], address)
    region.note_peaks()
    if port is not None:
        _attach(call, row, port, wish)
    return Answer(201, {"floatingip": row})


def _attach(call: Call, row: Record, port: Record, wish: Record) -> None:
    if not port["fixed_ips"]:
        message = f"Bad floatingip request: Port {port['id']} does not have a fixed IPv4 address."
        raise Refusal(neutron_error(400, "BadRequest", message))
    other = next(
        (one for one in call.region.floating_ips.values() if one["port_id"] == port["id"] and one is not row), None
    )
    if other is not None:
        message = (
            f"Cannot associate floating IP {row['floating_ip_address']} ({row['id']}) with port {port['id']} using fixed IP "
            f"{port['fixed_ips'][0]['ip_address']}, as that fixed IP already has a floating IP on external network {row['floating_network_id']}."
        )
        raise Refusal(neutron_error(409, "FloatingIPPortAlreadyAssociated", message))
    router = next((one["id"] for one in call.region.routers.values()), None)
    fixed = wish.get("fixed_ip_address") or port["fixed_ips"][0]["ip_address"]
    touch(row, {"port_id": port["id"], "fixed_ip_address": fixed, "router_id": router})
    call.region.spawn(life.attach_floating_ip(call.region, row))


@routes.add("GET", "/v2.0/floatingips/{id}")
async def show_floating_ip(call: Call) -> Answer:
    return Answer(200, {"floatingip": find(call, "floatingip", call.region.floating_ips, call.arguments["id"])})


@routes.add("PUT", "/v2.0/floatingips/{id}")
async def update_floating_ip(call: Call) -> Answer:
    row, wish = find(call, "floatingip", call.region.floating_ips, call.arguments["id"]), call.object("floatingip")
    if "description" in wish:
        touch(row, {"description": wish["description"]})
    if "port_id" in wish:
        if wish["port_id"]:
            _attach(call, row, find(call, "port", call.region.ports, wish["port_id"]), wish)
        else:
            life.detach_floating_ip(call.region, row)
    return Answer(200, {"floatingip": row})


@routes.add("DELETE", "/v2.0/floatingips/{id}")
async def delete_floating_ip(call: Call) -> Answer:
    row = find(call, "floatingip", call.region.floating_ips, call.arguments["id"])
    life.detach_floating_ip(call.region, row)
    if call.region.strikes("fip-leak"):
        return Answer(204)
    del call.region.floating_ips[row["id"]]
    call.region.ledger.deleted(row["id"])
    return Answer(204)


@routes.add("PUT", "/v2.0/{kind}/{id}/tags")
async def set_tags(call: Call) -> Answer:
    row = _tagged(call)
    row["tags"] = list(call.body.get("tags", []))
    return Answer(200, {"tags": row["tags"]})


@routes.add("GET", "/v2.0/{kind}/{id}/tags")
async def get_tags(call: Call) -> Answer:
    return Answer(200, {"tags": _tagged(call)["tags"]})


def _tagged(call: Call) -> Record:
    tables = {"floatingips": "floating_ips", "security-groups": "security_groups"}
    name = tables.get(call.arguments["kind"], call.arguments["kind"])
    if name not in ("networks", "subnets", "ports", "routers", "floating_ips", "security_groups"):
        raise Refusal(neutron_error(404, "HTTPNotFound", "The resource could not be found."))
    return find(call, name.rstrip("s"), getattr(call.region, name), call.arguments["id"])
