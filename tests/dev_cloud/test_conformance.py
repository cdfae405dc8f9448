"""The conformance table: what clients call, held on the emulator with the real openstacksdk. Rows run in order."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openstack
import pytest
from openstack import exceptions

from trunkline.dev.cloud.serve import region_tables

from ..shared import SHARED, needs_shared
from .conftest import Emulator, eventually

Row = Callable[[Any], None]
ROWS: list[Any] = []
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH7Q8XhnUiyoMvFB0trwSeplb9GZitLTqTDdHKjsey2V test"


def row(ident: str, what: str) -> Callable[[Row], Row]:
    def register(function: Row) -> Row:
        ROWS.append(pytest.param(function, id=f"{ident} {what}"))
        return function

    return register


@pytest.fixture(scope="module")
def s(paper: Emulator, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What rows share: the connection, and what earlier rows have made."""
    connection = paper.connect("plain", "RegionOne")
    return SimpleNamespace(
        emulator=paper, c=connection, tmp=tmp_path_factory.mktemp("conformance"), began=datetime.now(UTC)
    )


@contextlib.contextmanager
def refused(status: int) -> Any:
    with pytest.raises(exceptions.HttpException) as caught:
        yield caught
    assert caught.value.status_code == status, caught.value


def boot(s: SimpleNamespace, name: str, **more: Any) -> Any:
    wish = {"image_id": s.image.id, "flavor_id": s.flavor.id, "networks": [{"uuid": s.public.id}], **more}
    server = s.c.compute.create_server(name=name, **wish)
    return s.c.compute.wait_for_server(server, interval=0.05, wait=20)


def gone(s: SimpleNamespace, server: Any) -> None:
    s.c.compute.delete_server(server)
    s.c.compute.wait_for_delete(server, interval=0.05, wait=20)


@row("A01", "authorize")
def _(s: Any) -> None:
    assert s.c.authorize()


@row("A02", "wrong password")
def _(s: Any) -> None:
    # openstacksdk gives SDKException or HttpException with the keystone's 401, by version.
    with pytest.raises((exceptions.SDKException, Exception), match=r"401|requires authentication"):
        s.emulator.connect("plain", "RegionOne", password="wrong", auth={"password": "wrong"}).authorize()


@row("A03", "current project")
def _(s: Any) -> None:
    assert s.c.current_project_id


@row("A04 A05", "application credentials")
def _(s: Any) -> None:
    user = s.c.current_user_id
    credential = s.c.identity.create_application_credential(user, name="conformance")
    auth = {
        "auth_url": s.c.config.config["auth"]["auth_url"],
        "application_credential_id": credential.id,
        "application_credential_secret": credential.secret,
    }
    other = openstack.connect(
        auth_type="v3applicationcredential", auth=auth, region_name="RegionOne", load_yaml_config=False
    )
    assert other.list_flavors()
    assert [one.id for one in s.c.identity.application_credentials(user)] == [credential.id]
    s.c.identity.delete_application_credential(user, credential.id)
    assert not list(s.c.identity.application_credentials(user))


@row("A06", "a token of v3")
def _(s: Any) -> None:
    auth = {
        "auth_url": s.c.config.config["auth"]["auth_url"],
        "token": s.c.auth_token,
        "project_id": s.c.current_project_id,
    }
    other = openstack.connect(auth_type="v3token", auth=auth, region_name="RegionOne", load_yaml_config=False)
    assert other.list_flavors()


@row("A07 A08", "endpoints and catalog")
def _(s: Any) -> None:
    for service in ("compute", "image", "network", "block-storage", "identity", "placement"):
        assert s.c.endpoint_for(service).startswith("http://127.0.0.1:")
    assert {"compute", "image", "network", "block-storage"} <= {entry["type"] for entry in s.c.service_catalog}
    other = s.emulator.connect("plain", "RegionTwo")
    assert other.endpoint_for("compute") != s.c.endpoint_for("compute")


@row("A09 A10 A11 A12", "version discovery")
def _(s: Any) -> None:
    assert s.c.compute.get_endpoint_data().max_microversion == (2, 93)
    assert s.c.image.get_endpoint_data().api_version >= (2, 0)
    assert s.c.network.get_endpoint_data().api_version == (2, 0)
    assert s.c.block_storage.get_endpoint_data().max_microversion == (3, 70)


