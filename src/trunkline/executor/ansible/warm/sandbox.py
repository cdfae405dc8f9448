"""The walls of one playbook, put up from inside.

Runs in the child that is to become the playbook: it holds all capabilities of the sandbox's own user namespace (which
are worth nothing outside of it), arranges what the playbook may see, and then gives every capability away.

Linux only. No imports beyond the standard library: this runs before Ansible does.
"""

import ctypes
import fcntl
import os
import resource
import socket
import stat
import struct

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECCOMP = 1, 24, 22
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 28, 38, 47, 4
VOLATILE = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # own and empty for each playbook
MOST_PROCESSES = 8192
SECUREBITS = 0b101111  # no root, no setuid fix-up, no ambient raise: each with its lock


def _check(result, what):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor, kind):
    _check(_libc.setns(descriptor, kind), "setns")


def prctl(option, *values):
    arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *arguments), f"prctl {option}")


def mount(source, target, kind=None, flags=0, data=None):
    def text(value):
        return value.encode() if value is not None else None

    result = _libc.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data))
    _check(result, f"mount {source} on {target}")


def bind(source, target, writable):
    mount(source, target, None, MS_BIND | MS_REC)
    if not writable:
        mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def tmpfs(target, size_mib, mode="755"):
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size_mib}m,mode={mode}")


def raise_walls(walls):
    """Make the build visible and hide everything else that is not the system.

    walls: {job_dir, build, writable: [relative], readable: [relative], kept: {absolute: writable}, hidden: [absolute],
    tmp_mib, network: bool, ssh_config: absolute or None, group_vars: absolute or None, secrets: text or None}.
    kept: what lies below a volatile directory and must stay visible (Python, say).
    """
    unshare(CLONE_NEWNS | CLONE_NEWIPC | (0 if walls["network"] else CLONE_NEWNET))
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    _own_proc()
    if not walls["network"]:
        _loopback_up()
    build = os.path.join(walls["job_dir"], walls["build"])
    parts = [(os.path.join(build, name), True) for name in walls["writable"]]
    parts += [(os.path.join(build, name), False) for name in walls["readable"]]
    parts += [(place, writable) for place, writable in walls["kept"].items() if _is_volatile(place)]
    held = [(place, writable, os.open(place, os.O_PATH)) for place, writable in parts]
    run = os.open(os.path.join(build, "run"), os.O_PATH)
    for place in VOLATILE:
        tmpfs(place, walls["tmp_mib"], "755" if place == "/run" else "1777")
    os.makedirs(walls["job_dir"], exist_ok=True)
    tmpfs(walls["job_dir"], walls["tmp_mib"])
    os.mkdir(build, 0o700)
    for place, writable, descriptor in held:
        _make_place(place, descriptor)
        bind(f"/proc/self/fd/{descriptor}", place, writable)
        os.close(descriptor)
    tmpfs(os.path.join(build, "work", "tmp"), walls["tmp_mib"])
    os.mkdir("/run/trunkline")
    os.mkdir("/run/cp", 0o700)
    bind(f"/proc/self/fd/{run}", "/run/trunkline", False)
    os.close(run)
    with open("/run/passwd", "w") as handle:
        handle.write(f"root:x:0:0:root:{build}/home:/bin/bash\n")
    bind("/run/passwd", "/etc/passwd", False)
    for place in walls["hidden"]:
        _hide(place)
    if walls["ssh_config"]:
        bind(walls["ssh_config"], "/etc/ssh/ssh_config", False)
    if walls["secrets"] is not None:
        _place_secrets(walls["group_vars"], walls["secrets"])


def _make_place(place, descriptor):
    """Something to bind on: a directory, or an empty file where a file is bound."""
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.makedirs(place, exist_ok=True)
        return
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "a"):
        pass


def _own_proc():
    """The processes of this namespace only; what changes the machine is read-only even for the user who may."""
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _bound_processes()
    for name in ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi"):
        place = f"/proc/{name}"
        if os.path.exists(place):
            mount(place, place, None, MS_BIND | MS_REC)
            mount(None, place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _bound_processes():
    """A number of processes that no playbook needs. Only where the limit belongs to the namespace (Linux 6.14)."""
    numbers = os.uname().release.split("-")[0].split(".")
    if [int(number) for number in numbers[:2] if number.isdigit()] >= [6, 14]:
        try:
            with open("/proc/sys/kernel/pid_max", "w") as handle:
                handle.write(str(MOST_PROCESSES))
        except OSError:
            pass  # the resource limit remains


def _is_volatile(place):
    return any(place.startswith(root + "/") for root in VOLATILE)


def _hide(place):
    if os.path.isdir(place):
        tmpfs(place, 1)
    elif os.path.exists(place):
        bind("/dev/null", place, False)


def _place_secrets(directory, text):
    tmpfs(directory, 16)
    with open(os.path.join(directory, "all.yaml"), "w", encoding="utf-8") as handle:
        handle.write(text)
    os.chmod(os.path.join(directory, "all.yaml"), 0o666)


def _loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def give_up_power(limits):
    """Drop every capability for good, forbid gaining any, and set the resource limits (name to soft and hard value)."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))
    prctl(PR_SET_SECUREBITS, SECUREBITS)
    with open("/proc/sys/kernel/cap_last_cap") as handle:
        last = int(handle.read())
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("=II", 0x20080522, 0)
    _check(_libc.capset(header, b"\0" * 24), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _filter_system_calls()


# What no build needs and what has opened kernels before: new namespaces, keyrings, bpf, perf, kexec, modules, userfaultfd,
# io_uring. Each answers EPERM. Numbers by machine.
_REFUSED = {
    "x86_64": (0xC000003E, [272, 308, 248, 249, 250, 321, 298, 246, 320, 175, 313, 323, 425, 426, 427, 165, 166, 155]),
    "aarch64": (0xC00000B7, [97, 268, 217, 218, 219, 280, 241, 104, 294, 105, 273, 282, 425, 426, 427, 40, 39, 41]),
}
_CLONE = {"x86_64": (56, 435), "aarch64": (220, 435)}
_NEW_USER = 0x10000000


def _filter_system_calls():
    """Refuse the calls of _REFUSED and `clone` into a new user namespace; clone3 answers ENOSYS (callers fall back)."""
    machine = os.uname().machine
    if machine not in _REFUSED:
        return
    architecture, numbers = _REFUSED[machine]
    clone, clone3 = _CLONE[machine]
    allow, refuse, absent = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38
    program = [
        (0x20, 0, 0, 4),  # load the architecture
        (0x15, 1, 0, architecture),
        (0x06, 0, 0, 0x80000000),  # foreign architecture: kill
        (0x20, 0, 0, 0),  # load the number
        (0x35, 0, 1, 0x40000000),  # x32 calls
        (0x06, 0, 0, refuse),
    ]
    for number in numbers:
        program += [(0x15, 0, 1, number), (0x06, 0, 0, refuse)]
    program += [
        (0x15, 0, 1, clone3),
        (0x06, 0, 0, absent),
        (0x15, 0, 3, clone),
        (0x20, 0, 0, 16),  # load the low half of the first argument
        (0x45, 0, 1, _NEW_USER),
        (0x06, 0, 0, refuse),
        (0x06, 0, 0, allow),
    ]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(buffer))
    _check(_libc.prctl(PR_SET_SECCOMP, 2, ctypes.create_string_buffer(header), 0, 0), "seccomp")
