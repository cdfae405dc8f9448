"""A client of Gerrit's SSH daemon: one connection, many channels, opened again when lost."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import asyncssh
import msgspec
import structlog

from trunkline.connections.gerrit.settings import GerritSettings
from trunkline.connections.model import ConnectionFailed

log = structlog.get_logger()

_TRIES = 3
_LOGIN_TIMEOUT_S = 30.0
_COMMAND_TIMEOUT_S = 120.0
_CHANNELS = 4


class SshAnswer(msgspec.Struct, frozen=True):
    status: int
    stdout: str
    stderr: str


class _FirstSight(asyncssh.SSHClient):
    """Without a known_hosts file: the first key that a server shows is its key for the life of this process."""

    def __init__(self, seen: dict[str, str], where: str) -> None:
        self._seen = seen
        self._where = where

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        fingerprint = key.get_fingerprint()
        if self._where not in self._seen:
            log.info("gerrit.ssh.host_key", server=self._where, fingerprint=fingerprint)
        return self._seen.setdefault(self._where, fingerprint) == fingerprint


class SshClient:
    def __init__(self, name: str, settings: GerritSettings) -> None:
        self._name = name
        self._settings = settings
        self._connection: asyncssh.SSHClientConnection | None = None
        self._opening = asyncio.Lock()
        self._channels = asyncio.Semaphore(_CHANNELS)
        self._host_keys: dict[str, str] = {}

    async def connect(self) -> asyncssh.SSHClientConnection:
        """A new connection, the caller's to close. Raises ConnectionFailed."""
        settings = self._settings
        where = f"{settings.ssh_server}:{settings.port}"
        try:
            return await asyncssh.connect(
                settings.ssh_server,
                settings.port,
                username=settings.user,
                client_keys=[settings.sshkey] if settings.sshkey else (),
                agent_path=None if settings.sshkey else (),
                config=None,
                known_hosts=settings.known_hosts or ([], [], []),
                client_factory=lambda: _FirstSight(self._host_keys, where),
                keepalive_interval=settings.keepalive_s,
                keepalive_count_max=3,
                login_timeout=_LOGIN_TIMEOUT_S,
                connect_timeout=_LOGIN_TIMEOUT_S,
            )
        except (OSError, asyncssh.Error, TimeoutError, ValueError) as error:
            raise ConnectionFailed(f"SSH to {settings.user}@{where}: {error}") from error

    async def _shared(self) -> asyncssh.SSHClientConnection:
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self.connect()
            return self._connection

    async def run(self, command: str, stdin: str | None = None) -> SshAnswer:
        """Run one command to its end; a connection that breaks is opened again. The status is the caller's to judge."""
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._channels:
                    connection = await self._shared()
                    done = await connection.run(
                        command,
                        input=stdin,
                        stdin=None if stdin is not None else asyncssh.DEVNULL,
                        timeout=_COMMAND_TIMEOUT_S,
                    )
                return SshAnswer(
                    status=done.exit_status if done.exit_status is not None else 255,
                    stdout=str(done.stdout or ""),
                    stderr=str(done.stderr or ""),
                )
            except (OSError, asyncssh.Error, TimeoutError, ConnectionFailed) as error:
                log.warning(
                    "gerrit.ssh.failed", connection=self._name, command=command, attempt=attempt, error=str(error)
                )
                self._drop()
                if attempt == _TRIES:
                    raise ConnectionFailed(f"`{command}` on {self._settings.ssh_server}: {error}") from error
            await asyncio.sleep(random.uniform(0.5, 1.0) * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def lines(self, command: str) -> AsyncIterator[AsyncIterator[str]]:
        """The lines that a command prints, on a connection of its own; the lines end when the connection does."""
        connection = await self.connect()
        try:
            async with connection.create_process(
                command, stdin=asyncssh.DEVNULL, encoding="utf-8", errors="replace"
            ) as process:
                yield _lines_of(process)
        except (OSError, asyncssh.Error) as error:
            raise ConnectionFailed(f"`{command}` on {self._settings.ssh_server}: {error}") from error
        finally:
            connection.abort()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def close(self) -> None:
        self._drop()


async def _lines_of(process: "asyncssh.SSHClientProcess[str]") -> AsyncIterator[str]:
    async for line in process.stdout:
        yield line.rstrip("\n")
