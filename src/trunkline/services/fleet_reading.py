"""Answers about the fleet for people and for Ansible, from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from trunkline.config.source import SourceContext
from trunkline.fleet import AppState, InstanceState, Landed, Plan
from trunkline.fleet.files import read
from trunkline.fleet.step import step
from trunkline.services.fleet_world import look
from trunkline.store import fleet, nodes
from trunkline.store.database import Connection, Row

TRIAL = "the-proposed-commit"


class NotPlanned(Exception):
    """There is nothing to plan; the text says why."""


async def dry_run(conn: Connection, tenant: str, name: str, texts: Mapping[str, str] | None) -> tuple[AppState, Plan]:
    """What would be done now, or if these application files landed. Nothing is written. Raises NotPlanned."""
    loaded = await fleet.load(conn, tenant, name)
    if loaded is None and texts is None:
        raise NotPlanned(f"there is no application {name} in tenant {tenant}")
    now = loaded.now if loaded is not None else await fleet.clock(conn)
    state = loaded.state if loaded is not None else None
    events: list[Landed] = []
    if texts is not None:
        found = read(texts, SourceContext("", "proposed", "", "", False))
        if found.errors:
            raise NotPlanned("\n\n".join(error.message for error in found.errors))
        wanted = next((one.application for one in found.defined if one.application.name == name), None)
        if wanted is None:
            raise NotPlanned(f"{', '.join(texts)} does not define {name}")
        state = state or AppState(tenant, wanted)
        events.append(Landed(state.project, state.branch, TRIAL, wanted))
    assert state is not None
    with_policy = replace(state, application=events[0].application) if events and events[0].application else state
    seen, news = await look(conn, with_policy)
    return step(state, [*events, *news], seen, now)


async def inventory(conn: Connection, tenant: str, only: Sequence[str] = ()) -> dict[str, Any]:
    """An Ansible inventory of running instances, in the shape of an inventory script's `--list`."""
    groups: dict[str, dict[str, list[str]]] = {}
    hostvars: dict[str, dict[str, Any]] = {}
    for _, name in await fleet.names(conn, tenant):
        if only and name not in only:
            continue
        loaded = await fleet.load(conn, tenant, name)
        assert loaded is not None
        kept = [i for i in loaded.state.instances if i.node and i.state is not InstanceState.DELETING]
        rows = {row["id"]: row for row in await nodes.get(conn, [i.node for i in kept if i.node])}
        for i in kept:
            row = rows.get(i.node or "")
            if row is None:
                continue
            hostvars[i.id] = {**_connection(row, i.address), **_facts(i, name)}
            for group in (name, f"provider_{i.provider}", f"region_{i.region}", f"jurisdiction_{i.jurisdiction}"):
                groups.setdefault(_group_name(group), {"hosts": []})["hosts"].append(i.id)
    return {"_meta": {"hostvars": hostvars}, "all": {"children": sorted(groups)}, **groups}


def _group_name(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)


def _connection(row: Row, address: str) -> dict[str, Any]:
    found = {
        "ansible_host": address,
        "ansible_port": row["connection_port"],
        "ansible_connection": row["connection_type"],
        "ansible_user": row["username"],
        "ansible_python_interpreter": row["python_path"],
    }
    return {key: value for key, value in found.items() if value}


def _facts(i: Any, application: str) -> dict[str, Any]:
    facts = {
        "application": application,
        "commit": i.commit,
        "state": i.state.value,
        "health": i.health.value,
        "published": i.published,
        "cloud": i.cloud,
        "region": i.region,
        "provider": i.provider,
        "vendor": i.vendor,
        "jurisdiction": i.jurisdiction,
        "city": i.city,
    }
    return {"trunkline": facts}
