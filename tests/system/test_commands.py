"""`trunkline status`, `explain` and `logs`, asked of a running installation."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.system.world import Installation

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("world"), pytest.mark.timeout(900)]


def trunkline(world: Installation, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trunkline.cli.main", words[0], "--config", str(world.config), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_commands_tell_of_a_change_on_its_way(world: Installation) -> None:
    world.desk.hold()
    number = world.push("demo/app")
    world.wait_held(number)
    (visit,) = world.desk.waiting(number)

    told = trunkline(world, "status").stdout
    assert "check: 1 item\n" in told
    assert f"demo/app {number},1" in told
    assert visit.build in told
    assert "post: no items" in told
    assert "check:" not in trunkline(world, "status", "gate").stdout

    told = trunkline(world, "explain", str(number)).stdout
    assert told.startswith("check: ")
    assert "unit" in told
    assert "tested on trunk" in told

    so_far = trunkline(world, "logs", visit.build[:8]).stdout
    assert "Ask the desk" in so_far

    words = ["logs", "--config", str(world.config), "-f", visit.build]
    with subprocess.Popen(
        [sys.executable, "-m", "trunkline.cli.main", *words], stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        lines = []
        for line in following.stdout:
            lines.append(line)
            if "Ask the desk" in line:
                world.desk.release_all()
        assert following.wait(60) == 0
    whole = "".join(lines)
    world.wait_vote(number, 1)
    stored = trunkline(world, "logs", visit.build)
    assert whole == stored.stdout
    assert "Say who this is" in whole
    told = trunkline(world, "explain", f"{number},1").stdout
    assert told.startswith(f"{number},1 is in no pipeline now.")
    world.wait_drained()


def test_the_commands_say_what_is_wrong_with_a_question(world: Installation) -> None:
    asked = trunkline(world, "logs", "0" * 32)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "not begun" in asked.stderr or "no" in asked.stderr
    asked = trunkline(world, "explain", "99999")
    assert asked.returncode == 1
    assert "never been in a pipeline" in asked.stdout
    asked = trunkline(world, "status", "--url", "http://127.0.0.1:9/")
    assert asked.returncode == 1
    assert "does not answer" in asked.stderr
