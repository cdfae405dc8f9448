"""Have a changed tenant file read. Ends when every changed tenant is in force, or says why not."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", "-c", type=Path, help="zuul.conf (default: /etc/zuul/zuul.conf, ~/zuul.conf)")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS")


def run(args: argparse.Namespace) -> int:
    from trunkline.services.settings import Settings, SettingsError

    try:
        return asyncio.run(_reconfigure(Settings.read(args.config), args.timeout))
    except SettingsError as problem:
        print(f"trunkline reconfigure: {problem}", file=sys.stderr)
        return 2


async def _reconfigure(settings: Settings, timeout_s: float) -> int:  # type: ignore[name-defined]  # noqa: F821
    from trunkline.services.sources import Sources
    from trunkline.services.tenants import apply_tenant_file
    from trunkline.store import Database, configuration

    sources = Sources.open(settings)
    async with await Database.open(settings.dburi, name="trunkline-reconfigure") as db:
        reading, errors = await apply_tenant_file(db, settings, sources)
        for error in errors:
            print(error.message, file=sys.stderr)
        deadline = time.monotonic() + timeout_s
        while reading:
            async with db.transaction() as conn:
                waiting = set(await configuration.reconfiguring(conn))
            reading = [name for name in reading if name in waiting]
            if time.monotonic() > deadline:
                print(f"not read after {timeout_s:.0f} s: {', '.join(reading)}; does a merger run?", file=sys.stderr)
                return 1
            await asyncio.sleep(0.1)
    await sources.close()
    return 1 if errors else 0
