"""The adapter on emulated regions of four vendors: the same calls, whatever the vendor is like."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clouds.emulator import Emulator, emulated_clouds
from trunkline.clouds import Limiter, Region, ServerSeen, classify, scan_host_keys
from trunkline.pool import FlavorSpec, ImageSpec, LabelSpec, ProviderSpec, Trouble

IMAGE = ImageSpec("debian", image_id="debian-12", username="debian", connection_port=2222)
FLAVOR = FlavorSpec("small", "small")
CLOUDS = ["citycloud-like", "ovh-like", "otc-like", "rax-like"]


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulated_clouds(tmp_path_factory.mktemp("clouds")) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def reach(clouds: Emulator, cloud: str, owner: str = "us", **more: object) -> Region:
    region = dict(clouds.regions)[cloud]
    return Region(cloud, region, owner=owner, config_file=clouds.clouds_yaml, limiter=Limiter(200.0), **more)  # type: ignore[arg-type]


def spec(cloud: str, *labels: LabelSpec) -> ProviderSpec:
    return ProviderSpec("t", cloud, f"p/{cloud}", "openstack", "c", cloud, "", labels=labels)


def wait_active(region: Region, server_id: str) -> ServerSeen:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        server = next((s for s in region.servers() if s.id == server_id), None)
        if server is not None and server.status != "BUILD":
            return server
        time.sleep(0.1)
    raise AssertionError("the server did not leave BUILD")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_server_from_create_to_gone(clouds: Emulator, keys: Path, cloud: str):
    region = reach(clouds, cloud)
    region.ensure_keypair("ci", Path(f"{keys}.pub").read_text().strip())
    region.ensure_keypair("ci", "whatever is there already stays")
    label = LabelSpec("small", IMAGE, FLAVOR, key_name="ci")
    offer = region.offer([spec(cloud, label)], {})
    assert offer.flavors["small"].cores
    assert offer.problems == {}
    assert region.limits().instances == 20
    node_id = str(uuid.uuid4())
    server_id = region.create_server(node_id, label, offer.images["debian"], tags={"purpose": "test"})
    server = wait_active(region, server_id)
    assert (server.status, server.owner, server.node_id) == ("ACTIVE", "us", node_id)
    assert server.uses.cores == offer.flavors["small"].cores
    assert region.needs_floating_ip(server, label) == (cloud in ("citycloud-like", "otc-like"))
    if region.needs_floating_ip(server, label):
        made = region.attach_floating_ip(server)
        assert region.attach_floating_ip(server) == made, "attaching twice is attaching once"
        assert region.floating_ips() == {made[0]: node_id}
        found = region.server(server_id)
        assert found is not None
        server = found
    address = region.addresses(server).interface_ip
    assert address
    assert asyncio.run(scan_host_keys(address, 2222, timeout_s=30))
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    command = ["ssh", "-i", str(keys), "-p", "2222", *options, f"debian@{address}", "echo hello"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=30).stdout == "hello\n"
    for ip in region.floating_ips():
        region.delete_floating_ip(ip)
    region.delete_server(server_id)
    region.delete_server(server_id)
    deadline = time.monotonic() + 60
    while region.server(server_id) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not clouds.servers_of("us")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_image_of_ours_gets_in_by_the_vendors_way(clouds: Emulator, tmp_path: Path, cloud: str):
    region = reach(clouds, cloud)
    (tmp_path / f"mine.{region.image_format}").write_bytes(b"bits of an image" * 64)
    file = region.image_file(tmp_path, "mine")
    assert file is not None
    assert region.find_upload(file) is None
    image_id = region.upload(file, 60.0)
    assert region.find_upload(file) == image_id
    mine = LabelSpec("mine", ImageSpec("mine", type="zuul"), FLAVOR)
    assert region.offer([spec(cloud, mine)], {"mine": image_id}).images == {"mine": image_id}


def test_what_is_not_there_is_said(clouds: Emulator):
    region = reach(clouds, "ovh-like")
    label = LabelSpec("x", ImageSpec("x", image_id="windows"), FlavorSpec("x", "huge"))
    least = LabelSpec("y", ImageSpec("y", filters={"name": "debian-.*"}), FlavorSpec("y", "min-ram:1000"))
    offer = region.offer([spec("ovh-like", label, least)], {})
    assert offer.problems == {
        "image:x": "ovh-like/GRA1 has no image windows",
        "flavor:huge": "ovh-like/GRA1 has no flavor huge",
    }
    assert set(offer.images) == {"y"}
    assert set(offer.flavors) == {"min-ram:1000"}


def trouble_of(region: Region) -> Trouble:
    try:
        region.servers()
    except Exception as error:
        return classify(error).kind
    raise AssertionError("no trouble")


def test_troubles_are_told_apart(clouds: Emulator):
    scope = {"cloud": "ovh-like", "region": "GRA1"}
    label = LabelSpec("small", IMAGE, FLAVOR)
    region = reach(clouds, "ovh-like", timeout_s=2.0)
    offer = region.offer([spec("ovh-like", label)], {})
    with clouds.fault("region-down", **scope):
        assert trouble_of(region) is Trouble.down
    with clouds.fault("region-down", mode="hang", **scope):
        assert trouble_of(reach(clouds, "ovh-like", timeout_s=1.0)) is Trouble.timeout
    with clouds.fault("api-error", status=500, service="compute", **scope):
        assert trouble_of(region) is Trouble.down
    with clouds.fault("quota-full", **scope), pytest.raises(Exception, match="Quota") as refused:
        region.create_server(str(uuid.uuid4()), label, offer.images["debian"])
    assert classify(refused.value).kind is Trouble.quota
    with clouds.fault("token-expired", count=1, **scope):
        region.servers()  # the SDK asks for a new token by itself
    assert region.servers() == []


def test_wrong_credentials_are_trouble_with_auth(clouds: Emulator, tmp_path: Path):
    broken = tmp_path / "clouds.yaml"
    broken.write_text(Path(clouds.clouds_yaml).read_text().replace("password: example", "password: wrong"))
    for cloud, region in clouds.regions:
        adapter = Region(cloud, region, owner="us", config_file=str(broken), limiter=Limiter(200.0))
        assert trouble_of(adapter) is Trouble.auth, cloud


def test_the_limiter_hears_of_every_request_and_slows_down_when_told(clouds: Emulator):
    limiter = Limiter(200.0)
    region = Region("ovh-like", "GRA1", owner="us", config_file=clouds.clouds_yaml, limiter=limiter)
    region.servers()
    before = limiter.calls
    region.servers()
    assert limiter.calls == before + 1, "one list is one request"
    with clouds.fault("rate-limit", status=429, retry_after_s=1, service="compute", count=1, cloud="ovh-like"):
        time.sleep(0.6)
        assert trouble_of(region) is Trouble.rate
    assert limiter.rate == 100.0
    begin = time.monotonic()
    region.servers()
    assert time.monotonic() - begin > 0.7, "what Retry-After said was waited for"
