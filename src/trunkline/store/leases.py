"""Leases that end with their holder: advisory locks on a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from trunkline.store.database import Database

RETRY_S = 0.2


@asynccontextmanager
async def held(db: Database, name: str) -> AsyncIterator[None]:
    """Wait for the lease `name`, hold it for the block. If the holder dies, PostgreSQL gives it to the next at once.

    Raises psycopg.OperationalError from inside the block's next query only; whoever must not act without the lease
    fences with a version as well.
    """
    async with await psycopg.AsyncConnection.connect(db.dburi, autocommit=True) as conn:
        while True:
            row = await (await conn.execute("select pg_try_advisory_lock(hashtextextended(%s, 7))", (name,))).fetchone()
            if row is not None and row[0]:
                break
            await asyncio.sleep(RETRY_S)
        yield
