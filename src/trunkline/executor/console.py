"""job-output.txt and job-output.json: one writer a build, outside of every sandbox.

Only the executor writes them; the playbooks send lines. A file that a job moved away or linked elsewhere is never
followed: the descriptor was opened before the first playbook.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EXPOSED = "[Zuul] Secret detected in output"
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) \| ?(.*)", re.DOTALL)


class DiskFull(Exception):
    """The console cannot be written."""


class Console:
    """Writes lines. `on_match` is called at the first line that a failure-output pattern matches while `is_watching`."""

    def __init__(self, path: Path, patterns: Sequence[str] = (), on_match: Callable[[], None] | None = None) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._on_match = on_match
        self.is_watching = False
        self.secrets: tuple[str, ...] = ()
        self.on_exposure: Callable[[], None] | None = None

    def line(self, text: str, host: str | None = None, stamp: str | None = None) -> None:
        """One line of the build's own or of a host. Raises DiskFull."""
        if any(secret in text for secret in self.secrets):
            self._write(EXPOSED + "\n")
            if self.on_exposure:
                self.on_exposure()
            return
        if host is not None and self.is_watching and any(pattern.match(text) for pattern in self._patterns):
            self.is_watching = False
            if self._on_match:
                self._on_match()
        when = stamp or datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f")
        body = f"{host} | {text}".rstrip() if host is not None else text.rstrip()
        self._write(f"{when} | {body}\n")

    def lines(self, texts: Sequence[str], host: str | None) -> None:
        """Many lines at once, with one time. Raises DiskFull."""
        if self.secrets or (self.is_watching and self._patterns):
            for text in texts:
                self.line(text, host)
            return
        start = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f | ")
        lead = f"{host} | " if host is not None else ""
        self._write("".join([f"{start}{(lead + text).rstrip()}\n" for text in texts]))

    def stamped(self, text: str, host: str) -> None:
        """A line of a node's console, which carries the node's time."""
        found = _STAMPED.fullmatch(text)
        if found:
            self.line(found[2], host, found[1])
        else:
            self.line(text, host)

    def _write(self, text: str) -> None:
        view = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise DiskFull(str(error)) from error

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def append_document(directory: int, name: str, entry: str) -> None:
    """Append one playbook (JSON text) to the list in a file, which stays valid JSON. A link there is not followed.

    directory: the descriptor of the directory as it was before any playbook.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(
        os.open(name, flags, 0o644, dir_fd=directory), "r+", encoding="utf-8", errors="backslashreplace"
    ) as handle:
        end = handle.seek(0, os.SEEK_END)
        indented = "\n".join(f" {line}" for line in entry.strip().split("\n"))
        closing = "\n]\n"
        if end > len(closing):
            handle.seek(end - len(closing))
            handle.write(f",\n{indented}{closing}")
        else:
            handle.seek(0)
            handle.write(f"[\n{indented}{closing}")
        handle.truncate()


def document_without_tasks(playbook: dict[str, Any], text: str) -> str:
    """The entry of a playbook that left none: one play named with what happened."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    play = {"play": {"name": text, "duration": {"start": now, "end": now}}, "tasks": []}
    return json.dumps({**playbook, "plays": [play], "stats": {}}, indent=1, sort_keys=True)


def redacted_document(text: str, secrets: Sequence[str], playbook: dict[str, Any]) -> str:
    """The entry as it is, or with its plays replaced when a secret is in it."""
    shown = [json.dumps(secret)[1:-1] for secret in secrets]
    if not any(secret in text for secret in shown):
        return text
    return document_without_tasks(playbook, EXPOSED)
