"""The control API: faults, and what exists, existed and was asked."""

import asyncio
import json
from typing import Any

from aiohttp import web

from trunkline.dev.cloud import life
from trunkline.dev.cloud.faults import Fault
from trunkline.dev.cloud.world import Region, Server, World


def application(world: World) -> web.Application:
    control = _Control(world)
    app = web.Application()
    app.add_routes(
        [
            web.get("/regions", control.regions),
            web.post("/faults", control.add_fault),
            web.get("/faults", control.faults),
            web.delete("/faults", control.clear_faults),
            web.delete("/faults/{id}", control.remove_fault),
            web.get("/objects", control.objects),
            web.get("/calls", control.calls),
            web.delete("/calls", control.forget_calls),
            web.get("/peaks", control.peaks),
        ]
    )
    return app


class _Control:
    def __init__(self, world: World) -> None:
        self._world = world

    async def regions(self, request: web.Request) -> web.Response:
        rows = [
            {
                **region_facts(region),
                "is_down": bool(down_fault(region)),
                "used": region.used(),
                "quota": region.quota,
            }
            for region in self._world.regions
        ]
        return web.json_response(rows)

    async def add_fault(self, request: web.Request) -> web.Response:
        try:
            wish = json.loads(await request.read())
            fault = self._world.faults.add(wish)
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._at_once(fault)
        await asyncio.sleep(0)
        return web.json_response(fault.view(), status=201)

    def _at_once(self, fault: Fault) -> None:
        """Faults that do something to servers do it now."""
        kills = fault.kind in ("lose-server", "server-shutoff") or (
            fault.kind == "region-down" and fault.parameters.get("servers")
        )
        if not kills:
            return
        for region in self._world.regions:
            if fault.scope.get("cloud", region.spec.cloud) != region.spec.cloud:
                continue
            if fault.scope.get("region", region.spec.region) != region.spec.region:
                continue
            for server in list(region.servers.values()):
                if fault.server is None or fault.server.search(server.id) or fault.server.search(server.name):
                    fault.struck += 1
                    life.lose(region, server, shows_it=fault.kind != "lose-server")
        if fault.kind != "region-down":
            self._world.faults.remove(fault.id)

    async def faults(self, request: web.Request) -> web.Response:
        return web.json_response([fault.view() for fault in self._world.faults.in_force()])

    async def remove_fault(self, request: web.Request) -> web.Response:
        is_known = self._world.faults.remove(request.match_info["id"])
        return web.json_response({}, status=200 if is_known else 404)

    async def clear_faults(self, request: web.Request) -> web.Response:
        self._world.faults.clear()
        return web.json_response({})

    def _selected(self, request: web.Request) -> list[Region]:
        cloud, region = request.query.get("cloud"), request.query.get("region")
        return [
            one
            for one in self._world.regions
            if cloud in (None, "", one.spec.cloud) and region in (None, "", one.spec.region)
        ]

    async def objects(self, request: web.Request) -> web.Response:
        kind, alive = request.query.get("kind"), request.query.get("alive")
        rows: list[dict[str, Any]] = []
        for region in self._selected(request):
            for row in region.ledger.rows(cloud=region.spec.cloud, region=region.spec.region):
                if kind and row["kind"] != kind:
                    continue
                if alive and (row["deleted"] is None) != (alive.lower() in ("1", "true")):
                    continue
                server = region.servers.get(row["id"]) or region.deleted_servers.get(row["id"])
                rows.append(row | (_server_facts(region, server) if server else {}))
        return web.json_response(rows)

    async def calls(self, request: web.Request) -> web.Response:
        return web.json_response({region.label: dict(region.ledger.calls) for region in self._selected(request)})

    async def forget_calls(self, request: web.Request) -> web.Response:
        for region in self._selected(request):
            region.ledger.calls.clear()
        return web.json_response({})

    async def peaks(self, request: web.Request) -> web.Response:
        return web.json_response({region.label: region.ledger.peaks for region in self._selected(request)})


def _server_facts(region: Region, server: Server) -> dict[str, Any]:
    addresses = life.ssh_addresses(region, server) or life.fixed_addresses(region, server)
    return {
        "status": server.status,
        "address": addresses[0] if addresses else None,
        "metadata": server.metadata,
        "has_host": server.host is not None and server.host.is_alive,
    }


def region_facts(region: Region) -> dict[str, Any]:
    """What the `ready` file says of a region."""
    spec = region.spec
    return {
        "cloud": spec.cloud,
        "region": spec.region,
        "profile": spec.profile,
        "city": spec.city,
        "country": spec.country,
        "jurisdiction": spec.jurisdiction,
        "auth_url": f"{region.cloud.identity_url}/{'v2.0' if region.profile.identity_v2 else 'v3'}",
        "endpoint": region.endpoint,
        "network": f"{region.public_address(0)}/24",
    }


def down_fault(region: Region) -> Fault | None:
    """The region-down fault that is in force for the region; it is not counted."""
    for fault in region.faults.in_force():
        if fault.kind == "region-down" and all(
            fault.scope.get(key, value) == value for key, value in region.scope.items()
        ):
            return fault
    return None
