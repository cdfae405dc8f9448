"""Run a benchmark of bench/: print its table, and write its figures as JSON if asked."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from trunkline.cli.checkout import root


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="without one, the names that there are")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases")
    parser.add_argument("--json", type=Path, metavar="FILE")


def run(args: argparse.Namespace) -> int:
    here = root()
    names = sorted(p.stem for p in (here / "bench").glob("*.py") if p.stem not in ("__init__", "report"))
    if args.name not in names:
        print("\n".join(names))
        if args.name:
            print(f"trunkline bench: there is no `{args.name}`", file=sys.stderr)
            return 2
        return 0
    sys.path.insert(0, str(here))
    report = import_module(f"bench.{args.name}").run(args.quick)
    print(report.table())
    if args.json:
        report.write(args.json)
    return 0
