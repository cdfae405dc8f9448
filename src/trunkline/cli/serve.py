"""Run services under one supervisor, in the foreground, until SIGTERM or ^C."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", "-c", type=Path, help="zuul.conf (default: /etc/zuul/zuul.conf, ~/zuul.conf)")
    parser.add_argument("--debug", "-d", action="store_true")
    parser.add_argument(
        "services", nargs="*", metavar="SERVICE", help="scheduler, merger, … or executor:2 for a second one"
    )


def run(args: argparse.Namespace) -> int:
    from trunkline.services.catalogue import SERVICES
    from trunkline.services.settings import Settings, SettingsError
    from trunkline.services.supervisor import Supervisor

    unknown = [name for name in args.services if name.split(":")[0] not in SERVICES]
    if unknown:
        print(
            f"trunkline serve: no such service: {', '.join(unknown)} (there are: {', '.join(SERVICES)})",
            file=sys.stderr,
        )
        return 2
    try:
        settings = Settings.read(args.config)
        settings.keystore_password  # noqa: B018 - said before anything is started
    except SettingsError as problem:
        print(f"trunkline serve: {problem}", file=sys.stderr)
        return 2
    return Supervisor(settings, args.services or list(SERVICES), debug=args.debug).run()
