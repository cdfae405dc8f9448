"""Emulated clouds for tests: one process with four unlike regions, and its control API."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REGIONS = """
seed: 7
factor: 0.01
regions:
- {cloud: citycloud-like, region: Lon1, profile: citycloud-like, quota: {instances: 20}}
- {cloud: ovh-like, region: GRA1, profile: ovh-like, quota: {instances: 20}}
- {cloud: otc-like, region: eu-de, profile: otc-like, quota: {instances: 20}}
- {cloud: rax-like, region: DFW, profile: rax-like, quota: {instances: 20}}
"""
START_S = 60.0


class Emulator:
    def __init__(self, directory: Path, ready: dict[str, Any]) -> None:
        self.directory = directory
        self.clouds_yaml = str(ready["clouds_yaml"])
        self.control = str(ready["control"])
        self.regions = [(r["cloud"], r["region"]) for r in ready["regions"]]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.control}{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    @contextmanager
    def fault(self, kind: str, **scope: Any) -> Iterator[None]:
        """In force inside the block."""
        made = self.call("POST", "/faults", {"kind": kind, **scope})
        try:
            yield
        finally:
            self.call("DELETE", f"/faults/{made['id']}")

    def alive(self, kind: str = "server", **scope: str) -> list[dict[str, Any]]:
        query = "&".join([f"kind={kind}", "alive=true", *(f"{k}={v}" for k, v in scope.items())])
        return list(self.call("GET", f"/objects?{query}"))

    def servers_of(self, owner: str) -> list[dict[str, Any]]:
        return [s for s in self.alive() if (s.get("metadata") or {}).get("trunkline_owner") == owner]


@contextmanager
def emulated_clouds(directory: Path, regions: str = REGIONS) -> Iterator[Emulator]:
    file = directory / "regions.yaml"
    file.write_text(regions)
    state = directory / "state"
    command = [sys.executable, "-m", "trunkline.dev.cloud", "--state-dir", str(state), "--regions", str(file)]
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_S
        while not (state / "ready").exists():
            assert process.poll() is None, (directory / "output").read_text()
            assert time.monotonic() < deadline, "the emulated clouds did not start"
            time.sleep(0.05)
        yield Emulator(directory, json.loads((state / "ready").read_text()))
    finally:
        process.terminate()
        process.wait(20)
