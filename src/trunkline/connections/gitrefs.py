"""What refs a repository has, by `git ls-remote`."""

import asyncio
import base64
import os
import shlex

import msgspec

from trunkline.connections.model import ConnectionFailed, GitAccess

_TIMEOUT_S = 120.0


def git_environment(access: GitAccess) -> dict[str, str]:
    """The environment in which git uses the access' secrets; none of them shows in a process list."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    if access.ssh_key or access.url.startswith("ssh://"):
        command = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        command += ["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30"]
        if access.ssh_key:
            command += ["-o", "IdentitiesOnly=yes", "-i", access.ssh_key]
        env["GIT_SSH_COMMAND"] = shlex.join(command)
    if access.http_user is not None:
        login = base64.b64encode(f"{access.http_user}:{access.http_password or ''}".encode()).decode()
        env |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {login}",
        }
    return env | dict(access.env)


class RemoteRefs(msgspec.Struct, frozen=True):
    """Branches and tags by full ref. `tips` are commit ids; `objects` are the tag itself for an annotated tag."""

    tips: dict[str, str]
    objects: dict[str, str]
    head: str | None


async def list_refs(access: GitAccess) -> RemoteRefs:
    process = await asyncio.create_subprocess_exec(
        "git",
        "ls-remote",
        "--symref",
        access.url,
        "HEAD",
        "refs/heads/*",
        "refs/tags/*",
        env=git_environment(access),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
    except TimeoutError:
        raise ConnectionFailed(f"git ls-remote {access.url}: no answer in {_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise ConnectionFailed(f"git ls-remote {access.url}: {err.decode(errors='replace').strip()}")
    return parse_refs(out.decode(errors="replace"))


def parse_refs(text: str) -> RemoteRefs:
    """What `git ls-remote --symref` prints."""
    tips: dict[str, str] = {}
    objects: dict[str, str] = {}
    head: str | None = None
    for line in text.splitlines():
        value, _, ref = line.partition("\t")
        if value.startswith("ref: "):
            head = value.removeprefix("ref: ").removeprefix("refs/heads/")
        elif ref.endswith("^{}"):
            tips[ref.removesuffix("^{}")] = value
        elif ref != "HEAD":
            tips[ref] = objects[ref] = value
    return RemoteRefs(tips, objects, head)
