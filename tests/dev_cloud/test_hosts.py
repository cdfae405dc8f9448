"""Servers as hosts: real ssh, sftp, Ansible on them, and the real openstack command."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openstack
import pytest

from .conftest import Emulator, demo_regions, eventually, start

WAYS = {
    "citycloud-like": ("Lon1", "private", True),
    "ovh-like": ("GRA1", "Ext-Net", False),
    "otc-like": ("eu-de", "private", True),
    "rax-like": ("DFW", None, False),
}
OPTIONS = [
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "ConnectTimeout=5",
]


def boot(emulator: Emulator, cloud: str, name: str, key: Path, user_data: str = "") -> tuple[Any, str, Any]:
    """(connection, address, server) of a new server whose key lets us in as debian."""
    region, network, floats = WAYS[cloud]
    connection = emulator.connect(cloud, region)
    if connection.compute.find_keypair("test") is None:
        connection.create_keypair("test", key.with_suffix(".pub").read_text().strip())
    flavor = connection.compute.find_flavor("tiny")
    image = connection.image.find_image("debian-12")
    networks: Any = [{"uuid": connection.network.find_network(network).id}] if network else "auto"
    more = {"user_data": base64.b64encode(user_data.encode()).decode()} if user_data else {}
    server = connection.compute.create_server(
        name=name, image_id=image.id, flavor_id=flavor.id, key_name="test", networks=networks, **more
    )
    server = connection.compute.wait_for_server(server, interval=0.05, wait=20)
    if floats:
        connection.add_auto_ip(server)
    return connection, eventually(lambda: _address(connection, server.id)), server


def _address(connection: openstack.connection.Connection, ident: str) -> str | None:
    server = connection.compute.get_server(ident)
    addresses = [row["addr"] for rows in server.addresses.values() for row in rows]
    return next((address for address in addresses if address.startswith("127.64.")), None)


def ssh(
    key: Path, address: str, command: str, *, user: str = "debian", options: tuple[str, ...] = (), **more: Any
) -> Any:
    argv = ["ssh", "-i", str(key), "-p", "2222", *OPTIONS, *options, f"{user}@{address}", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, **more)


def up(key: Path, address: str, user: str = "debian") -> str:
    eventually(lambda: ssh(key, address, "true", user=user).returncode == 0)
    return address


@pytest.fixture(scope="module")
def node(hosts: Emulator, key: Path) -> str:
    data = (
        "#cloud-config\nhostname: worker\nusers:\n- default\n- name: zuul\n  ssh_authorized_keys: ['%s']\n"
        "write_files:\n- {path: /opt/made, content: hello, permissions: '0640'}\nruncmd:\n- echo $HOME > /opt/ran\n"
    )
    _, address, _ = boot(hosts, "ovh-like", "node", key, data % key.with_suffix(".pub").read_text().strip())
    return up(key, address)


@pytest.mark.parametrize("cloud", list(WAYS))
def test_a_server_of_every_vendor_answers_ssh_and_goes_away_again(hosts: Emulator, key: Path, cloud: str) -> None:
    connection, address, server = boot(hosts, cloud, f"vendor-{cloud}", key)
    assert ssh(key, up(key, address), "hostname").stdout.strip() == f"vendor-{cloud}"
    console = connection.get_server_console(server.id)
    assert "-----BEGIN SSH HOST KEY KEYS-----" in console
    scanned = subprocess.run(
        ["ssh-keyscan", "-p", "2222", "-t", "ed25519", address], capture_output=True, text=True, timeout=20, check=True
    )
    assert scanned.stdout.split()[-1] in console
    connection.delete_server(server.id, wait=False)
    eventually(lambda: connection.compute.find_server(server.id) is None)
    assert ssh(key, address, "true").returncode == 255


def test_images_are_uploaded_the_way_the_vendor_wants(hosts: Emulator, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(os.urandom(5000))
    ways = {"ovh-like": ("raw", {}), "otc-like": ("qcow2", {"use_import": True}), "rax-like": ("vhd", {})}
    for cloud, (disk_format, more) in ways.items():
        connection = hosts.connect(cloud, WAYS[cloud][0])
        image = connection.create_image(
            f"mine-{cloud}",
            filename=str(tmp_path / "image"),
            disk_format=disk_format,
            container_format="bare",
            wait=True,
            timeout=60,
            **more,
        )
        eventually(lambda: connection.image.find_image(f"mine-{cloud}").status == "active")  # noqa: B023
        assert connection.delete_image(image.id if image else f"mine-{cloud}")


def test_an_image_can_bring_paths_and_environment(tmp_path: Path, key: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "carried.py").write_text("print('carried')\n")
    image = {"name": "debian-12", "binds": [str(tmp_path / "tools")], "env": {"PYTHONPATH": str(tmp_path / "tools")}}
    emulator = start(tmp_path / "state", {"factor": 0, "regions": [{**demo_regions()[1], "images": [image]}]})
    try:
        _, address, _ = boot(emulator, "ovh-like", "carrier", key)
        done = ssh(key, up(key, address), f"python3 -m carried; touch {tmp_path}/tools/x")
        assert done.stdout == "carried\n"
        assert "Read-only" in done.stderr
    finally:
        emulator.stop()


def test_no_two_servers_have_the_same_host_key(hosts: Emulator, key: Path) -> None:
    keys = set()
    for number in range(3):
        connection, address, server = boot(hosts, "ovh-like", f"keys-{number}", key)
        up(key, address)
        keys.add(
            next(
                line for line in connection.get_server_console(server.id).splitlines() if line.startswith("ecdsa-sha2")
            ).split()[1]
        )
        connection.delete_server(server.id)
    assert len(keys) == 3


def test_user_data_is_honoured(node: str, key: Path) -> None:
    eventually(lambda: ssh(key, node, "cat /var/lib/cloud/instance/boot-finished").returncode == 0)
    shown = ssh(key, node, "hostname; cat /opt/made; stat -c %a /opt/made; cat /opt/ran; echo $USER $HOME", user="zuul")
    assert shown.stdout.split() == ["worker", "hello640", "/root", "zuul", "/home/zuul"]


def test_commands_have_input_output_errors_status_and_environment(node: str, key: Path) -> None:
    done = ssh(
        key,
        node,
        "cat; echo $LC_TEST; echo oops >&2; exit 7",
        input="from here\n",
        options=("-o", "SetEnv=LC_TEST=set"),
    )
    assert (done.stdout, done.stderr, done.returncode) == ("from here\nset\n", "oops\n", 7)
    big = ssh(key, node, "head -c 3000000 /dev/zero | tr '\\0' x")
    assert len(big.stdout) == 3_000_000


def test_a_terminal_is_one(node: str, key: Path) -> None:
    done = ssh(key, node, "tty; exit 5", options=("-tt",), stdin=subprocess.DEVNULL)
    assert done.stdout.startswith("/dev/pts/")
    assert done.returncode == 5


def test_files_are_copied_both_ways(node: str, key: Path, tmp_path: Path) -> None:
    data = os.urandom(200_000)
    (tmp_path / "out").write_bytes(data)
    for legacy in ([], ["-O"]):
        base = ["scp", *legacy, "-i", str(key), "-P", "2222", *OPTIONS]
        subprocess.run([*base, str(tmp_path / "out"), f"debian@{node}:copied"], check=True, timeout=30)
        subprocess.run([*base, f"debian@{node}:copied", str(tmp_path / "back")], check=True, timeout=30)
        assert (tmp_path / "back").read_bytes() == data


def test_the_host_stays_out_of_reach(node: str, key: Path) -> None:
    done = ssh(
        key,
        node,
        f"ls {Path.cwd()} {Path(__file__).parent}; touch /usr/x || mount -o remount,rw /usr || echo 1 > /proc/sys/kernel/panic; ls -A /root",
    )
    assert done.returncode == 0
    assert done.stdout.split() == [".ssh"]
    assert "No such file" in done.stderr
    assert "Read-only" in done.stderr
    seen = ssh(key, node, "ps -e -o pid= | wc -l").stdout
    assert int(seen) < 10


def test_sudo_is_there(node: str, key: Path) -> None:
    done = ssh(
        key,
        node,
        "sudo -H -S -n -u root /bin/sh -c 'echo $USER $HOME $(id -u)'; sudo -u debian printenv HOME; sudo -n FOO=bar printenv FOO",
    )
    assert done.stdout.split() == ["root", "/root", "0", "/home/debian", "bar"]


def test_stock_ansible_works_on_a_server(node: str, key: Path, tmp_path: Path) -> None:
    (tmp_path / "play.yaml").write_text(PLAY)
    (tmp_path / "inventory").write_text(
        f"node ansible_host={node} ansible_port=2222 ansible_user=zuul ansible_ssh_private_key_file={key}\n"
    )
    environment = {
        **os.environ,
        "ANSIBLE_HOST_KEY_CHECKING": "False",
        "ANSIBLE_PIPELINING": "1",
    }
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory", "play.yaml"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


PLAY = """
- hosts: node
  gather_facts: false
  tasks:
  - {name: facts, setup: {gather_subset: ['!all', '!min', 'user', 'distribution', 'python']}}
  - {name: copy, copy: {content: "x", dest: ~/copied, mode: '0600'}}
  - {name: as root, become: true, command: 'sh -c "echo $USER $(id -u)"', register: root}
  - {name: package, become: true, check_mode: true, apt: {name: hello}, when: "ansible_facts.distribution in ['Debian', 'Ubuntu']"}
  - {name: start, command: 'sh -c "sleep 0.3; echo slept"', async: 20, poll: 0, register: job}
  - {name: who, assert: {that: ["root.stdout == 'root 0'", "ansible_facts.user_dir == '/home/zuul'"]}}
  - {name: wait, async_status: {jid: "{{ job.ansible_job_id }}"}, register: result, until: result.finished, retries: 40, delay: 0.1}
  - {name: slept, assert: {that: "result.stdout == 'slept'"}}
