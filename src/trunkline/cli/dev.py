"""Parts of the small world, one by one: emulated clouds, the embedded review server."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("part", choices=("cloud", "review"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace) -> int:
    from importlib import import_module

    return int(import_module(f"trunkline.dev.{args.part}").main(args.arguments) or 0)
