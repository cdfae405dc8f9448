"""The launcher as a process: its options from the settings."""

from __future__ import annotations

from pathlib import Path

from trunkline.services.launcher import LauncherOptions, run_launcher
from trunkline.services.launcher_region import Pace
from trunkline.services.process import Process
from trunkline.services.settings import Settings


def options_of(settings: Settings) -> LauncherOptions:
    """The [launcher] section; the key pair that servers get is the executor's."""
    key = settings.file("executor", "private_key_file", "~/.ssh/id_rsa")
    public = Path(f"{key}.pub") if key else None
    clouds = settings.file("launcher", "client_config_file")
    images = settings.file("launcher", "images_dir")
    pace = Pace(
        busy_s=settings.number("launcher", "busy_interval", Pace().busy_s),
        idle_s=settings.number("launcher", "idle_interval", Pace().idle_s),
        sweep_s=settings.number("launcher", "sweep_interval", Pace().sweep_s),
        grace_s=settings.number("launcher", "leak_grace", Pace().grace_s),
        api_timeout_s=settings.number("launcher", "api_timeout", Pace().api_timeout_s),
    )
    return LauncherOptions(
        hostname=settings.hostname,
        clouds_file=str(clouds) if clouds else None,
        images_dir=str(images) if images else None,
        pace=pace,
        plan_every_s=settings.number("launcher", "plan_interval", LauncherOptions().plan_every_s),
        public_key=public.read_text().strip() if public and public.exists() else None,
        connections=tuple(filter(None, (c.strip() for c in settings.get("launcher", "connection_filter").split(",")))),
    )


async def main(process: Process) -> None:
    await run_launcher(process.db, process.stop, options_of(process.settings))
