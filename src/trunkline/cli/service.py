"""Run one service in the foreground, for machines where something else supervises."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", "-c", type=Path, help="zuul.conf (default: /etc/zuul/zuul.conf, ~/zuul.conf)")
    parser.add_argument("--debug", "-d", action="store_true")
    parser.add_argument("--instance", default="1", help="tells services of one kind on one machine apart")


def run(args: argparse.Namespace) -> int:
    from trunkline.services.catalogue import main_of
    from trunkline.services.process import run_service
    from trunkline.services.settings import Settings, SettingsError

    try:
        settings = Settings.read(args.config)
    except SettingsError as problem:
        print(f"trunkline {args.word}: {problem}", file=sys.stderr)
        return 2
    from trunkline.store import migrate

    migrate(settings.dburi)
    return run_service(args.word, settings, main_of(args.word), instance=args.instance, debug=args.debug)
