"""Rows of the pool → what the planner sees: regions with room, and what became of the servers that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.fleet import (
    AppState,
    Event,
    InstanceState,
    NodeFailed,
    NodeGone,
    NodeReady,
    RegionHealth,
    RegionView,
    Seen,
)
from trunkline.store import fleet, regions
from trunkline.store.database import Connection, Row

_ENDED = ("failed", "deleting", "used")
_RESOURCES = ("instances", "cores", "ram_mib")


async def look(conn: Connection, state: AppState) -> tuple[Seen, list[Event]]:
    """The world as the rows have it, and what that means for servers that are awaited or let go."""
    requests = {i.id: i.request for i in state.instances if i.request is not None}
    servers = await fleet.servers(conn, list(requests.values()))
    waiting = [i.request for i in state.instances if i.request and i.state is InstanceState.REQUESTED]
    seen = Seen(
        regions=await places(conn, state.tenant, state.application.label, waiting),
        streaks=await fleet.streaks(conn, state.tenant, state.application.name),
        gone=gone_servers(state, servers),
    )
    return seen, news(state, servers)


def gone_servers(state: AppState, servers: Mapping[str, Row]) -> frozenset[str]:
    """Instances whose node the launcher no longer finds, or somebody else has ended."""
    return frozenset(
        i.id
        for i in state.instances
        if i.node is not None
        and i.state not in (InstanceState.DELETING, InstanceState.GONE)
        and ((row := servers.get(i.request or "")) is None or row["node"] is None or row["node_state"] in _ENDED)
    )


def news(state: AppState, servers: Mapping[str, Row]) -> list[Event]:
    """Level-triggered: what the rows say of awaited and of returned servers, whoever told us of it or did not."""
    events: list[Event] = []
    for i in state.instances:
        row = servers.get(i.request) if i.request else None
        if i.state is InstanceState.DELETING and (row is None or row["node"] is None) and not _is_open(row):
            events.append(NodeGone(i.id))
        elif i.state is InstanceState.REQUESTED and i.request:
            if row is None or row["state"] in ("failed", "canceled"):
                events.append(NodeFailed(i.request, (row and row["error"]) or "its request is gone"))
            elif row["state"] == "fulfilled" and row["node"] is not None:
                events.append(NodeReady(i.request, row["node"], row["address"]))
            elif row["state"] == "fulfilled":
                events.append(NodeFailed(i.request, "its server is gone before it was used"))
    return events


def _is_open(row: Row | None) -> bool:
    return row is not None and row["state"] in ("requested", "accepted")


async def places(conn: Connection, tenant: str, label: str, waiting: Sequence[str]) -> tuple[RegionView, ...]:
    """The providers of a tenant as places; without any known provider, the bare regions."""
    rows = {(row["cloud"], row["region"]): row for row in await regions.listed(conn)}
    used = {(row["cloud"], row["region"]): row for row in await fleet.needs_by_region(conn, waiting)}
    found: list[RegionView] = []
    for spec in await regions.specs(conn):
        if spec["tenant"] == tenant and (row := rows.get((spec["cloud"], spec["region"]))) is not None:
            found.append(_place(row, spec, label, used.get((row["cloud"], row["region"]))))
    if not found:
        found = [_place(row, None, label, used.get(key)) for key, row in rows.items()]
    return tuple(sorted(found, key=lambda r: r.provider))


def _place(row: Row, spec: Mapping[str, Any] | None, label: str, used: Row | None) -> RegionView:
    labels = None if spec is None else {entry["name"]: entry for entry in spec.get("labels", ())}
    return RegionView(
        cloud=row["cloud"],
        region=row["region"],
        provider=spec["name"] if spec else row["provider"] or f"{row['cloud']}/{row['region']}",
        vendor=row["vendor"] or row["cloud"],
        city=row["city"],
        country=row["country"],
        jurisdiction=row["jurisdiction"],
        lat=row["lat"],
        lon=row["lon"],
        health=RegionHealth(row["state"]),
        reason=row["reason"],
        since=row["since"] or 0.0,
        headroom=_headroom(row, spec, (labels or {}).get(label), used or {}),
        labels=None if labels is None else tuple(sorted(labels)),
        seen=row["seen"] or 0.0,
    )


def _headroom(row: Row, spec: Mapping[str, Any] | None, label: Mapping[str, Any] | None, used: Row) -> int | None:
    """How many more servers of the label fit, by the cloud's quota and the provider's limits; None: nobody knows."""
    quota = row["quota"] or {}
    limits, unmanaged = quota.get("limits") or {}, quota.get("unmanaged") or {}
    flavor = ((label or {}).get("flavor") or {}).get("flavor_name")
    needs = {"instances": 1, **{k: v for k, v in _flavor(row, flavor).items() if v}}
    room: list[int] = []
    for resource in _RESOURCES:
        need = needs.get(resource) or 0
        if not need:
            continue
        ours = used.get(resource) or 0
        cloud, own = limits.get(resource), ((spec or {}).get("limits") or {}).get(resource)
        if cloud is not None and cloud >= 0:
            room.append((cloud - (unmanaged.get(resource) or 0) - ours) // need)
        if own is not None and own >= 0:
            room.append((own - ours) // need)
    return max(min(room), 0) if room else None


def _flavor(row: Row, name: str | None) -> Mapping[str, Any]:
    flavors = (row["offer"] or {}).get("flavors") or {}
    found = flavors.get(name) if name else None
    return found if isinstance(found, dict) else {}
