"""Several services in one foreground group: started together, started again when they die, stopped together.

The supervisor imports everything once and forks: a service that is started again is there in milliseconds, and memory
is shared. It has no threads and opens no connection before it forks.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from trunkline.services.catalogue import SERVICES, main_of
from trunkline.services.children import die_with_parent
from trunkline.services.postgres import EmbeddedPostgres
from trunkline.services.process import DRAIN_S, GROUP, configure_logging, run_service
from trunkline.services.settings import Settings

log = structlog.get_logger()

STOP_S = DRAIN_S + 4.0
STABLE_S = 20.0
LONGEST_PAUSE_S = 10.0


@dataclass
class Child:
    service: str
    instance: str = "1"
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0

    @property
    def name(self) -> str:
        return self.service if self.instance == "1" else f"{self.service}-{self.instance}"


class Supervisor:
    """Runs `services` ("executor" or "executor:2" for a second one) until SIGTERM or SIGINT."""

    def __init__(self, settings: Settings, services: Sequence[str], *, debug: bool = False) -> None:
        self.settings = settings
        self.debug = debug
        self.children = [Child(*(name.split(":", 1) if ":" in name else (name,))) for name in services]
        self.postgres = EmbeddedPostgres(settings.embedded_database) if settings.embedded_database else None
        self.is_whole = {child.service for child in self.children} >= set(SERVICES)
        self._stopping = False

    @property
    def state_file(self) -> Path:
        return self.settings.state_dir / "supervisor.json"

    def run(self) -> int:
        """Returns the exit status: 0 after a stop that was asked for."""
        configure_logging(self.debug)
        for warning in self.settings.warnings:
            log.warning("settings.unknown", detail=warning)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        self.settings.state_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._start_database()
            for child in self.children:
                main_of(child.service)  # imported here, shared by all that fork
            while not self._stopping:
                self._start_missing()
                self._wait(0.25)
        finally:
            self._stop()
        return 0

    def _start_database(self) -> None:
        if self.postgres is not None:
            self.postgres.directory.mkdir(parents=True, exist_ok=True)
            self.postgres.start()
        from trunkline.store import migrate

        migrate(self.settings.dburi)

    def _start_missing(self) -> None:
        changed = self._restart_database()
        now = time.monotonic()
        for child in self.children:
            if not child.pid and now >= child.not_before:
                self._fork(child)
                changed = True
        if changed:
            self._write_state()

    def _restart_database(self) -> bool:
        """Start the embedded database again if it has died. Services wait for it meanwhile."""
        if self.postgres is None or self.postgres.is_alive():
            return False
        log.error("postgres.died")
        try:
            self.postgres.start()
        except RuntimeError as problem:  # a full disk, say: it may be mended while everything else stands by
            log.error("postgres.not_started", detail=str(problem))
            return False
        return True

    def _fork(self, child: Child) -> None:
        arrange = die_with_parent(signal.SIGKILL)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                arrange()
                if self.is_whole:
                    os.environ[GROUP] = "whole"
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                with contextlib.suppress(OSError):
                    Path("/proc/self/comm").write_text(f"tl-{child.name}"[:15])
                status = run_service(
                    child.service,
                    self.settings,
                    main_of(child.service),
                    instance=child.instance,
                    debug=self.debug,
                )
            finally:
                os._exit(status)
        child.pid, child.started = pid, time.monotonic()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < deadline:
            if not self._reap():
                time.sleep(0.02)

    def _reap(self) -> bool:
        """Notice one child that has ended. The database's process is not ours to wait for here."""
        for child in self.children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._ended(child, os.waitstatus_to_exitcode(status))
                return True
        return False

    def _ended(self, child: Child, code: int) -> None:
        now = time.monotonic()
        child.failures = 0 if now - child.started > STABLE_S else child.failures + 1
        pause_s = 0.0 if child.failures <= 2 else min(0.25 * 2**child.failures, LONGEST_PAUSE_S)
        child.not_before = now + pause_s
        log.warning("service.ended", kind=child.name, pid=child.pid, code=code, again_in_s=pause_s)
        child.pid = 0
        if pause_s == 0.0 and not self._stopping:
            self._fork(child)
        self._write_state()

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "config": str(self.settings.path),
            "postgres": self.postgres.pid if self.postgres else None,
            "services": {child.name: child.pid for child in self.children},
        }
        fresh = self.state_file.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.rename(self.state_file)

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    def _stop(self) -> None:
        for child in self.children:
            if child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while any(child.pid for child in self.children):
            for child in self.children:
                if child.pid and os.waitpid(child.pid, os.WNOHANG)[0]:
                    child.pid = 0
            if time.monotonic() > deadline:
                for child in self.children:
                    if child.pid:
                        log.warning("service.killed", kind=child.name)
                        os.kill(child.pid, signal.SIGKILL)
                        os.waitpid(child.pid, 0)
                        child.pid = 0
            time.sleep(0.02)
        if self.postgres is not None:
            self.postgres.stop()
        self.state_file.unlink(missing_ok=True)


def all_services() -> list[str]:
    return list(SERVICES)
