"""The warm process that emulated servers are forked from.

Run by the emulator as `python -m trunkline.dev.cloud.node.zygote FD DIR` inside bubblewrap; FD is its end of the wire,
DIR is memory of its own. A server is three processes that share nearly all memory: a monitor in the zygote's pid
namespace, the server's pid 1, which only reaps, and its SSH server. Killing the monitor kills the namespace.
"""

import asyncio
import gc
import os
import random
import select
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from trunkline.dev.cloud.node import cloudinit, kernel, root, sshd, wire

_WARM_UP_LIMIT_S = 30


def main(argv: list[str]) -> int:
    end = socket.socket(fileno=int(argv[0]))
    kernel.die_with_parent()
    os.chdir(argv[1])
    root.make_skeleton()
    asyncio.run(asyncio.wait_for(sshd.warm_up(), _WARM_UP_LIMIT_S))
    gc.collect()
    gc.freeze()
    wire.send(end, {"event": "warm"})
    _serve(end)
    return 0


def _serve(end: socket.socket) -> None:
    """Boot and kill until the emulator hangs up; our end takes every server with it."""
    monitors: dict[str, int] = {}
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([end.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(monitors)
        if end.fileno() not in ready:
            continue
        message, fds = wire.receive(end)
        if message is None:
            return
        if message["op"] == "boot":
            monitors[message["uuid"]] = _fork_server(message, fds[0], [end.fileno(), woken, wake])
            os.close(fds[0])
        elif message["op"] == "kill" and message["uuid"] in monitors:
            os.kill(monitors[message["uuid"]], signal.SIGKILL)


def _reap(monitors: dict[str, int]) -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for uuid, monitor in list(monitors.items()):
            if monitor == pid:
                del monitors[uuid]


def _fork_server(boot: dict[str, Any], fd: int, inherited: list[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for other in inherited:
            os.close(other)
        _monitor(boot, fd)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _monitor(boot: dict[str, Any], fd: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kernel.die_with_parent()
    zygote = os.getppid()
    kernel.unshare(kernel.NEW_NAMESPACES)
    first = os.fork()
    if first == 0:
        code = 1
        try:
            kernel.die_with_parent()
            _init(boot, fd, zygote)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(fd)
    os.waitpid(first, 0)


def _fork_with_fresh_randomness(zygote: int) -> int:
    """Fork, and see to it that the child's pid is not the zygote's.

    OpenSSL seeds its generator anew after a fork when it sees another pid. In a fresh pid namespace the child may have the
    very pid that the zygote has in its own, and every server would make the same host keys.
    """
    while True:
        pid = os.fork()
        if pid == 0 and os.getpid() == zygote:
            os._exit(0)
        if pid == 0 or pid != zygote:
            return pid
        os.waitpid(pid, 0)


def _init(boot: dict[str, Any], fd: int, zygote: int) -> None:
    """Pid 1: make the root, start the SSH server, reap until it ends."""
    os.setsid()
    root.enter(boot.get("binds", []), int(boot.get("disk_mib", 4096)))
    hostname = cloudinit.hostname_of(boot)
    kernel.set_hostname(hostname)
    Path("/etc/hostname").write_text(f"{hostname}\n")
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"{boot['address']} {hostname}\n" if boot.get("address") else f"127.0.1.1 {hostname}\n")
    kernel.drop_capabilities()
    os.umask(0o022)
    server = _fork_with_fresh_randomness(zygote)
    if server == 0:
        code = 1
        try:
            random.seed()
            tempfile.tempdir = None
            os.environ.pop("TMPDIR", None)
            null = os.open("/dev/null", os.O_RDWR)
            for standard in (0, 1):
                os.dup2(null, standard)
            sshd.run(boot, socket.socket(fileno=fd))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(fd)
    while True:
        pid, _ = os.wait()
        if pid == server:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
