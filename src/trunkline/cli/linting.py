"""ruff, format, types and import contracts, one after the other; all run, and one failure fails."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from trunkline.cli.checkout import root


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fix", action="store_true", help="mend what can be mended without thinking")


def run(args: argparse.Namespace) -> int:
    here = root()
    tools = Path(sys.executable).parent
    fix = ["--fix"] if args.fix else []
    checks = [
        [str(tools / "ruff"), "check", *fix, "src", "tests", "bench"],
        [str(tools / "ruff"), "format", *([] if args.fix else ["--check"]), "src", "tests", "bench"],
        [str(tools / "mypy")],
        [str(tools / "lint-imports")],
    ]
    failed = []
    for check in checks:
        name = " ".join([Path(check[0]).name, *check[1:2]])
        print(f"── {name}", flush=True)
        if subprocess.run(check, cwd=here).returncode:
            failed.append(name)
    print(f"lint: {'failed: ' + ', '.join(failed) if failed else 'clean'}")
    return 1 if failed else 0
