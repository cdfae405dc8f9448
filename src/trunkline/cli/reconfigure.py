"""Have a changed tenant file read. Ends when every changed tenant is in force, or says why not."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", "-c", type=Path, help="zuul.conf (default: /etc/zuul/zuul.conf, ~/zuul.conf)")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS")


def run(args: argparse.Namespace) -> int:
    from trunkline.services.reconfiguring import reconfigure
    from trunkline.services.settings import Settings, SettingsError

    try:
        late, errors = asyncio.run(reconfigure(Settings.read(args.config), args.timeout))
    except SettingsError as problem:
        print(f"trunkline reconfigure: {problem}", file=sys.stderr)
        return 2
    for error in errors:
        print(error.message, file=sys.stderr)
    if late:
        print(f"not read after {args.timeout:.0f} s: {', '.join(late)}; does a merger run?", file=sys.stderr)
    return 1 if late or errors else 0
