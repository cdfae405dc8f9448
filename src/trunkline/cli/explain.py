"""Why a change is where it is: where it stands now, then what happened to it, newest first."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from urllib.parse import quote

from trunkline.cli.rest import Api, NoAnswer, add_options


def configure(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument("change", help="NUMBER, NUMBER,PATCHSET or a commit")
    parser.add_argument("--limit", "-n", type=int, default=40, help="how many happenings (default: 40)")


def run(args: argparse.Namespace) -> int:
    try:
        story = Api.of(args).get(f"explain/{quote(args.change)}")
    except NoAnswer as problem:
        print(f"trunkline explain: {problem}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(story, indent=1))
        return 0
    now = [entry for entry in story if entry.get("now")]
    past = [entry for entry in story if not entry.get("now")]
    if not story:
        print(f"{args.change} has never been in a pipeline: no trigger fits it, or its requirements are not met")
        return 1
    if not now:
        print(f"{args.change} is in no pipeline now.")
    for entry in now:
        print(f"{entry['pipeline']}: {entry['text']}")
    print()
    for entry in past[: args.limit]:
        moment = datetime.fromtimestamp(entry["time"]).strftime("%Y-%m-%d %H:%M:%S")
        print(f"{moment}  {entry['pipeline']:<8} {entry['what']:<10} {entry['text']}".rstrip())
    return 0
