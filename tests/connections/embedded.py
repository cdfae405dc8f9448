"""The embedded review server as a process of its own, with people in it as a Zuul installation has them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.connections.people import PASSWORDS, People, make_keys, wait_for

PROJECTS = ("demo/app", "demo/lib", "project-config")


class Embedded(People):
    """`start` and `kill` as often as a test likes: the state stays, and the ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "work").mkdir(parents=True)
        make_keys(folder / "keys")
        (folder / "password").write_text(PASSWORDS["admin"])
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = (0, 0)
        super().__init__("", "127.0.0.1", 0, folder / "keys", folder / "work")

    def start(self, *options: str) -> None:
        words = [sys.executable, "-m", "trunkline.dev.review", "--state-dir", str(self.folder / "state")]
        words += ["--http-port", str(self._ports[0]), "--ssh-port", str(self._ports[1])]
        words += ["--admin-password-file", str(self.folder / "password")]
        words += ["--admin-key-file", str(self.keys / "admin.pub"), *options]
        ready = self.folder / "state" / "ready"
        ready.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)

        def is_up() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "log").read_text()[-3000:]
            return ready.exists()

        wait_for("the review server is ready", is_up)
        told = json.loads(ready.read_text())
        self.url, self.ssh_port = told["url"], told["ssh_port"]
        self._ports = (told["http_port"], told["ssh_port"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self._process is not None
        os.kill(self._process.pid, number)
        return self._process.wait(timeout=30)

    def populate(self) -> None:
        """Accounts, groups and projects, as the recordings had them."""
        admin = self.client()
        admin.add_member("core", "admin")
        people = {
            "zuul": ("Zuul", ["Service Users"]),
            "alice": ("Alice Core", ["core"]),
            "bob": ("Bob Contributor", []),
        }
        for who, (name, groups) in people.items():
            key = (self.keys / f"{who}.pub").read_text().strip()
            admin.create_account(who, name=name, password=PASSWORDS[who], ssh_key=key, groups=groups)
        for project in PROJECTS:
            admin.create_project(project, branches=["master"])


@contextlib.contextmanager
def embedded(folder: Path, *options: str) -> Iterator[Embedded]:
    server = Embedded(folder)
    server.start(*options)
    try:
        server.populate()
        yield server
    finally:
        if server._process is not None and server._process.poll() is None:
            server.stop()
