"""Command line and life of the server process."""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from trunkline.dev.review.git_serving import PushDesk
from trunkline.dev.review.http import HttpServer
from trunkline.dev.review.rules import ADMINISTRATORS
from trunkline.dev.review.site import Site, is_ssh_key, private_file
from trunkline.dev.review.sshd import SshServer


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Ports 0 are chosen by the system. `admin_password` None: one is made, and kept in the state directory."""

    state_dir: Path
    host: str = "127.0.0.1"
    http_port: int = 0
    ssh_port: int = 0
    url: str | None = None
    admin_password: str | None = None
    admin_key: str | None = None
    submit_whole_topic: bool = False


class Serving(msgspec.Struct, frozen=True):
    """What a running server says of itself; written to `ready` in the state directory, as JSON."""

    url: str
    host: str
    http_port: int
    ssh_port: int
    host_key: str
    pid: int
    admin_user: str
    admin_password_file: str


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Serving]:
    """The server runs inside this context, in the running loop."""
    site = Site(settings.state_dir, settings.submit_whole_topic)
    ready = settings.state_dir / "ready"
    ready.unlink(missing_ok=True)
    await site.open()
    desk = PushDesk(site)
    ssh, http = SshServer(site, desk), HttpServer(site, desk)
    await desk.open()
    try:
        site.ssh_host = settings.host
        site.ssh_port = await ssh.open(settings.host, settings.ssh_port)
        http_port = await http.open(settings.host, settings.http_port)
        site.url = (settings.url or f"http://{settings.host}:{http_port}").rstrip("/")
        password_file = _administrator(site, settings)
        serving = Serving(
            url=site.url,
            host=settings.host,
            http_port=http_port,
            ssh_port=site.ssh_port,
            host_key=ssh.host_key,
            pid=os.getpid(),
            admin_user="admin",
            admin_password_file=str(password_file),
        )
        fresh = ready.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(serving))
        fresh.replace(ready)
        yield serving
    finally:
        ready.unlink(missing_ok=True)
        await http.close()
        await ssh.close()
        await desk.close()
        site.close()


def _administrator(site: Site, settings: Settings) -> Path:
    """Make the account `admin` on the first start; a password or key that is given later takes the place of the old."""
    path = settings.state_dir / "admin-password"
    account = site.account_by_name("admin")
    password = settings.admin_password
    if account is None:
        account = site.new_account("admin", name="Administrator", email="admin@example.com")
        group = site.groups[ADMINISTRATORS]
        site.set_members(group, (*group.members, account.id))
        password = password or secrets.token_urlsafe(18)
    if password:
        account = site.set_password(account, password)
        private_file(path, password + "\n")
    if settings.admin_key and settings.admin_key not in account.ssh_keys:
        site.save(msgspec.structs.replace(account, ssh_keys=(*account.ssh_keys, settings.admin_key)))
    return path


def _parsed(argv: Sequence[str]) -> Settings:
    parser = argparse.ArgumentParser(
        prog="trunkline dev review", description="A review server that speaks Gerrit's SSH, REST and git protocols."
    )
    parser.add_argument("--state-dir", type=Path, required=True, help="where everything is kept; made if absent")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--http-port", type=int, default=8080, help="0: any free one (%(default)s)")
    parser.add_argument("--ssh-port", type=int, default=29418, help="0: any free one (%(default)s)")
    parser.add_argument("--url", help="the address that people see (http://HOST:PORT)")
    parser.add_argument("--admin-password-file", type=Path, help="file with the password of `admin` (default: made up)")
    parser.add_argument("--admin-key-file", type=Path, help="public SSH key of `admin`")
    parser.add_argument("--submit-whole-topic", action="store_true", help="changes of a topic land together")
    given = parser.parse_args(argv)
    key = given.admin_key_file.read_text().strip() if given.admin_key_file else None
    if key and not is_ssh_key(key):
        parser.error(f"{given.admin_key_file} holds no public SSH key")
    return Settings(
        state_dir=given.state_dir,
        host=given.host,
        http_port=given.http_port,
        ssh_port=given.ssh_port,
        url=given.url,
        admin_password=given.admin_password_file.read_text().strip() if given.admin_password_file else None,
        admin_key=key,
        submit_whole_topic=given.submit_whole_topic,
    )


def run(argv: Sequence[str]) -> int:
    settings = _parsed(argv)
    return asyncio.run(_until_signal(settings))


async def _until_signal(settings: Settings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with serve(settings) as serving:
            print(json.dumps(msgspec.to_builtins(serving)), flush=True)
            await stop.wait()
    except OSError as error:
        print(f"cannot serve: {error}", flush=True)
        return 1
    return 0
