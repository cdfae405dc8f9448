"""Semaphores of jobs and of single playbooks."""

import asyncio

from trunkline.executor import BuildControl
from trunkline.services.playbook_semaphores import PlaybookSemaphores, forget, tell_served
from trunkline.store import Database, events, semaphores

ONE = [{"scope": "t", "name": "sem", "max": 1}]
SHARED = [{"scope": "", "name": "sem", "max": 1}]


def ask(conn, ticket, names, queue="t/check/q", tenant="t"):
    return semaphores.acquire(
        conn,
        ticket=ticket,
        tenant=tenant,
        queue_id=queue,
        item="i",
        job="j",
        buildset="s",
        names=names,
        priority=200,
        relative_priority=0,
    )


def row_of(uuid):
    wanted = {"run": [ONE, []], "pre": [], "post": []}
    return {
        "uuid": uuid,
        "tenant": "t",
        "job_name": "j",
        "buildset_uuid": "s",
        "request": {"playbook_semaphores": wanted},
    }


def with_database(uri, play):
    async def run():
        async with await Database.open(uri) as db:
            return await play(db)

    return asyncio.run(run())


def test_a_global_semaphore_is_one_for_all_tenants(postgres_uri):
    async def play(db):
        async with db.transaction() as conn:
            first = await ask(conn, "a", SHARED, tenant="t")
            second = await ask(conn, "b", SHARED, tenant="u")
            return len(first), len(second), len(await semaphores.release(conn, "a"))

    assert with_database(postgres_uri, play) == (1, 0, 1)


def test_a_playbook_waits_for_its_semaphore_and_gives_it_back_with_the_next(postgres_uri):
    async def play(db):
        first, second = (PlaybookSemaphores(db, row_of(uuid), BuildControl()) for uuid in ("b1", "b2"))
        await first.enter("run", 0)
        waiting = asyncio.create_task(second.enter("run", 0))
        async with asyncio.timeout(20):
            while True:
                async with db.transaction() as conn:
                    rows = await (await conn.execute("select ticket from semaphore_waiters")).fetchall()
                if rows:
                    break
                await asyncio.sleep(0.01)
            assert not waiting.done()
            await first.enter("run", 1)
            await waiting
        async with db.transaction() as conn:
            return [row["ticket"] for row in await semaphores.holders(conn)]

    assert with_database(postgres_uri, play) == ["playbook:b2:run:0"]


def test_a_build_that_is_stopped_waits_no_longer(postgres_uri):
    async def play(db):
        control = BuildControl()
        first, second = (
            PlaybookSemaphores(db, row_of("b1"), BuildControl()),
            PlaybookSemaphores(db, row_of("b2"), control),
        )
        await first.enter("run", 0)
        control.abort("canceled")
        async with asyncio.timeout(20):
            await second.enter("run", 0)

    with_database(postgres_uri, play)


def test_what_a_lost_build_had_goes_to_the_queue_that_waits(postgres_uri):
    async def play(db):
        await PlaybookSemaphores(db, row_of("b1"), BuildControl()).enter("run", 0)
        async with db.transaction() as conn:
            await tell_served(conn, await ask(conn, "job", ONE))
            before = await events.waiting(conn, "queue:t/check/q")
            await forget(conn, row_of("b1"))
            return len(before), [row["event"]["ticket"] for row in await events.waiting(conn, "queue:t/check/q")]

    assert with_database(postgres_uri, play) == (0, ["job"])
