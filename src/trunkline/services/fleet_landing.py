"""A commit has landed: read the application files at it, and tell each application of the project."""

from __future__ import annotations

import structlog

from trunkline.config.source import SourceContext
from trunkline.fleet import Application, AppState, Landed
from trunkline.fleet.files import PLACES, Defined, Read, read
from trunkline.services.fleet_ports import FleetPorts
from trunkline.store import Database, events, fleet
from trunkline.store.database import Connection, Row

log = structlog.get_logger()


async def take_landings(db: Database, ports: FleetPorts) -> None:
    """Use up the landings that wait for tenants, oldest first; each in one transaction."""
    async with db.connection() as conn:
        owners = [owner for owner in await events.owners_waiting(conn, "fleet") if "/" not in owner]
    for owner in owners:
        while await _take_one(db, ports, owner):
            pass


async def _take_one(db: Database, ports: FleetPorts, owner: str) -> bool:
    tenant = owner.partition(":")[2]
    async with db.transaction() as conn:
        if not await fleet.try_owner(conn, owner):
            return False
        waiting = await events.waiting(conn, owner, limit=1)
        if not waiting:
            return False
        event = waiting[0]["event"]
        if event.get("kind") == "landed":
            await _land(conn, ports, tenant, event)
        await events.finish(conn, [waiting[0]["id"]])
    return True


async def _land(conn: Connection, ports: FleetPorts, tenant: str, event: Row) -> None:
    project, branch = event["project"], event["branch"]
    commit = event.get("commit") or await ports.head(project, branch)
    texts = await ports.read_files(project, commit, [path for (path,) in PLACES])
    context = SourceContext("", project, branch, "", False, project)
    found = read(texts, context)
    known = await _known(conn, tenant, project, branch)
    messages = [error.message for error in found.errors]
    for one in found.defined:
        if one.application.name not in known and not await _adopt(conn, tenant, project, branch, one):
            messages.append(
                f"{one.path}:{one.line}: another project or branch has an application {one.application.name}"
            )
            continue
        known.pop(one.application.name, None)
        await _tell(conn, tenant, event, commit, one.application.name, one.application)
    for name, state in known.items():
        await _tell(conn, tenant, event, commit, name, _still_wanted(found, state))
    await fleet.set_fault(conn, tenant, project, branch, commit, messages)
    if found.defined or known or messages:
        log.info("fleet.landed", tenant=tenant, project=project, commit=commit, faults=len(messages))


def _still_wanted(found: Read, state: AppState) -> Application | None:
    """An application that the files no longer define is retired, unless they could not be read: then it stays."""
    return state.application if found.errors and not state.retired else None


async def _known(conn: Connection, tenant: str, project: str, branch: str) -> dict[str, AppState]:
    loaded = [await fleet.load(conn, tenant, name) for _, name in await fleet.names(conn, tenant)]
    return {
        one.state.application.name: one.state
        for one in loaded
        if one is not None and (one.state.project, one.state.branch) == (project, branch)
    }


async def _adopt(conn: Connection, tenant: str, project: str, branch: str, one: Defined) -> bool:
    state = AppState(tenant=tenant, application=one.application, project=project, branch=branch)
    return await fleet.add(conn, state, f"{one.path}:{one.line}")


async def _tell(
    conn: Connection, tenant: str, event: Row, commit: str, name: str, application: Application | None
) -> None:
    landed = Landed(event["project"], event["branch"], commit, application, event.get("change"))
    await events.post(conn, f"fleet:{tenant}/{name}", landed)
