"""People at a review server: the embedded one or a real Gerrit, seen through git, OpenSSH and HTTP alone."""

import contextlib
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from trunkline.dev.review.client import ReviewClient

PASSWORDS = {"admin": "secret", "zuul": "zuul-secret", "alice": "alice-secret", "bob": "bob-secret"}
DEADLINE_S = 60.0


def wait_for(what: str, condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of the condition."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"in {deadline_s:.0f} s never: {what}")


class Pushed(msgspec.Struct, frozen=True):
    status: int
    output: str
    number: int | None
    sha: str


class People:
    """admin, zuul (a service user), alice (a core reviewer) and bob, with their keys and passwords."""

    def __init__(self, url: str, ssh_host: str, ssh_port: int, keys: Path, work: Path) -> None:
        self.url = url
        self.ssh_host = ssh_host
        self.ssh_port = ssh_port
        self.keys = keys
        self.work = work

    # ------------------------------------------------------------------ clients

    def client(self, who: str = "admin") -> ReviewClient:
        return ReviewClient(self.url, who, PASSWORDS[who])

    def key(self, who: str) -> Path:
        return self.keys / who

    def ssh_words(self, who: str) -> list[str]:
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"]
        words = ["ssh", "-q", "-F", "none", "-i", str(self.key(who)), "-p", str(self.ssh_port)]
        for option in options:
            words += ["-o", option]
        return words

    def ssh(self, who: str, command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        words = [*self.ssh_words(who), f"{who}@{self.ssh_host}", command]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def query(self, who: str, words: str) -> list[dict[str, Any]]:
        done = self.ssh(who, f"gerrit query --format json {words}")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextlib.contextmanager
    def listen(self, who: str = "zuul") -> Iterator["Heard"]:
        """A listener that is attached: it has heard of a project made for the purpose, and forgotten that."""
        heard = Heard([*self.ssh_words(who), f"{who}@{self.ssh_host}", "gerrit stream-events"])
        try:
            wait_for("the listener hears", lambda: self._probed(heard))
            yield heard
        finally:
            heard.close()

    def _probed(self, heard: "Heard") -> bool:
        name = f"probe-{secrets.token_hex(6)}"
        self.client().create_project(name, branches=["master"])
        until = time.monotonic() + 1
        while time.monotonic() < until:
            if any(
                event["type"] == "ref-updated" and event["refUpdate"]["project"] == name for event in heard.so_far()
            ):
                heard.events = []
                return True
            time.sleep(0.01)
        return False

    # ------------------------------------------------------------------ git

    def ssh_url(self, project: str, who: str = "bob") -> str:
        return f"ssh://{who}@{self.ssh_host}:{self.ssh_port}/{project}"

    def http_url(self, project: str, who: str = "bob") -> str:
        return f"{self.url.replace('://', f'://{who}:{PASSWORDS[who]}@')}/a/{project}"

    def git(self, folder: Path, *words: str, who: str = "bob", check: bool = True, **more: str) -> str:
        """Standard output and error of git as one text."""
        done = self.run_git(folder, *words, who=who, **more)
        assert not check or done.returncode == 0, f"git {' '.join(words)}: {done.stdout}"
        return done.stdout

    def run_git(self, folder: Path, *words: str, who: str = "bob", **more: str) -> subprocess.CompletedProcess[str]:
        ssh = " ".join(self.ssh_words(who))
        environment = os.environ | {
            "GIT_SSH_COMMAND": ssh,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": who.title(),
            "GIT_AUTHOR_EMAIL": f"{who}@example.com",
            "GIT_COMMITTER_NAME": who.title(),
            "GIT_COMMITTER_EMAIL": f"{who}@example.com",
        }
        return subprocess.run(
            ["git", *words],
            cwd=folder,
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def clone(self, project: str, who: str = "bob", branch: str = "master", over: str = "ssh") -> Path:
        folder = self.work / f"{project.replace('/', '-')}-{secrets.token_hex(4)}"
        url = self.ssh_url(project, who) if over == "ssh" else self.http_url(project, who)
        self.git(self.work, "clone", "-q", "-b", branch, url, str(folder), who=who)
        return folder

    def commit(self, folder: Path, subject: str, files: dict[str, str], who: str = "bob", **how: Any) -> str:
        """Commit files (content None removes); footers in `footers`, `change_id` to name the change, `amend`."""
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        self.git(folder, "add", "-A", who=who)
        footers = [*how.get("footers", ()), f"Change-Id: {how.get('change_id') or new_change_id()}"]
        message = "\n\n".join([subject, *how.get("body", ()), "\n".join(footers)])
        amend = ["--amend"] if how.get("amend") else []
        more = {"GIT_COMMITTER_DATE": how["date"]} if "date" in how else {}
        self.git(folder, "commit", "-q", "--allow-empty", *amend, "-m", message, who=who, **more)
        return self.git(folder, "rev-parse", "HEAD").strip()

    def push(
        self, folder: Path, to: str = "refs/for/master", who: str = "bob", *options: str, what: str = "HEAD"
    ) -> Pushed:
        done = self.run_git(folder, "push", *options, "origin", f"{what}:{to}", who=who)
        numbers = re.findall(r"/\+/(\d+)", done.stdout)
        sha = self.git(folder, "rev-parse", "HEAD").strip()
        return Pushed(done.returncode, done.stdout, int(numbers[-1]) if numbers else None, sha)

    def new_change(self, project: str, subject: str, files: dict[str, str], **how: Any) -> int:
        """Push one change to the tip of its branch, as bob; its number."""
        branch = how.get("branch", "master")
        folder = self.clone(project, branch=branch)
        self.commit(folder, subject, files, **how)
        pushed = self.push(folder, f"refs/for/{branch}{how.get('magic', '')}")
        assert pushed.status == 0, pushed.output
        assert pushed.number is not None
        return pushed.number

    def approve(self, number: int) -> None:
        """All votes that landing needs but for Verified."""
        self.client("alice").review(number, labels={"Code-Review": 2, "Workflow": 1})


class Heard:
    """What a listener hears, line by line, while it runs."""

    def __init__(self, words: list[str]) -> None:
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def so_far(self) -> list[dict[str, Any]]:
        assert self._process.stdout is not None
        self._rest += self._process.stdout.read() or b""
        *lines, self._rest = self._rest.split(b"\n")
        self.events += [json.loads(line) for line in lines]
        return self.events

    def until(self, last: str, count: int = 1) -> list[dict[str, Any]]:
        """All events since the last call, once `count` of that type are among them."""

        def complete() -> bool:
            return sum(event["type"] == last for event in self.so_far()) >= count

        wait_for(f"{count} {last}", complete)
        found, self.events = self.events, []
        return found


def order(events: list[dict[str, Any]]) -> list[str]:
    """`TYPE` or `TYPE REF`, as the recordings write it."""
    return [
        f"{event['type']} {event['refUpdate']['refName']}" if event["type"] == "ref-updated" else event["type"]
        for event in events
    ]


def new_change_id() -> str:
    return "I" + secrets.token_hex(20)


def make_keys(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for who in PASSWORDS:
        if not (folder / who).exists():
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{who}@example.com", "-f", str(folder / who)]
            subprocess.run(words, check=True)
