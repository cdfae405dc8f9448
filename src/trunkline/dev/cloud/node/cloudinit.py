"""What a server does with its user data: the parts of cloud-init that images of CI and deployments rely on."""

import base64
import contextlib
import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Say = Callable[[str], None]


def first_boot(boot: dict[str, Any], say: Say) -> list[str | list[str]]:
    """Make users, keys, files; returns the commands to run once SSH is up.

    `boot` is the emulator's boot message: hostname, username (the image's), keys (of nova), user_data (base64), metadata.
    Bad user data is reported on the console, as cloud-init does, and does not stop the boot.
    """
    say(f"Cloud-init v. 24.4 running 'init' for {boot['hostname']}")
    _metadata(boot)
    add_user("root", boot["keys"])
    config, script = _parse(_decode(boot.get("user_data") or ""), say)
    users = config.get("users", ["default"])
    _users(users if isinstance(users, list) else [users], config, boot, say)
    for entry in _listed(config, "write_files"):
        try:
            _write_file(entry)
        except (OSError, KeyError, ValueError, TypeError) as error:
            say(f"cloud-init: write_files: {error}")
    commands: list[str | list[str]] = [*_listed(config, "bootcmd"), *_listed(config, "runcmd")]
    if script:
        path = Path("/var/lib/cloud/instance/user-script")
        path.write_bytes(script)
        path.chmod(0o755)
        commands.append([str(path)])
    return commands


def hostname_of(boot: dict[str, Any]) -> str:
    """The name the server gives itself: the user data's, else the one of its name."""
    config, _ = _parse(_decode(boot.get("user_data") or ""), lambda text: None)
    name = config.get("fqdn") or config.get("hostname") or boot["hostname"]
    return str(name)


def run(commands: list[str | list[str]], environment: dict[str, str], say: Say) -> None:
    """Run the commands in order, one failing does not stop the next; then say that the boot is finished."""
    log = Path("/var/log/cloud-init-output.log")
    for command in commands:
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, env=environment, cwd="/", check=False
            )
            output = (done.stdout + done.stderr).decode(errors="replace")
            problem = f"cloud-init: {argv[-1]!r} ended with {done.returncode}" if done.returncode else ""
        except OSError as error:
            output, problem = "", f"cloud-init: {argv[0]}: {error}"
        with log.open("a") as file:
            file.write(output)
        for line in [*output.splitlines(), *([problem] if problem else [])]:
            say(line)
    result = {"v1": {"datasource": "DataSourceConfigDrive", "errors": []}}
    Path("/run/cloud-init/result.json").write_text(json.dumps(result))
    Path("/var/lib/cloud/instance/boot-finished").write_text("")
    say("Cloud-init v. 24.4 finished. Datasource DataSourceConfigDrive.")


def add_user(name: str, keys: list[str], shell: str = "", home: str = "") -> Path:
    """Make sure of a user (uid 0, as everybody here) who may log in with the keys; returns the home directory."""
    passwd = Path("/etc/passwd")
    lines = passwd.read_text().splitlines()
    found = next((line for line in lines if line.split(":")[0] == name), None)
    if found is None:
        default = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
        found = f"{name}:x:0:0:{name}:{home or f'/home/{name}'}:{shell or default}"
        passwd.write_text("\n".join([*lines, found]) + "\n")
        group = Path("/etc/group")
        group.write_text(group.read_text() + f"{name}:x:0:\n")
    directory = Path(found.split(":")[5])
    ssh = directory / ".ssh"
    ssh.mkdir(mode=0o700, parents=True, exist_ok=True)
    authorised = ssh / "authorized_keys"
    known = authorised.read_text().splitlines() if authorised.exists() else []
    wanted = known + [key.strip() for key in keys if key.strip() and key.strip() not in known]
    authorised.write_text("".join(f"{key}\n" for key in wanted))
    authorised.chmod(0o600)
    return directory


def _users(users: list[Any], config: dict[str, Any], boot: dict[str, Any], say: Say) -> None:
    extra = [str(key) for key in _listed(config, "ssh_authorized_keys")]
    settings = config.get("user")
    default = boot["username"]
    if isinstance(settings, dict) and settings.get("name"):
        default = str(settings["name"])
    elif isinstance(settings, str):
        default = settings
    for user in users:
        if user == "default":
            add_user(default, [*boot["keys"], *extra])
        elif isinstance(user, str):
            add_user(user, [])
        elif isinstance(user, dict) and user.get("name"):
            keys = user.get("ssh_authorized_keys") or user.get("ssh-authorized-keys") or []
            keys = [keys] if isinstance(keys, str) else [str(key) for key in keys]
            add_user(str(user["name"]), keys, str(user.get("shell") or ""), str(user.get("homedir") or ""))
        else:
            say(f"cloud-init: users: do not understand {user!r}")
    if "default" not in users and extra:
        add_user("root", extra)


def _write_file(entry: dict[str, Any]) -> None:
    path = Path(entry["path"])
    content = entry.get("content", "")
    data = content if isinstance(content, bytes) else str(content).encode()
    encoding = str(entry.get("encoding", ""))
    if encoding in ("b64", "base64", "gz+b64", "gz+base64", "gzip+b64", "gzip+base64"):
        data = base64.b64decode(data)
    if encoding.startswith("gz"):
        data = gzip.decompress(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if entry.get("append") else "wb") as file:
        file.write(data)
    if "permissions" in entry:
        mode = entry["permissions"]
        path.chmod(mode if isinstance(mode, int) else int(str(mode), 8))


def _decode(user_data: str) -> bytes:
    data = base64.b64decode(user_data)
    if data[:2] == b"\x1f\x8b":
        with contextlib.suppress(OSError, EOFError):
            return gzip.decompress(data)
    return data


def _parse(data: bytes, say: Say) -> tuple[dict[str, Any], bytes]:
    """(cloud-config, script): one of them is empty. Multi-part user data gives its parts together."""
    if data.startswith(b"#!"):
        return {}, data
    if re.match(rb"(content-type|mime-version):", data, re.IGNORECASE):
        return _parse_parts(data, say)
    if not data.strip():
        return {}, b""
    if not data.startswith(b"#cloud-config"):
        say("cloud-init: unhandled non-multipart user data")
        return {}, b""
    try:
        config = yaml.safe_load(data)
    except yaml.YAMLError as error:
        say(f"cloud-init: failed loading yaml blob: {error}")
        return {}, b""
    return (config if isinstance(config, dict) else {}), b""


def _parse_parts(data: bytes, say: Say) -> tuple[dict[str, Any], bytes]:
    import email

    merged: dict[str, Any] = {}
    script = b""
    for part in email.message_from_bytes(data).walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            config, found = _parse(payload if isinstance(payload, bytes) else b"", say)
            merged.update(config)
            script = found or script
    return merged, script


def _listed(config: dict[str, Any], key: str) -> list[Any]:
    value = config.get(key)
    return value if isinstance(value, list) else []


def _metadata(boot: dict[str, Any]) -> None:
    directory = Path("/run/cloud-init")
    directory.mkdir(parents=True, exist_ok=True)
    view = {key: boot[key] for key in ("uuid", "name", "hostname", "region", "availability_zone") if key in boot}
    document: dict[str, Any] = {
        "v1": {"cloud_name": "openstack", **view},
        "ds": {"meta_data": {"meta": boot.get("metadata", {}), **view}},
    }
    (directory / "instance-data.json").write_text(json.dumps(document, indent=1))
    (directory / "python").write_text(sys.version)
