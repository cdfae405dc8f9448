"""Run the seeded simulation of the gate, or replay a failure by its seed."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace) -> int:
    from trunkline.sim import main

    return int(main(args.arguments) or 0)
