"""A server to run playbooks on: a real SSH server on its own loopback address, commands run as ordinary processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import random
import signal
from pathlib import Path

import asyncssh

from trunkline.executor import NodeInfo

USER = pwd.getpwuid(os.getuid())


class _Server(asyncssh.SSHServer):
    def __init__(self, known: set[asyncssh.SSHServerConnection]) -> None:
        self._known = known

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._known.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._known.discard(self._connection)


class Node:
    """Listens on 127.64.x.y, any port, and accepts one key. Use as an async context manager."""

    def __init__(self, root: Path, name: str = "controller") -> None:
        self.name = name
        self.home = root / name
        self.home.mkdir(parents=True)
        self.address = f"127.64.{random.randint(1, 254)}.{random.randint(1, 254)}"
        self.key_file = root / f"{name}.key"
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(self.key_file))
        self.key_file.chmod(0o600)
        self.allowed = root / f"{name}.pub"
        key.write_public_key(str(self.allowed))
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self.connections = 0
        self._groups: set[int] = set()
        self._open: set[asyncssh.SSHServerConnection] = set()

    async def __aenter__(self) -> Node:
        self._server = await asyncssh.listen(
            self.address,
            0,
            server_host_keys=[self.host_key],
            authorized_client_keys=str(self.allowed),
            server_factory=lambda: _Server(self._open),
            process_factory=self._process,
            encoding=None,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.stop()
        await self._server.wait_closed()
        with contextlib.suppress(OSError, ValueError):
            place = Path(f"/tmp/.zuul-console-{self.address}-19885.pid")
            os.kill(int(place.read_text()), signal.SIGKILL)
            place.unlink()

    def stop(self) -> None:
        """Refuse connections and end those there are, as a server does whose power goes."""
        self._server.close()
        for connection in list(self._open):
            connection.abort()
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    async def until_running(self, word: str) -> None:
        """Wait for a command of the node whose children run `word`."""
        async with asyncio.timeout(30):
            while not any(_runs(group, word) for group in self._groups):
                await asyncio.sleep(0.02)

    def info(self, *names: str, **more: object) -> NodeInfo:
        public = self.host_key.export_public_key().decode().split()[:2]
        own = {
            "names": names or (self.name,),
            "label": "small",
            "interface_ip": self.address,
            "port": self.port,
            "username": USER.pw_name,
            "host_keys": (" ".join(public),),
            "python_path": "/usr/bin/python3",
            **more,
        }
        return NodeInfo(**own)  # type: ignore[arg-type]

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.connections += 1
        peer, own = process.get_extra_info("peername"), process.get_extra_info("sockname")
        environment = {
            "HOME": USER.pw_dir,
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "USER": USER.pw_name,
            "SSH_CONNECTION": f"{peer[0]} {peer[1]} {own[0]} {own[1]}",
        }
        if process.subsystem == "sftp":
            process.exit(1)
            return
        running = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            process.command or "true",
            cwd=self.home,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._groups.add(running.pid)
        assert running.stdin is not None
        feeding = asyncio.create_task(_feed(process, running.stdin))
        await asyncio.gather(_copy(running.stdout, process.stdout), _copy(running.stderr, process.stderr))
        code = await running.wait()
        feeding.cancel()
        process.exit(code if code >= 0 else 128 - code)
        self._groups.discard(running.pid)


async def _feed(process: asyncssh.SSHServerProcess[bytes], target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while chunk := await process.stdin.read(1 << 16):
            target.write(chunk)
            await target.drain()
        target.close()


async def _copy(source: asyncio.StreamReader | None, target: asyncssh.SSHWriter[bytes]) -> None:
    assert source is not None
    with contextlib.suppress(OSError, asyncssh.Error):
        while chunk := await source.read(1 << 16):
            target.write(chunk)
            await target.drain()


def _runs(group: int, word: str) -> bool:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if os.getpgid(int(entry)) == group and word in Path(f"/proc/{entry}/comm").read_text():
                    return True
    return False