@row("A13", "a revoked token: signs in again by itself")
def _(s: Any) -> None:
    s.emulator.fault("token-expired", count=1)
    assert s.c.list_flavors()


@row("A14 A15", "projects")
def _(s: Any) -> None:
    with refused(403):
        list(s.c.identity.projects())
    assert len(list(s.c.identity.user_projects(s.c.current_user_id))) == 1


@row("A16", "a service that is absent")
def _(s: Any) -> None:
    assert not s.c.has_service("dns")


@row("B01 B02 B03 B04 B06", "flavors")
def _(s: Any) -> None:
    assert {flavor.name for flavor in s.c.list_flavors()} == {"tiny", "small", "medium", "large"}
    assert len(list(s.c.compute.flavors(limit=1))) == 4
    s.flavor = s.c.compute.find_flavor("tiny")
    assert s.c.compute.find_flavor("absent") is None
    assert s.c.compute.fetch_flavor_extra_specs(s.flavor).extra_specs == {}


@row("B05", "a flavor by its memory")
def _(s: Any) -> None:
    assert s.c.get_flavor_by_ram(256).name == "tiny"


@row("B07 B08 B09", "zones, limits, quotas")
def _(s: Any) -> None:
    assert s.c.list_availability_zone_names() == ["nova"]
    assert s.c.get_compute_limits().max_total_instances == 50
    assert s.c.get_compute_quotas(s.c.current_project_id).instances == 50


@row("B10", "a member may not set quotas")
def _(s: Any) -> None:
    with refused(403):
        s.c.set_compute_quotas(s.c.current_project_id, instances=1)


@row("B11 B12 B13 B14", "key pairs")
def _(s: Any) -> None:
    s.c.create_keypair("conf", KEY)
    with refused(409):
        s.c.create_keypair("conf", KEY)
    with refused(400):
        s.c.compute.create_keypair(name="bad", public_key="ssh-rsa nonsense")
    assert s.c.compute.find_keypair("conf").fingerprint.count(":") == 15


@row("B15 B16", "server groups")
def _(s: Any) -> None:
    s.group = s.c.compute.create_server_group(name="conf", policy="anti-affinity")
    assert [one.id for one in s.c.compute.server_groups()] == [s.group.id]


@row("B17", "a member may not see hypervisors")
def _(s: Any) -> None:
    with refused(403):
        list(s.c.compute.hypervisors())


@row("C01 C02 C03 C04", "images")
def _(s: Any) -> None:
    assert [image.name for image in s.c.list_images()] == ["debian-12"]
    s.image = s.c.image.find_image("debian-12")
    assert s.c.get_image("absent") is None
    with refused(404):
        s.c.image.get_image(str(uuid.uuid4()))


