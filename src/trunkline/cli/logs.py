"""A build's console: stored if the build has ended, live (with -f, to its end) while it runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from trunkline.cli.rest import Api, NoAnswer, add_options

LOG = "job-output.txt"
RETRY_S = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument("build", help="its UUID, or the beginning of it")
    parser.add_argument("--follow", "-f", action="store_true", help="wait for what comes, until the build ends")


def run(args: argparse.Namespace) -> int:
    try:
        api = Api.of(args)
        return asyncio.run(_show(api, args.build, args.follow))
    except NoAnswer as problem:
        print(f"trunkline logs: {problem}", file=sys.stderr)
        return 1


async def _show(api: Api, wanted: str, follow: bool) -> int:
    """Live first: a build that is not running any more has its log stored, or will have it at once."""
    uuid = await asyncio.to_thread(find, api, wanted)
    seen = 0
    while True:
        live = await _live(api, uuid, seen, follow)
        seen += live
        stored = await asyncio.to_thread(_stored, api, uuid)
        if stored is not None:
            sys.stdout.write(stored.decode(errors="replace")[seen:])
            return 0
        if not follow and live:
            return 0
        build = await asyncio.to_thread(_build, api, uuid)
        if build is not None and build["end_time"] is not None:
            raise NoAnswer(f"build {uuid} has no stored console; its logs: {build['log_url'] or 'none'}")
        if not follow:
            raise NoAnswer(f"build {uuid} has not begun; -f waits for it")
        await asyncio.sleep(RETRY_S)


def find(api: Api, wanted: str) -> str:
    """The UUID of a build, running or ended, that begins so. Raises NoAnswer."""
    wanted = wanted.replace("-", "")
    if len(wanted) == 32:
        return wanted
    running = [
        str(job["uuid"])
        for pipeline in api.get("status")["pipelines"]
        for queue in pipeline["change_queues"]
        for head in queue["heads"]
        for item in head
        for job in item["jobs"]
        if job["uuid"]
    ]
    ended = [str(build["uuid"]) for build in api.get("builds", limit=1000)]
    found = sorted({uuid for uuid in (*running, *ended) if uuid.startswith(wanted)})
    if len(found) != 1:
        raise NoAnswer(f"{'several builds begin' if found else 'no build begins'} with {wanted} {' '.join(found[:5])}")
    return found[0]


async def _live(api: Api, uuid: str, seen: int, follow: bool) -> int:
    """Print what the executor streams beyond the first `seen` characters; how many characters were new.

    Without `follow` only what is there already: it comes in one go, then the stream falls silent.
    """
    import aiohttp

    url = f"{api.root.replace('http', 'ws', 1)}api/tenant/{api.tenant}/console-stream"
    got = 0
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            asked = {"uuid": uuid, "logfile": "console.log"} | ({"token": api.token} if api.token else {})
            await socket.send_str(json.dumps(asked))
            while True:
                frame = await socket.receive(timeout=None if follow else RETRY_S)
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    break
                before, got = got, got + len(frame.data)
                if got > seen:
                    sys.stdout.write(frame.data[max(0, seen - before) :])
                    sys.stdout.flush()
    except TimeoutError:
        pass
    except aiohttp.ClientError as problem:
        raise NoAnswer(f"{url}: {problem}") from problem
    return max(0, got - seen)


def _stored(api: Api, uuid: str) -> bytes | None:
    try:
        return api.read(f"logs/{api.tenant}/{uuid}/{LOG}")
    except NoAnswer as problem:
        if problem.status == 404:
            return None
        raise


def _build(api: Api, uuid: str) -> dict[str, object] | None:
    try:
        found: dict[str, object] = api.get(f"build/{uuid}")
        return found
    except NoAnswer as problem:
        if problem.status == 404:
            return None
        raise
