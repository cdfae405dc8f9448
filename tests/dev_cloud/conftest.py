"""Emulators for the tests: real processes, found by what their `ready` file says."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
import yaml

START_LIMIT_S = 60


class Emulator:
    """One running emulator: its clouds, its control API."""

    def __init__(self, process: "subprocess.Popen[bytes]", state_dir: Path) -> None:
        self.process = process
        self.state_dir = state_dir
        self.ready: dict[str, Any] = json.loads((state_dir / "ready").read_text())
        self.clouds_yaml = state_dir / "clouds.yaml"

    def connect(self, cloud: str, region: str, **more: Any) -> openstack.connection.Connection:
        config = openstack.config.OpenStackConfig(config_files=[str(self.clouds_yaml)], load_envvars=False)
        return openstack.connection.Connection(config=config.get_one(cloud=cloud, region_name=region, **more))

    def control(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.ready["control"] + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def fault(self, kind: str, **scope: Any) -> str:
        return str(self.control("POST", "/faults", {"kind": kind, **scope})["id"])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)


def start(state_dir: Path, regions: dict[str, Any] | None) -> Emulator:
    argv = [sys.executable, "-m", "trunkline.dev.cloud", "--state-dir", str(state_dir)]
    state_dir.mkdir(parents=True, exist_ok=True)
    if regions is not None:
        (state_dir / "regions.yaml").write_text(yaml.safe_dump(regions))
        argv += ["--regions", str(state_dir / "regions.yaml")]
    with (state_dir / "output").open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        )
    deadline = time.monotonic() + START_LIMIT_S
    while not (state_dir / "ready").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError((state_dir / "output").read_text() + (state_dir / "emulator.log").read_text())
        time.sleep(0.02)
    return Emulator(process, state_dir)


def eventually(condition: Callable[[], Any], limit_s: float = 20) -> Any:
    """What the condition gives as soon as it gives something; fails when it does not within the limit."""
    deadline = time.monotonic() + limit_s
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not within {limit_s} s: {condition}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Two plain regions of one cloud, without hosts and without waiting."""
    regions = [{"cloud": "plain", "region": name, "hypervisor": "paper"} for name in ("RegionOne", "RegionTwo")]
    emulator = start(tmp_path_factory.mktemp("paper"), {"factor": 0, "regions": regions})
    yield emulator
    emulator.stop()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The demo's four vendors with real hosts, without waiting."""
    emulator = start(tmp_path_factory.mktemp("hosts"), {"factor": 0, "regions": demo_regions()})
    yield emulator
    emulator.stop()


def demo_regions() -> list[dict[str, Any]]:
    import trunkline.dev.cloud

    document = yaml.safe_load(Path(trunkline.dev.cloud.__file__).with_name("regions.yaml").read_text())
    regions: list[dict[str, Any]] = document["regions"]
    return regions


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path
