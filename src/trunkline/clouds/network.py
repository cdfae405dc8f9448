"""Where a server can be reached, and floating IPs where that needs one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct


class Network(Struct, frozen=True):
    id: str
    name: str
    is_external: bool
    is_shared: bool


class Address(Struct, frozen=True):
    network: str
    ip: str
    version: int
    is_floating: bool


class Addresses(Struct, frozen=True):
    interface_ip: str | None = None  # where SSH is tried
    public_ipv4: str | None = None
    private_ipv4: str | None = None
    public_ipv6: str | None = None


def read_addresses(raw: dict[str, Any] | None) -> tuple[Address, ...]:
    """From the `addresses` of a server."""
    found = []
    for network, entries in (raw or {}).items():
        for entry in entries:
            kind = entry.get("OS-EXT-IPS:type", "fixed")
            found.append(Address(network, entry["addr"], int(entry.get("version", 4)), kind == "floating"))
    return tuple(found)


def sort_addresses(seen: Sequence[Address], networks: Sequence[Network], has_network: bool) -> Addresses:
    """Which of a server's addresses is what: a floating one first, then those on external networks."""
    external = {n.name for n in networks if n.is_external} if has_network else {"public"}
    floating = [a.ip for a in seen if a.is_floating and a.version == 4]
    public4 = floating + [a.ip for a in seen if a.version == 4 and not a.is_floating and a.network in external]
    public6 = [a.ip for a in seen if a.version == 6 and a.network in external]
    private4 = [a.ip for a in seen if a.version == 4 and not a.is_floating and a.network not in external]
    other6 = [a.ip for a in seen if a.version == 6 and a.network not in external]
    reachable = [*public4, *public6, *private4, *other6]
    return Addresses(
        interface_ip=next(iter(reachable), None),
        public_ipv4=next(iter(public4), None),
        private_ipv4=next(iter(private4), None) or next(iter(public4), None),
        public_ipv6=next(iter([*public6, *other6]), None),
    )


def needs_floating_ip(seen: Sequence[Address], networks: Sequence[Network], rule: str) -> bool:
    """Whether a server has no address from outside. rule: "required", "none" or "auto" (as the networks say)."""
    if rule == "none" or any(a.is_floating for a in seen):
        return False
    external = {n.name for n in networks if n.is_external}
    if any(a.network in external for a in seen):
        return False
    return rule == "required" or bool(external)


def choose_networks(wanted: Sequence[str], networks: Sequence[Network]) -> list[str] | None:
    """Ids of the networks to put a server on; None leaves it to the cloud. Raises LookupError if one is not there.

    What the configuration names wins. Else, when there are several: a network of the project's own, else an external
    one that can be used directly.
    """
    if wanted:
        ids = []
        for name in wanted:
            found = next((n.id for n in networks if name in (n.id, n.name)), None)
            if found is None:
                raise LookupError(f"no network {name}")
            ids.append(found)
        return ids
    own = [n for n in networks if not n.is_external and not n.is_shared]
    shared = [n for n in networks if not n.is_external and n.is_shared]
    direct = [n for n in networks if n.is_external]
    usable = own or shared or direct
    return [min(usable, key=lambda n: (n.name, n.id)).id] if usable else None


def attach_floating_ip(conn: Any, server_id: str, networks: Sequence[Network], description: str) -> tuple[str, str]:
    """Give a server a floating IP by its port. Returns (id, address). Uses one that it has already."""
    ports = list(conn.network.ports(device_id=server_id))
    if not ports:
        raise LookupError(f"server {server_id} has no port yet")
    port = next((p for p in ports if any(":" not in f["ip_address"] for f in p.fixed_ips or [])), ports[0])
    for existing in conn.network.ips(port_id=port.id):
        if existing.port_id == port.id:
            return str(existing.id), str(existing.floating_ip_address)
    outside = next(n for n in networks if n.is_external)
    made = conn.network.create_ip(floating_network_id=outside.id, port_id=port.id, description=description)
    return str(made.id), str(made.floating_ip_address)
