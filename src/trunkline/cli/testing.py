"""Run the tests: all of them, or the paths and pytest options given.

What a marked test needs and is missing is installed when this runs as root on Debian or Ubuntu (Chromium); elsewhere
such tests are skipped with a reason.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

from trunkline.cli.checkout import root

TAKES_EVERYTHING = True  # options are pytest's


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="paths and options for pytest")


def run(args: argparse.Namespace) -> int:
    here = root()
    given = list(args.arguments)
    everything = not [a for a in given if not a.startswith("-")]
    if everything:
        _provide_chromium()
    command = [sys.executable, "-m", "pytest", *given]
    if everything and not any(a.startswith("-n") for a in given):
        command += ["-n", str(os.cpu_count() or 2), "--dist", "loadfile"]
    return subprocess.run(command, cwd=here).returncode


def _provide_chromium() -> None:
    if any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(
            "tl test: no Chromium here, browser tests are skipped (apt-get install chromium mends it)", file=sys.stderr
        )
        return
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    }
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    if subprocess.run(install, **quiet).returncode:  # type: ignore[call-overload]
        subprocess.run(["apt-get", "update", "-qq"], **quiet)  # type: ignore[call-overload]
        subprocess.run(install, **quiet)  # type: ignore[call-overload]
