"""Held to the real thing: answers have the fields that a real OpenStack's answers had, and errors the same words."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from ..shared import SHARED, needs_shared
from .conftest import Emulator, eventually

pytestmark = needs_shared


def recorded(file: str, name: str) -> Any:
    assert SHARED is not None
    exchanges = json.loads(Path(SHARED, "reference/openstack-api-recordings", f"{file}.json").read_text())["exchanges"]
    return next(exchange["response"] for exchange in exchanges if exchange["name"] == name)


def shape(value: Any) -> Any:
    """The fields, all the way down; lists by their first element; free-form mappings and values by nothing."""
    if isinstance(value, dict):
        return {
            key: shape(inner) for key, inner in value.items() if key not in ("metadata", "addresses", "extra_specs")
        }
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else []
    return None


@pytest.fixture(scope="module")
def world(paper: Emulator) -> Any:
    connection = paper.connect("plain", "RegionOne")
    if connection.compute.find_keypair("recorded") is None:
        connection.create_keypair(
            "recorded", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH7Q8XhnUiyoMvFB0trwSeplb9GZitLTqTDdHKjsey2V x"
        )
    network, image = connection.network.find_network("public"), connection.image.find_image("debian-12")
    wish = {
        "name": "node-0001",
        "imageRef": image.id,
        "flavorRef": connection.compute.find_flavor("tiny").id,
        "networks": [{"uuid": network.id}],
        "key_name": "recorded",
        "metadata": {"nodepool_node_id": "1"},
        "config_drive": True,
        "user_data": "I2Nsb3VkLWNvbmZpZwo=",
    }
    server = connection.compute.post("/servers", json={"server": wish}, microversion="2.93").json()["server"]
    eventually(lambda: connection.compute.get_server(server["id"]).status == "ACTIVE")
    yield connection, server["id"], wish, image.id, network.id
    connection.compute.delete_server(server["id"])


READS = [
    ("servers", "list detail (2.93)", "compute", "/servers/detail", "2.93"),
    ("servers", "list detail (2.1)", "compute", "/servers/detail", "2.1"),
    ("servers", "list brief", "compute", "/servers", "2.1"),
    ("servers", "interfaces", "compute", "/servers/{server}/os-interface", "2.93"),
    ("servers", "addresses", "compute", "/servers/{server}/ips", "2.1"),
    ("servers", "instance actions", "compute", "/servers/{server}/os-instance-actions", "2.93"),
    ("compute", "flavors", "compute", "/flavors", "2.1"),
    ("compute", "flavors detail (2.1)", "compute", "/flavors/detail", "2.1"),
    ("compute", "flavors detail (2.93)", "compute", "/flavors/detail", "2.93"),
    ("compute", "flavors page limit=1", "compute", "/flavors/detail?limit=1", "2.1"),
    ("compute", "limits", "compute", "/limits", "2.1"),
    ("compute", "limits (2.93)", "compute", "/limits", "2.93"),
    ("compute", "quota set", "compute", "/os-quota-sets/{project}", "2.1"),
    ("compute", "quota set detail", "compute", "/os-quota-sets/{project}/detail", "2.1"),
    ("compute", "availability zones", "compute", "/os-availability-zone", "2.1"),
    ("image", "show", "image", "/images/{image}", None),
    ("image", "import info", "image", "/info/import", None),
    ("network", "network show", "network", "/networks/{network}", None),
    ("volume", "limits", "block_storage", "/limits", None),
    ("volume", "types", "block_storage", "/types", None),
]


@pytest.mark.parametrize(
    ("file", "name", "service", "path", "version"), READS, ids=[f"{row[0]}: {row[1]}" for row in READS]
)
def test_an_answer_has_the_recorded_fields(
    world: Any, file: str, name: str, service: str, path: str, version: str | None
) -> None:
    connection, server, _, image, network = world
    path = path.format(server=server, project=connection.current_project_id, image=image, network=network)
    more = {"microversion": version} if version else {}
    answer = getattr(connection, service).get(path, **more)
    expected = recorded(file, name)
    assert answer.status_code == expected["status"]
    ours, theirs = shape(answer.json()), shape(expected["body"])
    if file == "image":  # the recorded image carries properties of its uploader
        theirs = {key: value for key, value in theirs.items() if not key.startswith("owner_specified")}
    if name == "network show":
        theirs.pop("is_default", None)
        ours["network"].pop("is_default", None)
        theirs["network"].pop("is_default", None)
    assert ours == theirs


REFUSALS: list[tuple[str, dict[str, Any]]] = [
    ("compute create, unknown image", {"imageRef": str(uuid.uuid4())}),
    ("compute create, unknown flavor", {"flavorRef": "nope"}),
    ("compute create, unknown network", {"networks": [{"uuid": "00000000-0000-0000-0000-000000000003"}]}),
    ("compute create, unknown key", {"key_name": "nope"}),
    ("compute create, unknown zone", {"availability_zone": "nope"}),
    ("compute create, unknown security group", {"security_groups": [{"name": "nope"}]}),
    ("compute create, no name", {"name": ""}),
    ("compute create, too much metadata", {"metadata": {f"k{number}": "v" for number in range(129)}}),
]


@pytest.mark.parametrize(("name", "change"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_refusal_has_the_recorded_words(world: Any, name: str, change: dict[str, Any]) -> None:
    connection, _, wish, _, _ = world
    answer = connection.compute.post("/servers", json={"server": {**wish, **change}}, microversion="2.93")
    expected = recorded("errors", name)
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])


@pytest.mark.parametrize(
    ("name", "path", "headers"),
    [
        ("compute 404, server", "/servers/00000000-0000-0000-0000-000000000001", {}),
        ("compute 404, path", "/nothing", {}),
        ("compute 406, microversion too new", "/servers", {"X-OpenStack-Nova-API-Version": "2.999"}),
        ("compute 401, no token", "/servers", {"X-Auth-Token": ""}),
        ("compute 401, bad token", "/servers", {"X-Auth-Token": "bad"}),
    ],
)
def test_an_error_has_the_recorded_words(world: Any, name: str, path: str, headers: dict[str, str]) -> None:
    connection = world[0]
    url = connection.endpoint_for("compute") + path
    answer = connection.session.get(
        url, headers=headers or None, raise_exc=False, authenticated="X-Auth-Token" not in headers
    )
    expected = recorded("errors", name)
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])


def test_request_ids_look_like_theirs(world: Any) -> None:
    answer = world[0].compute.get("/servers")
    assert re.fullmatch(r"req-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", answer.headers["x-openstack-request-id"])
