"""Neutron: networks, subnets, routers, quotas, extensions. Ports, floating IPs and security groups are in `ports` and `security`."""

import ipaddress
from typing import Any

from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, neutron_error, page, sort
from trunkline.dev.cloud.world import Record, Region, new_id, stamp

routes = Routes()

QUOTAS = {
    "network": "networks",
    "subnet": "subnets",
    "port": "ports",
    "router": "routers",
    "floatingip": "floating_ips",
    "security_group": "security_groups",
    "security_group_rule": "security_group_rules",
}
_WRITABLE = {
    "network": "name admin_state_up shared router:external description mtu availability_zone_hints port_security_enabled tenant_id project_id "
    "dns_domain provider:network_type provider:physical_network provider:segmentation_id is_default qos_policy_id vlan_transparent segments",
    "subnet": "name network_id ip_version cidr gateway_ip enable_dhcp allocation_pools dns_nameservers host_routes description "
    "ipv6_ra_mode ipv6_address_mode tenant_id project_id subnetpool_id prefixlen use_default_subnetpool service_types segment_id",
    "router": "name admin_state_up external_gateway_info description distributed ha availability_zone_hints tenant_id project_id flavor_id",
}
_EXTENSIONS = [
    "address-scope",
    "agent",
    "allowed-address-pairs",
    "auto-allocated-topology",
    "availability_zone",
    "binding",
    "default-subnetpools",
    "dvr",
    "external-net",
    "extra_dhcp_opt",
    "extraroute",
    "ext-gw-mode",
    "fip-port-details",
    "flavors",
    "l3-ha",
    "l3_agent_scheduler",
    "multi-provider",
    "net-mtu",
    "network_availability_zone",
    "network-ip-availability",
    "pagination",
    "port-security",
    "project-id",
    "provider",
    "qos",
    "quotas",
    "quota_details",
    "rbac-policies",
    "router",
    "router_availability_zone",
    "security-group",
    "security-group-rules-filtering",
    "security-groups-normalized-cidr",
    "service-type",
    "sorting",
    "standard-attr-description",
    "standard-attr-revisions",
    "standard-attr-tag",
    "standard-attr-timestamp",
    "subnet_allocation",
]


def check_fields(call: Call, kind: str, wish: Record, writable: str) -> None:
    """Refuse what neutron refuses: attributes it does not know, and the provider's for ordinary users."""
    if unknown := sorted(set(wish) - set(writable.split())):
        listed = ", ".join(unknown)
        raise Refusal(neutron_error(400, "HTTPBadRequest", f"Unrecognized attribute(s) '{listed}'"))
    if not call.is_admin and any(name.startswith("provider:") for name in wish):
        message = f"(rule:create_{kind} and rule:create_{kind}:provider:network_type) is disallowed by policy"
        raise Refusal(neutron_error(403, "PolicyNotAuthorized", message))


def check_quota(call: Call, kind: str) -> None:
    name = QUOTAS[kind]
    limit = call.region.quota[name]
    if limit >= 0 and _count(call.region, name, call.project) >= limit and not call.is_admin:
        raise Refusal(neutron_error(409, "OverQuota", f"Quota exceeded for resources: ['{kind}']."))


def _count(region: Region, name: str, project: str) -> int:
    if name == "security_group_rules":
        groups = [row for row in region.security_groups.values() if row["project_id"] == project]
        return sum(len(row["security_group_rules"]) for row in groups)
    rows: dict[str, Record] = getattr(region, name)
    return sum(1 for row in rows.values() if row["project_id"] == project)


def stamped(project: str, **values: Any) -> Record:
    """A new object of neutron's, with the fields that all have."""
    now = stamp()
    ends = {"description": "", "tags": [], "created_at": now, "updated_at": now, "revision_number": 1}
    return {"id": new_id(), "tenant_id": project, "project_id": project, **ends, **values}


def visible(call: Call, rows: dict[str, Record]) -> list[Record]:
    """What the project may see."""
    return [
        row
        for row in rows.values()
        if call.is_admin or row["project_id"] == call.project or row.get("shared") or row.get("router:external")
    ]


def listing(call: Call, collection: str, rows: list[Record]) -> Answer:
    """Filter, sort, page as neutron does: a filter compares the field by its text; repeated values are alternatives."""
    skip = {
        "limit",
        "marker",
        "sort_key",
        "sort_dir",
        "page_reverse",
        "fields",
        "tags",
        "tags-any",
        "not-tags",
        "not-tags-any",
    }
    for name in {key for key in call.query if key not in skip}:
        wanted = [value.lower() for value in call.query.getall(name)]
        rows = [row for row in rows if _fits(row, name, wanted)]
    if tags := call.query.get("tags"):
        rows = [row for row in rows if set(tags.split(",")) <= set(row.get("tags", []))]
    rows = sort(call, rows)
    rows, following = page(call, rows)
    fields = call.query.getall("fields", [])
    body: Record = {collection: [{key: row[key] for key in fields if key in row} if fields else row for row in rows]}
    if following:
        body[f"{collection}_links"] = [{"rel": "next", "href": f"{call.root}{call.path}?{following}"}]
    return Answer(200, body)


