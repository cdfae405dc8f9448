"""The fleet as a process of its own: settings, git, its borders.

[fleet]
dns_listen_address = 127.0.0.1
dns_port = 5353                      ; absent: no name server; 0: any free port
endpoints_dir = fleet-endpoints      ; absent: STATE_DIR/fleet-endpoints
vantages = east=10.1.0.5, west=10.2.0.5   ; name=source address; the address may be left out
tick = 2                             ; seconds between looks when nothing wakes it
"""

from __future__ import annotations

from trunkline.git import RepoStore
from trunkline.services.fleet import FleetSettings, run_fleet
from trunkline.services.fleet_git import ProjectFiles
from trunkline.services.fleet_ports import StorePorts, SubmitDeploy
from trunkline.services.fleet_probes import Vantage
from trunkline.services.process import Process
from trunkline.services.settings import Settings, SettingsError
from trunkline.services.sources import Sources


def fleet_settings(settings: Settings) -> FleetSettings:
    """Plain values from the [fleet] section. Raises SettingsError."""
    port = settings.get("fleet", "dns_port")
    if port and not (port.isdigit() and int(port) < 65536):
        raise SettingsError(f"{settings.path}: [fleet] dns_port={port}: not a port")
    return FleetSettings(
        tick_s=settings.number("fleet", "tick", 2.0),
        vantages=_vantages(settings),
        dns_host=settings.get("fleet", "dns_listen_address", "127.0.0.1"),
        dns_port=int(port) if port else None,
        endpoints_dir=settings.file("fleet", "endpoints_dir") or settings.state_dir / "fleet-endpoints",
    )


def _vantages(settings: Settings) -> tuple[Vantage, ...]:
    said = [part.strip() for part in settings.get("fleet", "vantages").split(",") if part.strip()]
    if not said:
        return FleetSettings().vantages
    found = tuple(Vantage(name.strip(), source.strip()) for name, _, source in (part.partition("=") for part in said))
    if len({vantage.name for vantage in found}) != len(found):
        raise SettingsError(f"{settings.path}: [fleet] vantages: give each vantage point a name of its own")
    return found


async def serve(process: Process, submit_deploy: SubmitDeploy) -> None:
    """Run the fleet until the process stops."""
    settings = process.settings
    sources = Sources.open(settings)
    files = ProjectFiles(RepoStore(settings.state_dir / "fleet-git"), sources)
    ports = StorePorts(submit_deploy, files.head, files.read_files)

    def listening(port: int) -> None:
        process.details["dns_port"] = port

    try:
        await run_fleet(process.db, fleet_settings(settings), ports, process.stop, listening=listening)
    finally:
        await sources.close()
