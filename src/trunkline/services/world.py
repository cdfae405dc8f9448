"""The default world: a review server, four clouds, PostgreSQL and every service, on this machine and nothing else.

Nothing in the production rooms knows that this world is small: it reaches the review server and the clouds over sockets,
with the configuration that an operator would write.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trunkline.config.secrets import encrypt
from trunkline.services.children import die_with_parent
from trunkline.services.keystore import SECRETS, Keystore
from trunkline.services.reconfiguring import reconfigure
from trunkline.services.settings import Settings
from trunkline.store import Database

TENANT = "demo"
CANONICAL_HOST = "review.example.com"
PEOPLE = {
    "alice": ("Alice Core", ["core"]),
    "bob": ("Bob Contributor", []),
    "zuul": ("Trunkline", ["Service Users"]),
}
PASSWORD = "example"  # everything listens on loopback; these are not secrets
CLOUDS = {"citycloud": "citycloud-like", "ovh": "ovh-like", "otc": "otc-like", "rackspace": "rax-like"}
PROJECTS = ("config", "jobs", "cachetools", "simplejson", "shop", "shop-integration")
VENDORED = ("cachetools", "simplejson")
START_TIMEOUT_S = 90.0
DEMO = Path(__file__).resolve().parents[1] / "demo"


class WorldFailed(Exception):
    """A part does not start, or something is already there; the text says which, and where its log is."""


@dataclass
class World:
    """Everything under `home`. `up` starts from nothing; `down` leaves no process. Use as a context manager."""

    home: Path
    web_port: int = 0
    say: Callable[[str], None] = print
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    review: dict[str, Any] = field(default_factory=dict)
    clouds: dict[str, Any] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['web']}/"

    @property
    def config(self) -> Path:
        return self.home / "zuul.conf"

    def key(self, who: str) -> Path:
        return self.home / "keys" / who

    def log(self, part: str) -> Path:
        return self.home / "log" / f"{part}.log"

    def up(self) -> None:
        """Start everything and push the tenant's repositories. Raises WorldFailed."""
        self._claim_home()
        self._make_keys()
        self.ports = dict(zip(("web", "finger", "dns"), _free_ports(3), strict=True))
        if self.web_port:
            self.ports["web"] = self.web_port
        self.say("review server, clouds, database and services start")
        self._spawn("review", "dev", "review", *self._review_arguments())
        self._spawn("cloud", "dev", "cloud", "--state-dir", str(self.home / "cloud"))
        self.review = self._ready("review", self.home / "review" / "ready")
        self._write_configuration(tenants=False)
        self._spawn("serve", "serve", "--config", str(self.config))
        with ThreadPoolExecutor(4) as pool:
            seeding = pool.submit(self._seed_review)
            secret = pool.submit(self._encrypted_token)
            seeding.result()
            self.say("repositories are pushed")
            projects = [name for name in PROJECTS if name != "config"]
            list(pool.map(self._push_project, projects))
            self._push_project("config", {"@TOKEN@": secret.result()})
        self.clouds = self._ready("cloud", self.home / "cloud" / "ready")
        self._write_configuration(tenants=True)
        self._reconfigure()
        self._wait_for_web()
        self._write_state()

    def down(self) -> None:
        """Stop everything that `up` started; nothing is left running."""
        for part in ("serve", "cloud", "review"):
            process = self.processes.get(part)
            if process is not None and process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()
        (self.home / "world.json").unlink(missing_ok=True)

    def __enter__(self) -> World:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    # ------------------------------------------------------------------ parts

    def _claim_home(self) -> None:
        running = status_of(self.home)
        if running is not None:
            raise WorldFailed(f"a world is running under {self.home}: trunkline world down --home {self.home}")
        shutil.rmtree(self.home, ignore_errors=True)
        for name in ("keys", "log", "state", "work"):
            (self.home / name).mkdir(parents=True)

    def _make_keys(self) -> None:
        for who in ("admin", *PEOPLE, "nodes"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", str(self.key(who))]
            subprocess.run(command, check=True)
        (self.home / "keys" / "admin-password").write_text(PASSWORD)

    def _review_arguments(self) -> list[str]:
        arguments = ["--state-dir", str(self.home / "review"), "--http-port", "0", "--ssh-port", "0"]
        arguments += ["--admin-password-file", str(self.home / "keys" / "admin-password")]
        return [*arguments, "--admin-key-file", f"{self.key('admin')}.pub"]

    def _spawn(self, part: str, *arguments: str) -> None:
        with self.log(part).open("ab") as log:
            self.processes[part] = subprocess.Popen(
                [sys.executable, "-m", "trunkline.cli.main", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home / "work",
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    def _ready(self, part: str, path: Path) -> dict[str, Any]:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not path.exists():
            self._must_live(part)
            if time.monotonic() > deadline:
                raise WorldFailed(f"{part} is not ready after {START_TIMEOUT_S:.0f} s; its log: {self.log(part)}")
            time.sleep(0.02)
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def _must_live(self, part: str) -> None:
        if self.processes[part].poll() is not None:
            tail = self.log(part).read_text(errors="replace")[-2000:]
            raise WorldFailed(
                f"{part} ended with {self.processes[part].returncode}; its log {self.log(part)} ends:\n{tail}"
            )

    # ------------------------------------------------------------------ configuration

    def _write_configuration(self, *, tenants: bool) -> None:
        source = {"config-projects": ["config"], "untrusted-projects": [p for p in PROJECTS if p != "config"]}
        wrapped = {"config": {"config": {"load-branch": "main", "include-provider-config": True}}}
        source["config-projects"] = [wrapped["config"]]  # type: ignore[list-item]
        tenant = {"tenant": {"name": TENANT, "source": {"review": source}}}
        (self.home / "main.yaml").write_text(json.dumps([tenant] if tenants else []) + "\n")
        variables = self.home / "site-variables.yaml"
        variables.write_text(json.dumps({"log_site": f"{self.url}logs"}) + "\n")
        connections = "".join(
            f"[connection {name}]\ndriver=openstack\ncloud={cloud}\n"
            f"client_config_file={self.home}/cloud/clouds.yaml\nrate=50\n\n"
            for name, cloud in CLOUDS.items()
        )
        self.config.write_text(
            f"""\
[scheduler]
tenant_config={self.home}/main.yaml
state_dir={self.home}/state

[keystore]
password={PASSWORD}

[web]
listen_address=127.0.0.1
port={self.ports["web"]}
root={self.url}

[merger]
git_dir={self.home}/state/merger-git

[executor]
private_key_file={self.key("nodes")}
git_dir={self.home}/state/executor-git
job_dir={self.home}/builds
finger_port={self.ports["finger"]}
variables={variables}
hostname=demo

[launcher]
busy_interval=0.8
idle_interval=2
sweep_interval=2
leak_grace=3
api_timeout=5
plan_interval=0.5

[fleet]
dns_port={self.ports["dns"]}
vantages=one=127.0.0.1, two=127.0.0.2
tick=0.5

[connection review]
driver=gerrit
server=127.0.0.1
canonical_hostname={CANONICAL_HOST}
port={self.review["ssh_port"]}
baseurl={self.review["url"]}
user=zuul
sshkey={self.key("zuul")}
password={PASSWORD}
auth_type=basic

{connections}"""
        )

    def _reconfigure(self) -> None:
        late, errors = asyncio.run(reconfigure(Settings.read(self.config), START_TIMEOUT_S))
        if late or errors:
            told = "; ".join(error.message for error in errors) or f"not read after {START_TIMEOUT_S:.0f} s"
            raise WorldFailed(f"the tenant file is not taken: {told}; see {self.log('serve')}")

    def _wait_for_web(self) -> None:
        import urllib.error
        import urllib.request

        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}api/tenant/{TENANT}/status", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            self._must_live("serve")
            if time.monotonic() > deadline:
                raise WorldFailed(f"the web service does not answer; see {self.log('serve')}")
            time.sleep(0.05)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "url": self.url,
            "review": self.review,
            "control": self.clouds["control"],
            "ports": self.ports,
            "parts": {name: process.pid for name, process in self.processes.items()},
        }
        fresh = self.home / "world.json.new"
        fresh.write_text(json.dumps(state, indent=1))
        fresh.rename(self.home / "world.json")

    # ------------------------------------------------------------------ the review server's content

    def _seed_review(self) -> None:
        from trunkline.dev.review.client import ReviewClient

        admin = ReviewClient(self.review["url"], "admin", PASSWORD)
        admin.add_member("core", "admin")
        for who, (name, groups) in PEOPLE.items():
            key = Path(f"{self.key(who)}.pub").read_text().strip()
            admin.create_account(who, name=name, password=PASSWORD, ssh_key=key, groups=groups)
        for project in PROJECTS:
            admin.create_project(project, branches=["main"], empty_commit=True)

    def _encrypted_token(self) -> str:
        """The site's token, encrypted with the key of the project `config`, as lines of a secret."""

        async def public_key() -> str:
            async with await Database.open(self._dburi(), name="trunkline-world") as db:
                async with db.transaction() as conn:
                    return (await Keystore(PASSWORD).pair(conn, "review/config", SECRETS))[1]

        self._wait_for_database()
        chunks = encrypt("a token that only post-review jobs see", asyncio.run(public_key()))
        return "\n".join(f"        - {chunk}" for chunk in chunks)

    def _dburi(self) -> str:
        return Settings.read(self.config).dburi

    def _wait_for_database(self) -> None:
        """Until the supervisor has created the schema."""
        path = self.home / "state" / "supervisor.json"
        deadline = time.monotonic() + START_TIMEOUT_S
        while not path.exists():
            self._must_live("serve")
            if time.monotonic() > deadline:
                raise WorldFailed(f"the services do not start; see {self.log('serve')}")
            time.sleep(0.02)

    def clone_url(self, who: str, project: str) -> str:
        return f"ssh://{who}@127.0.0.1:{self.review['ssh_port']}/{project}"

    def git(self, who: str, *arguments: str, cwd: Path | None = None) -> str:
        """Run git as a person would, with the person's key. Raises CalledProcessError."""
        name = PEOPLE.get(who, ("Administrator", []))[0]
        ssh = f"ssh -F /dev/null -i {self.key(who)} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no"
        env = {
            **os.environ,
            "GIT_SSH_COMMAND": f"{ssh} -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes",
            **{f"GIT_{role}_NAME": name for role in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{role}_EMAIL": f"{who}@example.com" for role in ("AUTHOR", "COMMITTER")},
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        done = subprocess.run(["git", *arguments], cwd=cwd, env=env, check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    def checkout(self, who: str, project: str) -> Path:
        """A fresh clone of a project in the person's own folder."""
        place = self.home / "work" / who / project
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            self.git(who, "clone", "-q", self.clone_url(who, project), str(place))
        return place

    def _push_project(self, project: str, replaced: dict[str, str] | None = None) -> None:
        """The project's first commit, straight to its branch, as an administrator imports a repository."""
        place = self.checkout("admin", project)
        if project in VENDORED:
            _copy(DEMO / "vendor" / project, place, {})
        _copy(DEMO / "projects" / project, place, replaced or {})
        self.git("admin", "add", "-A", "-f", cwd=place)
        self.git("admin", "commit", "-q", "-m", f"Import {project}", cwd=place)
        self.git("admin", "push", "-q", "origin", "HEAD:refs/heads/main", cwd=place)


def _copy(source: Path, target: Path, replaced: dict[str, str]) -> None:
    for path in sorted(source.rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".in":
            text = path.read_text()
            for word, value in replaced.items():
                text = text.replace(word, value)
            place.with_suffix("").write_text(text)
        else:
            shutil.copyfile(path, place)


def _free_ports(count: int) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    return iter(ports)


def status_of(home: Path) -> dict[str, Any] | None:
    """What a running world says of itself; None if none runs under `home`."""
    try:
        state: dict[str, Any] = json.loads((home / "world.json").read_text())
        os.kill(state["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return state


def default_home() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    return Path(base) / "trunkline" / "world"
