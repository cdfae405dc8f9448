"""A small installation for tests: a review server, two emulated regions, PostgreSQL and every service, under one folder.

Nothing here waits for a time to pass: everything waits for a condition, with a deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

from tests.connections.people import PASSWORDS, People, Pushed, wait_for
from tests.system import content
from tests.system.desk import Desk, ReviewProxy
from trunkline.services.children import die_with_parent
from trunkline.services.settings import Settings

TENANT = "small"
DEADLINE_S = 120.0
OWNER_KEY = "trunkline_owner"


class Installation:
    """Everything but the review server, which is given. `start` and `stop` once; services may be killed in between."""

    def __init__(self, folder: Path, review: People) -> None:
        self.folder, self.review = folder, review
        self.desk, self.proxy = Desk(), ReviewProxy(review.url)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.control = ""
        self.web_port = _free_port()
        for name in ("state", "log", "cloud"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/"

    @property
    def config(self) -> Path:
        return self.folder / "zuul.conf"

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        self._spawn("cloud", "dev", "cloud", "--state-dir", str(self.folder / "cloud"), "--regions", self._regions())
        self._write_config()
        with ThreadPoolExecutor(2) as pool:
            pushing = pool.submit(self.put, "project-config", content.CONFIG)
            ready = self.folder / "cloud" / "ready"
            self.until("the clouds are ready", ready.exists, alive="cloud")
            self.control = json.loads(ready.read_text())["control"]
            pushing.result()
        self._spawn("serve", "serve", "--config", str(self.config))
        self.until("the tenant's page is there", lambda: self.rest("status", missing=None), alive="serve")
        wait_for("the connection listens", lambda: "gerrit.stream.connected" in self.log("serve"), DEADLINE_S)

    def stop(self) -> None:
        self.desk.release_all()
        self.proxy.go_on()
        for part in ("serve", "cloud"):
            process = self.processes.get(part)
            if process is not None and process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.desk.close()
        self.proxy.close()

    def _regions(self) -> str:
        path = self.folder / "regions.yaml"
        path.write_text(content.REGIONS)
        return str(path)

    def _write_config(self) -> None:
        (self.folder / "main.yaml").write_text(json.dumps([content.TENANT]))
        (self.folder / "site-variables.yaml").write_text(json.dumps({"desk": self.desk.url}))
        clouds = "".join(
            f"[connection {name}]\ndriver=openstack\ncloud={name}\n"
            f"client_config_file={self.folder}/cloud/clouds.yaml\nrate=50\n\n"
            for name in ("alpha", "beta")
        )
        self.config.write_text(
            f"""\
[scheduler]
tenant_config={self.folder}/main.yaml
state_dir={self.folder}/state

[keystore]
password=of-a-test

[web]
listen_address=127.0.0.1
port={self.web_port}
root={self.url}

[executor]
private_key_file={self.review.key("zuul")}
job_dir={self.folder}/builds
finger_port=0
variables={self.folder}/site-variables.yaml
disk_limit_per_job=20
hostname=small

[launcher]
api_timeout=3

[connection review]
driver=gerrit
server={self.review.ssh_host}
canonical_hostname=review.example.com
port={self.review.ssh_port}
baseurl={self.proxy.url}
user=zuul
sshkey={self.review.key("zuul")}
password={PASSWORDS["zuul"]}
auth_type=basic

