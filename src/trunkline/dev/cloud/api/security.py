"""Neutron: security groups and their rules. They are kept and checked, not enforced: every server shares one loopback."""

from typing import Any

from trunkline.dev.cloud.api.network import check_quota, find, listing, stamped, touch, visible
from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, neutron_error
from trunkline.dev.cloud.world import Record, Region

routes = Routes()

_RULE_KEY = (
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
)


def add_group(region: Region, project: str, name: str, description: str) -> Record:
    row = stamped(project, name=name, stateful=True, description=description, shared=False)
    rules = [_rule(row["id"], project, direction="egress", ethertype=kind) for kind in ("IPv4", "IPv6")]
    if name == "default":
        rules += [
            _rule(row["id"], project, direction="ingress", ethertype=kind, remote_group_id=row["id"])
            for kind in ("IPv4", "IPv6")
        ]
    row["security_group_rules"] = rules
    region.security_groups[row["id"]] = row
    region.ledger.created("security_group", row["id"], name)
    return row


def _rule(group: str, project: str, **values: Any) -> Record:
    defaults = {
        "security_group_id": group,
        "ethertype": "IPv4",
        "direction": "ingress",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_address_group_id": None,
        "normalized_cidr": values.get("remote_ip_prefix"),
        "remote_group_id": None,
        "revision_number": 0,
    }
    return stamped(project, **(defaults | values))


@routes.add("GET", "/v2.0/security-groups")
async def list_groups(call: Call) -> Answer:
    return listing(call, "security_groups", visible(call, call.region.security_groups))


@routes.add("POST", "/v2.0/security-groups")
async def create_group(call: Call) -> Answer:
    wish = call.object("security_group")
    check_quota(call, "security_group")
    if wish.get("name") == "default":
        raise Refusal(neutron_error(409, "SecurityGroupDefaultAlreadyExists", "Default security group already exists."))
    return Answer(
        201, {"security_group": add_group(call.region, call.project, wish.get("name", ""), wish.get("description", ""))}
    )


@routes.add("GET", "/v2.0/security-groups/{id}")
async def show_group(call: Call) -> Answer:
    return Answer(
        200, {"security_group": find(call, "security_group", call.region.security_groups, call.arguments["id"])}
    )


@routes.add("PUT", "/v2.0/security-groups/{id}")
async def update_group(call: Call) -> Answer:
    row = find(call, "security_group", call.region.security_groups, call.arguments["id"])
    return Answer(200, {"security_group": touch(row, call.object("security_group"))})


@routes.add("DELETE", "/v2.0/security-groups/{id}")
async def delete_group(call: Call) -> Answer:
    row = find(call, "security_group", call.region.security_groups, call.arguments["id"])
    if row["name"] == "default":
        raise Refusal(
            neutron_error(
                409, "SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group."
            )
        )
    if any(row["id"] in port["security_groups"] for port in call.region.ports.values()):
        raise Refusal(neutron_error(409, "SecurityGroupInUse", f"Security Group {row['id']} in use."))
    del call.region.security_groups[row["id"]]
    call.region.ledger.deleted(row["id"])
    return Answer(204)


def _rules(call: Call) -> dict[str, Record]:
    return {
        rule["id"]: rule
        for group in visible(call, call.region.security_groups)
        for rule in group["security_group_rules"]
    }


@routes.add("GET", "/v2.0/security-group-rules")
async def list_rules(call: Call) -> Answer:
    return listing(call, "security_group_rules", list(_rules(call).values()))


@routes.add("POST", "/v2.0/security-group-rules")
async def create_rule(call: Call) -> Answer:
    wish = call.object("security_group_rule")
    check_quota(call, "security_group_rule")
    group = find(call, "security_group", call.region.security_groups, wish.get("security_group_id", ""))
    rule = _rule(group["id"], call.project, **wish)
    for other in group["security_group_rules"]:
        if all(str(other[key]) == str(rule[key]) for key in _RULE_KEY):
            message = f"Security group rule already exists. Rule id is {other['id']}."
            raise Refusal(neutron_error(409, "SecurityGroupRuleExists", message))
    group["security_group_rules"].append(rule)
    return Answer(201, {"security_group_rule": rule})


@routes.add("GET", "/v2.0/security-group-rules/{id}")
async def show_rule(call: Call) -> Answer:
    return Answer(200, {"security_group_rule": _find_rule(call)})


def _find_rule(call: Call) -> Record:
    ident = call.arguments["id"]
    rule = _rules(call).get(ident)
    if rule is None:
        raise Refusal(neutron_error(404, "SecurityGroupRuleNotFound", f"Security group rule {ident} does not exist"))
    return rule


@routes.add("DELETE", "/v2.0/security-group-rules/{id}")
async def delete_rule(call: Call) -> Answer:
    rule = _find_rule(call)
    call.region.security_groups[rule["security_group_id"]]["security_group_rules"].remove(rule)
    return Answer(204)
