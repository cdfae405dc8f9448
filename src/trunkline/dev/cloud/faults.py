"""Faults in force, and the question every part of the emulator asks: does one strike here?"""

import itertools
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any

KINDS = frozenset(
    [
        "region-down",
        "api-error",
        "api-slow",
        "rate-limit",
        "token-expired",
        "quota-full",
        "quota-lies",
        "no-valid-host",
        "boot-error",
        "boot-stuck",
        "never-ssh",
        "ssh-slow",
        "host-key-changed",
        "delete-stuck",
        "delete-error",
        "ghost",
        "stale-list",
        "create-500",
        "duplicate-name",
        "wrong-catalog",
        "image-missing",
        "image-upload-fails",
        "fip-leak",
        "metadata-limit",
        "lose-server",
        "server-shutoff",
    ]
)
_SCOPE = ("cloud", "region", "service", "method")
_PARAMETERS = frozenset(
    [
        "kind",
        "cloud",
        "region",
        "service",
        "method",
        "path",
        "server",
        "probability",
        "count",
        "duration_s",
        "mode",
        "servers",
        "status",
        "delay_s",
        "retry_after_s",
        "per_minute",
        "add",
        "message",
        "lag_s",
        "name",
        "items",
    ]
)


@dataclass
class Fault:
    id: str
    kind: str
    scope: dict[str, str]
    parameters: dict[str, Any]
    path: re.Pattern[str] | None
    server: re.Pattern[str] | None
    probability: float
    left: int | None
    until: float | None
    struck: int = 0
    window: list[float] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        seconds = None if self.until is None else max(0.0, round(self.until - time.monotonic(), 3))
        return {
            "id": self.id,
            "kind": self.kind,
            **self.scope,
            **self.parameters,
            "struck": self.struck,
            "count_left": self.left,
            "ends_in_s": seconds,
        }


class Faults:
    """All faults of the process. Reads of the clock and one seeded source of chance; nothing else."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._ids = itertools.count(1)
        self._faults: dict[str, Fault] = {}

    def add(self, wish: dict[str, Any]) -> Fault:
        """Put a fault in force. Raises ValueError with what is wrong with the wish."""
        if wish.get("kind") not in KINDS:
            raise ValueError(f"unknown kind {wish.get('kind')!r}; there are {', '.join(sorted(KINDS))}")
        if unknown := sorted(set(wish) - _PARAMETERS):
            raise ValueError(f"unknown fields: {', '.join(unknown)}")
        try:
            path = re.compile(wish["path"]) if wish.get("path") else None
            server = re.compile(wish["server"]) if wish.get("server") else None
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        duration = wish.get("duration_s")
        known = {*_SCOPE, "kind", "path", "server", "probability", "count", "duration_s"}
        fault = Fault(
            id=f"f{next(self._ids)}",
            kind=wish["kind"],
            scope={key: str(wish[key]) for key in _SCOPE if wish.get(key)},
            parameters={key: value for key, value in wish.items() if key not in known},
            path=path,
            server=server,
            probability=float(wish.get("probability", 1)),
            left=wish.get("count"),
            until=None if duration is None else time.monotonic() + float(duration),
        )
        self._faults[fault.id] = fault
        return fault

    def remove(self, ident: str) -> bool:
        return self._faults.pop(ident, None) is not None

    def clear(self) -> None:
        self._faults.clear()

    def in_force(self) -> list[Fault]:
        now = time.monotonic()
        for fault in list(self._faults.values()):
            if fault.until is not None and fault.until <= now:
                del self._faults[fault.id]
        return list(self._faults.values())

    def strikes(self, kind: str, *, path: str = "", server: tuple[str, ...] = (), **scope: str) -> Fault | None:
        """The fault of this kind that strikes now, if one does: it is counted. `server` is (id, name)."""
        for fault in self.in_force():
            if fault.kind != kind or not _in_scope(fault, scope, path, server):
                continue
            if fault.left is not None and fault.left <= 0:
                continue
            if fault.probability < 1 and self._chance.random() >= fault.probability:
                continue
            if fault.left is not None:
                fault.left -= 1
            fault.struck += 1
            return fault
        return None


def _in_scope(fault: Fault, scope: dict[str, str], path: str, server: tuple[str, ...]) -> bool:
    for key, value in fault.scope.items():
        if scope.get(key, "").lower() != value.lower():
            return False
    if fault.path is not None and not fault.path.search(path):
        return False
    return fault.server is None or any(fault.server.search(name) for name in server)
