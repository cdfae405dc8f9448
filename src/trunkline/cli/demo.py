"""The whole way of working, small but real: review, gate, four clouds, deployment, and a region that dies."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="leave the world running, and say how to use and stop it")
    parser.add_argument("--home", type=Path, help="where the world lives (default: ~/.local/state/trunkline/world)")
    parser.add_argument("--web-port", type=int, default=0, help="port of the page (default: any free one)")


def run(args: argparse.Namespace) -> int:
    begin = time.monotonic()
    print("Trunkline: a small world starts; everything in it is real, on this machine alone", flush=True)
    from trunkline.demo.view import View
    from trunkline.services.world import World, WorldFailed, default_home

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    view = View()
    world = World((args.home or default_home()).absolute(), args.web_port, say=view.say)
    try:
        with world:
            view.say(f"it is up after {time.monotonic() - begin:.0f} s; see it live at {world.url}")
            good = _tell(world, view, begin)
            if args.keep:
                _keep(world)
    except WorldFailed as problem:
        print(f"trunkline demo: {problem}", file=sys.stderr)
        return 1
    return 0 if good else 1


def _tell(world: World, view: View, begin: float) -> bool:  # type: ignore[name-defined]  # noqa: F821
    from trunkline.demo.story import Story
    from trunkline.demo.view import closing_table

    story = Story(world, view.say)
    view.look = story.api.queues
    view.title = f"Trunkline  {world.url}"
    with view:
        good = story.tell()
        figures = story.overhead()
    rows = [(row.asked, row.happened, row.seconds, row.good) for row in story.rows]
    view.console.print(closing_table(rows))
    for name, figure in figures:
        print(f"{name}: {figure}")
    print(
        f"{'All of it is true.' if good else 'Not all of it is true.'} {time.monotonic() - begin:.0f} s in all.",
        flush=True,
    )
    return good


def _keep(world: World) -> None:  # type: ignore[name-defined]  # noqa: F821
    from trunkline.cli.world import tell

    tell(world.home)
    print("^C here stops it as well.", flush=True)
    while True:
        signal.pause()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
