"""Between the tables and the pool's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from trunkline import store
from trunkline.pool.model import (
    Constraints,
    Decline,
    Node,
    NodeState,
    Offer,
    ProviderHealth,
    ProviderSpec,
    Quota,
    RegionFacts,
    Request,
    RequestState,
    Resources,
    Trouble,
    Vendor,
    World,
)
from trunkline.store import nodes, regions, requests


async def read_world(conn: store.Connection) -> tuple[World, float]:
    """All that a plan is made from, and the time."""
    now = await regions.clock(conn)
    world = World(
        requests={row["id"]: request_of(row) for row in await requests.live(conn)},
        nodes={row["id"]: node_of(row) for row in await nodes.listed(conn)},
        providers=tuple(await read_specs(conn)),
        regions={(r["cloud"], r["region"]): region_of(r) for r in await regions.listed(conn)},
    )
    return world, now


async def read_specs(conn: store.Connection) -> list[ProviderSpec]:
    return [msgspec.convert(spec, ProviderSpec) for spec in await regions.specs(conn)]


def request_of(row: Mapping[str, Any]) -> Request:
    return Request(
        id=row["id"],
        owner=row["owner"],
        tenant=row["tenant"],
        labels=tuple(row["labels"]),
        priority=row["priority"],
        relative_priority=row["relative_priority"],
        created=row["created"],
        state=RequestState(row["state"]),
        pin=row["provider"],
        zone=row["zone"],
        constraints=msgspec.convert(row["constraints"], Constraints) if row["constraints"] else None,
        keep=row["keep"],
        pipeline=row["pipeline"],
        project=row["project"],
        job=row["job"],
        provider=row["accepted_by"],
        node_ids=tuple(row["node_ids"]),
        declined_by=tuple(Decline(d["provider"], d["reason"]) for d in row["declined_by"]),
        failures=row["failures"],
    )


def node_of(row: Mapping[str, Any]) -> Node:
    return Node(
        id=row["id"],
        label=row["label"],
        provider=row["provider"],
        cloud=row["cloud"],
        region=row["region"],
        state=NodeState(row["state"]),
        state_time=row["state_time"],
        created=row["created"],
        tenant=row["tenant"],
        request_id=row["request_id"],
        flavor=row["flavor"],
        needs=msgspec.convert(row["needs"], Resources),
        az=row["az"],
        server_id=row["server_id"],
        slot=row["slot"],
        keep=row["keep"],
        is_static=row["is_static"],
        reuse=row["reuse"],
        locked_by=row["locked_by"],
        trouble=Trouble(row["trouble"]) if row["trouble"] else None,
        comment=row["comment"],
        hold_expires=row["hold_expires"],
    )


def region_of(row: Mapping[str, Any]) -> RegionFacts:
    return RegionFacts(
        cloud=row["cloud"],
        region=row["region"],
        vendor=Vendor(row["vendor"], row["city"], row["country"], row["jurisdiction"], row["lat"], row["lon"]),
        health=msgspec.convert(row["health"], ProviderHealth),
        quota=msgspec.convert(row["quota"], Quota),
        offer=msgspec.convert(row["offer"], Offer),
        seen=row["seen"],
    )


def columns_of(node: Node, spec: ProviderSpec | None, owner: str | None) -> dict[str, Any]:
    """The row of a planned node."""
    label = spec.label(node.label) if spec else None
    machine = next((m for m in spec.static_nodes if m.name == node.slot), None) if spec else None
    values: dict[str, Any] = {
        "id": node.id,
        "request_id": node.request_id,
        "owner": owner,
        "tenant": node.tenant,
        "label": node.label,
        "flavor": node.flavor,
        "needs": msgspec.to_builtins(node.needs),
        "provider": node.provider,
        "region": node.region,
        "cloud": node.cloud,
        "az": node.az,
        "state": node.state.value,
        "keep": node.keep,
        "is_static": node.is_static,
        "reuse": node.reuse,
        "slot": node.slot,
        "hostname": node.slot or f"np{node.id[:13]}",
    }
    if label is not None:
        image = label.image
        values |= {
            "connection_port": image.connection_port,
            "connection_type": image.connection_type,
            "username": image.username,
            "shell_type": image.shell_type,
            "python_path": image.python_path,
            "host_key_checking": label.host_key_checking,
            "executor_zone": label.executor_zone,
            "metadata": {**image.tags, **label.tags},
        }
    if machine is not None:
        values |= {
            "interface_ip": machine.name,
            "connection_port": machine.connection_port,
            "username": machine.username or values.get("username"),
        }
    return values


def usage_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many nodes are in each state."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return counts
