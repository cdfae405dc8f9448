"""The file system of a server: the host's programs, everything else its own and in memory.

An allow-list: what is not named here is not there. Directories that a server may write are overlays on a skeleton the
zygote made once, whose files belong to uid 0 of the namespace, so that an ordinary user's servers can change them too.
"""

import contextlib
import os
import shutil
import stat
import sys
from pathlib import Path

from trunkline.dev.cloud.node import kernel

SKELETON = "skeleton"
_NEW_ROOT = "root"
_LAYERS = "layers"
"""All in the directory that the zygote works in, which is memory of its own. Relative: an overlay's options cannot quote."""

_PROGRAMS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = [
    "alternatives",
    "apt",
    "ca-certificates",
    "ca-certificates.conf",
    "debconf.conf",
    "debian_version",
    "dpkg",
    "fonts",
    "gai.conf",
    "host.conf",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "locale.gen",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "maven",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "perl",
    "pki",
    "profile",
    "profile.d",
    "protocols",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "redhat-release",
    "resolv.conf",
    "rpm",
    "rpc",
    "services",
    "shells",
    "skel",
    "terminfo",
    "timezone",
    "yum.repos.d",
]
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_EMPTY = ("proc", "sys", "dev", "run", "tmp", "var", "home", "root", "opt", "srv", "mnt", "media", "etc")
_VAR = ("tmp", "log", "cache/apt/archives/partial", "lib", "spool", "mail", "lib/cloud/instance", "lib/dpkg", "lib/apt")

_SUDO = """#!/bin/sh
# Every user of this server is uid 0, so that this only has to understand sudo's options and set the environment.
user=root login= home= shell=
while [ $# -gt 0 ]; do
  case "$1" in
    --) shift; break ;;
    -u|--user) user=$2; shift 2 ;;
    --user=*) user=${1#*=}; shift ;;
    -u?*) user=${1#-u}; shift ;;
    -g|-p|-C|-r|-t|-T|-U|-h|--group|--prompt) shift 2 ;;
    -i|--login) login=1; home=1; shift ;;
    -s|--shell) shell=1; shift ;;
    -l|--list) echo "User may run the following commands: (ALL) NOPASSWD: ALL"; exit 0 ;;
    -v|-k|-K|-V|--validate|--version) exit 0 ;;
    -H|--set-home) home=1; shift ;;
    -*) case "$1" in -*H*) home=1 ;; esac; case "$1" in -*u) user=$2; shift ;; esac; shift ;;
    *) break ;;
  esac
done
while :; do
  case "${1-}" in
    [A-Za-z_]*=*) export "$1"; shift ;;
    *) break ;;
  esac
done
entry=$(grep "^$user:" /etc/passwd) || { echo "sudo: unknown user $user" >&2; exit 1; }
directory=$(echo "$entry" | cut -d: -f6)
export SUDO_USER="${USER:-root}" SUDO_UID=0 SUDO_GID=0 USER="$user" LOGNAME="$user"
[ "$user" != root ] && [ -z "$home" ] || export HOME="$directory"
if [ -n "$login" ]; then cd "$directory" 2>/dev/null || cd /; [ $# -gt 0 ] && exec /bin/bash -lc "$*"; exec /bin/bash -l; fi
if [ -n "$shell" ]; then [ $# -gt 0 ] && exec /bin/sh -c "$*"; exec /bin/sh; fi
[ $# -gt 0 ] || { echo "usage: sudo command" >&2; exit 1; }
exec "$@"
"""


