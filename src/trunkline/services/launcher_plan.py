"""The planner's shell: read the world, plan, carry the plan out in tables, answer the requesters."""

from __future__ import annotations

import structlog

from trunkline import pool, store
from trunkline.pool.model import Node, Request, World
from trunkline.services.launcher_world import columns_of, read_world
from trunkline.store import events, nodes, requests

log = structlog.get_logger("launcher.plan")


async def plan_once(db: store.Database, policy: pool.Policy = pool.Policy()) -> int:
    """Plan and carry out, in one transaction. Returns the number of actions.

    Each action holds only if the rows still are as the plan saw them; what does not hold is planned anew next time.
    """
    async with db.transaction() as conn:
        world, now = await read_world(conn)
        actions = pool.plan(world, now, policy)
        for action in actions:
            await _carry_out(conn, world, action)
    for action in actions:
        _tell(world, action)
    return len(actions)


async def _carry_out(conn: store.Connection, world: World, action: pool.Action) -> None:
    match action:
        case pool.Accept(request=id, provider=provider):
            await requests.accept(conn, id, provider)
        case pool.Unaccept(request=id):
            await requests.unaccept(conn, id)
        case pool.DeclineBy(request=id, provider=provider, reason=reason):
            await requests.decline(conn, id, provider, reason)
        case pool.Create(node=node):
            await _create(conn, world, node)
        case pool.Assign(node=id, request=request):
            await nodes.assign(conn, id, request)
        case pool.Release(node=id):
            await nodes.release(conn, id)
        case pool.Fulfil(request=id, nodes=ids):
            row = await requests.fulfil(conn, id, ids)
            if row is not None:
                await _answer(conn, request_row=row, kind="nodes-ready", nodes=list(ids), provider=row["accepted_by"])
        case pool.Fail(request=id, reason=reason):
            row = await requests.fail(conn, id, reason)
            if row is not None:
                await _answer(conn, request_row=row, kind="nodes-failed", reason=reason)
        case pool.WriteOff(node=id, request=request, provider=provider):
            moved = await nodes.delete(conn, [id], world.nodes[id].comment or "failed")
            if moved and request is not None:
                await requests.count_failure(conn, request, provider)
        case pool.Delete(node=id, reason=reason):
            await nodes.delete(conn, [id], reason)
        case pool.Recycle(node=id):
            await nodes.recycle(conn, id)


async def _create(conn: store.Connection, world: World, node: Node) -> None:
    spec = next((s for s in world.providers if (s.tenant, s.canonical_name) == (node.tenant, node.provider)), None)
    request: Request | None = world.requests.get(node.request_id or "")
    await nodes.insert(conn, columns_of(node, spec, request.owner if request else None))


async def _answer(conn: store.Connection, *, request_row: store.database.Row, kind: str, **more: object) -> None:
    row = request_row
    event = {
        "kind": kind,
        "request": row["id"],
        "tenant": row["tenant"],
        "pipeline": row["pipeline"],
        "job": row["job"],
    }
    await events.post(conn, row["owner"], {**event, **more})


def _tell(world: World, action: pool.Action) -> None:
    match action:
        case pool.Create(node=node):
            where = f"{node.cloud}/{node.region}"
            log.info("node.planned", node=node.id, label=node.label, region=where, request=node.request_id)
        case pool.DeclineBy(request=request, provider=provider, reason=reason):
            log.info("request.declined", request=request, provider=provider, reason=reason)
        case pool.Fail(request=request, reason=reason):
            log.warning("request.failed", request=request, reason=reason)
        case pool.Fulfil(request=request, nodes=ids):
            log.info("request.fulfilled", request=request, nodes=list(ids))
        case pool.Unaccept(request=request, reason=reason):
            log.info("request.moved", request=request, reason=reason)
        case pool.WriteOff(node=id):
            node = world.nodes[id]
            log.warning("node.failed", node=id, region=f"{node.cloud}/{node.region}", why=node.comment)
        case pool.Delete(node=id, reason=reason):
            log.info("node.deleting", node=id, reason=reason)
        case _:
            pass
