"""A stage for the fleet service: real rows, real HTTP servers on loopback addresses, a launcher that obeys the rows.

Run as a program it is the service alone, to be killed: `python fleet_stage.py DBURI FILE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import uuid
from pathlib import Path
from typing import Any

from aiohttp import web

from trunkline.services.fleet import FleetSettings, run_fleet
from trunkline.services.fleet_ports import StorePorts
from trunkline.services.fleet_probes import Vantage
from trunkline.store import Database, events, nodes, regions, requests

VANTAGES = (Vantage("east", "127.0.0.1"), Vantage("west", "127.0.0.2"))
PLACES = {
    "lon": ("rack", "LON", "London", "GB", 51.51, -0.13),
    "gra": ("ovh", "GRA", "Gravelines", "EU", 50.99, 2.13),
    "sto": ("cleura", "Sto2", "Stockholm", "EU", 59.33, 18.07),
    "dfw": ("lime", "us-dfw-1", "Dallas", "US", 32.78, -96.8),
}
FILE = """
- application:
    name: shop
    instances: 4
    label: ubuntu
    placement:
      jurisdictions: [EU, GB]
      near: [{{city: London}}]
      spread: {{providers: 2}}
    deploy: {{job: deploy-shop, on: landed}}
    update: {{max-parallel: 1, min-healthy-time: 200ms, healthy-deadline: 20s}}
    health: [{{http: {{port: {port}, path: /healthz}}, interval: 200ms, timeout: 500ms, fail-after: 2, pass-after: 1}}]
    endpoints: {{dns: {{zone: shop.example, name: www, ttl: 0}}}}
    failover: {{detect: 500ms, cooldown: 5s, max-moving: 50%}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def ports_for(file: str) -> StorePorts:
    """Borders of the service: the files of the project, and deploys whose builds are rows that the stage ends."""

    async def submit_deploy(conn: Any, *, tenant: str, application: str, commit: str, nodes: Any, **_: Any) -> str:
        build = str(uuid.uuid4())
        ids = [node.node_id for node in nodes]
        await events.post(conn, "stage:deploys", {"build": build, "commit": commit, "nodes": ids, "app": application})
        return build

    async def read_files(project: str, commit: str, paths: Any) -> dict[str, str]:
        return {"trunkline.yaml": file} if file else {}

    async def head(project: str, branch: str) -> str:
        return f"tip-of-{branch}"

    return StorePorts(submit_deploy, head, read_files)


class Stage:
    """The launcher and the executor of the play."""

    def __init__(self, db: Database, port: int) -> None:
        self.db, self.port = db, port
        self.sites: dict[str, web.AppRunner] = {}
        self.commits: dict[str, str] = {}
        self.dead: set[str] = set()
        self.deploys: list[dict[str, Any]] = []
        self.made = 0

    async def open(self) -> None:
        async with self.db.transaction() as conn:
            for provider, (vendor, region, city, law, lat, lon) in PLACES.items():
                await regions.write(
                    conn,
                    vendor,
                    region,
                    {
                        "provider": provider,
                        "vendor": vendor,
                        "city": city,
                        "jurisdiction": law,
                        "lat": lat,
                        "lon": lon,
                        "state": "healthy",
                        "quota": {"limits": {"instances": 10}},
                    },
                )

    async def close(self) -> None:
        for site in self.sites.values():
            await site.cleanup()

    async def land(self, commit: str) -> None:
        async with self.db.transaction() as conn:
            landed = {"kind": "landed", "project": "review/shop", "branch": "main", "commit": commit}
            await events.post(conn, "fleet:acme", landed)

    async def kill(self, provider: str) -> None:
        """API and servers vanish."""
        self.dead.add(provider)
        for row in await self.nodes():
            if row["provider"] == provider and row["id"] in self.sites:
                await self.sites.pop(row["id"]).cleanup()
        await self._state(provider, "down")

    async def revive(self, provider: str) -> None:
        self.dead.discard(provider)
        await self._state(provider, "healthy")

    async def _state(self, provider: str, state: str) -> None:
        vendor, region, *_ = PLACES[provider]
        async with self.db.transaction() as conn:
            await regions.write(conn, vendor, region, {"state": state})

    async def nodes(self) -> list[dict[str, Any]]:
        async with self.db.connection() as conn:
            return await nodes.listed(conn)

    async def turn(self) -> None:
        """Serve what is asked for now."""
        async with self.db.connection() as conn:
            waiting = await requests.live(conn)
        for request in waiting:
            if request["state"] == "requested" and request["provider"] not in self.dead:
                await self._boot(request)
        for row in await self.nodes():
            if row["state"] in ("deleting", "used") and row["provider"] not in self.dead:
                await self._delete(row)
        await self._deploy()

    async def _boot(self, request: dict[str, Any]) -> None:
        assert request["keep"]
        self.made += 1
        node, provider = str(uuid.uuid4()), request["provider"]
        vendor, region, *_ = PLACES[provider]
        address = f"127.64.{1 + self.made // 250}.{1 + self.made % 250}"
        runner = web.AppRunner(self._app(node))
        await runner.setup()
        await web.TCPSite(runner, address, self.port).start()
        self.sites[node] = runner
        values = {"id": node, "label": "ubuntu", "provider": provider, "region": region, "cloud": vendor}
        async with self.db.transaction() as conn:
            await nodes.insert(
                conn,
                {
                    **values,
                    "state": "ready",
                    "tenant": "acme",
                    "interface_ip": address,
                    "request_id": request["id"],
                    "keep": True,
                },
            )
            done = await requests.fulfil(conn, request["id"], [node])
            if done is not None:
                await events.post(
                    conn, request["owner"], {"kind": "nodes-ready", "request": request["id"], "nodes": [node]}
                )

    def _app(self, node: str) -> web.Application:
        async def healthz(_: web.Request) -> web.Response:
            return web.Response(text=self.commits.get(node, ""), status=200 if node in self.commits else 503)

        app = web.Application()
        app.router.add_get("/healthz", healthz)
        return app

    async def _delete(self, row: dict[str, Any]) -> None:
        if row["id"] in self.sites:
            await self.sites.pop(row["id"]).cleanup()
        async with self.db.transaction() as conn:
            await nodes.delete(conn, [row["id"]], "used")
            await nodes.forget(conn, row["id"])

    async def _deploy(self) -> None:
        async with self.db.transaction() as conn:
            rows = await events.waiting(conn, "stage:deploys")
            for row in rows:
                deploy = row["event"]
                good = all(node in self.sites for node in deploy["nodes"])
                for node in deploy["nodes"]:
                    self.commits[node] = deploy["commit"]
                self.deploys.append(deploy)
                result = "SUCCESS" if good else "FAILURE"
                done = {"kind": "build-completed", "build": deploy["build"], "result": result}
                await events.post(conn, f"fleet:acme/{deploy['app']}", done)
            await events.finish(conn, [row["id"] for row in rows])


async def serve(dburi: str, file: str, stop: asyncio.Event, **more: Any) -> None:
    """The service as a process would run it."""
    async with await Database.open(dburi) as db:
        await run_fleet(db, FleetSettings(tick_s=0.3, vantages=VANTAGES, **more), ports_for(file), stop)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1], Path(sys.argv[2]).read_text(), asyncio.Event()))
