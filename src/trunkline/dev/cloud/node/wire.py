"""The messages between the emulator, the zygote and the servers: JSON in datagrams, file descriptors beside them."""

import array
import json
import socket
from typing import Any

MESSAGE_LIMIT = 400_000
"""Bytes of the longest message: user data of 64 KiB in base64 and what goes with it."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that keep message boundaries and see each other's end."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MESSAGE_LIMIT)
    return ends


def send(end: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """Send one message; raises OSError when the other end is gone."""
    payload = json.dumps(message).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    end.sendmsg([payload], rights)


def receive(end: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and its descriptors; (None, []) when the other end is gone."""
    fds = array.array("i")
    payload, ancillary, _, _ = end.recvmsg(MESSAGE_LIMIT, socket.CMSG_LEN(8 * fds.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if not payload:
        return None, list(fds)
    return json.loads(payload), list(fds)
