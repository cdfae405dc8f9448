"""The SSH side: logins by key, git, scp of the commit hook, and the `gerrit …` commands."""

import asyncio
import contextlib
import shlex
from pathlib import Path
from typing import Any

import asyncssh
import structlog

from trunkline.dev.review.git_serving import SERVICES, PushDesk, project_name, service
from trunkline.dev.review.model import Account, Refused
from trunkline.dev.review.repo import GitFailed
from trunkline.dev.review.site import VERSION, Site
from trunkline.dev.review.ssh_commands import COMMANDS, Failure, Session

log = structlog.get_logger()

Process = asyncssh.SSHServerProcess[bytes]

_CHUNK = 65536
COMMIT_HOOK = Path(__file__).with_name("commit_msg.sh").read_bytes()


class _Logins(asyncssh.SSHServer):
    """Who may come in: an account with one of its keys."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._site.key_holds(username, key.export_public_key("openssh").decode())


class SshServer:
    def __init__(self, site: Site, desk: PushDesk) -> None:
        self._site = site
        self._desk = desk
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self.host_key = ""

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        path = self._site.folder / "host_key"
        if not path.exists():
            asyncssh.generate_private_key("ssh-ed25519", comment="").write_private_key(path)
            path.chmod(0o600)
        key = asyncssh.read_private_key(path)
        self.host_key = key.export_public_key("openssh").decode().strip()
        self._acceptor = await asyncssh.create_server(
            lambda: _Logins(self._site),
            host,
            port,
            server_host_keys=[key],
            process_factory=self._run,
            encoding=None,
            server_version=f"GerritCodeReview_{VERSION}",
            allow_scp=False,
            agent_forwarding=False,
            x11_forwarding=False,
            line_editor=False,
            keepalive_interval=60,
        )
        return int(self._acceptor.get_port())

    async def close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()

    async def _run(self, process: Process) -> None:
        account = self._site.account_by_name(process.get_extra_info("username"))
        if account is None:
            process.exit(1)
            return
        status = 1
        try:
            status = await self._command(process, account, process.command or "")
        except Refused as refused:
            process.stderr.write(f"fatal: {refused.text}\n".encode())
        except Failure as failure:
            process.stderr.write(failure.text.encode())
            status = failure.status
        except (BrokenPipeError, ConnectionError, asyncssh.Error):
            status = 255
        except GitFailed as failed:
            log.error("review.ssh.failed", command=process.command, error=str(failed))
            process.stderr.write(b"fatal: internal server error\n")
        process.exit(status)

    async def _command(self, process: Process, account: Account, command: str) -> int:
        if not command:
            process.stderr.write(self._welcome(account).encode())
            return 127
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise Failure(f"fatal: {error}\n") from None
        if words[0] == "git" and len(words) > 1:
            words = [f"git-{words[1]}", *words[2:]]
        if words[0] in SERVICES:
            return await self._git(process, account, SERVICES[words[0]], words[-1])
        if words[0] == "scp":
            return await self._scp(process, words[1:])
        if words[0] != "gerrit":
            raise Failure(f"fatal: Gerrit Code Review: {words[0]}: not found\n")
        handler = COMMANDS.get(words[1] if len(words) > 1 else "")
        if handler is None:
            raise Failure(f"fatal: gerrit: {words[1] if len(words) > 1 else ''}: not found\n")
        return await handler(Session(self._site, account, process), words[2:])

    def _welcome(self, account: Account) -> str:
        place = f"ssh://{account.username}@{self._site.ssh_host}:{self._site.ssh_port}"
        return (
            "\n  ****    Welcome to Gerrit Code Review    ****\n\n"
            f"  Hi {account.name or account.username}, you have successfully connected over SSH.\n\n"
            "  Unfortunately, interactive shells are disabled.\n"
            f"  To clone a hosted Git repository, use:\n\n  git clone {place}/REPOSITORY_NAME.git\n\n"
        )

    # ------------------------------------------------------------------ git

    async def _git(self, process: Process, account: Account, name: str, path: str) -> int:
        project = project_name(path)
        if project not in self._site.projects:
            raise Failure(f"fatal: project {project} not found\n")
        protocol = process.env.get("GIT_PROTOCOL", "")
        protocol = protocol.decode() if isinstance(protocol, bytes) else str(protocol)
        async with service(self._site, self._desk, name, project, account, protocol=protocol) as git:
            assert git.stdin is not None
            assert git.stdout is not None
            assert git.stderr is not None
            feeding = asyncio.create_task(_feed(process, git.stdin))
            try:
                await asyncio.gather(_drain(git.stdout, process.stdout), _drain(git.stderr, process.stderr))
                return await git.wait()
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    async def _scp(self, process: Process, words: list[str]) -> int:
        """The old scp protocol, one file, from us to them."""
        if "-f" not in words or words[-1].lstrip("/") != "hooks/commit-msg":
            raise Failure("scp: only hooks/commit-msg can be copied\n")
        await process.stdin.read(1)
        if "-p" in words:
            process.stdout.write(b"T0 0 0 0\n")
            await process.stdin.read(1)
        process.stdout.write(b"C0755 %d commit-msg\n" % len(COMMIT_HOOK))
        await process.stdin.read(1)
        process.stdout.write(COMMIT_HOOK + b"\0")
        await process.stdin.read(1)
        return 0


async def _feed(process: Process, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
        while data := await process.stdin.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _drain(reader: asyncio.StreamReader, writer: Any) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
