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
from typing import Any

import structlog

from trunkline.services import surviving
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
    taken_over: bool = False  # started by a supervisor that was killed
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0

    @property
    def name(self) -> str:
        return self.service if self.instance == "1" else f"{self.service}-{self.instance}"

    @property
    def outlives(self) -> bool:
        return self.service in surviving.OUTLIVING

    def ended(self) -> int | None:
        """The exit code if it has ended (unknown of one that was taken over: then -1)."""
        if self.taken_over:
            return None if surviving.is_alive(self.pid) else -1
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None


class Supervisor:
    """Runs `services` ("executor" or "executor:2" for a second one) until SIGTERM or SIGINT."""

    def __init__(self, settings: Settings, services: Sequence[str], *, debug: bool = False) -> None:
        self.settings = settings
        self.debug = debug
        self.children = [Child(*(name.split(":", 1) if ":" in name else (name,))) for name in services]
        outlives = any(child.outlives for child in self.children)
        database = settings.embedded_database
        self.postgres = EmbeddedPostgres(database, outlives=outlives) if database else None
        self.guardian = 0
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
            self._take_over()
            self._start_database()
            self.guardian = surviving.guard(
                self.state_file, self.settings.number("scheduler", "takeover_timeout", surviving.WAIT_S)
            )
            for child in self.children:
                main_of(child.service)  # imported here, shared by all that fork
            while not self._stopping:
                self._start_missing()
                self._wait(0.25)
        finally:
            self._stop()
        return 0

    def _take_over(self) -> None:
        """Services that outlived the last supervisor go on under this one."""
        state = surviving.written(self.state_file)
        found = surviving.survivors(state)
        for child in self.children:
            if child.name in found:
                child.pid, child.taken_over, child.started = found[child.name], True, time.monotonic()
                log.info("service.taken_over", kind=child.name, pid=child.pid)
        if state is not None:  # told at once, so that the last one's guardian lets them live
            postgres, services = state.get("postgres"), {child.name: child.pid for child in self.children}
            self._write({"postgres": postgres, "services": services})

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
        arrange = None if child.outlives else die_with_parent(signal.SIGKILL)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                if arrange is not None:
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
        child.pid, child.taken_over, child.started = pid, False, time.monotonic()

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
            code = child.ended()
            if code is not None:
                self._ended(child, code)
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
        postgres = self.postgres.pid if self.postgres else None
        self._write({"postgres": postgres, "services": {child.name: child.pid for child in self.children}})

    def _write(self, facts: dict[str, Any]) -> None:
        state = {"pid": os.getpid(), "config": str(self.settings.path), **facts}
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
                if child.pid and child.ended() is not None:
                    child.pid = 0
            if time.monotonic() > deadline:
                for child in self.children:
                    if child.pid:
                        log.warning("service.killed", kind=child.name)
                        surviving.end(child.pid, signal.SIGKILL, STOP_S)
                        child.pid = 0
            time.sleep(0.02)
        if self.postgres is not None:
            self.postgres.stop()
        if self.guardian:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.guardian, signal.SIGKILL)
                os.waitpid(self.guardian, 0)
        self.state_file.unlink(missing_ok=True)


def all_services() -> list[str]:
    return list(SERVICES)
