"""`./tl sim`: run seeded worlds, or replay one that failed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from trunkline.gate.model import Manager
from trunkline.sim.gate_laws import LawBroken
from trunkline.sim.gate_world import GateWorld, Tally


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 only when no law was broken."""
    parser = argparse.ArgumentParser(prog="tl sim", description="Seeded worlds in virtual time.")
    configure(parser)
    return run(parser.parse_args(argv))


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("world", nargs="?", default="gate", choices=["gate"])
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--runs", type=int, default=20, help="that many seeds, from --first (default %(default)s)")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--manager", choices=[m.value for m in Manager], default="dependent")
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--trace", action="store_true", help="print every event and effect")


def run(arguments: argparse.Namespace) -> int:
    first = arguments.first if arguments.seed is None else arguments.seed
    return _gate(arguments, range(first, first + (arguments.runs if arguments.seed is None else 1)))


def _gate(arguments: argparse.Namespace, seeds: range) -> int:
    broken, begin, total = 0, time.perf_counter(), Tally()
    manager = Manager(arguments.manager)
    for seed in seeds:
        world = GateWorld(seed, manager=manager, changes=arguments.changes)
        try:
            tally = world.run()
        except LawBroken as law:
            broken += 1
            print(f"seed {seed}: {law}")
            print(
                f"  replay: ./tl sim gate --seed {seed} --manager {manager.value} --changes {arguments.changes} --trace"
            )
        else:
            total += tally
        if arguments.trace:
            print("\n".join(world.trace))
    wall_s = time.perf_counter() - begin
    print(
        f"{len(seeds)} worlds, {broken} broken: {total.events} events, {total.landed} landed, {total.rejected} rejected, "
        f"{total.left} left otherwise, {total.builds} builds, {total.virtual_h:.0f} h of virtual time in {wall_s:.1f} s"
    )
    return 1 if broken else 0
