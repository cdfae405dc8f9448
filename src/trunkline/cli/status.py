"""What is in the queues: each item with its jobs, and anything that should worry you."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.cli.rest import Api, NoAnswer, add_options

Json = Mapping[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument("pipeline", nargs="*", help="only these pipelines")


def run(args: argparse.Namespace) -> int:
    try:
        api = Api.of(args)
        status = api.get("status")
        if args.json:
            print(json.dumps(status, indent=1))
            return 0
        errors, regions = api.get("config-errors"), api.get("regions")
    except NoAnswer as problem:
        print(f"trunkline status: {problem}", file=sys.stderr)
        return 1
    pipelines = [p for p in status["pipelines"] if not args.pipeline or p["name"] in args.pipeline]
    for line in (*worries(status, errors, regions), *queues(pipelines)):
        print(line)
    return 0


def worries(status: Json, errors: list[Json], regions: list[Json]) -> Iterator[str]:
    """What is not as it should be."""
    waiting = status["trigger_event_queue"]["length"]
    if waiting:
        yield f"{waiting} event{' waits' if waiting == 1 else 's wait'} to be looked at"
    if errors:
        places = sorted({e["source_context"]["path"] for e in errors if e.get("source_context")})
        yield f"the configuration has {len(errors)} error{'' if len(errors) == 1 else 's'}: {', '.join(places)}"
    for region in regions:
        if region["state"] != "healthy":
            yield f"region {region['cloud']}/{region['region']} is {region['state']}: {region['reason']}"


def queues(pipelines: list[Json]) -> Iterator[str]:
    for pipeline in pipelines:
        found = [queue for queue in pipeline["change_queues"] if any(queue["heads"])]
        count = sum(len(head) for queue in found for head in queue["heads"])
        yield f"{pipeline['name']}: {count or 'no'} item{'' if count == 1 else 's'}"
        for queue in found:
            if pipeline["manager"] != "independent":
                yield f"  queue {queue['name']}"
            for head in queue["heads"]:
                for item in head:
                    yield from _item(item)


def _item(item: Json) -> Iterator[str]:
    refs = ", ".join(f"{ref['project']} {ref['id']}" for ref in item["refs"])
    failing = f"  failing: {', '.join(item['failing_reasons'])}" if item["failing_reasons"] else ""
    left = f"  {item['remaining_time'] // 1000} s left" if item["remaining_time"] else ""
    yield f"    {refs}{left}{failing}"
    for job in item["jobs"]:
        yield f"      {job['name']:<30} {_job(job)}"


def _job(job: Json) -> str:
    if job["result"]:
        return str(job["result"]) + ("" if job["voting"] else " (non-voting)")
    if job["paused"]:
        return f"paused  {job['uuid']}"
    if job["start_time"]:
        return f"running {(job['elapsed_time'] or 0) // 1000} s  {job['uuid']}"
    return str(job["waiting_status"] or ("queued" if job["queued"] else "waiting"))