def make_skeleton() -> None:
    """Copy what servers may change: done once, by the zygote, in its own directory."""
    os.mkdir(_NEW_ROOT)
    os.mkdir(_LAYERS)
    etc = Path(SKELETON, "etc")
    etc.mkdir(parents=True)
    for name in _ETC:
        source = Path("/etc", name)
        with contextlib.suppress(OSError, shutil.Error):
            if source.is_dir():
                shutil.copytree(source, etc / name, symlinks=True, ignore_dangling_symlinks=True, copy_function=_copy)
            elif source.exists() or source.is_symlink():
                _copy(str(source), str(etc / name))
    _copy_certificates(etc)
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (etc / "group").write_text("root:x:0:\nsudo:x:27:\ntty:x:5:\nnogroup:x:65534:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (etc / "environment").write_text("")
    local = Path(SKELETON, "local/bin")
    local.mkdir(parents=True)
    sudo = local / "sudo"
    sudo.write_text(_SUDO)
    sudo.chmod(0o755)
    if not Path("/usr/bin/python3").exists():
        (local / "python3").symlink_to(Path(sys.base_prefix, "bin", "python3"))
    if not Path("/bin/bash").exists():
        (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")


def _copy(source: str, target: str) -> str:
    """Copy content and mode; ownership is ours, and what cannot be read is left out."""
    with contextlib.suppress(OSError):
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
        elif stat.S_ISREG(os.stat(source).st_mode):
            shutil.copyfile(source, target)
            os.chmod(target, stat.S_IMODE(os.stat(source).st_mode) | stat.S_IWUSR)
    return target


def _copy_certificates(etc: Path) -> None:
    for name in ("certs", "openssl.cnf"):
        source = Path("/etc/ssl", name)
        (etc / "ssl").mkdir(exist_ok=True)
        with contextlib.suppress(OSError, shutil.Error):
            if source.is_dir():
                shutil.copytree(source, etc / "ssl" / name, symlinks=True, copy_function=_copy)
            elif source.exists():
                _copy(str(source), str(etc / "ssl" / name))


def enter(binds: list[str], disk_mib: int) -> None:
    """Build the server's root and make it ours. The caller is pid 1 of fresh mount and pid namespaces."""
    kernel.mount("", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("server", _NEW_ROOT, "tmpfs", 0, f"mode=755,size={disk_mib}m")
    kernel.mount("layers", _LAYERS, "tmpfs", 0, f"mode=755,size={disk_mib}m")
    for name in _EMPTY:
        os.mkdir(f"{_NEW_ROOT}/{name}")
    os.chmod(f"{_NEW_ROOT}/tmp", 0o1777)
    os.chmod(f"{_NEW_ROOT}/root", 0o700)
    _programs()
    for name in _VAR:
        os.makedirs(f"{_NEW_ROOT}/var/{name}", exist_ok=True)
    os.chmod(f"{_NEW_ROOT}/var/tmp", 0o1777)
    os.symlink("/run", f"{_NEW_ROOT}/var/run")
    os.makedirs(f"{_NEW_ROOT}/run/lock")
    _overlay([f"{SKELETON}/etc"], "etc")
    for name in ("dpkg", "apt"):
        if os.path.isdir(f"/var/lib/{name}"):
            _overlay([f"/var/lib/{name}"], f"var/lib/{name}")
    _kernel_files()
    _bind_read_only(binds)
    kernel.pivot_root(_NEW_ROOT)


def _programs() -> None:
    for name in _PROGRAMS:
        path = f"/{name}"
        if os.path.islink(path):
            os.symlink(os.readlink(path), f"{_NEW_ROOT}/{name}")
        elif os.path.isdir(path):
            os.mkdir(f"{_NEW_ROOT}/{name}")
            kernel.bind(path, f"{_NEW_ROOT}/{name}")
    _overlay([f"{SKELETON}/local", "/usr/local"], "usr/local")
    if os.path.exists("/usr/bin/sudo"):
        kernel.bind(f"{SKELETON}/local/bin/sudo", f"{_NEW_ROOT}/usr/bin/sudo")


def _overlay(lower: list[str], target: str) -> None:
    """Let `target` show the lower directories, and keep changes in memory; where overlays are refused, show the first."""
    layer = f"{_LAYERS}/{target.replace('/', '-')}"
    upper, work = f"{layer}/upper", f"{layer}/work"
    os.makedirs(upper)
    os.makedirs(work)
    # An upper directory decides the owner of the merged one: ours, so that it can be written.
    for directory in ("bin", "lib", "share", "include", "sbin", "etc") if target == "usr/local" else ():
        if not os.path.islink(f"/usr/local/{directory}"):
            os.mkdir(f"{upper}/{directory}")
    options = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work},userxattr"
    try:
        kernel.mount("overlay", f"{_NEW_ROOT}/{target}", "overlay", 0, options)
    except OSError:
        if lower[0].startswith(SKELETON):
            shutil.copytree(lower[0], upper, symlinks=True, dirs_exist_ok=True)
            kernel.bind(upper, f"{_NEW_ROOT}/{target}")
        else:
            kernel.bind(lower[0], f"{_NEW_ROOT}/{target}")


def _kernel_files() -> None:
    nothing = kernel.NO_SUID | kernel.NO_DEV | kernel.NO_EXEC
    kernel.mount("proc", f"{_NEW_ROOT}/proc", "proc", nothing)
    for name in ("sys", "irq", "bus", "sysrq-trigger"):
        if os.path.exists(f"{_NEW_ROOT}/proc/{name}"):
            kernel.make_read_only(f"{_NEW_ROOT}/proc/{name}", nothing)
    kernel.bind("/sys", f"{_NEW_ROOT}/sys")
    device = f"{_NEW_ROOT}/dev"
    kernel.mount("dev", device, "tmpfs", kernel.NO_SUID, "mode=755,size=1m")
    for name in _DEVICES:
        Path(device, name).touch()
        kernel.bind(f"/dev/{name}", f"{device}/{name}")
    os.mkdir(f"{device}/pts")
    kernel.mount(
        "devpts", f"{device}/pts", "devpts", kernel.NO_SUID | kernel.NO_EXEC, "newinstance,ptmxmode=0666,mode=0620"
    )
    os.mkdir(f"{device}/shm")
    kernel.mount("shm", f"{device}/shm", "tmpfs", kernel.NO_SUID | kernel.NO_DEV, "mode=1777")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}
    for name, to in (links | {"stderr": "/proc/self/fd/2"}).items():
        os.symlink(to, f"{device}/{name}")


def _bind_read_only(binds: list[str]) -> None:
    """Show the image's paths (and, where the system has no Python, ours) at the same place; the zygote sees all read-only."""
    if not os.path.exists("/usr/bin/python3"):
        binds = [*binds, sys.base_prefix]
    for path in binds:
        target = Path(_NEW_ROOT + path)
        if os.path.isdir(path):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        kernel.bind(path, str(target))
