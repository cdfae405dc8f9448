"""What operators ask for: enqueue, dequeue, promote. Asked through the router's inbox, so in order with events.

A request is {"kind": "enqueue" | "dequeue" | "promote", "tenant", "pipeline", "project": name or canonical name,
"change": "NUMBER,PATCHSET" or "ref", "oldrev", "newrev"; promote has "changes": ["NUMBER,PATCHSET", …] instead}.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from trunkline.connections import TriggerEvent
from trunkline.gate import Queue
from trunkline.gate.events import Dequeue, DequeueReason, Promote
from trunkline.gate.model import RefKey
from trunkline.services.layouts import Loaded
from trunkline.store import Connection, events, queues
from trunkline.store.database import Row

if TYPE_CHECKING:
    from trunkline.services.routing import Routing

log = structlog.get_logger()


async def ask(conn: Connection, connection: str, body: dict[str, Any]) -> None:
    """Put a request into the inbox of the router of `connection` (the project's)."""
    await events.post(conn, f"router:{connection}", {**body, "asked": time.time(), "id": uuid.uuid4().hex})


async def carry_out(routing: Routing, body: dict[str, Any]) -> None:
    """Do one request; one that names what does not exist (any more) is nothing."""
    async with routing.db.transaction() as conn:
        loaded = await routing.layouts.get(conn, body["tenant"])
    if loaded is None or body.get("pipeline") not in loaded.layout.pipelines:
        log.info("operation.moot", body=body)
        return
    match body.get("kind"):
        case "enqueue":
            await _enqueue(routing, loaded, body)
        case "dequeue":
            await _dequeue(routing, loaded, body)
        case "promote":
            await _promote(routing, loaded, body)
        case other:
            log.warning("operation.unknown", kind=other)


async def _enqueue(routing: Routing, loaded: Loaded, body: dict[str, Any]) -> None:
    project = _project(loaded, body["project"])
    if project is None:
        return
    pipeline = loaded.layout.pipelines[body["pipeline"]]
    connection, name = project
    event = TriggerEvent(
        connection=connection,
        driver=routing.sources[connection].driver,
        delivery=body["id"],
        type="enqueue",
        project=name,
        at=body["asked"],
        ref=body.get("ref"),
        oldrev=body.get("oldrev"),
        newrev=body.get("newrev"),
    )
    info = None
    if body.get("change"):
        number, patchset = map(int, str(body["change"]).split(","))
        info = await routing.sources[connection].change(number, patchset)
    await routing.consider(loaded, pipeline, event, info, (body.get("user"), body.get("parameters") or {}))


async def _dequeue(routing: Routing, loaded: Loaded, body: dict[str, Any]) -> None:
    project = _project(loaded, body["project"])
    if project is None:
        return
    canonical = routing.sources.canonical(*project)
    async with routing.db.transaction() as conn:
        if body.get("change"):
            number, patchset = str(body["change"]).split(",")
            places = [
                p
                for p in await queues.where(conn, loaded.spec.name, canonical, int(number))
                if p["patchset"] == patchset
            ]
        else:
            places = await queues.where_ref(conn, loaded.spec.name, f"{project[0]}:{project[1]}:{body['ref']}@")
        live = [place for place in places if place["pipeline"] == body["pipeline"] and place["live"]]
        place = await _first(conn, live)
        if place is not None:
            event = Dequeue(change=RefKey(place["ref_key"]), reason=DequeueReason.OPERATOR)
            await events.post(conn, f"queue:{place['queue_id']}", event)


async def _first(conn: Connection, places: list[Row]) -> Row | None:
    """Of several places (a ref at different revisions) the one that stands in front."""
    if len(places) < 2:
        return places[0] if places else None
    states = {place["queue_id"]: await queues.state(conn, place["queue_id"]) for place in places}
    orders = {id: msgspec.json.decode(state, type=Queue).order for id, state in states.items() if state}

    def rank(place: Row) -> int:
        order = orders.get(place["queue_id"], ())
        return order.index(place["item"]) if place["item"] in order else len(order)

    return min(places, key=rank)


async def _promote(routing: Routing, loaded: Loaded, body: dict[str, Any]) -> None:
    async with routing.db.transaction() as conn:
        by_queue: dict[str, list[RefKey]] = {}
        for change in body["changes"]:
            number, patchset = str(change).split(",")
            for place in await queues.where_number(conn, loaded.spec.name, body["pipeline"], int(number), patchset):
                by_queue.setdefault(place["queue_id"], []).append(RefKey(place["ref_key"]))
        for queue, keys in by_queue.items():
            await events.post(conn, f"queue:{queue}", Promote(tuple(keys)))


def _project(loaded: Loaded, name: str) -> tuple[str, str] | None:
    """(connection, project name) of a project given by any of its names."""
    for project in loaded.spec.projects:
        if name in (project.canonical_name, project.name):
            return project.connection, project.name
    return None
