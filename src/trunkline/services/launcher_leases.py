"""Leases of one launcher: kept by one connection, gone with it, so that another launcher takes over at once."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
from psycopg.rows import dict_row

from trunkline import store
from trunkline.store import regions


class Leases:
    """Hold with `hold`, ask every now and then; a False means: stop at once what the lease was for."""

    def __init__(self, dburi: str) -> None:
        self._dburi = dburi
        self._conn: store.Connection | None = None
        self._held: set[str] = set()
        self._lock = asyncio.Lock()

    async def hold(self, name: str) -> bool:
        """Whether the lease is ours now: it was and the connection is alive, or it could be taken."""
        async with self._lock:
            try:
                conn = await self._connection()
                if name in self._held:
                    await regions.clock(conn)  # fails if the connection, and with it the lease, is gone
                    return True
                if await regions.try_lease(conn, name):
                    self._held.add(name)
                    return True
                return False
            except (psycopg.Error, OSError, TimeoutError):
                await self._drop()
                return False

    async def give_up(self, name: str) -> None:
        async with self._lock:
            if name in self._held and self._conn is not None:
                self._held.discard(name)
                with contextlib.suppress(psycopg.Error, OSError):
                    await regions.end_lease(self._conn, name)

    async def close(self) -> None:
        async with self._lock:
            await self._drop()

    async def _connection(self) -> store.Connection:
        if self._conn is None or self._conn.closed:
            self._held.clear()
            self._conn = await psycopg.AsyncConnection.connect(
                self._dburi,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=10,
                application_name="trunkline-launcher-leases",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=2,
            )
        return self._conn

    async def _drop(self) -> None:
        self._held.clear()
        if self._conn is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._conn.close()
        self._conn = None