def _fits(row: Record, name: str, wanted: list[str]) -> bool:
    if name == "fixed_ips":
        pairs = [value.split("=", 1) for value in wanted if "=" in value]
        return any(fixed.get(key) == value for fixed in row.get("fixed_ips", []) for key, value in pairs)
    if name not in row:
        return False
    value = row[name]
    return str("" if value is None else value).lower() in wanted


def find(call: Call, kind: str, rows: dict[str, Record], ident: str) -> Record:
    """An object by id, or the 404 that neutron gives for it."""
    row = rows.get(ident)
    if row is None or row not in visible(call, rows):
        names = {"security_group": "SecurityGroup", "floatingip": "FloatingIP"}
        words = {
            "security_group": f"Security group {ident} does not exist",
            "floatingip": f"Floating IP {ident} could not be found",
        }
        name = names.get(kind, kind.title())
        raise Refusal(neutron_error(404, f"{name}NotFound", words.get(kind, f"{name} {ident} could not be found.")))
    return row


def touch(row: Record, changes: Record) -> Record:
    row.update(changes)
    row["revision_number"] += 1
    row["updated_at"] = stamp()
    return row


@routes.add("GET", "/v2.0/extensions")
async def extensions(call: Call) -> Answer:
    rows = [
        {"name": alias, "alias": alias, "description": "", "updated": "2015-01-01T10:00:00-00:00", "links": []}
        for alias in _EXTENSIONS
    ]
    return Answer(200, {"extensions": rows})


@routes.add("GET", "/v2.0/extensions/{alias}")
async def extension(call: Call) -> Answer:
    alias = call.arguments["alias"]
    if alias not in _EXTENSIONS:
        raise Refusal(neutron_error(404, "HTTPNotFound", f"Extension with alias {alias} does not exist"))
    row = {"name": alias, "alias": alias, "description": "", "updated": "2015-01-01T10:00:00-00:00", "links": []}
    return Answer(200, {"extension": row})


@routes.add("GET", "/v2.0/availability_zones")
async def zones(call: Call) -> Answer:
    rows = [
        {"name": zone, "resource": resource, "state": "available"}
        for zone in call.region.spec.availability_zones
        for resource in ("network", "router")
    ]
    return Answer(200, {"availability_zones": rows})


@routes.add("GET", "/v2.0/agents")
async def agents(call: Call) -> Answer:
    return Answer(200, {"agents": []})


@routes.add("GET", "/v2.0/quotas/{project}")
@routes.add("GET", "/v2.0/quotas/{project}/details")
@routes.add("GET", "/v2.0/quotas/{project}/details.json")
@routes.add("GET", "/v2.0/quotas/{project}/default")
async def show_quota(call: Call) -> Answer:
    region, project = call.region, call.arguments["project"]
    lie = region.strikes("quota-lies")
    add = int(lie.parameters.get("add", 100)) if lie else 0
    limits = {kind: region.quota[name] + (add if region.quota[name] >= 0 else 0) for kind, name in QUOTAS.items()}
    limits |= {"subnetpool": -1, "rbac_policy": 10}
    if "/details" not in call.path:
        return Answer(200, {"quota": limits})
    used = {kind: _count(region, name, project) for kind, name in QUOTAS.items()}
    return Answer(
        200,
        {"quota": {kind: {"limit": limit, "used": used.get(kind, 0), "reserved": 0} for kind, limit in limits.items()}},
    )


@routes.add("PUT", "/v2.0/quotas/{project}")
async def set_quota(call: Call) -> Answer:
    if not call.is_admin:
        raise Refusal(neutron_error(403, "PolicyNotAuthorized", "rule:update_quota is disallowed by policy"))
    for kind, value in call.object("quota").items():
        if kind in QUOTAS:
            call.region.quota[QUOTAS[kind]] = int(value)
    return Answer(200, {"quota": {kind: call.region.quota[name] for kind, name in QUOTAS.items()}})


@routes.add("GET", "/v2.0/networks")
async def list_networks(call: Call) -> Answer:
    rows = visible(call, call.region.networks)
    if rows and call.region.strikes("duplicate-name"):
        rows = [*rows, {**rows[0], "id": new_id()}]
    return listing(call, "networks", rows)


@routes.add("POST", "/v2.0/networks")
async def create_network(call: Call) -> Answer:
    wish = call.object("network")
    check_fields(call, "network", wish, _WRITABLE["network"])
    check_quota(call, "network")
    row = add_network(
        call.region, call.project, **{key: value for key, value in wish.items() if not key.startswith("provider:")}
    )
    return Answer(201, {"network": row})


def add_network(region: Region, project: str, **values: Any) -> Record:
    defaults = {
        "name": "",
        "admin_state_up": True,
        "mtu": 1450,
        "status": "ACTIVE",
        "subnets": [],
        "shared": False,
        "availability_zone_hints": [],
        "availability_zones": list(region.spec.availability_zones),
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "router:external": False,
        "port_security_enabled": True,
    }
    row = stamped(project, **(defaults | values))
    region.networks[row["id"]] = row
    region.ledger.created("network", row["id"], row["name"])
    return row


