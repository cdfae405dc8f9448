"""The SSH server of one emulated server, and its end of the wire to the emulator."""

import asyncio
import contextlib
import ipaddress
import os
import pwd
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import asyncssh

from trunkline.dev.cloud.node import cloudinit, session, wire

_KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256")


class Login(asyncssh.SSHServer):
    """Who may come in: whoever has a key in the user's own authorized_keys file, read at each login."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._node.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._node.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        assert self._connection is not None
        try:
            path = Path(pwd.getpwnam(username).pw_dir, ".ssh", "authorized_keys")
            self._connection.set_authorized_keys(asyncssh.read_authorized_keys(str(path)))
        except (KeyError, OSError, ValueError):
            self._connection.set_authorized_keys(None)
        return True

    def auth_completed(self) -> None:
        self._node.tell({"event": "login"})

    def public_key_auth_supported(self) -> bool:
        return True

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        try:
            return dest_host == "localhost" or ipaddress.ip_address(dest_host).is_loopback
        except ValueError:
            return False


class Files(asyncssh.SFTPServer):
    """Relative paths start in the user's home directory, as with any other server."""

    def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]") -> None:
        super().__init__(channel)
        self._session = channel
        self._home = pwd.getpwnam(channel.get_extra_info("username")).pw_dir.encode()

    def exit(self) -> None:
        """Say that all went well, as OpenSSH's does: its scp asks for the status."""
        with contextlib.suppress(OSError):
            self._session.exit(0)

    def map_path(self, path: bytes) -> bytes:
        return path if path.startswith(b"/") else os.path.join(self._home, path)


class Node:
    """A server from its first boot to its end: host keys, listeners, console."""

    def __init__(self, boot: dict[str, Any], end: socket.socket) -> None:
        self._boot = boot
        self._end = end
        self._listeners: dict[str, asyncssh.SSHAcceptor] = {}
        self._opening: asyncio.Task[None] | None = None
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._options: asyncssh.SSHServerConnectionOptions | None = None
        self._environment: dict[str, str] = {str(k): str(v) for k, v in boot.get("env", {}).items()}

    def tell(self, message: dict[str, Any]) -> None:
        try:
            wire.send(self._end, message)
        except OSError:
            os._exit(0)

    def say(self, text: str) -> None:
        """Print a line on the console."""
        self.tell({"console": text + "\n"})

    async def serve(self) -> None:
        """Boot, then listen where the emulator says, until it hangs up."""
        commands = cloudinit.first_boot(self._boot, self.say)
        self.renew_host_keys()
        self.tell({"event": "booted"})
        environment = session.environment_of("root", self._environment)
        threading.Thread(target=cloudinit.run, args=(commands, environment, self.say), daemon=True).start()
        loop = asyncio.get_running_loop()
        gone = loop.create_future()
        self._end.setblocking(False)
        loop.add_reader(self._end.fileno(), self._hear, gone)
        await gone

    def renew_host_keys(self) -> None:
        """Make host keys and print them as cloud-init does. Listeners that are open go on with the old ones."""
        keys = [asyncssh.generate_private_key(kind) for kind in _KEY_TYPES]
        host = socket.gethostname()
        directory = Path("/etc/ssh")
        directory.mkdir(exist_ok=True)
        lines = []
        for key in keys:
            kind = key.get_algorithm().split("-")[0].replace("ssh", "ed25519")
            public = key.export_public_key().decode().strip()
            directory.joinpath(f"ssh_host_{kind}_key.pub").write_text(f"{public} root@{host}\n")
            lines.append((f"256 {key.get_fingerprint()} root@{host} ({kind.upper()})", f"{public} root@{host}"))
        self.say("-----BEGIN SSH HOST KEY FINGERPRINTS-----")
        self.tell({"console": "".join(f"{fingerprint}\n" for fingerprint, _ in lines)})
        self.say("-----END SSH HOST KEY FINGERPRINTS-----")
        self.say("-----BEGIN SSH HOST KEY KEYS-----")
        self.tell({"console": "".join(f"{public}\n" for _, public in lines)})
        self.say("-----END SSH HOST KEY KEYS-----")
        self._options = asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: Login(self),
            server_host_keys=keys,
            process_factory=self._process,
            sftp_factory=Files,
            allow_scp=True,
            encoding=None,
            line_editor=False,
            agent_forwarding=True,
            x11_forwarding=False,
            gss_host=None,
            login_timeout=60,
            server_version="OpenSSH_9.2p1",
        )

    async def _process(self, process: session.Process) -> None:
        await session.run(process, self._environment)

    def _hear(self, gone: asyncio.Future[None]) -> None:
        try:
            message, fds = wire.receive(self._end)
        except BlockingIOError:
            return
        except OSError:
            message, fds = None, []
        if message is None:
            if not gone.done():
                gone.set_result(None)
            return
        loop = asyncio.get_running_loop()
        match message["op"]:
            case "listen":
                self._opening = loop.create_task(self._listen(message["address"], socket.socket(fileno=fds[0])))
            case "unlisten" if message["address"] in self._listeners:
                self._listeners.pop(message["address"]).close()
            case "renew-host-keys":
                self.renew_host_keys()
            case "halt":
                self._halt()

    def _halt(self) -> None:
        """Power off: every process but pid 1 and this one ends, and so does every connection. Files stay."""
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        for connection in list(self.connections):
            connection.abort()

    async def _listen(self, address: str, listener: socket.socket) -> None:
        if address in self._listeners:
            self._listeners.pop(address).close()
        self._listeners[address] = await asyncssh.listen(sock=listener, options=self._options)
        self.tell({"event": "listening", "address": address})


def run(boot: dict[str, Any], end: socket.socket) -> None:
    """Serve one server in this process; returns when the emulator hangs up."""
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    asyncio.run(Node(boot, end).serve())


async def warm_up() -> None:
    """Speak SSH with ourselves once, so that everything is imported before servers are forked."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key()

    async def process(process: session.Process) -> None:
        process.stdout.write(b"warm")
        process.exit(0)

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[key],
        process_factory=process,
        authorized_client_keys=asyncssh.import_authorized_keys(key.export_public_key().decode()),
        encoding=None,
        sftp_factory=True,
        allow_scp=True,
    )
    port = server.sockets[0].getsockname()[1]
    async with asyncssh.connect(
        "127.0.0.1", port, known_hosts=None, client_keys=[key], username="root", config=None
    ) as client:
        await client.run("true")
        async with client.start_sftp_client() as sftp:
            await sftp.stat("/")
    server.close()
    await server.wait_closed()
