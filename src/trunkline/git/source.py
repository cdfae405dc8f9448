"""How to reach a repository, and how git is run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

FETCH_TIMEOUT_S = 300.0


class GitFailed(Exception):
    """git or the server behind it said no. `said` is what it printed, for the log and the person who mends it."""

    def __init__(self, what: str, said: str) -> None:
        super().__init__(f"{what}: {said.strip()[-2000:]}")
        self.said = said


class GitSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a project is fetched from. Secrets do not stand in the URL, so that it may be logged."""

    url: str
    ssh_key: str | None = None
    http_user: str | None = None
    http_password: str | None = None
    env: Mapping[str, str] = {}

    def environment(self) -> dict[str, str]:
        """The environment for git: no prompts, no configuration of the machine's owner, our key only."""
        env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": "/nonexistent",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "LC_ALL": "C.UTF-8",
        }
        ssh = ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
        ssh += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20"]
        if self.ssh_key:
            ssh += ["-o", "IdentitiesOnly=yes", "-i", self.ssh_key]
        env["GIT_SSH_COMMAND"] = shlex.join(ssh)
        if self.http_user is not None:
            import base64

            token = base64.b64encode(f"{self.http_user}:{self.http_password or ''}".encode()).decode()
            env |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "http.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {token}",
            }
        return env | dict(self.env)


async def run_git(
    args: Sequence[str | Path], env: Mapping[str, str] | None = None, timeout_s: float = FETCH_TIMEOUT_S
) -> str:
    """Run git, return what it printed. Raises GitFailed; the process and its children are killed on time-out."""
    process = await asyncio.create_subprocess_exec(
        "git",
        *map(str, args),
        env=dict(env or GitSource("").environment()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s)
    except BaseException as problem:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if isinstance(problem, TimeoutError):
            raise GitFailed(f"git {args[0]}", f"no end after {timeout_s:.0f} s") from None
        raise
    if process.returncode:
        raise GitFailed(f"git {' '.join(map(str, args[:3]))}", err.decode(errors="replace") or "no message")
    return out.decode(errors="replace")
