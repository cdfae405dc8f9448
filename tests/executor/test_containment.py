"""What a playbook must not be able to do, each tried for real: issue texts name the ways."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.executor.node import Node
from tests.executor.scene import Executor, Scene, processes_with

LOCAL = "- hosts: localhost\n  gather_facts: false\n  tasks:\n"


def shell(script: str, *options: str) -> str:
    indented = "".join(f"        {line}\n" for line in script.strip().split("\n"))
    return f"{LOCAL}    - shell: |\n{indented}" + "".join(f"      {option}\n" for option in options)


def run(executor: Executor, scene: Scene, script: str, trusted: bool = False, **job: object) -> str:
    """Run one shell task; answers the console."""
    request = scene.request(run=(scene.playbook("tries", shell(script), trusted=trusted),), **job)
    outcome = executor.go(scene.run(request))
    assert outcome.result == "SUCCESS", scene.console
    return scene.console


def test_printing_100_megabytes_is_only_long(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    text = run(executor, s, "yes $(printf %09999d 0) | head -c 100000000")
    assert text.count("localhost | 000000") == 10_000
    assert (s.build / "work/logs/job-output.json").stat().st_size < 20 << 20


def test_a_playbook_that_never_ends_leaves_no_process(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    script = "setsid sleep 31415 & nohup sleep 31415 & sleep 31415"
    request = s.request(run=(s.playbook("hangs", shell(script), trusted=False),), timeout=2)
    outcome = executor.go(s.run(request))
    assert outcome.result == "TIMED_OUT"
    assert processes_with("31415") == []


def test_killing_its_parents_harms_only_itself(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    killer = s.playbook("kills", shell("kill -9 $PPID 1 -1; true"), trusted=False)
    other = executor.scene(tmp_path / "other")
    sleeps = other.playbook("sleeps", shell("sleep 3; echo done sleeping"), trusted=False)

    async def work() -> None:
        mine, theirs = await asyncio.gather(s.run(s.request(run=(killer,))), other.run(other.request(run=(sleeps,))))
        assert mine.result in ("FAILURE", "ABORTED"), s.console
        assert theirs.result == "SUCCESS"

    starts = executor.runner.starts
    executor.go(work())
    assert executor.runner.starts == starts


@pytest.mark.parametrize("trusted", [True, False])
def test_keys_and_files_of_the_executor_are_not_there(executor: Executor, tmp_path: Path, trusted: bool) -> None:
    key = tmp_path / "executor.key"
    s = executor.scene(tmp_path)
    key.write_text("PRIVATE")
    script = f"""
    cat {key} ~root/.ssh/id_rsa /root/.ssh/* /etc/shadow /etc/zuul/zuul.conf 2>&1
    ls {Path.cwd()} /home /proc/1/cwd/ 2>&1
    grep -l PRIVATE /proc/*/environ /proc/*/cmdline 2>/dev/null
    find / -xdev -name executor.key 2>/dev/null
    echo "found: $(env | grep -c -e TRUNKLINE -e PASSWORD)"
    """
    os.environ["TRUNKLINE_TEST_PASSWORD"] = "x"
    try:
        text = run(executor, s, script, trusted)
    finally:
        del os.environ["TRUNKLINE_TEST_PASSWORD"]
    assert "| PRIVATE" not in text
    assert "localhost | found: 0" in text
    assert "pyproject.toml" not in text


def test_another_build_is_not_there(executor: Executor, tmp_path: Path) -> None:
    s, other = executor.scene(tmp_path), executor.scene(tmp_path / "other")
    executor.go(other.run(other.request(run=(other.playbook("ok", shell("echo secret > ~/mine")),))))
    assert (other.build / "home/mine").exists()
    text = run(executor, s, f"ls {s.site.job_dir}; cat {other.build}/home/mine 2>&1; ls /proc | grep -c '^[0-9]'")
    assert other.uuid not in text.replace(f"{other.build}/home/mine", "")
    assert f"localhost | {s.uuid}" in text
    assert "localhost | secret" not in text


def test_an_untrusted_playbook_has_no_network(executor: Executor, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    try:
        probe = f"""
        for place in 127.0.0.1/{port} 169.254.169.254/80 10.0.0.1/22; do
          timeout 3 bash -c "exec 3<>/dev/tcp/$place" && echo "reached $place"
        done
        grep -c : /proc/net/dev
        true
        """
        refused = executor.scene(tmp_path)
        text = run(executor, refused, probe)
        assert "| reached" not in text
        assert "localhost | 1" in text.split("\n"), "lo alone"
        allowed = executor.scene(tmp_path / "trusted")
        assert f"localhost | reached 127.0.0.1/{port}" in run(executor, allowed, probe, trusted=True)
    finally:
        listener.close()


def test_the_broker_leads_to_the_nodes_only(executor: Executor, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    async def work() -> None:
        async with Node(tmp_path) as node:
            s = executor.scene(tmp_path, private_key_file=node.key_file)
            script = f"""
            ssh -o BatchMode=yes -p {node.port} {node.info().username}@{node.address} echo through 2>&1
            ssh -o BatchMode=yes -o StrictHostKeyChecking=no -p {port} root@127.0.0.1 true 2>&1
            ssh -o BatchMode=yes -W 127.0.0.1:{port} -p 22 {node.info().username}@{node.address} 2>&1
            ssh-add -l
            true
            """
            request = s.request(run=(s.playbook("tries", shell(script), trusted=False),), nodes=(node.info(),))
            outcome = await s.run(request)
            assert outcome.result == "SUCCESS", s.console
            assert "localhost | through" in s.console
            assert f"no way to 127.0.0.1 port {port} from here: it is no node of this build" in s.console
            assert f"no way to {node.address} port 22 from here" in s.console
            assert "(ED25519)" in s.console

    try:
        executor.go(work())
    finally:
        listener.close()


def test_the_system_is_read_only_and_privileges_are_gone(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    script = f"""
    for place in /etc/x /usr/x /proc/sys/kernel/core_pattern {s.site.job_dir}/x; do
      (echo x > $place) 2>/dev/null && echo "wrote $place"
    done
    (echo x > ansible-playbook-dir) 2>/dev/null && echo "wrote beside the playbook"
    unshare -U true 2>/dev/null && echo "made a namespace"
    mount -t tmpfs none /mnt 2>/dev/null && echo "mounted"
    mknod /tmp/disk b 8 0 2>/dev/null && echo "made a device"
    chroot / true 2>/dev/null && echo "changed root"
    date -s '2001-01-01' >/dev/null 2>&1 && echo "set the clock"
    grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status
    true
    """
    text = run(executor, s, script, trusted=True)
    told = [line for line in text.split("\n") if "| wrote" in line or "made" in line or "mounted" in line]
    assert told in ([], [f"localhost | wrote {s.site.job_dir}/x"]), told
    assert not (s.site.job_dir / "x").exists(), "what is written outside of the build vanishes"
    assert "changed root" not in text
    assert "set the clock" not in text
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert f"localhost | {line}" in text


def test_a_full_disk_limit_ends_the_build(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path, disk_limit_mib=20)
    fills = s.playbook("fills", shell("for i in 1 2 3 4; do head -c 15000000 /dev/zero > ~/$i; done; sleep 60"))
    says = s.playbook("says", shell("echo cleaned"), cleanup=True)
    begin = time.monotonic()
    outcome = executor.go(s.run(s.request(run=(fills,), post=(fills, says))))
    assert outcome.result == "DISK_FULL", s.console
    assert time.monotonic() - begin < 20
    assert "RUN END RESULT_ABORTED" in s.console
    assert "localhost | cleaned" in s.console


def test_one_huge_file_stops_at_the_limit(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path, disk_limit_mib=20)
    outcome = executor.go(s.run(s.request(run=(s.playbook("fills", shell("head -c 900000000 /dev/zero > ~/big")),))))
    assert outcome.result in ("FAILURE", "DISK_FULL")
    assert (s.build / "home/big").stat().st_size <= 21 << 20


def test_a_fork_bomb_is_bounded_and_ends(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    bomb = s.playbook(
        "bomb", shell("i=0; while [ $i -lt 300 ]; do sleep 27182 & i=$((i+1)); done; wait"), trusted=False
    )
    outcome = executor.go(s.run(s.request(run=(bomb,), timeout=3)))
    assert outcome.result == "TIMED_OUT"
    assert processes_with("27182") == []


def test_links_out_of_the_workspace_lead_nowhere(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "config").write_text("keep")
    script = f"""
    mv {{{{ zuul.executor.log_root }}}} ~/old-logs && ln -s {victim} {{{{ zuul.executor.log_root }}}}
    rm -rf ~/.ssh && ln -s {victim} ~/.ssh
    """
    after = s.playbook("after", shell("echo after"))
    request = s.request(run=(s.playbook("links", shell(script), trusted=False), after))
    outcome = executor.go(s.run(request))
    assert outcome.result == "SUCCESS", s.console
    assert "localhost | after" in s.console
    assert [path.name for path in victim.iterdir()] == ["config"]


def test_results_that_are_a_link_are_an_error(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    script = "ln -sf /etc/passwd {{ zuul.executor.result_data_file }}"
    outcome = executor.go(s.run(s.request(run=(s.playbook("links", shell(script), trusted=False),))))
    assert outcome.result == "ERROR"
    assert outcome.error_detail == f"Symlink detected {s.build.resolve()}/work/results.json -> /etc/passwd"


def test_a_dead_warm_process_is_replaced(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    starts = executor.runner.starts
    process = executor.runner._process
    assert process is not None

    async def work() -> None:
        process.kill()
        await process.wait()
        outcome = await s.run(s.request(run=(s.playbook("ok", shell("echo again")),)))
        assert outcome.result == "SUCCESS"

    executor.go(work())
    assert executor.runner.starts == starts + 1
    assert threading.active_count() < 50


LOST = """
import asyncio, sys
from collections.abc import Callable
from pathlib import Path
from tests.executor.scene import scene
from tests.executor.test_containment import shell

async def main() -> None:
    async with scene(Path(sys.argv[1])) as s:
        await s.run(s.request(run=(s.playbook("hangs", shell("echo at work; sleep 16180")),)))

asyncio.run(main())
"""


def test_all_processes_die_with_a_killed_executor(tmp_path: Path) -> None:
    lost = subprocess.Popen([sys.executable, "-c", LOST, str(tmp_path / "lost")], cwd=Path(__file__).parents[2])
    try:
        wait_until(lambda: processes_with("sleep 16180".replace(" ", "\0")) != [] or lost.poll() is not None)
        assert lost.poll() is None
    finally:
        lost.kill()
        lost.wait()
    wait_until(lambda: processes_with(str(tmp_path / "lost")) == [])
    wait_until(lambda: processes_with("sleep 16180".replace(" ", "\0")) == [])


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)
