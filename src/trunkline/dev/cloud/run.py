"""The command: start everything, say that it is ready, stop on a signal."""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
from pathlib import Path

from trunkline.dev.cloud import serve, spec
from trunkline.dev.cloud.hypervisor import Sandbox
from trunkline.dev.cloud.world import World

_log = logging.getLogger("trunkline.dev.cloud")


def main(argv: list[str] | None = None) -> int:
    """Emulate the regions until SIGTERM or SIGINT. 0: stopped; 1: could not start; 2: the regions file is wrong."""
    parser = argparse.ArgumentParser(
        prog="trunkline dev cloud", description="Emulate OpenStack regions with real SSH servers."
    )
    parser.add_argument("--state-dir", type=Path, required=True, help="gets clouds.yaml, ready and emulator.log")
    parser.add_argument(
        "--regions", type=Path, help="regions file (YAML or JSON); default: the four regions of the demo"
    )
    parser.add_argument("--control-port", type=int, default=0, help="port of the control API; 0 takes a free one")
    parser.add_argument("--port-base", type=int, default=0, help="the APIs listen on N, N+1, …; 0 takes free ports")
    arguments = parser.parse_args(argv)
    try:
        wanted = spec.load(arguments.regions)
    except spec.SpecError as error:
        print(error, file=sys.stderr)
        return 2
    state_dir: Path = arguments.state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    (state_dir / "ready").unlink(missing_ok=True)
    logging.basicConfig(filename=state_dir / "emulator.log", level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        asyncio.run(_run(wanted, state_dir, arguments.control_port, arguments.port_base))
    except (OSError, RuntimeError) as error:
        print(f"the emulated clouds did not start: {error}", file=sys.stderr)
        return 1
    return 0


def _report(where: str, error: BaseException) -> None:
    _log.error("%s: %s", where, error, exc_info=error)


async def _run(wanted: spec.WorldSpec, state_dir: Path, control_port: int, port_base: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    needs_hosts = any(region.hypervisor == "sandbox" for region in wanted.regions)
    sandbox = Sandbox(state_dir / "emulator.log") if needs_hosts else None
    if sandbox is not None:
        await sandbox.start()
    world = World(wanted, sandbox, _report)
    site = serve.Site(world, control_port, port_base)
    try:
        await site.start()
        serve.write_clouds_yaml(world, state_dir / "clouds.yaml")
        print("ready", json.dumps(serve.write_ready(world, site, state_dir)), flush=True)
        await stopped.wait()
    finally:
        (state_dir / "ready").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            world.close()
        if sandbox is not None:
            sandbox.stop()
        await site.stop()
