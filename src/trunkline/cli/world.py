"""The demo's world: up (starts it in the background), down, status, run (in the foreground)."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", choices=("up", "down", "status", "run"))
    parser.add_argument("--home", type=Path, help="where it lives (default: ~/.local/state/trunkline/world)")
    parser.add_argument("--web-port", type=int, default=0, help="port of the page (default: any free one)")


def run(args: argparse.Namespace) -> int:
    from trunkline.services.world import default_home, status_of

    home = (args.home or default_home()).absolute()
    if args.verb == "run":
        return _run(home, args.web_port)
    state = status_of(home)
    if args.verb == "up":
        return _up(home, args.web_port) if state is None else tell(home)
    if state is None:
        print(f"no world runs under {home}")
        return 1
    if args.verb == "status":
        return tell(home)
    os.kill(state["pid"], signal.SIGTERM)
    while status_of(home) is not None:
        time.sleep(0.05)
    print("the world is down")
    return 0


def _run(home: Path, web_port: int) -> int:
    """Hold the world until SIGTERM or ^C."""
    from trunkline.services.world import World, WorldFailed

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        with World(home, web_port) as world:
            print(f"up: {world.url}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except WorldFailed as problem:
        print(f"trunkline world: {problem}", file=sys.stderr)
        return 1
    return 0


def _up(home: Path, web_port: int) -> int:
    from trunkline.services.world import status_of

    home.parent.mkdir(parents=True, exist_ok=True)
    log = home.parent / f"{home.name}.log"
    command = [sys.executable, "-m", "trunkline.cli.main", "world", "run", "--home", str(home)]
    with log.open("wb") as file:
        keeper = subprocess.Popen(
            [*command, "--web-port", str(web_port)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    while status_of(home) is None:
        if keeper.poll() is not None:
            print(log.read_text(), file=sys.stderr)
            return 1
        time.sleep(0.05)
    return tell(home)


def tell(home: Path) -> int:
    from trunkline.services.world import status_of

    state = status_of(home)
    assert state is not None
    port = state["review"]["ssh_port"]
    print(f"page:    {state['url']}")
    print(f"review:  {state['review']['url']}/  (alice, bob, admin; password: example)")
    print(
        f"clone:   GIT_SSH_COMMAND='ssh -i {home}/keys/bob -o IdentitiesOnly=yes -o StrictHostKeyChecking=no' "
        f"git clone ssh://bob@127.0.0.1:{port}/shop"
    )
    print("review:  git push origin HEAD:refs/for/main   (with a Change-Id: git review, or the commit-msg hook)")
    print(f"clouds:  OS_CLIENT_CONFIG_FILE={home}/cloud/clouds.yaml openstack --os-cloud ovh-like server list")
    print(f"stop:    trunkline world down --home {home}")
    if os.environ.get("TRUNKLINE_JSON"):
        print(json.dumps(state))
    return 0
