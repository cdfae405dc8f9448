"""Git's own upload-pack and receive-pack as children of the server, and the socket by which a push asks for consent."""

import asyncio
import contextlib
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from trunkline.dev.review.model import Account, Refused
from trunkline.dev.review.push import receive
from trunkline.dev.review.repo import git_environment
from trunkline.dev.review.site import Site

_LONGEST_SOCKET_PATH = 100

SERVICES = {"git-upload-pack": "upload-pack", "git-receive-pack": "receive-pack"}


def project_name(text: str) -> str:
    """`/demo/app.git` → `demo/app`."""
    return text.strip("/").removesuffix(".git").strip("/")


class PushDesk:
    """Answers the hook of every push under way: the token in its environment says whose push it is."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pushes: dict[str, tuple[str, Account]] = {}
        self._server: asyncio.Server | None = None
        self.path = site.folder.resolve() / "push.sock"

    async def open(self) -> None:
        if len(str(self.path)) > _LONGEST_SOCKET_PATH:
            self.path = Path(tempfile.mkdtemp(prefix="review-")) / "push.sock"
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._asked, str(self.path))
        self.path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def push(self, project: str, by: Account) -> Iterator[dict[str, str]]:
        """The environment of a receive-pack for this push."""
        token = secrets.token_hex(16)
        self._pushes[token] = (project, by)
        try:
            yield {"REVIEW_PUSH_TOKEN": token, "REVIEW_PUSH_SOCKET": str(self.path)}
        finally:
            del self._pushes[token]

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            question = json.loads(await reader.readline())
            push = self._pushes.get(question["token"])
            commands = [(old, new, ref) for old, new, ref in question["commands"]]
            if push is None:
                answer: dict[str, object] = {"lines": [], "report": [(ref, "unknown push") for _, _, ref in commands]}
            else:
                async with self._site.lock:
                    done = await receive(self._site, push[0], push[1], commands, question["options"])
                answer = {"lines": done.lines(), "report": done.report}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()


@contextlib.asynccontextmanager
async def service(
    site: Site,
    desk: PushDesk,
    name: str,
    project: str,
    account: Account | None,
    *arguments: str,
    protocol: str = "",
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running upload-pack or receive-pack with piped streams; killed when the caller leaves. Raises Refused."""
    repo = site.repo(project)
    environment = git_environment(site.git_config, **_hidden(site, project, account))
    if protocol:
        environment["GIT_PROTOCOL"] = protocol
    with contextlib.ExitStack() as stack:
        if name == "receive-pack":
            if account is None:
                raise Refused(401, "Unauthorized")
            environment |= stack.enter_context(desk.push(project, account))
        process = await asyncio.create_subprocess_exec(
            "git",
            name,
            *arguments,
            str(repo.path),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _hidden(site: Site, project: str, account: Account | None) -> dict[str, str]:
    """Configuration that keeps from the client what the account may not see."""
    refs = ["refs/meta"] if not site.may(account, "administrate") else []
    for change in site.changes.values():
        if change.project == project and change.is_private and not site.may_see(change, account):
            refs.append(change.meta_ref.removesuffix("/meta"))
    settings = {"GIT_CONFIG_COUNT": str(len(refs))}
    for number, ref in enumerate(refs):
        settings |= {f"GIT_CONFIG_KEY_{number}": "transfer.hideRefs", f"GIT_CONFIG_VALUE_{number}": ref}
    return settings
