"""How long a playbook of one debug task takes: `ansible-playbook`, and a fork of the warm runner in its sandbox."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.report import Report, median_of
from trunkline.executor import SandboxPaths, WarmRunner, jobdir
from trunkline.executor.jobdir import READABLE, WRITABLE, JobDir
from trunkline.executor.sandbox import python_roots
from trunkline.executor.settings_file import ansible_settings

PLAYBOOK = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - debug: {msg: hello}\n"


def run(quick: bool) -> Report:
    report = Report(
        "ansible_start",
        "One playbook with one debug task, cold (ansible-playbook) and warm (forked, sandboxed, network namespace of its own),"
        " interleaved; wall and CPU seconds, medians",
    )
    with tempfile.TemporaryDirectory(prefix="bench-ansible-") as root:
        cold, warm = asyncio.run(_measure(Path(root), 6 if quick else 20))
    for case, samples in (("cold", cold), ("warm", warm)):
        report.rows.append(
            {
                "case": case,
                "wall_s": median_of([wall for wall, _cpu in samples]),
                "cpu_s": median_of([cpu for _wall, cpu in samples]),
                "n": len(samples),
            }
        )
    report.rows.append(
        {"case": "cold / warm", **{key: report.rows[0][key] / report.rows[1][key] for key in ("wall_s", "cpu_s")}}
    )
    return report


async def _measure(root: Path, n: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    builds = root / "builds"
    builds.mkdir()
    where = jobdir.create(builds, "0" * 32)
    playbook = where.root / "trusted" / "playbook.yaml"
    playbook.write_text(PLAYBOOK)
    inventory, settings = where.ansible / "inventory.yaml", where.ansible / "ansible.cfg"
    inventory.write_text("all: {hosts: {}}\n")
    settings.write_text(ansible_settings(where, inventory, console=True))
    plain = root / "ansible.cfg"
    plain.write_text(ansible_settings(where, inventory, console=False))
    cold, warm = [], []
    async with WarmRunner(SandboxPaths(builds)) as runner:
        await _warm(runner, where, playbook, settings)
        for _ in range(n):
            cold.append(await asyncio.to_thread(_cold, playbook, plain, where))
            warm.append(await _warm(runner, where, playbook, settings))
    return cold, warm


def _cold(playbook: Path, settings: Path, where: JobDir) -> tuple[float, float]:
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [str(Path(sys.prefix) / "bin" / "ansible-playbook"), "-v", str(playbook)],
        env={**os.environ, "ANSIBLE_CONFIG": str(settings), "HOME": str(where.home), "LC_ALL": "C.UTF-8"},
        check=True,
        capture_output=True,
    )
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def _warm(runner: WarmRunner, where: JobDir, playbook: Path, settings: Path) -> tuple[float, float]:
    order: dict[str, Any] = {
        "kind": "playbook",
        "arguments": ["-v", str(playbook)],
        "directory": str(playbook.parent),
        "config": str(settings),
        "environment": {
            "HOME": str(where.home),
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(settings),
        },
        "limits": {"CORE": 0},
        "walls": {
            "job_dir": str(where.root.parent),
            "build": where.root.name,
            "writable": list(WRITABLE),
            "readable": list(READABLE),
            "kept": dict.fromkeys(python_roots(), False),
            "hidden": [],
            "tmp_mib": 64,
            "network": False,
            "ssh_config": "/etc/trunkline/ssh_config",
            "group_vars": None,
            "secrets": None,
        },
    }
    begin = time.perf_counter()
    playing = await runner.play(order, where.private / "output", where.private / "document")
    cpu, said = 0.0, []
    async for message in playing.messages():
        if message["type"] == "end":
            assert message["status"] == 0, said
            cpu = message["cpu_s"]
        said.append(message)
    await playing.gone()
    playing.close()
    assert any(message.get("texts") == ["hello"] for message in said), said
    return time.perf_counter() - begin, cpu
