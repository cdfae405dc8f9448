"""`trunkline WORD …`: find the module of the word, let it read its arguments, run it."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from trunkline import __version__

# word: (module, one line for people)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "the whole way of working, small but real"),
    "serve": ("serve", "run services under one supervisor (all by default)"),
    "scheduler": ("service", "run the scheduler alone"),
    "merger": ("service", "run a merger alone"),
    "launcher": ("service", "run a launcher alone"),
    "executor": ("service", "run an executor alone"),
    "fleet": ("fleet", "applications: status, plan, explain, inventory, endpoints; `fleet serve` runs the service"),
    "web": ("service", "run the web service alone"),
    "reconfigure": ("reconfigure", "have a changed tenant file read"),
    "world": ("world", "the demo's world: up, down, status"),
    "status": ("status", "what is in the queues"),
    "explain": ("explain", "why a change is where it is"),
    "logs": ("logs", "a build's console"),
    "config": ("config", "check, dump, decide, explain configuration; print its schema"),
    "doctor": ("doctor", "what is missing on this machine and how to mend it"),
    "test": ("testing", "run the tests (all, or the paths given)"),
    "lint": ("linting", "ruff, format, types, import contracts in one"),
    "bench": ("bench", "run a benchmark"),
    "sim": ("sim", "run the seeded simulation, or replay a failure"),
    "dev": ("dev", "emulated clouds, embedded review server"),
}


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="trunkline", description="Keeps every trunk green, on every cloud.", add_help=False
    )
    parser.add_argument("word", nargs="?")
    first, rest = arguments[:1], arguments[1:]
    if first in (["--version"], ["-V"]):
        print(f"trunkline {__version__}")
        return 0
    if not first or first[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    word = first[0]
    if word not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(word, COMMANDS, 1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        print(f"trunkline: there is no command `{word}`{hint}\n\n{_usage()}", file=sys.stderr)
        return 2
    module = import_module(f"trunkline.cli.{COMMANDS[word][0]}")
    if getattr(module, "TAKES_EVERYTHING", False) and rest[:1] not in (["-h"], ["--help"]):
        return int(module.run(argparse.Namespace(word=word, arguments=rest)) or 0)
    command = argparse.ArgumentParser(prog=f"trunkline {word}", description=module.__doc__)
    command.set_defaults(word=word)
    module.configure(command)
    try:
        return int(module.run(command.parse_args(rest)) or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {word.ljust(width)}  {text}" for word, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: trunkline COMMAND …", "", *lines, "", "trunkline COMMAND --help says more."])


if __name__ == "__main__":
    sys.exit(main())
