"""Inventories: which hosts, which variables, in Zuul's order of precedence. Pure, and the YAML they are written as.

Weakest first: what parent jobs returned, include-vars, the job's vars (these three merged deeply); group-vars, `all`
before the groups by name; host-vars; the node's own; extra-vars.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from trunkline.executor.request import BuildRequest, NodeInfo
from trunkline.executor.variables import UnsafeText

Json = Any
Hosts = dict[str, dict[str, Json]]

WINRM_TRANSPORT = {"ansible_winrm_transport": "certificate", "ansible_winrm_server_cert_validation": "ignore"}
FIXED_SSH_ARGUMENTS = {
    "ansible_ssh_executable": "ssh",
    "ansible_ssh_common_args": "-o PermitLocalCommand=no",
    "ansible_sftp_extra_args": "-o PermitLocalCommand=no",
    "ansible_scp_extra_args": "-o PermitLocalCommand=no",
    "ansible_ssh_extra_args": "-o PermitLocalCommand=no",
}


def deep_merge(weak: Mapping[str, Json], strong: Mapping[str, Json]) -> dict[str, Json]:
    """Maps are merged at every depth, all else of `strong` replaces."""
    merged = dict(weak)
    for key, value in strong.items():
        known = merged.get(key)
        merged[key] = deep_merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged


def job_variables(request: BuildRequest, included: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """What every host has: parents' data, include-vars (later ones win), vars of the job."""
    values: dict[str, Json] = dict(request.parent_data)
    for entry in included:
        values = deep_merge(values, entry)
    return deep_merge(values, request.job.vars)


def everywhere(request: BuildRequest, base: Mapping[str, Json]) -> dict[str, Json]:
    """The variables of localhost, written as `all.vars`."""
    return {**base, **request.job.group_vars.get("all", {}), **request.job.extra_vars}


def host_variables(request: BuildRequest, base: Mapping[str, Json], default_username: str) -> Hosts:
    """Inventory host to its variables, original values."""
    job, hosts = request.job, {}
    for node in request.nodes:
        for name in node.names:
            values = {**base, **job.group_vars.get("all", {})}
            for group in sorted(request.groups):
                if name in request.groups[group]:
                    values.update(job.group_vars.get(group, {}))
            values.update(job.host_vars.get(name, {}))
            own = node_variables(node, default_username)
            if "ansible_python_interpreter" in values and node.python_path is None:
                own.pop("ansible_python_interpreter")
            values.update(own)
            values.update(job.extra_vars)
            hosts[name] = values
    return hosts


def node_variables(node: NodeInfo, default_username: str) -> dict[str, Json]:
    described: dict[str, Json] = {
        "az": node.az,
        "cloud": node.cloud,
        "external_id": node.external_id,
        "host_id": node.host_id,
        "interface_ip": node.interface_ip,
        "label": node.label,
        "node_properties": dict(node.node_properties),
        "private_ipv4": node.private_ipv4,
        "private_ipv6": node.private_ipv6,
        "provider": node.provider,
        "public_ipv4": node.public_ipv4,
        "public_ipv6": node.public_ipv6,
        "region": node.region,
        "slot": node.slot,
    }
    values: dict[str, Json] = {
        "ansible_host": node.interface_ip,
        "ansible_user": node.username or default_username,
        "ansible_port": node.port,
        "nodepool": {**described, "private_ipv4": node.private_ipv4 or node.public_ipv4},
        "zuul_node": {**described, "uuid": node.uuid, "reuse": node.reuse},
        "ansible_python_interpreter": node.python_path,
        "ansible_connection": node.connection_type,
    }
    if node.shell_type:
        values["ansible_shell_type"] = node.shell_type
    if node.connection_type == "winrm":
        values.update(WINRM_TRANSPORT)
    if node.connection_type == "ssh" and not node.host_keys:
        values["ansible_ssh_common_args"] = "-o StrictHostKeyChecking=no"
    return values


def inventory(
    request: BuildRequest, hosts: Hosts, shared: Mapping[str, Json] | None, unreachable: Collection[str] = ()
) -> dict[str, Json]:
    """Hosts, groups (with `zuul_unreachable`), and `all.vars`."""
    children: dict[str, Json] = {
        name: {"hosts": dict.fromkeys(members)} for name, members in sorted(request.groups.items())
    }
    children["zuul_unreachable"] = {"hosts": dict.fromkeys(sorted(unreachable))}
    whole: dict[str, Json] = {"children": children, "hosts": hosts}
    if shared is not None:
        whole["vars"] = dict(shared)
    return {"all": whole}


def with_originals(values: Mapping[str, Json], original: Mapping[str, Json]) -> dict[str, Json]:
    """Add `unsafe_vars`: the variables as the job wrote them, never evaluated."""
    return {**values, "unsafe_vars": unsafe(original)} if original else dict(values)


def unsafe(value: Json) -> Json:
    """The same value, all of its text marked as no template."""
    if isinstance(value, Mapping):
        return {key: unsafe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unsafe(item) for item in value]
    return UnsafeText(value) if isinstance(value, str) else value


def from_frozen(value: Json) -> Json:
    """What the freeze answered, its marks for text that must not be evaluated again turned into UnsafeText."""
    if isinstance(value, Mapping):
        if set(value) == {"__unsafe__"}:
            return UnsafeText(value["__unsafe__"])
        return {key: from_frozen(item) for key, item in value.items()}
    return [from_frozen(item) for item in value] if isinstance(value, list) else value


def unmarked(value: Json) -> Json:
    """The same value, with plain text in place of marked text: for people to read."""
    if isinstance(value, Mapping):
        return {key: unmarked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unmarked(item) for item in value]
    return str(value) if isinstance(value, UnsafeText) else value


def known_hosts(nodes: Iterable[NodeInfo]) -> str:
    """The text of `.ssh/known_hosts`: `[address]:port` unless the port is 22."""
    lines = []
    for node in nodes:
        place = node.interface_ip if node.port == 22 else f"[{node.interface_ip}]:{node.port}"
        lines += [f"{place} {key}\n" for key in node.host_keys]
    return "".join(lines)


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(UnsafeText, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


def to_yaml(value: Json) -> str:
    return yaml.dump(copy.copy(value), Dumper=_Dumper, allow_unicode=True, default_flow_style=False, width=1 << 20)
