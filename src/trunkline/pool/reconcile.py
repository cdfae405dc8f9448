"""One region: node rows against the servers that its list shows. Says what to do; touches nothing.

The rows must have been read after the list, and a row is written before its server is asked for and deleted after the
server is gone: so a server of ours that no row claims is a leak, whatever happened to whom in between.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from trunkline.pool.model import NodeState, Trouble


class Row(Struct, frozen=True):
    """What of a node matters here."""

    id: str
    state: NodeState
    server_id: str | None = None
    create_sent: float | None = None
    state_time: float = 0.0
    boot_timeout_s: float = 300.0


class Seen(Struct, frozen=True):
    """A server of ours as the list shows it."""

    id: str
    node_id: str
    status: str
    fault: str | None = None


class Send(Struct, frozen=True, tag=True):
    """Ask the cloud for the server; nobody has yet."""

    node: str


class Adopt(Struct, frozen=True, tag=True):
    """The server is there: somebody asked for it and could not write that down."""

    node: str
    server: str


class Active(Struct, frozen=True, tag=True):
    """The server runs: find its address and wait until it answers."""

    node: str
    server: str


class Broken(Struct, frozen=True, tag=True):
    node: str
    trouble: Trouble
    message: str
    from_fault: bool = False  # the message is the cloud's: its words may say more of the kind
    teaches: bool = True  # whether it says something of the region: not if the launcher was killed meanwhile


class Missing(Struct, frozen=True, tag=True):
    """The list does not show the server: ask for it by id before believing that."""

    node: str
    server: str


class Remove(Struct, frozen=True, tag=True):
    """Have the server deleted. node: whose row goes after it; None for a leak."""

    server: str
    node: str | None


class Forget(Struct, frozen=True, tag=True):
    """There is no server: the row goes. server: to be asked for by id before that, if it ever had one."""

    node: str
    server: str | None


Finding = Send | Adopt | Active | Broken | Missing | Remove | Forget

RUNS = frozenset({"ACTIVE"})
GOING = frozenset({"DELETED", "SOFT_DELETED"})


def reconcile(rows: Iterable[Row], servers: Iterable[Seen], now: float, *, grace_s: float) -> list[Finding]:
    """What to do about each row and each server. grace_s: how long a list may lag behind what was asked."""
    by_node: dict[str, list[Seen]] = {}
    by_id: dict[str, Seen] = {}
    for server in sorted(servers, key=lambda s: s.id):
        by_node.setdefault(server.node_id, []).append(server)
        by_id[server.id] = server
    findings: list[Finding] = []
    claimed: set[str] = set()
    for row in rows:
        found = by_id.get(row.server_id) if row.server_id else next(iter(by_node.get(row.id, ())), None)
        if found is not None:
            claimed.add(found.id)
        elif row.server_id is not None:
            claimed.add(row.server_id)
        finding = _about(row, found, now, grace_s)
        if finding is not None:
            findings.append(finding)
    findings += [Remove(s.id, None) for s in by_id.values() if s.id not in claimed]
    return findings


def unsent(rows: Iterable[Row]) -> list[Finding]:
    """What can be done without a list: ask for servers that nobody has asked for."""
    return [Send(row.id) for row in rows if row.state is NodeState.requested and row.create_sent is None]


def _about(row: Row, server: Seen | None, now: float, grace_s: float) -> Finding | None:
    match row.state:
        case NodeState.requested if server is not None:
            return Adopt(row.id, server.id)
        case NodeState.requested if row.create_sent is None:
            return Send(row.id)
        case NodeState.requested if now - (row.create_sent or now) > grace_s:
            return Broken(row.id, Trouble.down, "nobody confirmed that the server is made", teaches=False)
        case NodeState.building if server is not None:
            return _about_building(row, server, now)
        case NodeState.building | NodeState.ready | NodeState.in_use | NodeState.hold if row.server_id and not server:
            asked = row.create_sent or row.state_time
            return Missing(row.id, row.server_id) if now - asked > grace_s else None
        case NodeState.ready if server is not None and server.status not in RUNS:
            return Broken(row.id, Trouble.vanished, f"the server is {server.status}")
        case NodeState.deleting if server is not None:
            return Remove(server.id, row.id)
        case NodeState.deleting if row.server_id or row.create_sent is None or now - row.create_sent > grace_s:
            return Forget(row.id, row.server_id)
        case _:
            return None


def _about_building(row: Row, server: Seen, now: float) -> Finding | None:
    if server.status in RUNS:
        return Active(row.id, server.id)
    if server.status == "ERROR":
        return Broken(row.id, Trouble.boot, server.fault or "the server went to ERROR", from_fault=True)
    if server.status in GOING or server.status == "SHUTOFF":
        return Broken(row.id, Trouble.boot, f"the server is {server.status}")
    asked = row.create_sent or row.state_time
    if now - asked > row.boot_timeout_s:
        return Broken(row.id, Trouble.boot, f"not active within {row.boot_timeout_s:.0f} s")
    return None
