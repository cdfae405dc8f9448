"""The ansible.cfg of each playbook: the settings that jobs notice, the same for every kind of run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trunkline.executor.jobdir import CONTROL_PATHS, JobDir

PLUGINS = Path(__file__).parent / "ansible"
GENERATED_LIBRARY = Path("/opt/trunkline/library")


def ansible_settings(
    where: JobDir,
    inventory: Path,
    *,
    console: bool,
    roles_path: Sequence[Path] = (),
    show_arguments: bool = True,
) -> str:
    """The text of ansible.cfg. console: the build's own callback writes the output (else Ansible's default does)."""
    defaults = {
        "inventory": inventory,
        "local_tmp": where.work / "tmp",
        "retry_files_enabled": False,
        "gathering": "smart",
        "fact_caching": "jsonfile",
        "fact_caching_connection": where.fact_cache,
        **plugin_settings(),
        "nocows": True,
        "timeout": 30,
        "display_args_to_stdout": show_arguments,
        "internal_poll_interval": "0.005",
        "localhost_warning": False,
    }
    if console:
        defaults["stdout_callback"] = "trunkline_console"
    if roles_path:
        defaults["roles_path"] = ":".join(str(path) for path in roles_path)
    ssh = {
        "retries": 3,
        "pipelining": True,
        "control_path_dir": CONTROL_PATHS,
        "ssh_args": "-o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=60"
        f" -o UserKnownHostsFile={where.known_hosts}",
    }
    return _section("defaults", defaults) + _section("ssh_connection", ssh)


def plugin_settings() -> dict[str, object]:
    """Search paths that are the same for every playbook; the warm process reads them when it imports Ansible."""
    return {
        "library": f"{GENERATED_LIBRARY}:{PLUGINS / 'library'}",
        "module_utils": PLUGINS / "library" / "module_utils",
        "action_plugins": PLUGINS / "action",
        "callback_plugins": PLUGINS / "callback",
    }


def warm_settings() -> str:
    """For the first play of the warm process."""
    return _section("defaults", {**plugin_settings(), "localhost_warning": False, "gathering": "explicit"})


def _section(name: str, values: dict[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
