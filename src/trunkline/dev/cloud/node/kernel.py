"""The few system calls that Python has no function for: namespaces, mounts, capabilities.

Every function raises OSError with the path it was about.
"""

import ctypes
import os
import platform
import signal

NEW_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000  # mount, uts, ipc, pid

READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}

# chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, sys_chroot, setfcap.
# Not sys_admin: whoever has it here could make the host's directories writable again.
SERVER_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31})

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)} ({what})")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    result = _libc.mount(
        source.encode() or None,
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(result, f"mount {kind or 'bind'} {source} on {target}")


def bind(source: str, target: str) -> None:
    mount(source, target, flags=BIND | RECURSIVE)


def make_read_only(target: str, extra: int = 0) -> None:
    """Bind a path over itself, read-only."""
    mount(target, target, flags=BIND | RECURSIVE)
    mount("", target, flags=REMOUNT | BIND | READ_ONLY | extra)


def pivot_root(new_root: str) -> None:
    """Make new_root the root and forget the old one."""
    os.chdir(new_root)
    number = _PIVOT_ROOT[platform.machine()]
    _check(_libc.syscall(number, b".", b"."), f"pivot_root {new_root}")
    _check(_libc.umount2(b".", _DETACH), "umount old root")
    os.chdir("/")


def set_hostname(name: str) -> None:
    encoded = name.encode()[:64]
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def die_with_parent() -> None:
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl pdeathsig")


def drop_capabilities(keep: frozenset[int] = SERVER_CAPABILITIES) -> None:
    """Give up every capability but `keep`, for this process and all that it will ever start."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        if capability not in keep:
            _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), f"drop capability {capability}")
    kept = sum(1 << capability for capability in keep)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_libc.capset(header, data), "capset")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl no_new_privs")