"""


def test_the_openstack_command_works(hosts: Emulator, key: Path) -> None:
    environment = {
        **os.environ,
        "OS_CLIENT_CONFIG_FILE": str(hosts.clouds_yaml),
        "OS_CLOUD": "ovh-like",
        "OS_REGION_NAME": "GRA1",
    }

    def run(*words: str) -> Any:
        argv = [str(Path(sys.executable).with_name("openstack")), *words]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) if "json" in words else done.stdout

    wish = ["--image", "debian-12", "--flavor", "tiny", "--network", "Ext-Net", "--wait", "-f", "json"]
    created = run("server", "create", *wish, "cli-1")
    assert created["status"] == "ACTIVE"
    assert "cli-1" in [server["Name"] for server in run("server", "list", "-f", "json")]
    connection = hosts.connect("ovh-like", "GRA1")
    connection.compute.delete_server(connection.compute.find_server("cli-1"))


def test_a_killed_server_is_lost_and_a_killed_emulator_leaves_no_process(tmp_path: Path, key: Path) -> None:
    emulator = start(tmp_path, {"factor": 0, "regions": [demo_regions()[1]]})
    try:
        connection, address, server = boot(emulator, "ovh-like", "lost", key)
        _, other, _ = boot(emulator, "ovh-like", "stays", key)
        for one in (address, other):
            up(key, one)
        emulator.fault("lose-server", server="lost")
        eventually(lambda: ssh(key, address, "true").returncode == 255)
        assert connection.compute.get_server(server.id).status == "ACTIVE"
        assert ssh(key, other, "true").returncode == 0
        marker = f"sleep 86{os.getpid()}"
        ssh(key, other, f"setsid {marker} > /dev/null 2>&1 &")
        assert _running(marker)
    finally:
        emulator.process.kill()
        emulator.process.wait()
    eventually(lambda: not _running(marker))
    assert ssh(key, other, "true").returncode == 255


def _running(marker: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().replace(b"\0", b" ").strip() == marker.encode():
                return True
        except OSError:
            continue
    return False
