"""The fleet service: reconcile every application from rows and inbox, probe, publish.

One application, one transaction: state, events used, requests, builds and endpoints are written together or not at
all. Killed at any instruction, it starts over from the rows; two of them share the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from trunkline.fleet import (
    AppState,
    Asked,
    BuildCompleted,
    Delete,
    DeployBatch,
    Event,
    Instance,
    InstanceState,
    Landed,
    Place,
    Plan,
    Submitted,
)
from trunkline.fleet.step import observe, step
from trunkline.services.fleet_dns import NameServer, Zones
from trunkline.services.fleet_endpoints import EndpointFiles, document
from trunkline.services.fleet_landing import take_landings
from trunkline.services.fleet_ports import DeployNode, DeployRefused, FleetPorts
from trunkline.services.fleet_probes import Vantage, probe_from
from trunkline.services.fleet_world import look
from trunkline.store import Database, events, fleet, listen
from trunkline.store.database import Connection, Row

log = structlog.get_logger()

RETRY_S = 1.0
ROUND_AT_LEAST_S = 0.2
"""However often it is woken, it looks no more often than this."""


class FleetSettings(msgspec.Struct, frozen=True):
    """How the service runs. `dns_port` None: no name server; 0: any free port. `endpoints_dir` None: no files."""

    tick_s: float = 2.0
    vantages: tuple[Vantage, ...] = (Vantage("one"), Vantage("two"))
    dns_host: str = "127.0.0.1"
    dns_port: int | None = None
    endpoints_dir: Path | None = None


async def run_fleet(
    db: Database,
    settings: FleetSettings,
    ports: FleetPorts,
    stop: asyncio.Event,
    *,
    listening: Callable[[int], None] | None = None,
) -> None:
    """Run until `stop`. `listening` is told the port of the name server."""
    zones = Zones()
    server = None if settings.dns_port is None else NameServer(zones, settings.dns_host, settings.dns_port)
    if server is not None:
        await server.start()
        if listening is not None:
            listening(server.port)
    files = EndpointFiles(settings.endpoints_dir)
    wake = asyncio.Event()
    helpers = [asyncio.create_task(_hear(db, wake))]
    helpers += [asyncio.create_task(probe_from(vantage, db, stop)) for vantage in settings.vantages]
    try:
        while not stop.is_set():
            wake.clear()
            await _shielded("fleet.round.failed", lambda: round_of(db, ports, zones, files))
            await _pause(stop, wake, settings.tick_s)
            await asyncio.sleep(ROUND_AT_LEAST_S)
    finally:
        for task in helpers:
            task.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        if server is not None:
            await server.close()


async def round_of(db: Database, ports: FleetPorts, zones: Zones, files: EndpointFiles) -> None:
    """Landings first, then every application, then what is published."""
    await _shielded("fleet.landing.failed", lambda: take_landings(db, ports))
    async with db.connection() as conn:
        names = await fleet.names(conn)
    for tenant, name in names:
        await _shielded("fleet.reconcile.failed", _reconciling(db, ports, tenant, name), application=f"{tenant}/{name}")
    async with db.connection() as conn:
        documents = [row["document"] for row in await fleet.endpoints(conn)]
    zones.load(documents)
    files.write(documents)


def _reconciling(db: Database, ports: FleetPorts, tenant: str, name: str) -> Callable[[], Awaitable[None]]:
    return lambda: reconcile(db, ports, tenant, name)


async def _shielded(event: str, work: Callable[[], Awaitable[None]], **fields: Any) -> None:
    """One thing that fails (a database restart, one broken application) stops nothing else; it is tried again."""
    try:
        await work()
    except fleet.LateWriter:
        log.info("fleet.late", **fields)
    except Exception:
        log.exception(event, **fields)


async def _hear(db: Database, wake: asyncio.Event) -> None:
    while True:
        try:
            async for _ in listen(db.dburi, [fleet.CHANNEL, "pool"]):
                wake.set()
        except Exception as problem:
            log.warning("fleet.listen.failed", error=str(problem))
            await asyncio.sleep(RETRY_S)


async def _pause(stop: asyncio.Event, wake: asyncio.Event, seconds: float) -> None:
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(wake.wait())]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()


async def reconcile(db: Database, ports: FleetPorts, tenant: str, name: str) -> None:
    """Advance one application by what waits for it and what is seen; nothing is written if nothing changed."""
    async with db.transaction() as conn:
        before = await fleet.load(conn, tenant, name, claim=True)
        if before is None:
            return
        rows = await events.waiting(conn, before.state.owner)
        told = [event for row in rows if (event := read_event(row["event"])) is not None]
        state = before.state
        for event in told:
            state = observe(state, event, before.now)
        seen, news = await look(conn, state)
        state, plan = step(state, news, seen, before.now)
        state = await _carry_out(conn, ports, state, plan, before.now)
        await _insist(conn, ports, before.state)
        status = msgspec.to_builtins(plan.status)
        if state != before.state or status != before.status:
            await _write(conn, before, state, plan)
        await events.finish(conn, [row["id"] for row in rows], before.version + 1)


async def _write(conn: Connection, before: fleet.Loaded, state: AppState, plan: Plan) -> None:
    old = {i.id: i.deployed_at for i in before.state.instances}
    fresh = [i.id for i in state.instances if old.get(i.id) != i.deployed_at]
    if fresh:
        await fleet.forget_streaks(conn, state.tenant, state.application.name, fresh)
    await fleet.save(conn, before, state, plan.status)
    await fleet.record(conn, state.tenant, state.application.name, plan.actions)
    await fleet.publish(conn, state.tenant, state.application.name, document(state))
    for action in plan.actions:
        log.info(f"fleet.{action.__struct_config__.tag}", application=state.owner, **_fields(action))


def _fields(action: Any) -> dict[str, Any]:
    return {k: v for k, v in msgspec.to_builtins(action).items() if k != "type"}


def read_event(event: Row) -> Event | None:
    """An event from the inbox; None for those that only wake (the rows say what they say)."""
    if event.get("type") == "landed":
        return msgspec.convert(event, Landed)
    if "build-completed" in (event.get("kind"), event.get("type")) or event.get("type") == "BuildCompleted":
        return BuildCompleted(event["build"], event.get("result") or "ABORTED")
    return None


async def _carry_out(conn: Connection, ports: FleetPorts, state: AppState, plan: Plan, now: float) -> AppState:
    """Ask the world for what the plan says, in this transaction."""
    for action in plan.actions:
        match action:
            case Place():
                request = await ports.request_node(
                    conn,
                    owner=state.owner,
                    tenant=state.tenant,
                    label=action.label,
                    provider=action.provider,
                    jurisdictions=action.jurisdictions,
                    project=state.project,
                    job=state.application.deploy.job,
                )
                state = observe(state, Asked(action.instance, request), now)
            case DeployBatch():
                state = observe(state, await _deploy(conn, ports, state, action), now)
            case Delete():
                await _return(conn, ports, _instance(state, action.instance))
    return state


async def _deploy(conn: Connection, ports: FleetPorts, state: AppState, batch: DeployBatch) -> Event:
    application = state.application
    chosen = [_instance(state, instance) for instance in batch.instances]
    nodes = [DeployNode(i.node, i.id, (application.deploy.group,)) for i in chosen if i.node is not None]
    try:
        async with conn.transaction():
            build = await ports.submit_deploy(
                conn,
                tenant=state.tenant,
                application=application.name,
                job=application.deploy.job,
                project=state.project,
                branch=state.branch,
                commit=batch.commit,
                nodes=nodes,
                variables={
                    "trunkline": {"application": application.name, "commit": batch.commit, "deploy": batch.deploy}
                },
            )
    except DeployRefused as refused:
        log.warning("fleet.deploy.refused", application=state.owner, reason=str(refused))
        return BuildCompleted(batch.deploy, f"a refusal: {refused}")
    return Submitted(batch.deploy, build)


async def _return(conn: Connection, ports: FleetPorts, instance: Instance) -> None:
    if instance.request is not None:
        await ports.return_node(conn, instance.request)


async def _insist(conn: Connection, ports: FleetPorts, state: AppState) -> None:
    """A node that came after its request was withdrawn is returned as well."""
    let_go = [i.request for i in state.instances if i.state is InstanceState.DELETING and i.request is not None]
    for request in await fleet.unreturned(conn, let_go) if let_go else ():
        await ports.return_node(conn, request)


def _instance(state: AppState, instance: str) -> Instance:
    return next(i for i in state.instances if i.id == instance)
