"""Happenings that the gate itself causes, as triggers: a change that it landed, a change that others need came in.

Noted in the transaction of the decision, looked up and routed like any other happening.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from trunkline.config import Layout
from trunkline.connections import ChangeInfo, TriggerEvent
from trunkline.connections.zuul import ENTERED, LANDED, is_wanted
from trunkline.gate.model import RefKey
from trunkline.services.layouts import Layouts
from trunkline.store import Connection, events

if TYPE_CHECKING:
    from trunkline.services.routing import Routing

log = structlog.get_logger()

KIND = "inner"


async def note_landed(conn: Connection, layouts: Layouts, item: str, keys: Iterable[RefKey]) -> None:
    """These have landed from a queue: open changes of their projects may have a pipeline that wants to know."""
    if any(_wants(loaded.layout, LANDED) for loaded in layouts.known()):
        await _note(conn, LANDED, item, keys)


async def note_entered(conn: Connection, layout: Layout, pipeline: str, item: str, keys: Iterable[RefKey]) -> None:
    """These came into a pipeline: changes that need them may have one that wants to know."""
    if _wants(layout, ENTERED, pipeline):
        await _note(conn, ENTERED, item, keys, tenant=layout.tenant.name, pipeline=pipeline)


def _wants(layout: Layout, kind: str, pipeline: str | None = None) -> bool:
    return any(is_wanted(one.triggers.get("zuul", ()), kind, pipeline) for one in layout.pipelines.values())


async def _note(conn: Connection, event: str, item: str, keys: Iterable[RefKey], **more: str) -> None:
    for key in keys:
        connection, project, number = _parts(key)
        if number is not None:
            body = {"kind": KIND, "event": event, "id": f"{event}/{item}/{key}", "connection": connection}
            await events.post(conn, f"router:{connection}", {**body, "project": project, "number": number, **more})


def _parts(key: RefKey) -> tuple[str, str, int | None]:
    """(connection, project, number of the change or None) of a ref key."""
    connection, _, rest = key.partition(":")
    project, _, last = rest.rpartition(":")
    number = last.partition(",")[0]
    return connection, project, int(number) if number.isdigit() else None


async def carry_out(routing: Routing, body: dict[str, Any]) -> None:
    """Find the changes that a noted happening concerns, and have each routed."""
    driver = routing.sources[body["connection"]]
    if body["event"] == LANDED:
        found = await driver.open_changes(body["project"])
    else:
        info = await driver.change(body["number"])
        found = list(await driver.needed_by(info))
        for source in routing.sources.all():
            found += await source.dependents(info.uris)
    async with routing.db.transaction() as conn:
        for change in {change.key: change for change in found}.values():
            event = _event(change, body)
            await events.post(
                conn, f"router:{change.connection}", {"kind": "trigger", "event": msgspec.to_builtins(event)}
            )


def _event(change: ChangeInfo, body: dict[str, Any]) -> TriggerEvent:
    return TriggerEvent(
        connection=change.connection,
        driver="zuul",
        delivery=f"{body['id']}/{change.key}",
        type=body["event"],
        project=change.project,
        at=time.time(),
        branch=change.branch,
        ref=change.ref,
        newrev=change.commit,
        change=change.number,
        patchset=change.patchset,
        change_url=change.url,
        tenant=body.get("tenant"),
        pipeline=body.get("pipeline"),
    )