@row("C05 C06 C07", "upload, the same again, download")
def _(s: Any) -> None:
    path, data = s.tmp / "image.raw", os.urandom(4096)
    path.write_bytes(data)
    sums = {"md5": hashlib.md5(data, usedforsecurity=False).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    more = {"container_format": "bare", "disk_format": "raw", "meta": {"build": "7"}, "wait": True, **sums}
    s.uploaded = s.c.create_image("conf-image", filename=str(path), **more)
    assert s.uploaded.status == "active"
    assert s.c.create_image("conf-image", filename=str(path), **more).id == s.uploaded.id
    assert s.c.image.download_image(s.uploaded, stream=False).content == data


@row("C08 C09 C10", "properties, tags, visibility")
def _(s: Any) -> None:
    assert s.c.image.update_image(s.uploaded.id, nodepool_build_id="b1").properties["nodepool_build_id"] == "b1"
    s.c.image.add_tag(s.uploaded, "ci")
    assert s.c.image.get_image(s.uploaded.id).tags == ["ci"]
    s.c.image.remove_tag(s.uploaded, "ci")
    with refused(403):
        s.c.image.update_image(s.uploaded.id, visibility="public")


@row("C11 C12", "deactivated, protected")
def _(s: Any) -> None:
    s.c.image.deactivate_image(s.uploaded)
    assert s.c.image.get_image(s.uploaded.id).status == "deactivated"
    s.c.image.reactivate_image(s.uploaded)
    assert s.c.image.get_image(s.uploaded.id).status == "active"
    s.c.image.update_image(s.uploaded.id, is_protected=True)
    with refused(403):
        s.c.image.delete_image(s.uploaded.id)
    s.c.image.update_image(s.uploaded.id, is_protected=False)


@row("C13 C14 C15", "import")
def _(s: Any) -> None:
    path = s.tmp / "import.raw"
    path.write_bytes(b"x" * 100)
    image = s.c.image.create_image(
        "conf-import", filename=str(path), use_import=True, container_format="bare", disk_format="raw", wait=True
    )
    eventually(lambda: s.c.image.get_image(image.id).status == "active")
    assert "glance-direct" in s.c.image.get_import_info().import_methods["value"]
    assert [store.id for store in s.c.image.stores()] == ["fs"]
    s.c.image.delete_image(image.id)


@row("C16 C17", "members, tasks")
def _(s: Any) -> None:
    image = s.c.image.update_image(s.uploaded.id, visibility="shared")
    member = s.c.image.add_member(image, member_id="0" * 32)
    assert [one.status for one in s.c.image.members(image)] == ["pending"]
    s.c.image.remove_member(member, image=image)
    with refused(403):
        list(s.c.image.tasks())


@row("C18 C19 C20", "two of a name, pages, bad formats")
def _(s: Any) -> None:
    twins = [
        s.c.image.create_image("twin", allow_duplicates=True, container_format="bare", disk_format="raw") for _ in "ab"
    ]
    with pytest.raises(exceptions.DuplicateResource):
        s.c.image.find_image("twin")
    assert len(list(s.c.image.images(limit=1))) == 4
    for twin in twins:
        s.c.image.delete_image(twin.id)
    with refused(400):
        s.c.image.create_image("floppy", container_format="bare", disk_format="floppy")


@row("C21 C22", "delete an image")
def _(s: Any) -> None:
    assert s.c.delete_image(s.uploaded.id, wait=True)
    assert not s.c.delete_image("absent")


@row("D01 D02 D03", "networks")
def _(s: Any) -> None:
    assert {network.name for network in s.c.list_networks()} == {"public", "private"}
    s.public = s.c.network.find_network("public")
    assert [network.name for network in s.c.get_external_ipv4_networks()] == ["public"]
    assert [network.name for network in s.c.get_internal_ipv4_networks()] == ["private"]


@row("D04 D05 D06", "a network of one's own")
def _(s: Any) -> None:
    s.network = s.c.create_network("conf")
    s.subnet = s.c.create_subnet(s.network.id, cidr="10.99.0.0/24")
    s.router = s.c.create_router("conf", ext_gateway_net_id=s.public.id)
    s.c.add_router_interface(s.router, subnet_id=s.subnet.id)
    with refused(400):
        s.c.create_subnet(s.network.id, cidr="10.99.0.0/16")
    with refused(409):
        s.c.network.delete_network(s.network)


@row("D07 D08 D09 D10", "ports")
def _(s: Any) -> None:
    fixed = [{"subnet_id": s.subnet.id, "ip_address": "10.99.0.17"}]
    s.port = s.c.network.create_port(network_id=s.network.id, fixed_ips=fixed)
    assert s.port.status == "DOWN"
    with refused(409):
        s.c.network.create_port(network_id=s.network.id, fixed_ips=fixed)
    assert [port.id for port in s.c.list_ports({"status": "DOWN", "network_id": s.network.id})] == [s.port.id]
    assert len(list(s.c.network.ports(limit=1))) == 3


@row("D11 D12 D13", "security groups")
def _(s: Any) -> None:
    s.security = s.c.create_security_group("conf", "of the table")
    s.c.create_security_group_rule("conf", port_range_min=22, port_range_max=22, protocol="tcp")
    with refused(409):
        s.c.create_security_group_rule("conf", port_range_min=22, port_range_max=22, protocol="tcp")
    assert {group.name for group in s.c.list_security_groups()} == {"default", "conf"}


@row("D14 D15 D16 D17", "floating IPs")
def _(s: Any) -> None:
    floating = s.c.create_floating_ip("public")
    assert floating.status == "DOWN"
    assert s.c.available_floating_ip().id == floating.id
    assert len(s.c.list_floating_ips()) == 1
    assert s.c.delete_unattached_floating_ips() == 1


@row("D18 D19 D20", "network quotas, extensions, zones")
def _(s: Any) -> None:
    assert s.c.get_network_quotas(s.c.current_project_id, details=True)["ports"]["limit"] == 500
    assert "security-group" in {extension.alias for extension in s.c.network.extensions()}
    assert {zone.name for zone in s.c.network.availability_zones()} == {"nova"}


@row("E01 E02", "create a server and wait")
def _(s: Any) -> None:
    s.server = s.c.create_server(
        "conf-1",
        image=s.image,
        flavor=s.flavor,
        network="public",
        key_name="conf",
        meta={"conf": "1"},
        userdata="#cloud-config\n",
        config_drive=True,
        wait=True,
        timeout=30,
        auto_ip=False,
    )
    assert s.server.status == "ACTIVE"
    address = s.server.addresses["public"][0]["addr"]
    assert s.c.get_server("conf-1").interface_ip == address


@row("E03 E04", "find it")
def _(s: Any) -> None:
    assert s.c.get_server("conf-1").id == s.c.get_server_by_id(s.server.id).id == s.server.id
    assert [one.id for one in s.c.list_servers() if one.metadata.get("conf") == "1"] == [s.server.id]


@row("E05 E06 E07 E08 E09", "lists")
def _(s: Any) -> None:
    assert s.c.compute.get("/servers/detail").json()["servers"][0]["id"] == s.server.id
    since = (s.began - timedelta(hours=1)).isoformat()
    assert [one.id for one in s.c.compute.servers(changes_since=since)] == [s.server.id]
    assert [one.id for one in s.c.compute.servers(status="ACTIVE", name="^conf-1$")] == [s.server.id]
    assert [one.name for one in s.c.compute.servers(details=False)] == ["conf-1"]
    with refused(403):
        list(s.c.compute.servers(all_projects=True))


@row("E10", "metadata")
def _(s: Any) -> None:
    s.c.set_server_metadata(s.server.id, {"k": "v"})
    assert s.c.compute.get_server(s.server.id).metadata == {"conf": "1", "k": "v"}
    s.c.delete_server_metadata(s.server.id, ["k"])
    assert s.c.compute.get_server(s.server.id).metadata == {"conf": "1"}


@row("E11 E12", "console, rename")
def _(s: Any) -> None:
    assert isinstance(s.c.get_server_console(s.server.id, 10), str)
    assert s.c.update_server(s.server.id, name="conf-renamed").name == "conf-renamed"
    s.c.update_server(s.server.id, name="conf-1")


def _is(s: Any, status: str) -> bool:
    return bool(s.c.compute.get_server(s.server.id).status == status)


@row("E13 E14 E15", "reboot, stop, start")
def _(s: Any) -> None:
    s.c.compute.reboot_server(s.server.id, "HARD")
    eventually(lambda: _is(s, "ACTIVE"))
    s.c.compute.stop_server(s.server.id)
    eventually(lambda: _is(s, "SHUTOFF"))
    s.c.compute.start_server(s.server.id)
    eventually(lambda: _is(s, "ACTIVE"))
    with refused(409):
        s.c.compute.start_server(s.server.id)


@row("E16", "rebuild")
def _(s: Any) -> None:
    s.c.compute.rebuild_server(s.server.id, image=s.image.id, name="conf-1")
    eventually(lambda: _is(s, "ACTIVE"))


@row("E17", "snapshot")
def _(s: Any) -> None:
    snapshot = s.c.compute.create_server_image(s.server.id, "conf-snap")
    eventually(lambda: s.c.image.get_image(snapshot.id).status == "active")
    assert s.c.delete_image(snapshot.id)


@row("E18 E19", "lock, tags")
def _(s: Any) -> None:
    s.c.compute.lock_server(s.server.id)
    with refused(409):
        s.c.compute.delete_server(s.server.id)
    s.c.compute.unlock_server(s.server.id)
    s.c.compute.add_tag_to_server(s.server.id, "ci")
    assert s.c.compute.get_server(s.server.id).tags == ["ci"]


@row("E20 E21", "interfaces")
def _(s: Any) -> None:
    assert len(list(s.c.compute.server_interfaces(s.server.id))) == 1
    interface = s.c.compute.create_server_interface(s.server.id, port_id=s.port.id)
    assert len(list(s.c.compute.server_interfaces(s.server.id))) == 2
    s.c.compute.delete_server_interface(interface, server=s.server.id)
    eventually(lambda: len(list(s.c.compute.server_interfaces(s.server.id))) == 1)


@row("E22", "history")
def _(s: Any) -> None:
    assert {"create", "reboot", "stop", "start"} <= {one.action for one in s.c.compute.server_actions(s.server.id)}


@row("E23 E24", "a floating IP comes and goes with its server")
def _(s: Any) -> None:
    server = s.c.create_server(
        "conf-fip", image=s.image, flavor=s.flavor, network="private", auto_ip=True, wait=True, timeout=30
    )
    kinds = [row["OS-EXT-IPS:type"] for row in s.c.get_server_by_id(server.id).addresses["private"]]
    assert kinds == ["fixed", "floating"]
    assert s.c.delete_server(server.id, wait=True, delete_ips=True)
    assert s.c.list_floating_ips() == []


@row("E25 E26 E27", "ports given at boot, no network")
def _(s: Any) -> None:
    server = boot(s, "conf-port", networks=[{"port": s.port.id}])
    assert server.addresses["conf"][0]["addr"] == "10.99.0.17"
    gone(s, server)
    assert s.c.network.get_port(s.port.id).status == "DOWN"
    server = boot(s, "conf-none", networks="none")
    assert server.addresses == {}
    gone(s, server)


@row("E28 E29", "scheduler hints, boot from a volume")
def _(s: Any) -> None:
    server = boot(s, "conf-group", scheduler_hints={"group": s.group.id})
    assert server.server_groups == [s.group.id]
    gone(s, server)
    device = {
        "boot_index": 0,
        "uuid": s.image.id,
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": 1,
    }
    server = boot(s, "conf-volume", block_device_mapping=[{**device, "delete_on_termination": True}])
    gone(s, server)
    assert not list(s.c.block_storage.volumes())


@row("E30", "two at once")
def _(s: Any) -> None:
    boot(s, "conf-two", min_count=2, max_count=2)
    eventually(lambda: len(list(s.c.compute.servers(name="^conf-two", status="ACTIVE"))) == 2)
    for server in list(s.c.compute.servers(name="^conf-two")):
        gone(s, server)


@row("E31 E32 E33 E34 E35 E36", "wishes that are refused")
def _(s: Any) -> None:
    wish = {"name": "conf-bad", "image_id": s.image.id, "flavor_id": s.flavor.id, "networks": [{"uuid": s.public.id}]}
    for status, change in (
        (400, {"flavor_id": "nope"}),
        (400, {"image_id": str(uuid.uuid4())}),
        (400, {"availability_zone": "nope"}),
        (403, {"metadata": {f"k{number}": "v" for number in range(129)}}),
        (400, {"metadata": {"k": "v" * 256}}),
        (400, {"user_data": "x" * 65536}),
    ):
        with refused(status):
            s.c.compute.create_server(**{**wish, **change})


@row("E37", "a server that ends in ERROR")
def _(s: Any) -> None:
    s.emulator.fault("no-valid-host", server="conf-error")
    with pytest.raises(exceptions.ResourceFailure):
        boot(s, "conf-error")
    server = s.c.compute.find_server("conf-error")
    assert s.c.compute.get_server(server.id).fault["message"].startswith("No valid host")
    gone(s, server)


@row("E38", "a microversion that is too new")
def _(s: Any) -> None:
    assert s.c.compute.get("/servers", microversion="2.999").status_code == 406


@row("F01 F02 F03 F04", "volumes")
def _(s: Any) -> None:
    volume = s.c.block_storage.create_volume(size=1, name="conf")
    s.volume = s.c.block_storage.wait_for_status(volume, "available", interval=0.05)
    s.c.compute.create_volume_attachment(s.server.id, volume_id=volume.id)
    s.c.block_storage.wait_for_status(volume, "in-use", interval=0.05)
    with refused(400):
        s.c.block_storage.delete_volume(volume.id)
    s.c.compute.delete_volume_attachment(s.server.id, volume.id)
    s.c.block_storage.wait_for_status(volume, "available", interval=0.05)


@row("F05 F06", "snapshot, extend")
def _(s: Any) -> None:
    snapshot = s.c.block_storage.create_snapshot(volume_id=s.volume.id, name="conf")
    s.c.block_storage.wait_for_status(snapshot, "available", interval=0.05)
    s.c.block_storage.delete_snapshot(snapshot)
    s.c.block_storage.wait_for_delete(snapshot, interval=0.05)
    s.c.block_storage.extend_volume(s.volume.id, 2)
    eventually(lambda: s.c.block_storage.get_volume(s.volume.id).status == "available")
    assert s.c.block_storage.get_volume(s.volume.id).size == 2


@row("F07 F08 F09 F10 F11 F12", "limits, quotas, types, lists, refusals, delete")
def _(s: Any) -> None:
    assert s.c.get_volume_limits()["absolute"]["max_total_volumes"] == 50
    assert s.c.get_volume_quotas(s.c.current_project_id).volumes == 50
    assert [one.name for one in s.c.list_volume_types()] == ["standard"]
    assert [one.id for one in s.c.list_volumes()] == [s.volume.id]
    with refused(400):
        s.c.block_storage.create_volume(size=0)
    assert s.c.delete_volume(s.volume.id, wait=True)


@row("G01 G02 G03 G04", "delete a server")
def _(s: Any) -> None:
    assert s.c.delete_server(s.server.id, wait=True)
    assert not s.c.delete_server("absent")
    with refused(404):
        s.c.compute.get_server(s.server.id)
    statuses = {one.id: one.status for one in s.c.compute.servers(changes_since=s.began.isoformat())}
    assert statuses[s.server.id] == "DELETED"


@row("G05 G06 G07", "delete everything else")
def _(s: Any) -> None:
    s.c.network.delete_port(s.port)
    s.c.remove_router_interface(s.router, subnet_id=s.subnet.id)
    assert s.c.delete_router(s.router.id)
    assert s.c.delete_network(s.network.id)
    assert s.c.delete_security_group("conf")
    assert s.c.delete_server_group("conf")
    assert s.c.delete_keypair("conf")
    assert not s.c.delete_keypair("absent")


@row("leaks", "nothing is left")
def _(s: Any) -> None:
    kinds = ("server", "keypair", "volume", "snapshot", "floating_ip", "server_group", "router", "port")
    alive = [
        one for kind in kinds for one in s.emulator.control("GET", f"/objects?kind={kind}&alive=1&region=RegionOne")
    ]
    assert {(one["kind"], one["name"]) for one in alive} == {("router", "router"), ("port", "")}


@pytest.mark.parametrize("check", ROWS)
def test_the_row_holds(check: Row, s: SimpleNamespace) -> None:
    check(s)


@needs_shared
def test_every_path_of_the_recorded_client_traces_is_served() -> None:
    assert SHARED is not None
    tables = region_tables()
    traces = json.loads(Path(SHARED, "reference/openstack-api-recordings/client-traces.json").read_text())["traces"]
    unknown = set()
    for trace in traces.values():
        for exchange in trace["exchanges"]:
            host, _, path = exchange["url"].removeprefix("http://").partition("/")
            service, path = host.split(".")[0], "/" + path.split("?")[0].replace("{project}", "p").replace("{id}", "i")
            if service == "identity" or path in ("/", "/v2.1", "/v3", "/v3/", "/v2.0"):
                continue
            path = (
                path.removeprefix("/v2.1")
                if service == "compute"
                else path.removeprefix("/v3")
                if service == "volume"
                else path
            )
            if tables[service].find(exchange["method"], path) is None:
                unknown.add((exchange["method"], service, path))
    assert not unknown
