"""Connections to PostgreSQL: a pool for transactions, a lone connection for notifications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = psycopg.AsyncConnection[Row]

CONNECT_TIMEOUT_S = 30.0


class Database:
    """A pool of connections to one PostgreSQL. Open with `Database.open`, close with `close` or `async with`."""

    def __init__(self, pool: AsyncConnectionPool[Connection], dburi: str) -> None:
        self._pool = pool
        self.dburi = dburi

    @classmethod
    async def open(cls, dburi: str, *, max_size: int = 10, name: str = "trunkline") -> Database:
        """Connect, waiting up to CONNECT_TIMEOUT_S for a server that is just starting.

        Raises psycopg_pool.PoolTimeout if it does not answer by then.
        """
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dburi,
            min_size=1,
            max_size=max_size,
            open=False,
            kwargs={"row_factory": dict_row, "application_name": name, "autocommit": True},
            check=AsyncConnectionPool.check_connection,
        )
        await pool.open(wait=True, timeout=CONNECT_TIMEOUT_S)
        return cls(pool, dburi)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        async with self._pool.connection() as conn, conn.transaction():
            yield conn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode, for single reads."""
        async with self._pool.connection() as conn:
            yield conn

    async def close(self) -> None:
        await self._pool.close()

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def notify(conn: Connection, channel: str, payload: str = "") -> None:
    """Send a hint to whoever listens; delivered when the transaction commits, lost if nobody is there."""
    await conn.execute("select pg_notify(%s, %s)", (channel, payload[:7900]))


async def listen(dburi: str, channels: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
    """Yield (channel, payload) for ever, reconnecting as needed.

    After every (re)connection one ("", "") comes first: whoever relies on hints looks at the tables then.
    """
    delay_s = 0.1
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(dburi, autocommit=True) as conn:
                for channel in channels:
                    await conn.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                delay_s = 0.1
                yield "", ""
                async for notification in conn.notifies():
                    yield notification.channel, notification.payload
        except psycopg.OperationalError:
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, 5.0)
