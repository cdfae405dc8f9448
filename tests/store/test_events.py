"""The inbox: in order, once, and the owner is woken in the same transaction."""

import asyncio

import pytest

from trunkline.store import Database, events, tasks


def run(coroutine):
    return asyncio.run(coroutine)


def test_events_come_in_order_and_are_used_once(postgres_uri):
    async def play():
        async with await Database.open(postgres_uri) as db:
            async with db.transaction() as conn:
                for number in range(3):
                    await events.post(conn, "queue:t/gate/q", {"number": number})
            async with db.transaction() as conn:
                rows = await events.waiting(conn, "queue:t/gate/q")
                await events.finish(conn, [row["id"] for row in rows[:2]], version=1)
            async with db.transaction() as conn:
                rest = await events.waiting(conn, "queue:t/gate/q")
                return [row["event"]["number"] for row in rows], [row["event"]["number"] for row in rest]

    assert run(play()) == ([0, 1, 2], [2])


def test_a_rolled_back_decision_leaves_neither_event_nor_task(postgres_uri):
    async def play():
        async with await Database.open(postgres_uri) as db:

            async def killed() -> None:
                async with db.transaction() as conn:
                    await events.post(conn, "queue:t/gate/q", {"number": 1})
                    raise RuntimeError("killed here")

            with pytest.raises(RuntimeError):
                await killed()
            async with db.transaction() as conn:
                count = await events.count_waiting(conn, "queue:t/gate/q")
                row = await (await conn.execute("select count(*) as n from procrastinate_jobs")).fetchone()
                return count, row["n"]

    assert run(play()) == (0, 0)


def test_tasks_of_one_owner_run_one_at_a_time_and_none_is_lost(postgres_uri):
    async def play():
        app = tasks.make_app(postgres_uri)
        seen: list[int] = []
        running = 0
        done = asyncio.Event()

        async with await Database.open(postgres_uri) as db, app.open_async():

            @app.task(name="gate.advance", queue=tasks.GATE)
            async def advance(owner: str) -> None:
                nonlocal running
                running += 1
                assert running == 1
                async with db.transaction() as conn:
                    rows = await events.waiting(conn, owner)
                    seen.extend(row["event"]["number"] for row in rows)
                    await events.finish(conn, [row["id"] for row in rows])
                running -= 1
                if len(seen) == 40:
                    done.set()

            worker = asyncio.create_task(
                app.run_worker_async(queues=[tasks.GATE], concurrency=4, install_signal_handlers=False)
            )
            for number in range(40):
                async with db.transaction() as conn:
                    await events.post(conn, "queue:t/gate/q", {"number": number})
            await asyncio.wait_for(done.wait(), 30)
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        return seen

    assert run(play()) == list(range(40))


def test_the_tasks_of_a_dead_worker_are_handed_back(postgres_uri):
    async def play():
        async with await Database.open(postgres_uri) as db:
            async with db.transaction() as conn:
                await tasks.defer(conn, "build.execute", queue=tasks.EXECUTOR, build="b")
                row = await (
                    await conn.execute("insert into procrastinate_workers default values returning id")
                ).fetchone()
                await conn.execute("select procrastinate_fetch_job_v2(null, %s)", (row["id"],))
            async with db.transaction() as conn:
                handed = await tasks.hand_back(conn, row["id"])
                job = await (await conn.execute("select status::text, attempts from procrastinate_jobs")).fetchone()
                return handed, job["status"], job["attempts"]

    assert run(play()) == (1, "todo", 1)
