"""The fleet as a service: its borders tied to the executor's builds."""

from __future__ import annotations

from typing import Any

from trunkline.services import fleet_process
from trunkline.services.deploys import submit_deploy
from trunkline.services.layouts import Layouts
from trunkline.services.process import Process
from trunkline.services.sources import Sources
from trunkline.store import Connection


async def main(process: Process) -> None:
    sources = Sources.open(process.settings)
    layouts = Layouts(sources.specs)

    async def deploy(conn: Connection, **what: Any) -> str:
        return await submit_deploy(conn, sources, layouts, **what)

    try:
        await fleet_process.serve(process, deploy)
    finally:
        await sources.close()
