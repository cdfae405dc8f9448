"""The services by name, each imported only by the process that runs it."""

from __future__ import annotations

from importlib import import_module

from trunkline.services.process import Main

SERVICES: dict[str, str] = {
    "merger": "trunkline.services.merger",
    "scheduler": "trunkline.services.scheduler",
    "launcher": "trunkline.services.launcher_process",
    "executor": "trunkline.services.executor",
    "fleet": "trunkline.services.fleet_main",
    "web": "trunkline.services.web",
}
"""In the order of starting; `module.main(process)` runs until process.stop is set."""


def main_of(service: str) -> Main:
    main: Main = import_module(SERVICES[service]).main
    return main
