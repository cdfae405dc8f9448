"""The ssh-agent of one build: holds the keys that its playbooks may use, never a file that they could read."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import structlog

log = structlog.get_logger()

START_TIMEOUT_S = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


class AgentBroken(Exception):
    """ssh-agent or a key does not work."""


def die_with_parent() -> None:
    """For preexec_fn: SIGKILL when the parent ends, however it ends."""
    _libc.prctl(1, signal.SIGKILL)


class SshAgent:
    """ssh-agent listening at DIRECTORY/agent. Use as an async context manager."""

    def __init__(self, directory: Path, key_files: Sequence[Path], keys: Sequence[str]) -> None:
        self._directory = directory
        self._key_files = key_files
        self._keys = keys
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def __aenter__(self) -> SshAgent:
        try:
            self._process = await asyncio.create_subprocess_exec(
                "ssh-agent",
                "-D",
                "-a",
                "agent",
                cwd=self._directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        except FileNotFoundError as error:
            raise AgentBroken("ssh-agent is missing: install openssh-client") from error
        assert self._process.stdout is not None
        try:
            # ssh-agent prints its settings once the socket is there
            await asyncio.wait_for(self._process.stdout.readline(), START_TIMEOUT_S)
            for path in self._key_files:
                await self._add(str(path), None)
            for key in self._keys:
                await self._add("-", key if key.endswith("\n") else key + "\n")
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _add(self, name: str, text: str | None) -> None:
        process = await asyncio.create_subprocess_exec(
            "ssh-add",
            "-q",
            name,
            cwd=self._directory,
            env={**os.environ, "SSH_AUTH_SOCK": "agent", "SSH_ASKPASS_REQUIRE": "never"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _none = await process.communicate((text or "").encode())
        if process.returncode:
            raise AgentBroken(f"ssh-add {name}: {said.decode(errors='replace').strip()}")
