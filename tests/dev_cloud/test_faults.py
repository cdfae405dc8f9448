"""Faults: each is asked for on the control port and seen by a real client."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from openstack import exceptions

from .conftest import Emulator, eventually


@pytest.fixture
def s(paper: Emulator) -> Any:
    connection = paper.connect("plain", "RegionOne")
    network = connection.network.find_network("public")
    wish = {
        "image_id": connection.image.find_image("debian-12").id,
        "flavor_id": connection.compute.find_flavor("tiny").id,
    }
    yield SimpleNamespace(emulator=paper, c=connection, wish={**wish, "networks": [{"uuid": network.id}]})
    paper.control("DELETE", "/faults")
    for server in connection.compute.servers():
        connection.compute.delete_server(server)
    eventually(lambda: not list(connection.compute.servers()))


def create(s: Any, name: str = "one") -> Any:
    return s.c.compute.create_server(name=name, **s.wish)


def status_of(s: Any, server: Any) -> str:
    return str(s.c.compute.get_server(server.id).status)


@pytest.mark.parametrize("mode", ["refuse", "error"])
def test_a_region_that_is_down_answers_nobody_and_comes_back_with_its_servers_off(s: Any, mode: str) -> None:
    server = create(s)
    eventually(lambda: status_of(s, server) == "ACTIVE")
    s.emulator.fault("region-down", region="RegionOne", mode=mode, servers=True)

    def fails() -> bool:
        try:
            s.emulator.connect("plain", "RegionOne").compute.get("/servers", raise_exc=True)
        except Exception:
            return True
        return False

    eventually(fails)
    assert s.emulator.connect("plain", "RegionTwo").list_flavors()
    s.emulator.control("DELETE", "/faults")
    eventually(lambda: not fails())
    assert status_of(s, server) == "SHUTOFF"


def test_errors_and_limits_strike_in_their_scope_as_often_as_told(s: Any) -> None:
    s.emulator.fault("api-error", service="compute", method="GET", path="/servers/detail$", status=502, count=1)
    assert s.c.compute.get("/servers/detail").status_code == 502
    assert s.c.compute.get("/servers/detail").status_code == 200
    s.emulator.fault("rate-limit", service="compute", status=429, retry_after_s=3, count=1)
    answer = s.c.session.get(s.c.endpoint_for("compute") + "/servers", raise_exc=False, status_code_retries=0)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert answer.json()["overLimit"]["retryAfter"] == "3"


def test_quota_can_be_full_and_can_lie(s: Any) -> None:
    s.emulator.fault("quota-lies", count=1)
    assert s.c.get_compute_limits().max_total_instances == 150
    assert s.c.get_compute_limits().max_total_instances == 50
    s.emulator.fault("quota-full", count=1)
    with pytest.raises(exceptions.ForbiddenException, match="Quota exceeded for instances"):
        create(s)


def test_boots_fail_get_stuck_or_exist_despite_an_error(s: Any) -> None:
    s.emulator.fault("boot-error", count=1, message="disk is full")
    server = create(s)
    eventually(lambda: status_of(s, server) == "ERROR")
    assert "disk is full" in s.c.compute.get_server(server.id).fault["message"]
    s.emulator.fault("boot-stuck", count=1)
    stuck = create(s, "stuck")
    s.emulator.fault("create-500", count=1)
    with pytest.raises(exceptions.HttpException):
        create(s, "hidden")
    eventually(lambda: s.c.compute.find_server("hidden"))
    assert status_of(s, stuck) == "BUILD"


def test_deletes_hang_and_leave_ghosts(s: Any) -> None:
    server = create(s)
    eventually(lambda: status_of(s, server) == "ACTIVE")
    fault = s.emulator.fault("delete-stuck")
    s.c.compute.delete_server(server)
    eventually(lambda: s.c.compute.get_server(server.id).task_state == "deleting")
    time.sleep(0.3)  # nothing tells that nothing happens: it must still be there after a while
    assert status_of(s, server) == "ACTIVE"
    s.emulator.control("DELETE", f"/faults/{fault}")
    eventually(lambda: s.c.compute.find_server(server.id) is None)


def test_an_unknown_fault_is_refused(s: Any) -> None:
    import urllib.error

    with pytest.raises(urllib.error.HTTPError):
        s.emulator.fault("gremlins")


def test_the_ledger_counts_calls_and_peaks(s: Any) -> None:
    s.emulator.control("DELETE", "/calls")
    server = create(s)
    eventually(lambda: status_of(s, server) == "ACTIVE")
    calls = s.emulator.control("GET", "/calls")["plain/RegionOne"]
    assert calls["POST compute /servers"] == 1
    assert s.emulator.control("GET", "/peaks")["plain/RegionOne"]["instances"] >= 1
    rows = s.emulator.control("GET", "/objects?kind=server&alive=1&region=RegionOne")
    assert [row["id"] for row in rows] == [server.id]
