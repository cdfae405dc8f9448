"""A launcher in a process of its own, to be killed: forked from a server that has imported everything."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.process import BaseProcess
from typing import Any

from trunkline import store
from trunkline.services.launcher import LauncherOptions, run_launcher


def start(dburi: str, **options: Any) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.services.launcher_process"])
    process = context.Process(target=_main, args=(dburi, options), daemon=True)
    process.start()
    return process


def _main(dburi: str, options: dict[str, Any]) -> None:
    async def run() -> None:
        async with await store.Database.open(dburi) as db:
            await run_launcher(db, asyncio.Event(), LauncherOptions(**options))

    asyncio.run(run())
