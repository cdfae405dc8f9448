"""What outlives a supervisor that is killed: executors with their builds, and the embedded database under them.

A guardian process waits for the supervisor's death. If no other supervisor takes the survivors over in time, it stops
them, so that nothing is left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger()

OUTLIVING = frozenset({"executor"})
WAIT_S = 60.0
LOOK_S = 5.0
STOP_S = 15.0
_PR_SET_PDEATHSIG = 1


def is_alive(pid: int, name: str = "") -> bool:
    """Whether the process is there, is no zombie, and (if given) still has that name."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    comm, _, rest = status.partition("(")[2].rpartition(")")
    return rest.split()[0] not in "ZX" and comm.startswith(name)


def end(pid: int, number: int, within_s: float) -> None:
    """Send a signal and wait; SIGKILL to what does not go."""
    deadline = time.monotonic() + within_s
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        while is_alive(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.02)


def written(state_file: Path) -> dict[str, Any] | None:
    """What a supervisor last wrote, if anything that makes sense."""
    try:
        found = json.loads(state_file.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def survivors(state: Mapping[str, Any] | None) -> dict[str, int]:
    """Pids by name of the services that outlived the supervisor which wrote this."""
    services = (state or {}).get("services") or {}
    return {
        name: pid
        for name, pid in services.items()
        if name.partition("-")[0] in OUTLIVING and pid and is_alive(pid, f"tl-{name}"[:15])
    }


def guard(state_file: Path, wait_s: float = WAIT_S) -> int:
    """Fork the guardian of this process; it waits `wait_s` for the next supervisor. Returns its pid."""
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ^C is for the supervisor, which ends us
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text("tl-guardian")
        last: dict[str, Any] | None = None
        while os.getppid() == supervisor:
            signal.sigtimedwait({signal.SIGUSR1}, LOOK_S)
            last = written(state_file) or last  # it may be gone when it is needed
        _take_care(state_file, supervisor, last, wait_s)
    finally:
        os._exit(0)


def _take_care(state_file: Path, dead: int, last: dict[str, Any] | None, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        found = written(state_file)
        if found is not None and found.get("pid") != dead:
            return  # somebody has taken over
        if found is None or not survivors(found):
            break
        last = found
        time.sleep(0.25)
    for pid in survivors(last).values():
        end(pid, signal.SIGTERM, STOP_S)
    database = (last or {}).get("postgres")
    if database and is_alive(database):
        end(database, signal.SIGINT, STOP_S)