@routes.add("GET", "/v2.0/networks/{id}")
async def show_network(call: Call) -> Answer:
    return Answer(200, {"network": find(call, "network", call.region.networks, call.arguments["id"])})


@routes.add("PUT", "/v2.0/networks/{id}")
async def update_network(call: Call) -> Answer:
    row = find(call, "network", call.region.networks, call.arguments["id"])
    return Answer(200, {"network": touch(row, call.object("network"))})


@routes.add("DELETE", "/v2.0/networks/{id}")
async def delete_network(call: Call) -> Answer:
    region = call.region
    row = find(call, "network", region.networks, call.arguments["id"])
    ident = row["id"]
    using = [port["id"] for port in region.ports.values() if port["network_id"] == ident]
    if using:
        message = (
            f"Unable to complete operation on network {ident}. There are one or more ports still in use on the network, "
            f"id for these ports is: {','.join(using)}."
        )
        raise Refusal(neutron_error(409, "NetworkInUse", message))
    for subnet in [row for row in region.subnets.values() if row["network_id"] == ident]:
        del region.subnets[subnet["id"]]
        region.ledger.deleted(subnet["id"])
    del region.networks[ident]
    region.ledger.deleted(ident)
    return Answer(204)


@routes.add("GET", "/v2.0/subnets")
async def list_subnets(call: Call) -> Answer:
    seen = {row["id"] for row in visible(call, call.region.networks)}
    return listing(call, "subnets", [row for row in call.region.subnets.values() if row["network_id"] in seen])


@routes.add("POST", "/v2.0/subnets")
async def create_subnet(call: Call) -> Answer:
    wish = call.object("subnet")
    check_fields(call, "subnet", wish, _WRITABLE["subnet"])
    check_quota(call, "subnet")
    network = find(call, "network", call.region.networks, wish.get("network_id", ""))
    try:
        cidr = ipaddress.ip_network(wish["cidr"])
    except (KeyError, ValueError):
        message = f"Invalid input for cidr. Reason: '{wish.get('cidr')}' is not a valid IP subnet."
        raise Refusal(neutron_error(400, "HTTPBadRequest", message)) from None
    for other in call.region.subnets.values():
        if other["network_id"] == network["id"] and ipaddress.ip_network(other["cidr"]).overlaps(cidr):
            message = f"Invalid input for operation: Requested subnet with cidr: {cidr} for network: {network['id']} overlaps with another subnet."
            raise Refusal(neutron_error(400, "InvalidInput", message))
    return Answer(201, {"subnet": add_subnet(call.region, network, call.project, **wish)})


def add_subnet(region: Region, network: Record, project: str, **values: Any) -> Record:
    cidr = ipaddress.ip_network(values["cidr"])
    gateway = str(cidr[1])
    defaults = {
        "name": "",
        "ip_version": cidr.version,
        "subnetpool_id": None,
        "enable_dhcp": True,
        "ipv6_ra_mode": None,
        "ipv6_address_mode": None,
        "gateway_ip": gateway,
        "allocation_pools": [{"start": str(cidr[2]), "end": str(cidr[-2])}],
        "host_routes": [],
        "dns_nameservers": [],
        "service_types": [],
    }
    values = {key: value for key, value in values.items() if value is not None or key == "gateway_ip"}
    row = stamped(project, **(defaults | values | {"network_id": network["id"], "revision_number": 0}))
    region.subnets[row["id"]] = row
    network["subnets"] = [*network["subnets"], row["id"]]
    region.ledger.created("subnet", row["id"], row["name"])
    return row


@routes.add("GET", "/v2.0/subnets/{id}")
async def show_subnet(call: Call) -> Answer:
    return Answer(200, {"subnet": _subnet(call)})


@routes.add("PUT", "/v2.0/subnets/{id}")
async def update_subnet(call: Call) -> Answer:
    return Answer(200, {"subnet": touch(_subnet(call), call.object("subnet"))})


def _subnet(call: Call) -> Record:
    row = call.region.subnets.get(call.arguments["id"])
    if row is None:
        raise Refusal(neutron_error(404, "SubnetNotFound", f"Subnet {call.arguments['id']} could not be found."))
    return row


@routes.add("DELETE", "/v2.0/subnets/{id}")
async def delete_subnet(call: Call) -> Answer:
    row, region = _subnet(call), call.region
    for port in region.ports.values():
        if any(fixed["subnet_id"] == row["id"] for fixed in port["fixed_ips"]):
            message = f"Unable to complete operation on subnet {row['id']}: One or more ports have an IP allocation from this subnet."
            raise Refusal(neutron_error(409, "SubnetInUse", message))
    del region.subnets[row["id"]]
    network = region.networks[row["network_id"]]
    network["subnets"] = [ident for ident in network["subnets"] if ident != row["id"]]
    region.ledger.deleted(row["id"])
    return Answer(204)
