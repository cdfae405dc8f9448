"""One command or shell of an SSH connection: a real process group, with or without a terminal."""

import asyncio
import contextlib
import fcntl
import os
import pty
import pwd
import signal
import struct
import termios
from collections.abc import Callable

import asyncssh

Process = asyncssh.SSHServerProcess[bytes]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SILENCE_AFTER_EXIT_S = 1.0
"""How long a background process that kept the output open may be silent before the session is closed all the same."""


def environment_of(user: str, extra: dict[str, str]) -> dict[str, str]:
    """What a login gives: tar must not try to give files to users that this namespace does not have."""
    entry = pwd.getpwnam(user)
    base = {
        "PATH": _PATH,
        "HOME": entry.pw_dir,
        "USER": user,
        "LOGNAME": user,
        "SHELL": entry.pw_shell,
        "LANG": "C.UTF-8",
        "TAR_OPTIONS": "--no-same-owner",
    }
    return base | extra


async def run(process: Process, extra_environment: dict[str, str]) -> None:
    """Run what the client asked for, until it ends or the client leaves."""
    user = process.get_extra_info("username")
    environment = environment_of(user, extra_environment)
    environment.update({str(name): str(value) for name, value in process.env.items()})
    peer, own = process.get_extra_info("peername"), process.get_extra_info("sockname")
    if peer and own:
        environment["SSH_CONNECTION"] = f"{peer[0]} {peer[1]} {own[0]} {own[1]}"
        environment["SSH_CLIENT"] = f"{peer[0]} {peer[1]} {own[1]}"
    if agent := process.get_extra_info("agent_path"):
        environment["SSH_AUTH_SOCK"] = agent
    shell = environment["SHELL"]
    command = process.command
    arguments = [f"-{os.path.basename(shell)}"] if command is None else [shell, "-c", command]
    home = environment["HOME"] if os.path.isdir(environment["HOME"]) else "/"
    try:
        if process.term_type:
            environment["TERM"] = process.term_type
            await _with_terminal(process, shell, arguments, environment, home)
        else:
            await _with_pipes(process, shell, arguments, environment, home)
    except OSError as error:
        process.stderr.write(f"{error}\n".encode())
        process.exit(127)


async def _with_pipes(process: Process, shell: str, argv: list[str], env: dict[str, str], home: str) -> None:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *argv,
        executable=shell,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=env,
        cwd=home,
        start_new_session=True,
        limit=1 << 20,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    feed = asyncio.create_task(_feed(process, child.pid, child.stdin))
    beat = _Beat()
    pumps = [
        asyncio.create_task(_pump(child.stdout, process.stdout, beat)),
        asyncio.create_task(_pump(child.stderr, process.stderr, beat)),
    ]
    code = await child.wait()
    await _finish(pumps, beat)
    feed.cancel()
    _exit(process, code)


async def _with_terminal(process: Process, shell: str, argv: list[str], env: dict[str, str], home: str) -> None:
    master, slave = pty.openpty()
    _resize(master, process.term_size)
    own_terminal = _own_terminal(slave)
    try:
        child = await asyncio.create_subprocess_exec(
            *argv, executable=shell, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=home, preexec_fn=own_terminal
        )
    finally:
        os.close(slave)
    os.set_blocking(master, False)
    beat = _Beat()
    feed = asyncio.create_task(_feed_terminal(process, master, child.pid))
    pump = asyncio.create_task(_pump_terminal(master, process.stdout, beat))
    code = await child.wait()
    await _finish([pump], beat)
    feed.cancel()
    os.close(master)
    _exit(process, code)


def _own_terminal(slave: int) -> Callable[[], None]:
    def take() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    return take


class _Beat:
    """When output was last seen, by the loop's clock."""

    def __init__(self) -> None:
        self.at = asyncio.get_running_loop().time()

    def strike(self) -> None:
        self.at = asyncio.get_running_loop().time()


async def _finish(pumps: list[asyncio.Task[None]], beat: _Beat) -> None:
    """Wait for the end of the output; a daemon that inherited it does not hold the session for ever."""
    while True:
        _, pending = await asyncio.wait(pumps, timeout=_SILENCE_AFTER_EXIT_S)
        if not pending:
            return
        if asyncio.get_running_loop().time() - beat.at >= _SILENCE_AFTER_EXIT_S:
            for pump in pending:
                pump.cancel()
            return


async def _pump(source: asyncio.StreamReader, target: "asyncssh.SSHWriter[bytes]", beat: _Beat) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(65536):
            beat.strike()
            target.write(data)
            await target.drain()


async def _pump_terminal(master: int, target: "asyncssh.SSHWriter[bytes]", beat: _Beat) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await _read_ready(master):
            beat.strike()
            target.write(data)
            await target.drain()


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _read_ready(fd: int) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.read(fd, 65536)
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_reader(fd, _wake, ready)
            try:
                await ready
            finally:
                loop.remove_reader(fd)


async def _feed(process: Process, pid: int, target: asyncio.StreamWriter) -> None:
    """Give the client's input to the process, and its signals to the process group."""
    try:
        while True:
            try:
                data = await process.stdin.read(65536)
            except asyncssh.SignalReceived as received:
                _signal(pid, received.signal)
                continue
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            if not data:
                break
            target.write(data)
            await target.drain()
    except (OSError, asyncssh.Error):
        pass
    finally:
        with contextlib.suppress(OSError):
            target.close()


async def _feed_terminal(process: Process, master: int, pid: int) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while True:
            try:
                data = await process.stdin.read(65536)
            except asyncssh.TerminalSizeChanged as changed:
                _resize(master, changed.term_size)
                continue
            except asyncssh.SignalReceived as received:
                _signal(pid, received.signal)
                continue
            except asyncssh.BreakReceived:
                continue
            if not data:
                break
            while data:
                try:
                    data = data[os.write(master, data) :]
                except BlockingIOError:
                    await asyncio.sleep(0.01)
    if process.is_closing():
        _signal(pid, "HUP")


def _resize(master: int, size: tuple[int, int, int, int]) -> None:
    columns, rows, width, height = size
    with contextlib.suppress(OSError, struct.error):
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows or 24, columns or 80, width, height))


def _signal(pid: int, name: str) -> None:
    number = getattr(signal, f"SIG{name}", None)
    if number is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)


def _exit(process: Process, code: int) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name[3:])
        else:
            process.exit(code)
