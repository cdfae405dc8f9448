"""Wait until a server answers on its connection port, and read its SSH host keys.

Freshly booted servers change their keys once now and then (an image's keys, then cloud-init's), so keys count only
when two looks agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import asyncssh

ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512")
CONNECT_TIMEOUT_S = 10.0


class NotReachable(Exception):
    """The server did not answer in time; says how far it came."""


async def scan_host_keys(
    host: str, port: int, *, timeout_s: float, pause_s: float = 0.3, settle_s: float = 0.2
) -> list[str]:
    """The host keys, as "ssh-ed25519 AAAA…" lines, once they are stable.

    Raises NotReachable when there is no SSH answer, or no two looks agree, within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    last: list[str] = []
    why = "no answer"
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(min(CONNECT_TIMEOUT_S, max(0.1, deadline - time.monotonic()))):
                keys = await _read_keys(host, port, ALGORITHMS if not last else (last[0].split()[0],))
        except (OSError, asyncssh.Error, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            await asyncio.sleep(pause_s)
            continue
        if keys and last and keys[0] in last:
            return last
        if last:
            last, why = [], "its host keys keep changing"
            continue
        last = keys
        if not keys:
            why = "it answers, but not with SSH"
        await asyncio.sleep(settle_s if keys else pause_s)
    raise NotReachable(f"{host} port {port} did not get ready within {timeout_s:.0f} s: {why}")


async def wait_for_port(host: str, port: int, *, timeout_s: float, pause_s: float = 0.3) -> None:
    """Wait until something accepts connections (servers without SSH, or whose keys are not checked)."""
    deadline = time.monotonic() + timeout_s
    why = "no answer"
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(min(CONNECT_TIMEOUT_S, max(0.1, deadline - time.monotonic()))):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            why = str(error)
            await asyncio.sleep(pause_s)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return
    raise NotReachable(f"{host} port {port} did not get ready within {timeout_s:.0f} s: {why}")


async def _read_keys(host: str, port: int, algorithms: tuple[str, ...]) -> list[str]:
    """One connection an algorithm, as a server shows one key at a time. The first must work; others may be missing."""
    found: list[str] = []
    for i, algorithm in enumerate(algorithms):
        try:
            names = [algorithm] if algorithm not in ("rsa-sha2-512", "ssh-rsa") else ["rsa-sha2-512", "rsa-sha2-256"]
            key = await asyncssh.get_server_host_key(host, port, server_host_key_algs=names, config=None)
        except asyncssh.KeyExchangeFailed:
            continue
        except (OSError, asyncssh.Error):
            if i == 0 or not found:
                raise
            continue
        if key is not None:
            line = key.export_public_key("openssh").decode().split()
            found.append(" ".join(line[:2]))
    return found
