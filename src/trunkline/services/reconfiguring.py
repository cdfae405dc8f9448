"""Having a changed tenant file read, and waiting until it is in force."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from trunkline.config import ConfigError
from trunkline.services.settings import Settings
from trunkline.services.sources import Sources
from trunkline.services.tenants import apply_tenant_file
from trunkline.store import Database, configuration

LOOK_S = 0.1


async def reconfigure(settings: Settings, timeout_s: float) -> tuple[list[str], Sequence[ConfigError]]:
    """Apply the tenant file. Returns (tenants that were not read in time, errors of the file). Raises SettingsError."""
    sources = Sources.open(settings)
    try:
        async with await Database.open(settings.dburi, name="trunkline-reconfigure") as db:
            reading, errors = await apply_tenant_file(db, settings, sources)
            deadline = time.monotonic() + timeout_s
            while reading and time.monotonic() < deadline:
                await asyncio.sleep(LOOK_S)
                async with db.transaction() as conn:
                    waiting = set(await configuration.reconfiguring(conn))
                reading = [name for name in reading if name in waiting]
            return reading, errors
    finally:
        await sources.close()
