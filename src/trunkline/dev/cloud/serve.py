"""The sockets: one listener a region, one a cloud for identity, one for the control API; closed while a region is down."""

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from trunkline.dev.cloud import control
from trunkline.dev.cloud.api import (
    actions,
    compute,
    identity,
    image,
    labels,
    network,
    objects,
    placement,
    ports,
    security,
    servers,
    volume,
)
from trunkline.dev.cloud.api.door import Door
from trunkline.dev.cloud.api.routing import Routes
from trunkline.dev.cloud.faults import Fault
from trunkline.dev.cloud.world import Cloud, Region, World

_WATCH_S = 0.1
"""How often listeners follow the faults."""


def region_tables() -> dict[str, Routes]:
    whole_compute, whole_network = Routes(), Routes()
    for routes in (servers.routes, labels.routes, actions.routes, compute.routes):
        whole_compute.update(routes)
    for routes in (network.routes, ports.routes, security.routes):
        whole_network.update(routes)
    return {
        "compute": whole_compute,
        "network": whole_network,
        "image": image.routes,
        "volume": volume.routes,
        "placement": placement.routes,
        "object": objects.routes,
    }


class Listener:
    """One door on one port, that can be shut and opened again."""

    def __init__(self, door: Door, regions: list[Region], port: int) -> None:
        self._door = door
        self._regions = regions
        self._runner: web.ServerRunner | None = None
        self._mode: str | None = None
        self.port = port

    async def open(self) -> None:
        """Listen; with port 0 a free one is taken and kept."""
        for attempt in range(50):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", self.port))
                break
            except OSError:
                listener.close()
                if attempt == 49:
                    raise
                await asyncio.sleep(0.1)
        self.port = listener.getsockname()[1]
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=512).start()

    async def close(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            assert runner.server is not None
            for connection in list(runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    def _fault(self) -> Fault | None:
        """Down when all of the regions behind it are."""
        faults = [control.down_fault(region) for region in self._regions]
        return faults[0] if all(faults) else None

    async def follow(self) -> None:
        """Shut the port while a fault says that it refuses."""
        fault = self._fault()
        refuses = fault is not None and fault.parameters.get("mode", "refuse") == "refuse"
        if refuses and self._runner is not None:
            await self.close()
        elif not refuses and self._runner is None:
            await self.open()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = self._fault()
        if fault is not None and fault.parameters.get("mode") == "hang":
            while self._fault() is not None:
                await asyncio.sleep(_WATCH_S)
            raise ConnectionResetError("the region was down")
        if fault is not None:
            status = int(fault.parameters.get("status", 503))
            return web.Response(
                status=status,
                text="<html><body><h1>503 Service Unavailable</h1></body></html>",
                content_type="text/html",
            )
        return await self._door(request)


class Site:
    """Every listener of the process."""

    def __init__(self, world: World, control_port: int, port_base: int) -> None:
        self._world = world
        self._listeners: list[Listener] = []
        self._control_port = control_port
        self._next_port = port_base
        self._control_runner: web.AppRunner | None = None
        self._watch: asyncio.Task[None] | None = None
        self.control_url = ""

    async def start(self) -> None:
        tables = region_tables()
        for cloud in self._world.clouds.values():
            listener = await self._open(Door(cloud, None, {"identity": identity.routes}), cloud.regions)
            cloud.identity_url = f"http://127.0.0.1:{listener.port}"
            for region in cloud.regions:
                listener = await self._open(Door(cloud, region, tables), [region])
                region.endpoint = f"http://127.0.0.1:{listener.port}"
                compute.furnish(region)
                image.furnish(region)
                ports.furnish(region)
        self._control_runner = web.AppRunner(control.application(self._world), access_log=None)
        await self._control_runner.setup()
        site = web.TCPSite(self._control_runner, "127.0.0.1", self._control_port)
        await site.start()
        self.control_url = f"http://127.0.0.1:{self._control_runner.addresses[0][1]}"
        self._watch = asyncio.create_task(self._follow_faults())

    async def _open(self, door: Door, regions: list[Region]) -> Listener:
        listener = Listener(door, regions, self._next_port)
        if self._next_port:
            self._next_port += 1
        await listener.open()
        self._listeners.append(listener)
        return listener

    async def _follow_faults(self) -> None:
        while True:
            for listener in self._listeners:
                with contextlib.suppress(OSError):
                    await listener.follow()
            await asyncio.sleep(_WATCH_S)

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        for listener in self._listeners:
            await listener.close()
        if self._control_runner is not None:
            await self._control_runner.cleanup()


def write_clouds_yaml(world: World, path: Path) -> None:
    """What openstacksdk reads: each cloud as its user and, as NAME-admin, as its administrator."""
    entries: dict[str, Any] = {}
    for cloud in world.clouds.values():
        user, admin = cloud.users
        entries[cloud.name] = _cloud_entry(cloud, user.name, user.password, user.project_name)
        entries[f"{cloud.name}-admin"] = _cloud_entry(cloud, admin.name, admin.password, admin.project_name)
    _write(path, yaml.safe_dump({"clouds": entries}, sort_keys=False))


def _cloud_entry(cloud: Cloud, username: str, password: str, project: str) -> dict[str, Any]:
    is_v2 = cloud.profile.identity_v2
    auth: dict[str, Any] = {
        "auth_url": f"{cloud.identity_url}/{'v2.0' if is_v2 else 'v3'}",
        "username": username,
        "password": password,
    }
    auth["project_name"] = project
    if not is_v2:
        auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
    entry: dict[str, Any] = {
        "auth": auth,
        "regions": [region.spec.region for region in cloud.regions],
        **cloud.profile.cloud_config,
    }
    if is_v2:
        entry["identity_api_version"] = "2.0"
        entry["auth_type"] = "v2password"
    return entry


def write_ready(world: World, site: Site, state_dir: Path) -> dict[str, Any]:
    ready = {
        "pid": os.getpid(),
        "control": site.control_url,
        "clouds_yaml": str(state_dir / "clouds.yaml"),
        "regions": [control.region_facts(region) for region in world.regions],
    }
    _write(state_dir / "ready", json.dumps(ready, indent=1))
    return ready


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.chmod(0o600)
    new.rename(path)
