"""A supervisor that is killed: executors and the database go on, the next one takes them over, or they are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trunkline.services import surviving
from trunkline.services.settings import Settings

DEADLINE_S = 60.0


def wait_for(what: str, look: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Installation:
    def __init__(self, folder: Path, takeover_timeout_s: float) -> None:
        self.folder = folder
        self.state_file = folder / "state" / "supervisor.json"
        (folder / "main.yaml").write_text("[]\n")
        (folder / "key").write_text("")
        self.config = folder / "zuul.conf"
        self.config.write_text(
            f"""\
[scheduler]
tenant_config={folder}/main.yaml
state_dir={folder}/state
takeover_timeout={takeover_timeout_s}

[keystore]
password=of-a-test

[web]
root=http://127.0.0.1/

[executor]
private_key_file={folder}/key
job_dir={folder}/builds
finger_port=0
"""
        )

    def serve(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "trunkline.cli.main", "serve", "--config", str(self.config)]
            return subprocess.Popen([*command, "merger", "executor"], stdout=log, stderr=log, start_new_session=True)

    def state(self) -> dict[str, object]:
        return json.loads(self.state_file.read_text()) if self.state_file.exists() else {}

    def of(self, process: subprocess.Popen[bytes]) -> dict[str, int]:
        """The pids once the supervisor has started everything."""

        def is_there() -> bool:
            services = self.state().get("services") or {}
            return self.state().get("pid") == process.pid and all(services.get(n) for n in ("merger", "executor"))  # type: ignore[attr-defined]

        wait_for("everything is started", is_there)
        found = dict(self.state()["services"])  # type: ignore[call-overload]
        return {**found, "postgres": self.state()["postgres"]}


@contextmanager
def installation(folder: Path, takeover_timeout_s: float = 60.0) -> Iterator[Installation]:
    made = Installation(folder, takeover_timeout_s)
    try:
        yield made
    finally:
        state = made.state()
        if state.get("pid"):
            surviving.end(int(state["pid"]), signal.SIGTERM, 20.0)  # type: ignore[call-overload]
        for pid in [*surviving.survivors(state).values(), state.get("postgres")]:
            if pid:
                surviving.end(int(pid), signal.SIGKILL, 5.0)  # type: ignore[call-overload]


@pytest.mark.world
def test_an_executor_outlives_its_supervisor_and_the_next_one_takes_it_over(tmp_path):
    with installation(tmp_path) as site:
        first = site.serve()
        before = site.of(first)
        first.kill()
        first.wait()
        wait_for("the merger goes with it", lambda: not surviving.is_alive(before["merger"]))
        assert surviving.is_alive(before["executor"])
        assert surviving.is_alive(before["postgres"])
        second = site.serve()
        after = site.of(second)
        assert (after["executor"], after["postgres"]) == (before["executor"], before["postgres"])
        assert after["merger"] != before["merger"]
        os.kill(after["executor"], signal.SIGKILL)
        wait_for(
            "a new executor is started", lambda: site.state()["services"]["executor"] not in (0, after["executor"])
        )  # type: ignore[index]
        second.terminate()
        assert second.wait(30) == 0
        for name in ("merger", "postgres"):
            assert not surviving.is_alive(after[name])


@pytest.mark.world
def test_what_nobody_takes_over_is_stopped(tmp_path):
    with installation(tmp_path, takeover_timeout_s=0.5) as site:
        first = site.serve()
        before = site.of(first)
        first.kill()
        first.wait()
        wait_for("the executor is stopped", lambda: not surviving.is_alive(before["executor"]))
        wait_for("the database is stopped", lambda: not surviving.is_alive(before["postgres"]))


def test_the_settings_name_the_database_that_outlives(tmp_path):
    with installation(tmp_path) as site:
        assert Settings.read(site.config).embedded_database == tmp_path / "state" / "postgres"
