"""Builds on servers over real SSH: trusted directly, untrusted through the broker."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.executor.node import Node
from tests.executor.scene import Executor
from trunkline.executor import BuildOutcome

CONSOLE = "- hosts: all\n  tasks:\n    - zuul_console:\n"
STREAMS = """
- hosts: all
  tasks:
    - name: Ticks
      shell: echo on {{ inventory_hostname }} {{ ansible_facts.system }}; for i in 1 2 3; do echo tick $i; sleep 0.3; done; printf last
    - name: Reached through
      shell: echo $SSH_CONNECTION | cut -d' ' -f3; pwd
"""


@pytest.mark.parametrize("trusted", [True, False])
def test_a_node_is_reached_and_its_output_streams(executor: Executor, tmp_path: Path, trusted: bool) -> None:
    async def work() -> BuildOutcome:
        async with Node(tmp_path) as node:
            s = executor.scene(tmp_path, private_key_file=node.key_file)
            request = s.request(
                pre=(s.playbook("console", CONSOLE),),
                run=(s.playbook("streams", STREAMS, trusted=trusted),),
                nodes=(node.info(),),
                groups={"all-of-them": ("controller",)},
            )
            running = asyncio.create_task(s.run(request))
            await s.until_console("controller | tick 1")
            assert "tick 3" not in s.console, "lines come while the command runs"
            outcome = await running
            lines = s.console.split("\n")
            first = lines.index("controller | on controller Linux")
            assert lines[first : first + 6] == [
                "controller | on controller Linux",
                "controller | tick 1",
                "controller | tick 2",
                "controller | tick 3",
                "controller | last",
                lines[first + 5],
            ]
            assert lines[first + 5].startswith("controller | ok: Runtime: 0:00:0")
            assert f"controller | {node.address}" in lines
            return outcome

    assert executor.go(work()).result == "SUCCESS"


def test_without_a_console_output_is_shown_at_the_end(executor: Executor, tmp_path: Path) -> None:
    async def work() -> None:
        async with Node(tmp_path) as node:
            s = executor.scene(tmp_path, private_key_file=node.key_file)
            request = s.request(run=(s.playbook("streams", STREAMS, trusted=False),), nodes=(node.info(),))
            outcome = await s.run(request)
            assert outcome.result == "SUCCESS", s.console
            assert s.console.count("[controller] Waiting on logger") == 1
            assert "controller | tick 3\ncontroller | last\ncontroller | ok: Runtime" in s.console

    executor.go(work())


def test_two_nodes_and_two_names_for_one(executor: Executor, tmp_path: Path) -> None:
    async def work() -> None:
        async with Node(tmp_path, "one") as one, Node(tmp_path, "two") as two:
            two.allowed.write_text(two.allowed.read_text() + one.allowed.read_text())
            s = executor.scene(tmp_path, private_key_file=one.key_file)
            request = s.request(
                run=(s.playbook("streams", STREAMS, trusted=False),),
                nodes=(one.info(), two.info("two", "alias")),
                group_vars={"pair": {"zuul_console_disabled": True}},
                groups={"pair": ("one", "two", "alias")},
            )
            outcome = await s.run(request)
            assert outcome.result == "SUCCESS", s.console
            for name in ("one", "two", "alias"):
                assert f"{name} | on {name} Linux" in s.console

    executor.go(work())


def test_a_node_that_does_not_answer_setup_asks_for_another_attempt(executor: Executor, tmp_path: Path) -> None:
    async def work() -> None:
        async with Node(tmp_path) as node:
            s = executor.scene(tmp_path, private_key_file=node.key_file)
            request = s.request(run=(s.playbook("streams", STREAMS),), nodes=(node.info(),))
            node.stop()
            outcome = await s.run(request)
            assert (outcome.result, outcome.retry_reason) == (None, "setup failed")
            assert "UNREACHABLE!" in s.console

    executor.go(work())


def test_a_node_that_dies_midway_asks_for_another_attempt(executor: Executor, tmp_path: Path) -> None:
    says = """
- hosts: localhost
  gather_facts: false
  tasks:
    - debug: {msg: "gone={{ groups.zuul_unreachable }} success={{ zuul_success }} will_retry={{ zuul_will_retry }}"}
"""

    async def work() -> None:
        async with Node(tmp_path) as node:
            s = executor.scene(tmp_path, private_key_file=node.key_file)
            dies = "- hosts: all\n  tasks:\n    - command: sleep 100\n    - command: echo never\n"
            request = s.request(
                run=(s.playbook("dies", dies, trusted=False),),
                post=(s.playbook("says", says),),
                nodes=(node.info(),),
                vars={"ansible_ssh_retries": 0},
            )
            running = asyncio.create_task(s.run(request))
            await s.until_console("TASK [command: sleep 100]")
            await node.until_running("sleep")
            node.stop()
            outcome = await running
            assert (outcome.result, outcome.error_detail) == (None, "Host unreachable"), s.console
            assert "gone=['controller'] success=False will_retry=True" in s.console

    begin = time.monotonic()
    executor.go(work())
    assert time.monotonic() - begin < 60