{clouds}"""
        )

    def _spawn(self, part: str, *words: str) -> None:
        with (self.folder / "log" / part).open("ab") as log:
            self.processes[part] = subprocess.Popen(
                [sys.executable, "-m", "trunkline.cli.main", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    def log(self, part: str = "serve") -> str:
        path = self.folder / "log" / part
        return path.read_text(errors="replace") if path.exists() else ""

    def until(
        self, what: str, condition: Callable[[], Any], deadline_s: float = DEADLINE_S, alive: str = "serve"
    ) -> Any:
        """The first true value of the condition. Fails at once when a part has ended that should not."""

        def look() -> Any:
            process = self.processes.get(alive)
            assert process is not None, alive
            assert process.poll() is None, f"{alive} has ended: {self.log(alive)[-3000:]}"
            return condition()

        try:
            return wait_for(what, look, deadline_s)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self._situation()}") from None

    def _situation(self) -> str:
        problems = [line for line in self.log().splitlines() if "level=info" not in line]
        facts = {name: self.rest(name, missing=None) for name in ("status", "nodes", "regions")}
        return "\n".join([*(problems[-40:]), *(f"{name}: {json.dumps(value)[:1500]}" for name, value in facts.items())])

    # ------------------------------------------------------------------ services

    def supervised(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "state" / "supervisor.json").read_text())
        return found

    def pid(self, service: str) -> int:
        return int(self.supervised()["services"][service])

    def kill(self, service: str) -> None:
        """SIGKILL, and wait until the supervisor has started the service again."""
        old = self.pid(service)
        os.kill(old, signal.SIGKILL)
        self.until(f"{service} is started again", lambda: self.pid(service) not in (0, old))

    def comments(self, number: int) -> dict[str, list[dict[str, Any]]]:
        """Comments on lines by path."""
        found: dict[str, list[dict[str, Any]]] = self.review.client("admin").call("GET", f"changes/{number}/comments")
        return found

    def kill_database(self) -> None:
        """SIGKILL for PostgreSQL's whole process group; ends when it answers again."""
        old = int(self.supervised()["postgres"])
        os.killpg(old, signal.SIGKILL)
        self.until("PostgreSQL is started again", lambda: int(self.supervised()["postgres"] or 0) not in (0, old))

    @contextlib.contextmanager
    def without(self, service: str) -> Iterator[None]:
        """Nothing of a service for the block: it is stopped as if its machine had frozen, and killed at the end."""
        pid = self.pid(service)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)
            self.until(f"{service} is started again", lambda: self.pid(service) not in (0, pid))

    def wait_done(self, task: str) -> None:
        """Until no task of that name waits or runs: nothing outside shows when a second try has ended well."""
        query = "select count(*) from procrastinate_jobs where task_name = %s and status in ('todo', 'doing')"

        def is_done() -> bool:
            with psycopg.connect(Settings.read(self.config).dburi) as conn:
                row = conn.execute(query, (task,)).fetchone()
                return row is not None and row[0] == 0

        self.until(f"every {task} is done", is_done)

    # ------------------------------------------------------------------ people

    def put(self, project: str, files: dict[str, str], branch: str = "master") -> str:
        """A commit straight to the branch, as an administrator does it; its id."""
        folder = self.review.clone(project, "admin", branch)
        self.review.commit(folder, f"Import {len(files)} files", files, "admin")
        pushed = self.review.push(folder, f"refs/heads/{branch}", "admin")
        assert pushed.status == 0, pushed.output
        return pushed.sha

    def push(self, project: str, files: dict[str, str] | None = None, subject: str = "Change it", **how: Any) -> int:
        """A new change by bob; its number."""
        name = f"file-{time.monotonic_ns()}"
        return self.review.new_change(project, subject, files or {name: subject}, **how)

    def amend(self, project: str, number: int, files: dict[str, str]) -> Pushed:
        """A further patch set."""
        ref = f"refs/changes/{number % 100:02}/{number}"
        folder = self.review.clone(project)
        revision = self.change(number)
        patchset = revision["revisions"][revision["current_revision"]]["_number"]
        self.review.git(folder, "fetch", "-q", "origin", f"{ref}/{patchset}")
        self.review.git(folder, "checkout", "-q", "FETCH_HEAD")
        self.review.commit(folder, revision["subject"], files, change_id=revision["change_id"], amend=True)
        pushed = self.review.push(folder)
        assert pushed.status == 0, pushed.output
        return pushed

    def approve(self, *numbers: int) -> None:
        for number in numbers:
            self.review.approve(number)

    def change(self, number: int) -> dict[str, Any]:
        return self.review.client("admin").change(
            number, "DETAILED_LABELS", "MESSAGES", "CURRENT_REVISION", "DETAILED_ACCOUNTS"
        )

    def vote(self, number: int) -> int:
        """What the system votes for Verified now."""
        votes = self.change(number)["labels"]["Verified"].get("all", [])
        return next((int(vote.get("value", 0)) for vote in votes if vote.get("username") == "zuul"), 0)

    def said(self, number: int) -> list[str]:
        """The messages of the system on a change, oldest first."""
        messages = self.change(number)["messages"]
        return [m["message"] for m in messages if m.get("author", {}).get("username") == "zuul"]

    def reports(self, number: int, pipeline: str, patchset: int = 1) -> list[str]:
        """The messages of the system that tell how a pipeline ended for a patch set: each names its buildset."""
        own = [
            b["uuid"]
            for b in self.buildsets(number, pipeline)
            if any(r["patchset"] == str(patchset) for r in b["refs"])
        ]
        return [text for text in self.said(number) if any(f"buildset/{uuid}" in text for uuid in own)]

    def buildsets(self, number: int, pipeline: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.rest("buildsets", change=number, pipeline=pipeline)
        return found

    def wait_vote(self, number: int, value: int, deadline_s: float = DEADLINE_S) -> None:
        self.until(f"change {number} has Verified {value:+}", lambda: self.vote(number) == value, deadline_s)

    def wait_landed(self, *numbers: int, deadline_s: float = DEADLINE_S) -> None:
        for number in numbers:
            self.until(f"change {number} landed", lambda n=number: self.change(n)["status"] == "MERGED", deadline_s)

    def wait_held(self, number: int, count: int = 1) -> None:
        """Until that many builds of the change wait at the desk."""
        self.until(f"{count} builds of {number} run", lambda: len(self.desk.waiting(number)) >= count)

    # ------------------------------------------------------------------ REST

    def rest(self, path: str, missing: Any = ..., **query: Any) -> Any:
        """Below the tenant; `missing` is the answer while there is none."""
        return self.get(f"api/tenant/{TENANT}/{path}", missing, **query)

    def get(self, path: str, missing: Any = ..., **query: Any) -> Any:
        url = f"{self.url}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError):
            if missing is ...:
                raise
            return missing
        return json.loads(text) if answer.headers.get_content_type() == "application/json" else text

    def builds(self, number: int, **query: Any) -> list[dict[str, Any]]:
        """Builds of a change that ended, newest first."""
        found: list[dict[str, Any]] = self.rest("builds", change=number, **query)
        return found

    def items(self) -> list[dict[str, Any]]:
        status = self.rest("status")
        return [
            item
            for pipeline in status["pipelines"]
            for queue in pipeline["change_queues"]
            for head in queue["heads"]
            for item in head
        ]

    def region(self, cloud: str) -> dict[str, Any]:
        return next((row for row in self.rest("regions") if row["cloud"] == cloud), {})

    # ------------------------------------------------------------------ clouds

    def fault(self, kind: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._control("POST", "faults", {"kind": kind, **more})
        return found

    def clear_faults(self) -> None:
        self._control("DELETE", "faults")

    def servers(self, cloud: str = "", owned: bool = True) -> list[dict[str, Any]]:
        """Servers that the clouds themselves say exist now; `owned`: with the mark of ours."""
        rows = self._control("GET", f"objects?kind=server&alive=1&cloud={cloud}")
        return [row for row in rows if not owned or OWNER_KEY in (row.get("metadata") or {})]

    def made(self, cloud: str) -> int:
        """How many servers the cloud has ever made."""
        return len(self._control("GET", f"objects?kind=server&cloud={cloud}"))

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.control}/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def wait_drained(self, deadline_s: float = DEADLINE_S) -> None:
        """Until nothing is queued and nothing is left in any cloud."""
        self.until("every item has left", lambda: not self.items(), deadline_s)
        self.until("no server is left in any cloud", lambda: not self.servers(), deadline_s)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def installation(folder: Path, review: People) -> Iterator[Installation]:
    """A running installation on a review server that has `people` and projects, in `folder`."""
    world = Installation(folder, review)
    try:
        world.start()
        yield world
    finally:
        world.stop()
